//! The validation service, in the dialects of MLE-bench (`result`) and ML-Master (`is_valid`,
//! header `exp-id`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use medalist_grading::untrusted::Shown;
use multer::{Field, Multipart};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::http::{self, Progress, Upload, UploadError};
use super::log::Log;
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::{ValidationReply, Validator};

/// An upload of which nothing more comes for this long is dropped.
const UPLOAD_IDLE: Duration = Duration::from_secs(30);
/// Bytes of a form besides the submission itself.
const FORM: u64 = 1 << 20;
/// After a validation the next one waits this many times as long as it took, so that an attempt
/// cannot use more than a quarter of one CPU of the harness.
const REST: u32 = 3;
/// Replies leave at this time after the upload, or twice, four times, … as late. Verdicts do not
/// depend on the answers; neither does the time a client can measure.
const REPLY_AFTER: Duration = Duration::from_millis(200);
/// The record of verdicts grows no further.
const LOG_LIMIT: u64 = 1 << 20;
/// Start of the names of folders with uploads.
const SCRATCH: &str = "validate-";

/// What the service knows about its attempt.
pub struct ValidationService {
    competition: String,
    validator: Arc<dyn Validator>,
    largest: u64,
    /// Where uploads are kept while they are looked at.
    scratch: PathBuf,
    /// When the next validation may begin. Held by the one that goes on.
    turn: Arc<Mutex<Instant>>,
    answered: AtomicU64,
    /// What was answered, and when.
    log: Log,
}

impl ValidationService {
    /// A service for one attempt at `competition`; uploads above `largest` bytes are refused.
    ///
    /// Uploads that a killed harness left in `dir` are removed.
    pub fn new(
        competition: &str,
        validator: Arc<dyn Validator>,
        largest: u64,
        dir: &AttemptDir,
    ) -> Self {
        let scratch = dir.root().to_owned();
        remove_uploads(&scratch);
        let log = Log::open(dir.validation_log(), LOG_LIMIT);
        let competition = competition.to_string();
        let (turn, answered) = (Arc::new(Mutex::new(Instant::now())), AtomicU64::new(0));
        Self { competition, validator, largest, scratch, turn, answered, log }
    }

    /// Validations that got an answer.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Serves until dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener) {
        http::serve(listener, self.router()).await;
    }

    /// What is served.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/health", get(|| async { Json(json!({"status": "running"})) }))
            .route("/validate", post(validate))
            .with_state(self)
    }

    /// Looks at an upload, one at a time.
    async fn judge(
        &self,
        field: Field<'_>,
        progress: &Progress,
    ) -> Result<ValidationReply, Refusal> {
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        sleep_until(*turn).await;
        let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(&self.scratch);
        let scratch = scratch.map_err(|error| Refusal::unexpected(&error))?;
        let csv = scratch.path().join("submission_to_validate.csv");
        let whole = self.keep(field, progress, &csv).await?;
        let largest = self.largest;
        let validator = Arc::clone(&self.validator);
        // In a task of its own: a client that hangs up ends neither the check nor its turn, so that
        // hanging up gets nobody a second check at the same time.
        let checked = tokio::spawn(async move {
            let started = Instant::now();
            let reply = if whole {
                tokio::task::spawn_blocking(move || validator.validate(&csv)).await.ok()
            } else {
                let message =
                    format!("Submission invalid! Submission file has more than {largest} bytes.");
                Some(ValidationReply { valid: false, message })
            };
            // Gone before the answer: an agent cannot fill the disk with uploads that wait.
            drop(scratch);
            let took = started.elapsed();
            *turn = Instant::now() + took * REST;
            (reply, took)
        });
        let failed = || Refusal::unexpected(&"the check itself failed");
        let (reply, took) = checked.await.map_err(|_| failed())?;
        let reply = reply.ok_or_else(failed);
        sleep(reply_after(took) - took).await;
        reply
    }

    /// Writes the upload to a file; false if it is too large, in which case the rest of it is read
    /// and dropped, since many clients read no answer before they have sent everything.
    async fn keep(
        &self,
        mut field: Field<'_>,
        progress: &Progress,
        csv: &Path,
    ) -> Result<bool, Refusal> {
        // Made at once and not by another thread, which could do so after a client hung up and the
        // folder was removed.
        let file = std::fs::File::create(csv).map_err(|error| Refusal::unexpected(&error))?;
        let mut file = tokio::fs::File::from_std(file);
        let mut size = 0_u64;
        loop {
            let chunk = match field.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) if too_large(&error) => return Ok(false),
                Err(error) => return Err(Refusal::form(&error)),
            };
            progress.made();
            size += chunk.len() as u64;
            if size <= self.largest {
                file.write_all(&chunk).await.map_err(|error| Refusal::unexpected(&error))?;
            }
        }
        file.flush().await.map_err(|error| Refusal::unexpected(&error))?;
        Ok(size <= self.largest)
    }
}

/// The first of 200 ms, 400 ms, 800 ms, … that is not before `took`.
fn reply_after(took: Duration) -> Duration {
    let mut at = REPLY_AFTER;
    while at < took {
        at *= 2;
    }
    at
}

