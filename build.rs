//! Compiles the container init and the built-in agents as static programs, so that the harness can
//! carry them inside itself.
//!
//! Their sources come out of their packages as text: a build script cannot name another package's
//! binary, and a published package holds no files of its neighbours.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod build_version;

fn main() {
    build_version::emit();
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        println!(
            "cargo::warning=agents run on Linux alone: this medalist grades, reports and compares; build it on Linux \
             or in WSL2 for the rest"
        );
        return;
    }
    // All are small rather than fast, but for the one that learns.
    compile("init", &medalist_init::SOURCES, "s");
    let mut compiled = Vec::new();
    for agent in medalist_agents::AGENTS {
        if compiled.contains(&agent.program) {
            continue;
        }
        compiled.push(agent.program);
        let opt_level = if agent.program == "baseline" { "3" } else { "s" };
        compile(&format!("agent_{}", agent.program), agent.sources, opt_level);
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets `{name}` for build scripts"))
}

/// Compiles one program and tells its path to the crate as `MEDALIST_<NAME>`.
fn compile(name: &str, sources: &[(&str, &str)], opt_level: &str) {
    let out = PathBuf::from(variable("OUT_DIR"));
    let folder = out.join(name);
    fs::create_dir_all(&folder).unwrap_or_else(|error| failed(&folder, &error));
    for (file, text) in sources {
        let path = folder.join(file);
        fs::write(&path, text).unwrap_or_else(|error| failed(&path, &error));
    }
    let program = out.join(format!("medalist-{name}"));
    let target = variable("TARGET");
    let mut command = Command::new(variable("RUSTC"));
    command
        .args(["--edition=2024", "--crate-type=bin", &format!("--crate-name=medalist_{name}")])
        .args(["-C", "target-feature=+crt-static", "-C", &format!("opt-level={opt_level}")])
        .args(["-C", "panic=abort", "-C", "strip=symbols"])
        .args(["--cap-lints", "allow", "--target", &target, "-o"])
        .arg(&program)
        .arg(folder.join(sources[0].0));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    // This script runs again whenever a source of the harness changes, for the sake of the version.
    let stamp = program.with_extension("stamp");
    let texts: Vec<&str> = sources.iter().map(|(_, text)| *text).collect();
    let made = format!("{command:?}\n{}", texts.join("\n"));
    if !(program.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == made)) {
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("compiling `{name}` for {target} failed: {status}"),
            Err(error) => panic!("cannot run rustc to compile `{name}`: {error}"),
        }
        fs::write(&stamp, made).unwrap_or_else(|error| failed(&stamp, &error));
    }
    println!("cargo::rustc-env=MEDALIST_{}={}", name.to_uppercase(), program.display());
}

fn failed(path: &Path, error: &std::io::Error) -> ! {
    panic!("cannot write `{}`: {error}", path.display())
}
