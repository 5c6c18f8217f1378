//! What an attempt is: its key and plan, its limits, its agent, how it is launched and how it ends.
//!
//! This folder uses nothing else of `src/`.

#[cfg(target_os = "linux")]
pub mod agents;
#[cfg(target_os = "linux")]
pub(crate) mod build_context;
#[cfg(target_os = "linux")]
pub mod dir;
#[cfg(target_os = "linux")]
pub mod instructions;
#[cfg(target_os = "linux")]
pub mod job;
#[cfg(target_os = "linux")]
pub mod launch;
#[cfg(target_os = "linux")]
pub mod limits;
#[cfg(target_os = "linux")]
pub mod llm;
pub mod outcome;
#[cfg(target_os = "linux")]
pub mod plan;
pub mod text;
#[cfg(target_os = "linux")]
mod yaml;

/// The version of this program: the package's and, where it is known, the commit that it was built
/// from, such as `0.1.0+0123456789ab`, or `0.1.0+0123456789ab.dirty` for changed sources.
pub const VERSION: &str = env!("MEDALIST_VERSION");
