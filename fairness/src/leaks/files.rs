//! Files of the test rows: names, sizes, times, and their order in an archive.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use medalist_stats::Rng;

use super::copies::{self, Copies};
use super::{Sight, keep};
use crate::NotMeasured;
use crate::signal;
use crate::truth::{Target, Values};

/// Most files and members of archives that are looked at.
const MOST: usize = 400_000;
/// Most archives, and the share of test rows that must have a file.
const MOST_ARCHIVES: usize = 50;
const NEARLY_ALL: f64 = 0.95;
/// Most bytes of files that are compared.
const MOST_COMPARED: u64 = 1 << 30;

/// A file, or a member of an archive.
#[derive(Debug, Clone)]
struct Entry {
    /// Below `public/`, with the archive's name in front of a member's.
    path: String,
    size: f64,
    /// When it was written; members of archives have the time that is written there.
    time: f64,
    /// Its place in its archive; `None` for a file.
    place: Option<f64>,
    /// Where it can be read, if it is a file.
    file: Option<PathBuf>,
}

pub(super) fn measure(sight: &Sight<'_>, rng: &mut Rng, report: &mut crate::Report) {
    let Some(ids) = &sight.truth.ids else { return };
    let entries = entries(&sight.subject.public);
    let Some(test) = of_rows(ids, &entries, true) else {
        let why = "rows have no files of their own";
        report.not_measured.push(NotMeasured::new("names, sizes and times of files", why));
        return;
    };
    let train_ids = sight.train_ids();
    let train = train_ids.as_ref().and_then(|ids| of_rows(ids, &entries, false));
    let targets = &sight.truth.targets;
    let facts: [(&'static str, &str, fn(&Entry) -> Option<f64>); 3] = [
        ("file-size", "the size of a row's file", |entry| Some(entry.size)),
        ("file-time", "the time of a row's file", |entry| Some(entry.time)),
        ("file-order", "the order of files in their archive", |entry| entry.place),
    ];
    for (name, what, of) in facts {
        let Some(values) = test.iter().map(|entry| of(entry)).collect::<Option<Vec<f64>>>() else {
            continue;
        };
        if values.iter().all(|value| *value == values[0]) {
            continue;
        }
        keep(report, name, what, signal::along(&values, targets, rng));
        let of_train = train
            .as_ref()
            .and_then(|train| train.iter().map(|entry| of(entry)).collect::<Option<Vec<f64>>>());
        // Equal sizes are equal files or nothing; times and places have neighbours.
        if let Some(of_train) = of_train.filter(|_| !sight.train.is_empty() && name == "file-size")
        {
            let signal = signal::by_nearest((&of_train, &sight.train), (&values, targets), rng);
            keep(report, name, "the answer of the training file of the nearest size", signal);
        } else {
            let signal = signal::in_a_row(&values, targets, rng);
            keep(
                report,
                name,
                format!("the answer of the file next to it by {}", &name[5..]),
                signal,
            );
        }
    }
    names(&test, targets, rng, report);
    if let Some(train) = &train {
        compare(&test, train, sight, report);
    }
}

/// Whether the classes' names stand in the names of files.
fn names(test: &[&Entry], targets: &[Target], rng: &mut Rng, report: &mut crate::Report) {
    for target in targets {
        let Values::Classes { names, of } = &target.values else { continue };
        // A digit or a letter stands in any name.
        let words: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        if words.len() < 2 || words.iter().all(|word| word.len() < 3 || word.parse::<f64>().is_ok())
        {
            continue;
        }
        let guess = |entry: &&Entry| {
            let path = entry.path.to_lowercase();
            let holds = |word: &&String| word.len() >= 3 && path.contains(word.as_str());
            words.iter().filter(holds).max_by_key(|word| word.len()).map_or("", String::as_str)
        };
        let guesses: Vec<&str> = test.iter().map(guess).collect();
        if guesses.iter().all(|guess| guess.is_empty()) {
            continue;
        }
        let true_ones = of.iter().map(|of| of.map_or("", |class| words[class as usize].as_str()));
        let side = |values| vec![Target { name: target.name.clone(), values }];
        // A name without a class is a guess of its own, which is always wrong.
        let guessed = guesses.iter().map(|guess| if guess.is_empty() { "\u{0}" } else { *guess });
        let (guessed, known) = (side(Values::of(guessed)), side(Values::of(true_ones)));
        let rows =
            signal::sample((0..test.len()).filter(|&row| known[0].values.is_known(row)), rng);
        let signal = signal::like(&rows, &guessed, &rows, &known, rng);
        keep(report, "file-names", "the class in the name of a row's file", signal);
    }
}

/// Test files that are byte for byte training files.
fn compare(test: &[&Entry], train: &[&Entry], sight: &Sight<'_>, report: &mut crate::Report) {
    let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
    for (row, entry) in train.iter().enumerate() {
        by_size.entry(entry.size as u64).or_default().push(row);
    }
    let mut hashes: HashMap<&Path, Option<u64>> = HashMap::new();
    let mut left = MOST_COMPARED;
    let (mut equal, mut same, mut looked_at) = (0, 0, 0);
    for (row, entry) in test.iter().enumerate() {
        let Some(file) = &entry.file else { continue };
        if left < entry.size as u64 {
            break;
        }
        looked_at += 1;
        let Some(others) = by_size.get(&(entry.size as u64)).filter(|_| entry.size > 0.0) else {
            continue;
        };
        let mut hash = |path: &'_ Path| {
            left = left.saturating_sub(entry.size as u64);
            hash_of(path)
        };
        let own = hash(file);
        let twin = others.iter().copied().find(|&other| {
            let Some(path) = train[other].file.as_deref() else { return false };
            own.is_some() && *hashes.entry(path).or_insert_with(|| hash(path)) == own
        });
        if let Some(twin) = twin {
            equal += 1;
            same += usize::from(copies::same_answers(sight, row, twin));
        }
    }
    if looked_at == 0 {
        let why = "the files are members of archives";
        report.not_measured.push(NotMeasured::new("copies of files", why));
        return;
    }
    let is_known = sight.train.len() == sight.truth.targets.len();
    let copies = Copies {
        rows: looked_at,
        equal,
        nearly: 0,
        same_answer: is_known.then_some(same),
        by_chance: 0.0,
    };
    report.findings.extend(copies::finding(&copies, "files"));
    report.leaks.file_copies = Some(copies);
}

