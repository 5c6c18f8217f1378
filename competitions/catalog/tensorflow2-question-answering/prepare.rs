//! Questions and Wikipedia pages with their answers. The file is split in blocks of a thousand
//! lines, 10 % of each block become the test part; ids are text in what is made.

use rayon::prelude::*;

use crate::formats::{Json, JsonStyle, NumberRules};
use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError, PreparedFile};

const FILE: &str = "simplified-nq-train.jsonl";
const BLOCK: usize = 1000;
const SHOWN: [&str; 4] = ["example_id", "question_text", "document_text", "long_answer_candidates"];

struct Outputs {
    train: PreparedFile,
    public_test: PreparedFile,
    private_test: PreparedFile,
    ids: Vec<String>,
    answers: Vec<String>,
}

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let mut outputs = Outputs {
        train: ctx.create("public/simplified-nq-train.jsonl")?,
        public_test: ctx.create("public/simplified-nq-test.jsonl")?,
        private_test: ctx.create("private/test.jsonl")?,
        ids: Vec::new(),
        answers: Vec::new(),
    };
    let mut block = Vec::with_capacity(BLOCK);
    ctx.each_line(FILE, |line| {
        if !line.trim().is_empty() {
            block.push(line.to_owned());
        }
        if block.len() == BLOCK {
            split_block(&block, &mut outputs)?;
            block.clear();
        }
        Ok(true)
    })?;
    if !block.is_empty() {
        split_block(&block, &mut outputs)?;
    }
    let Outputs { train, public_test, private_test, ids, answers } = outputs;
    for file in [train, public_test, private_test] {
        ctx.finished(file)?;
    }
    let gold =
        Frame::new("gold", ids.len()).with("example_id", ids)?.with("PredictionString", answers)?;
    ctx.write_csv("private/gold_submission.csv", &gold)?;
    ctx.write_csv("public/sample_submission.csv", &gold.with("PredictionString", "")?)
}

fn split_block(lines: &[String], outputs: &mut Outputs) -> Result<(), PrepareError> {
    let split = train_test_split(lines.len(), 0.1, 0)?;
    let train = split.train.par_iter().map(|&row| Ok(line(&parsed(&lines[row as usize])?)));
    for text in train.collect::<Result<Vec<_>, PrepareError>>()? {
        outputs.train.write(text)?;
    }
    for row in split.test {
        let record = parsed(&lines[row as usize])?;
        outputs.private_test.write(line(&record))?;
        let shown = SHOWN.iter().map(|key| Ok((key.to_string(), record.field(key, FILE)?.clone())));
        outputs
            .public_test
            .write(line(&Json::Object(shown.collect::<Result<_, PrepareError>>()?)))?;
        let id = record.text("example_id", FILE)?;
        let (short, long) = answers(&record)?;
        outputs.ids.extend([format!("{id}_short"), format!("{id}_long")]);
        outputs.answers.extend([short, long]);
    }
    Ok(())
}

fn parsed(line: &str) -> Result<Json, PrepareError> {
    let mut record = Json::parse(line.as_bytes(), FILE, NumberRules::Pandas)?;
    if let Some(id) = record.field("example_id", FILE)?.as_int() {
        record.set("example_id", id.to_string());
    }
    Ok(record)
}

fn line(record: &Json) -> String {
    record.dump(JsonStyle::Pandas) + "\n"
}

/// The short and the long answer that the one annotation of a record names; each may be empty.
fn answers(record: &Json) -> Result<(String, String), PrepareError> {
    let unexpected =
        |what: &str| PrepareError::Unexpected { file: FILE.to_owned(), what: what.to_owned() };
    let [annotation] = record.list("annotations", FILE)? else {
        return Err(unexpected("expected one annotation a record"));
    };
    let span = |answer: &Json| {
        let (start, end) = (answer.int("start_token", FILE)?, answer.int("end_token", FILE)?);
        Ok::<_, PrepareError>((start, format!("{start}:{end}")))
    };
    let yes_no = annotation.text("yes_no_answer", FILE)?;
    let short = match annotation.list("short_answers", FILE)?.first() {
        _ if yes_no != "NONE" => yes_no.to_owned(),
        Some(answer) => span(answer)?.1,
        None => String::new(),
    };
    let (start, long) = span(annotation.field("long_answer", FILE)?)?;
    Ok((short, if start == -1 { String::new() } else { long }))
}
