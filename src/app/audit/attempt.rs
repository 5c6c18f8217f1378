//! One attempt: its files, by the rules for each.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use medalist_audit::kernels::Kernels;
use medalist_audit::same::Submitted;
use medalist_audit::{Confidence, Finding, Kind, Rule, Setting, Source, Text, Verdict};
use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_llm::record::read_calls;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::task::Task;
use super::{NotChecked, files, submission};
use crate::app::bundle::manifest::Part;
use crate::app::bundle::pick::Picked;
use crate::host::files::read_json_if_there;
use crate::sandbox::services::allowlist::Asked;

/// Endings of files that are taken for code.
const CODE: [&str; 12] =
    ["py", "ipynb", "sh", "bash", "r", "jl", "pyx", "yaml", "yml", "toml", "cfg", "ini"];
/// Endings of files that are taken for data that code may read.
const DATA: [&str; 2] = ["json", "jsonl"];
/// Answers of the validation service that are read; it writes no more.
const VERDICTS: usize = 20_000;
/// Hosts that are named.
const HOSTS: usize = 10;

/// What is found while an attempt's files are read.
pub(super) struct Reading<'a> {
    setting: &'a Setting,
    task: Option<&'a Task>,
    kernels: Option<&'a Kernels>,
    pub(super) found: Vec<Finding>,
    pub(super) not_checked: Vec<NotChecked>,
    /// What is compared with other attempts.
    pub(super) submitted: Option<Submitted>,
    code: DefaultHasher,
    /// Hashes of the code that was looked at.
    seen: HashSet<[u8; 32]>,
    has_code: bool,
    has_transcript: bool,
    has_verdicts: bool,
}

/// The rules that read code.
const ON_CODE: [Rule; 5] = [
    Rule::HardCodedAnswers,
    Rule::MemorisedIds,
    Rule::Download,
    Rule::PretrainedWeights,
    Rule::OutsideRead,
];

impl<'a> Reading<'a> {
    pub(super) fn new(
        setting: &'a Setting,
        task: Option<&'a Task>,
        kernels: Option<&'a Kernels>,
    ) -> Self {
        Self {
            setting,
            task,
            kernels,
            found: Vec::new(),
            not_checked: Vec::new(),
            submitted: None,
            code: DefaultHasher::new(),
            seen: HashSet::new(),
            has_code: false,
            has_transcript: false,
            has_verdicts: false,
        }
    }

    /// Reads all files of an attempt, whose folder in the run group is `dir`.
    pub(super) fn all(&mut self, picked: &[&Picked], dir: &str) {
        let mut submissions: Vec<(&str, &Path)> = Vec::new();
        let mut copies: Vec<(&str, &Path)> = Vec::new();
        for file in picked {
            let Some((_, name)) = file.path.split_once(&format!("/{dir}/")) else { continue };
            // What an earlier try left is looked at as what the last one left is.
            let below = name.strip_prefix("tries/").and_then(|rest| rest.split_once('/'));
            let of_try = below.map_or(name, |(_, rest)| rest);
            match (file.part, of_try) {
                (Some(Part::Submissions), "submission/submission.csv") => {
                    submissions.push((name, &file.from));
                }
                (Some(Part::Code), _) if of_try.starts_with("snapshots/") => {
                    copies.push((name, &file.from));
                }
                (Some(Part::Code), _) => self.code(name, &file.from, false),
                (Some(Part::Logs), _) => self.log(name, &file.from),
                (Some(Part::Transcripts), "llm/transcript.jsonl.gz") => {
                    self.transcript(name, &file.from);
                }
                (None, "validations.jsonl") => self.verdicts(name, &file.from),
                (None, "network.jsonl") => self.network(name, &file.from),
                (None, "llm/calls.jsonl") => self.calls(name, &file.from),
                _ => {}
            }
        }
        // Of copies from while it ran, only what it had changed or removed in the end says more.
        copies.into_iter().rev().for_each(|(name, path)| self.code(name, path, true));
        // Without a number first, so that the one that counts is the first or the latest.
        submissions.sort_by_key(|(name, _)| {
            let number = name.strip_prefix("tries/").and_then(|rest| rest.split('/').next());
            std::cmp::Reverse(number.map_or(u32::MAX, |number| number.parse().unwrap_or_default()))
        });
        self.submission(submissions.first().copied());
        self.missing();
    }

