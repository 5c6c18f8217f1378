//! What `prepare` does first: see what must come from Kaggle, whether it may and whether there is
//! room, then fetch it.
//!
//! All competitions are looked at before a byte is fetched, so that a rules page to accept or a
//! full disk shows up at once and not after a night of downloading.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bytesize::ByteSize;
use futures_util::StreamExt as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use medalist_competitions::prepare::Fetch;
use medalist_competitions::{CompetitionId, CompetitionSpec, DataDir};
use medalist_reports::table::{Column, Look, render};
use serde::Serialize;

use super::context::Context;
use super::error::{CliError, Exit};
use super::run::start_runtime;
use crate::host::kaggle::{
    Access, Credentials, DownloadReporter, DownloadRequest, Downloaded, KaggleClient, KaggleError,
    KaggleOptions, RemoteObject, SilentReporter,
};
use crate::host::machine::free_bytes;

/// What to do without credentials.
pub(super) const MAKE_A_TOKEN: &str =
    "make an API token at https://www.kaggle.com/settings and save it as `~/.kaggle/kaggle.json`";
/// Downloads at a time.
const AT_A_TIME: usize = 3;

/// How things stand with one competition before anything is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Prepared already.
    Prepared,
    /// Its raw data are in the data directory or in this program.
    RawAtHand,
    /// Its raw data come in a package, by pip.
    InPackage,
    /// It can be downloaded.
    Ready,
    /// Its rules must be accepted first.
    RulesNotAccepted,
    /// Kaggle refuses it to this account.
    Forbidden,
    /// Kaggle does not have it.
    NotFound,
    /// There are no credentials to ask with.
    NoCredentials,
    /// The question itself failed.
    Unknown,
}

impl State {
    fn is_in_the_way(self) -> bool {
        !matches!(self, Self::Prepared | Self::RawAtHand | Self::InPackage | Self::Ready)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::RawAtHand => "raw data at hand",
            Self::InPackage => "in a package",
            Self::Ready => "ready to download",
            Self::RulesNotAccepted => "rules not accepted",
            Self::Forbidden => "refused",
            Self::NotFound => "not on Kaggle",
            Self::NoCredentials => "no credentials",
            Self::Unknown => "cannot tell",
        }
    }
}

/// One line of the preflight.
#[derive(Debug, Serialize)]
struct Row {
    id: CompetitionId,
    /// What Kaggle calls it.
    #[serde(skip)]
    slug: String,
    state: State,
    /// Still to be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    download_bytes: Option<u64>,
    /// Written besides what is there: the download and, as an estimate, what it unpacks to.
    disk_bytes: u64,
    /// Where a person can do something about it, or what the server said.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// How things stand before anything is fetched.
#[derive(Debug, Serialize)]
struct Preflight {
    competitions: Vec<Row>,
    /// Where the credentials come from.
    credentials: Option<String>,
    disk_needed_bytes: u64,
    disk_free_bytes: Option<u64>,
}

impl Preflight {
    fn lacks_room(&self) -> bool {
        self.disk_free_bytes.is_some_and(|free| free < self.disk_needed_bytes)
    }

    fn is_clear(&self) -> bool {
        !self.lacks_room() && !self.competitions.iter().any(|row| row.state.is_in_the_way())
    }

    fn table(&self) -> String {
        let columns = [
            Column::new("COMPETITION"),
            Column::new("STATE"),
            Column::new("DOWNLOAD").right(),
            Column::new("DISK").right(),
            Column::new("WHAT TO DO"),
        ];
        let bytes =
            |bytes: u64| if bytes == 0 { String::new() } else { ByteSize(bytes).to_string() };
        let rows: Vec<Vec<String>> = self
            .competitions
            .iter()
            .map(|row| {
                let download = row.download_bytes.map_or_else(String::new, bytes);
                let remedy = row.remedy.clone().unwrap_or_default();
                vec![
                    row.id.to_string(),
                    row.state.text().to_owned(),
                    download,
                    bytes(row.disk_bytes),
                    remedy,
                ]
            })
            .collect();
        let free = self
            .disk_free_bytes
            .map_or_else(|| "unknown".to_owned(), |free| ByteSize(free).to_string());
        let needed = ByteSize(self.disk_needed_bytes);
        format!(
            "{}disk needed: about {needed}, free: {free}\n",
            render(&columns, &rows, Look::plain(usize::MAX))
        )
    }
}

/// What the user asked `prepare` for, as far as it matters here.
pub(super) struct Wanted<'a> {
    pub(super) competitions: &'a [&'a CompetitionSpec],
    /// Prepare again what is prepared already.
    pub(super) again: bool,
    /// Only look, and print what is found.
    pub(super) only_check: bool,
    pub(super) json: bool,
}

/// What is left to say after the downloads.
pub(super) enum Outcome {
    /// The look was all that was wanted.
    Checked(Exit),
    /// All that could be fetched is there; these failed.
    Fetched(BTreeMap<String, CliError>),
}

