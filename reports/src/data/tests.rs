use chrono::TimeZone as _;

use super::*;
use crate::plots;
use crate::read::Warning;
use crate::simulate::Simulation;

fn simulation(agent: &str, competitions: usize, seeds: u32) -> Simulation {
    Simulation {
        agent: agent.into(),
        competitions,
        seeds,
        shift: 0.0,
        infrastructure: 0.2,
        truth: 5,
        draw: 3,
    }
}

fn report(groups: Vec<Group>) -> ReportData {
    let options = ReportOptions {
        title: "Test".into(),
        generated_at: Utc.with_ymd_and_hms(2026, 11, 24, 12, 0, 0).single().expect("a date"),
        seed_rule: SeedRule::default(),
        cutoffs: Default::default(),
    };
    ReportData::compute(&Reading { groups, warnings: Vec::new() }, &(), &options)
}

fn medal(data: &ReportData) -> &Estimate {
    data.agents[0].overall.get(Measure::AnyMedal)
}

#[test]
fn every_planned_attempt_is_in_every_denominator() {
    let mut group = simulation("a", 8, 3).group();
    group.attempts[0].ending = Ending::Unfinished;
    let data = report(vec![group]);
    let counts = &data.agents[0].counts;
    assert!(counts.infrastructure > 0, "the simulation loses attempts");
    assert_eq!((counts.planned, counts.unfinished, counts.ended), (24, 1, 23));
    for estimate in &data.agents[0].overall.estimates {
        assert_eq!(estimate.attempts + estimate.unknown, 24, "{:?}", estimate.measure);
    }
    let parts = |parts: &[Breakdown]| parts.iter().map(|part| part.attempts).sum::<usize>();
    let agent = &data.agents[0];
    assert_eq!(
        [&agent.by_modality, &agent.by_complexity, &agent.by_category].map(|p| parts(p)),
        [24, 24, 24]
    );
    assert_eq!(data.competitions.iter().map(|c| c.results[0].attempts).sum::<usize>(), 24);
}

#[test]
fn lost_attempts_stand_beside_the_rate_that_counts_them() {
    let data = report(vec![simulation("a", 8, 3).group()]);
    let (agent, kept) = (&data.agents[0], data.agents[0].without_lost.as_ref());
    let kept = kept.expect("the simulation loses attempts");
    assert_eq!(kept.attempts + agent.counts.infrastructure, agent.counts.planned);
    assert!(kept.value > medal(&data).value);
    let sound = Simulation { infrastructure: 0.0, ..simulation("a", 8, 3) };
    assert_eq!(report(vec![sound.group()]).agents[0].without_lost, None);
}

#[test]
fn spellings_of_a_part_are_one_part() {
    let mut group = simulation("a", 8, 1).group();
    for (i, attempt) in group.attempts.iter_mut().enumerate() {
        attempt.facts.category =
            ["Image To Image", "Image to Image", "image-to-image"][i % 3].to_owned();
    }
    let data = report(vec![group]);
    let names: Vec<(&str, usize)> =
        data.agents[0].by_category.iter().map(|p| (p.name.as_str(), p.competitions)).collect();
    assert_eq!(names, [("Image To Image", 8)]);
}

#[test]
fn two_agents_have_a_paired_difference_and_three_have_none() {
    let group = |agent: &str, draw| Simulation { draw, ..simulation(agent, 8, 3) }.group();
    let groups = [group("a", 3), group("b", 4), group("c", 5)];
    let difference = report(groups[..2].to_vec()).difference.expect("two agents");
    assert_ne!(difference.first, difference.second);
    assert!(difference.power_at_five_points.is_some() && difference.seeds == 3);
    assert_eq!(report(groups.to_vec()).difference, None);
}

#[test]
fn missing_seeds_leave_the_others_and_are_told() {
    let mut group = simulation("a", 8, 3).group();
    group.attempts.remove(2);
    let data = report(vec![group]);
    let seeds = medal(&data).seeds.as_ref().expect("two complete seeds");
    assert_eq!((seeds.values.len(), medal(&data).attempts), (2, 23));
    let told = "competitions have 2 to 3 attempts; the mean over seeds uses 2";
    assert!(medal(&data).notes.iter().any(|note| note == told), "{:?}", medal(&data).notes);
    assert_eq!(
        data.agents[0].pass_at_k.iter().map(|p| (p.k, p.competitions)).collect::<Vec<_>>(),
        [(1, 8), (2, 8), (3, 7)]
    );
}

