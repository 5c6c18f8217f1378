//! Two sets of run groups, paired by competition: what changed, how surely, and whether a gate
//! should fail.
//!
//! Two questions, as everywhere. *On these competitions*: would new seeds show the same change? Its
//! test exchanges the labels of attempts within each competition. *On competitions like these*:
//! would other competitions show it? Its test flips the signs of the paired differences.

mod changes;
mod conditions;
mod cost;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, Measure, Medal};
use crate::data::{PairedDifference, by_competition};
use crate::estimate::CONFIDENCE;
use crate::read::Reading;
use crate::record::FormatVersion;
use crate::stats::{self, Cluster, Exchanged, Interval, Rng, SeedsNeeded, StandardError};
use crate::text;
use changes::{as_planned, competition_changes, part_changes};
use conditions::condition_differences;

pub use self::cost::{CostChange, CostVerdict};

/// The version of `comparison.json` that this crate writes.
pub const COMPARISON_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 1 };

/// What the regression gate asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Drops of the medal rate smaller than this, as a fraction, never fail.
    pub margin: f64,
    /// One minus the rate of false alarms when nothing changed.
    pub confidence: f64,
    /// True drop, as a fraction, for which the verdict tells the power and the seeds needed.
    #[serde(default = "five_points")]
    pub wanted_drop: f64,
    /// Rises of the cost of an attempt, as a share of the baseline's, up to which nothing fails;
    /// `None` if costs are not gated.
    #[serde(default)]
    pub max_cost_increase: Option<f64>,
}

fn five_points() -> f64 {
    0.05
}

impl Default for Gate {
    fn default() -> Self {
        Self { margin: 0.0, confidence: 0.95, wanted_drop: five_points(), max_cost_increase: None }
    }
}

/// A comparison as data. Serialised, it is `comparison.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Format of the file.
    pub format: FormatVersion,
    /// The side that counts as before.
    pub baseline: Side,
    /// The side that counts as after.
    pub candidate: Side,
    /// Competitions on both sides.
    pub paired: usize,
    /// Competitions on the baseline's side alone, which are left out.
    pub only_baseline: Vec<String>,
    /// Competitions on the candidate's side alone, which are left out.
    pub only_candidate: Vec<String>,
    /// Competitions on both sides on which a side lost every attempt, which are left out of every
    /// change and test.
    #[serde(default)]
    pub lost: Vec<String>,
    /// Change of the share of attempts with any medal. Lost attempts (ended by the machine, or
    /// without an end) are left out of this and of every other change.
    pub medal_rate: Change,
    /// Medal rates with lost attempts counted as failed; `None` if none was lost.
    #[serde(default)]
    pub as_planned: Option<AsPlanned>,
    /// Change of the mean percentile rank, where leaderboards are known.
    pub percentile: Option<Change>,
    /// Change of the cost of an attempt; `None` if no side recorded any.
    #[serde(default)]
    pub cost: Option<CostChange>,
    /// Change of the medal rate in each complexity and modality, with p values corrected over all
    /// of them.
    pub parts: Vec<PartChange>,
    /// Every paired competition, most changed first.
    pub competitions: Vec<CompetitionChange>,
    /// Exact McNemar test over competitions, counting one as won if more than half of its attempts
    /// got a medal.
    pub mcnemar: McNemar,
    /// Conditions in which the sides differ.
    pub conditions: Vec<ConditionDifference>,
    /// The gate's verdict.
    pub verdict: Verdict,
    /// What was left out or read otherwise than it stands.
    pub warnings: Vec<String>,
}

/// Medal rates over all planned attempts, lost ones counted as failed. No test uses them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AsPlanned {
    /// Baseline's mean over competitions.
    pub baseline: f64,
    /// Candidate's mean over competitions.
    pub candidate: f64,
    /// Candidate minus baseline.
    pub difference: f64,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Agents of its groups.
    pub agents: Vec<String>,
    pub groups: Vec<String>,
    /// Attempts on paired competitions.
    pub attempts: usize,
    /// Attempts with any medal among them.
    pub medals: usize,
    /// Attempts lost to infrastructure among them.
    pub infrastructure: usize,
    /// Attempts without an end among them.
    pub unfinished: usize,
}

