//! Single submissions whose verdict, culprit or strict issue went wrong once, named by what they
//! show.

use std::fs;
use std::path::{Path, PathBuf};

use medalist_grading::table::Limits;
use medalist_grading::{GradeError, Graded, Grader, GradingSpec, InvalidSubmission, Verdict};

fn grader(id: &str) -> Grader {
    let catalogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("../competitions/catalog");
    let text = fs::read_to_string(catalogue.join(id).join("competition.toml")).unwrap();
    let mut entry: toml::Table = text.parse().unwrap();
    let spec: GradingSpec = entry.remove("grading").unwrap().try_into().unwrap();
    Grader::new(spec).unwrap()
}

fn files(submission: &str, answers: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (s, a) = (folder.path().join("submission.csv"), folder.path().join("answers.csv"));
    fs::write(&s, submission).unwrap();
    fs::write(&a, answers).unwrap();
    (folder, s, a)
}

fn graded(id: &str, submission: &str, answers: &str) -> Graded {
    let (_folder, submission, answers) = files(submission, answers);
    grader(id).grade_files(&submission, &answers, &Limits::default()).unwrap()
}

fn invalid(id: &str, submission: &str, answers: &str) -> InvalidSubmission {
    match graded(id, submission, answers).verdict {
        Verdict::Invalid(invalid) => invalid,
        Verdict::Scored(score) => panic!("{id} scores {}", score.raw),
    }
}

/// Row and value that are blamed.
fn blamed(invalid: &InvalidSubmission) -> (Option<u64>, Option<&str>) {
    (invalid.row, invalid.value.as_deref())
}

const CACTUS: &str = "aerial-cactus-identification";
const CACTUS_ANSWERS: &str = "id,has_cactus\na.jpg,1\nb.jpg,0\nc.jpg,1\nd.jpg,0\n";

/// A cactus submission with these cells.
fn cactus(cells: [&str; 4]) -> String {
    let rows =
        ["a", "b", "c", "d"].iter().zip(cells).map(|(id, cell)| format!("{id}.jpg,{cell}\n"));
    "id,has_cactus\n".to_owned() + &rows.collect::<String>()
}

#[test]
fn the_cell_that_pandas_rejects_is_blamed() {
    for (cells, row, value) in [
        (["0.9", "0.1", "1e309", "0.3"], 3, "1e309"),
        (["1", "0", "-9223372036854775809", "0"], 3, "-9223372036854775809"),
        (["0.9", "oops", "x", "0.3"], 2, "oops"),
        (["0.9", "0.1", "0.2", "1_0"], 4, "1_0"),
        (["0.9", "\u{a0}0.1", "0.2", "0.3"], 2, "\\u{a0}0.1"),
        (["True", "False", "", "True"], 3, ""),
    ] {
        let invalid = invalid(CACTUS, &cactus(cells), CACTUS_ANSWERS);
        assert_eq!(blamed(&invalid), (Some(row), Some(value)), "{cells:?}: {invalid}");
    }
    let labels = "id_code,diagnosis\na,0\nb,1\nc,2\nd,3\n";
    let text = invalid(
        "aptos2019-blindness-detection",
        "id_code,diagnosis\na,0\nb,1\nc,1e309\nd,3\n",
        labels,
    );
    assert_eq!(blamed(&text), (Some(3), Some("1e309")), "{text}");
}

