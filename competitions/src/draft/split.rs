//! How rows are divided, and what is copied: a `[split]` that follows the original one.

use super::Answers;
use super::columns::{Columns, Shape};
use super::decision::{Certainty, Decision, candidate};
use super::roles::Roles;
use crate::spec::split::{
    AnswersTable, CopyFiles, Fill, Guess, GuessRule, Part, SampleTable, SplitMethod, SplitSpec,
    Template, TestSize, TestTable, TrainTable,
};
use crate::survey::{CellKind, ColumnFacts, FileFamily, Survey, TableFacts, TableForm};

const SPLIT: &str = "split";
const METHOD: &str = "split.method";

/// The split, if it can be said, and the decisions about it.
pub(super) fn split_of(
    survey: &Survey,
    roles: &Roles<'_>,
    columns: &Columns,
    answers: &Answers,
) -> (Option<SplitSpec>, Vec<Decision>) {
    if let Shape::Folder { table, class } = &columns.shape {
        return of_folders(table, class, columns, answers);
    }
    let Some(train) = roles.train else {
        return (None, vec![unsaid("no table and no folders hold the answers to examples")]);
    };
    if let Some(problem) = unreadable(train) {
        return (None, vec![unsaid(&problem)]);
    }
    if columns.shape == Shape::Unknown {
        let targets = columns.targets.join("`, `");
        let problem = format!("`{}` has no column from which `{targets}` follow", train.path);
        return (None, vec![unsaid(&problem)]);
    }
    let has_ids = columns.ids.iter().all(|id| train.column(id).is_some());
    let renamed_id = if has_ids { None } else { id_in_train(&columns.ids, train, survey) };
    if !has_ids && renamed_id.is_none() {
        let ids = columns.ids.join("`, `");
        return (
            None,
            vec![unsaid(&format!(
                "`{}` has no column from which the ids `{ids}` follow",
                train.path
            ))],
        );
    }
    let mut split = SplitSpec::of_table(Template::literal(&train.path));
    split.separator = separator(train);
    let mut decisions = Vec::new();
    let method = method(train, roles, columns, answers);
    split.method = method.method;
    split.by = method.by;
    decisions.push(method.decision);
    let size = test_size(train, roles, answers);
    decisions.push(Decision::likely(
        "split.test_size",
        size.to_string(),
        "the share of the original test rows, from a twentieth to a quarter",
    ));
    split.test_size = Some(TestSize::Share(size));
    if let Some(original) = &renamed_id {
        split.answers.rename.insert(original.clone(), columns.ids[0].clone());
    }
    for column in &train.columns {
        // `0012` would come out as `12`.
        let padded = column.first.iter().any(|cell| {
            cell.len() > 1
                && cell.starts_with('0')
                && cell.bytes().all(|byte| byte.is_ascii_digit())
        });
        if column.kind() == CellKind::Int && padded {
            split.types.insert(column.name.clone(), crate::spec::split::ColumnType::Text);
        }
    }
    shape_answers(&mut split, columns, train, renamed_id.as_deref());
    let hidden = hidden(train, roles, columns);
    let shown = train.columns.len() - hidden.len();
    split.train = Some(TrainTable::default());
    if shown > 0 {
        split.test = Some(TestTable { hide: hidden, ..TestTable::default() });
    }
    split.sample = sample(roles, columns, train, renamed_id.as_deref());
    split.copy = copies(survey, roles, train, &mut decisions);
    (Some(split), decisions)
}

pub(super) fn unsaid(problem: &str) -> Decision {
    let candidates = vec![candidate(
        "prepare.command",
        "a program of your own prepares the data (docs/own-competition.md)",
    )];
    Decision::open(SPLIT, candidates, problem)
}

/// Why `[split]` cannot read a table, if it cannot.
fn unreadable(table: &TableFacts) -> Option<String> {
    match table.form {
        TableForm::Csv { utf8: true, .. } => None,
        TableForm::Csv { utf8: false, .. } => Some(format!("`{}` is not UTF-8", table.path)),
        TableForm::JsonList | TableForm::JsonLines | TableForm::Parquet => {
            Some(format!("`{}` is no CSV file, which `[split]` reads", table.path))
        }
    }
}

