//! Lung capacity of patients over the weeks. 10 % of the patients become the test part. Agents see
//! a test patient's first measurement; the answers span all weeks between the first and the last of
//! any test patient, most of them without a value.

use std::collections::HashMap;

use crate::frame::{Frame, NewColumn, Value, train_test_split};
use crate::prepare::{Prepare, PrepareError};

const FILE: &str = "train.csv";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let table = ctx.read_csv(FILE)?;
    let mut patients = table.groups("Patient")?;
    patients.sort();
    let (train, test) = train_test_split(patients.len(), 0.1, 0)?.of(&patients);
    let rows = |part: &[(String, Vec<u32>)]| {
        table.take(&part.iter().flat_map(|(_, rows)| rows.clone()).collect::<Vec<_>>())
    };
    ctx.write_csv("public/train.csv", &rows(&train))?;
    ctx.write_csv("public/test.csv", &first_measurements(&table, &test)?)?;
    let answers = all_weeks(ctx, &table, &test)?;
    ctx.write_csv("private/test.csv", &answers)?;
    let sample = answers.select(["Patient_Week"])?.with("FVC", 2000)?.with("Confidence", 100)?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    for (part, patients) in [("train", &train), ("test", &test)] {
        for (patient, _) in patients {
            ctx.copy_folder(&format!("train/{patient}"), &format!("public/{part}/{patient}"))?;
        }
    }
    Ok(())
}

/// The row with the lowest week of each patient, sorted by patient.
fn first_measurements(
    table: &Frame,
    patients: &[(String, Vec<u32>)],
) -> Result<Frame, PrepareError> {
    let weeks = table.ints("Weeks")?;
    let first = |(_, rows): &(String, Vec<u32>)| {
        rows.iter().copied().min_by_key(|&row| weeks[row as usize])
    };
    let firsts: Vec<u32> = patients.iter().filter_map(first).collect();
    Ok(table.take(&firsts).sort_by_text("Patient")?)
}

/// Every patient with every week of the test part; where a week was not measured its values are
/// missing.
fn all_weeks(
    ctx: &Prepare,
    table: &Frame,
    patients: &[(String, Vec<u32>)],
) -> Result<Frame, PrepareError> {
    let weeks = table.ints("Weeks")?;
    let of = |row: &u32| weeks[*row as usize];
    let measured = || patients.iter().flat_map(|(_, rows)| rows.iter().map(of));
    let (Some(low), Some(high)) = (measured().min(), measured().max()) else {
        return Err(ctx.unexpected(FILE, "expected test patients with measurements"));
    };
    let (mut names, mut week_column, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    for (patient, rows) in patients {
        let by_week: HashMap<i64, u32> = rows.iter().map(|row| (of(row), *row)).collect();
        ctx.check(
            by_week.len() == rows.len(),
            FILE,
            format!("expected one measurement a week of patient `{patient}`"),
        )?;
        for week in low..=high {
            names.push(patient.clone());
            week_column.push(week);
            sources.push(by_week.get(&week).copied());
        }
    }
    let ids: Vec<String> =
        names.iter().zip(&week_column).map(|(name, week)| format!("{name}_{week}")).collect();
    let mut answers =
        Frame::new("answers", names.len()).with("Patient", names)?.with("Weeks", week_column)?;
    for column in ["FVC", "Percent", "Age", "Sex", "SmokingStatus"] {
        let values = table.values(column)?;
        let joined = sources
            .iter()
            .map(|source| source.map_or(Value::Missing, |row| values[row as usize].clone()))
            .collect();
        answers = answers.with(column, NewColumn::from_values(table.kind(column)?, joined))?;
    }
    Ok(answers.with("Patient_Week", ids)?.with("Confidence", 100)?)
}
