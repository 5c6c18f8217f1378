//! Takes out of a brief where its competition comes from, by rules: names, hosts, links, dates,
//! prizes. How the task, its metric and its data are described stays.
//!
//! The same brief always gives the same text. Names of files and columns stay as they are, so that
//! a submission is graded as ever; so does everything in code but links and the competition's own
//! name.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

use self::words::{Seen, any_of, ending_after, has_shape, letters, singular, trimmed_name};
use crate::{CompetitionSpec, DataDir};

/// A pattern of this module; a test obfuscates with all of them.
macro_rules! pattern {
    ($text:expr $(,)?) => {
        LazyLock::new(|| Regex::new($text).expect("the patterns of this module are well formed"))
    };
}

/// Stands before the number of a part that no rule may touch, and after it; the digits are the ten
/// characters from [`KEPT_DIGIT`]. All are of private use, so that no brief needs them.
const KEPT: (char, char) = ('\u{e000}', '\u{e001}');
const KEPT_DIGIT: u32 = 0xe010;
/// Columns of one file whose names are kept.
const COLUMNS: usize = 10_000;
/// Bytes of a table that are searched for its header.
const HEADER: u64 = 1 << 20;
/// What the agent reads first.
const NOTE: &str = "Names of the competition, its organisers and known data sets, links, dates and prizes are replaced in this \
text; the same word always stands for the same name. Names of files and columns are as in the data.";

/// What a competition can be known by.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Its id, and its name in Kaggle's addresses if that is another.
    pub ids: Vec<String>,
    /// Its title.
    pub title: String,
    /// Names of files and columns, which stay.
    pub names: BTreeSet<String>,
}

/// A brief that does not say where its competition comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obfuscated {
    /// Markdown.
    pub text: String,
    /// How often something was replaced or left out, by its kind: `title`, `title_word`, `links`,
    /// `names`, `data_sets`, `dates`, `prizes`.
    pub replaced: BTreeMap<String, u64>,
}

impl Identity {
    /// What the competition can be known by, and the names in its prepared public data.
    pub fn of(spec: &CompetitionSpec, data_dir: &Path) -> Self {
        let ids = std::iter::once(spec.id.to_string()).chain(spec.kaggle_slug.clone());
        Self {
            ids: ids.collect(),
            title: spec.title.clone(),
            names: names_in(&DataDir::new(data_dir).public(&spec.id)),
        }
    }

    /// The words of id and title that tell which competition it is, in small letters; plural and
    /// singular are one.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for text in std::iter::once(&self.title).chain(&self.ids) {
            for word in text.split(|c: char| !c.is_alphanumeric()) {
                let word = singular(&word.to_lowercase());
                let tells = word.chars().count() >= 3
                    && word.contains(char::is_alphabetic)
                    && !words::GENERIC.iter().any(|known| singular(known) == word);
                if tells && !words.contains(&word) {
                    words.push(word);
                }
            }
        }
        words
    }

    /// The competition's whole names: title, ids, and ids written with other separators or none.
    fn phrases(&self) -> Vec<String> {
        let ids = self.ids.iter().map(String::as_str);
        let mut phrases: Vec<String> = Vec::new();
        for text in ids.chain([self.title.as_str()]) {
            let parts: Vec<String> = text
                .split(|c: char| !c.is_alphanumeric())
                .filter(|part| !part.is_empty())
                .map(regex_lite::escape)
                .collect();
            // A name of one common word cannot be told from the word.
            let joined: usize = parts.iter().map(String::len).sum();
            let is_common = words::GENERIC.contains(&text.to_lowercase().as_str());
            if joined >= 4 && !is_common && text.contains(char::is_alphabetic) {
                phrases.push(parts.join(r"[^A-Za-z0-9\n\x{e000}-\x{e019}]{0,3}"));
            }
        }
        phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.len()));
        phrases.dedup();
        phrases
    }
}

