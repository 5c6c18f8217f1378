//! Metrics over scores whose order counts.

use rayon::prelude::*;

use super::{Metric, MetricError, MetricOption, OptionKind, check_finite, check_lengths};
use crate::ids::{Rows, sortable};
use crate::invalid::Refusal;
use crate::spec::Pairing;
use crate::sum::mean;
use crate::table::{Column, Values};
use crate::task::Task;

/// Area under the ROC curve, averaged over the target columns.
pub static ROC_AUC: Metric = Metric {
    name: "roc_auc",
    aliases: &["auroc", "roc_auc_score", "mean_columnwise_roc_auc"],
    summary: "Area under the ROC curve; with several target columns the plain mean of theirs.",
    inputs: "per target column two classes in the truth (the larger one is positive) and finite scores",
    source: "scikit-learn 1.5.2 `roc_auc_score`",
    options: &[],
    validate: super::finite_cells,
    score: |task| {
        let targets = (0..task.spec.target_columns.len()).into_par_iter();
        let areas: Vec<Result<f64, Refusal>> =
            targets.map(|target| column_auc(task, target)).collect();
        // The first column that fails is the one that is reported.
        Ok(mean(&areas.into_iter().collect::<Result<Vec<f64>, Refusal>>()?))
    },
};

fn column_auc(task: &Task<'_>, target: usize) -> Result<f64, Refusal> {
    let (column, rows) = (task.prediction(target)?, task.pairs()?.submission);
    let positive = two_classes(task, target)?;
    let area = match (column.values(), rows) {
        (Values::Float(values), Rows::InOrder(_)) => roc_auc(&positive, values),
        // Each row counts once, in whatever order, so that the classes (a byte each) are moved to
        // the scores.
        (Values::Float(values), Rows::Listed(rows)) if task.spec.pairing == Pairing::Sorted => {
            let mut moved = vec![false; positive.len()];
            for (&row, &positive) in rows.iter().zip(&positive) {
                moved[row as usize] = positive;
            }
            roc_auc(&moved, values).map_err(|error| first_in_order(error, values, rows))
        }
        _ => roc_auc(&positive, &task.predicted_numbers(target)?),
    };
    area.map_err(|error| task.refuse(target, error))
}

/// The error about the first bad score in the paired order, where one was found in file order.
fn first_in_order(error: MetricError, scores: &[f64], rows: &[u32]) -> MetricError {
    let bad = || rows.iter().position(|&row| !scores[row as usize].is_finite());
    match error.index().and_then(|_| bad()) {
        Some(place) => super::not_finite(place, scores[rows[place] as usize]),
        None => error,
    }
}

/// The truth of a target as two classes, in the paired order; the larger label is `true`.
pub(crate) fn two_classes(task: &Task<'_>, target: usize) -> Result<Vec<bool>, Refusal> {
    let (column, rows) = (task.truth(target)?, task.pairs()?.expected);
    if let Values::Int(values) = column.values()
        && values.iter().all(|v| matches!(v, 0 | 1))
        && values.contains(&1)
    {
        return Ok(rows.iter().map(|row| values[row] == 1).collect());
    }
    let mut labels: Vec<f64> = Vec::new();
    for row in 0..column.len() {
        let label = column
            .number(row)
            .filter(|v| !v.is_nan())
            .ok_or(MetricError::Missing { index: row })?;
        if !labels.contains(&label) {
            labels.push(label);
        }
        if labels.len() > 2 {
            return Err(MetricError::BadLabel {
                index: None,
                message: "the truth holds more than two classes",
            }
            .into());
        }
    }
    let largest = labels.into_iter().reduce(f64::max);
    Ok(rows.iter().map(|row| column.number(row) == largest).collect())
}

