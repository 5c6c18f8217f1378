//! `medalist competitions check`: is it a fair task?

use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum;
use medalist_competitions::CompetitionSpec;
use medalist_fairness::{Report, Settings, Severity};
use medalist_reports::table::{Column, Look, render, wrap};
use serde_json::json;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::fairness::{self, Checked};
use crate::app::terminal::output_width;

/// Measure whether prepared competitions are fair tasks: what simple models score beside the
/// leaderboard, leaks, the balance of the answers, and the noise of the score (docs/checks.md).
///
/// Of a competition with open choices it says what is still to be decided, and measures nothing. Whether
/// the data are still what was prepared is another question, which `doctor` answers. The exit code is 0,
/// 5 if a finding is as grave as `--fail-on` names, and 9 if choices are open.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Competition ids, or folders with a competition.toml.
    #[arg(value_name = "ID|FOLDER", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// All prepared competitions.
    #[arg(short, long)]
    all: bool,
    /// Print the measurements as a JSON array.
    #[arg(long)]
    json: bool,
    /// Chooses rows, shufflings and samples.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Time for each model that learns.
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration, value_name = "TIME")]
    model_time: Duration,
    /// The least grave finding that gives exit code 5.
    #[arg(long, value_enum, default_value_t = FailOn::Fault, value_name = "SEVERITY")]
    fail_on: FailOn,
}

/// A severity on the command line.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum FailOn {
    /// Worth knowing.
    Note,
    /// Readers of scores must know it.
    Warning,
    /// Scores do not measure skill.
    Fault,
}

impl From<FailOn> for Severity {
    fn from(level: FailOn) -> Self {
        match level {
            FailOn::Note => Self::Note,
            FailOn::Warning => Self::Warning,
            FailOn::Fault => Self::Fault,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// A competition is unknown, or has no open choice and is not prepared, or nothing is prepared at all.
pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let (catalogue, ids) = fairness::with_folders(context.catalogue()?, &args.names)?;
    let data = context.data();
    let is_prepared = |spec: &CompetitionSpec| data.is_prepared(&spec.id);
    let specs = match args.all {
        true => catalogue.iter().filter(|spec| is_prepared(spec)).collect(),
        false => fairness::specs(&catalogue, &ids)?,
    };
    let (open, specs): (Vec<&CompetitionSpec>, Vec<&CompetitionSpec>) =
        specs.into_iter().partition(|spec| !spec.open.is_empty());
    if let Some(spec) = specs.iter().find(|spec| !is_prepared(spec)) {
        let what = format_args!("nothing of `{0}` is open, and `{0}` is not prepared", spec.id);
        return Err(super::checkup::not_prepared(what, spec.id.as_str(), context));
    }
    if specs.is_empty() && open.is_empty() {
        return Err(super::checkup::not_prepared("no competition is prepared", "ID", context));
    }
    let settings = Settings { seed: args.seed, time: args.model_time };
    let grading = context.grading()?;
    let (mut all, mut worst) = (Vec::new(), None);
    for spec in &open {
        if !args.json {
            context.print(open_choices(spec))?;
        }
        all.push(json!({ "id": spec.id, "open": spec.open }));
    }
    for spec in specs {
        context.say(format_args!("{}: measuring", spec.id));
        let checked = fairness::check(spec, settings, &grading, context)?;
        if !args.json {
            context.print(sheet(&checked, output_width().min(120)))?;
        }
        worst = worst.max(checked.report.worst());
        all.push(serde_json::to_value(&checked)?);
    }
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&all)?))?;
    }
    Ok(if !open.is_empty() {
        Exit::Open
    } else if worst >= Some(args.fail_on.into()) {
        Exit::Partial
    } else {
        Exit::Success
    })
}

/// What is still to be decided of a competition, for people.
fn open_choices(spec: &CompetitionSpec) -> String {
    let mut text = format!("{}: {} to be decided\n", spec.id, spec.open.len());
    for choice in &spec.open {
        let _ = writeln!(text, "\n{}\n  {}", choice.key, choice.question);
        for candidate in &choice.candidates {
            let _ = writeln!(text, "  - {}: {}", candidate.value, candidate.evidence);
        }
        if let Some(flag) = &choice.flag {
            let _ = writeln!(text, "  `competitions new ... {flag}` answers it");
        }
    }
    text
}

