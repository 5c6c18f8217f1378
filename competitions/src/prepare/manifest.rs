//! What a preparation made: every file with its size and the hash of its content.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use md5::{Digest, Md5};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{PrepareError, error_at};
use crate::archive::{CopyError, ZipSource};

/// All prepared files of a competition, by their path below `prepared/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The files.
    pub files: BTreeMap<String, ManifestEntry>,
}

/// One prepared file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// Its size.
    pub bytes: u64,
    /// What `sha256` was taken of.
    pub content: Content,
    /// The hash of the content, in hexadecimal digits.
    pub sha256: String,
}

/// What stands for the content of a file when it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// All its bytes.
    Bytes,
    /// The names and bytes of its members in the order of their names: neither packing nor time stamps count.
    Members,
    /// The cells of its table, printed: the writer of the file does not count.
    Table,
}

/// One difference between a manifest and what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestDifference {
    /// The file is not there any more.
    Missing,
    /// The file was not made by the preparation.
    Unexpected,
    /// The file has other content.
    Changed,
}

impl Manifest {
    /// Hashes all files below `prepared`, except the brief, which is not the recipe's.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(prepared: &Path) -> Result<Self, PrepareError> {
        let mut names = Vec::new();
        for entry in walkdir::WalkDir::new(prepared).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let place = error.path().unwrap_or(prepared).to_owned();
                error_at("read", &place)(error.into())
            })?;
            if entry.file_type().is_file() {
                let relative = entry.path().strip_prefix(prepared).expect("it was found below this folder");
                let name = relative.to_string_lossy().into_owned();
                if !is_brief(&name) {
                    names.push(name);
                }
            }
        }
        let entries = names.into_par_iter().map(|name| {
            let entry = ManifestEntry::of(&prepared.join(&name), &name)?;
            Ok((name, entry))
        });
        Ok(Self { files: entries.collect::<Result<_, PrepareError>>()? })
    }

    /// The number of files.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// The size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|entry| entry.bytes).sum()
    }

    /// How `found` differs from this manifest, by file.
    pub fn differences(&self, found: &Self) -> BTreeMap<String, ManifestDifference> {
        let mut differences = BTreeMap::new();
        for (name, entry) in &self.files {
            match found.files.get(name) {
                None => differences.insert(name.clone(), ManifestDifference::Missing),
                Some(other) if other.sha256 != entry.sha256 => {
                    differences.insert(name.clone(), ManifestDifference::Changed)
                }
                Some(_) => None,
            };
        }
        for name in found.files.keys().filter(|name| !self.files.contains_key(*name)) {
            differences.insert(name.clone(), ManifestDifference::Unexpected);
        }
        differences
    }
}

/// The description given to agents is put beside the data and may be another one later.
fn is_brief(name: &str) -> bool {
    matches!(name, "public/description.md" | "public/description_obfuscated.md")
}

impl ManifestEntry {
    fn of(path: &Path, name: &str) -> Result<Self, PrepareError> {
        let bytes = path.metadata().map_err(error_at("read", path))?.len();
        let (content, sha256) = if name.ends_with(".zip")
            && let Ok(zip) = ZipSource::open(path, name, false)
        {
            (Content::Members, members_hash(&zip, path)?)
        } else if name.ends_with(".parquet")
            && let Some(hash) = crate::frame::parquet_hash(path)
        {
            (Content::Table, hash)
        } else {
            let mut hash = Sha256::new();
            hash_file(path, &mut |bytes| hash.update(bytes))?;
            (Content::Bytes, hex(&hash.finalize()))
        };
        Ok(Self { bytes, content, sha256 })
    }
}

fn members_hash(zip: &ZipSource, path: &Path) -> Result<String, PrepareError> {
    struct Sink<'a>(&'a mut Sha256);
    impl io::Write for Sink<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Sha256::new();
    let mut reader = zip.reader();
    for member in zip.below("") {
        let size = reader.size(member)?;
        hash.update(format!("{member}\0{size}\0"));
        reader.copy(member, &mut Sink(&mut hash)).map_err(|error| match error {
            CopyError::Read(error) => error.into(),
            CopyError::Write(error) => error_at("read", path)(error),
        })?;
    }
    Ok(hex(&hash.finalize()))
}

fn hash_file(path: &Path, update: &mut dyn FnMut(&[u8])) -> Result<(), PrepareError> {
    let mut file = File::open(path).map_err(error_at("read", path))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).map_err(error_at("read", path))? {
            0 => return Ok(()),
            read => update(&buffer[..read]),
        }
    }
}

/// The md5 of a file in hexadecimal digits.
pub(super) fn md5_of(path: &Path) -> Result<String, PrepareError> {
    let mut hash = Md5::new();
    hash_file(path, &mut |bytes| hash.update(bytes))?;
    Ok(hex(&hash.finalize()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
