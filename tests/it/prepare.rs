//! `medalist prepare` from the outside: what it makes, what it refuses, and that nothing half-made
//! is left.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::skip;

fn golden(id: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/prepare").join(format!("{id}.zip"))
}

/// Runs `medalist prepare -c spaceship-titanic` on a data directory below `folder`.
fn prepare(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medalist"))
        .args(["prepare", "-c", "spaceship-titanic", "--data-dir"])
        .arg(folder.join("data"))
        .args(arguments)
        .output()
        .unwrap()
}

fn home(folder: &Path) -> PathBuf {
    folder.join("data/spaceship-titanic")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fails with this exit code and message, and leaves nothing behind that looks prepared.
fn assert_refused(folder: &Path, output: &Output, code: i32, message: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(message), "expected `{message}` in: {stderr}");
    assert!(!home(folder).join("prepared").exists());
    assert!(!home(folder).join(".preparing").exists());
}

#[test]
fn prepares_once_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let zip = golden("spaceship-titanic");
    let zip = ["--raw-zip", zip.to_str().unwrap(), "--skip-verification"];
    let first = prepare(folder.path(), &zip);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("prepared"));
    let prepared = home(folder.path()).join("prepared");
    let files: Vec<bool> =
        ["public/train.csv", "public/test.csv", "public/sample_submission.csv", "private/test.csv"]
            .iter()
            .map(|file| prepared.join(file).is_file())
            .collect();
    assert_eq!(files, [true; 4]);
    let public = fs::read_to_string(prepared.join("public/test.csv")).unwrap();
    assert!(!public.lines().next().unwrap().contains("Transported"));
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(home(folder.path()).join("manifest.json")).unwrap())
            .unwrap();
    assert_eq!(manifest["files"].as_object().unwrap().len(), 4);

    let again = prepare(folder.path(), &[&zip[..], &["--json"]].concat());
    let lines: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(lines[0]["outcome"], "present");
    let other =
        prepare(folder.path(), &[&zip[..], &["--override", "test_size=0.5", "--json"]].concat());
    let lines: serde_json::Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(lines[0]["outcome"], "prepared");
    assert!(fs::read_to_string(prepared.join("private/test.csv")).unwrap().lines().count() > 40);
}

#[test]
fn an_archive_and_its_directory_give_the_same() {
    let (from_zip, from_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let zip = golden("spaceship-titanic");
    let first = prepare(
        from_zip.path(),
        &["--raw-zip", zip.to_str().unwrap(), "--skip-verification", "--keep-raw"],
    );
    assert!(first.status.success(), "{}", text(&first.stderr));
    let raw = home(from_zip.path()).join("raw");
    let before = fs::read(raw.join("train.csv")).unwrap();
    let second =
        prepare(from_folder.path(), &["--raw-dir", raw.to_str().unwrap(), "--skip-verification"]);
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert_eq!(fs::read(raw.join("train.csv")).unwrap(), before);
    let manifest = |folder: &Path| fs::read(home(folder).join("manifest.json")).unwrap();
    assert_eq!(manifest(from_zip.path()), manifest(from_folder.path()));
}

#[test]
fn a_split_survives_a_failed_verification() {
    let folder = tempfile::tempdir().unwrap();
    let zip = golden("spaceship-titanic");
    let zip = ["--raw-zip", zip.to_str().unwrap()];
    let refused = prepare(folder.path(), &zip);
    let stderr = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("what grading needs differs: `public/sample_submission.csv` has md5"),
        "{stderr}"
    );
    assert!(!home(folder.path()).join("prepared").exists());
    let taken = prepare(folder.path(), &[&zip[..], &["--skip-verification"]].concat());
    assert!(taken.status.success());
    assert!(!text(&taken.stderr).contains("splitting"), "{}", text(&taken.stderr));
    assert!(home(folder.path()).join("prepared/public/train.csv").is_file());
    assert!(!home(folder.path()).join(".preparing").exists());
}

#[test]
fn raw_data_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = prepare(folder.path(), &["--offline"]);
    assert_refused(folder.path(), &output, 3, "there are no raw data for `spaceship-titanic`");
    let empty = folder.path().join("raw");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("Train.csv"), "a\n").unwrap();
    let output = prepare(folder.path(), &["--raw-dir", empty.to_str().unwrap()]);
    assert_refused(folder.path(), &output, 3, "raw file `train.csv` is missing from");
    let stderr = text(&output.stderr);
    assert!(stderr.contains("there is `Train.csv`, whose capitals differ"), "{stderr}");
    assert!(stderr.contains("hint: rename it"), "{stderr}");
}

