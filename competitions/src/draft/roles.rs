//! Which table is which: train, test, sample submission, answers that were published.

use crate::survey::{Survey, TableFacts, stem};

/// The tables of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles<'s> {
    /// Rows with answers.
    pub train: Option<&'s TableFacts>,
    /// Rows without.
    pub test: Option<&'s TableFacts>,
    /// What a submission looks like.
    pub sample: Option<&'s TableFacts>,
    /// Answers to the test rows that lie beside them.
    pub solution: Option<&'s TableFacts>,
    /// Other tables that might be the train table, where it is not clear which is.
    pub rivals: Vec<&'s TableFacts>,
    /// Sample submissions with other columns: then a submission has several files.
    pub other_samples: Vec<&'s TableFacts>,
}

/// What a table's name says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Sample,
    Solution,
    Test,
    Train,
    Nothing,
}

fn named(path: &str) -> Named {
    let name = stem(path).to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&[
        "submission",
        "sample_sub",
        "samplesub",
        "sample_entry",
        "example_entry",
        "sample_answer",
        "sample_pred",
        "benchmark",
    ]) {
        Named::Sample
    } else if has(&["solution", "answer", "ground_truth", "groundtruth", "expanded"])
        || has(&["test"]) && has(&["label", "target"])
    {
        Named::Solution
    } else if has(&["train", "label"]) {
        Named::Train
    } else if has(&["test", "holdout", "eval"]) {
        Named::Test
    } else {
        Named::Nothing
    }
}

impl<'s> Roles<'s> {
    /// Finds the tables by their names and columns. `train` names the train table, if somebody
    /// said which it is.
    pub(super) fn of(survey: &'s Survey, train: Option<&str>) -> Self {
        let tables: Vec<&TableFacts> =
            survey.tables.iter().filter(|table| !table.columns.is_empty()).collect();
        let with =
            |role: Named| tables.iter().copied().filter(move |table| named(&table.path) == role);
        let mut roles = Self::default();
        let tests: Vec<&TableFacts> = with(Named::Test).collect();
        // The table called plainly `test` before `test_metadata`.
        roles.test =
            tests.iter().copied().min_by_key(|table| (table.stem().len(), table.path.len()));
        let mut samples: Vec<&TableFacts> = with(Named::Sample).collect();
        samples.sort_by_key(|table| (table.stem().len(), table.path.clone()));
        roles.sample = samples.first().copied();
        if let Some(sample) = roles.sample {
            roles.other_samples = samples[1..]
                .iter()
                .copied()
                .filter(|other| {
                    other.names() != sample.names() && !is_same_but_names(other, sample)
                })
                .collect();
        }
        roles.solution = with(Named::Solution).min_by_key(|table| table.path.len());
        let mut trains: Vec<(f64, &TableFacts)> = tables
            .iter()
            .copied()
            .filter(|table| {
                matches!(named(&table.path), Named::Train | Named::Nothing) && table.rows > 0
            })
            .map(|table| (roles.fitness(table), table))
            .filter(|(fitness, _)| *fitness > 0.0)
            .collect();
        trains
            .sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.path.len().cmp(&b.1.path.len())));
        roles.train = trains.first().map(|(_, table)| *table);
        if let Some(path) = train {
            roles.train = survey.table(path);
        } else if let Some((best, _)) = trains.first() {
            let near = trains[1..].iter().take_while(|(fitness, _)| best - fitness < 1.0);
            roles.rivals = near.map(|(_, table)| *table).collect();
        }
        if roles.train.is_none() && tables.len() == 1 && roles.sample.is_none() {
            roles.train = Some(tables[0]);
            roles.test = None;
        }
        roles
    }

    /// How much speaks for a table being the train table.
    fn fitness(&self, table: &TableFacts) -> f64 {
        let name = table.stem().to_ascii_lowercase();
        let mut fitness = match named(&table.path) {
            Named::Train => 3.0,
            _ => 0.0,
        };
        if matches!(name.as_str(), "train" | "training" | "train_labels" | "labels" | "train_set") {
            fitness += 2.0;
        }
        if let Some(sample) = self.sample {
            let names = table.names();
            let shared = sample.names().iter().filter(|name| names.contains(name)).count();
            fitness += 3.0 * shared as f64 / sample.columns.len().max(1) as f64;
        }
        if let Some(test) = self.test {
            let names = table.names();
            let shared = test.names().iter().filter(|name| names.contains(name)).count();
            // Something must be there that the test rows lack, or nothing could be learnt.
            if names.len() > shared {
                fitness += 2.0 * shared as f64 / test.columns.len().max(1) as f64;
            }
        }
        fitness
    }
}

/// Whether two samples differ in nothing but file name and rows, as those of two stages do.
fn is_same_but_names(a: &TableFacts, b: &TableFacts) -> bool {
    let lower = |table: &TableFacts| -> Vec<String> {
        table.names().iter().map(|name| name.to_ascii_lowercase()).collect()
    };
    lower(a) == lower(b)
}
