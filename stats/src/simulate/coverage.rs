//! How often intervals hold the truth, over designs as they occur: few and many competitions, equal
//! and mixed numbers of seeds, lost attempts, rates near 0 and 1.

use crate::{self as stats, Cluster, Interval, Rng};

/// How true medal rates are spread over competitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rates {
    /// Most competitions are won nearly always or nearly never, as real ones are.
    Extreme,
    /// Every rate is as likely as any other.
    Uniform,
    /// One half everywhere.
    Half,
    /// Nearly always on four of ten competitions, nearly never on the others.
    TwoKinds,
    /// Rarely: 0.1 on average.
    Rare,
    /// Very rarely: 0.03 on average.
    VeryRare,
    /// Nearly always: 0.95 on average.
    Usual,
}

impl Rates {
    pub(super) fn draw(self, rng: &mut Rng) -> f64 {
        let u = rng.unit();
        match self {
            Self::Extreme => super::squashed(u),
            Self::Uniform => u,
            Self::Half => 0.5,
            Self::TwoKinds => {
                if u < 0.4 {
                    0.98
                } else {
                    0.02
                }
            }
            Self::Rare => 0.3 * u * u,
            Self::VeryRare => 0.06 * u,
            Self::Usual => 1.0 - 0.1 * u,
        }
    }

    /// The mean over all competitions that there could be.
    fn mean(self) -> f64 {
        match self {
            Self::Extreme | Self::Uniform | Self::Half => 0.5,
            Self::TwoKinds => 0.4 * 0.98 + 0.6 * 0.02,
            Self::Rare => 0.1,
            Self::VeryRare => 0.03,
            Self::Usual => 0.95,
        }
    }
}

/// How many attempts a competition gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seeds {
    /// As many as each other.
    Equal(usize),
    /// Any number between both, each as likely.
    Between(usize, usize),
    /// Three for one competition in ten, else one.
    FewRepeated,
}

/// A design.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// Competitions.
    pub competitions: usize,
    /// Their true rates.
    pub rates: Rates,
    /// Their attempts.
    pub seeds: Seeds,
    /// Chance that an attempt is lost and left out.
    pub lost: f64,
}

/// The intervals whose coverage is counted.
pub const QUESTIONS: [&str; 6] = [
    "rate, these",
    "rate, like these",
    "no change, these",
    "no change, like these",
    "change, these",
    "change, like these",
];

/// How often an interval held the truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Covered {
    /// Intervals that were not rough.
    pub sure: usize,
    /// Those that held the truth.
    pub held: usize,
    /// Rough intervals, and data without an interval.
    pub rough: usize,
}

impl Covered {
    /// Share of the intervals that were not rough.
    pub fn sure_share(self) -> f64 {
        self.sure as f64 / (self.sure + self.rough).max(1) as f64
    }

    /// Share of these that held the truth.
    pub fn coverage(self) -> f64 {
        self.held as f64 / self.sure.max(1) as f64
    }

    fn count(&mut self, interval: Option<Interval>, truth: f64) {
        match interval {
            Some(i) if !i.rough => {
                self.sure += 1;
                self.held += usize::from(i.lower <= truth + 1e-9 && truth - 1e-9 <= i.upper);
            }
            _ => self.rough += 1,
        }
    }
}

impl std::fmt::Display for Design {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seeds = match self.seeds {
            Seeds::Equal(n) => n.to_string(),
            Seeds::Between(low, high) => format!("{low}-{high}"),
            Seeds::FewRepeated => "1 or 3".to_owned(),
        };
        write!(f, "{} x {seeds}, {:?}", self.competitions, self.rates)?;
        if self.lost > 0.0 { write!(f, ", {:.0}% lost", self.lost * 100.0) } else { Ok(()) }
    }
}

