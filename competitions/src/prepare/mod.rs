//! From Kaggle's download to the public and private data of a competition.
//!
//! Most recipes are said by `[split]` of a `competition.toml` ([`SplitSpec`](crate::split::SplitSpec))
//! and run by `split/`. One in code is a function over [`Prepare`]: it reads raw files by name and makes prepared ones. Raw
//! archives are folders to it: `train.zip/train/1.jpg` is a file like any other. Prepared files are
//! named `public/…` or `private/…`.
//!
//! ```no_run
//! use medalist_competitions::prepare::{Prepare, PrepareError};
//!
//! pub fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
//!     let (train, test) = ctx.read_csv("train.csv")?.train_test_split(0.1, 0)?;
//!     ctx.write_csv("public/train.csv", &train)?;
//!     ctx.write_csv("public/test.csv", &test.drop(["label"])?)?;
//!     ctx.write_csv("public/sample_submission.csv", &test.select(["id"])?.with("label", 0)?)?;
//!     ctx.write_csv("private/test.csv", &test)?;
//!     let image = |part: &str, id: &str| (format!("train.zip/{id}.jpg"), format!("public/{part}/{id}.jpg"));
//!     ctx.copy_all(train.texts("id")?.iter().map(|id| image("train", id)))?;
//!     ctx.copy_all(test.texts("id")?.iter().map(|id| image("test", id)))
//! }
//! ```

mod context;
mod error;
#[cfg(test)]
mod golden;
mod leaks;
mod link;
mod manifest;
mod missing;
mod output;
mod own;
mod packer;
mod parquet;
mod pipeline;
mod raw;
mod record;
mod reporter;
mod source;
mod split;
mod verify;

use std::io;
use std::path::Path;

use md5::{Digest as _, Md5};
pub(crate) use raw::Raw;

pub use context::{Fetch, Prepare};
pub use error::PrepareError;
pub use manifest::{Content, Manifest, ManifestDifference, ManifestEntry};
pub use output::PreparedFile;
pub use packer::Packer;
pub use parquet::ParquetOutput;
pub use pipeline::{PrepareRequest, Prepared, RawInput, prepare};
pub use record::PreparedRecord;
pub use reporter::{PrepareReporter, Stage};
pub use source::take_from_wheel;
pub use verify::{Difference, Verification};

/// Turns a system's error into ours, for `map_err`.
fn error_at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> PrepareError + use<> {
    let path = path.to_owned();
    move |source| PrepareError::Io { action, path: path.clone(), source }
}

/// Eight hex digits that say nothing of a row's place in its source, for recipes whose source is sorted by label.
pub(crate) fn opaque_id(text: &str) -> String {
    let mut digits = hex::encode(Md5::digest(text));
    digits.truncate(8);
    digits
}
