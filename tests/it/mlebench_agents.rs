//! Agents packaged for MLE-bench run unchanged: on an image laid out as its own is, with agents
//! shaped like three of its.
//!
//! The image is put together from this machine's bash and a few tools, so that nothing has to be
//! pulled.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use medalist::attempt::launch::Program;
use medalist::attempt::outcome::Outcome;
use medalist::sandbox::engine::tar_directory;
use tokio::sync::OnceCell;

use crate::executor_bench::{Bench, Finished, Kind, engine};
use crate::support::{skip, which};

const IMAGE: &str = "medalist-test/mlebench-env:latest";
const TOOLS: [&str; 15] = [
    "bash", "cat", "cp", "curl", "grep", "head", "id", "ln", "ls", "mkdir", "sed", "sleep",
    "timeout", "touch", "tr",
];

/// What the agents' image holds at /home/agent/start.sh: three agents in one, chosen by the first
/// argument.
const START: &str = r#"
set -x
case "$1" in
dummy)
  ls /private && echo "private is open"
  cat /home/instructions.txt /home/data/description.md
  cp /home/data/sample_submission.csv "$SUBMISSION_DIR/submission.csv"
  bash /home/validate_submission.sh "$SUBMISSION_DIR/submission.csv"
  echo "print(1)" > "$CODE_DIR/main.py"
  echo "done" > "$LOGS_DIR/agent.log"
  echo "mine" > "$AGENT_DIR/note"
  echo "user $(id -un) $(id -u) in $PWD with $2 $3"
  ;;
aide)
  cd "$AGENT_DIR"
  mkdir -p logs workspaces/exp
  ln -s "$LOGS_DIR" logs/exp
  ln -s "$CODE_DIR" workspaces/exp/best_solution
  ln -s "$SUBMISSION_DIR" workspaces/exp/best_submission
  echo '{}' > logs/exp/journal.json
  echo "import aide" > workspaces/exp/best_solution/solution.py
  cp /home/data/sample_submission.csv workspaces/exp/best_submission/submission.csv
  ;;
mlab)
  sed -i 's/localhost/127.0.0.1/g' /home/instructions.txt || exit 7
  grep -q 127.0.0.1 /home/instructions.txt || exit 8
  bash /home/validate_submission.sh /home/data/sample_submission.csv
  timeout 1 sleep 100
  cp /home/data/sample_submission.csv "$SUBMISSION_DIR/submission.csv"
  ;;
trap)
  trap 'cp /home/data/sample_submission.csv "$SUBMISSION_DIR/submission.csv"' EXIT
  echo ready
  sleep 1000
  ;;
esac
"#;

/// MLE-bench's script, by its behaviour.
const VALIDATE: &str = "#!/bin/bash\n[ -f \"$1\" ] || exit 1\ncurl -s -X POST -F \"file=@$1\" http://localhost:5000/validate\n";

