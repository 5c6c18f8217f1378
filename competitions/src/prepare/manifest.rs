//! What a preparation made: every file with its size and the hash of its content.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread::JoinHandle;

use md5::{Digest, Md5};
use rayon::prelude::*;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

use super::{PrepareError, error_at};
use crate::archive::{CopyError, ZipSource};

/// All prepared files of a competition, by their path below `prepared/`.
///
/// There may be millions, so they are held without an allocation each.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// All names one after another.
    names: String,
    /// In the order of the names.
    files: Vec<Listed>,
}

#[derive(Clone, Copy, Debug)]
struct Listed {
    name_begin: u64,
    name_length: u32,
    entry: ManifestEntry,
}

/// One prepared file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// Its size.
    pub bytes: u64,
    /// What `sha256` was taken of.
    pub content: Content,
    /// The hash of the content; 64 hexadecimal digits in files.
    #[serde(with = "digits")]
    pub sha256: [u8; 32],
}

/// What stands for the content of a file when it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// All its bytes.
    Bytes,
    /// The names and bytes of its members in the order of their names: neither packing nor time
    /// stamps count.
    Members,
    /// The cells of its table, printed: the writer of the file does not count.
    Table,
}

/// One difference between a manifest and what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestDifference {
    /// The file is not there any more.
    Missing,
    /// The file was not made by the preparation.
    Unexpected {
        /// Its size.
        bytes: u64,
    },
    /// The file has other content.
    Changed {
        /// Its size now.
        bytes: u64,
    },
}

impl Manifest {
    /// Hashes all files below `prepared`, except the brief, which is not the recipe's.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(prepared: &Path) -> Result<Self, PrepareError> {
        Self::default().complete(prepared)
    }

    /// This manifest without the files that are not below `prepared`, and with those that are
    /// there and not in it, which are hashed.
    pub(super) fn complete(mut self, prepared: &Path) -> Result<Self, PrepareError> {
        self.sort();
        let mut seen = vec![false; self.files.len()];
        let mut others = Self::default();
        each_batch(prepared, |mut names| {
            names.retain(|name| match self.place(name) {
                Some(place) => std::mem::replace(&mut seen[place], true),
                None => true,
            });
            hash_all(prepared, &names, |name, entry| others.push(name, entry))
        })?;
        let mut seen = seen.into_iter();
        self.files.retain(|_| seen.next().unwrap_or_default());
        for (name, entry) in others.iter() {
            self.push(name, *entry);
        }
        self.sort();
        Ok(self)
    }

    /// A stored manifest; none if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not whole.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, PrepareError> {
        super::record::read_json(path)
    }

    pub(super) fn push(&mut self, name: &str, entry: ManifestEntry) {
        let name_length = u32::try_from(name.len()).expect("no file system has names of 4 GiB");
        self.files.push(Listed { name_begin: self.names.len() as u64, name_length, entry });
        self.names.push_str(name);
    }

    fn sort(&mut self) {
        let mut files = std::mem::take(&mut self.files);
        files.sort_unstable_by(|a, b| self.name_of(a).cmp(self.name_of(b)));
        self.files = files;
    }

    fn name_of(&self, file: &Listed) -> &str {
        let begin = file.name_begin as usize;
        &self.names[begin..begin + file.name_length as usize]
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.files.binary_search_by(|file| self.name_of(file).cmp(name)).ok()
    }

    /// The files in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ManifestEntry)> {
        self.files.iter().map(|file| (self.name_of(file), &file.entry))
    }

    /// The file of that name.
    pub fn get(&self, name: &str) -> Option<&ManifestEntry> {
        self.place(name).map(|place| &self.files[place].entry)
    }

    /// The number of files.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// The size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.entry.bytes).sum()
    }

    /// How the files below `prepared` differ from this manifest.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn differences(
        &self,
        prepared: &Path,
    ) -> Result<BTreeMap<String, ManifestDifference>, PrepareError> {
        let mut differences = BTreeMap::new();
        let mut seen = vec![false; self.files.len()];
        each_file(prepared, |name, found| {
            let difference = match self.place(name) {
                None => ManifestDifference::Unexpected { bytes: found.bytes },
                Some(place) => {
                    seen[place] = true;
                    if self.files[place].entry.sha256 == found.sha256 {
                        return;
                    }
                    ManifestDifference::Changed { bytes: found.bytes }
                }
            };
            differences.insert(name.to_owned(), difference);
        })?;
        let missing = self.files.iter().zip(seen).filter(|(_, seen)| !seen);
        differences.extend(
            missing.map(|(file, _)| (self.name_of(file).to_owned(), ManifestDifference::Missing)),
        );
        Ok(differences)
    }
}

/// In files: `{"files": {"public/train.csv": {"bytes": 1, "content": "bytes", "sha256": "…"}, …}}`.
impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Files<'a>(&'a Manifest);
        impl Serialize for Files<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter())
            }
        }
        let mut manifest = serializer.serialize_struct("Manifest", 1)?;
        manifest.serialize_field("files", &Files(self))?;
        manifest.end()
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Files(Manifest);
        impl<'de> Deserialize<'de> for Files {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(FilesVisitor)
            }
        }
        struct FilesVisitor;
        impl<'de> Visitor<'de> for FilesVisitor {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("files by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
                let mut manifest = Manifest::default();
                while let Some((name, entry)) = map.next_entry::<String, ManifestEntry>()? {
                    manifest.push(&name, entry);
                }
                manifest.sort();
                Ok(Files(manifest))
            }
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Stored {
            files: Files,
        }
        Ok(Stored::deserialize(deserializer)?.files.0)
    }
}

