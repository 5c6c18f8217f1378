//! When an experiment may stop: paired comparisons looked at after each stage.
//!
//! A look's p value is the one that `compare` prints: labels exchanged within each competition,
//! exact where that can be counted. It is held against the level that the spending of the allowed
//! error leaves to the look. Several pairs share the error after Holm. Whether data promise too
//! little to go on is told too, and binds nobody.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sequential::{Bound, Spending, bounds, conditional_power, detectable_drift, stops};
use crate::{self as stats, Cluster, Exchanged, POWER, Rng};

/// When an experiment stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// How the error is spread over the looks; `None` tests at the end alone.
    pub spending: Option<Spending>,
    /// Two-sided error rate over all looks and pairs.
    pub alpha: f64,
    /// A pair is given up if its conditional power is below this; `None` if none is.
    pub futility: Option<f64>,
}

impl Default for Rule {
    fn default() -> Self {
        Self { spending: Some(Spending::default()), alpha: 0.05, futility: Some(0.1) }
    }
}

/// What a look found on a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Second minus first, in medal rates, over the competitions with attempts of both.
    pub difference: f64,
    /// Two-sided p value.
    pub p: f64,
    /// Information as a share of what the whole plan gives.
    pub information: f64,
    /// Competitions with attempts of both.
    pub competitions: usize,
    /// Attempts of both that were not lost.
    pub attempts: usize,
}

impl Evidence {
    /// Of values a competition, (first, second); `planned` attempts a competition and side, on
    /// `competitions` of them, are all of the plan. Nothing on either side is no evidence.
    pub fn of(pairs: &[(Cluster, Cluster)], competitions: usize, planned: usize) -> Self {
        Self::drawn(pairs, competitions, planned, &mut Rng::new(stats::SEED))
    }

    /// [`Evidence::of`], with the exchanges of `rng` where they cannot be counted.
    pub(crate) fn drawn(
        pairs: &[(Cluster, Cluster)],
        competitions: usize,
        planned: usize,
        rng: &mut Rng,
    ) -> Self {
        let both: Vec<&(Cluster, Cluster)> =
            pairs.iter().filter(|(b, c)| !b.is_empty() && !c.is_empty()).collect();
        if both.is_empty() {
            return Self {
                difference: 0.0,
                p: 1.0,
                information: 0.0,
                competitions: 0,
                attempts: 0,
            };
        }
        let differences: Vec<f64> =
            both.iter().map(|(b, c)| stats::mean(c) - stats::mean(b)).collect();
        // The variance of the mean difference is proportional to this, if attempts vary alike.
        let spread: f64 =
            both.iter().map(|(b, c)| 1.0 / b.len() as f64 + 1.0 / c.len() as f64).sum();
        let precision = (both.len() as f64).powi(2) / spread;
        let all = competitions as f64 * planned as f64 / 2.0;
        Self {
            difference: stats::mean(&differences),
            p: Exchanged::new(pairs, rng).p_differs(),
            information: (precision / all).min(1.0),
            competitions: both.len(),
            attempts: both.iter().map(|(b, c)| b.len() + c.len()).sum(),
        }
    }

    /// The normal deviate of the p value, with the sign of the difference.
    fn z(&self) -> f64 {
        let size = -stats::normal_quantile((self.p / 2.0).clamp(1e-15, 0.5));
        size * self.difference.signum()
    }
}

/// What is to be said of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairVerdict {
    /// Every look so far.
    pub looks: Vec<LookVerdict>,
    /// The look, from 0, at which the difference was sure; `None` if it is not.
    pub sure_at: Option<usize>,
    /// Whether the last look promises too little to go on.
    pub futile: bool,
}

/// A look at a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LookVerdict {
    /// What was found.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// The greatest p value that makes the difference sure here; 0 if nothing can.
    pub level: f64,
    /// Chance that the last look makes it sure, if the difference is the one that the whole plan can
    /// detect, in the direction that the data favour; `None` at the last look, and where no pair is
    /// given up.
    pub conditional_power: Option<f64>,
}

impl PairVerdict {
    /// Whether nothing more is to be learnt about this pair.
    pub fn is_settled(&self) -> bool {
        self.sure_at.is_some() || self.futile
    }
}

