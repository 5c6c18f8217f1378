//! Submits the sample submission as it is, and stays as long afterwards as `STAY_SECS` says: for trying out
//! what becomes of attempts that are cut short. Standard library only.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

fn folder(variable: &str, fallback: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| PathBuf::from(fallback), PathBuf::from)
}

/// `sample_submission.csv`, `sampleSubmission.csv` and the like; the first in the order of names.
fn sample_submission(data: &Path) -> Result<PathBuf, String> {
    let entries =
        fs::read_dir(data).map_err(|error| format!("cannot read {}: {error}", data.display()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_lowercase()
                .replace(['_', '-'], "");
            name.starts_with("samplesub") && name.ends_with(".csv")
        })
        .collect();
    found.sort();
    found
        .into_iter()
        .next()
        .ok_or_else(|| format!("there is no sample submission in {}", data.display()))
}

fn submit() -> Result<String, String> {
    let sample = sample_submission(&folder("DATA_DIR", "/home/data"))?;
    let target = folder("SUBMISSION_DIR", "/home/submission");
    fs::create_dir_all(&target)
        .map_err(|error| format!("cannot make {}: {error}", target.display()))?;
    let target = target.join("submission.csv");
    // The bytes alone: a copied read-only file mode would be in the way of whoever collects the
    // file.
    let bytes =
        fs::read(&sample).map_err(|error| format!("cannot read {}: {error}", sample.display()))?;
    fs::write(&target, &bytes)
        .map_err(|error| format!("cannot write {}: {error}", target.display()))?;
    Ok(format!("submitted {} as it is, {} bytes", sample.display(), bytes.len()))
}

fn main() -> ExitCode {
    match submit() {
        Ok(line) => {
            println!("{line}");
            let stay = env::var("STAY_SECS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            thread::sleep(Duration::from_secs(stay));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
