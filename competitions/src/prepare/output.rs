//! The prepared side of [`Prepare`]: what a recipe writes.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::context::Prepare;
use super::link::Put;
use super::manifest::{HashedFile, ManifestEntry};
use super::packer::Packer;
use super::parquet::ParquetOutput;
use super::{PrepareError, error_at};
use crate::archive::{Packing, safe_path};
use crate::formats::{Json, JsonStream, JsonStyle};
use crate::frame::{CsvStyle, Frame, WriteCsvError};

impl Prepare<'_> {
    /// The place of a prepared file, whose folder is made.
    fn target(&self, prepared: &str) -> Result<PathBuf, PrepareError> {
        let bad = |what| PrepareError::BadTarget { file: prepared.to_owned(), what };
        let relative = safe_path(prepared).map_err(bad)?;
        if !["public", "private"].iter().any(|side| relative.starts_with(side))
            || relative.components().count() < 2
        {
            return Err(bad("it must begin with `public/` or `private/`"));
        }
        let path = self.prepared.join(relative);
        if let Some(folder) = path.parent() {
            let mut known = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.contains(folder) {
                fs::create_dir_all(folder).map_err(error_at("create", folder))?;
                known.insert(folder.to_owned());
            }
        }
        Ok(path)
    }

    fn new_file(&self, prepared: &str) -> Result<(File, PathBuf), PrepareError> {
        let path = self.target(prepared)?;
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(PrepareError::MadeTwice { file: prepared.to_owned() })
            }
            Err(error) => Err(error_at("write", &path)(error)),
        }
    }

    /// Makes an empty folder.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn make_folder(&self, prepared: &str) -> Result<(), PrepareError> {
        let path = self.target(prepared)?;
        fs::create_dir_all(&path).map_err(error_at("create", &path))
    }

    /// Writes a table as `to_csv(index=False)` does.
    ///
    /// # Errors
    /// When a cell cannot be read or the file cannot be written.
    pub fn write_csv(&self, prepared: &str, table: &Frame) -> Result<(), PrepareError> {
        self.write_csv_with(prepared, table, &CsvStyle::default())
    }

    /// Writes a table with another separator, quoting or float format.
    ///
    /// # Errors
    /// When a cell cannot be read or the file cannot be written.
    pub fn write_csv_with(
        &self,
        prepared: &str,
        table: &Frame,
        style: &CsvStyle,
    ) -> Result<(), PrepareError> {
        let (file, path) = self.new_file(prepared)?;
        let mut out = HashedFile::new(file);
        table.write_csv(&mut out, style).map_err(|error| match error {
            WriteCsvError::Io(error) => error_at("write", &path)(error),
            WriteCsvError::Cell(error) => error.into(),
        })?;
        self.hashed(&path, out.entry());
        Ok(())
    }

    /// Writes a file of given bytes.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn write(&self, prepared: &str, bytes: impl AsRef<[u8]>) -> Result<(), PrepareError> {
        let (mut file, path) = self.new_file(prepared)?;
        file.write_all(bytes.as_ref()).map_err(error_at("write", &path))?;
        self.hashed(&path, ManifestEntry::of_bytes(bytes.as_ref()));
        Ok(())
    }

    /// Writes a file piece by piece.
    ///
    /// # Errors
    /// When that is not possible, or the function fails.
    pub fn write_with(
        &self,
        prepared: &str,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), PrepareError> {
        let mut file = self.create(prepared)?;
        write(&mut file.out).map_err(error_at("write", &file.path))?;
        self.finished(file)
    }

    /// Opens a prepared file that stays open while others are written; `finish` it with
    /// [`finished`](Self::finished).
    ///
    /// # Errors
    /// When that is not possible.
    pub fn create(&self, prepared: &str) -> Result<PreparedFile, PrepareError> {
        let (file, path) = self.new_file(prepared)?;
        Ok(PreparedFile { out: BufWriter::with_capacity(256 << 10, HashedFile::new(file)), path })
    }

    /// Closes a file that [`create`](Self::create) opened.
    ///
    /// # Errors
    /// When its last bytes cannot be written.
    pub fn finished(&self, file: PreparedFile) -> Result<(), PrepareError> {
        let PreparedFile { out, path } = file;
        let out = out.into_inner().map_err(|error| error_at("write", &path)(error.into_error()))?;
        self.hashed(&path, out.entry());
        Ok(())
    }

    /// Writes a JSON value.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn write_json(
        &self,
        prepared: &str,
        value: &Json,
        style: JsonStyle,
    ) -> Result<(), PrepareError> {
        self.write(prepared, value.dump(style))
    }

    /// Writes a JSON value piece by piece.
    ///
    /// # Errors
    /// When an element cannot be read or the file cannot be written.
    pub fn write_json_stream(
        &self,
        prepared: &str,
        value: JsonStream<'_>,
        style: JsonStyle,
    ) -> Result<(), PrepareError> {
        use crate::formats::JsonWriteError;
        let mut file = self.create(prepared)?;
        value.write(&mut file.out, style).map_err(|error| match error {
            JsonWriteError::Io(error) => error_at("write", &file.path)(error),
            JsonWriteError::Format(error) => error.into(),
        })?;
        self.finished(file)
    }

    /// Tells of a file that was written and hashed.
    fn hashed(&self, path: &Path, entry: ManifestEntry) {
        self.reporter.on_file(self.id, entry.bytes);
        let name = path.strip_prefix(&self.prepared).unwrap_or(path).to_string_lossy();
        if ManifestEntry::is_of_bytes(&name) {
            let mut hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
            hashed.push(&name, entry);
        }
    }

    fn made(&self, path: &Path) -> Result<(), PrepareError> {
        let bytes = fs::metadata(path).map_err(error_at("read", path))?.len();
        self.reporter.on_file(self.id, bytes);
        Ok(())
    }

    /// Puts a raw file among the prepared ones: linked where the file system allows, else copied.
    ///
    /// # Errors
    /// When it is missing or the target exists already.
    pub fn copy(&self, raw: &str, prepared: &str) -> Result<(), PrepareError> {
        self.copy_all([(raw, prepared)])
    }

    /// Puts many raw files among the prepared ones, on all threads.
    ///
    /// # Errors
    /// When one is missing or a target exists already.
    pub fn copy_all<R: AsRef<str>, P: AsRef<str>>(
        &self,
        files: impl IntoIterator<Item = (R, P)>,
    ) -> Result<(), PrepareError> {
        /// Files handed to the threads at a time, so that a list of millions need not be in memory.
        const BATCH: usize = 16 << 10;
        let mut files = files.into_iter().peekable();
        while files.peek().is_some() {
            let mut batch = Vec::new();
            for (raw, prepared) in files.by_ref().take(BATCH) {
                batch.push((raw.as_ref().to_owned(), self.target(prepared.as_ref())?));
            }
            let put = self.raw.put_all(&batch, &|path, put| match put {
                Put::Hashed(entry) => self.hashed(path, entry),
                Put::Linked(bytes) => self.reporter.on_file(self.id, bytes),
            });
            put.map_err(|error| self.made_twice(error))?;
        }
        Ok(())
    }

    /// The error for a target that is there already, in the recipe's words.
    fn made_twice(&self, error: PrepareError) -> PrepareError {
        match error {
            PrepareError::Io { path, source, .. }
                if source.kind() == ErrorKind::AlreadyExists
                    && path.starts_with(&self.prepared) =>
            {
                let file = path.strip_prefix(&self.prepared).unwrap_or(&path);
                PrepareError::MadeTwice { file: file.to_string_lossy().into_owned() }
            }
            other => other,
        }
    }

    /// Puts a raw folder with all below it among the prepared data; empty folders are left out.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn copy_folder(&self, raw: &str, prepared: &str) -> Result<(), PrepareError> {
        self.copy_folder_if(raw, prepared, |_| true)
    }

    /// Puts those files of a raw folder among the prepared data whose path below it fulfils a test.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn copy_folder_if(
        &self,
        raw: &str,
        prepared: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), PrepareError> {
        let files = self.raw.walk(raw)?;
        let wanted = files.iter().filter(|file| wanted(file));
        self.copy_all(wanted.map(|file| (join(raw, file), join(prepared, file))))
    }

    /// Begins a parquet file.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn parquet(&self, prepared: &str) -> Result<ParquetOutput<'_>, PrepareError> {
        let (file, path) = self.new_file(prepared)?;
        Ok(ParquetOutput::new(self, file, path))
    }

    /// Begins a zip.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn zip(&self, prepared: &str) -> Result<Packer<'_>, PrepareError> {
        let (file, path) = self.new_file(prepared)?;
        Ok(Packer::new(self, Packing::zip(file), path))
    }

    /// Begins a 7z.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn seven_zip(&self, prepared: &str) -> Result<Packer<'_>, PrepareError> {
        let (file, path) = self.new_file(prepared)?;
        let packing = Packing::seven_zip(file).map_err(error_at("write", &path))?;
        Ok(Packer::new(self, packing, path))
    }

    /// Begins a gzipped tar.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn tar_gz(&self, prepared: &str) -> Result<Packer<'_>, PrepareError> {
        let (file, path) = self.new_file(prepared)?;
        Ok(Packer::new(self, Packing::tar_gz(file), path))
    }

    /// Begins an uncompressed tar.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn tar(&self, prepared: &str) -> Result<Packer<'_>, PrepareError> {
        let (file, path) = self.new_file(prepared)?;
        Ok(Packer::new(self, Packing::tar(file), path))
    }

    pub(super) fn packed(&self, path: &Path) -> Result<(), PrepareError> {
        self.made(path)
    }
}

fn join(folder: &str, file: &str) -> String {
    match folder.trim_end_matches('/') {
        "" => file.to_owned(),
        folder => format!("{folder}/{file}"),
    }
}

/// A prepared file being written.
pub struct PreparedFile {
    out: BufWriter<HashedFile>,
    path: PathBuf,
}

impl PreparedFile {
    /// Appends bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), PrepareError> {
        self.out.write_all(bytes.as_ref()).map_err(error_at("write", &self.path))
    }
}
