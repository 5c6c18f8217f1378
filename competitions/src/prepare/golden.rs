//! Every recipe on a small made-up raw archive, against what MLE-bench's own code made of the same archive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::manifest::md5_of;
use super::{PrepareRequest, RawInput, prepare};
use crate::Catalogue;
use crate::archive::{ArchiveKind, ZipSource, unpack};

/// What the reference made, by file below `prepared/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// md5s of the files at the top of a side.
    tables: BTreeMap<String, String>,
    /// The digest of the members of an archive; none where the reference packs nothing by mistake.
    #[serde(default)]
    archives: BTreeMap<String, Option<String>>,
    /// md5s of the tables in parquet files, written as CSV.
    #[serde(default)]
    parquet: BTreeMap<String, String>,
    /// The digest of all other files, and their number.
    others: Others,
    #[serde(default)]
    overrides: BTreeMap<String, String>,
    #[serde(default)]
    empty_folders: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Others {
    count: usize,
    md5: String,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/prepare")
}

/// The md5 of lines `name md5`, sorted by name.
fn digest(files: &BTreeMap<String, String>) -> String {
    use md5::Digest as _;
    let text: String = files.iter().map(|(name, md5)| format!("{name} {md5}\n")).collect();
    super::hex(&md5::Md5::digest(text))
}

fn files_below(folder: &Path) -> BTreeMap<String, String> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file()).map(|entry| {
        let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (name, md5_of(entry.path()).unwrap())
    });
    files.collect()
}

fn members(archive: &Path, name: &str) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    match ArchiveKind::of_name(name).unwrap() {
        ArchiveKind::Zip => {
            let zip = ZipSource::open(archive, name, false).unwrap();
            for member in zip.below("") {
                let target = folder.path().join(member);
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                assert!(zip.reader().copy(member, &mut fs::File::create(target).unwrap()).is_ok(), "{name}: {member}");
            }
        }
        kind => unpack(kind, archive, name, folder.path(), false).unwrap(),
    }
    files_below(folder.path())
}

/// The differences of one competition from its golden data.
fn differences(catalogue: &Catalogue, id: &str, expected: &Expected) -> Result<Vec<String>, super::PrepareError> {
    let data_dir = tempfile::tempdir().unwrap();
    let request = PrepareRequest {
        spec: catalogue.get(id).unwrap(),
        data_dir: data_dir.path(),
        raw: RawInput::Zip(golden().join(format!("{id}.zip"))),
        downloads: Some(golden().join("downloads")),
        fetch: None,
        overrides: expected.overrides.clone(),
        keep_raw: false,
        verify: false,
        fixed: false,
        force: false,
    };
    let path = prepare(&request, &())?.path;
    let mut found = files_below(&path);
    let mut wrong = Vec::new();
    for (name, md5) in &expected.tables {
        match found.remove(name) {
            Some(other) if other == *md5 => {}
            Some(_) => wrong.push(format!("{id}: `{name}` differs")),
            None => wrong.push(format!("{id}: `{name}` is missing")),
        }
    }
    for (name, members_digest) in &expected.archives {
        let Some(_) = found.remove(name) else {
            wrong.push(format!("{id}: `{name}` is missing"));
            continue;
        };
        let members = members(&path.join(name), name);
        if members_digest.as_ref().is_some_and(|expected| *expected != digest(&members)) {
            wrong.push(format!("{id}: `{name}` has other members"));
        }
    }
    for name in expected.parquet.keys() {
        if found.remove(name).is_none() {
            wrong.push(format!("{id}: `{name}` is missing"));
        }
    }
    for folder in &expected.empty_folders {
        if !path.join(folder).is_dir() {
            wrong.push(format!("{id}: `{folder}` is missing"));
        }
    }
    let others = Others { count: found.len(), md5: digest(&found) };
    if others != expected.others {
        wrong.push(format!("{id}: the other files are {others:?}, expected {:?}", expected.others));
    }
    Ok(wrong)
}

#[test]
fn recipes_make_what_the_reference_makes() {
    let text = fs::read(golden().join("expected.json")).unwrap();
    let expected: BTreeMap<String, Expected> = serde_json::from_slice(&text).unwrap();
    let catalogue = Catalogue::embedded().unwrap();
    let mut wrong = Vec::new();
    for (id, expected) in &expected {
        match differences(&catalogue, id, expected) {
            Ok(differences) => wrong.extend(differences),
            Err(error) => wrong.push(format!("{id}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(expected.len(), 82);
}
