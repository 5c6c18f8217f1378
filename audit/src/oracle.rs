//! The validation service, asked for more than whether a file is well formed.

use std::collections::{HashMap, HashSet};

use crate::calls::Constants;
use crate::finding::{Confidence, Finding, Rule};
use crate::source::{Parsed, in_text};
use crate::token::Kind;

/// Questions beyond which it is not only the end of a run that is checked.
const MANY: usize = 50;
/// Different fillings of one message that no accident brings.
const PROBES: usize = 12;

/// An answer of the validation service.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'a> {
    pub valid: bool,
    /// What the agent was told.
    pub message: &'a str,
}

/// Looks at all answers that an attempt got, in order. `file`: where they stand, one a line.
pub fn verdicts(file: &str, verdicts: &[Verdict<'_>]) -> Vec<Finding> {
    // What messages say beside names and numbers, and with which of these each was told.
    let mut kinds: HashMap<String, (HashSet<&str>, usize)> = HashMap::new();
    for (at, verdict) in verdicts.iter().enumerate().filter(|(_, verdict)| !verdict.valid) {
        let (fillings, line) = kinds.entry(kind(verdict.message)).or_default();
        fillings.insert(verdict.message);
        *line = at;
    }
    let find = |at: usize, confidence, says: String| {
        let line = at as u64 + 1;
        let text = verdicts.get(at).map_or("", |verdict| verdict.message);
        in_text(Rule::ValidationOracle, file, line, text, confidence, says)
    };
    let probed = kinds.values().max_by_key(|(fillings, _)| fillings.len());
    if let Some((fillings, line)) = probed
        && fillings.len() >= PROBES
    {
        let count = fillings.len();
        let confidence = if count >= 3 * PROBES { Confidence::High } else { Confidence::Medium };
        let says = format!(
            "{count} files were refused for one reason, each with another id, row or value"
        );
        return vec![find(*line, confidence, says)];
    }
    let count = verdicts.len();
    if count < MANY {
        return Vec::new();
    }
    let confidence = if count >= 4 * MANY { Confidence::Medium } else { Confidence::Low };
    vec![find(count - 1, confidence, format!("the validation service was asked {count} times"))]
}

/// A message without what stands in backticks, and without digits.
fn kind(message: &str) -> String {
    let outside = message.split('`').step_by(2).collect::<Vec<_>>().join("`");
    outside.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect()
}

/// Code that asks the validation service in a loop.
pub(crate) fn in_code(code: &Parsed<'_>, constants: &Constants<'_>) -> Vec<Finding> {
    let asks: Vec<_> = code
        .calls
        .iter()
        .filter(|call| {
            matches!(call.name(), "post" | "request" | "urlopen" | "run" | "check_output")
        })
        .filter(|call| {
            call.texts(&code.tokens, constants).take(12).any(|text| text.contains("/validate"))
        })
        .take(20)
        .collect();
    let says = "the validation service is asked in a loop";
    let mut found = Vec::new();
    let mut functions = HashSet::new();
    for call in asks {
        if call.in_loop {
            found.push(code.finding(Rule::ValidationOracle, call.line, Confidence::Medium, says));
        } else if let Some(name) = function_of(code, call.at) {
            functions.insert(name);
        }
    }
    for call in code.calls.iter().filter(|call| call.in_loop && functions.contains(call.name())) {
        let says =
            format!("`{}`, which asks the validation service, is called in a loop", call.name());
        found.push(code.finding(Rule::ValidationOracle, call.line, Confidence::Low, says));
    }
    found
}

/// The function that a place stands in.
fn function_of<'a>(code: &Parsed<'a>, at: usize) -> Option<&'a str> {
    let indent = code.tokens[at].indent;
    let before = code.tokens[..at].iter().enumerate().rev();
    let (place, _) = before
        .filter(|(_, token)| token.first && token.is_name("def"))
        .find(|(_, token)| token.indent < indent)?;
    code.tokens.get(place + 1).filter(|token| token.kind == Kind::Name).map(|token| token.text)
}
