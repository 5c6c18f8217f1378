//! Which columns name a row and which are to be predicted: found by comparing train, test and sample
//! submission.

mod train;

use super::Answers;
use super::decision::{Certainty, Decision, candidate};
use super::roles::Roles;
use crate::spec::Candidate;
use crate::spec::split::Template;
use crate::survey::{CellKind, ColumnFacts, FileFamily, Survey, TableFacts};

const IDS: &str = "grading.id_columns";
const TARGETS: &str = "grading.target_columns";

/// The columns of a submission, and where their values come from.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// The columns that name a row, in a submission.
    pub ids: Vec<String>,
    /// The columns that are predicted, in a submission.
    pub targets: Vec<String>,
    /// Their decisions.
    pub decisions: Vec<Decision>,
    /// How the answers come out of the train table.
    pub shape: Shape,
}

/// How the values of the target columns come out of the train table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Columns of the same names.
    Same,
    /// One column of another name.
    Renamed { from: String },
    /// A column a class: 1 in that of the row's class.
    OneHot { from: String, name: Template },
    /// The folder of a file.
    Folder { table: Template, class: String },
    /// It is not known.
    Unknown,
}

impl Columns {
    /// The columns of the train table that hold the answers.
    pub(super) fn in_train(&self) -> Vec<&str> {
        match &self.shape {
            Shape::Same => self.targets.iter().map(String::as_str).collect(),
            Shape::Renamed { from } | Shape::OneHot { from, .. } => vec![from],
            Shape::Folder { class, .. } => vec![class],
            Shape::Unknown => Vec::new(),
        }
    }

    /// Decides them.
    pub(super) fn of(survey: &Survey, roles: &Roles<'_>, answers: &Answers) -> Self {
        let mut columns = match roles.sample {
            Some(sample) => of_sample(sample, survey, roles),
            None => train::without_sample(survey, roles),
        };
        columns.take(answers, survey, roles);
        columns
    }

    /// Puts what somebody said in the place of what was found.
    fn take(&mut self, answers: &Answers, survey: &Survey, roles: &Roles<'_>) {
        let said = "you said so";
        if !answers.id.is_empty() {
            self.ids.clone_from(&answers.id);
            self.decide(Decision::sure(IDS, answers.id.join(", "), said));
            let ids = &self.ids;
            if answers.target.is_empty() {
                self.targets.retain(|target| !ids.contains(target));
            }
        }
        if !answers.target.is_empty() {
            self.targets.clone_from(&answers.target);
            self.decide(Decision::sure(TARGETS, answers.target.join(", "), said));
            self.shape = shape_of(&self.targets, survey, roles, &self.ids);
        }
    }

    /// Whether a class is submitted as its name or as a column a class, which only the metric tells
    /// where there is no sample submission.
    pub(super) fn settle(&mut self, roles: &Roles<'_>, metric: Option<&str>) {
        let ([target], Shape::Same | Shape::Renamed { .. }) = (&self.targets[..], &self.shape)
        else {
            return;
        };
        let target = target.clone();
        let Some(column) = roles.train.and_then(|train| train.column(&target)) else { return };
        let is_class = matches!(column.kind(), CellKind::Text | CellKind::Int)
            && column.is_categorical()
            && column.distinct() > 2;
        let Some(values) = column.values().filter(|values| is_class && values.len() <= 1000) else {
            return;
        };
        let classes: Vec<String> = values.iter().map(|(value, _)| (*value).to_owned()).collect();
        let is_label = column.kind() == CellKind::Text;
        match metric {
            Some("log_loss") => {
                if let Ok(name) = format!("{{{target}}}").parse() {
                    self.shape = Shape::OneHot { from: target, name };
                }
                let why = "log loss is read from a column a class";
                self.decide(Decision::likely(TARGETS, classes.join(", "), why));
                self.targets = classes;
            }
            None if is_label => {
                let known = self.decisions.iter().find(|known| known.key == TARGETS);
                if known.is_some_and(|known| known.certainty != Certainty::Likely) {
                    return;
                }
                let candidates = vec![
                    candidate(target, "if the name of the class is submitted"),
                    candidate(classes.join(", "), "if a probability is submitted for each class"),
                ];
                let why = "the metric is open, and with it the form of a submission";
                self.decide(Decision::open(TARGETS, candidates, why));
            }
            _ => {}
        }
    }

