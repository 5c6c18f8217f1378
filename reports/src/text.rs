//! How numbers are printed, the same in every renderer.

use crate::estimate::Estimate;
use crate::llm::Cost;
use crate::stats::Interval;

/// The number with so many decimals, and no minus before a zero.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| matches!(c, '0' | '.')) => digits.to_owned(),
        _ => text,
    }
}

/// [`number`] with a plus before what is above zero.
fn signed(value: f64, decimals: usize) -> String {
    let text = number(value, decimals);
    if text.starts_with('-') || text.chars().all(|c| matches!(c, '0' | '.')) {
        text
    } else {
        format!("+{text}")
    }
}

/// `62.5%`, or `n/a`.
pub fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{}%", number(value * 100.0, 1)))
}

/// `41.2–83.8%`, `41.2–83.8% rough`, or `n/a`.
pub fn interval(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "n/a".to_owned(),
        |Interval { lower, upper, rough }| {
            let mark = if rough { " rough" } else { "" };
            format!("{}–{}%{mark}", number(lower * 100.0, 1), number(upper * 100.0, 1))
        },
    )
}

/// `+3.1`, in percentage points, or `n/a`.
pub fn points(share: Option<f64>) -> String {
    share.map_or_else(|| "n/a".to_owned(), |share| signed(share * 100.0, 1))
}

/// `-1.0 to +7.2`, `-1.0 to +7.2 rough`, in percentage points, or `n/a`.
pub fn points_interval(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "n/a".to_owned(),
        |i| {
            let mark = if i.rough { " rough" } else { "" };
            format!("{} to {}{mark}", signed(i.lower * 100.0, 1), signed(i.upper * 100.0, 1))
        },
    )
}

/// Three decimals, or `< 0.001`.
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { number(p, 3) }
}

/// `p = 0.031`, or `p < 0.001`.
pub fn p_equals(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {}", number(p, 3)) }
}

/// The p value that a look must not exceed: `0.0142`, `below 0.0001`, or `never`.
pub fn level(level: f64) -> String {
    match level {
        level if level <= 0.0 => "never".to_owned(),
        level if level < 0.000_1 => "below 0.0001".to_owned(),
        level => number(level, 4),
    }
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

/// `$12.30`, `$0.0042`, `at least $12.30`, `unpriced`, or `not recorded`.
pub fn cost(cost: Option<Cost>) -> String {
    match cost {
        None => "not recorded".to_owned(),
        Some(Cost::Unpriced) => "unpriced".to_owned(),
        Some(Cost::Known(usd)) => dollars(usd),
        Some(Cost::AtLeast(usd)) => format!("at least {}", dollars(usd)),
    }
}

/// `$12.30`, or with four decimals below ten cents.
pub fn dollars(usd: f64) -> String {
    let decimals = if usd != 0.0 && usd.abs() < 0.1 { 4 } else { 2 };
    let digits = number(usd, decimals);
    match digits.strip_prefix('-') {
        Some(digits) => format!("-${digits}"),
        None => format!("${digits}"),
    }
}

/// `-$0.10 to +$0.30`, with `rough` behind it where it is, or `n/a`.
pub fn dollars_interval(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "n/a".to_owned(),
        |i| {
            let mark = if i.rough { " rough" } else { "" };
            format!("{} to {}{mark}", signed_dollars(i.lower), signed_dollars(i.upper))
        },
    )
}

/// [`dollars`] with a plus before what is above zero.
pub fn signed_dollars(usd: f64) -> String {
    let text = dollars(usd);
    let is_zero = text.chars().all(|c| matches!(c, '$' | '0' | '.' | '-'));
    if usd > 0.0 && !is_zero { format!("+{text}") } else { text }
}

/// `950`, `12.3k`, `4.56M`: a count of tokens.
pub fn tokens(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", number(count as f64 / 1e3, 1)),
        1_000_000..1_000_000_000 => format!("{}M", number(count as f64 / 1e6, 2)),
        _ => format!("{}G", number(count as f64 / 1e9, 2)),
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

/// The denominator of an estimate: `5 of 8`, `mean of 8`, or `mean of 8 of 9` where the measure is
/// unknown on one.
pub fn counted(estimate: &Estimate) -> String {
    let all = match estimate.unknown {
        0 => String::new(),
        unknown => format!(" of {}", estimate.attempts + unknown),
    };
    if estimate.measure.is_binary() {
        format!("{:.0} of {}", estimate.sum, estimate.attempts)
    } else {
        format!("mean of {}{all}", estimate.attempts)
    }
}

/// A text that others chose, for a table or list in Markdown: on one line, and nothing in it is
/// markup, HTML, a link or a mention. Characters that cannot be seen or that reorder text stand as
/// their numbers.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '[' | ']' => out.extend(['\\', c]),
            '\n' | '\r' | '\t' => out.push(' '),
            c => push_visible(&mut out, c),
        }
    }
    // A name such as @team would call people, and an address would become a link.
    out.replace('@', "&#64;").replace("://", ":&#47;&#47;")
}

