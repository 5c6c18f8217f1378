use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    let mut zip = ZipWriter::new(&mut bytes);
    for (name, data) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap();
    bytes.into_inner()
}

/// The same tree as a directory and as an archive: a file, a folder, and a zip inside.
fn trees(folder: &Path) -> Vec<Raw> {
    let inner = zipped(&[("train/2.txt", b"two"), ("train/10.txt", b"ten"), ("top.txt", b"top")]);
    let members: [(&str, &[u8]); 4] = [
        ("a.csv", b"x\n1\n"),
        ("sub/b.txt", b"bee"),
        ("sub/deep/c.txt", b"sea"),
        ("in.zip", &inner),
    ];
    let directory = folder.join("raw");
    for (name, data) in members {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
    let archive = folder.join("raw.zip");
    fs::write(&archive, zipped(&members)).unwrap();
    // The inner archive may lie there as it is, or packed once more.
    let stored = folder.join("stored.zip");
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = ZipWriter::new(File::create(&stored).unwrap());
    for (name, data) in members {
        zip.start_file(name, options).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap();
    [directory, archive, stored]
        .map(|location| Raw::open(&location, folder.join("scratch"), false).unwrap())
        .into()
}

#[test]
fn archives_are_folders_wherever_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    for raw in trees(folder.path()) {
        assert_eq!(raw.files("").unwrap(), ["a.csv", "in.zip"]);
        assert_eq!(raw.folders("").unwrap(), ["sub"]);
        assert_eq!(raw.files("in.zip/train").unwrap(), ["10.txt", "2.txt"]);
        assert_eq!(raw.folders("in.zip").unwrap(), ["train"]);
        assert_eq!(raw.files("in.zip").unwrap(), ["top.txt"]);
        assert_eq!(raw.walk("sub").unwrap(), ["b.txt", "deep/c.txt"]);
        assert_eq!(raw.walk("in.zip").unwrap(), ["top.txt", "train/10.txt", "train/2.txt"]);
        assert_eq!(raw.read("in.zip/train/2.txt").unwrap(), b"two");
        assert_eq!(raw.read("sub/deep/c.txt").unwrap(), b"sea");
        assert_eq!(raw.size("in.zip/train/10.txt").unwrap(), 3);
        assert_eq!(fs::read(raw.on_disk("in.zip/top.txt").unwrap()).unwrap(), b"top");
        assert!(raw.exists("in.zip/train").unwrap() && raw.exists("in.zip").unwrap());
        assert!(!raw.exists("in.zip/none").unwrap() && !raw.exists("none").unwrap());
    }
}

#[test]
fn what_is_missing_is_named_with_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    for raw in trees(folder.path()) {
        let message = raw.read("B.csv").unwrap_err().to_string();
        assert!(message.starts_with("raw file `B.csv` is missing from "), "{message}");
        assert!(message.ends_with("; there is only `a.csv`, `in.zip`, `sub`"), "{message}");
        assert!(
            raw.files("none").unwrap_err().to_string().starts_with("raw file `none/` is missing")
        );
        assert!(raw.read("../secret").is_err() && raw.read("/etc/passwd").is_err());
    }
}

