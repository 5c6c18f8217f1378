//! Made-up competitions: clean ones, on which nothing may be reported, and ones with a planted leak
//! each, which must be.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use medalist_fairness::{Finding, Report, Settings, Severity, Subject, check, look};
use medalist_grading::table::{Limits, Table};
use medalist_grading::{Answers, Grader, GradingSpec};
use medalist_stats::Rng;
use proptest::prelude::*;

/// What kind of answer is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Number,
    Two,
    /// Two classes, of which one is rare.
    Rare,
    Five,
}

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leak {
    None,
    /// Ids of all rows rise with the answer.
    SortedIds,
    /// Test rows stand in the order of their answers, with ids that mean nothing.
    SortedRows,
    /// Ids of both parts go through the classes in turn, in runs of ten.
    Runs,
    /// A tenth of the test rows are training rows.
    Copies,
    /// The same, with texts in other case and numbers cut.
    NearCopies,
    Copy,
    Rising,
    Falling,
    /// A column of words, one for each class.
    Code,
    FileSize,
    FileName,
    FileTime,
    ArchiveOrder,
}

struct Made {
    dir: tempfile::TempDir,
    grading: GradingSpec,
}

impl Made {
    fn subject(&self) -> Subject<'_> {
        let at = |name: &str| self.dir.path().join(name);
        Subject {
            id: "made-up",
            grading: &self.grading,
            public: at("public"),
            sample: at("public/sample_submission.csv"),
            answers: at("private/answers.csv"),
            thresholds: None,
            board: None,
        }
    }

    fn look(&self) -> Report {
        look(&self.subject(), Settings::default()).unwrap()
    }
}

fn grading(kind: Kind) -> GradingSpec {
    let (metric, direction) = match kind {
        Kind::Number => ("rmse", "lower"),
        Kind::Two | Kind::Rare | Kind::Five => ("accuracy", "higher"),
    };
    let text = format!(
        "metric = \"{metric}\"\ndirection = \"{direction}\"\nid_columns = [\"id\"]\ntarget_columns = [\"y\"]\n\
         checks = [\"id_columns\", \"target_columns\", \"row_count\", \"ids\"]\n"
    );
    toml::from_str(&text).unwrap()
}

/// Words of which a few are frequent.
fn words(rng: &mut Rng) -> String {
    let count = 6 + rng.below(20);
    let word = |rng: &mut Rng| {
        let spread = (rng.unit() * rng.unit() * 4000.0) as usize;
        format!("w{spread:x}")
    };
    (0..count).map(|_| word(rng)).collect::<Vec<_>>().join(" ")
}

struct Row {
    id: String,
    /// Cells of the columns, beside the id and the answer.
    cells: Vec<String>,
    y: String,
    number: f64,
}

/// A normal number, nearly.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0
}