#[test]
fn files_cut_short_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.zip");
    let whole = fs::read(golden("spaceship-titanic")).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let output =
        prepare(folder.path(), &["--raw-zip", cut.to_str().unwrap(), "--skip-verification"]);
    assert_refused(folder.path(), &output, 3, "`cut.zip` is not a whole zip archive");

    let raw = folder.path().join("raw");
    fs::create_dir(&raw).unwrap();
    fs::write(raw.join("train.csv"), "PassengerId,Name,Transported\n1,a,True\n2,b").unwrap();
    let output =
        prepare(folder.path(), &["--raw-dir", raw.to_str().unwrap(), "--skip-verification"]);
    assert_refused(
        folder.path(),
        &output,
        3,
        "row 2 of `train.csv`: expected 3 cells and a line end, found 2 cells",
    );
    fs::write(raw.join("train.csv"), "PassengerId,Name,Transported\n1,a,True\n2,\"b,False\n")
        .unwrap();
    let output =
        prepare(folder.path(), &["--raw-dir", raw.to_str().unwrap(), "--skip-verification"]);
    assert_refused(folder.path(), &output, 3, "row 2 of `train.csv`: expected a closing quote");
}

#[test]
fn a_hostile_archive_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let zip = folder.path().join("evil.zip");
    // A stored member with a name that climbs out, written by hand: no packer makes one.
    let name = b"../../evil.txt";
    let mut bytes = Vec::new();
    let head = |signature: &[u8], extra: &[u8]| {
        [
            signature,
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[0; 4],
            &[0; 4],
            &[0; 4],
            &[name.len() as u8, 0, 0, 0],
            extra,
        ]
        .concat()
    };
    bytes.extend(head(b"PK\x03\x04", &[]));
    bytes.extend(name);
    let directory = bytes.len();
    bytes.extend(head(b"PK\x01\x02\x14\x00", &[0; 14]));
    bytes.extend(name);
    let size = bytes.len() - directory;
    bytes.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    bytes.write_all(&(size as u32).to_le_bytes()).unwrap();
    bytes.write_all(&(directory as u32).to_le_bytes()).unwrap();
    bytes.extend([0, 0]);
    fs::write(&zip, bytes).unwrap();
    let output =
        prepare(folder.path(), &["--raw-zip", zip.to_str().unwrap(), "--skip-verification"]);
    assert_refused(folder.path(), &output, 3, "member `../../evil.txt` of `evil.zip` is refused");
    assert!(
        !folder.path().join("evil.txt").exists() && !folder.path().join("data/evil.txt").exists()
    );
}

#[test]
fn wrong_words_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let zip = golden("spaceship-titanic");
    let zip = ["--raw-zip", zip.to_str().unwrap(), "--skip-verification"];
    let output = prepare(folder.path(), &[&zip[..], &["--override", "test_sice=0.2"]].concat());
    assert_refused(
        folder.path(),
        &output,
        2,
        "override `test_sice`: the recipe has no such constant (`seed`, `test_size`)",
    );
    let output = prepare(folder.path(), &[&zip[..], &["--override", "test_size=ten"]].concat());
    assert_refused(
        folder.path(),
        &output,
        2,
        "override `test_size`: expected a share such as 0.1 or a number of rows, found `ten`",
    );
    let output = prepare(folder.path(), &["-c", "spaceship-titanc"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("spaceship-titanic"), "{}", text(&output.stderr));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), "a file where the data directory should be").unwrap();
    let zip = golden("spaceship-titanic");
    let output =
        prepare(folder.path(), &["--raw-zip", zip.to_str().unwrap(), "--skip-verification"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("cannot create `"), "{}", text(&output.stderr));
}

#[test]
fn a_full_disk_leaves_nothing_half_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"]).arg(&data).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        skip("mount", "only root can mount a small file system");
        return;
    }
    let zip = golden("spaceship-titanic");
    let output =
        prepare(folder.path(), &["--raw-zip", zip.to_str().unwrap(), "--skip-verification"]);
    let leftover = (
        home(folder.path()).join("prepared").exists(),
        home(folder.path()).join(".preparing").exists(),
    );
    assert!(Command::new("umount").arg(&data).status().unwrap().success());
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the disk is full"));
    assert_eq!(leftover, (false, false));
}

#[test]
fn answers_are_their_owners_and_records_everybodys() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let zip = golden("spaceship-titanic");
    let made = prepare(folder.path(), &["--raw-zip", zip.to_str().unwrap(), "--skip-verification"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let mode = |name: &str| {
        home(folder.path()).join(name).metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("prepared/private"), 0o700);
    // As readable as whatever the user's mask leaves to a new file.
    let probe = folder.path().join("probe");
    fs::write(&probe, "").unwrap();
    let usual = probe.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("prepare.json"), mode("manifest.json")), (usual, usual));
}

