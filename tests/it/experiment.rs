//! Experiments as a user runs them: planned, cut short, taken up again, refused, and stopped early.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Called, TestContext, json};

/// Pinned settings under which plain processes are done in seconds.
const RUN: &str = "[run]\nexecutor = \"process\"\ntimeout = \"5min\"\ngrace = \"5s\"\ncpus = 1\nmemory = \"512MiB\"\nparallel = 2\n";

/// Prepared data, and a file `lab.toml`.
fn prepared(competitions: &[&str], head: &str) -> TestContext {
    let context = TestContext::new();
    context.ok(&[&["prepare", "-c"], competitions].concat());
    write(&context, head);
    context
}

fn write(context: &TestContext, head: &str) {
    std::fs::write(context.join("lab.toml"), format!("{head}\n{RUN}")).unwrap();
}

/// The run groups of the experiment, by name.
fn groups(context: &TestContext) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(context.join("runs/lab")).into_iter().flatten().flatten();
    let mut groups: Vec<PathBuf> =
        entries.map(|e| e.path()).filter(|p| p.join("plan.json").is_file()).collect();
    groups.sort();
    groups
}

/// Every record of the groups' attempts that has an end, with its bytes.
fn ended(context: &TestContext) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut ended = BTreeMap::new();
    for group in groups(context) {
        for entry in std::fs::read_dir(&group).unwrap().flatten() {
            let record = entry.path().join("attempt.json");
            let graded = entry.path().join("grade.json").is_file();
            if graded && record.is_file() && !json(&record)["outcome"].is_null() {
                ended.insert(record.clone(), std::fs::read(&record).unwrap());
            }
        }
    }
    ended
}

