//! The stages of a preparation: raw data at hand, split, verified, in place.
//!
//! Everything is made in `<data-dir>/<id>/.preparing` and renamed at the end, so that `prepared/`
//! is whole or absent. A split that was done is kept there until it is in place; an interrupted
//! preparation goes on from it.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use super::context::{Fetch, Prepare};
use super::manifest::Manifest;
use super::raw::Raw;
use super::record::{self, PreparedRecord, read_json, write_json, write_whole};
use super::reporter::{PrepareReporter, Stage};
use super::verify::Verification;
use super::{PrepareError, error_at, leaks, own};
use crate::{CompetitionDir, CompetitionSpec, DataDir};

/// Where the raw data are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawInput {
    /// In the data directory: `<id>.zip` as downloaded, or `raw/`. Data that are compiled in are
    /// written to `<id>.zip` first.
    DataDir,
    /// Kaggle's archive.
    Zip(PathBuf),
    /// A directory as Kaggle's archive unpacks to; it is only read.
    Dir(PathBuf),
}

/// What to prepare and how.
pub struct PrepareRequest<'a> {
    /// The competition.
    pub spec: &'a CompetitionSpec,
    /// Where prepared competitions live, each in a folder with its id.
    pub data_dir: &'a Path,
    /// Where the raw data are.
    pub raw: RawInput,
    /// A folder with extra files that some recipes need besides Kaggle's download.
    pub downloads: Option<PathBuf>,
    /// Gets such files from the internet; none when offline.
    pub fetch: Option<&'a dyn Fetch>,
    /// Constants of the recipe to change.
    pub overrides: BTreeMap<String, String>,
    /// Unpacks the archive to `raw/` and keeps it there.
    pub keep_raw: bool,
    /// Compares with the published checksums.
    pub verify: bool,
    /// Makes the data without what is known to be wrong with them, such as leaked labels; where
    /// nothing is, the data are MLE-bench's as ever and not marked.
    pub fixed: bool,
    /// Prepares again what is prepared already.
    pub force: bool,
}

impl PrepareRequest<'_> {
    /// Whether the data come out other than MLE-bench's because of `fixed`.
    fn is_fixed(&self) -> bool {
        self.fixed && self.spec.has_fix()
    }
}

/// A prepared competition.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// `<data-dir>/<id>/prepared`.
    pub path: PathBuf,
    /// Whether it was prepared already, by us or by MLE-bench.
    pub was_there: bool,
    /// All files with their hashes; none for data that MLE-bench prepared.
    pub manifest: Option<Manifest>,
    /// The comparison with the published checksums, if it was asked for.
    pub verification: Option<Verification>,
}

/// Prepares one competition.
///
/// # Errors
/// [`PrepareError`]; then `prepared/` is as it was before.
pub fn prepare(
    request: &PrepareRequest<'_>,
    reporter: &dyn PrepareReporter,
) -> Result<Prepared, PrepareError> {
    request.spec.settled()?;
    let data_dir =
        std::path::absolute(request.data_dir).map_err(error_at("find", request.data_dir))?;
    let home = Home { dir: DataDir::new(data_dir).competition(&request.spec.id) };
    fs::create_dir_all(home.dir.root()).map_err(error_at("create", home.dir.root()))?;
    // Before anything is looked at: another preparation may be about to put its data in place.
    let _lock = home.lock(request.spec.id.as_str())?;
    if !request.force
        && let Some(prepared) = home.existing(request)?
    {
        return Ok(prepared);
    }
    if request.fixed && !request.is_fixed() {
        reporter.on_warning(
            request.spec.id.as_str(),
            "there is nothing to fix: the data are the same without `--fixed`",
        );
    }
    let raw = home.raw_location(request)?;
    let mut verification = Verification::default();
    if request.verify && raw.is_file() {
        verification.add_raw(request.spec, &raw)?;
    }
    reporter.on_stage(request.spec.id.as_str(), Stage::Unpack);
    let record = home.record(request, &raw)?;
    let mut hashed = Manifest::default();
    // A split whose verification failed is kept: to verify it again takes no second split.
    if !home.has_split(&record) {
        home.clear()?;
        match home.split(request, &raw, &record, reporter) {
            Ok(made) => hashed = made,
            Err(error) => {
                // The message is about the first error; a folder that cannot be removed is cleared
                // next time.
                let _ = home.clear();
                return Err(error);
            }
        }
    }
    reporter.on_stage(request.spec.id.as_str(), Stage::Verify);
    let manifest = hashed.complete(&home.made())?;
    if request.verify {
        let of_raw = std::mem::take(&mut verification);
        verification = Verification::of_prepared(request.spec, &home.made(), request.is_fixed())?;
        verification.add(of_raw);
        if !verification.is_clean() {
            return Err(PrepareError::Verification {
                id: request.spec.id.to_string(),
                what: verification.summary(),
            });
        }
    }
    home.put_in_place(&record, &manifest)?;
    Ok(Prepared {
        path: home.prepared(),
        was_there: false,
        manifest: Some(manifest),
        verification: request.verify.then_some(verification),
    })
}

