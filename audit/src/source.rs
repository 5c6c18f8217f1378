//! A file of code as the rules read it.

use std::borrow::Cow;

use medalist_grading::untrusted::Shown;
use serde::Deserialize;

use crate::calls::{Call, calls};
use crate::finding::{Confidence, Finding, Rule};
use crate::token::{Kind, Token, tokens};

/// The most characters of a line that are quoted.
const QUOTED: usize = 160;
/// The most bytes of code that are looked at.
const LONGEST: usize = 4 << 20;

/// A file of code: Python, a notebook, a shell script, or anything else that is text.
#[derive(Debug)]
pub struct Source<'a> {
    /// Its name, as findings give it.
    pub file: &'a str,
    /// The code; of a notebook, its code cells one below the other.
    text: Cow<'a, str>,
    /// What a notebook's other cells say.
    prose: String,
    shell: bool,
    is_cut: bool,
}

#[derive(Deserialize)]
struct Notebook {
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    #[serde(default)]
    cell_type: String,
    #[serde(default)]
    source: Lines,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Many(Vec<String>),
}

impl Default for Lines {
    fn default() -> Self {
        Self::One(String::new())
    }
}

impl Lines {
    fn push_to(&self, text: &mut String) {
        match self {
            Self::One(one) => text.push_str(one),
            Self::Many(lines) => lines.iter().for_each(|line| text.push_str(line)),
        }
        if !text.ends_with('\n') {
            // A form feed tells the tokenizer that a cell ends.
            text.push_str("\x0c\n");
        }
    }
}

impl<'a> Source<'a> {
    /// Reads a file's bytes; what is no UTF-8 is replaced. A notebook that cannot be read as one is taken
    /// for plain text.
    pub fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut source = Self { file, text, prose: String::new(), shell: false, is_cut: false };
        if file.ends_with(".ipynb")
            && let Ok(notebook) = serde_json::from_str::<Notebook>(&source.text)
        {
            let (mut code, mut prose) = (String::new(), String::new());
            for cell in &notebook.cells {
                cell.source.push_to(if cell.cell_type == "code" { &mut code } else { &mut prose });
            }
            (source.text, source.prose) = (Cow::Owned(code), prose);
        }
        if source.text.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| source.text.is_char_boundary(*at));
            source.text = Cow::Owned(source.text[..end.unwrap_or_default()].to_owned());
            source.is_cut = true;
        }
        let first = source.text.lines().next().unwrap_or_default();
        let by_name = [".sh", ".bash", ".zsh"].iter().any(|end| file.ends_with(end));
        source.shell = by_name || first.starts_with("#!") && first.ends_with("sh");
        source
    }

    /// The code.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is more code, which is not looked at.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What a notebook says beside its code.
    pub fn prose(&self) -> &str {
        &self.prose
    }

    pub(crate) fn parse(&self) -> Parsed<'_> {
        let tokens = tokens(&self.text, self.shell);
        let starts = std::iter::once(0)
            .chain(self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
            .collect();
        // Rules on code look past comments; the one on texts reads them from the source.
        let code: Vec<Token<'_>> =
            tokens.into_iter().filter(|token| token.kind != Kind::Comment).collect();
        let calls = calls(&code);
        Parsed { source: self, tokens: code, starts, calls }
    }
}

/// A file of code in pieces.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    source: &'a Source<'a>,
    /// Without comments.
    pub(crate) tokens: Vec<Token<'a>>,
    pub(crate) calls: Vec<Call<'a>>,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'a> Parsed<'a> {
    /// A line's text.
    pub(crate) fn line(&self, line: u32) -> &'a str {
        let text: &'a str = &self.source.text;
        let at = line.saturating_sub(1) as usize;
        let from = self.starts.get(at).copied().unwrap_or(text.len());
        let to = self.starts.get(at + 1).copied().unwrap_or(text.len());
        text.get(from..to).unwrap_or_default().trim()
    }

    /// A finding whose evidence is a line.
    pub(crate) fn finding(
        &self,
        rule: Rule,
        line: u32,
        confidence: Confidence,
        says: impl Into<String>,
    ) -> Finding {
        Finding {
            rule,
            file: Shown::new(self.source.file),
            line: Some(u64::from(line)),
            confidence,
            evidence: Shown::cut(self.line(line), QUOTED),
            says: says.into(),
        }
    }

    /// The tokens of the statement that holds a token, by their places; few enough to look at for each
    /// token.
    pub(crate) fn statement(&self, at: usize) -> std::ops::Range<usize> {
        const AROUND: usize = 48;
        let before = &self.tokens[at.saturating_sub(AROUND)..at];
        let from = before.iter().rposition(|token| token.kind == Kind::End);
        let from = at.saturating_sub(AROUND) + from.map_or(0, |place| place + 1);
        let after = &self.tokens[at..self.tokens.len().min(at + AROUND)];
        let to = after.iter().position(|token| token.kind == Kind::End);
        from..at + to.unwrap_or(after.len())
    }
}

/// A finding in a text that is read line by line.
pub(crate) fn in_text(
    rule: Rule,
    file: &str,
    line: u64,
    text: &str,
    confidence: Confidence,
    says: impl Into<String>,
) -> Finding {
    Finding {
        rule,
        file: Shown::new(file),
        line: Some(line),
        confidence,
        evidence: Shown::cut(text.trim(), QUOTED),
        says: says.into(),
    }
}
