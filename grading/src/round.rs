//! The two ways in which the reference rounds a score to five decimals.

use serde::{Deserialize, Serialize};

/// How a score is rounded; both ways round halves to even and differ only next to a tie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// numpy's `round`: scaled by 10^5, rounded to an integer, scaled back.
    #[default]
    Scaled,
    /// Python's `round`: correctly rounded from the exact binary value.
    Decimal,
}

impl Rounding {
    /// Rounds to five decimals. NaN and infinities stay as they are.
    ///
    /// # Source
    /// CPython 3.11 `float.__round__`; numpy 1.26.4 `numpy.round`.
    pub fn round(self, value: f64) -> f64 {
        if !value.is_finite() {
            return value;
        }
        match self {
            Self::Scaled => (value * 1e5).round_ties_even() / 1e5,
            // Formatting with a precision works on the exact value and rounds halves to even, as
            // `repr`-based rounding does.
            Self::Decimal => format!("{value:.5}").parse().unwrap_or(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_even() {
        for rounding in [Rounding::Scaled, Rounding::Decimal] {
            assert_eq!(rounding.round(1.0 / 64.0), 0.01562);
            assert_eq!(rounding.round(61.0 / 64.0), 0.95312);
            assert_eq!(rounding.round(-1.0 / 64.0), -0.01562);
            assert!(rounding.round(f64::NAN).is_nan());
            assert_eq!(rounding.round(f64::INFINITY), f64::INFINITY);
        }
    }

    #[test]
    fn the_ways_differ_next_to_a_tie() {
        // 1.000005 is a little above the tie in binary, but scaling by 1e5 gives 100000.5 exactly.
        let value = 1.000_005;
        assert_eq!(Rounding::Decimal.round(value), 1.000_01);
        assert_eq!(Rounding::Scaled.round(value), 1.0);
    }
}
