//! Python cut into tokens, in one pass and without a word about what is no Python: shell, R and JSON come
//! out in pieces that the rules can use.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Number,
    /// A string; the text is what stands between the quotes, as it is written.
    Text,
    /// One character.
    Op(u8),
    /// A comment, without its `#`.
    Comment,
    /// The end of a statement.
    End,
    /// A command for a shell: a line of a shell script, or one that begins with `!` or `%` in a notebook.
    Shell,
}

/// A piece of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// From 1.
    pub(crate) line: u32,
    /// Blanks in front of its statement.
    pub(crate) indent: u32,
    /// Whether it is the first of its statement.
    pub(crate) first: bool,
}

impl Token<'_> {
    pub(crate) fn is(&self, op: u8) -> bool {
        self.kind == Kind::Op(op)
    }

    pub(crate) fn is_name(&self, name: &str) -> bool {
        self.kind == Kind::Name && self.text == name
    }
}

/// Cuts a text. `shell`: every line is a command, as in a shell script.
///
/// Takes time and memory in proportion to the text.
pub(crate) fn tokens(text: &str, shell: bool) -> Vec<Token<'_>> {
    let mut cutter = Cutter {
        text,
        bytes: text.as_bytes(),
        at: 0,
        line: 1,
        indent: 0,
        depth: 0,
        begins: true,
        shell,
        cell_shell: false,
        tokens: Vec::new(),
    };
    cutter.run();
    cutter.tokens
}

struct Cutter<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: u32,
    indent: u32,
    /// Open brackets.
    depth: u32,
    /// Whether a statement begins here.
    begins: bool,
    shell: bool,
    /// Whether a notebook's cell is a shell's, by its first line.
    cell_shell: bool,
    tokens: Vec<Token<'a>>,
}

