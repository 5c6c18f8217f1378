//! How strongly something that tells nothing by rights goes with the answers, and whether chance
//! would do as much.
//!
//! A signal counts when it is stronger than under every one of [`PERMUTATIONS`] shufflings of the
//! answers, lies [`SURE`] standard errors out, and is at least [`WEAKEST`] in size: the first two
//! keep chance out, the third what is true and without consequence in large data.

use std::collections::HashMap;

use medalist_stats::Rng;
use serde::Serialize;

use crate::truth::{Target, Values};

/// Shufflings of the answers.
pub(crate) const PERMUTATIONS: usize = 200;
/// Standard errors from which on a signal counts.
const SURE: f64 = 5.0;
/// Fewest rows of a signal.
const FEWEST: usize = 30;
/// Most rows that are looked at; a seeded sample of them where there are more.
pub(crate) const MOST: usize = 5_000;
/// Fewest rows of a class that is looked at alone.
const FEW_OF_CLASS: usize = 5;
/// Smallest effect that counts.
pub(crate) const WEAKEST: f64 = 0.1;

/// A signal and what chance gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signal {
    /// Its size from 0, nothing, to 1, all: a rank correlation, 2 AUC - 1, or Cohen's kappa, without
    /// sign.
    pub effect: f64,
    /// Its size in standard errors.
    pub z: f64,
    /// The largest number of standard errors under shuffled answers.
    pub z_by_chance: f64,
    /// Rows that were looked at.
    pub rows: usize,
    /// Where it shows: the target column, and the class if it is one of several.
    pub shows_in: String,
}

impl Signal {
    /// Whether chance does not explain it and it has consequences.
    pub(crate) fn counts(&self) -> bool {
        self.rows >= FEWEST && self.effect >= WEAKEST && self.z >= SURE && self.z > self.z_by_chance
    }
}

/// Two sides of the same rows.
enum Pair {
    /// Numbers on both sides: centred ranks of length 1.
    Numbers { a: Vec<f64>, b: Vec<f64> },
    /// Ranks on one side, classes on the other.
    Split { ranks: Vec<f64>, classes: Vec<u32>, counts: Vec<usize> },
    /// Classes on both sides, and how often they agree by chance.
    Classes { a: Vec<u32>, b: Vec<u32>, by_chance: f64 },
}

/// A pair with what it is called.
struct Named {
    name: String,
    classes: Vec<String>,
    pair: Pair,
}

struct Strength {
    z: f64,
    effect: f64,
    class: Option<usize>,
}

impl Pair {
    fn rows(&self) -> usize {
        match self {
            Self::Numbers { b, .. } => b.len(),
            Self::Split { classes, .. } => classes.len(),
            Self::Classes { b, .. } => b.len(),
        }
    }

    /// The strength if row `i` of the first side meets row `order[i]` of the second.
    fn strength(&self, order: &[usize]) -> Strength {
        let n = self.rows() as f64;
        match self {
            Self::Numbers { a, b } => {
                let product: f64 = a.iter().zip(order).map(|(x, &row)| x * b[row]).sum();
                let effect = product.abs().min(1.0);
                Strength { z: effect * (n - 1.0).sqrt(), effect, class: None }
            }
            Self::Split { ranks, classes, counts } => {
                let mut sums = vec![0.0; counts.len()];
                for (rank, &row) in ranks.iter().zip(order) {
                    sums[classes[row] as usize] += rank;
                }
                let middle = (n - 1.0) / 2.0;
                let of_class = |class: usize| {
                    let inside = counts[class] as f64;
                    let outside = n - inside;
                    let shift = sums[class] / inside - middle;
                    // 2 AUC - 1 = 2 (mean rank inside - mean rank outside) / n
                    let effect = (2.0 * shift * n / outside / n).abs();
                    let error = ((n + 1.0) / (3.0 * inside * outside)).sqrt();
                    Strength { z: effect / error, effect, class: Some(class) }
                };
                (0..counts.len())
                    .filter(|&class| {
                        counts[class] >= FEW_OF_CLASS
                            && counts[class] + FEW_OF_CLASS <= classes.len()
                    })
                    .map(of_class)
                    .max_by(|x, y| x.z.total_cmp(&y.z))
                    .unwrap_or(Strength { z: 0.0, effect: 0.0, class: None })
            }
            Self::Classes { a, b, by_chance } => {
                let agree =
                    a.iter().zip(order).filter(|(x, row)| **x == b[**row]).count() as f64 / n;
                let beyond = agree - by_chance;
                let error = (by_chance * (1.0 - by_chance) / n).sqrt().max(1.0 / n);
                Strength {
                    z: beyond / error,
                    effect: (beyond / (1.0 - by_chance).max(1e-9)).clamp(0.0, 1.0),
                    class: None,
                }
            }
        }
    }
}