impl Rule {
    /// The rule for an experiment whose looks are to have these shares of the information, 1 the
    /// last.
    pub fn monitor(self, plan: &[f64]) -> Monitor {
        Monitor {
            rule: self,
            plan: plan.to_vec(),
            known: RefCell::default(),
            drifts: RefCell::default(),
        }
    }

    /// The bounds of a whole plan.
    pub fn all_bounds(&self, alpha: f64, plan: &[f64]) -> Vec<Bound> {
        self.bounds_of(alpha, plan, true)
    }

    fn bounds_of(&self, alpha: f64, information: &[f64], ends_there: bool) -> Vec<Bound> {
        let Some(spending) = self.spending else {
            let mut all: Vec<Bound> = information
                .iter()
                .map(|t| Bound { information: *t, critical: f64::INFINITY, level: 0.0 })
                .collect();
            if let (true, Some(last)) = (ends_there, all.pop()) {
                all.extend(bounds(Spending::default(), alpha, &[last.information], true));
            }
            return all;
        };
        bounds(spending, alpha, information, ends_there)
    }
}

/// A [`Rule`] for one plan. Remembers its bounds, which take a while.
#[derive(Debug, Clone)]
pub struct Monitor {
    rule: Rule,
    plan: Vec<f64>,
    known: RefCell<BTreeMap<(u64, bool, Vec<u64>), Vec<Bound>>>,
    drifts: RefCell<BTreeMap<u64, f64>>,
}

impl Monitor {
    /// The verdict on each pair from its looks, `history[pair][look]`.
    ///
    /// At each look a pair that is not sure yet is tested at `alpha` over the number of such pairs;
    /// one that becomes sure leaves its share to the others, at this look and later ones.
    ///
    /// # Source
    /// Maurer and Bretz, "Multiple testing in group sequential trials using graphical approaches"
    /// (2013), with equal shares, which is Holm's procedure at each look.
    pub fn judge(&self, history: &[Vec<Evidence>]) -> Vec<PairVerdict> {
        let looks = history.iter().map(Vec::len).max().unwrap_or(0);
        let mut verdicts: Vec<PairVerdict> = history
            .iter()
            .map(|_| PairVerdict { looks: Vec::new(), sure_at: None, futile: false })
            .collect();
        for look in 0..looks {
            let levels = self.reject(history, look, &mut verdicts);
            let open = verdicts.iter().filter(|v| v.sure_at.is_none()).count().max(1);
            let share = self.rule.alpha / open as f64;
            for (i, of_pair) in history.iter().enumerate().filter(|(_, h)| look < h.len()) {
                let verdict = &mut verdicts[i];
                let power = self.conditional_power(&of_pair[..=look], share);
                verdict.looks.push(LookVerdict {
                    evidence: of_pair[look],
                    level: levels[i],
                    conditional_power: power,
                });
                verdict.futile = verdict.sure_at.is_none()
                    && self.rule.futility.zip(power).is_some_and(|(least, power)| power < least);
            }
        }
        verdicts
    }

    /// Marks the pairs that a look makes sure, and gives the level that each was tested at.
    fn reject(
        &self,
        history: &[Vec<Evidence>],
        look: usize,
        verdicts: &mut [PairVerdict],
    ) -> Vec<f64> {
        // What is sure already is not tested again; its level is for the interval beside it.
        let least = self.rule.alpha / history.len().max(1) as f64;
        let mut levels: Vec<f64> = history
            .iter()
            .map(|looks| looks.get(..=look).map_or(0.0, |looks| self.level(looks, least)))
            .collect();
        loop {
            let open: Vec<usize> = (0..history.len())
                .filter(|i| verdicts[*i].sure_at.is_none() && look < history[*i].len())
                .collect();
            let share = self.rule.alpha / open.len().max(1) as f64;
            let mut changed = false;
            for i in open {
                levels[i] = self.level(&history[i][..=look], share);
                if history[i][look].p <= levels[i] {
                    verdicts[i].sure_at = Some(look);
                    changed = true;
                }
            }
            if !changed {
                return levels;
            }
        }
    }

    /// The level of the last of `looks` at the error rate `alpha`.
    fn level(&self, looks: &[Evidence], alpha: f64) -> f64 {
        let is_last = looks.len() >= self.plan.len();
        let all = self.bounds(alpha, &growing(looks), is_last);
        all.last().map_or(0.0, |bound| bound.level)
    }

