//! Rules that point at what may be a violation in what an agent left: text and tables in, findings out.
//!
//! A finding is a question to a person, never a verdict: it has the line quoted, and says how sure it is.

mod finding;

pub use finding::{Confidence, Finding, Rule};
