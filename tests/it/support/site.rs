//! A cluster for tests: prepared data, an agent that waits for a word, and what is handed over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Called, TestContext, called, json};

/// An agent that works until somebody says `go`, and saves its work when it is asked to end.
const AGENT: &str = r#"
save() { cp "$DATA_DIR/sample_submission.csv" "$SUBMISSION_DIR/submission.csv"; }
trap 'echo saving; save; exit 0' TERM
echo working
while [ ! -e "@GO@" ]; do sleep 0.2; done
save
"#;
pub(crate) const LIMITS: [&str; 10] =
    ["--cpus", "1", "--memory", "128MiB", "--disk", "1GiB", "--timeout", "10min", "--grace", "5s"];

/// Waits for a condition.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < give_up, "waited for {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A cluster with prepared data and an agent.
pub(crate) struct Site {
    pub(crate) context: TestContext,
    pub(crate) variables: Vec<(String, String)>,
    /// How attempts are handed over: `--on` and what goes with it.
    pub(crate) on: Vec<String>,
}

impl Site {
    /// With what `run` is told to hand over to it.
    pub(crate) fn new(on: &[&str]) -> Self {
        let context = TestContext::new();
        context.ok(&["-q", "prepare", "--suite", "demo"]);
        let agent = context.join("waits");
        fs::create_dir_all(&agent).unwrap();
        fs::write(agent.join("agent.toml"), "id = \"waits\"\nbuild = \"dockerfile\"\n").unwrap();
        let go = context.join("go").display().to_string();
        fs::write(agent.join("start.sh"), AGENT.replace("@GO@", &go)).unwrap();
        Self { context, variables: Vec::new(), on: on.iter().map(ToString::to_string).collect() }
    }

    /// Puts a stand-in for a scheduler's programs before all others, with these faults.
    pub(crate) fn stand_in(&mut self, fixture: &str, programs: &[&str], faults: &Value) {
        let bin = self.context.join("bin");
        fs::create_dir_all(&bin).unwrap();
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        for program in programs {
            std::os::unix::fs::symlink(&fake, bin.join(program)).unwrap();
        }
        let place = self.context.join("cluster");
        fs::create_dir_all(&place).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        self.variables.push(("PATH".to_owned(), path));
        self.variables.push(("FAKE_CLUSTER".to_owned(), place.display().to_string()));
        self.faults(faults);
    }

    /// What goes wrong from now on.
    pub(crate) fn faults(&self, faults: &Value) {
        fs::write(self.context.join("cluster/faults.json"), faults.to_string()).unwrap();
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = self.context.command();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn call(&self, args: &[&str]) -> Called {
        called(&self.command().args(args).output().unwrap())
    }

    pub(crate) fn ok(&self, args: &[&str]) -> Called {
        let called = self.call(args);
        assert_eq!(called.code, 0, "{args:?}: {called:#?}");
        called
    }

    /// Hands attempts of the agent over and returns.
    pub(crate) fn hand_over(&self, more: &[&str]) -> Called {
        let on: Vec<&str> = self.on.iter().map(String::as_str).collect();
        let words = ["run", "--detach", "--agent", "./waits", "--executor", "process"];
        self.call(&[&words[..], &on, &LIMITS[..], more].concat())
    }

    pub(crate) fn group(&self) -> PathBuf {
        let groups = fs::read_dir(self.context.join("runs")).unwrap();
        let groups = groups.map(|entry| entry.unwrap().path());
        groups.filter(|path| path.join("plan.json").is_file()).max().unwrap()
    }

    pub(crate) fn attempts(&self) -> Vec<PathBuf> {
        let group = self.group();
        let plan = json(&group.join("plan.json"));
        let attempts = plan["attempts"].as_array().unwrap();
        attempts.iter().map(|attempt| group.join(attempt["dir"].as_str().unwrap())).collect()
    }

    pub(crate) fn follow(&self) -> Child {
        let group = self.group().display().to_string();
        self.command()
            .args(["run", "--resume", &group, "--poll", "2s"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn go(&self) {
        fs::write(self.context.join("go"), "").unwrap();
    }

    /// The counts that `status` gives.
    pub(crate) fn counts(&self) -> Value {
        let group = self.group().display().to_string();
        let stats: Value =
            serde_json::from_str(&self.ok(&["status", &group, "--json"]).stdout).unwrap();
        json!([stats["planned"], stats["finished"], stats["valid"], stats["infrastructure"]])
    }
}

/// The log of the newest try of an attempt.
pub(crate) fn log(attempt: &Path) -> String {
    let numbers = fs::read_dir(attempt.join("tries")).into_iter().flatten().flatten();
    let newest = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let path = attempt.join(format!("tries/{}/run.log", newest.unwrap_or(0)));
    fs::read_to_string(path).unwrap_or_default()
}

pub(crate) fn outcome(attempt: &Path) -> String {
    json(&attempt.join("attempt.json"))["outcome"]["kind"].as_str().unwrap_or_default().to_owned()
}

/// What went wrong with a child, or what it said.
pub(crate) fn end(child: Child) -> Called {
    called(&child.wait_with_output().unwrap())
}
