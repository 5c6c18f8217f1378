//! Opens a bundle that anybody may have made: every byte is read once and hashed, and only the files that
//! are looked at later lie on disk afterwards, in a folder of their own.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use medalist_grading::untrusted::Shown;
use medalist_reports::record::FormatVersion;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::app::bundle::manifest::{BUNDLE_FORMAT, KIND, Listed, MANIFEST, Manifest, SIGNATURE};
use crate::app::bundle::pick::LONGEST_PATH;
use crate::host::files::{Hashed, StoreError};

/// The largest manifest: some hundred thousand files.
const LARGEST_MANIFEST: u64 = 64 << 20;
/// The largest signature.
const LARGEST_SIGNATURE: u64 = 64 << 10;
/// The largest record that is read as one JSON value.
const LARGEST_RECORD: u64 = 64 << 20;
/// The largest window that zstd may ask for, as a power of two; ours need 4 MiB.
const WINDOW: u32 = 25;
/// What is read and hashed at once.
const PIECE: usize = 1 << 20;
/// Bytes of the archive's own beside the files, and for each file.
const FRAMING: u64 = 1 << 20;
const FRAMING_OF_FILE: u64 = 4096;
/// Pieces that wait between the thread that unpacks and the one that hashes.
const WAITING: usize = 4;

/// The file cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum OpenError {
    /// The file, or the folder for what is unpacked.
    #[error(transparent)]
    File(#[from] StoreError),
    /// Something else, or damaged.
    #[error("`{path}` is no bundle that can be read: {why}")]
    NoBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Made by a later version.
    #[error("`{path}` has format {format}, and this version reads up to {}.x", BUNDLE_FORMAT.major)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: FormatVersion,
    },
    /// More than was allowed.
    #[error("`{path}` says that it unpacks to {bytes} bytes, and {most} are allowed")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What its manifest adds up to.
        bytes: u64,
        /// The limit.
        most: u64,
    },
}

/// An opened bundle.
#[derive(Debug)]
pub(in crate::app) struct Opened {
    pub(in crate::app) manifest: Manifest,
    /// The manifest's own bytes, which the signature is over.
    pub(super) text: Vec<u8>,
    /// The signature, if there is one.
    pub(super) signature: Option<Vec<u8>>,
    /// What was kept: `<group>/…`, as in the run groups.
    pub(in crate::app) root: tempfile::TempDir,
    /// What the archive holds beside or in place of what the manifest lists.
    pub(super) structure: Vec<String>,
    /// Files whose bytes are not the listed ones.
    pub(in crate::app) hashes: Vec<String>,
    /// SHA-256 of the file itself, hexadecimal.
    pub sha256: String,
    /// Its size.
    pub(super) bytes: u64,
}

impl Opened {
    /// What the manifest lists of a path.
    pub(super) fn listed(&self, path: &str) -> Option<&Listed> {
        let files = &self.manifest.files;
        files.binary_search_by(|file| file.path.as_str().cmp(path)).ok().map(|at| &files[at])
    }
}

/// Reads a bundle to its end. `most` is what it may unpack to, in bytes; `keep` says which files are looked at
/// afterwards.
///
/// # Errors
/// [`OpenError`] if it is none, is cut short, or holds anything that no bundle holds.
pub(in crate::app) fn open(
    path: &Path,
    most: u64,
    keep: fn(&Listed) -> bool,
) -> Result<Opened, OpenError> {
    let file = File::open(path).map_err(StoreError::io("read", path))?;
    let (pieces, unpacking) = unpack_apart(file);
    let opened = Reader { path, left: Rc::clone(&pieces.left), most, keep }.read(pieces);
    let (sha256, bytes) = unpacking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    opened.map(|opened| Opened { sha256, bytes, ..opened })
}

