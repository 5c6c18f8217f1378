//! The rooms of `src/` and the arrows between them, as docs/architecture.md draws them.

use std::path::{Path, PathBuf};

/// Each room with the rooms that it may use, besides itself.
const ROOMS: [(&str, &[&str]); 6] = [
    ("cli", &["app", "run", "sandbox", "attempt", "host"]),
    ("app", &["run", "sandbox", "attempt", "host"]),
    ("run", &["sandbox", "attempt", "host"]),
    ("sandbox", &["attempt", "host"]),
    ("host", &["attempt"]),
    ("attempt", &[]),
];

/// The modules of `src/` that a source text names after `crate::`, each with its line.
fn used(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // A comment may name what code must not use.
        let code = line.split("//").next().unwrap_or_default();
        for part in code.split("crate::").skip(1) {
            let inner = part.trim_start_matches('{');
            let name: String =
                inner.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((number + 1, name));
        }
    }
    found
}

/// Arrows of one file of a room that point the wrong way.
fn wrong_arrows(room: &str, allowed: &[&str], text: &str) -> Vec<(usize, String)> {
    let mut all = used(text);
    all.retain(|(_, name)| name != room && !allowed.contains(&name.as_str()));
    all
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).expect("a folder of src/") {
            let path = entry.expect("an entry of src/").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn no_arrow_between_rooms_points_up() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        let files = sources(&src.join(room));
        assert!(!files.is_empty(), "`{room}` has no sources");
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file");
            for (line, name) in wrong_arrows(room, allowed, &text) {
                wrong.push(format!("{}:{line} uses crate::{name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up:\n{}", wrong.join("\n"));
}

#[test]
fn an_upward_arrow_is_seen_wherever_it_is() {
    let text =
        "use crate::attempt::plan::Plan;\n// crate::cli is named only\nlet x = crate::run::go();\n";
    assert_eq!(wrong_arrows("sandbox", &["attempt", "host"], text), [(3, "run".to_owned())]);
    assert_eq!(wrong_arrows("cli", &["run", "attempt"], text), []);
}