/// The strongest of the pairs, which have equally many rows, against shuffled ones.
fn strongest(pairs: &[Named], rng: &mut Rng) -> Option<Signal> {
    let rows = pairs.first()?.pair.rows();
    if rows < 2 {
        return None;
    }
    let best = |order: &[usize]| {
        let strengths = pairs.iter().map(|named| (named, named.pair.strength(order)));
        strengths.max_by(|x, y| x.1.z.total_cmp(&y.1.z))
    };
    let mut order: Vec<usize> = (0..rows).collect();
    let (named, found) = best(&order)?;
    let mut by_chance = f64::NEG_INFINITY;
    for _ in 0..PERMUTATIONS {
        for i in (1..rows).rev() {
            order.swap(i, rng.below(i + 1));
        }
        by_chance = by_chance.max(best(&order)?.1.z);
    }
    let class = found.class.filter(|_| named.classes.len() > 2).map(|class| &named.classes[class]);
    let shows_in = match class {
        Some(class) => format!("`{}`, class `{class}`", named.name),
        None => format!("`{}`", named.name),
    };
    Some(Signal { effect: found.effect, z: found.z, z_by_chance: by_chance, rows, shows_in })
}

/// Ranks from 0, equal values sharing theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut out = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let rank = (start + end - 1) as f64 / 2.0;
        order[start..end].iter().for_each(|&row| out[row] = rank);
        start = end;
    }
    out
}

/// Centred ranks of length 1; `None` if all values are equal.
fn unit_ranks(values: &[f64]) -> Option<Vec<f64>> {
    let mut out = ranks(values);
    let middle = (values.len() as f64 - 1.0) / 2.0;
    out.iter_mut().for_each(|rank| *rank -= middle);
    let length = out.iter().map(|rank| rank * rank).sum::<f64>().sqrt();
    (length > 0.0).then(|| {
        out.iter_mut().for_each(|rank| *rank /= length);
        out
    })
}

/// Rank correlation of two columns, with sign; `None` if one of them does not vary.
pub(crate) fn rank_correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (unit_ranks(a)?, unit_ranks(b)?);
    Some(a.iter().zip(&b).map(|(x, y)| x * y).sum::<f64>().clamp(-1.0, 1.0))
}

/// 2 AUC - 1 of values over two classes, with sign; `None` if a class is empty.
pub(crate) fn separation(values: &[f64], inside: &[bool]) -> Option<f64> {
    let of = ranks(values);
    let (mut sum, mut count) = (0.0, 0.0);
    for (rank, _) in of.iter().zip(inside).filter(|(_, inside)| **inside) {
        sum += rank;
        count += 1.0;
    }
    let n = values.len() as f64;
    if count == 0.0 || count == n {
        return None;
    }
    Some(2.0 * (sum / count - (n - 1.0) / 2.0) / (n - count))
}

/// Rows whose values are all known, at most [`MOST`] of them.
pub(crate) fn sample(known: impl Iterator<Item = usize>, rng: &mut Rng) -> Vec<usize> {
    let mut rows: Vec<usize> = known.collect();
    if rows.len() > MOST {
        for i in 0..MOST {
            let other = i + rng.below(rows.len() - i);
            rows.swap(i, other);
        }
        rows.truncate(MOST);
        rows.sort_unstable();
    }
    rows
}

