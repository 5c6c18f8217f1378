//! One cell of a table.

use std::borrow::Cow;
use std::fmt;

use super::float::PythonFloat;

/// The type of a column, as pandas would infer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit integers without missing cells.
    Int,
    /// Non-negative integers of which one at least is beyond 63 bits.
    UInt,
    /// Doubles; missing cells allowed.
    Float,
    /// Truth values; missing cells allowed.
    Bool,
    /// Text; missing cells allowed.
    Text,
}

/// One cell. Prints as `DataFrame.to_csv` writes it, before quoting.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value: an empty field.
    Missing,
    /// An integer.
    Int(i64),
    /// An integer of up to 64 bits without sign.
    UInt(u64),
    /// A double; a NaN counts as missing.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text.
    Text(Cow<'a, str>),
}

impl Value<'_> {
    /// Whether there is no value: missing, or NaN.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing => true,
            Self::Float(value) => value.is_nan(),
            _ => false,
        }
    }

    /// The value as a double, if it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Int(value) => Some(value as f64),
            Self::UInt(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Missing => Some(f64::NAN),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// The value without a borrow.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Missing => Value::Missing,
            Self::Int(value) => Value::Int(value),
            Self::UInt(value) => Value::UInt(value),
            Self::Float(value) => Value::Float(value),
            Self::Bool(value) => Value::Bool(value),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Missing | Self::Text(_) => Kind::Text,
            Self::Int(_) => Kind::Int,
            Self::UInt(_) => Kind::UInt,
            Self::Float(_) => Kind::Float,
            Self::Bool(_) => Kind::Bool,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => Ok(()),
            Self::Int(value) => value.fmt(f),
            Self::UInt(value) => value.fmt(f),
            Self::Float(value) if value.is_nan() => Ok(()),
            Self::Float(value) => PythonFloat(*value).fmt(f),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
