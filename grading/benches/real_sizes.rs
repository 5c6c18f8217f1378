//! Grading at the sizes of the real competitions, from the files' bytes to the verdict.
//!
//! The data is made up, with as many rows, boxes and runs as the real test sets have. `cargo bench
//! -p medalist-grading --bench real_sizes`.

use std::fmt::Write;
use std::path::Path;

use divan::Bencher;
use divan::counter::BytesCount;
use medalist_grading::rle::{Run, encode};
use medalist_grading::table::{Limits, Table};
use medalist_grading::{Answers, Grader, GradingSpec};

fn main() {
    divan::main();
}

/// A fixed stream of numbers, so that every run grades the same files.
struct Numbers(u64);

impl Numbers {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// A number at most `spread` away from `centre`.
    fn around(&mut self, centre: i64, spread: u64) -> i64 {
        centre + self.below(2 * spread + 1) as i64 - spread as i64
    }
}

/// A competition's grader by its entry in the catalogue.
fn grader(id: &str) -> Grader {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../competitions/catalog").join(id);
    let entry = std::fs::read_to_string(folder.join("competition.toml"))
        .expect("the catalogue has the competition");
    let entry: toml::Table = toml::from_str(&entry).expect("the entry is TOML");
    let spec: GradingSpec =
        entry["grading"].clone().try_into().expect("the entry describes the grading");
    Grader::new(spec).expect("the grading can be used")
}

/// Answers and submission as CSV.
struct Files {
    answers: String,
    submission: String,
}

fn bench(bencher: Bencher<'_, '_>, id: &str, files: &Files) {
    let grader = grader(id);
    let table = |text: &str| {
        Table::parse(text.as_bytes().to_vec(), &Limits::default()).expect("the table is CSV")
    };
    bencher.counter(BytesCount::new(files.answers.len() + files.submission.len())).bench(|| {
        let answers = Answers::Table(table(&files.answers));
        let verdict = grader.grade(&table(&files.submission), &answers).expect("the answers fit");
        verdict.score().expect("the submission is valid")
    });
}

/// Rows as the two files, those of the submission in another order.
fn shuffled(header: &str, truth: &[String], mut predicted: Vec<String>) -> Files {
    let mut numbers = Numbers(7);
    for k in (1..predicted.len()).rev() {
        predicted.swap(k, numbers.below(k as u64 + 1) as usize);
    }
    let file = |rows: &[String]| format!("{header}\n{}\n", rows.join("\n"));
    Files { answers: file(truth), submission: file(&predicted) }
}

/// The pixels of an ellipse, numbered down the columns of an image of 266 rows.
fn ellipse(row: i64, column: i64, radius: i64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for offset in -radius..=radius {
        let half = ((radius * radius - offset * offset) as f64).sqrt() as i64;
        let first = (column + offset) * 266 + row - half;
        runs.push(Run { start: first as u64, end: (first + 2 * half + 1) as u64 });
    }
    runs
}

/// 40 days of 144 slices of 266 x 266 pixels and three organs: 17280 rows.
#[divan::bench(sample_count = 5)]
fn uw_madison_volumes(bencher: Bencher<'_, '_>) {
    let mut numbers = Numbers(1);
    let mut files = Files {
        answers: "id,class,predicted,image_width,image_height\n".into(),
        submission: "id,class,predicted\n".into(),
    };
    for day in 0..40 {
        for slice in 1..=144 {
            for (organ, class) in ["large_bowel", "small_bowel", "stomach"].into_iter().enumerate()
            {
                let (mut truth, mut predicted) = (String::new(), String::new());
                if (30..120).contains(&slice) {
                    let (row, column, radius) =
                        (80 + 50 * organ as i64, 100 + day, 12 + slice % 17);
                    truth = encode(&ellipse(row, column, radius));
                    let place = [row, column, radius].map(|v| numbers.around(v, 2));
                    predicted = encode(&ellipse(place[0], place[1], place[2]));
                }
                let id = format!("case{day}_day0_slice_{slice:04}");
                writeln!(files.answers, "{id},{class},{truth},266.0,266.0").expect("strings grow");
                writeln!(files.submission, "{id},{class},{predicted}").expect("strings grow");
            }
        }
    }
    bench(bencher, "uw-madison-gi-tract-image-segmentation", &files);
}

/// One fragment of 8181 x 6330 pixels with half a million runs.
#[divan::bench(sample_count = 5)]
fn vesuvius_fragment(bencher: Bencher<'_, '_>) {
    let mut numbers = Numbers(2);
    let (height, width) = (8181, 6330);
    let mut masks = [Vec::new(), Vec::new()];
    for row in 0..height {
        for stroke in 0..60 {
            for mask in &mut masks {
                let start = row * width + stroke * 105 + numbers.below(20);
                mask.push(Run { start, end: start + 40 + numbers.below(20) });
            }
        }
    }
    let [truth, predicted] = masks.map(|mask| encode(&mask));
    let files = Files {
        answers: format!("Id,Predicted,width,height\na,{truth},{width},{height}\n"),
        submission: format!("Id,Predicted\na,{predicted}\n"),
    };
    bench(bencher, "vesuvius-challenge-ink-detection", &files);
}