/// The names of files in a folder, and of the columns of its tables.
fn names_in(public: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(public).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".csv") {
            names.extend(columns_of(&entry.path()));
        }
        names.insert(name);
    }
    names
}

fn columns_of(table: &Path) -> Vec<String> {
    use std::io::Read as _;
    let Ok(file) = std::fs::File::open(table) else { return Vec::new() };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file.take(HEADER));
    let header = reader.headers().map(|header| {
        header.iter().take(COLUMNS).map(|column| column.trim().to_owned()).collect::<Vec<_>>()
    });
    header.unwrap_or_default()
}

/// Obfuscates a brief.
pub fn obfuscate(text: &str, identity: &Identity) -> Obfuscated {
    let mut work = Work {
        text: text.replace(|c: char| ('\u{e000}'..='\u{e019}').contains(&c), ""),
        ..Work::default()
    };
    work.set_code_aside(identity);
    work.set_names_aside(identity);
    work.drop_sections();
    work.replace_links();
    work.replace_title(identity);
    work.replace_organisers();
    work.replace_known_names();
    work.replace_prizes();
    work.replace_dates();
    work.replace_words(&identity.words());
    work.mend_articles();
    work.finish()
}

#[derive(Default)]
struct Work {
    text: String,
    kept: Vec<String>,
    replaced: BTreeMap<String, u64>,
}

impl Work {
    fn count(&mut self, kind: &str, times: u64) {
        if times > 0 {
            *self.replaced.entry(kind.to_owned()).or_default() += times;
        }
    }

    /// Replaces what a pattern finds; `None` of the replacement leaves it.
    fn replace(
        &mut self,
        kind: &str,
        pattern: &Regex,
        mut with: impl FnMut(&Captures<'_>) -> Option<String>,
    ) {
        let mut times = 0;
        let text = pattern.replace_all(&self.text, |found: &Captures<'_>| match with(found) {
            Some(other) => {
                times += 1;
                other
            }
            None => found[0].to_owned(),
        });
        self.text = text.into_owned();
        self.count(kind, times);
    }

    fn keep(&mut self, part: String) -> String {
        let digits = self.kept.len().to_string();
        let digits = digits
            .bytes()
            .filter_map(|digit| char::from_u32(KEPT_DIGIT + u32::from(digit.saturating_sub(b'0'))));
        let mark = std::iter::once(KEPT.0).chain(digits).chain([KEPT.1]).collect();
        self.kept.push(part);
        mark
    }

