//! `medalist competitions new`: an entry for a competition that the catalogue lacks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use medalist_competitions::CompetitionId;
use medalist_competitions::draft::Answers;
use medalist_competitions::split::SplitMethod;
use medalist_grading::Direction;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::new_competition::{Request, make};

/// Make the entry of a competition from Kaggle, or from data that lie here.
///
/// Looks at the files and decides ids, targets, metric and split, each with its evidence (report.md).
/// What the data do not tell is left open and asked: then the exit code is 9.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The competition's id: its name in Kaggle's addresses, or with `--from-dir` any of your own.
    #[arg(value_name = "SLUG")]
    id: String,
    /// The raw data, a folder or an archive; nothing is asked of Kaggle then.
    #[arg(long, value_name = "DIR")]
    from_dir: Option<PathBuf>,
    /// Where the entry's folder is made; give it to `--catalog` afterwards.
    #[arg(long, value_name = "DIR", default_value = "competitions")]
    dir: PathBuf,
    /// The name for people.
    #[arg(long)]
    title: Option<String>,
    /// The columns that name a row.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    id_columns: Vec<String>,
    /// The columns that are predicted.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    target: Vec<String>,
    /// The metric: one of `medalist metrics`, or what Kaggle calls it.
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// An option of the metric, as TOML; may repeat.
    #[arg(long, value_name = "KEY=VALUE")]
    metric_option: Vec<String>,
    /// Which scores are better.
    #[arg(long, value_name = "SIDE")]
    direction: Option<Side>,
    /// The table of examples with answers, as a path below the raw data.
    #[arg(long, value_name = "PATH")]
    train: Option<String>,
    /// How rows are divided: random, stratified:COLUMN, grouped:COLUMN or time:COLUMN.
    #[arg(long, value_name = "METHOD")]
    split: Option<String>,
    /// The share of the rows that become the test part.
    #[arg(long, value_name = "SHARE")]
    test_size: Option<f64>,
    /// Put the text of Kaggle's pages into the brief, marked with the licence.
    #[arg(long, conflicts_with = "from_dir")]
    with_page_text: bool,
    /// Replace an entry that was changed by hand.
    #[arg(long)]
    force: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Side {
    Higher,
    Lower,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let id: CompetitionId = args
        .id
        .parse()
        .map_err(|error| CliError::new(Exit::BadInput, anyhow::Error::new(error)))?;
    let catalogue = context.catalogue()?;
    if catalogue.get(id.as_str()).is_ok_and(|spec| spec.folder().is_none()) {
        context.warn(format_args!(
            "`{id}` is built in; an entry of the same id cannot be used beside it with `--catalog`"
        ));
    }
    let request = Request {
        title: args.title.clone(),
        from: args.from_dir.clone(),
        dir: args.dir.clone(),
        answers: answers(args)?,
        force: args.force,
        with_page_text: args.with_page_text,
        id,
    };
    let made = make(&request, context)?;
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&made)?))?;
    } else {
        context.print(format_args!("{}\n", made.folder.display()))?;
    }
    context.say(made.summary(&request.id).trim_end());
    Ok(if made.open.is_empty() { Exit::Success } else { Exit::Open })
}

fn answers(args: &Args) -> Result<Answers, CliError> {
    let usage = |message: String| CliError::message(Exit::Usage, message);
    let mut options = BTreeMap::new();
    for option in &args.metric_option {
        let (key, value) = option.split_once('=').ok_or_else(|| {
            usage(format!("`--metric-option {option}` has no `=`, expected KEY=VALUE"))
        })?;
        let value = match toml::from_str::<toml::Table>(&format!("value = {value}")) {
            Ok(mut table) => table.remove("value"),
            // A word without quotes is a text.
            Err(_) => Some(toml::Value::String(value.to_owned())),
        };
        options.extend(value.map(|value| (key.trim().to_owned(), value)));
    }
    if let Some(size) = args.test_size.filter(|size| !(*size > 0.0 && *size < 1.0)) {
        return Err(usage(format!("`--test-size {size}`, expected a share between 0 and 1")));
    }
    Ok(Answers {
        id: args.id_columns.clone(),
        target: args.target.clone(),
        metric: args.metric.clone(),
        options,
        direction: args.direction.map(|side| match side {
            Side::Higher => Direction::Higher,
            Side::Lower => Direction::Lower,
        }),
        train: args.train.clone(),
        method: args.split.as_deref().map(method).transpose()?,
        test_size: args.test_size,
    })
}

fn method(text: &str) -> Result<(SplitMethod, Option<String>), CliError> {
    let (word, by) = match text.split_once(':') {
        Some((word, by)) => (word, Some(by.to_owned())),
        None => (text, None),
    };
    match (word, by) {
        ("random", None) => Ok((SplitMethod::Random, None)),
        ("stratified", Some(by)) => Ok((SplitMethod::Stratified, Some(by))),
        ("grouped", Some(by)) => Ok((SplitMethod::Grouped, Some(by))),
        ("time", Some(by)) => Ok((SplitMethod::Time, Some(by))),
        _ => Err(CliError::message(
            Exit::Usage,
            format_args!(
                "`--split {text}`, expected `random`, `stratified:COLUMN`, `grouped:COLUMN` or `time:COLUMN`"
            ),
        )),
    }
}