fn rows(kind: Kind, leak: Leak, count: usize, rng: &mut Rng) -> (Vec<String>, Vec<Row>) {
    let columns = 2 + rng.below(5);
    let kinds: Vec<usize> = (0..columns).map(|_| rng.below(5)).collect();
    let with_text = rng.below(3) == 0 || leak == Leak::NearCopies;
    let mut names: Vec<String> = (0..columns).map(|at| format!("x{at}")).collect();
    names.push("z".to_owned());
    if with_text {
        names.push("text".to_owned());
    }
    let extra = matches!(leak, Leak::Copy | Leak::Rising | Leak::Falling | Leak::Code);
    if extra {
        names.push("told".to_owned());
    }
    let made = (0..count).map(|_| {
        let base = normal(rng);
        let mut cells: Vec<String> = kinds
            .iter()
            .map(|kind| match kind {
                0 => format!("{:.4}", normal(rng)),
                1 => rng.below(40).to_string(),
                3 => u8::from(rng.below(50) == 0).to_string(),
                2 => ["red", "green", "blue"][rng.below(3)].to_owned(),
                _ => format!("{:.3}", base + normal(rng)),
            })
            .collect();
        // What the answer depends on, less than wholly.
        cells.push(format!("{base:.4}"));
        if with_text {
            cells.push(words(rng));
        }
        let number = base + normal(rng);
        let y = match kind {
            Kind::Number => format!("{number:.5}"),
            Kind::Two => u8::from(number > 0.5).to_string(),
            Kind::Rare => u8::from(number > 3.0).to_string(),
            Kind::Five => ["ash", "birch", "cedar", "dogwood", "elm"]
                [((number + 2.5).clamp(0.0, 4.9)) as usize]
                .to_owned(),
        };
        match leak {
            Leak::Copy => cells.push(y.clone()),
            Leak::Rising => cells.push(format!("{:.5}", (number / 3.0).exp())),
            Leak::Falling => cells.push(format!("{:.5}", -number.powi(3))),
            Leak::Code => cells.push(format!("c{}", y.len() * 7 + usize::from(y.as_bytes()[0]))),
            _ => {}
        }
        Row { id: String::new(), cells, y, number }
    });
    let made = made.collect();
    (names, made)
}

fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.below(i + 1));
    }
}

fn name(rows: &mut [Row], leak: Leak, rng: &mut Rng) {
    match leak {
        Leak::SortedIds => rows.sort_by(|a, b| a.number.total_cmp(&b.number)),
        Leak::Runs => {
            rows.sort_by(|a, b| a.y.cmp(&b.y));
            // Runs of ten rows of a class, in random order.
            let count = rows.len();
            let mut runs: Vec<usize> = (0..count.div_ceil(10)).collect();
            shuffle(&mut runs, rng);
            for (at, row) in rows.iter_mut().enumerate() {
                row.id = format!("{:06}", runs[at / 10] * 10 + at % 10);
            }
            return;
        }
        _ => {}
    }
    let style = rng.below(3);
    let mut numbers: Vec<usize> = (0..rows.len()).collect();
    if leak != Leak::SortedIds {
        shuffle(&mut numbers, rng);
    }
    for (row, number) in rows.iter_mut().zip(numbers) {
        row.id = match style {
            0 => number.to_string(),
            1 => format!("id_{number:06}"),
            _ if leak == Leak::SortedIds => format!("{number:08}"),
            _ => format!("{:016x}", rng.next_u64()),
        };
    }
}

fn table(names: &[String], rows: &[Row], with_answer: bool) -> String {
    let mut text = format!("id,{}", names.join(","));
    text.push_str(if with_answer { ",y\n" } else { "\n" });
    for row in rows {
        let _ = write!(text, "{},{}", row.id, row.cells.join(","));
        let _ = writeln!(
            text,
            "{}{}",
            if with_answer { "," } else { "" },
            if with_answer { &row.y } else { "" }
        );
    }
    text
}

