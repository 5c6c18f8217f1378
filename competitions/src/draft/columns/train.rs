//! Ids and targets where there is no sample submission: from the train table, and what the test
//! table lacks of it.

use super::super::decision::{Decision, candidate};
use super::super::roles::Roles;
use super::{Columns, IDS, Shape, TARGETS, is_id_name, is_target_name};
use crate::spec::Candidate;
use crate::survey::{CellKind, ColumnFacts, Survey, TableFacts};

/// The columns where there is no sample submission.
pub(super) fn without_sample(survey: &Survey, roles: &Roles<'_>) -> Columns {
    let Some(train) = roles.train else {
        return Columns {
            ids: vec!["id".to_owned()],
            targets: vec!["label".to_owned()],
            decisions: vec![
                Decision::open(
                    IDS,
                    vec![candidate("id", "nothing in the data says")],
                    "there is no table of examples",
                ),
                Decision::open(
                    TARGETS,
                    vec![candidate("label", "nothing in the data says")],
                    "there is no table of examples",
                ),
            ],
            shape: Shape::Unknown,
        };
    };
    let ids = ids_of_train(train, survey, roles);
    let id = ids.value.clone();
    let targets = targets_of_train(train, &id, roles);
    let names: Vec<String> =
        targets.value.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Columns { ids: vec![id], targets: names, decisions: vec![ids, targets], shape: Shape::Same }
}

/// The id column where only the train table, and perhaps the test table, are there.
fn ids_of_train(train: &TableFacts, survey: &Survey, roles: &Roles<'_>) -> Decision {
    let mut scored: Vec<(f64, &ColumnFacts, String)> = Vec::new();
    for (place, column) in train.columns.iter().enumerate() {
        let in_test = roles.test.and_then(|test| test.column(&column.name));
        if roles.test.is_some() && in_test.is_none() {
            continue;
        }
        let unique = column.is_unique() && in_test.is_none_or(ColumnFacts::is_unique);
        let mut score = 0.0;
        let mut reasons = Vec::new();
        if unique && column.kind() != CellKind::Float {
            score += 3.0;
            reasons.push("all values differ");
        } else {
            continue;
        }
        if place == 0 {
            score += 2.0;
            reasons.push("it is the first column");
        }
        if is_id_name(&column.name) {
            score += 2.0;
            reasons.push("it is named like an id");
        }
        if survey.families.iter().any(|family| family.share_named_in(column) > 0.5) {
            score += 4.0;
            reasons.push("files are named after it");
        }
        if column.is_prose() || column.spaced * 2 > column.present() {
            score -= 4.0;
            reasons.push("but it is text");
        }
        scored.push((score, column, reasons.join(", ")));
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let candidates = |scored: &[(f64, &ColumnFacts, String)]| -> Vec<Candidate> {
        scored
            .iter()
            .take(5)
            .map(|(_, column, why)| candidate(column.name.clone(), why.clone()))
            .collect()
    };
    match &scored[..] {
        [(score, column, why), rest @ ..]
            if *score >= 5.0 && rest.first().is_none_or(|next| score - next.0 >= 1.5) =>
        {
            Decision::likely(IDS, column.name.clone(), why.clone())
        }
        [] => {
            let fewest = train
                .columns
                .iter()
                .filter(|column| column.missing == 0)
                .max_by_key(|column| column.distinct());
            let guess = fewest.map(|column| {
                candidate(
                    column.name.clone(),
                    format!("{} distinct values in {} rows", column.distinct(), column.rows),
                )
            });
            Decision::open(
                IDS,
                guess.into_iter().collect(),
                format!("no column of `{}` has a value of its own in each row", train.path),
            )
        }
        all => Decision::open(IDS, candidates(all), "no column stands out"),
    }
}

/// The target column where there is no sample submission.
fn targets_of_train(train: &TableFacts, id: &str, roles: &Roles<'_>) -> Decision {
    let own: Vec<&ColumnFacts> = train
        .columns
        .iter()
        .filter(|column| column.name != id)
        .filter(|column| roles.test.is_none_or(|test| test.column(&column.name).is_none()))
        .collect();
    let usable = |column: &&ColumnFacts| !column.is_constant() && !column.is_prose();
    if let (Some(test), [only]) = (roles.test, &own[..]) {
        return Decision::sure(
            TARGETS,
            only.name.clone(),
            format!("the only column of `{}` that `{}` lacks", train.path, test.path),
        );
    }
    let usable: Vec<&ColumnFacts> = own.into_iter().filter(usable).collect();
    if let [only] = usable[..]
        && !is_id_name(&only.name)
    {
        return Decision::likely(
            TARGETS,
            only.name.clone(),
            "the only column that is neither id nor constant nor prose",
        );
    }
    // All columns that the test rows lack, if they are alike, are predicted together.
    if let (Some(test), true) = (roles.test, usable.len() <= 12 && !usable.is_empty())
        && usable.iter().all(|column| column.kind() == usable[0].kind() && column.missing == 0)
        && usable.iter().all(|column| matches!(column.kind(), CellKind::Float | CellKind::Int))
    {
        let names: Vec<&str> = usable.iter().map(|column| column.name.as_str()).collect();
        return Decision::likely(
            TARGETS,
            names.join(", "),
            format!("the columns of `{}` that `{}` lacks, all numbers", train.path, test.path),
        );
    }
    let mut scored: Vec<(f64, &ColumnFacts, String)> =
        usable.iter().map(|column| scored_target(column, train, roles)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    if roles.test.is_none()
        && let Some(together) = indicators(&usable)
    {
        let names: Vec<&str> = together.iter().map(|column| column.name.as_str()).collect();
        return Decision::likely(
            TARGETS,
            names.join(", "),
            "all columns besides the id are 0 or 1",
        );
    }
    match &scored[..] {
        [] => Decision::open(
            TARGETS,
            Vec::new(),
            format!("no column of `{}` can be predicted", train.path),
        ),
        [(score, column, why), rest @ ..]
            if *score >= 4.0 && rest.first().is_none_or(|next| score - next.0 >= 2.0) =>
        {
            Decision::likely(TARGETS, column.name.clone(), why.clone())
        }
        all => {
            let candidates = all
                .iter()
                .take(6)
                .map(|(_, column, why)| candidate(column.name.clone(), why.clone()));
            Decision::open(
                TARGETS,
                candidates.collect(),
                "several columns may be what is predicted",
            )
        }
    }
}

/// All columns, if each holds 0 and 1 alone and there are several.
fn indicators<'c>(columns: &[&'c ColumnFacts]) -> Option<Vec<&'c ColumnFacts>> {
    (columns.len() >= 2 && columns.iter().all(|column| column.is_binary()))
        .then(|| columns.to_vec())
}

