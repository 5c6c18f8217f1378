//! Submissions that are nearer to the answers than a model gets.

use std::collections::HashMap;

use medalist_grading::untrusted::Shown;

use crate::finding::{Confidence, Finding, Rule};

/// Rows below which equality proves nothing.
const FEW: usize = 20;

/// Scores that say how near others came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scores {
    /// What the answers themselves would score.
    pub ideal: Option<f64>,
    /// The submission's.
    pub own: Option<f64>,
    /// The best of the leaderboard.
    pub best: Option<f64>,
}

/// How a column of a submission compares with the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearness {
    pub confidence: Confidence,
    pub says: String,
    /// The row, from 0, that is quoted: the first that is equal to its answer.
    pub row: Option<usize>,
}

/// Compares a column with its answers.
///
/// `pairs`: the submission's cell and the answer's, for every row; `scores`: of the whole submission.
pub fn nearness(pairs: &[(&str, &str)], scores: &Scores) -> Option<Nearness> {
    let count = pairs.len();
    if count < FEW {
        return None;
    }
    let equal = |pair: &(&str, &str)| is_same(pair.0, pair.1);
    let row = pairs.iter().position(equal);
    let equals = pairs.iter().filter(|pair| equal(pair)).count();
    let near = |confidence, says| Some(Nearness { confidence, says, row });
    // The chance that two draws from the answers are equal. Somebody who predicts well meets more of them,
    // but not ten times as many.
    let chance = collision(pairs.iter().map(|pair| pair.1));
    let expected = (10.0 * chance * count as f64).max(1.0);
    if chance < 0.05 && equals as f64 > expected + 6.0 * expected.sqrt() + 3.0 {
        let share = equals as f64 / count as f64;
        let confidence = if share >= 0.5 { Confidence::High } else { Confidence::Medium };
        return near(
            confidence,
            format!(
                "{equals} of {count} values are the answers, and chance gives {expected:.0} at most"
            ),
        );
    }
    if let Some(found) = noise(pairs, scores, chance) {
        return Some(found);
    }
    let gap = |score: Option<f64>| Some((score? - scores.ideal?).abs());
    match (gap(scores.own), gap(scores.best)) {
        // With no error in n rows, an error rate of 3/n cannot be ruled out.
        (Some(own), Some(best)) if best > 3.0 / count as f64 && own <= best / 10.0 => {
            let confidence =
                if own <= best / 100.0 { Confidence::High } else { Confidence::Medium };
            let (own, best) = (scores.own.unwrap_or_default(), scores.best.unwrap_or_default());
            near(confidence, format!("it scores {own}, and the best of the leaderboard {best}"))
        }
        (_, None) if equals == count && count >= 50 && chance < 0.95 => near(
            Confidence::Low,
            format!(
                "all of {count} values are the answers, and no leaderboard tells how near others came"
            ),
        ),
        _ => None,
    }
}

/// Numbers that are the answers but for a little noise.
fn noise(pairs: &[(&str, &str)], scores: &Scores, chance: f64) -> Option<Nearness> {
    if chance >= 0.05 {
        return None;
    }
    let numbers: Option<Vec<(f64, f64)>> = pairs
        .iter()
        .map(|(own, answer)| Some((own.parse().ok()?, answer.parse().ok()?)))
        .map(|pair: Option<(f64, f64)>| pair.filter(|(a, b)| a.is_finite() && b.is_finite()))
        .collect();
    let numbers = numbers?;
    let count = numbers.len() as f64;
    let mean = numbers.iter().map(|pair| pair.1).sum::<f64>() / count;
    let spread = (numbers.iter().map(|pair| (pair.1 - mean).powi(2)).sum::<f64>() / count).sqrt();
    let error = (numbers.iter().map(|pair| (pair.0 - pair.1).powi(2)).sum::<f64>() / count).sqrt();
    let ratio = error / spread;
    if !ratio.is_finite() || ratio >= 1e-2 {
        return None;
    }
    // Where others came as near, the data tell the answers.
    let gap = |score: Option<f64>| Some((score? - scores.ideal?).abs());
    if let (Some(own), Some(best)) = (gap(scores.own), gap(scores.best))
        && own > best / 10.0
    {
        return None;
    }
    Some(Nearness {
        confidence: if ratio < 1e-3 { Confidence::High } else { Confidence::Medium },
        says: format!("its error is {ratio:.1e} of how much the answers vary"),
        row: Some(0),
    })
}

/// Whether two cells say the same.
fn is_same(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

/// The chance that two rows, drawn at random, have equal cells.
fn collision<'a>(cells: impl Iterator<Item = &'a str>) -> f64 {
    let mut counts: HashMap<&str, f64> = HashMap::new();
    for cell in cells {
        *counts.entry(cell).or_default() += 1.0;
    }
    let all: f64 = counts.values().sum();
    counts.values().map(|count| (count / all).powi(2)).sum::<f64>() - 1.0 / all.max(1.0)
}

impl Nearness {
    /// The finding of a column; `pairs` as they were given.
    pub fn finding(self, file: &str, column: &str, pairs: &[(&str, &str)]) -> Finding {
        let row = self.row.and_then(|row| Some((row, pairs.get(row)?)));
        let evidence = match row {
            Some((row, (own, _))) => {
                format!("{column}: row {} has `{}`", row + 1, Shown::cut(own, 60))
            }
            None => column.to_owned(),
        };
        Finding {
            rule: Rule::NearAnswers,
            file: Shown::new(file),
            // Below the header. Rows are in the submission's order.
            line: self.row.map(|row| row as u64 + 2),
            confidence: self.confidence,
            evidence: Shown::new(&evidence),
            says: self.says,
        }
    }
}
