//! How the answers are spread.

use medalist_agents::ladder::Ladder;
use serde::Serialize;

use crate::truth::{Target, Truth, Values};
use crate::{Finding, Severity};

/// Classes that are listed; the others are counted together.
const LISTED: usize = 20;
/// Share of the largest class from which on it is told of.
const MOSTLY_ONE: f64 = 0.95;
/// Test rows of a class below which it is told of.
const FEW: usize = 5;
/// Shares of a class in both parts differ if they do by so many standard errors and so much.
const SURE: f64 = 5.0;
const APART: f64 = 0.05;

/// How the answers are spread.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Test rows.
    pub rows: usize,
    /// Each target column.
    pub targets: Vec<Spread>,
}

/// How the answers of a target column are spread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// Its name in the submission.
    pub name: String,
    /// Test rows without an answer.
    pub missing: usize,
    /// Classes, or different numbers.
    pub distinct: usize,
    /// The most frequent classes, of twenty at most, in falling order; none for a number.
    pub classes: Vec<Class>,
    /// Smallest, middle and largest number; none for classes.
    pub range: Option<[f64; 3]>,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Test rows of it.
    pub rows: usize,
    /// Their share of the rows with an answer.
    pub share: f64,
    /// Its share of the training rows, where these are known.
    pub train_share: Option<f64>,
}

/// Counts the answers.
pub(crate) fn measure(truth: &Truth, ladder: Option<&Ladder>, report: &mut crate::Report) {
    report.balance.rows = truth.rows;
    // A column for each class is rarely filled by its nature.
    let is_one_hot = truth.targets.len() > 1 && ladder.is_some_and(|l| l.targets().len() == 1);
    let mut found = Vec::new();
    for target in &truth.targets {
        let train = ladder.and_then(|ladder| ladder.train_target(&target.name));
        let train = train.map(|cells| Values::of(cells.into_iter()));
        let spread = spread(target, train.as_ref(), &mut found);
        report.balance.targets.push(spread);
    }
    if is_one_hot {
        found.retain(|finding| !matches!(finding.kind, "mostly-one-class" | "rare-class"));
    }
    report.findings.extend(one_of_a_kind(found));
}

/// One finding of each kind, which says in how many more target columns it is.
fn one_of_a_kind(found: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<(Finding, usize)> = Vec::new();
    for finding in found {
        match kept.iter_mut().find(|(first, _)| first.kind == finding.kind) {
            Some((_, more)) => *more += 1,
            None => kept.push((finding, 0)),
        }
    }
    kept.into_iter()
        .map(|(mut finding, more)| {
            if more > 0 {
                finding.summary.push_str(&format!("; so it is in {more} more target columns"));
            }
            finding
        })
        .collect()
}

fn spread(target: &Target, train: Option<&Values>, found: &mut Vec<Finding>) -> Spread {
    let rows = target.values.len();
    let missing = (0..rows).filter(|row| !target.values.is_known(*row)).count();
    let mut spread = Spread {
        name: target.name.clone(),
        missing,
        distinct: 0,
        classes: Vec::new(),
        range: None,
    };
    if missing > 0 {
        found.push(Finding::new(
            "missing-answers",
            Severity::Note,
            format!("{missing} of {rows} test rows have no answer in `{}`", target.name),
            "look whether the metric leaves them out as it should",
            [("missing", missing as f64), ("rows", rows as f64)],
        ));
    }
    match &target.values {
        Values::Numbers(values) => {
            let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
            sorted.sort_by(f64::total_cmp);
            if let (Some(first), Some(last)) = (sorted.first(), sorted.last()) {
                spread.range = Some([*first, sorted[sorted.len() / 2], *last]);
            }
            sorted.dedup();
            spread.distinct = sorted.len();
        }
        Values::Classes { names, of } => {
            spread.distinct = names.len();
            spread.classes = classes(target, names, of, train, found);
        }
    }
    spread
}

