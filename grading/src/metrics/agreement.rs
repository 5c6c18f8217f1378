//! Agreement of label columns, class by class.

use std::collections::HashMap;

use super::errors::weights;
use super::{Metric, MetricOption, OptionKind, check_lengths};
use crate::form::Form;
use crate::ids::same;
use crate::invalid::Refusal;
use crate::labels::{check_comparable, check_labels};
use crate::sum::{mean, pairwise_sum};
use crate::table::{Column, Values};
use crate::task::Task;

const LABELS: &str = "one label column: integers, integral floats, booleans (1 and 0) or text";

/// F-beta over class labels.
pub static F_BETA: Metric = Metric {
    name: "f_beta",
    aliases: &["fbeta_score", "f1", "f1_score"],
    summary: "F-beta of one positive class, or averaged over all classes of truth and prediction; 0 where nothing is hit.",
    inputs: LABELS,
    source: "scikit-learn 1.5.2 `fbeta_score(zero_division=0)`",
    options: &[
        MetricOption {
            name: "beta",
            kind: OptionKind::Number,
            required: false,
            doc: "How many times as much recall counts as precision. Default 1.",
        },
        MetricOption {
            name: "average",
            kind: OptionKind::Text,
            required: false,
            doc: "`binary` (the positive class alone), `macro`, `weighted` or `micro`. Default `binary`.",
        },
        MetricOption {
            name: "positive",
            kind: OptionKind::Text,
            required: false,
            doc: "The positive class of `binary`, as it is printed. Default `1`, or `True`.",
        },
    ],
    validate: labels,
    score: |task| {
        let classes = Classes::of(task)?;
        let beta = task.spec.number("beta").unwrap_or(1.0);
        Ok(match task.spec.text("average").unwrap_or("binary") {
            "binary" => {
                let positive = task.spec.text("positive");
                let is_positive = |name: &str| match positive {
                    Some(wanted) => name == wanted,
                    None => name == "1",
                };
                let counts = classes.counts();
                let place = classes.names.iter().position(|name| is_positive(name));
                place.map_or(0.0, |class| counts[class].f_beta(beta))
            }
            average => averaged_f_beta(&classes.counts(), beta, average),
        })
    },
};

/// Balanced accuracy.
pub static BALANCED_ACCURACY: Metric = Metric {
    name: "balanced_accuracy",
    aliases: &["balanced_accuracy_score"],
    summary: "Mean over the classes of the truth of the share of their rows that is right.",
    inputs: LABELS,
    source: "scikit-learn 1.5.2 `balanced_accuracy_score`",
    options: &[],
    validate: labels,
    score: |task| Ok(balanced_accuracy(&Classes::of(task)?.counts())),
};

/// Cohen's kappa.
pub static COHEN_KAPPA: Metric = Metric {
    name: "cohen_kappa",
    aliases: &["kappa"],
    summary: "Cohen's kappa without weights: agreement beyond chance.",
    inputs: LABELS,
    source: "scikit-learn 1.5.2 `cohen_kappa_score`",
    options: &[],
    validate: labels,
    score: |task| Ok(cohen_kappa(&Classes::of(task)?.counts())),
};

/// Accuracy with a weight for each row.
pub static WEIGHTED_ACCURACY: Metric = Metric {
    name: "weighted_accuracy",
    aliases: &["weighted_categorization_accuracy"],
    summary: "Share of the rows' weights whose label equals the true one.",
    inputs: "one label column; the answers also have the weight",
    source: "scikit-learn 1.5.2 `accuracy_score(sample_weight=...)`",
    options: &[MetricOption {
        name: "weight",
        kind: OptionKind::Text,
        required: true,
        doc: "the answers' column with the weight of a row, at least 0",
    }],
    validate: labels,
    score: |task| {
        let weights = weights(task)?;
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        check_comparable(&truth, &prediction)?;
        let rows = pairs.expected.iter().zip(pairs.submission.iter()).zip(&weights);
        let right: Vec<f64> = rows
            .map(|((a, s), &weight)| if same(truth, a, prediction, s) { weight } else { 0.0 })
            .collect();
        Ok(pairwise_sum(&right) / pairwise_sum(&weights))
    },
};