    /// Code is not the rules' affair, but for links and the competition's own name.
    fn set_code_aside(&mut self, identity: &Identity) {
        static ROW: LazyLock<Regex> = pattern!(r"^\s*[^\s,]+(?:,[^\s,]*)+\s*\\?\s*$");
        let text = std::mem::take(&mut self.text);
        let (mut out, mut fence): (String, Option<(&str, String)>) = (String::new(), None);
        for line in text.split_inclusive('\n') {
            let start = line.trim_start();
            let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
            match (&mut fence, mark) {
                (Some((open, code)), mark) => {
                    code.push_str(line);
                    if mark == Some(*open) {
                        let code = std::mem::take(code);
                        fence = None;
                        self.keep_code(code, identity, &mut out);
                    }
                }
                (None, Some(mark)) => fence = Some((mark, line.to_owned())),
                // A row of a table that nobody has put into a fence.
                (None, None) if ROW.is_match(line) => {
                    self.keep_code(line.to_owned(), identity, &mut out);
                }
                (None, None) => out.push_str(line),
            }
        }
        if let Some((_, code)) = fence {
            self.keep_code(code, identity, &mut out);
        }
        static INLINE: LazyLock<Regex> = pattern!(r"`[^`\n]+`");
        self.text = INLINE
            .replace_all(&out, |found: &Captures<'_>| {
                let code = self.clean_code(found[0].to_owned(), identity);
                self.keep(code)
            })
            .into_owned();
    }

    /// Keeps a block of code; the line after it begins a line, as before.
    fn keep_code(&mut self, mut code: String, identity: &Identity, out: &mut String) {
        let ends_line = code.ends_with('\n');
        if ends_line {
            code.pop();
        }
        let code = self.clean_code(code, identity);
        out.push_str(&self.keep(code));
        if ends_line {
            out.push('\n');
        }
    }

    fn clean_code(&mut self, code: String, identity: &Identity) -> String {
        let mut inner = Self { text: code, ..Self::default() };
        let names: BTreeSet<String> =
            identity.names.iter().filter(|name| has_shape(name)).cloned().collect();
        inner.set_names_aside(&Identity { names, ..Identity::default() });
        inner.replace("links", &URL, |_| Some("[link]".to_owned()));
        inner.replace_title(identity);
        let done = inner.restored();
        for (kind, times) in inner.replaced {
            self.count(&kind, times);
        }
        done
    }

    /// Names of files and columns that cannot be taken for plain words stay in the text as well.
    fn set_names_aside(&mut self, identity: &Identity) {
        static WORD: LazyLock<Regex> = pattern!(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*[A-Za-z0-9_]");
        let text = std::mem::take(&mut self.text);
        self.text = WORD
            .replace_all(&text, |found: &Captures<'_>| match &found[0] {
                name if has_shape(name) && identity.names.contains(name) => {
                    self.keep(name.to_owned())
                }
                other => other.to_owned(),
            })
            .into_owned();
    }

    /// Leaves out whole sections by their headings.
    fn drop_sections(&mut self) {
        let text = std::mem::take(&mut self.text);
        let mut dropping: Option<usize> = None;
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            if let Some((level, title)) = heading(line) {
                let title = title.to_lowercase();
                let found = words::DROPPED.iter().find(|(known, _)| *known == title);
                if dropping.is_none_or(|open| level <= open) {
                    dropping = found.map(|_| level);
                    if let Some((_, kind)) = found {
                        self.count(kind, 1);
                    }
                }
            }
            if dropping.is_none() {
                out.push_str(line);
            }
        }
        self.text = out;
    }

    fn replace_links(&mut self) {
        static IMAGE: LazyLock<Regex> = pattern!(r"!\[[^\]]*\]\([^)]*\)");
        static NAMED: LazyLock<Regex> = pattern!(r"\[([^\]]*)\]\((?:[^()]|\([^()]*\))*\)");
        static DEFINED: LazyLock<Regex> = pattern!(r"(?m)^[ \t]*\[[^\]\n]+\]:[^\n]*\n?");
        static TAG: LazyLock<Regex> =
            pattern!(r#"(?i)</?(?:a|img|iframe|video|source|link|script)\b[^>]*>"#);
        static MAIL: LazyLock<Regex> =
            pattern!(r"[A-Za-z0-9._+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+");
        static PAPER: LazyLock<Regex> =
            pattern!(r"(?i)\barxiv[:\s]+\d{4}\.\d{4,5}(?:v\d+)?|\bdoi[:\s]+10\.\d{4,}[^\s)]*");
        static HANDLE: LazyLock<Regex> = pattern!(r"(^|[\s(])@[A-Za-z][A-Za-z0-9_]+");
        let link = |_: &Captures<'_>| Some("[link]".to_owned());
        self.replace("links", &IMAGE, |_| Some(String::new()));
        self.replace("links", &NAMED, |found| Some(found[1].to_owned()));
        self.replace("links", &DEFINED, |_| Some(String::new()));
        self.replace("links", &TAG, |_| Some(String::new()));
        self.replace("links", &MAIL, link);
        self.replace("links", &URL, link);
        self.replace("links", &PAPER, link);
        self.replace("links", &HANDLE, |found| Some(format!("{}[link]", &found[1])));
    }

    fn replace_title(&mut self, identity: &Identity) {
        let phrases = identity.phrases();
        if phrases.is_empty() {
            return;
        }
        // An edge of a word on both sides, or an underscore, which names of files have.
        let phrase = format!(r"(?i)(^|[^A-Za-z0-9])(?:{})([^A-Za-z0-9]|$)", phrases.join("|"));
        let Ok(phrase) = Regex::new(&phrase) else { return };
        // Twice, because neighbours share an edge.
        for _ in 0..2 {
            self.replace("title", &phrase, |found| {
                Some(format!("{}this-competition{}", &found[1], &found[2]))
            });
        }
    }

    /// Names that the text itself shows to be an organiser's.
    fn replace_organisers(&mut self) {
        let mut found: Vec<(usize, String)> = Vec::new();
        let mut add = |at: usize, name: &str| {
            let name = trimmed_name(name);
            let known = found.iter().any(|(_, known)| *known == name);
            if !name.is_empty() && !known {
                found.push((at, name));
            }
        };
        for pattern in &*ORGANISERS {
            for captures in pattern.captures_iter(&self.text) {
                for group in [1, 2] {
                    if let Some(name) = captures.get(group) {
                        add(name.start(), name.as_str());
                    }
                }
            }
        }
        found.sort();
        let neutral: BTreeMap<String, String> = found
            .iter()
            .enumerate()
            .map(|(n, (_, name))| (name.clone(), format!("organisation-{}", letters(n))))
            .collect();
        if let Some(pattern) = any_of(neutral.keys().map(String::as_str)) {
            self.replace("names", &pattern, |found| neutral.get(&found[0]).cloned());
        }
        static PERSON: LazyLock<Regex> = pattern!(
            r"\b(?:Dr|Prof|Professor|Mr|Mrs|Ms)\.?\s+[A-Z][A-Za-z.\-]*(?:\s+[A-Z][A-Za-z.\-]*)*",
        );
        self.replace("names", &PERSON, |_| Some("a person".to_owned()));
    }

    fn replace_known_names(&mut self) {
        static PLATFORM: LazyLock<Regex> = pattern!(r"(?i)\bkaggle(rs?)?(?:['’]s)?\b");
        static KNOWN: LazyLock<[Option<Regex>; 2]> = LazyLock::new(|| {
            [words::DATA_SETS, words::ORGANISATIONS].map(|list| any_of(list.iter().copied()))
        });
        self.replace("names", &PLATFORM, |found| {
            Some(if found.get(1).is_some() { "participants" } else { "the platform" }.to_owned())
        });
        for (kind, word, pattern) in
            [("data_sets", "known-data-set", &KNOWN[0]), ("names", "known-organisation", &KNOWN[1])]
        {
            let mut seen = Seen::default();
            if let Some(pattern) = pattern {
                self.replace(kind, pattern, |found| {
                    Some(format!("{word}-{}", seen.letters_of(&found[0])))
                });
            }
        }
    }

    /// Sums of money where prizes are spoken of.
    fn replace_prizes(&mut self) {
        static ABOUT: LazyLock<Regex> =
            pattern!(r"(?i)\b(?:prizes?|awards?|awarded|winners?|winning|place|cash|bounty)\b");
        static MONEY: LazyLock<Regex> = pattern!(
            r"(?:US|USD)?\s?\\?[$€£]\s?\d(?:[\d,.]*\d)?(?:\s?(?:k|K|million|thousand))?(?:\s?USD)?|\b\d[\d,]*\s(?:USD|EUR|GBP|dollars|euros|pounds)\b",
        );
        let text = std::mem::take(&mut self.text);
        let mut times = 0;
        let lines = text.split_inclusive('\n').map(|line| match ABOUT.is_match(line) {
            true => MONEY
                .replace_all(line, |_: &Captures<'_>| {
                    times += 1;
                    " a-prize"
                })
                .into_owned(),
            false => line.to_owned(),
        });
        self.text = lines.collect();
        self.count("prizes", times);
    }

    /// Days and years; the same day is always called by the same letter.
    fn replace_dates(&mut self) {
        let mut seen = Seen::default();
        let mut name = |date: &str| format!("date-{}", seen.letters_of(&date.to_lowercase()));
        self.replace("dates", &DATE, |found| Some(name(&found[0])));
        self.replace("dates", &YEAR_OF_EVENT, |found| {
            Some(format!("{}{}", name(&found[1]), &found[2]))
        });
        self.replace("dates", &EVENT_OF_YEAR, |found| {
            Some(format!("{}{}", &found[1], name(&found[2])))
        });
        // Twice, because the word after one year may be the word before another.
        for _ in 0..2 {
            self.replace("dates", &YEAR, |found| {
                let next = found[4].to_lowercase();
                // `in 2000 images` counts images.
                let goes_on = !found[3].contains(',') && !next.is_empty();
                let counts = goes_on && !AFTER_YEAR.contains(&next.as_str());
                let date = (!counts).then(|| name(&found[2]))?;
                Some(format!("{}{date}{}{}", &found[1], &found[3], &found[4]))
            });
        }
    }

    /// The words of the title that are not words of any task.
    fn replace_words(&mut self, words: &[String]) {
        static WORD: LazyLock<Regex> = pattern!(r"[A-Za-z0-9\x{c0}-\x{24f}]+(?:['’]s\b)?");
        self.replace("title_word", &WORD, |found| {
            let small = found[0].to_lowercase();
            let (at, ending) = words
                .iter()
                .enumerate()
                .find_map(|(at, word)| Some((at, ending_after(&small, word)?)))?;
            let noun = if matches!(ending, "s" | "es" | "ers") { "items" } else { "item" };
            Some(format!("{noun}-{}", letters(at)))
        });
    }

    /// `a` and `an` before the new words.
    fn mend_articles(&mut self) {
        static BEFORE: LazyLock<Regex> =
            pattern!(r"(^|[\s(*])([Aa])n?(\s+)(item|organisation|known|this|date)-");
        let text = BEFORE.replace_all(&self.text, |found: &Captures<'_>| {
            let n = if matches!(&found[4], "item" | "organisation") { "n" } else { "" };
            format!("{}{}{n}{}{}-", &found[1], &found[2], &found[3], &found[4])
        });
        self.text = text.into_owned();
    }

    /// The text with the parts that were set aside.
    fn restored(&self) -> String {
        let mut text = self.text.clone();
        // A part may hold another: a name in a span of code.
        while let Some((start, end)) = text.find(KEPT.0).and_then(|start| {
            Some((start, start + text[start..].find(KEPT.1)? + KEPT.1.len_utf8()))
        }) {
            let digits = text[start..end].chars().filter_map(|c| {
                let digit = u32::from(c).checked_sub(KEPT_DIGIT)?;
                (digit < 10).then_some(digit as usize)
            });
            let at =
                digits.fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(digit));
            let part = self.kept.get(at).map_or("", String::as_str);
            text.replace_range(start..end, part);
        }
        text
    }

    fn finish(self) -> Obfuscated {
        let text = self.restored();
        Obfuscated { text: format!("{NOTE}\n\n{}\n", text.trim()), replaced: self.replaced }
    }
}

