//! Every recipe on a small made-up raw archive, against what MLE-bench's own code made of the same
//! archive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use medalist_grading::table::Limits;
use medalist_grading::{Answers, Grader, Verdict, chain};
use serde::Deserialize;

use super::manifest::md5_of;
use super::{PrepareRequest, Prepared, PreparedRecord, RawInput, leaks, prepare};
use crate::archive::{ArchiveKind, Packing, ZipSource, unpack};
use crate::checkup::{Check, Checkup, State};
use crate::frame::{CsvStyle, FrameError, each_parquet_part};
use crate::{Catalogue, CompetitionSpec};

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

use competition::GOLDEN;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/prepare")
}

/// The md5 of lines `name md5`, sorted by name.
fn digest(files: &BTreeMap<String, String>) -> String {
    use md5::Digest as _;
    let text: String = files.iter().map(|(name, md5)| format!("{name} {md5}\n")).collect();
    hex::encode(md5::Md5::digest(text))
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
                assert!(
                    zip.reader().copy(member, &mut fs::File::create(target).unwrap()).is_ok(),
                    "{name}: {member}"
                );
            }
        }
        kind => unpack(kind, archive, name, folder.path(), false).unwrap(),
    }
    files_below(folder.path())
}

/// The table of a parquet file as pandas writes it.
fn parquet_as_csv(path: &Path) -> String {
    let mut text = Vec::new();
    each_parquet_part(path, "t.parquet", |part| {
        let style = CsvStyle { header: text.is_empty(), ..CsvStyle::default() };
        let table = part.frame(&part.column_names())?;
        text.extend(table.to_csv(&style)?);
        Ok::<_, FrameError>(())
    })
    .unwrap();
    String::from_utf8(text).unwrap()
}

/// Prepares the made-up raw archive of a competition.
fn prepared(
    spec: &CompetitionSpec,
    data_dir: &Path,
    overrides: &BTreeMap<String, String>,
    fixed: bool,
) -> Result<Prepared, super::PrepareError> {
    let request = PrepareRequest {
        spec,
        data_dir,
        raw: RawInput::Zip(golden().join(format!("{}.zip", spec.id))),
        downloads: Some(golden().join("downloads")),
        fetch: None,
        overrides: overrides.clone(),
        keep_raw: false,
        verify: false,
        fixed,
        force: false,
    };
    prepare(&request, &())
}

/// What a check-up finds in data that were just prepared, which have neither the published
/// checksums nor always enough rows.
fn unhealthy(spec: &CompetitionSpec, data_dir: &Path) -> Result<Vec<String>, super::PrepareError> {
    /// Their few made-up answers cannot be graded at all: a single class, a text without words.
    const NOT_GRADABLE: [&str; 4] = [
        "jigsaw-toxic-comment-classification-challenge",
        "jigsaw-unintended-bias-in-toxicity-classification",
        "ranzcr-clip-catheter-line-classification",
        "tweet-sentiment-extraction",
    ];
    let grader = Grader::new(spec.grading.clone()).expect("the catalogue's graders are sound");
    let score = |submission: &Path, answers: &Path| {
        let answers = Answers::read(answers).map_err(|error| chain(&error))?;
        let graded = grader.grade_file(submission, &answers, &Limits::trusted());
        match graded.map_err(|error| chain(&error))?.verdict {
            Verdict::Scored(score) => Ok(score.rounded),
            Verdict::Invalid(invalid) => Err(invalid.to_string()),
        }
    };
    let checkup = Checkup::of(spec, data_dir, &score)?;
    let is_expected = |check: &Check| match check.name {
        "published" | "published-graded" => true,
        "answers-win" | "sample-valid" => NOT_GRADABLE.contains(&spec.id.as_str()),
        _ => false,
    };
    let failed =
        checkup.checks.iter().filter(|check| check.state == State::Failed && !is_expected(check));
    Ok(failed.map(|check| format!("{}: {check:?}", spec.id)).collect())
}