/// How a measure changed over the paired competitions; fractions, candidate minus baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Baseline's mean over competitions.
    pub baseline: f64,
    /// Candidate's mean over competitions.
    pub candidate: f64,
    /// Candidate minus baseline.
    pub difference: f64,
    /// Competitions that count.
    pub competitions: usize,
    /// Standard error over seeds; `None` if a side has one attempt a competition or none differ.
    pub standard_error: Option<f64>,
    /// Interval *on these competitions*.
    pub on_these: Option<Interval>,
    /// Interval *on competitions like these*.
    pub on_like_these: Option<Interval>,
    /// Two-sided p value *on these competitions*: labels exchanged within competitions.
    pub p_on_these: f64,
    /// Two-sided p value *on competitions like these*: signs of the differences flipped.
    pub p_on_like_these: f64,
    /// Smallest true change that a test at 5% *on these competitions* finds with 80% probability;
    /// `None` if not known, or if no change is large enough.
    pub detectable_on_these: Option<f64>,
    /// Smallest true change that a test at 5% *on competitions like these* finds with 80%
    /// probability; `None` if not known, or if no change is large enough.
    pub detectable_on_like_these: Option<f64>,
}

/// A change within a complexity or modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartChange {
    /// `complexity` or `modality`.
    pub kind: String,
    /// Which one.
    pub name: String,
    /// The change of the medal rate.
    pub change: Change,
    /// `p_on_these` after Holm's correction over all parts.
    pub p_corrected: f64,
}

/// A change on one competition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompetitionChange {
    /// Competition id.
    pub competition: String,
    /// Which way it moved.
    pub moved: Moved,
    /// The baseline's attempts.
    pub baseline: Vec<AttemptBrief>,
    /// The candidate's attempts.
    pub candidate: Vec<AttemptBrief>,
    /// Change of the share of attempts with a medal.
    pub medal_difference: f64,
    /// Change of the mean percentile rank, 0 to 1.
    pub percentile_difference: Option<f64>,
    /// Two-sided p value of the change of medals, or of percentile ranks where they are known.
    pub p: f64,
    /// `p` after Holm's correction over all competitions.
    pub p_corrected: f64,
}

/// Which way a competition moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moved {
    /// A larger share of attempts got a medal.
    Up,
    /// A smaller share.
    Down,
    /// The same share.
    Same,
}

/// What a comparison shows of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptBrief {
    /// Run group.
    pub group: String,
    pub seed: u32,
    pub score: Option<f64>,
    pub medal: Option<Medal>,
    /// Outcome tag.
    pub outcome: String,
    /// Whether the machine is to blame.
    pub infrastructure: bool,
}

/// Exact McNemar test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Competitions won by the candidate alone.
    pub gained: usize,
    /// Competitions won by the baseline alone.
    pub lost: usize,
    /// Two-sided p value.
    pub p: f64,
}

/// A condition in which the sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionDifference {
    pub condition: String,
    /// Values on the baseline's side.
    pub baseline: Vec<String>,
    /// Values on the candidate's side.
    pub candidate: Vec<String>,
    /// Competition, where the condition belongs to one.
    pub competition: Option<String>,
    /// What follows.
    pub weight: Weight,
}

/// What a difference in conditions means for a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// The sides did not get the same task; the comparison is refused unless it is forced.
    Refused,
    /// The change may come from it.
    Flagged,
    /// It is what is being compared, such as the agent's image.
    Expected,
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was asked for.
    pub gate: Gate,
    /// Whether the attempts allow a verdict: at least half of those of each side, on the paired
    /// competitions, were not lost.
    #[serde(default = "yes")]
    pub decided: bool,
    /// Whether the medal rate fell. Never where nothing is decided.
    pub regressed: bool,
    /// One-sided p value of a drop *on these competitions*.
    pub p: f64,
    /// Probability that this gate catches a true drop of five points with data like these; `None`
    /// with one seed.
    pub power_at_five_points: Option<f64>,
    /// The same for the drop that the gate asks about.
    #[serde(default)]
    pub power: Option<f64>,
    /// Seeds a competition and side with which that drop is caught 80 times in 100; `None` if
    /// nothing varies.
    #[serde(default)]
    pub seeds_needed: Option<SeedsNeeded>,
    /// Most attempts that a competition has on a side now, lost ones left out.
    #[serde(default)]
    pub seeds: usize,
    /// The reason in words.
    pub reason: String,
    /// What the gate says of the cost; `None` if it asks for nothing.
    #[serde(default)]
    pub cost: Option<CostVerdict>,
}