/// The folder of a competition in the data directory.
struct Home {
    dir: CompetitionDir,
}

impl Home {
    fn prepared(&self) -> PathBuf {
        self.dir.prepared()
    }

    fn aside(&self) -> PathBuf {
        self.dir.aside().root().to_owned()
    }

    fn made(&self) -> PathBuf {
        self.dir.aside().prepared()
    }

    fn split_record(&self) -> PathBuf {
        self.aside().join("split.json")
    }

    fn lock(&self, id: &str) -> Result<File, PrepareError> {
        let path = self.dir.lock();
        let file = File::create(&path).map_err(error_at("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(PrepareError::Busy { id: id.to_owned(), lock: path })
            }
            Err(TryLockError::Error(error)) => Err(error_at("lock", &path)(error)),
        }
    }

    /// The prepared data that are there already, if they were made in the same way.
    fn existing(&self, request: &PrepareRequest<'_>) -> Result<Option<Prepared>, PrepareError> {
        let path = self.prepared();
        let is_filled = |side: &str| {
            fs::read_dir(path.join(side)).is_ok_and(|mut entries| entries.next().is_some())
        };
        if !is_filled("public") || !is_filled("private") {
            return Ok(None);
        }
        let missing = request.spec.missing_files(&path);
        if !missing.is_empty() {
            return Err(PrepareError::Incomplete { prepared: path, missing });
        }
        let record = PreparedRecord::read(request.data_dir, &request.spec.id)?;
        let is_same = record.as_ref().is_none_or(|record| {
            record.overrides == request.overrides && record.fixed == request.is_fixed()
        });
        if !is_same {
            return Ok(None);
        }
        let verification = request
            .verify
            .then(|| Verification::of_prepared(request.spec, &path, request.is_fixed()))
            .transpose()?;
        if let Some(differing) =
            verification.as_ref().filter(|verification| !verification.is_clean())
        {
            return Err(PrepareError::Verification {
                id: request.spec.id.to_string(),
                what: differing.summary(),
            });
        }
        let manifest = match record {
            Some(_) => Manifest::read(&self.dir.manifest())?,
            None => None,
        };
        Ok(Some(Prepared { path, was_there: true, manifest, verification }))
    }

    /// The archive or directory to read, which is there.
    fn raw_location(&self, request: &PrepareRequest<'_>) -> Result<PathBuf, PrepareError> {
        let (unpacked, id) = (self.dir.raw(), &request.spec.id);
        let archive = self.dir.archive(id);
        if let (RawInput::DataDir, Some(bytes)) = (&request.raw, request.spec.raw_zip())
            && !archive.is_file()
            && !unpacked.exists()
        {
            write_whole(&archive, |out| out.write_all(bytes))?;
        }
        let location = match &request.raw {
            RawInput::Zip(path) | RawInput::Dir(path) => path.clone(),
            RawInput::DataDir if archive.is_file() => archive,
            RawInput::DataDir => unpacked,
        };
        let is_right = match &request.raw {
            RawInput::Zip(_) => location.is_file(),
            RawInput::Dir(_) => location.is_dir(),
            RawInput::DataDir => location.exists(),
        };
        if is_right {
            Ok(location)
        } else {
            Err(PrepareError::NoRawData { id: id.to_string(), path: location })
        }
    }

