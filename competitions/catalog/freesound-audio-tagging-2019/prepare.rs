//! Sounds with up to several of 80 labels. The original division is kept; the test labels were
//! released later, elsewhere.

use std::collections::HashSet;

use crate::prepare::{Prepare, PrepareError};

const LABELS: &str = "FSDKaggle2019.meta";
const URL: &str = "https://zenodo.org/records/3612637/files/FSDKaggle2019.meta.zip?download=1";

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let classes: Vec<&str> = include_str!("classes.txt").lines().collect();
    let released = ctx.download(&format!("{LABELS}.zip"), URL)?;
    let file = format!("{LABELS}/test_post_competition.csv");
    let test = released.read_csv(&file)?.filter("usage", |usage| usage == "Private")?;
    let labels = test.texts("labels")?;
    let answers = classes.iter().try_fold(test.select(["fname"])?, |table, class| {
        let is_among = |labels: &String| i64::from(labels.split(',').any(|label| label == *class));
        table.with(class, labels.iter().map(is_among).collect::<Vec<_>>())
    })?;
    ctx.write_csv("private/test.csv", &answers)?;

    let sample = ctx.read_csv("sample_submission.csv")?;
    let names = |table: &crate::frame::Frame| {
        Ok::<_, PrepareError>(table.texts("fname")?.into_iter().collect())
    };
    let (wanted, found): (HashSet<String>, HashSet<String>) = (names(&sample)?, names(&answers)?);
    ctx.check(
        sample.column_names() == answers.column_names(),
        "sample_submission.csv",
        "expected one column a label",
    )?;
    ctx.check(wanted == found, &file, "expected the sounds of the sample submission")?;

    ctx.copy_folder_if("", "public", |path| {
        !path.split('/').next().is_some_and(|top| top.contains(LABELS))
    })
}
