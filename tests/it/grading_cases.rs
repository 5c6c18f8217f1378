//! Reports of users about grading, each as the user would meet it: the same small files, the same
//! command. Where a score stands, it is MLE-bench's own (783b15a with pandas 2.2.3).

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Called, TestContext};

const CACTUS: &str = "aerial-cactus-identification";
const CACTUS_ANSWERS: &str = "id,has_cactus\na.jpg,1\nb.jpg,0\nc.jpg,1\nd.jpg,0\n";
const CACTUS_GOOD: &str = "id,has_cactus\na.jpg,0.9\nb.jpg,0.1\nc.jpg,0.8\nd.jpg,0.3\n";

/// Grades one submission against answers, as `grade-sample --json`.
fn grade(context: &TestContext, id: &str, name: &str, submission: &str, answers: &str) -> Value {
    fs::write(context.join(name), submission).unwrap();
    fs::write(context.join("answers.csv"), answers).unwrap();
    let called = context.ok(&["grade-sample", name, id, "--answers", "answers.csv", "--json"]);
    serde_json::from_str(&called.stdout).unwrap()
}

/// The row, column and value that an invalid submission is blamed for.
fn blamed(report: &Value) -> (Option<u64>, &str) {
    assert_eq!(report["valid_submission"], false, "{report:#}");
    let invalid = &report["invalid"];
    (invalid["row"].as_u64(), invalid["value"].as_str().unwrap_or_default())
}

/// Puts answers where `prepare` would, and a good submission beside the list.
fn prepared(context: &TestContext) {
    let private = context.join("data").join(CACTUS).join("prepared/private");
    fs::create_dir_all(&private).unwrap();
    fs::write(private.join("test.csv"), CACTUS_ANSWERS).unwrap();
    fs::write(context.join("sub.csv"), CACTUS_GOOD).unwrap();
}

/// `grade` on a list of these lines; what it said and its report.
fn grade_lines(context: &TestContext, lines: &[&str]) -> (Called, Value) {
    fs::write(context.join("list.jsonl"), lines.join("\n")).unwrap();
    let called =
        context.run(&["grade", "--submission", "list.jsonl", "--output-dir", "graded", "--json"]);
    let report = serde_json::from_str(&called.stdout).unwrap_or(Value::Null);
    (called, report)
}

fn line(path: &str) -> String {
    format!("{{\"competition_id\":\"{CACTUS}\",\"submission_path\":\"{path}\"}}")
}

#[test]
fn three_reports_of_one_second_are_three_files() {
    let context = TestContext::new();
    prepared(&context);
    let good = line("sub.csv");
    let mut totals = Vec::new();
    for count in 1..=3 {
        let (called, report) = grade_lines(&context, &vec![good.as_str(); count]);
        assert_eq!(called.code, 0, "{called:#?}");
        totals.push(report["total_runs"].as_u64().unwrap());
    }
    assert_eq!(totals, [1, 2, 3]);
    let mut kept: Vec<u64> = fs::read_dir(context.join("graded"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            // README's own pattern must find each.
            assert!(path.to_string_lossy().ends_with("_grading_report.json"), "{path:?}");
            let report: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            report["total_runs"].as_u64().unwrap()
        })
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [1, 2, 3], "no report replaced another");
}

#[test]
fn a_key_that_a_list_does_not_have_is_an_error_with_the_one_that_was_meant() {
    let context = TestContext::new();
    prepared(&context);
    let cases = [
        (
            format!("{{\"competition_id\":\"{CACTUS}\",\"submision_path\":\"sub.csv\"}}"),
            "`submission_path`",
        ),
        (
            format!("{{\"competition\":\"{CACTUS}\",\"submission_path\":\"sub.csv\"}}"),
            "`competition_id`",
        ),
        (format!("{{\"competition_id\":\"{CACTUS}\"}}"), "missing field `submission_path`"),
        ("[]".to_owned(), "expected an object"),
    ];
    for (wrong, says) in cases {
        let (called, report) = grade_lines(&context, &[&line("sub.csv"), &wrong]);
        assert_eq!(called.code, 5, "{called:#?}");
        assert!(called.stderr.contains(says) && called.stderr.contains("line 2"), "{called:#?}");
        assert_eq!(report["failures"][0]["line"], 2, "{report:#}");
        assert_eq!(report["total_valid_submissions"], 1, "the other line is graded: {report:#}");
    }
    let full = format!(
        "{{\"competition_id\":\"{CACTUS}\",\"submission_path\":\"sub.csv\",\"logs_path\":null,\"code_path\":\"x\"}}"
    );
    let (called, _) = grade_lines(&context, &[&full]);
    assert_eq!(called.code, 0, "MLE-bench's own keys: {called:#?}");
}

