//! All competitions known: those compiled in and the user's own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rapidfuzz::distance::levenshtein;

use crate::spec::{Checksums, CompetitionId, CompetitionSpec, FolderFiles, SpecError};
use crate::suites::Suite;

/// The texts of one folder of `catalog/`, compiled in.
struct EmbeddedFolder {
    id: &'static str,
    competition: &'static str,
    brief: Option<&'static str>,
    leaderboard: Option<&'static str>,
    checksums: Option<&'static str>,
    raw: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

impl EmbeddedFolder {
    fn parse(&self) -> Result<CompetitionSpec, SpecError> {
        let folder = Path::new("competitions/catalog").join(self.id);
        let checksums = folder.join("checksums.toml");
        let files = FolderFiles {
            source: Cow::Borrowed(self.competition),
            checksums_source: self.checksums.map(Cow::Borrowed),
            brief: self.brief.map(Cow::Borrowed),
            leaderboard: self.leaderboard.map(Cow::Borrowed),
            checksums: self.checksums.map(|text| Checksums::parse(text, &checksums)).transpose()?,
            raw_zip: self.raw,
            folder: None,
        };
        let path = folder.join("competition.toml");
        let spec = CompetitionSpec::parse(self.competition, files, &path)?;
        let in_toml = spec.split.is_some() || spec.prepare.is_some();
        if in_toml && crate::recipes::recipe(self.id).is_some() {
            let problem =
                "both it and `prepare.rs` beside it say how to prepare it, expected one of them";
            return Err(SpecError::Invalid { path, line: None, problem: problem.to_owned() });
        }
        Ok(spec)
    }
}

/// All competitions known, by id.
#[derive(Clone, Debug)]
pub struct Catalogue {
    competitions: BTreeMap<String, CompetitionSpec>,
}

/// A catalogue that cannot be loaded, or a competition that is not in it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A competition's folder cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The directory given with `--catalog` cannot be read.
    #[error("cannot read the catalogue directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory given with `--catalog` holds no competition.
    #[error("no competition in `{}`: expected a folder with a `competition.toml`, or folders with one each", path.display())]
    NoCompetition {
        /// The directory.
        path: PathBuf,
    },
    /// Two folders have the same id.
    #[error("`{}` defines the competition `{id}`, which exists already", path.display())]
    Duplicate {
        /// The second folder.
        path: PathBuf,
        /// The id of both.
        id: CompetitionId,
    },
    /// There is no competition of that id.
    #[error("there is no competition `{id}`{}", suggest(.nearest.as_deref()))]
    Unknown {
        /// What was asked for.
        id: String,
        /// The id that looks most like it.
        nearest: Option<String>,
    },
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map(|id| format!("; did you mean `{id}`?")).unwrap_or_default()
}

impl Catalogue {
    /// The competitions that are compiled in.
    ///
    /// # Errors
    /// A folder of the catalogue is malformed, which the tests of this crate rule out.
    pub fn embedded() -> Result<Self, CatalogueError> {
        let mut competitions = BTreeMap::new();
        for folder in EMBEDDED {
            let spec = folder.parse()?;
            competitions.insert(spec.id.as_str().to_owned(), spec);
        }
        Ok(Self { competitions })
    }

    /// Adds a user's own competitions: `dir` is such a folder, or holds such folders.
    ///
    /// # Errors
    /// The directory cannot be read or holds no competition, a folder is malformed, or an id is
    /// taken.
    pub fn with_dir(mut self, dir: &Path) -> Result<Self, CatalogueError> {
        for folder in competition_folders(dir)? {
            let spec = CompetitionSpec::read_folder(&folder)?;
            if self.competitions.contains_key(spec.id.as_str()) {
                return Err(CatalogueError::Duplicate { path: folder, id: spec.id });
            }
            self.competitions.insert(spec.id.as_str().to_owned(), spec);
        }
        Ok(self)
    }

