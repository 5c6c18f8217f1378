//! How much a score moves with the choice of test rows: the bootstrap.
//!
//! The best simple submission is graded again on `RESAMPLES` samples of the test rows, drawn with
//! replacement; rows that are graded together are drawn together. Of more than `MOST` groups so
//! many are drawn, and the spread is scaled by the root of their share, which holds for metrics that
//! are means or smooth in them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use medalist_grading::spec::Pairing;
use medalist_grading::table::{Limits, Table};
use medalist_grading::{Answers, Grader, GradingSpec, Thresholds, Verdict, chain};
use medalist_stats::{Rng, mean, normal_quantile, variance};
use serde::Serialize;

use crate::ladder::Best;
use crate::{Finding, NotMeasured, Settings, Severity, Subject};

/// Samples of the test rows.
const RESAMPLES: usize = 200;
/// Fewest that say something.
const FEWEST: usize = 50;
/// Most groups of rows that a sample has.
const MOST: usize = 20_000;
/// Fewest groups of rows.
const FEW_GROUPS: usize = 20;
/// Longest time for all samples.
const LONGEST: Duration = Duration::from_secs(30);
/// Confidence of the interval.
const CONFIDENCE: f64 = 0.95;

/// How much of a score is noise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whose score it is: a way to guess of the ladder.
    pub of: &'static str,
    /// Its score.
    pub score: f64,
    /// Standard error of the score over samples of test rows.
    pub standard_error: f64,
    /// Half of the width of the 95% interval.
    pub margin: f64,
    /// Groups of test rows that are drawn together: single rows in most competitions.
    pub groups: usize,
    /// Samples that were graded.
    pub resamples: usize,
    /// Gold less bronze, without sign.
    pub gold_bronze: Option<f64>,
    /// Bronze less median, without sign.
    pub bronze_median: Option<f64>,
}

/// Measures the noise of the best simple submission.
pub(crate) fn measure(
    subject: &Subject<'_>,
    best: Option<&Best>,
    settings: Settings,
    report: &mut crate::Report,
) {
    const WHAT: &str = "noise of the score";
    let Some(best) = best else {
        report.not_measured.push(NotMeasured::new(WHAT, "no submission could be graded"));
        return;
    };
    match bootstrap(subject, best, settings) {
        Ok(noise) => {
            if let Some(thresholds) = subject.thresholds {
                report.findings.extend(finding(&noise, thresholds));
            }
            report.noise = Some(noise);
        }
        Err(why) => report.not_measured.push(NotMeasured::new(WHAT, why)),
    }
}

fn bootstrap(subject: &Subject<'_>, best: &Best, settings: Settings) -> Result<Report, String> {
    let spec = subject.grading;
    if spec.metric == "command" {
        return Err("a program grades, which would be started for each sample".to_owned());
    }
    let rows = Paired::read(subject, best)?;
    let groups = rows.groups(spec);
    if groups.len() < FEW_GROUPS {
        return Err(format!("{} groups of test rows are too few", groups.len()));
    }
    let grader = Grader::new(for_samples(spec)).map_err(|error| chain(&error))?;
    let drawn = groups.len().min(MOST);
    let mut rng = Rng::new(settings.seed ^ 0xB007);
    let (mut scores, started) = (Vec::with_capacity(RESAMPLES), Instant::now());
    let mut problem = None;
    for _ in 0..RESAMPLES {
        if started.elapsed() > LONGEST {
            break;
        }
        let sample: Vec<usize> = (0..drawn).map(|_| rng.below(groups.len())).collect();
        match rows.score(&grader, &groups, &sample) {
            Ok(score) => scores.push(score),
            Err(why) => problem = Some(why),
        }
    }
    if scores.len() < FEWEST {
        return Err(problem.unwrap_or_else(|| {
            format!("grading {} samples took all the time there is", scores.len())
        }));
    }
    let scale = (drawn as f64 / groups.len() as f64).sqrt();
    let standard_error = variance(&scores).unwrap_or(0.0).sqrt() * scale;
    if !standard_error.is_finite() || !mean(&scores).is_finite() {
        return Err("the metric is not a number on samples of the rows".to_owned());
    }
    let thresholds = subject.thresholds;
    Ok(Report {
        of: best.name,
        score: best.score,
        standard_error,
        margin: normal_quantile(0.5 + CONFIDENCE / 2.0) * standard_error,
        groups: groups.len(),
        resamples: scores.len(),
        gold_bronze: thresholds.map(|t| (t.gold - t.bronze).abs()),
        bronze_median: thresholds.map(|t| (t.bronze - t.median).abs()),
    })
}

