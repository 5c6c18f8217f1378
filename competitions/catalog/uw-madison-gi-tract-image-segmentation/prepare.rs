//! MRI slices of the belly with three organs. 10 % of the patients become the test part; of the
//! other patients all days after the fourth do as well.

use std::collections::{HashMap, HashSet};

use crate::frame::train_test_split;
use crate::prepare::{Prepare, PrepareError};

const FILE: &str = "train.csv";

/// `case123_day20_slice_0001` in parts.
struct Id<'a> {
    case: &'a str,
    day: &'a str,
    slice: &'a str,
}

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let table = ctx.read_csv(FILE)?;
    let texts = table.texts("id")?;
    let ids = texts.iter().map(|id| parsed(ctx, id)).collect::<Result<Vec<_>, _>>()?;
    let (test_cases, test_days) = test_part(ctx, &ids)?;
    let is_test = |id: &Id| test_cases.contains(id.case) || test_days.contains(&(id.case, id.day));
    let rows = |wanted: bool| {
        (0..ids.len() as u32)
            .filter(|&row| is_test(&ids[row as usize]) == wanted)
            .collect::<Vec<_>>()
    };
    let (train_rows, test_rows) = (rows(false), rows(true));
    let test = table.take(&test_rows);
    ctx.write_csv("public/train.csv", &table.take(&train_rows))?;
    ctx.write_csv("public/test.csv", &test.drop(["segmentation"])?)?;
    let test = test.rename("segmentation", "predicted")?;
    ctx.write_csv("public/sample_submission.csv", &test.with("predicted", "1 1 5 2")?)?;

    let sizes = picture_sizes(ctx, test_rows.iter().map(|&row| &ids[row as usize]))?;
    let (widths, heights): (Vec<f64>, Vec<f64>) = sizes.into_iter().unzip();
    ctx.write_csv(
        "private/test.csv",
        &test.with("image_width", widths)?.with("image_height", heights)?,
    )?;

    let mut cases: Vec<&str> = ids.iter().map(|id| id.case).collect();
    cases.sort_unstable();
    cases.dedup();
    for case in cases {
        let files = ctx.walk(&format!("train/{case}"))?;
        ctx.copy_all(files.iter().map(|file| {
            let day = file
                .split('/')
                .next()
                .and_then(|folder| folder.split('_').nth(1))
                .unwrap_or_default();
            let part = if is_test(&Id { case, day, slice: "" }) { "test" } else { "train" };
            (format!("train/{case}/{file}"), format!("public/{part}/{case}/{file}"))
        }))?;
    }
    Ok(())
}

fn parsed<'a>(ctx: &Prepare, id: &'a str) -> Result<Id<'a>, PrepareError> {
    let parts: Vec<&str> = id.split('_').collect();
    match parts[..] {
        [case, day, .., slice] => Ok(Id { case, day, slice }),
        _ => Err(ctx.unexpected(
            FILE,
            format!("expected ids like `case123_day20_slice_0001`, found `{id}`"),
        )),
    }
}

/// The cases that are test as a whole, and the days of others that are.
fn test_part<'a>(
    ctx: &Prepare,
    ids: &[Id<'a>],
) -> Result<(HashSet<&'a str>, HashSet<(&'a str, &'a str)>), PrepareError> {
    let mut cases = Vec::new();
    let mut days: HashMap<&str, HashSet<&str>> = HashMap::new();
    for id in ids {
        if !days.contains_key(id.case) {
            cases.push(id.case);
        }
        days.entry(id.case).or_default().insert(id.day);
    }
    let (train, test) = train_test_split(cases.len(), 0.1, 42)?.of(&cases);
    let number = |day: &str| {
        let number = day.strip_prefix("day").and_then(|digits| digits.parse::<u32>().ok());
        number.ok_or_else(|| {
            ctx.unexpected(FILE, format!("expected days like `day20`, found `{day}`"))
        })
    };
    let mut late = HashSet::new();
    for case in train {
        let mut numbered = days[case]
            .iter()
            .map(|day| Ok((number(day)?, *day)))
            .collect::<Result<Vec<_>, PrepareError>>()?;
        numbered.sort_unstable();
        late.extend(numbered.into_iter().skip(4).map(|(_, day)| (case, day)));
    }
    Ok((test.into_iter().collect(), late))
}

/// Width and height of each slice from the name of its picture, `slice_0001_266_300_1.50_1.50.png`.
fn picture_sizes<'a>(
    ctx: &Prepare,
    ids: impl Iterator<Item = &'a Id<'a>>,
) -> Result<Vec<(f64, f64)>, PrepareError> {
    let mut known: HashMap<String, HashMap<String, Vec<(f64, f64)>>> = HashMap::new();
    let mut sizes = Vec::new();
    for id in ids {
        let folder = format!("train/{0}/{0}_{1}/scans", id.case, id.day);
        if !known.contains_key(&folder) {
            let mut slices: HashMap<String, Vec<(f64, f64)>> = HashMap::new();
            for file in ctx.files(&folder)?.iter().filter(|file| file.ends_with(".png")) {
                if let ["slice", slice, width, height, ..] = file.split('_').collect::<Vec<_>>()[..]
                    && let (Ok(width), Ok(height)) = (width.parse(), height.parse())
                {
                    slices.entry(slice.to_owned()).or_default().push((width, height));
                }
            }
            known.insert(folder.clone(), slices);
        }
        match known[&folder].get(id.slice).map(Vec::as_slice) {
            Some([size]) => sizes.push(*size),
            _ => {
                return Err(ctx.unexpected(
                    &folder,
                    format!("expected one picture `slice_{}_*.png`", id.slice),
                ));
            }
        }
    }
    Ok(sizes)
}