/// Shared libraries of a program, as the dynamic linker finds them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Puts a file of this machine at the same place below `root`, with /lib and /bin as links into
/// /usr.
fn place(root: &Path, file: &Path) {
    let text = file.display().to_string();
    let below = match text.strip_prefix("/usr") {
        Some(rest) => rest.to_string(),
        None => text,
    };
    let to = root.join(format!("usr{below}"));
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(file, &to).unwrap();
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Lays an image out as MLE-bench's base image is.
fn base_layout(root: &Path) -> Result<(), String> {
    let mut files = BTreeSet::new();
    for tool in TOOLS {
        let program = which(tool).ok_or_else(|| format!("`{tool}` is not on this machine"))?;
        let program = if program.starts_with("/usr") {
            program
        } else {
            Path::new("/usr").join(program.strip_prefix("/").unwrap())
        };
        if !program.is_file() {
            return Err(format!("`{}` is no file", program.display()));
        }
        files.extend(libraries(&program));
        files.insert(program);
    }
    for file in &files {
        place(root, file);
    }
    for name in ["bin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name)).unwrap();
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    // Dockerfiles run their steps with it.
    symlink("bash", root.join("usr/bin/sh")).unwrap();
    for dir in ["etc", "private", "tmp", "home/nonroot"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
    write(
        "etc/passwd",
        "root:x:0:0::/root:/bin/bash\nnonroot:x:1000:1000::/home/nonroot:/bin/bash\n",
    );
    write("etc/group", "root:x:0:\nusers:x:100:nonroot\nnonroot:x:1000:\n");
    write("etc/hosts", "127.0.0.1 localhost\n");
    write("private/grading_server.py", "answers = 'secret'\n");
    write("entrypoint.sh", "#!/bin/bash\necho the image's own entrypoint must not run\nexit 99\n");
    write("home/instructions.txt", "the image's own instructions\n");
    write("home/validate_submission.sh", VALIDATE);
    Ok(())
}

/// Lays an image out as MLE-bench's base image and an agent's Dockerfile do.
fn layout(root: &Path) -> Result<(), String> {
    base_layout(root)?;
    for dir in ["agent", "code", "logs", "submission"] {
        fs::create_dir_all(root.join("home").join(dir)).unwrap();
    }
    fs::write(root.join("home/agent/start.sh"), START).unwrap();
    Ok(())
}

/// An image that Dockerfiles of agents can build upon; `None` where there is no engine or a tool is
/// missing, and the test is skipped.
pub(crate) async fn base_image() -> Option<&'static str> {
    const BASE: &str = "medalist-test/mlebench-base:latest";
    static IMPORTED: OnceCell<Result<(), String>> = OnceCell::const_new();
    let engine = engine().await?;
    let imported = IMPORTED.get_or_init(|| async {
        let root = tempfile::tempdir().unwrap();
        base_layout(root.path())?;
        engine.import(tar_directory(root.path()).unwrap(), BASE).await.unwrap();
        Ok(())
    });
    match imported.await {
        Ok(()) => Some(BASE),
        Err(why) => {
            skip("tools", &format!("the image cannot be put together: {why}"));
            None
        }
    }
}

/// Runs one of the agents as MLE-bench would: `bash /home/agent/start.sh`, with its arguments. The
/// bench holds the files.
async fn run(agent: &[&str], timeout: Duration) -> Option<(Bench, Finished)> {
    static IMPORTED: OnceCell<Result<(), String>> = OnceCell::const_new();
    let engine = engine().await?;
    let imported = IMPORTED.get_or_init(|| async {
        let root = tempfile::tempdir().unwrap();
        layout(root.path())?;
        engine.import(tar_directory(root.path()).unwrap(), IMAGE).await.unwrap();
        Ok(())
    });
    if let Err(why) = imported.await {
        skip("tools", &format!("the image cannot be put together: {why}"));
        return None;
    }
    let bench = Bench::new(Kind::Docker).await?;
    let mut spec = bench.spec(&[]);
    fs::write(spec.public_dir.join("sample_submission.csv"), "id,y\n1,0\n").unwrap();
    let mut argv = vec!["bash".to_string(), "/home/agent/start.sh".to_string()];
    argv.extend(agent.iter().map(ToString::to_string));
    spec.program = Program::Image { reference: IMAGE.to_string(), argv };
    spec.limits.timeout = timeout;
    let run = bench.drive(spec, None, |_, _| {}).await;
    assert_eq!(
        run.file("submission/submission.csv").as_deref(),
        Some("id,y\n1,0\n"),
        "{}",
        run.log()
    );
    Some((bench, run))
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_like_dummy() {
    let Some((_bench, run)) = run(&["dummy", "--steps", "3"], LONG).await else { return };
    assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{}", run.log());
    let log = run.log();
    assert!(!log.contains("private is open"), "{log}");
    assert!(log.contains("data is in /home/data/"), "our instructions, not the image's: {log}");
    assert!(log.contains("the brief"), "{log}");
    assert!(log.contains(r#"{"result":"Submission is valid.","is_valid":true}"#), "{log}");
    assert!(log.contains("user nonroot 1000 in /home with --steps 3"), "{log}");
    assert_eq!(run.file("code/main.py").as_deref(), Some("print(1)\n"));
    assert_eq!(run.file("logs/agent.log").as_deref(), Some("done\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_like_aide_that_links_into_its_directories() {
    let Some((_bench, run)) = run(&["aide"], LONG).await else { return };
    assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{}", run.log());
    assert_eq!(run.file("code/solution.py").as_deref(), Some("import aide\n"));
    assert_eq!(run.file("logs/journal.json").as_deref(), Some("{}\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_like_mlab_that_edits_its_instructions_and_copies_late() {
    let Some((_bench, run)) = run(&["mlab"], LONG).await else { return };
    assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{}", run.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_saves_in_a_trap_when_its_time_is_over() {
    let Some((_bench, run)) = run(&["trap"], Duration::from_secs(6)).await else { return };
    assert!(
        matches!(run.end.outcome, Outcome::TimedOut { killed: false, .. }),
        "{:?}",
        run.end.outcome
    );
}
