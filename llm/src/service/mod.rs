//! A gateway service: it calls providers for harnesses on machines without internet.
//!
//! ```text
//!  agent ─► harness on the node ──TLS, token──► service ──key──► provider
//!           clock, rules, bill,     pinned by    limiter for
//!           budget, recording       a file       all attempts
//! ```
//! The service writes a file into a folder that all machines share: where it is, its certificate's
//! hash and a token, never a provider's key. A harness reads it anew for every call, so that a service
//! that was started again elsewhere is found.

mod link;
mod server;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::numbered::Numbered;
pub(crate) use link::Link;
pub use server::{Server, ServiceError};

/// The version of the file that this program writes.
const VERSION: u32 = 1;
/// Answers of a service that are its own and no provider's have this header, with one of the words
/// below.
const OWN: &str = "x-medalist-service";
/// The token is not the service's.
const TOKEN: &str = "token";
/// The provider cannot be reached.
const UNREACHABLE: &str = "unreachable";
/// The provider has closed the connection without an answer.
const BROKE: &str = "broke";
/// The provider did not answer in time.
const LATE: &str = "late";
/// The service does not take such a request, as its body says.
const REFUSED: &str = "refused";
/// Says which model a request is for.
pub(crate) const MODEL: &str = "x-medalist-model";
/// Says that the client gave its key as a bearer token, where a dialect has two places for it.
pub(crate) const BEARER: &str = "x-medalist-bearer";
/// Where a harness asks whether the service is there.
const HELLO: &str = "/medalist/hello";

/// Where a service is, and how it proves that it is that one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFile {
    version: u32,
    /// Host and port.
    pub address: String,
    /// SHA-256 of its certificate, in hexadecimal digits.
    certificate_sha256: String,
    /// What callers must show.
    token: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
}

impl std::fmt::Debug for ServiceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceFile").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ServiceFile {
    /// The folder of such files in a folder that all machines share.
    pub fn folder(shared: &Path) -> PathBuf {
        shared.join("gateway")
    }

    /// Puts the file into a folder, for this user alone, in place of those of earlier services.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn publish(&self, folder: &Path) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let files = files(folder);
        let earlier = files.numbers()?;
        let bytes = serde_json::to_vec_pretty(self)?;
        let mut number = earlier.last().copied().unwrap_or(0).saturating_add(1);
        while !files.add(number, &bytes)? {
            number = number.saturating_add(1);
        }
        for earlier in earlier {
            Self::withdraw(&files.path(earlier))?;
        }
        Ok(files.path(number))
    }

    /// Removes the file of a service that ends.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn withdraw(path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The newest file in the first of the folders that has one.
    ///
    /// # Errors
    /// In words: a folder or a file cannot be read, or a newer program wrote it.
    fn newest(folders: &[PathBuf]) -> Result<Option<(PathBuf, Self)>, String> {
        for folder in folders {
            let cannot = |path: &Path, error: &dyn std::fmt::Display| {
                format!("cannot read `{}`: {error}", path.display())
            };
            let files = files(folder);
            let numbers = files.numbers().map_err(|error| cannot(folder, &error))?;
            let Some(number) = numbers.last() else { continue };
            let path = files.path(*number);
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                // Its service has ended in this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(cannot(&path, &error)),
            };
            let file: Self = serde_json::from_slice(&bytes).map_err(|e| cannot(&path, &e))?;
            if file.version != VERSION {
                let found = file.version;
                return Err(cannot(
                    &path,
                    &format_args!("it has version {found}, this program reads {VERSION}"),
                ));
            }
            return Ok(Some((path, file)));
        }
        Ok(None)
    }
}

fn files(folder: &Path) -> Numbered<'_> {
    Numbered { folder, prefix: "service-" }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn file(address: &str) -> ServiceFile {
        ServiceFile {
            version: VERSION,
            address: address.to_owned(),
            certificate_sha256: "00".to_owned(),
            token: "secret".to_owned(),
            started_at: Utc::now(),
        }
    }

    #[test]
    fn the_newest_service_is_found_and_its_file_is_this_users_alone() {
        let temp = tempfile::tempdir().expect("a folder");
        let folders =
            [ServiceFile::folder(&temp.path().join("g")), ServiceFile::folder(temp.path())];
        assert_eq!(ServiceFile::newest(&folders), Ok(None));
        let shared = file("shared:1").publish(&folders[1]).expect("written");
        assert_eq!(ServiceFile::newest(&folders), Ok(Some((shared, file_of(&folders[1], 1)))));
        for (number, address) in [(1, "a:1"), (2, "b:2")] {
            let path = file(address).publish(&folders[0]).expect("written");
            let facts = path.metadata().expect("there");
            assert_eq!(
                (facts.mode() & 0o777, path.ends_with(format!("service-{number}.json"))),
                (0o600, true)
            );
            let (found, read) = ServiceFile::newest(&folders).expect("read").expect("there");
            assert_eq!((found, read.address.as_str()), (path, address));
        }
        assert_eq!(files(&folders[0]).numbers().expect("listed"), [2], "the earlier one is gone");
        assert_eq!(folders[0].metadata().expect("there").mode() & 0o777, 0o700);
        assert!(!format!("{:?}", file("a:1")).contains("secret"));
        std::fs::write(files(&folders[0]).path(3), "{").expect("written");
        let damaged = ServiceFile::newest(&folders).expect_err("damaged");
        assert!(damaged.contains("service-3.json"), "{damaged}");
    }

    fn file_of(folder: &Path, number: u32) -> ServiceFile {
        serde_json::from_slice(&std::fs::read(files(folder).path(number)).expect("there"))
            .expect("good")
    }
}
