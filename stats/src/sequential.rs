//! Looks at data while they come in: how sure each look must be so that all of them together keep
//! the error rate.
//!
//! Everything stands on the canonical form: with the share `t` of all information, the statistic
//! `Z` is normal with mean `drift * sqrt(t)` and variance 1, and `B = Z * sqrt(t)` has independent
//! increments. Sums over attempts have this form, whatever an attempt's values are.

use serde::{Deserialize, Serialize};

use super::{normal_cdf, normal_quantile};

/// How far from its mean a normal variable is followed, in standard deviations.
const REACH: f64 = 7.0;
/// Points of the grid in a standard deviation of the smallest increment.
const POINTS: f64 = 4.0;
/// Most points of a grid.
const MOST_POINTS: usize = 3_000;
/// Increments of information below this share are no news.
const NO_NEWS: f64 = 1e-6;

/// How the allowed error is spread over the looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spending {
    /// Next to nothing early, nearly all at the end: a test at the end loses hardly any power.
    #[default]
    ObrienFleming,
    /// Evenly: large differences are found sooner, and small ones less often.
    Pocock,
}

impl Spending {
    /// The two-sided error that may be spent until the share `fraction` of all information is in.
    ///
    /// # Source
    /// Lan and DeMets, "Discrete sequential boundaries for clinical trials" (1983), functions 1 and
    /// 2, half of `alpha` to each side.
    pub fn spent(self, alpha: f64, fraction: f64) -> f64 {
        if fraction <= 0.0 {
            return 0.0;
        }
        let t = fraction.min(1.0);
        match self {
            Self::ObrienFleming => 4.0 * normal_cdf(-normal_quantile(1.0 - alpha / 4.0) / t.sqrt()),
            Self::Pocock => alpha * (1.0 + (std::f64::consts::E - 1.0) * t).ln(),
        }
    }
}

/// What a look must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Share of all information at the look.
    pub information: f64,
    /// The least `|Z|` that stops; infinite if no data can.
    pub critical: f64,
    /// The greatest two-sided p value that stops.
    pub level: f64,
}

/// The bounds of looks at growing shares of information, in a test at `alpha`, two-sided.
///
/// All that is left of `alpha` is spent at the last look if `ends_there`, also where attempts were
/// lost and it has less information than was planned. A look without news spends nothing and
/// cannot stop.
///
/// # Source
/// Armitage, McPherson and Rowe, "Repeated significance tests on accumulating data" (1969), for the
/// integration. Agrees with the R package ldbounds 2.0 `ldBounds(iuse = 1, 2)` to three decimals.
pub fn bounds(spending: Spending, alpha: f64, shares: &[f64], ends_there: bool) -> Vec<Bound> {
    let mut paths = Paths::start(smallest_step(shares));
    let mut spent = 0.0;
    let mut bounds = Vec::with_capacity(shares.len());
    for (k, information) in shares.iter().copied().enumerate() {
        let is_last = ends_there && k + 1 == shares.len();
        if information <= paths.information + NO_NEWS {
            bounds.push(Bound { information, critical: f64::INFINITY, level: 0.0 });
            continue;
        }
        let allowed = if is_last { alpha } else { spending.spent(alpha, information) };
        let critical = paths.critical(information, allowed - spent, 0.0);
        spent = allowed.max(spent);
        bounds.push(Bound { information, critical, level: 2.0 * normal_cdf(-critical) });
        paths = paths.within(information, critical, 0.0);
    }
    bounds
}

/// The chance to stop at each look if `Z` has the mean `drift` at the end.
pub fn stops(bounds: &[Bound], drift: f64) -> Vec<f64> {
    let steps: Vec<f64> = bounds.iter().map(|bound| bound.information).collect();
    let mut paths = Paths::start(smallest_step(&steps));
    let mut chances = Vec::with_capacity(bounds.len());
    for bound in bounds {
        if bound.information <= paths.information + NO_NEWS {
            chances.push(0.0);
            continue;
        }
        chances.push(paths.beyond(bound.information, bound.critical, drift));
        paths = paths.within(bound.information, bound.critical, drift);
    }
    chances
}

/// The mean of `Z` at the end with which a test by these bounds stops with probability `power`.
/// With a single look it is the sum of the two normal quantiles.
pub fn detectable_drift(bounds: &[Bound], power: f64) -> f64 {
    bisect(0.0, 20.0, |drift| stops(bounds, drift).iter().sum::<f64>() < power)
}

