//! The agents of an MLE-bench checkout: `config.yaml`, Dockerfiles and working directories laid out
//! as in its `agents/` folder, run with `--agents-dir`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::mlebench_agents::base_image;
use crate::support::{Called, TestContext, called, skip};

const AIDE: &str = "\
vars:
  step_count: &step_count 500
  time_limit: &time_limit 86400 # 24 hours
defaults: &defaults
  start: aide/start.sh
  dockerfile: aide/Dockerfile
  kwargs_type: omegaconf
  env_vars: &env_vars
    TIME_LIMIT_SECS: *time_limit
    STEP_LIMIT: *step_count
kwargs_common: &kwargs_common
  agent.search.max_debug_depth: 20
  agent.time_limit: *time_limit
  copy_data: False
aide:
  <<: *defaults
  kwargs:
    <<: *kwargs_common
    agent.code.model: a-model
    agent.steps: *step_count
    agent.key: ${{ secrets.CASE_KEY }}
  env_vars:
    <<: *env_vars
    MODEL_KEY: ${{ secrets.CASE_KEY }}
aide/dev:
  <<: *defaults
  kwargs:
    <<: *kwargs_common
    agent.steps: 8
  env_vars:
    TIME_LIMIT_SECS: 20
";
const DUMMY: &str = "dummy:\n  start: dummy/start.sh\n  dockerfile: dummy/Dockerfile\n";
const MLAB: &str = "\
vars:
  time_limit: &time_limit 86400
mlagentbench:
  start: mlagentbench/start.sh
  dockerfile: mlagentbench/Dockerfile
  kwargs_type: argparse
  kwargs:
    llm-name: a-model
    max-time: *time_limit
    python: True
  env_vars:
    TIME_LIMIT_SECS: *time_limit
";
const OPENDEVIN: &str = "\
opendevin:
  start: opendevin/start.sh
  dockerfile: opendevin/Dockerfile
  kwargs_type: argparse
  kwargs:
    max_time_in_hours: 24
    shm_size: \"100G\"
  privileged: true
";
/// What each Dockerfile begins with: the directories come as build arguments, and are not there yet.
const DIRECTORIES: &str = "\
ARG SUBMISSION_DIR
ENV SUBMISSION_DIR=${SUBMISSION_DIR}
ARG LOGS_DIR
ENV LOGS_DIR=${LOGS_DIR}
ARG CODE_DIR
ENV CODE_DIR=${CODE_DIR}
ARG AGENT_DIR
ENV AGENT_DIR=${AGENT_DIR}
RUN mkdir ${LOGS_DIR} ${CODE_DIR} ${AGENT_DIR}
";
const START: &str = "\
#!/bin/bash
echo \"in $PWD with $*\"
echo \"limit $TIME_LIMIT_SECS steps $STEP_LIMIT key $MODEL_KEY\"
cat /home/additional_notes.txt
ls /private || echo private is closed
sed -i 's/localhost/127.0.0.1/' /home/instructions.txt && touch $CODE_DIR/code.py $LOGS_DIR/run.log $AGENT_DIR/agent_was_here.txt
mkdir -p $SUBMISSION_DIR
cp /home/data/sample_submission.csv $SUBMISSION_DIR/submission.csv
bash /home/validate_submission.sh $SUBMISSION_DIR/submission.csv
";

