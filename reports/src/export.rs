//! Files that other programs read: JSON, CSV, Markdown, MLE-bench's grading report, and the
//! pictures.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::attempt::{Grade, Measure};
use crate::data::{AttemptReport, ReportData};
use crate::html::{self, HtmlError, PageOptions};
use crate::plots::{self, Plot, PlotError, Theme};
use crate::text;
use crate::viewer::{self, Stories};

/// A file that a report can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `report.html`.
    Html,
    /// `report.json`.
    Json,
    /// `attempts.csv`.
    Csv,
    /// `report.md`.
    Markdown,
    /// `<group>_grading_report.json`, one a run group, in MLE-bench's form.
    MleBench,
    /// `plots/*.svg`.
    Plots,
    /// `plots/*.png` in light colours and `plots/*-dark.png` in dark ones.
    Png,
    /// `pages/index.html`, which is the page with links, `pages/attempts/*.html` with data files
    /// beside them, and `pages/competitions/*.html`.
    Pages,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 8] = [
        Self::Html,
        Self::Json,
        Self::Csv,
        Self::Markdown,
        Self::MleBench,
        Self::Plots,
        Self::Png,
        Self::Pages,
    ];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Markdown => "markdown",
            Self::MleBench => "mlebench",
            Self::Plots => "plots",
            Self::Png => "png",
            Self::Pages => "pages",
        }
    }
}

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The page could not be made.
    #[error(transparent)]
    Html(#[from] HtmlError),
    /// A picture could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Writes `data` into `dir`, which is made if needed, in the given formats. Gives the files' paths
/// in that order; of pages those of the pages themselves. `stories` tells pages what happened in
/// attempts.
///
/// Every file is written aside and renamed, so that a reader never sees half of one.
///
/// # Errors
/// [`WriteError`]; files written before it stay.
pub fn write(
    dir: &Path,
    data: &ReportData,
    formats: &[Format],
    stories: &dyn Stories,
) -> Result<Vec<PathBuf>, WriteError> {
    make_dir(dir)?;
    let draws = |format: &Format| {
        matches!(format, Format::Html | Format::Plots | Format::Png | Format::Pages)
    };
    let plots = if formats.iter().any(draws) { plots::all(data)? } else { Vec::new() };
    let mut written = Vec::new();
    for format in formats {
        written.extend(write_format(*format, dir, data, &plots, stories)?);
    }
    Ok(written)
}

/// Writes a report in one format; the files that it has.
fn write_format(
    format: Format,
    dir: &Path,
    data: &ReportData,
    plots: &[Plot],
    stories: &dyn Stories,
) -> Result<Vec<PathBuf>, WriteError> {
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        write_file(&path, text.as_bytes())?;
        Ok::<_, WriteError>(path)
    };
    match format {
        Format::Html => {
            let page = html::page_with(data, plots, PageOptions::default())?;
            Ok(vec![put("report.html", &page)?])
        }
        Format::Json => {
            let path = dir.join("report.json");
            // Thousands of attempts make a text that memory need not hold.
            replace_file(&path, Durability::Synced, |file| {
                serde_json::to_writer_pretty(&mut *file, data)?;
                file.write_all(b"\n")
            })?;
            Ok(vec![path])
        }
        Format::Csv => Ok(vec![put("attempts.csv", &attempts_csv(data))?]),
        Format::Markdown => Ok(vec![put("report.md", &markdown(data))?]),
        Format::MleBench => {
            let reports = data.groups.iter().map(|group| {
                let text = pretty_json(&mle_bench_report(data, &group.id));
                put(&format!("{}_grading_report.json", group.id), &text)
            });
            reports.collect()
        }
        Format::Plots => {
            make_dir(&dir.join("plots"))?;
            plots
                .iter()
                .map(|plot| put(&format!("plots/{}.svg", plot.id), &plot.to_file()?))
                .collect()
        }
        Format::Png => {
            make_dir(&dir.join("plots"))?;
            let themes = [(Theme::Light, ""), (Theme::Dark, "-dark")];
            let wanted: Vec<_> =
                plots.iter().flat_map(|plot| themes.map(|theme| (plot, theme))).collect();
            // Painting and packing the pixels is most of the work of a report, and each picture
            // is on its own.
            let painted = wanted.par_iter().map(|(plot, (theme, suffix))| {
                let path = dir.join("plots").join(format!("{}{suffix}.png", plot.id));
                write_file(&path, &plot.to_png(*theme)?)?;
                Ok(path)
            });
            painted.collect()
        }
        Format::Pages => viewer::write_pages(dir, data, plots, stories),
    }
}