fn yes() -> bool {
    true
}

impl Verdict {
    /// The verdict in a few words.
    pub fn heading(&self) -> &'static str {
        match (self.decided, self.regressed) {
            (false, _) => "Not decided",
            (true, true) => "Regression",
            (true, false) => "No regression found",
        }
    }
}

/// The sides cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// No competition is on both sides.
    #[error(
        "the sides share no competition: {baseline} on the baseline's side, {candidate} on the candidate's"
    )]
    NothingShared {
        /// Competitions of the baseline.
        baseline: usize,
        /// Competitions of the candidate.
        candidate: usize,
    },
    /// A group stands on both sides.
    #[error("run group `{0}` stands on both sides")]
    BothSides(String),
}

/// Compares two readings.
///
/// # Errors
/// [`CompareError`].
pub fn compare(
    baseline: &Reading,
    candidate: &Reading,
    gate: Gate,
) -> Result<Comparison, CompareError> {
    if let Some(group) =
        baseline.groups.iter().find(|b| candidate.groups.iter().any(|c| c.path == b.path))
    {
        return Err(CompareError::BothSides(group.id.clone()));
    }
    let base = by_competition(&baseline.groups.iter().collect::<Vec<_>>());
    let cand = by_competition(&candidate.groups.iter().collect::<Vec<_>>());
    let pairs: BTreeMap<&str, (&[&Attempt], &[&Attempt])> = base
        .iter()
        .filter_map(|(id, b)| cand.get(id).map(|c| (*id, (b.as_slice(), c.as_slice()))))
        .collect();
    if pairs.is_empty() {
        return Err(CompareError::NothingShared { baseline: base.len(), candidate: cand.len() });
    }
    let all: Vec<_> = pairs.values().copied().collect();
    let (b_side, c_side) = (side(baseline, &all, |p| p.0), side(candidate, &all, |p| p.1));
    let kept = without_lost(&pairs);
    // Without a single attempt to test the rates are those of all attempts, and nothing is decided.
    let tested: BTreeMap<&str, Pair<'_>> = if kept.is_empty() {
        pairs.clone()
    } else {
        kept.iter().map(|(id, (b, c))| (*id, (b.as_slice(), c.as_slice()))).collect()
    };
    let lost = pairs.keys().filter(|id| !tested.contains_key(*id)).map(|id| (*id).to_owned());
    let medal_pairs = values(tested.values(), Measure::AnyMedal);
    let medal_rate = change(&medal_pairs);
    let percentile_pairs = known(values(tested.values(), Measure::Percentile));
    let decided = !kept.is_empty() && b_side.is_usable() && c_side.is_usable();
    let cost = cost::cost_change(&tested);
    let cost_verdict = cost::cost_verdict(cost.as_ref(), &gate, decided);
    let verdict =
        Verdict { cost: cost_verdict, ..verdict(&medal_pairs, &medal_rate, gate, decided) };
    let as_planned = (b_side.lost() + c_side.lost() > 0).then(|| as_planned(&all));
    let mut warnings: Vec<String> =
        baseline.warnings.iter().chain(&candidate.warnings).map(ToString::to_string).collect();
    warnings.sort();
    warnings.dedup();
    for (name, side) in [("baseline", &b_side), ("candidate", &c_side)] {
        if side.lost() > 0 {
            warnings.push(format!(
                "the {name} lost {} of {} attempts ({} to infrastructure, {} unfinished); the test leaves them out",
                side.lost(),
                side.attempts,
                side.infrastructure,
                side.unfinished
            ));
        }
    }
    let only =
        |a: &BTreeMap<&str, Vec<&Attempt>>, b: &BTreeMap<&str, Vec<&Attempt>>| -> Vec<String> {
            a.keys().filter(|id| !b.contains_key(*id)).map(|id| (*id).to_owned()).collect()
        };
    Ok(Comparison {
        format: COMPARISON_FORMAT,
        paired: pairs.len(),
        lost: lost.collect(),
        as_planned,
        only_baseline: only(&base, &cand),
        only_candidate: only(&cand, &base),
        percentile: (!percentile_pairs.is_empty()).then(|| change(&percentile_pairs)),
        cost,
        parts: part_changes(&tested),
        mcnemar: mcnemar(&medal_pairs),
        conditions: condition_differences(&pairs),
        baseline: b_side,
        candidate: c_side,
        medal_rate,
        competitions: competition_changes(&pairs, &tested),
        verdict,
        warnings,
    })
}

