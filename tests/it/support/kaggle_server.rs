//! A server that speaks Kaggle's API, with faults on demand.
//!
//! It serves the paths of the REST API (our client, and the official one up to 1.6) and the calls
//! of the newer one (the official client from 1.7 on). As on the real site, the API answers a
//! download with a redirect to a storage server, whose address carries a signature and must not be
//! given credentials. Both live on one port here.

use super::kaggle_facts::{self, Described};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const USERNAME: &str = "ada";
pub(crate) const KEY: &str = "0123456789abcdef";
pub(crate) const TOKEN: &str = "KGAT_0123456789abcdef";
/// base64 of `ada:0123456789abcdef`.
const BASIC: &str = "Basic YWRhOjAxMjM0NTY3ODlhYmNkZWY=";
const BEARER: &str = "Bearer KGAT_0123456789abcdef";

/// What goes wrong with the next request to one of the two servers.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// An error status instead of an answer.
    Status { status: u16, retry_after: Option<&'static str> },
    /// The connection is cut after that many bytes of this answer's body.
    Cut { after: usize },
    /// That many bytes come, then nothing more while the connection stays open.
    Stall { after: usize },
    /// The body comes in pieces of `piece` bytes, `pause` apart.
    Drip { piece: usize, pause: Duration },
    /// The length that the answer states is that much longer than the object.
    ClaimMore { bytes: u64 },
    /// One byte of the body is wrong.
    Flip,
    /// A wanted range is ignored and the whole object is sent.
    WholeObject,
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorized: bool,
    pub(crate) status: u16,
}

#[derive(Default)]
pub(crate) struct Inner {
    /// Competition -> the files in its data; the zip of all is stored as `""`.
    pub(super) competitions: BTreeMap<String, BTreeMap<String, Arc<Vec<u8>>>>,
    pub(super) described: BTreeMap<String, Described>,
    rules_not_accepted: Vec<String>,
    api_faults: VecDeque<Fault>,
    storage_faults: VecDeque<Fault>,
    seen: Vec<Seen>,
    /// Counts the objects' versions; part of every entity tag.
    version: u32,
    /// Signatures below this number have expired.
    valid_from: u32,
    signatures: u32,
    running: usize,
    most_running: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Inner>>);

/// The running server; it stops when dropped.
pub(crate) struct KaggleServer {
    shared: Shared,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for KaggleServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KaggleServer {
    pub(crate) async fn start() -> Self {
        let shared = Shared::default();
        let app = Router::new()
            .route("/api/v1/competitions/data/list/{id}", get(list))
            .route("/api/v1/competitions/data/download-all/{id}", get(download_all))
            .route("/api/v1/competitions/data/download/{id}/{*file}", get(download_one))
            .route("/api/v1/competitions/list", get(kaggle_facts::competitions))
            .route("/api/v1/competitions/get/{id}", get(kaggle_facts::facts))
            .route("/api/v1/competitions/{id}/pages", get(kaggle_facts::pages))
            .route("/api/v1/competitions/{id}/leaderboard/download", get(kaggle_facts::board))
            .route("/api/v1/competitions/{id}/leaderboard/view", get(kaggle_facts::board_view))
            .route("/api/v1/{service}/{call}", post(call))
            .route("/storage/{id}/{*file}", get(storage))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { shared, address, task }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The API's address without its version path.
    pub(crate) fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}/api/v1", self.root())
    }

    /// Adds a competition whose download is `zip` and whose list names `files`.
    pub(crate) fn add(&self, id: &str, zip: Vec<u8>, files: &[(&str, &[u8])]) {
        let mut objects: BTreeMap<_, _> =
            files.iter().map(|(n, b)| (n.to_string(), Arc::new(b.to_vec()))).collect();
        objects.insert(String::new(), Arc::new(zip));
        let mut inner = self.shared.lock();
        inner.version += 1;
        inner.competitions.insert(id.to_owned(), objects);
    }

    pub(crate) fn close_rules(&self, id: &str) {
        self.shared.lock().rules_not_accepted.push(id.to_owned());
    }

    pub(crate) fn fail_api(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().api_faults.extend(faults);
    }

    pub(crate) fn fail_storage(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().storage_faults.extend(faults);
    }

    /// Makes all addresses handed out so far invalid.
    pub(crate) fn expire_signatures(&self) {
        let mut inner = self.shared.lock();
        inner.valid_from = inner.signatures + 1;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    pub(crate) fn storage_seen(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|s| s.path.starts_with("/storage/")).collect()
    }

    /// The largest number of storage answers that were under way at the same time.
    pub(crate) fn most_running(&self) -> usize {
        self.shared.lock().most_running
    }
}

