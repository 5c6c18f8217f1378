//! What use cases share: the places on disk and how to talk to the user.

use std::io::Write as _;
use std::path::PathBuf;

use medalist_competitions::{Catalogue, DataDir};

use super::error::{CliError, Exit};
use super::grading::Grading;
use super::grading::workers::{GradingLimits, Workers};

/// What use cases share: the places on disk and how to talk to the user.
#[derive(Debug, Clone)]
pub struct Context {
    /// Prepared competitions: `<data-dir>/<id>/prepared/{public,private}`.
    pub data_dir: PathBuf,
    /// Run groups: `<runs-dir>/<timestamp>_run-group_<agent>`.
    pub runs_dir: PathBuf,
    /// The user's own catalogue folders.
    pub catalog_dirs: Vec<PathBuf>,
    /// 0 is normal, 1 says only warnings and errors, 2 only errors.
    pub quiet: u8,
    /// Whether progress bars may be drawn: stderr is a terminal and nobody asked for silence.
    pub progress: bool,
    /// What grading one submission may use.
    pub grading_limits: GradingLimits,
}

impl Context {
    /// The data directory.
    pub fn data(&self) -> DataDir {
        DataDir::new(&self.data_dir)
    }

    /// The built-in competitions and the user's own.
    ///
    /// # Errors
    /// A folder given with `--catalog` is missing or malformed.
    pub fn catalogue(&self) -> Result<Catalogue, CliError> {
        let bad = |error| CliError::new(Exit::BadInput, anyhow::Error::new(error));
        let mut catalogue = Catalogue::embedded().map_err(bad)?;
        for dir in &self.catalog_dirs {
            catalogue = catalogue.with_dir(dir).map_err(bad)?;
        }
        Ok(catalogue)
    }

    /// What grades, in processes of their own that are this program again.
    ///
    /// # Errors
    /// As [`Context::catalogue`].
    pub fn grading(&self) -> Result<Grading, CliError> {
        Ok(Grading::new(self.catalogue()?, self.data()).with_workers(|| self.workers()))
    }

    /// Processes that grade.
    pub fn workers(&self) -> Workers {
        Workers::of_this_program(self.grading_limits)
    }

    /// Writes data to stdout; a reader that went away (`| head`) ends the program quietly.
    pub fn print(&self, text: impl std::fmt::Display) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match write!(out, "{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => Ok(other?),
        }
    }

    /// Prints a line to stderr unless the user asked for quiet.
    pub fn say(&self, line: impl std::fmt::Display) {
        if self.quiet == 0 {
            eprintln!("{line}");
        }
    }

    /// Prints a warning to stderr unless the user asked for errors only.
    pub fn warn(&self, line: impl std::fmt::Display) {
        if self.quiet < 2 {
            eprintln!("warning: {line}");
        }
    }
}

/// MLE-bench's own default, so that data prepared by either program serves both.
pub fn default_data_dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| PathBuf::from(".cache"));
    cache.join("mle-bench").join("data")
}
