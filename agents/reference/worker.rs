//! One role at one task: ask the model, do what it says, tell it what came of it, until it is done.

use std::thread;

use crate::journal::shortened;
use crate::json::Json;
use crate::llm::{Call, Stop};
use crate::tools::{Outcome, Tools};

/// Answers without a tool call after which a role is taken to be done.
const IDLE: u32 = 3;
/// A conversation is kept below this, in bytes of JSON: some 60,000 tokens.
const LONGEST: usize = 240_000;
/// The messages at the end that are never shortened.
const FRESH: usize = 8;
/// What is left of an old text in a long conversation, in bytes.
const STUB: usize = 400;

/// How a role ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// What it says, or what was the last that it said.
    pub(crate) summary: String,
    /// Why it did not end by itself.
    pub(crate) stopped: Option<Stop>,
}

/// Gives tasks on; for roles that direct others.
pub(crate) trait Delegate: Sync {
    /// Works on one task and reports.
    fn delegate(&self, arguments: &Json) -> String;
    /// Whether tasks of one answer may run at the same time.
    fn in_parallel(&self) -> bool;
}

/// A role with its context.
pub(crate) struct Worker<'a> {
    pub(crate) tools: Tools<'a>,
    pub(crate) described: Json,
    pub(crate) delegate: Option<&'a dyn Delegate>,
    messages: Vec<Json>,
}

fn message(role: &str, content: impl Into<String>) -> Json {
    Json::object([("role", Json::text(role)), ("content", Json::text(content))])
}

impl<'a> Worker<'a> {
    pub(crate) fn new(tools: Tools<'a>, described: Vec<Json>, system: &str, task: &str) -> Self {
        let messages = vec![message("system", system), message("user", task)];
        Self { tools, described: Json::List(described), delegate: None, messages }
    }

    /// Works until the role is done, or cannot go on.
    pub(crate) fn work(&mut self) -> End {
        let attempt = self.tools.attempt;
        let who = self.tools.who.clone();
        attempt.journal.note(&who, "began", [("model", Json::text(attempt.llm.model(&who.role)))]);
        let (mut idle, mut last) = (0, String::new());
        let end = |summary: String, stopped: Option<Stop>| {
            let why = stopped.as_ref().map_or(Json::Null, |stop| Json::text(stop.to_string()));
            attempt.journal.note(
                &who,
                "ended",
                [("summary", Json::text(&summary)), ("stopped", why)],
            );
            End { summary, stopped }
        };
        for _ in 0..attempt.settings.steps {
            trim(&mut self.messages);
            let said = match attempt.llm.ask(&self.tools.who.role, &self.messages, &self.described)
            {
                Ok(said) => said,
                Err(stop) => return end(last, Some(stop)),
            };
            if !said.text.is_empty() {
                attempt.journal.note(&self.tools.who, "said", [("text", Json::text(&said.text))]);
                last.clone_from(&said.text);
            }
            self.messages.push(said.message);
            if said.calls.is_empty() {
                idle += 1;
                if idle == IDLE {
                    return end(last, None);
                }
                let words =
                    format!("Use a tool; call `finish` when you are done. {}", attempt.llm.left());
                self.messages.push(message("user", words));
                continue;
            }
            idle = 0;
            let (told, finished) = self.answer(&said.calls);
            self.messages.extend(told);
            if let Some(summary) = finished {
                return end(summary, None);
            }
        }
        end(last, Some(Stop::OutOfSteps))
    }

    /// Does what the calls say; the messages for the model, and the summary of a call to finish.
    fn answer(&self, calls: &[Call]) -> (Vec<Json>, Option<String>) {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; calls.len()];
        let parallel = self.delegate.is_some_and(Delegate::in_parallel);
        if parallel {
            thread::scope(|scope| {
                let running: Vec<_> = calls
                    .iter()
                    .enumerate()
                    .filter(|(_, call)| call.name == "delegate")
                    .map(|(at, call)| (at, scope.spawn(|| self.one(call))))
                    .collect();
                for (at, task) in running {
                    let lost = || Outcome::Told("error: the task was lost".to_owned());
                    outcomes[at] = Some(task.join().unwrap_or_else(|_| lost()));
                }
            });
        }
        let (mut told, mut finished) = (Vec::new(), None);
        let count = calls.len();
        for (at, (call, outcome)) in calls.iter().zip(outcomes).enumerate() {
            let mut text = match outcome.unwrap_or_else(|| self.one(call)) {
                Outcome::Told(text) => text,
                Outcome::Finished(summary) => {
                    finished = Some(summary);
                    "done".to_owned()
                }
            };
            if at + 1 == count && finished.is_none() {
                text += &format!("\n{}", self.tools.attempt.llm.left());
            }
            told.push(Json::object([
                ("role", Json::text("tool")),
                ("tool_call_id", Json::text(&call.id)),
                ("content", Json::text(text)),
            ]));
        }
        (told, finished)
    }

    fn one(&self, call: &Call) -> Outcome {
        let arguments = match &call.arguments {
            Ok(arguments) => arguments,
            Err(error) => {
                return Outcome::Told(format!("error: the arguments are no JSON: {error}"));
            }
        };
        let quoted = Json::text(arguments.to_string());
        self.tools.attempt.journal.note(&self.tools.who, &call.name, [("arguments", quoted)]);
        let outcome = match self.delegate.filter(|_| call.name == "delegate") {
            Some(delegate) => Outcome::Told(delegate.delegate(arguments)),
            None => self.tools.call(&call.name, arguments),
        };
        if let Outcome::Told(text) = &outcome {
            self.tools.attempt.journal.note(&self.tools.who, "saw", [("text", Json::text(text))]);
        }
        outcome
    }

    /// The conversation in words, without the system prompt.
    pub(crate) fn transcript(&self) -> String {
        let mut out = String::new();
        for entry in &self.messages[1..] {
            let role = entry.get("role").as_str().unwrap_or_default();
            let text = entry.get("content").as_str().unwrap_or_default();
            out += &format!("{} {role}: {}\n", self.tools.who, shortened(text, 4000));
            for call in entry.get("tool_calls").items() {
                out += &format!(
                    "{} calls {}\n",
                    self.tools.who,
                    shortened(&call.get("function").to_string(), 4000)
                );
            }
        }
        out
    }
}