static URL: LazyLock<Regex> = pattern!(concat!(
    r#"(?i)\b(?:https?|ftp)://[^\s<>)\]"'`]+|\bwww\.[^\s<>)\]"'`]+|"#,
    r#"\b[a-z0-9][a-z0-9\-]*(?:\.[a-z0-9\-]+)*\.(?:com|org|net|edu|gov|int|io|ai|my|co|uk|de|fr|eu|ca|au|jp|cn|info|dev|app)\b(?:/[^\s<>)\]"'`]*)?"#,
));

static DATE: LazyLock<Regex> = pattern!(concat!(
    r"(?i)\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?",
    r"(?:(?:january|february|march|april|may|june|july|august|september|october|november|december|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)",
    r"\.?\s+(?:\d{1,2}(?:st|nd|rd|th)?(?:,?\s+(?:19|20)\d\d)?|(?:19|20)\d\d)\b",
    r"|\d{1,2}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:january|february|march|april|may|june|july|august|september|october|november|december)",
    r"(?:,?\s+(?:19|20)\d\d)?\b|(?:19|20)\d\d[-/](?:0?[1-9]|1[0-2])[-/](?:0?[1-9]|[12]\d|3[01])\b|(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])/(?:19|20)\d\d\b)",
    r"(?:,?\s+(?:at\s+)?\d{1,2}:\d\d(?::\d\d)?(?:\s?[ap]\.?m\.?)?(?:\s?(?:utc|gmt|est|pst|edt|pdt))?)?",
));

