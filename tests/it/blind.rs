//! `competitions new --from-dir` on data of competitions that are built in, without being told
//! anything of them: what it decides is compared with their entries.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use medalist_competitions::draft::{Answers, Certainty, Draft, Known};
use medalist_competitions::survey::Survey;
use medalist_competitions::{Catalogue, CompetitionSpec};

/// Columns of a submission that Kaggle grades and MLE-bench leaves out.
const NOT_GRADED: [(&str, &str); 2] = [
    ("ranzcr-clip-catheter-line-classification", "CVC - Normal"),
    ("ranzcr-clip-catheter-line-classification", "Swan Ganz Catheter Present"),
];

/// How a decision stands beside the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Right,
    /// It is asked, and the likeliest value is the entry's.
    AskedFirst,
    /// It is asked, and the entry's is among the candidates.
    AskedAmong,
    /// It is asked, without the entry's among the candidates.
    Asked,
    Wrong,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::AskedFirst => "asked, first",
            Self::AskedAmong => "asked, among",
            Self::Asked => "asked",
            Self::Wrong => "WRONG",
        }
    }
}

/// What became of one competition.
struct Row {
    id: String,
    /// Id, target, metric and direction.
    verdicts: [Verdict; 4],
    split: String,
    notes: String,
}

fn names(value: &str) -> BTreeSet<String> {
    value.split(", ").map(str::to_owned).collect()
}

/// Metrics that are one, with the options that `competitions new` gives.
fn same_metric(found: &str, entry: &str) -> bool {
    const SAME: [[&str; 2]; 3] = [
        ["f_beta", "f1_macro"],
        ["top_k_error", "top_1_error"],
        ["jigsaw_toxic_roc_auc", "roc_auc"],
    ];
    found == entry || SAME.iter().any(|pair| pair.contains(&found) && pair.contains(&entry))
}

/// Looks at `raw` blind and compares with the entry.
fn compare(spec: &CompetitionSpec, raw: &Path, metric: Option<&str>) -> Row {
    let scratch = tempfile::tempdir().unwrap();
    let id = spec.id.to_string();
    let survey = Survey::of(raw, scratch.path()).unwrap();
    let known = Known {
        id: "blind".parse().unwrap(),
        title: "Blind".to_owned(),
        kaggle: None,
        board: None,
    };
    let draft = match Draft::of(
        &survey,
        known,
        Answers { metric: metric.map(str::to_owned), ..Answers::default() },
    ) {
        Ok(draft) => draft,
        // Said aloud, and nothing is made.
        Err(error) => {
            return Row {
                id,
                verdicts: [Verdict::Asked; 4],
                split: "refused".to_owned(),
                notes: error.to_string(),
            };
        }
    };
    draft
        .write(scratch.path().join("made").as_path())
        .unwrap_or_else(|error| panic!("{id}: {error:?}"));
    let mut notes = String::new();
    let mut verdict = |key: &str, fits: &dyn Fn(&str) -> bool| {
        let decision = draft.decisions.iter().find(|decision| decision.key == key).unwrap();
        if decision.certainty != Certainty::Open {
            if fits(&decision.value) {
                return Verdict::Right;
            }
            let _ = write!(notes, "{key} = {} ({}) ", decision.value, decision.evidence);
            return Verdict::Wrong;
        }
        if fits(&decision.value) {
            Verdict::AskedFirst
        } else if decision.candidates.iter().any(|candidate| fits(&candidate.value)) {
            Verdict::AskedAmong
        } else {
            let _ = write!(notes, "{key}? {} ", decision.value);
            Verdict::Asked
        }
    };
    let grading = &spec.grading;
    let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    let (ids, targets) = (set(&grading.id_columns), set(&grading.target_columns));
    let mut submitted = targets.clone();
    submitted.extend(grading.unscored_columns.iter().cloned());
    submitted.extend(
        NOT_GRADED
            .iter()
            .filter(|(id, _)| *id == spec.id.as_str())
            .map(|(_, name)| (*name).to_owned()),
    );
    let metric = verdict("grading.metric", &|value| same_metric(value, &grading.metric));
    let word = if grading.direction.is_lower_better() { "lower" } else { "higher" };
    let direction = verdict("grading.direction", &|value| value == word);
    let verdicts = [
        verdict("grading.id_columns", &|value| names(value) == ids),
        verdict("grading.target_columns", &|value| {
            names(value) == targets || names(value) == submitted
        }),
        metric,
        direction,
    ];
    let split = draft
        .decisions
        .iter()
        .find(|decision| decision.key.starts_with("split") && decision.key != "split.table");
    let split = split.map_or_else(String::new, |decision| match decision.certainty {
        Certainty::Open => format!("open: {}", decision.evidence),
        _ => decision.value.clone(),
    });
    Row { id, verdicts, split, notes }
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:56} {:13} {:13} {:13} {:13} split\n",
        "competition", "id", "target", "metric", "direction"
    );
    for row in rows {
        let words: Vec<String> =
            row.verdicts.iter().map(|verdict| format!("{:13}", verdict.word())).collect();
        let _ = writeln!(text, "{:56} {} {}", row.id, words.join(" "), row.split);
        if !row.notes.is_empty() {
            let _ = writeln!(text, "    {}", row.notes);
        }
    }
    for (place, what) in ["id", "target", "metric", "direction"].iter().enumerate() {
        let count =
            |verdict: Verdict| rows.iter().filter(|row| row.verdicts[place] == verdict).count();
        let _ = writeln!(
            text,
            "{what:10} right {}, asked with the right one first {}, among the candidates {}, asked {}, wrong {}",
            count(Verdict::Right),
            count(Verdict::AskedFirst),
            count(Verdict::AskedAmong),
            count(Verdict::Asked),
            count(Verdict::Wrong)
        );
    }
    text
}

