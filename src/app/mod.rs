//! What can be done, without a command line: the use cases and what they share.

pub mod boards;
pub mod context;
pub mod error;
pub mod judge;
