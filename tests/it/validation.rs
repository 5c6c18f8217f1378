//! What validation tells does not depend on the answers, whatever the metric.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use medalist::app::judge::CatalogueJudge;
use medalist::attempt::launch::ValidationReply;
use medalist::run::Judge;
use medalist_competitions::{Catalogue, CompetitionSpec};
use medalist_grading::table::{Limits, Table};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A competition with golden submissions, prepared from its golden answers.
struct Prepared {
    spec: CompetitionSpec,
    golden: PathBuf,
    data: tempfile::TempDir,
}

impl Prepared {
    fn new(spec: CompetitionSpec, golden: PathBuf) -> Self {
        let prepared = Self { spec, golden, data: tempfile::tempdir().unwrap() };
        let sample = prepared.spec.sample_submission_path(&prepared.folder());
        fs::create_dir_all(sample.parent().unwrap()).unwrap();
        fs::create_dir_all(prepared.folder().join("public")).unwrap();
        fs::copy(prepared.golden.join("sample.csv"), sample).unwrap();
        fs::create_dir_all(prepared.answers().parent().unwrap()).unwrap();
        prepared
    }

    fn folder(&self) -> PathBuf {
        self.data.path().join(self.spec.id.as_str()).join("prepared")
    }

    fn answers(&self) -> PathBuf {
        self.spec.answers_path(&self.folder())
    }

    fn golden_answers(&self) -> String {
        let path = ["answers.csv", "answers.jsonl"].map(|name| self.golden.join(name));
        fs::read_to_string(path.iter().find(|path| path.is_file()).unwrap()).unwrap()
    }

    /// What the service says of every golden submission when these are the answers.
    fn replies(&self, answers: &str) -> Vec<(PathBuf, ValidationReply)> {
        fs::write(self.answers(), answers).unwrap();
        let judge = CatalogueJudge::new(self.data.path().to_owned(), &[]).unwrap();
        let validator = judge.material(self.spec.id.as_str()).unwrap().validator;
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&self.golden).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
        paths.sort();
        paths.into_iter().map(|path| (path.clone(), validator.validate(&path))).collect()
    }

    /// The golden answers with everything but the ids in another order: true values and the flags
    /// that hide rows. `together`: all columns in the same order.
    fn shuffled(&self, numbers: &mut impl FnMut(usize) -> usize, together: bool) -> String {
        let text = self.golden_answers();
        if self.answers().extension().is_some_and(|extension| extension == "jsonl") {
            return shuffled_lines(&text, numbers);
        }
        let table = Table::parse(text.into_bytes(), &Limits::default()).unwrap();
        let mut columns: Vec<Vec<String>> = (0..table.names().len())
            .map(|index| table.column_at(index))
            .map(|column| (0..table.rows()).map(|row| column.raw(row).to_owned()).collect())
            .collect();
        let mut order = permutation(table.rows(), numbers);
        for (name, cells) in table.names().iter().zip(&mut columns) {
            if self.spec.grading.answer_ids().contains(name) {
                continue;
            }
            if !together {
                order = permutation(table.rows(), numbers);
            }
            *cells = order.iter().map(|&row| cells[row].clone()).collect();
        }
        let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
        let line = |cells: Vec<&str>| cells.into_iter().map(quoted).collect::<Vec<_>>().join(",");
        let mut text = line(table.names().iter().map(String::as_str).collect()) + "\n";
        for row in 0..table.rows() {
            text += &(line(columns.iter().map(|cells| cells[row].as_str()).collect()) + "\n");
        }
        text
    }
}

fn shuffled_lines(text: &str, numbers: &mut impl FnMut(usize) -> usize) -> String {
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let order = permutation(lines.len(), numbers);
    let line = |(k, &other): (usize, &usize)| {
        let mut line = lines[k].clone();
        line["annotations"] = lines[other]["annotations"].clone();
        line.to_string()
    };
    order.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

fn permutation(len: usize, numbers: &mut impl FnMut(usize) -> usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for k in (1..len).rev() {
        order.swap(k, numbers(k + 1));
    }
    order
}

#[test]
fn replies_are_the_same_whatever_the_answers() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/grading");
    let catalogue = Catalogue::embedded().unwrap();
    let competitions: Vec<Prepared> = catalogue
        .iter()
        .map(|spec| (spec.clone(), golden.join(spec.id.as_str())))
        .filter(|(_, golden)| golden.is_dir())
        .map(|(spec, golden)| Prepared::new(spec, golden))
        .collect();
    let metric = |name: &str| medalist_grading::Metric::find(name).unwrap().name;
    let covered: BTreeSet<&str> =
        competitions.iter().map(|one| metric(&one.spec.grading.metric)).collect();
    let used: BTreeSet<&str> = catalogue.iter().map(|spec| metric(&spec.grading.metric)).collect();
    assert_eq!(used.difference(&covered).count(), 0, "{used:?} but {covered:?}");

    let before: Vec<_> =
        competitions.iter().map(|one| one.replies(&one.golden_answers())).collect();
    let valid = before.iter().flatten().filter(|(_, reply)| reply.valid).count();
    assert!(valid > 100 && valid < before.iter().flatten().count(), "both kinds of replies");
    let mut runner =
        TestRunner::new(Config { cases: 3, failure_persistence: None, ..Config::default() });
    let shuffles = (any::<u64>(), any::<bool>());
    runner
        .run(&shuffles, |(seed, together)| {
            let mut state = seed;
            let mut numbers = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as usize % below
            };
            for (one, before) in competitions.iter().zip(&before) {
                let answers = one.shuffled(&mut numbers, together);
                prop_assert_eq!(before, &one.replies(&answers));
            }
            Ok(())
        })
        .unwrap();
}