#[test]
fn integers_without_a_type_in_common_are_no_classes() {
    let answers = "Id,Predicted\n1,5\n2,6\n";
    let verdict =
        invalid("herbarium-2020-fgvc7", "Id,Predicted\n1,5\n2,18446744073709551615\n", answers);
    assert_eq!(blamed(&verdict), (Some(2), Some("18446744073709551615")));
    let verdict = invalid("herbarium-2020-fgvc7", "Id,Predicted\n1,5\n2,1e300\n", answers);
    assert_eq!(blamed(&verdict), (Some(2), Some("1e300")));
    let answers = "id,predicted\n1,5\n2,6\n";
    let verdict =
        invalid("inaturalist-2019-fgvc6", "id,predicted\n1,9223372036854775808\n2,6\n", answers);
    assert_eq!(blamed(&verdict), (Some(1), Some("9223372036854775808")));
    // Where gaps may be filled the labels become a list as well.
    let answers = "image_id,label\na.jpg,blast\nb.jpg,hispa\nc.jpg,normal\n";
    let submission = "image_id,label\na.jpg,1\nb.jpg,0\nc.jpg,18446744073709551615\n";
    let verdict = invalid("paddy-disease-classification", submission, answers);
    assert_eq!(blamed(&verdict), (Some(3), Some("18446744073709551615")));
}

#[test]
fn gaps_count_only_in_rows_with_a_true_class() {
    let spec = "metric = \"lwlrap\"\ndirection = \"higher\"\nid_columns = [\"id\"]\ntarget_columns = [\"a\", \"b\"]";
    let spec: GradingSpec = toml::from_str(spec).unwrap();
    let grader = Grader::new(spec).unwrap();
    let score = |submission: &str| {
        let (_folder, submission, answers) = files(submission, "id,a,b\n1,0,0\n2,1,0\n");
        grader.grade_files(&submission, &answers, &Limits::default()).unwrap().verdict
    };
    assert!(
        matches!(score("id,a,b\n1,,inf\n2,0.9,0.1\n"), Verdict::Scored(score) if score.raw == 1.0)
    );
    assert!(
        matches!(score("id,a,b\n1,1,1\n2,,0.1\n"), Verdict::Invalid(invalid) if invalid.row == Some(2))
    );
}

#[test]
fn an_error_too_large_for_a_number_cannot_be_a_whole_number() {
    let answers = "segment_id,time_to_eruption\n1,5\n2,6\n";
    let verdict = invalid(
        "predict-volcanic-eruptions-ingv-oe",
        "segment_id,time_to_eruption\n1,1.7e308\n2,1.7e308\n",
        answers,
    );
    assert!(verdict.to_string().contains("too large"), "{verdict}");
}

#[test]
fn text_among_numeric_ids_is_named_as_that() {
    let answers = "PhraseId,Sentiment\n1,0\n2,1\n3,2\n";
    let id = "movie-review-sentiment-analysis-kernels-only";
    let text = invalid(id, "PhraseId,Sentiment\n1,0\ntwo,1\n3,2\n", answers);
    assert_eq!(blamed(&text), (Some(2), Some("two")), "{text}");
    assert!(text.message.contains("of another kind"), "{text}");
    let missing = invalid(id, "PhraseId,Sentiment\n1,0\n2,1\n4,2\n", answers);
    assert!(missing.message.contains("an id is missing"), "{missing}");
}

#[test]
fn what_cannot_be_seen_is_shown() {
    for (header, shown) in [
        ("id,has_cactus\u{200b}", r"`has_cactus\u{200b}`"),
        ("id,has_cactus\u{a0}", r"`has_cactus\u{a0}`"),
        ("\u{feff}\u{feff}id,has_cactus", r"`\u{feff}id`"),
    ] {
        let text = cactus(["0.9", "0.1", "0.8", "0.3"]).replacen("id,has_cactus", header, 1);
        let verdict = invalid(CACTUS, &text, CACTUS_ANSWERS).to_string();
        assert!(verdict.contains(shown), "{verdict}");
        assert!(verdict.contains("cannot be seen"), "{verdict}");
    }
}

#[test]
fn names_of_megabytes_are_cut() {
    let text = format!("id,{}\na.jpg,1\n", "n".repeat(5_000_000));
    let verdict = invalid(CACTUS, &text, CACTUS_ANSWERS).to_string();
    assert!(verdict.len() < 500, "{} bytes", verdict.len());
}

