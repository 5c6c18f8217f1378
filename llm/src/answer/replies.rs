//! The gateway's own answers: refusals, and what is left of a budget.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::json;

use super::Answer;
use crate::attempt::AttemptContext;
use crate::call::AnswerBody;
use crate::dialect::{Dialect, Refusal, error_body};
use crate::ledger::Balance;

/// How long a client should wait before it asks again for an overloaded provider, in seconds.
const ASK_AGAIN: &str = "20";

/// An error of the gateway's own.
pub(super) fn refused(dialect: Dialect, refusal: Refusal, message: &str) -> Answer {
    let mut answer = json_answer(refusal.status(), error_body(dialect, refusal, message));
    let headers = answer.headers_mut();
    headers.insert("x-medalist-refusal", HeaderValue::from_static("1"));
    if refusal.is_temporary() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(ASK_AGAIN));
    } else {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    answer
}

/// The answer, and then the end of the connection: what is left of the request is not read.
pub(super) fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

pub(super) fn json_answer(status: u16, body: Bytes) -> Answer {
    let mut answer = Response::new(AnswerBody::Full(Some(body)));
    *answer.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// `GET /medalist/budget`.
pub(super) fn budget(attempt: &AttemptContext) -> Answer {
    let account = |balance: &Balance| {
        let left = balance.remaining();
        let limits = &balance.limits;
        json!({
            "limit": {"dollars": limits.dollars.map(|d| d.dollars()), "tokens": limits.tokens, "calls": limits.calls},
            "spent": {"dollars": balance.spent.money.dollars(), "tokens": balance.spent.tokens, "calls": balance.spent.calls},
            "reserved": {"dollars": balance.reserved.money.dollars(), "tokens": balance.reserved.tokens, "calls": balance.reserved.calls},
            "remaining": {"dollars": limits.dollars.map(|_| left.money.dollars()), "tokens": limits.tokens.map(|_| left.tokens),
                "calls": limits.calls.map(|_| left.calls)},
            "warning": balance.warning,
            "reached_at": balance.reached_at,
        })
    };
    let (own, group) = attempt.balances();
    json_answer(200, json!({"attempt": account(&own), "group": account(&group)}).to_string().into())
}

/// What is left, as a header: `dollars=4.20; tokens=1000`, or `unlimited`.
pub(super) fn remaining(own: &Balance, group: &Balance) -> String {
    let (a, b) = (own.remaining(), group.remaining());
    let mut parts = Vec::new();
    if own.limits.dollars.or(group.limits.dollars).is_some() {
        parts.push(format!("dollars={:.6}", a.money.min(b.money).dollars()));
    }
    if own.limits.tokens.or(group.limits.tokens).is_some() {
        parts.push(format!("tokens={}", a.tokens.min(b.tokens)));
    }
    if own.limits.calls.or(group.limits.calls).is_some() {
        parts.push(format!("calls={}", a.calls.min(b.calls)));
    }
    if parts.is_empty() { "unlimited".to_owned() } else { parts.join("; ") }
}
