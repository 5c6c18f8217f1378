//! `medalist` evaluates machine-learning agents on MLE-bench.
//!
//! Data flows one way: a [`medalist_competitions`] recipe splits a Kaggle download into public data
//! and answers, an agent runs on the public data in a sealed container, [`medalist_grading`] turns
//! what it submits into a score and a medal, and [`medalist_reports`] turns many grades into
//! tables, plots and pages. This crate is the command line and the runner, and the only one that is
//! asynchronous.
//!
//! Agents run on Linux. Elsewhere only what reads files is built: grading, reports, comparisons.

#![cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, unused_variables, reason = "some helpers serve the commands of Linux alone")
)]

pub mod app;
pub mod attempt;
pub mod cli;
#[cfg(any(fuzzing, all(test, target_os = "linux")))]
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
#[cfg(target_os = "linux")]
pub mod run;
#[cfg(target_os = "linux")]
pub mod sandbox;