#[test]
fn shifted_columns_indices_and_stray_returns_are_explained() {
    let comma = invalid(CACTUS, &cactus(["0.9,", "0.1,", "0.8,", "0.3,"]), CACTUS_ANSWERS);
    assert!(comma.message.contains("1 cell more than the header"), "{comma}");
    let index = ",id,has_cactus\n0,a.jpg,1\n1,b.jpg,0\n2,c.jpg,1\n3,d.jpg,0\n";
    let ids = invalid("dog-breed-identification", index, "id,x\na,1\n");
    assert!(ids.message.contains("index=True"), "{ids}");
    let stray = cactus(["0.9", "0.1", "0.8\r", "0.3"]).replace("0.8\r\n", "0.8\rc,\n");
    let stray = invalid(CACTUS, &stray, CACTUS_ANSWERS);
    assert!(stray.message.contains("row 3 ends in a lone carriage return"), "{stray}");
}

#[test]
fn empty_answers_are_no_fault_of_the_submission() {
    for answers in ["", "id,has_cactus\n"] {
        let (_folder, submission, answers) = files(&cactus(["1", "0", "1", "0"]), answers);
        let error = grader(CACTUS).grade_files(&submission, &answers, &Limits::default());
        assert!(matches!(error, Err(GradeError::Answers(_))), "{error:?}");
    }
}

#[test]
fn labels_beyond_64_bits_are_refused() {
    let answers = "image_id,label\na,0\nb,1\nc,2\nd,3\n";
    let id = "cassava-leaf-disease-classification";
    let float = invalid(id, "image_id,label\na,0\nb,1\nc,2\nd,1e19\n", answers);
    assert_eq!(blamed(&float), (Some(4), Some("1e19")), "{float}");
    // A gap beside a number that needs the last bit is a text like any other.
    let gap = graded(id, "image_id,label\na,0\nb,\nc,2\nd,9223372036854775808\n", answers);
    assert_eq!(gap.verdict.score().map(|score| score.raw), Some(0.0));
}

#[test]
fn a_text_label_that_zeroes_a_column_is_a_strict_issue() {
    let graded = graded(
        "ml2021spring-hw2",
        "Id,ClassId\n0,1\n1,2\n2,3\n3,four\n",
        "Id,ClassId\n0,1\n1,2\n2,3\n3,4\n",
    );
    assert_eq!(graded.verdict.score().map(|score| score.raw), Some(0.0));
    assert_eq!(graded.strict_score, None);
    assert_eq!(blamed(&graded.strict_issues[0]), (Some(4), Some("four")));
}

#[test]
fn labels_that_are_a_class_but_for_capitals_or_blanks_are_strict_issues() {
    let answers = "image_id,label\na.jpg,blast\nb.jpg,normal\nc.jpg,tungro\n";
    for (label, value) in
        [("Normal", "Normal"), ("normal ", "normal "), ("normal\u{a0}", r"normal\u{a0}")]
    {
        let text = format!("image_id,label\na.jpg,blast\nb.jpg,{label}\nc.jpg,tungro\n");
        let graded = graded("paddy-disease-classification", &text, answers);
        assert!(graded.verdict.score().is_some(), "{:?}", graded.verdict);
        assert_eq!(blamed(&graded.strict_issues[0]), (Some(2), Some(value)));
        assert_eq!(graded.strict_issues[0].expected.as_deref(), Some("`normal`"));
    }
    let other = "image_id,label\na.jpg,blast\nb.jpg,hispa\nc.jpg,tungro\n";
    assert!(graded("paddy-disease-classification", other, answers).strict_issues.is_empty());
}

#[test]
fn repeated_ids_are_paired_as_the_reference_pairs_them() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/verdicts/repeated-ids");
    let graded = grader("iwildcam-2020-fgvc7")
        .grade_files(
            &folder.join("submission.csv"),
            &folder.join("answers.csv"),
            &Limits::default(),
        )
        .unwrap();
    assert_eq!(graded.verdict.score().map(|score| score.rounded), Some(0.75));
}
