//! Which files of a run group go into a bundle: those that medalist knows, by name.

use std::path::{Path, PathBuf};

use super::manifest::Part;
use crate::attempt::dir::AttemptDir;
use crate::attempt::plan::Plan;
use crate::host::files::StoreError;
use crate::host::store::{GroupDir, tries};

/// A path in a bundle is at most so long.
pub const LONGEST_PATH: usize = 1024;

/// A file of a run group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// Where it is.
    pub from: PathBuf,
    /// `<group>/<path below the group>`.
    pub path: String,
    /// What it is a part of; none for records.
    pub part: Option<Part>,
    /// The competition of its attempt.
    pub competition: Option<String>,
    /// Its attempt's folder.
    pub attempt: Option<String>,
}

/// What was picked, and what cannot be.
#[derive(Debug, Default)]
pub struct Pick {
    /// In no order.
    pub files: Vec<Picked>,
    /// Entries that no bundle can hold, one line each.
    pub refused: Vec<String>,
}

/// Records of an attempt or of one of its tries.
const RECORDS: [&str; 10] = [
    "attempt.json",
    "grade.json",
    "events.jsonl",
    "network.jsonl",
    "validations.jsonl",
    "claim.json",
    "beat",
    "end.json",
    "lost.json",
    "lost-grade.json",
];

/// Records of language models' calls.
const BILL: [&str; 4] = ["calls.jsonl", "in_flight.jsonl", "handshakes.jsonl", "held.jsonl"];

/// Files of a group.
const GROUP: [&str; 4] = ["plan.json", "group.json", "metadata.json", "events.jsonl"];

/// All files of a group that a bundle holds.
///
/// # Errors
/// [`StoreError::Io`] if a folder cannot be listed.
pub fn files_of(group: &GroupDir, plan: &Plan) -> Result<Pick, StoreError> {
    let mut pick = Pick::default();
    let mut walk = Walk { pick: &mut pick, root: group.root(), group: &plan.group, of: None };
    for name in GROUP {
        walk.file(&group.root().join(name), None)?;
    }
    for order in list(&group.root().join("jobs"))? {
        let name = order.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("order-") && name.ends_with(".json") {
            walk.file(&order, None)?;
        }
    }
    for attempt in &plan.attempts {
        let dir = group.attempt(&attempt.dir);
        walk.of = Some((attempt.key.competition.clone(), attempt.dir.clone()));
        walk.attempt(&dir)?;
        for number in tries::numbers(&dir)? {
            walk.attempt(&dir.earlier_try(number))?;
        }
    }
    Ok(pick)
}

struct Walk<'a> {
    pick: &'a mut Pick,
    root: &'a Path,
    group: &'a str,
    /// Competition and folder of the attempt at hand.
    of: Option<(String, String)>,
}

impl Walk<'_> {
    fn attempt(&mut self, dir: &AttemptDir) -> Result<(), StoreError> {
        for name in RECORDS {
            self.file(&dir.root().join(name), None)?;
        }
        self.file(&dir.log(), Some(Part::Logs))?;
        let copies = dir.snapshots_of_code();
        for name in ["submission", "snapshots"] {
            self.folder(&dir.root().join(name), Part::Submissions, &copies)?;
        }
        self.folder(&copies, Part::Code, Path::new(""))?;
        self.folder(&dir.root().join("code"), Part::Code, &copies)?;
        self.folder(&dir.root().join("logs"), Part::Logs, &copies)?;
        let llm = dir.llm();
        if llm.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            for name in BILL {
                self.file(&llm.join(name), None)?;
            }
            self.file(&llm.join("transcript.jsonl.gz"), Some(Part::Transcripts))?;
            self.folder(&llm.join("recording"), Part::Transcripts, &copies)?;
        }
        Ok(())
    }

    /// Takes all files below a folder but those below `but`; a folder that is a link shows what a try has,
    /// which is taken there.
    fn folder(&mut self, folder: &Path, part: Part, but: &Path) -> Result<(), StoreError> {
        if !folder.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Ok(());
        }
        let mut pending = vec![folder.to_owned()];
        while let Some(folder) = pending.pop() {
            for entry in list(&folder)? {
                let kind =
                    entry.symlink_metadata().map_err(StoreError::io("read", &entry))?.file_type();
                if entry == but {
                    continue;
                }
                if kind.is_dir() {
                    pending.push(entry);
                } else if kind.is_file() {
                    self.take(entry, Some(part));
                } else {
                    let shown = entry.display();
                    self.pick.refused.push(format!("`{shown}` is neither a file nor a folder"));
                }
            }
        }
        Ok(())
    }

    /// Takes a file, if it is there and is one.
    fn file(&mut self, path: &Path, part: Option<Part>) -> Result<(), StoreError> {
        match path.symlink_metadata() {
            Ok(meta) if meta.is_file() => self.take(path.to_owned(), part),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("read", path)(error)),
        }
        Ok(())
    }

    fn take(&mut self, from: PathBuf, part: Option<Part>) {
        let below = from.strip_prefix(self.root).ok().and_then(Path::to_str);
        let path = below.map(|below| format!("{}/{below}", self.group));
        match path.filter(|path| path.len() <= LONGEST_PATH) {
            Some(path) => {
                let (competition, attempt) = self.of.clone().unzip();
                self.pick.files.push(Picked { from, path, part, competition, attempt });
            }
            None => {
                let shown = from.display();
                self.pick
                    .refused
                    .push(format!("`{shown}` has a name that is no UTF-8 or is too long"));
            }
        }
    }
}

/// The entries of a folder in order; none if there is no such folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(StoreError::io("read", folder))?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}
