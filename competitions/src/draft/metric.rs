//! How submissions are scored: by Kaggle's name of the metric where there is one, else what the
//! shapes of sample submission and target allow.

use std::collections::BTreeMap;

use medalist_grading::{Check, Direction, GradingSpec, Metric};

use super::Answers;
use super::columns::{Columns, Shape};
use super::decision::{Certainty, Decision, candidate};
use super::roles::Roles;
use crate::metric_names::{KaggleMetric, kaggle_metric, kaggle_metrics};
use crate::spec::Candidate;
use crate::survey::{CellKind, ColumnFacts, Survey};

const METRIC: &str = "grading.metric";
const DIRECTION: &str = "grading.direction";

/// The metric with its options.
#[derive(Clone, Debug)]
pub(super) struct Scoring {
    /// Ours.
    pub metric: &'static Metric,
    /// Which scores are better.
    pub direction: Direction,
    /// Its options, as far as they are known.
    pub options: BTreeMap<String, toml::Value>,
    /// The decisions.
    pub decisions: Vec<Decision>,
}

impl Scoring {
    /// Decides the metric. `on_kaggle` is the evaluation name of the competition's page.
    pub(super) fn of(
        survey: &Survey,
        roles: &Roles<'_>,
        columns: &Columns,
        answers: &Answers,
        on_kaggle: Option<&str>,
    ) -> Self {
        let mut scoring = match (&answers.metric, on_kaggle) {
            (Some(name), _) => Self::named(name, "you said so", Certainty::Sure),
            (None, Some(name)) => {
                Self::named(name, &format!("Kaggle calls it `{name}`"), Certainty::Sure)
            }
            (None, None) => {
                Self::described(survey).unwrap_or_else(|| Self::by_shape(roles, columns))
            }
        };
        scoring.options.extend(answers.options.clone());
        scoring.ask_for_options();
        if let Some(direction) = answers.direction {
            scoring.direction = direction;
            scoring.decisions.push(Decision::sure(DIRECTION, word(direction), "you said so"));
        } else {
            let metric = scoring.metric.name;
            let certainty = scoring.decisions[0].certainty;
            let evidence = format!("that is how `{metric}` is read");
            // An open metric takes its direction with it: one question, not two.
            scoring.decisions.push(Decision::new(
                DIRECTION,
                word(scoring.direction),
                certainty.min(Certainty::Likely),
                evidence,
            ));
        }
        scoring
    }

    /// The metric of a name: ours, or Kaggle's.
    fn named(name: &str, why: &str, certainty: Certainty) -> Self {
        if let Some(metric) = Metric::find(name) {
            return Self::known(metric, direction_of(metric), BTreeMap::new(), why, certainty);
        }
        match kaggle_metric(name) {
            Ok(known) => Self::of_kaggle(&known, name, why, certainty),
            Err(unknown) => {
                let nearest = unknown.nearest.iter().filter_map(|near| kaggle_metric(near).ok());
                let candidates: Vec<Candidate> = nearest
                    .filter_map(|near| {
                        let metric = near.metric.clone()?;
                        Some(candidate(
                            metric,
                            format!("Kaggle's `{}` has a similar name", near.names[0]),
                        ))
                    })
                    .collect();
                Self::program(format!("{why}, but no metric of that name is known"), candidates)
            }
        }
    }

    fn of_kaggle(known: &KaggleMetric, name: &str, why: &str, certainty: Certainty) -> Self {
        match known.ours() {
            Some(metric) => {
                let note =
                    if known.note.is_empty() { String::new() } else { format!("; {}", known.note) };
                Self::known(
                    metric,
                    known.direction,
                    known.options.clone(),
                    &format!("{why}{note}"),
                    certainty,
                )
            }
            None => {
                let mut scoring = Self::program(
                    format!("`{name}` is not in the catalogue: {}", known.note),
                    Vec::new(),
                );
                scoring.direction = known.direction;
                scoring
            }
        }
    }