fn hash_of(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let mut hasher = DefaultHasher::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(hasher.finish()),
            count => hasher.write(&piece[..count]),
        }
    }
}

/// The file of each row, by its id with or without endings; nothing where rows have none. Where
/// several have the name, one of the wanted part is taken.
fn of_rows<'a>(ids: &[String], entries: &'a [Entry], is_test: bool) -> Option<Vec<&'a Entry>> {
    let mut by_name: HashMap<&str, &Entry> = HashMap::new();
    for entry in entries {
        let name = entry.path.rsplit('/').next().unwrap_or(&entry.path);
        let bare = name.rsplit_once('.').map_or(name, |(bare, _)| bare);
        let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
        let fits = |entry: &Entry| entry.path.to_lowercase().contains("test") == is_test;
        for key in [name, bare, stem] {
            let held = by_name.entry(key).or_insert(entry);
            if fits(entry) && !fits(held) {
                *held = entry;
            }
        }
    }
    let found: Vec<Option<&Entry>> =
        ids.iter().map(|id| by_name.get(id.as_str()).copied()).collect();
    let there = found.iter().flatten().count();
    // All rows in one file are no files of their own.
    let mut paths: Vec<&str> = found.iter().flatten().map(|entry| entry.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    if there == 0 || (there as f64) < NEARLY_ALL * ids.len() as f64 || paths.len() * 2 < there {
        return None;
    }
    let first = found.iter().flatten().next().copied()?;
    Some(found.into_iter().map(|entry| entry.unwrap_or(first)).collect())
}

/// All files below a folder and all members of the zips among them.
fn entries(root: &Path) -> Vec<Entry> {
    let (mut out, mut archives) = (Vec::new(), 0);
    for found in walkdir::WalkDir::new(root).sort_by_file_name().into_iter().filter_map(Result::ok)
    {
        if !found.file_type().is_file() || out.len() >= MOST {
            continue;
        }
        let below = found.path().strip_prefix(root).unwrap_or(found.path());
        let path = below.to_string_lossy().into_owned();
        if path.to_lowercase().ends_with(".zip") && archives < MOST_ARCHIVES {
            archives += 1;
            members(found.path(), &path, &mut out);
        }
        let Ok(facts) = found.metadata() else { continue };
        let time = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        out.push(Entry {
            path,
            size: facts.len() as f64,
            time: time.map_or(0.0, |time| time.as_secs_f64()),
            place: None,
            file: Some(found.path().to_owned()),
        });
    }
    out
}

fn members(path: &Path, name: &str, out: &mut Vec<Entry>) {
    let Ok(file) = File::open(path) else { return };
    let Ok(mut archive) = zip::ZipArchive::new(file) else { return };
    for place in 0..archive.len() {
        let Ok(member) = archive.by_index_raw(place) else { continue };
        if member.is_dir() || out.len() >= MOST {
            continue;
        }
        // Of a calendar, in whatever unit: it is only ordered.
        let time = member.last_modified().map_or(0.0, |time| {
            let parts = [
                (f64::from(time.year()), 366.0 * 86_400.0),
                (f64::from(time.month()), 31.0 * 86_400.0),
                (f64::from(time.day()), 86_400.0),
                (f64::from(time.hour()), 3600.0),
                (f64::from(time.minute()), 60.0),
                (f64::from(time.second()), 1.0),
            ];
            parts.iter().map(|(value, unit)| value * unit).sum()
        });
        let Ok(inside) = member.name() else { continue };
        out.push(Entry {
            path: format!("{name}/{inside}"),
            size: member.size() as f64,
            time,
            place: Some(place as f64),
            file: None,
        });
    }
}
