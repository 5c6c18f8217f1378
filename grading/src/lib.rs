//! Reads, checks, scores and medals submissions to MLE-bench competitions.
