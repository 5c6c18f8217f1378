//! The page: one HTML file with everything in it, which asks the network for nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::attempt::{Measure, Medal};
use crate::compare::Comparison;
use crate::compare_text;
use crate::data::{
    AgentReport, AttemptReport, Breakdown, ReportData, Standing, part_key, part_order,
};
use crate::estimate::Estimate;
use crate::experiment::{self, ExperimentReport, PairReport};
use crate::llm::Cost;
use crate::palette;
use crate::plots::{self, Plot, PlotError};
use crate::record::{LlmRecord, LlmTokens, LlmTotals};
use crate::stats::Interval;
use crate::text;

const STYLE_CSS: &str = include_str!("templates/style.css");
const SCRIPT_JS: &str = include_str!("templates/script.js");

/// The page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HtmlError {
    /// A picture could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// The template failed.
    #[error("cannot fill the page's template")]
    Template(#[from] minijinja::Error),
}

/// What a page has beside the report.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageOptions<'a> {
    /// A link for every attempt, in order, or none at all.
    pub links: &'a [String],
    /// A link for every competition, in order, or none at all.
    pub competition_links: &'a [String],
    /// Address of server-sent events that announce changes, for a page that is served.
    pub live: Option<&'a str>,
}

/// The report as one self-contained page.
///
/// # Errors
/// [`HtmlError`], which with the embedded template is a bug.
pub fn page(data: &ReportData) -> Result<String, HtmlError> {
    page_with(data, &plots::all(data)?, PageOptions::default())
}

/// [`page`] with pictures that are drawn already.
///
/// # Errors
/// As [`page`].
pub fn page_with(
    data: &ReportData,
    plots: &[Plot],
    options: PageOptions<'_>,
) -> Result<String, HtmlError> {
    let outcomes: BTreeSet<&str> = data.attempts.iter().map(|a| a.outcome.as_str()).collect();
    let modalities: BTreeSet<&str> = data.attempts.iter().map(|a| a.modality.as_str()).collect();
    let order: Vec<usize> = data.by_complexity().collect();
    let folds = folds(data, &order);
    let breakdowns = [
        breakdown_table("complexity", data, |agent| &agent.by_complexity),
        breakdown_table("modality", data, |agent| &agent.by_modality),
        breakdown_table("category", data, |agent| &agent.by_category),
    ];
    // The page has a heat map of its own, whose cells are links.
    let plots: Vec<&Plot> = plots.iter().filter(|plot| plot.id != "heat-map").collect();
    let page = ENVIRONMENT.get_template("report.html")?.render(context! {
        data => Serde(data),
        plots => Serde(plots),
        links => Serde(options.links),
        competition_links => Serde(options.competition_links),
        live => options.live,
        outcomes => Serde(outcomes),
        modalities => Serde(modalities),
        breakdowns => Serde(breakdowns),
        heat => Serde(Heat::of(data, &order)),
        folds => Serde(folds),
        warnings => Serde(grouped(&data.warnings)),
        metered => data.agents.iter().any(|agent| agent.llm.is_some()),
        ranked => data.agents.len() > CARDS,
    })?;
    Ok(page)
}

/// A template filled with a view.
///
/// # Errors
/// As [`page`].
pub(crate) fn render(template: &str, view: &impl Serialize) -> Result<String, HtmlError> {
    Ok(ENVIRONMENT.get_template(template)?.render(Serde(view))?)
}

/// What an attempt's agent and its models said to each other, as one self-contained page.
/// `timeline` is serialised as `medalist transcript --format json` writes it.
///
/// # Errors
/// As [`page`].
pub fn transcript_page(timeline: &impl Serialize, headline: &str) -> Result<String, HtmlError> {
    let page = ENVIRONMENT.get_template("transcript.html")?.render(context! {
        t => Serde(timeline),
        headline => headline,
        version => env!("CARGO_PKG_VERSION"),
    })?;
    Ok(page)
}

/// Most agents that have a card each; more stand in a ranked table.
const CARDS: usize = 3;
/// Most agents that the heat map shows.
const HEAT_AGENTS: usize = 20;
/// Most attempts that are listed one below the other; more are folded by competition.
const UNFOLDED: usize = 60;

/// Attempts at a competition, which the page folds into one line.
#[derive(Serialize)]
pub(crate) struct Fold<'a> {
    competition: &'a str,
    pub(crate) attempts: Vec<usize>,
    medals: usize,
    lost: usize,
}

