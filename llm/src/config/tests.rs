use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("dir/llm.toml")).map_err(|e| e.to_string())
}

#[test]
fn well_known_names_need_nothing_but_a_key() {
    let config = parse("[upstreams.anthropic]\nkey = { file = \"key\" }\n[upstreams.deepseek]")
        .expect("good");
    let anthropic = &config.upstreams["anthropic"];
    assert_eq!(anthropic.dialect(), Dialect::Anthropic);
    assert_eq!(anthropic.base_url(), "https://api.anthropic.com");
    assert!(matches!(&anthropic.key, Some(KeySource::File(p)) if p == Path::new("dir/key")));
    assert_eq!(config.upstreams["deepseek"].hosts.as_ref().map(Vec::len), Some(3));
}

#[test]
fn mistakes_are_named_with_their_line_and_the_nearest_key() {
    for (text, expected) in [
        ("[upstreams.openai]\n\nmodles = []", "line 3: unknown field `modles`"),
        ("[upstreams.openai]\n\nmodles = []", "did you mean `models`?"),
        ("[upstreams.x]\nbase_url = \"http://h\"\n[timeouts]\nidle = 3", "line 4"),
        ("[upstreams.openai]\n[policy]\nhosted_tools = \"stripe\"", "did you mean `strip`?"),
        ("[upstreams.openai]\n[budget.attempt]\ndollars = \"five\"", "`five` is no amount"),
        (
            "[upstreams.openai]\n[prices.x]\ninput = \"1.2.3\"\noutput = \"1\"",
            "`1.2.3` is no price",
        ),
        ("", "no provider is named"),
        ("[upstreams.x]", "`upstreams.x` lacks `base_url`"),
        ("[upstreams.X]\nbase_url = \"http://h\"", "`X` cannot name an upstream"),
        ("[upstreams.x]\nbase_url = \"h\"", "expected `https://…`"),
        ("[upstreams.openai]\n[timeouts]\nidle_s = 0", "`timeouts.idle_s` is 0"),
        (
            "[upstreams.openai]\nhosts = [\"a.b\"]\n[upstreams.deepseek]\nhosts = [\"a.b\"]",
            "belongs to",
        ),
        (
            "[upstreams.openai]\nmodels = [\"new\"]\n[budget.group]\ndollars = \"1\"",
            "whose price is unknown",
        ),
    ] {
        let message = parse(text).expect_err(text);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_table_of_another_programs_settings_is_read_alone() {
    let text = "[run]\nagent = \"x\"\n\n[llm.upstreams.openai]\nkey = { file = \"key\" }\n";
    let config = parse(text).expect("good");
    let Some(KeySource::File(file)) = &config.upstreams["openai"].key else { panic!("no file") };
    assert_eq!(file, Path::new("dir/key"));
    let wrong = format!("{text}modles = [\"m\"]\n");
    let message = parse(&wrong).expect_err("a key is wrong");
    for part in ["line 6", "`modles`", "did you mean `models`?"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_key_that_stands_in_the_settings_is_in_no_message() {
    for key in [
        "\"sk-1secret\"",
        "{ command = \"sk-1secret\" }",
        "{ key = \"sk-1secret\" }",
        "[\"sk-1secret\"]",
    ] {
        let message = parse(&format!("[upstreams.openai]\n\nkey = {key}")).expect_err(key);
        assert!(
            message.contains("line 3") && message.contains("expected where it is"),
            "{message}"
        );
        assert!(!message.contains("1secret"), "{message}");
    }
}

#[test]
fn keys_come_from_variables_files_and_commands() {
    let key = |source: &str| {
        let text = format!("[upstreams.openai]\nkey = {source}");
        let config = parse(&text).expect("good");
        config.upstreams["openai"].read_key("openai").map_err(|e| e.to_string())
    };
    assert_eq!(key("{ command = [\"echo\", \" k1 \"] }"), Ok(Some("k1".to_owned())));
    for (source, expected) in [
        ("{ command = [\"false\"] }", "ended with"),
        ("{ command = [\"true\"] }", "is empty"),
        ("{ command = [] }", "`command` is empty"),
        ("{ env = \"NO_SUCH_VARIABLE_HERE\" }", "is not set"),
        ("{ file = \"/no/such/file\" }", "cannot read `/no/such/file`"),
    ] {
        assert!(key(source).expect_err(source).contains(expected), "{source}");
    }
}
