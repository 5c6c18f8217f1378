//! The report's page, kept fresh while a group runs.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path as UrlPath, Query, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use chrono::Utc;
use futures_util::{Stream, stream};
use medalist_reports::attempt::{Attempt, Ending};
use medalist_reports::data::{ReportData, ReportOptions};
use medalist_reports::html::{self, PageOptions};
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::read::{self, Reading};
use medalist_reports::record::AttemptKey;
use medalist_reports::viewer::{self, Limit, Links, Page, Site};
use medalist_reports::{export, plots};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::context::Context;
use super::error::{CliError, Exit};
use super::report::{Source, default_title, keep_agent};
use super::transcript::Recorded;
use crate::attempt::dir::AttemptDir;

/// How often run groups are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Serves the report at an address until the process is interrupted.
///
/// # Errors
/// Nothing to read, or the address is taken.
pub async fn run(shown: Shown, address: SocketAddr, context: &Context) -> Result<(), CliError> {
    let token = shown.token.clone();
    if shown.token.trim().is_empty() {
        return Err(CliError::message(
            Exit::Usage,
            "the token is empty, and would let everybody in",
        )
        .hint("leave out `--token` and `MEDALIST_SERVE_TOKEN` for a random one"));
    }
    // What cannot be read at all is said here and not in a browser.
    shown.reading()?;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        CliError::new(Exit::Environment, error)
            .context(format!("cannot listen on `{address}`"))
            .hint("choose another port with `--port`, or 0 for a free one")
    })?;
    let local = listener.local_addr()?;
    if !local.ip().is_loopback() {
        context.warn(format_args!(
            "`{local}` can be reached by other machines; the token is all that keeps them out"
        ));
    }
    context.print(format_args!("http://{local}/?token={token}\n"))?;
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(serve(listener, shown, stop).await?)
}

/// What is served, and to whom.
#[derive(Debug)]
pub struct Shown {
    /// Where run groups are read from.
    pub paths: Vec<PathBuf>,
    /// The agent whose groups are shown; all if none.
    pub agent: Option<String>,
    /// Facts of competitions.
    pub source: Source,
    /// What every address must carry; nobody gets in with an empty one.
    pub token: String,
    /// Names by which browsers reach this machine, besides `localhost` and its addresses.
    pub names: Vec<String>,
}

impl Shown {
    fn reading(&self) -> Result<Reading, CliError> {
        let mut reading = read::read(&self.paths, &self.source)
            .map_err(|error| CliError::new(Exit::BadInput, anyhow::Error::new(error)))?;
        keep_agent(&mut reading, self.agent.as_deref())?;
        Ok(reading)
    }

    fn report(&self) -> Result<ReportData, CliError> {
        let reading = self.reading()?;
        let options = ReportOptions {
            title: default_title(&reading),
            generated_at: Utc::now(),
            seed_rule: SeedRule::default(),
            cutoffs: Default::default(),
        };
        Ok(ReportData::compute(&reading, &self.source, &options))
    }

    fn page(&self) -> Result<String, CliError> {
        let data = self.report()?;
        let events = self.address("/events");
        let ids = Ids::of(&data);
        let links = |of: &[String], what: &str| -> Vec<String> {
            of.iter().map(|id| self.address(&format!("/{what}/{id}"))).collect()
        };
        let options = PageOptions {
            links: &links(&ids.attempts, "attempts"),
            competition_links: &links(&ids.competitions, "competitions"),
            live: Some(&events),
        };
        Ok(html::page_with(&data, &plots::all(&data)?, options)?)
    }

    /// An address of this server with the token that it needs.
    fn address(&self, path: &str) -> String {
        // A user's own token may hold anything.
        let token = utf8_percent_encode(&self.token, NON_ALPHANUMERIC);
        format!("{path}?token={token}")
    }

    /// The attempt with this id, which is looked up: no path comes from the address.
    fn attempt(&self, id: &str) -> Result<Option<Attempt>, CliError> {
        let reading = self.reading()?;
        let ids =
            attempt_ids(reading.attempts().map(|attempt| (attempt.group.as_str(), &attempt.key)));
        let at = ids.iter().position(|known| known == id);
        Ok(at.and_then(|at| reading.groups.into_iter().flat_map(|group| group.attempts).nth(at)))
    }

