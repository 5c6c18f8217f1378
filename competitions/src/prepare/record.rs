//! The records beside prepared data: whole files or none, and one that is damaged is never taken for
//! none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{PrepareError, error_at};
use crate::{CompetitionId, DataDir};

/// The version of the format of [`PreparedRecord`].
pub(super) const FORMAT: &str = "1.0";

/// What is stored beside the prepared data, as `<data-dir>/<id>/prepare.json`: from what and how
/// they were made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreparedRecord {
    /// The version of this format, `major.minor`.
    pub format: String,
    /// The competition.
    pub id: String,
    /// The raw data, with their size and time.
    pub raw: String,
    /// Constants of the recipe that were changed.
    pub overrides: BTreeMap<String, String>,
    /// Whether something was fixed that is wrong with MLE-bench's data: results on such data must
    /// not be mixed with others.
    pub fixed: bool,
}

impl PreparedRecord {
    /// The record of a prepared competition; none for data that MLE-bench prepared.
    ///
    /// # Errors
    /// It cannot be read or is damaged: then nobody can tell how the data were made.
    pub fn read(data_dir: &Path, id: &CompetitionId) -> Result<Option<Self>, PrepareError> {
        let home = DataDir::new(data_dir).competition(id);
        let path = home.prepare_record();
        match read_json(&path)? {
            None if home.manifest().exists() => Err(PrepareError::Damaged {
                path,
                problem: "it is missing, though there is a `manifest.json` beside it".to_owned(),
            }),
            record => Ok(record),
        }
    }

    /// How a competition's data were prepared, in a word; data without a record are MLE-bench's.
    ///
    /// # Errors
    /// As [`PreparedRecord::read`].
    pub fn edition_of(data_dir: &Path, id: &CompetitionId) -> Result<String, PrepareError> {
        let record = Self::read(data_dir, id)?;
        Ok(record.map_or_else(|| "v1".to_owned(), |record| record.edition()))
    }

    /// How the data were prepared, in a word: `v1` as MLE-bench does it, `fixed` without what is
    /// known to be wrong with them, or in words what else was changed.
    pub fn edition(&self) -> String {
        let edition = if self.fixed { "fixed" } else { "v1" };
        if self.overrides.is_empty() {
            return edition.to_owned();
        }
        let changes: Vec<String> =
            self.overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{edition} with {}", changes.join(", "))
    }
}

/// A record beside the prepared data; none if it is not there.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(
    path: &Path,
) -> Result<Option<T>, PrepareError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error_at("read", path)(error)),
    };
    let read = serde_json::from_reader(BufReader::with_capacity(256 << 10, file));
    read.map(Some).map_err(|error| match error.is_io() {
        true => error_at("read", path)(error.into()),
        false => PrepareError::Damaged { path: path.to_owned(), problem: error.to_string() },
    })
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), PrepareError> {
    write_whole(path, |out| serde_json::to_writer_pretty(out, value).map_err(io::Error::from))
}

/// Writes a file that is whole or absent.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), PrepareError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = readable().tempfile_in(folder).map_err(error_at("write", path))?;
    let mut out = BufWriter::with_capacity(256 << 10, &mut file);
    write(&mut out).and_then(|()| out.flush()).map_err(error_at("write", path))?;
    drop(out);
    file.as_file().sync_all().map_err(error_at("write", path))?;
    file.persist(path).map_err(|error| error_at("write", path)(error.error))?;
    Ok(())
}

/// Temporary files are for their owner alone, but whoever may read the data may read how they were
/// made.
fn readable() -> tempfile::Builder<'static, 'static> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no modes to set"))]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}