/// Runs the experiment until a line of its progress has `words`, and kills it there.
fn kill_at(context: &TestContext, words: &str) {
    let mut command = context.command();
    command.args(["experiment", "lab.toml"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    for line in lines.map_while(Result::ok) {
        let found = line.contains(words);
        seen.push(line);
        if found {
            child.kill().unwrap();
            break;
        }
    }
    child.wait().unwrap();
    assert!(seen.last().is_some_and(|line| line.contains(words)), "no `{words}` in {seen:#?}");
}

const TWINS: &str = "agents = [\"sample\", { name = \"twin\", agent = \"sample\" }]\nseeds = 2\nstop = { rule = \"never\" }\n\
                     suites = [{ name = \"pair\", competitions = [\"demo-bikes\", \"demo-digits\"] }]";

#[test]
fn the_plan_is_told_before_anything_runs() {
    let context = prepared(&["demo-bikes", "demo-digits"], TWINS);
    let called = context.ok(&["experiment", "lab.toml", "--dry-run"]);
    for words in [
        "compares    agents: sample, twin",
        "stages      2, with 2 seeds",
        "attempts    8 in 2 cells (4 a stage",
        "hours       at most ",
        "dollars     none: no calls",
        "with 80% power on 2 competitions, 1 pair, if each attempt is a coin's toss (variance 0.25)",
        "won nearly always or nearly never",
    ] {
        assert!(called.stdout.contains(words), "no `{words}` in {}", called.stdout);
    }
    assert!(!context.join("runs").exists(), "nothing was begun");
    let plan: Value =
        serde_json::from_str(&context.ok(&["experiment", "lab.toml", "--plan", "--json"]).stdout)
            .unwrap();
    assert_eq!((plan["attempts"].as_u64(), plan["pairs"].as_u64()), (Some(8), Some(1)));
}

#[test]
fn a_plan_that_may_cost_more_than_allowed_is_refused() {
    let context = prepared(&["demo-bikes", "demo-digits"], TWINS);
    let llm = "[upstreams.openai]\nkey = { env = \"NO_SUCH_KEY\" }\n";
    std::fs::write(
        context.join("llm.toml"),
        format!("{llm}[budget.attempt]\ndollars = \"5.00\"\n"),
    )
    .unwrap();
    std::fs::write(context.join("open.toml"), llm).unwrap();
    let with = |file: &str| {
        let text = format!("{TWINS}\nmax_dollars = \"39.99\"\n{RUN}llm = \"{file}\"\n");
        std::fs::write(context.join("lab.toml"), text).unwrap();
    };
    with("llm.toml");
    let called = context.run(&["experiment", "lab.toml"]);
    assert_eq!(called.code, 3, "{called:#?}");
    assert!(called.stdout.contains("dollars     at most $40.00"), "{called:#?}");
    assert!(called.stderr.contains("may cost $40.00, and $39.99 are allowed"), "{called:#?}");
    assert!(!context.join("runs").exists(), "nothing was begun");
    // Enough money leads to the next thing in the way.
    let called = context.run(&["experiment", "lab.toml", "--max-dollars", "40"]);
    assert_eq!(called.code, 4, "{called:#?}");
    assert!(called.stderr.contains("NO_SUCH_KEY"), "{called:#?}");
    with("open.toml");
    let called = context.run(&["experiment", "lab.toml", "--dry-run"]);
    assert!(called.code == 3 && called.stderr.contains("nothing bounds"), "{called:#?}");
}

#[test]
fn an_experiment_that_changes_two_things_at_once_is_refused() {
    let head = "compare = \"agent\"\nsuites = [\"demo\"]\nmodels = [\"x\", \"y\"]\n\
                agents = [{ agent = \"sample\", models = [\"x\"] }, { agent = \"baseline\", models = [\"y\"] }]";
    let context = TestContext::new();
    write(&context, head);
    let called = context.run(&["experiment", "lab.toml"]);
    assert_eq!(called.code, 3, "{called:#?}");
    let words = "agent `sample` is run with model `x`, and agent `baseline` with model `y`";
    assert!(
        called.stderr.contains(words) && called.stderr.contains("hint: run both"),
        "{called:#?}"
    );
}

#[test]
fn a_harness_that_is_killed_loses_and_repeats_nothing() {
    let context = prepared(&["demo-bikes", "demo-digits"], TWINS);
    for words in ["folder: ", "demo-digits/sample/0: finished", "stage 2 of 2: twin"] {
        let before = ended(&context);
        kill_at(&context, words);
        let after = ended(&context);
        for (record, bytes) in &before {
            assert_eq!(after.get(record), Some(bytes), "{} was touched", record.display());
        }
    }
    let before = ended(&context);
    assert!(before.len() >= 4, "the first stage is done: {}", before.len());
    let called = context.ok(&["experiment", "lab.toml"]);
    let after = ended(&context);
    assert_eq!((after.len(), groups(&context).len()), (8, 4));
    for (record, bytes) in &before {
        assert_eq!(after.get(record), Some(bytes), "{} was touched", record.display());
    }
    assert!(called.stdout.contains("lab: complete, 2 of 2 stages, 8 of 8 attempts"), "{called:#?}");
    assert!(called.stdout.contains("no difference found"), "{called:#?}");
    // Seeds are those of their stages, and the groups' names say so.
    let names: Vec<String> = groups(&context)
        .iter()
        .map(|g| g.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names,
        [
            "01_sample_pair_seeds-0",
            "01_sample_pair_seeds-1",
            "02_twin_pair_seeds-0",
            "02_twin_pair_seeds-1"
        ]
    );
    let second = json(&groups(&context)[1].join("plan.json"));
    assert_eq!(second["attempts"][0]["key"].as_str().map(|key| key.ends_with("/1")), Some(true));
    // Nothing is left to do.
    let again = context.ok(&["experiment", "lab.toml"]);
    assert!(!again.stderr.contains("stage 1 of 2") && ended(&context) == after, "{again:#?}");
}

#[test]
fn a_changed_agent_or_file_is_refused_by_name() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-bikes"]);
    let agent = context.join("agents/mine");
    std::fs::create_dir_all(&agent).unwrap();
    let toml = "id = \"mine\"\nbuild = \"scratch\"\nprogram = \"sample\"\n";
    std::fs::write(agent.join("agent.toml"), toml).unwrap();
    let head = "agents = [\"sample\", \"agents/mine\"]\nsuites = [{ name = \"one\", competitions = [\"demo-bikes\"] }]";
    write(&context, head);
    context.ok(&["experiment", "lab.toml"]);
    let refused = |words: &[&str]| {
        let called: Called = context.run(&["experiment", "lab.toml"]);
        assert_eq!(called.code, 3, "{called:#?}");
        for words in words {
            assert!(called.stderr.contains(words), "no `{words}` in {}", called.stderr);
        }
    };
    std::fs::write(agent.join("agent.toml"), format!("{toml}description = \"changed\"\n")).unwrap();
    refused(&["files (SHA-256) of agent `mine`: was `", "under another `name`"]);
    std::fs::write(agent.join("agent.toml"), toml).unwrap();
    write(&context, &format!("{head}\nalpha = 0.1\nseeds = 3"));
    refused(&["alpha: was `0.05`, is `0.1`", "seeds after each stage: was `1`, is `1, 2, 3`"]);
    write(&context, head);
    let manifest = context.join("data/demo-bikes/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{text}\n")).unwrap();
    refused(&["prepared data of `demo-bikes` (SHA-256): was `"]);
    std::fs::write(&manifest, text).unwrap();
    context.ok(&["experiment", "lab.toml"]);
}

