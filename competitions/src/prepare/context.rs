use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::manifest::{HashedFile, Manifest, ManifestEntry};
use super::packer::Packer;
use super::parquet::ParquetOutput;
use super::raw::{Place, Put, Raw};
use super::reporter::PrepareReporter;
use super::{PrepareError, error_at};
use crate::archive::{Packing, ZipSource, safe_path, tar_names};
use crate::formats::{
    Json, JsonEncoding, JsonList, JsonObject, JsonStream, JsonStyle, NumberRules,
};
use crate::frame::{
    CsvOptions, CsvStyle, Frame, ParquetPart, Reopen, WriteCsvError, each_parquet_part,
};

/// Gets a file from the internet.
pub trait Fetch: Send + Sync {
    /// Downloads `url` to the file `to`, or says why that failed.
    ///
    /// # Errors
    /// The reason, as a fragment.
    fn fetch(&self, url: &str, to: &Path) -> Result<(), String>;
}

/// A member of a zip that is read from its front to its end, any number of times.
struct Member {
    zip: Arc<ZipSource>,
    member: String,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("member", &self.member).finish_non_exhaustive()
    }
}

impl Reopen for Member {
    fn reopen(&self) -> std::io::Result<Box<dyn Read + Send>> {
        let stream = self.zip.stream(&self.member).map_err(std::io::Error::other)?;
        Ok(Box::new(stream))
    }
}

/// What a recipe works with: the raw data of its competition on one side, the prepared data on the
/// other.
///
/// Raw files are named by their path below the raw data, where archives count as folders. Prepared
/// files are named by their path below `prepared/`, which begins with `public/` or `private/`;
/// making the same one twice is an error.
pub struct Prepare<'a> {
    pub(super) raw: Raw,
    pub(super) prepared: PathBuf,
    pub(super) scratch: PathBuf,
    /// Folders of prepared files that are there.
    pub(super) folders: &'a Mutex<HashSet<PathBuf>>,
    pub(super) fixed: bool,
    pub(super) options: BTreeMap<String, String>,
    pub(super) used_options: Mutex<HashSet<String>>,
    pub(super) downloads: Option<PathBuf>,
    pub(super) fetch: Option<&'a dyn Fetch>,
    pub(super) id: &'a str,
    /// The files that were hashed while they were written.
    pub(super) hashed: &'a Mutex<Manifest>,
    pub(super) reporter: &'a dyn PrepareReporter,
}

