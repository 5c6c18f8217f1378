//! What grading a submission costs in memory: at most three bytes for each byte of the files, for
//! every metric, also where the submission is made to be as dear as can be.

use std::fmt::Write as _;

use medalist_grading::table::Limits;
use medalist_grading::{Grader, GradingSpec, METRICS, PublicFacts};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes of memory for each byte of the two files.
const MOST: f64 = 3.0;
/// Shapes that still take more, and how much at most: what stays to be done.
const ABOVE: [(&str, &str, f64); 2] =
    [("weighted_roc_auc", "many rows", 3.1), ("box_3d_map", "many rows", 3.7)];
/// What does not grow with the files: buffers of threads, tables of small things.
const FIXED: f64 = 300_000.0;

/// A competition whose submission is large.
struct Shape {
    metric: &'static str,
    /// What is special about it.
    what: &'static str,
    entry: &'static str,
    answers: String,
    submission: String,
}

/// Rows of a file in which the k-th line is `line(k)`.
fn rows(header: &str, count: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = format!("{header}\n");
    for k in 0..count {
        text.push_str(&line(k));
        text.push('\n');
    }
    text
}

/// A file of one row, whose last cell repeats `part` up to a size.
fn one_cell(header: &str, start: &str, part: impl Fn(usize) -> String, size: usize) -> String {
    let mut text = format!("{header}\n{start}");
    let mut k = 0;
    while text.len() < size {
        write!(text, "{}{}", if k == 0 { "" } else { " " }, part(k)).expect("strings grow");
        k += 1;
    }
    text + "\n"
}

const SIZE: usize = 1_500_000;
const ROWS: usize = 60_000;

/// Ids as competitions have them, each once, in another order in the submission.
fn id(k: usize) -> String {
    format!("{:010x}.jpg", k * 7_919 % ROWS)
}

/// A competition of one target column, with lines `id,cell` in both files.
fn cells(
    metric: &'static str,
    entry: &'static str,
    truth: impl Fn(usize) -> String,
    predicted: impl Fn(usize) -> String,
) -> Shape {
    Shape {
        metric,
        what: "many rows",
        entry,
        answers: rows("id,x", ROWS, |k| format!("{k:010x}.jpg,{}", truth(k))),
        submission: rows("id,x", ROWS, |k| format!("{},{}", id(k), predicted(k))),
    }
}

/// A competition of one row, whose submitted cell is huge.
fn huge(
    metric: &'static str,
    entry: &'static str,
    truth: &str,
    part: impl Fn(usize) -> String,
) -> Shape {
    Shape {
        metric,
        what: "one huge cell",
        entry,
        answers: format!("id,x\na,{truth}\n"),
        submission: one_cell("id,x", "a,", part, SIZE),
    }
}

fn share(k: usize) -> String {
    format!("0.{:06}", k * 7_919 % 999_983)
}

fn label_shapes() -> Vec<Shape> {
    let class = |k: usize| (k % 7).to_string();
    let binary = |k: usize| (k % 2).to_string();
    let names = ["accuracy", "top_1_error", "f1_macro", "quadratic_weighted_kappa"];
    let mut shapes: Vec<Shape> = names.map(|name| cells(name, "", class, class)).into();
    shapes.push(cells("matthews_corrcoef", "", class, class));
    shapes.push(cells("text_accuracy", "", |k| format!("word{}", k % 99), |_| "word1".into()));
    let guesses = |k: usize| format!("{} {} {} 4 5", k % 9, k % 8, k % 7);
    shapes.push(cells("map_at_k", "options = { k = 5 }", guesses, guesses));
    shapes.push(cells("f1_micro_label_sets", "", guesses, guesses));
    let one = |k: usize| ["a", "b", "z"][k % 3].to_owned();
    shapes.push(huge("f1_micro_label_sets", "", "a b c", one));
    shapes.push(huge("map_at_k", "options = { k = 5 }", "a b c", one));
    for name in ["ndcg_at_k", "top_k_error"] {
        shapes.push(cells(name, "options = { k = 5 }", guesses, guesses));
        shapes.push(huge(name, "options = { k = 5 }", "a b c", one));
    }
    shapes.push(cells("mean_f_beta_sets", "", guesses, guesses));
    shapes.push(huge("mean_f_beta_sets", "", "a b c", one));
    let sure = |k: usize| format!("{} 0.{:05}", k % 9, k % 99_991);
    shapes.push(cells("global_average_precision", "", class, sure));
    for name in ["log_loss", "roc_auc", "probabilistic_f1", "mae", "rmse", "rmsle", "pearsonr"] {
        shapes.push(cells(name, "", binary, share));
    }
    shapes.push(cells("spearman", "", share, share));
    shapes.extend(
        ["f_beta", "balanced_accuracy", "cohen_kappa", "hamming_loss"]
            .map(|name| cells(name, "", class, class)),
    );
    for name in ["columnwise_log_loss", "average_precision", "gini", "normalized_gini"] {
        shapes.push(cells(name, "", binary, share));
    }
    for name in ["mse", "msle", "mape", "smape", "rmspe", "r2", "median_absolute_error"] {
        shapes.push(cells(name, "", share, share));
    }
    shapes.push(cells("pinball_loss", "options = { quantile = 0.9 }", share, share));
    let bands = "options = { bounds = [0.0, 0.4, 1.0], weights = [2.0, 1.0] }";
    shapes.push(cells("weighted_roc_auc", bands, binary, share));
    shapes
}

