//! Aggregates, compares, draws and writes graded runs of MLE-bench agents.
//!
//! [`read::read`] turns files into attempts, [`data::ReportData`] turns attempts into numbers, and
//! the renderers turn those into pages, tables and files. Rates are fractions inside, percent only
//! where they are printed.

pub mod attempt;
pub mod compare;
pub mod compare_text;
pub mod contamination;
mod cut;
pub mod data;
pub mod disclose;
pub mod estimate;
pub mod experiment;
pub mod export;
pub mod history;
pub mod html;
pub mod leaderboard;
pub mod llm;
mod palette;
pub mod plots;
pub mod read;
pub mod record;
pub mod simulate;
pub mod table;
pub mod terminal;
pub mod text;
pub mod viewer;

/// The statistics, which know numbers alone.
pub use medalist_stats as stats;