/// The chance that the look `last` stops, when the data so far gave `z` at the share `now` of the
/// information and the drift is `drift` from now on.
///
/// # Source
/// Lan, Simon and Halperin, "Stochastically curtailed tests in long-term clinical trials" (1982).
pub fn conditional_power(z: f64, now: f64, last: &Bound, drift: f64) -> f64 {
    let step = last.information - now;
    let edge = last.critical * last.information.sqrt();
    let mean = z * now.max(0.0).sqrt() + drift * step.max(0.0);
    if step <= NO_NEWS {
        return if mean.abs() >= edge { 1.0 } else { 0.0 };
    }
    let deviation = step.sqrt();
    normal_cdf((mean - edge) / deviation) + normal_cdf((-edge - mean) / deviation)
}

/// Standard deviation of the smallest increment that is news.
fn smallest_step(information: &[f64]) -> f64 {
    let mut before = 0.0;
    let mut smallest = f64::INFINITY;
    for information in information {
        if *information > before + NO_NEWS {
            smallest = smallest.min(information - before);
            before = *information;
        }
    }
    smallest.sqrt()
}

/// Where `B` is on the paths that have not reached a bound: points with their chances.
struct Paths {
    information: f64,
    points: Vec<(f64, f64)>,
    /// Largest distance of two points.
    spacing: f64,
}

impl Paths {
    fn start(smallest_step: f64) -> Self {
        Self { information: 0.0, points: vec![(0.0, 1.0)], spacing: smallest_step / POINTS }
    }

    /// The chance that `|Z|` is `critical` or more at a later share of information.
    fn beyond(&self, information: f64, critical: f64, drift: f64) -> f64 {
        let step = information - self.information;
        let (deviation, edge) = (step.sqrt(), critical * information.sqrt());
        let tails = |from: f64| {
            let mean = from + drift * step;
            normal_cdf((-edge - mean) / deviation) + normal_cdf((mean - edge) / deviation)
        };
        self.points.iter().map(|(from, chance)| chance * tails(*from)).sum()
    }

    /// The `critical` that paths reach with the chance `spend`.
    fn critical(&self, information: f64, spend: f64, drift: f64) -> f64 {
        // What no statistic can show is nothing.
        if spend <= 1e-14 {
            return f64::INFINITY;
        }
        bisect(0.0, 12.0, |critical| self.beyond(information, critical, drift) > spend)
    }

