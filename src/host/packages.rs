//! Pinned Python packages, downloaded on this machine by pip: builds of images then need no network, and the
//! machine's own settings for an index, a proxy or authorities hold.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest as _, Sha256};

/// What of pip's output a failure quotes.
const LAST_LINES: usize = 8;
/// The newest GNU C library whose wheels are taken: that of Debian 13.
const NEWEST_GLIBC: u32 = 41;
/// What pip and what it stands on say where an index does not answer.
const UNREACHABLE: [&str; 8] = [
    "Failed to establish a new connection",
    "Failed to resolve",
    "Temporary failure in name resolution",
    "ConnectTimeoutError",
    "Connection refused",
    "ReadTimeoutError",
    "ProxyError",
    "Could not fetch URL",
];

/// Why packages cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// There is no pip.
    #[error("`python3 -m pip` cannot be run here: {why}")]
    NoPip {
        /// What was seen.
        why: String,
    },
    /// No package index answers.
    #[error("the package index cannot be reached{}", quoted(.last_lines))]
    Unreachable {
        /// What pip said last.
        last_lines: Vec<String>,
        /// All that it said.
        log: PathBuf,
    },
    /// A file is not the one that was pinned.
    #[error("{wanted} is not the one that was pinned{}", quoted(.last_lines))]
    HashDiffers {
        /// The package, or the list that has it.
        wanted: String,
        /// What pip said last.
        last_lines: Vec<String>,
        /// All that it said.
        log: PathBuf,
    },
    /// Anything else that pip refuses.
    #[error("{wanted} cannot be downloaded{}", quoted(.last_lines))]
    Refused {
        /// The package, or the list that has it.
        wanted: String,
        /// What pip said last.
        last_lines: Vec<String>,
        /// All that it said.
        log: PathBuf,
    },
    /// A folder of the cache.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl PackagesError {
    /// The file with all that pip said.
    pub fn log(&self) -> Option<&Path> {
        match self {
            Self::Unreachable { log, .. }
            | Self::HashDiffers { log, .. }
            | Self::Refused { log, .. } => Some(log),
            Self::NoPip { .. } | Self::Io(_) => None,
        }
    }
}

fn quoted(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

/// Where the packages of a list are kept: the name is the hash of the list and of the Python.
///
/// # Errors
/// The list cannot be read.
pub fn place(requirements: &Path, python: &str, cache: &Path) -> std::io::Result<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(fs_err::read(requirements)?);
    hash.update(python);
    hash.update(std::env::consts::ARCH);
    Ok(cache.join("packages").join(&hex::encode(hash.finalize())[..16]))
}

/// Downloads the packages of a list unless they are here, and gives their folder. Every file has one of
/// the hashes in the list, which must have some for each package.
///
/// # Errors
/// [`PackagesError`].
pub async fn ensure(
    requirements: &Path,
    python: &str,
    cache: &Path,
) -> Result<PathBuf, PackagesError> {
    let wanted = format!("a package in `{}`", requirements.display());
    download(&wanted, requirements, python, &[], cache).await
}

/// A Python for wheels that are only opened; whatever they need to run does not matter.
const ANY_PYTHON: &str = "3.11";

/// Where a single wheel is kept; `pin` is its line in a list. The wheel need not be there.
///
/// # Errors
/// The list, which is kept beside it, cannot be written.
pub fn place_of_wheel(pin: &str, cache: &Path) -> std::io::Result<PathBuf> {
    place(&single(pin, cache)?, ANY_PYTHON, cache)
}

/// Downloads a single wheel as [`ensure`] does. Source archives are refused: pip would run code of theirs.
///
/// # Errors
/// [`PackagesError`].
pub async fn ensure_wheel(pin: &str, cache: &Path) -> Result<PathBuf, PackagesError> {
    let package = pin.split_whitespace().next().unwrap_or(pin);
    let options = ["--only-binary", ":all:", "--ignore-requires-python"];
    download(&format!("`{package}`"), &single(pin, cache)?, ANY_PYTHON, &options, cache).await
}

/// The list with a single line.
fn single(pin: &str, cache: &Path) -> std::io::Result<PathBuf> {
    let lists = cache.join("packages").join("lists");
    let list = lists.join(format!("{}.txt", &hex::encode(Sha256::digest(pin))[..16]));
    if !list.is_file() {
        fs_err::create_dir_all(&lists)?;
        let aside = tempfile::NamedTempFile::new_in(&lists)?;
        fs_err::write(aside.path(), format!("{pin}\n"))?;
        aside.persist(&list).map_err(|error| error.error)?;
    }
    Ok(list)
}

