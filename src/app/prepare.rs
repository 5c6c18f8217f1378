//! From raw data to what agents see and what grades them.

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
use medalist_reports::table::{Column, Look, render};
use serde::Serialize;

use super::context::Context;
use super::download::{self, FetchElsewhere, Wanted, fetch_missing};
use super::error::{CliError, Exit};
use super::packaged::fetch_source;
use crate::attempt::text::seconds;

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

/// What is prepared, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Kaggle's archive, for a single competition.
    pub raw_zip: Option<PathBuf>,
    /// A directory as Kaggle's archive unpacks to, for a single competition.
    pub raw_dir: Option<PathBuf>,
    /// A folder with packages and extra files that some competitions need from elsewhere.
    pub downloads: Option<PathBuf>,
    /// Constants of recipes that are changed.
    pub overrides: BTreeMap<String, String>,
    /// Keep the unpacked archive.
    pub keep_raw: bool,
    /// Do not compare with the published checksums.
    pub skip_verification: bool,
    /// Leave out what is known to leak labels.
    pub fixed: bool,
    /// Prepare again what is prepared already.
    pub force: bool,
    /// Fetch nothing from the internet.
    pub offline: bool,
    /// Competitions prepared at a time.
    pub jobs: usize,
}

/// What became of each competition.
pub struct Outcome {
    lines: Vec<Line>,
    failures: Vec<CliError>,
}

impl Outcome {
    /// The summary as a table.
    pub fn table(&self) -> String {
        table(&self.lines)
    }

    /// The summary as JSON.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.lines)
    }

    /// Success, or what to tell of the failures: the only one is the error, several are printed.
    ///
    /// # Errors
    /// The failure of the only competition.
    pub fn exit(mut self) -> Result<Exit, CliError> {
        match (self.failures.len(), self.lines.len()) {
            (0, _) => Ok(Exit::Success),
            (1, 1) => Err(self.failures.remove(0)),
            _ => {
                for failure in self.failures {
                    let _ = std::io::stderr().write_all(failure.render().as_bytes());
                }
                Ok(Exit::Partial)
            }
        }
    }
}

/// Says what would be downloaded, how much disk it takes and what is in the way.
///
/// # Errors
/// Kaggle's client cannot be made, or stdout cannot be written.
pub fn check(
    competitions: &[&CompetitionSpec],
    again: bool,
    json: bool,
    context: &Context,
) -> Result<Exit, CliError> {
    let wanted = Wanted { competitions, again, only_check: true, json };
    Ok(match fetch_missing(&wanted, context)? {
        download::Outcome::Checked(exit) => exit,
        download::Outcome::Fetched(_) => Exit::Success,
    })
}

/// Downloads what is missing, and prepares.
///
/// # Errors
/// One archive is given for several competitions, or something is in the way of a download. A
/// competition that fails is in the outcome.
pub fn prepare_all(
    chosen: &[&CompetitionSpec],
    request: &Request,
    context: &Context,
) -> Result<Outcome, CliError> {
    let given = request.raw_zip.is_some() || request.raw_dir.is_some();
    if chosen.len() > 1 && given {
        return Err(CliError::message(
            Exit::Usage,
            "`--raw-zip` and `--raw-dir` are for one competition",
        )
        .hint("put each archive at `<data-dir>/<id>/<id>.zip` and leave them out"));
    }
    let mut not_downloaded = BTreeMap::new();
    if !given && !request.offline {
        let wanted =
            Wanted { competitions: chosen, again: request.force, only_check: false, json: false };
        if let download::Outcome::Fetched(failures) = fetch_missing(&wanted, context)? {
            not_downloaded = failures;
        }
    }
    let not_downloaded = Mutex::new(not_downloaded);
    let bars = Bars::new(context);
    let results = in_parallel(chosen, request.jobs.max(1), |spec| {
        let started = Instant::now();
        let failed = not_downloaded.lock().expect("no holder panics").remove(spec.id.as_str());
        let result = match failed {
            Some(error) => Err(error),
            None => prepare_one(request, context, spec, &bars),
        };
        bars.finish(spec.id.as_str());
        (result, started.elapsed())
    });
    let mut outcome = Outcome { lines: Vec::with_capacity(chosen.len()), failures: Vec::new() };
    for (spec, (result, took)) in chosen.iter().zip(results) {
        outcome.lines.push(line(spec, &result, took));
        outcome.failures.extend(result.err());
    }
    Ok(outcome)
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
    request: &Request,
    context: &Context,
    spec: &CompetitionSpec,
    bars: &Bars,
) -> Result<Prepared, CliError> {
    let raw = match (&request.raw_zip, &request.raw_dir) {
        (Some(zip), _) => RawInput::Zip(zip.clone()),
        (None, Some(dir)) => RawInput::Dir(dir.clone()),
        (None, None) => RawInput::DataDir,
    };
    if raw == RawInput::DataDir {
        fetch_source(spec, request, context)?;
    }
    let prepared = PrepareRequest {
        spec,
        data_dir: &context.data_dir,
        raw,
        downloads: request.downloads.clone(),
        fetch: if request.offline { None } else { Some(&FetchElsewhere) },
        overrides: request.overrides.clone(),
        keep_raw: request.keep_raw,
        verify: !request.skip_verification,
        fixed: request.fixed,
        force: request.force,
    };
    prepare(&prepared, bars).map_err(|error| explained(error, spec.id.as_str()))
}

/// The error with its exit code and a way to go on.
pub(super) fn explained(error: PrepareError, id: &str) -> CliError {
    let (exit, hint) = match &error {
        PrepareError::Override { .. } => (Exit::Usage, None),
        PrepareError::Open(_) => (Exit::Open, error.remedy()),
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
    let columns = [
        Column::new("COMPETITION"),
        Column::new("OUTCOME"),
        Column::new("FILES").right(),
        Column::new("SIZE").right(),
        Column::new("TIME").right(),
        Column::new("VERIFIED"),
    ];
    let row = |line: &Line| {
        let files = line.files.map_or_else(String::new, |files| files.to_string());
        let bytes = line.bytes.map_or_else(String::new, |bytes| ByteSize(bytes).to_string());
        let verified = match line.checksums_compared {
            Some(0) => "no published checksums".to_owned(),
            Some(count) => format!("{count} checksums equal"),
            None if line.outcome == "failed" => String::new(),
            None => "not verified".to_owned(),
        };
        vec![line.id.clone(), line.outcome.to_owned(), files, bytes, seconds(line.took_s), verified]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    render(&columns, &rows, Look::plain(usize::MAX))
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