#[test]
fn groups_of_different_suites_are_named() {
    let (all, mut low) = (simulation("a", 8, 1).group(), simulation("a", 4, 1).group());
    low.record.as_mut().expect("ours").suite = Some("low".into());
    let warned = |data: &ReportData, words: &str| {
        data.warnings.iter().any(|warning| warning.contains(words))
    };
    let one_agent = report(vec![all.clone(), low.clone()]);
    assert!(
        warned(&one_agent, "`a`: its run groups are of different suites (all, low)"),
        "{:?}",
        one_agent.warnings
    );
    for attempt in &mut low.attempts {
        attempt.key.agent = "b".into();
    }
    low.agent = "b".into();
    let two_agents = report(vec![all.clone(), low]);
    assert!(warned(&two_agents, "run on different competitions"), "{:?}", two_agents.warnings);
    assert_eq!(report(vec![all]).warnings, [""; 0]);
}

#[test]
fn equal_seeds_are_explained_and_not_celebrated() {
    let mut group = simulation("a", 8, 3).group();
    for attempt in &mut group.attempts {
        attempt.grade = Grade {
            gold: true,
            medal: Some(Medal::Gold),
            valid: true,
            exists: true,
            ..Grade::default()
        };
    }
    let data = report(vec![group]);
    let seeds = medal(&data).seeds.as_ref().expect("three seeds");
    assert_eq!((seeds.sem, seeds.t), (0.0, None));
    assert!(
        medal(&data).notes.iter().any(|note| note.contains("no sign of certainty")),
        "{:?}",
        medal(&data).notes
    );
    let like_these = medal(&data).on_like_these.expect("Wilson's over the competitions");
    assert!(like_these.lower < 0.7 && like_these.upper == 1.0, "{like_these:?}");
    assert!(like_these.rough, "eight competitions are few");
}

#[test]
fn mixed_conditions_and_other_data_are_warned_of() {
    let mut group = simulation("a", 8, 3).group();
    let conditions = |attempt: &mut Attempt, edit: fn(&mut ConditionsRecord)| {
        edit(&mut attempt.record.as_mut().expect("ours").conditions);
    };
    conditions(&mut group.attempts[0], |c| c.network = "open".into());
    conditions(&mut group.attempts[1], |c| c.data_edition = Some("fixed".into()));
    conditions(&mut group.attempts[2], |c| c.brief_source = Some("catalogue+obfuscated".into()));
    let warnings = report(vec![group]).warnings;
    for words in [
        "attempts differ in brief (obfuscated, plain)",
        "1 of 24 attempts were given an obfuscated brief",
        "attempts differ in network (open, sealed)",
        "attempts differ in edition of the data (fixed, v1)",
        "1 of 24 attempts ran on data",
    ] {
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{words}: {warnings:?}");
    }
}

#[test]
fn warnings_of_reading_are_repeated() {
    let path = PathBuf::from("x/grade.json");
    let warnings = vec![Warning { path, message: "is damaged; left out".into() }];
    let reading = Reading { groups: vec![simulation("a", 4, 1).group()], warnings };
    let options = ReportOptions {
        title: String::new(),
        generated_at: DateTime::UNIX_EPOCH,
        seed_rule: SeedRule::default(),
        cutoffs: Default::default(),
    };
    assert_eq!(
        ReportData::compute(&reading, &(), &options).warnings,
        ["`x/grade.json`: is damaged; left out"]
    );
}

#[test]
fn pictures_are_drawn_of_what_is_known() {
    let ids = |data: &ReportData| {
        plots::all(data).expect("pictures").into_iter().map(|p| p.id).collect::<Vec<_>>()
    };
    let mut groups = vec![simulation("a", 8, 3).group(), simulation("b", 8, 3).group()];
    let all = [
        "medal-rates",
        "outcomes",
        "heat-map",
        "percentiles",
        "phases",
        "time",
        "score-over-time",
        "cost",
    ];
    assert_eq!(ids(&report(groups.clone())), all);
    for attempt in groups.iter_mut().flat_map(|group| &mut group.attempts) {
        attempt.record = None;
        attempt.grade.percentile = None;
    }
    assert_eq!(ids(&report(groups)), ["medal-rates", "outcomes", "heat-map"]);
    let plots = plots::all(&report(vec![simulation("<a>", 8, 3).group()])).expect("pictures");
    let file = plots[0].to_file().expect("SVG");
    assert!(
        file.contains("Medal rate by complexity and modality")
            && file.contains("prefers-color-scheme:dark")
    );
    assert!(file.contains("95% intervals") && !file.contains("<a>"), "caption and escaped names");
    for theme in [plots::Theme::Light, plots::Theme::Dark] {
        assert!(plots[0].to_png(theme).expect("PNG").starts_with(b"\x89PNG"));
    }
}

/// The calls of the first `count` attempts are forgotten.
fn unrecorded(mut group: Group, count: usize) -> Group {
    for attempt in group.attempts.iter_mut().take(count) {
        attempt.record.as_mut().expect("simulated with records").llm = None;
    }
    group
}

