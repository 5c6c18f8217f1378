//! Reads, checks, scores and medals submissions to MLE-bench competitions.

pub mod pytext;
pub mod rle;
