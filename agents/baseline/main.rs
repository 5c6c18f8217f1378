//! A modest learner for picture, text, tabular and forecasting competitions: it works out the task
//! from the files, trains a small model of its own and writes a submission. Standard library only,
//! one thread.

mod features;
mod forecast;
mod image;
mod learn;
mod linear;
mod net;
mod rng;
mod solve;
mod submit;
mod table;
mod task;
mod trees;

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use solve::{Goal, Lessons};
use task::{Known, Task};

/// More training than this is not worth its time for models of this size.
const LONGEST: Duration = Duration::from_secs(600);

/// Prints progress and keeps it, for the log and for the notes.
struct Journal {
    started: Instant,
    log: Option<File>,
    lines: Vec<String>,
}

impl Journal {
    fn say(&mut self, line: impl AsRef<str>) {
        let line = format!("[{:6.2} s] {}", self.started.elapsed().as_secs_f64(), line.as_ref());
        println!("{line}");
        if let Some(log) = &mut self.log {
            // A log that cannot be written is no reason to stop.
            let _ = writeln!(log, "{line}");
        }
        self.lines.push(line);
    }
}

fn folder(variable: &str, fallback: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| PathBuf::from(fallback), PathBuf::from)
}

fn whole_number(variables: &[&str]) -> Option<u64> {
    variables.iter().find_map(|name| env::var(name).ok()?.trim().parse().ok())
}

fn main() -> ExitCode {
    let started = Instant::now();
    let (data, submission, logs, code) = (
        folder("DATA_DIR", "/home/data"),
        folder("SUBMISSION_DIR", "/home/submission"),
        folder("LOGS_DIR", "/home/logs"),
        folder("CODE_DIR", "/home/code"),
    );
    for path in [&submission, &logs, &code] {
        if let Err(error) = fs::create_dir_all(path) {
            eprintln!("cannot make {}: {error}", path.display());
        }
    }
    let mut journal =
        Journal { started, log: File::create(logs.join("agent.log")).ok(), lines: Vec::new() };
    let seed = whole_number(&["SEED", "MLE_SEED"]).unwrap_or(0);
    let limit = whole_number(&["TIME_LIMIT_SECS"]).map_or(LONGEST, Duration::from_secs);
    // Reading, writing and validating need their share of the limit as well.
    let deadline = started + limit.mul_f64(0.6).min(LONGEST);
    journal
        .say(format!("seed {seed}, {} s for training", deadline.duration_since(started).as_secs()));
    let target = submission.join("submission.csv");
    let outcome = work(&data, &target, seed, deadline, &mut journal);
    if let Err(problem) = &outcome {
        journal.say(format!("no answer: {problem}"));
    } else if let Some(answer) = submit::validate(&target) {
        journal.say(format!("validation service: {answer}"));
    }
    let notes = format!("# What the baseline did\n\n```\n{}\n```\n", journal.lines.join("\n"));
    if let Err(error) = fs::write(code.join("notes.md"), notes) {
        journal.say(format!("cannot write the notes: {error}"));
    }
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(
    data: &Path,
    target: &Path,
    seed: u64,
    deadline: Instant,
    journal: &mut Journal,
) -> Result<(), String> {
    // From its first moment on a run that is cut short, or fails, leaves a valid file.
    let (task, _) = Task::find(data, seed, &Known::default(), |sample| {
        sample.write(target).map_err(|e| format!("cannot write {}: {e}", target.display()))
    })?;
    for note in &task.notes {
        journal.say(note);
    }
    journal.say(format!("id `{}`, answer: {}", task.ids.join("`, `"), task.answer.describe()));
    let goal = Goal::new(&task)?;
    let guesses = Lessons::new(&task, &goal).solve(seed, deadline, &mut |line| journal.say(line));
    let rows = goal.write(&task, &guesses, target)?;
    journal.say(format!("wrote {rows} rows to {}", target.display()));
    Ok(())
}