impl Prepare<'_> {
    /// A constant of the recipe that `--override key=value` may change.
    ///
    /// # Errors
    /// When the override is no value of this type.
    pub fn option<T: FromStr>(&self, key: &str, default: T) -> Result<T, PrepareError> {
        self.used_options.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        let Some(text) = self.options.get(key) else {
            return Ok(default);
        };
        text.parse().map_err(|_| PrepareError::Override {
            key: key.to_owned(),
            what: format!("expected a {}, found `{text}`", std::any::type_name::<T>()),
        })
    }

    /// Whether to make the data without what is known to be wrong with them (`--fixed`). What a
    /// recipe then makes otherwise is listed under `changes` in `competition.toml`.
    pub fn fixed(&self) -> bool {
        self.fixed
    }

    /// Fails with `what` unless `holds`: for what a recipe relies on.
    ///
    /// # Errors
    /// [`PrepareError::Unexpected`] for `file`.
    pub fn check(&self, holds: bool, file: &str, what: impl Display) -> Result<(), PrepareError> {
        if holds { Ok(()) } else { Err(self.unexpected(file, what)) }
    }

    /// The error for a raw file without the content that the recipe relies on.
    pub fn unexpected(&self, file: &str, what: impl Display) -> PrepareError {
        PrepareError::Unexpected { file: file.to_owned(), what: what.to_string() }
    }

    /// Tells the user something that does not stop the preparation.
    pub fn warn(&self, message: &str) {
        self.reporter.on_warning(self.id, message);
    }

    // Raw data.

    /// Reads a table; floats are correctly rounded.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn read_csv(&self, raw: &str) -> Result<Frame, PrepareError> {
        self.read_csv_with(raw, &CsvOptions::default())
    }

    /// Reads a table with another separator, float parser or with given types.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn read_csv_with(&self, raw: &str, options: &CsvOptions) -> Result<Frame, PrepareError> {
        if let Place::Zip(zip, member) = self.raw.place(raw)?
            && zip.contains(&member)
        {
            let size = self.raw.size(raw)?;
            return Ok(Frame::stream_csv(Box::new(Member { zip, member }), size, raw, options)?);
        }
        Ok(Frame::read_csv(&self.raw.on_disk(raw)?, raw, options)?)
    }

    /// Reads a JSON file whole.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn read_json(&self, raw: &str) -> Result<Json, PrepareError> {
        Ok(Json::parse(&self.raw.read(raw)?, raw, NumberRules::Python)?)
    }

    /// Opens a JSON file that is a list too long to hold.
    ///
    /// # Errors
    /// When the file is missing or no list.
    pub fn json_list(&self, raw: &str) -> Result<JsonList, PrepareError> {
        Ok(JsonList::open(&self.raw.on_disk(raw)?, raw)?)
    }

    /// Opens a JSON file that is an object too large to hold.
    ///
    /// # Errors
    /// When the file is missing or no object.
    pub fn json_object(
        &self,
        raw: &str,
        encoding: JsonEncoding,
    ) -> Result<JsonObject, PrepareError> {
        Ok(JsonObject::open(&self.raw.on_disk(raw)?, raw, encoding)?)
    }

    /// Goes through a parquet file some rows at a time.
    ///
    /// # Errors
    /// When the file is missing or malformed, or the visitor fails.
    pub fn each_parquet_part(
        &self,
        raw: &str,
        visit: impl FnMut(ParquetPart) -> Result<(), PrepareError>,
    ) -> Result<(), PrepareError> {
        each_parquet_part(&self.raw.on_disk(raw)?, raw, visit)
    }

    /// The paths of the files in a tar, gzipped or not, without unpacking it.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn tar_names(&self, raw: &str) -> Result<Vec<String>, PrepareError> {
        self.raw.stream(raw, |stream| Ok(tar_names(stream, raw)?))
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// When the file is missing.
    pub fn read(&self, raw: &str) -> Result<Vec<u8>, PrepareError> {
        self.raw.read(raw)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// When the file is missing or not UTF-8.
    pub fn read_text(&self, raw: &str) -> Result<String, PrepareError> {
        String::from_utf8(self.raw.read(raw)?)
            .map_err(|_| self.unexpected(raw, "expected UTF-8 text"))
    }

    /// Goes through a file's bytes without holding them.
    ///
    /// # Errors
    /// When the file is missing or the visitor fails.
    pub fn stream<T>(
        &self,
        raw: &str,
        visit: impl FnOnce(&mut dyn BufRead) -> Result<T, PrepareError>,
    ) -> Result<T, PrepareError> {
        self.raw.stream(raw, visit)
    }

    /// Goes through the lines of a UTF-8 text as Python's text mode gives them: CR LF and CR count
    /// as LF, and each line has its LF unless the text ends without one. The visitor says whether
    /// to go on.
    ///
    /// # Errors
    /// When the file is missing or not UTF-8, or the visitor fails.
    pub fn each_line(
        &self,
        raw: &str,
        mut visit: impl FnMut(&str) -> Result<bool, PrepareError>,
    ) -> Result<(), PrepareError> {
        self.raw.stream(raw, |stream| {
            let mut line = Vec::new();
            loop {
                line.clear();
                // A line is read up to its LF; CRs inside it end lines of their own.
                stream.read_until(b'\n', &mut line).map_err(error_at("read", Path::new(raw)))?;
                if line.is_empty() {
                    return Ok(());
                }
                let mut text = std::str::from_utf8(&line)
                    .map_err(|_| self.unexpected(raw, "expected UTF-8 text"))?
                    .to_owned();
                if text.contains('\r') {
                    text = text.replace("\r\n", "\n").replace('\r', "\n");
                }
                for part in text.split_inclusive('\n') {
                    if !visit(part)? {
                        return Ok(());
                    }
                }
            }
        })
    }

    /// Whether there is a raw file or folder.
    ///
    /// # Errors
    /// When an archive on the way cannot be read.
    pub fn exists(&self, raw: &str) -> Result<bool, PrepareError> {
        self.raw.exists(raw)
    }

    /// The names of the files directly in a folder, sorted by code point; `""` is the top.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn files(&self, folder: &str) -> Result<Vec<String>, PrepareError> {
        self.raw.files(folder)
    }

    /// The names of the folders directly in a folder, sorted by code point.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn folders(&self, folder: &str) -> Result<Vec<String>, PrepareError> {
        self.raw.folders(folder)
    }

    /// All files below a folder, as paths relative to it, sorted component by component.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn walk(&self, folder: &str) -> Result<Vec<String>, PrepareError> {
        self.raw.walk(folder)
    }

    /// A raw file on disk, for readers that need one.
    ///
    /// # Errors
    /// When the file is missing.
    pub fn on_disk(&self, raw: &str) -> Result<PathBuf, PrepareError> {
        self.raw.on_disk(raw)
    }

    /// An extra file that is not part of Kaggle's download, opened as a tree of its own if it is an
    /// archive.
    ///
    /// # Errors
    /// When it is neither among the given downloads nor can be fetched.
    pub fn download(&self, file: &str, url: &str) -> Result<Self, PrepareError> {
        let missing = |reason: &str| PrepareError::Download {
            file: file.to_owned(),
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let given =
            self.downloads.as_ref().map(|folder| folder.join(file)).filter(|path| path.is_file());
        let path = match (given, self.fetch) {
            (Some(path), _) => path,
            (None, None) => {
                return Err(missing(
                    "downloading is not allowed; name its folder with `--downloads`",
                ));
            }
            (None, Some(fetch)) => {
                fs::create_dir_all(&self.scratch).map_err(error_at("create", &self.scratch))?;
                let path = self.scratch.join(file);
                fetch.fetch(url, &path).map_err(|reason| missing(&reason))?;
                path
            }
        };
        Ok(Self {
            raw: Raw::open(&path, self.scratch.clone(), self.raw.ignores_case())?,
            prepared: self.prepared.clone(),
            scratch: self.scratch.clone(),
            options: self.options.clone(),
            used_options: Mutex::default(),
            downloads: self.downloads.clone(),
            ..*self
        })
    }

    // Prepared data.

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