/// The last bytes of a file, `most` at most, and whether they are all of it.
///
/// # Errors
/// The file cannot be read.
pub fn end_of(path: &Path, most: u64) -> std::io::Result<(Vec<u8>, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes, length <= most))
}

pub(crate) fn make_dir(dir: &Path) -> Result<(), WriteError> {
    std::fs::create_dir_all(dir).map_err(|source| WriteError::File { path: dir.to_owned(), source })
}

/// Writes a file aside, syncs it and renames it into place.
///
/// # Errors
/// [`WriteError::File`].
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    replace_file(path, Durability::Synced, |file| file.write_all(bytes))
}

/// [`write_file`] without waiting for the disk, for thousands of files that can be made again.
pub(crate) fn write_cached(path: &Path, text: &str) -> Result<(), WriteError> {
    replace_file(path, Durability::Cached, |file| file.write_all(text.as_bytes()))
}

/// Whether a file is on the disk, or only on its way there, before it takes its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    Synced,
    Cached,
}

fn replace_file(
    path: &Path,
    durability: Durability,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), WriteError> {
    let failed = |source| WriteError::File { path: path.to_owned(), source };
    let name =
        path.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into_owned());
    let aside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let result = File::create(&aside)
        .and_then(|file| {
            let mut file = BufWriter::new(file);
            fill(&mut file)?;
            let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            if durability == Durability::Synced { file.sync_all() } else { Ok(()) }
        })
        .and_then(|()| std::fs::rename(&aside, path));
    if result.is_err() {
        // The error that matters is the first one.
        let _ = std::fs::remove_file(&aside);
    }
    result.map_err(failed)
}

/// `report.json`: the whole [`ReportData`], indented.
pub fn json_text(data: &ReportData) -> String {
    pretty_json(data)
}

/// Any of this crate's data as indented JSON with a final line end.
pub fn pretty_json(value: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string_pretty(value).expect("this crate's data have only string keys");
    text.push('\n');
    text
}

/// A column of the attempts' table, one value an attempt; `None` prints as nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    Text(Vec<Option<String>>),
    /// Numbers that need not be whole.
    Number(Vec<Option<f64>>),
    /// Whole numbers.
    Whole(Vec<Option<u64>>),
    /// Yes or no.
    Flag(Vec<bool>),
}

impl Column {
    fn print(&self, row: usize) -> String {
        match self {
            Self::Text(values) => values[row].as_deref().map_or_else(String::new, text::csv_cell),
            Self::Number(values) => values[row].map_or_else(String::new, |v| v.to_string()),
            Self::Whole(values) => values[row].map_or_else(String::new, |v| v.to_string()),
            Self::Flag(values) => values[row].to_string(),
        }
    }
}

