//! Sums in numpy's order, so that scores agree to the last bit where the summands do.

/// Sum of `values` by numpy's pairwise scheme.
///
/// # Source
/// numpy 1.26.4 `pairwise_sum` (`loops_utils.h.src`): below 8 values one after the other; up to 128
/// in eight partial sums; else halves.
pub fn pairwise_sum(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 8 {
        return values.iter().fold(0.0, |sum, value| sum + value);
    }
    if n <= 128 {
        let mut partial = [0.0; 8];
        partial.copy_from_slice(&values[..8]);
        let chunks = values[8..].chunks_exact(8);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (sum, value) in partial.iter_mut().zip(chunk) {
                *sum += value;
            }
        }
        let [a, b, c, d, e, f, g, h] = partial;
        let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
        return rest.iter().fold(sum, |sum, value| sum + value);
    }
    let half = n / 2 - (n / 2) % 8;
    pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
}

/// Mean of `values`, as numpy's `mean`; NaN for none.
pub fn mean(values: &[f64]) -> f64 {
    pairwise_sum(values) / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_numpy() {
        // numpy.sum(1 / numpy.arange(1, n + 1)) for sizes on both sides of each border.
        for (n, sum) in HARMONIC {
            let values: Vec<f64> = (1..=*n).map(|k| 1.0 / f64::from(k)).collect();
            assert_eq!(pairwise_sum(&values), *sum, "{n}");
        }
        assert!(mean(&[]).is_nan());
    }

    const HARMONIC: &[(u32, f64)] = &[
        (1, 1.0),
        (7, 2.5928571428571425),
        (8, 2.7178571428571425),
        (15, 3.3182289932289937),
        (16, 3.3807289932289937),
        (127, 5.425334592589172),
        (128, 5.433147092589173),
        (129, 5.440899030573669),
        (136, 5.493542515771517),
        (255, 6.120438712817281),
        (257, 6.128236013400938),
        (1000, 7.485470860550345),
        (4099, 8.895835961417054),
    ];
}
