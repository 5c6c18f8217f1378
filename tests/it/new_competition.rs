//! `medalist competitions new`: from a server that speaks Kaggle's API, and from data that lie here.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::kaggle_facts::Described;
use crate::support::kaggle_server::{KEY, KaggleServer, USERNAME};
use crate::support::{Called, TestContext, called};

/// An archive of these members.
fn zipped(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Rows of a table, `line(k)` each.
fn table(header: &str, rows: usize, line: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = format!("{header}\n");
    for k in 0..rows {
        let _ = writeln!(text, "{}", line(k));
    }
    text.into_bytes()
}

/// A number that looks drawn, from 0 up to `below`.
fn drawn(k: usize, below: usize) -> usize {
    (k as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) as usize % below
}

type Files = Vec<(&'static str, Vec<u8>)>;

const TRAIN: usize = 300;
const TEST: usize = 100;

/// Train, test and sample submission of a task with one target column.
fn task(target: &'static str, value: impl Fn(usize) -> String, sample: &'static str) -> Files {
    let features =
        |k: usize| format!("{k},{}.5,{}", drawn(k, 90), ["red", "blue", "green"][drawn(k + 7, 3)]);
    vec![
        (
            "train.csv",
            table(&format!("id,size,colour,{target}"), TRAIN, |k| {
                format!("{},{}", features(k), value(k))
            }),
        ),
        ("test.csv", table("id,size,colour", TEST, |k| features(k + TRAIN))),
        (
            "sample_submission.csv",
            table(&format!("id,{target}"), TEST, |k| format!("{},{sample}", k + TRAIN)),
        ),
    ]
}

fn binary() -> Files {
    task("late", |k| drawn(k, 2).to_string(), "0.5")
}

fn regression() -> Files {
    task("price", |k| format!("{}.25", drawn(k, 5000)), "100.0")
}

fn labels() -> Files {
    task("kind", |k| ["ant", "bee", "cat"][drawn(k, 3)].to_owned(), "ant")
}

fn classes() -> Files {
    let mut files = labels();
    files[2].1 = table("id,ant,bee,cat", TEST, |k| format!("{},0.25,0.25,0.5", k + TRAIN));
    files
}

/// A made-up competition and what must come of it.
struct MadeUp {
    id: &'static str,
    files: Files,
    /// Its evaluation name.
    metric: &'static str,
    /// Further fields of Kaggle's answer.
    facts: Value,
    board: Option<Vec<f64>>,
    exit: i32,
    /// What stderr, or the entry where one is made, must say.
    says: &'static [&'static str],
}

fn good(
    id: &'static str,
    files: Files,
    metric: &'static str,
    says: &'static [&'static str],
) -> MadeUp {
    let board = Some((0..250).map(|k| 0.99 - k as f64 / 1000.0).collect());
    MadeUp { id, files, metric, facts: json!({}), board, exit: 0, says }
}

/// One whose metric is better when lower.
fn lower(
    id: &'static str,
    files: Files,
    metric: &'static str,
    says: &'static [&'static str],
) -> MadeUp {
    let board = Some((0..250).map(|k| 0.1 + k as f64 / 1000.0).collect());
    MadeUp { board, ..good(id, files, metric, says) }
}

