//! Text that somebody else chose: an agent's cell, column name, path or message.
//!
//! Such a text may be 200 MB long, move a terminal's cursor, or look like another one.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

/// A text of somebody else's choice as it may be stored and shown: cut to
/// [200 characters](Shown::MOST), and every character that a reader would not see, or would take for
/// something else, written as its escape.
///
/// Escaped are control characters and line ends, white space other than the plain blank, marks that
/// turn the direction of writing, and characters without a shape of their own. A text that was made
/// fit once stays as it is.
///
/// ```
/// use medalist_grading::untrusted::Shown;
///
/// assert_eq!(Shown::new("has_cactus\u{200b}").as_str(), r"has_cactus\u{200b}");
/// assert_eq!(Shown::new("one\r\ntwo").as_str(), r"one\r\ntwo");
/// assert_eq!(Shown::cut("0123456789", 5).as_str(), "0123…");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Shown(String);

impl Shown {
    /// The most characters that are kept of a name, a value or a line.
    pub const MOST: usize = 200;
    /// The most characters of a message, which may quote several of these; nothing longer is stored.
    pub const LONGEST: usize = 1_000;

    /// A text, made fit to be shown. Costs no more than what is kept of it.
    pub fn new(text: &str) -> Self {
        Self::cut(text, Self::MOST)
    }

    /// A message that quotes texts of somebody else's choice.
    pub fn message(text: &str) -> Self {
        Self::cut(text, Self::LONGEST)
    }

    /// A text, made fit to be shown in at most so many characters; the last one is `…` where
    /// something is left out.
    pub fn cut(text: &str, most: usize) -> Self {
        let (mut shown, mut count) = (String::new(), 0);
        // Where the text is cut if it turns out too long.
        let mut fits = 0;
        for c in text.chars() {
            count += push_escaped(&mut shown, c);
            if count > most {
                shown.truncate(fits);
                shown.push('…');
                break;
            }
            if count < most {
                fits = shown.len();
            }
        }
        Self(shown)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// The first names of columns, in backticks, and how many there are where some are left out.
pub(crate) fn name_list<S: AsRef<str>>(names: &[S]) -> String {
    const NAMES: usize = 12;
    let mut list: Vec<String> = names
        .iter()
        .take(NAMES)
        .map(|name| format!("`{}`", Shown::cut(name.as_ref(), 80)))
        .collect();
    if names.len() > NAMES {
        list.push(format!("… ({} columns)", names.len()));
    }
    list.join(", ")
}

/// Adds a character or its escape; returns how many characters that is.
fn push_escaped(shown: &mut String, c: char) -> usize {
    let plain = matches!(c, ' '..='~') || (!c.is_ascii() && !is_hidden(c));
    if plain {
        shown.push(c);
        return 1;
    }
    let before = shown.len();
    shown.extend(c.escape_default());
    shown.len() - before
}

/// Whether a character beyond ASCII has no shape that tells it from others.
pub(crate) fn is_hidden(c: char) -> bool {
    // Characters without a shape, which Unicode counts among letters and combining marks.
    let shapeless = matches!(
        c,
        '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    );
    // Rust's own list of what cannot be printed; it takes combining marks for such only where
    // nothing stands before them.
    let mut pair = String::from("x");
    pair.push(c);
    shapeless || !c.is_ascii() && pair.escape_debug().nth(1) != Some(c)
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Deref for Shown {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Shown {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&String> for Shown {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

impl From<String> for Shown {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl PartialEq<str> for Shown {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Shown {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What was stored may have been changed since.
        String::deserialize(deserializer).map(|text| Self::message(&text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        for (text, shown) in [
            ("plain text, `quoted` \\ \"so\"", "plain text, `quoted` \\ \"so\""),
            ("\u{1b}[2Jgold\u{7}", r"\u{1b}[2Jgold\u{7}"),
            ("a\u{a0}b\u{3000}c", r"a\u{a0}b\u{3000}c"),
            ("\u{feff}id", r"\u{feff}id"),
            ("\u{202e}dlog", r"\u{202e}dlog"),
            ("\u{2066}x\u{2069}\u{200d}", r"\u{2066}x\u{2069}\u{200d}"),
            ("tab\tline\u{2028}\u{85}", r"tab\tline\u{2028}\u{85}"),
            ("v\u{fe0f}\u{e0041}\u{3164}", r"v\u{fe0f}\u{e0041}\u{3164}"),
            ("Äpfel naïve 日本語 हिन्दी 😀", "Äpfel naïve 日本語 हिन्दी 😀"),
            ("e\u{301}", "e\u{301}"),
        ] {
            assert_eq!(Shown::new(text), shown);
        }
    }

    #[test]
    fn what_was_stored_is_made_fit_again() {
        let stored = serde_json::to_string(&format!("\u{1b}]0;gold\u{7}{}", "x".repeat(1 << 20)));
        let read: Shown = serde_json::from_str(&stored.unwrap()).unwrap();
        assert!(read.starts_with(r"\u{1b}]0;gold\u{7}x") && read.len() <= Shown::LONGEST + 2);
        let message = Shown::message(&"x".repeat(1 << 20));
        let stored = serde_json::to_string(&message).unwrap();
        let again: Shown = serde_json::from_str(&stored).unwrap();
        assert_eq!(message, again, "and once is enough");
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "x".repeat(1 << 20);
        let shown = Shown::new(&long);
        assert_eq!(shown.chars().count(), Shown::MOST);
        assert!(shown.ends_with("x…"));
        assert_eq!(Shown::new(&long[..Shown::MOST]).as_str(), &long[..Shown::MOST]);
        // No escape is cut in its middle.
        assert_eq!(Shown::cut("ab\u{200b}cd", 9), "ab…");
        assert_eq!(Shown::cut("ab\u{200b}", 10), r"ab\u{200b}");
    }

    proptest! {
        #[test]
        fn made_fit_once_is_fit(text in "\\PC*|[\\x00-\\x{10ffff}]{0,300}", most in 1_usize..300) {
            let shown = Shown::cut(&text, most);
            prop_assert!(shown.chars().count() <= most);
            prop_assert!(!shown.contains(char::is_control));
            prop_assert_eq!(Shown::cut(&shown, most), shown);
        }
    }
}
