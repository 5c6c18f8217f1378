//! Compiles the container init and the built-in agents as static programs without any crate, so
//! that the harness can carry them inside itself.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
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
    let status = Command::new(variable("RUSTC"))
        .args(["--edition=2024", "--crate-type=bin", &format!("--crate-name=medalist_{name}")])
        .args(["-C", "target-feature=+crt-static", "-C", &format!("opt-level={opt_level}")])
        .args(["-C", "panic=abort", "-C", "strip=symbols"])
        .args(["-D", "warnings", "--target", &target, "-o"])
        .arg(&out)
        .arg(source)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("compiling {source} for {target} failed: {status}"),
        Err(error) => panic!("cannot run rustc to compile {source}: {error}"),
    }
    println!("cargo::rustc-env=MEDALIST_{}={}", name.to_uppercase(), out.display());
}