    fn known(
        metric: &'static Metric,
        direction: Direction,
        options: BTreeMap<String, toml::Value>,
        why: &str,
        certainty: Certainty,
    ) -> Self {
        let decisions = vec![Decision::new(METRIC, metric.name, certainty, why)];
        Self { metric, direction, options, decisions }
    }

    /// A metric that somebody must write, or choose among candidates.
    fn program(why: String, mut candidates: Vec<Candidate>) -> Self {
        candidates.dedup_by(|a, b| a.value == b.value);
        candidates.push(candidate(
            "command",
            "a program of your own computes the score (docs/own-competition.md)",
        ));
        let first = Metric::find(&candidates[0].value)
            .unwrap_or(&medalist_grading::metrics::command::COMMAND);
        let decision = Decision::open(METRIC, candidates, why);
        Self {
            metric: first,
            direction: direction_of(first),
            options: BTreeMap::new(),
            decisions: vec![decision],
        }
    }

    /// The metric that a text beside the data names, if it names one.
    fn described(survey: &Survey) -> Option<Self> {
        for (path, text) in &survey.descriptions {
            let found = names_in(text);
            let metrics: std::collections::BTreeSet<Option<&str>> =
                found.iter().map(|known| known.metric.as_deref()).collect();
            match (&found[..], metrics.len()) {
                ([known, ..], 1) => {
                    let why = format!("`{path}` names `{}`", known.names[0]);
                    return Some(Self::of_kaggle(known, &known.names[0], &why, Certainty::Likely));
                }
                ([_, _, ..], _) => {
                    let candidates: Vec<Candidate> = found
                        .iter()
                        .filter_map(|known| {
                            Some(candidate(
                                known.metric.clone()?,
                                format!("`{path}` names `{}`", known.names[0]),
                            ))
                        })
                        .collect();
                    return Some(Self::program(
                        format!("`{path}` names several metrics"),
                        candidates,
                    ));
                }
                _ => {}
            }
        }
        None
    }

    /// What the shapes of target and sample submission allow.
    fn by_shape(roles: &Roles<'_>, columns: &Columns) -> Self {
        let shape = Seen::of(roles, columns);
        let candidates = shape.candidates();
        match &candidates[..] {
            [(first, why), ..] if shape.is_one_hot && shape.sample_is_share => {
                // A column a class, filled with shares: nothing but log loss is common.
                let metric =
                    Metric::find(first).expect("the candidates are metrics of the catalogue");
                Self::known(metric, direction_of(metric), BTreeMap::new(), why, Certainty::Likely)
            }
            _ => {
                let listed =
                    candidates.iter().map(|(name, why)| candidate(*name, why.clone())).collect();
                let mut scoring = Self::program(
                    "nothing beside the data says how submissions are scored".to_owned(),
                    listed,
                );
                if scoring.metric.name == "map_at_k" && shape.guesses > 0 {
                    scoring
                        .options
                        .insert("k".to_owned(), toml::Value::Integer(shape.guesses as i64));
                }
                if scoring.metric.name == "f_beta" {
                    scoring.options.insert("average".to_owned(), "macro".into());
                }
                scoring
            }
        }
    }