/// Attempts by competition if they are many, else all of them without a line for each competition.
pub(crate) fn folds<'a>(data: &'a ReportData, order: &[usize]) -> Vec<Fold<'a>> {
    if data.attempts.len() <= UNFOLDED {
        let attempts = (0..data.attempts.len()).collect();
        return vec![Fold { competition: "", attempts, medals: 0, lost: 0 }];
    }
    order
        .iter()
        .map(|c| {
            let competition = data.competitions[*c].facts.id.as_str();
            let mut fold = Fold { competition, attempts: Vec::new(), medals: 0, lost: 0 };
            for (i, attempt) in data.attempts.iter().enumerate() {
                if attempt.key.competition == competition {
                    fold.attempts.push(i);
                    fold.medals += usize::from(attempt.grade.medal.is_some());
                    fold.lost += usize::from(attempt.is_lost());
                }
            }
            fold
        })
        .collect()
}

/// The heat map: competitions by complexity, and in each row the attempts of every agent.
#[derive(Serialize)]
struct Heat<'a> {
    parts: Vec<HeatPart<'a>>,
    /// The agents that are shown, best first.
    agents: Vec<&'a str>,
    /// Whether cells are too narrow for letters.
    dense: bool,
}

#[derive(Serialize)]
struct HeatPart<'a> {
    name: &'a str,
    rows: Vec<HeatRow<'a>>,
}

#[derive(Serialize)]
struct HeatRow<'a> {
    competition: &'a str,
    /// Place in the report's list.
    number: usize,
    /// Indices of attempts, a list an agent.
    agents: Vec<Vec<HeatCell>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HeatCell {
    attempt: usize,
    class: &'static str,
    letter: &'static str,
    /// Agent, seed and what became of it, in words.
    label: String,
}

impl HeatCell {
    pub(crate) fn of(attempt: usize, report: &AttemptReport) -> Self {
        let standing = report.standing();
        let (class, letter, words) = match standing {
            Standing::Medal(Medal::Gold) => ("gold", "G", "gold"),
            Standing::Medal(Medal::Silver) => ("silver", "S", "silver"),
            Standing::Medal(Medal::Bronze) => ("bronze", "B", "bronze"),
            Standing::Infrastructure => ("infra", "X", "infrastructure failure"),
            Standing::Unfinished => ("unfinished", "?", "unfinished"),
            Standing::Valid => ("valid", "\u{2022}", "valid, no medal"),
            Standing::Invalid => ("invalid", "\u{2013}", "no valid submission"),
        };
        let words = if report.grade.is_claimed && letter == "\u{2022}" {
            "no medal claimed"
        } else {
            words
        };
        let label = format!("{}, seed {}: {words}", report.key.agent, report.key.seed);
        Self { attempt, class, letter, label }
    }
}

impl<'a> Heat<'a> {
    fn of(data: &'a ReportData, order: &[usize]) -> Self {
        let mut cells: HashMap<(&str, &str), Vec<HeatCell>> = HashMap::new();
        for (i, attempt) in data.attempts.iter().enumerate() {
            let key = (attempt.key.competition.as_str(), attempt.key.agent.as_str());
            cells.entry(key).or_default().push(HeatCell::of(i, attempt));
        }
        let shown: Vec<&str> =
            data.agents.iter().take(HEAT_AGENTS).map(|agent| agent.agent.as_str()).collect();
        // Most attempts of each agent at a competition.
        let mut columns = vec![0; shown.len()];
        let mut heat = Self { parts: Vec::new(), agents: shown, dense: false };
        for c in order {
            let facts = &data.competitions[*c].facts;
            let agents: Vec<Vec<HeatCell>> = heat
                .agents
                .iter()
                .map(|agent| cells.remove(&(facts.id.as_str(), *agent)).unwrap_or_default())
                .collect();
            for (most, cells) in columns.iter_mut().zip(&agents) {
                *most = cells.len().max(*most);
            }
            let same = |part: &HeatPart<'_>| part_key(part.name) == part_key(&facts.complexity);
            if !heat.parts.last().is_some_and(same) {
                heat.parts.push(HeatPart { name: &facts.complexity, rows: Vec::new() });
            }
            if let Some(part) = heat.parts.last_mut() {
                part.rows.push(HeatRow { competition: &facts.id, number: *c, agents });
            }
        }
        heat.dense = columns.iter().sum::<usize>() > 24;
        heat
    }
}

