//! Whole fields are for training or for the test: single pixels drawn at random would be given away by their neighbours, which
//! show the same field.

use std::collections::BTreeMap;

use crate::formats::NpyArray;
use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError, opaque_id};

const FOLDER: &str = "tensorly/datasets/data";

/// A labelled pixel: its id, row, column and cover, and whether it is a test pixel.
type Pixel = (String, i64, i64, i64, bool);

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let file = format!("{FOLDER}/Indian_pines_gt.npy");
    let truth = NpyArray::parse(&ctx.read(&file)?, &file)?;
    let &[_, width] = truth.shape() else {
        return Err(ctx.unexpected(&file, "expected two axes"));
    };
    let covers = truth.ints()?;
    let mut pixels: Vec<Pixel> = Vec::new();
    for (cover, mut fields) in fields(&covers, width) {
        if fields.len() < 2 {
            continue;
        }
        fields.sort_by_key(|field| (std::cmp::Reverse(field.len()), field.iter().copied().min()));
        for (rank, field) in fields.iter().enumerate() {
            pixels.extend(field.iter().map(|at| {
                let (row, column) = (at / width, at % width);
                let id = opaque_id(&format!("landcover/{row}/{column}"));
                (id, row as i64, column as i64, cover, rank % 2 == 1)
            }));
        }
    }
    pixels.sort();
    let (test, train): (Vec<Pixel>, Vec<Pixel>) = pixels.into_iter().partition(|pixel| pixel.4);
    let (train, test) = (table(&train)?, table(&test)?);
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["cover"])?)?;
    ctx.write_csv("public/sample_submission.csv", &test.select(["id"])?.with("cover", 11)?)?;
    ctx.write_csv("private/test.csv", &test.select(["id", "cover"])?)?;
    ctx.copy(&format!("{FOLDER}/Indian_pines_corrected.npy"), "public/scene.npy")
}

fn table(pixels: &[Pixel]) -> Result<Frame, PrepareError> {
    let ids: Vec<String> = pixels.iter().map(|pixel| pixel.0.clone()).collect();
    let ints = |of: &dyn Fn(&Pixel) -> i64| pixels.iter().map(of).collect::<Vec<i64>>();
    Ok(Frame::new("pixels", pixels.len())
        .with("id", ids)?
        .with("row", ints(&|pixel| pixel.1))?
        .with("column", ints(&|pixel| pixel.2))?
        .with("cover", ints(&|pixel| pixel.3))?)
}

/// The fields of each cover: pixels that hang together by their sides, as indices in rows.
fn fields(covers: &[i64], width: usize) -> BTreeMap<i64, Vec<Vec<usize>>> {
    let mut fields: BTreeMap<i64, Vec<Vec<usize>>> = BTreeMap::new();
    let mut seen = vec![false; covers.len()];
    for start in 0..covers.len() {
        if covers[start] == 0 || seen[start] {
            continue;
        }
        seen[start] = true;
        let (mut field, mut next) = (vec![start], 0);
        while let Some(&at) = field.get(next) {
            next += 1;
            let beside = [
                (at % width > 0).then(|| at.wrapping_sub(1)),
                (at % width + 1 < width).then_some(at + 1),
                at.checked_sub(width),
                Some(at + width),
            ];
            for near in beside.into_iter().flatten() {
                if covers.get(near) == Some(&covers[start]) && !seen[near] {
                    seen[near] = true;
                    field.push(near);
                }
            }
        }
        fields.entry(covers[start]).or_default().push(field);
    }
    fields
}