    /// Asks for the options that a decided metric needs and nothing tells.
    fn ask_for_options(&mut self) {
        if self.metric.name == "command" && !self.options.contains_key("command") {
            // So that the entry can be read; the open metric keeps it from being used.
            let placeholder = ["sh", "grade.sh"].map(|word| toml::Value::String(word.to_owned()));
            self.options.insert("command".to_owned(), toml::Value::Array(placeholder.into()));
        }
        let needed: Vec<&'static str> = self
            .metric
            .options
            .iter()
            .filter(|option| option.required && !self.options.contains_key(option.name))
            .map(|option| option.name)
            .collect();
        let asked = kaggle_metrics()
            .iter()
            .filter(|known| known.metric.as_deref() == Some(self.metric.name));
        let beta = asked.flat_map(|known| &known.asks).any(|ask| ask == "beta")
            && self.decisions[0].evidence.to_lowercase().contains("beta");
        for option in needed {
            let doc = self
                .metric
                .options
                .iter()
                .find(|known| known.name == option)
                .map_or("", |known| known.doc);
            let key = format!("grading.options.{option}");
            self.decisions.push(Decision::open(
                &key,
                Vec::new(),
                format!("`{}` needs it: {doc}", self.metric.name),
            ));
            self.options.insert(option.to_owned(), placeholder(self.metric, option));
        }
        if beta
            && !self.options.contains_key("beta")
            && self.metric.options.iter().any(|option| option.name == "beta")
        {
            let candidates = vec![
                candidate("2.0", "the usual value of this metric on Kaggle"),
                candidate("1.0", "then it is F1"),
                candidate("0.5", "precision counts more"),
            ];
            self.options.insert("beta".to_owned(), toml::Value::Float(2.0));
            self.decisions.push(Decision::open(
                "grading.options.beta",
                candidates,
                "the metric's name does not tell its beta",
            ));
        }
    }

    /// The checks that fit the metric, for columns whose rows are named by ids.
    pub(super) fn checks(&self, spec: &mut GradingSpec) {
        let name = self.metric.name;
        let mut checks = vec![Check::IdColumns, Check::TargetColumns, Check::RowCount];
        let is_share = matches!(name, "log_loss" | "columnwise_log_loss" | "probabilistic_f1");
        let is_number = is_share
            || matches!(
                name,
                "roc_auc"
                    | "average_precision"
                    | "rmse"
                    | "mae"
                    | "rmsle"
                    | "mse"
                    | "msle"
                    | "mape"
                    | "smape"
                    | "rmspe"
                    | "r2"
                    | "median_absolute_error"
                    | "pinball_loss"
                    | "weighted_mae"
                    | "weighted_rmse"
                    | "gini"
                    | "normalized_gini"
                    | "pearsonr"
                    | "spearman"
                    | "lwlrap"
            );
        if is_number {
            checks.extend([Check::Numeric, Check::Finite]);
        }
        if is_share {
            checks.push(Check::Range);
            spec.range = Some([0.0, 1.0]);
        }
        if name == "log_loss" && spec.target_columns.len() > 1 {
            checks.push(Check::RowSum);
            spec.row_sum_tolerance = Some(1e-3);
        }
        checks.extend([Check::UniqueIds, Check::Ids]);
        spec.checks = checks;
    }
}

fn word(direction: Direction) -> &'static str {
    if direction.is_lower_better() { "lower" } else { "higher" }
}

/// A value of the right type for an option that is still asked for.
fn placeholder(metric: &Metric, option: &str) -> toml::Value {
    use medalist_grading::metrics::OptionKind;
    let kind = metric.options.iter().find(|known| known.name == option).map(|known| known.kind);
    match kind {
        Some(OptionKind::Integer) => toml::Value::Integer(5),
        Some(OptionKind::Number) => toml::Value::Float(0.5),
        Some(OptionKind::Flag) => toml::Value::Boolean(false),
        Some(OptionKind::Numbers) => {
            toml::Value::Array(vec![toml::Value::Float(0.0), toml::Value::Float(1.0)])
        }
        Some(OptionKind::Texts) => toml::Value::Array(vec!["?".into()]),
        Some(OptionKind::Text) | None => "?".into(),
    }
}

/// Which scores of a metric are better.
pub(super) fn direction_of(metric: &Metric) -> Direction {
    let known = kaggle_metrics().iter().find(|known| known.metric.as_deref() == Some(metric.name));
    known.map_or(Direction::Higher, |known| known.direction)
}