/// Unpacks in a thread of its own, which gives the file's SHA-256 and size at its end.
fn unpack_apart(file: File) -> (Pieces, JoinHandle<(String, u64)>) {
    let (sender, pieces) = sync_channel(WAITING);
    let thread = std::thread::spawn(move || {
        let mut hashed = Hashed::new(file);
        let unpack = |hashed: &mut Hashed<File>| -> io::Result<()> {
            let mut decoder = zstd::stream::read::Decoder::new(hashed)?;
            decoder.window_log_max(WINDOW)?;
            loop {
                let mut piece = Vec::with_capacity(PIECE);
                (&mut decoder).take(PIECE as u64).read_to_end(&mut piece)?;
                if piece.is_empty() || sender.send(Ok(piece)).is_err() {
                    return Ok(());
                }
            }
        };
        if let Err(error) = unpack(&mut hashed) {
            // Nobody listens who has given up.
            let _ = sender.send(Err(error));
        }
        drop(sender);
        // What the decoder has not asked for counts as well.
        let _ = io::copy(&mut hashed, &mut io::sink());
        let (sha256, bytes, _) = hashed.finish();
        (sha256, bytes)
    });
    let left = Rc::new(Cell::new(LARGEST_MANIFEST + FRAMING));
    (Pieces { pieces, now: Vec::new(), at: 0, left }, thread)
}

/// What another thread unpacks, up to a number of bytes.
struct Pieces {
    pieces: Receiver<io::Result<Vec<u8>>>,
    now: Vec<u8>,
    at: usize,
    left: Rc<Cell<u64>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.now.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.now, self.at) = (piece?, 0),
                // The other thread is done.
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.now.len() - self.at);
        buffer[..count].copy_from_slice(&self.now[self.at..self.at + count]);
        self.at += count;
        let left = self.left.get().checked_sub(count as u64);
        self.left
            .set(left.ok_or_else(|| io::Error::other("it holds more than its manifest lists"))?);
        Ok(count)
    }
}

struct Reader<'a> {
    path: &'a Path,
    /// What the archive may still unpack to.
    left: Rc<Cell<u64>>,
    most: u64,
    keep: fn(&Listed) -> bool,
}

/// What is read of a manifest before the rest.
#[derive(Deserialize)]
struct Head {
    kind: String,
    format: FormatVersion,
}

impl Reader<'_> {
    fn none(&self, why: &dyn std::fmt::Display) -> OpenError {
        OpenError::NoBundle { path: self.path.to_owned(), why: why.to_string() }
    }

    fn read(&self, pieces: Pieces) -> Result<Opened, OpenError> {
        let mut archive = tar::Archive::new(pieces);
        // Raw: the library would take a name of any length into memory.
        let entries = archive.entries().map_err(|error| self.none(&error))?.raw(true);
        let mut entries = Entries { entries, reader: self };
        let mut opened = match entries.next()? {
            Some((name, mut first)) if name == MANIFEST => {
                let text = whole(&mut first, LARGEST_MANIFEST);
                self.begin(text.map_err(|error| self.none(&error))?)?
            }
            _ => return Err(self.none(&format_args!("it does not begin with `{MANIFEST}`"))),
        };
        let mut seen: BTreeSet<String> = BTreeSet::new();
        while let Some((name, mut entry)) = entries.next()? {
            if !seen.insert(name.clone()) {
                let shown = Shown::new(&name);
                return Err(self.none(&format_args!("`{shown}` is in it twice")));
            }
            if name == SIGNATURE && seen.len() == 1 {
                let signature = whole(&mut entry, LARGEST_SIGNATURE);
                opened.signature = Some(signature.map_err(|error| self.none(&error))?);
                continue;
            }
            self.file(&mut opened, &name, &mut entry)?;
        }
        let missing: Vec<&Listed> =
            opened.manifest.files.iter().filter(|file| !seen.contains(&file.path)).collect();
        if let Some(first) = missing.first() {
            let (count, first) = (missing.len(), Shown::new(&first.path));
            let what = format!(
                "{count} of the listed files are not in it, `{first}` among them: it was cut short, or they were taken out"
            );
            opened.structure.insert(0, what);
        }
        let mut rest = Vec::new();
        let behind = archive.into_inner().take(FRAMING).read_to_end(&mut rest);
        behind.map_err(|error| self.none(&error))?;
        if rest.iter().any(|byte| *byte != 0) {
            note(&mut opened.structure, "there are data behind its end".to_owned());
        }
        Ok(opened)
    }

    /// A bundle of which the manifest alone is read.
    fn begin(&self, text: Vec<u8>) -> Result<Opened, OpenError> {
        let manifest = manifest(self.path, &text)?;
        let bytes = manifest.files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.bytes));
        let bytes = bytes.unwrap_or(u64::MAX);
        if bytes > self.most {
            return Err(OpenError::TooLarge { path: self.path.to_owned(), bytes, most: self.most });
        }
        let framing = FRAMING + LARGEST_SIGNATURE + FRAMING_OF_FILE * manifest.files.len() as u64;
        self.left.set(bytes.saturating_add(framing));
        let root = tempfile::Builder::new().prefix("medalist-verify-").tempdir();
        let root = root.map_err(StoreError::io("write", &std::env::temp_dir()))?;
        Ok(Opened {
            manifest,
            text,
            signature: None,
            root,
            structure: Vec::new(),
            hashes: Vec::new(),
            sha256: String::new(),
            bytes: 0,
        })
    }

    /// Takes one file of the archive.
    fn file(
        &self,
        opened: &mut Opened,
        name: &str,
        entry: &mut impl Read,
    ) -> Result<(), OpenError> {
        let shown = Shown::new(name);
        let Some(listed) = opened.listed(name).cloned() else {
            note(&mut opened.structure, format!("`{shown}` is in it and not listed"));
            return Ok(());
        };
        let keep = (self.keep)(&listed).then(|| opened.root.path().join(&listed.path));
        let taken = take(entry, keep.as_deref(), &listed).map_err(|error| match error {
            Taken::Read(error) => self.none(&error),
            Taken::Write(path, error) => StoreError::io("write", &path)(error).into(),
        })?;
        if taken != (listed.sha256, listed.bytes) {
            let what = format!("`{shown}` has other bytes than the manifest lists");
            note(&mut opened.hashes, what);
        }
        Ok(())
    }
}

