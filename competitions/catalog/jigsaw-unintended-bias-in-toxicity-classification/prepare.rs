//! Comments with a share of raters who find them toxic. The original private test part, published
//! later with its labels, is used.

use crate::prepare::{Prepare, PrepareError};

const EXPANDED: &str = "test_private_expanded.csv";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let expanded = ctx.read_csv(EXPANDED)?;
    let columns = expanded.column_names().len();
    ctx.check(columns == 45, EXPANDED, format!("expected 45 columns, found {columns}"))?;
    ctx.copy("train.csv", "public/train.csv")?;
    ctx.copy(EXPANDED, "private/test.csv")?;
    ctx.write_csv("public/test.csv", &expanded.select(["id", "comment_text"])?)?;
    ctx.write_csv(
        "public/sample_submission.csv",
        &expanded.select(["id"])?.with("prediction", 0.0)?,
    )
}