#[test]
fn a_record_that_is_damaged_or_lost_is_no_mark_of_sound_data() {
    let folder = tempfile::tempdir().unwrap();
    let zip = golden("spaceship-titanic");
    let arguments = ["--raw-zip", zip.to_str().unwrap(), "--skip-verification"];
    assert!(prepare(folder.path(), &arguments).status.success());
    let doctor = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medalist"));
        command.args(["competitions", "doctor", "spaceship-titanic", "--data-dir"]);
        command.arg(folder.path().join("data")).output().unwrap()
    };
    for (name, damage) in [
        ("prepare.json", Some("{\"format\": \"1.0\"")),
        ("prepare.json", Some("")),
        ("manifest.json", Some("{}")),
        ("prepare.json", None),
    ] {
        let record = home(folder.path()).join(name);
        let sound = fs::read(&record).unwrap();
        match damage {
            Some(damage) => fs::write(&record, damage).unwrap(),
            None => fs::remove_file(&record).unwrap(),
        }
        let again = prepare(folder.path(), &arguments);
        let stderr = text(&again.stderr);
        assert_eq!(again.status.code(), Some(3), "{name}: {stderr}");
        assert!(stderr.contains("is damaged") && stderr.contains("--force"), "{name}: {stderr}");
        assert_ne!(doctor().status.code(), Some(0), "{name}");
        fs::write(&record, sound).unwrap();
    }
    fs::write(home(folder.path()).join("prepare.json"), "{").unwrap();
    let forced = prepare(folder.path(), &[&arguments[..], &["--force"]].concat());
    assert!(forced.status.success(), "{}", text(&forced.stderr));
    assert!(prepare(folder.path(), &arguments).status.success());
}

#[test]
fn prepared_means_with_answers_and_sample() {
    let folder = tempfile::tempdir().unwrap();
    let zip = golden("spaceship-titanic");
    let arguments = ["--raw-zip", zip.to_str().unwrap(), "--skip-verification"];
    assert!(prepare(folder.path(), &arguments).status.success());
    let sample = home(folder.path()).join("prepared/public/sample_submission.csv");
    fs::remove_file(&sample).unwrap();
    let again = prepare(folder.path(), &arguments);
    let stderr = text(&again.stderr);
    assert_eq!(again.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("has no `public/sample_submission.csv`, which grading needs"),
        "{stderr}"
    );
    assert!(prepare(folder.path(), &[&arguments[..], &["--force"]].concat()).status.success());
    assert!(sample.is_file());
}

#[test]
fn json_carries_the_cause_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.zip");
    fs::write(&page, "<html><title>Sign in</title></html>").unwrap();
    let failed = prepare(folder.path(), &["--raw-zip", page.to_str().unwrap(), "--json"]);
    let lines: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    let (error, hint) = (lines[0]["error"].as_str().unwrap(), lines[0]["hint"].as_str().unwrap());
    assert!(
        error.contains("`page.zip` is not a zip archive but a web page (`Sign in`)"),
        "{error}"
    );
    assert!(hint.contains("sign in") && !hint.contains("incomplete"), "{hint}");
}

#[test]
fn an_archive_packed_again_is_told_from_other_data() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medalist"));
        command.args(["prepare", "-c", "demo-bikes", "--data-dir"]);
        command.arg(folder.path().join("data")).args(arguments).output().unwrap()
    };
    assert!(run(&[]).status.success());
    // A comment at the end changes the archive's md5 and none of its files.
    let mut bytes = fs::read(folder.path().join("data/demo-bikes/demo-bikes.zip")).unwrap();
    let comment = bytes.len() - 2;
    bytes[comment..].copy_from_slice(&1u16.to_le_bytes());
    bytes.push(b'x');
    let again = folder.path().join("again.zip");
    fs::write(&again, bytes).unwrap();
    let refused = run(&["--raw-zip", again.to_str().unwrap(), "--force"]);
    let stderr = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("packed again") && stderr.contains("again.zip` has md5"), "{stderr}");
}

#[test]
fn without_credentials_the_check_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_medalist"))
        .args(["prepare", "--check", "-c", "spaceship-titanic", "--data-dir"])
        .arg(folder.path())
        .env("HOME", folder.path())
        .env("KAGGLE_CONFIG_DIR", folder.path())
        .env_remove("KAGGLE_USERNAME")
        .env_remove("KAGGLE_KEY")
        .env_remove("KAGGLE_API_TOKEN")
        .output()
        .unwrap();
    let table = text(&output.stdout);
    assert!(table.contains("no credentials") && table.contains("make an API token"), "{table}");
}