/// How two agents of one report differ; `None` if no competition has attempts of both that were not
/// lost.
pub(crate) fn paired_difference(
    (first, a): (&str, &[&Attempt]),
    (second, b): (&str, &[&Attempt]),
) -> Option<PairedDifference> {
    let mut pairs: BTreeMap<&str, (Cluster, Cluster)> = BTreeMap::new();
    // The second counts as before, so that the change is first minus second.
    for attempt in b.iter().filter(|attempt| !attempt.is_lost()) {
        let value = Measure::AnyMedal.value(&attempt.grade);
        pairs.entry(&attempt.key.competition).or_default().0.extend(value);
    }
    for attempt in a.iter().filter(|attempt| !attempt.is_lost()) {
        let value = Measure::AnyMedal.value(&attempt.grade);
        pairs.entry(&attempt.key.competition).or_default().1.extend(value);
    }
    let pairs = known(pairs.into_values().collect());
    let alpha = 1.0 - CONFIDENCE;
    let power = StandardError::on_these(&pairs).map(|error| {
        let needed = stats::t_quantile(1.0 - alpha / 2.0, error.degrees);
        stats::normal_cdf(five_points() / error.value - needed)
    });
    (!pairs.is_empty()).then(|| PairedDifference {
        first: first.to_owned(),
        second: second.to_owned(),
        change: change(&pairs),
        power_at_five_points: power,
        seeds_needed: stats::seeds_needed(&pairs, five_points(), alpha / 2.0, stats::POWER),
        seeds: pairs.iter().flat_map(|(b, c)| [b.len(), c.len()]).max().unwrap_or(0),
    })
}

impl Comparison {
    /// Differences that make the sides different tasks.
    pub fn refusals(&self) -> impl Iterator<Item = &ConditionDifference> {
        self.conditions.iter().filter(|difference| difference.weight == Weight::Refused)
    }
}