/// Warnings that say the same of several files, once.
#[derive(Serialize)]
struct GroupedWarning<'a> {
    message: &'a str,
    places: Vec<&'a str>,
}

fn grouped(warnings: &[String]) -> Vec<GroupedWarning<'_>> {
    let mut groups: Vec<GroupedWarning<'_>> = Vec::new();
    for warning in warnings {
        let (place, message) = warning
            .strip_prefix('`')
            .and_then(|rest| rest.split_once("`: "))
            .map_or((None, warning.as_str()), |(place, message)| (Some(place), message));
        match groups.iter_mut().find(|group| group.message == message) {
            Some(group) => group.places.extend(place),
            None => groups.push(GroupedWarning { message, places: place.into_iter().collect() }),
        }
    }
    groups
}

#[derive(Serialize)]
struct BreakdownTable<'a> {
    kind: &'static str,
    rows: Vec<BreakdownRow<'a>>,
}

#[derive(Serialize)]
struct BreakdownRow<'a> {
    agent: &'a str,
    part: &'a Breakdown,
}

/// Parts in their order, and within one part the agents, so that what compares stands together.
fn breakdown_table<'a>(
    kind: &'static str,
    data: &'a ReportData,
    of: fn(&AgentReport) -> &Vec<Breakdown>,
) -> BreakdownTable<'a> {
    let mut rows: Vec<BreakdownRow<'a>> = data
        .agents
        .iter()
        .flat_map(|agent| of(agent).iter().map(|part| BreakdownRow { agent: &agent.agent, part }))
        .collect();
    rows.sort_by_key(|row| (part_order(&row.part.name), row.part.name.clone()));
    BreakdownTable { kind, rows }
}

/// A comparison as one self-contained page.
///
/// # Errors
/// [`HtmlError`], which with the embedded template is a bug.
pub fn comparison_page(comparison: &Comparison) -> Result<String, HtmlError> {
    let plot = plots::difference(comparison)?;
    let page = ENVIRONMENT.get_template("comparison.html")?.render(context! {
        c => Serde(comparison),
        conditions => Serde(compare_text::conditions(comparison)),
        heading => comparison.verdict.heading(),
        power => compare_text::power(comparison),
        beyond => Serde(compare_text::beyond(comparison)),
        warnings => Serde(grouped(&comparison.warnings)),
        plot => Serde(plot),
        version => env!("CARGO_PKG_VERSION"),
    })?;
    Ok(page)
}

/// The report of an experiment as one self-contained page.
///
/// # Errors
/// [`HtmlError`], which with the embedded template is a bug.
pub fn experiment_page(report: &ExperimentReport) -> Result<String, HtmlError> {
    let plots = plots::experiment(report)?;
    let page = ENVIRONMENT.get_template("experiment.html")?.render(context! {
        r => Serde(report),
        progress => report.progress.words(),
        looks => report.pairs.iter().map(|pair| pair.verdict.looks.len()).max().unwrap_or(0),
        pairs => Serde(report.pairs.iter().map(PairView::of).collect::<Vec<_>>()),
        tables => Serde(report.tables.iter().map(TableView::of).collect::<Vec<_>>()),
        plots => Serde(plots),
        warnings => Serde(grouped(&report.warnings)),
    })?;
    Ok(page)
}

/// A pair of an experiment with its words.
#[derive(Serialize)]
struct PairView<'a> {
    r: &'a PairReport,
    setting: String,
    heading: String,
    look: String,
}

impl<'a> PairView<'a> {
    fn of(pair: &'a PairReport) -> Self {
        let setting = pair.pair.setting.to_string();
        Self { r: pair, setting, heading: pair.heading(), look: pair.look() }
    }
}

/// A setting of an experiment with its words.
#[derive(Serialize)]
struct TableView<'a> {
    r: &'a experiment::Table,
    heading: String,
    rows: Vec<RowView<'a>>,
}

#[derive(Serialize)]
struct RowView<'a> {
    r: &'a experiment::Row,
    cost: Option<Cost>,
    per_attempt: Option<Cost>,
    per_medal: String,
}

impl<'a> TableView<'a> {
    fn of(table: &'a experiment::Table) -> Self {
        let rows = table.rows.iter().map(|row| RowView {
            r: row,
            cost: row.llm.as_ref().and_then(|llm| llm.cost),
            per_attempt: row.per_attempt(),
            per_medal: row.per_medal(),
        });
        Self { r: table, heading: table.setting.to_string(), rows: rows.collect() }
    }
}