#[test]
fn a_clear_difference_stops_the_experiment_and_the_report_shows_it() {
    let head = "agents = [\"sample\", \"baseline\"]\nsuites = [\"demo\"]\nseeds = 6\nstage_seeds = 2\nstop = { rule = \"pocock\" }";
    let context = TestContext::new();
    context.ok(&["prepare", "--suite", "demo"]);
    write(&context, head);
    let called = context.ok(&["experiment", "lab.toml"]);
    assert!(
        called.stdout.contains("lab: stopped early, 1 of 3 stages, 16 of 48 attempts"),
        "{called:#?}"
    );
    assert!(called.stdout.contains("baseline wins more medals than sample"), "{called:#?}");
    let root = context.join("runs/lab");
    let looks = json(&root.join("looks.json"));
    assert_eq!(looks["looks"].as_array().map(Vec::len), Some(1));
    let report = json(&root.join("experiment-report.json"));
    assert_eq!(report["progress"], "stopped_early");
    let rows = report["tables"][0]["rows"].as_array().unwrap();
    let rates: Vec<f64> =
        rows.iter().map(|row| row["medal_rate"]["value"].as_f64().unwrap()).collect();
    assert_eq!(rates, [0.0, 1.0]);
    assert_eq!(report["pairs"][0]["verdict"]["sure_at"], 0);
    let page = std::fs::read_to_string(root.join("report.html")).unwrap();
    for words in [
        "id=\"differences\"",
        "baseline wins more medals than sample",
        "id=\"score-time-0\"",
        "Where each wins",
        "not recorded",
    ] {
        assert!(page.contains(words), "no `{words}` in the page");
    }
    // The attempts to look at are where the page says.
    let link = page.split("<a href=\"").find(|rest| rest.starts_with("0")).unwrap();
    let folder = root.join(link.split('"').next().unwrap().replace("&#x2f;", "/"));
    assert!(folder.join("attempt.json").is_file(), "{}", folder.display());
    let text = std::fs::read_to_string(root.join("experiment-report.md")).unwrap();
    assert!(text.contains("| baseline | 100.0% | 8 of 8 |"), "{text}");
    // A second start finds that nothing is left to do, and the generic report reads the groups too.
    let again = context.ok(&["experiment", "lab.toml"]);
    assert!(!again.stderr.contains("stage 1"), "{again:#?}");
    assert_eq!(groups(&context).len(), 2);
    let compared = context.ok(&["experiment", "lab.toml", "--report", "--json"]);
    let again: Value = serde_json::from_str(&compared.stdout).unwrap();
    assert_eq!(again["pairs"], report["pairs"]);
    context.ok(&["report", "runs/lab", "--out", "all"]);
    // Groups that ran say what to expect of the next experiment.
    write(&context, &format!("name = \"next\"\nprior = \"runs/lab\"\n{head}"));
    let next = context.ok(&["experiment", "lab.toml", "--dry-run"]).stdout;
    assert!(next.contains("hours       at most ") && !next.contains("not known without"), "{next}");
}
