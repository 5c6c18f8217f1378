//! Flukes of whales. A whale with two pictures or more gives one at least to each part; a whale
//! with a single picture goes to the train part nine times out of ten; of what is left 10 % become
//! the test part. Whales that only the test part has are new whales.

use std::collections::HashSet;

use crate::frame::{sample, train_test_split};
use crate::prepare::{Prepare, PrepareError};
use crate::rng::Generator;

const NEW: &str = "new_whale";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let table = ctx.read_csv("train.csv")?;
    let mut is_test: Vec<Option<bool>> = vec![None; table.rows()];
    let mut random = Generator::new(0);
    for (_, rows) in table.groups("Id")? {
        match rows[..] {
            [single] => is_test[single as usize] = Some(random.random() >= 0.9),
            _ => {
                for (pick, part) in sample(rows.len(), 2, 0).into_iter().zip([false, true]) {
                    is_test[rows[pick as usize] as usize] = Some(part);
                }
            }
        }
    }
    let rest: Vec<usize> = (0..is_test.len()).filter(|&row| is_test[row].is_none()).collect();
    let (train, test) = train_test_split(rest.len(), 0.1, 0)?.of(&rest);
    for (rows, part) in [(train, false), (test, true)] {
        for row in rows {
            is_test[row] = Some(part);
        }
    }
    let rows = |part: bool| {
        (0..is_test.len() as u32)
            .filter(|&row| is_test[row as usize] == Some(part))
            .collect::<Vec<_>>()
    };
    let (train, test) = (table.take(&rows(false)), table.take(&rows(true)));

    let known: HashSet<String> = train.distinct("Id")?.into_iter().collect();
    let labels = test
        .texts("Id")?
        .into_iter()
        .map(|id| if known.contains(&id) { id } else { NEW.to_owned() });
    let labels: Vec<String> = labels.collect();
    ctx.check(
        labels.iter().any(|label| label == NEW),
        "train.csv",
        "expected a new whale in the test part",
    )?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/test.csv", &test.with("Id", labels)?)?;
    let guess = "new_whale w_1287fbc w_98baff9 w_7554f44 w_1eafe46";
    ctx.write_csv("public/sample_submission.csv", &test.with("Id", guess)?)?;
    let picture =
        |part: &str, name: &str| (format!("train/{name}"), format!("public/{part}/{name}"));
    ctx.copy_all(train.texts("Image")?.iter().map(|name| picture("train", name)))?;
    ctx.copy_all(test.texts("Image")?.iter().map(|name| picture("test", name)))
}
