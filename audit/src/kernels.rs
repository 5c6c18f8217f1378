//! Code that is also in a public kernel, by winnowing: Schleimer, Wilkerson and Aiken, "Winnowing: local
//! algorithms for document fingerprinting", SIGMOD 2003.
//!
//! Code is a row of tokens in which names, texts and numbers stand for all of their kind; every run of
//! [`K`] tokens has a hash, and of every [`WINDOW`] hashes in a row the least is a fingerprint. A shared run of
//! `K + WINDOW - 1` tokens is found for certain.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use medalist_grading::untrusted::Shown;

use crate::finding::{Confidence, Finding, Rule};
use crate::source::{Parsed, Source};
use crate::token::{Kind, Token};

/// Tokens of a run.
pub const K: usize = 23;
/// Hashes of which one is kept.
pub const WINDOW: usize = 17;
/// Kinds of tokens that a run of code has at least.
const KINDS: usize = 6;
/// Kernels from which a fingerprint that many of them have says nothing.
const COMMON_FROM: usize = 10;

/// Public kernels that the user has.
#[derive(Debug, Default)]
pub struct Kernels {
    names: Vec<String>,
    /// The kernels that have a fingerprint.
    prints: HashMap<u64, Vec<u32>>,
}

/// How much of a file is in a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Copied {
    pub kernel: String,
    /// Fingerprints of the file, without those that many kernels have.
    pub prints: usize,
    /// How many of them the kernel has.
    pub shared: usize,
    /// The first line that is in the kernel, and the last.
    pub lines: (u32, u32),
}

impl Kernels {
    /// Adds a kernel; gives its number of fingerprints, which is none where it is too short.
    pub fn add(&mut self, kernel: &Source<'_>) -> usize {
        let number = self.names.len() as u32;
        self.names.push(kernel.file.to_owned());
        let prints = fingerprints(&kernel.parse());
        for (print, _) in &prints {
            let kernels = self.prints.entry(*print).or_default();
            if kernels.last() != Some(&number) {
                kernels.push(number);
            }
        }
        prints.len()
    }

    /// Number of kernels.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The kernel that shares most with a file, if any shares something.
    pub fn nearest(&self, source: &Source<'_>) -> Option<Copied> {
        let mut counts: BTreeMap<u32, (usize, u32, u32)> = BTreeMap::new();
        let (mut all, mut seen) = (0, HashSet::new());
        for (print, line) in fingerprints(&source.parse()) {
            let kernels = self.prints.get(&print).map(Vec::as_slice).unwrap_or_default();
            if self.len() >= COMMON_FROM && kernels.len() * 10 > self.len() || !seen.insert(print) {
                continue;
            }
            all += 1;
            for kernel in kernels {
                let (count, first, last) = counts.entry(*kernel).or_insert((0, line, line));
                *count += 1;
                (*first, *last) = ((*first).min(line), (*last).max(line));
            }
        }
        let (kernel, (shared, first, last)) =
            counts.into_iter().max_by_key(|(_, (count, ..))| *count)?;
        let kernel = self.names[kernel as usize].clone();
        Some(Copied { kernel, prints: all, shared, lines: (first, last) })
    }

    /// The finding for a file, if enough of it is in one kernel.
    pub fn finding(&self, source: &Source<'_>) -> Option<Finding> {
        let copied = self.nearest(source)?;
        let confidence = copied.confidence()?;
        let Copied { kernel, prints, shared, lines } = copied;
        Some(Finding {
            rule: Rule::CopiedKernel,
            file: Shown::new(source.file),
            line: Some(u64::from(lines.0)),
            confidence,
            evidence: Shown::cut(
                source.text().lines().nth(lines.0 as usize - 1).unwrap_or_default().trim(),
                160,
            ),
            says: format!(
                "{shared} of {prints} fingerprints, in lines {} to {}, are those of `{}`",
                lines.0,
                lines.1,
                Shown::new(&kernel)
            ),
        })
    }
}

impl Copied {
    /// How sure it is that the file was copied; none if chance may do the same.
    pub fn confidence(&self) -> Option<Confidence> {
        let share = self.shared as f64 / self.prints.max(1) as f64;
        match self.shared {
            6.. if share >= 0.5 => Some(Confidence::High),
            6.. if share >= 0.2 => Some(Confidence::Medium),
            12.. => Some(Confidence::Low),
            _ => None,
        }
    }
}

/// Number of different fingerprints of a file: with fewer than six, nothing is said of it.
pub fn count(source: &Source<'_>) -> usize {
    fingerprints(&source.parse()).into_iter().map(|print| print.0).collect::<HashSet<u64>>().len()
}

