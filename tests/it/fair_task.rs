//! `medalist competitions check` on real data, and on a competition of one's own that is not fair.

use std::fs;

use serde_json::Value;

use crate::support::TestContext;

fn checked(context: &TestContext, args: &[&str]) -> (i32, Value) {
    let called =
        context.run(&[&["competitions", "check", "--json", "--model-time", "2s"], args].concat());
    let all: Value = serde_json::from_str(&called.stdout).unwrap_or_else(|_| panic!("{called:#?}"));
    (called.code, all)
}

fn rung<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rungs = report["ladder"]["rungs"].as_array().unwrap();
    rungs.iter().find(|rung| rung["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"))
}

fn kinds(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

#[test]
fn the_demo_competitions_are_fair() {
    let context = TestContext::new();
    context.ok(&["prepare", "--suite", "demo"]);
    let (code, all) =
        checked(&context, &["demo-bikes", "demo-definitions", "demo-digits", "demo-flights"]);
    assert_eq!(code, 0, "{all:#}");
    for (report, model) in all.as_array().unwrap().iter().zip(["trees", "linear", "net", "trees"]) {
        assert!(rung(report, model)["score"].is_number(), "{report:#}");
        assert!(rung(report, "mean")["medal"].is_null(), "{report:#}");
        assert!(report["noise"]["margin"].as_f64().unwrap() > 0.0, "{report:#}");
        assert!(!report["leaks"]["probes"].as_array().unwrap().is_empty(), "{report:#}");
    }
    let sheet = context.ok(&["competitions", "check", "demo-flights", "--model-time", "2s"]).stdout;
    for part in ["LADDER", "board: gold", "noise: ", "ok    the order of the ids", "not measured"] {
        assert!(sheet.contains(part), "{part}: {sheet}");
    }
    let refused = context.run(&["competitions", "check", "leaf-classification"]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("is not prepared"), "{refused:#?}");
}

/// A competition whose ids give the answers, in a folder beside its prepared data.
fn unfair(context: &TestContext) -> String {
    let folder = context.join("own/unfair");
    fs::create_dir_all(&folder).unwrap();
    let spec = "id = \"unfair\"\ntitle = \"Unfair\"\nmodality = \"tabular\"\n\n[data]\nanswers = \"private/answers.csv\"\n\
        sample_submission = \"public/sample_submission.csv\"\n\n[thresholds]\ngold = 0.515\nsilver = 0.513\nbronze = 0.51\nmedian = 0.505\n\
        source = \"author\"\n\n[grading]\nmetric = \"accuracy\"\ndirection = \"higher\"\nid_columns = [\"id\"]\ntarget_columns = [\"y\"]\n\
        checks = [\"id_columns\", \"target_columns\", \"row_count\", \"ids\"]\n";
    fs::write(folder.join("competition.toml"), spec).unwrap();
    fs::write(folder.join("brief.md"), "Say whether it is so.\n").unwrap();
    let prepared = context.join("data/unfair/prepared");
    fs::create_dir_all(prepared.join("public")).unwrap();
    fs::create_dir_all(prepared.join("private")).unwrap();
    // Below 500 no, above yes; every fourth row is a test row.
    let row = |id: usize| format!("{id},{},{}\n", (id * 7919) % 1013, u8::from(id >= 500));
    let (test, train): (Vec<usize>, Vec<usize>) = (0..1000).partition(|id| id % 4 == 0);
    let lines = |ids: &[usize], of: &dyn Fn(usize) -> String| {
        ids.iter().map(|id| of(*id)).collect::<String>()
    };
    let write = |name: &str, text: String| fs::write(prepared.join(name), text).unwrap();
    write("public/train.csv", format!("id,x,y\n{}", lines(&train, &row)));
    let cut = |id: usize| row(id).rsplit_once(',').unwrap().0.to_owned() + "\n";
    write("public/test.csv", format!("id,x\n{}", lines(&test, &cut)));
    let answer = |id: usize| format!("{id},{}\n", u8::from(id >= 500));
    write("private/answers.csv", format!("id,y\n{}", lines(&test, &answer)));
    let sample = |id: usize| format!("{id},0\n");
    write("public/sample_submission.csv", format!("id,y\n{}", lines(&test, &sample)));
    folder.display().to_string()
}

#[test]
fn a_folder_is_checked_and_what_is_unfair_is_said() {
    let context = TestContext::new();
    let folder = unfair(&context);
    let (code, all) = checked(&context, &[&folder]);
    assert_eq!(code, 5, "{all:#}");
    let report = &all[0];
    let found = kinds(report);
    for kind in ["id-order", "id-nearest", "ladder-tops-board", "medals-within-noise"] {
        assert!(found.contains(&kind), "{kind}: {report:#}");
    }
    let first = &report["findings"][0];
    assert_eq!(first["severity"], "fault");
    assert!(first["numbers"]["effect"].as_f64().unwrap() > 0.9, "{first:#}");
    assert!(first["advice"].as_str().unwrap().contains("ids"), "{first:#}");
}

#[test]
fn open_choices_come_before_any_measurement() {
    let context = TestContext::new();
    let folder = unfair(&context);
    let path = context.join("own/unfair/competition.toml");
    let spec = fs::read_to_string(&path).unwrap();
    let open = "\n[[open]]\nkey = \"grading.metric\"\nquestion = \"Which metric?\"\n";
    fs::write(&path, format!("{spec}{open}")).unwrap();
    let (code, all) = checked(&context, &[&folder]);
    assert_eq!(code, 9, "{all:#}");
    assert_eq!(all[0]["open"][0]["key"], "grading.metric");
    assert_eq!(all[0]["ladder"], Value::Null);
    let told = context.run(&["competitions", "check", &folder]);
    assert!(told.stdout.contains("unfair: 1 to be decided"), "{told:#?}");
}