/// The metrics that a text names in full, longest names first; each row of the list once.
fn names_in(text: &str) -> Vec<KaggleMetric> {
    let plain = |text: &str| -> String {
        let mut plain = String::with_capacity(text.len() + 2);
        plain.push(' ');
        for c in text.to_lowercase().chars() {
            match c.is_alphanumeric() || c == '@' {
                true => plain.push(c),
                false if !plain.ends_with(' ') => plain.push(' '),
                false => {}
            }
        }
        plain.push(' ');
        plain
    };
    let mut text = plain(text);
    let mut names: Vec<(String, usize)> = Vec::new();
    for (row, known) in kaggle_metrics().iter().enumerate() {
        for name in &known.names {
            // Short words such as `AP` and `Score` stand in any text.
            if name.chars().filter(|c| c.is_alphanumeric()).count() >= 4
                || matches!(name.as_str(), "RMSE" | "MAE" | "AUC" | "MSE" | "RMSLE")
            {
                if !matches!(
                    name.as_str(),
                    "Score"
                        | "Custom"
                        | "Kappa"
                        | "Gini"
                        | "Dice"
                        | "Football"
                        | "football"
                        | "Halite"
                        | "halite"
                        | "Accuracy"
                ) {
                    names.push((plain(name), row));
                }
            }
        }
    }
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut found: Vec<usize> = Vec::new();
    for (name, row) in names {
        if text.contains(&name) {
            // A longer name contains shorter ones, which are then not meant.
            text = text.replace(&name, " # ");
            if !found.contains(&row) {
                found.push(row);
            }
        }
    }
    if found.is_empty() && text.contains(" accuracy ") {
        return kaggle_metric("Accuracy").ok().into_iter().collect();
    }
    found.into_iter().map(|row| kaggle_metrics()[row].clone()).collect()
}

/// What the tables show of the target and of the sample submission.
struct Seen<'t> {
    truth: Option<&'t ColumnFacts>,
    sample: Option<&'t ColumnFacts>,
    targets: usize,
    is_one_hot: bool,
    all_binary: bool,
    all_numbers: bool,
    /// The sample submission holds shares between 0 and 1 that are not all 0 or 1.
    sample_is_share: bool,
    /// Words in each cell of the sample submission, if all have the same number above one.
    guesses: usize,
}

impl<'t> Seen<'t> {
    fn of(roles: &Roles<'t>, columns: &Columns) -> Self {
        let names = columns.in_train();
        let truth = |name: &str| roles.train.and_then(|train| train.column(name));
        let truths: Vec<&ColumnFacts> = names.iter().filter_map(|name| truth(name)).collect();
        let samples: Vec<&ColumnFacts> = columns
            .targets
            .iter()
            .filter_map(|name| roles.sample.and_then(|sample| sample.column(name)))
            .collect();
        let is_number =
            |column: &ColumnFacts| matches!(column.kind(), CellKind::Int | CellKind::Float);
        let is_share = |column: &ColumnFacts| {
            is_number(column)
                && column.low >= 0.0
                && column.high <= 1.0
                && column.floats > column.whole_floats
        };
        let guesses = samples.first().map_or(0, |sample| {
            let mut counts = sample.first.iter().map(|cell| cell.split_whitespace().count());
            let first = counts.next().unwrap_or(0);
            if first > 1 && counts.all(|count| count == first) { first } else { 0 }
        });
        Self {
            truth: truths.first().copied(),
            sample: samples.first().copied(),
            targets: columns.targets.len(),
            is_one_hot: matches!(columns.shape, Shape::OneHot { .. }),
            all_binary: !truths.is_empty() && truths.iter().all(|column| column.is_binary()),
            all_numbers: !truths.is_empty() && truths.iter().all(|column| is_number(column)),
            sample_is_share: !samples.is_empty() && samples.iter().all(|column| is_share(column)),
            guesses,
        }
    }

