//! What can be done, without a command line: the use cases and what they share.

pub mod boards;
pub mod briefs;
pub mod context;
#[cfg(target_os = "linux")]
pub mod doctor;
#[cfg(target_os = "linux")]
mod download;
pub mod error;
#[cfg(target_os = "linux")]
pub mod experiment;
#[cfg(target_os = "linux")]
pub mod gpu;
pub mod grade;
pub mod grading;
#[cfg(target_os = "linux")]
pub mod judge;
pub mod llm;
pub mod names;
#[cfg(target_os = "linux")]
pub mod preflight;
#[cfg(target_os = "linux")]
pub mod prepare;
pub mod report;
#[cfg(target_os = "linux")]
pub mod run;
pub mod selection;
#[cfg(target_os = "linux")]
pub mod serve;
pub mod settings;
#[cfg(target_os = "linux")]
pub mod status;
pub mod terminal;
