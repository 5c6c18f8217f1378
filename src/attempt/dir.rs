//! The folder of an attempt: every path in it is built here.

use std::path::{Path, PathBuf};

/// The folder of an attempt.
///
/// ```text
/// <competition>_<uuid>/
///   attempt.json   what reports read          grade.json    what the submission is worth
///   run.log        what the agent printed     events.jsonl  where a process of its own ran it
///   submission/ logs/ code/                   what the agent left
///   snapshots/     copies of the submission   tries/<number>/  what earlier tries left
///   llm/           its calls of language models: the bill and the recording
///   validations.jsonl  what the validation service answered
///                  where processes of their own make the tries, `tries/<number>/` has all of this, and what
///                  stands here shows the try that counts
///   control/       how harness and init talk while it runs
///   home/          stands for `/home` where it runs as a plain process
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir {
    root: PathBuf,
}

impl AttemptDir {
    /// What an agent leaves, and what is moved away before another try.
    pub const LEFT_BY_A_TRY: [&str; 7] =
        ["run.log", "submission", "logs", "code", "snapshots", "llm", "validations.jsonl"];

    /// The folder at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What reports read of the attempt.
    pub fn record(&self) -> PathBuf {
        self.root.join("attempt.json")
    }

    /// The grade of what was submitted.
    pub fn grade(&self) -> PathBuf {
        self.root.join("grade.json")
    }

    /// What happened, where the attempt was run by a process of its own.
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// What a resumed run needs to find a running container again.
    pub fn token(&self) -> PathBuf {
        self.root.join("running.json")
    }

    /// The collected submission, whether or not there is one.
    pub fn submission(&self) -> PathBuf {
        self.root.join("submission").join("submission.csv")
    }

    /// What the agent printed.
    pub fn log(&self) -> PathBuf {
        self.root.join("run.log")
    }

    /// The connections that an allowlist's proxy was asked for.
    pub fn network_log(&self) -> PathBuf {
        self.root.join("network.jsonl")
    }

    /// What the validation service answered.
    pub fn validation_log(&self) -> PathBuf {
        self.root.join("validations.jsonl")
    }

    /// One of `submission`, `logs` and `code`: what was salvaged of it.
    pub fn salvaged(&self, label: &str) -> PathBuf {
        self.root.join(label)
    }

    /// How harness and init talk while the agent runs.
    pub fn control(&self) -> PathBuf {
        self.root.join("control")
    }

    /// What stands for `/home` where an agent runs as a plain process.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Its calls of language models.
    pub fn llm(&self) -> PathBuf {
        self.root.join("llm")
    }

    /// A copy of the submission taken after so many seconds.
    pub fn snapshot(&self, after_s: u64) -> PathBuf {
        self.snapshots().join(format!("{after_s:07}.csv"))
    }

    /// The folder with a copy of the code taken after so many seconds.
    pub fn snapshot_of_code(&self, after_s: u64) -> PathBuf {
        self.snapshots_of_code().join(format!("{after_s:07}"))
    }

    /// Where copies of the code are.
    pub fn snapshots_of_code(&self) -> PathBuf {
        self.snapshots().join("code")
    }

    /// Where copies of the submission are, and those of the code.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// Where its tries have a folder each.
    pub fn tries(&self) -> PathBuf {
        self.root.join("tries")
    }

    /// In the folder of a try that a process of its own makes: who makes it.
    pub fn claim(&self) -> PathBuf {
        self.root.join("claim.json")
    }

    /// In the folder of a try: written anew while its harness lives.
    pub fn beat(&self) -> PathBuf {
        self.root.join("beat")
    }

    /// In the folder of a try: how it ended, once that is decided.
    pub fn end_mark(&self) -> PathBuf {
        self.root.join("end.json")
    }

    /// In the folder of a try: the record that others have made of it, since it was lost.
    pub fn lost_record(&self) -> PathBuf {
        self.root.join("lost.json")
    }

    /// The same of its grade, where there is one.
    pub fn lost_grade(&self) -> PathBuf {
        self.root.join("lost-grade.json")
    }

    /// What an earlier try left, under the same names.
    pub fn earlier_try(&self, number: u32) -> Self {
        Self::new(self.root.join("tries").join(number.to_string()))
    }

    /// A path in the folder as records keep it. The folder may be named from where the harness runs, and
    /// the path from the root.
    pub fn relative(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).ok();
        let below = below.or_else(|| path.strip_prefix(std::path::absolute(&self.root).ok()?).ok());
        below.unwrap_or(path).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_name_no_place_on_this_machine() {
        let here = std::env::current_dir().unwrap();
        for root in [PathBuf::from("runs/a"), here.join("runs/a")] {
            let dir = AttemptDir::new(root);
            for path in [dir.snapshot(60), here.join("runs/a/snapshots/0000060.csv")] {
                assert_eq!(dir.relative(&path), "snapshots/0000060.csv");
            }
        }
    }
}
