//! What a sample submission is filled with.

use std::fmt;

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Template;

/// What a column of the sample submission is filled with.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// `True` or `False`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// A text, in which columns of the test part may be named.
    Text(Template),
    /// By a rule.
    Guess(Guess),
}

/// A rule that fills a column of the sample submission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guess {
    /// The rule.
    pub guess: GuessRule,
    /// `random`: the smallest value. Integers are drawn if both bounds are integers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<Number>,
    /// `random`: the largest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<Number>,
    /// `random`: doubles are rounded to so many decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u32>,
    /// `random`: seeds the draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
}

impl Guess {
    /// Checks what can be told without the data; `is_one_hot` says whether the answers are. The
    /// error is the end of a sentence.
    pub(super) fn check(&self, is_one_hot: bool) -> Result<(), String> {
        /// What numpy draws at once.
        const WIDEST: i64 = 1 << 32;
        let &Self { guess: rule, low, high, decimals, seed } = self;
        if rule != GuessRule::Random {
            let given = [
                ("low", low.is_some()),
                ("high", high.is_some()),
                ("decimals", decimals.is_some()),
                ("seed", seed.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((key, _)) => {
                    Err(format!("has `{key}`, which belongs to `guess = \"random\"`"))
                }
                None if rule == GuessRule::Prior && !is_one_hot => {
                    Err("is `prior`, which needs `answers.one_hot`; expected `mean`".to_owned())
                }
                None => Ok(()),
            };
        }
        let (Some(low), Some(high)) = (low, high) else {
            return Err("is `random` and needs `low` and `high`".to_owned());
        };
        match (low, high) {
            _ if !(low.as_f64() <= high.as_f64()
                && low.as_f64().is_finite()
                && high.as_f64().is_finite()) =>
            {
                Err(format!(
                    "has `low = {}` and `high = {}`, expected the smaller first",
                    low.as_f64(),
                    high.as_f64()
                ))
            }
            (Number::Int(_), Number::Int(_)) if decimals.is_some() => {
                Err("has `decimals`, but integers are drawn between two integers".to_owned())
            }
            (Number::Int(low), Number::Int(high))
                if high.checked_sub(low).is_none_or(|span| span >= WIDEST - 1) =>
            {
                Err("spans more than 2^32 integers".to_owned())
            }
            _ if decimals.is_some_and(|decimals| decimals > 15) => {
                Err("has more than 15 `decimals`".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// An integer or a double.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
}

impl Number {
    /// The number as a double.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// The rules by which a column of the sample submission is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuessRule {
    /// The mean of the column in the train part.
    Mean,
    /// The share of the column's class in the train part; for one-hot answers.
    Prior,
    /// The most frequent value of the column in the train part; of several the one that sorts
    /// first.
    MostFrequent,
    /// 1 divided by the number of target columns.
    Uniform,
    /// A number between `low` and `high`, both included: integers as numpy's
    /// `RandomState(seed).randint` draws them, doubles as `default_rng(seed).uniform` does.
    Random,
}

impl Serialize for Fill {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => text.serialize(serializer),
            Self::Guess(guess) => guess.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fill {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fills;
        impl<'de> Visitor<'de> for Fills {
            type Value = Fill;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or a rule such as { guess = \"mean\" }")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Fill, E> {
                Ok(Fill::Bool(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Fill, E> {
                Ok(Fill::Int(value))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Fill, E> {
                Ok(Fill::Float(value))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Fill, E> {
                text.parse().map(Fill::Text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fill, A::Error> {
                Guess::deserialize(MapAccessDeserializer::new(map)).map(Fill::Guess)
            }
        }
        deserializer.deserialize_any(Fills)
    }
}
