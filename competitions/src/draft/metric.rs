//! How submissions are scored: by Kaggle's name of the metric where there is one, else what the
//! shapes of sample submission and target allow.

mod shape;

use std::collections::BTreeMap;

use medalist_grading::{Check, Direction, GradingSpec, Metric};

use super::Answers;
use super::columns::Columns;
use super::decision::{Certainty, Decision, candidate};
use super::roles::Roles;
use crate::metric_names::{KaggleMetric, kaggle_metric, kaggle_metrics};
use crate::spec::Candidate;
use crate::survey::Survey;

use shape::Seen;

const METRIC: &str = "grading.metric";
const DIRECTION: &str = "grading.direction";
/// The metric that is a program of the user's.
const PROGRAM: &str = "command";

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
            let decision = scoring.direction_of_metric();
            scoring.decisions.push(decision);
        }
        scoring
    }

    /// The direction that the metric has; open where the metric is, so that nobody settles the one and
    /// forgets the other.
    fn direction_of_metric(&self) -> Decision {
        let asked = &self.decisions[0];
        if asked.certainty == Certainty::Open {
            let other =
                if self.direction.is_lower_better() { Direction::Higher } else { Direction::Lower };
            let candidates = [self.direction, other].map(|direction| {
                let metrics = asked.candidates.iter().filter_map(|one| Metric::find(&one.value));
                let of: Vec<String> = metrics
                    .filter(|metric| metric.name != PROGRAM && direction_of(metric) == direction)
                    .map(|metric| format!("`{}`", metric.name))
                    .collect();
                let of = if of.is_empty() { "another metric".to_owned() } else { of.join(", ") };
                candidate(word(direction), format!("of {of}"))
            });
            return Decision::open(DIRECTION, candidates.into(), "it follows from the metric");
        }
        let evidence = format!("that is how `{}` is read", self.metric.name);
        let certainty = asked.certainty.min(Certainty::Likely);
        Decision::new(DIRECTION, word(self.direction), certainty, evidence)
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
            PROGRAM,
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
        if self.metric.name == PROGRAM && !self.options.contains_key("command") {
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

/// Names that are words of any text.
const WORDS: [&str; 10] = [
    "Score", "Custom", "Kappa", "Gini", "Dice", "Football", "football", "Halite", "halite",
    "Accuracy",
];
/// Names that are short and mean nothing else.
const SHORT: [&str; 3] = ["MAE", "AUC", "MSE"];

/// The metrics that a text names in full, those of the longest names first.
fn names_in(text: &str) -> Vec<KaggleMetric> {
    // `MAP@5` is found with its number.
    let marked = text.split_whitespace().filter(|word| word.contains('@'));
    let mut found: Vec<KaggleMetric> = marked.filter_map(|word| kaggle_metric(word).ok()).collect();
    let mut text = plain(text);
    let is_telling = |name: &&String| {
        let letters = name.chars().filter(|c| c.is_alphanumeric()).count();
        letters >= 4 && !WORDS.contains(&name.as_str()) || SHORT.contains(&name.as_str())
    };
    let mut names: Vec<(String, &KaggleMetric)> = kaggle_metrics()
        .iter()
        .flat_map(|known| {
            known.names.iter().filter(is_telling).map(move |name| (plain(name), known))
        })
        .collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, known) in names {
        if text.contains(&name) {
            // A longer name contains shorter ones, which are then not meant.
            text = text.replace(&name, " # ");
            if !found.iter().any(|other| other.names == known.names) {
                found.push(known.clone());
            }
        }
    }
    if found.is_empty() && text.contains(" accuracy ") {
        found.extend(kaggle_metric("Accuracy").ok());
    }
    found
}

/// A text in small letters whose words have one blank around them, and no signs but `@`.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 2);
    plain.push(' ');
    for c in text.to_lowercase().chars() {
        match c.is_alphanumeric() || c == '@' {
            true => plain.push(c),
            false if !plain.ends_with(' ') => plain.push(' '),
            false => {}
        }
    }
    if !plain.ends_with(' ') {
        plain.push(' ');
    }
    plain
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