/// The archives of golden data, or the folders of `MEDALIST_BLIND` (`<id>/raw` or `<id>`).
fn inputs() -> Vec<(String, PathBuf)> {
    let listed = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    match std::env::var_os("MEDALIST_BLIND") {
        Some(folder) => listed(Path::new(&folder))
            .into_iter()
            .filter_map(|path| {
                let id = path.file_name()?.to_str()?.to_owned();
                let raw = path.join("raw");
                Some((id, if raw.is_dir() { raw } else { path }))
            })
            .collect(),
        None => listed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/prepare"))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "zip"))
            .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
            .collect(),
    }
}

/// Nothing is wrong in silence, and most of what can be told is told.
#[test]
fn built_in_competitions_are_recognised_from_their_data() {
    let catalogue = Catalogue::embedded().unwrap();
    let rows: Vec<Row> = inputs()
        .iter()
        .filter_map(|(id, raw)| Some(compare(catalogue.get(id).ok()?, raw, None)))
        .collect();
    let table = table(&rows);
    println!("{table}");
    let wrong: Vec<&str> = rows
        .iter()
        .filter(|row| row.verdicts.contains(&Verdict::Wrong))
        .map(|row| row.id.as_str())
        .collect();
    assert!(wrong.is_empty(), "wrong in silence: {wrong:?}\n{table}");
    if std::env::var_os("MEDALIST_BLIND").is_none() {
        let right =
            |place: usize| rows.iter().filter(|row| row.verdicts[place] == Verdict::Right).count();
        assert!(rows.len() >= 80 && right(0) >= 70 && right(1) >= 65, "{table}");
    }
}

/// With the one thing that data seldom tell, Kaggle's name of the metric, little is left to ask.
#[test]
fn with_the_name_of_the_metric_little_is_left_to_ask() {
    /// Those whose original tables are published: see `tests/golden/README.md`.
    const PUBLISHED: [&str; 11] = [
        "aerial-cactus-identification",
        "detecting-insults-in-social-commentary",
        "dogs-vs-cats-redux-kernels-edition",
        "leaf-classification",
        "nomad2018-predict-transparent-conductors",
        "plant-pathology-2020-fgvc7",
        "random-acts-of-pizza",
        "siim-covid19-detection",
        "spaceship-titanic",
        "spooky-author-identification",
        "us-patent-phrase-to-phrase-matching",
    ];
    let catalogue = Catalogue::embedded().unwrap();
    let text = include_str!("../golden/evaluation_names.csv");
    let names: std::collections::BTreeMap<&str, &str> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
        .map(|(id, name)| (id, name.trim_matches('"')))
        .collect();
    let rows: Vec<Row> = inputs()
        .iter()
        .filter_map(|(id, raw)| {
            Some(compare(catalogue.get(id).ok()?, raw, Some(names.get(id.as_str())?)))
        })
        .collect();
    let table = table(&rows);
    println!("{table}");
    let all_right = |row: &&Row| row.verdicts == [Verdict::Right; 4];
    let of_published: Vec<&Row> =
        rows.iter().filter(|row| PUBLISHED.contains(&row.id.as_str())).collect();
    let right = of_published.iter().copied().filter(all_right).count();
    let not_wrong = of_published.iter().all(|row| !row.verdicts.contains(&Verdict::Wrong));
    assert!(not_wrong, "{table}");
    if std::env::var_os("MEDALIST_BLIND").is_none() {
        assert!(right >= 9, "{right} of {}\n{table}", of_published.len());
        assert!(rows.iter().filter(all_right).count() >= 45, "{table}");
    }
}
