//! What an attempt is: its key and plan, its limits, its agent, how it is launched and how it ends.
//!
//! This folder uses nothing else of `src/`.

pub mod agents;
pub mod instructions;
pub mod launch;
pub mod limits;
pub mod outcome;
pub mod plan;
pub mod text;