    /// Metrics that fit, the likeliest first.
    fn candidates(&self) -> Vec<(&'static str, String)> {
        let of = |list: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            list.iter().map(|(name, why)| (*name, (*why).to_owned())).collect()
        };
        if self.is_one_hot {
            return of(&[
                ("log_loss", "a column a class, to be filled with probabilities"),
                ("roc_auc", "also read from a column a class"),
            ]);
        }
        if self.targets > 1 {
            return match (self.all_binary, self.all_numbers) {
                (true, _) => of(&[
                    (
                        "roc_auc",
                        "several columns of 0 and 1: the mean over columns is the most common",
                    ),
                    ("columnwise_log_loss", "the log loss of each column"),
                    ("log_loss", "if one column alone is 1 in each row"),
                    ("average_precision", "if positives are rare"),
                ]),
                (false, true) => of(&[
                    (
                        "rmse",
                        "several columns of numbers: the mean over columns is the most common",
                    ),
                    ("mae", "the mean absolute error of each column"),
                    ("rmsle", "if no value is negative and large ones should not dominate"),
                    ("spearman", "if only the order counts"),
                    ("kl_divergence", "if the columns are votes, or shares of a whole"),
                ]),
                _ => of(&[
                    ("f_beta", "several columns of labels"),
                    ("accuracy", "several columns of labels"),
                ]),
            };
        }
        match self.truth.map(|truth| (truth, truth.kind())) {
            Some((truth, _)) if truth.is_binary() => self.of_two_classes(truth),
            Some((truth, CellKind::Int | CellKind::Float)) => self.of_numbers(truth),
            Some((truth, _)) => self.of_texts(truth),
            None => self.of_sample(),
        }
    }

    fn of_two_classes(&self, truth: &ColumnFacts) -> Vec<(&'static str, String)> {
        let words = truth.kind() == CellKind::Bool
            && self.sample.is_none_or(|sample| sample.kind() == CellKind::Bool);
        let ranked = (
            "roc_auc",
            if self.sample_is_share {
                "two classes, and shares in the sample submission"
            } else {
                "two classes: the most common metric for them"
            },
        );
        let loss = ("log_loss", "two classes, if the probabilities themselves count");
        let right = (
            "accuracy",
            if words {
                "the answers are the words true and false"
            } else {
                "if 0 or 1 is to be submitted"
            },
        );
        let list: Vec<(&'static str, &str)> = if words && !self.sample_is_share {
            vec![right, ranked, ("f_beta", "if the positive class is rare"), loss]
        } else {
            vec![
                ranked,
                loss,
                right,
                ("f_beta", "if 0 or 1 is submitted and positives are rare"),
                ("matthews_corrcoef", "if 0 or 1 is submitted and both classes count"),
                ("average_precision", "if positives are rare"),
                ("probabilistic_f1", "F1 of probabilities"),
            ]
        };
        list.into_iter().map(|(name, why)| (name, why.to_owned())).collect()
    }

    fn of_numbers(&self, truth: &ColumnFacts) -> Vec<(&'static str, String)> {
        let levels = truth.distinct();
        let shares = truth.low >= 0.0 && truth.high <= 1.0;
        let is_whole = truth.kind() == CellKind::Int || truth.whole_floats == truth.floats;
        let mut list: Vec<(&'static str, &str)> = Vec::new();
        let errors = [
            ("rmse", "numbers: the most common metric for them"),
            ("mae", "numbers"),
            ("r2", "numbers"),
        ];
        if shares && !is_whole && levels <= 20 {
            list.push((
                "pearsonr",
                "a few grades between 0 and 1 are judgements, which correlations compare",
            ));
            list.push(("spearman", "if only their order counts"));
            list.extend(errors);
        } else if is_whole && levels <= 12 && truth.present() > 4 * levels {
            let is_grade = truth.low >= 0.0
                && truth.high <= 12.0
                && super::columns::is_grade_name(&truth.name);
            if is_grade {
                list.push((
                    "quadratic_weighted_kappa",
                    "a few whole numbers in order, named like grades",
                ));
            }
            list.push(("accuracy", "a few whole numbers may be classes"));
            list.push(("f_beta", "classes, if the rare ones count as much"));
            list.push(("quadratic_weighted_kappa", "if the numbers are grades"));
            list.extend(errors);
        } else if is_whole
            && levels <= 1000
            && truth.present() > 4 * levels
            && self.looks_like_code()
        {
            list.extend([
                ("accuracy", "many whole numbers that may be classes"),
                ("f_beta", "classes, if the rare ones count as much"),
            ]);
            list.extend(errors);
        } else {
            if self.looks_like_code() && is_whole {
                list.push(("accuracy", "whole numbers, named like classes"));
            }
            list.extend(errors);
            if truth.low >= 0.0 {
                list.push(("rmsle", "no value is negative, if large ones should not dominate"));
                list.push(("smape", "no value is negative, if errors are shares"));
            }
        }
        if self.guesses > 1 {
            list.insert(0, ("map_at_k", "the sample submission has several guesses a row"));
        }
        list.dedup_by(|a, b| a.0 == b.0);
        list.into_iter().map(|(name, why)| (name, why.to_owned())).collect()
    }

    /// Whether the target is named like the number of a class.
    fn looks_like_code(&self) -> bool {
        self.truth.is_some_and(|truth| {
            let name = truth.name.to_ascii_lowercase();
            ["id", "class", "category", "label", "type", "code"]
                .iter()
                .any(|word| name.contains(word))
        })
    }

    fn of_texts(&self, truth: &ColumnFacts) -> Vec<(&'static str, String)> {
        let cells = || truth.first.iter().filter(|cell| !cell.is_empty());
        let words = |cell: &str| cell.split_whitespace().count();
        let is_boxes = cells().next().is_some()
            && cells().all(|cell| {
                let tokens: Vec<&str> = cell.split_whitespace().collect();
                tokens.len() % 6 == 0
                    && tokens
                        .chunks(6)
                        .all(|chunk| chunk[1..].iter().all(|t| t.parse::<f64>().is_ok()))
            });
        let list: Vec<(&'static str, &str)> = if is_boxes {
            vec![
                ("labelled_box_map", "cells are lists of a label and five numbers: boxes"),
                ("coco_box_map", "boxes, by COCO's rules"),
            ]
        } else if truth.number_lists * 2 > truth.present()
            && cells().all(|cell| words(cell) % 2 == 0)
        {
            vec![
                ("dice", "cells are pairs of whole numbers: masks as run lengths"),
                ("mask_iou_precision", "masks, if matched ones count"),
                ("mask_f_beta", "masks, if precision counts more"),
                ("dice_hausdorff", "masks of slices"),
            ]
        } else if self.guesses > 1 {
            vec![
                ("map_at_k", "the sample submission has several guesses a row"),
                ("f1_micro_label_sets", "lists of labels, if their order does not count"),
                ("mean_f_beta_sets", "lists of labels, row by row"),
            ]
        } else if truth.is_prose() {
            vec![
                ("levenshtein", "the answers are texts"),
                ("word_jaccard", "texts, word by word"),
                ("text_accuracy", "if a text must be right as a whole"),
                ("f1_micro_label_sets", "if the words are labels"),
            ]
        } else if truth.spaced * 4 > truth.present() && truth.distinct() * 20 > truth.present() {
            vec![
                ("f1_micro_label_sets", "cells are lists of labels"),
                ("mean_f_beta_sets", "lists of labels, row by row"),
                ("map_at_k", "if guesses are in order"),
                ("accuracy", "if a cell is one label"),
            ]
        } else if self.sample_is_share {
            vec![
                ("log_loss", "classes, and shares in the sample submission"),
                ("roc_auc", "classes, if the order counts"),
            ]
        } else if truth.is_categorical() {
            vec![
                ("accuracy", "one label a row: the most common metric for it"),
                ("f_beta", "labels, if the rare ones count as much"),
                ("log_loss", "if probabilities are submitted, a column a class"),
                ("balanced_accuracy", "labels, if all classes count the same"),
            ]
        } else {
            vec![
                ("accuracy", "one label a row"),
                ("text_accuracy", "if the texts must be right as a whole"),
                ("levenshtein", "if they may be nearly right"),
                ("map_at_k", "if several guesses are made"),
            ]
        };
        list.into_iter().map(|(name, why)| (name, why.to_owned())).collect()
    }

    /// Where no column of the train table holds the answers, the sample submission alone.
    fn of_sample(&self) -> Vec<(&'static str, String)> {
        let list: Vec<(&'static str, &str)> =
            match self.sample.map(|sample| (sample, sample.kind())) {
                _ if self.guesses > 1 && self.sample.is_some_and(is_box_list) => {
                    vec![
                        ("labelled_box_map", "the sample submission has boxes"),
                        ("coco_box_map", "boxes, by COCO's rules"),
                    ]
                }
                _ if self.guesses > 1 => {
                    vec![("map_at_k", "the sample submission has several guesses a row")]
                }
                Some(_) if self.sample_is_share => vec![
                    ("roc_auc", "shares in the sample submission"),
                    ("log_loss", "shares in the sample submission"),
                ],
                Some((sample, CellKind::Int)) if sample.low >= 0.0 && sample.high <= 1.0 => {
                    vec![
                        ("roc_auc", "0 or 1 in the sample submission"),
                        ("accuracy", "0 or 1 in the sample submission"),
                        ("log_loss", "0 or 1 in the sample submission"),
                    ]
                }
                Some((_, CellKind::Int)) => vec![
                    ("accuracy", "whole numbers in the sample submission"),
                    ("f_beta", "whole numbers in the sample submission"),
                    ("mae", "whole numbers in the sample submission"),
                ],
                Some((_, CellKind::Float)) => vec![
                    ("rmse", "numbers in the sample submission"),
                    ("mae", "numbers in the sample submission"),
                ],
                Some((_, CellKind::Text)) => vec![
                    ("accuracy", "words in the sample submission"),
                    ("levenshtein", "words in the sample submission"),
                ],
                _ => Vec::new(),
            };
        list.into_iter().map(|(name, why)| (name, why.to_owned())).collect()
    }
}

/// Cells of a label and five numbers.
fn is_box_list(sample: &ColumnFacts) -> bool {
    sample.first.iter().all(|cell| {
        let tokens: Vec<&str> = cell.split_whitespace().collect();
        tokens.len() % 6 == 0
            && tokens
                .chunks(6)
                .all(|chunk| chunk[1..].iter().all(|token| token.parse::<f64>().is_ok()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_its_metric() {
        let of = |text: &str| -> Vec<Option<String>> {
            names_in(text).into_iter().map(|known| known.metric).collect()
        };
        assert_eq!(
            of("Submissions are evaluated on the Root Mean Squared Error between"),
            [Some("rmse".to_owned())]
        );
        assert_eq!(
            of("evaluated using the mean columnwise root mean squared logarithmic error."),
            [Some("rmsle".to_owned())]
        );
        assert_eq!(
            of("are evaluated on area under the ROC curve between"),
            [Some("roc_auc".to_owned())]
        );
        assert_eq!(of("scored by MAP@5, see below"), [Some("map_at_k".to_owned())]);
        assert_eq!(of("The score is the accuracy of the labels"), [Some("accuracy".to_owned())]);
        assert_eq!(of("Nothing is said about scores."), [] as [Option<String>; 0]);
    }

    #[test]
    fn every_candidate_is_a_metric_with_a_direction() {
        for known in kaggle_metrics() {
            if let Some(metric) = known.ours() {
                assert_eq!(direction_of(metric), known.direction, "{}", metric.name);
            }
        }
    }
}
