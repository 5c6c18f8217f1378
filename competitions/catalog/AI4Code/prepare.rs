//! Notebooks whose cells were shuffled. Whole families of notebooks with a common ancestor become
//! the test part, in random order while they fit.

use std::collections::HashSet;

use crate::formats::Json;
use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let test_size: usize = ctx.option("test_size", 20_000)?;
    let ancestors = ctx.read_csv("train_ancestors.csv")?;
    let ancestors = ancestors.take(&crate::frame::sample_share(ancestors.rows(), 1.0, 0));
    let ids = ancestors.texts("id")?;
    let mut test: HashSet<String> = HashSet::new();
    for (_, family) in ancestors.groups("ancestor_id")? {
        if test.len() + family.len() <= test_size {
            test.extend(family.into_iter().map(|row| ids[row as usize].clone()));
        }
    }
    let found =
        format!("expected families that add up to {test_size} notebooks, found {}", test.len());
    ctx.check(test.len() == test_size, "train_ancestors.csv", found)?;

    let train_ancestors = ancestors.filter("id", |id| !test.contains(id))?;
    ctx.write_csv(
        "public/train_ancestors.csv",
        &train_ancestors.select(["id", "ancestor_id", "parent_id"])?,
    )?;
    let (held_out, train) =
        ctx.read_csv("train_orders.csv")?.partition("id", |id| test.contains(id))?;
    ctx.write_csv("public/train_orders.csv", &train)?;
    ctx.write_csv("private/test_orders.csv", &held_out)?;

    let test_ids = held_out.texts("id")?;
    let orders =
        test_ids.iter().map(|id| cells_in_file_order(ctx, id)).collect::<Result<Vec<_>, _>>()?;
    ctx.write_csv(
        "public/sample_submission.csv",
        &held_out.select(["id"])?.with("cell_order", orders)?,
    )?;
    let notebook =
        |part: &str, id: &str| (format!("train/{id}.json"), format!("public/{part}/{id}.json"));
    ctx.copy_all(train.texts("id")?.iter().map(|id| notebook("train", id)))?;
    ctx.copy_all(test_ids.iter().map(|id| notebook("test", id)))
}

fn cells_in_file_order(ctx: &Prepare, id: &str) -> Result<String, PrepareError> {
    let file = format!("train/{id}.json");
    let notebook = ctx.read_json(&file)?;
    let types = notebook.get("cell_type").and_then(Json::as_object);
    let types = types
        .ok_or_else(|| ctx.unexpected(&file, "expected an object under the key `cell_type`"))?;
    Ok(types.iter().map(|(cell, _)| cell.as_str()).collect::<Vec<_>>().join(" "))
}