/// Hamming loss.
pub static HAMMING_LOSS: Metric = Metric {
    name: "hamming_loss",
    aliases: &[],
    summary: "Share of the cells of all target columns whose label differs from the true one.",
    inputs: "label columns",
    source: "scikit-learn 1.5.2 `hamming_loss`",
    options: &[],
    validate: |form| {
        (0..form.spec.target_columns.len()).try_for_each(|target| labels_of(form, target))
    },
    score: |task| {
        let pairs = task.pairs()?;
        check_lengths(pairs.expected.len(), pairs.submission.len())?;
        let (mut wrong, mut cells) = (0_u64, 0_u64);
        for target in 0..task.spec.target_columns.len() {
            let (truth, prediction) = (task.truth(target)?, task.prediction(target)?);
            check_comparable(&truth, &prediction)?;
            for (a, s) in pairs.expected.iter().zip(pairs.submission.iter()) {
                wrong += u64::from(!same(truth, a, prediction, s));
                cells += 1;
            }
        }
        Ok(wrong as f64 / cells as f64)
    },
};

fn labels(form: &Form<'_>) -> Result<(), Refusal> {
    labels_of(form, 0)
}

/// Labels that can be compared with the true ones, which are taken to be of the sample's kind.
fn labels_of(form: &Form<'_>, target: usize) -> Result<(), Refusal> {
    let (prediction, rows) = (form.prediction(target)?, form.submitted_rows()?);
    check_lengths(rows.len(), rows.len())?;
    match form.sample(target).filter(|sample| sample.first_missing().is_none()) {
        Some(sample) => check_comparable(&sample, &prediction)?,
        None => check_labels(&prediction)?,
    }
    Ok(())
}

/// How often a class is true, predicted, and both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCount {
    /// Rows of the class.
    pub truth: u64,
    /// Rows that are said to be of it.
    pub predicted: u64,
    /// Rows that are both.
    pub hits: u64,
}

impl ClassCount {
    /// F-beta of this class against all others; 0 if it is neither true nor predicted.
    fn f_beta(self, beta: f64) -> f64 {
        let square = beta * beta;
        let size = square * self.truth as f64 + self.predicted as f64;
        if size == 0.0 { 0.0 } else { (1.0 + square) * self.hits as f64 / size }
    }
}

/// The labels of truth and prediction as numbers of classes, in the order of their labels.
struct Classes {
    names: Vec<String>,
    /// True and predicted class of each row.
    rows: Vec<[u32; 2]>,
}

impl Classes {
    fn of(task: &Task<'_>) -> Result<Self, Refusal> {
        let (truth, prediction, pairs) = (task.truth(0)?, task.prediction(0)?, task.pairs()?);
        check_comparable(&truth, &prediction)?;
        check_lengths(pairs.expected.len(), pairs.submission.len())?;
        let mut known = Known::default();
        let paired = pairs.expected.iter().zip(pairs.submission.iter());
        let mut rows: Vec<[u32; 2]> =
            paired.map(|(a, s)| [known.class(&truth, a), known.class(&prediction, s)]).collect();
        // Sums over classes are made in the order of the labels, as the reference does.
        let mut order: Vec<u32> = (0..known.keys.len() as u32).collect();
        order.sort_by(|a, b| known.keys[*a as usize].cmp(&known.keys[*b as usize]));
        let mut place = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old as usize] = new as u32;
        }
        rows.iter_mut().flatten().for_each(|class| *class = place[*class as usize]);
        let names = order.iter().map(|&class| known.keys[class as usize].name()).collect();
        Ok(Self { names, rows })
    }

    fn counts(&self) -> Vec<ClassCount> {
        let mut counts = vec![ClassCount::default(); self.names.len()];
        for &[truth, predicted] in &self.rows {
            counts[truth as usize].truth += 1;
            counts[predicted as usize].predicted += 1;
            counts[truth as usize].hits += u64::from(truth == predicted);
        }
        counts
    }
}

/// A label: a number, by its order among numbers, or a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Label<'t> {
    Number(i128),
    Text(&'t str),
}

impl Label<'_> {
    fn name(self) -> String {
        match self {
            Self::Number(value) => value.to_string(),
            Self::Text(text) => text.to_owned(),
        }
    }
}

/// The classes seen so far.
#[derive(Default)]
struct Known<'t> {
    keys: Vec<Label<'t>>,
    classes: HashMap<Label<'t>, u32>,
}