/// The grading of samples, whose rows have ids of their own.
fn for_samples(spec: &GradingSpec) -> GradingSpec {
    GradingSpec { checks: Vec::new(), strict: None, ..spec.clone() }
}

fn finding(noise: &Report, thresholds: Thresholds) -> Option<Finding> {
    let gap = noise.gold_bronze?;
    (gap < noise.margin).then(|| {
        Finding::new(
            "medals-within-noise",
            Severity::Warning,
            format!(
                "gold and bronze differ by {}, less than the score's noise: {} scores {} ± {} (95%) over samples of {} test rows or groups",
                short(gap),
                noise.of,
                noise.score,
                short(noise.margin),
                noise.groups
            ),
            "read medals here as one band; average over many competitions, and compare agents on the same test rows",
            [
                ("gold", thresholds.gold),
                ("bronze", thresholds.bronze),
                ("gap", gap),
                ("margin", noise.margin),
                ("standard_error", noise.standard_error),
            ],
        )
    })
}

/// A number in three digits.
fn short(value: f64) -> String {
    let decimals = (2.0 - value.abs().log10().floor()).clamp(0.0, 8.0);
    format!("{value:.*}", decimals as usize)
}

/// A submission and its answers, row by row.
struct Paired {
    submission: Side,
    answers: Side,
    /// The rows of the answers for each row of the submission.
    partners: Vec<Vec<usize>>,
}

/// A table as text.
struct Side {
    header: Vec<String>,
    cells: Vec<Vec<String>>,
    /// Where its id columns are.
    ids: Vec<usize>,
}

impl Side {
    fn of(table: &Table, ids: &[String]) -> Result<Self, String> {
        let header = table.names().to_vec();
        let place = |name: &String| {
            header
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| format!("there is no column `{name}`"))
        };
        let ids = ids.iter().map(place).collect::<Result<_, _>>()?;
        let columns: Vec<_> = (0..header.len()).map(|at| table.column_at(at)).collect();
        let cells = (0..table.rows())
            .map(|row| columns.iter().map(|column| quoted(column.raw(row))).collect())
            .collect();
        Ok(Self { header, cells, ids })
    }

    fn key(&self, row: usize) -> String {
        self.ids.iter().map(|&at| self.cells[row][at].as_str()).collect::<Vec<_>>().join("\u{1f}")
    }

    /// Writes a row whose first id column says which draw it belongs to.
    fn write(&self, row: usize, draw: usize, out: &mut String) {
        for (at, cell) in self.cells[row].iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            match self.ids.first() == Some(&at) {
                // Of equal length, so that text and number sort alike.
                true => out.push_str(&(100_000_000 + draw).to_string()),
                false => out.push_str(cell),
            }
        }
        out.push('\n');
    }

    fn start(&self) -> String {
        self.header.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",") + "\n"
    }
}

fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

impl Paired {
    fn read(subject: &Subject<'_>, best: &Best) -> Result<Self, String> {
        let spec = subject.grading;
        let Answers::Table(answers) =
            Answers::read(&subject.answers).map_err(|error| chain(&error))?
        else {
            return Err("the answers are no table".to_owned());
        };
        let submission =
            Table::read(&best.path, &Limits::trusted()).map_err(|error| chain(&error))?;
        let submission = Side::of(&submission, &spec.id_columns)?;
        let answers = Side::of(&answers, spec.answer_ids())?;
        let partners = if spec.id_columns.is_empty() || spec.pairing == Pairing::FileOrder {
            if submission.cells.len() != answers.cells.len() {
                return Err("the submission and the answers have different rows".to_owned());
            }
            (0..answers.cells.len()).map(|row| vec![row]).collect()
        } else {
            let mut places: HashMap<String, Vec<usize>> = HashMap::new();
            for row in 0..answers.cells.len() {
                places.entry(answers.key(row)).or_default().push(row);
            }
            (0..submission.cells.len())
                .map(|row| places.remove(&submission.key(row)).unwrap_or_default())
                .collect()
        };
        Ok(Self { submission, answers, partners })
    }