/// A checkout's `agents/` folder, and prepared data.
async fn checkout() -> Option<TestContext> {
    let base = base_image().await?;
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-flights"]);
    let copied = "COPY requirements.txt ${AGENT_DIR}/requirements.txt\nCOPY . ${AGENT_DIR}\n";
    let mlab = "RUN mkdir -p ${AGENT_DIR}/MLAgentBench/benchmarks\nCOPY ./benchmark_dir ${AGENT_DIR}/MLAgentBench/benchmarks\nCOPY additional_notes.txt /home/additional_notes.txt\nCOPY start.sh ${AGENT_DIR}\nWORKDIR ${AGENT_DIR}/MLAgentBench\n";
    let opendevin = "WORKDIR ${AGENT_DIR}\nCOPY start.sh ${AGENT_DIR}/\nCOPY entrypoint.sh /agent_entrypoint.sh\nENTRYPOINT [\"/agent_entrypoint.sh\"]\n";
    for (name, config, from, rest) in [
        ("aide", AIDE, "FROM", copied),
        ("dummy", DUMMY, "FROM", copied),
        ("mlagentbench", MLAB, "FROM", mlab),
        ("opendevin", OPENDEVIN, "FROM --platform=linux/amd64", opendevin),
    ] {
        let dir = context.join("agents").join(name);
        fs::create_dir_all(dir.join("benchmark_dir/scripts")).unwrap();
        let write = |file: &str, text: &str| fs::write(dir.join(file), text).unwrap();
        write("config.yaml", config);
        write("Dockerfile", &format!("{from} {base}\n{DIRECTORIES}{rest}"));
        write("start.sh", START);
        write("requirements.txt", "");
        write("entrypoint.sh", "#!/bin/bash\nexit 99\n");
        write("additional_notes.txt", "notes of its own\n");
        write("benchmark_dir/scripts/prepare.py", "print(1)\n");
    }
    Some(context)
}

/// `medalist run` of one of them, with or without its secret in the environment.
fn run(context: &TestContext, agent: &str, secret: Option<&str>, more: &[&str]) -> Called {
    let mut command = context.command();
    command.args(["run", "--agents-dir", "agents", "--agent", agent, "-c", "demo-flights"]);
    command.args(["--timeout", "60s", "--grace", "3s", "--cpus", "0.5", "--memory", "512MiB"]);
    command.args(more).env_remove("CASE_KEY");
    if let Some(secret) = secret {
        command.env("CASE_KEY", secret);
    }
    called(&command.output().unwrap())
}

/// The folder of the newest group's only attempt.
fn attempt(context: &TestContext) -> PathBuf {
    let newest = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).max();
    let group = newest(&context.join("runs")).unwrap();
    let mut dirs: Vec<PathBuf> = fs::read_dir(group).unwrap().map(|e| e.unwrap().path()).collect();
    dirs.retain(|path| path.join("attempt.json").is_file());
    assert_eq!(dirs.len(), 1, "{dirs:?}");
    dirs.remove(0)
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("run.log")).unwrap()
}

fn is_valid(dir: &Path) -> bool {
    let grade: Value = serde_json::from_slice(&fs::read(dir.join("grade.json")).unwrap()).unwrap();
    grade["valid_submission"] == true
}