    /// The paths that do not reach `critical`, at a later share of information.
    fn within(&self, information: f64, critical: f64, drift: f64) -> Self {
        let step = information - self.information;
        let (deviation, edge) = (step.sqrt(), critical * information.sqrt());
        let mean = |from: f64| from + drift * step;
        let reached = |fold: fn(f64, f64) -> f64, start: f64| {
            self.points.iter().map(|(from, _)| mean(*from)).fold(start, fold)
        };
        let low = (reached(f64::min, f64::INFINITY) - REACH * deviation).max(-edge);
        let high = (reached(f64::max, f64::NEG_INFINITY) + REACH * deviation).min(edge);
        if high <= low {
            return Self { information, points: Vec::new(), spacing: self.spacing };
        }
        // Simpson's rule needs an even number of pieces.
        let pieces = ((high - low) / self.spacing).ceil().clamp(32.0, MOST_POINTS as f64) as usize;
        let pieces = pieces + pieces % 2;
        let width = (high - low) / pieces as f64;
        let scale = (2.0 * std::f64::consts::PI).sqrt() * deviation;
        let density = |at: f64| -> f64 {
            let one = |(from, chance): &(f64, f64)| {
                let away = (at - mean(*from)) / deviation;
                chance * (-0.5 * away * away).exp()
            };
            self.points.iter().map(one).sum::<f64>() / scale
        };
        let points = (0..=pieces).map(|i| {
            let weight = match i {
                0 => 1.0,
                _ if i == pieces => 1.0,
                _ if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            let at = low + width * i as f64;
            (at, density(at) * weight * width / 3.0)
        });
        Self { information, points: points.collect(), spacing: self.spacing }
    }
}

/// Where `is_below` turns false between `low` and `high`.
fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..48 {
        let middle = f64::midpoint(low, high);
        if is_below(middle) { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EQUAL: [f64; 5] = [0.2, 0.4, 0.6, 0.8, 1.0];

    fn close(found: &[Bound], expected: &[f64]) {
        for (bound, expected) in found.iter().zip(expected) {
            assert!((bound.critical - expected).abs() < 6e-4, "{found:?}: {expected}");
        }
        assert_eq!(found.len(), expected.len());
    }

    #[test]
    fn bounds_equal_the_published_ones() {
        // Reboussin, DeMets, Kim and Lan, "Computations for group sequential boundaries using the
        // Lan-DeMets spending function method" (2000), and ldbounds: two-sided, 0.05.
        let obf = bounds(Spending::ObrienFleming, 0.05, &EQUAL, true);
        close(&obf, &[4.8769, 3.3569, 2.6803, 2.2898, 2.0310]);
        let pocock = bounds(Spending::Pocock, 0.05, &EQUAL, true);
        close(&pocock, &[2.4380, 2.4268, 2.4101, 2.3966, 2.3859]);
    }

    #[test]
    fn one_look_is_the_plain_test() {
        for spending in [Spending::ObrienFleming, Spending::Pocock] {
            for information in [1.0, 0.6] {
                let one = bounds(spending, 0.05, &[information], true);
                assert!((one[0].level - 0.05).abs() < 1e-9, "{one:?}");
            }
        }
        let one = bounds(Spending::ObrienFleming, 0.05, &[1.0], true);
        let drift = detectable_drift(&one, 0.8);
        assert!((drift - 2.8016).abs() < 1e-3, "{drift}");
    }

    #[test]
    fn all_looks_together_spend_what_is_allowed() {
        let unequal: [&[f64]; 4] =
            [&[0.05, 0.1, 0.9, 1.0], &[0.5, 0.501, 1.0], &[0.3, 0.97], &EQUAL];
        for spending in [Spending::ObrienFleming, Spending::Pocock] {
            for information in unequal {
                for alpha in [0.01, 0.05] {
                    let bounds = bounds(spending, alpha, information, true);
                    let stops: f64 = stops(&bounds, 0.0).iter().sum();
                    assert!((stops - alpha).abs() < 1e-5, "{spending:?} {information:?}: {stops}");
                    assert!(bounds.iter().all(|bound| bound.level <= alpha + 1e-9));
                }
            }
        }
    }

    #[test]
    fn a_look_without_news_spends_nothing() {
        let with = bounds(Spending::Pocock, 0.05, &[0.0, 0.5, 0.5, 1.0], true);
        let without = bounds(Spending::Pocock, 0.05, &[0.5, 1.0], true);
        assert_eq!((with[0].level, with[2].level), (0.0, 0.0));
        assert!((with[1].critical - without[0].critical).abs() < 1e-6);
        assert!((with[3].critical - without[1].critical).abs() < 1e-6);
    }

    #[test]
    fn power_of_a_group_sequential_test_equals_simulation() {
        let bounds = bounds(Spending::ObrienFleming, 0.05, &EQUAL, true);
        let drift = detectable_drift(&bounds, 0.8);
        assert!(drift > 2.80 && drift < 2.90, "a little more than with one look: {drift}");
        let mut rng = crate::Rng::new(7);
        let runs = 20_000;
        let mut found = 0;
        for _ in 0..runs {
            let mut b = 0.0;
            for (k, bound) in bounds.iter().enumerate() {
                let step = bound.information - if k == 0 { 0.0 } else { EQUAL[k - 1] };
                b += drift * step + normal_quantile(rng.unit().max(1e-12)) * step.sqrt();
                if (b / bound.information.sqrt()).abs() >= bound.critical {
                    found += 1;
                    break;
                }
            }
        }
        let share = f64::from(found) / f64::from(runs);
        assert!((share - 0.8).abs() < 0.01, "{share}");
    }

    #[test]
    fn conditional_power_knows_what_is_left_to_gain() {
        let all = bounds(Spending::ObrienFleming, 0.05, &EQUAL, true);
        let drift = detectable_drift(&all, 0.8);
        let at = |k: usize, z: f64| conditional_power(z, EQUAL[k], &all[4], drift);
        assert!(at(0, 0.0) > 0.4 && at(3, 0.0) < 0.01, "{} {}", at(0, 0.0), at(3, 0.0));
        assert!(at(3, 2.2) > 0.7);
        // From no data it is the power of the last look alone.
        let from_nothing = conditional_power(0.0, 0.0, &all[4], drift);
        assert!((from_nothing - 0.79).abs() < 0.01, "{from_nothing}");
        assert_eq!(conditional_power(1.0, 1.0, &all[4], drift), 0.0);
        assert_eq!(conditional_power(-2.5, 1.0, &all[4], drift), 1.0);
    }
}
