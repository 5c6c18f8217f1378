//! Runs on data that `prepare --fixed` made are never mixed with others unknowingly.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::TestContext;

const ID: &str = "random-acts-of-pizza";

/// Prepares the made-up data, runs an agent on them that hands in the sample, and gives the run
/// group's folder.
fn run_on(context: &TestContext, flags: &[&str]) -> PathBuf {
    let zip = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/prepare/{ID}.zip"));
    let zip = zip.to_str().unwrap();
    context.ok(&[&["prepare", "-c", ID, "--raw-zip", zip, "--skip-verification"], flags].concat());
    let agent = context.join("sampler");
    fs::create_dir_all(&agent).unwrap();
    fs::write(agent.join("agent.toml"), "id = \"sampler\"\nbuild = \"dockerfile\"\n").unwrap();
    fs::write(
        agent.join("start.sh"),
        "cp \"$DATA_DIR/sampleSubmission.csv\" \"$SUBMISSION_DIR/submission.csv\"\n",
    )
    .unwrap();
    let known = groups(context);
    context.ok(&["run", "--agent", "sampler", "-c", ID, "--executor", "process"]);
    groups(context).into_iter().find(|group| !known.contains(group)).expect("a new run group")
}

fn groups(context: &TestContext) -> Vec<PathBuf> {
    let entries = fs::read_dir(context.join("runs")).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("group.json").is_file())
        .collect()
}

#[test]
fn runs_on_fixed_data_are_kept_apart() {
    let context = TestContext::new();
    let v1 = run_on(&context, &[]);
    let fixed = run_on(&context, &["--fixed"]);
    let (v1, fixed) = (v1.to_str().unwrap(), fixed.to_str().unwrap());

    let called = context.ok(&["report", v1, "--json"]);
    let report: Value = serde_json::from_str(&called.stdout).unwrap();
    assert_eq!(report["attempts"][0]["conditions"]["data_edition"], "v1");
    assert!(!called.stderr.contains("not MLE-bench's"), "{}", called.stderr);

    let called = context.ok(&["report", fixed, "--json"]);
    let report: Value = serde_json::from_str(&called.stdout).unwrap();
    assert_eq!(report["attempts"][0]["conditions"]["data_edition"], "fixed");
    let warning = format!("1 of 1 attempts ran on data that are not MLE-bench's (`{ID}`: fixed)");
    assert!(called.stderr.contains(&warning), "{}", called.stderr);
    assert!(report["warnings"].to_string().contains(&warning), "{}", report["warnings"]);
    let page = fs::read_to_string(Path::new(fixed).join("report/report.html")).unwrap();
    assert!(
        page.contains("data: fixed") && page.contains("not MLE-bench&#x27;s"),
        "the page does not say so"
    );

    let called = context.ok(&["report", v1, fixed, "--json"]);
    assert!(
        called.stderr.contains("attempts differ in edition of the data (fixed, v1)"),
        "{}",
        called.stderr
    );
    let called = context.ok(&["leaderboard", fixed, "--measured-only"]);
    assert!(called.stderr.contains(&warning), "{}", called.stderr);
    let called = context.run(&["compare", v1, "--against", fixed]);
    assert_eq!(called.code, 3, "{called:#?}");
    assert!(called.stderr.contains("edition of the data"), "{}", called.stderr);
}

#[test]
fn without_anything_to_fix_nothing_is_marked() {
    let context = TestContext::new();
    let called = context.ok(&["prepare", "-c", "demo-bikes", "--fixed"]);
    assert!(called.stderr.contains("there is nothing to fix"), "{}", called.stderr);
    let record = fs::read(context.join("data/demo-bikes/prepare.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["fixed"], false);
}
