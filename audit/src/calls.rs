//! Calls of functions in code, with what their arguments say.

use std::collections::HashMap;

use crate::token::{Kind, Token};

/// Tokens of a call's arguments that are looked at.
const ARGUMENTS: usize = 96;

/// A call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// The function, with what stands before it: `["torch", "hub", "load"]`.
    pub(crate) path: Vec<&'a str>,
    pub(crate) line: u32,
    /// The place of the last part of the name.
    pub(crate) at: usize,
    /// The places of the tokens between the brackets, or of the first of them.
    pub(crate) inside: std::ops::Range<usize>,
    /// Whether it stands in the body of a loop.
    pub(crate) in_loop: bool,
}

/// A value as far as the code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    /// `True`, `None`, a number, or a name with its dots cut off.
    Word(&'a str),
    /// Anything else, or nothing.
    Unknown,
}

/// All calls, in order. Takes time in proportion to the tokens.
pub(crate) fn calls<'a>(tokens: &[Token<'a>]) -> Vec<Call<'a>> {
    let mut calls = Vec::new();
    let aliases = aliases(tokens);
    // Indents of the loops that are open.
    let mut loops: Vec<u32> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.first {
            while loops.last().is_some_and(|indent| token.indent <= *indent) {
                loops.pop();
            }
            if token.is_name("for") || token.is_name("while") {
                loops.push(token.indent);
            }
        }
        let called = token.kind == Kind::Name && tokens.get(at + 1).is_some_and(|t| t.is(b'('));
        let defines = at > 0 && (tokens[at - 1].is_name("def") || tokens[at - 1].is_name("class"));
        if !called || defines {
            continue;
        }
        let inside = at + 2..end_of_group(tokens, at + 2);
        let in_loop = loops.last().is_some_and(|indent| token.indent > *indent);
        calls.push(Call {
            path: path(tokens, at, &aliases),
            line: token.line,
            at,
            inside,
            in_loop,
        });
    }
    calls
}

/// What names stand for that a file imports: `r` of `import requests as r`, `get` of `from requests import get`.
fn aliases<'a>(tokens: &[Token<'a>]) -> HashMap<&'a str, [&'a str; 2]> {
    let mut aliases = HashMap::new();
    let (mut module, mut inside, mut part) = ("", false, "");
    for (at, token) in tokens.iter().enumerate() {
        if token.first {
            inside = token.is_name("from") || token.is_name("import");
            (module, part) = ("", "");
        }
        if !inside || token.kind != Kind::Name {
            continue;
        }
        let before = at.checked_sub(1).map(|place| tokens[place]).filter(|_| !token.first);
        match before {
            Some(before) if before.is_name("from") => module = token.text,
            Some(before) if before.is_name("as") => {
                aliases.insert(token.text, [module, part]);
            }
            _ if matches!(token.text, "from" | "import" | "as") => {}
            _ => {
                part = token.text;
                if !module.is_empty() {
                    aliases.insert(token.text, [module, token.text]);
                }
            }
        }
    }
    aliases
}

/// The name that ends at a place, with what stands before it; names that were imported as others are put
/// right.
fn path<'a>(
    tokens: &[Token<'a>],
    at: usize,
    aliases: &HashMap<&'a str, [&'a str; 2]>,
) -> Vec<&'a str> {
    let mut path = vec![tokens[at].text];
    let mut at = at;
    while path.len() < 6 && at >= 2 && tokens[at - 1].is(b'.') && tokens[at - 2].kind == Kind::Name
    {
        at -= 2;
        path.push(tokens[at].text);
    }
    if let Some([module, name]) = path.last().and_then(|first| aliases.get(first)).copied() {
        path.pop();
        path.push(name);
        path.extend(Some(module).filter(|module| !module.is_empty()));
    }
    path.reverse();
    path
}

/// Where the group ends whose first token is at `from`, or where it is not looked at any more.
fn end_of_group(tokens: &[Token<'_>], from: usize) -> usize {
    let mut depth = 0u32;
    let most = tokens.len().min(from + ARGUMENTS);
    for (at, token) in tokens.iter().enumerate().take(most).skip(from) {
        match token.kind {
            Kind::Op(b'(' | b'[' | b'{') => depth += 1,
            Kind::Op(b')' | b']' | b'}') => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return at,
            },
            _ => {}
        }
    }
    most
}

