//! Notices of licences as they stand in software, with the licence that each of them means.

use std::collections::{BTreeMap, HashMap};

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError, opaque_id};

const FOLDER: &str = "licensedcode/data/rules";
/// Bytes of a notice.
const LENGTHS: std::ops::RangeInclusive<usize> = 40..=1200;
/// Licences of fewer notices are left out.
const LEAST: usize = 100;
/// How many notices of a licence are taken.
const MOST: usize = 400;

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    // Of equal texts the first is kept, and none if they are said to be different licences.
    let mut groups: HashMap<String, Option<(String, String)>> = HashMap::new();
    for name in ctx.files(FOLDER)? {
        let Some((text, licence)) = notice(&ctx.read_text(&format!("{FOLDER}/{name}"))?) else {
            continue;
        };
        let group =
            groups.entry(text.to_lowercase()).or_insert_with(|| Some((text, licence.clone())));
        if group.as_ref().is_some_and(|(_, known)| *known != licence) {
            *group = None;
        }
    }
    let row =
        |(text, licence): (String, String)| (opaque_id(&format!("licences/{text}")), text, licence);
    let mut rows: Vec<_> = groups.into_values().flatten().map(row).collect();
    rows.sort();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, _, licence) in &rows {
        *counts.entry(licence.clone()).or_default() += 1;
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    rows.retain(|(_, _, licence)| {
        let taken = taken.entry(licence.clone()).or_default();
        *taken += 1;
        counts[licence] >= LEAST && *taken <= MOST
    });
    let column = |of: &dyn Fn(&(String, String, String)) -> &String| {
        rows.iter().map(|row| of(row).clone()).collect::<Vec<String>>()
    };
    let table = Frame::new("notices", rows.len())
        .with("id", column(&|row| &row.0))?
        .with("text", column(&|row| &row.1))?
        .with("licence", column(&|row| &row.2))?;
    let (train, test) = table.train_test_split(0.4, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["licence"])?)?;
    ctx.write_csv("public/sample_submission.csv", &test.select(["id"])?.with("licence", "mit")?)?;
    ctx.write_csv("private/test.csv", &test.select(["id", "licence"])?)
}

/// The text of a rule on one line and its licence, if it is about a single one.
fn notice(rule: &str) -> Option<(String, String)> {
    let rule = rule.replace("\r\n", "\n");
    let (head, body) = rule.strip_prefix("---\n")?.split_once("\n---\n")?;
    let mut named = head.split('\n').filter_map(|line| line.strip_prefix("license_expression: "));
    let (licence, None) = (named.next()?.trim(), named.next()) else { return None };
    let words =
        body.split([' ', '\t', '\r', '\n', '\u{b}', '\u{c}']).filter(|word| !word.is_empty());
    let text = words.collect::<Vec<&str>>().join(" ");
    (!licence.contains(' ') && LENGTHS.contains(&text.len())).then(|| (text, licence.to_owned()))
}
