//! Laws that hold for every input: of the metrics, of reading, and of grading the golden
//! submissions.

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use medalist_grading::metrics::boxes3d::{Detections, sample_precisions};
use medalist_grading::metrics::classification::{f1_macro, quadratic_weighted_kappa};
use medalist_grading::metrics::label_sets::average_precision_at_k;
use medalist_grading::metrics::log_loss::binary_log_loss;
use medalist_grading::metrics::ordering::count_inversions;
use medalist_grading::metrics::ranking::{lwlrap, roc_auc, weighted_roc_auc};
use medalist_grading::metrics::regression::{angular_distance, mae, rmse};
use medalist_grading::metrics::strings::{edit_distance, word_jaccard};
use medalist_grading::round::Rounding;
use medalist_grading::table::{Limits, Table, Values};
use medalist_grading::{Answers, Direction, Grader, GradingSpec, Leaderboard, Verdict};
use proptest::prelude::*;
use serde::Deserialize;

/// Scores with many ties, and both classes.
fn scored_classes() -> impl Strategy<Value = Vec<(bool, f64)>> {
    prop::collection::vec((any::<bool>(), (-20_i32..20).prop_map(|k| f64::from(k) / 8.0)), 2..60)
        .prop_filter("both classes", |rows| rows.iter().any(|r| r.0) && rows.iter().any(|r| !r.0))
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(1.0)
}

