//! Seeded splits of row numbers, drawn as scikit-learn and pandas draw them.
//!
//! All functions give row numbers; [`Frame`](super::Frame) has methods that apply the common ones.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::FrameError;
use crate::rng::RandomState;

/// How large a part is: a share of the rows or a number of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// A share between 0 and 1.
    Share(f64),
    /// A number of rows.
    Rows(usize),
}

impl From<f64> for Size {
    fn from(share: f64) -> Self {
        Self::Share(share)
    }
}

impl From<usize> for Size {
    fn from(rows: usize) -> Self {
        Self::Rows(rows)
    }
}

/// The row numbers of the two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows of the train part.
    pub train: Vec<u32>,
    /// Rows of the test part.
    pub test: Vec<u32>,
}

impl Split {
    /// The two parts of a list, in the order of the split.
    pub fn of<T: Clone>(&self, items: &[T]) -> (Vec<T>, Vec<T>) {
        let pick = |rows: &[u32]| rows.iter().map(|&row| items[row as usize].clone()).collect();
        (pick(&self.train), pick(&self.test))
    }
}

/// Sizes of the two parts: a test share is rounded up, a train share down, and what is not given is
/// the rest.
fn part_sizes(
    n: usize,
    train: Option<Size>,
    test: Option<Size>,
) -> Result<(usize, usize), FrameError> {
    let wrong = |what: String| FrameError::Split { rows: n, what };
    for size in [train, test].into_iter().flatten() {
        match size {
            Size::Share(share) if !(share > 0.0 && share < 1.0) => {
                return Err(wrong(format!("a share must lie between 0 and 1, found `{share}`")));
            }
            Size::Rows(rows) if rows == 0 || rows >= n => {
                return Err(wrong(format!(
                    "a part must have between 1 and {} rows, found {rows}",
                    n.saturating_sub(1)
                )));
            }
            _ => {}
        }
    }
    let n_test = test.map(|size| match size {
        Size::Share(share) => (share * n as f64).ceil() as usize,
        Size::Rows(rows) => rows,
    });
    let n_train = train.map(|size| match size {
        Size::Share(share) => (share * n as f64).floor() as usize,
        Size::Rows(rows) => rows,
    });
    let (n_train, n_test) = match (n_train, n_test) {
        (Some(train), Some(test)) => (train, test),
        (Some(train), None) => (train, n.saturating_sub(train)),
        (None, Some(test)) => (n.saturating_sub(test), test),
        (None, None) => return part_sizes(n, None, Some(Size::Share(0.25))),
    };
    if n_train + n_test > n {
        return Err(wrong(format!(
            "{n_train} train and {n_test} test rows are more than there are"
        )));
    }
    if n_train == 0 {
        return Err(wrong(format!("with {n_test} test rows the train part is empty")));
    }
    Ok((n_train, n_test))
}

/// How many of `n` rows a test part of this size has.
///
/// # Errors
/// When a part would be empty or larger than the table.
pub(crate) fn test_rows(n: usize, test: Size) -> Result<usize, FrameError> {
    Ok(part_sizes(n, None, Some(test))?.1)
}

/// `train_test_split(range(n), test_size=test, random_state=seed)`. Both parts are in the order of
/// the permutation.
///
/// # Errors
/// When a part would be empty or larger than the table.
///
/// # Source
/// scikit-learn 1.5.2 `ShuffleSplit._iter_indices`: the test part is the head of the permutation.
pub fn train_test_split(n: usize, test: impl Into<Size>, seed: u32) -> Result<Split, FrameError> {
    train_test_split_sizes(n, None, Some(test.into()), seed)
}

/// [`train_test_split`] with `train_size`, `test_size` or both.
///
/// # Errors
/// As [`train_test_split`].
pub fn train_test_split_sizes(
    n: usize,
    train: Option<Size>,
    test: Option<Size>,
    seed: u32,
) -> Result<Split, FrameError> {
    let (n_train, n_test) = part_sizes(n, train, test)?;
    let mut order = RandomState::new(seed).permutation(n);
    let mut rest = order.split_off(n_test);
    rest.truncate(n_train);
    Ok(Split { train: rest, test: order })
}

/// The rows that `DataFrame.sample(n=count, random_state=seed)` picks, in its order.
///
/// # Source
/// pandas 2.2.3 `core/sample.py`: the head of `RandomState(seed).permutation(n)`.
pub fn sample(n: usize, count: usize, seed: u32) -> Vec<u32> {
    let mut order = RandomState::new(seed).permutation(n);
    order.truncate(count);
    order
}

/// The rows that `DataFrame.sample(frac=share, random_state=seed)` picks; the count is rounded half
/// to even.
pub fn sample_share(n: usize, share: f64, seed: u32) -> Vec<u32> {
    sample(n, (share * n as f64).round_ties_even() as usize, seed)
}

