//! `medalist prepare`: from raw data to what agents see and what grades them.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use medalist_competitions::CompetitionSpec;
use medalist_competitions::prepare::{
    PrepareError, PrepareReporter, PrepareRequest, Prepared, RawInput, Stage, prepare,
};
use serde::Serialize;

use super::download::{FetchElsewhere, Outcome, Wanted, fetch_missing};
use super::selection::Selection;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};

/// Prepare competitions: split the raw data into public data and answers, and verify both.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Kaggle's archive, instead of `<id>.zip` in the data directory.
    #[arg(long, value_name = "FILE", conflicts_with = "raw_dir")]
    raw_zip: Option<PathBuf>,
    /// A directory as Kaggle's archive unpacks to; it is only read.
    #[arg(long, value_name = "DIR")]
    raw_dir: Option<PathBuf>,
    /// A folder with the extra files that some competitions need from elsewhere.
    #[arg(long, value_name = "DIR")]
    downloads: Option<PathBuf>,
    /// Change a constant of a recipe, such as the size of a split; may be given several times.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_and_value)]
    overrides: Vec<(String, String)>,
    /// Unpack the archive to `raw/` and keep it there.
    #[arg(long)]
    keep_raw: bool,
    /// Do not compare with the published checksums.
    #[arg(long)]
    skip_verification: bool,
    /// Leave out of the public data what is known to leak labels; runs on such data are marked.
    #[arg(long)]
    fixed: bool,
    /// Prepare again what is prepared already.
    #[arg(long)]
    force: bool,
    /// Only say what would be downloaded, how much disk it takes and what is in the way.
    #[arg(long, conflicts_with_all = ["raw_zip", "raw_dir", "offline"])]
    check: bool,
    /// Fetch nothing from the internet.
    #[arg(long)]
    offline: bool,
    /// Competitions prepared at a time; each of them uses all processors where it can.
    #[arg(short, long, default_value_t = 1, value_name = "N")]
    jobs: usize,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected KEY=VALUE, found `{text}`")),
    }
}

/// One line of the summary.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    /// `prepared`, `present` or `failed`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksums_compared: Option<usize>,
    took_s: f64,
    /// The error and its causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Runs the subcommand.
///
/// # Errors
/// Nothing was chosen, or the only competition chosen failed; of several, failures are named in the
/// summary.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let chosen = args.selection.resolve(&catalogue)?;
    if chosen.len() > 1 && (args.raw_zip.is_some() || args.raw_dir.is_some()) {
        return Err(CliError::message(
            Exit::Usage,
            "`--raw-zip` and `--raw-dir` are for one competition",
        )
        .hint("put each archive at `<data-dir>/<id>/<id>.zip` and leave them out"));
    }
    let mut not_downloaded = BTreeMap::new();
    if args.raw_zip.is_none() && args.raw_dir.is_none() && !args.offline {
        let wanted = Wanted {
            competitions: &chosen,
            again: args.force,
            only_check: args.check,
            json: args.json,
        };
        match fetch_missing(&wanted, context)? {
            Outcome::Checked(exit) => return Ok(exit),
            Outcome::Fetched(failures) => not_downloaded = failures,
        }
    }
    let not_downloaded = Mutex::new(not_downloaded);
    let bars = Bars::new(context);
    let results = in_parallel(&chosen, args.jobs.max(1), |spec| {
        let started = Instant::now();
        let failed = not_downloaded.lock().expect("no holder panics").remove(spec.id.as_str());
        let result = match failed {
            Some(error) => Err(error),
            None => prepare_one(args, context, spec, &bars),
        };
        bars.finish(spec.id.as_str());
        (result, started.elapsed())
    });
    let mut lines = Vec::with_capacity(chosen.len());
    let mut failures = Vec::new();
    for (spec, (result, took)) in chosen.iter().zip(results) {
        lines.push(line(spec, &result, took));
        if let Err(error) = result {
            failures.push(error);
        }
    }
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&lines)?))?;
    } else {
        context.print(table(&lines))?;
    }
    match (failures.len(), chosen.len()) {
        (0, _) => Ok(Exit::Success),
        (1, 1) => Err(failures.remove(0)),
        _ => {
            for failure in failures {
                let _ = std::io::stderr().write_all(failure.render().as_bytes());
            }
            Ok(Exit::Partial)
        }
    }
}

/// Works on all items with `jobs` threads and gives the results in order.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = work(item);
                    *results[index].lock().expect("no holder panics") = Some(result);
                }
            });
        }
    });
    let taken = results.into_iter().map(|slot| slot.into_inner().expect("no holder panics"));
    taken.map(|result| result.expect("every item was worked on")).collect()
}

