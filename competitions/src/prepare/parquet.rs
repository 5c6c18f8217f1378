use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::context::Prepare;
use super::{PrepareError, error_at};
use crate::frame::{ParquetFile, ParquetPart};

/// A parquet file among the prepared ones, written part by part; the first part sets its columns.
#[must_use = "a parquet file is only whole once it is finished"]
pub struct ParquetOutput<'a> {
    context: &'a Prepare<'a>,
    file: ParquetFile,
    path: PathBuf,
}

impl<'a> ParquetOutput<'a> {
    pub(super) fn new(context: &'a Prepare<'a>, file: File, path: PathBuf) -> Self {
        Self { context, file: ParquetFile::new(file), path }
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, part: &ParquetPart) -> Result<(), PrepareError> {
        self.file
            .write(part)
            .map_err(|error| error_at("write", &self.path)(io::Error::other(error)))
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When its last bytes cannot be written.
    pub fn finish(self) -> Result<(), PrepareError> {
        self.file
            .finish()
            .map_err(|error| error_at("write", &self.path)(io::Error::other(error)))?;
        self.context.packed(&self.path)
    }
}
