//! The version that the program states: the package's, and the commit that it was built from.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// What goes into the program; a change in it since the commit makes the version `dirty`.
const SOURCES: [&str; 10] = [
    "Cargo.lock",
    "agents",
    "build.rs",
    "competitions/catalog",
    "competitions/src",
    "grading/src",
    "init",
    "llm/src",
    "reports/src",
    "src",
];

/// Tells the crate its version as `MEDALIST_VERSION`: `0.1.0+0123456789ab`, with `.dirty` behind it
/// where sources differ from the commit, or `0.1.0` alone where there is no git.
pub(crate) fn emit() {
    let mut version = env::var("CARGO_PKG_VERSION").expect("cargo sets it for build scripts");
    if let Some(commit) = commit() {
        version = format!("{version}+{commit}");
    }
    println!("cargo::rustc-env=MEDALIST_VERSION={version}");
}

fn commit() -> Option<String> {
    // `cargo package` leaves the commit in the package.
    if let Ok(text) = fs::read_to_string(".cargo_vcs_info.json") {
        let (_, rest) = text.split_once("\"sha1\": \"")?;
        return rest.get(..12).map(str::to_owned);
    }
    // The sources may lie unpacked in a repository that is not ours.
    let root = fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if fs::canonicalize(".").ok()? != root {
        return None;
    }
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let sources: Vec<&str> =
        SOURCES.into_iter().filter(|source| Path::new(source).exists()).collect();
    for source in &sources {
        println!("cargo::rerun-if-changed={source}");
    }
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"]);
    for file in ["HEAD", "logs/HEAD", branch.as_deref().unwrap_or("HEAD")] {
        if let Some(path) = git(&["rev-parse", "--git-path", file])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let mut status = vec!["status", "--porcelain", "--untracked-files=no", "--"];
    status.extend(sources);
    let changed = git(&status)?;
    Some(if changed.is_empty() { head } else { format!("{head}.dirty") })
}

/// What a git command prints; `None` if it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
