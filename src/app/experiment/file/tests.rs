//! Experiments as they are written.

use super::*;

fn parse(text: &str) -> Result<Experiment, CliError> {
    Experiment::parse(text.to_owned(), PathBuf::from("/lab/flat-vs-deep.toml"))
}

fn refused(text: &str) -> String {
    let error = parse(text).expect_err(text);
    assert_eq!(error.exit(), Exit::BadInput, "{text}");
    error.render()
}

const TWO: &str = "suites = [\"demo\"]\nagents = [\"flat\", \"agents/deep\"]\n";

#[test]
fn a_file_is_crossed_in_its_order() {
    let experiment = parse(&format!(
        "{TWO}compare = \"agent\"\nmodels = [\"large\", {{ name = \"mixed\", model = \"large\", roles = {{ coder = \"small\" }} }}]\n\
         budgets = [{{ name = \"low\", dollars = \"1.00\" }}]\nseeds = 5\nstage_seeds = 2\nmax_dollars = 12.5\nprior = \"runs/old\"\n[run]\ntimeout = \"1h\"\n"
    ))
    .unwrap();
    assert_eq!(experiment.name, "flat-vs-deep");
    let cells: Vec<String> = experiment.cells.iter().map(ToString::to_string).collect();
    assert_eq!(
        cells,
        [
            "flat, large, low, demo",
            "deep, large, low, demo",
            "flat, mixed, low, demo",
            "deep, mixed, low, demo"
        ]
    );
    assert_eq!(experiment.agents[1].agent, "/lab/agents/deep");
    assert_eq!(experiment.stages, [2, 4, 5]);
    assert_eq!(experiment.model(&experiment.cells[2]).unwrap().roles["coder"], "small");
    assert_eq!(experiment.max_dollars, Picodollars::parse("12.5"));
    assert_eq!(experiment.prior, [PathBuf::from("/lab/runs/old")]);
    assert_eq!(experiment.rule, Rule::default());
}

#[test]
fn what_is_compared_is_the_only_one_that_varies_or_is_said() {
    assert_eq!(parse(TWO).unwrap().compare, Factor::Agent);
    let models = "suites = [\"demo\"]\nagents = [\"flat\"]\nmodels = [\"a\", \"b\"]\n";
    assert_eq!(parse(models).unwrap().compare, Factor::Model);
    let shown = refused(&format!("{TWO}models = [\"a\", \"b\"]"));
    assert!(shown.contains("several factors change (2 agents, 2 models)"), "{shown}");
    assert!(shown.contains("hint: say `compare"), "{shown}");
    let shown = refused("suites = [\"demo\"]\nagents = [\"flat\"]");
    assert!(shown.contains("nothing to compare"), "{shown}");
    let shown = refused(&format!("{TWO}compare = \"model\""));
    assert!(shown.contains("a single model") && shown.contains("`compare = \"agent\"`"), "{shown}");
}

#[test]
fn two_factors_that_change_at_once_are_refused_by_name() {
    let text = "suites = [\"demo\"]\ncompare = \"agent\"\nmodels = [\"x\", \"y\"]\n\
                [[agents]]\nagent = \"flat\"\nmodels = [\"x\"]\n[[agents]]\nagent = \"deep\"\nmodels = [\"y\"]\n";
    let shown = refused(text);
    for words in [
        "agent `flat` is run with model `x`, and agent `deep` with model `y`",
        "nothing tells which",
        "hint: run both agents with the same models",
        "flat-vs-deep.toml",
    ] {
        assert!(shown.contains(words), "no `{words}` in {shown}");
    }
    // The same when models are compared.
    let shown = refused(&text.replace("\"agent\"\nmodels", "\"model\"\nmodels"));
    assert!(shown.contains("model `x` is run with agent `flat`"), "{shown}");
    // Each of both with each, but not all of them.
    let holes = "suites = [\"demo\"]\ncompare = \"agent\"\nmodels = [\"x\", \"y\"]\nbudgets = [{ name = \"l\", calls = 1 }, { name = \"m\", calls = 2 }]\n\
                 [[agents]]\nagent = \"flat\"\n[[agents]]\nagent = \"deep\"\nbudgets = [\"l\"]\n";
    assert!(refused(holes).contains("with budget `l`, `m`"), "{}", refused(holes));
}

