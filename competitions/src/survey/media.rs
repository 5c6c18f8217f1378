//! Files that belong to rows: pictures, sounds, a table for each id; and the pattern that links
//! their paths to a column.

use std::collections::BTreeMap;

use super::column::ColumnFacts;
use super::table::TableFacts;

/// A family of files of one kind in one place.
#[derive(Clone, Debug)]
pub struct FileFamily {
    /// The folder (or archive) that they have in common.
    pub place: String,
    /// Their ending, in small letters.
    pub ending: String,
    /// How many there are.
    pub count: u64,
    /// Some of the paths below `place`.
    pub paths: Vec<String>,
    /// The names of the files with and without ending, and of the folders above each, innermost
    /// last: columns whose values are looked for.
    parts: Vec<ColumnFacts>,
    names: ColumnFacts,
    stems: ColumnFacts,
}

/// How a column's values lead to files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLink {
    /// The column with the ids.
    pub column: String,
    /// The path with `{column}` in it, as `[split]` writes it.
    pub pattern: String,
    /// Whether folders end the pattern, and all files below belong to the id.
    pub is_folder: bool,
}

/// What a file holds, by its ending.
pub fn media_of(ending: &str) -> Option<&'static str> {
    Some(match ending {
        "jpg" | "jpeg" | "png" | "gif" | "tif" | "tiff" | "bmp" | "webp" | "dcm" | "dicom"
        | "nii" => "image",
        "wav" | "mp3" | "flac" | "ogg" | "aif" | "aiff" | "m4a" => "audio",
        "mp4" | "avi" | "mov" | "mkv" | "webm" => "video",
        _ => return None,
    })
}

/// The files of a data set in families: those of one ending below one top folder.
pub(super) fn families(paths: &[String]) -> Vec<FileFamily> {
    /// Fewer files are no family.
    const FEWEST: u64 = 2;
    let mut found: BTreeMap<(String, String), FileFamily> = BTreeMap::new();
    for path in paths {
        let Some((place, below)) = divided(path) else { continue };
        let name = below.rsplit('/').next().unwrap_or(below);
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        let family =
            found.entry((place.to_owned(), ending.clone())).or_insert_with(|| FileFamily {
                place: place.to_owned(),
                ending,
                count: 0,
                paths: Vec::new(),
                parts: Vec::new(),
                names: ColumnFacts::new("file name"),
                stems: ColumnFacts::new("file name without ending"),
            });
        family.add(below, name);
    }
    found.into_values().filter(|family| family.count >= FEWEST).collect()
}

/// A path as the place of its family and the rest: `train.zip/train/1.jpg` belongs to
/// `train.zip/train`, `train/a/1.jpg` to `train`.
fn divided(path: &str) -> Option<(&str, &str)> {
    use crate::archive::ArchiveKind;
    let mut end = path.find('/')?;
    // An archive is often named like the one folder in it.
    while ArchiveKind::of_name(&path[..end]).is_some() {
        match path[end + 1..].find('/') {
            Some(more) => end += 1 + more,
            None => break,
        }
    }
    // `jpeg/train/1.jpg`: the part's folder is deeper.
    while let Some(more) = path[end + 1..].find('/') {
        let folder = &path[end + 1..end + 1 + more];
        let is_part = ["train", "test", "images", "data"]
            .iter()
            .any(|word| folder.to_ascii_lowercase().starts_with(word));
        if !is_part {
            break;
        }
        end += 1 + more;
    }
    Some((&path[..end], &path[end + 1..]))
}

impl FileFamily {
    fn add(&mut self, below: &str, name: &str) {
        const KEPT: usize = 400;
        self.count += 1;
        self.names.add_name(name);
        self.stems.add_name(name.split_once('.').map_or(name, |(stem, _)| stem));
        let folders: Vec<&str> = below.split('/').rev().skip(1).collect();
        for (level, folder) in folders.iter().enumerate().take(6) {
            if self.parts.len() <= level {
                self.parts.push(ColumnFacts::new("folder"));
            }
            self.parts[level].add_name(folder);
        }
        // The first, and then fewer and fewer, so that they come from all over the family.
        if self.paths.len() < KEPT || self.count.is_power_of_two() {
            self.paths.push(below.to_owned());
        }
    }