fn competition(kind: Kind, leak: Leak, seed: u64) -> Made {
    let rng = &mut Rng::new(seed);
    let (train_rows, test_rows) = (200 + rng.below(500), 80 + rng.below(320));
    let (names, mut all) = rows(kind, leak, train_rows + test_rows, rng);
    if matches!(leak, Leak::Copies | Leak::NearCopies) {
        for at in 0..test_rows / 10 {
            let (from, to) = (rng.below(train_rows), train_rows + at);
            let cells = all[from].cells.iter().map(|cell| match leak {
                Leak::NearCopies if cell.starts_with('w') => cell.to_uppercase() + " !",
                _ => cell.clone(),
            });
            all[to].cells = cells.collect();
            all[to].y = all[from].y.clone();
        }
        name(&mut all, leak, rng);
    } else {
        name(&mut all, leak, rng);
        shuffle(&mut all, rng);
    }
    let mut test = all.split_off(train_rows);
    let mut train = all;
    match leak {
        Leak::SortedRows => test.sort_by(|a, b| a.number.total_cmp(&b.number)),
        _ => shuffle(&mut test, rng),
    }
    shuffle(&mut train, rng);
    let dir = tempfile::tempdir().unwrap();
    let with_files = seed.is_multiple_of(3)
        || matches!(leak, Leak::FileSize | Leak::FileName | Leak::FileTime | Leak::ArchiveOrder);
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    if with_files {
        files(dir.path(), &mut test, leak, rng);
    }
    write("public/train.csv", table(&names, &train, true));
    write("public/test.csv", table(&names, &test, false));
    let answers = |y: &dyn Fn(&Row) -> String| {
        let lines = test.iter().map(|row| format!("{},{}\n", row.id, y(row)));
        format!("id,y\n{}", lines.collect::<String>())
    };
    write("private/answers.csv", answers(&|row| row.y.clone()));
    let constant = if kind == Kind::Five { "ash" } else { "0" };
    write("public/sample_submission.csv", answers(&|_| constant.to_owned()));
    Made { dir, grading: grading(kind) }
}

