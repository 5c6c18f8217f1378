//! Agents as their settings describe them.

use std::time::Duration;

use super::*;
use crate::attempt::limits::Limits;

fn told(limits: &Limits) -> Told<'_> {
    let budget = medalist_llm::config::Limits::default();
    Told { home: "/home", limits, budget, competition: "demo-bikes", seed: 7 }
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join(name), text).unwrap();
}

#[test]
fn an_id_is_what_it_looks_like() {
    let dir = tempfile::tempdir().unwrap();
    let read = |id: &str| {
        let id = toml::Value::from(id);
        std::fs::write(dir.path().join("agent.toml"), format!("id = {id}\nbuild = \"image\"\n"))
            .unwrap();
        AgentSpec::from_folder(dir.path(), dir.path())
    };
    assert!(read("aide/dev").is_ok());
    for id in ["", "a\u{1b}[2Jgold", "a\nfinished", "a\u{202e}b", &"x".repeat(300)] {
        let error = read(id).unwrap_err().to_string();
        assert!(!error.contains(|c: char| c.is_control()) && error.len() < 1_000, "{error}");
    }
}

#[test]
fn mlebench_config_with_anchors_becomes_agents() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("agents").join("aide");
    write(
        &dir,
        "config.yaml",
        "vars:\n  step_limit: &steps 500\ndefaults: &defaults\n  start: aide/start.sh\n  dockerfile: aide/Dockerfile\n  kwargs_type: omegaconf\n  kwargs: &kwargs\n    agent.steps: *steps\n    agent.debug: true\n    agent.model: gpt-4\n  env_vars: &env\n    KEY: ${{ secrets.SOME_KEY }}\n    LIMIT: 86400\naide:\n  <<: *defaults\naide/dev:\n  <<: *defaults\n  kwargs:\n    <<: *kwargs\n    agent.steps: 1\n  privileged: true\n",
    );
    let agents_dir = temp.path().join("agents");
    let aide = AgentSpec::find("aide", &agents_dir, temp.path()).unwrap();
    assert!(aide.image.starts_with("aide:"), "{}", aide.image);
    assert_eq!(
        aide.command[2..],
        ["agent.steps=500", "agent.debug=True", "agent.model=gpt-4"].map(str::to_owned)
    );
    assert_eq!(aide.secrets(), [("KEY".to_owned(), "SOME_KEY".to_owned())]);
    assert_eq!(aide.env["LIMIT"], "86400");
    let dev = AgentSpec::find("aide/dev", &agents_dir, temp.path()).unwrap();
    assert!(
        dev.privileged && dev.command.contains(&"agent.steps=1".to_owned()),
        "{:?}",
        dev.command
    );
    assert!(
        AgentSpec::find("defaults/none", &agents_dir, temp.path())
            .unwrap_err()
            .to_string()
            .contains("aide/dev")
    );
    let missing = aide.resolve(&told(&Limits::default()), |_| None).unwrap_err().to_string();
    assert!(missing.contains("`SOME_KEY`"), "{missing}");
    assert_eq!(
        aide.resolve(&told(&Limits::default()), |_| Some("v".into())).unwrap().0["KEY"],
        "v"
    );
}

#[test]
fn a_secret_in_an_argument_leaves_its_key() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("aide");
    write(
        &dir,
        "config.yaml",
        "a:\n  start: aide/start.sh\n  dockerfile: aide/Dockerfile\n  kwargs_type: omegaconf\n  kwargs:\n    llm.key: ${{ secrets.KEY }} dropped\n    llm.url: a=b\nb:\n  start: aide/start.sh\n  dockerfile: aide/Dockerfile\n  kwargs_type: argparse\n  kwargs:\n    key: ${{secrets.KEY}}\n",
    );
    let agents = AgentSpec::from_mlebench(&dir.join("config.yaml")).unwrap();
    let command = |agent: &AgentSpec| {
        agent.resolve(&told(&Limits::default()), |_| Some("v".into())).unwrap().1
    };
    assert_eq!(command(&agents[0])[2..], ["llm.key=v", "llm.url=a=b"]);
    assert_eq!(command(&agents[1])[2..], ["--key", "v"]);
    assert_eq!(agents[0].secrets(), [("command".to_owned(), "KEY".to_owned())]);
}

