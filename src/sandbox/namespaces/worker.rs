//! What must be done as root of a container's users: unpack and copy images, and read, measure and
//! remove what agents left. Each is one call of this program in a user namespace of its own, with the
//! same map of users as the containers.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use medalist_init::protocol::IdMap;
use serde::{Deserialize, Serialize};

use super::image::{Image, ImageError};
use super::unpack::{Unpacker, copy_tree, remove_tree};
use crate::attempt::dir::AttemptDir;
use crate::sandbox::Salvage;
use crate::sandbox::process::tree_bytes;
use crate::sandbox::salvage::{self, CODE, SUBMISSION};

/// The first argument of a program that is to be a worker; the second is a `Work`, as JSON.
pub const ARGUMENT: &str = "namespaces-worker";

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    /// Put the image `reference` into the empty directory `to`.
    Unpack { reference: String, to: PathBuf, uid_map: String, gid_map: String },
    /// Copy a tree.
    Copy { from: PathBuf, to: PathBuf },
    /// Take over what an agent left below `home`.
    Collect { home: PathBuf, attempt: PathBuf, largest: u64 },
    /// Copy the submission below `home`.
    Snapshot { home: PathBuf, to: PathBuf, largest: u64 },
    /// Copy small files of the code below `home`.
    SnapshotCode { home: PathBuf, to: PathBuf },
    /// Bytes on disk below a directory.
    Measure { dir: PathBuf },
    /// Remove trees.
    Remove { dirs: Vec<PathBuf> },
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Done {
    Bytes(u64),
    Collected(Box<Salvage>),
    Taken(bool),
    Copied { left_out: u64 },
    Nothing,
}

/// Why it was not done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// The image is to blame.
    Image(String),
    /// The machine's disk is full.
    HostFull(String),
    Other(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::HostFull(error.to_string())
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Io(error) => match error.into() {
                Self::Other(message) => Self::Image(message),
                full => full,
            },
            ImageError::Bad(message) | ImageError::Missing(message) => Self::Image(message),
        }
    }
}

/// Does what the command line asks, and prints what came of it as JSON.
pub fn main() -> ExitCode {
    let work = std::env::args().nth(2).unwrap_or_default();
    let done = match serde_json::from_str(&work) {
        Ok(work) => run(work),
        Err(error) => Err(Fault::Other(format!("`{ARGUMENT}` is the harness's own: {error}"))),
    };
    match serde_json::to_writer(io::stdout(), &done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(work: Work) -> Result<Done, Fault> {
    match work {
        Work::Unpack { reference, to, uid_map, gid_map } => {
            let image = Image::open(&reference)?;
            let map = |text: &str| IdMap::parse(text).map_err(Fault::Other);
            let (users, groups) = (map(&uid_map)?, map(&gid_map)?);
            let mut unpacker = Unpacker::new(&users, &groups);
            let mut entered = false;
            image.each_layer(|layer| {
                if !entered {
                    nix::unistd::chroot(&to)?;
                    std::env::set_current_dir("/")?;
                    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
                    entered = true;
                }
                unpacker.apply(layer)
            })?;
            Ok(Done::Bytes(unpacker.bytes))
        }
        Work::Copy { from, to } => {
            nix::sys::stat::umask(nix::sys::stat::Mode::empty());
            copy_tree(&from, &to)?;
            Ok(Done::Nothing)
        }
        Work::Collect { home, attempt, largest } => {
            let mut salvage = Salvage::default();
            salvage::from_home(&home, &AttemptDir::new(attempt), largest, &mut salvage);
            Ok(Done::Collected(Box::new(salvage)))
        }
        Work::Snapshot { home, to, largest } => {
            let mut unrecorded = Salvage::default();
            let from = home.join(SUBMISSION);
            Ok(Done::Taken(salvage::file_from_directory(
                &from,
                SUBMISSION,
                &to,
                largest,
                &mut unrecorded,
            )))
        }
        Work::SnapshotCode { home, to } => {
            let left_out = salvage::code_from_directory(&home.join(CODE), &to);
            Ok(Done::Copied { left_out })
        }
        Work::Measure { dir } => Ok(Done::Bytes(tree_bytes(&dir))),
        Work::Remove { dirs } => {
            for dir in dirs {
                remove_tree(&dir)?;
            }
            Ok(Done::Nothing)
        }
    }
}
