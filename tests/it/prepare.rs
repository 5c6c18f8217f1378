//! `medalist prepare` from the outside: what it makes, what it refuses, and that nothing half-made
//! is left.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    assert!(text(&output.stderr).contains("there is only `Train.csv`"));
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
        "override `test_sice`: the recipe has no such constant (`test_size`)",
    );
    let output = prepare(folder.path(), &[&zip[..], &["--override", "test_size=ten"]].concat());
    assert_refused(folder.path(), &output, 2, "override `test_size`: expected a f64, found `ten`");
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
        eprintln!("skipped: a small file system can only be mounted by root");
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
