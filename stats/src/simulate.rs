//! Made-up medals with known truth, for tests of the statistics.

pub mod coverage;
pub mod power;
pub mod stopping;

use crate::{Cluster, Rng};

/// What to make up.
#[derive(Debug, Clone, Copy)]
pub struct Medals {
    /// Competitions; their true medal rates are drawn from a U-shaped distribution, as real ones
    /// are.
    pub competitions: usize,
    /// Attempts of each.
    pub seeds: u32,
    /// Added to every competition's true medal rate, then cut to 0..1.
    pub shift: f64,
    /// Seed of the true rates; equal for versions that are to be compared.
    pub truth: u64,
    /// Seed of the attempts.
    pub draw: u64,
}

impl Medals {
    /// True medal rate of every competition.
    pub fn rates(&self) -> Vec<f64> {
        let mut rng = Rng::new(self.truth);
        (0..self.competitions)
            .map(|_| (squashed(rng.unit()) + self.shift).clamp(0.0, 1.0))
            .collect()
    }

    /// Medal (1) or not (0) for every competition and seed.
    pub fn clusters(&self) -> Vec<Cluster> {
        let mut rng = Rng::new(self.draw);
        self.rates()
            .into_iter()
            .map(|p| (0..self.seeds).map(|_| if rng.unit() < p { 1.0 } else { 0.0 }).collect())
            .collect()
    }
}

/// A uniform draw moved towards both ends: most tasks are won nearly always or nearly never.
fn squashed(u: f64) -> f64 {
    if u < 0.5 { 0.5 * (2.0 * u).powi(3) } else { 1.0 - 0.5 * (2.0 - 2.0 * u).powi(3) }
}