/// `train_test_split(..., stratify=labels)`.
///
/// # Errors
/// When a part has fewer rows than there are classes, or a class has a single member.
///
/// # Source
/// scikit-learn 1.5.2 `StratifiedShuffleSplit._iter_indices` and `_approximate_mode`.
pub fn stratified_split<L: Ord>(
    labels: &[L],
    test: impl Into<Size>,
    seed: u32,
) -> Result<Split, FrameError> {
    let n = labels.len();
    let (n_train, n_test) = part_sizes(n, None, Some(test.into()))?;
    let classes: Vec<Vec<u32>> = positions(labels).into_values().collect();
    let wrong = |what: String| FrameError::Split { rows: n, what };
    if let Some(small) = classes.iter().find(|members| members.len() < 2) {
        return Err(wrong(format!("the class of row {} has a single member", small[0])));
    }
    if n_train.min(n_test) < classes.len() {
        return Err(wrong(format!(
            "a part of {} rows cannot hold {} classes",
            n_train.min(n_test),
            classes.len()
        )));
    }
    let mut random = RandomState::new(seed);
    let counts: Vec<usize> = classes.iter().map(Vec::len).collect();
    let train_counts = allocate(&counts, n_train, &mut random);
    let left: Vec<usize> =
        counts.iter().zip(&train_counts).map(|(count, train)| count - train).collect();
    let test_counts = allocate(&left, n_test, &mut random);
    let (mut train, mut test) = (Vec::with_capacity(n_train), Vec::with_capacity(n_test));
    for (k, members) in classes.iter().enumerate() {
        let order = random.permutation(members.len());
        let mut shuffled = order.iter().map(|&i| members[i as usize]);
        train.extend(shuffled.by_ref().take(train_counts[k]));
        test.extend(shuffled.take(test_counts[k]));
    }
    random.shuffle(&mut train);
    random.shuffle(&mut test);
    Ok(Split { train, test })
}

/// Spreads `total` draws over classes in proportion to their counts; ties among remainders are
/// broken at random.
fn allocate(counts: &[usize], total: usize, random: &mut RandomState) -> Vec<usize> {
    let sum = counts.iter().sum::<usize>() as f64;
    let ideal: Vec<f64> = counts.iter().map(|&count| count as f64 / sum * total as f64).collect();
    let mut given: Vec<usize> = ideal.iter().map(|x| x.floor() as usize).collect();
    let mut missing = total.saturating_sub(given.iter().sum());
    let mut remainders: Vec<f64> = ideal.iter().map(|x| x - x.floor()).collect();
    let per_class = remainders.clone();
    remainders.sort_by(|a, b| b.total_cmp(a));
    remainders.dedup();
    for remainder in remainders {
        if missing == 0 {
            break;
        }
        let tied: Vec<usize> = (0..counts.len()).filter(|&k| per_class[k] == remainder).collect();
        let lucky = tied.len().min(missing);
        for &i in &random.permutation(tied.len())[..lucky] {
            given[tied[i as usize]] += 1;
        }
        missing -= lucky;
    }
    given
}

/// `GroupShuffleSplit(n_splits=1, test_size=test, random_state=seed)`: both parts ascending.
///
/// # Errors
/// As [`train_test_split`], counted in groups.
pub fn group_shuffle_split<G: Ord>(
    groups: &[G],
    test: impl Into<Size>,
    seed: u32,
) -> Result<Split, FrameError> {
    let members: Vec<Vec<u32>> = positions(groups).into_values().collect();
    let split = train_test_split(members.len(), test, seed)?;
    let rows = |chosen: &[u32]| {
        let mut rows: Vec<u32> =
            chosen.iter().flat_map(|&group| members[group as usize].iter().copied()).collect();
        rows.sort_unstable();
        rows
    };
    Ok(Split { train: rows(&split.train), test: rows(&split.test) })
}

/// `KFold(folds, shuffle=True, random_state=seed)`, or without shuffling when there is no seed:
/// both parts ascending.
///
/// # Errors
/// When there are fewer than two folds or fewer rows than folds.
pub fn k_fold(n: usize, folds: usize, seed: Option<u32>) -> Result<Vec<Split>, FrameError> {
    if folds < 2 || folds > n {
        return Err(FrameError::Split {
            rows: n,
            what: format!("{folds} folds need at least as many rows, and two"),
        });
    }
    let order = match seed {
        Some(seed) => RandomState::new(seed).permutation(n),
        None => (0..n as u32).collect(),
    };
    let mut begin = 0;
    let splits = (0..folds).map(|fold| {
        let end = begin + n / folds + usize::from(fold < n % folds);
        let mut test = order[begin..end].to_vec();
        let mut train = [&order[..begin], &order[end..]].concat();
        test.sort_unstable();
        train.sort_unstable();
        begin = end;
        Split { train, test }
    });
    Ok(splits.collect())
}