/// Rows in which all targets are known.
fn known(targets: &[Target]) -> impl Iterator<Item = usize> {
    let rows = targets.first().map_or(0, |target| target.values.len());
    (0..rows).filter(|&row| targets.iter().all(|target| target.values.is_known(row)))
}

/// Whether the answers rise, fall or change along `position`, which has a finite number for each row.
pub(crate) fn along(position: &[f64], targets: &[Target], rng: &mut Rng) -> Option<Signal> {
    let rows = sample(known(targets), rng);
    let position: Vec<f64> = rows.iter().map(|&row| position[row]).collect();
    let pairs: Vec<Named> = targets
        .iter()
        .filter_map(|target| {
            let (pair, classes) = match target.values.take(&rows) {
                Values::Numbers(values) => {
                    let pair = Pair::Numbers { a: unit_ranks(&position)?, b: unit_ranks(&values)? };
                    (pair, Vec::new())
                }
                Values::Classes { names, of } => {
                    let classes: Vec<u32> = of.into_iter().flatten().collect();
                    let mut counts = vec![0; names.len()];
                    classes.iter().for_each(|class| counts[*class as usize] += 1);
                    unit_ranks(&position)?;
                    (Pair::Split { ranks: ranks(&position), classes, counts }, names)
                }
            };
            Some(Named { name: target.name.clone(), classes, pair })
        })
        .collect();
    strongest(&pairs, rng)
}

/// Whether rows that follow each other in `position` have like answers.
pub(crate) fn in_a_row(position: &[f64], targets: &[Target], rng: &mut Rng) -> Option<Signal> {
    let mut rows: Vec<usize> = known(targets).collect();
    rows.sort_by(|&a, &b| position[a].total_cmp(&position[b]).then(a.cmp(&b)));
    // A stretch of them: a sample would leave no neighbours.
    if rows.len() > MOST {
        let start = rng.below(rows.len() - MOST);
        rows = rows[start..start + MOST].to_vec();
    }
    let (_, first) = rows.split_last()?;
    let (_, second) = rows.split_first()?;
    like(first, targets, second, targets, rng)
}

/// Whether the answers of test rows are those of the training rows nearest to them in position.
pub(crate) fn by_nearest(
    train: (&[f64], &[Target]),
    test: (&[f64], &[Target]),
    rng: &mut Rng,
) -> Option<Signal> {
    let mut order: Vec<usize> = known(train.1).collect();
    order.sort_by(|&a, &b| train.0[a].total_cmp(&train.0[b]));
    if order.is_empty() {
        return None;
    }
    let rows = sample(known(test.1), rng);
    let nearest: Vec<usize> = rows
        .iter()
        .map(|&row| {
            let at = order.partition_point(|&other| train.0[other] < test.0[row]);
            let around = [at.checked_sub(1), Some(at)].into_iter().flatten();
            around
                .filter_map(|at| order.get(at).copied())
                .min_by(|&a, &b| {
                    let away = |other: usize| (train.0[other] - test.0[row]).abs();
                    away(a).total_cmp(&away(b))
                })
                .unwrap_or(order[0])
        })
        .collect();
    like(&nearest, train.1, &rows, test.1, rng)
}

/// Whether the answers of two lists of rows are alike, pair by pair.
pub(crate) fn like(
    first: &[usize],
    of_first: &[Target],
    second: &[usize],
    of_second: &[Target],
    rng: &mut Rng,
) -> Option<Signal> {
    let pairs: Vec<Named> = of_second
        .iter()
        .filter_map(|target| {
            let other = of_first.iter().find(|other| other.name == target.name)?;
            let pair = alike(&other.values.take(first), &target.values.take(second))?;
            Some(Named { name: target.name.clone(), classes: Vec::new(), pair })
        })
        .collect();
    strongest(&pairs, rng)
}

