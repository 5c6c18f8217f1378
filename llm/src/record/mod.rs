//! What is written down of an attempt's calls.
//!
//! ```text
//! llm/
//!   calls.jsonl          one line a call, always: tokens, dollars, times
//!   in_flight.jsonl      one line a call that was sent; those without a line above were lost
//!   transcript.jsonl.gz  for people: what is new in each request, and its answer
//!   recording/           for a replay: every body byte for byte, each stored once
//! ```

mod assemble;
mod calls;
mod conversation;
mod objects;
mod recorder;
mod replay;
mod transcript;

pub(crate) use calls::{CallLog, Lost, read_bill};
pub use calls::{CallRecord, Outcome, Summary, Totals, read_calls};
pub use conversation::{Entry, LARGEST_TRANSCRIPT, Turn, Turns, read_transcript};
pub(crate) use recorder::{Answer, Capture, Job, Recorder};
pub(crate) use replay::canonical;
pub use replay::{Exhausted, Replay, ReplayError, ReplayOptions};

/// The name and version of the recording's format.
const FORMAT: &str = "medalist-llm-recording";
const MAJOR: u32 = 1;
const MINOR: u32 = 0;