/// Splits every group on its own with [`train_test_split`] and a fresh generator; groups come in
/// order of first appearance.
///
/// With `keeps_small`, groups below five are not left to chance: the last of two to four members is
/// test, a single one is train.
///
/// # Errors
/// When a group cannot be split.
pub fn split_within_groups<G: Eq + Hash>(
    groups: &[G],
    test_share: f64,
    seed: u32,
    keeps_small: bool,
) -> Result<Vec<Split>, FrameError> {
    let mut places: HashMap<&G, usize> = HashMap::new();
    let mut members: Vec<Vec<u32>> = Vec::new();
    for (row, group) in groups.iter().enumerate() {
        let place = *places.entry(group).or_insert(members.len());
        if place == members.len() {
            members.push(Vec::new());
        }
        members[place].push(row as u32);
    }
    let split = |mut rows: Vec<u32>| {
        if keeps_small && rows.len() < 5 {
            let test = rows.split_off(rows.len() - usize::from(rows.len() > 1));
            return Ok(Split { train: rows, test });
        }
        let (train, test) = train_test_split(rows.len(), test_share, seed)?.of(&rows);
        Ok(Split { train, test })
    };
    members.into_iter().map(split).collect()
}

fn positions<K: Ord>(keys: &[K]) -> BTreeMap<&K, Vec<u32>> {
    let mut positions: BTreeMap<&K, Vec<u32>> = BTreeMap::new();
    for (row, key) in keys.iter().enumerate() {
        positions.entry(key).or_default().push(row as u32);
    }
    positions
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sorted(split: &Split) -> Vec<u32> {
        let mut all = [split.train.clone(), split.test.clone()].concat();
        all.sort_unstable();
        all
    }

    #[test]
    fn splits_equal_scikit_learn() {
        type Case = (usize, Size, u32, &'static [u32], &'static [u32]);
        let cases: [Case; 5] = [
            (10, Size::Share(0.1), 0, &[8, 4, 9, 1, 6, 7, 3, 0, 5], &[2]),
            (10, Size::Share(0.2), 0, &[4, 9, 1, 6, 7, 3, 0, 5], &[2, 8]),
            (16, Size::Share(0.1), 0, &[8, 9, 13, 4, 2, 14, 10, 7, 15, 11, 3, 0, 5, 12], &[1, 6]),
            (12, Size::Rows(3), 42, &[8, 5, 2, 1, 11, 4, 7, 3, 6], &[10, 9, 0]),
            (7, Size::Share(0.2), 0, &[1, 3, 0, 5, 4], &[6, 2]),
        ];
        for (n, size, seed, train, test) in cases {
            let split = train_test_split(n, size, seed).unwrap();
            assert_eq!(
                (&split.train[..], &split.test[..]),
                (train, test),
                "n {n}, {size:?}, seed {seed}"
            );
        }
        let both = train_test_split_sizes(12, Some(Size::Rows(5)), Some(Size::Rows(3)), 0).unwrap();
        assert_eq!(both, Split { train: vec![10, 2, 8, 1, 7], test: vec![6, 11, 4] });
    }

    #[test]
    fn sizes_follow_the_plain_product() {
        let cases = [
            (16, 0.1, 2),
            (21, 0.1, 3),
            (100, 0.07, 8),
            (83, 0.19, 16),
            (25, 0.2, 5),
            (4750, 0.14, 666),
        ];
        for (n, share, test) in cases {
            assert_eq!(
                part_sizes(n, None, Some(Size::Share(share))).unwrap(),
                (n - test, test),
                "{n} x {share}"
            );
        }
        assert_eq!(part_sizes(83, Some(Size::Share(0.75)), None).unwrap(), (62, 21));
        assert!(part_sizes(1, None, Some(Size::Share(0.1))).is_err());
        assert!(part_sizes(10, None, Some(Size::Rows(10))).is_err());
        assert!(part_sizes(10, None, Some(Size::Share(1.5))).is_err());
    }

    #[test]
    fn samples_equal_pandas() {
        assert_eq!(sample_share(8, 1.0, 0), [6, 2, 1, 7, 3, 0, 5, 4]);
        assert_eq!(sample_share(9, 0.5, 0), [7, 2, 1, 4]);
        assert_eq!(sample_share(10, 0.25, 3), [5, 4]);
        assert_eq!(sample(1589, 240, 0)[..8], [900, 427, 219, 1101, 748, 376, 501, 512]);
    }

    #[test]
    fn stratified_splits_equal_scikit_learn() {
        let split = stratified_split(&[0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2], 0.25, 0).unwrap();
        assert_eq!(split, Split { train: vec![3, 0, 1, 9, 7, 2, 6, 11, 5], test: vec![4, 8, 10] });
        let split = stratified_split(&[1, 0, 1, 0, 1, 0, 1, 0, 1, 0], 0.3, 0).unwrap();
        assert_eq!(split, Split { train: vec![0, 2, 8, 5, 3, 6, 9], test: vec![1, 7, 4] });
        let split =
            stratified_split(&[2, 2, 1, 1, 0, 0, 2, 1, 0, 2, 1, 0, 0, 0, 1], 0.2, 42).unwrap();
        assert_eq!(
            split,
            Split { train: vec![4, 3, 2, 5, 1, 10, 13, 9, 8, 12, 7, 0], test: vec![11, 6, 14] }
        );
        assert!(stratified_split(&[0, 0, 1], 0.4, 0).is_err());
    }

    #[test]
    fn group_splits_equal_scikit_learn() {
        let split = group_shuffle_split(&[5, 3, 3, 9, 5, 1, 1, 9, 7, 7, 3], 0.4, 0).unwrap();
        assert_eq!(split, Split { train: vec![1, 2, 3, 7, 8, 9, 10], test: vec![0, 4, 5, 6] });
        let split = group_shuffle_split(&[2, 0, 1, 2, 0, 1, 3], 0.5, 42).unwrap();
        assert_eq!(split, Split { train: vec![0, 1, 3, 4], test: vec![2, 5, 6] });
    }

    #[test]
    fn small_groups_are_kept_together_but_for_their_last() {
        let groups = [9, 7, 9, 7, 9, 5, 9, 9, 9];
        let splits = split_within_groups(&groups, 0.2, 0, true).unwrap();
        let first = train_test_split(6, 0.2, 0).unwrap().of(&[0, 2, 4, 6, 7, 8]);
        assert_eq!(splits[0], Split { train: first.0, test: first.1 });
        assert_eq!(splits[1], Split { train: vec![1], test: vec![3] });
        assert_eq!(splits[2], Split { train: vec![5], test: vec![] });
        assert!(split_within_groups(&groups, 0.2, 0, false).is_err());
    }

    #[test]
    fn folds_equal_scikit_learn() {
        let tests = |n, folds, seed| -> Vec<Vec<u32>> {
            k_fold(n, folds, seed).unwrap().into_iter().map(|split| split.test).collect()
        };
        assert_eq!(tests(7, 3, Some(0)), [vec![1, 2, 6], vec![0, 3], vec![4, 5]]);
        assert_eq!(tests(9, 3, Some(42)), [vec![1, 5, 7], vec![0, 2, 8], vec![3, 4, 6]]);
        assert_eq!(tests(5, 2, None), [vec![0, 1, 2], vec![3, 4]]);
    }

    proptest! {
        #[test]
        fn a_split_is_a_partition(n in 2usize..300, share in 0.01f64..0.99, seed in 0u32..50) {
            if let Ok(split) = train_test_split(n, share, seed) {
                prop_assert_eq!(sorted(&split), (0..n as u32).collect::<Vec<_>>());
                prop_assert_eq!(split.test.len(), (share * n as f64).ceil() as usize);
                prop_assert!(!split.train.is_empty() && !split.test.is_empty());
            }
        }

        #[test]
        fn a_stratified_split_keeps_proportions(labels in prop::collection::vec(0u8..4, 20..200), seed in 0u32..50) {
            if let Ok(split) = stratified_split(&labels, 0.25, seed) {
                prop_assert_eq!(sorted(&split), (0..labels.len() as u32).collect::<Vec<_>>());
                for class in 0..4u8 {
                    let of = |rows: &[u32]| rows.iter().filter(|&&row| labels[row as usize] == class).count() as f64;
                    let share = split.test.len() as f64 / labels.len() as f64;
                    let all = labels.iter().filter(|&&label| label == class).count() as f64;
                    prop_assert!((of(&split.test) - share * all).abs() <= 2.0);
                }
            }
        }

        #[test]
        fn groups_stay_together(groups in prop::collection::vec(0u8..12, 10..200), seed in 0u32..50) {
            if let Ok(split) = group_shuffle_split(&groups, 0.3, seed) {
                let of = |rows: &[u32]| rows.iter().map(|&row| groups[row as usize]).collect::<BTreeSet<_>>();
                prop_assert!(of(&split.train).is_disjoint(&of(&split.test)));
                prop_assert_eq!(sorted(&split).len(), groups.len());
            }
        }
    }
}
