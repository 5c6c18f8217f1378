//! Stained pages and their clean versions. 20 % of the pages become the test part; the answers are
//! the grey value of every pixel.

use std::io::Write;

use crate::formats::{GreyImage, read_grey_png};
use crate::frame::{Value, train_test_split};
use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let names = ctx.files("train.zip/train")?;
    let (train, mut test) = train_test_split(names.len(), 0.2, 0)?.of(&names);
    let noisy = |part: &str, name: &str| {
        (format!("train.zip/train/{name}"), format!("public/{part}/{name}"))
    };
    ctx.copy_all(train.iter().map(|name| noisy("train", name)))?;
    ctx.copy_all(test.iter().map(|name| noisy("test", name)))?;
    let clean = |name: &str| format!("train_cleaned.zip/train_cleaned/{name}");
    ctx.copy_all(train.iter().map(|name| (clean(name), format!("public/train_cleaned/{name}"))))?;

    test.sort();
    let mut answers = ctx.create("private/answers.csv")?;
    let mut sample = ctx.create("public/sampleSubmission.csv")?;
    answers.write("id,value\n")?;
    sample.write("id,value\n")?;
    let shades: Vec<String> =
        (0..=255u8).map(|grey| Value::Float(f64::from(grey) / 255.0).to_string()).collect();
    for name in &test {
        let file = clean(name);
        let GreyImage { width, pixels, .. } = read_grey_png(&ctx.read(&file)?, &file)?;
        let page = name.trim_end_matches(".png");
        let (mut values, mut ones) = (Vec::new(), Vec::new());
        for (row, line) in pixels.chunks(width).enumerate() {
            for (column, &grey) in line.iter().enumerate() {
                let (row, column) = (row + 1, column + 1);
                writeln!(values, "{page}_{row}_{column},{}", shades[usize::from(grey)])
                    .expect("memory takes it");
                writeln!(ones, "{page}_{row}_{column},1").expect("memory takes it");
            }
        }
        answers.write(values)?;
        sample.write(ones)?;
    }
    ctx.finished(answers)?;
    ctx.finished(sample)
}
