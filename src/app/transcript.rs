//! What an attempt's agent and its models said to each other, what came of it, and when: one
//! timeline, whatever the agent, and its forms for people and for other tools.

mod atif;
mod inspect;
mod pages;
mod text;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_llm::record::{
    CallRecord, Entry, LARGEST_TRANSCRIPT, Turn, read_calls, read_transcript,
};
use medalist_reports::html;
use medalist_reports::record::{AttemptKey, AttemptRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{CliError, Exit};
use crate::attempt::dir::AttemptDir;
use crate::attempt::text::chain;
use crate::host::files::read_json_if_there;

pub use pages::Recorded;
pub use text::Length;

/// Verdicts of the validation service that are read; the service writes no more.
const VERDICTS: usize = 20_000;

/// The forms of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For a terminal.
    Text,
    /// One self-contained page.
    Html,
    /// Our own JSON, with everything.
    Json,
    /// The Agent Trajectory Interchange Format 1.7, as Harbor reads it.
    Atif,
    /// A log for `inspect view`.
    Inspect,
}

/// Everything that is known of an attempt in the order of time.
#[derive(Debug, Clone, Serialize)]
pub struct Timeline {
    /// Which attempt.
    pub key: AttemptKey,
    /// Its run group.
    pub group: String,
    /// The version that the agent's package states.
    pub agent_version: Option<String>,
    /// How it ended, when, and under which conditions.
    pub record: AttemptRecord,
    /// What its submission is worth, if it is graded.
    pub grade: Option<GradeReport>,
    /// What happened.
    pub moments: Vec<Moment>,
    /// What is missing, for people.
    pub notes: Vec<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Moment {
    /// When.
    pub at: DateTime<Utc>,
    /// Seconds since the attempt began.
    pub elapsed_s: f64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A call of a model.
    Call(Box<Exchange>),
    /// The validation service answered.
    Validation {
        /// Whether the file was well formed.
        valid: bool,
        /// What the agent was told.
        message: String,
    },
    /// A copy of the submission was taken, and graded later.
    Snapshot {
        /// Its score.
        score: Option<f64>,
        /// Whether it was valid.
        valid: bool,
        /// What it would have won.
        medal: Option<String>,
    },
    /// The attempt entered its next phase.
    Phase {
        /// Its name.
        name: String,
    },
}

/// A call of a model: what was new in the request, the answer, and the bill.
#[derive(Debug, Clone, Serialize)]
pub struct Exchange {
    /// Number of the conversation, from 1: calls of one conversation go on from each other.
    pub conversation: usize,
    /// Files that the tools of the answer write, as far as their arguments tell.
    pub writes: Vec<String>,
    /// What was said.
    #[serde(flatten)]
    pub turn: Turn,
    /// Its line in `calls.jsonl`.
    pub bill: Option<CallRecord>,
}

impl Exchange {
    /// When the answer had come; the request's time where that is not recorded.
    fn answered_at(&self) -> DateTime<Utc> {
        let took = self.bill.as_ref().map_or(0.0, |bill| bill.duration_ms);
        self.turn.at + TimeDelta::milliseconds(took.clamp(0.0, 1e12) as i64)
    }
}

#[derive(Deserialize)]
struct Verdict {
    at: DateTime<Utc>,
    valid: bool,
    message: Shown,
}

impl Timeline {
    /// Reads what is left of an attempt: its record in the one folder, of the try in the other.
    ///
    /// # Errors
    /// The attempt has no record, or it is damaged. Anything else that is missing is a note.
    pub fn read(
        agent_version: Option<String>,
        record_in: &AttemptDir,
        dir: &AttemptDir,
    ) -> Result<Self, CliError> {
        Self::read_up_to(LARGEST_TRANSCRIPT, agent_version, record_in, dir)
    }

