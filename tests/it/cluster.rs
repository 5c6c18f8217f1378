//! Run groups on a batch scheduler: on programs that answer as Slurm's do, and on a whole Slurm of this
//! machine where there is one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::site::{LIMITS, Site, end, log, outcome, until};
use crate::support::{TestContext, called, json, skip, which};

const PROGRAMS: [&str; 7] = ["sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "srun"];

/// A site that answers as Slurm does, with these faults.
fn fake(faults: &Value) -> Site {
    let mut site = Site::new(&["--on", "slurm"]);
    site.stand_in("slurm/fake", &PROGRAMS, faults);
    // What a job's own shell has must not reach the jobs that it hands over.
    site.variables.push(("SBATCH_PARTITION".to_owned(), "other".to_owned()));
    site.variables.push(("SLURM_CPU_BIND".to_owned(), "none".to_owned()));
    site
}

/// A whole Slurm, which ends with this.
struct Real {
    site: Site,
    dir: PathBuf,
}

impl std::ops::Deref for Real {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Real {
    /// A whole Slurm; `None` where there is none.
    fn new(more: &[(&str, &str)]) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("slurm", "only root can start slurmd");
            return None;
        }
        for program in ["slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd"] {
            if which(program).is_none() {
                skip("slurm", &format!("there is no `{program}`; scripts/setup-tests installs it"));
                return None;
            }
        }
        let mut site = Site::new(&["--on", "slurm"]);
        // Its daemons run as users of their own, who must be able to enter it.
        let mut builder = tempfile::Builder::new();
        builder.prefix("medalist-slurm-").permissions(fs::Permissions::from_mode(0o755));
        let dir = builder.tempdir().unwrap().keep();
        let up = cluster(&dir, &["up"]).envs(more.iter().copied()).output().unwrap();
        let failed = (!up.status.success()).then(|| called(&up));
        let conf = dir.join("etc/slurm.conf").display().to_string();
        site.variables = vec![("SLURM_CONF".to_owned(), conf)];
        let real = Self { site, dir };
        assert!(failed.is_none(), "{failed:#?}");
        Some(real)
    }

    /// One of Slurm's own programs; what it printed.
    fn slurm(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = cluster(&self.dir, &["down"]).output();
    }
}

/// The script that starts and ends a whole Slurm.
fn cluster(dir: &Path, words: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/slurm/cluster");
    let mut command = Command::new(script);
    command.arg(words[0]).arg(dir).args(&words[1..]).stdin(Stdio::null());
    command
}