#[test]
fn unknown_keys_in_agent_toml_are_named() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), "agent.toml", "id = \"x\"\nbuild = \"image\"\ncomand = []\n");
    let error =
        AgentSpec::from_folder(temp.path(), &temp.path().join("cache")).unwrap_err().to_string();
    assert!(error.contains("comand"), "{error}");
}

#[test]
fn a_built_image_is_named_after_what_it_is_built_from() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), "Dockerfile", "FROM scratch");
    let of = |settings: &str| {
        write(temp.path(), "agent.toml", settings);
        AgentSpec::from_folder(temp.path(), &temp.path().join("cache")).unwrap()
    };
    let named = of("id = \"AIDE\"\nbuild = \"dockerfile\"\n");
    assert!(named.image.starts_with("medalist/aide:"), "{}", named.image);
    let fixed = "id = \"x\"\nbuild = \"dockerfile\"\nimage = \"reg:5/a/b:v1\"\n";
    let before = of(fixed).image;
    assert!(before.starts_with("reg:5/a/b:v1-"), "{before}");
    write(temp.path(), "start.sh", "new");
    assert_ne!(of(fixed).image, before, "a name that an author chose stands for no content");
    let taken = of("id = \"x\"\nbuild = \"image\"\nimage = \"a/b:v1\"\n");
    assert_eq!(taken.image, "a/b:v1");
}

#[test]
fn two_dockerfiles_of_one_folder_make_two_images() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("aide");
    write(&dir, "Dockerfile", "FROM a");
    write(&dir.join("gpu"), "Dockerfile", "FROM b");
    write(
        &dir,
        "config.yaml",
        "one:\n  start: aide/start.sh\n  dockerfile: aide/Dockerfile\ntwo:\n  start: aide/start.sh\n  dockerfile: aide/gpu/Dockerfile\n",
    );
    let agents = AgentSpec::from_mlebench(&dir.join("config.yaml")).unwrap();
    assert_ne!(agents[0].image, agents[1].image);
    let Build::Dockerfile { dir, dockerfile } = &agents[1].build else { panic!() };
    assert!(dir.is_absolute());
    assert_eq!(dockerfile, Path::new("gpu/Dockerfile"));
}

