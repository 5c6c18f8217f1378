//! Compiles the container init and the built-in agents as static programs without any crate, so
//! that the harness can carry them inside itself.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

mod build_version;

fn main() {
    build_version::emit();
    // The init is small rather than fast; the agents learn.
    compile("src/init/main.rs", "init", "s");
    compile("agents/sample/main.rs", "agent_sample", "s");
    compile("agents/baseline/main.rs", "agent_baseline", "3");
}

/// Compiles one program and tells its path to the crate as `MEDALIST_<NAME>`.
fn compile(source: &str, name: &str, opt_level: &str) {
    println!(
        "cargo::rerun-if-changed={}",
        Path::new(source).parent().unwrap_or(Path::new(".")).display()
    );
    let variable = |name: &str| {
        env::var(name).unwrap_or_else(|_| panic!("cargo sets `{name}` for build scripts"))
    };
    let out = PathBuf::from(variable("OUT_DIR")).join(format!("medalist-{name}"));
    let target = variable("TARGET");
    let mut command = Command::new(variable("RUSTC"));
    command
        .args(["--edition=2024", "--crate-type=bin", &format!("--crate-name=medalist_{name}")])
        .args(["-C", "target-feature=+crt-static", "-C", &format!("opt-level={opt_level}")])
        .args(["-C", "panic=abort", "-C", "strip=symbols"])
        .args(["-D", "warnings", "--target", &target, "-o"])
        .arg(&out)
        .arg(source);
    // This script runs again whenever a source of the harness changes, for the sake of the version.
    let (stamp, made) =
        (out.with_extension("stamp"), format!("{command:?} of {:?}", newest(source)));
    if !(out.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == made)) {
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("compiling {source} for {target} failed: {status}"),
            Err(error) => panic!("cannot run rustc to compile {source}: {error}"),
        }
        fs::write(&stamp, made).unwrap_or_else(|error| panic!("cannot write a stamp: {error}"));
    }
    println!("cargo::rustc-env=MEDALIST_{}={}", name.to_uppercase(), out.display());
}

/// When a source beside `source` was last changed.
fn newest(source: &str) -> Option<SystemTime> {
    let folder = fs::read_dir(Path::new(source).parent()?).ok()?;
    folder.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
}