async fn download(
    wanted: &str,
    requirements: &Path,
    python: &str,
    options: &[&str],
    cache: &Path,
) -> Result<PathBuf, PackagesError> {
    let place = place(requirements, python, cache)?;
    if place.is_dir() {
        return Ok(place);
    }
    let parent = cache.join("packages");
    fs_err::create_dir_all(&parent)?;
    let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(&parent)?;
    let log = place.with_extension("log");
    let output = fs_err::File::create(&log)?.into_parts().0;
    let mut pip = tokio::process::Command::new("python3");
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input"])
        .args(["--progress-bar", "off", "--retries", "2", "--no-cache-dir"])
        .args(["--no-deps", "--require-hashes", "--implementation", "cp"])
        .args(["--python-version", python])
        .args(tags(python))
        .args(options)
        .arg("--dest")
        .arg(aside.path())
        .arg("--requirement")
        .arg(requirements)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true);
    let no_pip = |why: String| PackagesError::NoPip { why };
    let status = pip.status().await.map_err(|error| no_pip(error.to_string()))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&fs_err::read(&log)?).into_owned();
        if said.contains("No module named pip") {
            return Err(no_pip("there is no module `pip`".to_owned()));
        }
        return Err(failure(&said, wanted, log));
    }
    match fs_err::rename(aside.path(), &place) {
        Err(_) if place.is_dir() => {}
        other => other?,
    }
    Ok(place)
}

/// The kinds of wheels that run on this machine's processor with a Python.
fn tags(python: &str) -> Vec<String> {
    let arch = std::env::consts::ARCH;
    let mut platforms: Vec<String> =
        (5..=NEWEST_GLIBC).rev().map(|minor| format!("manylinux_2_{minor}_{arch}")).collect();
    platforms.extend(
        ["manylinux2014", "manylinux2010", "manylinux1", "linux"]
            .map(|name| format!("{name}_{arch}")),
    );
    platforms.push("any".to_owned());
    let own = format!("cp{}", python.replace('.', ""));
    let abis = [own, "abi3".to_owned(), "none".to_owned()];
    let option = |name: &str, value: String| [format!("--{name}"), value];
    let platforms = platforms.into_iter().flat_map(|platform| option("platform", platform));
    platforms.chain(abis.into_iter().flat_map(|abi| option("abi", abi))).collect()
}

fn failure(said: &str, wanted: &str, log: PathBuf) -> PackagesError {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    let last_lines: Vec<String> = last.iter().map(|line| (*line).to_owned()).collect();
    let wanted = wanted.to_owned();
    if said.contains("DO NOT MATCH THE HASHES") {
        PackagesError::HashDiffers { wanted, last_lines, log }
    } else if UNREACHABLE.iter().any(|words| said.contains(words)) {
        PackagesError::Unreachable { last_lines, log }
    } else {
        PackagesError::Refused { wanted, last_lines, log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pip_says_tells_what_is_wrong() {
        let of = |said: &str| failure(said, "`a==1`", PathBuf::from("x.log"));
        let differs = of(
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n  Got 1",
        );
        assert!(matches!(differs, PackagesError::HashDiffers { .. }));
        assert!(differs.to_string().ends_with("Got 1"), "{differs}");
        let away = of(
            "WARNING: Retrying: Failed to establish a new connection\nERROR: No matching distribution",
        );
        assert!(matches!(away, PackagesError::Unreachable { .. }));
        assert!(matches!(of("ERROR: Invalid requirement"), PackagesError::Refused { .. }));
    }

    #[test]
    fn the_folder_is_named_after_the_list_and_the_python() {
        let temp = tempfile::tempdir().unwrap();
        let list = temp.path().join("r.txt");
        std::fs::write(&list, "a==1").unwrap();
        let of = |python: &str| place(&list, python, temp.path()).unwrap();
        let first = of("3.11");
        assert_eq!(first, of("3.11"));
        assert_ne!(first, of("3.12"));
        std::fs::write(&list, "a==2").unwrap();
        assert_ne!(first, of("3.11"));
    }

    #[test]
    fn a_single_wheel_has_a_list_of_its_own() {
        let temp = tempfile::tempdir().unwrap();
        let of = |pin: &str| place_of_wheel(pin, temp.path()).unwrap();
        assert_eq!(of("a==1 --hash=sha256:00"), of("a==1 --hash=sha256:00"));
        assert_ne!(of("a==1 --hash=sha256:00"), of("a==1 --hash=sha256:01"));
        let list = std::fs::read_to_string(single("a==1 --hash=sha256:00", temp.path()).unwrap());
        assert_eq!(list.unwrap(), "a==1 --hash=sha256:00\n");
    }
}