    /// Rows of the submission that are drawn together: those with the same first id, or with the same
    /// value in the column of the answers that the metric groups by.
    fn groups(&self, spec: &GradingSpec) -> Vec<Vec<usize>> {
        let by = spec
            .text("group")
            .and_then(|group| self.answers.header.iter().position(|column| column == group));
        let key = |row: usize| match (by, self.submission.ids.first()) {
            (Some(column), _) => {
                self.partners[row].first().map_or("", |&at| self.answers.cells[at][column].as_str())
            }
            (None, Some(&id)) => self.submission.cells[row][id].as_str(),
            (None, None) => "",
        };
        if by.is_none() && self.submission.ids.is_empty() {
            return (0..self.submission.cells.len()).map(|row| vec![row]).collect();
        }
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for row in 0..self.submission.cells.len() {
            let next = groups.len();
            let place = *places.entry(key(row)).or_insert(next);
            if place == next {
                groups.push(Vec::new());
            }
            groups[place].push(row);
        }
        groups
    }

    /// The score of a sample of groups, not rounded.
    fn score(
        &self,
        grader: &Grader,
        groups: &[Vec<usize>],
        sample: &[usize],
    ) -> Result<f64, String> {
        let (mut submission, mut answers) = (self.submission.start(), self.answers.start());
        // With several rows of one first id they keep it; else each row has an id of its own.
        let is_one_id = self.submission.ids.len() > 1;
        let mut next = 0;
        for &group in sample {
            for &row in &groups[group] {
                self.submission.write(row, next, &mut submission);
                for &answer in &self.partners[row] {
                    self.answers.write(answer, next, &mut answers);
                }
                next += usize::from(!is_one_id);
            }
            next += usize::from(is_one_id);
        }
        let read = |text: String| {
            Table::parse(text.into_bytes(), &Limits::trusted()).map_err(|error| chain(&error))
        };
        let answers = Answers::Table(read(answers)?);
        match grader.grade(&read(submission)?, &answers).map_err(|error| chain(&error))? {
            Verdict::Scored(score) if score.raw.is_finite() => Ok(score.raw),
            Verdict::Scored(score) => Err(format!("a sample scores {}", score.raw)),
            Verdict::Invalid(invalid) => Err(invalid.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.012_345, 12.345, 12_345.6].map(short), ["0.0123", "12.3", "12346"]);
    }

    #[test]
    fn the_noise_of_a_share_is_the_binomials() {
        let temp = tempfile::tempdir().unwrap();
        let (rows, right) = (400, 300);
        let table = |wrong: usize| {
            let cells = (0..rows).map(|row| format!("{row},{}\n", u8::from(row >= wrong)));
            format!("id,y\n{}", cells.collect::<String>())
        };
        let answers = temp.path().join("answers.csv");
        let submission = temp.path().join("submission.csv");
        std::fs::write(&answers, table(0)).unwrap();
        std::fs::write(&submission, table(rows - right)).unwrap();
        let columns = |name: &str| vec![name.to_owned()];
        let higher = medalist_grading::Direction::Higher;
        let grading = GradingSpec::new("accuracy", higher, columns("id"), columns("y"));
        let subject = Subject {
            id: "c",
            grading: &grading,
            public: temp.path().to_owned(),
            sample: submission.clone(),
            answers,
            thresholds: None,
            board: None,
        };
        let best = Best { name: "mean", score: 0.75, path: submission };
        let noise = bootstrap(&subject, &best, Settings::default()).unwrap();
        let binomial = (0.75_f64 * 0.25 / rows as f64).sqrt();
        assert!((noise.standard_error / binomial - 1.0).abs() < 0.2, "{noise:?} {binomial}");
        assert_eq!((noise.groups, noise.resamples), (rows, RESAMPLES));
        let near = Thresholds { gold: 0.77, silver: 0.76, bronze: 0.75, median: 0.7 };
        let far = Thresholds { gold: 0.99, ..near };
        let told = |thresholds| {
            let subject = Subject { thresholds: Some(thresholds), ..subject.clone() };
            let noise = bootstrap(&subject, &best, Settings::default()).unwrap();
            finding(&noise, thresholds).is_some()
        };
        assert!(told(near) && !told(far));
    }
}