/// A hash as hexadecimal digits.
mod digits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        hash: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || {
            serde::de::Error::custom(format!(
                "`{text}` is no SHA-256, expected 64 hexadecimal digits"
            ))
        };
        let mut hash = [0; 32];
        hex::decode_to_slice(&text, &mut hash).map_err(|_| wrong())?;
        Ok(hash)
    }
}

/// Hashes all files below `prepared` but the brief, some at a time on all threads, and shows them
/// one after another.
fn each_file(
    prepared: &Path,
    mut visit: impl FnMut(&str, ManifestEntry),
) -> Result<(), PrepareError> {
    each_batch(prepared, |names| hash_all(prepared, &names, &mut visit))
}

fn hash_all(
    prepared: &Path,
    names: &[String],
    mut visit: impl FnMut(&str, ManifestEntry),
) -> Result<(), PrepareError> {
    let hashed: Vec<Result<ManifestEntry, PrepareError>> =
        names.par_iter().map(|name| ManifestEntry::of(&prepared.join(name), name)).collect();
    for (name, entry) in names.iter().zip(hashed) {
        visit(name, entry?);
    }
    Ok(())
}

/// The names of all files below `prepared` but the brief, some at a time.
fn each_batch(
    prepared: &Path,
    mut visit: impl FnMut(Vec<String>) -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    const BATCH: usize = 4096;
    let mut entries = walkdir::WalkDir::new(prepared).sort_by_file_name().into_iter().peekable();
    while entries.peek().is_some() {
        let mut names = Vec::new();
        for entry in entries.by_ref().take(BATCH) {
            let entry = entry.map_err(|error| {
                let place = error.path().unwrap_or(prepared).to_owned();
                error_at("read", &place)(error.into())
            })?;
            if entry.file_type().is_file() {
                let relative =
                    entry.path().strip_prefix(prepared).expect("it was found below this folder");
                let name = relative.to_string_lossy().into_owned();
                if !is_brief(&name) {
                    names.push(name);
                }
            }
        }
        visit(names)?;
    }
    Ok(())
}

/// The description given to agents is put beside the data and may be another one later.
fn is_brief(name: &str) -> bool {
    matches!(name, "public/description.md" | "public/description_obfuscated.md")
}

/// A file that hashes what is written to it, so that it need not be read again.
pub(super) struct HashedFile {
    file: File,
    hash: Sha256,
    bytes: u64,
    /// Puts what was written on disk.
    writeback: Option<JoinHandle<()>>,
}

/// So many new bytes of a file are put on disk while more are made; the kernel would wait for half a
/// minute, and then the end of the preparation for the disk.
const WRITEBACK: u64 = 32 << 20;

impl HashedFile {
    pub(super) fn new(file: File) -> Self {
        Self { file, hash: Sha256::new(), bytes: 0, writeback: None }
    }

    fn begin_writeback(&mut self) {
        if self.writeback.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(file) = self.file.try_clone()
        {
            // Whether all is on disk is found out in the end, for the whole file system.
            let sync = move || drop(file.sync_data());
            self.writeback = std::thread::Builder::new().spawn(sync).ok();
        }
    }

    /// What was written so far.
    pub(super) fn entry(self) -> ManifestEntry {
        let Self { hash, bytes, .. } = self;
        ManifestEntry { bytes, content: Content::Bytes, sha256: hash.finalize().into() }
    }
}

impl io::Write for HashedFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        /// From so many bytes on it pays to write them and to hash them at the same time.
        const LARGE: usize = 1 << 20;
        let written = if buffer.len() < LARGE {
            let written = self.file.write(buffer)?;
            self.hash.update(&buffer[..written]);
            written
        } else {
            let Self { file, hash, .. } = self;
            rayon::join(|| file.write_all(buffer), || hash.update(buffer)).0?;
            buffer.len()
        };
        let before = self.bytes / WRITEBACK;
        self.bytes += written as u64;
        if self.bytes / WRITEBACK > before {
            self.begin_writeback();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl ManifestEntry {
    /// The entry of a file that consists of these bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len() as u64,
            content: Content::Bytes,
            sha256: Sha256::digest(bytes).into(),
        }
    }

    /// Whether the bytes of a file of that name are what it is hashed by.
    pub(super) fn is_of_bytes(name: &str) -> bool {
        !name.ends_with(".zip") && !name.ends_with(".parquet")
    }

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
            (Content::Bytes, hash.finalize().into())
        };
        Ok(Self { bytes, content, sha256 })
    }
}

fn members_hash(zip: &ZipSource, path: &Path) -> Result<[u8; 32], PrepareError> {
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
    Ok(hash.finalize().into())
}

fn hash_file(path: &Path, update: &mut dyn FnMut(&[u8])) -> Result<(), PrepareError> {
    let mut file = File::open(path).map_err(error_at("read", path))?;
    let size = file.metadata().map_err(error_at("read", path))?.len();
    // Most files of large data sets are small.
    let mut buffer = vec![0; size.clamp(512, 256 << 10) as usize];
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
    Ok(hex::encode(hash.finalize()))
}
