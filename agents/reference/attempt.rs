//! What all roles of an attempt share.

use std::sync::Mutex;

use crate::board::Board;
use crate::journal::Journal;
use crate::llm::Llm;
use crate::settings::Settings;

/// One attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) settings: Settings,
    pub(crate) llm: Llm,
    pub(crate) board: Board,
    pub(crate) journal: Journal,
    /// Everything that every role did, in words; kept with `shared_context` alone.
    pub(crate) shared: Mutex<String>,
}
