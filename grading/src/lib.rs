//! Reads, checks, scores and medals submissions to MLE-bench competitions, as MLE-bench's own
//! Python does and much faster.
//!
//! The way of a submission:
//!
//! 1. [`table::Table`] reads it as pandas' `read_csv` would, whatever it is: a hostile file is
//!    refused with a [`ReadError`](table::ReadError).
//! 2. A [`Grader`], made from a competition's `[grading]` table ([`GradingSpec`]), makes the
//!    competition's [`Check`]s in order.
//! 3. Its [`Metric`], one of [`METRICS`], takes paired values from the [`Task`] and gives a number.
//!    Before that, an agent may ask whether its file is well formed: [`Grader::validate`] decides by
//!    [`PublicFacts`] alone.
//! 4. The [`Verdict`] is a [`Score`] or an [`InvalidSubmission`]; the latter is a value, since it
//!    is what is measured. A [`GradeError`] means that the answers are at fault.
//! 5. [`Thresholds`] and a [`Leaderboard`] turn a score into a medal, a rank and a percentile;
//!    [`grade_report`] does it all in one call.
//!
//! ```
//! use medalist_grading::table::{Limits, Table};
//! use medalist_grading::{Answers, Grader, GradingSpec};
//!
//! let spec: GradingSpec = toml::from_str(r#"
//!     metric = "roc_auc"
//!     direction = "higher"
//!     id_columns = ["id"]
//!     target_columns = ["label"]
//!     checks = ["id_columns", "target_columns", "row_count", "numeric", "range", "ids"]
//!     range = [0.0, 1.0]
//! "#)?;
//! let table = |text: &str| Table::parse(text.into(), &Limits::default());
//! let answers = Answers::Table(table("id,label\na,0\nb,1\nc,1\n")?);
//! let submission = table("id,label\nc,0.9\na,0.2\nb,0.1\n")?;
//! let verdict = Grader::new(spec)?.grade(&submission, &answers)?;
//! assert_eq!(verdict.score().unwrap().rounded, 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Two readings of a submission are given. The *verdict* follows MLE-bench to the bit, faults
//! included, since that is what published results are comparable with. The *strict* score
//! ([`Graded::strict_score`]) leaves the known faults out, as the competition's `strict` entry
//! says.
//!
//! A metric is a function over slices, usable and documented on its own (see [`metrics`]), and a
//! row of the registry.

mod chain;
pub mod check;
mod explain;
pub mod form;
pub mod grade;
pub mod ids;
pub mod invalid;
pub mod labels;
pub mod leaderboard;
pub mod medal;
pub mod metrics;
pub mod platform;
pub mod program;
pub mod pytext;
pub mod report;
pub mod rle;
pub mod round;
pub mod spec;
mod strict;
pub mod sum;
pub mod table;
pub mod task;
pub mod untrusted;

pub use chain::chain;
pub use form::{Form, PublicFacts};
pub use grade::{GradeError, Graded, Grader, Score, SpecError, Verdict};
pub use invalid::{InvalidKind, InvalidSubmission};
pub use leaderboard::Leaderboard;
pub use medal::{Direction, Medal, Thresholds};
pub use metrics::{METRICS, Metric};
pub use report::{CompetitionFacts, GradeReport, grade_report};
pub use spec::{Check, GradingSpec};
pub use task::{Answers, Task};

/// The guide's example compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adding-a-metric.md")]
struct GuideToMetrics;