    fn conditional_power(&self, looks: &[Evidence], alpha: f64) -> Option<f64> {
        self.rule.futility?;
        let later = self.plan.get(looks.len()..).filter(|later| !later.is_empty())?;
        let mut information = growing(looks);
        let now = information.last().copied().unwrap_or(0.0);
        // Attempts that were lost are not made up for.
        let planned_now = self.plan.get(looks.len() - 1).copied().unwrap_or(1.0).max(1e-9);
        let kept = (now / planned_now).min(1.0);
        information.extend(later.iter().map(|t| (t * kept).max(now)));
        let all = self.bounds(alpha, &information, true);
        let drift = self.drift(alpha);
        let z = looks.last().map_or(0.0, Evidence::z);
        // The direction that the data favour has the greater power.
        all.last().map(|last| conditional_power(z.abs(), now, last, drift))
    }

    fn bounds(&self, alpha: f64, information: &[f64], ends_there: bool) -> Vec<Bound> {
        let bits = information.iter().map(|t| t.to_bits()).collect();
        let key = (alpha.to_bits(), ends_there, bits);
        let mut known = self.known.borrow_mut();
        let make = || self.rule.bounds_of(alpha, information, ends_there);
        known.entry(key).or_insert_with(make).clone()
    }

    /// The drift that the whole plan detects.
    fn drift(&self, alpha: f64) -> f64 {
        let make = || detectable_drift(&self.bounds(alpha, &self.plan, true), POWER);
        *self.drifts.borrow_mut().entry(alpha.to_bits()).or_insert_with(make)
    }
}

/// Information that never shrinks: a look at which attempts were lost again has no news.
fn growing(looks: &[Evidence]) -> Vec<f64> {
    let mut most = 0.0_f64;
    looks
        .iter()
        .map(|look| {
            most = most.max(look.information);
            most
        })
        .collect()
}

/// What a plan can find, before any of it has run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Variance of a medal between attempts at a competition: 0.25 for a coin's toss.
    pub variance: f64,
    /// The smallest true difference of medal rates that one of the looks finds with probability
    /// 0.8, on these competitions; 1 or more if none.
    pub detectable: f64,
    /// Stages that are run in the mean if the difference is that one.
    pub mean_stages: f64,
}

