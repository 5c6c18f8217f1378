//! Sentences from which a word was taken. One line in a hundred becomes a test sentence and loses a
//! random word; the lines are only streamed, for there are 30 million.

use crate::prepare::{Prepare, PrepareError};
use crate::rng::RandomState;

const HEADER: &str = "\"id\",\"sentence\"\n";
const TEST_SHARE: f64 = 0.01;

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let total_lines: u64 = ctx.option("total_lines", 30_301_028)?;
    let mut random = RandomState::new(0);
    let mut train = ctx.zip("public/train_v2.txt.zip")?;
    train.start("train_v2.txt")?;
    let mut answers = ctx.create("private/test.csv")?;
    let mut questions = ctx.create("private/sample_submission.csv")?;
    let mut packed = ctx.zip("public/test_v2.txt.zip")?;
    packed.start("test_v2.txt")?;
    answers.write(HEADER)?;
    questions.write(HEADER)?;
    packed.write(HEADER)?;

    let (mut lines, mut id) = (0, 0);
    ctx.each_line("train_v2.txt.zip/train_v2.txt", |line| {
        if lines == total_lines {
            return Ok(false);
        }
        lines += 1;
        // The number is drawn for every line, also for one that is too short.
        let is_chosen = random.uniform() <= TEST_SHARE;
        if !is_chosen || words(line).nth(2).is_none() {
            train.write(line)?;
            return Ok(true);
        }
        let sentence = line.trim_matches(is_blank).replace('"', "\"\"");
        let mut words: Vec<&str> = words(&sentence).collect();
        words.remove(random.randint(1, words.len() as i64 - 1) as usize);
        let question = format!("{id},\"{}\"\n", words.join(" "));
        answers.write(format!("{id},\"{sentence}\"\n"))?;
        questions.write(&question)?;
        packed.write(&question)?;
        id += 1;
        Ok(true)
    })?;
    let found = format!("expected {total_lines} lines, found {lines}; it may be cut short");
    ctx.check(lines == total_lines, "train_v2.txt.zip/train_v2.txt", found)?;
    train.finish()?;
    packed.finish()?;
    ctx.finished(answers)?;
    ctx.finished(questions)
}

/// The words of a text as Python's `split` finds them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// Python also takes the four separators of ASCII for blanks.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