fn alike(first: &Values, second: &Values) -> Option<Pair> {
    match (first, second) {
        (Values::Numbers(a), Values::Numbers(b)) => {
            Some(Pair::Numbers { a: unit_ranks(a)?, b: unit_ranks(b)? })
        }
        (Values::Classes { names, of: a }, Values::Classes { names: others, of: b }) => {
            // Classes of the second side by the names of the first; new ones come after them.
            let mut places: HashMap<&str, u32> =
                names.iter().enumerate().map(|(at, name)| (name.as_str(), at as u32)).collect();
            for name in others {
                let next = places.len() as u32;
                places.entry(name).or_insert(next);
            }
            let a: Vec<u32> = a.iter().map(|class| class.unwrap_or(u32::MAX)).collect();
            let b: Vec<u32> = b
                .iter()
                .map(|class| {
                    class.map_or(u32::MAX - 1, |class| places[others[class as usize].as_str()])
                })
                .collect();
            let shares = |side: &[u32]| {
                let mut shares: HashMap<u32, f64> = HashMap::new();
                side.iter().for_each(|class| {
                    *shares.entry(*class).or_default() += 1.0 / side.len() as f64
                });
                shares
            };
            let (of_a, of_b) = (shares(&a), shares(&b));
            let mut products: Vec<f64> = of_a
                .iter()
                .map(|(class, share)| share * of_b.get(class).copied().unwrap_or(0.0))
                .collect();
            // The order of a map is another one each time, and so would be the last digits.
            products.sort_by(f64::total_cmp);
            let by_chance: f64 = products.iter().sum();
            (by_chance < 1.0 - 1e-9).then_some(Pair::Classes { a, b, by_chance })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(cells: &[&str]) -> Target {
        Target { name: "y".to_owned(), values: Values::of(cells.iter().copied()) }
    }

    #[test]
    fn ranks_are_shared_by_equal_values() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
        let same = rank_correlation(&[1.0, 2.0, 9.0], &[5.0, 6.0, 7.0]).unwrap();
        assert!((same - 1.0).abs() < 1e-12);
        assert_eq!(rank_correlation(&[1.0, 1.0], &[5.0, 6.0]), None);
        assert_eq!(separation(&[1.0, 2.0, 3.0, 4.0], &[false, false, true, true]), Some(1.0));
        assert_eq!(separation(&[4.0, 3.0, 2.0, 1.0], &[false, false, true, true]), Some(-1.0));
    }

    #[test]
    fn order_that_tells_is_told_from_order_that_does_not() {
        let rng = || Rng::new(1);
        let position: Vec<f64> = (0..200).map(f64::from).collect();
        let sorted: Vec<&str> = (0..200).map(|row| if row < 90 { "a" } else { "b" }).collect();
        let signal = along(&position, &[classes(&sorted)], &mut rng()).unwrap();
        assert!(signal.counts() && signal.effect > 0.999, "{signal:?}");
        // A middle block is neither first nor last, but its rows stand together.
        let block: Vec<&str> =
            (0..200).map(|row| if (70..130).contains(&row) { "a" } else { "b" }).collect();
        assert!(!along(&position, &[classes(&block)], &mut rng()).unwrap().counts());
        assert!(in_a_row(&position, &[classes(&block)], &mut rng()).unwrap().counts());
        let mut mixed = rng();
        let random: Vec<&str> =
            (0..200).map(|_| if mixed.unit() < 0.5 { "a" } else { "b" }).collect();
        assert!(!along(&position, &[classes(&random)], &mut rng()).unwrap().counts());
        assert!(!in_a_row(&position, &[classes(&random)], &mut rng()).unwrap().counts());
    }

    #[test]
    fn the_nearest_training_rows_tell() {
        let mut rng = Rng::new(3);
        let number = |at: f64| (at / 20.0).sin();
        let target = |at: &[f64]| {
            vec![Target {
                name: "y".to_owned(),
                values: Values::Numbers(at.iter().map(|at| number(*at)).collect()),
            }]
        };
        let train: Vec<f64> = (0..300).map(|row| f64::from(row * 2)).collect();
        let test: Vec<f64> = (0..100).map(|row| f64::from(row * 5) + 0.5).collect();
        let signal =
            by_nearest((&train, &target(&train)), (&test, &target(&test)), &mut rng).unwrap();
        assert!(signal.counts() && signal.effect > 0.95, "{signal:?}");
    }
}