#[test]
fn a_group_is_handed_over_and_followed_on_every_version() {
    for version in ["20.11.9", "22.05.8", "23.11.4", "24.05.0"] {
        let site = fake(&json!({ "version": version }));
        site.go();
        let words =
            ["run", "--on", "slurm", "--agent", "./waits", "--executor", "process", "--poll", "1s"];
        let ran =
            site.ok(&[&words[..], &LIMITS[..], &["-c", "demo-bikes", "demo-digits"][..]].concat());
        assert!(ran.stderr.contains("handed over 2 attempts as 1"), "{version}: {ran:#?}");
        assert_eq!(site.counts(), json!([2, 2, 2, 0]), "{version}");
        let group = site.group();
        assert!(!group.join("jobs/environment.json").exists());
        assert!(json(&group.join("group.json"))["ended_at"].is_string());
        for attempt in site.attempts() {
            let record = json(&attempt.join("attempt.json"));
            assert_eq!(record["outcome"]["kind"], "finished", "{record:#}");
            assert!(record["tries"][0]["node"].as_str().unwrap().contains("on `n1`"), "{record:#}");
            assert!(fs::read_to_string(attempt.join("run.log")).unwrap().contains("working"));
            assert!(attempt.join("submission/submission.csv").is_file());
            assert!(!attempt.join("tries/1/control").exists(), "it is on the node's own disk");
        }
        let name = group.display().to_string();
        let replay = site.ok(&["replay", &name]).stdout;
        assert_eq!(replay.matches(": finished").count(), 2, "{replay}");
        assert!(site.ok(&["report", &name]).stdout.contains("waits"));
        assert!(site.ok(&["logs", "demo-bikes"]).stdout.contains("working"));
    }
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_handed_over() {
    let site = fake(&json!({ "partition_limit": "20:00" }));
    let refused = site.hand_over(&["-c", "demo-bikes"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("the longest `--timeout` that fits is"), "{refused:#?}");
    let refused = site.hand_over(&["-c", "demo-bikes", "--partition", "nope"]);
    assert!(refused.code == 3 && refused.stderr.contains("the cluster has `main`"), "{refused:#?}");
    let refused = site.hand_over(&["-c", "demo-bikes", "--gpus", "all"]);
    assert!(refused.code == 2 && refused.stderr.contains("a scheduler chooses"), "{refused:#?}");
    assert!(!site.context.join("cluster/next").exists(), "nothing was handed over");

    let site = fake(&json!({ "architectures": { "n1": "alien", "n2": "alien" } }));
    let refused = site.hand_over(&["-c", "demo-bikes"]);
    assert!(refused.code == 3 && refused.stderr.contains("nodes are alien"), "{refused:#?}");
    assert!(!site.context.join("cluster/next").exists(), "nothing was handed over");
    let site = fake(&json!({ "architectures": { "n2": "alien" } }));
    let handed = site.hand_over(&["-c", "demo-bikes"]);
    assert!(handed.code == 0 && handed.stderr.contains("--exclude=n2"), "{handed:#?}");
    site.go();
    end(site.follow());

    let without = TestContext::new();
    without.ok(&["-q", "prepare", "-c", "demo-bikes"]);
    let words = ["run", "--on", "slurm", "--agent", "sample", "-c", "demo-bikes"];
    let mut command = without.command();
    let called = called(&command.args(words).env("PATH", "/nowhere").output().unwrap());
    assert!(called.code == 4 && called.stderr.contains("there is no `sbatch`"), "{called:#?}");
    let groups = fs::read_dir(without.join("runs")).into_iter().flatten().flatten();
    assert_eq!(groups.filter(|entry| entry.path().join("plan.json").exists()).count(), 0);
}

#[test]
fn windows_chunks_lost_answers_and_dead_starts_lose_nothing() {
    let faults = json!({
        "largest_array": 3, "full_above": 4, "mute": 1, "no_accounting": true, "never_begins": [1],
    });
    let site = fake(&faults);
    site.go();
    let handed = site.hand_over(&["--suite", "demo", "--seeds", "2"]);
    assert_eq!(handed.code, 0, "{handed:#?}");
    let followed = end(site.follow());
    assert_eq!(followed.code, 0, "{followed:#?}");
    assert_eq!(site.counts(), json!([8, 8, 8, 0]), "{followed:#?}");
    let dead: Vec<PathBuf> = site
        .attempts()
        .into_iter()
        .filter(|attempt| {
            json(&attempt.join("attempt.json"))["tries"].as_array().unwrap().len() > 1
        })
        .collect();
    assert_eq!(dead.len(), 1, "{followed:#?}");
    let record = json(&dead[0].join("attempt.json"));
    let first = &record["tries"][0]["outcome"];
    assert_eq!(first["kind"], "setup_failed", "{record:#}");
    assert!(first["detail"].as_str().unwrap().contains("this node is broken"), "{record:#}");
}

#[test]
fn a_node_on_which_jobs_do_not_begin_is_left_out_by_whoever_comes_next() {
    let site = fake(&json!({ "never_begins": [0, 1] }));
    site.go();
    let handed = site.hand_over(&["-c", "demo-bikes", "demo-digits"]);
    assert_eq!(handed.code, 0, "{handed:#?}");
    // What an earlier follower has learned.
    let dead = site.group().join("jobs/dead-starts.json");
    fs::write(&dead, json!({ "n9": ["a_0", "a_1"], "n8": ["a_2"] }).to_string()).unwrap();
    let followed = end(site.follow());
    assert!(followed.stderr.contains("left out from now on"), "{followed:#?}");
    assert_eq!(site.counts(), json!([2, 2, 2, 0]), "{followed:#?}");
    assert_eq!(json(&dead)["n1"].as_array().unwrap().len(), 2);
    let calls = fs::read_to_string(site.context.join("cluster/calls")).unwrap();
    let handed: Vec<&str> = calls.lines().filter(|line| line.contains("--array")).collect();
    let excluded: Vec<Option<&str>> = handed
        .iter()
        .map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("--exclude=")))
        .collect();
    // The check before, the first order, and the one that follows.
    assert_eq!(excluded, [None, None, Some("n1,n9")], "{calls}");
}

