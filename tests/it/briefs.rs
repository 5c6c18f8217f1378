//! `medalist briefs`: MLE-bench's descriptions come from the user's own checkout, and go again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medalist"));
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .env("COLUMNS", "120")
        .output()
        .expect("the program starts")
}

fn source_of(data: &Path, id: &str) -> String {
    let output = run(data, &["briefs", "list"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(id));
    line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("absent").to_owned()
}

/// A checkout with the description of one competition.
fn checkout(dir: &Path, text: &str) {
    let folder = dir.join("mlebench/competitions/spaceship-titanic");
    fs::create_dir_all(&folder).expect("the directory is writable");
    fs::write(folder.join("description.md"), text).expect("the directory is writable");
}

#[test]
fn descriptions_are_imported_and_removed() {
    let (data, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    checkout(repository.path(), "# Official\n");
    assert_eq!(source_of(data.path(), "spaceship-titanic"), "catalogue");
    let checkout = repository.path().to_string_lossy().into_owned();
    let output = run(data.path(), &["briefs", "import", &checkout, "-c", "spaceship-titanic"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(source_of(data.path(), "spaceship-titanic"), "mle-bench");
    let output = run(
        data.path(),
        &["briefs", "import", &checkout, "-c", "spaceship-titanic", "leaf-classification"],
    );
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("no description of `leaf-classification`"), "{stderr}");
    assert!(run(data.path(), &["briefs", "remove"]).status.success());
    assert_eq!(source_of(data.path(), "spaceship-titanic"), "catalogue");
}

#[test]
fn what_is_no_description_is_refused() {
    let (data, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = repository.path().to_string_lossy().into_owned();
    let import = || {
        let output = run(data.path(), &["briefs", "import", &path, "-c", "spaceship-titanic"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = import();
    assert!(code == Some(3) && stderr.contains("is no checkout of MLE-bench"), "{stderr}");
    checkout(
        repository.path(),
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    );
    let (code, stderr) = import();
    assert!(code == Some(3) && stderr.contains("git lfs pull"), "{stderr}");
}
