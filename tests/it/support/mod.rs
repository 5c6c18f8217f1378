//! What every subject needs: the real binary in a scratch folder of its own, and whether this
//! machine has a container engine.

pub(crate) mod kaggle_server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A scratch folder and the binary that works in it.
pub(crate) struct TestContext {
    /// Removed at the end.
    temp: tempfile::TempDir,
}

/// What a call of the binary gave.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TestContext {
    pub(crate) fn new() -> Self {
        Self { temp: tempfile::tempdir().expect("a scratch folder") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The binary with an environment that no user's settings reach.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medalist"));
        command.current_dir(self.path()).env_remove("MEDALIST_EXECUTOR").env("HOME", self.path());
        command
            .env("MEDALIST_DATA_DIR", self.join("data"))
            .env("MEDALIST_RUNS_DIR", self.join("runs"));
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Called {
        called(&self.command().args(args).output().expect("the binary starts"))
    }

    /// Runs the binary and expects success.
    pub(crate) fn ok(&self, args: &[&str]) -> Called {
        let called = self.run(args);
        assert_eq!(called.code, 0, "{args:?}: {called:#?}");
        called
    }
}

pub(crate) fn called(output: &Output) -> Called {
    Called {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether a container engine answers. Without one the caller skips, loudly, unless
/// `MEDALIST_TEST_REQUIRE` names `docker`.
pub(crate) fn has_docker() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = *FOUND.get_or_init(|| {
        Command::new("docker")
            .args(["version", "--format", "{{.Server.Version}}"])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    if !found {
        require("docker", "no container engine answers");
    }
    found
}

/// Says that a test skips, or fails it where the thing is required.
pub(crate) fn require(what: &str, why: &str) {
    let required = std::env::var("MEDALIST_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|word| word == what), "`{what}` is required, but {why}");
    eprintln!("SKIPPED: {why}");
}