fn text_shapes() -> Vec<Shape> {
    let one = |k: usize| ["a", "b", "z"][k % 3].to_owned();
    let word = |k: usize| format!("Wort{k}");
    let digit = |k: usize| (k % 9).to_string();
    let long = "a line of text that is longer than a machine word has bits, which matters here ";
    vec![
        cells("levenshtein", "", |k| format!("text number {k}"), |k| format!("text no. {k}")),
        huge("levenshtein", "", long, one),
        cells("word_jaccard", "", |k| format!("text number {k}"), |k| format!("Text no. {k}")),
        huge("word_jaccard", "", long, one),
        huge("word_jaccard", "", long, word),
        cells("sequence_error_rate", "", |k| format!("1 2 {}", k % 9), |k| format!("1 {k} 3")),
        huge("sequence_error_rate", "", "1 2 3 4 5", digit),
        huge("sequence_error_rate", "", "1 2 3 4 5", |k| (k + 1_000_000).to_string()),
        cells("kendall_tau_orders", "", |_| "aa bb cc".into(), |_| "bb cc aa".into()),
    ]
}

fn box_shapes() -> Vec<Shape> {
    let labelled = |k: usize| format!("a 0.{} 1 1 4 4", k % 10);
    let small = |k: usize| format!("{} 1 1 1 9 9", ["a", "b"][k % 2]);
    let (truth, both) = ("a 1 1 1 4 4", "a 1 1 1 4 4 b 1 0 0 9 9");
    let solid = |k: usize| format!("{} 1 2 3 1 1 1 0 {}", k % 10, ["car", "bus"][k % 2]);
    let one_solid = |_| "1 1 2 3 1 1 1 0 car".to_owned();
    let point = |k: usize| format!("{} 1 1", ["a", "b"][k % 2]);
    let coco = |k: usize| format!("1 0.{} 1 1 4 4", k % 10);
    let coco_entry = "options = { min_iou = 0.4 }";
    let coco_truth = "id,class_id,x_min,y_min,x_max,y_max\n";
    vec![
        cells("labelled_box_map", "", |k| small(k % 2), labelled),
        huge("labelled_box_map", "", truth, labelled),
        huge("labelled_box_map", "", both, small),
        huge("labelled_box_map", "", truth, |_| "a 1 1 1 4 4".into()),
        cells("box_3d_map", "", one_solid, one_solid),
        huge("box_3d_map", "", &one_solid(0), solid),
        huge("box_3d_map", "", &one_solid(0), one_solid),
        cells("point_in_box_f1", "", |_| "a 0 0 9 9".into(), point),
        huge("point_in_box_f1", "", "a 0 0 9 9 b 0 0 9 9", point),
        huge("point_in_box_f1", "", "a 0 0 9 9", |_| "a 1 1".into()),
        Shape {
            answers: coco_truth.to_owned() + "a,1,1,1,4,4\n",
            ..huge("coco_box_map", coco_entry, "", coco)
        },
        Shape {
            answers: coco_truth.to_owned() + "a,1,1,1,4,4\n",
            ..huge("coco_box_map", coco_entry, "", |_| "1 1 1 1 4 4".into())
        },
        Shape {
            metric: "coco_box_map",
            what: "many rows",
            entry: coco_entry,
            answers: rows(coco_truth.trim_end(), ROWS / 2, |k| {
                format!("{k:032x},{},1051.0,1104.0,1423.0,1995.0", k % 14)
            }),
            submission: rows("id,x", ROWS / 2, |k| format!("{k:032x},{} {}", coco(k), coco(k))),
        },
    ]
}