    /// Opens what depends on a table that is not decided.
    pub(super) fn doubt(&mut self, why: &str) {
        for decision in &mut self.decisions {
            if decision.certainty == Certainty::Likely {
                let candidates = vec![candidate(decision.value.clone(), decision.evidence.clone())];
                *decision = Decision::open(&decision.key, candidates, why);
            }
        }
    }

    fn decide(&mut self, decision: Decision) {
        match self.decisions.iter_mut().find(|known| known.key == decision.key) {
            Some(known) => *known = decision,
            None => self.decisions.push(decision),
        }
    }
}

/// Words that names of id columns are made of.
pub(super) fn is_id_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    has(&[
        "id", "ids", "key", "uid", "uuid", "index", "idx", "no", "number", "filename", "file",
        "fname", "image", "img", "clip", "row",
    ]) || lower.ends_with("id") && lower.len() <= 20
        || lower.ends_with("uid")
        || name.ends_with("Id")
}

/// Words that names of target columns are made of.
fn is_target_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    words.iter().any(|word| {
        [
            "target", "label", "labels", "class", "y", "score", "outcome", "category", "price",
            "sales", "response", "rating", "answer",
        ]
        .contains(word)
    })
}

fn of_sample(sample: &TableFacts, survey: &Survey, roles: &Roles<'_>) -> Columns {
    let (names, ids) = ids_of_sample(sample, survey, roles);
    let rest: Vec<&str> =
        sample.names().into_iter().filter(|name| !names.iter().any(|id| id == name)).collect();
    // What the test table has is no prediction, unless it has all of them.
    let is_shown = |name: &&str| {
        let shown = roles.test.and_then(|test| test.column(name));
        shown.is_some_and(|shown| {
            sample.column(name).is_some_and(|column| column.share_in(shown) > 0.5)
        })
    };
    let own: Vec<&str> = rest.iter().copied().filter(|name| !is_shown(name)).collect();
    let targets: Vec<String> =
        if own.is_empty() { rest } else { own }.into_iter().map(str::to_owned).collect();
    let shape = shape_of(&targets, survey, roles, &names);
    let file = &sample.path;
    let decision = match (targets.is_empty(), ids.certainty) {
        (true, _) => {
            Decision::open(TARGETS, Vec::new(), format!("`{file}` has no column besides the ids"))
        }
        // Which columns are predicted is as certain as which are not.
        (false, Certainty::Open) => {
            let candidates = ids.candidates.iter().map(|ids| {
                let names: Vec<&str> = ids.value.split(", ").collect();
                let rest: Vec<&str> =
                    sample.names().into_iter().filter(|name| !names.contains(name)).collect();
                candidate(rest.join(", "), format!("if `{}` names a row", ids.value))
            });
            Decision::open(TARGETS, candidates.collect(), "the ids are open")
        }
        (false, certainty) => {
            let evidence = format!("the columns of `{file}` that are no ids");
            Decision::new(TARGETS, targets.join(", "), certainty, evidence)
        }
    };
    Columns { ids: names, targets, decisions: vec![ids, decision], shape }
}

