//! `medalist competitions doctor`: are prepared data still what they were, and do they grade as
//! they must?

use std::fmt::Write as _;
use std::path::Path;

use medalist_competitions::CompetitionSpec;
use medalist_competitions::checkup::{Check, Checkup, Layer, State, Verdict};

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::names::unknown_competition;

/// Check prepared competitions: every file, the published checksums, and that grading works on
/// them.
///
/// There are three separate verdicts: on the raw data, on prepared data that grading does not need,
/// and on what grading needs. The exit code is 0 if nothing differs, 5 if something does, and 3 if
/// a competition is unknown, not prepared or unreadable.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Competition ids.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All prepared competitions.
    #[arg(short, long)]
    all: bool,
    /// Print the findings as a JSON array.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// A competition is unknown or not prepared, nothing is prepared at all, or a file cannot be read.
pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let data = context.data();
    let is_prepared = |spec: &CompetitionSpec| data.is_prepared(&spec.id);
    let specs: Vec<&CompetitionSpec> = match args.all {
        true => catalogue.iter().filter(|spec| is_prepared(spec)).collect(),
        false => args
            .ids
            .iter()
            .map(|id| catalogue.get(id))
            .collect::<Result<_, _>>()
            .map_err(unknown_competition)?,
    };
    if let Some(spec) = specs.iter().find(|spec| !is_prepared(spec)) {
        return Err(not_prepared(
            format_args!("`{}` is not prepared", spec.id),
            spec.id.as_str(),
            context,
        ));
    }
    if specs.is_empty() {
        return Err(not_prepared("no competition is prepared", "ID", context));
    }
    let grading = context.grading()?;
    let mut checkups = Vec::new();
    for spec in specs {
        context.say(format_args!("{}: checking", spec.id));
        let score = |submission: &Path, answers: &Path| grading.score(spec, submission, answers);
        let checkup = Checkup::of(spec, &context.data_dir, &score).map_err(|error| {
            CliError::new(Exit::BadInput, anyhow::Error::new(error))
                .context(format!("cannot check `{}`", spec.id))
        })?;
        if !args.json {
            context.print(sheet(&checkup))?;
        }
        checkups.push(checkup);
    }
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&checkups)?))?;
    }
    Ok(if checkups.iter().all(Checkup::is_clean) { Exit::Success } else { Exit::Partial })
}

pub(super) fn not_prepared(what: impl std::fmt::Display, id: &str, context: &Context) -> CliError {
    CliError::message(Exit::BadInput, format_args!("{what} in `{}`", context.data_dir.display()))
        .hint(format!("`medalist prepare -c {id}` prepares it; `--data-dir` names another place"))
}

/// The findings for people: the three verdicts, each with the checks that it rests on.
fn sheet(checkup: &Checkup) -> String {
    let mut text = format!("{}  (data: {})\n", checkup.id, checkup.edition);
    let verdicts = &checkup.verdicts;
    for (layer, name, verdict) in [
        (Layer::Raw, "raw data", verdicts.raw),
        (Layer::Prepared, "prepared data", verdicts.prepared),
        (Layer::Grading, "what grading needs", verdicts.grading),
    ] {
        let _ = writeln!(text, "  {name:<18}  {}", words(verdict));
        for check in checkup.checks.iter().filter(|check| check.layer == layer) {
            line(&mut text, check);
        }
    }
    text
}

fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "as it must be",
        Verdict::Differs => "DIFFERS",
        Verdict::Unknown => "cannot be told",
    }
}

fn line(text: &mut String, check: &Check) {
    /// Files listed for one check; `--json` has all.
    const SHOWN: usize = 10;
    let state = match check.state {
        State::Passed => "ok",
        State::Failed => "FAILED",
        State::Skipped => "skipped",
        State::NotApplicable => "n/a",
    };
    let _ = writeln!(text, "    {state:<7} {:<16} {}", check.name, check.detail);
    for file in check.files.iter().take(SHOWN) {
        let _ = writeln!(text, "            `{}` {}", file.file, file.problem);
    }
    if check.files.len() > SHOWN {
        let _ = writeln!(
            text,
            "            and {} more, which `--json` lists",
            check.files.len() - SHOWN
        );
    }
}
