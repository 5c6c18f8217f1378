use super::*;

fn key(name: &str, kind: Kind, base: Base, choice: Option<&str>) -> Key {
    Key { name: name.to_owned(), kind, base, choice: choice.map(str::to_owned) }
}

fn schema() -> Schema {
    let run = vec![
        key("agent", Kind::One, Base::NameOrPath, None),
        key("timeout", Kind::One, Base::Text, None),
        key("seeds", Kind::One, Base::Text, None),
        key("mount", Kind::List, Base::Mount, None),
        key("fail-fast", Kind::Switch, Base::Text, None),
        key("competition", Kind::List, Base::Text, Some("selection")),
        key("suite", Kind::One, Base::Text, Some("selection")),
        key("llm", Kind::One, Base::Path, None),
    ];
    Schema {
        top: vec![
            key("data-dir", Kind::One, Base::Path, None),
            key("verbose", Kind::Count, Base::Text, None),
        ],
        tables: BTreeMap::from([
            ("run".to_owned(), run),
            ("report".to_owned(), vec![key("title", Kind::One, Base::Text, None)]),
        ]),
        without_key: BTreeMap::from([("resume".to_owned(), "it is for one call".to_owned())]),
    }
}

fn file(origin: Origin, path: &str, text: &str) -> File {
    File::parse(text, Path::new(path), origin, &schema()).unwrap_or_else(|e| panic!("{e:?}"))
}

fn refused(text: &str) -> String {
    let parsed = File::parse(text, Path::new("/p/medalist.toml"), Origin::Project, &schema());
    parsed.expect_err(text).render()
}

fn held(settings: &Settings, profile: Option<&str>) -> BTreeMap<String, Vec<String>> {
    let in_force = settings.of("run", profile, &schema());
    in_force.iter().map(|h| (h.setting.key.clone(), h.setting.values.clone())).collect()
}

#[test]
fn values_are_those_that_would_be_typed() {
    let file = file(
        Origin::Project,
        "/p/medalist.toml",
        "data-dir = \"data\"\nverbose = 2\n[run]\nagent = \"agents/mine\"\nseeds = 1_000\ntimeout = \"24h\"\n\
         mount = [\"weights\", \"/a:/b\", \"c:/d\"]\nfail-fast = true\n",
    );
    let found: Vec<(&str, Vec<&str>, usize)> = file
        .settings
        .iter()
        .map(|s| (s.key.as_str(), s.values.iter().map(String::as_str).collect(), s.line))
        .collect();
    let mut found = found;
    found.sort_by_key(|found| found.2);
    assert_eq!(
        found,
        [
            ("data-dir", vec!["/p/data"], 1),
            ("verbose", vec!["2"], 2),
            ("agent", vec!["/p/agents/mine"], 4),
            ("seeds", vec!["1000"], 5),
            ("timeout", vec!["24h"], 6),
            ("mount", vec!["/p/weights", "/a:/b", "/p/c:/d"], 7),
            ("fail-fast", vec!["true"], 8),
        ]
    );
}

#[test]
fn a_name_is_no_path_and_a_dash_is_standard_output() {
    let file = file(Origin::User, "/u/config.toml", "data-dir = \"-\"\n[run]\nagent = \"sample\"");
    assert_eq!(file.settings.iter().find(|s| s.key == "agent").unwrap().values, ["sample"]);
    assert_eq!(file.settings.iter().find(|s| s.key == "data-dir").unwrap().values, ["-"]);
}

#[test]
fn errors_name_file_line_and_nearest_key() {
    for (text, expected) in [
        (
            "[run]\n\ntimeuot = \"1h\"",
            "`/p/medalist.toml`, line 3: unknown key `timeuot` in `[run]`; did you mean `timeout`?",
        ),
        ("[run]\ndata_dir = \"x\"", "line 2: unknown key `data_dir` in `[run]`"),
        (
            "data_dir = \"x\"",
            "line 1: unknown key `data_dir` outside of tables; did you mean `data-dir`?",
        ),
        ("[run]\ndata-dir = \"x\"", "hint: `data-dir` goes to the top, before the first table"),
        ("timeout = \"x\"", "hint: `timeout` goes to `[run]`"),
        ("[rnu]\nseeds = 1", "line 1: unknown table `rnu` outside of tables; did you mean `run`?"),
        (
            "[profile.n]\nsuit = \"x\"",
            "line 2: unknown key `suit` in `[profile.n]`; did you mean `suite`?",
        ),
        (
            "[profile]\nnightly = 1",
            "line 2: profile `nightly` is an integer, expected `[profile.nightly]`",
        ),
        ("[run]\nresume = \"x\"", "line 2: `resume` is no setting: it is for one call"),
        (
            "[run]\nfail-fast = \"yes\"",
            "line 2: `fail-fast` is a string, expected `true` or `false`",
        ),
        ("[run]\nseeds = true", "line 2: `seeds` is a boolean, expected a string or a number"),
        ("[run]\nseeds = [1]", "line 2: `seeds` is an array, expected a string or a number"),
        ("verbose = \"much\"", "line 1: `verbose` is a string, expected a number"),
        ("[run]\nmount = [1, {}]", "line 2: `mount` is a table, expected a list of strings"),
        ("[run\nseeds = 1", "`/p/medalist.toml`, line 1: "),
        ("[run]\nseeds = 1\nseeds = 2", "line 3: duplicate key"),
    ] {
        let shown = refused(text);
        assert!(shown.contains(expected), "{text}: {shown}");
    }
}

