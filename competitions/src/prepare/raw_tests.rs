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
    [directory, archive]
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
        let message = raw.read("A.csv").unwrap_err().to_string();
        assert!(message.starts_with("raw file `A.csv` is missing from "), "{message}");
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
        assert!(raw.put_all(&files[..1], &|_| ()).is_ok());
        assert!(raw.put_all(&files[1..], &|_| ()).is_err());
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