/// A file for each test row, in the folder `public/test` or in an archive.
fn files(dir: &Path, test: &mut [Row], leak: Leak, rng: &mut Rng) {
    let folder = dir.join("public/test");
    fs::create_dir_all(&folder).unwrap();
    if leak == Leak::FileName {
        for (at, row) in test.iter_mut().enumerate() {
            row.id = format!("{}.{at}", row.y);
        }
    }
    let content = |row: &Row, rng: &mut Rng| {
        let told = if leak == Leak::FileSize { ((row.number + 20.0) * 100.0) as usize } else { 0 };
        vec![b'x'; told + if leak == Leak::FileSize { 0 } else { 500 + rng.below(400) }]
    };
    if leak == Leak::ArchiveOrder {
        let mut order: Vec<usize> = (0..test.len()).collect();
        order.sort_by(|&a, &b| test[a].number.total_cmp(&test[b].number));
        let mut zip = zip::ZipWriter::new(File::create(dir.join("public/test.zip")).unwrap());
        for at in order {
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(format!("test/{}.bin", test[at].id), options).unwrap();
            zip.write_all(&content(&test[at], rng)).unwrap();
        }
        zip.finish().unwrap();
        return;
    }
    for row in test.iter() {
        let path = folder.join(format!("{}.bin", row.id));
        fs::write(&path, content(row, rng)).unwrap();
        let seconds = match leak {
            Leak::FileTime => 1_000_000.0 + row.number * 1000.0,
            _ => 1_000_000.0 + rng.unit() * 1000.0,
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
}

/// Findings that say that answers are given away.
fn leaks(report: &Report) -> Vec<&Finding> {
    let kinds = [
        "id-order",
        "id-nearest",
        "id-neighbours",
        "row-order",
        "row-neighbours",
        "copies",
        "file-copies",
        "column",
        "file-size",
        "file-time",
        "file-order",
        "file-names",
    ];
    report.findings.iter().filter(|finding| kinds.contains(&finding.kind)).collect()
}

/// Clean competitions, of all kinds of answers, ids and columns, and a third with files.
const CLEAN: u64 = 240;

#[test]
fn nothing_is_reported_on_clean_data() {
    let kinds = [Kind::Number, Kind::Two, Kind::Rare, Kind::Five];
    let mut alarms = Vec::new();
    let mut probes = 0;
    for seed in 0..CLEAN {
        let report = competition(kinds[seed as usize % 4], Leak::None, seed).look();
        probes += report.leaks.probes.len();
        for finding in leaks(&report) {
            alarms.push(format!("{seed}: {}", finding.summary));
        }
    }
    assert!(probes as u64 > 3 * CLEAN, "{probes} probes were made");
    assert!(alarms.is_empty(), "{} of {CLEAN}: {alarms:#?}", alarms.len());
}

#[test]
fn every_planted_leak_is_found() {
    let planted = [
        (Leak::SortedIds, "id-order"),
        (Leak::SortedRows, "row-order"),
        (Leak::Runs, "id-nearest"),
        (Leak::Copies, "copies"),
        (Leak::NearCopies, "copies"),
        (Leak::Copy, "column"),
        (Leak::Rising, "column"),
        (Leak::Falling, "column"),
        (Leak::Code, "column"),
        (Leak::FileSize, "file-size"),
        (Leak::FileName, "file-names"),
        (Leak::FileTime, "file-time"),
        (Leak::ArchiveOrder, "file-order"),
    ];
    let mut missed = Vec::new();
    for (leak, kind) in planted {
        for answer in [Kind::Number, Kind::Two, Kind::Five] {
            // Words and runs need classes; a rising column is one of a number or of two classes.
            let fits = match leak {
                Leak::FileName | Leak::Code => answer == Kind::Five,
                Leak::Runs => answer != Kind::Number,
                Leak::Rising | Leak::Falling => answer != Kind::Five,
                _ => true,
            };
            if !fits {
                continue;
            }
            let report = competition(answer, leak, 7).look();
            let found: Vec<&Finding> =
                leaks(&report).into_iter().filter(|finding| finding.kind == kind).collect();
            let worst = found.iter().map(|finding| finding.severity).max();
            // Order within a class is lost where there are two or five.
            let least = match (leak, answer) {
                (Leak::Runs, _) => Severity::Warning,
                _ => Severity::Fault,
            };
            if worst < Some(least) {
                missed.push(format!("{leak:?}, {answer:?}: {:#?}", report.findings));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_whole_check_has_a_ladder_and_the_noise() {
    let made = competition(Kind::Two, Leak::None, 3);
    let subject = made.subject();
    let score = |path: &Path| {
        let read = |path: &Path| Table::read(path, &Limits::trusted()).map_err(|e| e.to_string());
        let answers = Answers::Table(read(&subject.answers)?);
        let verdict = Grader::new(made.grading.clone())
            .unwrap()
            .grade(&read(path)?, &answers)
            .map_err(|error| error.to_string())?;
        verdict.score().map(|score| score.rounded).ok_or_else(|| format!("{verdict:?}"))
    };
    let settings = Settings { time: Duration::from_secs(5), ..Settings::default() };
    let report = check(&subject, settings, &score);
    let of =
        |name: &str| report.ladder.rungs.iter().find(|rung| rung.name == name).map(|r| r.score);
    for name in ["sample", "mean", "linear", "trees"] {
        assert!(of(name).is_some(), "{name}: {report:#?}");
    }
    assert!(of("linear") > of("mean"), "{:#?}", report.ladder);
    let noise = report.noise.as_ref().unwrap();
    assert!(noise.margin > 0.01 && noise.margin < 0.15, "{noise:?}");
    let again = check(&subject, settings, &score);
    assert_eq!((report.ladder, report.noise), (again.ladder, again.noise));
    // What is not measured is said.
    assert!(report.not_measured.iter().any(|gap| gap.what == "model `net`"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the files hold, a check ends with a report.
    #[test]
    fn no_file_stops_a_check(
        train in "[a-z,\"\n0-9.]{0,200}",
        test in "[a-z,\"\n0-9.]{0,200}",
        answers in "(id,y\n)?[a-z,\"\n0-9.]{0,200}",
    ) {
        let made = competition(Kind::Two, Leak::None, 1);
        let at = |name: &str| made.dir.path().join(name);
        fs::write(at("public/train.csv"), train).unwrap();
        fs::write(at("public/test.csv"), test).unwrap();
        fs::write(at("private/answers.csv"), answers).unwrap();
        let report = check(&made.subject(), Settings::default(), &|_| Err("not graded".to_owned()));
        prop_assert!(!report.not_measured.is_empty());
    }
}
