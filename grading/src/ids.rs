//! Sorting rows by id and comparing ids, as pandas `sort_values` and `==` do.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::table::{Cell, Column, Values};

/// An order of a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// File order of that many rows.
    InOrder(usize),
    /// The rows' numbers in another order (or a selection of them).
    Listed(Vec<u32>),
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::InOrder(rows) => *rows,
            Self::Listed(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row number at a place in the order.
    pub fn at(&self, place: usize) -> usize {
        match self {
            Self::InOrder(_) => place,
            Self::Listed(rows) => rows[place] as usize,
        }
    }

    /// The row numbers in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + Clone + '_ {
        (0..self.len()).map(|place| self.at(place))
    }
}

/// The rows sorted ascending by the given columns, the first one counting most.
///
/// Numbers sort by value, text by code point, missing cells last. With several columns equal rows
/// stay in file order; with one, rows of equal ids come in the order that numpy's quicksort leaves
/// them in.
///
/// # Source
/// pandas 2.2.3 `sort_values`: `lexsort_indexer` for several columns, `nargsort` for one.
pub fn sorted_rows(columns: &[Column<'_>]) -> Rows {
    let rows = columns.first().map_or(0, Column::len);
    let ordered = |a: usize, b: usize| {
        columns.iter().map(|c| compare(*c, a, *c, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    let [column] = columns else {
        return if (1..rows).all(|row| ordered(row - 1, row).is_le()) {
            Rows::InOrder(rows)
        } else {
            Rows::Listed(sort_by(rows, ordered))
        };
    };
    let rising = match column.values() {
        Values::Int(values) => values.is_sorted_by(|a, b| a < b),
        _ => (1..rows).all(|row| ordered(row - 1, row).is_lt()),
    };
    if rising {
        return Rows::InOrder(rows);
    }
    let sorted = Rows::Listed(match column.values() {
        Values::Int(values) => sort_ints(values),
        Values::Float(values) => {
            sort_by_key(rows, |row| (values[row].is_nan(), sortable(values[row])))
        }
        Values::Text => sort_text(*column),
        _ => sort_by(rows, ordered),
    });
    if rows <= SMALL_SORT || !has_repeats(*column, &sorted) { sorted } else { quicksorted(*column) }
}

/// The rows sorted ascending by a column as `sort_index` sorts them: rows that are in order stay as
/// they are, those of equal ids included.
///
/// # Source
/// pandas 2.2.3 `sort_index`, which looks at `is_monotonic_increasing` first.
pub fn sorted_index(column: Column<'_>) -> Rows {
    let in_order =
        |row: usize| !column.is_missing(row) && compare(column, row - 1, column, row).is_le();
    if (1..column.len()).all(in_order) {
        Rows::InOrder(column.len())
    } else {
        sorted_rows(&[column])
    }
}

/// The longest list that numpy sorts by insertion, which keeps equal values in order.
const SMALL_SORT: usize = 16;

/// Whether some id of a column occurs twice; `sorted`: its rows, sorted.
fn has_repeats(column: Column<'_>, sorted: &Rows) -> bool {
    if let Values::Int(values) = column.values()
        && run_start(values).is_some()
    {
        return false;
    }
    let places = (1..sorted.len()).into_par_iter().with_min_len(16_384);
    places.any(|place| same(column, sorted.at(place - 1), column, sorted.at(place)))
}

/// The first row whose id occurs a second time, if the order among equal ids depends on the
/// machine: numpy sorts numbers with AVX-512 where there is any, which leaves equal ones in another
/// order.
pub fn arbitrary_order(column: Column<'_>, sorted: &Rows) -> Option<usize> {
    if column.len() <= SMALL_SORT || column.is_text() {
        return None;
    }
    let mut places = 1..sorted.len();
    places
        .find(|&place| same(column, sorted.at(place - 1), column, sorted.at(place)))
        .map(|place| sorted.at(place))
}

/// The rows sorted as numpy's `argsort(kind="quicksort")` sorts them without vector instructions,
/// missing cells behind: equal ids come in an order of their own.
fn quicksorted(column: Column<'_>) -> Rows {
    let rows = 0..column.len() as u32;
    let (missing, mut order): (Vec<u32>, Vec<u32>) =
        rows.partition(|&row| column.is_missing(row as usize));
    quicksort(&mut order, &|a, b| compare(column, a as usize, column, b as usize).is_lt());
    order.extend(missing);
    Rows::Listed(order)
}

/// Some rows in the order in which pandas sorts them by a column once all others are left out; none
/// lacks its id. They are given sorted, which tells whether ids are repeated.
pub(crate) fn sorted_alone(column: Column<'_>, mut rows: Vec<u32>) -> Vec<u32> {
    let equal = |pair: &[u32]| same(column, pair[0] as usize, column, pair[1] as usize);
    if rows.windows(2).any(equal) {
        rows.sort_unstable();
        quicksort(&mut rows, &|a, b| compare(column, a as usize, column, b as usize).is_lt());
    }
    rows
}

/// Introsort: median of three, the smaller part first, insertion of short parts, heapsort where it
/// goes too deep.
///
/// # Source
/// numpy 1.26.4 `npysort/quicksort.cpp`: `aquicksort_` for numbers, `npy_aquicksort` for objects.
fn quicksort(order: &mut [u32], less: &impl Fn(u32, u32) -> bool) {
    if order.is_empty() {
        return;
    }
    let mut depth = 2 * i64::from(order.len().ilog2());
    // First place, number of values, and how much deeper a part may go.
    let mut waiting: Vec<(usize, usize, i64)> = Vec::new();
    let (mut start, mut count) = (0, order.len());
    loop {
        if depth < 0 {
            heapsort(&mut order[start..start + count], less);
        } else {
            while count > SMALL_SORT {
                let pivot = partition(&mut order[start..start + count], less);
                let (before, behind) = (pivot, count - 1 - pivot);
                depth -= 1;
                if before < behind {
                    waiting.push((start + pivot + 1, behind, depth));
                    count = before;
                } else {
                    waiting.push((start, before, depth));
                    (start, count) = (start + pivot + 1, behind);
                }
            }
            insertion_sort(&mut order[start..start + count], less);
        }
        match waiting.pop() {
            Some(next) => (start, count, depth) = next,
            None => return,
        }
    }
}

/// Parts at least three values around the median of the first, middle and last one; returns its
/// place.
fn partition(part: &mut [u32], less: &impl Fn(u32, u32) -> bool) -> usize {
    let last = part.len() - 1;
    let middle = last / 2;
    for (a, b) in [(middle, 0), (last, middle), (middle, 0)] {
        if less(part[a], part[b]) {
            part.swap(a, b);
        }
    }
    let pivot = part[middle];
    let (mut up, mut down) = (0, last - 1);
    part.swap(middle, down);
    loop {
        // The pivot stops the one, the smallest of the three the other.
        up += 1;
        while less(part[up], pivot) {
            up += 1;
        }
        down -= 1;
        while less(pivot, part[down]) {
            down -= 1;
        }
        if up >= down {
            break;
        }
        part.swap(up, down);
    }
    part.swap(up, last - 1);
    up
}

fn insertion_sort(part: &mut [u32], less: &impl Fn(u32, u32) -> bool) {
    for end in 1..part.len() {
        let value = part[end];
        let place = (0..end).rev().find(|&k| !less(value, part[k])).map_or(0, |k| k + 1);
        part[place..=end].rotate_right(1);
    }
}

fn heapsort(part: &mut [u32], less: &impl Fn(u32, u32) -> bool) {
    let sift = |part: &mut [u32], mut hole: usize, value: u32| {
        loop {
            let mut child = 2 * hole + 1;
            if child >= part.len() {
                break;
            }
            if child + 1 < part.len() && less(part[child], part[child + 1]) {
                child += 1;
            }
            if !less(value, part[child]) {
                break;
            }
            part[hole] = part[child];
            hole = child;
        }
        part[hole] = value;
    };
    for root in (0..part.len() / 2).rev() {
        let value = part[root];
        sift(part, root, value);
    }
    for end in (1..part.len()).rev() {
        let value = part[end];
        part[end] = part[0];
        sift(&mut part[..end], 0, value);
    }
}

fn sort_by(rows: usize, ordered: impl Fn(usize, usize) -> Ordering + Sync) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows as u32).collect();
    order.par_sort_unstable_by(|&a, &b| ordered(a as usize, b as usize).then(a.cmp(&b)));
    order
}

fn sort_by_key<K: Ord + Send>(rows: usize, key: impl Fn(usize) -> K) -> Vec<u32> {
    let mut keyed: Vec<(K, u32)> = (0..rows).map(|row| (key(row), row as u32)).collect();
    keyed.par_sort_unstable();
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// An integer that sorts as the double does; the two zeros are equal.
pub(crate) fn sortable(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn sort_ints(values: &[i64]) -> Vec<u32> {
    let (Some(&low), Some(&high)) = (values.iter().min(), values.iter().max()) else {
        return Vec::new();
    };
    let spread = high.abs_diff(low);
    if spread >= values.len() as u64 * 4 {
        return sort_by_key(values.len(), |row| values[row]);
    }
    // Ids that fill a range, each once, are put straight where they belong.
    if spread + 1 == values.len() as u64 {
        let mut order = vec![u32::MAX; values.len()];
        let is_new = |(row, value): (usize, &i64)| {
            let place = &mut order[value.abs_diff(low) as usize];
            *place == u32::MAX && {
                *place = row as u32;
                true
            }
        };
        if values.iter().enumerate().all(is_new) {
            return order;
        }
    }
    // With gaps or repeats in the range, they are counted first.
    let mut ends = vec![0_u32; spread as usize + 2];
    for &value in values {
        ends[value.abs_diff(low) as usize + 1] += 1;
    }
    for place in 1..ends.len() {
        ends[place] += ends[place - 1];
    }
    let mut order = vec![0; values.len()];
    for (row, &value) in values.iter().enumerate() {
        let place = &mut ends[value.abs_diff(low) as usize];
        order[*place as usize] = row as u32;
        *place += 1;
    }
    order
}

/// Text ids mostly differ within the eight bytes after their common start, so those are sorted
/// first.
fn sort_text(column: Column<'_>) -> Vec<u32> {
    let bytes = |row: u32| column.raw(row as usize).as_bytes();
    let (mut order, mut missing) = (Vec::with_capacity(column.len()), Vec::new());
    for row in 0..column.len() {
        if column.is_missing(row) {
            missing.push(row as u32)
        } else {
            order.push((0_u64, row as u32))
        }
    }
    let first = order.first().map_or(&[][..], |&(_, row)| bytes(row));
    let common = order.iter().fold(first.len(), |common, &(_, row)| {
        let other = bytes(row);
        if other.len() >= common && other[..common] == first[..common] {
            return common;
        }
        first[..common].iter().zip(other).take_while(|(a, b)| a == b).count()
    });
    for (key, row) in &mut order {
        let mut next = [0; 8];
        let rest = &bytes(*row)[common..];
        let taken = rest.len().min(8);
        next[..taken].copy_from_slice(&rest[..taken]);
        *key = u64::from_be_bytes(next);
    }
    order.par_sort_unstable();
    let rest = |row: u32| bytes(row).get(common..).unwrap_or_default();
    for equal in order.chunk_by_mut(|a, b| a.0 == b.0).filter(|equal| equal.len() > 1) {
        equal.sort_unstable_by(|a, b| rest(a.1).cmp(rest(b.1)).then(a.1.cmp(&b.1)));
    }
    order.into_iter().map(|(_, row)| row).chain(missing).collect()
}

/// Compares two cells for sorting: numbers (and booleans as 0 and 1) by value, text by code point,
/// numbers before text, missing last.
pub fn compare(a: Column<'_>, row_a: usize, b: Column<'_>, row_b: usize) -> Ordering {
    match (a.values(), b.values()) {
        (Values::Int(a), Values::Int(b)) => a[row_a].cmp(&b[row_b]),
        (Values::Text, Values::Text) => match (a.text(row_a), b.text(row_b)) {
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        },
        _ => compare_cells(a.cell(row_a), b.cell(row_b)),
    }
}

fn compare_cells(a: Cell<'_>, b: Cell<'_>) -> Ordering {
    let missing = |cell: Cell<'_>| matches!(cell, Cell::Float(value) if value.is_nan());
    if missing(a) || missing(b) {
        return missing(a).cmp(&missing(b));
    }
    match (a, b) {
        (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
        (Cell::Text(_), _) => Ordering::Greater,
        (_, Cell::Text(_)) => Ordering::Less,
        (Cell::Int(a), Cell::Int(b)) => a.cmp(&b),
        (a, b) => {
            let number = |cell: Cell<'_>| match cell {
                Cell::Int(value) => value as f64,
                Cell::Float(value) => value,
                Cell::Bool(value) => f64::from(u8::from(value)),
                Cell::Text(_) => f64::NAN,
            };
            number(a).partial_cmp(&number(b)).unwrap_or(Ordering::Equal)
        }
    }
}

/// Whether two ids are equal: integers and floats by value, text by its characters, text never to a
/// number, a missing id to nothing.
pub fn same(a: Column<'_>, row_a: usize, b: Column<'_>, row_b: usize) -> bool {
    !a.is_missing(row_a) && !b.is_missing(row_b) && compare(a, row_a, b, row_b).is_eq()
}

/// The least of integers that fill a range, each once, in any order. `None` for others.
fn run_start(values: &[i64]) -> Option<i64> {
    let (&low, &high) = (values.iter().min()?, values.iter().max()?);
    if high.abs_diff(low) != values.len() as u64 - 1 {
        return None;
    }
    let mut seen = vec![0_u64; values.len().div_ceil(64)];
    let is_new = |value: &i64| {
        let place = value.abs_diff(low) as usize;
        let (word, bit) = (&mut seen[place / 64], 1 << (place % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    };
    values.iter().all(is_new).then_some(low)
}

/// Whether two columns hold the same ids place by place. The rows are all of each column, in sorted
/// order.
fn all_same((a, a_rows): (Column<'_>, &Rows), (b, b_rows): (Column<'_>, &Rows)) -> bool {
    let places = (0..a_rows.len()).into_par_iter().with_min_len(16_384);
    match (a.values(), b.values()) {
        (Values::Int(x), Values::Int(y)) => {
            let (first, second) = rayon::join(|| run_start(x), || run_start(y));
            first.is_some() && first == second
                || places.into_par_iter().all(|place| x[a_rows.at(place)] == y[b_rows.at(place)])
        }
        (Values::Text, Values::Text) => places.into_par_iter().all(|place| {
            let (x, y) = (a.raw(a_rows.at(place)), b.raw(b_rows.at(place)));
            x == y && !a.is_missing(a_rows.at(place)) && !b.is_missing(b_rows.at(place))
        }),
        _ => places.into_par_iter().all(|place| same(a, a_rows.at(place), b, b_rows.at(place))),
    }
}

/// How the ids of a submission differ from those of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdDifference {
    /// The answers' id of this row is not in the submission (or not often enough).
    Missing {
        /// The row of the answers.
        answer_row: usize,
    },
    /// The submission's id of this row is not in the answers (or not that often).
    Unknown {
        /// The row of the submission.
        submission_row: usize,
    },
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdRule {
    /// Both hold the same ids, each as often.
    Equal,
    /// Both hold the same distinct ids.
    SameSet,
    /// The submission holds every id of the answers, and perhaps others.
    Superset,
}

/// The first difference between two sorted sets of id columns, if any.
///
/// `answers` and `submission`: the id columns of each, in the same order, with the rows as
/// [`sorted_rows`] gives them.
pub fn id_difference(
    answers: (&[Column<'_>], &Rows),
    submission: (&[Column<'_>], &Rows),
    rule: IdRule,
) -> Option<IdDifference> {
    let ((a_columns, a_rows), (s_columns, s_rows)) = (answers, submission);
    if a_rows.len() == s_rows.len()
        && a_columns.iter().zip(s_columns).all(|(a, s)| all_same((*a, a_rows), (*s, s_rows)))
    {
        return None;
    }
    let pair = |a: usize, s: usize| {
        let columns = || a_columns.iter().zip(s_columns);
        if columns().all(|(x, y)| same(*x, a, *y, s)) {
            return Ordering::Equal;
        }
        let order = columns().map(|(x, y)| compare(*x, a, *y, s)).find(|o| o.is_ne());
        // Two missing ids compare equal for sorting but are not the same id.
        order.unwrap_or(Ordering::Greater)
    };
    let skip = |columns: &[Column<'_>], rows: &Rows, mut place: usize| {
        let row = rows.at(place);
        place += 1;
        while rule != IdRule::Equal
            && place < rows.len()
            && columns.iter().all(|c| same(*c, row, *c, rows.at(place)))
        {
            place += 1;
        }
        place
    };
    let (mut a, mut s) = (0, 0);
    while a < a_rows.len() || s < s_rows.len() {
        let order = if a == a_rows.len() {
            Ordering::Greater
        } else if s == s_rows.len() {
            Ordering::Less
        } else {
            pair(a_rows.at(a), s_rows.at(s))
        };
        match order {
            Ordering::Equal => {
                a = skip(a_columns, a_rows, a);
                s = skip(s_columns, s_rows, s);
            }
            Ordering::Less => {
                return Some(IdDifference::Missing { answer_row: a_rows.at(a) });
            }
            Ordering::Greater if rule == IdRule::Superset => s = skip(s_columns, s_rows, s),
            Ordering::Greater => {
                return Some(IdDifference::Unknown { submission_row: s_rows.at(s) });
            }
        }
    }
    None
}

/// The pairs (row of the answers, row of the submission) with equal ids, in the submission's sorted
/// order.
pub fn id_matches(
    answers: (&[Column<'_>], &Rows),
    submission: (&[Column<'_>], &Rows),
) -> Vec<(u32, u32)> {
    let ((a_columns, a_rows), (s_columns, s_rows)) = (answers, submission);
    let columns = || a_columns.iter().zip(s_columns);
    let mut matches = Vec::with_capacity(s_rows.len());
    let mut from = 0;
    for s in s_rows.iter() {
        let order = |a: usize| {
            columns()
                .map(|(x, y)| compare(*x, a, *y, s))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        while from < a_rows.len() && order(a_rows.at(from)).is_lt() {
            from += 1;
        }
        let equal = (from..a_rows.len())
            .map(|place| a_rows.at(place))
            .take_while(|&a| columns().all(|(x, y)| same(*x, a, *y, s)));
        matches.extend(equal.map(|a| (a as u32, s as u32)));
    }
    matches
}

#[cfg(test)]
mod tests;