/// Area under the ROC curve for two classes.
///
/// `positive`: `[n]`, the true class. `score`: `[n]`, finite, higher means positive. Equal scores
/// (`0.0` and `-0.0` too) count half.
///
/// # Errors
/// [`MetricError::OneClass`] if all rows are of one class; [`MetricError::Missing`] or
/// [`MetricError::Infinite`] names the first bad row.
///
/// # Source
/// scikit-learn 1.5.2 `roc_auc_score` (binary). Differs from it in the order of additions: the
/// pairs are counted exactly and divided once, which is within 1e-15 of the sum of trapezoids.
pub fn roc_auc(positive: &[bool], score: &[f64]) -> Result<f64, MetricError> {
    const BLOCK: usize = 65_536;
    check_lengths(positive.len(), score.len())?;
    // A few sorted blocks are compared pair by pair: sorting them is what takes time, and all cores
    // can do it.
    let block = positive.len().div_ceil(rayon::current_num_threads().min(4)).max(BLOCK);
    let blocks: Vec<Result<[Vec<u64>; 2], MetricError>> = positive
        .par_chunks(block)
        .zip(score.par_chunks(block))
        .enumerate()
        .map(|(number, (positive, score))| {
            if let Some(index) = score.iter().position(|score| !score.is_finite()) {
                return Err(super::not_finite(number * block + index, score[index]));
            }
            let mut classes = split_classes(positive, score);
            classes.iter_mut().for_each(|scores| scores.sort_unstable());
            Ok(classes)
        })
        .collect();
    let blocks: Vec<[Vec<u64>; 2]> = blocks.into_iter().collect::<Result<_, _>>()?;
    let [negatives, positives] =
        [0, 1].map(|class| blocks.iter().map(|block| block[class].len()).sum::<usize>());
    if negatives == 0 || positives == 0 {
        return Err(MetricError::OneClass);
    }
    let pairs = (0..blocks.len() * blocks.len()).into_par_iter();
    let halves: u128 =
        pairs.map(|k| halves(&blocks[k / blocks.len()][1], &blocks[k % blocks.len()][0])).sum();
    Ok(halves as f64 / (2.0 * positives as f64 * negatives as f64))
}

/// The scores of each class as integers that sort as they do: the negatives' and the positives'.
fn split_classes(positive: &[bool], score: &[f64]) -> [Vec<u64>; 2] {
    let count = positive.iter().filter(|&&p| p).count();
    // Every score is written to both lists, and only its own moves on: a jump could not be
    // foreseen.
    let mut classes = [vec![0; positive.len() - count + 1], vec![0; count + 1]];
    let mut ends = [0; 2];
    for (&positive, &score) in positive.iter().zip(score) {
        let key = sortable(score);
        classes[0][ends[0]] = key;
        classes[1][ends[1]] = key;
        ends[usize::from(positive)] += 1;
    }
    for (scores, end) in classes.iter_mut().zip(ends) {
        scores.truncate(end);
    }
    classes
}

/// Twice the number of pairs of a value of `above` that is larger than one of `below`, plus the
/// equal pairs once. Both ascend.
fn halves(above: &[u64], below: &[u64]) -> u128 {
    let (smaller, ties) = pairs(above, below, |below, above| below < above);
    let not_larger =
        if ties { pairs(above, below, |below, above| below <= above).0 } else { smaller };
    smaller + not_larger
}

/// The number of pairs of a value of `above` and one of `below` that goes before it, and whether
/// two values were found equal. Both ascend.
///
/// One list is gone along at each step, whichever: which one cannot be foreseen, so the step must
/// not depend on a jump.
fn pairs(above: &[u64], below: &[u64], before: impl Fn(u64, u64) -> bool) -> (u128, bool) {
    let (mut i, mut j, mut ties) = (0, 0, false);
    let mut count: u128 = 0;
    while i < above.len() && j < below.len() {
        // At most 2^32 rows of 2^32 each: no sum of a block overflows.
        let mut block = 0_u64;
        for _ in 0..1_024.min(above.len() - i).min(below.len() - j) {
            let (high, low) = (above[i], below[j]);
            let passed = before(low, high);
            ties |= low == high;
            block += if passed { 0 } else { j as u64 };
            i += usize::from(!passed);
            j += usize::from(passed);
        }
        count += u128::from(block);
    }
    (count + (above.len() - i) as u128 * below.len() as u128, ties)
}

