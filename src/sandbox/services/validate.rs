//! The validation service, in the dialects of MLE-bench (`result`) and ML-Master (`is_valid`,
//! header `exp-id`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::multipart::{Field, MultipartRejection};
use axum::extract::{DefaultBodyLimit, Multipart, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use crate::attempt::launch::{ValidationReply, Validator};

/// Validations of one attempt that go on at a time; further ones wait.
const AT_A_TIME: usize = 2;

/// What the service knows about its attempt.
pub struct ValidationService {
    competition: String,
    validator: Arc<dyn Validator>,
    largest: u64,
    /// Where uploads are kept while they are looked at.
    scratch: PathBuf,
    slots: Semaphore,
    answered: AtomicU64,
}

impl ValidationService {
    /// A service for one attempt at `competition`; uploads above `largest` bytes are refused.
    pub fn new(
        competition: &str,
        validator: Arc<dyn Validator>,
        largest: u64,
        scratch: PathBuf,
    ) -> Self {
        let competition = competition.to_string();
        let (slots, answered) = (Semaphore::new(AT_A_TIME), AtomicU64::new(0));
        Self { competition, validator, largest, scratch, slots, answered }
    }

    /// Validations that got an answer.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Serves until dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener) {
        let router = Router::new()
            .route("/health", get(|| async { Json(json!({"status": "running"})) }))
            .route("/validate", post(validate))
            // The size is counted while the file is written, so that the answer can say what is
            // allowed.
            .layer(DefaultBodyLimit::disable())
            .with_state(self);
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "the validation service ended");
        }
    }

    async fn judge(&self, field: Field<'_>) -> Result<ValidationReply, Refusal> {
        let _slot = self.slots.acquire().await.map_err(|error| Refusal::unexpected(&error))?;
        let scratch = tempfile::Builder::new().prefix("validate-").tempdir_in(&self.scratch);
        let scratch = scratch.map_err(|error| Refusal::unexpected(&error))?;
        let csv = scratch.path().join("submission_to_validate.csv");
        if !self.keep(field, &csv).await? {
            let largest = self.largest;
            let message =
                format!("Submission invalid! Submission file has more than {largest} bytes.");
            return Ok(ValidationReply { valid: false, message });
        }
        let validator = Arc::clone(&self.validator);
        let reply = tokio::task::spawn_blocking(move || validator.validate(&csv)).await;
        reply.map_err(|_| Refusal::unexpected(&"the check itself failed"))
    }

    /// Writes the upload to a file; false if it is too large, in which case the rest of it is read
    /// and dropped.
    async fn keep(&self, mut field: Field<'_>, csv: &std::path::Path) -> Result<bool, Refusal> {
        let mut file =
            tokio::fs::File::create(csv).await.map_err(|error| Refusal::unexpected(&error))?;
        let mut size = 0_u64;
        loop {
            let chunk = field.chunk().await.map_err(|error| Refusal::bad_request(&error))?;
            let Some(chunk) = chunk else { break };
            size += chunk.len() as u64;
            if size > self.largest.saturating_mul(2) {
                return Ok(false);
            }
            if size <= self.largest {
                file.write_all(&chunk).await.map_err(|error| Refusal::unexpected(&error))?;
            }
        }
        file.flush().await.map_err(|error| Refusal::unexpected(&error))?;
        Ok(size <= self.largest)
    }
}

struct Refusal(StatusCode, String, String);

impl Refusal {
    fn bad_request(what: &dyn std::fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, what.to_string(), String::new())
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

async fn validate(
    State(service): State<Arc<ValidationService>>,
    headers: HeaderMap,
    upload: Result<Multipart, MultipartRejection>,
) -> Response {
    match answer(&service, &headers, upload).await {
        Ok(reply) => {
            service.answered.fetch_add(1, Ordering::Relaxed);
            Json(json!({"result": reply.message, "is_valid": reply.valid})).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(
    service: &ValidationService,
    headers: &HeaderMap,
    upload: Result<Multipart, MultipartRejection>,
) -> Result<ValidationReply, Refusal> {
    if let Some(given) = headers.get("exp-id")
        && given.as_bytes() != service.competition.as_bytes()
    {
        let given = String::from_utf8_lossy(given.as_bytes());
        let expected = &service.competition;
        return Err(Refusal::bad_request(&format!("`exp-id` is `{given}`, expected `{expected}`")));
    }
    let mut upload = upload.map_err(|error| Refusal::bad_request(&error.body_text()))?;
    loop {
        let field = upload.next_field().await.map_err(|error| Refusal::bad_request(&error))?;
        match field {
            Some(field) if field.name() == Some("file") => return service.judge(field).await,
            Some(_) => {}
            None => return Err(Refusal::bad_request(&"the form has no part `file`")),
        }
    }
}
