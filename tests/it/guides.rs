//! The guides in `docs/`, done as they say.
//!
//! A line `<!-- file: PATH -->` above a code block makes the block that file, and `<!-- run -->`
//! makes it a script that must succeed. Everything happens in one scratch folder for each guide.

use std::path::Path;

use crate::support::{TestContext, called};

/// What a guide asks its reader to do.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    Write { path: &'a str, text: String },
    Run(String),
}

fn steps(guide: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let mark = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        let Some(mark) = mark else { continue };
        assert!(lines.next().is_some_and(|fence| fence.starts_with("```")), "{mark}: no block");
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = block.join("\n") + "\n";
        steps.push(match mark.strip_prefix("file: ") {
            Some(path) => Step::Write { path, text },
            None if mark == "run" => Step::Run(text),
            None => panic!("`{mark}` is neither `run` nor `file: PATH`"),
        });
    }
    steps
}

/// Does what a guide says, with the program that is tested first on PATH.
fn follow(guide: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs").join(guide)).unwrap();
    let steps = steps(&text);
    assert!(steps.iter().any(|step| matches!(step, Step::Run(_))), "{guide} runs nothing");
    let context = TestContext::new();
    let program = Path::new(env!("CARGO_BIN_EXE_medalist")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    for step in steps {
        match step {
            Step::Write { path, text } => {
                let path = context.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Step::Run(script) => {
                let mut shell = context.shell();
                shell.args(["-e", "-c", &script]).env("REPOSITORY", root);
                shell.env("PATH", format!("{}:{path}", program.display()));
                let called = called(&shell.output().unwrap());
                assert_eq!(called.code, 0, "{guide}:\n{script}\n{called:#?}");
            }
        }
    }
}

#[test]
fn an_agent() {
    follow("adding-an-agent.md");
}

#[test]
fn settings_files() {
    follow("settings.md");
}

#[test]
fn blocks_without_a_mark_are_left_alone() {
    let guide =
        "```sh\nno\n```\n<!-- file: a/b -->\n```toml\nx = 1\n```\n<!-- run -->\n```sh\nls\n```\n";
    let expected =
        [Step::Write { path: "a/b", text: "x = 1\n".to_owned() }, Step::Run("ls\n".to_owned())];
    assert_eq!(steps(guide), expected);
}