#[test]
fn another_version_hands_nothing_over_while_jobs_of_the_first_are_left() {
    let site = fake(&json!({}));
    let handed = site.hand_over(&["-c", "demo-bikes"]);
    assert_eq!(handed.code, 0, "{handed:#?}");
    let attempts = site.attempts();
    until("the agent", || log(&attempts[0]).contains("working"));
    let order = site.group().join("jobs/order-1.json");
    let mut other = json(&order);
    other["harness_version"] = json!("0.0.1");
    fs::write(&order, other.to_string()).unwrap();
    let refused = end(site.follow());
    assert!(refused.code == 3 && refused.stderr.contains("medalist 0.0.1"), "{refused:#?}");
    site.go();
    until("its end", || site.counts()[1] == 1);
    let ended = end(site.follow());
    assert_eq!(ended.code, 0, "{ended:#?}");
}

#[test]
fn a_probe_sees_a_node_from_within() {
    let site = fake(&json!({}));
    let probe = ["doctor", "--on", "slurm", "--probe", "--executor", "process", "--json"];
    let seen = site.ok(&probe);
    let found: Vec<Value> = serde_json::from_str(&seen.stdout).unwrap();
    let level = |what: &str| {
        let one = found.iter().find(|one| one["what"] == what).map(|one| one["level"].clone());
        one.unwrap_or_else(|| panic!("no {what} in {found:#?}"))
    };
    for what in ["node", "program", "shared folder", "locks", "scratch"] {
        assert_eq!(level(what), "ok", "{found:#?}");
    }
    // Plain processes are not sealed.
    assert_eq!(level("executor"), "note", "{found:#?}");
}

#[test]
fn what_is_asked_before_an_attempt_begins_is_not_lost() {
    let site = fake(&json!({}));
    let handed = site.hand_over(&["-c", "demo-bikes", "demo-digits"]);
    assert_eq!(handed.code, 0, "{handed:#?}");
    let attempts = site.attempts();
    until("both agents", || attempts.iter().all(|attempt| log(attempt).contains("working")));
    let stopped = site.ok(&["stop", "demo-bikes"]);
    assert!(stopped.stdout.contains("cancelled"), "{stopped:#?}");
    let group = site.group().display().to_string();
    site.go();
    until("the other one", || site.counts()[1] == 2);
    // Refused until the last job has left the queue.
    until("the group to be made here", || {
        let local = site.call(&["run", "--resume", &group, "--on", "local"]);
        assert!(local.code == 0 || local.stderr.contains("still wait or run"), "{local:#?}");
        local.code == 0
    });
    assert_eq!(site.counts(), json!([2, 2, 2, 0]));
    for attempt in &attempts {
        assert_eq!(outcome(attempt), "finished");
    }
}

