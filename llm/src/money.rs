//! Dollars as whole numbers of 10⁻¹² dollars, so that sums of many small prices stay exact.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// An amount of money in picodollars; sums stop at 18 million dollars instead of wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Picodollars(pub u64);

impl Picodollars {
    /// The amount that a decimal number of dollars means, such as `"12.50"`.
    ///
    /// # Errors
    /// None for a negative number, more than 12 decimals, and more than 18 million dollars.
    pub fn parse(text: &str) -> Option<Self> {
        parse_decimal(text, 12).map(Self)
    }

    /// Dollars as a floating-point number, for display and for files that people read.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// The difference, at least nothing.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Picodollars {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Picodollars {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Picodollars {
    /// Two decimals, or as many as a small amount needs: `$5.00`, `$0.0123`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:012}", self.0 / 1_000_000_000_000, self.0 % 1_000_000_000_000);
        let short = text.trim_end_matches('0');
        let decimals = short.len() - short.find('.').unwrap_or(0) - 1;
        if decimals < 2 {
            write!(f, "${short}{}", &"00"[decimals..])
        } else {
            write!(f, "${short}")
        }
    }
}

/// Picodollars per token, from decimal dollars per million tokens: six decimals stay exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl Rate {
    /// The rate that decimal dollars per million tokens mean.
    ///
    /// # Errors
    /// None for a negative number, more than six decimals, and absurdly large numbers.
    pub fn parse(text: &str) -> Option<Self> {
        parse_decimal(text, 6).map(Self)
    }

    /// The price of `tokens` tokens.
    pub fn of(self, tokens: u64) -> Picodollars {
        Picodollars(self.0.saturating_mul(tokens))
    }
}

/// A plain decimal number times 10^`digits`.
fn parse_decimal(text: &str, digits: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = part.trim_end_matches('0');
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(part) || part.len() > digits {
        return None;
    }
    format!("{whole}{part:0<digits$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(Picodollars::parse("12.50"), Some(Picodollars(12_500_000_000_000)));
        assert_eq!(Picodollars::parse("0.000000000001"), Some(Picodollars(1)));
        assert_eq!(Rate::parse("0.0625"), Some(Rate(62_500)));
        assert_eq!(Rate::parse("1.25").map(|r| r.of(1_000_000)), Picodollars::parse("1.25"));
        for bad in ["", ".", "-1", "1e3", "1.2.3", "0.0000001", "99999999999999999999"] {
            assert_eq!(Rate::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn amounts_print_with_the_decimals_they_need() {
        let print = |text| Picodollars::parse(text).expect("a number").to_string();
        assert_eq!(print("5"), "$5.00");
        assert_eq!(print("0.5"), "$0.50");
        assert_eq!(print("0.01234"), "$0.01234");
    }
}
