//! `medalist` evaluates machine-learning agents on MLE-bench.
//!
//! Data flows one way: a [`medalist_competitions`] recipe splits a Kaggle download into public data
//! and answers, an agent runs on the public data in a sealed container, [`medalist_grading`] turns
//! what it submits into a score and a medal, and [`medalist_reports`] turns many grades into
//! tables, plots and pages. This crate is the command line and the runner, and the only one that is
//! asynchronous.

pub mod app;
pub mod attempt;
pub mod cli;
pub mod host;
pub mod run;
pub mod sandbox;
