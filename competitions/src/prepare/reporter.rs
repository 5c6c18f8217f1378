//! What a preparation tells while it goes on; all that shows it is elsewhere.

use serde::Serialize;

/// A step of a preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The raw archive is opened and its list of members checked; with `keep_raw` it is unpacked.
    Unpack,
    /// The recipe makes the public and the private data.
    Split,
    /// The prepared files are hashed and compared.
    Verify,
}

/// Hears how a preparation goes. All methods may be called from several threads.
pub trait PrepareReporter: Sync {
    /// A stage begins.
    fn on_stage(&self, _id: &str, _stage: Stage) {}
    /// A prepared file of so many bytes was made.
    fn on_file(&self, _id: &str, _bytes: u64) {}
    /// Something that does not stop the preparation.
    fn on_warning(&self, _id: &str, _message: &str) {}
}

impl PrepareReporter for () {}
