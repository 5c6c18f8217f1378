//! Requests for a free pizza. The labelled requests are split in the proportion of the original
//! parts; test requests keep only the fields that the original test part shows.

use crate::formats::{Json, JsonStyle};
use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};

const TRAIN: &str = "train.json";
const TEST: &str = "test.json";
/// Names the giver of a pizza, and so tells who got one.
const GIVER: &str = "giver_username_if_known";

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let requests = ctx.read_json(TRAIN)?.into_list(TRAIN)?;
    let original_test = ctx.read_json(TEST)?.into_list(TEST)?;
    let fields = original_test.first().and_then(Json::as_object);
    let fields = fields.ok_or_else(|| ctx.unexpected(TEST, "expected a list of objects"))?;
    let (m, n) = (original_test.len() as f64, requests.len() as f64);
    let (train, test) = train_test_split(requests.len(), m / (n + m), 0)?.of(&requests);
    let hidden = |key: &str| ctx.fixed() && key == GIVER;
    let shown = |request: &Json| {
        let kept = fields.iter().filter(|(key, _)| !hidden(key));
        let kept = kept.map(|(key, _)| Ok((key.clone(), request.field(key, TRAIN)?.clone())));
        Ok(Json::Object(kept.collect::<Result<_, PrepareError>>()?))
    };
    let shown: Vec<Json> = test.iter().map(shown).collect::<Result<_, PrepareError>>()?;
    let mut train = train;
    if ctx.fixed() {
        train.iter_mut().for_each(|request| drop(request.remove(GIVER)));
    }
    for (name, part) in [("train", Json::List(train)), ("test", Json::List(shown))] {
        let text = part.dump(JsonStyle::Indented);
        let mut zip = ctx.zip(&format!("public/{name}.zip"))?;
        zip.add_bytes(&format!("{name}.json"), &text)?;
        zip.finish()?;
        ctx.write(&format!("public/{name}.json"), text)?;
    }
    let ids = test.iter().map(|request| Ok(request.text("request_id", TRAIN)?.to_owned()));
    let received =
        test.iter().map(|request| match request.field("requester_received_pizza", TRAIN)? {
            Json::Bool(received) => Ok(i64::from(*received)),
            _ => Err(ctx
                .unexpected(TRAIN, "expected `true` or `false` under `requester_received_pizza`")),
        });
    let answers = Frame::new("answers", test.len())
        .with("request_id", ids.collect::<Result<Vec<_>, PrepareError>>()?)?
        .with("requester_received_pizza", received.collect::<Result<Vec<_>, PrepareError>>()?)?;
    ctx.write_csv("private/test.csv", &answers)?;
    ctx.write_csv("public/sampleSubmission.csv", &answers.with("requester_received_pizza", 0)?)
}
