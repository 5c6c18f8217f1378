//! `medalist metrics`: what a competition may be scored by.

use std::fmt::Write as _;

use medalist_competitions::{KaggleMetric, kaggle_metric, kaggle_metrics};
use medalist_grading::{METRICS, Metric};

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::names;

/// List the metrics, or explain one.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The metric to explain, by name or alias.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Say which metric is the one that Kaggle calls so; without a name, list all that are known.
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with = "name")]
    kaggle: Option<Option<String>>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// No metric has that name.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    if let Some(name) = &args.kaggle {
        return on_kaggle(name.as_deref(), args.json, context);
    }
    let Some(name) = &args.name else {
        let text = if args.json {
            format!("{}\n", serde_json::Value::from_iter(METRICS.iter().map(|m| json(m))))
        } else {
            list()
        };
        context.print(text)?;
        return Ok(Exit::Success);
    };
    let metric = names::metric(name)?;
    context.print(if args.json { format!("{}\n", json(metric)) } else { explain(metric) })?;
    Ok(Exit::Success)
}

/// What Kaggle's name of a metric means here.
fn on_kaggle(name: Option<&str>, json: bool, context: &Context) -> Result<Exit, CliError> {
    let Some(name) = name else {
        let text = if json {
            format!("{}\n", serde_json::to_string(kaggle_metrics())?)
        } else {
            let line = |metric: &KaggleMetric| {
                format!(
                    "{}  {}\n",
                    metric.metric.as_deref().unwrap_or("-"),
                    metric.names.join(" | ")
                )
            };
            kaggle_metrics().iter().map(line).collect()
        };
        context.print(text)?;
        return Ok(Exit::Success);
    };
    let known = kaggle_metric(name).map_err(|error| {
        CliError::new(Exit::BadInput, error).hint(
            "`medalist metrics` lists what there is; any other metric can be a program (docs/own-competition.md)",
        )
    })?;
    context.print(if json {
        format!("{}\n", serde_json::to_string(&known)?)
    } else {
        explain_kaggle(&known)
    })?;
    Ok(Exit::Success)
}

fn explain_kaggle(known: &KaggleMetric) -> String {
    let mut text = format!("{}\n\n", known.names.join(" | "));
    // Writing to a string cannot fail.
    match &known.metric {
        Some(metric) => {
            let better = if known.direction.is_lower_better() { "lower" } else { "higher" };
            let _ = writeln!(text, "  metric:    {metric}\n  direction: {better}");
        }
        None => text.push_str("  metric:    none in the catalogue\n"),
    }
    for (name, value) in &known.options {
        let _ = writeln!(text, "  option:    {name} = {value}");
    }
    for name in &known.asks {
        let _ = writeln!(text, "  not told:  {name}");
    }
    if !known.note.is_empty() {
        let _ = writeln!(text, "  note:      {}", known.note);
    }
    text
}

fn json(metric: &Metric) -> serde_json::Value {
    let options = metric.options.iter().map(|option| {
        serde_json::json!({
            "name": option.name, "type": option.kind.description(), "required": option.required, "doc": option.doc,
        })
    });
    serde_json::json!({
        "name": metric.name,
        "aliases": metric.aliases,
        "summary": metric.summary,
        "inputs": metric.inputs,
        "source": metric.source,
        "options": serde_json::Value::from_iter(options),
    })
}

fn list() -> String {
    let width = METRICS.iter().map(|metric| metric.name.len()).max().unwrap_or(0);
    METRICS.iter().map(|metric| format!("{:width$}  {}\n", metric.name, metric.summary)).collect()
}

fn explain(metric: &Metric) -> String {
    let mut text = format!("{}\n\n  {}\n", metric.name, metric.summary);
    // Writing to a string cannot fail.
    let _ = write!(text, "\n  inputs:  {}\n  source:  {}\n", metric.inputs, metric.source);
    if !metric.aliases.is_empty() {
        let _ = writeln!(text, "  aliases: {}", metric.aliases.join(", "));
    }
    for option in metric.options {
        let required = if option.required { ", required" } else { "" };
        let _ = writeln!(
            text,
            "  option `{}` ({}{required}): {}",
            option.name,
            option.kind.description(),
            option.doc
        );
    }
    text
}