proptest! {
    #[test]
    fn roc_auc_counts_pairs(rows in scored_classes()) {
        let (positive, score): (Vec<bool>, Vec<f64>) = rows.iter().copied().unzip();
        let auc = roc_auc(&positive, &score).unwrap();
        let mut halves = 0_u32;
        for (_, above) in rows.iter().filter(|r| r.0) {
            for (_, below) in rows.iter().filter(|r| !r.0) {
                halves += if above > below { 2 } else { u32::from(above == below) };
            }
        }
        let positives = positive.iter().filter(|&&p| p).count();
        prop_assert!(close(auc, f64::from(halves) / (2 * positives * (rows.len() - positives)) as f64));
        // A strictly rising function of the scores changes nothing, a falling one mirrors.
        let risen: Vec<f64> = score.iter().map(|s| s.exp() * 3.0 - 1.0).collect();
        prop_assert_eq!(roc_auc(&positive, &risen).unwrap(), auc);
        let fallen: Vec<f64> = score.iter().map(|s| -s).collect();
        prop_assert!(close(roc_auc(&positive, &fallen).unwrap(), 1.0 - auc));
    }

    #[test]
    fn one_band_of_weighted_roc_auc_is_roc_auc(rows in scored_classes(), rotate in 0_usize..60) {
        let (mut positive, mut score): (Vec<bool>, Vec<f64>) = rows.iter().copied().unzip();
        let auc = roc_auc(&positive, &score).unwrap();
        prop_assert!(close(weighted_roc_auc(&positive, &score, &[0.0, 1.0], &[3.0]).unwrap(), auc));
        let banded = weighted_roc_auc(&positive, &score, &[0.0, 0.4, 1.0], &[2.0, 1.0]).unwrap();
        prop_assert!((0.0..=1.0 + 1e-12).contains(&banded));
        let rotate = rotate % positive.len();
        positive.rotate_left(rotate);
        score.rotate_left(rotate);
        prop_assert!(close(weighted_roc_auc(&positive, &score, &[0.0, 0.4, 1.0], &[2.0, 1.0]).unwrap(), banded));
    }

    #[test]
    fn log_loss_is_least_for_the_truth(rows in scored_classes()) {
        let (positive, score): (Vec<bool>, Vec<f64>) = rows.iter().copied().unzip();
        let probability: Vec<f64> = score.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect();
        let certain: Vec<f64> = positive.iter().map(|&p| f64::from(u8::from(p))).collect();
        let best = binary_log_loss(&positive, &certain).unwrap();
        prop_assert!(best >= 0.0 && best <= binary_log_loss(&positive, &probability).unwrap());
    }

    #[test]
    fn kappa_is_symmetric_and_at_most_one(rows in prop::collection::vec((0_i32..5, 0_i32..5), 1..50)) {
        let (a, b): (Vec<i32>, Vec<i32>) = rows.into_iter().unzip();
        let kappa = quadratic_weighted_kappa(&a, &b).unwrap();
        let mirrored = quadratic_weighted_kappa(&b, &a).unwrap();
        prop_assert!(kappa.is_nan() && mirrored.is_nan() || close(kappa, mirrored) && (-1.0..=1.0).contains(&kappa));
        let perfect = quadratic_weighted_kappa(&a, &a).unwrap();
        prop_assert!(perfect.is_nan() || perfect == 1.0);
    }

    #[test]
    fn macro_f1_is_a_share(rows in prop::collection::vec((0_u8..6, 0_u8..6), 1..50)) {
        let (truth, predicted): (Vec<u8>, Vec<u8>) = rows.into_iter().unzip();
        prop_assert!((0.0..=1.0).contains(&f1_macro(&truth, &predicted).unwrap()));
        prop_assert_eq!(f1_macro(&truth, &truth).unwrap(), 1.0);
    }

    #[test]
    fn average_precision_is_a_share(truth in prop::collection::hash_set("[a-e]", 1..5), guesses in prop::collection::vec("[a-g]", 0..9), k in 1_usize..7) {
        let truth: HashSet<&str> = truth.iter().map(String::as_str).collect();
        let score = average_precision_at_k(&truth, guesses.iter().map(String::as_str), k);
        prop_assert!((0.0..=1.0).contains(&score));
        prop_assert_eq!(average_precision_at_k(&truth, truth.iter().copied(), k), 1.0);
    }

    #[test]
    fn lwlrap_is_a_share_and_best_for_the_truth(rows in prop::collection::vec(prop::collection::vec((any::<bool>(), 0_u8..4), 5), 1..8)) {
        prop_assume!(rows.iter().flatten().any(|(t, _)| *t));
        let of = |score: fn(&(bool, u8)) -> f64| lwlrap(rows.iter().map(|row| (row.iter().map(|r| r.0).collect(), row.iter().map(score).collect())));
        prop_assert!((0.0..=1.0).contains(&of(|(_, s)| f64::from(*s))));
        prop_assert!(close(of(|(t, _)| f64::from(u8::from(*t))), 1.0));
    }

    #[test]
    fn errors_are_at_least_zero_and_ordered(rows in prop::collection::vec((-1e3_f64..1e3, -1e3_f64..1e3), 1..40)) {
        let (truth, predicted): (Vec<f64>, Vec<f64>) = rows.into_iter().unzip();
        let (mae, rmse) = (mae(&truth, &predicted).unwrap(), rmse(&truth, &predicted).unwrap());
        prop_assert!(mae >= 0.0 && mae <= rmse * (1.0 + 1e-12));
        prop_assert!(medalist_grading::metrics::regression::rmse(&truth, &truth).unwrap() == 0.0);
    }

    #[test]
    fn angles_are_symmetric(a in (-9.0_f64..9.0, -9.0_f64..9.0), b in (-9.0_f64..9.0, -9.0_f64..9.0)) {
        let angle = angular_distance(a, b);
        prop_assert!((0.0..=std::f64::consts::PI).contains(&angle));
        prop_assert!((angle - angular_distance(b, a)).abs() < 1e-7);
    }

    #[test]
    fn edit_distance_is_a_metric(a in "[abé\u{1f600}]{0,9}", b in "[abé\u{1f600}]{0,9}", c in "[abé\u{1f600}]{0,9}") {
        let d = edit_distance;
        prop_assert_eq!(d(&a, &b), d(&b, &a));
        prop_assert_eq!(d(&a, &b) == 0, a == b);
        prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c));
        prop_assert!(d(&a, &b) <= a.chars().count().max(b.chars().count()));
    }

    #[test]
    fn jaccard_is_a_symmetric_share(a in "[ab C\u{a0}]{0,12}", b in "[ab C\u{a0}]{0,12}") {
        prop_assert_eq!(word_jaccard(&a, &b), word_jaccard(&b, &a));
        prop_assert!(word_jaccard(&a, &b).is_none_or(|s| (0.0..=1.0).contains(&s)));
    }

    #[test]
    fn inversions_are_pairs_out_of_order(order in prop::collection::vec(0_usize..30, 0..40)) {
        let pairs = (0..order.len()).map(|i| order[i + 1..].iter().filter(|&&later| later < order[i]).count()).sum::<usize>();
        prop_assert_eq!(count_inversions(&order), pairs as u64);
    }

    #[test]
    fn boxes_find_themselves(shapes in prop::collection::vec((-50.0_f64..50.0, -50.0_f64..50.0, 0.5_f64..9.0, 0.5_f64..9.0, -3.0_f64..3.0), 1..6)) {
        let boxes: Vec<String> = shapes
            .iter()
            .enumerate()
            .map(|(k, (x, y, width, length, yaw))| format!("{k} {x} {y} 0 {width} {length} 1.5 {yaw} {}", if k % 2 == 0 { "car" } else { "bus" }))
            .collect();
        let text = boxes.join(" ");
        let all = Detections::parse(&text).unwrap();
        for precision in sample_precisions(&all, &all).unwrap() {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&precision));
        }
        let one = Detections::parse(&boxes[0]).unwrap();
        prop_assert!(sample_precisions(&one, &one).unwrap().iter().all(|p| close(*p, 1.0)));
        prop_assert_eq!(sample_precisions(&all, &Detections::parse("").unwrap()).unwrap(), [0.0; 10]);
    }

    #[test]
    fn rounding_is_idempotent_and_near(value in -1e6_f64..1e6) {
        for rounding in [Rounding::Scaled, Rounding::Decimal] {
            let rounded = rounding.round(value);
            prop_assert!((rounded - value).abs() <= 0.500_001e-5);
            prop_assert_eq!(rounding.round(rounded), rounded);
        }
    }

    #[test]
    fn thresholds_are_scores_in_order(scores in prop::collection::vec(0_i32..50, 1..1500)) {
        let mut scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let board = Leaderboard::new(scores).unwrap();
        let t = board.thresholds();
        prop_assert!(t.gold >= t.silver && t.silver >= t.bronze);
        let standing = board.standing(t.gold, Direction::Higher).unwrap();
        prop_assert!(standing.rank >= 1 && standing.rank <= standing.teams);
    }

    #[test]
    fn what_is_written_is_read(rows in prop::collection::vec(prop::collection::vec("[a-c,\" \n\r\u{e9}]{0,5}", 3), 1..12)) {
        let quote = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
        let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",");
        let text = format!("x,y,z\n{}\n", rows.iter().map(line).collect::<Vec<_>>().join("\n"));
        let table = Table::parse(text.into_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(table.rows(), rows.len());
        for (k, name) in ["x", "y", "z"].into_iter().enumerate() {
            let column = table.column(name).unwrap();
            for (row, cells) in rows.iter().enumerate() {
                prop_assert_eq!(column.raw(row), &cells[k]);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop_oneof![Just(b','), Just(b'\n'), Just(b'\r'), Just(b'"'), Just(b' '), Just(b'1'), any::<u8>()], 0..200)) {
        if let Ok(table) = Table::parse(bytes, &Limits { cells: 1000, ..Limits::default() }) {
            for index in 0..table.names().len() {
                let column = table.column_at(index);
                for row in 0..column.len() {
                    let _ = (column.raw(row), column.printed(row), column.number(row), column.is_missing(row));
                }
            }
        }
    }

    #[test]
    fn integers_survive(values in prop::collection::vec(any::<i64>(), 1..20)) {
        let text = format!("x\n{}\n", values.iter().map(i64::to_string).collect::<Vec<_>>().join("\n"));
        let table = Table::parse(text.into_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(table.column("x").unwrap().values(), &Values::Int(values));
    }
}

#[derive(Deserialize)]
struct Case {
    case: String,
    raw_score: Option<f64>,
}

/// A golden competition of the repository.
struct Golden {
    id: String,
    grader: Grader,
    answers: Answers,
    /// The valid submissions with their scores.
    cases: Vec<(PathBuf, f64)>,
}

fn read_golden() -> Vec<Golden> {
    let mut competitions = Vec::new();
    for folder in fs::read_dir(support::repository().join("tests/golden/grading")).unwrap() {
        let folder = folder.unwrap().path();
        let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let entry = fs::read_to_string(support::entry_of(&folder)).unwrap();
        let mut entry: toml::Table = entry.parse().unwrap();
        let spec: GradingSpec = entry.remove("grading").unwrap().try_into().unwrap();
        let answers = ["answers.csv", "answers.jsonl"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| path.is_file());
        let answers = Answers::read(&answers.unwrap()).unwrap();
        let cases: Vec<Case> =
            serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
        let scored = cases
            .into_iter()
            .filter_map(|c| Some((folder.join(format!("{}.csv", c.case)), c.raw_score?)))
            .collect();
        competitions.push(Golden {
            id,
            grader: Grader::new(spec).unwrap(),
            answers,
            cases: scored,
        });
    }
    competitions
}

static GOLDEN: LazyLock<Vec<Golden>> = LazyLock::new(read_golden);

/// Competitions whose reference pairs rows by their position in the file, at least in part: rows
/// with the same id, say.
const BY_POSITION: [&str; 8] = [
    "iwildcam-2019-fgvc6",
    "iwildcam-2020-fgvc7",
    "nomad2018-predict-transparent-conductors",
    "smartphone-decimeter-2022",
    "stanford-covid-vaccine",
    "uw-madison-gi-tract-image-segmentation",
    "vesuvius-challenge-ink-detection",
    "hms-harmful-brain-activity-classification",
];

#[test]
fn the_order_of_rows_does_not_matter() {
    for Golden { id, grader, answers, cases } in GOLDEN.iter() {
        if BY_POSITION.contains(&id.as_str()) {
            continue;
        }
        for (path, score) in cases.iter().filter(|(path, _)| path.ends_with("perfect.csv")) {
            let text = fs::read_to_string(path).unwrap();
            if text.contains('"') {
                continue;
            }
            let mut lines: Vec<&str> = text.lines().collect();
            lines[1..].reverse();
            let table = Table::parse(lines.join("\n").into_bytes(), &Limits::default()).unwrap();
            let verdict = grader.grade(&table, answers).unwrap();
            let reversed = verdict.score().unwrap_or_else(|| panic!("{id}: {verdict:?}")).raw;
            assert!(
                (reversed - score).abs() <= 1e-7 * score.abs().max(1.0),
                "{id}: {reversed}, not {score}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// A submission damaged anywhere is graded or refused; nothing panics.
    #[test]
    fn damaged_submissions_are_graded_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            Just(None), prop::sample::select(&b",\n\r\" -.019eNanif+_\xff\0"[..]).prop_map(Some)
        ]), 1..12),
    ) {
        for Golden { id, grader, answers, cases } in GOLDEN.iter() {
            for (path, _) in cases.iter().take(2) {
                let mut bytes = fs::read(path).unwrap();
                for (place, byte) in &edits {
                    let place = place.index(bytes.len());
                    match byte {
                        Some(byte) => bytes[place] = *byte,
                        None => drop(bytes.remove(place)),
                    }
                }
                if let Ok(table) = Table::parse(bytes, &Limits::default()) {
                    let graded = grader.grade_strictly(&table, answers).unwrap_or_else(|error| panic!("{id}: {error}"));
                    if let Verdict::Invalid(invalid) = graded.verdict {
                        prop_assert!(!invalid.to_string().is_empty());
                        prop_assert!(graded.strict_score.is_none());
                    }
                }
            }
        }
    }
}