impl<'a> Cutter<'a> {
    fn run(&mut self) {
        while self.at < self.bytes.len() {
            if self.begins && self.line_start() {
                continue;
            }
            // A text may end in the blanks of a line.
            let Some(byte) = self.bytes.get(self.at).copied() else { break };
            match byte {
                b'\n' => self.newline(),
                b' ' | b'\t' | b'\r' | 0x0c => self.at += 1,
                b'\\' if self.bytes.get(self.at + 1) == Some(&b'\n') => {
                    self.at += 2;
                    self.line += 1;
                }
                b'#' => {
                    let end = self.end_of_line();
                    self.push(Kind::Comment, self.at + 1, end, end);
                }
                b'"' | b'\'' => self.string(self.at),
                b'0'..=b'9' => self.number(),
                b'.' if self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                    self.number();
                }
                _ if is_name(byte) => self.name(),
                _ => self.op(byte),
            }
        }
        self.end();
    }

    /// Measures the indent, and takes lines that are a shell's; true if one was taken.
    fn line_start(&mut self) -> bool {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        self.indent = u32::try_from(self.at - start).unwrap_or(u32::MAX);
        let rest = &self.bytes[self.at..];
        let magic = rest.first() == Some(&b'!') && rest.get(1) != Some(&b'=')
            || rest.starts_with(b"%%")
            || rest.first() == Some(&b'%') && rest.get(1).is_some_and(u8::is_ascii_lowercase);
        if rest.starts_with(b"%%") {
            self.cell_shell = [&b"%%bash"[..], b"%%sh", b"%%script", b"%%system"]
                .iter()
                .any(|mark| rest.starts_with(mark));
        }
        let comment = matches!(rest.first(), Some(b'#' | b'\n') | None);
        if comment || !(magic || self.shell || self.cell_shell) {
            self.begins = rest.first() == Some(&b'\n');
            if self.begins {
                self.newline();
                return true;
            }
            return false;
        }
        let end = self.end_of_line();
        let from = self.at + usize::from(rest[0] == b'!' || rest[0] == b'%');
        self.push(Kind::Shell, from, end, end);
        true
    }

    /// A notebook's cells are divided by a form feed in front of the line end.
    fn newline(&mut self) {
        if self.at > 0 && self.bytes[self.at - 1] == 0x0c {
            self.cell_shell = false;
            self.depth = 0;
        }
        if self.depth == 0 {
            self.end();
            self.begins = true;
        }
        self.at += 1;
        self.line += 1;
    }

    fn end(&mut self) {
        if self.tokens.last().is_some_and(|last| last.kind != Kind::End) {
            self.push(Kind::End, self.at, self.at, self.at);
        }
    }

    fn end_of_line(&self) -> usize {
        let rest = &self.bytes[self.at..];
        rest.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |n| self.at + n)
    }

    /// Adds the token from `from` to `to`, and goes on at `next`.
    fn push(&mut self, kind: Kind, from: usize, to: usize, next: usize) {
        let first = match self.tokens.last() {
            None => true,
            Some(last) => {
                matches!(last.kind, Kind::End | Kind::Comment | Kind::Shell) && self.depth == 0
            }
        };
        // Tokens begin and end beside ASCII, which is a boundary of characters.
        let text = self.text.get(from..to).unwrap_or_default();
        self.tokens.push(Token { kind, text, line: self.line, indent: self.indent, first });
        self.at = next;
    }

    /// A string whose first quote is at `quote`. One that does not end, ends with its line, or with the
    /// text if it has three quotes.
    fn string(&mut self, quote: usize) {
        let mark = self.bytes[quote];
        let triple = self.bytes[quote..].starts_with(&[mark; 3]);
        let from = quote + if triple { 3 } else { 1 };
        let (mut at, mut lines) = (from, 0);
        let (mut to, mut next) = (self.bytes.len(), self.bytes.len());
        while at < self.bytes.len() {
            match self.bytes[at] {
                b'\\' => {
                    lines += u32::from(self.bytes.get(at + 1) == Some(&b'\n'));
                    at += 2;
                    continue;
                }
                b'\n' if !triple => {
                    (to, next) = (at, at);
                    break;
                }
                b'\n' => lines += 1,
                byte if byte == mark => {
                    if !triple {
                        (to, next) = (at, at + 1);
                        break;
                    }
                    if self.bytes[at..].starts_with(&[mark; 3]) {
                        (to, next) = (at, at + 3);
                        break;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        self.push(Kind::Text, from.min(to), to, next);
        self.line += lines;
    }

    fn number(&mut self) {
        let start = self.at;
        let mut at = start;
        while let Some(byte) = self.bytes.get(at) {
            let sign = matches!(byte, b'+' | b'-')
                && matches!(self.bytes[at - 1], b'e' | b'E')
                && !self.bytes[start..at].starts_with(b"0x");
            let digit = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
            if !(digit || sign && at > start) {
                break;
            }
            at += 1;
        }
        self.push(Kind::Number, start, at, at);
    }

    /// A name, or the prefix of a string.
    fn name(&mut self) {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| !is_name(*byte)).unwrap_or(rest.len());
        let end = self.at + length;
        let is_prefix = length <= 2
            && matches!(self.bytes.get(end), Some(b'"' | b'\''))
            && rest[..length].iter().all(|byte| b"rbfuRBFU".contains(byte));
        if is_prefix {
            self.string(end);
        } else {
            self.push(Kind::Name, self.at, end, end);
        }
    }

    fn op(&mut self, byte: u8) {
        self.push(Kind::Op(byte), self.at, self.at + 1, self.at + 1);
        match byte {
            b'(' | b'[' | b'{' => self.depth += 1,
            b')' | b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            b';' if self.depth == 0 => self.end(),
            _ => {}
        }
    }
}

/// Whether a byte can stand in a name; all beyond ASCII can.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str) -> Vec<(Kind, &str)> {
        tokens(text, false).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn python_is_cut() {
        use Kind::{Comment, End, Name, Number, Op, Shell, Text};
        assert_eq!(
            cut("x = rb'a\\'b' # c\n!ls -l\n"),
            [
                (Name, "x"),
                (Op(b'='), "="),
                (Text, "a\\'b"),
                (Comment, " c"),
                (End, ""),
                (Shell, "ls -l"),
                (End, "")
            ]
        );
        assert_eq!(
            cut("f(1e-5, -0x1f,\n  \"\"\"a\n'b\"\"\")"),
            [
                (Name, "f"),
                (Op(b'('), "("),
                (Number, "1e-5"),
                (Op(b','), ","),
                (Op(b'-'), "-"),
                (Number, "0x1f"),
                (Op(b','), ","),
                (Text, "a\n'b"),
                (Op(b')'), ")"),
                (End, "")
            ]
        );
        assert_eq!(cut("x\n  "), [(Name, "x"), (End, "")]);
        assert_eq!(cut("'open\ny")[..3], [(Text, "open"), (End, ""), (Name, "y")]);
    }

    #[test]
    fn lines_and_indents_are_counted() {
        let all = tokens("for a in b:\n    \"\"\"x\n\n\"\"\"\n    c(\n 1)\n", false);
        let at = |text: &str| all.iter().find(|token| token.text == text).expect("is there");
        assert_eq!((at("c").line, at("c").indent, at("c").first), (5, 4, true));
        assert_eq!((at("1").line, at("1").indent, at("1").first), (6, 4, false));
        assert!(tokens("find / -name x\n# y\n", true)[0].kind == Kind::Shell);
    }

    proptest! {
        #[test]
        fn any_text_is_cut_into_its_parts(text in "[\\PC\\n\\t'\"\\\\(){}#!]{0,300}", shell: bool) {
            let all = tokens(&text, shell);
            prop_assert!(all.len() <= 2 * text.len() + 1);
            let lines = text.matches('\n').count() as u32 + 1;
            for token in &all {
                prop_assert!(token.line <= lines && text.contains(token.text));
            }
        }
    }
}
