//! Faults of a scored submission that the reference does not see, whatever the competition.

use std::collections::{HashMap, HashSet};

use crate::explain::{alike, shifted};
use crate::ids::{Rows, arbitrary_order};
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal};
use crate::labels::different_kinds;
use crate::metrics::{Metric, classification, label_sets};
use crate::spec::Pairing;
use crate::table::Column;
use crate::task::{Answers, Task};

/// The faults of a submission that has a score.
///
/// # Errors
/// What the metric would have failed for before.
pub(crate) fn issues(
    task: &Task<'_>,
    metric: &'static Metric,
) -> Result<Vec<InvalidSubmission>, Refusal> {
    let mut issues = Vec::new();
    if let Some(why) = shifted(task.submission) {
        issues.push(InvalidSubmission::new(InvalidKind::Malformed, why));
    }
    let labels = std::ptr::eq(metric, &classification::ACCURACY);
    let lists = std::ptr::eq(metric, &label_sets::MAP_AT_K);
    if labels || lists || std::ptr::eq(metric, &classification::TEXT_ACCURACY) {
        let (truth, prediction) = (task.truth(0)?, task.prediction(0)?);
        if labels && truth.is_text() != prediction.is_text() {
            issues.push(different_kinds(&prediction, truth.is_text()));
        } else if truth.is_text() {
            issues.extend(no_class(&truth, &prediction, lists));
        }
    }
    // Answers that are JSON lines have no order of rows.
    let table = matches!(task.raw_answers(), Answers::Table(_));
    if table && task.spec.pairing == Pairing::Sorted {
        issues.extend(arbitrary_pairing(task)?);
    }
    Ok(issues)
}

/// The first label that is none of the true ones, but would be if capitals, blanks and characters
/// that cannot be seen did not count. `lists`: cells hold labels between blanks.
fn no_class(truth: &Column<'_>, prediction: &Column<'_>, lists: bool) -> Option<InvalidSubmission> {
    let words = |column: &Column<'_>| -> HashSet<String> {
        let cells = (0..column.len()).filter_map(|row| column.text(row));
        let labels = cells.flat_map(|cell| cell.split(move |c| lists && c == ' '));
        labels.filter(|label| !label.is_empty()).map(str::to_owned).collect()
    };
    let known = words(truth);
    let mut unknown: Vec<String> =
        words(prediction).into_iter().filter(|l| !known.contains(l)).collect();
    if unknown.is_empty() {
        return None;
    }
    // Most labels that are not known are none that look alike; so those are found by a key first.
    let key = |label: &str| -> String {
        label.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let mut by_key: HashMap<String, Vec<&String>> = HashMap::new();
    known.iter().for_each(|label| by_key.entry(key(label)).or_default().push(label));
    let meant: HashMap<String, &String> = unknown
        .drain(..)
        .filter_map(|label| {
            let near = by_key.get(&key(&label))?.iter().find(|known| alike(known, &label))?;
            Some((label, *near))
        })
        .collect();
    let found = (0..prediction.len()).find_map(|row| {
        let cell = prediction.text(row)?;
        let label = cell.split(|c| lists && c == ' ').find(|label| meant.contains_key(*label))?;
        Some((row, label))
    });
    let (row, label) = found?;
    let verdict = InvalidSubmission::new(InvalidKind::BadLabel, "the label is no class");
    Some(
        verdict
            .at(row)
            .in_column(prediction.name())
            .with_value(label)
            .expecting(format!("`{}`", meant[label])),
    )
}

/// Ids that repeat, where the score depends on which of their rows meet, and that on the machine.
fn arbitrary_pairing(task: &Task<'_>) -> Result<Option<InvalidSubmission>, Refusal> {
    let (ids, answer_ids) = (task.submission_ids()?, task.answer_ids()?);
    let ([id], [answer_id]) = (&ids[..], &answer_ids[..]) else { return Ok(None) };
    let (submission, answers) = (task.sorted_submission()?, task.sorted_answers()?);
    if arbitrary_order(*id, submission).is_none() || arbitrary_order(*answer_id, answers).is_none()
    {
        return Ok(None);
    }
    let targets = task.spec.target_columns.len();
    let predictions = (0..targets).map(|k| task.prediction(k)).collect::<Result<Vec<_>, _>>()?;
    let truths = (0..targets).map(|k| task.truth(k)).collect::<Result<Vec<_>, _>>()?;
    let differ = |columns: &[Column<'_>], rows: &Rows, places: std::ops::Range<usize>| {
        let first = rows.at(places.start);
        places.skip(1).any(|place| {
            columns.iter().any(|column| column.raw(rows.at(place)) != column.raw(first))
        })
    };
    let mut start = 0;
    while start < submission.len() {
        let of_start = submission.at(start);
        let same = |place: &usize| crate::ids::same(*id, of_start, *id, submission.at(*place));
        let end = start + 1 + (start + 1..submission.len()).take_while(same).count();
        let group = start..end;
        if end - start > 1
            && end <= answers.len()
            && differ(&predictions, submission, group.clone())
            && differ(&truths, answers, group)
        {
            let issue = InvalidSubmission::new(
                InvalidKind::Ids,
                "the id occurs more than once, and which of its rows are compared depends on the machine",
            );
            return Ok(Some(issue.at(of_start).in_column(id.name()).with_value(id.raw(of_start))));
        }
        start = end;
    }
    Ok(None)
}
