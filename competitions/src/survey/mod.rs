//! A look at raw data that nobody has described: every table in one pass, files by their names.

mod column;
mod media;
mod table;

use std::path::Path;

pub use column::{CLASSES, CellKind, ColumnFacts};
pub use media::{FileFamily, FileLink, media_of};
pub use table::{TableFacts, TableForm, stem};

use crate::archive::ArchiveKind;
use crate::prepare::{PrepareError, Raw};

/// Everything that a look at raw data tells.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Files, those in archives included.
    pub files: u64,
    /// Bytes of the tables, unpacked.
    pub table_bytes: u64,
    /// The tables.
    pub tables: Vec<TableFacts>,
    /// Files that belong together.
    pub families: Vec<FileFamily>,
    /// Texts that describe the task: path and content.
    pub descriptions: Vec<(String, String)>,
    /// What could not be looked at, as sentences.
    pub problems: Vec<String>,
}

impl Survey {
    /// Looks at a folder or an archive. `scratch` is a folder for what must be unpacked.
    ///
    /// # Errors
    /// The data cannot be read at all; what is wrong with one file is a problem of the survey.
    pub fn of(location: &Path, scratch: &Path) -> Result<Self, PrepareError> {
        let raw = Raw::open(location, scratch.to_owned(), false)?;
        let mut survey = Self::default();
        let paths = survey.walk(&raw)?;
        survey.files = paths.len() as u64;
        let tables: Vec<&String> = tables(&paths);
        for path in &tables {
            let Some(form) = table::form_of_name(path) else { continue };
            match table::read_table(&raw, path, form) {
                Ok(Some(table)) => survey.tables.push(table),
                Ok(None) => {}
                Err(error) => survey.problems.push(error.to_string()),
            }
        }
        survey.table_bytes = survey.tables.iter().map(|table| table.bytes).sum();
        let read: std::collections::HashSet<&str> =
            survey.tables.iter().map(|table| table.path.as_str()).collect();
        let others: Vec<String> =
            paths.iter().filter(|path| !read.contains(path.as_str())).cloned().collect();
        survey.families = media::families(&others);
        survey.describe(&raw, &others);
        Ok(survey)
    }

