//! Aggregates, compares, draws and writes graded runs of MLE-bench agents.

pub mod record;