/// The templates are parsed once: a folder of pages fills them thousands of times.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_global("theme", palette::css());
    environment.add_global("style", STYLE_CSS);
    environment.add_global("script", SCRIPT_JS);
    // Nothing else runs on a page, but what this script loads.
    let digest = BASE64_STANDARD.encode(Sha256::digest(SCRIPT_JS));
    environment.add_global("script_hash", format!("sha256-{digest}"));
    environment.add_filter("pct", |value: Option<f64>| text::percent(value));
    environment.add_filter("score", |value: Option<f64>| text::score(value));
    environment.add_filter("sort_key", |value: Option<f64>| {
        value.map_or_else(String::new, |value| value.to_string())
    });
    environment
        .add_filter("percentile", |value: Option<f64>| text::percent(value.map(|p| p / 100.0)));
    environment.add_filter("duration", |value: Option<f64>| text::duration(value));
    environment.add_filter("bytes", text::bytes);
    environment.add_filter("words", |tag: String| tag.replace('_', " "));
    environment.add_filter("title_case", |text: String| text::capitalised(&text));
    environment.add_filter("date", |at: String| {
        at.get(..16).map_or(at.clone(), |at| format!("{} UTC", at.replace('T', " ")))
    });
    environment.add_filter("measure", |m: Serde<Measure>| m.label());
    environment.add_filter("counted", |e: Serde<Estimate>| text::counted(&e));
    environment.add_filter("interval", |value: Serde<Option<Interval>>| text::interval(*value));
    environment.add_filter("points", |value: Option<f64>| text::points(value));
    environment.add_filter("points_interval", |value: Serde<Option<Interval>>| {
        text::points_interval(*value)
    });
    environment.add_filter("two", |value: f64| text::number(value, 2));
    environment.add_filter("level", text::level);
    environment.add_filter("p", text::p_value);
    environment.add_filter("p_equals", text::p_equals);
    environment.add_filter("clock", text::clock);
    environment.add_filter("visible", |text: &str| text::visible(text));
    environment.add_filter("readable", |value: Serde<serde_json::Value>| text::readable(&value));
    environment.add_filter("line_count", |text: &str| text.lines().count());
    environment.add_filter("first_line", |text: &str| {
        text.lines().next().unwrap_or_default().chars().take(200).collect::<String>()
    });
    add_llm_filters(&mut environment);
    for (name, template) in [
        ("attempt.html", include_str!("templates/attempt.html")),
        ("competition.html", include_str!("templates/competition.html")),
        ("comparison.html", include_str!("templates/comparison.html")),
        ("experiment.html", include_str!("templates/experiment.html")),
        ("head.html", include_str!("templates/head.html")),
        ("llm.html", include_str!("templates/llm.html")),
        ("report.html", include_str!("templates/report.html")),
        ("transcript.html", include_str!("templates/transcript.html")),
    ] {
        environment
            .add_template(name, template)
            .expect("embedded templates parse, as every test of a page shows");
    }
    environment
}

/// Filters for calls to language models, their tokens and what they cost.
fn add_llm_filters(environment: &mut Environment<'_>) {
    type MaybeCost = Serde<Option<Cost>>;
    environment.add_filter("cost", |cost: MaybeCost| text::cost(*cost));
    environment.add_filter("usd", |cost: MaybeCost| cost.and_then(Cost::usd));
    environment.add_filter("cost_of", |totals: Serde<LlmTotals>| Serde(Some(totals.cost())));
    environment.add_filter("cost_of_attempt", |llm: Serde<Option<LlmRecord>>| {
        Serde(llm.as_ref().map(LlmRecord::cost))
    });
    environment.add_filter("reached_budget", |llm: Serde<LlmRecord>| llm.reached_budget());
    environment.add_filter("tokens", text::tokens);
    environment.add_filter("tokens_in", |tokens: Serde<LlmTokens>| tokens.sent());
    environment.add_filter("tokens_out", |tokens: Serde<LlmTokens>| tokens.received());
    environment.add_filter("cache_write", |tokens: Serde<LlmTokens>| tokens.cache_write());
    environment.add_filter("cache_share", |tokens: Serde<LlmTokens>| tokens.cache_share());
    environment.add_filter("dollars", text::dollars);
    environment.add_filter("ms", |ms: Option<f64>| text::duration(ms.map(|ms| ms / 1e3)));
}