impl<'a> Call<'a> {
    /// The function's own name.
    pub(crate) fn name(&self) -> &'a str {
        self.path.last().copied().unwrap_or_default()
    }

    /// Whether a part stands before the name: `torch` of `torch.hub.load`.
    pub(crate) fn of(&self, part: &str) -> bool {
        self.path[..self.path.len() - 1].contains(&part)
    }

    /// The value of the first argument without a name.
    pub(crate) fn first(&self, tokens: &[Token<'a>], constants: &Constants<'a>) -> Value<'a> {
        let is_named = tokens.get(self.inside.start + 1).is_some_and(|token| token.is(b'='));
        match self.inside.is_empty() || is_named {
            true => Value::Unknown,
            false => value(tokens, self.inside.start, constants),
        }
    }

    /// The value of an argument by its name.
    pub(crate) fn named(
        &self,
        name: &str,
        tokens: &[Token<'a>],
        constants: &Constants<'a>,
    ) -> Option<Value<'a>> {
        let mut depth = 0i32;
        for at in self.inside.clone() {
            match tokens[at].kind {
                Kind::Op(b'(' | b'[' | b'{') => depth += 1,
                Kind::Op(b')' | b']' | b'}') => depth -= 1,
                Kind::Name
                    if depth == 0
                        && tokens[at].text == name
                        && tokens.get(at + 1).is_some_and(|token| token.is(b'=')) =>
                {
                    return Some(value(tokens, at + 2, constants));
                }
                _ => {}
            }
        }
        None
    }

    /// The first argument as it is written: `args.out`.
    pub(crate) fn written(&self, tokens: &[Token<'a>]) -> String {
        let own = tokens[self.inside.clone()].iter().take(8);
        own.take_while(|token| !token.is(b',')).map(|token| token.text).collect()
    }

    /// All texts in the arguments, constants put in.
    pub(crate) fn texts(
        &self,
        tokens: &'a [Token<'a>],
        constants: &'a Constants<'a>,
    ) -> impl Iterator<Item = &'a str> {
        tokens[self.inside.clone()].iter().filter_map(|token| match token.kind {
            Kind::Text => Some(token.text),
            Kind::Name => constants.get(token.text),
            _ => None,
        })
    }
}

/// The value that begins at a place.
fn value<'a>(tokens: &[Token<'a>], at: usize, constants: &Constants<'a>) -> Value<'a> {
    let Some(token) = tokens.get(at) else { return Value::Unknown };
    match token.kind {
        Kind::Text => Value::Text(token.text),
        Kind::Number => Value::Word(token.text),
        Kind::Name => match constants.get(token.text) {
            Some(text) => Value::Text(text),
            None => Value::Word(token.text),
        },
        _ => Value::Unknown,
    }
}

/// Names that a file gives one text: `MODEL = "bert"`.
#[derive(Debug, Default)]
pub(crate) struct Constants<'a>(HashMap<&'a str, Option<&'a str>>);

impl<'a> Constants<'a> {
    pub(crate) fn of(tokens: &[Token<'a>]) -> Self {
        let mut texts = HashMap::new();
        for place in tokens.windows(3) {
            let [name, equals, value] = place else { continue };
            if name.kind == Kind::Name && equals.is(b'=') && value.kind == Kind::Text {
                texts
                    .entry(name.text)
                    .and_modify(|known| {
                        // With several texts, it is not known which one holds where.
                        if *known != Some(value.text) {
                            *known = None;
                        }
                    })
                    .or_insert(Some(value.text));
            }
        }
        Self(texts)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tokens;

    #[test]
    fn calls_are_found_with_their_arguments() {
        let text =
            "URL = 'u'\nfor i in x:\n    a.b.get(URL, timeout=3, data={'k': 'v'})\nprint(f(1))\n";
        let tokens = tokens(text, false);
        let constants = Constants::of(&tokens);
        let all = calls(&tokens);
        assert_eq!(all.len(), 3);
        let get = &all[0];
        assert_eq!((get.path.as_slice(), get.line, get.in_loop), (&["a", "b", "get"][..], 3, true));
        assert!(get.of("a") && !get.of("get") && get.name() == "get");
        assert_eq!(get.first(&tokens, &constants), Value::Text("u"));
        assert_eq!(get.named("timeout", &tokens, &constants), Some(Value::Word("3")));
        assert_eq!(get.named("k", &tokens, &constants), None);
        assert_eq!(get.texts(&tokens, &constants).collect::<Vec<_>>(), ["u", "k", "v"]);
        assert!(!all[1].in_loop && all[2].name() == "f");
    }

    #[test]
    fn imported_names_are_put_right() {
        let text = "from requests import get as fetch, post\nimport numpy.random as r\nfetch(u)\npost(u)\nr.rand(1)\n";
        let all = calls(&tokens(text, false));
        let paths: Vec<String> = all.iter().map(|call| call.path.join(".")).collect();
        assert_eq!(paths, ["requests.get", "requests.post", "random.rand"]);
    }

    #[test]
    fn a_name_with_two_texts_has_none() {
        let text = "A = 'x'\nA = 'y'\nB = 'z'\n";
        let constants = Constants::of(&tokens(text, false));
        assert_eq!((constants.get("A"), constants.get("B")), (None, Some("z")));
    }
}