/// What stands between cells, where `[split]` has to be told.
fn separator(table: &TableFacts) -> Option<char> {
    match table.form {
        TableForm::Csv { separator: b'\t', .. } if table.path.ends_with(".tsv") => None,
        TableForm::Csv { separator, .. } if separator != b',' => Some(char::from(separator)),
        _ => None,
    }
}

/// The column of the train table that holds the ids under another name.
fn id_in_train(ids: &[String], train: &TableFacts, survey: &Survey) -> Option<String> {
    let [_] = ids else { return None };
    let named_after = |column: &&ColumnFacts| {
        column.is_unique()
            && survey.families.iter().any(|family| family.share_named_in(column) > 0.3)
    };
    let by_files = train.columns.iter().find(named_after);
    let first = train.columns.first().filter(|column| column.is_unique() && !column.is_prose());
    by_files.or(first).map(|column| column.name.clone())
}

struct Method {
    method: SplitMethod,
    by: Option<String>,
    decision: Decision,
}

/// How the original parts were divided, as far as the tables tell.
fn method(train: &TableFacts, roles: &Roles<'_>, columns: &Columns, answers: &Answers) -> Method {
    let make = |method: SplitMethod, by: Option<&str>, certainty: Certainty, why: String| {
        let name = match method {
            SplitMethod::Random => "random",
            SplitMethod::Stratified => "stratified",
            SplitMethod::Grouped => "grouped",
            SplitMethod::Time => "time",
            SplitMethod::Given => "given",
        };
        let value = by.map_or_else(|| name.to_owned(), |by| format!("{name} by {by}"));
        Method {
            method,
            by: by.map(str::to_owned),
            decision: Decision::new(METHOD, value, certainty, why),
        }
    };
    if let Some((method, by)) = &answers.method {
        return make(*method, by.as_deref(), Certainty::Sure, "you said so".to_owned());
    }
    if let Some(test) = roles.test {
        for column in &test.columns {
            let Some(known) = train.column(&column.name) else { continue };
            if columns.ids.contains(&column.name) {
                continue;
            }
            if is_later(known, column) {
                return make(
                    SplitMethod::Time,
                    Some(&column.name),
                    Certainty::Likely,
                    format!("all times of `{}` in the test table are later", column.name),
                );
            }
        }
        let groups: Vec<&ColumnFacts> = train
            .columns
            .iter()
            .filter(|column| {
                let (distinct, present) = (column.distinct(), column.present());
                let repeats = distinct >= 20
                    && distinct * 2 <= present
                    && super::columns::is_id_name(&column.name)
                    && matches!(column.kind(), CellKind::Int | CellKind::Text);
                repeats
                    && test.column(&column.name).is_some_and(|other| {
                        other.present() > 0
                            && other.share_in(column) < 0.02
                            && other.distinct() * 2 <= other.present()
                    })
            })
            .collect();
        if let Some(group) = groups.iter().min_by_key(|column| column.distinct()) {
            return make(
                SplitMethod::Grouped,
                Some(&group.name),
                Certainty::Likely,
                format!(
                    "values of `{}` repeat, and none of the test table's is in the train table",
                    group.name
                ),
            );
        }
    }
    let target = columns.in_train().first().and_then(|name| train.column(name));
    if let (Some(target), 1) = (target, columns.in_train().len()) {
        let classes = target.values().filter(|values| values.len() <= 100 && target.missing == 0);
        let is_class =
            target.is_binary() || !matches!(target.kind(), CellKind::Float | CellKind::Date);
        if let Some(values) =
            classes.filter(|values| is_class && values.len() >= 2 && target.is_categorical())
            && values.iter().all(|(_, count)| *count >= 5)
        {
            return make(
                SplitMethod::Stratified,
                Some(&target.name),
                Certainty::Likely,
                format!("`{}` has {} classes of at least five rows", target.name, values.len()),
            );
        }
    }
    let why = match roles.test {
        Some(_) => "no column says otherwise",
        None => "without a test table nothing says otherwise; look for groups and times yourself",
    };
    make(SplitMethod::Random, None, Certainty::Likely, why.to_owned())
}

