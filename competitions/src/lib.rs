//! The catalogue of MLE-bench competitions and their bit-exact preparation.
//!
//! A competition is one folder: `competition.toml` (facts), `brief.md` (the task),
//! `leaderboard.csv` (scores), `checksums.toml` and, where `[split]` of the facts does not say the
//! preparation, `prepare.rs`.
//! The folders under `catalog/` are compiled in; [`Catalogue::with_dir`] adds folders of the user's
//! own.
//!
//! ```
//! use medalist_competitions::{Catalogue, Suite};
//!
//! let catalogue = Catalogue::embedded()?;
//! let spec = catalogue.get("spaceship-titanic")?;
//! assert_eq!(spec.title, "Spaceship Titanic");
//! assert_eq!(catalogue.suite(Suite::All).count(), 75);
//! # Ok::<(), medalist_competitions::CatalogueError>(())
//! ```

mod archive;
mod briefs;
mod catalogue;
pub mod checkup;
mod data_dir;
pub mod draft;
pub mod formats;
pub mod frame;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod metric_names;
mod nearest;
mod obfuscate;
pub mod prepare;
pub mod rng;
mod spec;
mod suite_file;
mod suites;
pub mod survey;

/// The preparations in code, one module for each folder with a `prepare.rs`; made by the build
/// script.
mod recipes {
    include!(concat!(env!("OUT_DIR"), "/recipes.rs"));
}

pub use briefs::{Brief, BriefSource, imported_brief_path};
pub use catalogue::{Catalogue, CatalogueError};
pub use data_dir::{CompetitionDir, DataDir};
pub use metric_names::{KaggleMetric, UnknownKaggleMetric, kaggle_metric, kaggle_metrics};
pub use nearest::{nearest, suggestion};
pub use obfuscate::{Identity, Obfuscated, obfuscate};
pub use spec::split;
pub use spec::{
    Candidate, Checksums, CompetitionId, CompetitionIdError, CompetitionSpec, Complexity,
    DataPaths, IssueKind, KnownIssue, Modality, OpenChoice, OpenChoices, PrepareSpec,
    PublishedThresholds, SourceSpec, SpecError, ThresholdSource,
};
pub use suite_file::{SuiteDifference, SuiteEntry, SuiteFile, is_suite_file};
pub use suites::{Suite, UnknownSuite};