    fn record(
        &self,
        request: &PrepareRequest<'_>,
        raw: &Path,
    ) -> Result<PreparedRecord, PrepareError> {
        let raw = fs::canonicalize(raw).map_err(error_at("read", raw))?;
        let stamp = fs::metadata(&raw).map_err(error_at("read", &raw))?;
        let changed = stamp.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let changed = changed.unwrap_or_default().as_secs();
        Ok(PreparedRecord {
            format: record::FORMAT.to_owned(),
            id: request.spec.id.to_string(),
            raw: format!("{} ({} bytes, {})", raw.display(), stamp.len(), changed),
            overrides: request.overrides.clone(),
            fixed: request.is_fixed(),
        })
    }

    /// Whether an earlier run got as far as a whole split of the same data.
    fn has_split(&self, record: &PreparedRecord) -> bool {
        // One that cannot be read is made again.
        let made = read_json::<PreparedRecord>(&self.split_record());
        made.is_ok_and(|made| made.is_some_and(|made| made == *record))
    }

    fn clear(&self) -> Result<(), PrepareError> {
        match fs::remove_dir_all(self.aside()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error_at("remove", &self.aside())(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes both sides aside, and gives the files that were hashed on the way.
    fn split(
        &self,
        request: &PrepareRequest<'_>,
        raw: &Path,
        record: &PreparedRecord,
        reporter: &dyn PrepareReporter,
    ) -> Result<Manifest, PrepareError> {
        let id = request.spec.id.as_str();
        let recipe = own::recipe_of(request.spec).ok_or_else(|| PrepareError::NoRecipe {
            id: id.to_owned(),
            prepared: self.prepared(),
        })?;
        let (public, private) = (self.dir.aside().public(), self.dir.aside().private());
        for folder in [&public, &private] {
            fs::create_dir_all(folder).map_err(error_at("create", folder))?;
        }
        // Answers are for whoever prepared them alone.
        close_to_others(&private).map_err(error_at("close", &private))?;
        let ignores_case = ignores_case(&self.aside());
        let scratch = self.aside().join("unpacked");
        let raw = if request.keep_raw && raw.is_file() {
            self.unpack(raw, ignores_case)?
        } else {
            raw.to_owned()
        };
        let (folders, hashed) = (Mutex::default(), Mutex::default());
        let mut context = Prepare {
            raw: Raw::open(&raw, scratch.clone(), ignores_case)?,
            prepared: self.made(),
            scratch: scratch.clone(),
            folders: &folders,
            fixed: request.is_fixed(),
            options: request.overrides.clone(),
            used_options: Mutex::default(),
            downloads: request.downloads.clone(),
            fetch: request.fetch,
            id,
            hashed: &hashed,
            reporter,
        };
        reporter.on_stage(id, Stage::Split);
        recipe.run(&mut context, request.spec)?;
        // A download that was still being written gives a split of something that never was.
        context.raw.check_unchanged()?;
        let used = context.used_options.lock().unwrap_or_else(PoisonError::into_inner).clone();
        check_overrides(&request.overrides, &used)?;
        if request.is_fixed() {
            leaks::leave_out(request.spec, &context)?;
        }
        drop(context);
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error_at("remove", &scratch)(error));
            }
            _ => {}
        }
        let missing = request.spec.missing_files(&self.made());
        if !missing.is_empty() {
            let what = format!("it did not make `{}`, which grading needs", missing.join("`, `"));
            return Err(match recipe {
                own::Preparation::Command(_) => PrepareError::Command { id: id.to_owned(), what },
                own::Preparation::Split(_) | own::Preparation::Recipe(_) => {
                    PrepareError::Unexpected { file: id.to_owned(), what }
                }
            });
        }
        // Nothing was made sure to be on disk so far, file by file.
        sync_all(&self.made()).map_err(error_at("write", &self.made()))?;
        write_json(&self.split_record(), record)?;
        Ok(hashed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Unpacks the raw archive to `raw/`, aside first.
    fn unpack(&self, archive: &Path, ignores_case: bool) -> Result<PathBuf, PrepareError> {
        let target = self.dir.raw();
        if target.is_dir() {
            return Ok(target);
        }
        let aside = self.dir.aside().raw();
        let raw = Raw::open(archive, self.aside().join("unpacked"), ignores_case)?;
        raw.unpack_to(&aside)?;
        fs::rename(&aside, &target).map_err(error_at("rename", &aside))?;
        Ok(target)
    }

    /// Puts the prepared data where they belong, with their manifest, and drops what was there
    /// before.
    fn put_in_place(
        &self,
        record: &PreparedRecord,
        manifest: &Manifest,
    ) -> Result<(), PrepareError> {
        let aside = self.dir.aside();
        write_json(&aside.prepare_record(), record)?;
        write_json(&aside.manifest(), manifest)?;
        let rename =
            |from: &Path, to: &Path| fs::rename(from, to).map_err(error_at("rename", from));
        let target = self.prepared();
        if target.exists() {
            rename(&target, &self.aside().join("old"))?;
        }
        // The records come before the data: a crash in between leaves none of the data that they
        // speak of, never data without their mark. The next run goes on from there.
        rename(&aside.prepare_record(), &self.dir.prepare_record())?;
        rename(&aside.manifest(), &self.dir.manifest())?;
        rename(&self.made(), &target)?;
        self.clear()
    }
}

fn check_overrides(
    given: &BTreeMap<String, String>,
    used: &HashSet<String>,
) -> Result<(), PrepareError> {
    match given.keys().find(|key| !used.contains(*key)) {
        None => Ok(()),
        Some(key) => {
            let mut known: Vec<String> = used.iter().map(|key| format!("`{key}`")).collect();
            known.sort();
            let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
            let what = format!("the recipe has no such constant ({known})");
            Err(PrepareError::Override { key: key.clone(), what })
        }
    }
}

/// Leaves a folder to its owner alone, where the system has modes.
fn close_to_others(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
    }
    #[cfg(not(unix))]
    fs::metadata(folder).map(drop)
}

/// Makes sure that all files of a folder are on disk.
fn sync_all(folder: &Path) -> io::Result<()> {
    // One call for the whole file system takes far less time than one for each of a million files.
    #[cfg(target_os = "linux")]
    return Ok(rustix::fs::syncfs(File::open(folder)?)?);
    #[cfg(not(target_os = "linux"))]
    {
        for entry in walkdir::WalkDir::new(folder) {
            let entry = entry?;
            if entry.file_type().is_file() {
                File::options().append(true).open(entry.path())?.sync_all()?;
            }
        }
        Ok(())
    }
}

/// Whether the file system takes `A` and `a` for the same name.
fn ignores_case(folder: &Path) -> bool {
    let (lower, upper) = (folder.join("case-probe"), folder.join("CASE-PROBE"));
    let ignored = File::create(&lower).is_ok() && upper.exists();
    let _ = fs::remove_file(lower);
    ignored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalogue, Suite};

    #[test]
    fn the_demo_suite_comes_out_as_published() {
        let catalogue = Catalogue::embedded().expect("the catalogue is well formed");
        let data_dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut prepared = 0;
        for spec in catalogue.suite(Suite::Demo) {
            let request = PrepareRequest {
                spec,
                data_dir: data_dir.path(),
                raw: RawInput::DataDir,
                downloads: None,
                fetch: None,
                overrides: BTreeMap::new(),
                keep_raw: false,
                verify: true,
                fixed: false,
                force: false,
            };
            let made =
                prepare(&request, &()).unwrap_or_else(|error| panic!("{}: {error}", spec.id));
            assert!(
                made.verification.is_some_and(|found| found.is_clean() && found.compared >= 4),
                "{}",
                spec.id
            );
            assert!(
                spec.answers_path(&made.path).is_file()
                    && spec.sample_submission_path(&made.path).is_file()
            );
            prepared += 1;
        }
        assert_eq!(prepared, 4);
    }
}
