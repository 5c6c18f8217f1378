//! Reads, checks, scores and medals submissions to MLE-bench competitions.

pub mod check;
pub mod grade;
pub mod ids;
pub mod invalid;
pub mod labels;
pub mod leaderboard;
pub mod medal;
pub mod metrics;
pub mod pytext;
pub mod report;
pub mod rle;
pub mod round;
pub mod spec;
pub mod sum;
pub mod table;
pub mod task;

pub use grade::{GradeError, Graded, Grader, Score, SpecError, Verdict};
pub use invalid::{InvalidKind, InvalidSubmission};
pub use leaderboard::Leaderboard;
pub use medal::{Direction, Medal, Thresholds};
pub use metrics::{METRICS, Metric};
pub use report::{CompetitionFacts, GradeReport, grade_report};
pub use spec::{Check, GradingSpec};
pub use task::{Answers, Task};