#[test]
fn a_path_that_leads_nowhere_is_named_and_counted() {
    let context = TestContext::new();
    prepared(&context);
    fs::create_dir(context.join("folder.csv")).unwrap();
    fs::write(context.join("sub.txt"), CACTUS_GOOD).unwrap();
    let nowhere = [
        ("wrong/sub.csv", "does not exist"),
        ("~/sub.csv", "write the home directory out"),
        ("folder.csv", "is a folder"),
        ("sub.txt", "does not end in `.csv`"),
        ("", "is empty"),
    ];
    let mut lines: Vec<String> = nowhere.iter().map(|(path, _)| line(path)).collect();
    lines.push(line("sub.csv"));
    lines.push(format!("{{\"competition_id\":\"{CACTUS}\",\"submission_path\":null}}"));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (called, report) = grade_lines(&context, &lines);
    assert_eq!(called.code, 5, "{called:#?}");
    let missing = report["missing_submissions"].as_array().unwrap();
    assert_eq!(missing.len(), nowhere.len(), "null says that there is none: {report:#}");
    for ((path, says), missing) in nowhere.iter().zip(missing) {
        assert_eq!(missing["submission_path"], *path);
        assert!(called.stderr.contains(&format!("`{path}` ")), "{path}: {called:#?}");
        assert!(missing["why"].as_str().unwrap().contains(says), "{path}: {missing:#}");
    }
    assert_eq!(
        (&report["total_runs"], &report["total_runs_with_submissions"]),
        (&Value::from(7), &Value::from(1)),
        "they count as runs without a submission, as in MLE-bench"
    );
    assert!(called.stderr.contains("5 with a path that leads to no submission"), "{called:#?}");
}

#[test]
fn a_list_without_a_line_is_not_a_success() {
    let context = TestContext::new();
    prepared(&context);
    for empty in ["", "# nothing yet", "\n// nothing\n"] {
        let (called, report) = grade_lines(&context, &[empty]);
        assert_eq!(called.code, 5, "{called:#?}");
        assert!(called.stderr.contains("lists no submission"), "{called:#?}");
        assert_eq!(report["total_runs"], 0);
    }
}

#[test]
fn the_extension_may_be_written_in_capitals() {
    let context = TestContext::new();
    let report = grade(&context, CACTUS, "SUB.CSV", CACTUS_GOOD, CACTUS_ANSWERS);
    assert_eq!(report["score"], 1.0, "{report:#}");
}

#[test]
fn long_columns_are_typed_in_pieces() {
    let context = TestContext::new();
    let rows = 300_000;
    let with_last = |last: &str| {
        let mut text = String::from("Id,Cover_Type\n");
        for row in 0..rows - 1 {
            text.push_str(&format!("{row},{}\n", row % 7 + 1));
        }
        text.push_str(&format!("{},{last}\n", rows - 1));
        text
    };
    let answers = with_last("1");
    for last in ["x", "18446744073709551615"] {
        let id = "tabular-playground-series-dec-2021";
        let report = grade(&context, id, "sub.csv", &with_last(last), &answers);
        assert_eq!(report["valid_submission"], false, "{last}: {report:#}");
    }
}

