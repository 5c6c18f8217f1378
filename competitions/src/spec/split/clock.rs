//! Times in the cells of a table, as numbers that sort as the times do.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

/// What a time is given as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// A number, of whatever unit.
    Number,
    /// A date, with or without a time of day; microseconds.
    Date,
}

impl Clock {
    /// The microseconds of a second.
    pub(crate) const SECOND: i64 = 1_000_000;

    /// What is expected, for messages.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Number => "a number, as the other times are",
            Self::Date => {
                "a date such as `2020-09-22` or `2020-09-22 17:30:00`, as the other times are"
            }
        }
    }

    /// Either kind of time.
    pub(crate) const EITHER: &'static str =
        "a number or a date such as `2020-09-22` or `2020-09-22 17:30:00`";

    /// The kind of time that a text is, if it is one, and its place among the times of that kind.
    pub(crate) fn read(text: &str) -> Option<(Self, i64)> {
        let text = text.trim();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Some((Self::Number, in_order(number))),
            Ok(_) => None,
            Err(_) => microseconds(text).map(|time| (Self::Date, time)),
        }
    }
}

/// Integers in the order of doubles.
fn in_order(number: f64) -> i64 {
    // Both zeros are one number.
    let bits = (number + 0.0).to_bits() as i64;
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

fn microseconds(text: &str) -> Option<i64> {
    let at = |moment: NaiveDateTime| Some(moment.and_utc().timestamp_micros());
    let date = text.get(..10)?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let rest = &text[10..];
    if rest.is_empty() {
        return at(date.and_time(NaiveTime::MIN));
    }
    let time = rest.strip_prefix(['T', ' '])?;
    let time = time.strip_suffix(" UTC").or_else(|| time.strip_suffix('Z')).unwrap_or(time);
    for form in ["%H:%M:%S%.f", "%H:%M"] {
        if let Ok(time) = NaiveTime::parse_from_str(time, form) {
            return at(date.and_time(time));
        }
    }
    // With a distance from UTC behind it.
    let moment = DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1)).ok()?;
    Some(moment.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_sort_as_they_follow_one_another() {
        let ladder = [
            "1969-12-31",
            "2020-09-22",
            "2020-09-22T00:00:00.5",
            "2020-09-22 00:01",
            "2020-09-22 02:00:00+01:00",
            "2020-09-22 17:30:00 UTC",
            "2020-09-22T17:30:00.000001Z",
            "2021-01-01",
        ];
        let times: Vec<i64> = ladder
            .iter()
            .map(|text| match Clock::read(text) {
                Some((Clock::Date, time)) => time,
                other => panic!("{text}: {other:?}"),
            })
            .collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        for wrong in ["", "nan", "inf", "22.9.2020", "2020-13-01", "2020-09-22x", "1/2/2020", "ä"]
        {
            assert_eq!(Clock::read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn numbers_sort_as_numbers(a in -1e12f64..1e12, b in -1e12f64..1e12) {
            let key = |number: f64| Clock::read(&number.to_string()).unwrap().1;
            prop_assert_eq!(a < b, key(a) < key(b));
            prop_assert_eq!(key(0.0), key(-0.0));
        }
    }
}