fn usual() -> Vec<MadeUp> {
    let auc = "Area Under Receiver Operating Characteristic Curve";
    vec![
        good(
            "m01-auc",
            binary(),
            auc,
            &["metric = \"roc_auc\"", "method = \"stratified\"", "gold = "],
        ),
        lower(
            "m02-log-loss",
            binary(),
            "Log Loss",
            &["metric = \"log_loss\"", "range = [0.0, 1.0]"],
        ),
        lower(
            "m03-rmse",
            regression(),
            "Root Mean Squared Error",
            &["metric = \"rmse\"", "direction = \"lower\""],
        ),
        lower("m04-rmsle", regression(), "RMSLE", &["metric = \"rmsle\""]),
        lower("m05-mape", regression(), "MAPE", &["metric = \"mape\""]),
        good("m06-r2", regression(), "R2 Score", &["metric = \"r2\""]),
        good("m07-accuracy", labels(), "Categorization Accuracy", &["metric = \"accuracy\""]),
        good(
            "m08-macro-f1",
            labels(),
            "Macro F-Score",
            &["metric = \"f_beta\"", "average = \"macro\""],
        ),
        lower(
            "m09-multiclass",
            classes(),
            "Multiclass Loss",
            &["one_hot = \"{kind}\"", "metric = \"log_loss\""],
        ),
        good("m10-gini", binary(), "Normalized Gini Index", &["metric = \"normalized_gini\""]),
        good(
            "m11-kappa",
            task("grade", |k| drawn(k, 5).to_string(), "2"),
            "QuadraticWeightedKappa",
            &["metric = \"quadratic_weighted_kappa\""],
        ),
        good(
            "m12-map",
            task("word", |k| format!("w{}", drawn(k, 40)), "w1 w2 w3"),
            "MAP@3",
            &["metric = \"map_at_k\"", "k = 3"],
        ),
    ]
}

/// What is asked, and goes on.
fn asked() -> Vec<MadeUp> {
    let open = |made: MadeUp| MadeUp { exit: 9, ..made };
    vec![
        open(good(
            "m13-no-metric-name",
            binary(),
            "",
            &["[[open]]", "key = \"grading.metric\"", "roc_auc"],
        )),
        open(good(
            "m14-unknown-metric",
            binary(),
            "Area Undr Receiver Operating Characteristik Curve",
            &["no metric of that name is known", "value = \"roc_auc\""],
        )),
        open(good(
            "m15-not-in-catalogue",
            regression(),
            "Continuous Ranked Probability Score",
            &["metric = \"command\"", "a distribution in many columns"],
        )),
        open(lower(
            "m16-weights",
            regression(),
            "Weighted Mean Absolute Error",
            &["key = \"grading.options.weight\""],
        )),
        open(good(
            "m17-k",
            task("word", |k| format!("w{}", drawn(k, 40)), "w1"),
            "MAP@{K}",
            &["key = \"grading.options.k\""],
        )),
        open(lower(
            "m18-board-contradicts",
            binary(),
            "AUC",
            &["key = \"grading.direction\"", "contradict"],
        )),
        open(good(
            "m19-other-shape",
            {
                let mut files = binary();
                files[2].1 = table("row_id,answer_a,answer_b", TEST, |k| format!("x{k},0.5,0.5"));
                files
            },
            "AUC",
            &["key = \"split\""],
        )),
    ]
}

/// What is told beside a whole entry.
fn told() -> Vec<MadeUp> {
    vec![
        MadeUp { board: None, ..good("m20-no-board", binary(), "AUC", &["metric = \"roc_auc\""]) },
        MadeUp {
            facts: json!({"isKernelsSubmissionsOnly": true}),
            ..good("m21-code", binary(), "AUC", &["It is a code competition"])
        },
        good(
            "m22-hidden-test",
            {
                let mut files = binary();
                files[0].1 = table("id,size,colour,late", 2000, |k| {
                    format!("{k},{}.5,red,{}", drawn(k, 90), drawn(k, 2))
                });
                files[1].1 = table("id,size,colour", 3, |k| format!("{},1.5,red", k + 2000));
                files[2].1 = table("id,late", 3, |k| format!("{},0.5", k + 2000));
                files
            },
            "AUC",
            &["the real one is hidden"],
        ),
        good(
            "m23-renamed-columns",
            {
                let mut files = binary();
                files[1].1 = table("id,Size,colour", TEST, |k| format!("{},1.5,red", k + TRAIN));
                files
            },
            "AUC",
            &["have different names: `size` is `Size` there"],
        ),
        good(
            "m32-deleted-file",
            binary(),
            "AUC",
            &["Kaggle lists `gone.csv`, but the download lacks it"],
        ),
        good(
            "m24-answers-beside",
            {
                let mut files = binary();
                files.push((
                    "test_labels.csv",
                    table("id,late", TEST, |k| format!("{},{}", k + TRAIN, drawn(k, 2))),
                ));
                files
            },
            "AUC",
            &["`test_labels.csv` has the answers"],
        ),
    ]
}

