//! `medalist leaderboard import`: a board of the user's own takes the place of the catalogue's,
//! says so everywhere, and goes again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const ID: &str = "spaceship-titanic";

fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medalist"));
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .env("COLUMNS", "200")
        .output()
        .expect("the program starts")
}

fn json(data: &Path, arguments: &[&str]) -> Value {
    let output = run(data, arguments);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Answers and a submission with three of four rows right.
fn graded(dir: &Path) -> (PathBuf, PathBuf) {
    let (answers, submission) = (dir.join("answers.csv"), dir.join("submission.csv"));
    fs::write(&answers, "PassengerId,Transported\na,True\nb,False\nc,True\nd,False\n").unwrap();
    fs::write(&submission, "PassengerId,Transported\na,True\nb,False\nc,True\nd,True\n").unwrap();
    (answers, submission)
}

#[test]
fn kaggles_download_is_used_everywhere_and_goes_again() {
    let (data, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (answers, submission) = graded(dir.path());
    let grade = || {
        let path = text(&submission);
        json(data.path(), &["grade-sample", path, ID, "--answers", text(&answers), "--json"])
    };
    let before = grade();
    assert_eq!((before["score"].as_f64(), before.get("own_leaderboard")), (Some(0.75), None));

    // Ten teams of which one is listed twice, as in Kaggle's lists of submissions.
    let board = dir.path().join("publicleaderboard.csv");
    let mut csv = String::from("\u{feff}Rank,TeamId,TeamName,Score\n1,99,\"Secret, team\",0.1\n");
    for (rank, score) in [0.9, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2].iter().enumerate() {
        csv.push_str(&format!("{rank},{rank},Secret team {rank},{score}\n"));
    }
    csv.push_str("1,99,\"Secret, team\",0.95\n");
    let archive = dir.path().join("board.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&archive).unwrap());
    zip.start_file("publicleaderboard.csv", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(csv.as_bytes()).unwrap();
    zip.finish().unwrap();
    fs::write(&board, csv).unwrap();

    for source in [&board, &archive] {
        let output = run(data.path(), &["leaderboard", "import", text(source), "-c", ID]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(
            said(&output)
                .contains("10 scores (Kaggle download); gold 0.95, silver 0.9, bronze 0.75"),
            "{}",
            said(&output)
        );
        let after = grade();
        assert_eq!((after["rank"].as_u64(), after["n_teams"].as_u64()), (Some(4), Some(10)));
        assert_eq!(
            (after["medal"].as_str(), after["bronze_threshold"].as_f64()),
            (Some("bronze"), Some(0.75))
        );
        let origin = after["own_leaderboard"].as_str().expect("results say whose board it is");
        assert!(origin.contains(source.file_name().unwrap().to_str().unwrap()), "{origin}");
        let kept = fs::read_to_string(data.path().join(ID).join("leaderboard.json")).unwrap();
        assert!(!kept.contains("Secret"), "team names were stored");
        assert_eq!(
            json(data.path(), &["competitions", "show", ID, "--json"])["own_leaderboard"],
            after["own_leaderboard"]
        );
        let page = run(data.path(), &["competitions", "show", ID]);
        assert!(
            String::from_utf8_lossy(&page.stdout).contains("your own: Kaggle download, 10 scores")
        );
    }

    let list = dir.path().join("list.jsonl");
    fs::write(
        &list,
        format!(
            "{{\"competition_id\": \"{ID}\", \"submission_path\": \"{}\"}}\n",
            text(&submission)
        ),
    )
    .unwrap();
    let private = data.path().join(ID).join("prepared/private");
    fs::create_dir_all(&private).unwrap();
    fs::copy(&answers, private.join("test.csv")).unwrap();
    let out = dir.path().join("graded");
    let output =
        run(data.path(), &["grade", "--submission", text(&list), "--output-dir", text(&out)]);
    assert!(
        said(&output).contains("is measured against a leaderboard of your own: Kaggle download"),
        "{}",
        said(&output)
    );
    let report = json(
        data.path(),
        &["report", text(&out), "--out", text(&dir.path().join("page")), "--json"],
    );
    assert!(
        report["warnings"].to_string().contains("measured against leaderboards of your own"),
        "{}",
        report["warnings"]
    );

    assert!(run(data.path(), &["leaderboard", "import", "--remove", "-c", ID]).status.success());
    let removed = grade();
    assert_eq!((&removed["rank"], &removed["n_teams"]), (&before["rank"], &before["n_teams"]));
    assert_eq!(removed.get("own_leaderboard"), None);
}

#[test]
fn a_checkout_gives_the_thresholds_of_its_boards() {
    let (data, checkout) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("competitions/catalog");
    let ids = ["spaceship-titanic", "leaf-classification", "new-york-city-taxi-fare-prediction"];
    for id in ids {
        let scores = fs::read_to_string(shipped.join(id).join("leaderboard.csv")).unwrap();
        let mut csv =
            String::from("scoreNullable,teamId,hasTeamName,submissionDate,score,hasScore\n");
        for (team, score) in scores.lines().skip(1).enumerate() {
            csv.push_str(&format!("{score},{team},True,,{score},True\n"));
        }
        let folder = checkout.path().join("mlebench/competitions").join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("leaderboard.csv"), csv).unwrap();
    }
    let show = |id: &str| json(data.path(), &["competitions", "show", id, "--json"]);
    let before = ids.map(show);
    let output = run(data.path(), &["leaderboard", "import", text(checkout.path())]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("imported 3 leaderboards"), "{}", said(&output));
    // What the rule gives on each of the boards is known from MLE-bench's own code.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/boards.json");
    let expected: Value = serde_json::from_str(&fs::read_to_string(golden).unwrap()).unwrap();
    for id in ids {
        let (shown, expected) = (show(id), &expected[id]);
        for key in ["gold", "silver", "bronze", "median"] {
            let (ours, theirs) =
                (shown["thresholds"][key].as_f64().unwrap(), expected[key].as_f64().unwrap());
            assert!((ours - theirs).abs() < 1e-9, "{id}: {key} is {ours}, expected {theirs}");
        }
        assert_eq!(
            (&shown["n_teams"], &shown["thresholds_source"]),
            (&expected["rows"], &Value::from("own leaderboard"))
        );
    }
    let output = run(
        data.path(),
        &["leaderboard", "import", text(checkout.path()), "-c", "leaf-classification", "AI4Code"],
    );
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("has no leaderboard of `AI4Code`"), "{}", said(&output));
    let output = run(data.path(), &["leaderboard", "import", "--remove"]);
    assert!(said(&output).contains("removed 3 imported leaderboards"), "{}", said(&output));
    assert_eq!(before, ids.map(show));
}

#[test]
fn what_is_doubtful_in_a_board_is_warned_of_and_macos_files_are_none() {
    let (data, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let import = |file: &str, content: &[u8]| {
        let path = dir.path().join(file);
        fs::write(&path, content).unwrap();
        let output = run(data.path(), &["leaderboard", "import", text(&path), "-c", ID]);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    // MLE-bench reads its thresholds off the order as it is.
    let said = import("leaderboard.csv", b"score,teamId\n0.9,1\n0.5,2\n0.8,3\n0.1,4\n");
    assert!(said.contains("score 3 is 0.8, better than the 0.5 before it"), "{said}");
    assert!(said.contains("it has 4 scores, but the competition had"), "{said}");

    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [
        ("__MACOSX/._board.csv", "\0\u{5}\u{16}\u{7}"),
        ("._board.csv", "\0\u{5}\u{16}\u{7}"),
        ("BOARD.CSV", "score\n0.9\n0.5\n0.1\n"),
    ] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    let said = import("board.zip", &archive.finish().unwrap().into_inner());
    assert!(said.contains("3 scores (list of scores)"), "{said}");
}

#[test]
fn what_is_no_board_is_refused_and_leaves_the_old_one() {
    let (data, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let board = dir.path().join("board.csv");
    let import = |content: &str, arguments: &[&str]| {
        fs::write(&board, content).unwrap();
        let output =
            run(data.path(), &[&["leaderboard", "import", text(&board)], arguments].concat());
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(!data.path().join(ID).join("leaderboard.json").exists());
        said(&output)
    };
    let chosen = ["-c", ID];
    for (content, arguments, expected) in [
        ("score\n0.5\n", &[][..], "name its competition with `-c ID`"),
        ("team\nx\n", &chosen, "no column `score` or `Score`; its columns are `team`"),
        (
            "score\n0.9\nbest\n",
            &chosen,
            "row 2 of the leaderboard has score `best`, expected a number",
        ),
        (
            "score\n0.9\ninf\n",
            &chosen,
            "score 2 of the leaderboard is inf, expected a finite number",
        ),
        (
            "score\n0.1\n0.9\n",
            &chosen,
            "its first score is 0.1 and its last 0.9, but higher is better here",
        ),
        ("score\n", &chosen, "the leaderboard has no rows"),
        ("score\n0.5\n0.5\n0.5\n", &chosen, "all 3 scores are 0.5"),
        ("TeamId,TeamName,Score\n1,a,0.5\n2,b,0.5\n", &chosen, "all 2 scores are 0.5"),
        ("score\n0.9\n0.5\n0.8\n0.1\n", &chosen, "score 3 is 0.8, better than the 0.5 before it"),
        (
            "TeamId,TeamName,Score\n1,a,0.9\n,,0.8\n",
            &chosen,
            "row 2 of the leaderboard names no team",
        ),
        ("score,teamId\n0.9,1\n0.8,\n", &chosen, "row 2 of the leaderboard names no team"),
        (
            "Rank,TeamId,TeamName,Score\n1,1,a,0.1\n2,2,b,0.5\n3,3,c,0.9\n",
            &chosen,
            "by its ranks, its first score is 0.1 and its last 0.9, but higher is better here",
        ),
        ("PK\u{3}\u{4}nothing", &chosen, "the archive is damaged"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            &chosen,
            "git lfs pull",
        ),
        ("score\n0.5\n", &["-c", "spaceship-titanc"], "did you mean `spaceship-titanic`?"),
    ] {
        let message = import(content, arguments);
        assert!(message.contains(expected), "{content:?}: {message}");
    }
    let output = run(data.path(), &["leaderboard", "import", text(dir.path())]);
    assert!(said(&output).contains("is no checkout of MLE-bench"), "{}", said(&output));

    fs::create_dir_all(data.path().join(ID)).unwrap();
    fs::write(data.path().join(ID).join("leaderboard.json"), "{").unwrap();
    let output = run(data.path(), &["competitions", "show", ID]);
    assert!(
        said(&output).contains("`medalist leaderboard import --remove -c spaceship-titanic`"),
        "{}",
        said(&output)
    );
    assert!(run(data.path(), &["leaderboard", "import", "--remove", "-c", ID]).status.success());
    assert!(run(data.path(), &["competitions", "show", ID]).status.success());
}