/// The attempts as named columns: what `attempts.csv` and the parquet file hold.
pub fn attempt_columns(data: &ReportData) -> Vec<(&'static str, Column)> {
    type A = AttemptReport;
    let of = data.attempts.as_slice();
    let text = |get: fn(&A) -> Option<String>| Column::Text(of.iter().map(get).collect());
    let number = |get: fn(&A) -> Option<f64>| Column::Number(of.iter().map(get).collect());
    let whole = |get: fn(&A) -> Option<u64>| Column::Whole(of.iter().map(get).collect());
    let flag = |get: fn(&A) -> bool| Column::Flag(of.iter().map(get).collect());
    vec![
        ("competition", text(|a| Some(a.key.competition.clone()))),
        ("agent", text(|a| Some(a.key.agent.clone()))),
        ("seed", whole(|a| Some(u64::from(a.key.seed)))),
        ("group", text(|a| Some(a.group.clone()))),
        ("modality", text(|a| Some(a.modality.clone()))),
        ("complexity", text(|a| Some(a.complexity.clone()))),
        ("outcome", text(|a| Some(a.outcome.clone()))),
        ("infrastructure", flag(|a| a.infrastructure)),
        ("score", number(|a| a.grade.score)),
        ("medal", text(|a| a.grade.medal.map(|medal| medal.to_string()))),
        ("above_median", flag(|a| a.grade.above_median)),
        ("submission_exists", flag(|a| a.grade.exists)),
        ("valid_submission", flag(|a| a.grade.valid)),
        ("rank", whole(|a| a.grade.rank)),
        ("teams", whole(|a| a.grade.teams)),
        ("percentile", number(|a| a.grade.percentile)),
        ("own_leaderboard", text(|a| a.grade.own_leaderboard.clone())),
        ("normalised_score", number(|a| Measure::NormalisedScore.value(&a.grade))),
        ("strict_score", number(|a| a.grade.strict_score)),
        (
            "data_edition",
            text(|a| a.conditions.as_ref().and_then(|conditions| conditions.data_edition.clone())),
        ),
        (
            "brief_source",
            text(|a| a.conditions.as_ref().and_then(|conditions| conditions.brief_source.clone())),
        ),
        ("started_at", text(|a| a.started_at.map(|at| at.to_rfc3339()))),
        ("took_s", number(|a| a.took_s)),
        ("memory_peak_bytes", whole(|a| a.usage.memory_peak_bytes)),
        ("cpu_s", number(|a| a.usage.cpu_s)),
        ("cost_usd", number(|a| a.llm.as_ref()?.cost().usd())),
        (
            "llm_unpriced_calls",
            whole(|a| Some(a.llm.as_ref()?.with_earlier_tries().unpriced_calls)),
        ),
        ("llm_calls", whole(|a| Some(a.llm.as_ref()?.totals.calls))),
        ("llm_replayed_calls", whole(|a| Some(a.llm.as_ref()?.totals.replayed_calls))),
        ("llm_errors", whole(|a| Some(a.llm.as_ref()?.error_count()))),
        ("llm_input_tokens", whole(|a| Some(a.llm.as_ref()?.totals.tokens.input))),
        ("llm_cache_read_tokens", whole(|a| Some(a.llm.as_ref()?.totals.tokens.cache_read))),
        ("llm_cache_write_tokens", whole(|a| Some(a.llm.as_ref()?.totals.tokens.cache_write()))),
        ("llm_output_tokens", whole(|a| Some(a.llm.as_ref()?.totals.tokens.received()))),
        ("llm_reasoning_tokens", whole(|a| Some(a.llm.as_ref()?.totals.tokens.reasoning))),
        ("llm_ttft_p50_ms", number(|a| a.llm.as_ref()?.ttft_p50_ms)),
        ("llm_time_s", number(|a| Some(a.llm.as_ref()?.llm_time_s))),
        (
            "llm_budget_reached",
            text(|a| a.llm.as_ref().map(|llm| llm.reached_budget().to_string())),
        ),
        ("problem", text(|a| a.grade.problem.clone())),
    ]
}

/// One line an attempt, with a header.
pub fn attempts_csv(data: &ReportData) -> String {
    let columns = attempt_columns(data);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<String>>();
    let rows = (0..data.attempts.len())
        .map(|row| columns.iter().map(|(_, column)| column.print(row)).collect());
    for row in std::iter::once(heads).chain(rows) {
        writer.write_record(&row).expect("a vector takes every write, and rows have equal lengths");
    }
    let bytes = writer.into_inner().expect("a vector takes every write");
    String::from_utf8(bytes).expect("all cells are text")
}

/// A summary for a pull request or a page.
pub fn markdown(data: &ReportData) -> String {
    let mut out = format!("# {}\n\n", text::markdown(&data.title));
    out.push_str("| Agent | Any medal | Counted | Mean ± SEM over seeds | 95% on these | 95% on ones like these | Valid | Infrastructure failures |\n");
    out.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for agent in &data.agents {
        let medal = agent.overall.get(Measure::AnyMedal);
        let seeds = medal.seeds.as_ref().map_or_else(
            || "n/a".to_owned(),
            |s| {
                format!(
                    "{} ± {} ({})",
                    text::percent(Some(s.mean)),
                    text::percent(Some(s.sem)),
                    s.values.len()
                )
            },
        );
        let _ = writeln!(
            out,
            "| {} | {} | {} | {seeds} | {} | {} | {} of {} | {} of {} |",
            text::markdown(&agent.agent),
            text::percent(medal.value),
            text::counted(medal),
            text::interval(medal.on_these),
            text::interval(medal.on_like_these),
            agent.counts.valid,
            agent.counts.planned,
            agent.counts.infrastructure,
            agent.counts.planned,
        );
    }
    out.push_str(
        "\n| Competition | Agent | Medals | Best score | Mean percentile |\n| --- | --- | ---: | ---: | ---: |\n",
    );
    for competition in &data.competitions {
        for result in competition.results.iter().filter(|result| result.attempts > 0) {
            let _ = writeln!(
                out,
                "| {} | {} | {} of {} | {} | {} |",
                text::markdown(&competition.facts.id),
                text::markdown(&result.agent),
                result.medals,
                result.attempts,
                text::score(result.best_score),
                text::percent(result.mean_percentile.map(|p| p / 100.0)),
            );
        }
    }
    out.push_str(&crate::contamination::markdown(data));
    let on_files = data.groups.iter().filter_map(|group| Some((group, group.suite_file.as_ref()?)));
    for (group, file) in on_files {
        let _ = writeln!(
            out,
            "\n`{}` is on the suite {} with SHA-256 `{}`.",
            text::markdown(&group.id),
            text::markdown(group.suite.as_deref().unwrap_or_default()),
            text::markdown(&file.sha256),
        );
    }
    out.push_str(&markdown_costs(data));
    if !data.warnings.is_empty() {
        out.push_str("\nWarnings:\n\n");
        for warning in &data.warnings {
            let _ = writeln!(out, "- {}", text::markdown(warning));
        }
    }
    out
}