/// The differences of one competition from its golden data.
fn differences(
    catalogue: &Catalogue,
    id: &str,
    expected: &Expected,
) -> Result<Vec<String>, super::PrepareError> {
    let data_dir = tempfile::tempdir().unwrap();
    let path =
        prepared(catalogue.get(id).unwrap(), data_dir.path(), &expected.overrides, false)?.path;
    let mut found = files_below(&path);
    let mut wrong = unhealthy(catalogue.get(id).unwrap(), data_dir.path())?;
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
    for (name, md5) in &expected.parquet {
        if found.remove(name).is_none() {
            wrong.push(format!("{id}: `{name}` is missing"));
        } else if md5_of_text(&parquet_as_csv(&path.join(name))) != *md5 {
            wrong.push(format!("{id}: `{name}` holds another table"));
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

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_slice(&fs::read(golden().join("expected.json")).unwrap()).unwrap()
}

/// Prepares one competition and compares.
fn check(id: &str) {
    let expected = &expected()[id];
    match differences(&Catalogue::embedded().unwrap(), id, expected) {
        Ok(wrong) => assert!(wrong.is_empty(), "{}", wrong.join("\n")),
        Err(error) => panic!("{id}: {error}"),
    }
}

/// A test for every archive of `tests/golden/prepare`, made by the build script.
mod competition {
    include!(concat!(env!("OUT_DIR"), "/golden.rs"));
}

#[test]
fn every_competition_of_kaggles_has_golden_data() {
    let catalogue = Catalogue::embedded().unwrap();
    let kaggles = catalogue.iter().filter(|spec| spec.kaggle_slug.is_some());
    let ids: Vec<&str> = kaggles.map(|spec| spec.id.as_str()).collect();
    let expected = expected();
    assert_eq!(expected.keys().map(String::as_str).collect::<Vec<_>>(), ids);
    let mut archives = GOLDEN.to_vec();
    archives.sort_unstable();
    assert_eq!(archives, ids);
}

#[test]
fn fixed_data_differ_where_the_register_says_and_nowhere_else() {
    let catalogue = Catalogue::embedded().unwrap();
    let expected = expected();
    let folder = tempfile::tempdir().unwrap();
    let (v1, fixed) = (folder.path().join("v1"), folder.path().join("fixed"));
    let mut differing = Vec::new();
    for spec in catalogue.iter().filter(|spec| spec.has_fix()) {
        let overrides = &expected[spec.id.as_str()].overrides;
        let make = |place: &Path, fixed: bool| {
            prepared(spec, place, overrides, fixed)
                .unwrap_or_else(|error| panic!("{}: {error}", spec.id))
        };
        let manifest = make(&v1, false).manifest.unwrap();
        let differences = manifest.differences(&make(&fixed, true).path).unwrap();
        if !differences.is_empty() {
            differing.push(spec.id.as_str());
        }
        let elsewhere: Vec<&String> =
            differences.keys().filter(|file| !leaks::is_fixed(spec, file)).collect();
        assert!(elsewhere.is_empty(), "{}: {elsewhere:?}", spec.id);
        let edition = |place| PreparedRecord::edition_of(place, &spec.id).unwrap();
        assert!(edition(&v1).starts_with("v1") && edition(&fixed).starts_with("fixed"));
    }
    // The made-up drives of smartphone-decimeter-2022 have no log of a reference receiver.
    let all_but_one = [
        "cassava-leaf-disease-classification",
        "champs-scalar-coupling",
        "hubmap-kidney-segmentation",
        "multi-modal-gesture-recognition",
        "random-acts-of-pizza",
        "siim-isic-melanoma-classification",
    ];
    assert_eq!(differing, all_but_one);

    let public = |id: &str, file: &str| fixed.join(id).join("prepared/public").join(file);
    for name in ["train", "test"] {
        let text =
            fs::read_to_string(public("random-acts-of-pizza", &format!("{name}.json"))).unwrap();
        assert!(text.contains("request_id") && !text.contains("giver_username"), "{name}");
        let zip = members(&public("random-acts-of-pizza", &format!("{name}.zip")), "a.zip");
        assert_eq!(zip, BTreeMap::from([(format!("{name}.json"), md5_of_text(&text))]));
    }
    let structures = public("champs-scalar-coupling", "structures");
    let test = fs::read_to_string(public("champs-scalar-coupling", "test.csv")).unwrap();
    let table = fs::read_to_string(public("champs-scalar-coupling", "structures.csv")).unwrap();
    for line in test.lines().skip(1) {
        let molecule = line.split(',').nth(1).unwrap();
        assert!(
            structures.join(format!("{molecule}.xyz")).is_file() && table.contains(molecule),
            "{molecule}"
        );
    }
}

/// The made-up recordings with a video beside the MATLAB file, as the real ones have.
fn recordings_with_videos(folder: &Path) -> PathBuf {
    let raw = folder.join("raw");
    let zip = golden().join("multi-modal-gesture-recognition.zip");
    for (name, bytes) in contents(&zip) {
        fs::create_dir_all(raw.join(&name).parent().unwrap()).unwrap();
        fs::write(raw.join(name), bytes).unwrap();
    }
    let old = folder.join("old");
    fs::create_dir(&old).unwrap();
    let archive = raw.join("training4.tar.gz");
    unpack(ArchiveKind::Tar, &archive, "training4.tar.gz", &old, false).unwrap();
    let mut tar = tar::Builder::new(fs::File::create(archive).unwrap());
    for name in files_below(&old).keys() {
        let (sample, stem) = (old.join(name), name.trim_end_matches(".zip"));
        let mut zip = Packing::zip(fs::File::create(&sample).unwrap());
        for member in ["_color.mp4", "_data.mat"] {
            zip.add(&format!("{stem}{member}"), stem.len() as u64, stem.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        tar.append_path_with_name(sample, name).unwrap();
    }
    tar.finish().unwrap();
    raw
}

/// The members of a zip with their bytes.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let zip = ZipSource::open(path, "a.zip", false).unwrap();
    let read = |member: &str| {
        let mut bytes = Vec::new();
        assert!(zip.reader().copy(member, &mut bytes).is_ok(), "{member}");
        (member.to_owned(), bytes)
    };
    zip.below("").map(read).collect()
}

#[test]
fn fixed_recordings_keep_all_but_the_gestures() {
    let catalogue = Catalogue::embedded().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let request = PrepareRequest {
        spec: catalogue.get("multi-modal-gesture-recognition").unwrap(),
        data_dir: &folder.path().join("data"),
        raw: RawInput::Dir(recordings_with_videos(folder.path())),
        downloads: None,
        fetch: None,
        overrides: BTreeMap::new(),
        keep_raw: false,
        verify: false,
        fixed: true,
        force: false,
    };
    let made = prepare(&request, &()).unwrap().path;
    let recordings = folder.path().join("recordings");
    fs::create_dir(&recordings).unwrap();
    unpack(ArchiveKind::Tar, &made.join("public/test.tar.gz"), "test.tar.gz", &recordings, false)
        .unwrap();
    assert_eq!(files_below(&recordings).len(), files_below(&folder.path().join("old")).len());
    for name in files_below(&recordings).keys() {
        let stem = name.trim_end_matches(".zip");
        let video = (format!("{stem}_color.mp4"), stem.as_bytes().to_vec());
        assert_eq!(contents(&recordings.join(name)), [video]);
    }
}

fn md5_of_text(text: &str) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(text))
}

#[test]
fn without_anything_to_fix_data_are_not_marked() {
    let catalogue = Catalogue::embedded().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spec = catalogue.get("spaceship-titanic").unwrap();
    prepared(spec, folder.path(), &BTreeMap::new(), true).unwrap();
    let edition = PreparedRecord::edition_of(folder.path(), &spec.id).unwrap();
    assert_eq!(edition, "v1");
}
