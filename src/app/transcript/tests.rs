use chrono::TimeZone as _;
use medalist_grading::Medal;
use medalist_reports::record::{OutcomeKind, OutcomeRecord, Phase, PhaseRecord, SnapshotRecord};
use serde_json::json;

use super::*;

fn at(second: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, second).unwrap()
}

fn turn(
    call: u64,
    role: &str,
    continues: Option<u64>,
    said: Vec<Entry>,
    answer: Vec<Entry>,
) -> Turn {
    Turn {
        call,
        at: at(call as u32),
        role: role.to_owned(),
        model: "m".to_owned(),
        route: "POST /chat/completions".to_owned(),
        continues,
        said,
        answer,
        status: 200,
        whole: true,
    }
}

fn user(text: &str) -> Entry {
    Entry::User { text: text.to_owned() }
}

fn shell(id: &str, command: &str) -> Entry {
    Entry::Call {
        id: id.to_owned(),
        name: "shell".to_owned(),
        arguments: json!({ "command": command }),
    }
}

/// An attempt of two roles: a coder that uses a shell, and a reviewer that is asked once.
fn timeline() -> Timeline {
    let result =
        Entry::Result { id: "c1".into(), text: "ok\u{202e}\x1b[31m".into(), is_error: false };
    let calls = [
        turn(1, "coder", None, vec![user("go")], vec![shell("c1", "cat > a.py <<'END'\nx\nEND")]),
        turn(
            2,
            "reviewer",
            None,
            vec![user("good?")],
            vec![Entry::Assistant { text: "yes".into() }],
        ),
        turn(3, "coder", Some(1), vec![result], vec![Entry::Assistant { text: "done".into() }]),
    ];
    let record = AttemptRecord {
        started_at: Some(at(0)),
        ended_at: Some(at(9)),
        took_s: Some(9.0),
        outcome: Some(OutcomeRecord { kind: OutcomeKind::Finished, ..OutcomeRecord::default() }),
        phases: vec![PhaseRecord { name: Phase::Agent, began_s: 0.5, took_s: 8.0 }],
        snapshots: vec![SnapshotRecord {
            after_s: 4.0,
            valid: true,
            score: Some(0.5),
            medal: Some(Medal::Gold),
            ..SnapshotRecord::default()
        }],
        ..AttemptRecord::default()
    };
    let mut timeline = Timeline {
        key: AttemptKey { competition: "c".into(), agent: "a".into(), seed: 0 },
        group: "g".to_owned(),
        agent_version: None,
        record,
        grade: None,
        moments: Vec::new(),
        notes: vec!["a note".to_owned()],
    };
    timeline.add_phases_and_snapshots();
    for turn in calls {
        let conversation = if turn.role == "coder" { 1 } else { 2 };
        let writes = turn.answer.iter().flat_map(files_written).collect();
        let bill = CallRecord {
            duration_ms: 500.0,
            usd: (turn.call != 2).then_some(0.25),
            tokens: medalist_llm::usage::Buckets { input: 10, output: 2, ..Default::default() },
            role: turn.role.clone(),
            request_model: "m".to_owned(),
            ..CallRecord::default()
        };
        let exchange = Exchange { conversation, writes, turn, bill: Some(bill) };
        timeline.add(exchange.turn.at, What::Call(Box::new(exchange)));
    }
    timeline.add(at(5), What::Validation { valid: false, message: "no rows".to_owned() });
    timeline.moments.sort_by_key(|moment| moment.at);
    timeline
}

