//! Settings files: which layer wins, what is refused, and what `config` says.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::llm_provider::Provider;
use crate::support::{Called, TestContext, called};

fn write(context: &TestContext, name: &str, text: &str) {
    let path = context.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

const USER: &str = ".config/medalist/config.toml";

/// A context with prepared competitions, all of the demo's if none are named: `run --dry-run` looks
/// for their data.
fn prepared(competitions: &[&str]) -> TestContext {
    let context = TestContext::new();
    let chosen: Vec<&str> = match competitions {
        [] => vec!["--suite", "demo"],
        ids => ids.iter().flat_map(|id| ["-c", id]).collect(),
    };
    context.ok(&[&["prepare"], &chosen[..]].concat());
    context
}

/// Runs the binary in a folder below the context's with one variable more.
fn run_in(context: &TestContext, folder: &str, variable: (&str, &str), args: &[&str]) -> Called {
    let mut command = context.command();
    command.current_dir(context.join(folder)).env(variable.0, variable.1).args(args);
    called(&command.output().unwrap())
}

/// The plan of `run --dry-run`.
fn plan(context: &TestContext, args: &[&str]) -> Value {
    let called = context.ok(&[&["run", "--dry-run", "--json"], args].concat());
    serde_json::from_str(&called.stdout).unwrap()
}

/// A setting as `config --json` shows it.
fn shown(config: &Value, table: Option<&str>, key: &str) -> Value {
    let all = config["settings"].as_array().unwrap();
    let found = all.iter().find(|s| s["key"] == key && s["table"].as_str() == table);
    found.unwrap_or_else(|| panic!("no {table:?} {key} in {config:#}")).clone()
}

#[test]
fn each_layer_beats_the_one_below_it() {
    let context = prepared(&["demo-bikes"]);
    let seeds = |args: &[&str]| {
        let plan = plan(&context, args);
        plan["attempts"].as_array().unwrap().len()
    };
    write(&context, USER, "[run]\nagent = \"sample\"\ncompetition = [\"demo-bikes\"]\nseeds = 2\n");
    assert_eq!(seeds(&[]), 2);
    write(&context, "medalist.toml", "[run]\nseeds = 3\n[profile.many]\nseeds = 4\n");
    assert_eq!(seeds(&[]), 3);
    assert_eq!(seeds(&["--profile", "many"]), 4);
    assert_eq!(seeds(&["--profile", "many", "--seeds", "5"]), 5);
    let agent_of = |called: &Called| {
        let plan: Value = serde_json::from_str(&called.stdout).unwrap();
        (plan["executor"].clone(), plan["attempts"].as_array().unwrap().len())
    };
    write(&context, "medalist.toml", "[run]\nexecutor = \"process\"\n[profile.many]\nseeds = 4\n");
    let dry = ["run", "--dry-run", "--json"];
    let from_file = run_in(&context, ".", ("MEDALIST_PROFILE", "many"), &dry);
    assert_eq!(agent_of(&from_file), ("process".into(), 4), "{from_file:#?}");
    let from_variable = run_in(&context, ".", ("MEDALIST_EXECUTOR", "docker"), &dry);
    assert_eq!(agent_of(&from_variable).0, "docker");
    let flag = [&dry[..], &["--executor", "process"]].concat();
    let from_flag = run_in(&context, ".", ("MEDALIST_EXECUTOR", "docker"), &flag);
    assert_eq!(agent_of(&from_flag).0, "process");
    let without = context.run(&["run", "--dry-run", "--json", "--no-config"]);
    assert_eq!(without.code, 2, "{without:#?}");
    assert!(without.stderr.contains("no agent is named"), "{without:#?}");
}

#[test]
fn a_choice_of_competitions_replaces_the_files() {
    let context = prepared(&[]);
    write(&context, "medalist.toml", "[run]\nagent = \"sample\"\nsuite = \"demo\"\n");
    assert_eq!(plan(&context, &[])["attempts"].as_array().unwrap().len(), 4);
    let chosen = plan(&context, &["-c", "demo-digits"]);
    assert_eq!(chosen["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(chosen["suite"], Value::Null);
}

#[test]
fn paths_start_at_the_file_and_the_nearest_file_holds() {
    let context = TestContext::new();
    write(&context, "project/deep/er/x", "");
    write(
        &context,
        "project/medalist.toml",
        "runs-dir = \"out\"\n[run]\nagent = \"./agents/none\"\nmount = [\"weights:/weights\"]\n",
    );
    let mut command = context.command();
    command.current_dir(context.join("project/deep/er")).env_remove("MEDALIST_RUNS_DIR");
    let called = called(&command.args(["config", "--json"]).output().unwrap());
    let config: Value =
        serde_json::from_str(&called.stdout).unwrap_or_else(|e| panic!("{e}: {called:#?}"));
    // A scratch folder may be reached through a link; the program sees where it leads.
    let root = context.path().canonicalize().unwrap();
    let at = |path: &str| root.join(path).display().to_string();
    assert_eq!(shown(&config, None, "runs-dir")["value"], at("project/out"));
    assert_eq!(shown(&config, Some("run"), "agent")["value"], at("project/./agents/none"));
    let mount = format!("{}:/weights", at("project/weights"));
    assert_eq!(shown(&config, Some("run"), "mount")["value"][0], mount);
    assert_eq!(shown(&config, Some("run"), "mount")["line"], 4);
}

#[test]
fn mistakes_end_everything_but_help_before_it_begins() {
    let context = prepared(&["demo-digits"]);
    for (text, expected) in [
        (
            "[run]\nagnet = \"sample\"\n",
            "line 2: unknown key `agnet` in `[run]`; did you mean `agent`?",
        ),
        (
            "[run]\nagent = \"sample\"\ntimeout = \"soon\"\n",
            "line 3: `timeout` is `soon`: expected number at 0",
        ),
        (
            "[run]\nagent = \"sample\"\nexecutor = \"dokcer\"\n",
            "line 3: `executor` is `dokcer`: expected one of",
        ),
        ("[run\n", "line 1: "),
    ] {
        write(&context, "medalist.toml", text);
        let refused = context.run(&["run", "-c", "demo-digits", "--dry-run"]);
        assert_eq!(refused.code, 3, "{text}: {refused:#?}");
        assert!(refused.stderr.contains(expected), "{text}: {refused:#?}");
        assert!(refused.stderr.contains("medalist.toml`, line "), "{refused:#?}");
        assert_eq!(context.run(&["config"]).code, 3, "{text}");
        context.ok(&["completions", "bash"]);
        context.ok(&["run", "--help"]);
        context.ok(&["run", "--agent", "sample", "-c", "demo-digits", "--dry-run", "--no-config"]);
    }
    write(&context, "medalist.toml", "[profile.nightly]\nseeds = 2\n");
    let unknown = context.run(&["run", "--profile", "nigthly", "--agent", "sample", "--dry-run"]);
    assert_eq!(unknown.code, 3);
    assert!(
        unknown.stderr.contains("no profile `nigthly`; did you mean `nightly`?"),
        "{unknown:#?}"
    );
    let missing = context.run(&["status", "--config", "none.toml"]);
    assert_eq!(missing.code, 3, "{missing:#?}");
    assert!(
        missing.stderr.contains("cannot read the settings in `")
            && missing.stderr.contains("none.toml")
    );
}

#[test]
fn switches_of_files_can_be_unset() {
    let context = prepared(&["demo-digits"]);
    write(
        &context,
        "medalist.toml",
        "[run]\nagent = \"sample\"\ncompetition = [\"demo-digits\"]\nfail-fast = true\n",
    );
    // A plan says `fail_fast` where it is set.
    let is_set = |args: &[&str]| plan(&context, args)["fail_fast"] == true;
    assert!(is_set(&[]));
    assert!(!is_set(&["--fail-fast=false"]));
    let bare = ["--no-config", "--agent", "sample", "-c", "demo-digits"];
    assert!(!is_set(&bare));
    assert!(is_set(&[&bare[..], &["--fail-fast=true"]].concat()));
}

#[test]
fn config_says_where_each_value_comes_from_and_shows_no_secret() {
    let context = TestContext::new();
    write(&context, USER, "no-progress = true\n[report]\nformat = [\"csv\"]\n");
    write(
        &context,
        "medalist.toml",
        "[run]\nagent = \"sample\"\ntimeout = \"1h\"\n\n[profile.n]\ntimeout = \"2h\"\n\n\
         [llm.upstreams.openai]\nkey = { command = [\"pass\", \"sk-1secret\"] }\n\
         [llm.upstreams.mine]\nbase_url = \"https://me:1secret@example.org/v1\"\n",
    );
    let called = context.ok(&["config", "--json", "--profile", "n", "--quiet"]);
    let config: Value = serde_json::from_str(&called.stdout).unwrap();
    for (table, key, value, source) in [
        (None, "no-progress", "true", "file"),
        (None, "quiet", "1", "flag"),
        (None, "data-dir", &*format!("{:?}", context.join("data")), "variable"),
        (Some("run"), "timeout", "\"2h\"", "file"),
        (Some("run"), "seeds", "\"1\"", "default"),
        (Some("run"), "parallel", "null", "not-set"),
        (Some("report"), "format", "[\"csv\"]", "file"),
        (Some("compare"), "margin", "\"0\"", "default"),
    ] {
        let found = shown(&config, table, key);
        assert_eq!(
            (found["value"].to_string().as_str(), found["source"].as_str().unwrap()),
            (value, source),
            "{key}"
        );
    }
    let timeout = shown(&config, Some("run"), "timeout");
    assert_eq!(
        (&timeout["origin"], &timeout["line"], &timeout["profile"]),
        (&"project".into(), &6.into(), &"n".into())
    );
    assert_eq!(
        config["llm"]["values"]["upstreams.openai.key"],
        "{ command = [\"pass\", \"***\"] }"
    );
    let text = context.ok(&["config"]).stdout;
    write(&context, "leaky.toml", "[llm.upstreams.openai]\nkey = \"sk-1secret\"\n");
    for args in [["config", "--config", "leaky.toml"], ["llm", "check", "leaky.toml"]] {
        let refused = context.run(&args);
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert!(
            refused.stderr.contains("line 2") && !refused.stderr.contains("1secret"),
            "{refused:#?}"
        );
    }
    assert!(!text.contains("1secret") && !called.stdout.contains("1secret"), "{text}");
    // What it prints is a settings file that says the same again.
    let again = TestContext::new();
    let settings = text.split("\n[llm]").next().unwrap();
    write(&again, "medalist.toml", settings);
    let config: Value = serde_json::from_str(&again.ok(&["config", "--json"]).stdout).unwrap();
    let timeout = shown(&config, Some("run"), "timeout");
    assert_eq!((&timeout["value"], &timeout["source"]), (&"1h".into(), &"file".into()));
}

#[test]
fn a_resumed_group_goes_by_its_plan() {
    let context = prepared(&["demo-digits"]);
    let planned = context.ok(&[
        "run",
        "--agent",
        "sample",
        "-c",
        "demo-digits",
        "--executor",
        "process",
        "--plan-only",
    ]);
    write(
        &context,
        "medalist.toml",
        "[run]\nagent = \"none\"\nretries = 9\nexecutor = \"docker\"\n",
    );
    context.ok(&["run", "--resume", planned.stdout.trim()]);
    context.ok(&["run", "--resume", planned.stdout.trim(), "--no-config"]);
    let refused = context.run(&["run", "--resume", planned.stdout.trim(), "--profile", "x"]);
    assert_eq!(refused.code, 2, "{refused:#?}");
}

#[test]
fn the_example_is_a_benchmark() {
    let context = prepared(&[]);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/benchmark/medalist.toml");
    write(&context, "medalist.toml", &std::fs::read_to_string(example).unwrap());
    context.ok(&["config", "--profile", "nightly"]);
    assert_eq!(plan(&context, &[])["attempts"].as_array().unwrap().len(), 8);
    assert_eq!(plan(&context, &["--profile", "smoke"])["attempts"].as_array().unwrap().len(), 2);
    let nightly = plan(&context, &["--profile", "nightly"]);
    assert_eq!(
        nightly["limits"]["timeout_s"].as_f64().or(nightly["limits"]["time_s"].as_f64()),
        Some(3600.0),
        "{nightly:#}"
    );
    context.ok(&["run", "--profile", "smoke", "--executor", "process"]);
}

#[test]
fn llm_check_asks_the_providers_that_run_would() {
    let provider = Provider::start(Duration::ZERO);
    let context = TestContext::new();
    let upstream = |prefix: &str, model: &str| {
        format!(
            "[{prefix}upstreams.openai]\nbase_url = \"http://127.0.0.1:{}/v1\"\nmodels = [\"{model}\"]\n",
            provider.port
        )
    };
    let check = |folder: &str, profile: &str, more: &[&str]| {
        let args = [&["llm", "check"], more].concat();
        run_in(&context, folder, ("MEDALIST_PROFILE", profile), &args)
    };
    let expect = |called: &Called, model: &str, file: &str| {
        assert_eq!(called.code, 0, "{called:#?}");
        assert!(called.stdout.contains(model) && called.stderr.contains(file), "{called:#?}");
    };
    write(&context, "deep/er/x", "");
    let none = context.run(&["llm", "check"]);
    assert_eq!(none.code, 2, "{none:#?}");
    assert!(
        none.stderr.contains("no settings of language models") && none.stderr.contains("hint:")
    );

    write(&context, USER, &upstream("llm.", "of-user"));
    expect(&context.run(&["llm", "check"]), "of-user", "config.toml");
    let project =
        format!("{}[profile.other]\nllm = \"other.toml\"\n", upstream("llm.", "of-project"));
    write(&context, "medalist.toml", &project);
    write(&context, "other.toml", &upstream("", "of-profile"));
    write(&context, "third.toml", &upstream("", "of-file"));
    expect(&context.run(&["llm", "check"]), "of-project", "medalist.toml");
    expect(&context.run(&["llm", "check", "--profile", "other"]), "of-profile", "other.toml");
    expect(&check("deep/er", "other", &[]), "of-profile", "other.toml");
    expect(&check("deep/er", "other", &["../../third.toml"]), "of-file", "prices: ");
    let off = context.run(&["llm", "check", "--no-config"]);
    assert_eq!(off.code, 2, "{off:#?}");
    let unknown = context.run(&["llm", "check", "--profile", "othre"]);
    assert_eq!(unknown.code, 3, "{unknown:#?}");
    assert!(unknown.stderr.contains("did you mean `other`?"), "{unknown:#?}");
    write(&context, "medalist.toml", "[llm.upstreams.openai]\nbase_urll = \"x\"\n");
    let mistyped = context.run(&["llm", "check"]);
    assert_eq!(mistyped.code, 3, "{mistyped:#?}");
    assert!(mistyped.stderr.contains("medalist.toml") && mistyped.stderr.contains("`base_url`"));
}