/// The measurements for people.
fn sheet(checked: &Checked<'_>, width: usize) -> String {
    let report = &checked.report;
    let mut text = format!("{}  (data: {})\n", report.id, checked.edition);
    for line in &report.task {
        let _ = writeln!(text, "  {line}");
    }
    ladder(report, width, &mut text);
    balance(report, &mut text);
    noise(report, &mut text);
    leaks(report, &mut text);
    let mut section = |title: &str, entries: Vec<String>| {
        if entries.is_empty() {
            return;
        }
        let _ = writeln!(text, "  {title}");
        for entry in entries {
            let _ = writeln!(text, "    {}", wrap(&entry, width.saturating_sub(6), 6));
        }
    };
    let not_measured = report.not_measured.iter();
    section("not measured", not_measured.map(|gap| format!("{}: {}", gap.what, gap.why)).collect());
    let known = checked.known_issues.iter();
    section(
        "known issues",
        known.map(|issue| format!("{}: {}", issue.kind, issue.summary)).collect(),
    );
    let found = report.findings.iter().map(|finding| {
        format!(
            "{} {}: {}. What to do: {}",
            finding.severity, finding.kind, finding.summary, finding.advice
        )
    });
    section("findings", found.collect());
    if report.findings.is_empty() {
        text.push_str("  findings: none\n");
    }
    text
}

fn ladder(report: &Report, width: usize, text: &mut String) {
    const COLUMNS: [Column; 5] = [
        Column::new("  LADDER"),
        Column::new("SCORE").right(),
        Column::new("MEDAL"),
        Column::new("PERCENTILE").right(),
        Column::new("LEARNT FROM").right(),
    ];
    let rows: Vec<Vec<String>> = report
        .ladder
        .rungs
        .iter()
        .map(|rung| {
            vec![
                format!("  {}{}", rung.name, if rung.cut_short { " (cut short)" } else { "" }),
                rung.score.to_string(),
                rung.medal.map(|medal| medal.to_string()).unwrap_or_default(),
                rung.percentile.map(|percent| format!("{percent:.1}")).unwrap_or_default(),
                if rung.learnt > 0 { format!("{} rows", rung.learnt) } else { String::new() },
            ]
        })
        .collect();
    text.push_str(&render(&COLUMNS, &rows, Look::plain(width)));
    match report.ladder.thresholds {
        Some(board) => {
            let _ = writeln!(
                text,
                "  board: gold {}, silver {}, bronze {}, median {}",
                board.gold, board.silver, board.bronze, board.median
            );
        }
        None => text.push_str("  board: no thresholds are known\n"),
    }
}

fn balance(report: &Report, text: &mut String) {
    /// Target columns and classes that the sheet shows; `--json` has all.
    const SHOWN: usize = 5;
    let targets = &report.balance.targets;
    for target in targets.iter().take(SHOWN) {
        let spread = match target.range {
            Some([low, middle, high]) => format!(
                "{} different numbers from {low} to {high}, median {middle}",
                target.distinct
            ),
            None => {
                let classes = target.classes.iter().take(SHOWN);
                let shares: Vec<String> = classes
                    .map(|class| format!("`{}` {:.1}%", class.name, 100.0 * class.share))
                    .collect();
                let more = if target.distinct > SHOWN { ", ..." } else { "" };
                format!("{} classes: {}{more}", target.distinct, shares.join(", "))
            }
        };
        let missing = if target.missing > 0 {
            format!(", {} missing", target.missing)
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "  answers `{}`: {} rows, {spread}{missing}",
            target.name, report.balance.rows
        );
    }
    if targets.len() > SHOWN {
        let more = targets.len() - SHOWN;
        let _ = writeln!(text, "  and {more} more target columns, which `--json` lists");
    }
}

fn noise(report: &Report, text: &mut String) {
    let Some(noise) = &report.noise else { return };
    let gaps = match (noise.gold_bronze, noise.bronze_median) {
        (Some(medals), Some(middle)) => {
            format!("; gold to bronze {medals:.5}, bronze to median {middle:.5}")
        }
        _ => String::new(),
    };
    let _ = writeln!(
        text,
        "  noise: `{}` {} ± {:.5} (95%, {} samples of {} test rows or groups){gaps}",
        noise.of, noise.score, noise.margin, noise.resamples, noise.groups
    );
}

fn leaks(report: &Report, text: &mut String) {
    let leaks = &report.leaks;
    for probe in &leaks.probes {
        let _ = writeln!(
            text,
            "  {} {}: {:.2} of 1 ({:.1} standard errors, {:.1} by chance)",
            if probe.counts { "TELLS" } else { "ok   " },
            probe.what,
            probe.signal.effect,
            probe.signal.z,
            probe.signal.z_by_chance
        );
    }
    for (copies, what) in [(&leaks.copies, "rows"), (&leaks.file_copies, "files")] {
        if let Some(copies) = copies {
            let _ = writeln!(
                text,
                "  copies among the training part: {} equal and {} nearly equal of {} test {what}",
                copies.equal, copies.nearly, copies.rows
            );
        }
    }
    if leaks.columns_looked_at > 0 {
        let _ = writeln!(
            text,
            "  columns that are an answer: {} of {}",
            leaks.columns.len(),
            leaks.columns_looked_at
        );
    }
}
