//! Frames of speech with their phonemes. The labelled frames are split in the proportion of the
//! original parts.

use crate::formats::Npy;
use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};

const FOLDER: &str = "timit_11/timit_11";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let open = |name: &str| {
        let file = format!("{FOLDER}/{name}");
        Ok::<_, PrepareError>(Npy::open(&ctx.on_disk(&file)?, &file)?)
    };
    let (frames, labels, original_test) =
        (open("train_11.npy")?, open("train_label_11.npy")?, open("test_11.npy")?);
    let (n, m) = (frames.rows(), original_test.rows());
    ctx.check(
        labels.rows() == n,
        "train_label_11.npy",
        format!("expected a label for each of {n} frames"),
    )?;
    let split = train_test_split(n, m as f64 / (n + m) as f64, 0)?;
    let public = |name: &str| format!("public/{FOLDER}/{name}");
    for (name, source, rows) in [
        ("train_11.npy", &frames, &split.train),
        ("train_label_11.npy", &labels, &split.train),
        ("test_11.npy", &frames, &split.test),
    ] {
        ctx.write_with(&public(name), |out| source.write_rows(rows, out))?;
    }
    let classes = labels.texts(&split.test)?;
    let ids: Vec<i64> = (0..classes.len() as i64).collect();
    let answers = Frame::new("answers", classes.len()).with("Id", ids)?.with("ClassId", classes)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    ctx.write_csv("public/sampleSubmission.csv", &answers.with("ClassId", 0)?)
}