/// Shortens what is old in a long conversation, the oldest first, and drops it if that is not enough. The
/// system prompt, the task and the newest messages stay.
fn trim(messages: &mut Vec<Json>) {
    let size =
        |messages: &[Json]| messages.iter().map(|entry| entry.to_string().len()).sum::<usize>();
    let mut total = size(messages);
    let fresh = messages.len().saturating_sub(FRESH);
    for entry in messages.iter_mut().take(fresh).skip(2) {
        if total <= LONGEST {
            return;
        }
        let before = entry.to_string().len();
        shorten(entry);
        total -= before.saturating_sub(entry.to_string().len());
    }
    // An answer and what its tools told go together.
    while total > LONGEST && messages.len() > FRESH + 2 {
        let next =
            (3..messages.len()).find(|at| messages[*at].get("role").as_str() != Some("tool"));
        messages.drain(2..next.unwrap_or(messages.len()));
        total = size(messages);
    }
}

fn shorten(entry: &mut Json) {
    if let Some(Json::Text(text)) = entry.get_mut("content") {
        *text = shortened(text, STUB);
    }
    let Some(Json::List(calls)) = entry.get_mut("tool_calls") else { return };
    for call in calls {
        let Some(function) = call.get_mut("function") else { continue };
        let Some(Json::Text(arguments)) = function.get_mut("arguments") else { continue };
        // They must stay JSON.
        let Ok(Json::Object(mut entries)) = Json::parse(arguments) else { continue };
        for (_, value) in &mut entries {
            if let Json::Text(text) = value {
                *text = shortened(text, STUB);
            }
        }
        *arguments = Json::Object(entries).to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(at: usize, size: usize) -> [Json; 2] {
        let arguments = Json::object([("content", Json::text("c".repeat(size)))]).to_string();
        let function = Json::object([
            ("name", Json::text("write_file")),
            ("arguments", Json::text(arguments)),
        ]);
        let call = Json::object([("id", Json::text(format!("call_{at}"))), ("function", function)]);
        let said = Json::object([
            ("role", Json::text("assistant")),
            ("tool_calls", Json::List(vec![call])),
        ]);
        [said, message("tool", format!("{at} {}", "o".repeat(size)))]
    }

    #[test]
    fn a_long_conversation_is_shortened_from_its_beginning() {
        let mut messages = vec![message("system", "s".repeat(5000)), message("user", "task")];
        messages.extend((0..30).flat_map(|at| turn(at, 5000)));
        let count = messages.len();
        trim(&mut messages);
        assert_eq!(messages.len(), count);
        assert!(messages.iter().map(|entry| entry.to_string().len()).sum::<usize>() <= LONGEST);
        assert_eq!(messages[0].get("content").as_str().unwrap().len(), 5000);
        let old = messages[2].get("tool_calls").items()[0].get("function").get("arguments");
        let old = Json::parse(old.as_str().unwrap()).unwrap();
        assert!(old.get("content").as_str().unwrap().contains("left out"));
        assert!(messages[count - 1].to_string().len() > 5000);
    }

    #[test]
    fn an_endless_conversation_loses_whole_turns() {
        let mut messages = vec![message("system", "s"), message("user", "task")];
        messages.extend((0..400).flat_map(|at| turn(at, 900)));
        trim(&mut messages);
        assert!(messages.iter().map(|entry| entry.to_string().len()).sum::<usize>() <= LONGEST);
        assert_eq!(messages[1].get("content").as_str(), Some("task"));
        assert_eq!(messages[2].get("role").as_str(), Some("assistant"));
        assert!(messages[messages.len() - 1].to_string().contains("399"));
    }
}