static YEAR: LazyLock<Regex> = pattern!(
    r"(?i)\b((?:in|year|years|since|until|between|after|before|during|from|to|through|by|of|and|©)\s+)((?:19|20)\d\d)\b(,?\s*)([a-z]*)",
);

/// The 2019 challenge, and the conference of that year.
static YEAR_OF_EVENT: LazyLock<Regex> = pattern!(
    r"(?i)\b((?:19|20)\d\d)(\s+(?:edition|competition|challenge|contest|workshop|conference)s?\b)"
);
static EVENT_OF_YEAR: LazyLock<Regex> = pattern!(
    r"\b((?:organisation-[A-Z]+|data-set-[A-Z]+|[Cc]hallenge|[Cc]ompetition|[A-Z]{4,})\s+)((?:19|20)\d\d)\b"
);

/// Words after a number that show it to be a year.
const AFTER_YEAR: &[&str] = &[
    "and", "to", "in", "at", "by", "for", "from", "the", "with", "on", "of", "or", "as", "is",
    "are", "was", "were", "alone", "until", "through", "it", "we", "this", "that", "which", "when",
    "where", "there",
];

/// A word in capitals; a full stop is in it only if more follows.
const CAPITAL: &str = r#"[A-Z](?:[^\s.,;:()\[\]"“”!?*#\x{e000}-\x{e019}]|\.[^\s.,;:()\[\]"“”!?*#\x{e000}-\x{e019}])*"#;