/// Removes what a harness that was killed left of uploads.
fn remove_uploads(scratch: &Path) {
    let Ok(entries) = std::fs::read_dir(scratch) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCRATCH)
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove an old upload");
        }
    }
}

fn too_large(error: &multer::Error) -> bool {
    matches!(upload_error(error), Some(UploadError::TooLarge(_)))
}

fn upload_error(error: &multer::Error) -> Option<&UploadError> {
    match error {
        multer::Error::StreamReadFailed(cause) => cause.downcast_ref(),
        _ => None,
    }
}

struct Refusal(StatusCode, String, String);

impl Refusal {
    fn bad_request(what: &dyn std::fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, what.to_string(), String::new())
    }

    fn form(error: &multer::Error) -> Self {
        match upload_error(error) {
            Some(error @ UploadError::TooLarge(_)) => {
                Self(StatusCode::PAYLOAD_TOO_LARGE, error.to_string(), String::new())
            }
            Some(error @ UploadError::Stalled) => {
                Self(StatusCode::REQUEST_TIMEOUT, error.to_string(), String::new())
            }
            Some(error) => Self::bad_request(error),
            None => Self::bad_request(error),
        }
    }

    fn unexpected(what: &dyn std::fmt::Display) -> Self {
        let error = "An unexpected error occurred.".to_string();
        Self(StatusCode::INTERNAL_SERVER_ERROR, error, what.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, error, details) = self;
        let body = if details.is_empty() {
            json!({"error": error})
        } else {
            json!({"error": error, "details": details})
        };
        (status, Json(body)).into_response()
    }
}