/// What is refused: nothing may be left.
fn refused() -> Vec<MadeUp> {
    let no = |exit: i32, made: MadeUp| MadeUp { exit, ..made };
    let none: Files = Vec::new();
    vec![
        no(
            3,
            MadeUp {
                facts: json!({"category": "Hackathon"}),
                board: None,
                ..good("m25-hackathon", binary(), "", &["people judge its submissions"])
            },
        ),
        no(3, good("m26-no-files", none, "AUC", &["has no data files"])),
        no(
            3,
            good(
                "m27-several-files",
                {
                    let mut files = binary();
                    files.push((
                        "sample_submission_boxes.csv",
                        table("image,boxes", TEST, |k| format!("{k},a 1 2")),
                    ));
                    files
                },
                "AUC",
                &["a submission of this competition has several files"],
            ),
        ),
        no(
            3,
            good(
                "m28-no-train",
                vec![("notes.txt", b"nothing here".to_vec())],
                "AUC",
                &["there are no examples with answers"],
            ),
        ),
        no(7, good("m29-huge", binary(), "AUC", &["nothing was downloaded"])),
        no(3, good("m30-private", binary(), "AUC", &["that this account may see"])),
        no(4, good("m31-rules", binary(), "AUC", &["are not accepted yet", "/rules"])),
    ]
}

async fn serve(all: &[MadeUp]) -> KaggleServer {
    let server = KaggleServer::start().await;
    for made in all {
        let files: Vec<(&str, &[u8])> =
            made.files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let gone: [(&str, &[u8]); 1] = [("gone.csv", b"id\n")];
        let listed =
            if made.id == "m32-deleted-file" { [&files[..], &gone].concat() } else { files };
        server.add(made.id, zipped(&made.files), &listed);
        let mut facts = made.facts.clone();
        facts["title"] = json!(format!("Made up: {}", made.id));
        facts["evaluationMetric"] = json!(made.metric);
        server.describe(
            made.id,
            Described {
                facts,
                pages: vec![("Description".to_owned(), "The host's own words.".to_owned())],
                board: made.board.clone(),
                listed_bytes: (made.id == "m29-huge").then_some(60_u64 << 50),
                is_private: made.id == "m30-private",
            },
        );
    }
    server.close_rules("m31-rules");
    server
}