    /// Calls `make` with the pages of the report and their links.
    fn with_site<T>(
        &self,
        make: impl FnOnce(&Site<'_>, Links<'_>, &Ids) -> T,
    ) -> Result<T, CliError> {
        let data = self.report()?;
        let ids = Ids::of(&data);
        let links = Links {
            report: &self.address("/"),
            attempt: &|at| self.address(&format!("/attempts/{}", ids.attempts[at])),
            competition: &|at| self.address(&format!("/competitions/{}", ids.competitions[at])),
        };
        Ok(make(&Site::new(&data), links, &ids))
    }

    fn attempt_page(&self, id: &str) -> Result<Option<String>, CliError> {
        let page = self.with_site(|site, links, ids| {
            let at = ids.attempts.iter().position(|known| known == id)?;
            let page = Page {
                script: &self.address("/viewer.js"),
                base: &format!("/attempts/{id}/"),
                end: &self.address(".js"),
                live: Some(&format!("{}&attempt={id}", self.address("/events"))),
            };
            let attempt = viewer::Attempt::read(&site.data().attempts[at], &Recorded, Limit::MOST);
            Some(attempt.page(site, at, links, page))
        })?;
        Ok(page.transpose()?)
    }

    fn competition_page(&self, id: &str) -> Result<Option<String>, CliError> {
        let events = self.address("/events");
        let page = self.with_site(|site, links, ids| {
            let at = ids.competitions.iter().position(|known| known == id)?;
            Some(viewer::competition_page(site, at, links, Some(&events)))
        })?;
        Ok(page.transpose()?)
    }
}

/// Short names for addresses.
struct Ids {
    attempts: Vec<String>,
    competitions: Vec<String>,
}

impl Ids {
    fn of(data: &ReportData) -> Self {
        let attempts = data.attempts.iter().map(|attempt| (attempt.group.as_str(), &attempt.key));
        let competitions = data.competitions.iter().map(|c| digest(&c.facts.id)).collect();
        Self { attempts: attempt_ids(attempts), competitions }
    }
}

/// The first 16 digits of a text's SHA-256: no text of somebody's choice stands in an address.
fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// A short name of every attempt for addresses, made of its group and key. It stays the same while
/// groups run and come and go; the same attempt in a second group of the same name gets a number.
fn attempt_ids<'a>(attempts: impl Iterator<Item = (&'a str, &'a AttemptKey)>) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    attempts
        .map(|(group, key)| {
            let id = digest(&format!("{group}\0{key}"));
            let times = seen.entry(id.clone()).or_default();
            *times += 1;
            if *times == 1 { id } else { format!("{id}-{times}") }
        })
        .collect()
}

/// Serves until `stop` is done.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let shown = Arc::new(shown);
    let (closing, closed) = tokio::sync::watch::channel(false);
    let app = Router::new()
        .route("/", get(page))
        .route("/attempts/{id}", get(attempt))
        .route("/attempts/{id}/{part}", get(part))
        .route("/competitions/{id}", get(competition))
        .route("/viewer.js", get(script))
        .route("/report.json", get(report_json))
        .route("/events", get(events))
        .layer(middleware::from_fn_with_state(shown.clone(), check_request))
        .with_state((shown, closed, Folders::default()));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            stop.await;
            // Event streams never end by themselves and would keep the server alive.
            let _ = closing.send(true);
        })
        .await
}

type Shared = (Arc<Shown>, tokio::sync::watch::Receiver<bool>, Folders);

/// Where attempts are that somebody looks at, by their ids: a search asks for a hundred data files of
/// one, and groups need not be read a hundred times for it.
type Folders = Arc<Mutex<HashMap<String, PathBuf>>>;

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

