//! RNA molecules and how fast each of their bases decays. As many molecules as 10 % of all become
//! the test part, drawn from those with a good signal; both parts keep the order of the file.
//! Answers have one row a base; bases that were not measured are zero.

use std::collections::HashSet;

use crate::formats::{Json, JsonStyle, NumberRules};
use crate::frame::{CsvStyle, FloatFormat, Frame, Value, sample};
use crate::prepare::{Prepare, PrepareError};

const TRAIN: &str = "train.json";
const TEST: &str = "test.json";
const TARGETS: [&str; 5] = ["reactivity", "deg_Mg_pH10", "deg_pH10", "deg_Mg_50C", "deg_50C"];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let mut molecules = read_lines(ctx, TRAIN)?;
    whole_columns_to_integers(&mut molecules);
    let good = |molecule: &Json| match molecule.field("SN_filter", TRAIN)? {
        Json::Int(value) => Ok(*value > 0),
        Json::Float(value) => Ok(*value > 0.0),
        _ => Err(ctx.unexpected(TRAIN, "expected a number under `SN_filter`")),
    };
    let good = molecules.iter().map(good).collect::<Result<Vec<bool>, PrepareError>>()?;
    let candidates: Vec<usize> = (0..molecules.len()).filter(|&i| good[i]).collect();
    let n_test = (molecules.len() as f64 * 0.1) as usize;
    ctx.check(
        n_test <= candidates.len(),
        TRAIN,
        format!("expected {n_test} molecules that pass the filter"),
    )?;
    let test_rows: HashSet<usize> = sample(candidates.len(), n_test, 0)
        .into_iter()
        .map(|pick| candidates[pick as usize])
        .collect();
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (row, molecule) in molecules.into_iter().enumerate() {
        if test_rows.contains(&row) { test.push(molecule) } else { train.push(molecule) }
    }

    let answers = one_row_a_base(ctx, &test)?;
    let style = CsvStyle { floats: FloatFormat::Fixed(10), ..CsvStyle::default() };
    ctx.write_csv_with("private/test.csv", &answers, &style)?;
    let sample = answers.select(["id_seqpos"])?.with_all(TARGETS, Value::Float(0.0))?;
    ctx.write_csv_with("public/sample_submission.csv", &sample, &style)?;

    let shown = columns(&read_lines(ctx, TEST)?);
    let hides = TARGETS.iter().all(|target| !shown.iter().any(|column| column == target));
    ctx.check(hides, TEST, "expected no column with an answer")?;
    let test = test.iter().map(|molecule| {
        let kept = shown.iter().map(|key| Ok((key.clone(), molecule.field(key, TRAIN)?.clone())));
        Ok(Json::Object(kept.collect::<Result<_, PrepareError>>()?))
    });
    write_lines(ctx, "public/test.json", test.collect::<Result<_, PrepareError>>()?)?;
    write_lines(ctx, "public/train.json", train)
}

fn read_lines(ctx: &Prepare, file: &str) -> Result<Vec<Json>, PrepareError> {
    let mut records = Vec::new();
    ctx.each_line(file, |line| {
        if !line.trim().is_empty() {
            records.push(Json::parse(line.as_bytes(), file, NumberRules::Pandas)?);
        }
        Ok(true)
    })?;
    Ok(records)
}

/// Writes records as lines, numbered anew in the field `index`.
fn write_lines(ctx: &Prepare, prepared: &str, records: Vec<Json>) -> Result<(), PrepareError> {
    let mut out = ctx.create(prepared)?;
    for (index, mut record) in records.into_iter().enumerate() {
        record.set("index", index);
        out.write(record.dump(JsonStyle::Pandas))?;
        out.write("\n")?;
    }
    ctx.finished(out)
}

/// The keys of all records in order of first appearance.
fn columns(records: &[Json]) -> Vec<String> {
    let mut known = HashSet::new();
    let keys = records.iter().flat_map(|record| record.as_object().unwrap_or_default());
    keys.filter(|(key, _)| known.insert(key.clone())).map(|(key, _)| key.clone()).collect()
}

/// As pandas does on reading: numbers under a key are integers if all of them are whole.
fn whole_columns_to_integers(records: &mut [Json]) {
    /// Beyond it a double stands for more than one integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    for key in columns(records) {
        let whole = records.iter().all(|record| match record.get(&key) {
            Some(Json::Int(_)) => true,
            Some(Json::Float(value)) => value.fract() == 0.0 && value.abs() <= EXACT,
            _ => false,
        });
        if whole {
            for record in records.iter_mut() {
                if let Some(Json::Float(value)) = record.get(&key) {
                    let value = *value as i64;
                    record.set(&key, value);
                }
            }
        }
    }
}

fn one_row_a_base(ctx: &Prepare, molecules: &[Json]) -> Result<Frame, PrepareError> {
    let (mut ids, mut keep) = (Vec::new(), Vec::new());
    let mut values: [Vec<f64>; 5] = Default::default();
    for molecule in molecules {
        let id = molecule.text("id", TRAIN)?;
        let length = molecule.int("seq_length", TRAIN)?.max(0) as usize;
        let scored = molecule.int("seq_scored", TRAIN)?.max(0) as usize;
        ctx.check(
            scored < length,
            TRAIN,
            format!("expected fewer bases scored than there are in `{id}`"),
        )?;
        ids.extend((0..length).map(|base| format!("{id}_{base}")));
        keep.extend((0..length).map(|base| base < scored));
        for (target, values) in TARGETS.iter().zip(&mut values) {
            let measured = molecule.list(target, TRAIN)?;
            let what = format!("expected {scored} numbers under `{target}` of `{id}`");
            ctx.check(measured.len() == scored, TRAIN, &what)?;
            for value in measured {
                values.push(match value {
                    Json::Float(value) => *value,
                    Json::Int(value) => *value as f64,
                    _ => return Err(ctx.unexpected(TRAIN, &what)),
                });
            }
            values.resize(ids.len(), 0.0);
        }
    }
    let mut answers = Frame::new("answers", ids.len()).with("id_seqpos", ids)?;
    for (target, values) in TARGETS.iter().zip(values) {
        answers = answers.with(target, values)?;
    }
    Ok(answers.with("keep", keep)?)
}
