//! Neutrinos in a cubic kilometre of ice and where they came from. 10 % of the batches of events
//! become the test part.

use std::collections::{HashMap, HashSet};

use crate::frame::{CsvStyle, train_test_split};
use crate::prepare::{Prepare, PrepareError};

const META: &str = "train_meta.parquet";
const ANGLES: [&str; 2] = ["azimuth", "zenith"];

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (mut batches, mut known) = (Vec::new(), HashSet::new());
    ctx.each_parquet_part(META, |part| {
        batches.extend(part.ints("batch_id")?.into_iter().filter(|batch| known.insert(*batch)));
        Ok(())
    })?;
    let (train, test) = train_test_split(batches.len(), 0.1, 0)?.of(&batches);
    let test: HashSet<i64> = test.into_iter().collect();

    let mut public_train = ctx.parquet("public/train_meta.parquet")?;
    let mut public_test = ctx.parquet("public/test_meta.parquet")?;
    let mut answers = ctx.create("private/test.csv")?;
    let mut sample = ctx.create("public/sample_submission.csv")?;
    let mut style = CsvStyle::default();
    ctx.each_parquet_part(META, |part| {
        let is_test: Vec<bool> =
            part.ints("batch_id")?.iter().map(|batch| test.contains(batch)).collect();
        let (test_rows, train_rows) = part.partition(&is_test)?;
        public_train.write(&train_rows)?;
        public_test.write(&test_rows.drop(&ANGLES)?)?;
        let angles = test_rows.frame(&["event_id", "azimuth", "zenith"])?;
        answers.write(angles.to_csv(&style)?)?;
        sample.write(angles.with_all(ANGLES, crate::frame::Value::Int(1))?.to_csv(&style)?)?;
        style.header = false;
        Ok(())
    })?;
    public_train.finish()?;
    public_test.finish()?;
    ctx.finished(answers)?;
    ctx.finished(sample)?;
    ctx.copy("sensor_geometry.csv", "public/sensor_geometry.csv")?;

    // The number of a batch stands behind the last `_` of its file's name, possibly with leading
    // zeros.
    let number =
        |name: &str| name.strip_suffix(".parquet")?.rsplit('_').next()?.parse::<i64>().ok();
    let files: HashMap<i64, String> =
        ctx.files("train")?.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
    for (part, batches) in [("train", train), ("test", test.into_iter().collect())] {
        for batch in batches {
            let name = files.get(&batch).ok_or_else(|| {
                ctx.unexpected("train", format!("expected a file of batch {batch}"))
            })?;
            ctx.copy(&format!("train/{name}"), &format!("public/{part}/{name}"))?;
        }
    }
    Ok(())
}
