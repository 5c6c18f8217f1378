//! Run groups on a scheduler that a file of commands describes: on a whole Grid Engine of this machine,
//! with the file that is shipped for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::site::{Site, end, log, outcome, until};
use crate::support::{called, json, skip, which};

const PROGRAMS: [&str; 4] = ["qsub", "qconf", "sge_qmaster", "sge_execd"];

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A whole Grid Engine, which ends with this.
struct GridEngine {
    site: Site,
    dir: PathBuf,
}

fn cluster(dir: &Path, word: &str) -> Command {
    let mut command = Command::new(in_repository("tests/fixtures/gridengine/cluster"));
    command.arg(word).arg(dir).stdin(Stdio::null());
    command
}

impl GridEngine {
    /// `None` where there is none.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("gridengine", "only root can start sge_execd");
            return None;
        }
        if let Some(program) = PROGRAMS.into_iter().find(|program| which(program).is_none()) {
            let why = format!("there is no `{program}`; scripts/setup-tests installs it");
            skip("gridengine", &why);
            return None;
        }
        let file = in_repository("examples/schedulers/gridengine.toml");
        let mut site = Site::new(&["--on", "command", "--commands", file.to_str().unwrap()]);
        let dir = tempfile::tempdir().unwrap().keep();
        let up = cluster(&dir, "up").output().unwrap();
        let env = fs::read_to_string(dir.join("env")).unwrap_or_default();
        let pairs = env.split_whitespace().filter_map(|pair| pair.split_once('='));
        site.variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let grid = Self { site, dir };
        assert!(up.status.success(), "{:#?}", called(&up));
        Some(grid)
    }

    fn ask(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.envs(self.site.variables.iter().map(|(name, value)| (name, value)));
        let output = command.args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for GridEngine {
    fn drop(&mut self) {
        let _ = cluster(&self.dir, "down").output();
    }
}

#[test]
fn a_real_grid_engine_loses_jobs_and_no_attempt() {
    let Some(grid) = GridEngine::new() else { return };
    let site = &grid.site;
    let doctor = site.ok(&["doctor", "--on", "command", "--commands", &site.on[3]]).stdout;
    assert!(doctor.contains("lists its jobs"), "{doctor}");
    // Four slots: two attempts wait.
    let words = ["--seeds", "2", "-c", "demo-bikes", "demo-digits", "demo-flights"];
    let handed = site.hand_over(&words);
    assert!(handed.code == 0 && handed.stderr.contains("handed over 6 attempts"), "{handed:#?}");
    let (group, attempts) = (site.group(), site.attempts());
    let name = group.display().to_string();
    let works = |attempt: &&PathBuf| log(attempt).contains("working");
    until("four agents", || attempts.iter().filter(works).count() == 4);
    let status = site.ok(&["status", &name]).stdout;
    assert!(status.contains("4 running") && status.contains("qw"), "{status}");
    let (working, waiting): (Vec<&PathBuf>, Vec<&PathBuf>) = attempts.iter().partition(works);
    let key = |attempt: &Path| {
        let plan = json(&group.join("plan.json"));
        let dir = attempt.file_name().unwrap().to_str().unwrap().to_owned();
        let all = plan["attempts"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["dir"] == *dir).unwrap()["key"].as_str().unwrap().to_owned()
    };
    // One that waits is taken out of the queue, one that runs is asked.
    for attempt in [waiting[0], working[0]] {
        site.ok(&["stop", &key(attempt), "--group", &name]);
        assert_eq!(outcome(attempt), "cancelled");
    }
    // Killed at once, without a word to medalist: nothing is left of it but its claim.
    let claim = json(&working[1].join("tries/1/claim.json"));
    let index = claim["job"]["index"].as_u64().unwrap() + 1;
    grid.ask("qdel", &[&format!("{}.{index}", claim["job"]["id"].as_str().unwrap())]);
    let mut follower = site.follow();
    until("its end", || working[1].join("tries/1/end.json").is_file());
    follower.kill().unwrap();
    end(follower);
    site.go();
    let followed = end(site.follow());
    assert!(followed.code == 0, "{followed:#?}");
    assert_eq!(site.counts(), json!([6, 6, 6, 0]), "{followed:#?}");
    assert_eq!(json(&working[1].join("tries/1/end.json"))["by"], "lost");
    let printed = fs::read_dir(group.join("jobs")).unwrap().flatten();
    let printed = printed.filter(|it| it.file_name().to_string_lossy().ends_with(".out")).count();
    assert!(printed >= 5, "what jobs print is in the group's folder");
    assert!(site.ok(&["report", &name]).stdout.contains("waits"));
}

#[test]
fn what_is_wrong_with_a_scheduler_is_said_before_anything_is_handed_over() {
    let mut site = Site::new(&["--on", "command"]);
    let refused = |site: &Site, code: i32, said: &str| {
        let refused = site.hand_over(&["-c", "demo-bikes"]);
        assert!(refused.code == code && refused.stderr.contains(said), "{said}: {refused:#?}");
    };
    refused(&site, 2, "needs to know the commands");
    let file = in_repository("examples/schedulers/pbs.toml").display().to_string();
    site.on = ["--on", "command", "--commands", &file].map(str::to_owned).to_vec();
    site.variables = vec![("PATH".to_owned(), "/nowhere".to_owned())];
    refused(&site, 4, "there is no `qsub`");
    fs::write(site.context.join("none.toml"), "submit = []").unwrap();
    site.on[3] = "none.toml".to_owned();
    refused(&site, 3, "`none.toml`: ");
    let groups = fs::read_dir(site.context.join("runs")).into_iter().flatten().flatten();
    assert_eq!(groups.filter(|entry| entry.path().join("plan.json").exists()).count(), 0);
}