fn scored_target<'c>(
    column: &'c ColumnFacts,
    train: &TableFacts,
    roles: &Roles<'_>,
) -> (f64, &'c ColumnFacts, String) {
    let (mut score, mut reasons) = (0.0, Vec::new());
    let place = train.columns.iter().position(|other| other.name == column.name).unwrap_or(0);
    let mut say = |points: f64, reason: &str| {
        score += points;
        reasons.push(reason.to_owned());
    };
    if roles.test.is_some() {
        say(1.0, "the test table lacks it");
    }
    if place + 1 == train.columns.len() {
        say(2.5, "it is the last column");
    } else if place <= 1 {
        say(1.5, "it is at the front");
    }
    if is_target_name(&column.name) {
        say(2.0, "it is named like a target");
    }
    match column.kind() {
        CellKind::Bool => say(2.0, "it is true or false"),
        CellKind::Text if column.is_categorical() => say(2.0, "it repeats a few values"),
        CellKind::Int | CellKind::Float if column.is_binary() => say(1.5, "it is 0 or 1"),
        CellKind::Text => say(-1.5, "it is text"),
        CellKind::Date => say(-3.0, "it is a time"),
        CellKind::Int | CellKind::Float | CellKind::Empty => {}
    }
    if column.missing > 0 {
        say(-1.5, "some cells are missing");
    }
    if is_id_name(&column.name) {
        say(-2.0, "it is named like an id");
    }
    // One of a numbered family, as `margin7` is.
    let head = column.name.trim_end_matches(|c: char| c.is_ascii_digit());
    let kin = train.columns.iter().filter(|other| other.name.starts_with(head)).count();
    if head.len() < column.name.len() && !head.is_empty() && kin > 2 {
        say(-3.0, "it is one of many of its name");
    }
    (score, column, reasons.join(", "))
}
