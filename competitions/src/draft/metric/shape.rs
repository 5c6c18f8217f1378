//! Metrics that the shapes of target and sample submission allow.

use super::super::columns::{Columns, Shape};
use super::super::roles::Roles;
use crate::survey::{CellKind, ColumnFacts};

/// What the tables show of the target and of the sample submission.
pub(super) struct Seen<'t> {
    truth: Option<&'t ColumnFacts>,
    sample: Option<&'t ColumnFacts>,
    targets: usize,
    pub(super) is_one_hot: bool,
    all_binary: bool,
    all_numbers: bool,
    /// The sample submission holds shares between 0 and 1 that are not all 0 or 1.
    pub(super) sample_is_share: bool,
    /// Words in each cell of the sample submission, if all have the same number above one.
    pub(super) guesses: usize,
}

impl<'t> Seen<'t> {
    pub(super) fn of(roles: &Roles<'t>, columns: &Columns) -> Self {
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
    pub(super) fn candidates(&self) -> Vec<(&'static str, String)> {
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
                && super::super::columns::is_grade_name(&truth.name);
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
        let list: Vec<(&'static str, &str)> = if is_box_list(truth) {
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
fn is_box_list(column: &ColumnFacts) -> bool {
    let mut cells = column.first.iter().filter(|cell| !cell.is_empty()).peekable();
    cells.peek().is_some()
        && cells.all(|cell| {
            let tokens: Vec<&str> = cell.split_whitespace().collect();
            tokens.len().is_multiple_of(6)
                && tokens
                    .chunks(6)
                    .all(|chunk| chunk[1..].iter().all(|token| token.parse::<f64>().is_ok()))
        })
}
