//! The page: one HTML file with everything in it, which asks the network for nothing.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};

use serde::Serialize;

use crate::attempt::Measure;
use crate::compare::Comparison;
use crate::compare_text;
use crate::data::{AgentReport, AttemptReport, Breakdown, ReportData, part_order};
use crate::estimate::Estimate;
use crate::plots::{self, Plot, PlotError};
use crate::stats::Interval;
use crate::text;

/// Colours of both themes as CSS variables; pictures use them too.
pub(crate) const THEME_CSS: &str = include_str!("templates/theme.css");
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
    let breakdowns = [
        breakdown_table("complexity", data, |agent| &agent.by_complexity),
        breakdown_table("modality", data, |agent| &agent.by_modality),
        breakdown_table("category", data, |agent| &agent.by_category),
    ];
    let page = ENVIRONMENT.get_template("report.html")?.render(context! {
        data => Serde(data),
        plots => Serde(plots),
        links => Serde(options.links),
        live => options.live,
        outcomes => Serde(outcomes),
        modalities => Serde(modalities),
        breakdowns => Serde(breakdowns),
        theme => THEME_CSS,
        style => STYLE_CSS,
        script => SCRIPT_JS,
    })?;
    Ok(page)
}

/// Everything known about one attempt, with a link back to the report. `log` is the end of its log;
/// `live` as in [`PageOptions`].
///
/// # Errors
/// As [`page`].
pub fn attempt_page(
    attempt: &AttemptReport,
    log: Option<&str>,
    back: &str,
    live: Option<&str>,
) -> Result<String, HtmlError> {
    let page = ENVIRONMENT.get_template("attempt.html")?.render(context! {
        a => Serde(attempt),
        log => log,
        back => back,
        live => live,
        version => env!("CARGO_PKG_VERSION"),
        theme => THEME_CSS,
        style => STYLE_CSS,
        script => SCRIPT_JS,
    })?;
    Ok(page)
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
        plot => Serde(plot),
        version => env!("CARGO_PKG_VERSION"),
        theme => THEME_CSS,
        style => STYLE_CSS,
        script => SCRIPT_JS,
    })?;
    Ok(page)
}

/// The templates are parsed once: a folder of pages fills them thousands of times.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
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
    environment.add_filter("p", text::p_value);
    for (name, template) in [
        ("attempt.html", include_str!("templates/attempt.html")),
        ("comparison.html", include_str!("templates/comparison.html")),
        ("report.html", include_str!("templates/report.html")),
    ] {
        environment
            .add_template(name, template)
            .expect("embedded templates parse, as every test of a page shows");
    }
    environment
}