/// Adds a line to a list that a hostile file may not make long.
fn note(list: &mut Vec<String>, line: String) {
    if list.len() < 100 {
        list.push(line);
    }
}

/// Checks a manifest before anything of it is used.
fn manifest(path: &Path, text: &[u8]) -> Result<Manifest, OpenError> {
    let none = |why: String| OpenError::NoBundle { path: path.to_owned(), why };
    let damaged = |error: serde_json::Error| none(format!("its manifest is damaged: {error}"));
    let head: Head = serde_json::from_slice(text).map_err(damaged)?;
    if head.kind != KIND {
        return Err(none(format!("its manifest is of the kind `{}`", Shown::new(&head.kind))));
    }
    if !BUNDLE_FORMAT.reads(head.format) {
        return Err(OpenError::Newer { path: path.to_owned(), format: head.format });
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(damaged)?;
    let mut last = "";
    for file in &manifest.files {
        if !is_plain_path(&file.path) {
            return Err(none(format!("it lists `{}`, which is no path", Shown::new(&file.path))));
        }
        if file.path.as_str() <= last {
            return Err(none("its list of files is in no order".to_owned()));
        }
        last = &file.path;
    }
    let mut ids = BTreeSet::new();
    for group in &manifest.groups {
        if !is_plain_name(&group.id) || !ids.insert(&group.id) {
            return Err(none(format!("`{}` names no group", Shown::new(&group.id))));
        }
    }
    Ok(manifest)
}

/// Whether a text is one part of a path and leads nowhere else.
pub(in crate::app) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Whether a path stays below where it begins.
fn is_plain_path(path: &str) -> bool {
    path.len() <= LONGEST_PATH
        && path.split('/').count() <= 64
        && path.split('/').count() >= 2
        && path.split('/').all(is_plain_name)
}

/// Whether a file is looked at by `verify` after all are hashed.
pub(in crate::app) fn is_kept(file: &Listed) -> bool {
    let parts: Vec<&str> = file.path.split('/').collect();
    let small = file.bytes <= LARGEST_RECORD;
    let of_attempt = |rest: &[&str]| match rest {
        [
            "attempt.json" | "grade.json" | "end.json" | "claim.json" | "lost.json"
            | "lost-grade.json",
        ] => small,
        ["events.jsonl" | "network.jsonl"]
        | ["submission", "submission.csv"]
        | ["llm", "calls.jsonl" | "transcript.jsonl.gz"] => true,
        ["snapshots", name] => name.ends_with(".csv"),
        _ => false,
    };
    match parts.as_slice() {
        [_, "plan.json" | "group.json" | "metadata.json"] => small,
        [_, "events.jsonl"] => true,
        [_, _, "tries", _, rest @ ..] | [_, _, rest @ ..] => of_attempt(rest),
        _ => false,
    }
}

/// The entries of an archive: regular files alone, with names of any allowed length.
struct Entries<'a, 'r, R: Read> {
    entries: tar::Entries<'a, R>,
    reader: &'r Reader<'r>,
}

impl<'a, R: Read> Entries<'a, '_, R> {
    fn next(&mut self) -> Result<Option<(String, tar::Entry<'a, R>)>, OpenError> {
        let reader = self.reader;
        let none = |error: &dyn std::fmt::Display| reader.none(error);
        let mut long = None;
        loop {
            let Some(entry) = self.entries.next() else { return Ok(None) };
            let mut entry = entry.map_err(|error| none(&error))?;
            match entry.header().entry_type() {
                tar::EntryType::GNULongName if long.is_none() => {
                    let name = whole(&mut entry, LONGEST_PATH as u64 + 1);
                    let mut name = name.map_err(|error| none(&error))?;
                    if name.last() == Some(&0) {
                        name.pop();
                    }
                    long = Some(name);
                }
                tar::EntryType::Regular => {
                    let short = || entry.header().path_bytes().into_owned();
                    let name = String::from_utf8(long.take().unwrap_or_else(short));
                    let name = name.map_err(|_| none(&"it has a name that is no UTF-8"))?;
                    return Ok(Some((name, entry)));
                }
                other => {
                    return Err(none(&format_args!(
                        "it holds an entry of the kind {other:?}, and bundles hold files alone"
                    )));
                }
            }
        }
    }
}

