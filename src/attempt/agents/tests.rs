//! Agents as their settings describe them.

use super::*;

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
        AgentSpec::from_folder(dir.path())
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
    let aide = AgentSpec::find("aide", &agents_dir).unwrap();
    assert!(aide.image.starts_with("aide:"), "{}", aide.image);
    assert_eq!(
        aide.command[2..],
        ["agent.steps=500", "agent.debug=True", "agent.model=gpt-4"].map(str::to_owned)
    );
    assert_eq!(aide.secrets(), [("KEY".to_owned(), "SOME_KEY".to_owned())]);
    assert_eq!(aide.env["LIMIT"], "86400");
    let dev = AgentSpec::find("aide/dev", &agents_dir).unwrap();
    assert!(
        dev.privileged && dev.command.contains(&"agent.steps=1".to_owned()),
        "{:?}",
        dev.command
    );
    assert!(
        AgentSpec::find("defaults/none", &agents_dir).unwrap_err().to_string().contains("aide/dev")
    );
    let missing = aide.resolve(|_| None).unwrap_err().to_string();
    assert!(missing.contains("`SOME_KEY`"), "{missing}");
    assert_eq!(aide.resolve(|_| Some("v".into())).unwrap().0["KEY"], "v");
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
    let command = |agent: &AgentSpec| agent.resolve(|_| Some("v".into())).unwrap().1;
    assert_eq!(command(&agents[0])[2..], ["llm.key=v", "llm.url=a=b"]);
    assert_eq!(command(&agents[1])[2..], ["--key", "v"]);
    assert_eq!(agents[0].secrets(), [("command".to_owned(), "KEY".to_owned())]);
}

#[test]
fn unknown_keys_in_agent_toml_are_named() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), "agent.toml", "id = \"x\"\nbuild = \"image\"\ncomand = []\n");
    let error = AgentSpec::from_folder(temp.path()).unwrap_err().to_string();
    assert!(error.contains("comand"), "{error}");
}

#[test]
fn a_built_image_is_named_after_what_it_is_built_from() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), "Dockerfile", "FROM scratch");
    let of = |settings: &str| {
        write(temp.path(), "agent.toml", settings);
        AgentSpec::from_folder(temp.path()).unwrap()
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
fn settings_of_an_arm_replace_those_of_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let read = |style: &str| {
        let text = format!(
            "id = \"x\"\nbuild = \"image\"\nkwargs_type = \"{style}\"\n[kwargs]\ndesigner = true\nsteps = 5\n"
        );
        write(dir.path(), "agent.toml", &text);
        AgentSpec::from_folder(dir.path()).unwrap()
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