#[test]
fn costs_are_summed_by_agent_and_model_with_their_denominators() {
    let data = report(vec![simulation("a", 8, 3).group()]);
    let agent = &data.agents[0];
    let llm = agent.llm.as_ref().expect("simulated with calls");
    assert_eq!((llm.recorded, llm.attempts, llm.medals), (24, 24, agent.counts.medals()));
    let sum: f64 = data.attempts.iter().filter_map(|a| a.llm.as_ref()?.totals.cost().exact()).sum();
    let Some(Cost::Known(cost)) = llm.cost else { panic!("{:?}", llm.cost) };
    assert!((cost - sum).abs() < 1e-6 && agent.cost_usd == Some(cost));
    assert_eq!(llm.per_attempt, Some(Cost::Known(cost / 24.0)));
    assert_eq!(llm.per_medal, Some(Cost::Known(cost / llm.medals as f64)));
    let by_model: u64 = llm.models.values().map(|totals| totals.picodollars).sum();
    assert_eq!((llm.models.len(), by_model), (2, llm.totals.picodollars));
    assert!(llm.totals.tokens.cache_share().is_some_and(|share| (share - 0.7).abs() < 0.01));
    assert!(llm.ttft_p50_ms.is_some_and(|ms| ms > 400.0) && llm.errors == 48);
}

#[test]
fn missing_records_and_prices_make_lower_bounds_and_never_zeros() {
    let none = report(vec![unrecorded(simulation("a", 8, 3).group(), 24)]);
    assert_eq!((&none.agents[0].llm, none.agents[0].cost_usd), (&None, None));
    let some = report(vec![unrecorded(simulation("a", 8, 3).group(), 4)]);
    let llm = some.agents[0].llm.as_ref().expect("some are left");
    assert_eq!((llm.recorded, llm.attempts), (20, 24));
    assert!(
        matches!(llm.cost, Some(Cost::AtLeast(_)))
            && matches!(llm.per_attempt, Some(Cost::Known(_)))
    );
    let mut group = simulation("a", 8, 3).group();
    for attempt in &mut group.attempts {
        let llm = attempt.record.as_mut().expect("records").llm.as_mut().expect("calls");
        llm.totals.unpriced_calls = llm.totals.calls;
        llm.totals.picodollars = 0;
        llm.outcomes.insert("refused_budget".to_owned(), 1);
    }
    let unpriced = report(vec![group]);
    let llm = unpriced.agents[0].llm.as_ref().expect("calls");
    assert_eq!((llm.cost, unpriced.agents[0].cost_usd), (Some(Cost::Unpriced), None));
    assert_eq!(llm.budget_reached, 24);
    let page = crate::html::page(&unpriced).expect("a page");
    assert!(page.contains("unpriced") && page.contains("budget reached by 24 of 24"));
    assert!(!page.contains("$0.00"), "an unknown price is no price of zero");
}

#[test]
fn pages_and_tables_speak_of_models_only_where_calls_are_recorded() {
    let look = crate::table::Look::default();
    let data = report(vec![simulation("a", 8, 3).group(), simulation("b", 8, 3).group()]);
    let silent = report(vec![
        unrecorded(simulation("a", 8, 3).group(), 24),
        unrecorded(simulation("b", 8, 3).group(), 24),
    ]);
    for (data, is_told) in [(&data, true), (&silent, false)] {
        let page = crate::html::page(data).expect("a page");
        assert_eq!(page.contains("id=\"llm\""), is_told);
        assert_eq!(page.contains("simulated-large"), is_told);
        let terminal = crate::terminal::render(data, 5, look);
        assert_eq!(terminal.contains("simulated-large"), is_told, "{terminal}");
        assert!(terminal.lines().all(|line| line.chars().count() <= 80), "{terminal}");
        let markdown = crate::export::markdown(data);
        assert_eq!(markdown.contains("| a | simulated-large | $"), is_told, "{markdown}");
        assert_eq!(plots::all(data).expect("drawn").iter().any(|p| p.id == "cost"), is_told);
    }
    let csv = crate::export::attempts_csv(&silent);
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let heads = rows.headers().expect("heads").clone();
    let row = rows.records().next().expect("a row").expect("sound");
    for column in ["cost_usd", "llm_calls", "llm_input_tokens", "llm_budget_reached"] {
        let place = heads.iter().position(|head| head == column).expect(column);
        assert_eq!(&row[place], "", "{column}: what is not recorded is empty");
    }
}

#[test]
fn an_agent_whose_cost_is_a_lower_bound_is_marked_and_not_on_the_front() {
    let mut partly = simulation("b", 8, 3).group();
    for attempt in &mut partly.attempts {
        attempt
            .record
            .as_mut()
            .expect("records")
            .llm
            .as_mut()
            .expect("calls")
            .totals
            .unpriced_calls = 1;
    }
    let data = report(vec![simulation("a", 8, 3).group(), partly]);
    let plots = plots::all(&data).expect("drawn");
    let plot = plots.iter().find(|plot| plot.id == "cost").expect("two agents with costs");
    assert!(
        plot.wide.contains("\u{2265} b") && plot.caption.contains("lower bound"),
        "{}",
        plot.caption
    );
}