impl Shared {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(super) fn note(&self, path: String, headers: &HeaderMap, status: StatusCode) {
        let text =
            |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).map(str::to_owned);
        let seen = Seen {
            path,
            range: text(header::RANGE),
            authorized: headers.contains_key(header::AUTHORIZATION),
            status: status.as_u16(),
        };
        self.lock().seen.push(seen);
    }

    /// The checks that each API request passes first.
    #[expect(
        clippy::result_large_err,
        reason = "an answer is what this server makes, once a request"
    )]
    fn admit(&self, headers: &HeaderMap, id: &str) -> Result<(), Response<Body>> {
        self.admit_facts(headers, id)?;
        if self.lock().rules_not_accepted.iter().any(|r| r == id) {
            return Err(failure(
                403,
                "You must accept this competition's rules before you can continue.",
                None,
            ));
        }
        Ok(())
    }

    /// The checks before a question about anything but the data; `""` stands for all competitions.
    #[expect(
        clippy::result_large_err,
        reason = "an answer is what this server makes, once a request"
    )]
    pub(super) fn admit_facts(&self, headers: &HeaderMap, id: &str) -> Result<(), Response<Body>> {
        if let Some(Fault::Status { status, retry_after }) = self.lock().api_faults.pop_front() {
            return Err(failure(status, "fault on demand", retry_after));
        }
        let sent = headers.get(header::AUTHORIZATION).and_then(|a| a.to_str().ok());
        if !matches!(sent, Some(BASIC | BEARER)) {
            return Err(failure(401, "Unauthorized", None));
        }
        if !id.is_empty() && !self.lock().competitions.contains_key(id) {
            return Err(failure(404, "Not found", None));
        }
        Ok(())
    }

    fn redirect(&self, id: &str, file: &str) -> Response<Body> {
        let mut inner = self.lock();
        inner.signatures += 1;
        let name = if file.is_empty() { "archive.zip" } else { file };
        let name = name.replace('%', "%25").replace(' ', "%20");
        let target = format!("/storage/{id}/{name}?signature={}", inner.signatures);
        Response::builder()
            .status(302)
            .header(header::LOCATION, target)
            .body(Body::empty())
            .unwrap()
    }

    fn page(&self, id: &str, token: Option<&str>) -> Value {
        const PAGE: usize = 3;
        let inner = self.lock();
        let files: Vec<_> = inner.competitions[id].iter().filter(|(n, _)| !n.is_empty()).collect();
        let start: usize = token.and_then(|t| t.parse().ok()).unwrap_or(0);
        let shown = files.iter().skip(start).take(PAGE);
        let listed = inner.described.get(id).and_then(|described| described.listed_bytes);
        let list: Vec<_> = shown
            .map(|(name, bytes)| json!({"ref": "", "name": name, "totalBytes": listed.unwrap_or(bytes.len() as u64), "creationDate": "2019-12-03T13:31:51.193Z"}))
            .collect();
        let next =
            if start + PAGE < files.len() { (start + PAGE).to_string() } else { String::new() };
        json!({"files": list, "nextPageToken": next})
    }
}

pub(super) fn failure(status: u16, message: &str, retry_after: Option<&str>) -> Response<Body> {
    let mut response =
        Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    if let Some(wait) = retry_after {
        response = response.header(header::RETRY_AFTER, wait);
    }
    response.body(Body::from(json!({"code": status, "message": message}).to_string())).unwrap()
}

pub(super) fn answer(value: &Value) -> Response<Body> {
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(value.to_string()))
        .unwrap()
}

async fn list(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let admitted = shared.admit(&headers, &id);
    let response = admitted
        .err()
        .unwrap_or_else(|| answer(&shared.page(&id, query.get("pageToken").map(String::as_str))));
    shared.note(format!("/list/{id}"), &headers, response.status());
    response
}

async fn download_all(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let response = shared.admit(&headers, &id).err().unwrap_or_else(|| shared.redirect(&id, ""));
    shared.note(format!("/download-all/{id}"), &headers, response.status());
    response
}