async fn validate(State(service): State<Arc<ValidationService>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    match answer(&service, &head.headers, body).await {
        Ok(reply) => {
            service.answered.fetch_add(1, Ordering::Relaxed);
            let message = Shown::message(&reply.message);
            service.log.add(json!({"valid": reply.valid, "message": message}));
            Json(json!({"result": reply.message, "is_valid": reply.valid})).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(
    service: &ValidationService,
    headers: &HeaderMap,
    body: Body,
) -> Result<ValidationReply, Refusal> {
    if let Some(given) = headers.get("exp-id")
        && given.as_bytes() != service.competition.as_bytes()
    {
        let given = String::from_utf8_lossy(given.as_bytes());
        let expected = &service.competition;
        return Err(Refusal::bad_request(&format!("`exp-id` is `{given}`, expected `{expected}`")));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(kind.unwrap_or_default());
    let boundary = boundary.map_err(|_| {
        Refusal::bad_request(
            &"send the submission as the part `file` of a multipart/form-data form",
        )
    })?;
    let limit = service.largest.saturating_mul(2).saturating_add(FORM);
    let (upload, progress) = Upload::new(body, limit, UPLOAD_IDLE);
    let mut form = Multipart::new(upload, boundary);
    while let Some(mut field) = form.next_field().await.map_err(|error| Refusal::form(&error))? {
        progress.made();
        if field.name() == Some("file") {
            return service.judge(field, &progress).await;
        }
        // Parts that nobody asked for have no progress of their own: they are small or refused.
        while field.chunk().await.map_err(|error| Refusal::form(&error))?.is_some() {}
    }
    Err(Refusal::bad_request(&"the form has no part `file`"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::*;

    struct SizeIsOdd;

    impl Validator for SizeIsOdd {
        fn validate(&self, csv: &Path) -> ValidationReply {
            let valid = csv.metadata().unwrap().len() % 2 == 1;
            ValidationReply { valid, message: format!("valid: {valid}") }
        }
    }

    /// A service that takes `largest` bytes, and the folder of its socket.
    fn start(largest: u64) -> (tempfile::TempDir, Arc<ValidationService>) {
        let dir = tempfile::tempdir().unwrap();
        let service = Arc::new(ValidationService::new(
            "c",
            Arc::new(SizeIsOdd),
            largest,
            &AttemptDir::new(dir.path()),
        ));
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        tokio::spawn(Arc::clone(&service).serve(listener));
        (dir, service)
    }

    fn form(head: &str, content: &[u8]) -> Vec<u8> {
        let mut body =
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n").into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--b--\r\n");
        body
    }

    /// Sends a request and returns all that comes back. A service that has heard enough may close
    /// the connection before everything is sent.
    async fn post(dir: &Path, headers: &str, body: &[u8]) -> String {
        let mut stream = UnixStream::connect(dir.join("s")).await.unwrap();
        let head = format!(
            "POST /validate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let body = body.to_vec();
        let sending = tokio::spawn(async move {
            let _ = to.write_all(&body).await;
            to
        });
        let mut reply = Vec::new();
        let _ = from.read_to_end(&mut reply).await;
        sending.abort();
        String::from_utf8_lossy(&reply).into_owned()
    }

    #[tokio::test]
    async fn an_upload_is_judged_whatever_its_size() {
        let (dir, service) = start(3 << 20);
        for (size, valid) in [(1, true), (2, false), ((2 << 20) + 1, true), (3 << 20, false)] {
            let reply = post(dir.path(), "", &form("name=file", &vec![b'x'; size])).await;
            assert!(reply.contains(&format!("\"is_valid\":{valid}")), "{size}: {reply}");
        }
        let reply = post(dir.path(), "", &form("name=file", &vec![b'x'; (3 << 20) + 1])).await;
        assert!(reply.contains("has more than 3145728 bytes"), "{reply}");
        assert_eq!(service.answered(), 5);
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 2, "only the socket and the record are left");
        let record = std::fs::read_to_string(dir.path().join("validations.jsonl")).unwrap();
        let first: serde_json::Value =
            serde_json::from_str(record.lines().next().unwrap()).unwrap();
        assert_eq!((&first["valid"], &first["message"]), (&json!(true), &json!("valid: true")));
        assert_eq!(record.lines().count(), 5);
    }

    /// Counts checks at the same time.
    #[derive(Default)]
    struct Slow {
        running: AtomicU64,
        most: AtomicU64,
        done: AtomicU64,
    }

    impl Validator for Slow {
        fn validate(&self, _: &Path) -> ValidationReply {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(60));
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.done.fetch_add(1, Ordering::SeqCst);
            ValidationReply { valid: true, message: String::new() }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_hangs_up_gets_no_second_check_at_the_same_time_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let slow = Arc::new(Slow::default());
        let validator = Arc::clone(&slow) as Arc<dyn Validator>;
        let service =
            Arc::new(ValidationService::new("c", validator, 1 << 20, &AttemptDir::new(dir.path())));
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        tokio::spawn(Arc::clone(&service).serve(listener));
        let body = form("name=file", b"id,x\n1,2\n");
        let request = format!(
            "POST /validate HTTP/1.1\r\nHost: x\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let deadline = Instant::now() + Duration::from_secs(60);
        while slow.done.load(Ordering::SeqCst) < 4 {
            assert!(Instant::now() < deadline, "no check is made");
            let mut stream = UnixStream::connect(dir.path().join("s")).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            sleep(Duration::from_millis(20)).await;
            drop(stream);
        }
        assert_eq!(slow.most.load(Ordering::SeqCst), 1);
        while std::fs::read_dir(dir.path()).unwrap().count() > 1 {
            assert!(Instant::now() < deadline, "an upload is left");
            sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn what_has_no_end_is_refused_before_it_fills_the_memory() {
        let (dir, _) = start(64 << 20);
        let long = vec![b'x'; 8 << 20];
        let no_boundary = post(dir.path(), "", &long).await;
        assert!(no_boundary.starts_with("HTTP/1.1 400") && no_boundary.contains("no part"));
        let mut no_head_end = b"--b\r\nContent-Disposition: form-data; name=file; x=".to_vec();
        no_head_end.extend_from_slice(&long);
        let reply = post(dir.path(), "", &no_head_end).await;
        assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
        let other_part = post(dir.path(), "", &form("name=other", &long)).await;
        assert!(other_part.starts_with("HTTP/1.1 400"), "{other_part}");
        let headers: String = (0..100).map(|n| format!("h{n}: v\r\n")).collect();
        let reply = post(dir.path(), &headers, &form("name=file", b"x")).await;
        assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
        let reply = post(dir.path(), &format!("h: {}\r\n", "v".repeat(100_000)), b"").await;
        assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
    }

    #[tokio::test]
    async fn a_form_without_the_part_or_for_another_experiment_is_refused() {
        let (dir, service) = start(100);
        let reply = post(dir.path(), "", &form("name=other", b"x")).await;
        assert!(reply.contains("the form has no part `file`"), "{reply}");
        let reply = post(dir.path(), "exp-id: d\r\n", &form("name=file", b"x")).await;
        assert!(reply.contains("`exp-id` is `d`, expected `c`"), "{reply}");
        assert_eq!(service.answered(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_clients_are_dropped_and_do_not_block_others() {
        let (dir, _) = start(100);
        let mut stalled = Vec::new();
        for number in 0..32 {
            let mut stream = UnixStream::connect(dir.path().join("s")).await.unwrap();
            let head: &[u8] = if number % 2 == 0 {
                b"POST /validate HTTP/1.1\r\nHost: x\r\n"
            } else {
                b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\
                  Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            };
            stream.write_all(head).await.unwrap();
            stalled.push(stream);
        }
        // The clock is paused and jumps to the next deadline whenever all wait.
        let reply = post(dir.path(), "", &form("name=file", b"x")).await;
        assert!(reply.contains("\"is_valid\":true"), "{reply}");
    }

    #[test]
    fn replies_leave_at_few_distinct_times() {
        for (took, at) in [(0, 200), (1, 200), (200, 200), (201, 400), (799, 800), (900, 1600)] {
            assert_eq!(reply_after(Duration::from_millis(took)), Duration::from_millis(at));
        }
    }

    #[test]
    fn uploads_of_a_killed_harness_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("validate-abc/x")).unwrap();
        std::fs::write(dir.path().join("validate-file"), "").unwrap();
        std::fs::create_dir(dir.path().join("code")).unwrap();
        remove_uploads(dir.path());
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["code", "validate-file"]);
    }
}
