//! `medalist briefs`: MLE-bench's descriptions come from the user's own checkout, and go again. And
//! briefs that do not say where a competition comes from.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::llm::{attempts, groups};
use crate::support::{TestContext, json};

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

/// An agent that is a line of a shell and says that it uses the model.
pub(crate) fn shell_agent(context: &TestContext, id: &str, command: &str) {
    let agent = context.join(&format!("agents/{id}"));
    fs::create_dir_all(&agent).unwrap();
    let toml = format!(
        "id = {id:?}\nbackbone = \"gpt-test\"\nbuild = \"dockerfile\"\ncommand = [\"/bin/sh\", \"-c\", {command:?}]\n"
    );
    fs::write(agent.join("agent.toml"), toml).unwrap();
    fs::write(agent.join("Dockerfile"), "FROM scratch\n").unwrap();
}

#[test]
fn an_agent_with_an_obfuscated_brief_is_not_told_the_competition() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-bikes"]);
    shell_agent(&context, "reader", "cat $DATA_DIR/description.md; env; pwd");
    let run = |more: &[&str]| {
        let words =
            ["run", "--agent", "agents/reader", "-c", "demo-bikes", "--executor", "process"];
        context.ok(&[&words[..], more].concat());
        let group = groups(&context).pop().unwrap();
        let attempt = attempts(&group).remove(0);
        let log = fs::read_to_string(attempt.join("run.log")).unwrap();
        (group, json(&attempt.join("attempt.json"))["conditions"].clone(), log)
    };
    let (plain, conditions, log) = run(&[]);
    assert!(log.contains("Bike rentals") && log.contains("COMPETITION_ID=demo-bikes"), "{log}");
    assert_eq!(conditions["brief_source"], "catalogue");
    assert!(conditions.get("brief_replaced").is_none());
    let (obfuscated, hidden, log) = run(&["--brief", "obfuscated"]);
    assert!(log.contains("COMPETITION_ID=this-competition") && log.contains("RMSLE"), "{log}");
    for word in ["bike", "Bike", "demo-bikes"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
    assert!(
        log.contains("`rentals`") && log.contains("datetime,rentals"),
        "names of columns stay: {log}"
    );
    assert_eq!(hidden["brief_source"], "catalogue+obfuscated");
    assert!(hidden["brief_replaced"]["title_word"].as_u64().unwrap() > 3, "{hidden:#}");
    assert_ne!(hidden["brief_sha256"], conditions["brief_sha256"]);
    assert_eq!(json(&obfuscated.join("plan.json"))["brief"], "obfuscated");
    let show = |group: &Path| group.to_string_lossy().into_owned();
    let compared = context.run(&["compare", &show(&plain), "--against", &show(&obfuscated)]);
    assert_eq!(compared.code, 3, "{compared:#?}");
    assert!(format!("{}{}", compared.stdout, compared.stderr).contains("brief"), "{compared:#?}");
    let report = context.ok(&["report", &show(&plain), &show(&obfuscated)]);
    assert!(
        format!("{}{}", report.stdout, report.stderr).contains("obfuscated brief"),
        "{report:#?}"
    );
    let printed = context.ok(&["briefs", "show", "demo-bikes", "--obfuscated"]);
    assert!(
        printed.stdout.contains("items-A") && printed.stderr.contains("title_word"),
        "{printed:#?}"
    );
}
