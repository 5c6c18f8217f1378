//! What a container was given of the GPUs: device nodes that can be opened, the driver's library,
//! what `nvidia-smi` lists.

use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where images keep libraries, besides what `LD_LIBRARY_PATH` names.
const LIBRARIES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
];
const PROGRAMS: [&str; 3] =
    ["/usr/bin/nvidia-smi", "/usr/local/bin/nvidia-smi", "/usr/local/nvidia/bin/nvidia-smi"];

/// Prints one finding a line: `node PATH open`, `node PATH ERROR`, `library PATH`, `smi LINE`.
pub(crate) fn report() -> i32 {
    let mut nodes: Vec<PathBuf> = fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("nvidia"))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_char_device()))
        .map(|entry| entry.path())
        .collect();
    nodes.sort();
    for node in nodes {
        match File::options().read(true).write(true).open(&node) {
            Ok(_) => println!("node {} open", node.display()),
            Err(error) => println!("node {} {error}", node.display()),
        }
    }
    let named = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    for dir in std::env::split_paths(&named).chain(LIBRARIES.iter().map(PathBuf::from)) {
        let library = dir.join("libcuda.so.1");
        if library.exists() {
            println!("library {}", library.display());
        }
    }
    if let Some(program) = PROGRAMS.iter().find(|program| Path::new(program).exists())
        && let Ok(output) = Command::new(program).arg("-L").output()
    {
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("smi {line}");
        }
    }
    0
}
