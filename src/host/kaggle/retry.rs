//! When to try again, and after how long.

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::Duration;

/// How often and how patiently requests are repeated.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Failures in a row, without a byte of progress between them, after which to give up.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest wait of our own choosing.
    pub max_wait: Duration,
    /// The longest wait that a server may ask for; more is an error that says so.
    pub max_retry_after: Duration,
    /// How long a connection may stay silent before it counts as cut.
    pub silence: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 8,
            first_wait: Duration::from_millis(500),
            max_wait: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(30 * 60),
            silence: Duration::from_secs(90),
        }
    }
}

impl RetryPolicy {
    /// The wait after failure number `failures` (from 1): exponential, between half and all of the
    /// nominal value at random, so that many clients do not come back in step.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let nominal = self
            .first_wait
            .saturating_mul(1 << failures.saturating_sub(1).min(20))
            .min(self.max_wait);
        let share = f64::from((uuid::Uuid::new_v4().as_u128() & 0xffff) as u32) / 65536.0;
        nominal.mul_f64(0.5 + share / 2.0)
    }
}

/// True for answers that a later try may turn into a success.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// The wait that a `Retry-After` header asks for, in seconds or as a date; `None` if there is none
/// or it cannot be read.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
    Some((until - now).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = Utc.with_ymd_and_hms(2026, 3, 25, 23, 59, 30).unwrap();
        let cases: [(&str, Option<u64>); 6] = [
            ("7", Some(7)),
            ("0", Some(0)),
            ("-3", Some(0)),
            ("Thu, 26 Mar 2026 00:00:00 GMT", Some(30)),
            ("Wed, 25 Mar 2026 00:00:00 GMT", Some(0)),
            ("soon", None),
        ];
        for (text, seconds) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        let policy = RetryPolicy {
            first_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(10),
            ..RetryPolicy::default()
        };
        for (failures, nominal) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (40, 10)] {
            let wait = policy.backoff(failures);
            assert!(
                wait >= Duration::from_millis(nominal * 500)
                    && wait <= Duration::from_secs(nominal),
                "{failures}: {wait:?}"
            );
        }
    }
}