fn prepare_one(
    args: &Args,
    context: &Context,
    spec: &CompetitionSpec,
    bars: &Bars,
) -> Result<Prepared, CliError> {
    let raw = match (&args.raw_zip, &args.raw_dir) {
        (Some(zip), _) => RawInput::Zip(zip.clone()),
        (None, Some(dir)) => RawInput::Dir(dir.clone()),
        (None, None) => RawInput::DataDir,
    };
    let request = PrepareRequest {
        spec,
        data_dir: &context.data_dir,
        raw,
        downloads: args.downloads.clone(),
        fetch: if args.offline { None } else { Some(&FetchElsewhere) },
        overrides: args.overrides.iter().cloned().collect::<BTreeMap<_, _>>(),
        keep_raw: args.keep_raw,
        verify: !args.skip_verification,
        fixed: args.fixed,
        force: args.force,
    };
    prepare(&request, bars).map_err(|error| explained(error, spec.id.as_str()))
}

/// The error with its exit code and a way to go on.
fn explained(error: PrepareError, id: &str) -> CliError {
    let (exit, hint) = match &error {
        PrepareError::Override { .. } => (Exit::Usage, None),
        PrepareError::Busy { .. } | PrepareError::Download { .. } => {
            (Exit::Environment, error.remedy())
        }
        PrepareError::Io { source, .. }
            if matches!(
                source.kind(),
                ErrorKind::PermissionDenied
                    | ErrorKind::NotADirectory
                    | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            (
                Exit::Environment,
                Some("check who owns the folder, or choose another with `--data-dir`".to_owned()),
            )
        }
        _ => (Exit::BadInput, error.remedy()),
    };
    let error =
        CliError::new(exit, anyhow::Error::new(error)).context(format!("cannot prepare `{id}`"));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn line(spec: &CompetitionSpec, result: &Result<Prepared, CliError>, took: Duration) -> Line {
    let took_s = took.as_secs_f64();
    let id = spec.id.to_string();
    match result {
        Ok(prepared) => Line {
            id,
            outcome: if prepared.was_there { "present" } else { "prepared" },
            path: Some(prepared.path.clone()),
            files: prepared.manifest.as_ref().map(|manifest| manifest.count()),
            bytes: prepared.manifest.as_ref().map(|manifest| manifest.bytes()),
            checksums_compared: prepared
                .verification
                .as_ref()
                .map(|verification| verification.compared),
            took_s,
            error: None,
            hint: None,
        },
        Err(error) => Line {
            id,
            outcome: "failed",
            path: None,
            files: None,
            bytes: None,
            checksums_compared: None,
            took_s,
            error: Some(error.message_chain()),
            hint: error.hints().first().cloned(),
        },
    }
}

fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let files = line.files.map_or_else(String::new, |files| format!("{files} files"));
        let bytes = line.bytes.map_or_else(String::new, |bytes| ByteSize(bytes).to_string());
        let verified = match line.checksums_compared {
            Some(0) => "no published checksums".to_owned(),
            Some(count) => format!("{count} checksums equal"),
            None if line.outcome == "failed" => String::new(),
            None => "not verified".to_owned(),
        };
        let row = format!(
            "{:width$}  {:8}  {files:>12}  {bytes:>10}  {:>7.1} s  {verified}",
            line.id, line.outcome, line.took_s
        );
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// Progress on a terminal, a line a stage otherwise.
struct Bars<'a> {
    context: &'a Context,
    all: Option<MultiProgress>,
    each: Mutex<BTreeMap<String, Bar>>,
}

struct Bar {
    bar: ProgressBar,
    files: u64,
}

impl<'a> Bars<'a> {
    fn new(context: &'a Context) -> Self {
        Self { context, all: context.progress.then(MultiProgress::new), each: Mutex::default() }
    }

    fn with(&self, id: &str, change: impl FnOnce(&mut Bar)) {
        let Some(all) = &self.all else { return };
        let mut each = self.each.lock().expect("no holder panics");
        let bar = each.entry(id.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix} {msg} {bytes} {elapsed}");
            let bar =
                ProgressBar::no_length().with_style(style.expect("the template is well-formed"));
            let bar = all.add(bar).with_prefix(id.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            Bar { bar, files: 0 }
        });
        change(bar);
    }

    fn finish(&self, id: &str) {
        self.with(id, |bar| bar.bar.finish_and_clear());
    }
}

impl PrepareReporter for Bars<'_> {
    fn on_stage(&self, id: &str, stage: Stage) {
        let doing = match stage {
            Stage::Unpack => "opening the raw data",
            Stage::Split => "splitting",
            Stage::Verify => "verifying",
        };
        if self.all.is_none() {
            self.context.say(format_args!("{id}: {doing}"));
        }
        self.with(id, |bar| bar.bar.set_message(doing));
    }

    fn on_file(&self, id: &str, bytes: u64) {
        self.with(id, |bar| {
            bar.files += 1;
            bar.bar.inc(bytes);
            bar.bar.set_message(format!("splitting: {} files", bar.files));
        });
    }

    fn on_warning(&self, id: &str, message: &str) {
        let warn = || self.context.warn(format_args!("{id}: {message}"));
        match &self.all {
            Some(all) => all.suspend(warn),
            None => warn(),
        }
    }
}