static ORGANISERS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    // Words in capitals, with small ones between.
    let small = r"(?:(?:of|the|and|for|in|&|de|di|del|la|von|at)[ \t]+){0,2}";
    let name = format!(r"{CAPITAL}(?:[ \t]+{small}{CAPITAL}){{0,7}}");
    let short = r"(?:\s*\(([A-Z][A-Za-z&\-]{1,9})\))?";
    let kind = words::KINDS_OF_ORGANISATION;
    [
        format!("{}({name}){short}", words::BEFORE_ORGANISER),
        format!("({name}){short}{}", words::AFTER_ORGANISER),
        format!(
            r"\b((?:{CAPITAL}[ \t]+){{0,5}}{kind}(?:[ \t]+(?:of|for|at)[ \t]+(?:the[ \t]+)?{name})?){short}"
        ),
    ]
    .map(|pattern| Regex::new(&pattern).expect("the patterns of this module are well formed"))
});

/// The level and text of a heading, also of one that is only bold.
fn heading(line: &str) -> Option<(usize, String)> {
    let line = line.trim();
    let level = line.chars().take_while(|c| *c == '#').count();
    let bold = || line.strip_prefix("**").and_then(|line| line.strip_suffix("**"));
    let (level, text) = match level {
        1..=6 => (level, &line[level..]),
        _ => (7, bold()?),
    };
    let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '#' | '*' | '_' | ':'));
    (!text.is_empty()).then(|| (level, text.to_lowercase()))
}

#[cfg(test)]
mod tests;
