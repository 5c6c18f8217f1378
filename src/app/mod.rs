//! What can be done, without a command line: the use cases and what they share.

pub mod boards;
pub mod context;
pub mod doctor;
mod download;
pub mod error;
pub mod gpu;
pub mod grade;
pub mod grading;
pub mod judge;
pub mod names;
pub mod prepare;
pub mod report;
pub mod run;
pub mod selection;
pub mod serve;
pub mod status;
pub mod table;