    fn not(&mut self, rule: Rule, why: impl Into<String>) {
        let one = NotChecked { rule, why: why.into() };
        if !self.not_checked.contains(&one) {
            self.not_checked.push(one);
        }
    }

    fn not_read(&mut self, rules: &[Rule], name: &str, why: &str) {
        for rule in rules {
            self.not(*rule, format!("`{}` was not read: {why}", Shown::new(name)));
        }
    }

    /// A file in the folder of code, or in a copy of it from while the agent ran.
    fn code(&mut self, name: &str, path: &Path, is_copy: bool) {
        let end =
            path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        let (is_code, is_data) = (CODE.contains(&end.as_str()), DATA.contains(&end.as_str()));
        if !(is_code || is_data || end.is_empty()) {
            return;
        }
        let bytes = match files::bytes(path) {
            Ok(bytes) if end.is_empty() && files::is_binary(&bytes) => return,
            Ok(bytes) => bytes,
            Err(why) => return self.not_read(&ON_CODE, name, &why),
        };
        let is_new = self.seen.insert(Sha256::digest(&bytes).into());
        if is_copy && !is_new {
            return;
        }
        let source = Source::new(name, &bytes);
        if source.is_cut() {
            self.not_read(&ON_CODE, name, "its end is beyond what is read");
        }
        let mut found: Vec<Finding> = match is_data {
            true => medalist_audit::data(&source, self.setting).into_iter().collect(),
            false => {
                let kernel = self.kernels.and_then(|kernels| kernels.finding(&source));
                medalist_audit::code(&source, self.setting).into_iter().chain(kernel).collect()
            }
        };
        if is_copy {
            // Most of it stands in a later version, too.
            let known = |one: &Finding| {
                self.found.iter().any(|known| {
                    known.rule == one.rule && known.evidence.as_str() == one.evidence.as_str()
                })
            };
            found.retain(|one| !known(one));
        } else if !is_data {
            self.has_code = true;
            (name, &bytes).hash(&mut self.code);
        }
        self.found.extend(found);
    }

    /// What was printed, or written beside the code.
    fn log(&mut self, name: &str, path: &Path) {
        let rules = [Rule::PromptInjection, Rule::Download];
        let mut text = Text::new(name, Kind::Log);
        match files::lines(path, |line| text.line(line, self.setting)) {
            Ok(whole) => {
                self.found.extend(text.finish());
                if !whole {
                    self.not_read(&rules, name, "its end is beyond what is read");
                }
            }
            Err(error) => self.not_read(&rules, name, &error.to_string()),
        }
    }

    fn transcript(&mut self, name: &str, path: &Path) {
        self.has_transcript = true;
        let rules = [Rule::HostedTool, Rule::OutsideRead, Rule::PromptInjection];
        let mut found: Vec<Finding> = Vec::new();
        let mut left = 0usize;
        let read = files::transcript(path, |number, line| {
            for finding in medalist_audit::transcript_line(name, number, line, self.setting) {
                let of_rule = found.iter().filter(|known| known.rule == finding.rule).count();
                if of_rule < medalist_audit::LISTED {
                    found.push(finding);
                } else {
                    left += 1;
                }
            }
        });
        if left > 0
            && let Some(last) = found.last_mut()
        {
            last.says.push_str(&format!("; {left} more findings are in this file"));
        }
        self.found.extend(found);
        match read {
            Ok(None) => {}
            Ok(Some(why)) => self.not_read(&rules, name, &format!("its rest, since {why}")),
            Err(error) => self.not_read(&rules, name, &error.to_string()),
        }
    }

    fn verdicts(&mut self, name: &str, path: &Path) {
        #[derive(Deserialize)]
        struct Line {
            valid: bool,
            message: Shown,
        }
        self.has_verdicts = true;
        let mut all: Vec<Line> = Vec::new();
        let read = files::lines(path, |line| {
            // The last line of a full record, and one that a kill tore, are no answers.
            if let (true, Ok(line)) = (all.len() < VERDICTS, serde_json::from_str(line)) {
                all.push(line);
            }
        });
        if let Err(error) = read {
            return self.not_read(&[Rule::ValidationOracle], name, &error.to_string());
        }
        let all: Vec<Verdict<'_>> =
            all.iter().map(|line| Verdict { valid: line.valid, message: &line.message }).collect();
        self.found.extend(medalist_audit::verdicts(name, &all));
    }