    /// What the files hold, if that is known.
    pub fn media(&self) -> Option<&'static str> {
        media_of(&self.ending)
    }

    /// How the rows of a table lead to these files, if one of its columns does.
    pub fn link(&self, table: &TableFacts) -> Option<FileLink> {
        let mut best: Option<(f64, &ColumnFacts, Level)> = None;
        for column in &table.columns {
            if column.distinct() < 2 || column.is_prose() {
                continue;
            }
            let levels = [(Level::Name, &self.names), (Level::Stem, &self.stems)]
                .into_iter()
                .chain(self.parts.iter().enumerate().map(|(k, part)| (Level::Folder(k), part)));
            for (level, names) in levels {
                // The files may be of both parts, and rows may lack files.
                let share = column.share_in(names).max(names.share_in(column));
                let both = column.share_in(names) + names.share_in(column);
                if share > 0.5 && best.as_ref().is_none_or(|(known, ..)| both > *known) {
                    best = Some((both, column, level));
                }
            }
        }
        let (_, column, level) = best?;
        self.pattern(column, level)
    }

    /// The pattern that fits the paths of a column's values.
    fn pattern(&self, column: &ColumnFacts, level: Level) -> Option<FileLink> {
        let values: std::collections::HashSet<&str> =
            column.first.iter().map(String::as_str).collect();
        let value_of = |path: &str| -> Option<String> {
            let parts: Vec<&str> = path.split('/').collect();
            let name = *parts.last()?;
            Some(match level {
                Level::Name => name.to_owned(),
                Level::Stem => name.split_once('.').map_or(name, |(stem, _)| stem).to_owned(),
                Level::Folder(k) => (*parts.get(parts.len().checked_sub(k + 2)?)?).to_owned(),
            })
        };
        let mut rows: Vec<(&str, String)> =
            self.paths.iter().filter_map(|path| Some((path.as_str(), value_of(path)?))).collect();
        // Paths of known values first; where rows and kept paths do not meet, any will do.
        if rows.iter().any(|(_, value)| values.contains(value.as_str())) {
            rows.retain(|(_, value)| values.contains(value.as_str()));
        }
        let depth = rows.first()?.0.split('/').count();
        rows.retain(|(path, _)| path.split('/').count() == depth);
        let mut pattern = Vec::new();
        for place in 0..depth {
            let part = |path: &str| path.split('/').nth(place).unwrap_or_default().to_owned();
            let is_at = match level {
                Level::Name | Level::Stem => place + 1 == depth,
                Level::Folder(k) => place + k + 2 == depth,
            };
            if is_at {
                let ending = match level {
                    Level::Stem => common(&rows, |path, value| {
                        part(path).strip_prefix(value).map(str::to_owned)
                    }),
                    _ => Some(String::new()),
                };
                pattern.push(format!("{{{}}}{}", column.name, ending?));
                if matches!(level, Level::Folder(_)) {
                    let place = joined(&self.place, &pattern.join("/"));
                    return Some(FileLink {
                        column: column.name.clone(),
                        pattern: format!("{place}/"),
                        is_folder: true,
                    });
                }
            } else if let Some(same) = common(&rows, |path, _| Some(part(path))) {
                pattern.push(same);
            } else {
                let index = (0..32).find(|index| {
                    rows.iter().all(|(path, value)| {
                        value.chars().nth(*index).is_some_and(|c| part(path) == c.to_string())
                    })
                })?;
                pattern.push(format!("{{{}[{index}]}}", column.name));
            }
        }
        let pattern = joined(&self.place, &pattern.join("/"));
        Some(FileLink { column: column.name.clone(), pattern, is_folder: false })
    }

    /// The folder of each file as a class, if the files lie in a few folders directly below the
    /// family's place: the pattern of a table made of paths.
    pub fn classes(&self) -> Option<Vec<String>> {
        let [folders] = &self.parts[..] else { return None };
        let values = folders.values()?;
        let all_are_inside = folders.rows == self.count;
        (all_are_inside && values.len() >= 2 && self.count >= 2 * values.len() as u64)
            .then(|| values.iter().map(|(name, _)| (*name).to_owned()).collect())
    }

    /// About the share of the files whose names, with or without ending, a column holds.
    pub fn share_named_in(&self, column: &ColumnFacts) -> f64 {
        self.names.share_in(column).max(self.stems.share_in(column))
    }
}