impl Design {
    /// The designs that are simulated.
    pub fn all() -> Vec<Self> {
        use Rates::{Extreme, Half, Rare, TwoKinds, Uniform, Usual, VeryRare};
        use Seeds::{Between, Equal, FewRepeated};
        [
            (75, Extreme, Equal(1), 0.0),
            (75, Extreme, Equal(2), 0.0),
            (75, Extreme, Equal(3), 0.0),
            (75, Extreme, Equal(5), 0.0),
            (75, Extreme, Between(1, 5), 0.0),
            (75, Extreme, FewRepeated, 0.0),
            (75, Extreme, Equal(3), 0.1),
            (75, Uniform, Between(1, 3), 0.0),
            (75, Uniform, Between(1, 5), 0.1),
            (75, Half, Equal(3), 0.0),
            (75, TwoKinds, Equal(3), 0.0),
            (75, Rare, Equal(1), 0.0),
            (75, Rare, Equal(3), 0.0),
            (75, Rare, Between(1, 5), 0.1),
            (75, VeryRare, Equal(3), 0.0),
            (75, Usual, Equal(3), 0.0),
            (75, Usual, Between(2, 5), 0.0),
            (38, Extreme, Equal(3), 0.0),
            (38, Rare, Equal(5), 0.0),
            (38, Uniform, Between(1, 5), 0.0),
            (22, Extreme, Equal(3), 0.0),
            (22, Extreme, Equal(5), 0.0),
            (22, Half, Equal(1), 0.0),
            (22, Uniform, Between(2, 5), 0.1),
            (10, Extreme, Equal(3), 0.0),
            (3, Extreme, Between(1, 5), 0.0),
            (1, Uniform, Equal(5), 0.0),
        ]
        .into_iter()
        .map(|(competitions, rates, seeds, lost)| Self { competitions, rates, seeds, lost })
        .collect()
    }

    /// Counts over `runs` simulated pairs of run groups, a count for each of [`QUESTIONS`].
    ///
    /// Competitions and their rates are drawn anew every time. A change redraws the rates of three
    /// competitions in ten.
    pub fn cover(&self, runs: usize) -> [Covered; 6] {
        const CONFIDENCE: f64 = 0.95;
        let mut rng = Rng::new(stats::SEED ^ self.competitions as u64);
        let mut counts = [Covered::default(); 6];
        for _ in 0..runs {
            let before: Vec<f64> =
                (0..self.competitions).map(|_| self.rates.draw(&mut rng)).collect();
            let after: Vec<f64> = before
                .iter()
                .map(|rate| if rng.unit() < 0.3 { self.rates.draw(&mut rng) } else { *rate })
                .collect();
            let base = self.attempts(&before, &mut rng);
            let (same, changed) =
                (self.attempts(&before, &mut rng), self.attempts(&after, &mut rng));
            // Competitions of which every attempt is lost are out, and with them their truth.
            let kept: Vec<usize> =
                (0..self.competitions).filter(|i| !base[*i].is_empty()).collect();
            let clusters: Vec<Cluster> = kept.iter().map(|i| base[*i].clone()).collect();
            let truth = mean_of(&before, &kept);
            counts[0].count(stats::on_these(&clusters, CONFIDENCE), truth);
            counts[1].count(stats::on_like_these(&clusters, CONFIDENCE), self.rates.mean());
            for (other, rates, first) in [(&same, &before, 2), (&changed, &after, 4)] {
                let both: Vec<usize> =
                    kept.iter().copied().filter(|i| !other[*i].is_empty()).collect();
                let pairs: Vec<(Cluster, Cluster)> =
                    both.iter().map(|i| (base[*i].clone(), other[*i].clone())).collect();
                let truth = mean_of(rates, &both) - mean_of(&before, &both);
                counts[first].count(stats::difference_on_these(&pairs, CONFIDENCE), truth);
                counts[first + 1].count(stats::difference_on_like_these(&pairs, CONFIDENCE), 0.0);
            }
        }
        counts
    }

    fn attempts(&self, rates: &[f64], rng: &mut Rng) -> Vec<Cluster> {
        rates
            .iter()
            .map(|rate| {
                let n = match self.seeds {
                    Seeds::Equal(n) => n,
                    Seeds::Between(low, high) => low + rng.below(high - low + 1),
                    Seeds::FewRepeated if rng.unit() < 0.1 => 3,
                    Seeds::FewRepeated => 1,
                };
                let mut won = || {
                    let (lost, won) = (rng.unit() < self.lost, rng.unit() < *rate);
                    (!lost).then_some(if won { 1.0 } else { 0.0 })
                };
                (0..n).filter_map(|_| won()).collect()
            })
            .collect()
    }
}

fn mean_of(rates: &[f64], kept: &[usize]) -> f64 {
    kept.iter().map(|i| rates[*i]).sum::<f64>() / kept.len() as f64
}
