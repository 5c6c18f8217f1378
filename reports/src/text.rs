//! How numbers are printed, the same in every renderer.

use crate::estimate::Estimate;
use crate::stats::Interval;

/// `62.5%`, or `n/a`.
pub fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{:.1}%", value * 100.0))
}

/// `41.2–83.8%`, or `n/a`.
pub fn interval(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "n/a".to_owned(),
        |Interval { lower, upper }| format!("{:.1}–{:.1}%", lower * 100.0, upper * 100.0),
    )
}

/// `+3.1`, in percentage points, or `n/a`.
pub fn points(share: Option<f64>) -> String {
    share.map_or_else(|| "n/a".to_owned(), |share| format!("{:+.1}", share * 100.0))
}

/// `-1.0 to +7.2`, in percentage points, or `n/a`.
pub fn points_interval(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "n/a".to_owned(),
        |i| format!("{:+.1} to {:+.1}", i.lower * 100.0, i.upper * 100.0),
    )
}

/// Four decimals, or `< 0.0001`.
pub fn p_value(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// Up to five decimals, which is what MLE-bench keeps; `n/a` without a score.
pub fn score(value: Option<f64>) -> String {
    match value {
        None => "n/a".to_owned(),
        Some(value) if value.abs() >= 1e9 => format!("{value:.4e}"),
        Some(value) => format!("{}", (value * 1e5).round() / 1e5),
    }
}

/// `850 ms`, `12.3 s`, `4 min 05 s`, `3 h 20 min`; `n/a` if unknown.
pub fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => "n/a".to_owned(),
        Some(s) if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        Some(s) if s < 99.95 => format!("{s:.1} s"),
        Some(s) if s < 5970.0 => {
            let s = s.round() as u64;
            format!("{} min {:02} s", s / 60, s % 60)
        }
        Some(s) => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// `2.1 GiB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// The denominator of an estimate: `5 of 8` or `mean of 8`.
pub fn counted(estimate: &Estimate) -> String {
    if estimate.measure.is_binary() {
        format!("{:.0} of {}", estimate.sum, estimate.attempts)
    } else {
        format!("mean of {}", estimate.attempts)
    }
}

/// First letter in upper case.
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_pick_their_unit() {
        let cases =
            [(0.25, "250 ms"), (12.34, "12.3 s"), (245.0, "4 min 05 s"), (12_000.0, "3 h 20 min")];
        for (seconds, expected) in cases {
            assert_eq!(duration(Some(seconds)), expected);
        }
    }

    #[test]
    fn scores_keep_five_decimals_and_no_trailing_zeros() {
        assert_eq!(score(Some(0.919_420_000_1)), "0.91942");
        assert_eq!(score(Some(12.0)), "12");
        assert_eq!(score(None), "n/a");
    }
}