#[test]
fn reference_agents_are_one_program_on_top_of_an_image() {
    let temp = tempfile::tempdir().unwrap();
    for id in ["flat", "hierarchical"] {
        let agent = AgentSpec::find(id, temp.path(), temp.path()).unwrap();
        let base = Some("medalist-env".to_owned());
        assert_eq!(agent.build, Build::Embedded { program: "reference".into(), base });
        assert_eq!(agent.command[..2], ["/agent", id]);
    }
    let own = |toml: &str| {
        write(temp.path(), "agent.toml", toml);
        AgentSpec::from_folder(temp.path(), temp.path())
    };
    let alone = own("id = \"own\"\nbuild = \"scratch\"\nprogram = \"reference\"\n").unwrap();
    assert_eq!(alone.build, Build::Embedded { program: "reference".into(), base: None });
    for (toml, words) in [
        ("id = \"own\"\nbuild = \"scratch\"\n", "no embedded program `own`"),
        ("id = \"own\"\nbuild = \"image\"\nbase = \"b\"\n", "`base` is for"),
    ] {
        let error = own(toml).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// A command-line tool as the next one is added.
const TOOL: &str = r#"
id = "tool"
kind = "cli"
packages = "requirements.txt"
install = """
ln -s /opt/agent/bin/tool /usr/local/bin/tool
tool --version
"""
command = ["tool", "--ask", "{prompt}", "--model", "{role.coder}"]
kwargs = { steps = "{steps}", seed = "{seed}" }
prompt = "Solve {competition} in {workdir} within {time_limit_min} min."
tty = true
[needs]
python = "3.11"
llm = ["openai"]
[roles]
coder = "writes code"
[budget]
save = "10%"
step = "3min"
[env]
BUDGET = "{dollars}"
JSON = '{"a": "{model}"}'
[output]
submission = ["out/*.csv"]
"#;

#[test]
fn a_command_line_tool_needs_but_its_settings() {
    let temp = tempfile::tempdir().unwrap();
    let own = temp.path().join("tool");
    write(&own, "agent.toml", TOOL);
    write(&own, "requirements.txt", "tool==1");
    write(&own, "it.sh", "echo");
    let cache = temp.path().join("cache");
    let read = || AgentSpec::from_folder(&own, &cache).unwrap();
    let mut agent = read();
    let Build::Dockerfile { dir, .. } = &agent.build else { panic!("{:?}", agent.build) };
    assert!(dir.starts_with(&cache), "{}", dir.display());
    let dockerfile = std::fs::read_to_string(dir.join("Dockerfile")).unwrap();
    for line in [
        "FROM medalist-env",
        r#"COPY ["requirements.txt","wheels","/opt/packages/"]"#,
        r#"COPY ["it.sh","launch.sh","/home/agent/"]"#,
    ] {
        assert!(dockerfile.lines().any(|found| found == line), "{line}:\n{dockerfile}");
    }
    let install = "&& ln -s /opt/agent/bin/tool /usr/local/bin/tool && tool --version && mkdir";
    assert!(dockerfile.contains(install), "{dockerfile}");
    // Whoever changed the folder in the cache is not believed.
    std::fs::write(dir.join("launch.sh"), "evil").unwrap();
    assert_eq!(read(), agent);
    assert!(std::fs::read_to_string(dir.join("launch.sh")).unwrap().contains("usage: launch.sh"));

    assert!(agent.takes_model());
    agent.details.model = Some("big".to_owned());
    let limits = Limits { timeout: Duration::from_secs(3600), ..Limits::default() };
    let mut told = told(&limits);
    let missing = agent.resolve(&told, |_| None).unwrap_err().to_string();
    assert!(missing.contains("`{dollars}`") && missing.contains("[budget.attempt]"), "{missing}");
    told.budget.dollars = medalist_llm::Picodollars::parse("5.00");
    let (env, command) = agent.resolve(&told, |_| None).unwrap();
    assert_eq!((&*env["BUDGET"], &*env["JSON"]), ("4.50", r#"{"a": "big"}"#));
    let expected = [
        "bash",
        "/home/agent/launch.sh",
        "--seconds",
        "3240",
        "--tty",
        "--submission",
        "out/*.csv",
        "--",
        "tool",
        "--ask",
        "Solve demo-bikes in /home/work within 54 min.",
        "--model",
        "big",
        "--seed",
        "7",
        "--steps",
        "18",
    ];
    assert_eq!(command, expected);
    agent.details.role_models.insert("coder".to_owned(), "small".to_owned());
    assert!(agent.resolve(&told, |_| None).unwrap().1.contains(&"small".to_owned()));
}

#[test]
fn an_agent_of_the_client_protocol_is_started_below_its_client() {
    let temp = tempfile::tempdir().unwrap();
    let own = temp.path().join("own");
    let toml = "id = \"own\"\nkind = \"acp\"\nvalidate_only = true\ncommand = [\"own\", \"--acp\"]\n[env]\nMODEL = \"{model}\"\n";
    write(&own, "agent.toml", toml);
    let mut agent = AgentSpec::from_folder(&own, &temp.path().join("cache")).unwrap();
    let Build::Dockerfile { dir, .. } = &agent.build else { panic!("{:?}", agent.build) };
    for name in ["acp.py", "launch.sh", "validate_only/mlebench.py"] {
        assert!(dir.join(name).is_file(), "{name}");
    }
    let dockerfile = std::fs::read_to_string(dir.join("Dockerfile")).unwrap();
    assert!(dockerfile.contains(r#"COPY ["validate_only","/home/agent/validate_only"]"#));
    assert!(agent.takes_model());
    agent.details.model = Some("big".to_owned());
    let limits = Limits { timeout: Duration::from_secs(100), ..Limits::default() };
    let (env, command) = agent.resolve(&told(&limits), |_| None).unwrap();
    assert_eq!(env["MODEL"], "big");
    let (start, rest) = command.split_at(8);
    let expected = ["bash", "/home/agent/launch.sh", "--seconds", "95", "--validate-only", "--"];
    assert_eq!(start[..6], expected);
    assert_eq!(start[6..], ["python3", "/home/agent/acp.py"]);
    assert!(rest[1].starts_with("You are an expert"), "{rest:?}");
    assert_eq!([&rest[0], &rest[2], &rest[3], &rest[4]], ["--prompt", "--", "own", "--acp"]);
}

#[test]
fn keys_that_do_not_go_together_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let error = |settings: &str| {
        write(temp.path(), "agent.toml", &format!("id = \"x\"\n{settings}"));
        let read = AgentSpec::from_folder(temp.path(), &temp.path().join("cache"));
        read.map(|_| ()).unwrap_err().to_string()
    };
    for (settings, expected) in [
        ("command = [\"a\"]", "missing field `build`, or one of `kind = \"cli\"`"),
        ("kind = \"cli\"", "need a `command`"),
        ("kind = \"acp\"", "need a `command`"),
        ("kind = \"acp\"\ncommand = [\"a\"]\ntty = true", "`tty` is for `kind = \"cli\"`"),
        ("build = \"image\"\nvalidate_only = true", "`validate_only` is for"),
        ("kind = \"cli\"\nbuild = \"image\"", "`build` is not for"),
        ("build = \"image\"\ninstall = \"x\"", "`install` is for `kind = \"cli\"`"),
        ("build = \"image\"\n[output]\nlogs = [\"x\"]", "`[output]` is for"),
        ("build = \"image\"\npackages = \"r\"", "needs `python` below `[needs]`"),
        ("build = \"image\"\n[needs]\npython = \"3\"", "`needs.python` is `3`"),
        ("build = \"image\"\n[needs]\nllm = [\"openia\"]", "openia"),
        ("build = \"image\"\ncommand = [\"{modle}\"]", "did you mean `model`?"),
        ("build = \"image\"\n[budget]\nsave = \"90%\"", "`90%` is no margin"),
        ("build = \"image\"\nprompt = \"{prompt}\"", "`prompt` cannot hold"),
    ] {
        let error = error(settings);
        assert!(error.contains(expected), "{settings}: {error}");
    }
}

#[test]
fn agents_that_the_harness_carries_are_sound() {
    let temp = tempfile::tempdir().unwrap();
    for name in names(Path::new("nowhere")) {
        let agent = AgentSpec::find(&name, Path::new("nowhere"), temp.path()).unwrap();
        assert_eq!(agent.id, name);
        assert!(!agent.description.is_empty(), "{name}");
        if let Build::Dockerfile { dir, dockerfile } = &agent.build {
            assert!(dir.join(dockerfile).is_file(), "{name}");
            assert!(agent.version.is_some() && agent.details.licence.is_some(), "{name}");
            let packages = agent.details.packages.iter();
            for line in
                packages.map(|packages| std::fs::read_to_string(dir.join(packages)).unwrap())
            {
                assert!(line.contains("--hash=sha256:"), "{name}");
            }
        }
    }
}

#[test]
fn settings_of_an_arm_replace_those_of_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let read = |style: &str| {
        let text = format!(
            "id = \"x\"\nbuild = \"image\"\nkwargs_type = \"{style}\"\n[kwargs]\ndesigner = true\nsteps = 5\n"
        );
        write(dir.path(), "agent.toml", &text);
        AgentSpec::from_folder(dir.path(), dir.path()).unwrap()
    };
    let kwargs: toml::Table = toml::from_str("designer = false\nseed = \"a b\"").unwrap();
    let argparse = read("argparse").with_kwargs(&kwargs).command;
    assert_eq!(argparse[2..], ["--designer", "false", "--steps", "5", "--seed", "a b"]);
    let omegaconf = read("omegaconf").with_kwargs(&kwargs).command;
    assert_eq!(omegaconf[2..], ["designer=false", "steps=5", "seed=a b"]);
    // One that ends with the name of a setting has no value to replace.
    let mut odd = read("argparse");
    odd.command = vec!["go".to_owned(), "--designer".to_owned()];
    assert_eq!(odd.with_kwargs(&kwargs).command[2..], ["--designer", "false", "--seed", "a b"]);
}