#[test]
fn files_are_put_once() {
    let folder = tempfile::tempdir().unwrap();
    for (i, raw) in trees(folder.path()).into_iter().enumerate() {
        let target = folder.path().join(format!("out{i}"));
        let files = [
            ("sub/b.txt".to_owned(), target.clone()),
            ("in.zip/top.txt".to_owned(), target.clone()),
        ];
        assert!(raw.put_all(&files[..1], &|_, _| ()).is_ok());
        assert!(raw.put_all(&files[1..], &|_, _| ()).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"bee");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let raw = trees(folder.path()).remove(0);
    raw.read("a.csv").unwrap();
    raw.check_unchanged().unwrap();
    File::options()
        .append(true)
        .open(folder.path().join("raw/a.csv"))
        .unwrap()
        .write_all(b"2\n")
        .unwrap();
    assert!(raw.check_unchanged().unwrap_err().to_string().ends_with("changed while it was read"));
}

fn only_missing(raw: &Raw, file: &str) -> (String, String) {
    match raw.read(file).unwrap_err() {
        PrepareError::RawMissing { found, remedy, .. } => (found, remedy.unwrap_or_default()),
        other => panic!("{other}"),
    }
}

#[test]
fn a_download_packed_again_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let inner = zipped(&[("train.csv", b"x\n1\n")]);
    let cases: [(&[(&str, &[u8])], &str, &str, &str); 5] = [
        (
            &[("data/train.csv", b"x"), ("data/in.zip", b"y"), ("__MACOSX/data/._train.csv", b"")],
            "train.csv",
            "; all its files lie in the folder `data/`",
            "pack what is in `data/`",
        ),
        (
            &[("a/b/train/1.png", b"x"), ("a/b/c", b"")],
            "train/1.png",
            "; all its files lie in the folder `a/b/`",
            "`a/b/`",
        ),
        (
            &[("Train.CSV", b"x"), ("b", b"")],
            "train.csv",
            "; there is `Train.CSV`, whose capitals differ",
            "rename it",
        ),
        (
            &[("mine.zip", &inner)],
            "train.csv",
            "; it lies in the archive `mine.zip` inside",
            "`--raw-zip`",
        ),
        (
            &[("train.csv.zip", &inner), ("test.csv", b"")],
            "train.csv",
            "; it lies in the archive `train.csv.zip` inside",
            "`--raw-dir`",
        ),
    ];
    for (i, (members, file, found, remedy)) in cases.into_iter().enumerate() {
        let archive = folder.path().join(format!("{i}.zip"));
        fs::write(&archive, zipped(members)).unwrap();
        let raw = Raw::open(&archive, folder.path().join("scratch"), false).unwrap();
        let told = only_missing(&raw, file);
        assert_eq!(told.0, found, "{file}");
        assert!(told.1.contains(remedy), "{file}: {}", told.1);
    }
    // An archive without any file has it nowhere.
    let empty = folder.path().join("empty.zip");
    fs::write(&empty, zipped(&[])).unwrap();
    let raw = Raw::open(&empty, folder.path().join("scratch"), false).unwrap();
    assert_eq!(only_missing(&raw, "train.csv").1, "");
    assert!(raw.walk("").is_err() && raw.files("train").is_err());
    // What is simply not there is not looked for elsewhere, and its neighbours are listed.
    let raw = trees(folder.path()).remove(0);
    assert_eq!(only_missing(&raw, "none.csv").1, "");
}

#[test]
fn what_is_no_archive_is_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, what) in [
        (
            &b"<!DOCTYPE html><title>Log in</title>"[..],
            "is not a zip archive but a web page (`Log in`)",
        ),
        (b"{\"code\":403,\"message\":\"no\"}", "but a server's reply, `{\"code\":403"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "but a 7z archive"),
        (b"PK\x03\x04 cut short", "is not a whole zip archive"),
    ] {
        let path = folder.path().join("mine.zip");
        fs::write(&path, bytes).unwrap();
        let opened = Raw::open(&path, folder.path().join("scratch"), false);
        let Err(error) = opened else { panic!("{what}") };
        assert!(error.to_string().contains(what), "{error}");
        let again = error.remedy().unwrap().contains("incomplete");
        assert_eq!(again, what.contains("whole"), "{error}: {:?}", error.remedy());
    }
}

#[test]
fn links_may_lead_about_the_raw_directory_and_not_out_of_it() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    fs::create_dir_all(raw.join("sub")).unwrap();
    fs::write(raw.join("a.csv"), "x\n").unwrap();
    fs::write(folder.path().join("secret"), "s").unwrap();
    symlink("../a.csv", raw.join("sub/b.csv")).unwrap();
    symlink("nowhere", raw.join("dangling")).unwrap();
    let scratch = folder.path().join("scratch");
    let opened = Raw::open(&raw, scratch.clone(), false).unwrap();
    assert_eq!(opened.read("sub/b.csv").unwrap(), b"x\n");
    for (target, name) in [("../../secret", "sub/c"), ("/etc", "etc"), ("..", "up")] {
        symlink(target, raw.join(name)).unwrap();
        let Err(error) = Raw::open(&raw, scratch.clone(), false) else { panic!("{name}") };
        assert!(matches!(error, PrepareError::LinkOut { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        fs::remove_file(raw.join(name)).unwrap();
    }
    // The directory itself may be reached by a link.
    symlink(&raw, folder.path().join("link")).unwrap();
    assert!(Raw::open(&folder.path().join("link"), scratch, false).is_ok());
}