fn classes(
    target: &Target,
    names: &[String],
    of: &[Option<u32>],
    train: Option<&Values>,
    found: &mut Vec<Finding>,
) -> Vec<Class> {
    let mut counts = vec![0_usize; names.len()];
    of.iter().flatten().for_each(|class| counts[*class as usize] += 1);
    let known = counts.iter().sum::<usize>() as f64;
    let in_train = train.and_then(|train| match train {
        Values::Classes { names, of } => Some(shares(names, of)),
        Values::Numbers(_) => None,
    });
    let mut classes: Vec<Class> = names
        .iter()
        .zip(&counts)
        .map(|(name, &rows)| Class {
            name: name.clone(),
            rows,
            share: rows as f64 / known,
            train_share: in_train.as_ref().map(|(shares, _)| {
                shares.iter().find(|(other, _)| other == name).map_or(0.0, |(_, share)| *share)
            }),
        })
        .collect();
    classes.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.name.cmp(&b.name)));
    tell(target, &classes, in_train.map_or(0.0, |(_, rows)| rows), found);
    classes.truncate(LISTED);
    classes
}

/// The share of each class and the number of rows with one.
fn shares(names: &[String], of: &[Option<u32>]) -> (Vec<(String, f64)>, f64) {
    let mut counts = vec![0.0; names.len()];
    of.iter().flatten().for_each(|class| counts[*class as usize] += 1.0);
    let rows: f64 = counts.iter().sum();
    (names.iter().cloned().zip(counts.iter().map(|count| count / rows)).collect(), rows)
}

fn tell(target: &Target, classes: &[Class], train_rows: f64, found: &mut Vec<Finding>) {
    let name = &target.name;
    let rows: usize = classes.iter().map(|class| class.rows).sum();
    if let Some(first) = classes.first().filter(|first| first.share >= MOSTLY_ONE) {
        found.push(Finding::new(
            "mostly-one-class",
            Severity::Note,
            format!(
                "{:.1}% of the answers in `{name}` are `{}`: {} of {rows} rows are another",
                100.0 * first.share,
                first.name,
                rows - first.rows
            ),
            "use a metric that does not reward the largest class alone",
            [("share", first.share), ("rows", rows as f64)],
        ));
    }
    let unseen: Vec<&Class> =
        classes.iter().filter(|class| class.train_share == Some(0.0)).collect();
    if let Some(first) = unseen.first() {
        let lost: usize = unseen.iter().map(|class| class.rows).sum();
        found.push(Finding::new(
            "unseen-class",
            Severity::Warning,
            format!(
                "{} of {} classes of `{name}` do not occur among the training rows that were read ({lost} of {rows} test rows), such as `{}`",
                unseen.len(),
                classes.len(),
                first.name
            ),
            "split by class, or leave such rows out of the test part, unless the task is to meet new classes",
            [("classes", unseen.len() as f64), ("test_rows", lost as f64)],
        ));
    }
    let few = classes.iter().filter(|class| class.rows < FEW).count();
    if few > 0 && classes.len() <= LISTED {
        found.push(Finding::new(
            "rare-class",
            Severity::Note,
            format!(
                "{few} of {} classes of `{name}` have fewer than {FEW} test rows",
                classes.len()
            ),
            "a larger test part, or one that is split by class, makes scores steadier",
            [("classes", few as f64)],
        ));
    }
    let apart = classes.iter().filter_map(|class| {
        let train = class.train_share?;
        let error = (train * (1.0 - train) * (1.0 / rows as f64 + 1.0 / train_rows)).sqrt();
        let away = class.share - train;
        (away.abs() >= APART && away.abs() >= SURE * error).then_some((class, train))
    });
    if let Some((class, train)) =
        apart.max_by(|a, b| (a.0.share - a.1).abs().total_cmp(&(b.0.share - b.1).abs()))
    {
        found.push(Finding::new(
            "shares-differ",
            Severity::Note,
            format!(
                "`{}` is {:.1}% of the answers in `{name}` and {:.1}% of the training rows",
                class.name,
                100.0 * class.share,
                100.0 * train
            ),
            "split by class, unless the parts differ on purpose (by time or place)",
            [("share", class.share), ("train_share", train)],
        ));
    }
}
