//! How often the rules on code, and the search for copied kernels, point at code that has nothing to do with
//! a competition: `false_alarms CODE KERNELS` compares every Python file below CODE with every one below
//! KERNELS, and applies all rules on code to the files below CODE.
//!
//! Files that are the same in both, byte for byte, are left out.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use medalist_audit::kernels::{Kernels, count as fingerprints};
use medalist_audit::{Confidence, Setting, Source, code};

/// Files that are larger are left out.
const LARGEST: u64 = 1 << 20;
/// Files that are looked at of each folder.
const MOST: usize = 20_000;

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut files, mut pending) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            if meta.is_dir() && entry.file_name() != "site-packages" {
                pending.push(path);
            } else if path.extension().is_some_and(|end| end == "py") && meta.len() <= LARGEST {
                files.extend(std::fs::read(&path).ok().map(|bytes| (path, bytes)));
            }
        }
    }
    files.sort();
    files.truncate(MOST);
    files
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [own, others] = arguments.as_slice() else {
        eprintln!("usage: false_alarms CODE KERNELS");
        std::process::exit(2);
    };
    let kernels_files = files(Path::new(others));
    let known: HashSet<&[u8]> = kernels_files.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    let mut kernels = Kernels::default();
    for (path, bytes) in &kernels_files {
        kernels.add(&Source::new(&path.to_string_lossy(), bytes));
    }
    let (mut count, mut long) = (0, 0);
    let mut copied: BTreeMap<Confidence, usize> = BTreeMap::new();
    let mut rules: BTreeMap<_, [usize; 3]> = BTreeMap::new();
    for (path, bytes) in files(Path::new(own)) {
        if known.contains(bytes.as_slice()) {
            continue;
        }
        count += 1;
        let name = path.to_string_lossy();
        let source = Source::new(&name, &bytes);
        let nearest = kernels.nearest(&source);
        long += usize::from(fingerprints(&source) >= 6);
        if let Some((confidence, nearest)) =
            nearest.and_then(|copied| Some((copied.confidence()?, copied)))
        {
            *copied.entry(confidence).or_default() += 1;
            if confidence > Confidence::Low {
                eprintln!(
                    "{confidence}: {name} lines {:?}: {} of {} prints of {}",
                    nearest.lines, nearest.shared, nearest.prints, nearest.kernel
                );
            }
        }
        let found = code(&source, &Setting::default());
        let seen: HashSet<_> = found.iter().map(|one| (one.rule, one.confidence)).collect();
        for (rule, confidence) in seen {
            rules.entry(rule).or_default()[confidence as usize] += 1;
        }
    }
    println!(
        "{count} files against {} kernels ({long} files with 6 fingerprints or more)",
        kernels.len()
    );
    for confidence in Confidence::ALL {
        let flagged = copied.get(&confidence).copied().unwrap_or_default();
        let share = 100.0 * flagged as f64 / count.max(1) as f64;
        println!("copied-kernel, {confidence}: {flagged} files ({share:.3} %)");
    }
    for (rule, [low, medium, high]) in rules {
        println!("{rule}: {low} files with low, {medium} with medium, {high} with high confidence");
    }
}
