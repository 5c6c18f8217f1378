//! The raw data as one tree, in which archives are folders.
//!
//! `train.zip/train/1.jpg` is the member `train/1.jpg` of `train.zip`, wherever that lies: in a
//! directory, or inside the archive that was downloaded. Zip members are read in place; other
//! archives are unpacked once, aside.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;

use super::link::{Put, link_or_copy, refuse_links_out};
use super::manifest::{HashedFile, ManifestEntry};
use super::{PrepareError, error_at, missing};
use crate::archive::{ArchiveKind, CopyError, ZipReader, ZipSource, safe_path, unpack};

/// A folder on disk or the members of a zip.
#[derive(Clone)]
enum Container {
    Folder(PathBuf),
    Zip(Arc<ZipSource>),
}

/// Where a path of the tree leads.
pub(super) enum Place {
    Disk(PathBuf),
    /// A member, or a folder of members.
    Zip(Arc<ZipSource>, String),
}

/// The raw data of one competition.
pub(crate) struct Raw {
    root: Container,
    /// Where the root is, for messages.
    location: PathBuf,
    scratch: PathBuf,
    ignores_case: bool,
    opened: Mutex<HashMap<String, Container>>,
    extracted: Mutex<HashMap<String, PathBuf>>,
    /// Files read in place, with size and time as they were then.
    watched: Mutex<HashMap<PathBuf, Stamp>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Raw {
    /// The tree in a directory or, if `location` is a file, in that archive. `scratch` is a folder
    /// for what must be unpacked.
    pub(crate) fn open(
        location: &Path,
        scratch: PathBuf,
        ignores_case: bool,
    ) -> Result<Self, PrepareError> {
        let raw = Self {
            root: Container::Folder(location.to_owned()),
            location: location.to_owned(),
            scratch,
            ignores_case,
            opened: Mutex::default(),
            extracted: Mutex::default(),
            watched: Mutex::default(),
        };
        if location.is_dir() {
            fs::read_dir(location).map_err(error_at("read", location))?;
            refuse_links_out(location)?;
            return Ok(raw);
        }
        let name = location
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let root = raw.open_archive(location, &name)?;
        Ok(Self { root, ..raw })
    }

    fn open_archive(&self, path: &Path, name: &str) -> Result<Container, PrepareError> {
        self.watch(path)?;
        // A download keeps its name only by convention, so a root archive may have any ending.
        let kind = ArchiveKind::of_name(name).unwrap_or(ArchiveKind::Zip);
        if kind == ArchiveKind::Zip {
            return Ok(Container::Zip(Arc::new(ZipSource::open(path, name, self.ignores_case)?)));
        }
        let folder = self.fresh_scratch()?;
        unpack(kind, path, name, &folder, self.ignores_case)?;
        Ok(Container::Folder(folder))
    }

    /// A zip inside a zip, read where it lies if it is not packed once more.
    fn open_inside(
        &self,
        zip: &ZipSource,
        member: &str,
        name: &str,
    ) -> Result<Option<Container>, PrepareError> {
        if ArchiveKind::of_name(name) != Some(ArchiveKind::Zip) {
            return Ok(None);
        }
        let opened = zip.open_inside(member, name, self.ignores_case)?;
        Ok(opened.map(|zip| Container::Zip(Arc::new(zip))))
    }

    fn fresh_scratch(&self) -> Result<PathBuf, PrepareError> {
        fs::create_dir_all(&self.scratch).map_err(error_at("create", &self.scratch))?;
        let made = tempfile::Builder::new().prefix("unpacked-").tempdir_in(&self.scratch);
        Ok(made.map_err(error_at("create", &self.scratch))?.keep())
    }

    /// Follows a path through archives; its last part need not exist.
    pub(super) fn place(&self, path: &str) -> Result<Place, PrepareError> {
        let mut container = self.root.clone();
        let mut rest = path.trim_matches('/');
        if !rest.is_empty() {
            safe_path(rest).map_err(|what| self.unexpected(path, what))?;
        }
        loop {
            match self.enter(&container, path, rest)? {
                Some((inner, below)) => (container, rest) = (inner, below),
                None => {
                    return Ok(match container {
                        Container::Folder(folder) => Place::Disk(folder.join(rest)),
                        Container::Zip(zip) => Place::Zip(zip, rest.to_owned()),
                    });
                }
            }
        }
    }

    /// The first archive on the way, opened, and the path inside it.
    fn enter<'a>(
        &self,
        container: &Container,
        path: &str,
        rest: &'a str,
    ) -> Result<Option<(Container, &'a str)>, PrepareError> {
        for (slash, _) in rest.match_indices('/').chain([(rest.len(), "")]) {
            let head = &rest[..slash];
            let Some(name) =
                head.rsplit('/').next().filter(|name| ArchiveKind::of_name(name).is_some())
            else {
                continue;
            };
            let below = rest[slash..].trim_start_matches('/');
            let is_file = match container {
                Container::Folder(folder) => folder.join(head).is_file(),
                Container::Zip(zip) => zip.contains(head),
            };
            // An archive that is the end of the path is a file like any other, unless its members
            // are asked for.
            if !is_file || below.is_empty() {
                continue;
            }
            let key = path[..path.len() - below.len()].to_owned();
            if let Some(known) = locked(&self.opened).get(&key) {
                return Ok(Some((known.clone(), below)));
            }
            let opened = match container {
                Container::Folder(folder) => self.open_archive(&folder.join(head), name)?,
                Container::Zip(zip) => match self.open_inside(zip, head, name)? {
                    Some(opened) => opened,
                    None => {
                        let on_disk = self.extracted(key.trim_end_matches('/'), zip, head)?;
                        self.open_archive(&on_disk, name)?
                    }
                },
            };
            locked(&self.opened).insert(key, opened.clone());
            return Ok(Some((opened, below)));
        }
        Ok(None)
    }