/// Looks at all competitions, then downloads what is missing.
///
/// # Errors
/// Something is in the way of a download; nothing has been fetched then.
pub(super) fn fetch_missing(wanted: &Wanted<'_>, context: &Context) -> Result<Outcome, CliError> {
    let missing =
        |spec: &CompetitionSpec| state_at_home(spec, &context.data_dir, wanted.again).is_none();
    if !wanted.only_check && !wanted.competitions.iter().any(|spec| missing(spec)) {
        return Ok(Outcome::Fetched(BTreeMap::new()));
    }
    let found = Credentials::of_process();
    if let Ok(found) = &found
        && found.exposed
    {
        context.warn(format_args!("other users of this machine can read `{}`", found.origin));
    }
    let client = match &found {
        Ok(found) => Some(
            KaggleClient::new(KaggleOptions::new(Some(found.credentials.clone())))
                .map_err(cli_error)?,
        ),
        Err(_) => None,
    };
    let runtime = start_runtime()?;
    let competitions = runtime.block_on(look(wanted, client.as_ref(), context));
    let preflight = Preflight {
        disk_needed_bytes: competitions.iter().map(|row| row.disk_bytes).sum(),
        disk_free_bytes: free_bytes(&context.data_dir).ok(),
        credentials: found.as_ref().ok().map(|found| found.origin.to_string()),
        competitions,
    };
    if wanted.only_check {
        match wanted.json {
            true => {
                context.print(format_args!("{}\n", serde_json::to_string_pretty(&preflight)?))?
            }
            false => context.print(preflight.table())?,
        }
        return Ok(Outcome::Checked(if preflight.is_clear() {
            Exit::Success
        } else {
            Exit::Environment
        }));
    }
    context.say(preflight.table().trim_end());
    match (&client, found) {
        (Some(client), _) if preflight.is_clear() => {
            let failures = runtime.block_on(fetch(&preflight, client, context));
            Ok(Outcome::Fetched(failures))
        }
        (_, Err(error)) => Err(CliError::new(Exit::Environment, error)
            .hint(format!("{MAKE_A_TOKEN}, or give `--raw-zip FILE`"))),
        _ if preflight.lacks_room() => {
            let place = context.data_dir.display();
            Err(CliError::message(Exit::DiskFull, format_args!("there is not enough room in `{place}`; nothing was downloaded"))
                .hint("free some, choose another place with `--data-dir`, or prepare fewer competitions at a time"))
        }
        _ => {
            let count =
                preflight.competitions.iter().filter(|row| row.state.is_in_the_way()).count();
            Err(CliError::message(Exit::Environment, format_args!("{count} of the competitions cannot be downloaded yet"))
                .hint("do what the last column of the table says, then run the same command again; nothing was downloaded"))
        }
    }
}

/// How things stand without asking Kaggle; none if it must be asked.
fn state_at_home(spec: &CompetitionSpec, data_dir: &Path, again: bool) -> Option<State> {
    let (data, id) = (DataDir::new(data_dir), &spec.id);
    let is_filled =
        |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    let is_whole = spec.missing_files(&data.prepared(id)).is_empty();
    if !again && is_whole && is_filled(&data.public(id)) && is_filled(&data.private(id)) {
        return Some(State::Prepared);
    }
    let at_hand = data.archive(id).is_file() || is_filled(&data.raw(id));
    match &spec.source {
        _ if at_hand => Some(State::RawAtHand),
        Some(_) => Some(State::InPackage),
        None => spec.kaggle_slug.is_none().then_some(State::RawAtHand),
    }
}

async fn look(wanted: &Wanted<'_>, client: Option<&KaggleClient>, context: &Context) -> Vec<Row> {
    const QUESTIONS_AT_A_TIME: usize = 8;
    let rows = wanted.competitions.iter().map(|spec| async move {
        let unpacked = (spec.size_gb.unwrap_or(0.0) * 1e9) as u64;
        let row = |state, download_bytes: Option<u64>, remedy| {
            let disk_bytes = match state {
                State::Prepared => 0,
                State::RawAtHand | State::InPackage => unpacked,
                _ => download_bytes.unwrap_or(unpacked) + unpacked.max(download_bytes.unwrap_or(0)),
            };
            let slug = spec.kaggle_slug.clone().unwrap_or_default();
            Row { id: spec.id.clone(), slug, state, download_bytes, disk_bytes, remedy }
        };
        if let Some(state) = state_at_home(spec, &context.data_dir, wanted.again) {
            return row(state, None, None);
        }
        let (Some(client), Some(slug)) = (client, &spec.kaggle_slug) else {
            return row(State::NoCredentials, Some(unpacked), Some(MAKE_A_TOKEN.to_owned()));
        };
        match client.access(slug).await {
            Ok(Access::Ready { bytes }) => row(State::Ready, bytes.or(Some(unpacked)), None),
            Ok(Access::RulesNotAccepted { page }) => {
                row(State::RulesNotAccepted, None, Some(format!("accept them at {page}")))
            }
            Ok(Access::Forbidden { message }) => row(State::Forbidden, None, Some(message)),
            Ok(Access::NotFound) => row(State::NotFound, None, spec.kaggle_url()),
            Err(error) => row(State::Unknown, None, Some(cli_error(error).message_chain())),
        }
    });
    futures_util::stream::iter(rows).buffered(QUESTIONS_AT_A_TIME).collect().await
}