    /// The competition `id`.
    ///
    /// # Errors
    /// [`CatalogueError::Unknown`] with the nearest id.
    pub fn get(&self, id: &str) -> Result<&CompetitionSpec, CatalogueError> {
        self.competitions.get(id).ok_or_else(|| CatalogueError::Unknown {
            id: id.to_owned(),
            nearest: self.nearest(id).map(str::to_owned),
        })
    }

    /// Every competition, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = &CompetitionSpec> {
        self.competitions.values()
    }

    /// The competitions of a suite, in the order of the ids.
    pub fn suite(&self, suite: Suite) -> impl Iterator<Item = &CompetitionSpec> {
        self.iter().filter(move |spec| suite.contains(spec))
    }

    /// The id that somebody who typed `id` most likely meant: one that holds it, else the fewest
    /// edits away.
    fn nearest(&self, id: &str) -> Option<&str> {
        let typed = id.to_lowercase();
        let distance =
            |known: &str| levenshtein::distance(typed.chars(), known.to_lowercase().chars());
        let part = |known: &&str| typed.len() >= 4 && known.to_lowercase().contains(&typed);
        let ids = || self.competitions.keys().map(String::as_str);
        let nearest = ids()
            .min_by_key(|known| distance(known))
            .filter(|known| distance(known) <= known.len() / 3);
        ids().filter(part).min_by_key(|known| known.len()).or(nearest)
    }
}