#[test]
fn a_real_slurm_loses_nodes_jobs_and_controllers_and_no_attempt() {
    // Eight attempts fill two nodes; the third one takes what another loses.
    let Some(site) = Real::new(&[("NODES", "3"), ("NODE_CPUS", "4")]) else { return };
    // A controller that is killed may forget what has just begun, and fail to start what comes next.
    let handed = site.hand_over(&["--suite", "demo", "--seeds", "2", "--retries", "9"]);
    assert_eq!(handed.code, 0, "{handed:#?}");
    let (group, attempts) = (site.group(), site.attempts());
    let name = group.display().to_string();
    until("all agents", || attempts.iter().all(|attempt| log(attempt).contains("working")));
    let status = site.ok(&["status", &name]).stdout;
    assert!(status.contains("8 running") && status.contains("jobs run on n1"), "{status}");

    let array = json(&group.join("jobs/order-1.json"))["state"]["submitted"]["id"].clone();
    let array = array.as_str().unwrap();
    let node = |index: usize| {
        let claim = json(&attempts[index].join("tries/1/claim.json"));
        claim["job"]["node"].as_str().unwrap().to_owned()
    };
    let on = |wanted: &str| (0..8).filter(|index| node(*index) == wanted).collect::<Vec<usize>>();
    let (first, second) = (on("n1"), on("n2"));
    // By hand, without a word to medalist: the agent saves its work, and the attempt is made again when somebody resumes.
    let cancelled = first[0];
    site.slurm("scancel", &[&format!("{array}_{cancelled}")]);
    until("the cancelled one", || attempts[cancelled].join("attempt.json").is_file());
    assert_eq!(outcome(&attempts[cancelled]), "node_lost");
    assert!(attempts[cancelled].join("tries/1/submission/submission.csv").is_file());
    let requeued = first[1];
    site.slurm("scontrol", &["requeue", &format!("{array}_{requeued}")]);
    until("the requeued one", || attempts[requeued].join("tries/2/run.log").is_file());
    let stopped = second[0];
    let key = json(&group.join("plan.json"))["attempts"][stopped]["key"].clone();
    site.ok(&["stop", key.as_str().unwrap(), "--group", &name]);
    assert_eq!(outcome(&attempts[stopped]), "cancelled");

    let mut follower = site.follow();
    until("the one that is made again", || attempts[cancelled].join("tries/2/run.log").is_file());
    follower.kill().unwrap();
    end(follower);
    let follower = site.follow();
    let dir = site.dir.clone();
    let ran = |words: &[&str]| {
        let output = cluster(&dir, words).output().unwrap();
        assert!(output.status.success(), "{:#?}", called(&output));
    };
    ran(&["restart"]);
    // A power cut, as far as the scheduler can tell: what ran on the node runs on.
    let lost = second[1];
    ran(&["kill", "n2"]);
    until("another try of the lost one", || attempts[lost].join("tries/2/run.log").is_file());
    let zombie = json(&attempts[lost].join("tries/1/claim.json"))["pid"].clone();
    assert!(Path::new(&format!("/proc/{zombie}")).exists(), "its process lives on");
    site.go();
    until("the zombie's end", || !Path::new(&format!("/proc/{zombie}")).exists());
    ran(&["start", "n2"]);
    let followed = end(follower);
    assert_eq!(followed.code, 0, "{followed:#?}");
    assert_eq!(site.counts(), json!([8, 8, 8, 0]), "{followed:#?}");
    for attempt in &attempts {
        assert_eq!(outcome(attempt), "finished", "{}", attempt.display());
    }
    let ended = json(&attempts[lost].join("tries/1/end.json"));
    assert_eq!(ended["by"], "superseded", "{ended:#}");
    assert!(attempts[lost].join("tries/1/run.log").is_file(), "what it left is kept");
    let counted = fs::canonicalize(attempts[lost].join("run.log")).unwrap();
    assert!(counted.ends_with("tries/2/run.log"), "{}", counted.display());
    assert!(site.ok(&["report", &name]).stdout.contains("waits"));
}