/// 4000 masks of 101 x 101 pixels.
#[divan::bench(sample_count = 5)]
fn tgs_salt_masks(bencher: Bencher<'_, '_>) {
    let mut numbers = Numbers(3);
    let mut mask = |k: u64| {
        let mut run = |column: u64| Run {
            start: column * 101 + 20,
            end: column * 101 + 40 + numbers.below(30),
        };
        if k.is_multiple_of(3) {
            String::new()
        } else {
            encode(&(0..101).map(&mut run).collect::<Vec<_>>())
        }
    };
    let mut rows = || (0..4000).map(|k| format!("{k:09x}x,{}", mask(k))).collect::<Vec<_>>();
    bench(bencher, "tgs-salt-identification-challenge", &shuffled("id,rle_mask", &rows(), rows()));
}

/// 1500 images with five true and a hundred predicted boxes each.
#[divan::bench(sample_count = 5)]
fn vinbigdata_boxes(bencher: Bencher<'_, '_>) {
    let mut numbers = Numbers(4);
    let mut files = Files {
        answers: "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n".into(),
        submission: "image_id,PredictionString\n".into(),
    };
    for image in 0..1500 {
        let mut predicted = Vec::new();
        for k in 0..100 {
            let (class, x, y) = (numbers.below(15), numbers.below(2000), numbers.below(2000));
            if k < 5 {
                writeln!(
                    files.answers,
                    "{image:031x}x,name,{class},R9,{x}.5,{y}.0,{},{}.0",
                    x + 300,
                    y + 200
                )
                .expect("strings grow");
            }
            let (x, y) = (x + numbers.below(40), y + numbers.below(40));
            predicted.push(format!(
                "{class} 0.{:03} {x} {y} {} {}",
                numbers.below(1000),
                x + 300,
                y + 200
            ));
        }
        writeln!(files.submission, "{image:031x}x,{}", predicted.join(" ")).expect("strings grow");
    }
    bench(bencher, "vinbigdata-chest-xray-abnormalities-detection", &files);
}

/// 1200 studies and images, ten predicted boxes each.
#[divan::bench(sample_count = 5)]
fn siim_covid_boxes(bencher: Bencher<'_, '_>) {
    let mut numbers = Numbers(5);
    let studies = ["negative", "typical", "indeterminate", "atypical"];
    let (mut truth, mut predicted) = (Vec::new(), Vec::new());
    for k in 0..1200_usize {
        truth.push(format!("{k:012x}_study,{} 1 0 0 1 1", studies[k % 4]));
        let guesses = studies.map(|label| format!("{label} 0.{} 0 0 1 1", numbers.below(1000)));
        predicted.push(format!("{k:012x}_study,{}", guesses.join(" ")));
        let (x, y) = (numbers.below(2000), numbers.below(2000));
        let found = format!("opacity 1 {x} {y} {} {}", x + 500, y + 700);
        truth
            .push(format!("{k:012x}_image,{}", if k % 3 == 0 { "none 1 0 0 1 1" } else { &found }));
        let mut guesses = vec![format!("none 0.{} 0 0 1 1", numbers.below(1000))];
        for _ in 0..9 {
            let (x, y) = (x + numbers.below(400), y + numbers.below(400));
            guesses.push(format!(
                "opacity 0.{} {x} {y} {} {}",
                numbers.below(1000),
                x + 500,
                y + 700
            ));
        }
        predicted.push(format!("{k:012x}_image,{}", guesses.join(" ")));
    }
    bench(bencher, "siim-covid19-detection", &shuffled("id,PredictionString", &truth, predicted));
}

/// A million contacts with text ids.
#[divan::bench(sample_count = 5)]
fn nfl_contacts(bencher: Bencher<'_, '_>) {
    let mut numbers = Numbers(6);
    let mut rows = || {
        let mut row = |k: u64| {
            let (game, step, players) = (58_168 + k / 50_000, k / 250 % 200, k % 250);
            format!(
                "{game}_003392_{step}_{}_{},{}",
                38_590 + players,
                43_854 + k,
                u64::from(numbers.below(70) == 0)
            )
        };
        (0..1_000_000).map(&mut row).collect::<Vec<_>>()
    };
    bench(
        bencher,
        "nfl-player-contact-detection",
        &shuffled("contact_id,contact", &rows(), rows()),
    );
}

/// 603600 pressures, of which the inspiratory part is graded.
#[divan::bench(sample_count = 5)]
fn ventilator_pressures(bencher: Bencher<'_, '_>) {
    let mut numbers = Numbers(8);
    let mut files = Files {
        answers: "id,breath_id,u_out,pressure\n".into(),
        submission: "id,pressure\n".into(),
    };
    for k in 0..603_600 {
        let pressure = numbers.below(40_000_000) as f64 / 1e6;
        writeln!(files.answers, "{},{},{},{pressure}", k + 1, k / 80, u8::from(k % 80 > 31))
            .expect("strings grow");
        writeln!(files.submission, "{},{}", k + 1, pressure + 0.25).expect("strings grow");
    }
    bench(bencher, "ventilator-pressure-prediction", &files);
}

/// A million normalised words.
#[divan::bench(sample_count = 5)]
fn text_normalization_words(bencher: Bencher<'_, '_>) {
    let mut numbers = Numbers(9);
    let words = ["the", ",", "nineteen eighty four", "of", "u s", ".", "a", "two thousand six"];
    let mut rows = || {
        let mut row =
            |k: u64| format!("{}_{},\"{}\"", k / 14, k % 14, words[numbers.below(8) as usize]);
        (0..990_000).map(&mut row).collect::<Vec<_>>()
    };
    bench(
        bencher,
        "text-normalization-challenge-english-language",
        &shuffled("id,after", &rows(), rows()),
    );
}