fn competition_folders(dir: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    if dir.join("competition.toml").is_file() {
        // The folder's name is compared with the id, so `.` and `x/..` have to be resolved.
        let folder = fs_err::canonicalize(dir)
            .map_err(|source| CatalogueError::Directory { path: dir.to_owned(), source })?;
        return Ok(vec![folder]);
    }
    let entries = fs_err::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries =
        entries.map_err(|source| CatalogueError::Directory { path: dir.to_owned(), source })?;
    let mut folders: Vec<PathBuf> = entries
        .iter()
        .map(fs_err::DirEntry::path)
        .filter(|path| path.join("competition.toml").is_file())
        .collect();
    if folders.is_empty() {
        return Err(CatalogueError::NoCompetition { path: dir.to_owned() });
    }
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use medalist_grading::chain;

    use super::*;
    use crate::spec::Complexity;

    fn catalogue() -> Catalogue {
        Catalogue::embedded().expect("the catalogue is well-formed")
    }

    #[test]
    fn every_folder_is_a_competition_of_its_name() {
        let catalogue = catalogue();
        assert_eq!(catalogue.iter().count(), EMBEDDED.len());
        assert!(EMBEDDED.iter().all(|folder| {
            catalogue.get(folder.id).is_ok_and(|spec| spec.id.as_str() == folder.id)
        }));
    }

    #[test]
    fn a_competition_in_code_has_no_split_besides() {
        let code = EMBEDDED.iter().find(|folder| folder.id == "AI4Code").expect("it is there");
        let split = "[split]\ntable = \"a.csv\"\ntest_size = 0.1\ntest.columns = [\"id\"]\nsample.fill = { \"*\" = 0 }\n";
        let both = EmbeddedFolder {
            competition: format!("{}\n{split}", code.competition).leak(),
            brief: code.brief,
            leaderboard: None,
            checksums: None,
            raw: None,
            id: code.id,
        };
        assert!(code.parse().is_ok());
        let message = chain(&both.parse().expect_err("there are two ways to prepare it"));
        assert_eq!(
            message,
            "`competitions/catalog/AI4Code/competition.toml`: both it and `prepare.rs` beside it say how to prepare it, expected one of them"
        );
    }

    #[test]
    fn suites_have_their_sizes() {
        let catalogue = catalogue();
        let sizes =
            Suite::ALL.iter().map(|suite| catalogue.suite(*suite).count()).collect::<Vec<_>>();
        assert_eq!(sizes, [22, 38, 15, 75, 7, 30, 4, 12]);
        assert!(catalogue.suite(Suite::SystemCard).all(|spec| Suite::All.contains(spec)));
    }

    #[test]
    fn thresholds_fall_from_gold_to_median() {
        for spec in catalogue().iter() {
            let thresholds =
                spec.thresholds.as_ref().unwrap_or_else(|| panic!("{} has thresholds", spec.id));
            let ladder = [thresholds.gold, thresholds.silver, thresholds.bronze, thresholds.median];
            let direction = spec.grading.direction;
            let ordered = ladder.windows(2).all(|pair| direction.is_as_good(pair[0], pair[1]));
            assert!(ordered, "{}: {ladder:?}", spec.id);
        }
    }

    #[test]
    fn mle_bench_competitions_are_complete() {
        let is_ours = |spec: &&CompetitionSpec| Suite::Open.contains(spec);
        for spec in catalogue().iter().filter(|spec| !is_ours(spec)) {
            assert_eq!(spec.kaggle_slug.as_deref(), Some(spec.id.as_str()));
            assert_ne!(spec.complexity, Complexity::Unrated, "{}", spec.id);
            assert!(spec.category.is_some(), "{}", spec.id);
            let checksums = spec.checksums().unwrap_or_else(|| panic!("{} has checksums", spec.id));
            let sums =
                checksums.public.values().chain(checksums.private.values()).chain(&checksums.zip);
            assert!(
                sums.clone().count() > 0 && sums.clone().all(|sum| sum.len() == 32),
                "{}",
                spec.id
            );
        }
    }

    #[test]
    fn the_register_is_sourced() {
        for spec in catalogue().iter() {
            let told = spec.known_issues.iter().any(|issue| issue.strict.is_some());
            assert!(
                told || spec.grading.strict.is_none(),
                "{}: the strict verdict is not explained",
                spec.id
            );
            for issue in &spec.known_issues {
                assert!(
                    issue.source.starts_with("https://github.com/"),
                    "{}: {}",
                    spec.id,
                    issue.source
                );
                assert!(issue.summary.ends_with('.'), "{}: {}", spec.id, issue.summary);
                let mut patterns = issue.leave_out.iter().chain(&issue.changes);
                assert!(patterns.all(|pattern| pattern.starts_with("public/")), "{}", spec.id);
                let is_listed = !issue.leave_out.is_empty() || !issue.changes.is_empty();
                assert_eq!(is_listed, issue.fixed.is_some(), "{}", spec.id);
            }
        }
    }

    #[test]
    fn briefs_show_the_submission() {
        for spec in catalogue().iter() {
            let brief = spec.brief().unwrap_or_else(|| panic!("{} has a brief", spec.id));
            let words = brief.split_whitespace().count();
            assert!((100..400).contains(&words), "{}: {words} words", spec.id);
            let example =
                brief.split("```").nth(1).unwrap_or_else(|| panic!("{} has an example", spec.id));
            let header = example.trim_start().lines().next().unwrap_or_default().replace('"', "");
            let columns: Vec<&str> = header.split(',').collect();
            for column in &spec.grading.id_columns {
                assert!(
                    columns.contains(&column.as_str()),
                    "{}: `{column}` is not in `{header}`",
                    spec.id
                );
            }
        }
    }

    #[test]
    fn seven_have_no_leaderboard() {
        let catalogue = catalogue();
        let without = catalogue.iter().filter(|spec| spec.leaderboard_csv().is_none());
        assert_eq!(
            without.map(|spec| spec.id.as_str()).collect::<Vec<_>>(),
            [
                "3d-object-detection-for-autonomous-vehicles",
                "google-research-identify-contrails-reduce-global-warming",
                "rsna-2022-cervical-spine-fracture-detection",
                "rsna-breast-cancer-detection",
                "siim-isic-melanoma-classification",
                "tensorflow-speech-recognition-challenge",
                "tensorflow2-question-answering",
            ]
        );
    }

    #[test]
    fn leaderboards_hold_scores_and_nothing_else() {
        for spec in catalogue().iter() {
            let Some(text) = spec.leaderboard_csv() else {
                continue;
            };
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("score"), "{}", spec.id);
            for (row, line) in lines.enumerate() {
                assert!(line.parse::<f64>().is_ok(), "{} row {row}: {line}", spec.id);
            }
        }
    }

    #[test]
    fn an_unknown_id_suggests_the_nearest() {
        let catalogue = catalogue();
        for (typed, nearest) in [
            ("spaceship-titanc", Some("spaceship-titanic")),
            ("titanic", Some("spaceship-titanic")),
            ("ai4code", Some("AI4Code")),
            ("Leaf_classification", Some("leaf-classification")),
            ("xyz", None),
            ("", None),
        ] {
            match catalogue.get(typed) {
                Err(CatalogueError::Unknown { nearest: found, .. }) => {
                    assert_eq!(found.as_deref(), nearest, "{typed}")
                }
                other => panic!("{typed}: {other:?}"),
            }
        }
    }

    /// A folder `name` with a minimal competition of the same id and `extra` at the top.
    fn write_folder(parent: &Path, name: &str, extra: &str) -> PathBuf {
        let folder = parent.join(name);
        fs_err::create_dir_all(&folder).expect("the test directory is writable");
        let text = format!(
            "id = \"{name}\"\ntitle = \"Mine\"\nmodality = \"tabular\"\ncomplexity = \"low\"\n{extra}\n\
             [data]\nanswers = \"private/answers.csv\"\nsample_submission = \"public/sample_submission.csv\"\n\
             [grading]\nmetric = \"accuracy\"\ndirection = \"higher\"\nid_columns = [\"id\"]\ntarget_columns = [\"label\"]\n"
        );
        fs_err::write(folder.join("competition.toml"), text)
            .expect("the test directory is writable");
        folder
    }

    #[test]
    fn own_competitions_are_added_but_join_no_suite() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let first = write_folder(dir.path(), "mine", "");
        write_folder(dir.path(), "other", "");
        let all = catalogue().with_dir(dir.path()).expect("both are well-formed");
        assert_eq!(all.get("mine").expect("it was added").folder(), Some(first.as_path()));
        assert_eq!(all.iter().count(), EMBEDDED.len() + 2);
        assert_eq!(all.suite(Suite::Low).count(), 22);
        let one = catalogue().with_dir(&first).expect("a folder itself will do");
        assert_eq!(one.iter().count(), EMBEDDED.len() + 1);
    }

    #[test]
    fn own_folders_are_checked() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let message = |dir: &Path| {
            let error = chain(&catalogue().with_dir(dir).expect_err("the folder is refused"));
            error.replace(&dir.display().to_string(), "DIR")
        };
        assert!(
            message(&dir.path().join("absent"))
                .starts_with("cannot read the catalogue directory `DIR`")
        );
        assert!(message(dir.path()).starts_with("no competition in `DIR`"));

        write_folder(dir.path(), "spaceship-titanic", "");
        assert_eq!(
            message(dir.path()),
            "`DIR/spaceship-titanic` defines the competition `spaceship-titanic`, which exists already"
        );

        let unknown = tempfile::tempdir().expect("a temporary directory can be made");
        write_folder(unknown.path(), "mine", "tilte = \"x\"");
        let text = message(unknown.path());
        assert!(
            text == "`DIR/mine/competition.toml`, line 5: unknown key `tilte`; did you mean `title`?",
            "{text}"
        );

        let moved = tempfile::tempdir().expect("a temporary directory can be made");
        let folder = write_folder(moved.path(), "mine", "");
        fs_err::rename(folder, moved.path().join("yours")).expect("the test directory is writable");
        assert_eq!(
            message(moved.path()),
            "`DIR/yours/competition.toml`, line 1: `id` is `mine`, expected the name of its folder, `yours`"
        );
    }

    /// A competition of the user's own without a fault, by line.
    const SOUND: &str = r#"id = "mine"
