//! All competitions known: those compiled in and the user's own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rapidfuzz::distance::levenshtein;

use crate::spec::{CompetitionId, CompetitionSpec, FolderFiles, SpecError, parse_toml};
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
            brief: self.brief.map(Cow::Borrowed),
            leaderboard: self.leaderboard.map(Cow::Borrowed),
            checksums: self.checksums.map(|text| parse_toml(text, &checksums)).transpose()?,
            raw_zip: self.raw,
            folder: None,
        };
        CompetitionSpec::parse(self.competition, files, &folder.join("competition.toml"))
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
    fn suites_have_their_sizes() {
        let catalogue = catalogue();
        let sizes =
            Suite::ALL.iter().map(|suite| catalogue.suite(*suite).count()).collect::<Vec<_>>();
        assert_eq!(sizes[..6], [22, 38, 15, 75, 7, 30]);
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
        for spec in catalogue().iter().filter(|spec| spec.complexity != Complexity::Demo) {
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
            let error =
                whole_message(&catalogue().with_dir(dir).expect_err("the folder is refused"));
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
            text.starts_with("`DIR/mine/competition.toml` is not valid") && text.contains("tilte"),
            "{text}"
        );

        let moved = tempfile::tempdir().expect("a temporary directory can be made");
        let folder = write_folder(moved.path(), "mine", "");
        fs_err::rename(folder, moved.path().join("yours")).expect("the test directory is writable");
        assert_eq!(
            message(moved.path()),
            "`DIR/yours/competition.toml`: `id` is `mine`, expected the name of its folder, `yours`"
        );
    }

    fn whole_message(error: &dyn std::error::Error) -> String {
        error.source().map_or_else(
            || error.to_string(),
            |source| format!("{error}: {}", whole_message(source)),
        )
    }
}