/// Whether all times of one column are after all of another's.
fn is_later(train: &ColumnFacts, test: &ColumnFacts) -> bool {
    match (&train.text_range, &test.text_range) {
        (Some((_, last)), Some((first, _))) => {
            train.kind() == CellKind::Date
                && test.kind() == CellKind::Date
                && iso(last)
                && iso(first)
                && first > last
        }
        _ => false,
    }
}

/// Whether times in this form sort as texts.
fn iso(time: &str) -> bool {
    time.len() >= 8 && time.as_bytes()[..4].iter().all(u8::is_ascii_digit)
}

fn test_size(train: &TableFacts, roles: &Roles<'_>, answers: &Answers) -> f64 {
    if let Some(size) = answers.test_size {
        return size;
    }
    let original = roles.test.or(roles.sample).map_or(0, |table| table.rows) as f64;
    let share = original / (original + train.rows as f64).max(1.0);
    // A hidden test leaves a few rows to look at, which say nothing of its size.
    if original < 100.0 && share < 0.05 {
        0.1
    } else {
        (share.clamp(0.05, 0.25) * 100.0).round() / 100.0
    }
}

/// The columns that agents must not see in the test part.
fn hidden(train: &TableFacts, roles: &Roles<'_>, columns: &Columns) -> Vec<String> {
    let targets = columns.in_train();
    let shown_originally = |name: &str| roles.test.is_none_or(|test| test.column(name).is_some());
    let is_id = |name: &str| columns.ids.iter().any(|id| id == name);
    train
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| {
            targets.contains(name)
                || !shown_originally(name) && !is_id(name) && !is_first(train, name)
        })
        .map(str::to_owned)
        .collect()
}

/// Whether a column is the one that names rows: the first, with a value of its own in each.
fn is_first(train: &TableFacts, name: &str) -> bool {
    train.columns.first().is_some_and(|first| first.name == name && first.is_unique())
}

fn shape_answers(split: &mut SplitSpec, columns: &Columns, train: &TableFacts, id: Option<&str>) {
    let answers: &mut AnswersTable = &mut split.answers;
    match &columns.shape {
        Shape::OneHot { name, .. } => answers.one_hot = Some(name.clone()),
        Shape::Renamed { from } => {
            answers.rename.insert(from.clone(), columns.targets[0].clone());
        }
        Shape::Same | Shape::Folder { .. } | Shape::Unknown => {}
    }
    let changes = id.is_some() || columns.shape != Shape::Same;
    if !changes && train.columns.len() > columns.ids.len() + columns.targets.len() {
        let kept = columns.ids.iter().chain(&columns.targets);
        answers.columns = Some(kept.cloned().collect());
    }
}

/// A sample submission that knows nothing of the answers.
fn sample(
    roles: &Roles<'_>,
    columns: &Columns,
    train: &TableFacts,
    id: Option<&str>,
) -> SampleTable {
    let guess = |rule: GuessRule| {
        Fill::Guess(Guess { guess: rule, low: None, high: None, decimals: None, seed: None })
    };
    let mut table = SampleTable::default();
    let _ = id;
    for target in &columns.targets {
        let original = roles.sample.and_then(|sample| sample.column(target));
        let fill = match &columns.shape {
            Shape::OneHot { .. } => guess(GuessRule::Uniform),
            _ => {
                let name = match &columns.shape {
                    Shape::Renamed { from } => from.as_str(),
                    _ => target.as_str(),
                };
                original.and_then(constant).unwrap_or_else(|| {
                    match train.column(name).map(ColumnFacts::kind) {
                        Some(CellKind::Float | CellKind::Int)
                            if !train.column(name).is_some_and(ColumnFacts::is_categorical) =>
                        {
                            guess(GuessRule::Mean)
                        }
                        _ => guess(GuessRule::MostFrequent),
                    }
                })
            }
        };
        if matches!(columns.shape, Shape::OneHot { .. }) {
            table.fill.insert("*".to_owned(), fill);
            break;
        }
        table.fill.insert(target.clone(), fill);
    }
    table
}