/// `medalist competitions new` with the server in the place of Kaggle.
async fn new(context: &TestContext, server: &KaggleServer, arguments: &[&str]) -> Called {
    let mut command = context.command();
    command.args(["competitions", "new"]).args(arguments).env("KAGGLE_API_ENDPOINT", server.root());
    command.env("KAGGLE_USERNAME", USERNAME).env("KAGGLE_KEY", KEY);
    tokio::task::spawn_blocking(move || called(&command.output().unwrap())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_competitions_of_all_kinds_and_faults() {
    let all: Vec<MadeUp> = [usual(), asked(), told(), refused()].into_iter().flatten().collect();
    assert!(all.len() >= 30);
    let server = serve(&all).await;
    let context = TestContext::new();
    for made in &all {
        let called = new(&context, &server, &[made.id]).await;
        assert_eq!(called.code, made.exit, "{}: {called:#?}", made.id);
        let folder = context.join("competitions").join(made.id);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        if matches!(made.exit, 0 | 9) {
            let entry = read("competition.toml");
            let text = format!("{entry}\n{}", called.stderr);
            for word in made.says {
                assert!(text.contains(word), "{}: no `{word}` in\n{text}", made.id);
            }
            assert_eq!(entry.contains("[[open]]"), made.exit == 9, "{entry}");
            assert!(entry.contains(&format!("kaggle_slug = \"{}\"", made.id)), "{entry}");
            let (brief, report) = (read("brief.md"), read("report.md"));
            assert!(brief.contains("## Submission") && !brief.contains("own words"), "{brief}");
            assert!(report.contains("`grading.metric`"), "{report}");
            let board = read("leaderboard.csv");
            assert_eq!(
                board.lines().count(),
                made.board.as_ref().map_or(0, |board| board.len() + 1)
            );
            assert!(!board.contains("team"), "{board}");
            let check =
                context.run(&["--catalog", "competitions", "competitions", "check", made.id]);
            // Without data there is nothing to measure once nothing is open.
            assert_eq!(check.code, if made.exit == 9 { 9 } else { 3 }, "{check:#?}");
            assert_eq!(check.stderr.contains("nothing of"), made.exit != 9, "{check:#?}");
        } else {
            for word in made.says {
                assert!(called.stderr.contains(word), "{}: no `{word}` in {called:#?}", made.id);
            }
            assert!(!folder.exists(), "{}", made.id);
        }
    }
    let left: Vec<String> = std::fs::read_dir(context.join("competitions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('m'))
        .collect();
    assert_eq!(left, [] as [String; 0]);
    // What was refused before its download left nothing in the data directory either.
    for id in ["m25-hackathon", "m29-huge", "m30-private", "m31-rules"] {
        assert!(!context.join("data").join(id).exists(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_answers_and_nothing_is_asked_twice() {
    let all = asked();
    let server = serve(&all).await;
    let context = TestContext::new();
    let id = "m13-no-metric-name";
    let called = new(&context, &server, &[id]).await;
    assert_eq!(called.code, 9, "{called:#?}");
    let refused = context.run(&["--catalog", "competitions", "prepare", "-c", id]);
    assert_eq!(refused.code, 9, "{refused:#?}");
    assert!(refused.stderr.contains("`grading.metric`: which metric"), "{}", refused.stderr);
    let refused = context.run(&["--catalog", "competitions", "run", "--agent", "sample", "-c", id]);
    assert_eq!(refused.code, 9, "{refused:#?}");
    std::fs::write(context.join("x.csv"), "id,late\n1,0\n").unwrap();
    let refused = context.run(&["--catalog", "competitions", "grade-sample", "x.csv", id]);
    assert_eq!(refused.code, 9, "{refused:#?}");

    let called = new(&context, &server, &[id, "--metric", "average_precision"]).await;
    assert_eq!(called.code, 0, "{called:#?}");
    // What was said is remembered, as long as nobody changed the entry.
    let called = new(&context, &server, &[id, "--test-size", "0.3"]).await;
    assert_eq!(called.code, 0, "{called:#?}");
    let entry = context.join("competitions").join(id).join("competition.toml");
    let text = std::fs::read_to_string(&entry).unwrap();
    assert!(
        text.contains("metric = \"average_precision\"") && text.contains("test_size = 0.3"),
        "{text}"
    );
    std::fs::write(&entry, text.replace("0.3", "0.2")).unwrap();
    let called = new(&context, &server, &[id]).await;
    assert_eq!(called.code, 3, "{called:#?}");
    assert!(called.stderr.contains("was changed since it was made"), "{}", called.stderr);
    assert!(std::fs::read_to_string(&entry).unwrap().contains("test_size = 0.2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_the_page_comes_on_wish_with_its_licence() {
    let all = vec![good("m01-auc", binary(), "AUC", &[])];
    let server = serve(&all).await;
    let context = TestContext::new();
    let called = new(&context, &server, &["m01-auc", "--with-page-text"]).await;
    assert_eq!(called.code, 0, "{called:#?}");
    let brief = std::fs::read_to_string(context.join("competitions/m01-auc/brief.md")).unwrap();
    assert!(brief.contains("The host's own words.") && brief.contains("CC BY 4.0"), "{brief}");
}

fn write(folder: &Path, files: &Files) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// The whole way, without a line by hand.
#[test]
fn data_that_nobody_described_become_a_competition_that_runs() {
    let context = TestContext::new();
    let raw = context.join("raw");
    write(&raw, &classes());
    std::fs::write(raw.join("description.md"), "Scored by Multiclass Loss.\n").unwrap();
    let made = context.ok(&["competitions", "new", "own-task", "--from-dir", "raw", "--json"]);
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(made["open"], json!([]), "{made:#}");
    let own = ["--catalog", "competitions"];
    let with = |rest: &[&'static str]| [&own[..], rest].concat();
    context.ok(&with(&["prepare", "-c", "own-task", "--raw-dir", "raw"]));
    let prepared = context.join("data/own-task/prepared");
    let header = |file: &str| {
        let text = std::fs::read_to_string(prepared.join(file)).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(header("public/train.csv"), "id,size,colour,kind");
    assert_eq!(header("public/test.csv"), "id,size,colour");
    assert_eq!(header("public/sample_submission.csv"), "id,ant,bee,cat");
    assert_eq!(header("private/answers.csv"), "id,ant,bee,cat");
    let run = ["run", "--agent", "sample", "-c", "own-task", "--executor", "process"];
    context.ok(&with(&run));
    let group = std::fs::read_dir(context.join("runs")).unwrap().next().unwrap().unwrap().path();
    let group = group.to_str().unwrap();
    let report = context.ok(&[&own[..], &["report", group]].concat());
    assert!(report.stdout.contains("own-task") || report.stderr.contains("1"), "{report:#?}");
    let graded = std::fs::read_dir(group)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("grade.json"))
        .find(|path| path.is_file())
        .expect("the attempt was graded");
    let grade: Value = serde_json::from_slice(&std::fs::read(graded).unwrap()).unwrap();
    let text = grade.to_string();
    assert!(text.contains("1.0986"), "the score of equal shares of three classes is ln 3: {text}");
}

#[test]
fn tables_with_other_separators_become_a_competition_too() {
    let context = TestContext::new();
    let mut files = regression();
    for (_, bytes) in &mut files {
        *bytes = String::from_utf8(bytes.clone()).unwrap().replace(',', ";").into_bytes();
    }
    write(&context.join("raw"), &files);
    let new = ["competitions", "new", "own-task", "--from-dir", "raw", "--metric", "rmse"];
    context.ok(&new);
    let own = ["--catalog", "competitions"];
    context.ok(&[&own[..], &["prepare", "-c", "own-task", "--raw-dir", "raw"]].concat());
    let public = context.join("data/own-task/prepared/public");
    let train = std::fs::read_to_string(public.join("train.csv")).unwrap();
    assert!(train.starts_with("id,size,colour,price\n"), "{train}");
}

#[test]
fn names_that_are_not_there_are_refused() {
    let context = TestContext::new();
    write(&context.join("raw"), &binary());
    for (flags, words) in [
        (&["--target", "latte"][..], "there is no column `latte`"),
        (&["--train", "trains.csv"], "there is no table `trains.csv`"),
        (&["--split", "grouped"], "expected `random`"),
        (&["--metric-option", "k"], "has no `=`"),
    ] {
        let mut arguments = vec!["competitions", "new", "own-task", "--from-dir", "raw"];
        arguments.extend(flags);
        let called = context.run(&arguments);
        assert!(matches!(called.code, 2 | 3) && called.stderr.contains(words), "{called:#?}");
        assert!(!context.join("competitions/own-task").exists());
    }
    let called = context.run(&["competitions", "new", "own-task", "--from-dir", "nowhere"]);
    assert_eq!(called.code, 3, "{called:#?}");
}

#[test]
fn kaggles_names_of_metrics_are_looked_up() {
    let context = TestContext::new();
    let found = context.ok(&["metrics", "--kaggle", "MAP@5", "--json"]);
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!((&found["metric"], &found["options"]["k"]), (&json!("map_at_k"), &json!(5)));
    let unknown = context.run(&["metrics", "--kaggle", "Root Mean Squred Error"]);
    assert_eq!(unknown.code, 3);
    assert!(unknown.stderr.contains("`Root Mean Squared Error`"), "{}", unknown.stderr);
    let all = context.ok(&["metrics", "--kaggle"]);
    assert!(all.stdout.lines().count() > 100);
}
