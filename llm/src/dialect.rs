//! The three families of wire formats, and how each says no.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A family of wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Chat completions, responses and embeddings, as many servers speak them.
    OpenAi,
    /// Messages.
    Anthropic,
    /// `generateContent` and its kin.
    Gemini,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        })
    }
}

impl Dialect {
    /// What the harness's own requests state beside the headers that every request has.
    pub(crate) fn own_headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self == Self::Anthropic {
            headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        }
        headers
    }
}

/// Why the gateway itself answers a request with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The request cannot be read.
    BadRequest,
    /// The budget is used up.
    Budget,
    /// A rule of the harness forbids it.
    Policy,
    /// There is no such route.
    NotFound,
    /// The body is larger than allowed.
    TooLarge,
    /// The body is compressed in a way that is not supported.
    Encoding,
    /// The host asked for is not the one that was connected to.
    Misdirected,
    /// Only plain HTTP is spoken here.
    Upgrade,
    /// Too slow: the request did not arrive in time.
    RequestTimeout,
    /// The provider did not answer, or not with HTTP.
    BadGateway,
    /// The provider stayed overloaded longer than the client waits.
    Unavailable,
    /// The recording has no answer to this request.
    ReplayMiss,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Budget => 402,
            Self::Policy => 403,
            Self::NotFound | Self::ReplayMiss => 404,
            Self::RequestTimeout => 408,
            Self::TooLarge => 413,
            Self::Encoding => 415,
            Self::Misdirected => 421,
            Self::Upgrade => 426,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Unavailable | Self::BadGateway | Self::RequestTimeout)
    }

    fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Budget => "insufficient_quota",
            Self::Policy => "forbidden_by_harness",
            Self::NotFound => "not_found",
            Self::TooLarge => "request_too_large",
            Self::Encoding => "unsupported_encoding",
            Self::Misdirected => "misdirected_request",
            Self::Upgrade => "upgrade_required",
            Self::RequestTimeout => "request_timeout",
            Self::BadGateway => "bad_gateway",
            Self::Unavailable => "overloaded",
            Self::ReplayMiss => "replay_miss",
        }
    }

    fn anthropic_type(self) -> &'static str {
        match self {
            Self::BadRequest | Self::Encoding | Self::Misdirected | Self::Upgrade => {
                "invalid_request_error"
            }
            Self::Budget => "billing_error",
            Self::Policy => "permission_error",
            Self::NotFound | Self::ReplayMiss => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::RequestTimeout => "timeout_error",
            Self::BadGateway => "api_error",
            Self::Unavailable => "overloaded_error",
        }
    }

    fn gemini_status(self) -> &'static str {
        match self {
            Self::BadRequest
            | Self::Encoding
            | Self::Misdirected
            | Self::Upgrade
            | Self::TooLarge => "INVALID_ARGUMENT",
            Self::Budget => "RESOURCE_EXHAUSTED",
            Self::Policy => "PERMISSION_DENIED",
            Self::NotFound | Self::ReplayMiss => "NOT_FOUND",
            Self::RequestTimeout => "DEADLINE_EXCEEDED",
            Self::BadGateway => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// The JSON body of an error, in the shape that the dialect's clients read.
///
/// Every message begins with `medalist:`, so that nobody takes it for the provider's.
pub(crate) fn error_body(dialect: Dialect, refusal: Refusal, message: &str) -> Bytes {
    let message = format!("medalist: {message}");
    let value: Value = match dialect {
        Dialect::OpenAi => {
            let kind = if refusal == Refusal::Budget {
                "insufficient_quota"
            } else {
                "invalid_request_error"
            };
            let kind = if refusal.is_temporary() { "server_error" } else { kind };
            json!({"error": {"message": message, "type": kind, "param": null, "code": refusal.code()}})
        }
        Dialect::Anthropic => {
            json!({"type": "error", "error": {"type": refusal.anthropic_type(), "message": message}})
        }
        Dialect::Gemini => json!({"error": {"code": refusal.status(), "message": message,
            "status": refusal.gemini_status()}}),
    };
    value.to_string().into()
}