    fn unexpected(&self, file: &str, what: impl Into<String>) -> PrepareError {
        PrepareError::Unexpected { file: file.to_owned(), what: what.into() }
    }

    /// The error for a path that leads nowhere; it says what there is instead.
    pub(super) fn missing(&self, path: &str) -> PrepareError {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut around = self.names(folder, |_| true).unwrap_or_default();
        let found = match around.len() {
            0 => "; there is nothing in its folder".to_owned(),
            1..=8 => format!("; there is only `{}`", around.join("`, `")),
            count => {
                around.truncate(6);
                format!("; there are `{}` and {} more", around.join("`, `"), count - 6)
            }
        };
        let elsewhere = self.elsewhere(path);
        PrepareError::RawMissing {
            file: path.to_owned(),
            place: self.location.clone(),
            found: elsewhere.as_ref().map_or(found, missing::Elsewhere::found),
            remedy: elsewhere.map(|elsewhere| elsewhere.remedy(&self.location)),
        }
    }

    /// Whether there is a file or a folder.
    pub(super) fn exists(&self, path: &str) -> Result<bool, PrepareError> {
        Ok(match self.place(path)? {
            Place::Disk(path) => path.exists(),
            Place::Zip(zip, inner) => zip.contains(&inner) || zip.below(&inner).next().is_some(),
        })
    }

