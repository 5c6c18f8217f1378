//! The demo as a user runs it: every step in one command, sealed and unsealed, with a report at the
//! end.

use std::process::Command;

use crate::support::{TestContext, has_docker, json};

/// Both agents on all four competitions: the learner beats the floor everywhere, and everything is
/// on disk.
fn check(context: &TestContext, sealed: bool) {
    let root = context.join("medalist-demo");
    let page = std::fs::read_to_string(root.join("report/report.html")).unwrap();
    assert!(page.contains("baseline") && page.contains("<svg"), "a page with pictures");
    assert!(json(&root.join("report/report.json")).is_object());
    let mut scores = std::collections::BTreeMap::new();
    for group in std::fs::read_dir(root.join("runs")).unwrap().flatten() {
        let metadata = json(&group.path().join("metadata.json"));
        assert_eq!(metadata["runs"].as_object().unwrap().len(), 4, "one entry for each attempt");
        for attempt in
            std::fs::read_dir(group.path()).unwrap().flatten().filter(|entry| entry.path().is_dir())
        {
            let record = json(&attempt.path().join("attempt.json"));
            let grade = json(&attempt.path().join("grade.json"));
            assert_eq!(record["outcome"]["kind"], "finished", "{record:#}");
            assert_eq!(record["outcome"]["exit_code"], 0, "{record:#}");
            assert_eq!(record["conditions"]["sealed"], sealed);
            assert_eq!(grade["valid_submission"], true, "{grade:#}");
            assert!(attempt.path().join("submission/submission.csv").is_file());
            let key =
                (record["key"]["competition"].to_string(), record["key"]["agent"].to_string());
            let percentile =
                grade["percentile"].as_f64().expect("the demo's boards rank every score");
            scores.insert(key, percentile);
        }
    }
    assert_eq!(scores.len(), 8);
    for ((competition, agent), percentile) in &scores {
        if agent == "\"baseline\"" {
            let floor = scores[&(competition.clone(), "\"sample\"".to_owned())];
            assert!(*percentile > floor + 30.0, "{competition}: {percentile} against {floor}");
        }
    }
}

#[test]
fn the_demo_runs_sealed_where_docker_is() {
    if !has_docker() {
        return;
    }
    let context = TestContext::new();
    let called = context.ok(&["demo", "--seeds", "1", "--executor", "docker"]);
    assert!(called.stderr.contains("(docker, sealed)"), "{}", called.stderr);
    assert!(called.stdout.contains("any medal"), "{}", called.stdout);
    check(&context, true);
    let left = Command::new("docker")
        .args(["ps", "-aq", "--filter", "label=io.medalist.version", "--filter", "name=demo-"])
        .output()
        .unwrap();
    let names = String::from_utf8_lossy(&left.stdout).into_owned();
    let ours = json_groups(&context);
    for id in names.split_whitespace() {
        let inspected = Command::new("docker").args(["inspect", id]).output().unwrap();
        let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
        assert!(
            !ours.iter().any(|group| text.contains(group)),
            "a container of this demo is left behind"
        );
    }
}

fn json_groups(context: &TestContext) -> Vec<String> {
    std::fs::read_dir(context.join("medalist-demo/runs"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The demo where no engine answers.
fn without_an_engine(context: &TestContext, node_dir: &str) -> crate::support::Called {
    let output = context
        .command()
        .env("DOCKER_HOST", format!("unix://{}", context.join("nobody.sock").display()))
        .env("MEDALIST_NODE_DIR", context.join(node_dir))
        .args(["demo", "--seeds", "1"])
        .output()
        .unwrap();
    let called = crate::support::called(&output);
    assert_eq!(called.code, 0, "{called:#?}");
    called
}

#[test]
fn the_demo_runs_sealed_without_a_daemon() {
    let context = TestContext::new();
    let called = without_an_engine(&context, "node");
    assert!(called.stderr.contains("(namespaces, sealed)"), "{}", called.stderr);
    check(&context, true);
}

#[test]
fn the_demo_runs_without_containers_and_says_what_is_lost() {
    let context = TestContext::new();
    // Containers cannot lie in such a folder.
    let called = without_an_engine(&context, "a,b");
    for words in ["NOT SEALED", "no container was used", "Start Docker"] {
        assert!(called.stderr.contains(words), "no `{words}` in {}", called.stderr);
    }
    check(&context, false);
    // The group that was made can be looked at again.
    let group = &json_groups(&context)[0];
    let runs = context.join("medalist-demo/runs");
    let runs = runs.to_str().unwrap();
    assert!(context.ok(&["--runs-dir", runs, "status", group]).stdout.contains("\n4/4 done"));
    assert!(
        context.ok(&["--runs-dir", runs, "replay", group]).stdout.contains("finished: 4/4 done")
    );
}