/// Calls to language models by agent and model; nothing if none were recorded.
fn markdown_costs(data: &ReportData) -> String {
    let mut out = String::new();
    if data.agents.iter().all(|agent| agent.llm.is_none()) {
        return out;
    }
    out.push_str(
        "\n| Agent | Model | Cost | An attempt | A medal | Calls | Errors | Tokens in | From cache | Tokens out | First token | Time in calls |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for agent in &data.agents {
        let name = text::markdown(&agent.agent);
        let Some(llm) = &agent.llm else {
            let _ = writeln!(out, "| {name} | | not recorded | | | | | | | | | |");
            continue;
        };
        let tokens = &llm.totals.tokens;
        let medal = match llm.per_medal {
            Some(cost) => {
                format!("{} ({} in {})", text::cost(Some(cost)), llm.medals, llm.attempts)
            }
            None => format!("no medal (0 in {})", llm.attempts),
        };
        let _ = writeln!(
            out,
            "| {name} | all | {} | {} (mean of {} of {}) | {medal} | {} | {} | {} | {} | {} | {} | {} |",
            text::cost(llm.cost),
            text::cost(llm.per_attempt),
            llm.recorded,
            llm.attempts,
            llm.totals.calls,
            llm.errors,
            text::tokens(tokens.sent()),
            text::percent(tokens.cache_share()),
            text::tokens(tokens.received()),
            text::duration(llm.ttft_p50_ms.map(|ms| ms / 1e3)),
            text::duration(Some(llm.llm_time_s)),
        );
        for (model, totals) in &llm.models {
            let tokens = &totals.tokens;
            let _ = writeln!(
                out,
                "| {name} | {} | {} | | | {} | | {} | {} | {} | | |",
                text::markdown(model),
                text::cost(Some(totals.cost())),
                totals.calls,
                text::tokens(tokens.sent()),
                text::percent(tokens.cache_share()),
                text::tokens(tokens.received()),
            );
        }
    }
    out
}

/// The grading report of one run group as MLE-bench writes it, so that its own scripts read our
/// runs.
pub fn mle_bench_report(data: &ReportData, group: &str) -> Value {
    let attempts: Vec<&AttemptReport> = data.attempts.iter().filter(|a| a.group == group).collect();
    let count = |holds: fn(&Grade) -> bool| attempts.iter().filter(|a| holds(&a.grade)).count();
    json!({
        "total_runs": attempts.len(),
        "total_runs_with_submissions": count(|g| g.exists),
        "total_valid_submissions": count(|g| g.valid),
        "total_medals": count(|g| g.medal.is_some()),
        "total_gold_medals": count(|g| g.gold),
        "total_silver_medals": count(|g| g.silver),
        "total_bronze_medals": count(|g| g.bronze),
        "total_above_median": count(|g| g.above_median),
        "competition_reports": attempts.iter().map(|a| {
            let g = &a.grade;
            json!({
                "competition_id": a.key.competition,
                "score": g.score,
                "gold_threshold": g.thresholds.map(|t| t.gold),
                "silver_threshold": g.thresholds.map(|t| t.silver),
                "bronze_threshold": g.thresholds.map(|t| t.bronze),
                "median_threshold": g.thresholds.map(|t| t.median),
                "any_medal": g.medal.is_some(),
                "gold_medal": g.gold,
                "silver_medal": g.silver,
                "bronze_medal": g.bronze,
                "above_median": g.above_median,
                "submission_exists": g.exists,
                "valid_submission": g.valid,
                "is_lower_better": g.lower_is_better,
                "created_at": a.started_at.map(|at| at.to_rfc3339()),
            })
        }).collect::<Vec<_>>(),
    })
}