#[tokio::test]
async fn dummy_runs_as_it_is() {
    let Some(context) = checkout().await else { return };
    let ran = run(&context, "dummy", None, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempt(&context);
    let log = log(&dir);
    assert!(log.contains("limit 60") && log.contains("private is closed"), "{log}");
    assert!(log.contains("Submission is valid."), "{log}");
    assert!(dir.join("code/code.py").is_file() && dir.join("logs/run.log").is_file());
    assert!(is_valid(&dir));
    let group = dir.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    assert!(group.ends_with("_run-group_dummy"), "{group}");
}

#[tokio::test]
async fn aide_gets_its_arguments_its_secret_and_no_more_time_than_there_is() {
    let Some(context) = checkout().await else { return };
    let refused = run(&context, "aide", Some("s3cret"), &[]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    for words in ["CASE_KEY", "readable inside its container", "--pass-secrets"] {
        assert!(refused.stderr.contains(words), "no `{words}`: {refused:#?}");
    }
    let unset = run(&context, "aide", None, &["--pass-secrets"]);
    assert_eq!(unset.code, 4, "{unset:#?}");
    assert!(unset.stderr.contains("the environment variable `CASE_KEY` is not set"), "{unset:#?}");
    assert!(!context.join("runs").exists(), "nothing was made");

    let ran = run(&context, "aide", Some("s3cret"), &["--pass-secrets"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let told = "agent `aide` sets `TIME_LIMIT_SECS` to 86400 (and `agent.time_limit=86400`), more than `--timeout";
    assert!(ran.stderr.contains(told), "{ran:#?}");
    let dir = attempt(&context);
    let text = log(&dir);
    assert!(
        text.contains("with agent.search.max_debug_depth=20 agent.time_limit=86400 copy_data=False agent.code.model=a-model agent.steps=500 agent.key=s3cret"),
        "{text}"
    );
    assert!(text.contains("limit 60 steps 500 key s3cret"), "{text}");
    assert!(is_valid(&dir));
    for file in ["plan.json", "group.json", "events.jsonl"] {
        let kept = fs::read_to_string(dir.parent().unwrap().join(file)).unwrap();
        assert!(!kept.contains("s3cret"), "{file} holds a secret");
    }

    fs::rename(context.join("runs"), context.join("before")).unwrap();
    let dev = run(&context, "aide/dev", None, &[]);
    assert_eq!(dev.code, 0, "{dev:#?}");
    assert!(dev.stderr.contains("to 20, less than `--timeout"), "{dev:#?}");
    let text = log(&attempt(&context));
    assert!(text.contains("limit 20 steps  key") && text.contains("agent.steps=8"), "{text}");
}

#[tokio::test]
async fn mlagentbench_starts_in_its_working_directory() {
    let Some(context) = checkout().await else { return };
    let ran = run(&context, "mlagentbench", None, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempt(&context);
    let text = log(&dir);
    assert!(
        text.contains(
            "in /home/agent/MLAgentBench with --llm-name a-model --max-time 86400 --python True"
        ),
        "{text}"
    );
    assert!(text.contains("notes of its own") && text.contains("limit 60"), "{text}");
    assert!(ran.stderr.contains("(and `--max-time 86400`)"), "{ran:#?}");
    assert!(is_valid(&dir));
}

#[tokio::test]
async fn opendevin_needs_consent_and_is_never_called_sealed() {
    let Some(context) = checkout().await else { return };
    let refused = run(&context, "opendevin", None, &["--dry-run"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(refused.stderr.contains("I_ACCEPT_RUNNING_PRIVILEGED_CONTAINERS=true"), "{refused:#?}");
    let mut command = context.command();
    command.args(["run", "--agents-dir", "agents", "--agent", "opendevin", "-c", "demo-flights"]);
    command.args(["--timeout", "60s", "--grace", "3s", "--cpus", "0.5", "--memory", "512MiB"]);
    command.args(["--retries", "0"]).env("I_ACCEPT_RUNNING_PRIVILEGED_CONTAINERS", "1");
    let ran = called(&command.output().unwrap());
    assert!(ran.stderr.contains("NOT SEALED"), "{ran:#?}");
    if ran.stderr.contains("unable to apply caps") {
        return skip("privileged", "the engine is itself in a container that may not make one");
    }
    assert_eq!(ran.code, 0, "{ran:#?}");
    let text = log(&attempt(&context));
    assert!(text.contains("in /home/agent with --max_time_in_hours 24 --shm_size 100G"), "{text}");
}

#[test]
fn what_a_config_cannot_ask_for_is_named() {
    let context = TestContext::new();
    let dir = context.join("agents/odd");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("start.sh"), "").unwrap();
    let head = "odd:\n  start: odd/start.sh\n  dockerfile: odd/Dockerfile\n";
    for (more, says) in [
        ("  mount_docker_socket: true\n", "`odd.mount_docker_socket`"),
        ("  kwargs:\n    a: 1\n", "`odd.kwargs_type` is missing"),
        (
            "  kwargs_type: hydra\n  kwargs:\n    a: 1\n",
            "`hydra`, expected `argparse` or `omegaconf`",
        ),
        ("  env_vars: [1]\n", "`odd.env_vars` is not a map"),
        ("  env_vars: {\n", "config.yaml` is not a valid agent file"),
    ] {
        fs::write(dir.join("config.yaml"), format!("{head}{more}")).unwrap();
        let refused = run(&context, "odd", None, &["--dry-run"]);
        assert_eq!(refused.code, 3, "{more}: {refused:#?}");
        assert!(refused.stderr.contains(says), "{more}: {refused:#?}");
        assert!(refused.stderr.contains("hint: "), "{more}: {refused:#?}");
    }
}
