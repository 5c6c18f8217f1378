//! What a split must hold whatever the table, and what is said of data that do not fit.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Mutex;

use medalist_grading::chain;
use proptest::prelude::*;

use super::{Parts, Run};
use crate::CompetitionSpec;
use crate::frame::{CsvOptions, Frame, train_test_split};
use crate::prepare::raw::Raw;
use crate::prepare::{Manifest, Prepare, PrepareError};
use crate::spec::FolderFiles;

/// A competition with this `[split]`.
fn competition(split: &str) -> CompetitionSpec {
    let text = format!(
        "id = \"mine\"\ntitle = \"Mine\"\nmodality = \"tabular\"\n[data]\nanswers = \"private/answers.csv\"\n\
         sample_submission = \"public/sample.csv\"\n[grading]\nmetric = \"accuracy\"\ndirection = \"higher\"\n\
         id_columns = [\"id\"]\ntarget_columns = [\"label\"]\n[split]\n{split}\n"
    );
    CompetitionSpec::parse(&text, FolderFiles::default(), Path::new("competition.toml"))
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Does something with the preparation of a competition from raw files; what is written lies in the
/// second folder.
fn with_run<T>(
    spec: &CompetitionSpec,
    files: &[(&str, &str)],
    overrides: &[(&str, &str)],
    act: impl FnOnce(&Run<'_>, &Path) -> T,
) -> T {
    let folder = tempfile::tempdir().unwrap();
    let (raw, made) = (folder.path().join("raw"), folder.path().join("prepared"));
    for (name, text) in files {
        let path = raw.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let (folders, hashed) = (Mutex::default(), Mutex::new(Manifest::default()));
    let options = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let ctx = Prepare {
        raw: Raw::open(&raw, folder.path().join("scratch"), false).unwrap(),
        prepared: made.clone(),
        scratch: folder.path().join("scratch"),
        folders: &folders,
        fixed: false,
        options: options.collect(),
        used_options: Mutex::default(),
        downloads: None,
        fetch: None,
        id: "mine",
        hashed: &hashed,
        reporter: &(),
    };
    let run = Run {
        split: spec.split.as_ref().unwrap(),
        grading: &spec.grading,
        data: &spec.data,
        ctx: &ctx,
    };
    act(&run, &made)
}

/// The parts of a table in memory.
fn divided(split: &str, table: &Frame) -> Result<Parts, PrepareError> {
    with_run(&competition(split), &[("train.csv", "id\n1\n")], &[], |run, _| {
        run.divided(table.clone())
    })
}

/// All that is written, by file.
fn made(split: &str, files: &[(&str, &str)]) -> Result<BTreeMap<String, Vec<u8>>, PrepareError> {
    let spec = competition(split);
    with_run(&spec, files, &[], |run, folder| {
        super::prepare(run.split, &spec, run.ctx)?;
        let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.file_type().is_file()).map(|entry| {
            let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(entry.path()).unwrap())
        });
        Ok(files.collect())
    })
}

fn text_of(made: &BTreeMap<String, Vec<u8>>, file: &str) -> String {
    String::from_utf8(made.get(file).unwrap_or_else(|| panic!("{file}")).clone()).unwrap()
}

/// A table of so many rows with ids and another column.
fn table(column: &str, values: &[String]) -> Frame {
    let ids: Vec<String> = (0..values.len()).map(|row| format!("r{row}")).collect();
    Frame::new("train.csv", values.len())
        .with("id", ids)
        .and_then(|table| table.with(column, values.to_vec()))
        .unwrap()
}

/// Every row is in exactly one part.
fn check_partition(parts: &Parts, rows: usize) -> Result<(), TestCaseError> {
    let (train, test) = (parts.train.texts("id").unwrap(), parts.test.texts("id").unwrap());
    let all: HashSet<&String> = train.iter().chain(&test).collect();
    prop_assert_eq!((train.len() + test.len(), all.len()), (rows, rows));
    prop_assert!(!train.is_empty() && !test.is_empty());
    Ok(())
}

const HIDDEN: &str = "test.hide = [\"label\"]\nsample.fill = { label = 0 }\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_random_split_is_that_of_scikit_learn(rows in 2usize..200, share in 0.01f64..0.99, seed in 0u32..1000) {
        let labels = vec!["x".to_owned(); rows];
        let split = format!("table = \"train.csv\"\ntest_size = {share:?}\nseed = {seed}\n{HIDDEN}");
        // A part that would be empty is refused, as scikit-learn refuses it.
        let expected = train_test_split(rows, share, seed);
        match divided(&split, &table("label", &labels)) {
            Ok(parts) => {
                check_partition(&parts, rows)?;
                prop_assert_eq!(parts.test.rows(), (share * rows as f64).ceil() as usize);
                let expected = expected.unwrap();
                let ids = |rows: &[u32]| rows.iter().map(|row| format!("r{row}")).collect::<Vec<_>>();
                prop_assert_eq!(parts.train.texts("id").unwrap(), ids(&expected.train));
                prop_assert_eq!(parts.test.texts("id").unwrap(), ids(&expected.test));
            }
            Err(_) => prop_assert!(expected.is_err()),
        }
    }

    #[test]
    fn class_shares_are_kept_within_a_row(classes in prop::collection::vec(0u8..4, 20..200), share in 0.1f64..0.6, seed in 0u32..1000) {
        let labels: Vec<String> = classes.iter().map(u8::to_string).collect();
        let split = format!("table = \"train.csv\"\nmethod = \"stratified\"\nby = \"label\"\ntest_size = {share:?}\nseed = {seed}\n{HIDDEN}");
        if let Ok(parts) = divided(&split, &table("label", &labels)) {
            check_partition(&parts, labels.len())?;
            let test = parts.test.rows() as f64 / labels.len() as f64;
            prop_assert_eq!(parts.test.rows(), (share * labels.len() as f64).ceil() as usize);
            for class in labels.iter().collect::<BTreeSet<_>>() {
                let count = |table: &[String]| table.iter().filter(|label| *label == class).count() as f64;
                let found = count(&parts.test.texts("label").unwrap());
                prop_assert!((found - count(&labels) * test).abs() < 1.0 + 1e-9, "{} of {}", found, count(&labels));
            }
        }
    }

    #[test]
    fn groups_stay_whole(groups in prop::collection::vec(0u8..12, 10..200), share in 0.1f64..0.9, seed in 0u32..1000) {
        let names: Vec<String> = groups.iter().map(|group| format!("g{group}")).collect();
        let split = format!("table = \"train.csv\"\nmethod = \"grouped\"\nby = \"group\"\ntest_size = {share:?}\nseed = {seed}\n{HIDDEN}");
        if let Ok(parts) = divided(&split, &table("group", &names)) {
            check_partition(&parts, names.len())?;
            let of = |part: &Frame| part.distinct("group").unwrap().into_iter().collect::<BTreeSet<_>>();
            let (train, test) = (of(&parts.train), of(&parts.test));
            prop_assert!(train.is_disjoint(&test));
            let all = train.len() + test.len();
            prop_assert_eq!(test.len(), (share * all as f64).ceil() as usize);
            // Rows stay in the order of the table.
            for part in [&parts.train, &parts.test] {
                let rows: Vec<usize> = part.texts("id").unwrap().iter().map(|id| id[1..].parse().unwrap()).collect();
                prop_assert!(rows.is_sorted());
            }
        }
    }

    #[test]
    fn time_never_runs_backwards_across_the_cut(days in prop::collection::vec(0i64..60, 2..120), share in 0.05f64..0.9) {
        let begin = chrono::NaiveDate::from_ymd_opt(2019, 12, 20).unwrap();
        let dates: Vec<String> = days.iter().map(|day| (begin + chrono::Days::new(*day as u64)).to_string()).collect();
        let split = format!("table = \"train.csv\"\nmethod = \"time\"\nby = \"day\"\ntest_size = {share:?}\n{HIDDEN}");
        match divided(&split, &table("day", &dates)) {
            Ok(parts) => {
                check_partition(&parts, dates.len())?;
                let (train, test) = (parts.train.texts("day").unwrap(), parts.test.texts("day").unwrap());
                let first = test.iter().min().unwrap();
                prop_assert!(train.iter().max().unwrap() < first, "{:?} {:?}", train, test);
                // As small as rows of the same day allow.
                let wanted = (share * dates.len() as f64).ceil() as usize;
                let of_first = test.iter().filter(|day| *day == first).count();
                prop_assert!(test.len() >= wanted && test.len() - of_first < wanted);
            }
            Err(error) => {
                let earliest = dates.iter().min().unwrap();
                let of_earliest = dates.iter().filter(|day| *day == earliest).count();
                let later = dates.len() - of_earliest;
                prop_assert!(later < (share * dates.len() as f64).ceil() as usize, "{}", error);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes(rows in 5usize..40, seed in 0u32..100) {
        let text: String = (0..rows).map(|row| format!("r{row},{},{}\n", row % 3, row / 4)).collect();
        let text = format!("id,label,place\n{text}");
        let files = [("train.csv", &text[..]), ("note.txt", "hello")];
        for method in ["random\"", "stratified\"\nby = \"label\"", "grouped\"\nby = \"place\""] {
            let split = format!(
                "table = \"train.csv\"\nmethod = \"{method}\ntest_size = 0.4\nseed = {seed}\ntest.file = \"public/data.zip/test.csv\"\n{HIDDEN}\
                 [[split.copy]]\nfrom = \"note.txt\"\nto = \"public/data.zip/note.txt\"\n"
            );
            match (made(&split, &files), made(&split, &files)) {
                (Ok(first), Ok(second)) => {
                    prop_assert_eq!(first.keys().collect::<Vec<_>>(), ["private/answers.csv", "public/data.zip", "public/sample.csv", "public/train.csv"]);
                    prop_assert_eq!(first, second);
                }
                (Err(first), Err(second)) => prop_assert_eq!(first.to_string(), second.to_string()),
                _ => prop_assert!(false, "one of two equal splits failed"),
            }
        }
    }
}

#[test]
fn classes_are_ordered_as_numpy_orders_them() {
    // Drawn by scikit-learn 1.5.2 for `stratify=[10, 2, 10, 2, 10, 2, 10, 2]`, `test_size=0.25` and
    // `random_state=0`: 2 comes before 10.
    let text: String =
        (0..8).map(|row| format!("{row},{}\n", if row % 2 == 0 { 10 } else { 2 })).collect();
    let table =
        Frame::from_csv(format!("id,label\n{text}"), "train.csv", &CsvOptions::default()).unwrap();
    let split = format!(
        "table = \"train.csv\"\nmethod = \"stratified\"\nby = \"label\"\ntest_size = 0.25\n{HIDDEN}"
    );
    let parts = divided(&split, &table).unwrap();
    assert_eq!(parts.train.texts("id").unwrap(), ["7", "0", "4", "5", "3", "2"]);
    assert_eq!(parts.test.texts("id").unwrap(), ["6", "1"]);
}

const TABLE: &str = "id,side,label,day,place\n7,L,a,2020-01-01,x\n8,R,b,2020-01-02,x\n9,L,a,2020-01-05,y\n7,R,b,2020-01-09,y\n";

#[test]
fn answers_take_other_shapes() {
    let given = "table = \"train.csv\"\nmethod = \"time\"\nby = \"day\"\ncut = \"2020-01-02\"\ntest.columns = [\"id\"]\n";
    let answers = |split: &str, file: &str| {
        let made = made(&format!("{given}{split}"), &[("train.csv", TABLE)]).unwrap();
        text_of(&made, file)
    };
    let shape = "sample.fill = { label = \"{side}?\" }\nadd = { id2 = \"{id:03}{side[0]}\" }\nanswers.columns = [\"id2\", \"label\"]\n";
    assert_eq!(answers(shape, "private/answers.csv"), "id2,label\n008R,b\n009L,a\n007R,b\n");
    assert_eq!(answers(shape, "public/sample.csv"), "id,label\n8,R?\n9,L?\n7,R?\n");
    let joined = "sample.fill = { label = \"\" }\nanswers.one_row_per = \"place\"\nanswers.columns = [\"place\", \"label\", \"id\"]\nanswers.join = \" \"\n";
    assert_eq!(answers(joined, "private/answers.csv"), "place,label,id\nx,b,8\ny,a b,9 7\n");
    let first = "sample.fill = { label = { guess = \"most-frequent\" } }\nanswers.one_row_per = \"place\"\n";
    assert_eq!(answers(first, "private/answers.csv"), "id,label\n8,b\n9,a\n");
    assert_eq!(answers(first, "public/sample.csv"), "id,label\n8,a\n9,a\n");
    let renamed = "sample.fill = { label = false }\nanswers.rename = { label = \"old\", side = \"label\" }\nanswers.columns = [\"id\", \"label\"]\n";
    assert_eq!(answers(renamed, "private/answers.csv"), "id,label\n8,R\n9,L\n7,R\n");
}

#[test]
fn columns_become_rows_and_rows_columns() {
    let table = "study,C1,C2,kind\ns1,0,1,yes\ns2,1,0,no\ns3,1,1,yes\n";
    let made = |split: &str| made(split, &[("train.csv", table)]).unwrap();
    let unpivoted = made(
        "table = \"train.csv\"\nmethod = \"time\"\nby = \"C1\"\ncut = \"1\"\ntest.columns = [\"study\"]\nsample.fill = { label = 0.5 }\n\
         answers.unpivot = { columns = [\"C1\", \"C2\"], id = \"{study}_{column}\" }\n",
    );
    assert_eq!(
        text_of(&unpivoted, "private/answers.csv"),
        "id,label\ns2_C1,1\ns3_C1,1\ns2_C2,0\ns3_C2,1\n"
    );
    assert_eq!(
        text_of(&unpivoted, "public/sample.csv"),
        "id,label\ns2_C1,0.5\ns3_C1,0.5\ns2_C2,0.5\ns3_C2,0.5\n"
    );

    let text = "id = \"mine\"\ntitle = \"Mine\"\nmodality = \"tabular\"\n[data]\nanswers = \"private/answers.csv\"\nsample_submission = \"public/sample.csv\"\n\
        [grading]\nmetric = \"log_loss\"\ndirection = \"lower\"\nid_columns = [\"study\"]\ntarget_columns = [\"is_no\", \"is_yes\"]\n\
        [split]\ntable = \"train.csv\"\nmethod = \"time\"\nby = \"C1\"\ncut = \"1\"\ntest.hide = [\"kind\"]\nanswers.one_hot = \"is_{kind}\"\n\
        sample.fill = { is_no = { guess = \"uniform\" }, \"*\" = { guess = \"prior\" } }\n";
    let spec = CompetitionSpec::parse(text, FolderFiles::default(), Path::new("competition.toml"))
        .unwrap();
    with_run(&spec, &[("train.csv", table)], &[], |run, folder| {
        super::prepare(run.split, &spec, run.ctx).unwrap();
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(read("private/answers.csv"), "study,is_no,is_yes\ns2,1,0\ns3,0,1\n");
        assert_eq!(read("public/sample.csv"), "study,is_no,is_yes\ns2,0.5,1.0\ns3,0.5,1.0\n");
    });
}

#[test]
fn files_are_rows_and_go_with_their_rows() {
    let files: Vec<(String, String)> = ["b/3", "a/1", "a/2", "b/4"]
        .iter()
        .flat_map(|name| {
            [
                (format!("train/{name}.png"), (*name).to_owned()),
                (format!("more/{}.txt", &name[2..]), String::new()),
            ]
        })
        .chain([
            ("train/readme.txt".to_owned(), String::new()),
            ("extra/deep/x.txt".to_owned(), "x".to_owned()),
        ])
        .collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (&name[..], &text[..])).collect();
    let made = made(
        "table = \"train/{label}/{id}.png\"\nmethod = \"grouped\"\nby = \"label\"\ntest_size = 1\nsample.fill = { label = \"a\" }\n\
         train.file = \"public/labels.csv\"\nrenumber = { column = \"id\", from = 1, test = \"t{n:02}\" }\n\
         [[split.copy]]\npart = \"train\"\nfrom = \"train/{label}/{id}.png\"\n\
         [[split.copy]]\npart = \"test\"\nfrom = \"train/{label}/{id}.png\"\nto = \"public/test/{id}.png\"\n\
         [[split.copy]]\nfrom = [\"more/{id}.txt\"]\nto = \"public/{part}.tar/more/\"\n\
         [[split.copy]]\nfrom = \"extra/\"\n",
        &files,
    )
    .unwrap();
    let is_a = text_of(&made, "private/answers.csv").contains(",a")
        || text_of(&made, "private/answers.csv").contains("a,");
    let (train, test) = if is_a { ("b", "a") } else { ("a", "b") };
    let names: Vec<&str> = made.keys().map(String::as_str).collect();
    let (first, second) = if is_a { ("3", "4") } else { ("1", "2") };
    assert_eq!(
        names,
        [
            "private/answers.csv".to_owned(),
            "public/extra/deep/x.txt".to_owned(),
            "public/labels.csv".to_owned(),
            "public/sample.csv".to_owned(),
            "public/test.tar".to_owned(),
            "public/test/t01.png".to_owned(),
            "public/test/t02.png".to_owned(),
            "public/train.tar".to_owned(),
            format!("public/train/{train}/{first}.png"),
            format!("public/train/{train}/{second}.png"),
        ]
    );
    assert_eq!(
        text_of(&made, "private/answers.csv"),
        format!("label,id\n{test},t01\n{test},t02\n")
    );
    assert_eq!(text_of(&made, "public/sample.csv"), "id,label\nt01,a\nt02,a\n");
    assert_eq!(
        text_of(&made, "public/labels.csv"),
        format!("label,id\n{train},{first}\n{train},{second}\n")
    );
}

#[test]
fn tables_may_be_separated_by_other_characters() {
    let files =
        [("train.csv", "id;label;note\n1;0,5;a\n2;0,7;b\n"), ("more.tsv", "id\tx\n1\t3\n2\t4\n")];
    let made = made(
        "table = \"train.csv\"\nseparator = \";\"\nmethod = \"time\"\nby = \"id\"\ncut = \"2\"\ntest.hide = [\"label\"]\n\
         test.file = \"public/test.tsv\"\nsample.fill = { label = 0 }\n\
         [[split.tables]]\ntable = \"more.tsv\"\nkey = \"id\"\nto = \"public/{part}_more.csv\"\n",
        &files,
    )
    .unwrap();
    assert_eq!(text_of(&made, "public/train.csv"), "id,label,note\n1,\"0,5\",a\n");
    assert_eq!(text_of(&made, "public/test.tsv"), "id\tnote\n2\tb\n");
    assert_eq!(text_of(&made, "public/test_more.csv"), "id,x\n2,4\n");
}

#[test]
fn a_size_may_be_overridden() {
    let spec = competition(&format!("table = \"train.csv\"\ntest_size = 0.5\n{HIDDEN}"));
    let rows = |overrides: &[(&str, &str)]| {
        with_run(&spec, &[("train.csv", TABLE)], overrides, |run, _| {
            let parts = run.divided(run.source().unwrap().0)?;
            Ok::<_, PrepareError>(parts.test.texts("day").unwrap())
        })
    };
    assert_eq!(rows(&[]).unwrap().len(), 2);
    assert_eq!(rows(&[("test_size", "3")]).unwrap().len(), 3);
    assert_eq!(rows(&[("test_size", "0.1")]).unwrap().len(), 1);
    assert_ne!(rows(&[("seed", "1")]).unwrap(), rows(&[]).unwrap());
    let error = rows(&[("test_size", "ten")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "override `test_size`: expected a share such as 0.1 or a number of rows, found `ten`"
    );
}

#[test]
fn data_that_do_not_fit_are_told_with_row_and_value() {
    let time = "table = \"train.csv\"\nmethod = \"time\"\ntest.columns = [\"id\"]\nsample.fill = { label = 0 }\n";
    let hidden = "table = \"train.csv\"\ntest_size = 0.5\ntest.hide = [\"label\"]\nsample.fill = { label = 0 }\n";
    for (split, message) in [
        (format!("{time}by = \"side\"\ncut = \"2020-01-01\""), "row 1, column `side` of `train.csv`: expected a date such as"),
        (format!("{time}by = \"label\"\ntest_size = 1"), "row 1, column `label` of `train.csv`: expected a number or a date such as"),
        (format!("{time}by = \"day\"\ncut = \"2021-01-01\""), "the test part would have no row"),
        (format!("{time}by = \"day\"\ncut = \"2020-01-01\""), "the train part would have no row"),
        (format!("{time}by = \"id\"\ntest_size = \"2 days\""), "expected dates in column `id`"),
        (format!("{time}by = \"when\"\ntest_size = 1"), "has no column `when`"),
        (
            "table = \"train.csv\"\nmethod = \"stratified\"\nby = \"id\"\ntest_size = 2\ntest.columns = [\"id\"]\nsample.fill = { label = 0 }".to_owned(),
            "row 2, column `id` of `train.csv`: expected a class of two rows at least, one for each part, found `8`",
        ),
        (
            "table = \"train.csv\"\nmethod = \"grouped\"\nby = \"place\"\ntest_size = 2\ntest.columns = [\"id\"]\nsample.fill = { label = 0 }".to_owned(),
            "cannot divide 2 values of column `place`",
        ),
        (
            "table = \"train.csv\"\nmethod = \"given\"\nby = \"id\"\ntest.from = \"test.csv\"\ntest.hide = [\"label\"]\nsample.fill = { label = 0 }".to_owned(),
            "row 2, column `id` of `test.csv`: expected a value that the train part does not have, found `9`",
        ),
        ("table = \"train.csv\"\ntest_size = 0.5\ntest = {}\nsample.fill = { label = 0 }".to_owned(), "`public/test.csv`: it would show the column `label`"),
        (format!("{hidden}types = {{ idd = \"text\" }}"), "has no column `idd`"),
        (format!("{hidden}types = {{ side = \"int\" }}"), "column `side` of `train.csv`: expected an integer, found `"),
        (hidden.replace("hide", "columns").replace("[\"label\"]", "[\"id\"]") + "answers.one_hot = \"{side}\"", "column `side`: expected a class that is a target column, found `"),
        (
            format!("{hidden}[[split.tables]]\ntable = \"test.csv\"\nkey = \"id\"\nto = \"public/{{part}}_more.csv\""),
            "`public/test_more.csv`: it would show the column `label`",
        ),
        (format!("{hidden}[[split.copy]]\nfrom = \"pictures/{{id}}.png\""), "raw file `pictures/"),
        ("table = \"pictures/{id}.png\"\ntest_size = 1\nsample.fill = { label = 0 }\n[[split.copy]]\nfrom = \"train.csv\"".to_owned(), "`pictures/"),
        ("table = \"{id}.png\"\ntest_size = 1\nsample.fill = { label = 0 }\n[[split.copy]]\nfrom = \"train.csv\"".to_owned(), "`{id}.png`: expected files that fit it"),
        (format!("{hidden}[[split.copy]]\nfrom = \"{{id}}.txt\"\nto = \"public/{{part}}/{{place}}/{{way}}/x\""), "has no column `way`"),
        (format!("{hidden}add = {{ way = \"../../{{id}}\" }}\n[[split.copy]]\nfrom = \"{{id}}.txt\"\nto = \"public/{{part}}/{{way}}\""), "its name contains `..`"),
        (format!("{hidden}add = {{ way = \"../{{id}}\" }}\n[[split.copy]]\nfrom = \"{{id}}.txt\"\nto = \"public/{{part}}.zip/{{way}}\""), "its name contains `..`"),
    ] {
        let files = [("train.csv", TABLE), ("test.csv", "id,label\n1,a\n9,b\n"), ("7.txt", ""), ("8.txt", ""), ("9.txt", "")];
        let error = made(&split, &files).expect_err(message).to_string();
        assert!(error.contains(message), "{split}\n{error}");
    }
}
