//! What every subject needs: the real binary in a scratch folder of its own, and whether this
//! machine has a container engine.

pub(crate) mod engineer;
pub(crate) mod island;
pub(crate) mod kaggle_facts;
pub(crate) mod kaggle_server;
pub(crate) mod llm_provider;
pub(crate) mod oci;
pub(crate) mod site;

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
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
        self.in_own_folder(Command::new(env!("CARGO_BIN_EXE_medalist")))
    }

    /// A shell with the same environment.
    pub(crate) fn shell(&self) -> Command {
        self.in_own_folder(Command::new("bash"))
    }

    fn in_own_folder(&self, mut command: Command) -> Command {
        command.current_dir(self.path()).env("HOME", self.path());
        for variable in ["MEDALIST_EXECUTOR", "MEDALIST_CONFIG", "XDG_CONFIG_HOME"] {
            command.env_remove(variable);
        }
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

/// A program's path, if it is on PATH.
pub(crate) fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(tool)).find(|file| file.is_file())
}

/// A file of JSON, which must be one.
pub(crate) fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn called(output: &Output) -> Called {
    Called {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether this machine has a container engine; skips the caller's test where there is none.
///
/// # Panics
/// If there is an engine but it does not answer: a broken engine must fail tests, not silence them.
pub(crate) fn has_docker() -> bool {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut docker = Command::new("docker");
        match docker.args(["version", "--format", "{{.Server.Version}}"]).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("cannot run `docker`: {error}")),
        }
    });
    match found {
        Ok(()) => true,
        Err(why) => {
            skip_without_engine(why);
            false
        }
    }
}

/// Skips a test that found no engine, for the reason `why`.
///
/// # Panics
/// If this machine has an engine all the same, so that it must be broken.
pub(crate) fn skip_without_engine(why: &str) {
    if let Some(address) = engine_address() {
        panic!(
            "the container engine at `{address}` does not work: {why}\n\
             start or repair it; tests skip only on machines that have no engine"
        );
    }
    skip("docker", why);
}

/// Runs a command that tells its events on stdout until the `kill_at`-th and kills it there; the
/// number of events it told.
pub(crate) fn life(mut command: Command, kill_at: Option<usize>) -> usize {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = 0;
    for _ in lines.map_while(Result::ok) {
        told += 1;
        if kill_at == Some(told) {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    told
}

/// Where an engine should answer: what `DOCKER_HOST` names, or a socket this user may open.
fn engine_address() -> Option<String> {
    if let Some(host) = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        return Some(host);
    }
    let sockets = ["/var/run/docker.sock", "/run/podman/podman.sock"];
    let reachable = |path: &&str| match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        }
    };
    sockets.into_iter().find(reachable).map(str::to_owned)
}

/// Skips a test: says on the real stderr what the test needs and why it cannot have it. The caller
/// returns afterwards.
///
/// # Panics
/// If `MEDALIST_TEST_REQUIRE`, a list of words separated by commas, names `what` or `all`, and has no
/// `-what`.
pub(crate) fn skip(what: &str, why: &str) {
    let required = std::env::var("MEDALIST_TEST_REQUIRE").unwrap_or_default();
    let words: Vec<&str> = required.split(',').map(str::trim).collect();
    let excepted = words.iter().any(|word| word.strip_prefix('-') == Some(what));
    let is_required = !excepted && words.iter().any(|word| *word == what || *word == "all");
    assert!(!is_required, "`{what}` is required by MEDALIST_TEST_REQUIRE, but {why}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // The harness captures what `eprintln!` writes and shows it for failed tests alone; a write to
    // the stream itself is not captured.
    let _ = writeln!(io::stderr().lock(), "SKIPPED {test}: needs {what}: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variable that makes [`skips_when_told`] skip.
    const TOLD: &str = "MEDALIST_TEST_SKIPS_WHEN_TOLD";

    /// Runs [`skips_when_told`] in a process of its own, where the harness captures its output.
    fn skipping(required: &str) -> Called {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "support::tests::skips_when_told"]);
        let output = command.env(TOLD, "1").env("MEDALIST_TEST_REQUIRE", required).output();
        called(&output.unwrap())
    }

    #[test]
    fn skips_when_told() {
        if std::env::var_os(TOLD).is_some() {
            skip("unicorn", "there are none");
        }
    }

    #[test]
    fn a_skip_gets_past_the_capture_and_fails_where_required() {
        for other in ["", "docker,python", "all,-unicorn"] {
            let passed = skipping(other);
            assert_eq!(passed.code, 0, "{passed:#?}");
            let line = "SKIPPED support::tests::skips_when_told: needs unicorn: there are none";
            assert!(passed.stderr.contains(line), "{passed:#?}");
        }
        for required in ["unicorn", "docker, unicorn", "all"] {
            let failed = skipping(required);
            assert_ne!(failed.code, 0, "{required}: {failed:#?}");
            assert!(failed.stdout.contains("`unicorn` is required"), "{failed:#?}");
        }
    }

    #[test]
    fn no_test_skips_by_itself() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut seen = 0;
        for folder in ["tests/it", "src", "grading", "competitions/src", "reports"] {
            for entry in walkdir::WalkDir::new(root.join(folder)) {
                let entry = entry.unwrap();
                let name = entry.path().display().to_string();
                if !name.ends_with(".rs") || name.ends_with("support/mod.rs") {
                    continue;
                }
                seen += 1;
                let text = std::fs::read_to_string(entry.path()).unwrap();
                assert!(
                    !text.to_lowercase().contains("println!(\"skip")
                        && !text.contains("MEDALIST_TEST_REQUIRE"),
                    "{name} skips without `support::skip`"
                );
            }
        }
        assert!(seen > 100, "only {seen} files were read");
    }
}
