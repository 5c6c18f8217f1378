//! The catalogue of MLE-bench competitions and their bit-exact preparation.
