//! Recordings of birds with the species to be heard. Of the recordings with published labels 20 %
//! become the test part; all are numbered anew in the order of the original folds.

use std::collections::HashMap;
use std::fmt::Write;

use crate::frame::{Frame, sample_share};
use crate::prepare::{Prepare, PrepareError};

const ESSENTIAL: &str = "mlsp_contest_dataset.zip/mlsp_contest_dataset/essential_data";
const SUPPLEMENTAL: &str = "mlsp_contest_dataset.zip/mlsp_contest_dataset/supplemental_data";
const SPECIES: usize = 19;

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let labelled =
        ctx.read_csv(&format!("{ESSENTIAL}/CVfolds_2.txt"))?.filter("fold", |fold| fold == "0")?;
    let new_ids: HashMap<String, usize> =
        labelled.texts("rec_id")?.into_iter().enumerate().map(|(new, old)| (old, new)).collect();
    let mut is_test = vec![false; labelled.rows()];
    for row in sample_share(labelled.rows(), 0.2, 0) {
        is_test[row as usize] = true;
    }
    let folds = Frame::new("folds", is_test.len())
        .with("rec_id", (0..is_test.len() as i64).collect::<Vec<_>>())?
        .with("fold", is_test.iter().map(|&test| i64::from(test)).collect::<Vec<_>>())?;
    ctx.write_csv("public/essential_data/CVfolds_2.txt", &folds)?;

    let names = ctx.read_csv(&format!("{ESSENTIAL}/rec_id2filename.txt"))?;
    let names = names.filter("rec_id", |id| new_ids.contains_key(id))?;
    let ids: Vec<i64> = names.texts("rec_id")?.iter().map(|id| new_ids[id] as i64).collect();
    ctx.write_csv("public/essential_data/rec_id2filename.txt", &names.with("rec_id", ids)?)?;
    write_labels(ctx, &new_ids, &is_test)?;
    for table in ["histogram_of_segments.txt", "segment_features.txt", "segment_rectangles.txt"] {
        let mut text = "rec_id,[histogram of segment features]\n".to_owned();
        for (id, rest) in kept_lines(ctx, &format!("{SUPPLEMENTAL}/{table}"), &new_ids)? {
            writeln!(text, "{id},{rest}").expect("writing to a string cannot fail");
        }
        ctx.write(&format!("public/supplemental_data/{table}"), text)?;
    }

    let files = names.texts("filename")?;
    let sound = |name: &String| {
        (
            format!("{ESSENTIAL}/src_wavs/{name}.wav"),
            format!("public/essential_data/src_wavs/{name}.wav"),
        )
    };
    ctx.copy_all(files.iter().map(sound))?;
    for folder in [
        "filtered_spectrograms",
        "spectrograms",
        "supervised_segmentation",
        "segmentation_examples",
    ] {
        let target = format!("public/supplemental_data/{folder}");
        ctx.make_folder(&target)?;
        for name in &files {
            let picture = format!("{SUPPLEMENTAL}/{folder}/{name}.bmp");
            // Only some recordings come with an example.
            if folder != "segmentation_examples" || ctx.exists(&picture)? {
                ctx.copy(&picture, &format!("{target}/{name}.bmp"))?;
            }
        }
    }
    for file in ["segment_clusters.bmp", "segment_mosaic.bmp"] {
        ctx.copy(&format!("{SUPPLEMENTAL}/{file}"), &format!("public/supplemental_data/{file}"))?;
    }
    ctx.copy(&format!("{ESSENTIAL}/species_list.txt"), "public/essential_data/species_list.txt")
}

/// Writes the public labels, in which those of test recordings are hidden, the answers and the
/// sample submission.
fn write_labels(
    ctx: &Prepare,
    new_ids: &HashMap<String, usize>,
    is_test: &[bool],
) -> Result<(), PrepareError> {
    let file = format!("{ESSENTIAL}/rec_labels_test_hidden.txt");
    let mut public = "rec_id,[labels]\n".to_owned();
    let (mut ids, mut probabilities) = (Vec::new(), Vec::new());
    for (id, labels) in kept_lines(ctx, &file, new_ids)? {
        let shown = if is_test[id] { "?" } else { labels.as_str() };
        let comma = if shown.is_empty() { "" } else { "," };
        writeln!(public, "{id}{comma}{shown}").expect("writing to a string cannot fail");
        if is_test[id] {
            let species =
                labels.split(',').filter(|label| !label.is_empty()).map(str::parse::<usize>);
            let species: Vec<usize> = species.collect::<Result<_, _>>().map_err(|_| {
                ctx.unexpected(&file, format!("expected species numbers, found `{labels}`"))
            })?;
            ids.extend((0..SPECIES).map(|s| (id * 100 + s) as i64));
            probabilities.extend((0..SPECIES).map(|s| i64::from(species.contains(&s))));
        }
    }
    ctx.write("public/essential_data/rec_labels_test_hidden.txt", public)?;
    let answers =
        Frame::new("answers", ids.len()).with("Id", ids)?.with("Probability", probabilities)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    let test = (0..is_test.len()).filter(|&id| is_test[id]);
    let ids: Vec<i64> =
        test.flat_map(|id| (0..SPECIES).map(move |s| (id * 100 + s) as i64)).collect();
    ctx.check(ids.len() == answers.rows(), &file, "expected a line for every test recording")?;
    let sample = Frame::new("sample", ids.len()).with("Id", ids)?.with("Probability", 0)?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}

/// The lines of kept recordings below the header, as new id and the rest behind the first comma.
fn kept_lines(
    ctx: &Prepare,
    file: &str,
    new_ids: &HashMap<String, usize>,
) -> Result<Vec<(usize, String)>, PrepareError> {
    let text = ctx.read_text(file)?;
    let lines = text.lines().skip(1).map(|line| line.split_once(',').unwrap_or((line, "")));
    let kept = lines.filter_map(|(id, rest)| Some((*new_ids.get(id.trim())?, rest.to_owned())));
    Ok(kept.collect())
}
