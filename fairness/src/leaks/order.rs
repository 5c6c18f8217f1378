//! Ids and the order of rows.

use medalist_stats::Rng;

use super::{Sight, keep};
use crate::NotMeasured;
use crate::signal;

/// Rank correlation from which on the order of the file is the order of the ids.
const SAME_ORDER: f64 = 0.999;

pub(super) fn measure(sight: &Sight<'_>, rng: &mut Rng, report: &mut crate::Report) {
    let targets = &sight.truth.targets;
    let ids = sight.truth.ids.as_ref().map(|test| {
        let train = sight.train_ids();
        positions(train.as_deref(), test)
    });
    match &ids {
        None => report.not_measured.push(NotMeasured::new("ids", "rows have no names")),
        Some(_) if are_texts(sight.truth.ids.as_deref().unwrap_or_default()) => {
            report.not_measured.push(NotMeasured::new("ids", "the ids are texts"));
        }
        Some((train, test)) => {
            keep(report, "id-order", "the order of the ids", signal::along(test, targets, rng));
            let neighbours = signal::in_a_row(test, targets, rng);
            keep(report, "id-neighbours", "the answer of the row with the next id", neighbours);
            if let Some(train) = train
                && !sight.train.is_empty()
            {
                let signal = signal::by_nearest((train, &sight.train), (test, targets), rng);
                let what = "the answer of the training row with the nearest id";
                keep(report, "id-nearest", what, signal);
            }
        }
    }
    let Some(places) = sight.ladder.and_then(|ladder| ladder.places()) else { return };
    let place: Vec<f64> = places.iter().map(|&place| place as f64).collect();
    let is_by_id = ids.as_ref().is_some_and(|(_, test)| {
        signal::rank_correlation(&place, test).is_none_or(|same| same.abs() >= SAME_ORDER)
    });
    if is_by_id || place.len() != sight.truth.rows {
        return;
    }
    let what = "the order of the test rows in their file";
    keep(report, "row-order", what, signal::along(&place, targets, rng));
    let what = "the answer of the row before in the file of test rows";
    keep(report, "row-neighbours", what, signal::in_a_row(&place, targets, rng));
}

/// Whether ids are texts of several words, which agents read as such.
fn are_texts(ids: &[String]) -> bool {
    const WORDS: usize = 4;
    ids.iter().map(|id| id.split_whitespace().count()).sum::<usize>() >= WORDS * ids.len()
}

/// Places of ids of both parts on one line: the ids as numbers, or the last number in each, or their
/// alphabetical order.
fn positions(train: Option<&[String]>, test: &[String]) -> (Option<Vec<f64>>, Vec<f64>) {
    let by = |of: &dyn Fn(&String) -> Option<f64>| {
        let all = |ids: &[String]| ids.iter().map(of).collect::<Option<Vec<f64>>>();
        let test = all(test)?;
        match train {
            None => Some((None, test)),
            Some(train) => Some((Some(all(train)?), test)),
        }
    };
    let whole = |id: &String| id.trim().parse::<f64>().ok().filter(|value| value.is_finite());
    if let Some(found) = by(&whole).or_else(|| by(&|id| last_number(id))) {
        return found;
    }
    let mut sorted: Vec<&str> =
        train.into_iter().flatten().chain(test).map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let place = |id: &String| sorted.partition_point(|other| *other < id.as_str()) as f64;
    (train.map(|train| train.iter().map(place).collect()), test.iter().map(place).collect())
}

/// The last run of digits.
fn last_number(id: &str) -> Option<f64> {
    const LONGEST: usize = 15;
    let end = id.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = id[..end]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + id[at..].chars().next().map_or(1, char::len_utf8));
    let digits = &id[start..end];
    (digits.len() <= LONGEST).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_places_on_one_line() {
        assert_eq!(last_number("train_0012.jpg"), Some(12.0));
        assert_eq!(last_number("é7é"), Some(7.0));
        assert_eq!(last_number("abc"), None);
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            positions(Some(&ids(&["1", "3"])), &ids(&["2"])),
            (Some(vec![1.0, 3.0]), vec![2.0])
        );
        assert_eq!(
            positions(Some(&ids(&["train_5"])), &ids(&["test_4"])),
            (Some(vec![5.0]), vec![4.0])
        );
        assert_eq!(positions(Some(&ids(&["c"])), &ids(&["a", "d"])).1, [0.0, 2.0]);
    }
}