#[test]
fn budgets_that_are_compared_differ_in_one_thing() {
    let with = |budgets: &str| {
        format!("suites = [\"demo\"]\nagents = [\"flat\"]\nbudgets = [{budgets}]\n")
    };
    let one = with(
        "{ name = \"a\", dollars = \"1\", calls = 5 }, { name = \"b\", dollars = \"2\", calls = 5 }",
    );
    assert_eq!(parse(&one).unwrap().compare, Factor::Budget);
    let two = with(
        "{ name = \"a\", dollars = \"1\", timeout = \"1h\" }, { name = \"b\", dollars = \"2\", timeout = \"2h\" }",
    );
    assert!(refused(&two).contains("differ in dollars and timeout at once"), "{}", refused(&two));
    let none = with("{ name = \"a\", calls = 1 }, { name = \"b\", calls = 1 }");
    assert!(refused(&none).contains("are the same"));
}

#[test]
fn an_agents_settings_make_an_arm_and_never_its_model() {
    let ablation = "suites = [\"demo\"]\nagents = [\"deep\", { name = \"no-designer\", agent = \"deep\", kwargs = { designer = false } }]\nmodels = [\"x\"]\n";
    let experiment = parse(ablation).unwrap();
    assert_eq!(experiment.agents[1].kwargs["designer"].as_bool(), Some(false));
    let model = ablation.replace("designer = false", "\"agent.code.model\" = \"y\"");
    assert!(refused(&model).contains("the model would change with the agent"));
    let table = ablation.replace("designer = false", "designer = { on = true }");
    assert!(refused(&table).contains("`kwargs.designer` of agent `no-designer` is a table"));
    let twice = "suites = [\"demo\"]\nagents = [\"deep\", { agent = \"deep\" }]\n";
    assert!(refused(twice).contains("`agents` has `deep` twice"));
}

#[test]
fn slips_are_told_with_file_line_and_nearest_name() {
    for (text, words) in [
        (format!("{TWO}sedes = 3"), "`/lab/flat-vs-deep.toml`, line 3: unknown field `sedes`"),
        (format!("{TWO}sedes = 3"), "did you mean `seeds`?"),
        (format!("{TWO}compare = \"agents\""), "did you mean `agent`?"),
        (format!("{TWO}seeds = 0"), "`seeds` is 0, expected 1 to 1000"),
        (format!("{TWO}stage_seeds = 2"), "`stage_seeds` is 2, expected 1 to 1"),
        (format!("{TWO}alpha = 0"), "`alpha` is 0, expected an error rate above 0"),
        (format!("{TWO}stop = {{ rule = \"pocok\" }}"), "did you mean `pocock`?"),
        (format!("{TWO}stop = {{ futility = 2 }}"), "`stop.futility` is 2"),
        (format!("{TWO}name = \"../x\""), "`name` is `../x`, expected up to 80 letters"),
        (format!("{TWO}max_dollars = \"five\""), "`five` is no amount"),
        ("suites = []\nagents = [\"a\", \"b\"]".to_owned(), "`suites` is empty"),
        ("agents = [\"a\", \"b\"]".to_owned(), "missing field `suites`"),
        ("suites = [3]\nagents = [\"a\", \"b\"]".to_owned(), "expected a name, or a table"),
        (
            "suites = [\"demo\"]\nmodels = [\"large\"]\nagents = [\"a\", { agent = \"b\", models = [\"lage\"] }]".to_owned(),
            "`lage` of `models`, which the experiment does not have; did you mean `large`?",
        ),
        (
            "suites = [\"demo\"]\nagents = [\"a\", { agent = \"b\", kwarg = { x = 1 } }]".to_owned(),
            "did you mean `kwargs`?",
        ),
    ] {
        let shown = refused(&text);
        assert!(shown.contains(words), "no `{words}` in {shown}");
    }
}

#[test]
fn the_example_is_sound() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/experiments");
    let experiment = Experiment::read(&dir.join("flat-vs-hierarchical.toml")).unwrap();
    assert_eq!((experiment.compare, experiment.cells.len()), (Factor::Agent, 4));
    let llm = crate::attempt::llm::LlmPlan::read(&dir.join("engineer.toml")).unwrap();
    let budget = llm.config().unwrap().budget.attempt.dollars;
    assert_eq!(budget, Picodollars::parse("1.00"));
}