title = "Mine"
modality = "tabular"
size_gb = 0.5
[data]
answers = "private/answers.csv"
sample_submission = "public/sample_submission.csv"
[thresholds]
gold = 1.5
silver = 2.0
bronze = 3.0
median = 4.0
n_teams = 3
source = "author"
[grading]
metric = "rmse"
direction = "lower"
id_columns = ["id"]
target_columns = ["height"]
checks = ["id_columns", "target_columns", "numeric", "ids"]
[prepare]
command = ["sh", "prepare.sh"]
"#;

    /// What is said of `SOUND` with one text in place of another, and with one more file.
    fn refusal(from: &str, to: &str, file: Option<(&str, &str)>) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let folder = dir.path().join("mine");
        fs_err::create_dir(&folder).expect("the test directory is writable");
        assert!(SOUND.contains(from), "{from}");
        let write = |name: &str, text: &str| {
            fs_err::write(folder.join(name), text).expect("the test directory is writable");
        };
        write("competition.toml", &SOUND.replacen(from, to, 1));
        if let Some((name, text)) = file {
            write(name, text);
        }
        match catalogue().with_dir(dir.path()) {
            Ok(_) => String::new(),
            Err(error) => chain(&error).replace(&format!("{}/", folder.display()), ""),
        }
    }

    #[test]
    fn an_entry_that_cannot_be_used_is_refused_with_its_line() {
        assert_eq!(refusal("mine", "mine", None), "");
        for (from, to, line, part) in [
            (
                "rmse",
                "rmsee",
                16,
                "unknown metric `rmsee`; `medalist metrics` lists them; did you mean `rmse`?",
            ),
            ("\"numeric\"", "\"numerc\"", 20, "unknown word `numerc`; did you mean `numeric`?"),
            ("\"numeric\"", "\"range\"", 20, "check `range` needs `range`"),
            ("\"numeric\"", "\"row_sum\"", 20, "check `row_sum` needs `row_sum_tolerance`"),
            ("[prepare]", "range = [1, 0]\n[prepare]", 21, "expected the smaller bound first"),
            ("[prepare]", "range = [nan, 1]\n[prepare]", 21, "expected the smaller bound first"),
            ("[prepare]", "row_sum_tolerance = -1.0\n[prepare]", 21, "expected a distance"),
            ("[prepare]", "options = { k = 3 }\n[prepare]", 21, "has no option `k`"),
            ("[prepare]", "[grading.options]\nx = 1\nkk = 2\n[prepare]", 23, "has no option `kk`"),
            (
                "metric = \"rmse\"",
                "metric = \"map_at_k\"\noptions = { kk = 5 }",
                17,
                "did you mean `k`?",
            ),
            (
                "metric = \"rmse\"",
                "metric = \"map_at_k\"\noptions = { k = 0.5 }",
                17,
                "must be an integer",
            ),
            (
                "metric = \"rmse\"",
                "metric = \"command\"\noptions = { command = [] }",
                17,
                "names no program",
            ),
            ("metric = \"rmse\"", "metric = \"command\"", 16, "needs option `command`"),
            (
                "[prepare]",
                "answer_columns = [\"a\", \"b\"]\n[prepare]",
                21,
                "`answer_columns` has 2 names, expected 1",
            ),
            (
                "[prepare]",
                "answer_id_columns = []\n[prepare]",
                21,
                "`answer_id_columns` has 0 names, expected 1",
            ),
            ("[\"height\"]", "[\"height\", \"height\"]", 19, "names `height` twice"),
            ("[\"height\"]", "[\"\"]", 19, "a column without a name"),
            ("\"lower\"", "\"less\"", 17, "unknown word `less`: expected"),
            ("gold = 1.5", "gold = inf", 9, "`thresholds.gold` is inf, expected a finite number"),
            ("bronze = 3.0", "bronze = nan", 11, "`thresholds.bronze` is NaN"),
            (
                "gold = 1.5",
                "gold = 9.5",
                9,
                "`thresholds.gold` is 9.5 and `thresholds.silver` is 2",
            ),
            (
                "median = 4.0",
                "median = 2.5",
                11,
                "`thresholds.bronze` is 3 and `thresholds.median` is 2.5",
            ),
            ("\"lower\"", "\"higher\"", 9, "with `direction = \"higher\"`"),
            ("n_teams = 3", "n_teams = 0", 13, "at least one team"),
            ("n_teams = 3", "n_teams = -1", 13, "-1"),
            ("silver", "sliver", 10, "unknown key `sliver`; did you mean `silver`?"),
            ("private/answers", "public/answers", 6, "agents see all of `public/`"),
            ("private/answers", "private/../answers", 6, "starts with `public/` or `private/`"),
            ("\"public/sample", "\"sample", 7, "starts with `public/` or `private/`"),
            ("public/sample_submission", "private/answers", 7, "are the same file"),
            ("[prepare]", "[prepar]", 21, "unknown key `prepar`; did you mean `prepare`?"),
            ("command =", "comand =", 22, "unknown key `comand`; did you mean `command`?"),
            ("[\"sh\", \"prepare.sh\"]", "\"sh prepare.sh\"", 22, "expected a sequence"),
            ("[\"sh\", \"prepare.sh\"]", "[]", 22, "names no program"),
            (
                "[\"sh\", \"prepare.sh\"]",
                "[\"sh\"]\ntimeout_s = 0",
                23,
                "expected a number of seconds",
            ),
            ("[\"sh\", \"prepare.sh\"]", "[\"sh\"]\nmemory_gb = -1.0", 23, "expected a size"),
            ("size_gb = 0.5", "size_gb = nan", 4, "expected a size"),
            ("title = \"Mine\"", "title = \" \"", 2, "`title` is empty"),
            ("\"tabular\"", "\"tabluar\"", 3, "did you mean `tabular`?"),
            ("source =", "source", 14, ""),
        ] {
            let message = refusal(from, to, None);
            let place = format!("`competition.toml`, line {line}: ");
            assert!(
                message.starts_with(&place) && message.contains(part),
                "{from} -> {to}: expected {place}...{part}, found {message}"
            );
        }
        let message = refusal("title = \"Mine\"\n", "", None);
        assert!(message.contains("`title` is missing"), "{message}");
    }

    #[test]
    fn boards_and_checksums_of_ones_own_are_checked() {
        let board = |text: &str| refusal("mine", "mine", Some(("leaderboard.csv", text)));
        assert_eq!(board("score\n1\n2\n2\n"), "");
        assert_eq!(board("score\n2\n2\n2\n"), "");
        for (text, start) in [
            ("score\n1\n3\n2\n", "`leaderboard.csv`, line 4: 2 stands below 3"),
            ("score\n1\n2\n", "`leaderboard.csv`: it has 2 scores, but `thresholds.n_teams`"),
            ("score\n1\nx\n3\n", "`leaderboard.csv`, line 3: "),
            ("score\n1\n2\ninf\n", "`leaderboard.csv`, line 4: "),
            ("place\n1\n2\n3\n", "`leaderboard.csv`: "),
            ("score\n", "`leaderboard.csv`: "),
        ] {
            let message = board(text);
            assert!(message.starts_with(start), "{text:?}: {message}");
        }
        let sums = |text: &str| refusal("mine", "mine", Some(("checksums.toml", text)));
        let md5 = "0123456789abcdef0123456789abcdef";
        assert_eq!(sums(&format!("zip = \"{md5}\"\n[public]\n\"a/b.csv\" = \"{md5}\"\n")), "");
        for (text, start) in [
            ("zip = \"0123\"\n".to_owned(), "`checksums.toml`, line 1: `zip` has `0123`"),
            (
                format!("[public]\na = \"{md5}\"\nb = \"{}\"\n", md5.to_uppercase()),
                "`checksums.toml`, line 3: `b` has",
            ),
            (
                format!("[private]\n\"../a\" = \"{md5}\"\n"),
                "`checksums.toml`, line 2: `../a` is no path",
            ),
            (
                format!("[privat]\na = \"{md5}\"\n"),
                "`checksums.toml`, line 1: unknown key `privat`; did you mean `private`?",
            ),
        ] {
            let message = sums(&text);
            assert!(message.starts_with(start), "{text:?}: {message}");
        }
    }
}
