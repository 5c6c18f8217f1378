//! The hierarchy: a manager, those it directs, and an aggregator.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::attempt::Attempt;
use crate::journal::{Who, shortened};
use crate::json::Json;
use crate::prompts;
use crate::tools::{self, Tools};
use crate::worker::{Delegate, End, Worker};

/// The longest report that a manager reads, in bytes.
const LONGEST_REPORT: usize = 6000;
/// The longest shared context that a role is given, in bytes.
const LONGEST_SHARED: usize = 120_000;

/// Those who work for a manager.
pub(crate) struct Team<'a> {
    attempt: &'a Attempt,
    /// One for each candidate: two who work on one candidate take turns.
    candidates: Vec<Mutex<()>>,
}

impl<'a> Team<'a> {
    pub(crate) fn new(attempt: &'a Attempt) -> Self {
        let count = attempt.settings.candidates;
        Self { attempt, candidates: (0..count).map(|_| Mutex::default()).collect() }
    }

    /// The roles that tasks can be given to.
    fn roles(&self) -> Vec<&'static str> {
        let settings = &self.attempt.settings;
        let all = [("designer", settings.designer), ("coder", true), ("tuner", settings.tuner)];
        all.into_iter().filter(|(_, there)| *there).map(|(role, _)| role).collect()
    }

    /// `delegate` as the manager is told of it.
    fn described(&self) -> Json {
        let mut tool = tools::described(
            "delegate",
            "Give a task to a specialist and get its report. Several in one answer run at the same time.",
            3,
            &[
                ("role", "string", "who"),
                (
                    "candidate",
                    "integer",
                    "which candidate it is about; a designer's task may say 1",
                ),
                ("task", "string", "all that the specialist must know"),
            ],
        );
        let roles = Json::List(self.roles().into_iter().map(Json::text).collect());
        let count = Json::Number(f64::from(self.attempt.settings.candidates));
        let limits = [
            ("role", "enum", roles),
            ("candidate", "minimum", Json::Number(1.0)),
            ("candidate", "maximum", count),
        ];
        let function = tool.get_mut("function").and_then(|function| function.get_mut("parameters"));
        let Some(properties) = function.and_then(|schema| schema.get_mut("properties")) else {
            return tool;
        };
        for (property, key, value) in limits {
            if let Some(Json::Object(entries)) = properties.get_mut(property) {
                entries.push((key.to_owned(), value));
            }
        }
        tool
    }

    /// The manager's work, then the aggregator's.
    pub(crate) fn work(&self) -> End {
        let mut tools = tools::common();
        tools.push(self.described());
        let who = Who::new("manager", None);
        let hands =
            Tools { attempt: self.attempt, who, folder: self.attempt.settings.code.clone() };
        let settings = &self.attempt.settings;
        let mut manager = Worker::new(
            hands,
            tools,
            &prompts::system("manager", settings),
            &prompts::task(settings),
        );
        manager.delegate = Some(self);
        let end = manager.work();
        self.share(&manager);
        let candidates = self.attempt.board.candidates();
        if end.stopped.is_some() || candidates.len() < 2 {
            return end;
        }
        let names: Vec<String> =
            candidates.iter().map(|number| format!("candidate_{number}")).collect();
        let task = format!(
            "Blend {}. The manager says:\n{}",
            names.join(", "),
            shortened(&end.summary, LONGEST_REPORT)
        );
        let blended = self.role("aggregator", None, settings.code.clone(), &task).0;
        End { summary: end.summary + "\n" + &blended.summary, stopped: blended.stopped }
    }

    /// One role's work on one task: how it ended, and all that was said.
    fn role(
        &self,
        role: &str,
        candidate: Option<u32>,
        folder: PathBuf,
        task: &str,
    ) -> (End, String) {
        let attempt = self.attempt;
        let who = Who::new(role, candidate);
        if let Err(error) = fs::create_dir_all(&folder) {
            let summary = format!("error: cannot make {}: {error}", folder.display());
            return (End { summary, stopped: None }, String::new());
        }
        let before = attempt.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let task = match before.is_empty() {
            true => task.to_owned(),
            false => format!(
                "{task}\n\nWHAT ALL OTHERS DID SO FAR\n{}",
                shortened(&before, LONGEST_SHARED)
            ),
        };
        let system = prompts::system(role, &attempt.settings);
        let mut worker =
            Worker::new(Tools { attempt, who, folder }, tools::common(), &system, &task);
        let end = worker.work();
        self.share(&worker);
        let transcript = worker.transcript();
        (end, transcript)
    }

    fn share(&self, worker: &Worker<'_>) {
        if self.attempt.settings.shared_context {
            let mut shared = self.attempt.shared.lock().unwrap_or_else(PoisonError::into_inner);
            *shared += &worker.transcript();
        }
    }

    fn asked(&self, arguments: &Json) -> Result<(&'static str, u32, String), String> {
        let roles = self.roles();
        let role = arguments.get("role").as_str().unwrap_or_default();
        let role = roles.iter().find(|known| **known == role).ok_or_else(|| {
            format!("error: there is no role `{role}`, only {}", roles.join(", "))
        })?;
        let most = self.attempt.settings.candidates;
        let given = arguments.get("candidate").as_f64().unwrap_or(1.0);
        let candidate = (1..=most).find(|number| f64::from(*number) == given);
        let candidate = candidate
            .ok_or_else(|| format!("error: there is no candidate {given}, only 1 to {most}"))?;
        let task = arguments.get("task").as_str().unwrap_or_default();
        match task.trim().is_empty() {
            true => Err("error: the task is empty; the specialist sees nothing else".to_owned()),
            false => Ok((role, candidate, task.to_owned())),
        }
    }
}

impl Delegate for Team<'_> {
    fn delegate(&self, arguments: &Json) -> String {
        let (role, candidate, task) = match self.asked(arguments) {
            Ok(asked) => asked,
            Err(problem) => return problem,
        };
        let code = &self.attempt.settings.code;
        // A design is about no candidate yet.
        let (about, folder) = match role {
            "designer" => (None, code.clone()),
            _ => (Some(candidate), code.join(format!("candidate_{candidate}"))),
        };
        let turn = about.and_then(|number| self.candidates.get(number as usize - 1));
        let _turn = turn.map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
        let (end, transcript) = self.role(role, about, folder, &task);
        let how =
            end.stopped.map_or_else(|| "is done".to_owned(), |stop| format!("stopped: {stop}"));
        let report = format!("the {role} {how}: {}", shortened(&end.summary, LONGEST_REPORT));
        match self.attempt.settings.shared_context {
            true => {
                format!("{report}\n\nALL THAT IT DID\n{}", shortened(&transcript, LONGEST_SHARED))
            }
            false => report,
        }
    }

    fn in_parallel(&self) -> bool {
        // Whoever reads what all others did must wait for it.
        !self.attempt.settings.shared_context
    }
}
