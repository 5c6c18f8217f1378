//! What use cases share: the places on disk and how to talk to the user.

use std::io::Write as _;
use std::path::PathBuf;

use medalist_competitions::{Catalogue, DataDir};

use super::error::{CliError, Exit};
use super::grading::Grading;
#[cfg(target_os = "linux")]
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
    #[cfg(target_os = "linux")]
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

    /// What grades; on Linux in processes of their own that are this program again.
    ///
    /// # Errors
    /// As [`Context::catalogue`].
    pub fn grading(&self) -> Result<Grading, CliError> {
        let grading = Grading::new(self.catalogue()?, self.data());
        #[cfg(target_os = "linux")]
        let grading = grading.with_workers(|| self.workers());
        Ok(grading)
    }

    /// Processes that grade.
    #[cfg(target_os = "linux")]
    pub fn workers(&self) -> Workers {
        Workers::of_this_program(self.grading_limits)
    }

    /// Writes data to stdout. A reader that went away (`| head`) has seen enough; the work, and the
    /// exit code that says what it came to, are not its affair.
    ///
    /// # Errors
    /// Stdout is a file that cannot be written.
    pub fn print(&self, text: impl std::fmt::Display) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match write!(out, "{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => {
                other
                    .map_err(|error| anyhow::Error::new(error).context("cannot write to stdout"))?;
                Ok(())
            }
        }
    }

    /// Prints a line to stderr unless the user asked for quiet.
    pub fn say(&self, line: impl std::fmt::Display) {
        if self.quiet == 0 {
            tell(line);
        }
    }

    /// Prints a warning to stderr unless the user asked for errors only.
    pub fn warn(&self, line: impl std::fmt::Display) {
        if self.quiet < 2 {
            tell(format_args!("warning: {line}"));
        }
    }
}

/// Writes a line to stderr. One that cannot be written (a full disk, a terminal that is gone) is
/// lost: no work ends for want of a listener.
pub fn tell(line: impl std::fmt::Display) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// MLE-bench's own default, so that data prepared by either program serves both.
pub fn default_data_dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| PathBuf::from(".cache"));
    cache.join("mle-bench").join("data")
}
