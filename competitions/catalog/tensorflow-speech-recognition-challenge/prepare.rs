//! Spoken words. 10 % of all clips, background noise included, become the test part under new names
//! that tell nothing.

use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};

const AUDIO: &str = "train.7z/train/audio";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let mut clips = Vec::new();
    for file in ctx.walk(AUDIO)?.into_iter().filter(|file| file.ends_with(".wav")) {
        let mut parts = file.rsplit('/');
        let name = parts.next().unwrap_or_default().to_owned();
        let label = parts.next().unwrap_or("audio").to_owned();
        clips.push((format!("{label}_{name}"), label, name, file));
    }
    clips.sort();
    let (train, test) = train_test_split(clips.len(), 0.1, 0)?.of(&clips);
    let target = |label: &str, name: &str| format!("public/train/audio/{label}/{name}");
    ctx.copy_all(
        train.iter().map(|(_, label, name, file)| (format!("{AUDIO}/{file}"), target(label, name))),
    )?;
    let names: Vec<String> = (0..test.len()).map(|i| format!("clip_{i:08}.wav")).collect();
    let copies = test.iter().zip(&names);
    ctx.copy_all(
        copies.map(|((.., file), new)| {
            (format!("{AUDIO}/{file}"), format!("public/test/audio/{new}"))
        }),
    )?;
    let labels: Vec<String> = test.into_iter().map(|(_, label, ..)| label).collect();
    let answers = Frame::new("answers", names.len()).with("fname", names)?.with("label", labels)?;
    ctx.write_csv("private/test.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("label", "silence")?)
}
