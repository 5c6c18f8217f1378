//! How large a test part is.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Template;

/// How large the test part is: `0.1` is a share, `100` a number of rows (of groups if `grouped`),
/// `"7 days"` everything from that long before the last time on, and `{ like = "test.csv" }` the
/// share that an original test part had.
#[derive(Clone, Debug, PartialEq)]
pub enum TestSize {
    /// A share between 0 and 1.
    Share(f64),
    /// A number of rows or groups.
    Rows(usize),
    /// A time before the last one.
    Lasting(Lasting),
    /// As many in proportion as this raw table has rows, or as files fit this path with
    /// placeholders: m of the n labelled rows and m others, m / (n + m).
    Like(Template),
}

/// A length of time, `7 days`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// How many.
    pub amount: u32,
    /// Of what.
    pub unit: TimeUnit,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// 60 seconds.
    Minutes,
    /// 60 minutes.
    Hours,
    /// 24 hours.
    Days,
    /// 7 days.
    Weeks,
}

impl Lasting {
    const UNITS: [(&str, TimeUnit, i64); 4] = [
        ("minute", TimeUnit::Minutes, 60),
        ("hour", TimeUnit::Hours, 3600),
        ("day", TimeUnit::Days, 24 * 3600),
        ("week", TimeUnit::Weeks, 7 * 24 * 3600),
    ];

    /// The length in seconds.
    pub fn seconds(self) -> i64 {
        let unit = Self::UNITS.iter().find(|(_, unit, _)| *unit == self.unit);
        i64::from(self.amount) * unit.map_or(0, |(.., seconds)| *seconds)
    }
}

impl FromStr for Lasting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected a time such as `7 days`, `12 hours` or `2 weeks`, found `{text}`");
        let (amount, word) = text.split_once(' ').ok_or_else(wrong)?;
        let amount = amount.parse().ok().filter(|amount| *amount > 0).ok_or_else(wrong)?;
        let word = word.strip_suffix('s').unwrap_or(word);
        let unit = Self::UNITS.iter().find(|(name, ..)| *name == word).ok_or_else(wrong)?.1;
        Ok(Self { amount, unit })
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Self::UNITS.iter().find(|(_, unit, _)| *unit == self.unit);
        let plural = if self.amount == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.amount, unit.map_or("", |(name, ..)| name))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LikeTable {
    like: Template,
}

impl Serialize for TestSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Share(share) => serializer.serialize_f64(*share),
            Self::Rows(rows) => serializer.serialize_u64(*rows as u64),
            Self::Lasting(lasting) => serializer.collect_str(lasting),
            Self::Like(like) => LikeTable { like: like.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TestSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl<'de> Visitor<'de> for Sizes {
            type Value = TestSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as 0.1, a number of rows, a time such as \"7 days\", or { like = \"test.csv\" }")
            }

            fn visit_f64<E: de::Error>(self, share: f64) -> Result<TestSize, E> {
                Ok(TestSize::Share(share))
            }

            fn visit_i64<E: de::Error>(self, rows: i64) -> Result<TestSize, E> {
                usize::try_from(rows)
                    .map(TestSize::Rows)
                    .map_err(|_| E::custom(format!("expected a number of rows, found {rows}")))
            }

            fn visit_u64<E: de::Error>(self, rows: u64) -> Result<TestSize, E> {
                Ok(TestSize::Rows(rows as usize))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TestSize, E> {
                text.parse().map(TestSize::Lasting).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TestSize, A::Error> {
                let LikeTable { like } = LikeTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(TestSize::Like(like))
            }
        }
        deserializer.deserialize_any(Sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::SplitSpec;

    #[test]
    fn sizes_are_told_apart_by_their_form() {
        let size = |text: &str| {
            toml::from_str::<SplitSpec>(&format!("table = \"a\"\ntest_size = {text}\n"))
                .map(|spec| spec.test_size.unwrap())
                .map_err(|error| error.message().to_owned())
        };
        assert_eq!(size("0.1"), Ok(TestSize::Share(0.1)));
        assert_eq!(size("10"), Ok(TestSize::Rows(10)));
        let week = Lasting { amount: 1, unit: TimeUnit::Weeks };
        assert_eq!(size("\"1 week\""), Ok(TestSize::Lasting(week)));
        assert_eq!(week.seconds(), 604_800);
        assert_eq!(
            size("{ like = \"test.csv\" }"),
            Ok(TestSize::Like("test.csv".parse().unwrap()))
        );
        for (wrong, part) in [
            ("-1", "expected a number of rows, found -1"),
            ("\"7\"", "expected a time such as `7 days`"),
            ("\"0 days\"", "expected a time such as `7 days`"),
            ("\"7 years\"", "expected a time such as `7 days`"),
            ("true", "a share such as 0.1"),
            ("{ lik = \"a\" }", "unknown field `lik`"),
        ] {
            let message = size(wrong).unwrap_err();
            assert!(message.contains(part), "{wrong}: {message}");
        }
    }
}