async fn download_one(
    State(shared): State<Shared>,
    Path((id, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    let response = shared.admit(&headers, &id).err().unwrap_or_else(|| shared.redirect(&id, &file));
    shared.note(format!("/download/{id}/{file}"), &headers, response.status());
    response
}

/// The newer API: one POST per call, arguments as JSON.
async fn call(
    State(shared): State<Shared>,
    Path((service, call)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let arguments: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
    let id = text("competitionName");
    let response = if call == "IntrospectToken" {
        answer(&json!({"active": text("token") == TOKEN, "username": USERNAME}))
    } else if call == "ListCompetitions" {
        let size = arguments["pageSize"].as_u64().unwrap_or(20) as usize;
        return shared.tell_list(&text("search"), &text("pageToken"), size, &headers);
    } else if let Some(what) = match call.as_str() {
        "GetCompetition" => Some("facts"),
        "ListCompetitionPages" => Some("pages"),
        "DownloadLeaderboard" => Some("board"),
        "GetLeaderboard" => Some("board-view"),
        _ => None,
    } {
        return shared.tell(what, &id, &headers);
    } else if let Err(refused) = shared.admit(&headers, &id) {
        refused
    } else {
        match call.as_str() {
            "ListDataFiles" => answer(&shared.page(&id, arguments["pageToken"].as_str())),
            "DownloadDataFiles" => shared.redirect(&id, ""),
            "DownloadDataFile" => shared.redirect(&id, &text("fileName")),
            _ => failure(404, "Not found", None),
        }
    };
    shared.note(format!("/{service}/{call}"), &headers, response.status());
    response
}

/// Counts a storage answer for as long as its body is under way.
struct Running(Shared);

impl Running {
    fn begin(shared: &Shared) -> Self {
        let mut inner = shared.lock();
        inner.running += 1;
        inner.most_running = inner.most_running.max(inner.running);
        Self(shared.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

async fn storage(
    State(shared): State<Shared>,
    Path((id, file)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let (response, status) = storage_answer(&shared, &id, &file, query.get("signature"), &headers);
    shared.note(format!("/storage/{id}/{file}"), &headers, status);
    response
}

fn storage_answer(
    shared: &Shared,
    id: &str,
    file: &str,
    signature: Option<&String>,
    headers: &HeaderMap,
) -> (Response<Body>, StatusCode) {
    let plain = |status: u16, text: &'static str| {
        let response = Response::builder().status(status).body(Body::from(text)).unwrap();
        (response, StatusCode::from_u16(status).unwrap())
    };
    let (object, version, fault) = {
        let mut inner = shared.lock();
        if signature.and_then(|s| s.parse::<u32>().ok()).is_none_or(|s| s < inner.valid_from) {
            return plain(400, "<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>");
        }
        let name = if file == "archive.zip" { "" } else { file };
        let Some(object) = inner.competitions.get(id).and_then(|c| c.get(name)).cloned() else {
            return plain(404, "<Error>NoSuchKey</Error>");
        };
        (object, inner.version, inner.storage_faults.pop_front())
    };
    if let Some(Fault::Status { status, retry_after }) = fault {
        return (
            failure(status, "fault on demand", retry_after),
            StatusCode::from_u16(status).unwrap(),
        );
    }
    let tag = format!("\"v{version}\"");
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let first = text(header::RANGE).and_then(|r| r.strip_prefix("bytes=")?.split_once('-'));
    let same = text(header::IF_RANGE).is_none_or(|t| t == tag);
    let ranged = first.filter(|_| same && !matches!(fault, Some(Fault::WholeObject)));
    let (start, end) = match ranged {
        None => (0, object.len()),
        Some((first, last)) => {
            let end = last.parse::<usize>().map_or(object.len(), |l| (l + 1).min(object.len()));
            (first.parse().unwrap(), end)
        }
    };
    if ranged.is_some() && start >= object.len() {
        return plain(416, "");
    }
    let mut part = object[start..end].to_vec();
    let mut length = part.len() as u64;
    match fault {
        Some(Fault::ClaimMore { bytes }) => length += bytes,
        Some(Fault::Flip) => part[0] ^= 0x20,
        _ => {}
    }
    let total = object.len() as u64 + (length - part.len() as u64);
    let status = if ranged.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/zip")
        .header(header::CONTENT_LENGTH, length)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, &tag)
        .header(header::LAST_MODIFIED, "Tue, 03 Dec 2019 13:31:51 GMT")
        .header("x-goog-hash", "crc32c=AAAAAA==")
        .header("x-goog-hash", format!("md5={}", md5_base64(&object)));
    if ranged.is_some() {
        response =
            response.header(header::CONTENT_RANGE, format!("bytes {start}-{}/{total}", end - 1));
    }
    (response.body(body(part, fault, length, Running::begin(shared))).unwrap(), status)
}

/// A body that behaves as the fault says.
fn body(part: Vec<u8>, fault: Option<Fault>, claimed: u64, running: Running) -> Body {
    let (piece, pause) = match fault {
        Some(Fault::Drip { piece, pause }) => (piece, pause),
        _ => (16 * 1024, Duration::ZERO),
    };
    let stop = match fault {
        Some(Fault::Cut { after } | Fault::Stall { after }) => after.min(part.len()),
        _ => part.len(),
    };
    let stalls = matches!(fault, Some(Fault::Stall { .. }));
    let broken = stop < part.len() || claimed > part.len() as u64;
    let pieces: VecDeque<Bytes> = part[..stop].chunks(piece).map(Bytes::copy_from_slice).collect();
    let steps = stream::unfold((pieces, running), move |(mut pieces, running)| async move {
        match pieces.pop_front() {
            Some(bytes) => {
                tokio::time::sleep(pause).await;
                Some((Ok(bytes), (pieces, running)))
            }
            None if stalls => std::future::pending::<Option<_>>().await,
            None if broken => {
                // Lets what was sent reach the other side before the connection goes down.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Err(io::Error::other("cut on demand")), (pieces, running)))
            }
            None => None,
        }
    });
    Body::from_stream(steps)
}

fn md5_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    use md5::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(bytes))
}

/// Bytes that look like a zip to those who check its ends; no two places look the same.
pub(crate) fn fake_zip(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    bytes[..4].copy_from_slice(b"PK\x03\x04");
    bytes[len - 22..len - 18].copy_from_slice(b"PK\x05\x06");
    bytes
}