fn mask_shapes() -> Vec<Shape> {
    let run = |k: usize| format!("{} 1", 2 * k + 1);
    let touching = |k: usize| format!("{} 1", k + 1);
    let short = |k: usize| format!("{} 5 {} 7", k % 50 + 1, k % 50 + 60);
    let dice = "options = { height = \"h\", width = \"w\" }";
    let iou = "options = { height = 9999, width = 9999 }";
    let sizes = |name: &str| format!("id,x,{name}\na,1 5 9 7,9999,9999\n");
    let volumes = "pairing = \"file_order\"";
    let mut shapes = vec![
        cells("mask_iou_precision", iou, short, short),
        huge("mask_iou_precision", iou, "1 5 9 7", run),
        Shape { answers: sizes("h,w"), ..huge("dice", dice, "", run) },
        Shape { answers: sizes("h,w"), ..huge("dice", dice, "", touching) },
        Shape { answers: sizes("width,height"), ..huge("mask_f_beta", "", "", run) },
        Shape {
            answers: sizes("image_height,image_width"),
            ..huge("dice_hausdorff", volumes, "", run)
        },
    ];
    let slice = |k: usize| format!("case{}_day0_slice_{:04}", k / 144, k % 144);
    shapes.push(Shape {
        metric: "dice_hausdorff",
        what: "many rows",
        entry: volumes,
        answers: rows("id,x,image_height,image_width", ROWS / 4, |k| {
            format!("{},{},99,99", slice(k), short(k))
        }),
        submission: rows("id,x", ROWS / 4, |k| format!("{},{}", slice(k), short(k))),
    });
    shapes
}

/// Metrics of several columns, or with columns of their own in the answers.
fn wide_shapes() -> Vec<Shape> {
    let shape = |metric,
                 entry,
                 answers: (&str, fn(usize) -> String),
                 submission: (&str, fn(usize) -> String)| {
        Shape {
            metric,
            what: "many rows",
            entry,
            answers: rows(answers.0, ROWS / 2, answers.1),
            submission: rows(submission.0, ROWS / 2, submission.1),
        }
    };
    let weighted = |metric| {
        shape(
            metric,
            "options = { weight = \"w\" }",
            ("id,x,w", |k| format!("{k:010x},{},0.5", share(k))),
            ("id,x", |k| format!("{k:010x},{}", share(k + 1))),
        )
    };
    let classes = "target_columns = [\"p\", \"q\", \"r\"]";
    let one_hot = |k: usize| format!("{k:010x},{},{},{}", k % 2, 1 - k % 2, 0);
    let thirds = |k: usize| format!("{k:010x},0.250000,0.250000,0.500000");
    let header = "id,p,q,r";
    let two = "target_columns = [\"p\", \"q\"]";
    let degrees = |k: usize| format!("{k:010x},1.{:06},0.{:06}", k % 9973, k % 9967);
    let jigsaw = "options = { alternative = \"toxicity\", identities = [\"man\", \"woman\"] }\n\
                  answer_columns = [\"toxicity\"]";
    vec![
        shape("log_loss", classes, (header, one_hot), (header, thirds)),
        shape("lwlrap", classes, (header, one_hot), (header, thirds)),
        shape("kl_divergence", classes, (header, one_hot), (header, thirds)),
        shape(
            "jigsaw_toxic_roc_auc",
            "target_columns = [\"p\", \"q\"]",
            ("id,p,q", |k| format!("{k:010x},{},{}", k % 2, 1 - k % 2)),
            ("id,p,q", degrees),
        ),
        shape(
            "jigsaw_identity_auc",
            jigsaw,
            ("id,toxicity,man,woman", |k| {
                format!("{k:010x},{}.0,{}.0,{}.0", k % 2, k / 2 % 2, k / 4 % 2)
            }),
            ("id,x", |k| format!("{k:010x},{}", share(k))),
        ),
        weighted("weighted_mae"),
        weighted("weighted_rmse"),
        shape(
            "weighted_accuracy",
            "options = { weight = \"w\" }",
            ("id,x,w", |k| format!("{k:010x},{},0.5", k % 7)),
            ("id,x", |k| format!("{k:010x},{}", k % 5)),
        ),
        shape(
            "group_log_mae",
            "options = { group = \"type\" }",
            ("id,type,x", |k| format!("{k:010x},{}JHC,{}", k % 3, share(k))),
            ("id,x", |k| format!("{k:010x},{}", share(k + 1))),
        ),
        shape("mean_angular_error", two, ("id,p,q", degrees), ("id,p,q", degrees)),
        shape(
            "laplace_log_likelihood",
            two,
            ("id,p,q,Patient", |k| {
                format!("{0:08x}_{1},{2},100,{0:08x}", k / 9, k % 9, 2000 + k % 999)
            }),
            ("id,p,q", |k| format!("{:08x}_{},{},{}", k / 9, k % 9, 2000 + k % 99, 100 + k % 99)),
        ),
        shape(
            "trip_distance_quantiles",
            two,
            ("id,p,q", |k| format!("trip-{:04},37.{},-122.{}", k / 500, k % 997, k % 991)),
            ("id,p,q", |k| format!("trip-{:04},37.{},-122.{}", k / 500, k % 983, k % 977)),
        ),
        shape(
            "weighted_multilabel_log_loss",
            "",
            ("id,x", |k| format!("1.2.826.0.{}_{},{}", k / 8, FRACTURES[k % 8], k % 2)),
            ("id,x", |k| format!("1.2.826.0.{}_{},{}", k / 8, FRACTURES[k % 8], share(k))),
        ),
        shape(
            "command",
            "options = { command = [\"sh\", \"-c\", 'echo \"{\\\"score\\\": 1.0}\"'] }",
            ("id,x", |k| format!("{k:010x},1")),
            ("id,x", |k| format!("{k:010x},{}", share(k))),
        ),
        shape(
            "answer_span_f1",
            "",
            ("", |k| {
                format!(
                    "{{\"example_id\": \"{k:019}\", \"annotations\": [{{\"yes_no_answer\": \"NONE\", \"long_answer\": \
             {{\"start_token\": {k}, \"end_token\": 99}}, \"short_answers\": []}}]}}"
                )
            }),
            ("id,x", |k| format!("{k:019}_long,{k}:99\n{k:019}_short,1:2")),
        ),
    ]
}

