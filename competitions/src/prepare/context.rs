use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::manifest::Manifest;
use super::raw::{Place, Raw};
use super::reporter::PrepareReporter;
use super::{PrepareError, error_at};
use crate::archive::{ZipSource, tar_names};
use crate::formats::{Json, JsonEncoding, JsonList, JsonObject, NumberRules};
use crate::frame::{CsvOptions, Frame, ParquetPart, Reopen, each_parquet_part};

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
        let options = options.clone().scratch(&self.scratch);
        if let Place::Zip(zip, member) = self.raw.place(raw)?
            && zip.contains(&member)
        {
            let size = self.raw.size(raw)?;
            return Ok(Frame::stream_csv(Box::new(Member { zip, member }), size, raw, &options)?);
        }
        Ok(Frame::read_csv(&self.raw.on_disk(raw)?, raw, &options)?)
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
}