    /// As [`Timeline::read`], with so many bytes of the unpacked transcript at most.
    ///
    /// # Errors
    /// As [`Timeline::read`].
    pub fn read_up_to(
        largest: u64,
        agent_version: Option<String>,
        record_in: &AttemptDir,
        dir: &AttemptDir,
    ) -> Result<Self, CliError> {
        let record: Option<AttemptRecord> = read_json_if_there(&record_in.record())?;
        let Some(record) = record else {
            let root = record_in.root().display();
            return Err(CliError::message(
                Exit::BadInput,
                format!("`{root}` has no attempt.json: the attempt has not begun"),
            ));
        };
        let mut notes = Vec::new();
        let grade = read_json_if_there(&dir.grade()).unwrap_or_else(|error| {
            notes.push(chain(&error));
            None
        });
        let mut timeline = Self {
            key: record.key.clone(),
            group: record.group.clone(),
            agent_version,
            record,
            grade,
            moments: Vec::new(),
            notes,
        };
        timeline.add_calls(&dir.llm(), largest);
        timeline.add_verdicts(&dir.validation_log());
        timeline.add_phases_and_snapshots();
        timeline.moments.sort_by_key(|moment| moment.at);
        Ok(timeline)
    }

    fn add(&mut self, at: DateTime<Utc>, what: What) {
        let began = self.record.started_at.unwrap_or(at);
        self.moments.push(Moment { at, elapsed_s: (at - began).as_seconds_f64(), what });
    }

    fn add_calls(&mut self, llm: &Path, largest: u64) {
        let mut turns = match read_transcript(&llm.join("transcript.jsonl.gz"), largest) {
            Ok(read) => {
                if let Some(why) = read.cut_short {
                    self.notes.push(format!("the transcript ends early: {why}"));
                }
                read.turns
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let why = match self.record.llm {
                    Some(_) => "`record.transcript` was off, or no call was made",
                    None => "the attempt had no gateway to language models",
                };
                self.notes.push(format!("there is no transcript of calls: {why}"));
                return;
            }
            Err(error) => {
                self.notes.push(format!("cannot read the transcript of calls: {error}"));
                return;
            }
        };
        let mut bills: HashMap<u64, CallRecord> = match read_calls(llm) {
            Ok(calls) => calls.into_iter().map(|call| (call.id, call)).collect(),
            Err(error) => {
                self.notes.push(format!("cannot read the bill of calls: {error}"));
                HashMap::new()
            }
        };
        turns.sort_by_key(|turn| (turn.at, turn.call));
        let (mut conversations, mut count) = (HashMap::new(), 0);
        for turn in turns {
            let earlier = turn.continues.and_then(|call| conversations.get(&call).copied());
            let conversation = earlier.unwrap_or_else(|| {
                count += 1;
                count
            });
            conversations.insert(turn.call, conversation);
            let (at, bill) = (turn.at, bills.remove(&turn.call));
            let writes = turn.answer.iter().flat_map(files_written).collect();
            self.add(at, What::Call(Box::new(Exchange { conversation, writes, turn, bill })));
        }
        if !bills.is_empty() {
            let count = bills.len();
            self.notes.push(format!(
                "{count} call{} of the bill {} not in the transcript",
                if count == 1 { "" } else { "s" },
                if count == 1 { "is" } else { "are" },
            ));
        }
    }

    fn add_verdicts(&mut self, path: &Path) {
        let Ok(file) = File::open(path) else { return };
        for line in BufReader::new(file).lines().take(VERDICTS) {
            let Ok(line) = line else { return };
            // The last line of a full record, and one that a kill tore, are no verdicts.
            if let Ok(verdict) = serde_json::from_str::<Verdict>(&line) {
                let message = verdict.message.into_string();
                self.add(verdict.at, What::Validation { valid: verdict.valid, message });
            }
        }
    }

