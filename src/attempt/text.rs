//! Facts as text, the same everywhere.

pub use medalist_grading::chain;

/// A length of time as a person would say it, the same as in reports.
pub fn duration(length: std::time::Duration) -> String {
    seconds(length.as_secs_f64())
}

/// As [`duration`], of seconds.
pub fn seconds(seconds: f64) -> String {
    medalist_reports::text::duration(Some(seconds.max(0.0)))
}
