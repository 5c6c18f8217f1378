//! Leaves of cassava with their disease. 10 % of the record files become test files; the pictures
//! inside them are the test part.

use std::collections::HashSet;

use crate::formats::tfrecord_texts;
use crate::frame::train_test_split;
use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let records: Vec<String> =
        ctx.files("train_tfrecords")?.into_iter().filter(|name| name.ends_with(".tfrec")).collect();
    let (train_records, test_records) = train_test_split(records.len(), 0.1, 0)?.of(&records);
    let mut test_ids: HashSet<String> = HashSet::new();
    for name in &test_records {
        let file = format!("train_tfrecords/{name}");
        test_ids
            .extend(ctx.stream(&file, |stream| Ok(tfrecord_texts(stream, "image_name", &file)?))?);
    }
    let (test, train) =
        ctx.read_csv("train.csv")?.partition("image_id", |id| test_ids.contains(id))?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv("public/sample_submission.csv", &test.with("label", 4)?)?;
    ctx.copy("label_num_to_disease_map.json", "public/label_num_to_disease_map.json")?;

    for (part, names, table) in [("train", &train_records, &train), ("test", &test_records, &test)]
    {
        for (i, name) in names.iter().enumerate() {
            let count = name.trim_end_matches(".tfrec").split('-').nth(1);
            let count = count.ok_or_else(|| {
                ctx.unexpected(name, "expected a name like `ld_train00-1338.tfrec`")
            })?;
            let target = format!("public/{part}_tfrecords/ld_{part}{i:02}-{count}.tfrec");
            ctx.copy(&format!("train_tfrecords/{name}"), &target)?;
        }
        let ids = table.texts("image_id")?;
        ctx.copy_all(
            ids.iter()
                .map(|id| (format!("train_images/{id}"), format!("public/{part}_images/{id}"))),
        )?;
    }
    Ok(())
}
