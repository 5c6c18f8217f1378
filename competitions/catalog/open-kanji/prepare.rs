//! The strokes of each kanji become a picture; the drawing itself would name the radical. Strokes are drawn with sums and
//! products alone, so that every implementation gets the same pixels.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use png::{BitDepth, ColorType, Encoder};
use rayon::prelude::*;
use regex_lite::Regex;

use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError, opaque_id};

macro_rules! pattern {
    ($text:literal) => {
        LazyLock::new(|| Regex::new($text).expect("it is well-formed"))
    };
}

/// Pixels along each side.
const SIDE: usize = 48;
/// How far ink reaches from the middle of a stroke, in pixels.
const RADIUS: f64 = 1.25;
/// Points on each curve of a stroke.
const STEPS: u32 = 16;
/// Units along each side of a drawing.
const UNITS: f64 = 109.0;
/// Radicals of fewer kanji are left out.
const LEAST: usize = 40;

static GROUP: LazyLock<Regex> = pattern!("<g [^>]*>");
static PATH: LazyLock<Regex> = pattern!("<path [^>]*? d=\"([^\"]*)\"");
static COMMAND: LazyLock<Regex> = pattern!("([MmCcSs])([^MmCcSs]*)");
static NUMBER: LazyLock<Regex> = pattern!(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)");

type Point = [f64; 2];

struct Kanji {
    id: String,
    radical: String,
    drawing: String,
}

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let mut found = Vec::new();
    for name in ctx.files("kanji")? {
        let Some(code) = name.strip_suffix(".svg").filter(|code| code.len() == 5) else { continue };
        let is_kanji =
            u32::from_str_radix(code, 16).is_ok_and(|code| (0x4e00..=0x9fff).contains(&code));
        if is_kanji {
            let drawing = ctx.read_text(&format!("kanji/{name}"))?;
            if let Some(radical) = radical_of(&drawing) {
                found.push(Kanji { id: opaque_id(&format!("kanji/{code}")), radical, drawing });
            }
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for kanji in &found {
        *counts.entry(kanji.radical.clone()).or_default() += 1;
    }
    counts.retain(|_, count| *count >= LEAST);
    found.retain(|kanji| counts.contains_key(&kanji.radical));

    let rows: Vec<usize> = (0..found.len()).collect();
    let (train, test) = train_test_split(found.len(), 0.4, 0)?.of(&rows);
    let table = |rows: &[usize]| {
        let ids: Vec<String> = rows.iter().map(|&row| found[row].id.clone()).collect();
        Frame::new("kanji", rows.len()).with("id", ids)
    };
    let radicals: Vec<String> = train.iter().map(|&row| found[row].radical.clone()).collect();
    ctx.write_csv("public/train.csv", &table(&train)?.with("radical", radicals)?)?;
    let (mut sample, mut answers) = (table(&test)?, table(&test)?);
    let share = (1e4 / counts.len() as f64).round() / 1e4;
    for radical in counts.keys() {
        let is = test.iter().map(|&row| i64::from(found[row].radical == *radical));
        answers = answers.with(radical, is.collect::<Vec<i64>>())?;
        sample = sample.with(radical, share)?;
    }
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    ctx.write_csv("private/test.csv", &answers)?;
    let context: &Prepare = ctx;
    let places = train.iter().map(|row| (row, "train")).chain(test.iter().map(|row| (row, "test")));
    places.collect::<Vec<_>>().into_par_iter().try_for_each(|(&row, part)| {
        let kanji = &found[row];
        context.write(&format!("public/{part}/{}.png", kanji.id), picture(&kanji.drawing))
    })
}

/// The radical under which dictionaries have a kanji, in its whole form.
fn radical_of(drawing: &str) -> Option<String> {
    let group = GROUP.find_iter(drawing).map(|group| group.as_str()).find(|group| {
        ["general", "tradit"].iter().any(|by| group.contains(&format!("kvg:radical=\"{by}\"")))
    })?;
    let named = |key: &str| {
        let rest = group.split_once(&format!("{key}=\""))?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    named("kvg:original").or_else(|| named("kvg:element"))
}

/// The points of a stroke: its cubic Bezier curves at regular steps.
fn stroke(path: &str) -> Vec<Point> {
    let (mut points, mut at, mut control) = (Vec::new(), [0.0, 0.0], None::<Point>);
    for command in COMMAND.captures_iter(path) {
        let letter = &command[1];
        let values: Vec<f64> =
            NUMBER.find_iter(&command[2]).filter_map(|text| text.as_str().parse().ok()).collect();
        let pairs: Vec<Point> = values.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
        let size = match letter {
            "M" | "m" => 1,
            "C" | "c" => 3,
            _ => 2,
        };
        for group in pairs.chunks_exact(size) {
            let relative = letter.chars().all(char::is_lowercase);
            let mut group: Vec<Point> = group
                .iter()
                .map(|[x, y]| if relative { [x + at[0], y + at[1]] } else { [*x, *y] })
                .collect();
            if size == 1 {
                (at, control) = (group[0], None);
                continue;
            }
            if size == 2 {
                let mirrored = control.map_or(at, |[x, y]| [2.0 * at[0] - x, 2.0 * at[1] - y]);
                group.insert(0, mirrored);
            }
            for step in 0..=STEPS {
                let t = f64::from(step) / f64::from(STEPS);
                let u = 1.0 - t;
                let (a, b, c, d) = (u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t);
                let on = |k: usize| a * at[k] + b * group[0][k] + c * group[1][k] + d * group[2][k];
                points.push([on(0), on(1)]);
            }
            (control, at) = (Some(group[1]), group[2]);
        }
    }
    points
}

/// The drawing as grey pixels, black on white: a pixel is as dark as it is near to a stroke.
fn pixels(drawing: &str) -> Vec<u8> {
    let scale = SIDE as f64 / UNITS;
    let mut ink = vec![0.0f64; SIDE * SIDE];
    for path in PATH.captures_iter(drawing) {
        let points: Vec<Point> =
            stroke(&path[1]).iter().map(|[x, y]| [x * scale, y * scale]).collect();
        let mut dense: Vec<Point> = points.first().copied().into_iter().collect();
        // Points between the steps, so that long strokes have no gaps.
        for pair in points.windows(2) {
            let middle = |k: usize| (pair[0][k] + pair[1][k]) * 0.5;
            dense.extend([[middle(0), middle(1)], pair[1]]);
        }
        for [x, y] in dense {
            let range =
                |v: f64| ((v - 2.0).max(0.0) as usize)..((v + 3.0).max(0.0) as usize).min(SIDE);
            for row in range(y) {
                for column in range(x) {
                    let (dx, dy) = (column as f64 + 0.5 - x, row as f64 + 0.5 - y);
                    let near = 1.0 - (dx * dx + dy * dy) / (RADIUS * RADIUS);
                    let there = &mut ink[row * SIDE + column];
                    *there = there.max(near);
                }
            }
        }
    }
    ink.iter().map(|ink| 255 - (ink * 255.0).floor() as u8).collect()
}

fn picture(drawing: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, SIDE as u32, SIDE as u32);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a vector takes all bytes");
    writer.write_image_data(&pixels(drawing)).expect("there are as many pixels as announced");
    writer.finish().expect("a vector takes all bytes");
    out
}