/// The fingerprints of code with their lines, in order.
fn fingerprints(code: &Parsed<'_>) -> Vec<(u64, u32)> {
    let codes = codes(&code.tokens);
    if codes.len() < K {
        return Vec::new();
    }
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    let power = (1..K).fold(1u64, |power, _| power.wrapping_mul(BASE));
    let mut hash =
        codes[..K].iter().fold(0u64, |hash, code| hash.wrapping_mul(BASE).wrapping_add(code.0));
    let mut prints: Vec<(u64, u32)> = Vec::new();
    // The hashes of the window that may still become the least, the least first.
    let mut window: VecDeque<(usize, u64)> = VecDeque::new();
    let mut last = None;
    for at in 0..=codes.len() - K {
        if at > 0 {
            let gone = codes[at - 1].0.wrapping_mul(power);
            hash = hash.wrapping_sub(gone).wrapping_mul(BASE).wrapping_add(codes[at + K - 1].0);
        }
        let mixed = mix(hash);
        while window.back().is_some_and(|(_, other)| *other >= mixed) {
            window.pop_back();
        }
        window.push_back((at, mixed));
        if window.front().is_some_and(|(place, _)| place + WINDOW <= at) {
            window.pop_front();
        }
        // A text shorter than a window has one fingerprint all the same.
        let full = at + 1 >= WINDOW || at == codes.len() - K;
        if let Some((place, least)) = window.front().copied()
            && full
            && last != Some(place)
        {
            last = Some(place);
            if is_code(&codes[place..place + K]) {
                prints.push((least, codes[place].1));
            }
        }
    }
    prints
}

/// Whether a run of tokens does something: tables of values are alike everywhere.
fn is_code(run: &[(u64, u32)]) -> bool {
    run.iter().map(|code| code.0).collect::<HashSet<u64>>().len() >= KINDS
}

/// What is hashed of each token, with its line: imports are left out, which are alike everywhere, and so are
/// ends of statements.
fn codes(tokens: &[Token<'_>]) -> Vec<(u64, u32)> {
    let mut codes = Vec::with_capacity(tokens.len());
    let mut import = false;
    for (at, token) in tokens.iter().enumerate() {
        if token.first {
            import = token.is_name("import") || token.is_name("from");
        }
        if import {
            continue;
        }
        let code = match token.kind {
            Kind::End | Kind::Comment => continue,
            Kind::Op(op) => u64::from(op),
            Kind::Number => 256,
            // A text that is a statement says nothing to the machine.
            Kind::Text if token.first => continue,
            Kind::Text => 257,
            Kind::Shell => 258,
            Kind::Name => {
                // Who copies renames variables and functions, but not what a library calls its own.
                let member = at > 0 && tokens[at - 1].is(b'.');
                match member || KEYWORDS.contains(&token.text) {
                    true => fnv(token.text),
                    false => 259,
                }
            }
        };
        codes.push((code, token.line));
    }
    codes
}

const KEYWORDS: [&str; 32] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "global", "if", "in", "is", "lambda", "nonlocal", "not",
    "or", "pass", "raise", "return", "try", "while", "with", "yield", "True", "None",
];

/// FNV-1a, which is the same on every machine.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Spreads the bits of a hash, so that the least of a window is a fair choice.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prints(text: &str) -> Vec<u64> {
        fingerprints(&Source::new("a.py", text.as_bytes()).parse())
            .into_iter()
            .map(|print| print.0)
            .collect()
    }

    #[test]
    fn names_texts_numbers_comments_and_imports_do_not_matter() {
        let body = |f: &str, x: &str, n: &str| {
            format!(
                "{f} = 1\nfor {x} in range({n}):\n    {f} = {f} * {x} + {x} ** 2\n    print('{x}', {f}, sep='')\n    q.append({f} if {x} > {n} else -{x})\n"
            )
        };
        let one = prints(&body("total", "i", "10"));
        assert!(!one.is_empty());
        let other = format!("import os\n# {}\n{}", "mine", body("s", "step", "12"));
        assert_eq!(one, prints(&other));
        assert_ne!(one, prints(&body("s", "i", "3").replace("append", "push")));
    }

    proptest! {
        #[test]
        fn a_shared_run_is_always_found(
            words in proptest::collection::vec("[a-z]{1,3}", K + WINDOW..K + WINDOW + 40),
            before in proptest::collection::vec("[a-z]{1,3}", 0..30),
        ) {
            let text = |words: &[String]| words.iter().map(|word| format!("x.{word} ")).collect::<String>();
            let shared = text(&words);
            let (a, b) = (prints(&shared), prints(&format!("{}{shared}", text(&before))));
            prop_assert!(a.iter().any(|print| b.contains(print)));
        }
    }
}
