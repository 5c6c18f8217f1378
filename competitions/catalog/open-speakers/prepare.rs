//! Utterances of two vowels by nine men, as twelve coefficients of each frame. The source has them speaker by speaker.

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError, opaque_id};

const FOLDER: &str = "aeon/datasets/data/JapaneseVowels";
const COEFFICIENTS: usize = 12;
/// Frames of the longest utterance.
const FRAMES: usize = 29;
const SPEAKERS: i64 = 9;

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let mut rows: Vec<(String, i64, Vec<String>)> = Vec::new();
    for part in ["TRAIN", "TEST"] {
        let file = format!("{FOLDER}/JapaneseVowels_{part}.ts");
        let text = ctx.read_text(&file)?;
        let wrong =
            || ctx.unexpected(&file, "expected 12 series of at most 29 values and a speaker");
        let (_, data) = text.split_once("@data\n").ok_or_else(wrong)?;
        for line in data.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
            let (speaker, cells) = utterance(line).ok_or_else(wrong)?;
            rows.push((opaque_id(&format!("speakers/{line}")), speaker, cells));
        }
    }
    rows.sort();
    let ids: Vec<String> = rows.iter().map(|(id, ..)| id.clone()).collect();
    let speakers: Vec<i64> = rows.iter().map(|(_, speaker, _)| *speaker).collect();
    let mut table =
        Frame::new("utterances", rows.len()).with("id", ids)?.with("speaker", speakers)?;
    for at in 0..COEFFICIENTS * FRAMES {
        let name = format!("c{:02}_f{:02}", at / FRAMES + 1, at % FRAMES + 1);
        let cells: Vec<String> = rows.iter().map(|(.., cells)| cells[at].clone()).collect();
        table = table.with(&name, cells)?;
    }
    let (train, test) = table.train_test_split(0.8, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["speaker"])?)?;
    let (mut sample, mut answers) = (test.select(["id"])?, test.select(["id"])?);
    let spoken = test.ints("speaker")?;
    for speaker in 1..=SPEAKERS {
        let is: Vec<i64> = spoken.iter().map(|&other| i64::from(other == speaker)).collect();
        answers = answers.with(&format!("speaker_{speaker}"), is)?;
        sample = sample.with(&format!("speaker_{speaker}"), 0.1111)?;
    }
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    ctx.write_csv("private/test.csv", &answers)
}

/// The speaker, and a cell for each coefficient and frame; those behind the end are empty.
fn utterance(line: &str) -> Option<(i64, Vec<String>)> {
    let (series, speaker) = line.rsplit_once(':')?;
    let mut cells = Vec::with_capacity(COEFFICIENTS * FRAMES);
    for one in series.split(':') {
        let begin = cells.len();
        cells.extend(one.split(',').map(str::to_owned));
        if cells.len() - begin > FRAMES {
            return None;
        }
        cells.resize(begin + FRAMES, String::new());
    }
    (cells.len() == COEFFICIENTS * FRAMES).then_some((speaker.parse().ok()?, cells))
}