#[test]
fn a_real_slurms_time_limit_before_the_agents_is_the_machines_failure() {
    let Some(site) = Real::new(&[("NODES", "1"), ("PORT", "17440"), ("MAXSUBMIT", "2")]) else {
        return;
    };
    let handed = site.hand_over(&["-c", "demo-bikes", "demo-digits", "demo-flights"]);
    assert!(handed.code == 0 && handed.stderr.contains("not handed over yet"), "{handed:#?}");
    let attempts = site.attempts();
    let began = || attempts.iter().filter(|attempt| log(attempt).contains("working")).count();
    until("two agents", || began() == 2);
    let limited = attempts.iter().position(|attempt| log(attempt).contains("working")).unwrap();
    let claim = json(&attempts[limited].join("tries/1/claim.json"));
    let job = format!("{}_{}", claim["job"]["id"].as_str().unwrap(), claim["job"]["index"]);
    site.slurm("scontrol", &["update", &format!("jobid={job}"), "TimeLimit=1"]);
    until("its end", || attempts[limited].join("attempt.json").is_file());
    let record = json(&attempts[limited].join("attempt.json"));
    assert_eq!(record["outcome"]["kind"], "node_lost", "{record:#}");
    assert!(record["submission"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{record:#}");
    site.go();
    let followed = end(site.follow());
    assert_eq!(followed.code, 0, "{followed:#?}");
    assert_eq!(site.counts(), json!([3, 3, 3, 0]), "{followed:#?}");
}

#[test]
fn a_real_slurm_takes_nodes_and_memory_away() {
    let cluster = [("NODES", "1"), ("NODE_CPUS", "2"), ("PORT", "17480"), ("CGROUP", "1")];
    let Some(site) = Real::new(&cluster) else { return };
    let handed = site.hand_over(&["-c", "demo-bikes", "--partition", "scavenge"]);
    assert_eq!(handed.code, 0, "{handed:#?}");
    let attempt = site.attempts().remove(0);
    until("the agent", || log(&attempt).contains("working"));
    // Who has more to say wants the whole node.
    let taken = ["--partition=urgent", "--exclusive", "--time=5", "--output=/dev/null", "--wrap"];
    site.slurm("sbatch", &[&taken[..], &["sleep 5"]].concat());
    until("the end of the try", || attempt.join("attempt.json").is_file());
    let record = json(&attempt.join("attempt.json"));
    assert_eq!(record["outcome"]["kind"], "node_lost", "{record:#}");
    assert!(attempt.join("tries/1/submission/submission.csv").is_file(), "{record:#}");
    site.go();
    let followed = end(site.follow());
    assert_eq!(followed.code, 0, "{followed:#?}");
    assert_eq!(outcome(&attempt), "finished");
    assert!(attempt.join("tries/2/run.log").is_file());

    // None of its processes is as large as the harness, which the kernel therefore ends first, once the init's
    // word that the agent goes first is taken back.
    let hungry = "until [ \"$(cat /proc/$$/oom_score_adj)\" = 500 ]; do sleep 0.1; done\n\
                  echo 0 > /proc/$$/oom_score_adj\nsmall='x=bytearray(4<<20); import time; time.sleep(600)'\n\
                  for i in $(seq 100); do (exec python3 -c \"$small\") & done\nwait\n";
    fs::write(site.context.join("waits/start.sh"), hungry).unwrap();
    let words = ["run", "--on", "slurm", "--detach", "--agent", "./waits", "--executor", "process"];
    let limits = ["-c", "demo-digits", "--cpus", "1", "--memory", "0", "--timeout", "10min"];
    let more = ["--slurm-arg=--mem=200M", "--retries", "0"];
    site.ok(&[&words[..], &limits[..], &more[..]].concat());
    let followed = end(site.follow());
    let record = json(&site.attempts().remove(0).join("attempt.json"));
    assert_eq!(record["outcome"]["kind"], "engine_lost", "{record:#} {followed:#?}");
    let detail = record["outcome"]["detail"].as_str().unwrap();
    assert!(detail.contains("memory ran out"), "{record:#} {followed:#?}");
}