async fn fetch(
    preflight: &Preflight,
    client: &KaggleClient,
    context: &Context,
) -> BTreeMap<String, CliError> {
    let ready: Vec<&Row> =
        preflight.competitions.iter().filter(|row| row.state == State::Ready).collect();
    let requests: Vec<DownloadRequest> = ready
        .iter()
        .map(|row| DownloadRequest {
            id: row.slug.clone(),
            object: RemoteObject::All,
            path: context.data().archive(&row.id),
        })
        .collect();
    let bars =
        Bars { context, all: context.progress.then(MultiProgress::new), each: Mutex::default() };
    let results = client.download_all(&requests, AT_A_TIME, &bars).await;
    let failed = ready
        .iter()
        .zip(results)
        .filter_map(|(row, result)| Some((row.id.to_string(), result.err()?)));
    let explained = failed.map(|(id, error)| {
        let error = cli_error(error).context(format!("cannot download `{id}`"));
        (id, error)
    });
    explained.collect()
}

/// Downloads the archive of one competition; one that is there is left as it is.
pub(super) async fn fetch_one(
    client: &KaggleClient,
    slug: &str,
    archive: &Path,
    context: &Context,
) -> Result<(), CliError> {
    let request = DownloadRequest {
        id: slug.to_owned(),
        object: RemoteObject::All,
        path: archive.to_owned(),
    };
    let bars =
        Bars { context, all: context.progress.then(MultiProgress::new), each: Mutex::default() };
    let downloaded = client.download(&request, &bars).await;
    downloaded
        .map(drop)
        .map_err(|error| cli_error(error).context(format!("cannot download `{slug}`")))
}

/// The error with its exit code and a way to go on.
pub(super) fn cli_error(error: KaggleError) -> CliError {
    let exit = match &error {
        KaggleError::NoSpace { .. } => Exit::DiskFull,
        _ => Exit::Environment,
    };
    let hint = error.hint();
    let error = CliError::new(exit, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// A bar a download on a terminal, a line at both ends otherwise.
struct Bars<'a> {
    context: &'a Context,
    all: Option<MultiProgress>,
    each: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Bars<'_> {
    fn with(&self, id: &str, change: impl FnOnce(&ProgressBar)) {
        let Some(all) = &self.all else { return };
        let mut each = self.each.lock().expect("no holder panics");
        change(each.entry(id.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template(
                "{prefix} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            );
            let bar = ProgressBar::new(0).with_style(style.expect("the template is well-formed"));
            all.add(bar).with_prefix(id.to_owned())
        }));
    }
}

impl DownloadReporter for Bars<'_> {
    fn on_start(&self, id: &str, have: u64, total: Option<u64>) {
        if self.all.is_none() {
            let total = total
                .map_or_else(|| "unknown size".to_owned(), |total| ByteSize(total).to_string());
            self.context
                .say(format_args!("{id}: downloading, {} of {total} at hand", ByteSize(have)));
        }
        self.with(id, |bar| {
            bar.set_length(total.unwrap_or(0));
            bar.set_position(have);
        });
    }

    fn on_bytes(&self, id: &str, have: u64) {
        self.with(id, |bar| bar.set_position(have));
    }

    fn on_retry(&self, id: &str, error: &KaggleError, wait: Duration) {
        let wait = humantime::format_duration(Duration::from_secs(wait.as_secs().max(1)));
        let warn = || self.context.warn(format_args!("{id}: {error}; trying again in {wait}"));
        match &self.all {
            Some(all) => all.suspend(warn),
            None => warn(),
        }
    }

    fn on_done(&self, id: &str, downloaded: &Downloaded) {
        self.with(id, ProgressBar::finish_and_clear);
        self.context.say(format_args!("{id}: downloaded {}", ByteSize(downloaded.bytes)));
    }
}

/// Gets the few files that recipes need from elsewhere.
pub(super) struct FetchElsewhere;

impl Fetch for FetchElsewhere {
    fn fetch(&self, url: &str, to: &Path) -> Result<(), String> {
        let request = DownloadRequest {
            id: url.to_owned(),
            object: RemoteObject::Url(url.to_owned()),
            path: to.to_owned(),
        };
        let download = || {
            let client = KaggleClient::new(KaggleOptions::new(None)).map_err(cli_error)?;
            start_runtime()?.block_on(client.download(&request, &SilentReporter)).map_err(cli_error)
        };
        download().map(drop).map_err(|error: CliError| error.message_chain())
    }
}