/// A text that others chose with every character that cannot be seen or that reorders text as its
/// number; line ends and tabs stay.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') { out.push(c) } else { push_visible(&mut out, c) }
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    let hidden = c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{e0000}'..='\u{e007f}');
    if hidden { out.push_str(&format!("\\u{{{:x}}}", u32::from(c))) } else { out.push(c) }
}

/// The arguments of a tool as a person reads them: names with their values, and texts with their
/// line ends.
pub fn readable(arguments: &serde_json::Value) -> String {
    use serde_json::Value;
    match arguments {
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.len() == 1 => {
            fields.values().next().map(readable).unwrap_or_default()
        }
        Value::Object(fields) => {
            let lines = fields.iter().map(|(key, value)| format!("{key}: {}", readable(value)));
            lines.collect::<Vec<String>>().join("\n")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// `+0:00:03`: hours, minutes and seconds from a beginning.
pub fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    format!("+{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// A text that others chose, for a cell of a CSV file: spreadsheets take one that begins like a
/// formula for a formula, so that it begins with an apostrophe.
pub fn csv_cell(text: &str) -> String {
    let text = visible(text);
    let formula =
        text.trim_start().starts_with(['=', '+', '-', '@']) || text.starts_with(['\t', '\r', '\n']);
    if formula && text.parse::<f64>().is_err() { format!("'{text}") } else { text }
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
    fn dollars_and_tokens_are_short_and_never_minus_zero() {
        let shown: Vec<String> = [0.0, -0.000_01, 0.004_21, 0.1, 12.345, -3.0].map(dollars).into();
        assert_eq!(shown, ["$0.00", "$0.0000", "$0.0042", "$0.10", "$12.35", "-$3.00"]);
        assert_eq!(signed_dollars(0.25), "+$0.25");
        assert_eq!(dollars_interval(Some(Interval::new(-0.2, 0.3))), "-$0.20 to +$0.30");
        assert_eq!(cost(Some(Cost::AtLeast(2.0))), "at least $2.00");
        assert_eq!([cost(None), cost(Some(Cost::Unpriced))], ["not recorded", "unpriced"]);
        let shown: Vec<String> = [9_999, 12_345, 4_560_000, 7_890_000_000].map(tokens).into();
        assert_eq!(shown, ["9999", "12.3k", "4.56M", "7.89G"]);
    }

    #[test]
    fn nothing_is_minus_zero_and_no_p_is_zero() {
        assert_eq!(points(Some(-0.000_4)), "0.0");
        assert_eq!(points(Some(0.0)), "0.0");
        assert_eq!(points(Some(-0.01)), "-1.0");
        assert_eq!(points_interval(Some(Interval::new(-0.000_1, 0.02))), "0.0 to +2.0");
        assert_eq!(percent(Some(-0.0)), "0.0%");
        assert_eq!(p_equals(0.000_04), "p < 0.001");
        assert_eq!(p_value(0.031_4), "0.031");
        assert_eq!(interval(Some(Interval::new(0.1, 0.2).roughly(true))), "10.0–20.0% rough");
    }

    #[test]
    fn names_cannot_act_in_exports() {
        assert_eq!(csv_cell("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(csv_cell(" @SUM(A1)"), "' @SUM(A1)");
        assert_eq!(csv_cell("-12.5"), "-12.5");
        assert_eq!(csv_cell("plain"), "plain");
        assert_eq!(csv_cell("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(markdown("<b>|`x`\n@all"), "&lt;b&gt;\\|\\`x\\` &#64;all");
        assert_eq!(markdown("[x](https://example.org)"), "\\[x\\](https:&#47;&#47;example.org)");
        assert_eq!(markdown("\u{1b}[31m\u{200b}"), "\\u{1b}\\[31m\\u{200b}");
    }

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
