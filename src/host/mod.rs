//! What the harness stands on: the machine, the files it keeps, Kaggle, secrets, signatures.
//!
//! Agents run on Linux alone; what grades and reports needs but files.

pub mod chain;
pub mod files;
#[cfg(target_os = "linux")]
pub mod gpu;
#[cfg(target_os = "linux")]
pub mod http;
#[cfg(target_os = "linux")]
pub mod kaggle;
#[cfg(target_os = "linux")]
pub mod lock;
#[cfg(target_os = "linux")]
pub mod machine;
#[cfg(target_os = "linux")]
pub mod packages;
#[cfg(target_os = "linux")]
pub mod scheduler;
#[cfg(target_os = "linux")]
pub mod secret;
#[cfg(target_os = "linux")]
pub mod sign;
#[cfg(target_os = "linux")]
pub mod store;
