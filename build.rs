//! Compiles the container init as one static program without any crate, so that the harness can carry it inside itself.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/init");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets `{name}` for build scripts"));
    let out = PathBuf::from(variable("OUT_DIR")).join("medalist-init");
    let target = variable("TARGET");
    let status = Command::new(variable("RUSTC"))
        .args(["--edition=2024", "--crate-type=bin", "--crate-name=medalist_init"])
        .args(["-C", "target-feature=+crt-static", "-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"])
        .args(["-D", "warnings", "--target", &target, "-o"])
        .arg(&out)
        .arg("src/init/main.rs")
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("compiling src/init/main.rs for {target} failed: {status}"),
        Err(error) => panic!("cannot run rustc to compile src/init/main.rs: {error}"),
    }
    println!("cargo::rustc-env=MEDALIST_INIT={}", out.display());
}