    /// Names directly in a folder (or an archive), sorted by code point.
    fn names(
        &self,
        folder: &str,
        wanted: impl Fn(bool) -> bool,
    ) -> Result<Vec<String>, PrepareError> {
        let mut names = Vec::new();
        match self.inside(folder)? {
            Place::Disk(path) => {
                let entries = match fs::read_dir(&path) {
                    Ok(entries) => entries,
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                        ) =>
                    {
                        return Err(self.absent_folder(folder));
                    }
                    Err(error) => return Err(error_at("read", &path)(error)),
                };
                for entry in entries {
                    let entry = entry.map_err(error_at("read", &path))?;
                    // A link counts as what it leads to.
                    let metadata =
                        fs::metadata(entry.path()).map_err(error_at("read", &entry.path()))?;
                    if wanted(metadata.is_file()) && (metadata.is_file() || metadata.is_dir()) {
                        names.push(self.utf8(&entry.file_name())?);
                    }
                }
                names.sort_unstable();
            }
            Place::Zip(zip, inner) => {
                let start = if inner.is_empty() { 0 } else { inner.len() + 1 };
                let mut any = false;
                for member in zip.below(&inner) {
                    any = true;
                    let (name, is_file) = match member[start..].split_once('/') {
                        Some((folder, _)) => (folder, false),
                        None => (&member[start..], true),
                    };
                    if wanted(is_file) && names.last().is_none_or(|last| last != name) {
                        names.push(name.to_owned());
                    }
                }
                if !any {
                    return Err(self.absent_folder(folder));
                }
                names.sort_unstable();
                names.dedup();
            }
        }
        Ok(names)
    }

    /// Where a missing file or folder is instead.
    fn elsewhere(&self, path: &str) -> Option<missing::Elsewhere> {
        /// An archive beyond this is not unpacked only to say where a file is.
        const LARGEST: u64 = 1 << 30;
        let inside = |archive: &str| {
            let is_small = self.size(archive).is_ok_and(|size| size <= LARGEST);
            if is_small { self.walk(archive).ok() } else { None }
        };
        missing::look(path, || self.walk("").ok(), inside)
    }

    fn absent_folder(&self, folder: &str) -> PrepareError {
        let elsewhere = self.elsewhere(folder);
        PrepareError::RawMissing {
            file: format!("{folder}/"),
            place: self.location.clone(),
            found: elsewhere.as_ref().map_or_else(String::new, missing::Elsewhere::found),
            remedy: elsewhere.map(|elsewhere| elsewhere.remedy(&self.location)),
        }
    }

    fn utf8(&self, name: &std::ffi::OsStr) -> Result<String, PrepareError> {
        let text = name.to_str().map(str::to_owned);
        text.ok_or_else(|| self.unexpected(&name.to_string_lossy(), "its name is not UTF-8"))
    }

    /// As [`place`](Self::place), but an archive at the end of the path is entered.
    fn inside(&self, folder: &str) -> Result<Place, PrepareError> {
        let folder = folder.trim_matches('/');
        let is_archive = ArchiveKind::of_name(folder).is_some()
            && match self.place(folder)? {
                Place::Disk(path) => path.is_file(),
                Place::Zip(zip, inner) => zip.contains(&inner),
            };
        if !is_archive {
            return self.place(folder);
        }
        // Any name below leads into the archive; its place is then one step up.
        Ok(match self.place(&format!("{folder}/x"))? {
            Place::Disk(path) => {
                Place::Disk(path.parent().map_or_else(PathBuf::new, Path::to_owned))
            }
            Place::Zip(zip, _) => Place::Zip(zip, String::new()),
        })
    }

    pub(super) fn files(&self, folder: &str) -> Result<Vec<String>, PrepareError> {
        self.names(folder, |is_file| is_file)
    }

    pub(super) fn folders(&self, folder: &str) -> Result<Vec<String>, PrepareError> {
        self.names(folder, |is_file| !is_file)
    }

    /// All files below a folder as paths relative to it, sorted component by component.
    pub(crate) fn walk(&self, folder: &str) -> Result<Vec<String>, PrepareError> {
        let mut files = match self.inside(folder)? {
            Place::Disk(path) => {
                if !path.is_dir() {
                    return Err(self.absent_folder(folder));
                }
                let mut files = Vec::new();
                for entry in walkdir::WalkDir::new(&path).follow_links(true) {
                    let entry = entry.map_err(|error| {
                        let place = error.path().unwrap_or(&path).to_owned();
                        error_at("read", &place)(error.into())
                    })?;
                    if entry.file_type().is_file() {
                        let relative = entry
                            .path()
                            .strip_prefix(&path)
                            .expect("it was found below this folder");
                        files.push(self.utf8(relative.as_os_str())?);
                    }
                }
                files
            }
            Place::Zip(zip, inner) => {
                let start = if inner.is_empty() { 0 } else { inner.len() + 1 };
                let files: Vec<String> =
                    zip.below(&inner).map(|member| member[start..].to_owned()).collect();
                if files.is_empty() {
                    return Err(self.absent_folder(folder));
                }
                files
            }
        };
        files.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        Ok(files)
    }

    /// The file on disk, for readers that must seek; a zip member is unpacked aside once.
    pub(crate) fn on_disk(&self, path: &str) -> Result<PathBuf, PrepareError> {
        match self.place(path)? {
            Place::Disk(found) if found.is_file() => {
                self.watch(&found)?;
                Ok(found)
            }
            Place::Zip(zip, inner) if zip.contains(&inner) => self.extracted(path, &zip, &inner),
            _ => Err(self.missing(path)),
        }
    }

    fn extracted(
        &self,
        path: &str,
        zip: &ZipSource,
        member: &str,
    ) -> Result<PathBuf, PrepareError> {
        if let Some(known) = locked(&self.extracted).get(path) {
            return Ok(known.clone());
        }
        let target = self.fresh_scratch()?.join(member.rsplit('/').next().unwrap_or(member));
        extract(&mut zip.reader(), member, &target)?;
        locked(&self.extracted).insert(path.to_owned(), target.clone());
        Ok(target)
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, PrepareError> {
        match self.place(path)? {
            Place::Disk(found) if found.is_file() => {
                self.watch(&found)?;
                fs::read(&found).map_err(error_at("read", &found))
            }
            Place::Zip(zip, inner) if zip.contains(&inner) => {
                let mut bytes = Vec::new();
                match zip.reader().copy(&inner, &mut bytes) {
                    Ok(_) => Ok(bytes),
                    Err(CopyError::Read(error)) => Err(error.into()),
                    Err(CopyError::Write(error)) => Err(error_at("read", Path::new(path))(error)),
                }
            }
            _ => Err(self.missing(path)),
        }
    }

    /// Goes through a file's bytes without holding them.
    pub(crate) fn stream<T>(
        &self,
        path: &str,
        visit: impl FnOnce(&mut dyn io::BufRead) -> Result<T, PrepareError>,
    ) -> Result<T, PrepareError> {
        const BUFFER: usize = 1 << 20;
        match self.place(path)? {
            Place::Disk(found) if found.is_file() => {
                self.watch(&found)?;
                let file = File::open(&found).map_err(error_at("read", &found))?;
                visit(&mut BufReader::with_capacity(BUFFER, file))
            }
            Place::Zip(zip, inner) if zip.contains(&inner) => {
                visit(&mut BufReader::with_capacity(BUFFER, zip.stream(&inner)?))
            }
            _ => Err(self.missing(path)),
        }
    }

    /// The size of a file.
    pub(crate) fn size(&self, path: &str) -> Result<u64, PrepareError> {
        match self.place(path)? {
            Place::Disk(found) if found.is_file() => {
                Ok(fs::metadata(&found).map_err(error_at("read", &found))?.len())
            }
            Place::Zip(zip, inner) if zip.contains(&inner) => Ok(zip.reader().size(&inner)?),
            _ => Err(self.missing(path)),
        }
    }

    /// Puts files at their targets on all threads: linked where the file system allows, else copied
    /// or unpacked. The folders of the targets must exist. `done` hears how each was put.
    pub(super) fn put_all(
        &self,
        files: &[(String, PathBuf)],
        done: &(impl Fn(&Path, Put) + Sync),
    ) -> Result<(), PrepareError> {
        let share = files.len().div_ceil(rayon::current_num_threads() * 4).max(16);
        files.par_chunks(share).try_for_each(|files| {
            let mut reader: Option<(Arc<ZipSource>, ZipReader<'_>)> = None;
            // Clones of the sources outlive the readers that borrow from them.
            let sources =
                files.iter().map(|(from, _)| self.place(from)).collect::<Result<Vec<_>, _>>()?;
            for ((from, to), source) in files.iter().zip(&sources) {
                match source {
                    Place::Disk(found) if found.is_file() => done(to, link_or_copy(found, to)?),
                    Place::Zip(zip, inner) if zip.contains(inner) => {
                        if reader.as_ref().is_none_or(|(open, _)| !Arc::ptr_eq(open, zip)) {
                            reader = Some((Arc::clone(zip), zip.reader()));
                        }
                        let (_, reader) = reader.as_mut().expect("it was just made");
                        done(to, Put::Hashed(extract(reader, inner, to)?));
                    }
                    _ => return Err(self.missing(from)),
                }
            }
            Ok(())
        })
    }

    /// Reads a member to its end, which checks its checksum.
    pub(super) fn verify(
        &self,
        reader: &mut ZipReader<'_>,
        member: &str,
    ) -> Result<(), PrepareError> {
        reader.copy(member, &mut io::sink()).map(drop).map_err(|error| match error {
            CopyError::Read(error) => error.into(),
            CopyError::Write(error) => error_at("read", &self.location)(error),
        })
    }

    /// The whole tree as a folder on disk; an archive is unpacked aside.
    pub(super) fn as_folder(&self) -> Result<PathBuf, PrepareError> {
        let folder = match &self.root {
            Container::Folder(folder) => {
                return std::path::absolute(folder).map_err(error_at("read", folder));
            }
            Container::Zip(_) => self.fresh_scratch()?,
        };
        self.unpack_to(&folder)?;
        Ok(folder)
    }

    /// Puts all files below a folder.
    pub(super) fn unpack_to(&self, folder: &Path) -> Result<(), PrepareError> {
        let files: Vec<(String, PathBuf)> =
            self.walk("")?.into_iter().map(|file| (file.clone(), folder.join(file))).collect();
        let parents: HashSet<&Path> =
            files.iter().filter_map(|(_, target)| target.parent()).collect();
        for parent in parents {
            fs::create_dir_all(parent).map_err(error_at("create", parent))?;
        }
        self.put_all(&files, &|_, _| ())
    }

    pub(super) fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// Remembers size and time of a raw file that is read in place.
    fn watch(&self, path: &Path) -> Result<(), PrepareError> {
        let stamp = stamp(path)?;
        locked(&self.watched).entry(path.to_owned()).or_insert(stamp);
        Ok(())
    }

    /// Fails if a file that was read in place is not what it was at first.
    pub(super) fn check_unchanged(&self) -> Result<(), PrepareError> {
        for (path, before) in &*locked(&self.watched) {
            if stamp(path)? != *before {
                return Err(PrepareError::RawChanged { path: path.clone() });
            }
        }
        Ok(())
    }
}

/// The size and time of a file, which tell whether it was changed.
type Stamp = (u64, SystemTime);

fn stamp(path: &Path) -> Result<Stamp, PrepareError> {
    let metadata = fs::metadata(path).map_err(error_at("read", path))?;
    Ok((metadata.len(), metadata.modified().map_err(error_at("read", path))?))
}

pub(super) fn create_new(path: &Path) -> Result<File, PrepareError> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(error_at("write", path))
}

/// Unpacks one member to a file that must not exist yet, and hashes it.
fn extract(
    reader: &mut ZipReader<'_>,
    member: &str,
    to: &Path,
) -> Result<ManifestEntry, PrepareError> {
    // Of small files there may be millions: each is opened, written and closed.
    if let Some(bytes) = reader.whole(member)? {
        create_new(to)?.write_all(bytes).map_err(error_at("write", to))?;
        return Ok(ManifestEntry::of_bytes(bytes));
    }
    let mut out = BufWriter::with_capacity(256 << 10, HashedFile::new(create_new(to)?));
    reader.copy(member, &mut out).map_err(|error| match error {
        CopyError::Read(error) => error.into(),
        CopyError::Write(error) => error_at("write", to)(error),
    })?;
    let out = out.into_inner().map_err(|error| error_at("write", to)(error.into_error()))?;
    Ok(out.entry())
}

#[cfg(test)]
mod tests;
