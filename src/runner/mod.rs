//! Runs attempts: who may start, in what order, and each one's states.

pub mod attempt;