#[test]
fn projects_win_over_users_and_profiles_over_both() {
    let user = "[run]\ntimeout = \"1h\"\nseeds = 1\n[profile.n]\ntimeout = \"3h\"";
    let project =
        "[run]\ntimeout = \"2h\"\n[profile.n]\nagent = \"sample\"\n[report]\ntitle = \"x\"";
    let settings = Settings {
        files: vec![
            file(Origin::User, "/u/config.toml", user),
            file(Origin::Project, "/p/medalist.toml", project),
        ],
    };
    let plain = held(&settings, None);
    assert_eq!((&plain["timeout"][0], &plain["seeds"][0]), (&"2h".to_owned(), &"1".to_owned()));
    assert!(!plain.contains_key("agent") && !plain.contains_key("title"), "{plain:?}");
    let nightly = held(&settings, Some("n"));
    assert_eq!(
        (&nightly["timeout"][0], &nightly["agent"][0]),
        (&"3h".to_owned(), &"sample".to_owned())
    );
    settings.check_profile("n").unwrap();
    let shown = settings.check_profile("m").unwrap_err().render();
    assert!(
        shown.contains("there is no profile `m`") && shown.contains("there are `n`"),
        "{shown}"
    );
}

#[test]
fn a_stronger_choice_puts_the_weaker_one_aside() {
    let user = "[run]\nsuite = \"low\"";
    let project = "[run]\ncompetition = [\"a\", \"b\"]\n[profile.n]\nsuite = \"high\"";
    let settings = Settings {
        files: vec![
            file(Origin::User, "/u/config.toml", user),
            file(Origin::Project, "/p/medalist.toml", project),
        ],
    };
    let plain = held(&settings, None);
    assert_eq!(plain.get("competition").map(Vec::len), Some(2));
    assert!(!plain.contains_key("suite"), "{plain:?}");
    let nightly = held(&settings, Some("n"));
    assert!(nightly.contains_key("suite") && !nightly.contains_key("competition"), "{nightly:?}");
}

#[test]
fn a_table_of_models_is_the_file_that_run_reads() {
    let with_table =
        file(Origin::Project, "/p/medalist.toml", "\n[llm.upstreams.openai]\nprice = \"free\"");
    let llm = with_table.settings.iter().find(|s| s.key == "llm").unwrap();
    assert_eq!((llm.values[0].as_str(), llm.line), ("/p/medalist.toml", 2));
    let named = "[run]\nllm = \"other.toml\"\n[llm.upstreams.openai]\nprice = \"free\"";
    let named = file(Origin::Project, "/p/medalist.toml", named);
    let all: Vec<&str> =
        named.settings.iter().filter(|s| s.key == "llm").map(|s| s.values[0].as_str()).collect();
    assert_eq!(all, ["/p/other.toml"]);
}

#[test]
fn the_nearest_project_file_is_found_and_a_named_one_must_exist() {
    let temp = tempfile::tempdir().unwrap();
    let inner = temp.path().join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(temp.path().join(PROJECT_FILE), "[run]\nseeds = 1").unwrap();
    let read = |places: Places| Settings::read(&places, &schema());
    let above = || Places { user: None, project: Project::Above(inner.clone()) };
    assert_eq!(read(above()).unwrap().files[0].path, temp.path().join(PROJECT_FILE));
    std::fs::write(temp.path().join("a").join(PROJECT_FILE), "[run]\nseeds = 2").unwrap();
    assert_eq!(read(above()).unwrap().files[0].path, temp.path().join("a").join(PROJECT_FILE));
    let missing = Places { user: None, project: Project::Named(temp.path().join("none.toml")) };
    assert!(read(missing).unwrap_err().render().contains("cannot read the settings in"));
    // A folder of that name is no settings file, and says so.
    std::fs::create_dir(inner.join(PROJECT_FILE)).unwrap();
    assert!(read(above()).is_err());
}