    /// Connections that an allowlist's proxy let through.
    fn network(&mut self, name: &str, path: &Path) {
        let mut hosts: Vec<(String, u64, u64)> = Vec::new();
        let mut number = 0;
        let read = files::lines(path, |line| {
            number += 1;
            let Some(line) = Asked::read(line.as_bytes()) else { return };
            match hosts.iter().position(|(host, ..)| *host == line.target) {
                Some(at) => {
                    hosts[at].2 = hosts[at].2.saturating_add(line.received_bytes);
                }
                None if hosts.len() < HOSTS && line.connected => {
                    hosts.push((line.target, number, line.received_bytes));
                }
                None => {}
            }
        });
        if let Err(error) = read {
            return self.not_read(&[Rule::Download], name, &error.to_string());
        }
        for (host, line, bytes) in hosts {
            self.found.push(Finding {
                rule: Rule::Download,
                file: Shown::new(name),
                line: Some(line),
                confidence: Confidence::Low,
                says: format!("{bytes} bytes came from a host that the plan allows"),
                evidence: Shown::new(&host),
            });
        }
    }

    /// Tools of providers that the gateway took out of requests.
    fn calls(&mut self, name: &str, path: &Path) {
        let Some(folder) = path.parent() else { return };
        let Ok(calls) = read_calls(folder) else {
            return self.not_read(&[Rule::HostedTool], name, "it is damaged");
        };
        let asked = |call: &&medalist_llm::record::CallRecord| !call.stripped.is_empty();
        let count = calls.iter().filter(asked).count();
        if let Some((at, call)) = calls.iter().enumerate().find(|(_, call)| asked(call)) {
            self.found.push(Finding {
                rule: Rule::HostedTool,
                file: Shown::new(name),
                line: Some(at as u64 + 1),
                confidence: Confidence::Low,
                evidence: Shown::new(&call.stripped.join(", ")),
                says: format!(
                    "{count} requests asked for tools of the provider, which the gateway took out"
                ),
            });
        }
    }

    fn submission(&mut self, file: Option<(&str, &Path)>) {
        let both = [Rule::NearAnswers, Rule::IdenticalSubmissions];
        let Some((name, path)) = file else {
            both.iter().for_each(|rule| self.not(*rule, "there is no submission"));
            return;
        };
        let Some(task) = self.task else {
            both.iter().for_each(|rule| self.not(*rule, "the competition is not known here"));
            return;
        };
        let table = match submission::read(path) {
            Ok(table) => table,
            Err(why) => return self.not_read(&both, name, &why),
        };
        let grade = path.parent().and_then(Path::parent).map(|root| root.join("grade.json"));
        let grade: Option<GradeReport> =
            grade.and_then(|path| read_json_if_there(&path).ok().flatten());
        match submission::near(&table, name, task, grade.and_then(|grade| grade.score)) {
            Ok(finding) => self.found.extend(finding),
            Err(why) => self.not(Rule::NearAnswers, why),
        }
        self.submitted = submission::submitted(&table, task);
        if self.submitted.is_none() {
            self.not(Rule::IdenticalSubmissions, "the submission lacks a column of ids");
        }
    }

    /// Names what could not be looked for.
    fn missing(&mut self) {
        if !self.has_code {
            let mut rules = ON_CODE.to_vec();
            rules.extend(self.kernels.map(|_| Rule::CopiedKernel));
            rules.iter().for_each(|rule| self.not(*rule, "there is no code of the attempt"));
        } else if self.setting.ids.is_none() {
            let why = match self.task {
                Some(task) if !task.missing.is_empty() => task.missing.join("; "),
                Some(_) => "rows have no id of one column".to_owned(),
                None => "the competition is not known here".to_owned(),
            };
            self.not(Rule::MemorisedIds, &*why);
            self.not(Rule::HardCodedAnswers, format!("only by names and shapes, since {why}"));
        }
        if self.kernels.is_none() {
            self.not(Rule::CopiedKernel, "no folder of kernels was named (`--kernels`)");
        }
        if !self.has_transcript {
            let why = "there is no transcript of calls";
            self.not(Rule::HostedTool, why);
            self.not(Rule::OutsideRead, format!("commands of a model: {why}"));
        }
        if !self.has_verdicts {
            self.not(Rule::ValidationOracle, "there is no record of the validation service");
        }
        if let (true, Some(submitted)) = (self.has_code, &mut self.submitted) {
            submitted.code = Some(self.code.clone().finish());
        }
    }
}