impl<'t> Known<'t> {
    fn class(&mut self, column: &Column<'t>, row: usize) -> u32 {
        let label = match column.values() {
            Values::Int(values) => Label::Number(i128::from(values[row])),
            Values::UInt(values) => Label::Number(i128::from(values[row])),
            Values::Bool(values) => Label::Number(i128::from(values[row])),
            // Labels that are floats were checked to be whole.
            Values::Float(values) => Label::Number(values[row] as i128),
            _ => Label::Text(column.raw(row)),
        };
        *self.classes.entry(label).or_insert_with(|| {
            self.keys.push(label);
            self.keys.len() as u32 - 1
        })
    }
}

/// F-beta averaged over classes: `macro` plainly, `weighted` by the true rows of each, anything else
/// from the counts of all together.
///
/// # Source
/// scikit-learn 1.5.2 `fbeta_score(average=..., zero_division=0)`.
pub fn averaged_f_beta(counts: &[ClassCount], beta: f64, average: &str) -> f64 {
    let scores = || counts.iter().map(|count| count.f_beta(beta));
    match average {
        "macro" => mean(&scores().collect::<Vec<_>>()),
        "weighted" => {
            let weights: Vec<f64> = counts.iter().map(|count| count.truth as f64).collect();
            let parts: Vec<f64> =
                scores().zip(&weights).map(|(score, weight)| score * weight).collect();
            pairwise_sum(&parts) / pairwise_sum(&weights)
        }
        _ => {
            let all = counts.iter().fold(ClassCount::default(), |sum, count| ClassCount {
                truth: sum.truth + count.truth,
                predicted: sum.predicted + count.predicted,
                hits: sum.hits + count.hits,
            });
            all.f_beta(beta)
        }
    }
}

/// Mean recall over the classes that are true somewhere.
///
/// # Source
/// scikit-learn 1.5.2 `balanced_accuracy_score`.
pub fn balanced_accuracy(counts: &[ClassCount]) -> f64 {
    let there = counts.iter().filter(|count| count.truth > 0);
    mean(&there.map(|count| count.hits as f64 / count.truth as f64).collect::<Vec<_>>())
}

/// Cohen's kappa; NaN if both raters give one and the same label throughout.
///
/// # Source
/// scikit-learn 1.5.2 `cohen_kappa_score`.
pub fn cohen_kappa(counts: &[ClassCount]) -> f64 {
    let rows: u64 = counts.iter().map(|count| count.truth).sum();
    let hits: u64 = counts.iter().map(|count| count.hits).sum();
    let by_chance: u128 =
        counts.iter().map(|count| u128::from(count.truth) * u128::from(count.predicted)).sum();
    let expected = rows as f64 - by_chance as f64 / rows as f64;
    1.0 - (rows - hits) as f64 / expected
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(truth: &[usize], predicted: &[usize]) -> Vec<ClassCount> {
        let classes = truth.iter().chain(predicted).max().map_or(0, |max| max + 1);
        let mut counts = vec![ClassCount::default(); classes];
        for (&t, &p) in truth.iter().zip(predicted) {
            counts[t].truth += 1;
            counts[p].predicted += 1;
            counts[t].hits += u64::from(t == p);
        }
        counts
    }

    #[test]
    fn known_agreement() {
        // From scikit-learn's documentation of the functions.
        let both = counts(&[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1]);
        for (average, expected) in
            [("macro", 0.238_095), ("micro", 1.0 / 3.0), ("weighted", 0.238_095)]
        {
            assert!((averaged_f_beta(&both, 0.5, average) - expected).abs() < 1e-6, "{average}");
        }
        assert_eq!(balanced_accuracy(&counts(&[0, 1, 0, 0, 1, 0], &[0, 1, 0, 0, 0, 1])), 0.625);
        let raters = counts(&[0, 1, 0, 1], &[0, 0, 0, 1]);
        assert!((cohen_kappa(&raters) - 0.5).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn the_truth_is_best(rows in proptest::collection::vec((0_usize..4, 0_usize..4), 2..60)) {
            let (truth, predicted): (Vec<usize>, Vec<usize>) = rows.into_iter().unzip();
            let (right, other) = (counts(&truth, &truth), counts(&truth, &predicted));
            prop_assert_eq!(balanced_accuracy(&right), 1.0);
            prop_assert!(balanced_accuracy(&other) <= 1.0);
            let kappa = cohen_kappa(&other);
            // One class alone has none.
            prop_assert!(kappa.is_nan() || kappa <= 1.0);
            prop_assert!((averaged_f_beta(&right, 2.0, "weighted") - 1.0).abs() < 1e-12);
        }
    }
}