/// Which part of a path holds the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Name,
    Stem,
    /// So many folders above the file, from 0.
    Folder(usize),
}

fn joined(place: &str, below: &str) -> String {
    let escaped = place.replace('{', "{{").replace('}', "}}");
    if escaped.is_empty() { below.to_owned() } else { format!("{escaped}/{below}") }
}

/// What all rows have in common, if they do.
fn common(rows: &[(&str, String)], of: impl Fn(&str, &str) -> Option<String>) -> Option<String> {
    let mut all = rows.iter().map(|(path, value)| of(path, value));
    let first = all.next()??;
    all.all(|other| other.as_deref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::table::TableForm;

    fn paths(make: impl Fn(usize) -> String) -> Vec<String> {
        (0..50).map(make).collect()
    }

    fn table(name: &str, value: impl Fn(usize) -> String) -> TableFacts {
        let mut column = ColumnFacts::new(name);
        let mut other = ColumnFacts::new("label");
        for k in 0..40 {
            column.add(value(k).as_bytes());
            other.add(["cat", "dog"][k % 2].as_bytes());
        }
        TableFacts {
            path: "train.csv".to_owned(),
            bytes: 1,
            form: TableForm::Csv { separator: b',', utf8: true },
            rows: 40,
            columns: vec![other, column],
            oddities: Vec::new(),
        }
    }

    fn id(k: usize) -> String {
        format!("{:08x}", (k as u32 + 1).wrapping_mul(0x9e37_79b9))
    }

    #[test]
    fn patterns_of_paths_are_found() {
        for (make, cell, pattern) in [
            (
                Box::new(|k| format!("train/{}.png", id(k))) as Box<dyn Fn(usize) -> String>,
                Box::new(id) as Box<dyn Fn(usize) -> String>,
                "train/{id}.png",
            ),
            (
                Box::new(|k| format!("train.zip/train/{}.jpg", id(k))),
                Box::new(|k| format!("{}.jpg", id(k))),
                "train.zip/train/{id}",
            ),
            (
                Box::new(|k: usize| {
                    let id = id(k);
                    format!("train/{}/{}/{id}.png", &id[..1], &id[1..2])
                }),
                Box::new(id),
                "train/{id[0]}/{id[1]}/{id}.png",
            ),
            (
                Box::new(|k: usize| format!("train/{}/{}.dcm", id(k / 2), k)),
                Box::new(|k| id(k / 2)),
                "train/{id}/",
            ),
        ] {
            let families = families(&paths(make));
            assert_eq!(families.len(), 1);
            let link = families[0].link(&table("id", cell)).expect(pattern);
            assert_eq!(link.pattern, pattern);
            assert_eq!((link.column.as_str(), link.is_folder), ("id", pattern.ends_with('/')));
        }
    }

    #[test]
    fn folders_may_be_classes() {
        let found = families(&paths(|k| format!("train/{}/{}.png", ["a", "b"][k % 2], id(k))));
        assert_eq!(found[0].classes().unwrap(), ["a", "b"]);
        let flat = families(&paths(|k| format!("train/{}.png", id(k))));
        assert!(flat[0].classes().is_none());
    }
}
