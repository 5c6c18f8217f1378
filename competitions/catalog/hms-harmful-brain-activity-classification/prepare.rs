//! Brain activity judged by experts. 10 % of the spectrograms become the test part, with all
//! windows in them.

use crate::frame::Value;
use crate::prepare::{Prepare, PrepareError};

const VOTES: [&str; 6] =
    ["seizure_vote", "lpd_vote", "gpd_vote", "lrda_vote", "grda_vote", "other_vote"];

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv")?.split_by_value("spectrogram_id", 0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/test.csv", &test.select(["spectrogram_id", "eeg_id", "patient_id"])?)?;

    let votes = VOTES
        .iter()
        .map(|vote| Ok(test.floats(vote)?))
        .collect::<Result<Vec<_>, PrepareError>>()?;
    let totals: Vec<f64> =
        (0..test.rows()).map(|row| votes.iter().map(|column| column[row]).sum()).collect();
    let ids = test.select(["eeg_id"])?;
    let gold = VOTES.iter().zip(&votes).try_fold(ids.clone(), |table, (vote, counts)| {
        table.with(
            vote,
            counts.iter().zip(&totals).map(|(count, total)| count / total).collect::<Vec<_>>(),
        )
    })?;
    ctx.write_csv("private/gold_submission.csv", &gold)?;
    ctx.write_csv("public/sample_submission.csv", &ids.with_all(VOTES, Value::Float(1.0 / 6.0))?)?;

    for (part, table) in [("train", &train), ("test", &test)] {
        for kind in ["eeg", "spectrogram"] {
            let ids = table.distinct(&format!("{kind}_id"))?;
            ctx.copy_all(ids.iter().map(|id| {
                (
                    format!("train_{kind}s/{id}.parquet"),
                    format!("public/{part}_{kind}s/{id}.parquet"),
                )
            }))?;
        }
    }
    ctx.copy_folder("example_figures", "public/example_figures")
}