/// The columns of a sample submission that name its rows.
fn ids_of_sample(
    sample: &TableFacts,
    survey: &Survey,
    roles: &Roles<'_>,
) -> (Vec<String>, Decision) {
    let decided = |names: Vec<String>, certainty: Certainty, why: String| {
        let decision = Decision::new(IDS, names.join(", "), certainty, why);
        (names, decision)
    };
    let is_unique = |name: &String| sample.column(name).is_some_and(ColumnFacts::is_unique);
    for other in [roles.test, roles.solution].into_iter().flatten() {
        let shared = |column: &&ColumnFacts| {
            let is_filler = column.is_constant() && column.rows > 1;
            !is_filler && other.column(&column.name).is_some_and(|same| column.share_in(same) > 0.9)
        };
        let known: Vec<String> =
            sample.columns.iter().filter(shared).map(|column| column.name.clone()).collect();
        if known.is_empty() || known.len() == sample.columns.len() {
            continue;
        }
        let unique: Vec<String> = known.iter().filter(|name| is_unique(name)).cloned().collect();
        let why = |names: &[String]| {
            format!(
                "the values in `{}` are those of `{}` in `{}`",
                sample.path,
                names.join("`, `"),
                other.path
            )
        };
        let (names, certainty) = match (&unique[..], known.len()) {
            ([_], 1) => (unique.clone(), Certainty::Sure),
            ([_], _) => (unique.clone(), Certainty::Likely),
            ([first, ..], _) if sample.names().first() == Some(&first.as_str()) => {
                (vec![first.clone()], Certainty::Likely)
            }
            // Several together name a row.
            _ => (known.clone(), Certainty::Likely),
        };
        let why = why(&names);
        return decided(names, certainty, why);
    }
    if let Some((names, certainty, why)) = unique_id(sample, survey, roles) {
        return decided(names, certainty, why);
    }
    let first: Vec<String> = sample.names().into_iter().take(1).map(str::to_owned).collect();
    let is_short = sample.rows < 2 && sample.columns.len() <= 2;
    if is_short && first.first().is_some_and(|name| is_id_name(name)) {
        let why = format!("the first column of `{}`, by its name", sample.path);
        return decided(first, Certainty::Likely, why);
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for column in sample.columns.iter().take(3.min(sample.columns.len().saturating_sub(1))) {
        names.push(&column.name);
        let evidence = match names.len() {
            1 => format!("{} distinct values in {} rows", column.distinct(), column.rows),
            count => format!("if {count} columns name a row together"),
        };
        candidates.push(candidate(names.join(", "), evidence));
    }
    let why = format!("no column of `{}` surely names its rows", sample.path);
    (first, Decision::open(IDS, candidates, why))
}

/// The column of a sample submission whose values all differ, if it is an id.
fn unique_id(
    sample: &TableFacts,
    survey: &Survey,
    roles: &Roles<'_>,
) -> Option<(Vec<String>, Certainty, String)> {
    let column = sample.columns.iter().find(|column| column.is_unique() && !column.is_prose())?;
    let names = vec![column.name.clone()];
    if let Some(family) = survey.families.iter().find(|family| family.share_named_in(column) > 0.5)
    {
        let why = format!("its values are names of files in `{}`", family.place);
        return Some((names, Certainty::Sure, why));
    }
    let in_test = |other: &&ColumnFacts| column.share_in(other) > 0.9 && other.is_unique();
    if let Some(other) = roles.test.iter().flat_map(|test| &test.columns).find(in_test) {
        let why = format!("its values are those of `{}` in the test table", other.name);
        return Some((names, Certainty::Sure, why));
    }
    let is_first = sample.columns.first().is_some_and(|first| first.name == column.name);
    // Few rows differ by chance, and then a second column may be needed to name one.
    let by_chance = sample.rows < 10 && sample.columns.len() > 2;
    let rival = |other: &&ColumnFacts| {
        other.name != column.name
            && (sample.rows < 2 || !other.is_constant())
            && other.kind() == CellKind::Int
    };
    let has_rival = by_chance && sample.columns.iter().any(|other| rival(&other));
    if (is_first || is_id_name(&column.name)) && !has_rival {
        let why = format!("all its values in `{}` differ", sample.path);
        return Some((names, Certainty::Likely, why));
    }
    None
}

/// How the target columns come out of the train table.
fn shape_of(targets: &[String], survey: &Survey, roles: &Roles<'_>, ids: &[String]) -> Shape {
    let Some(train) = roles.train else {
        return folder_shape(targets, survey, ids).unwrap_or(Shape::Unknown);
    };
    if !targets.is_empty() && targets.iter().all(|target| train.column(target).is_some()) {
        return Shape::Same;
    }
    if targets.len() >= 2 {
        return one_hot_shape(targets, train).unwrap_or(Shape::Unknown);
    }
    let in_test = |name: &str| roles.test.is_some_and(|test| test.column(name).is_some());
    let lower = |name: &str| name.to_ascii_lowercase().replace([' ', '-', '_'], "");
    if let Some(target) = targets.first() {
        let same = train.columns.iter().find(|column| lower(&column.name) == lower(target));
        if let Some(column) = same {
            return Shape::Renamed { from: column.name.clone() };
        }
    }
    let is_id = |column: &ColumnFacts| {
        ids.contains(&column.name) || column.is_unique() && column.kind() != CellKind::Float
    };
    let rest: Vec<&ColumnFacts> = train
        .columns
        .iter()
        .filter(|column| !in_test(&column.name) && !is_id(column) && !column.is_constant())
        .collect();
    match rest[..] {
        [only] => Shape::Renamed { from: only.name.clone() },
        _ => folder_shape(targets, survey, ids).unwrap_or(Shape::Unknown),
    }
}

/// Target columns that are named after the values of a column.
fn one_hot_shape(targets: &[String], train: &TableFacts) -> Option<Shape> {
    for column in &train.columns {
        let Some(values) = column.values() else { continue };
        let values: Vec<&str> = values.iter().map(|(value, _)| *value).collect();
        if values.len() < 2 || values.len() > targets.len() || column.is_unique() {
            continue;
        }
        // `Class_1` for the value 1: what all names have before and after the value.
        let first = values.iter().max_by_key(|value| value.len())?;
        let fits = |before: &str, after: &str| {
            values.iter().all(|value| {
                targets.iter().any(|target| *target == format!("{before}{value}{after}"))
            })
        };
        for target in targets {
            for (start, _) in target.match_indices(first) {
                let (before, after) = (&target[..start], &target[start + first.len()..]);
                if fits(before, after) && (values.len() * 2 >= targets.len() || values.len() >= 10)
                {
                    let escaped = |text: &str| text.replace('{', "{{").replace('}', "}}");
                    let name = format!("{}{{{}}}{}", escaped(before), column.name, escaped(after));
                    return Some(Shape::OneHot {
                        from: column.name.clone(),
                        name: name.parse().ok()?,
                    });
                }
            }
        }
    }
    None
}

/// Files in a folder a class, as in `train/cat/1.jpg`.
fn folder_shape(targets: &[String], survey: &Survey, ids: &[String]) -> Option<Shape> {
    let ([target], [id]) = (targets, ids) else { return None };
    let is_train = |family: &&FileFamily| family.place.to_ascii_lowercase().contains("train");
    let family =
        survey.families.iter().filter(is_train).find(|family| family.classes().is_some())?;
    let place = family.place.replace('{', "{{").replace('}', "}}");
    // The sample submission says whether ids are names of files with their ending.
    let table = format!("{place}/{{{target}}}/{{{id}}}");
    Some(Shape::Folder { table: table.parse().ok()?, class: target.clone() })
}

/// Words that names of grades are made of.
pub(super) fn is_grade_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [
        "score",
        "grade",
        "rating",
        "severity",
        "level",
        "diagnosis",
        "stage",
        "rank",
        "sentiment",
        "quality",
    ]
    .iter()
    .any(|word| lower.contains(word))
}