/// Area under the ROC curve with bands of the true-positive rate weighted differently.
pub static WEIGHTED_ROC_AUC: Metric = Metric {
    name: "weighted_roc_auc",
    aliases: &["alaska_weighted_auc"],
    summary: "Area under the ROC curve, cut into bands of the true-positive rate that count with their weights, divided by the largest value.",
    inputs: "one column: two classes in the truth (the larger one is positive) and finite scores",
    source: "MLE-bench `alaska2-image-steganalysis/grade.py`",
    options: &[
        MetricOption {
            name: "bounds",
            kind: OptionKind::Numbers,
            required: true,
            doc: "the bands' bounds from 0 to 1",
        },
        MetricOption {
            name: "weights",
            kind: OptionKind::Numbers,
            required: true,
            doc: "the bands' weights, one fewer than bounds",
        },
    ],
    validate: super::finite_cells,
    score: |task| {
        let positive = two_classes(task, 0)?;
        let score = task.predicted_numbers(0)?;
        weighted_roc_auc(
            &positive,
            &score,
            &task.spec.numbers("bounds"),
            &task.spec.numbers("weights"),
        )
        .map_err(|error| task.refuse(0, error))
    },
};

/// ROC points (false-positive rate, true-positive rate): (0, 0), then one after each group of equal
/// scores in falling order.
fn roc_curve(positive: &[bool], score: &[f64]) -> Result<Vec<(f64, f64)>, MetricError> {
    check_lengths(positive.len(), score.len())?;
    check_finite(score, score)?;
    let total = positive.iter().filter(|&&p| p).count();
    if total == 0 || total == positive.len() {
        return Err(MetricError::OneClass);
    }
    let mut order: Vec<u32> = (0..score.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| score[b as usize].total_cmp(&score[a as usize]));
    let (mut hits, mut misses) = (0_usize, 0_usize);
    let mut points = vec![(0.0, 0.0)];
    for (place, &row) in order.iter().enumerate() {
        if positive[row as usize] {
            hits += 1
        } else {
            misses += 1
        }
        let next = order.get(place + 1).map(|&next| score[next as usize]);
        if next != Some(score[row as usize]) {
            points.push((
                misses as f64 / (positive.len() - total) as f64,
                hits as f64 / total as f64,
            ));
        }
    }
    Ok(points)
}

/// Area under the ROC curve with bands of the true-positive rate weighted.
///
/// `positive`, `score`: `[n]`, scores finite. `bounds`: ascending, from 0 to 1; `weights`: one per
/// band between two bounds. A band is the area below the curve and between its bounds; where the
/// curve has no point at a bound, one is interpolated. 1 is best.
///
/// # Errors
/// [`MetricError`] if lengths differ, a score is not finite, or the truth has one class only.
///
/// # Source
/// MLE-bench `alaska2-image-steganalysis/grade.py`, after Kaggle's metric notebook.
pub fn weighted_roc_auc(
    positive: &[bool],
    score: &[f64],
    bounds: &[f64],
    weights: &[f64],
) -> Result<f64, MetricError> {
    let mut curve = roc_curve(positive, score)?;
    for &bound in bounds {
        if curve.iter().any(|&(_, rate)| rate == bound) {
            continue;
        }
        if let Some(next) = curve.iter().position(|&(_, rate)| rate > bound)
            && next > 0
        {
            let ((f0, t0), (f1, t1)) = (curve[next - 1], curve[next]);
            curve.insert(next, (f0 + (f1 - f0) * (bound - t0) / (t1 - t0), bound));
        }
    }
    let (mut sum, mut largest) = (0.0, 0.0);
    for (band, weight) in bounds.windows(2).zip(weights) {
        let (low, high) = (band[0], band[1]);
        let inside = curve.iter().copied().filter(|&(_, rate)| low <= rate && rate <= high);
        let points: Vec<(f64, f64)> = inside.chain([(1.0, high)]).collect();
        let area: f64 = points
            .windows(2)
            .map(|p| (p[1].0 - p[0].0) * ((p[0].1 - low) + (p[1].1 - low)) / 2.0)
            .sum();
        sum += weight * area;
        largest += weight * (high - low);
    }
    Ok(sum / largest)
}

