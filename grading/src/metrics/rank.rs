//! Predictions in the order of their confidence, twelve bytes each.

use crate::ids::sortable;

/// A prediction by its confidence and its place in a text; the order is that of falling confidence,
/// NaN last, and of places where it is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// The halves of an integer that falls as the confidence rises, so that no padding follows.
    key: [u32; 2],
    place: u32,
}

impl Rank {
    /// `place`: below 2^32, as every place in a table is.
    pub(super) fn new(confidence: f64, place: usize) -> Self {
        let key = if confidence.is_nan() { u64::MAX } else { !sortable(confidence) };
        Self { key: [(key >> 32) as u32, key as u32], place: place as u32 }
    }

    pub(super) fn place(self) -> usize {
        self.place as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_fall_and_equal_ones_keep_their_order() {
        let confidences = [0.5, f64::NAN, -0.0, f64::NEG_INFINITY, 0.0, 0.5, f64::INFINITY, -1.0];
        let mut ranks: Vec<Rank> = (0..).zip(confidences).map(|(k, c)| Rank::new(c, k)).collect();
        ranks.sort_unstable();
        let order: Vec<usize> = ranks.into_iter().map(Rank::place).collect();
        assert_eq!(order, [6, 0, 5, 2, 4, 7, 3, 1]);
        assert_eq!(size_of::<Rank>(), 12);
    }
}