    fn add_phases_and_snapshots(&mut self) {
        let began = self.record.tries.last().and_then(|last| last.started_at);
        let Some(began) = began.or(self.record.started_at) else { return };
        let after =
            |seconds: f64| began + TimeDelta::milliseconds((seconds.clamp(0.0, 1e9) * 1e3) as i64);
        for phase in self.record.phases.clone() {
            self.add(after(phase.began_s), What::Phase { name: phase.name.as_str().to_owned() });
        }
        for snapshot in self.record.snapshots.clone() {
            let medal = snapshot.medal.map(|medal| medal.to_string());
            let what = What::Snapshot { score: snapshot.score, valid: snapshot.valid, medal };
            self.add(after(snapshot.after_s), what);
        }
    }

    /// The timeline in a form.
    ///
    /// # Errors
    /// It has no call and the form needs one, or a template fails.
    pub fn write(&self, form: Form, length: Length) -> Result<String, CliError> {
        let json = |value: &Value| serde_json::to_string_pretty(value).map(|text| text + "\n");
        Ok(match form {
            Form::Text => text::text(self, length),
            Form::Html => html::transcript_page(self, &text::headline(self))?,
            Form::Json => serde_json::to_string_pretty(self)? + "\n",
            Form::Atif => json(&atif::trajectory(self).ok_or_else(|| self.no_calls("ATIF"))?)?,
            Form::Inspect => json(&inspect::log(self))?,
        })
    }

    fn no_calls(&self, form: &str) -> CliError {
        let message = format!("`{}` made no recorded call, and {form} needs one step", self.key);
        let error = CliError::message(Exit::BadInput, message);
        match self.notes.first() {
            Some(note) => error.hint(note.clone()),
            None => error,
        }
    }

    /// The calls, in order.
    fn calls(&self) -> impl Iterator<Item = &Exchange> {
        self.moments.iter().filter_map(|moment| match &moment.what {
            What::Call(exchange) => Some(exchange.as_ref()),
            _ => None,
        })
    }
}

/// The files that a call of a tool writes, as far as its arguments tell: those of tools that take a
/// path and a content, of patches, and of `cat > FILE <<` in a shell.
fn files_written(entry: &Entry) -> Vec<String> {
    const PATHS: [&str; 4] = ["file_path", "path", "filename", "file"];
    const CONTENTS: [&str; 6] =
        ["content", "contents", "file_text", "new_string", "new_str", "text"];
    let Entry::Call { arguments, .. } = entry else { return Vec::new() };
    let find = |keys: &[&str]| keys.iter().find_map(|key| arguments.get(key)?.as_str());
    let mut files = Vec::new();
    if let (Some(path), Some(_)) = (find(&PATHS), find(&CONTENTS)) {
        files.push(Shown::new(path).into_string());
    }
    let mut texts = Vec::new();
    match arguments {
        Value::Object(fields) => texts.extend(fields.values()),
        other => texts.push(other),
    }
    let is_list = |value: &&Value| value.is_array();
    let nested: Vec<&Value> = texts.iter().copied().filter(is_list).collect();
    texts.extend(nested.into_iter().flat_map(|list| list.as_array().into_iter().flatten()));
    for text in texts.into_iter().filter_map(Value::as_str) {
        for line in text.lines() {
            let patched = ["*** Add File: ", "*** Update File: "];
            let named = patched.iter().find_map(|mark| line.strip_prefix(mark));
            if let Some(file) = named.or_else(|| here_document(line)) {
                files.push(Shown::new(file.trim()).into_string());
            }
        }
    }
    files
}

/// The file of `cat > FILE << END`.
fn here_document(line: &str) -> Option<&str> {
    let (command, rest) = line.split_once("<<")?;
    // The file stands before the document's mark, or behind it.
    let target = command.rsplit_once('>').or_else(|| rest.rsplit_once('>'))?.1;
    let file = target.trim().trim_matches(['"', '\'']);
    (!file.is_empty() && !file.contains(char::is_whitespace)).then_some(file)
}

#[cfg(test)]
mod tests;
