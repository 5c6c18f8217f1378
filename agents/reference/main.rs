//! The reference agents: `flat`, one agent in one loop, and `hierarchical`, a manager who directs a
//! designer, coders and tuners, with an aggregator at the end. They differ in nothing else: the tools, the
//! budget, and the prompts where roles agree are the same. README.md draws both.
//!
//! Standard library only. A model behind OpenAI's chat completions is at `OPENAI_BASE_URL`.

mod attempt;
mod board;
mod http;
mod journal;
mod json;
mod llm;
mod prompts;
mod settings;
mod shell;
mod sys;
mod team;
mod tools;
mod worker;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use attempt::Attempt;
use board::Board;
use journal::{Journal, Who};
use json::Json;
use llm::{Llm, Stop};
use settings::Settings;
use tools::Tools;
use worker::{End, Worker};

fn main() -> ExitCode {
    sys::hear_sigterm();
    let started = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let settings = match Settings::read(&arguments, |name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    match solve(settings, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Works on the competition. Whatever ends the work, the best valid file so far is the submission.
fn solve(settings: Settings, started: Instant) -> Result<(), String> {
    let deadline = started + (settings.time_limit - settings.margin());
    for folder in [&settings.code, &settings.submission] {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let attempt = Attempt {
        llm: Llm::new(&settings, deadline)?,
        board: Board::new(&settings.submission),
        journal: Journal::new(&settings.logs, started),
        shared: Mutex::default(),
        settings,
    };
    let end = match attempt.settings.team {
        settings::Team::Flat => flat(&attempt),
        settings::Team::Hierarchical => team::Team::new(&attempt).work(),
    };
    let saved = attempt.board.has_submission();
    let why = end.stopped.as_ref().map_or(Json::Null, |stop| Json::text(stop.to_string()));
    let details = [("submission", Json::Bool(saved)), ("stopped", why)];
    attempt.journal.note(&Who::new("attempt", None), "over", details);
    match end.stopped {
        Some(stop @ Stop::Failed(_)) => Err(stop.to_string()),
        Some(stop) if !saved => Err(format!("there is no valid submission: {stop}")),
        None if !saved => Err(format!("there is no valid submission: {}", end.summary)),
        _ => Ok(()),
    }
}

fn flat(attempt: &Attempt) -> End {
    let settings = &attempt.settings;
    let who = Who::new("engineer", None);
    let tools = Tools { attempt, who, folder: settings.code.clone() };
    let system = prompts::system("engineer", settings);
    Worker::new(tools, tools::common(), &system, &prompts::task(settings)).work()
}