#[test]
fn a_terminal_shows_everything_in_order_and_nothing_that_acts() {
    let text = timeline().write(Form::Text, Length::Short).unwrap();
    let order = [
        "a note",
        "phase      agent",
        "call 1 of m as coder, new conversation 1",
        "go",
        "cat > a.py",
        "writes a.py",
        "call 2",
        "good?",
        "call 3",
        "snapshot   score 0.5, gold",
        "validation invalid: no rows",
    ];
    let places: Vec<_> = order.iter().map(|what| text.find(what)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{text}");
    assert!(!text.contains(['\u{202e}', '\x1b']), "{text}");
    let page = timeline().write(Form::Html, Length::Short).unwrap();
    assert!(!page.contains(['\u{202e}', '\x1b']) && page.contains("no rows"));
}

#[test]
fn long_texts_are_cut_unless_all_is_asked_for() {
    let mut timeline = timeline();
    let long = (0..40).map(|line| format!("line {line}\n")).collect::<String>();
    let What::Call(call) =
        &mut timeline.moments.iter_mut().find(|m| matches!(m.what, What::Call(_))).unwrap().what
    else {
        unreachable!("found as a call")
    };
    call.turn.said = vec![user(&long)];
    let short = timeline.write(Form::Text, Length::Short).unwrap();
    assert!(short.contains("line 11\n") && !short.contains("line 12\n"));
    assert!(short.contains("28 more lines"), "{short}");
    assert!(timeline.write(Form::Text, Length::Full).unwrap().contains("line 39\n"));
}

#[test]
fn roles_are_trajectories_and_results_stand_with_their_calls() {
    let text = timeline().write(Form::Atif, Length::Full).unwrap();
    let root: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(root["schema_version"], "ATIF-v1.7");
    let sources: Vec<&str> =
        root["steps"].as_array().unwrap().iter().map(|s| s["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["user", "agent", "agent"]);
    assert_eq!(root["steps"][1]["tool_calls"][0]["tool_call_id"], "c1");
    assert_eq!(root["steps"][1]["observation"]["results"][0]["source_call_id"], "c1");
    assert_eq!(root["steps"][1]["extra"]["writes"], json!(["a.py"]));
    assert_eq!(root["steps"][1]["metrics"]["prompt_tokens"], 10);
    let other = &root["subagent_trajectories"][0];
    assert_eq!(
        (&other["trajectory_id"], &other["steps"][0]["step_id"]),
        (&json!("reviewer"), &json!(1))
    );
    // The price of one call is not known, so that neither is the sum.
    assert_eq!(root["final_metrics"].get("total_cost_usd"), None);
    assert_eq!(root["final_metrics"]["total_prompt_tokens"], 30);
    let mut silent = timeline();
    silent.moments.retain(|moment| !matches!(moment.what, What::Call(_)));
    let error = silent.write(Form::Atif, Length::Full).unwrap_err();
    assert!(error.render().contains("no recorded call") && error.render().contains("a note"));
}

#[test]
fn inspect_gets_a_sample_with_events_and_usage() {
    let text = timeline().write(Form::Inspect, Length::Full).unwrap();
    let log: Value = serde_json::from_str(&text).unwrap();
    let sample = &log["samples"][0];
    let events: Vec<&str> =
        sample["events"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["info", "model", "model", "model", "info", "info"]);
    assert_eq!(sample["model_usage"]["m"]["input_tokens"], 30);
    assert_eq!(sample["role_usage"]["coder"]["total_cost"], 0.5);
    assert_eq!(sample["role_usage"]["reviewer"]["total_cost"], Value::Null);
    assert_eq!(log["status"], "success");
}

#[test]
fn files_are_named_where_a_tool_says_so() {
    let call = |arguments: Value| Entry::Call { id: String::new(), name: String::new(), arguments };
    let cases = [
        (json!({"file_path": "a.py", "content": "x"}), vec!["a.py"]),
        (json!({"path": "a.py"}), vec![]),
        (
            json!({"command": "cat > 'b.py' << EOF\nx\nEOF\ncat <<EOF > c.py\nEOF"}),
            vec!["b.py", "c.py"],
        ),
        (json!({"command": ["bash", "-lc", "cat >> d.py <<EOF"]}), vec!["d.py"]),
        (json!("*** Begin Patch\n*** Add File: e.py\n+x"), vec!["e.py"]),
        (json!({"command": "echo 1 << 2 > 3 4"}), vec![]),
    ];
    for (arguments, files) in cases {
        assert_eq!(files_written(&call(arguments.clone())), files, "{arguments}");
    }
}

#[test]
fn what_is_left_of_an_attempt_is_read_and_what_is_missing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let attempt = AttemptDir::new(dir.path());
    let read = || Timeline::read(None, &attempt, &attempt);
    assert!(read().unwrap_err().render().contains("has not begun"));
    let record = AttemptRecord { started_at: Some(at(0)), ..AttemptRecord::default() };
    std::fs::write(attempt.record(), serde_json::to_string(&record).unwrap()).unwrap();
    std::fs::write(
        attempt.validation_log(),
        "{\"at\":\"2026-01-01T00:00:05Z\",\"valid\":true,\"message\":\"fine\"}\n{\"more\":\"x\"}\n{\"at",
    )
    .unwrap();
    let timeline = read().unwrap();
    assert_eq!(timeline.moments.len(), 1);
    assert!(timeline.notes[0].contains("had no gateway"), "{:?}", timeline.notes);
    std::fs::create_dir(attempt.llm()).unwrap();
    std::fs::write(attempt.llm().join("transcript.jsonl.gz"), b"not gzip").unwrap();
    assert!(read().unwrap().notes[0].contains("ends early"), "{:?}", read().unwrap().notes);
}

#[test]
fn a_page_tells_the_whole_timeline() {
    let moments = timeline().moments.len();
    let story = pages::story(timeline());
    assert_eq!(story.steps.len(), moments);
    let first = story.steps.iter().find(|step| step.is_call).unwrap();
    assert!(first.head.starts_with("call 1 of m as coder, new conversation 1"), "{}", first.head);
    let said: Vec<_> =
        first.said.iter().map(|said| (said.who.as_str(), said.text.as_str())).collect();
    assert_eq!(said[0], ("user", "go"));
    assert_eq!(said.last(), Some(&("writes", "a.py")));
    assert!(
        story.steps.iter().any(|step| step.head == "snapshot of the submission: score 0.5, gold")
    );
}

#[test]
fn a_page_opens_no_pipe_and_has_no_story_of_phases_alone() {
    use medalist_reports::viewer::Stories as _;
    let dir = tempfile::tempdir().unwrap();
    assert!(Recorded.of(dir.path()).is_none(), "there is no record");
    let attempt = AttemptDir::new(dir.path());
    let record = AttemptRecord {
        started_at: Some(at(0)),
        phases: vec![PhaseRecord { name: Phase::Agent, began_s: 0.5, took_s: 8.0 }],
        ..AttemptRecord::default()
    };
    std::fs::write(attempt.record(), serde_json::to_string(&record).unwrap()).unwrap();
    let story = Recorded.of(dir.path()).unwrap();
    assert!(story.steps.is_empty() && story.notes[0].contains("no gateway"), "{story:?}");
    std::fs::create_dir(attempt.llm()).unwrap();
    let pipe = attempt.llm().join("transcript.jsonl.gz");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let story = Recorded.of(dir.path()).unwrap();
    assert_eq!(story.notes, ["no timeline: `transcript.jsonl.gz` is no plain file"]);
}