/// Label-weighted label-ranking average precision.
pub static LWLRAP: Metric = Metric {
    name: "lwlrap",
    aliases: &["label_weighted_label_ranking_average_precision"],
    summary: "Label-ranking average precision of each row, weighted by its number of true classes.",
    inputs: "one 0/1 column per class in the truth, and scores that are finite in rows with a true class",
    source: "scikit-learn 1.5.2 `label_ranking_average_precision_score(sample_weight=labels per row)`",
    options: &[],
    validate: super::finite_cells,
    score: |task| {
        let classes = task.spec.target_columns.len();
        let pairs = task.pairs()?;
        let mut counted = vec![false; pairs.expected.len()];
        for target in 0..classes {
            for (counted, truth) in counted.iter_mut().zip(task.truth_numbers(target)?) {
                *counted |= truth != 0.0;
            }
        }
        let mut columns = Vec::with_capacity(classes);
        for target in 0..classes {
            // Looked at a column at a time, and read again row by row.
            let (truth, mut scores) =
                (task.truth_numbers(target)?, task.predicted_numbers(target)?);
            // The reference leaves out rows without a true class before it looks at any score.
            for (score, _) in scores.iter_mut().zip(&counted).filter(|(_, counted)| !**counted) {
                *score = 0.0;
            }
            check_finite(&truth, &scores).map_err(|error| task.refuse(target, error))?;
            columns.push((task.truth(target)?, task.prediction(target)?));
        }
        let row = |(a, s): (usize, usize)| {
            let number = |column: &Column<'_>, row| column.number(row).unwrap_or(f64::NAN);
            (
                columns.iter().map(|(truth, _)| number(truth, a) != 0.0).collect::<Vec<_>>(),
                columns.iter().map(|(_, scores)| number(scores, s)).collect::<Vec<_>>(),
            )
        };
        Ok(lwlrap(pairs.expected.iter().zip(pairs.submission.iter()).map(row)))
    },
};

/// Label-weighted label-ranking average precision.
///
/// `rows`: the truth and the scores of each row, `[classes]` each, scores finite. For each true
/// class the share of true classes among those scored at least as high; tied classes get their
/// worst rank. Rows without a true class do not count; NaN if there are no others.
///
/// # Source
/// scikit-learn 1.5.2 `label_ranking_average_precision_score`, weighted by the number of true
/// classes.
pub fn lwlrap(rows: impl Iterator<Item = (Vec<bool>, Vec<f64>)>) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (truth, score) in rows {
        let descending = |mut scores: Vec<f64>| {
            scores.sort_unstable_by(|a, b| b.total_cmp(a));
            scores
        };
        let hits = descending(
            truth.iter().zip(&score).filter(|(t, _)| **t).map(|(_, s)| s + 0.0).collect(),
        );
        let all = descending(score.iter().map(|s| s + 0.0).collect());
        let rank =
            |scores: &[f64], score: f64| scores.partition_point(|&other| other >= score) as f64;
        let precisions: Vec<f64> =
            hits.iter().map(|&score| rank(&hits, score) / rank(&all, score)).collect();
        if !hits.is_empty() {
            sum += hits.len() as f64 * mean(&precisions);
            weights += hits.len() as f64;
        }
    }
    sum / weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half() {
        let auc = |truth: &[u8], score: &[f64]| {
            roc_auc(&truth.iter().map(|&t| t == 1).collect::<Vec<_>>(), score)
        };
        assert_eq!(auc(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8]), Ok(0.75));
        assert_eq!(auc(&[0, 1], &[0.0, -0.0]), Ok(0.5));
        assert_eq!(auc(&[1, 1, 0, 0], &[2.0, 1.0, 1.0, 0.0]), Ok(0.875));
        assert_eq!(auc(&[1, 1], &[0.0, 1.0]), Err(MetricError::OneClass));
        assert_eq!(auc(&[1, 0], &[0.0, f64::NAN]), Err(MetricError::Missing { index: 1 }));
    }

    #[test]
    fn weighted_auc_of_a_constant_is_known() {
        let auc = |score: &[f64]| {
            weighted_roc_auc(&[true, false], score, &[0.0, 0.4, 1.0], &[2.0, 1.0]).unwrap()
        };
        assert!((auc(&[0.0, 0.0]) - 0.82 / 1.4).abs() < 1e-12);
        assert!((auc(&[1.0, 0.0]) - 1.0).abs() < 1e-12);
        assert!(auc(&[0.0, 1.0]).abs() < 1e-12);
    }

    #[test]
    fn lwlrap_of_equal_scores_is_the_share_of_true_classes() {
        let rows = [(vec![true, false, false, true], vec![0.0; 4]), (vec![false; 4], vec![1.0; 4])];
        assert_eq!(lwlrap(rows.into_iter()), 0.5);
        let rows = [(vec![true, false, true], vec![3.0, 2.0, 1.0])];
        assert_eq!(lwlrap(rows.into_iter()), (1.0 + 2.0 / 3.0) / 2.0);
    }
}