/// Whether a browser asked for this server by a name or address of its own. Else a page of somebody
/// else's, whose name was made to lead here, could read the answers.
fn is_ours(headers: &HeaderMap, names: &[String]) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let Some(Ok(host)) = text(header::HOST).map(str::parse::<Authority>) else { return false };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let known = name.parse::<IpAddr>().is_ok()
        || std::iter::once("localhost")
            .chain(names.iter().map(String::as_str))
            .any(|known| known.eq_ignore_ascii_case(name));
    // Browsers say where a script comes from that asks another server.
    let same = text(header::ORIGIN).is_none_or(|origin| {
        let address = origin.split_once("://").map(|(_, address)| address);
        address.is_some_and(|address| address.eq_ignore_ascii_case(host.as_str()))
    });
    known && same
}

async fn check_request(
    State(shown): State<Arc<Shown>>,
    Query(given): Query<Token>,
    request: Request,
    next: Next,
) -> Response {
    if !is_ours(request.headers(), &shown.names) {
        let text = "this server is not known by that name, or another page asks; `medalist serve --name NAME` adds a name\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    // Digests are compared, so that the time it takes says nothing about the token.
    let equal = Sha256::digest(given.token.as_bytes()) == Sha256::digest(shown.token.as_bytes());
    if !equal || shown.token.is_empty() {
        return (
            StatusCode::FORBIDDEN,
            "the address needs the token that `medalist serve` printed\n",
        )
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

async fn page(State((shown, ..)): State<Shared>) -> Response {
    answer(shown, |shown| shown.page().map(|text| Html(text).into_response())).await
}

async fn attempt(State((shown, ..)): State<Shared>, UrlPath(id): UrlPath<String>) -> Response {
    answer(shown, move |shown| Ok(page_or_none(shown.attempt_page(&id)?))).await
}

async fn competition(State((shown, ..)): State<Shared>, UrlPath(id): UrlPath<String>) -> Response {
    answer(shown, move |shown| Ok(page_or_none(shown.competition_page(&id)?))).await
}

fn page_or_none(page: Option<String>) -> Response {
    let none = "there is nothing of this name any more; go back to the report\n";
    match page {
        Some(page) => Html(page).into_response(),
        None => (StatusCode::NOT_FOUND, none).into_response(),
    }
}

fn javascript(text: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

async fn script() -> Response {
    javascript(viewer::SCRIPT)
}

/// A data file of an attempt's page.
async fn part(
    State((shown, _, folders)): State<Shared>,
    UrlPath((id, name)): UrlPath<(String, String)>,
) -> Response {
    answer(shown, move |shown| {
        let known = folders.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let dir = match known {
            Some(dir) => Some(dir),
            None => shown.attempt(&id)?.and_then(|attempt| attempt.dir),
        };
        let name = name.strip_suffix(".js").unwrap_or_default();
        let text = dir.as_ref().and_then(|dir| viewer::one_part(dir, &Recorded, Limit::MOST, name));
        if let Some(dir) = dir {
            folders.lock().unwrap_or_else(PoisonError::into_inner).insert(id, dir);
        }
        Ok(match text {
            Some(text) => javascript(text),
            None => (StatusCode::NOT_FOUND, "there is no such data file\n").into_response(),
        })
    })
    .await
}

async fn report_json(State((shown, ..)): State<Shared>) -> Response {
    answer(shown, |shown| {
        let text = export::json_text(&shown.report()?);
        Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
    })
    .await
}

/// Reading and drawing take a while, so they stay off the threads that serve.
async fn answer(
    shown: Arc<Shown>,
    make: impl FnOnce(&Shown) -> Result<Response, CliError> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(move || make(&shown)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.render()).into_response(),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the report could not be made\n").into_response()
        }
    }
}

#[derive(Deserialize)]
struct Watched {
    attempt: Option<String>,
}

/// `progress` whenever the counts or the running attempts change, and `changed` whenever the page
/// would: the report's, or that of one attempt.
async fn events(
    State((shown, closed, _)): State<Shared>,
    Query(Watched { attempt }): Query<Watched>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let start = Watch { shown, closed, attempt, told: None, seen: None, pending: Vec::new() };
    let stream = stream::unfold(start, |mut watch| async move {
        loop {
            if let Some(event) = watch.pending.pop() {
                return Some((Ok(event), watch));
            }
            if watch.told.is_some() {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    _ = watch.closed.changed() => return None,
                }
            }
            watch.look().await;
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

struct Watch {
    shown: Arc<Shown>,
    closed: tokio::sync::watch::Receiver<bool>,
    attempt: Option<String>,
    told: Option<String>,
    seen: Option<BTreeSet<FileState>>,
    pending: Vec<Event>,
}

impl Watch {
    async fn look(&mut self) {
        let (shown, attempt) = (self.shown.clone(), self.attempt.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let files: BTreeSet<_> = match attempt {
                None => shown.paths.iter().flat_map(|path| state_files(path, 3)).collect(),
                Some(id) => {
                    let dir = shown.attempt(&id).ok().flatten().and_then(|attempt| attempt.dir);
                    dir.iter()
                        .flat_map(|dir| {
                            [state_files(dir, 1), state_of(&AttemptDir::new(dir).log())]
                        })
                        .flatten()
                        .collect()
                }
            };
            let progress = shown.reading().map(|reading| progress(&reading)).ok();
            (files, progress)
        });
        let Ok((files, progress)) = looked.await else { return };
        // Events are sent from the end of the list. One without data would not reach the page.
        if self.seen.as_ref().is_some_and(|seen| *seen != files) {
            self.pending.push(Event::default().event("changed").data("files"));
        }
        self.seen = Some(files);
        let progress = progress.unwrap_or_default();
        if self.told.as_ref() != Some(&progress) {
            let mut value: serde_json::Value =
                serde_json::from_str(&progress).unwrap_or_else(|_| json!({}));
            value["at"] = json!(Utc::now());
            self.pending.push(Event::default().event("progress").data(value.to_string()));
        }
        self.told = Some(progress);
    }
}

fn progress(reading: &Reading) -> String {
    let running: Vec<String> = reading
        .attempts()
        .filter(|a| {
            a.ending == Ending::Unfinished
                && a.record.as_ref().is_some_and(|r| r.started_at.is_some())
        })
        .map(|a| a.key.to_string())
        .collect();
    let planned = reading.attempts().count();
    let ended = reading.attempts().filter(|a| a.has_ended()).count();
    json!({ "planned": planned, "ended": ended, "running": running }).to_string()
}

/// A file with its size and time of change.
type FileState = (PathBuf, u64, Option<SystemTime>);

fn state_of(path: &Path) -> Vec<FileState> {
    path.metadata()
        .map(|metadata| (path.to_owned(), metadata.len(), metadata.modified().ok()))
        .into_iter()
        .collect()
}

/// The files that a report depends on.
fn state_files(path: &Path, depth: usize) -> Vec<FileState> {
    let Ok(metadata) = path.metadata() else { return Vec::new() };
    if metadata.is_file() {
        let watched = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            matches!(name, "group.json" | "attempt.json" | "grade.json")
                || name.contains("grading_report")
        });
        return if watched { state_of(path) } else { Vec::new() };
    }
    if depth == 0 {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries.filter_map(Result::ok).flat_map(|entry| state_files(&entry.path(), depth - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_server_are_answered() {
        let names = ["Lab.example.org".to_owned()];
        for (host, origin, ours) in [
            (Some("127.0.0.1:8000"), None, true),
            (Some("localhost"), None, true),
            (Some("[::1]:8000"), Some("http://[::1]:8000"), true),
            (Some("192.168.1.7:8000"), None, true),
            (Some("lab.example.org:8000"), Some("https://lab.example.org:8000"), true),
            (Some("rebound.example.net:8000"), None, false),
            (Some("localhost.example.net"), None, false),
            (Some("127.0.0.1.example.net"), None, false),
            (Some("127.0.0.1:8000"), Some("http://example.net"), false),
            (Some("127.0.0.1:8000"), Some("http://127.0.0.1:8001"), false),
            (Some("127.0.0.1:8000"), Some("null"), false),
            (Some("a b"), None, false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
                headers.extend(value.map(|value| (name, HeaderValue::from_static(value))));
            }
            assert_eq!(is_ours(&headers, &names), ours, "{host:?} from {origin:?}");
        }
    }
}