type Pair<'a> = (&'a [&'a Attempt], &'a [&'a Attempt]);

impl Side {
    /// Attempts that say nothing of the agent.
    pub fn lost(&self) -> usize {
        self.infrastructure + self.unfinished
    }

    /// Whether enough attempts are left for a verdict.
    fn is_usable(&self) -> bool {
        2 * self.lost() <= self.attempts
    }
}

/// Attempts of a competition: the baseline's and the candidate's.
type Kept<'a> = (Vec<&'a Attempt>, Vec<&'a Attempt>);

/// Pairs without the attempts that were lost; those with nothing left on a side are gone.
fn without_lost<'a>(pairs: &BTreeMap<&'a str, Pair<'a>>) -> BTreeMap<&'a str, Kept<'a>> {
    let keep = |attempts: &[&'a Attempt]| -> Vec<&'a Attempt> {
        attempts.iter().copied().filter(|attempt| !attempt.is_lost()).collect()
    };
    pairs
        .iter()
        .map(|(id, (b, c))| (*id, (keep(b), keep(c))))
        .filter(|(_, (b, c))| !b.is_empty() && !c.is_empty())
        .collect()
}

fn values<'a>(
    pairs: impl IntoIterator<Item = &'a Pair<'a>>,
    measure: Measure,
) -> Vec<(Cluster, Cluster)> {
    let of = |attempts: &[&Attempt]| -> Cluster {
        attempts.iter().filter_map(|a| measure.value(&a.grade)).collect()
    };
    pairs.into_iter().map(|(b, c)| (of(b), of(c))).collect()
}

/// Pairs with a value on both sides.
fn known(pairs: Vec<(Cluster, Cluster)>) -> Vec<(Cluster, Cluster)> {
    pairs.into_iter().filter(|(b, c)| !b.is_empty() && !c.is_empty()).collect()
}

fn change(pairs: &[(Cluster, Cluster)]) -> Change {
    let mut rng = Rng::new(stats::SEED);
    let mean = |get: fn(&(Cluster, Cluster)) -> &Cluster| {
        stats::mean(&pairs.iter().map(|pair| stats::mean(get(pair))).collect::<Vec<_>>())
    };
    let differences: Vec<f64> =
        pairs.iter().map(|(b, c)| stats::mean(c) - stats::mean(b)).collect();
    let (baseline, candidate) = (mean(|p| &p.0), mean(|p| &p.1));
    let detectable = |error: Option<StandardError>| {
        error
            .map(|error| error.detectable(1.0 - CONFIDENCE, stats::POWER))
            .filter(|change| *change < 1.0)
    };
    let on_these = StandardError::on_these(pairs);
    Change {
        baseline,
        candidate,
        difference: stats::mean(&differences),
        competitions: pairs.len(),
        standard_error: on_these.map(|error| error.value),
        on_these: stats::difference_on_these(pairs, CONFIDENCE),
        on_like_these: stats::difference_on_like_these(pairs, CONFIDENCE),
        p_on_these: stats::permutation_differs(pairs, &mut rng),
        p_on_like_these: stats::sign_flip(&differences, &mut rng),
        detectable_on_these: detectable(on_these),
        detectable_on_like_these: detectable(StandardError::on_like_these(pairs)),
    }
}

fn verdict(pairs: &[(Cluster, Cluster)], change: &Change, gate: Gate, decided: bool) -> Verdict {
    let exchanged = Exchanged::new(pairs, &mut Rng::new(stats::SEED));
    let p = exchanged.p_worse();
    let alpha = 1.0 - gate.confidence;
    let drop = -change.difference;
    let sure = p <= alpha + 1e-12;
    let large = drop > 0.0 && drop >= gate.margin;
    let power = |true_drop: f64| {
        // Both conditions must hold: a drop that the test calls sure, and at least the margin.
        let wanted = exchanged.critical_drop(alpha).max(gate.margin);
        change.standard_error.map(|error| stats::normal_cdf((true_drop - wanted) / error))
    };
    let points = |share: f64| format!("{} points", text::number(share * 100.0, 1));
    let (told, allowed) = (text::p_equals(p), text::p_value(alpha));
    let reason = match (decided, large, sure) {
        (false, ..) => {
            "more than half of the attempts of a side were lost, so nothing can be said of the agent"
                .to_owned()
        }
        (_, true, true) => {
            format!("the medal rate fell by {} ({told}, at most {allowed} allowed)", points(drop))
        }
        (_, true, false) => format!(
            "the medal rate fell by {}, which these attempts do not tell from chance ({told}, more than {allowed})",
            points(drop)
        ),
        (_, false, _) if drop > 0.0 => format!(
            "the medal rate fell by {}, less than the margin of {}",
            points(drop),
            points(gate.margin)
        ),
        _ => format!("the medal rate did not fall (change {} points)", text::points(Some(-drop))),
    };
    Verdict {
        gate,
        decided,
        regressed: decided && large && sure,
        p,
        power_at_five_points: power(0.05),
        power: power(gate.wanted_drop),
        seeds_needed: stats::seeds_needed(pairs, gate.wanted_drop, alpha, stats::POWER),
        seeds: pairs.iter().flat_map(|(b, c)| [b.len(), c.len()]).max().unwrap_or(0),
        reason,
        cost: None,
    }
}

fn side<'a>(reading: &Reading, pairs: &[Pair<'a>], of: fn(&Pair<'a>) -> &'a [&'a Attempt]) -> Side {
    let attempts: Vec<&Attempt> = pairs.iter().flat_map(|pair| of(pair).iter().copied()).collect();
    let agents: BTreeSet<String> = reading.groups.iter().map(|group| group.agent.clone()).collect();
    Side {
        agents: agents.into_iter().collect(),
        groups: reading.groups.iter().map(|group| group.id.clone()).collect(),
        medals: attempts.iter().filter(|a| Measure::AnyMedal.value(&a.grade) == Some(1.0)).count(),
        infrastructure: attempts.iter().filter(|a| a.is_infrastructure()).count(),
        unfinished: attempts.iter().filter(|a| !a.has_ended()).count(),
        attempts: attempts.len(),
    }
}

fn mcnemar(pairs: &[(Cluster, Cluster)]) -> McNemar {
    let won = |values: &Cluster| stats::mean(values) > 0.5;
    let gained = pairs.iter().filter(|(b, c)| !won(b) && won(c)).count();
    let lost = pairs.iter().filter(|(b, c)| won(b) && !won(c)).count();
    McNemar { gained, lost, p: stats::mcnemar(gained, lost) }
}

#[cfg(test)]
mod tests;