/// The one value of the original sample submission.
fn constant(column: &ColumnFacts) -> Option<Fill> {
    if column.rows < 2 || !column.is_constant() || column.missing > 0 {
        return None;
    }
    let value = column.first.first()?;
    Some(match column.kind() {
        CellKind::Int => Fill::Int(value.parse().ok()?),
        CellKind::Float => Fill::Float(value.parse().ok()?),
        CellKind::Bool => Fill::Bool(value.eq_ignore_ascii_case("true")),
        _ => Fill::Text(Template::literal(value)),
    })
}

/// The files that belong to rows, and tables that both parts share.
fn copies(
    survey: &Survey,
    roles: &Roles<'_>,
    train: &TableFacts,
    decisions: &mut Vec<Decision>,
) -> Vec<CopyFiles> {
    let mut copies = Vec::new();
    for family in &survey.families {
        let place = family.place.to_ascii_lowercase();
        // Files of the original test rows have no answers; nothing of them is used.
        if place.contains("test") && !place.contains("train") {
            continue;
        }
        let Some(link) = family.link(train) else { continue };
        let Ok(from) = link.pattern.parse::<Template>() else { continue };
        decisions.push(Decision::likely(
            "split.copy",
            link.pattern.clone(),
            format!("{} files, named after `{}`", family.count, link.column),
        ));
        copies.push(CopyFiles {
            from: vec![from],
            to: Some(target_of(family, &link.pattern, &link.column)),
            part: None,
        });
    }
    for table in &survey.tables {
        let is_known = [roles.train, roles.test, roles.sample, roles.solution]
            .into_iter()
            .flatten()
            .chain(roles.rivals.iter().copied())
            .chain(roles.other_samples.iter().copied())
            .any(|known| known.path == table.path);
        let name = table.path.to_ascii_lowercase();
        // What names one of the parts may tell answers; the rest describes what both have.
        let is_neutral = !["test", "train", "solution", "answer", "label", "submission"]
            .iter()
            .any(|word| name.contains(word));
        if !is_known && is_neutral && !table.path.contains('{') {
            copies.push(CopyFiles {
                from: vec![Template::literal(&table.path)],
                to: None,
                part: None,
            });
        }
    }
    copies
}

/// `public/train/1.jpg` and `public/test/1.jpg` for `train_images/1.jpg`.
fn target_of(family: &FileFamily, pattern: &str, column: &str) -> Template {
    let name = match pattern.ends_with('/') {
        true => format!("{{{column}}}/"),
        false => pattern.rsplit('/').next().unwrap_or(pattern).to_owned(),
    };
    let kind = family.place.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let kind = kind
        .replace("train", "")
        .replace(".zip", "")
        .replace(".7z", "")
        .replace(".tar.gz", "")
        .replace(".tar", "");
    let kind = kind.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let folder = if kind.is_empty() { "{part}".to_owned() } else { format!("{{part}}_{kind}") };
    format!("public/{folder}/{name}").parse().unwrap_or_default()
}

fn of_folders(
    table: &Template,
    class: &str,
    columns: &Columns,
    answers: &Answers,
) -> (Option<SplitSpec>, Vec<Decision>) {
    let mut split = SplitSpec::of_table(table.clone());
    split.method = SplitMethod::Stratified;
    split.by = Some(class.to_owned());
    split.test_size = Some(TestSize::Share(answers.test_size.unwrap_or(0.1)));
    split.answers.columns = Some(columns.ids.iter().chain(&columns.targets).cloned().collect());
    let guess =
        Guess { guess: GuessRule::MostFrequent, low: None, high: None, decimals: None, seed: None };
    split.sample.fill.insert(class.to_owned(), Fill::Guess(guess));
    let id = &columns.ids[0];
    let copy = |part: Part, to: String| CopyFiles {
        from: vec![table.clone()],
        to: to.parse().ok(),
        part: Some(part),
    };
    split.copy = vec![
        copy(Part::Train, format!("public/train/{{{class}}}/{{{id}}}")),
        copy(Part::Test, format!("public/test/{{{id}}}")),
    ];
    let decision = Decision::likely(
        METHOD,
        format!("stratified by {class}"),
        "the folders of the files are the classes",
    );
    (Some(split), vec![decision])
}
