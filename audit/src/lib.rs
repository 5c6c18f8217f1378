//! Rules that point at what may be a violation in what an agent left: text and tables in, findings out.
//!
//! A finding is a question to a person, never a verdict: it has the line quoted, and says how sure it is.
//! Everything that is read may be hostile: nothing panics on it, and every rule takes time in proportion to
//! what it reads.
//!
//! ```
//! use medalist_audit::{Confidence, Rule, Setting, Source, code};
//!
//! let text = b"import timm\nnet = timm.create_model('resnet50', pretrained=True)\n";
//! let found = code(&Source::new("train.py", text), &Setting::default());
//! assert_eq!((found[0].rule, found[0].line), (Rule::PretrainedWeights, Some(2)));
//! assert_eq!(found[0].confidence, Confidence::Low);
//! ```

mod calls;
mod download;
mod finding;
mod hosted;
mod injection;
pub mod kernels;
pub mod leak;
mod literals;
pub mod near;
mod oracle;
mod packed;
mod paths;
pub mod same;
mod setting;
mod source;
mod token;
mod weights;

use std::collections::BTreeMap;

pub use finding::{Confidence, Finding, Rule};
pub use oracle::{Verdict, verdicts};
pub use setting::{Ids, Leave, Setting};
pub use source::Source;

use calls::Constants;
use injection::Reading;

/// Findings of one rule in one file beyond which they are counted.
pub const LISTED: usize = 10;

/// Applies all rules on code.
pub fn code(source: &Source<'_>, setting: &Setting) -> Vec<Finding> {
    let parsed = source.parse();
    let constants = Constants::of(&parsed.tokens);
    let mut found = literals::findings(&parsed, setting);
    found.extend(download::in_code(&parsed, &constants, setting));
    found.extend(weights::findings(&parsed, &constants, setting));
    found.extend(paths::in_code(&parsed, &constants, setting));
    found.extend(oracle::in_code(&parsed, &constants));
    found.extend(instructions(source.file, source.text(), setting));
    let prose = instructions(source.file, source.prose(), setting);
    // Lines are those of the code.
    found.extend(prose.into_iter().map(|finding| Finding { line: None, ..finding }));
    shorten(found)
}

/// Texts in code that tell their reader what to do.
fn instructions(file: &str, text: &str, setting: &Setting) -> Vec<Finding> {
    let mut lines = Text::new(file, Kind::Code);
    text.lines().for_each(|line| lines.line(line, setting));
    lines.finish()
}

/// Applies the rules on data that an agent left as text: JSON, a configuration. It may be what a model
/// predicted, so that nothing in it is sure.
pub fn data(source: &Source<'_>, setting: &Setting) -> Vec<Finding> {
    let mut found = literals::findings(&source.parse(), setting);
    for finding in &mut found {
        finding.confidence = finding.confidence.min(Confidence::Medium);
    }
    let mut lines = Text::new(source.file, Kind::Data);
    source.text().lines().for_each(|line| lines.line(line, setting));
    found.extend(lines.found);
    shorten(found)
}

/// Applies the rules on a line of an attempt's transcript, as JSON. `number`: of the line, from 1.
pub fn transcript_line(
    file: &str,
    number: u64,
    line: &serde_json::Value,
    setting: &Setting,
) -> Vec<Finding> {
    shorten(hosted::findings(file, number, line, setting))
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Code, where marks of chat templates stand for good reasons.
    Code,
    /// What programs printed.
    Log,
    /// Anything else that somebody may read.
    Data,
}

/// A text that is read line by line, however long it is.
#[derive(Debug)]
pub struct Text<'a> {
    file: &'a str,
    kind: Kind,
    number: u64,
    reading: Reading,
    /// Findings by rule that are counted only.
    counts: BTreeMap<Rule, usize>,
    found: Vec<Finding>,
}

impl<'a> Text<'a> {
    /// A text of which nothing was read.
    pub fn new(file: &'a str, kind: Kind) -> Self {
        let (reading, counts) = (Reading::default(), BTreeMap::new());
        Self { file, kind, number: 0, reading, counts, found: Vec::new() }
    }

    /// Reads the next line.
    pub fn line(&mut self, line: &str, setting: &Setting) {
        self.number += 1;
        let told = self.reading.line(line, self.kind == Kind::Code);
        if let Some((confidence, says)) = told {
            let rule = Rule::PromptInjection;
            self.add(source::in_text(rule, self.file, self.number, line, confidence, says));
        }
        if self.kind == Kind::Log
            && let Some(finding) = download::in_log(self.file, self.number, line, setting)
        {
            self.add(finding);
        }
    }

    fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.rule).or_default();
        *count += 1;
        if *count <= LISTED {
            self.found.push(finding);
        }
    }

    /// What was found.
    pub fn finish(self) -> Vec<Finding> {
        self.found
    }
}

/// Keeps the surest findings of each rule and line, and a few of each rule; the last says how many there are.
fn shorten(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by(|a, b| {
        a.rule.cmp(&b.rule).then(b.confidence.cmp(&a.confidence)).then(a.line.cmp(&b.line))
    });
    let mut counts: BTreeMap<Rule, usize> = BTreeMap::new();
    let mut kept: Vec<Finding> = Vec::new();
    for finding in found {
        if kept.iter().any(|known| known.rule == finding.rule && known.line == finding.line) {
            continue;
        }
        let count = counts.entry(finding.rule).or_default();
        *count += 1;
        if *count <= LISTED {
            kept.push(finding);
        }
    }
    for (rule, count) in counts.into_iter().filter(|(_, count)| *count > LISTED) {
        if let Some(last) = kept.iter_mut().rfind(|finding| finding.rule == rule) {
            let more = count - LISTED;
            last.says.push_str(&format!("; {more} more like it in this file"));
        }
    }
    kept
}