#[test]
fn repeated_ids_are_paired_in_the_order_of_numpys_quicksort() {
    let classes = |order: &dyn Fn(usize) -> [u8; 2], reversed: bool| {
        let rows = (0..20).map(|image| if reversed { 19 - image } else { image });
        let mut text = String::from("Id,Category\n");
        for image in rows {
            for class in order(image) {
                text.push_str(&format!("img{image:03},{class}\n"));
            }
        }
        text
    };
    const PAIRS: [[u8; 2]; 20] = [
        [9, 4],
        [5, 8],
        [0, 7],
        [3, 0],
        [2, 1],
        [5, 7],
        [3, 6],
        [8, 1],
        [9, 3],
        [0, 3],
        [6, 4],
        [2, 6],
        [2, 1],
        [2, 9],
        [9, 7],
        [2, 2],
        [0, 0],
        [3, 3],
        [2, 2],
        [4, 5],
    ];
    let answers = classes(&|image| PAIRS[image], false);
    let submission = classes(&|image| [PAIRS[image][1], PAIRS[image][0]], true);
    let context = TestContext::new();
    let report = grade(&context, "iwildcam-2020-fgvc7", "sub.csv", &submission, &answers);
    assert_eq!(report["score"], 0.75, "{report:#}");
}

#[test]
fn the_cell_that_is_blamed_is_the_one_that_is_wrong() {
    let context = TestContext::new();
    let rsna = "prediction_id,cancer\n1_L,1\n2_L,0\n3_L,1\n4_L,0\n5_L,1\n6_L,0\n";
    let submission =
        "prediction_id,cancer\n1_L,0.9\n2_L,0.1\n3_L,0.8\n4_L,oops\n5_L,0.7\n6_L,0.2\n";
    let report = grade(&context, "rsna-breast-cancer-detection", "sub.csv", submission, rsna);
    assert_eq!(blamed(&report), (Some(4), "oops"));

    for value in ["1e309", "-9223372036854775809"] {
        let submission = format!("id,has_cactus\na.jpg,1\nb.jpg,0\nc.jpg,{value}\nd.jpg,0\n");
        let report = grade(&context, CACTUS, "sub.csv", &submission, CACTUS_ANSWERS);
        assert_eq!(blamed(&report), (Some(3), value));
    }
    let aptos = "id_code,diagnosis\na,0\nb,1\nc,2\nd,3\n";
    let id = "aptos2019-blindness-detection";
    let report = grade(&context, id, "sub.csv", &aptos.replace("c,2", "c,1e309"), aptos);
    assert_eq!(blamed(&report), (Some(3), "1e309"));
}

#[test]
fn a_name_of_fifty_megabytes_is_cut() {
    let context = TestContext::new();
    let submission = format!("{},has_cactus\n1,1\n", "x".repeat(50_000_000));
    let report = grade(&context, CACTUS, "sub.csv", &submission, CACTUS_ANSWERS);
    assert!(report.to_string().len() < 10_000, "{} bytes", report.to_string().len());
}

#[test]
fn a_bad_cell_in_a_row_that_is_not_graded_costs_nothing() {
    let columns = "id,toxic,severe_toxic,obscene,threat,insult,identity_hate\n";
    let (mut answers, mut submission) = (columns.to_owned(), columns.to_owned());
    for row in 0..40 {
        let bit = |shift: u32| (row >> (shift % 5)) & 1;
        let cells = (0..6).map(|shift| bit(shift).to_string()).collect::<Vec<_>>().join(",");
        answers.push_str(&format!("{row:04x},{cells}\n"));
        submission.push_str(&format!("{row:04x},{cells}\n"));
    }
    answers.push_str("00ff,-1,-1,-1,-1,-1,-1\n");
    submission.push_str("00ff,oops,0,0,0,0,0\n");
    let context = TestContext::new();
    let id = "jigsaw-toxic-comment-classification-challenge";
    let report = grade(&context, id, "sub.csv", &submission, &answers);
    assert_eq!(report["score"], 1.0, "{report:#}");
    // One that is no comment of the test set is named, whichever it is.
    let stranger = submission.replacen("0005,", "beef,", 1);
    let report = grade(&context, id, "sub.csv", &stranger, &answers);
    assert_eq!(blamed(&report), (Some(6), "beef"));
}

#[test]
fn answers_without_rows_are_not_the_submissions_fault() {
    let context = TestContext::new();
    fs::write(context.join("sub.csv"), CACTUS_GOOD).unwrap();
    for answers in ["", "id,has_cactus\n"] {
        fs::write(context.join("answers.csv"), answers).unwrap();
        let called = context.run(&["grade-sample", "sub.csv", CACTUS, "--answers", "answers.csv"]);
        assert_eq!(called.code, 3, "{called:#?}");
        assert!(called.stderr.contains("answers"), "{called:#?}");
    }
}