const FRACTURES: [&str; 8] = ["patient_overall", "C1", "C2", "C3", "C4", "C5", "C6", "C7"];

impl Shape {
    fn grader(&self) -> Grader {
        let targets =
            if self.entry.contains("target_columns") { "" } else { "target_columns = [\"x\"]" };
        let entry = format!(
            "metric = \"{}\"\ndirection = \"higher\"\nid_columns = [\"id\"]\n{targets}\n{}",
            self.metric, self.entry
        );
        let spec: GradingSpec = toml::from_str(&entry).unwrap_or_else(|e| panic!("{entry}: {e}"));
        Grader::new(spec).unwrap_or_else(|error| panic!("{entry}: {error}"))
    }

    /// Bytes of memory that grading and then validating takes for each byte of the files.
    fn bytes_per_byte(&self) -> [f64; 2] {
        let folder = tempfile::tempdir().unwrap();
        let lines = self.metric == "answer_span_f1";
        let answers = folder.path().join(if lines { "answers.jsonl" } else { "answers.csv" });
        let submission = folder.path().join("submission.csv");
        std::fs::write(&answers, &self.answers).unwrap();
        std::fs::write(&submission, &self.submission).unwrap();
        let grader = self.grader();
        let bytes = (self.answers.len() + self.submission.len()) as f64;
        let measured = |run: &dyn Fn()| {
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            run();
            (MEMORY.peak_usage().saturating_sub(before) as f64 - FIXED).max(0.0) / bytes
        };
        let graded = measured(&|| {
            let graded = grader.grade_files(&submission, &answers, &Limits::default()).unwrap();
            let verdict = graded.verdict;
            assert!(verdict.score().is_some(), "{} ({}): {verdict:?}", self.metric, self.what);
        });
        // The submission stands for the sample, which has as many rows and the same ids.
        let validated = measured(&|| {
            let facts = PublicFacts::read(&submission).unwrap();
            let valid = grader.validate_file(&submission, &facts, &Limits::default()).unwrap();
            assert_eq!(valid, Ok(()), "{} ({})", self.metric, self.what);
        });
        // Two copies of the submission are read then.
        [graded, validated * bytes / (2.0 * self.submission.len() as f64)]
    }
}

#[test]
fn grading_takes_three_bytes_a_byte_at_most() {
    // Threads and their buffers are there before anything is measured.
    rayon::broadcast(|_| ());
    let shapes = [label_shapes(), text_shapes(), box_shapes(), mask_shapes(), wide_shapes()];
    let shapes: Vec<Shape> = shapes.into_iter().flatten().collect();
    for metric in METRICS {
        let covered = shapes.iter().any(|shape| shape.metric == metric.name);
        assert!(covered, "{} is not measured", metric.name);
    }
    let mut dear = Vec::new();
    for shape in &shapes {
        let [graded, validated] = shape.bytes_per_byte();
        println!("{:30} {:14} {graded:5.2} {validated:5.2}", shape.metric, shape.what);
        let above =
            ABOVE.iter().find(|(metric, what, _)| (*metric, *what) == (shape.metric, shape.what));
        let most = above.map_or(MOST, |(.., most)| *most);
        if graded > most || validated > most {
            dear.push((shape.metric, shape.what, graded, validated));
        }
    }
    assert!(dear.is_empty(), "bytes of memory for each byte, graded and validated: {dear:#?}");
}
