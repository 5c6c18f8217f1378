//! Whole gradings of a million rows and single metrics: `cargo bench -p medalist-grading`.

use divan::{Bencher, black_box};
use medalist_grading::metrics::classification::{f1_macro, quadratic_weighted_kappa};
use medalist_grading::metrics::ranking::{lwlrap, roc_auc};
use medalist_grading::metrics::strings::edit_distance;
use medalist_grading::table::{Limits, Table};
use medalist_grading::{Answers, Grader, GradingSpec};

fn main() {
    divan::main();
}

const ROWS: usize = 1_000_000;

/// A cheap stream of numbers, the same every time.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    })
}

fn share(value: u64) -> f64 {
    (value % 1_000_003) as f64 / 1_000_003.0
}

/// Answers and a shuffled submission of a million rows, as CSV; the ids are numbers or text.
fn million_rows(id: impl Fn(u64) -> String) -> (Vec<u8>, Vec<u8>) {
    let (mut answers, mut submission) = ("id,target\n".to_owned(), "id,target\n".to_owned());
    for (k, value) in (0..ROWS as u64).zip(noise(1)) {
        answers.push_str(&format!("{},{}\n", id(k), u8::from(value % 3 == 0)));
        // A step prime to the number of rows visits each once, in an order that looks random.
        let shuffled = k * 618_033 % ROWS as u64;
        submission.push_str(&format!("{},{:?}\n", id(shuffled), share(value)));
    }
    (answers.into_bytes(), submission.into_bytes())
}

fn grader() -> Grader {
    let spec: GradingSpec = toml::from_str(
        "metric = \"roc_auc\"\ndirection = \"higher\"\nid_columns = [\"id\"]\ntarget_columns = [\"target\"]\n\
         checks = [\"id_columns\", \"target_columns\", \"row_count\", \"numeric\", \"range\", \"ids\"]\nrange = [0.0, 1.0]",
    )
    .expect("the entry is valid");
    Grader::new(spec).expect("the entry is complete")
}

fn grade(bencher: Bencher<'_, '_>, id: impl Fn(u64) -> String) {
    let (answers, submission) = million_rows(id);
    let grader = grader();
    bencher.with_inputs(|| (answers.clone(), submission.clone())).bench_values(
        |(answers, submission)| {
            let parse = |bytes| Table::parse(bytes, &Limits::default()).expect("it is a table");
            let (submission, answers) = rayon::join(|| parse(submission), || parse(answers));
            grader.grade(&submission, &Answers::Table(answers)).expect("the answers are good")
        },
    );
}

#[divan::bench(sample_count = 10)]
fn a_million_rows_with_number_ids(bencher: Bencher<'_, '_>) {
    grade(bencher, |k| k.to_string());
}

#[divan::bench(sample_count = 10)]
fn a_million_rows_with_text_ids(bencher: Bencher<'_, '_>) {
    grade(bencher, |k| format!("{:012x}", k.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
}

#[divan::bench(sample_count = 10)]
fn reading_a_million_rows(bencher: Bencher<'_, '_>) {
    let (_, submission) = million_rows(|k| k.to_string());
    bencher
        .with_inputs(|| submission.clone())
        .bench_values(|bytes| Table::parse(bytes, &Limits::default()));
}

#[divan::bench(sample_count = 10)]
fn roc_auc_of_a_million(bencher: Bencher<'_, '_>) {
    let positive: Vec<bool> = noise(1).map(|v| v % 3 == 0).take(ROWS).collect();
    let score: Vec<f64> = noise(2).map(share).take(ROWS).collect();
    bencher.bench(|| roc_auc(black_box(&positive), black_box(&score)));
}

#[divan::bench(sample_count = 10)]
fn kappa_of_a_million(bencher: Bencher<'_, '_>) {
    let [truth, predicted]: [Vec<i128>; 2] =
        [1, 2].map(|seed| noise(seed).map(|v| i128::from(v % 5)).take(ROWS).collect());
    bencher.bench(|| quadratic_weighted_kappa(black_box(&truth), black_box(&predicted)));
}

#[divan::bench(sample_count = 10)]
fn macro_f1_of_a_million_in_64_000_classes(bencher: Bencher<'_, '_>) {
    let [truth, predicted]: [Vec<i128>; 2] =
        [1, 2].map(|seed| noise(seed).map(|v| i128::from(v % 64_000)).take(ROWS).collect());
    bencher.bench(|| f1_macro(black_box(&truth), black_box(&predicted)));
}

#[divan::bench(sample_count = 10)]
fn lwlrap_of_5000_rows_in_80_classes(bencher: Bencher<'_, '_>) {
    let rows: Vec<(Vec<bool>, Vec<f64>)> = (0..5000)
        .map(|k| {
            (
                noise(k).map(|v| v % 60 == 0).take(80).collect(),
                noise(k + 1).map(share).take(80).collect(),
            )
        })
        .collect();
    bencher.bench(|| lwlrap(black_box(&rows).iter().cloned()));
}

#[divan::bench]
fn edit_distance_of_100_characters(bencher: Bencher<'_, '_>) {
    let [a, b]: [String; 2] = [1, 2]
        .map(|seed| noise(seed).map(|v| char::from(b'A' + (v % 26) as u8)).take(100).collect());
    bencher.bench(|| edit_distance(black_box(&a), black_box(&b)));
}