#[test]
fn characters_that_cannot_be_seen_are_shown() {
    let context = TestContext::new();
    for (names, shown) in [
        ("id,has_cactus\u{200b}", r"`has_cactus\u{200b}`"),
        ("id,has_cactus\u{a0}", r"`has_cactus\u{a0}`"),
        ("\u{feff}\u{feff}id,has_cactus", r"`\u{feff}id`"),
    ] {
        let submission = CACTUS_GOOD.replacen("id,has_cactus", names, 1);
        let report = grade(&context, CACTUS, "sub.csv", &submission, CACTUS_ANSWERS);
        let message = report["invalid"]["message"].as_str().unwrap();
        assert!(message.contains(shown), "{message}");
    }
}

#[test]
fn labels_beyond_64_bits_are_what_scikit_learn_makes_of_them() {
    let context = TestContext::new();
    let cassava = "image_id,label\na,0\nb,1\nc,2\nd,3\n";
    let id = "cassava-leaf-disease-classification";
    let report = grade(&context, id, "sub.csv", &cassava.replace("d,3", "d,1e19"), cassava);
    assert_eq!(report["valid_submission"], false, "{report:#}");
    let gap = "image_id,label\na,0\nb,\nc,2\nd,9223372036854775808\n";
    assert_eq!(grade(&context, id, "sub.csv", gap, cassava)["score"], 0.0);
    let herbarium = "Id,Predicted\n0,1\n1,2\n2,3\n";
    let huge = herbarium.replace("2,3", "2,99999999999999999999");
    let report = grade(&context, "herbarium-2022-fgvc9", "sub.csv", &huge, herbarium);
    assert_eq!(report["valid_submission"], false, "{report:#}");
}

#[test]
fn one_text_label_that_zeroes_a_column_is_a_strict_issue() {
    let context = TestContext::new();
    let answers = "Id,ClassId\n0,1\n1,2\n2,3\n3,4\n";
    let submission = answers.replace("3,4", "3,four");
    let report = grade(&context, "ml2021spring-hw2", "sub.csv", &submission, answers);
    assert_eq!(report["score"], 0.0);
    let issue = &report["strict_issues"][0];
    assert_eq!((&issue["row"], &issue["value"]), (&Value::from(4), &Value::from("four")));
}

/// The example competition of the docs with one text of its entry in place of another.
fn own_catalogue(context: &TestContext, from: &str, to: &str) {
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/own-competition/plant-heights");
    let mine = context.join("catalogue/plant-heights");
    fs::create_dir_all(&mine).unwrap();
    for name in ["brief.md", "prepare.sh"] {
        fs::copy(example.join(name), mine.join(name)).unwrap();
    }
    let text = fs::read_to_string(example.join("competition.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(mine.join("competition.toml"), text.replacen(from, to, 1)).unwrap();
}

#[test]
fn published_thresholds_stand_beside_a_board_of_equal_scores() {
    let context = TestContext::new();
    own_catalogue(&context, "n_teams = 5", "n_teams = 5");
    let board = context.join("catalogue/plant-heights/leaderboard.csv");
    let show = || {
        let words = ["competitions", "show", "plant-heights", "--json", "--catalog", "catalogue"];
        serde_json::from_str::<Value>(&context.ok(&words).stdout).unwrap()
    };
    let graded = || {
        let answers = "plant,height_cm\n5,10.0\n10,20.0\n";
        fs::write(context.join("answers.csv"), answers).unwrap();
        let words = ["grade-sample", "answers.csv", "plant-heights", "--answers", "answers.csv"];
        let called = context.ok(&[&words[..], &["--json", "--catalog", "catalogue"]].concat());
        serde_json::from_str::<Value>(&called.stdout).unwrap()
    };
    let expected = show()["thresholds"].clone();
    fs::write(&board, "score\n1.0\n1.5\n2.0\n3.0\n9.0\n").unwrap();
    assert_eq!((&graded()["rank"], &graded()["gold_threshold"]), (&1.into(), &1.5.into()));
    fs::write(&board, "score\n5\n5\n5\n5\n5\n").unwrap();
    assert_eq!(show()["thresholds"], expected);
    let report = graded();
    assert_eq!((&report["rank"], &report["medal"]), (&Value::Null, &"gold".into()), "{report:#}");
}