/// All of an entry, up to a size.
fn whole(entry: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other("an entry is larger than any bundle's")),
        false => Ok(bytes),
    }
}

/// Why a file could not be taken.
enum Taken {
    Read(io::Error),
    Write(PathBuf, io::Error),
}

/// Hashes an entry, and writes it to `keep`; its SHA-256 and size. No more than the listed size is
/// written.
fn take(
    entry: &mut impl Read,
    keep: Option<&Path>,
    listed: &Listed,
) -> Result<(String, u64), Taken> {
    let write = |path: &Path, error| Taken::Write(path.to_owned(), error);
    let mut to = match keep {
        Some(path) => {
            let folder = path.parent().unwrap_or(path);
            std::fs::create_dir_all(folder).map_err(|error| write(folder, error))?;
            Some((path, File::create_new(path).map_err(|error| write(path, error))?))
        }
        None => None,
    };
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = entry.read(&mut buffer).map_err(Taken::Read)?;
        if count == 0 {
            return Ok((hex::encode(hash.finalize()), bytes));
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
        if let Some((path, file)) = &mut to
            && bytes <= listed.bytes
        {
            file.write_all(&buffer[..count]).map_err(|error| write(path, error))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_stay_below_are_paths() {
        for path in ["g/a", "g/a/b.csv", "g/ü/-", "g/a\\b"] {
            assert!(is_plain_path(path), "{path}");
        }
        for path in
            ["", "a", "/a/b", "../a", "a/../b", "a/./b", "a//b", "a/b/", "a/b\0c", "..", "a/.."]
        {
            assert!(!is_plain_path(path), "{path}");
        }
        assert!(!is_plain_path(&format!("a/{}", "b".repeat(LONGEST_PATH))));
        assert!(!is_plain_path(&"a/".repeat(100)));
    }

    #[test]
    fn what_is_looked_at_is_kept_and_nothing_else() {
        let kept = |path: &str| {
            is_kept(&Listed { path: path.to_owned(), bytes: 1, sha256: String::new() })
        };
        for path in [
            "g/plan.json",
            "g/a/attempt.json",
            "g/a/tries/2/llm/calls.jsonl",
            "g/a/submission/submission.csv",
            "g/a/snapshots/0000060.csv",
        ] {
            assert!(kept(path), "{path}");
        }
        for path in ["g/a/code/attempt.json", "g/a/run.log", "g/x", "g/a/submission/other.csv"] {
            assert!(!kept(path), "{path}");
        }
    }
}