    /// All files, those in archives in the place of the archives.
    fn walk(&mut self, raw: &Raw) -> Result<Vec<String>, PrepareError> {
        /// Archives in archives in archives are no data set.
        const DEPTH: usize = 3;
        /// Beyond this an archive that must be unpacked to be looked into is left alone.
        const UNPACKED: u64 = 4 << 30;
        let mut open: Vec<(String, usize)> = vec![(String::new(), 0)];
        let mut paths = Vec::new();
        while let Some((folder, depth)) = open.pop() {
            let below = match raw.walk(&folder) {
                Ok(below) => below,
                Err(error) if depth == 0 => return Err(error),
                Err(error) => {
                    self.problems.push(error.to_string());
                    continue;
                }
            };
            for path in below {
                if is_junk(&path) {
                    continue;
                }
                let path = if folder.is_empty() { path } else { format!("{folder}/{path}") };
                match ArchiveKind::of_name(&path) {
                    Some(kind) if depth < DEPTH => {
                        let size = raw.size(&path)?;
                        if kind != ArchiveKind::Zip && size > UNPACKED {
                            self.problems
                                .push(format!("`{path}` has {size} bytes and was not looked into"));
                        } else {
                            open.push((path, depth + 1));
                        }
                    }
                    _ if is_unknown_archive(&path) => {
                        self.problems.push(format!(
                            "`{path}` is an archive of a kind that is not read; expected zip, 7z, tar or tar.gz"
                        ));
                    }
                    _ => paths.push(path),
                }
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn describe(&mut self, raw: &Raw, paths: &[String]) {
        const LONGEST: u64 = 1 << 20;
        for path in paths {
            let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
            let is_text =
                [".md", ".txt", ".html", ".htm", ".rst"].iter().any(|end| name.ends_with(end));
            let describes = ["description", "overview", "evaluation", "readme", "rules", "task"]
                .iter()
                .any(|word| name.contains(word));
            if is_text
                && describes
                && raw.size(path).is_ok_and(|size| size <= LONGEST)
                && let Ok(bytes) = raw.read(path)
            {
                self.descriptions
                    .push((path.clone(), String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }

    /// A table by its path.
    pub fn table(&self, path: &str) -> Option<&TableFacts> {
        self.tables.iter().find(|table| table.path == path)
    }
}

/// What packers and desktops leave behind.
fn is_junk(path: &str) -> bool {
    path.split('/').any(|part| {
        part == "__MACOSX" || part == ".DS_Store" || part.starts_with("._") || part == "Thumbs.db"
    })
}

fn is_unknown_archive(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    [".xz", ".bz2", ".rar", ".zst", ".lz4"].iter().any(|end| lower.ends_with(end))
        || lower.ends_with(".gz") && ArchiveKind::of_name(&lower).is_none()
}

/// The paths of tables. Many tables of one kind below one folder are files that belong to rows, one
/// to each.
fn tables(paths: &[String]) -> Vec<&String> {
    const MOST: usize = 3;
    let is_table = |path: &&String| table::form_of_name(path).is_some();
    let place = |path: &str| -> String {
        let folder = path.split_once('/').map_or("", |(folder, _)| folder);
        let ending = path.rsplit('.').next().unwrap_or_default();
        // An archive of one table is no folder.
        if path.matches('/').count() == 1 && ArchiveKind::of_name(folder).is_some() {
            return format!("/{ending}");
        }
        format!("{folder}/{ending}")
    };
    let mut counts: std::collections::HashMap<String, (usize, bool)> =
        std::collections::HashMap::new();
    for path in paths.iter().filter(is_table) {
        let entry = counts.entry(place(path)).or_default();
        entry.0 += 1;
        let name = stem(path).to_ascii_lowercase();
        entry.1 |= name.starts_with("train") || name.contains("submission");
    }
    paths
        .iter()
        .filter(is_table)
        .filter(|path| {
            let place = place(path);
            let (count, has_role) = counts[&place];
            place.starts_with('/') || count <= MOST || has_role
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(files: &[(&str, &[u8])]) -> Survey {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join("raw").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Survey::of(&folder.path().join("raw"), &folder.path().join("scratch")).unwrap()
    }

    fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
        use std::io::Write as _;
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn archives_are_folders_and_junk_is_left_out() {
        let inner = zipped(&[("train.csv", b"id,y\n1,2\n"), ("__MACOSX/._train.csv", b"x")]);
        let found = survey(&[
            ("train.csv.zip", &inner),
            ("data.tar.xz", b"x"),
            ("description.md", b"# Task"),
        ]);
        assert_eq!(found.tables.len(), 1);
        assert_eq!(found.tables[0].path, "train.csv.zip/train.csv");
        assert!(found.problems[0].contains("`data.tar.xz`"), "{:?}", found.problems);
        assert_eq!(found.descriptions[0].1, "# Task");
    }

    #[test]
    fn a_table_for_each_row_is_no_table() {
        let names: Vec<String> = (0..9).map(|k| format!("train/{k}.csv")).collect();
        let mut files: Vec<(&str, &[u8])> =
            names.iter().map(|n| (n.as_str(), &b"a\n1\n"[..])).collect();
        files.push(("train.csv", b"id,y\n1,2\n2,3\n"));
        let found = survey(&files);
        assert_eq!(found.tables.len(), 1);
        assert_eq!((found.families.len(), found.families[0].count), (1, 9));
    }

    #[test]
    fn a_damaged_file_is_a_problem_and_no_failure() {
        let found = survey(&[("train.csv", b"id,y\n1,2\n"), ("broken.zip", b"PK no zip")]);
        assert_eq!(found.tables.len(), 1);
        assert!(found.problems[0].contains("broken.zip"), "{:?}", found.problems);
    }
}