impl Rule {
    /// What a comparison of two arms can find, one of `pairs`, with `seeds` attempts a competition
    /// and arm on `competitions`, where attempts at a competition vary by `variance`.
    pub fn sensitivity(
        &self,
        plan: &[f64],
        pairs: usize,
        competitions: usize,
        seeds: usize,
        variance: f64,
    ) -> Sensitivity {
        let all = self.all_bounds(self.alpha / pairs.max(1) as f64, plan);
        let drift = detectable_drift(&all, POWER);
        let error = (2.0 * variance / (competitions * seeds).max(1) as f64).sqrt();
        let chances = stops(&all, drift);
        let stopped: f64 = chances.iter().rev().skip(1).sum();
        let early: f64 =
            chances.iter().rev().skip(1).rev().enumerate().map(|(k, p)| p * (k + 1) as f64).sum();
        Sensitivity {
            variance,
            detectable: drift * error,
            mean_stages: early + (1.0 - stopped) * plan.len() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: [f64; 3] = [1.0 / 3.0, 2.0 / 3.0, 1.0];

    fn found(difference: f64, p: f64, information: f64) -> Evidence {
        Evidence { difference, p, information, competitions: 22, attempts: 44 }
    }

    #[test]
    fn a_clear_difference_stops_and_a_small_one_goes_on() {
        let rule = Rule::default();
        let clear = rule.monitor(&PLAN).judge(&[vec![found(0.9, 1e-9, PLAN[0])]]);
        assert_eq!((clear[0].sure_at, clear[0].is_settled()), (Some(0), true));
        let early = rule.monitor(&PLAN).judge(&[vec![found(0.3, 0.01, PLAN[0])]]);
        assert_eq!((early[0].sure_at, early[0].futile), (None, false));
        assert!(early[0].looks[0].level < 0.001);
        let never = Rule { spending: None, ..rule };
        assert_eq!(never.monitor(&PLAN).judge(&[vec![found(0.9, 1e-9, PLAN[0])]])[0].sure_at, None);
        let all: Vec<Evidence> = PLAN.iter().map(|t| found(0.9, 1e-9, *t)).collect();
        let end = never.monitor(&PLAN).judge(&[all]);
        assert_eq!(end[0].sure_at, Some(2));
        assert!((end[0].looks[2].level - 0.05).abs() < 1e-9);
    }

    #[test]
    fn what_promises_nothing_is_futile_and_binds_nobody() {
        let rule = Rule::default();
        let nothing: Vec<Evidence> = PLAN[..2].iter().map(|t| found(0.0, 1.0, *t)).collect();
        let verdict = rule.monitor(&PLAN).judge(std::slice::from_ref(&nothing));
        assert!(verdict[0].futile && verdict[0].sure_at.is_none(), "{verdict:?}");
        // Run on all the same, the last look has its whole level.
        let mut on = nothing;
        on.push(found(0.4, 0.03, 1.0));
        assert_eq!(rule.monitor(&PLAN).judge(&[on])[0].sure_at, Some(2));
    }

    #[test]
    fn pairs_share_the_error_and_pass_it_on() {
        let rule = Rule { spending: None, ..Rule::default() };
        let plan = [1.0];
        let with = |p: [f64; 3]| -> Vec<Option<usize>> {
            let history: Vec<Vec<Evidence>> = p.iter().map(|p| vec![found(0.5, *p, 1.0)]).collect();
            rule.monitor(&plan).judge(&history).iter().map(|verdict| verdict.sure_at).collect()
        };
        assert_eq!(with([0.03, 0.2, 0.9]), [None, None, None]);
        assert_eq!(with([0.01, 0.02, 0.9]), [Some(0), Some(0), None]);
        assert_eq!(with([0.01, 0.03, 0.9]), [Some(0), None, None]);
        // The same as Holm's correction.
        let p = [0.016, 0.024, 0.049];
        let corrected = stats::holm(&p);
        let sure: Vec<bool> = with(p).iter().map(Option::is_some).collect();
        assert_eq!(sure, corrected.iter().map(|p| *p <= 0.05).collect::<Vec<_>>());
    }

    #[test]
    fn information_counts_what_was_not_lost() {
        let whole: Vec<(Cluster, Cluster)> = vec![(vec![1.0, 0.0], vec![1.0, 1.0]); 5];
        let evidence = Evidence::of(&whole, 5, 4);
        assert!((evidence.information - 0.5).abs() < 1e-12);
        assert_eq!((evidence.competitions, evidence.attempts), (5, 20));
        let lost = vec![(vec![1.0], vec![1.0, 1.0]), (vec![], vec![1.0])];
        let evidence = Evidence::of(&lost, 2, 2);
        assert!(evidence.information < 0.5 && evidence.competitions == 1, "{evidence:?}");
        assert_eq!(Evidence::of(&[(vec![], vec![1.0])], 1, 1).p, 1.0);
        // Attempts that are all alike tell nothing.
        let alike = vec![(vec![1.0; 3], vec![1.0; 3]); 4];
        assert_eq!(Evidence::of(&alike, 4, 3).p, 1.0);
    }

    #[test]
    fn looks_without_news_or_data_do_not_panic() {
        let rule = Rule::default();
        let same: Vec<Evidence> = vec![found(0.0, 1.0, 0.0), found(0.2, 0.4, 0.0)];
        let verdict = rule.monitor(&PLAN).judge(&[same]);
        assert_eq!(verdict[0].looks[1].level, 0.0);
        assert!(rule.monitor(&PLAN).judge(&[]).is_empty());
        assert!(rule.monitor(&PLAN).judge(&[vec![]])[0].looks.is_empty());
    }

    #[test]
    fn a_plan_tells_what_it_can_find() {
        let rule = Rule::default();
        let half = rule.sensitivity(&PLAN, 1, 22, 3, 0.25);
        let fixed = Rule { spending: None, ..rule }.sensitivity(&PLAN, 1, 22, 3, 0.25);
        assert!((fixed.detectable - 2.8016 * (0.5_f64 / 66.0).sqrt()).abs() < 1e-3, "{fixed:?}");
        assert!(half.detectable > fixed.detectable && half.detectable < 1.03 * fixed.detectable);
        assert!(half.mean_stages < 3.0 && half.mean_stages > 2.0, "{half:?}");
        assert_eq!(fixed.mean_stages, 3.0);
        assert!(rule.sensitivity(&PLAN, 3, 22, 3, 0.25).detectable > half.detectable);
    }
}
