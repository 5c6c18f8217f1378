//! What a person sees when a command fails: a cause chain, hints, and a documented exit code.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use medalist_grading::chain;

/// The stable exit codes of the program; `docs/exit-codes.md` is the reference for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Success,
    /// Something went wrong that has no code of its own.
    Failure,
    /// The command line itself is wrong (clap's own code).
    Usage,
    /// An input is missing, unreadable or malformed: an unknown id, a raw file cut short,
    /// unreadable answers.
    BadInput,
    /// This machine lacks something: no daemon, no image, no credentials, no permission.
    Environment,
    /// The command finished, but some of its items failed; the output names them.
    Partial,
    /// A regression gate failed.
    Regression,
    /// A disk is full; what was finished is safe.
    DiskFull,
    /// The submission is invalid (`validate` only).
    InvalidSubmission,
    /// A claim of a bundle is contradicted (`verify` only).
    Contradicted,
    /// Choices of a competition are open: what `competitions new` could not tell.
    Open,
    /// There are findings of the confidence that was named (`audit` only).
    Findings,
    /// Another process makes the attempt, or it cannot begin here now; later it may (`attempt` only).
    Elsewhere,
    /// Interrupted by a signal; what was finished is safe.
    Interrupted,
}

impl Exit {
    /// The number that a shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::BadInput => 3,
            Self::Environment => 4,
            Self::Partial => 5,
            Self::Regression => 6,
            Self::DiskFull => 7,
            Self::InvalidSubmission => 8,
            // Either way somebody must decide something before the result is of use.
            Self::Contradicted | Self::Open => 9,
            Self::Findings => 10,
            Self::Elsewhere => 75,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error on its way to the user: what failed, why, how to go on, and the exit code.
#[derive(Debug)]
pub struct CliError {
    exit: Exit,
    error: anyhow::Error,
    hints: Vec<String>,
}

impl CliError {
    /// An error with its exit code; the message is a lower-case fragment without a full stop.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hints: Vec::new() }
    }

    /// An error made of a message alone.
    pub fn message(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self::new(exit, anyhow::anyhow!("{message}"))
    }

    /// Adds a line that tells the user how to go on.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says what was being done when the error came up.
    #[must_use]
    pub fn context(mut self, what: impl std::fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(what);
        self
    }

    /// What the user can do about it.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The exit code; a full disk anywhere in the chain wins over what the command chose.
    pub fn exit(&self) -> Exit {
        if self.is_disk_full() { Exit::DiskFull } else { self.exit }
    }

    fn is_disk_full(&self) -> bool {
        self.error.chain().any(|cause| {
            cause.downcast_ref::<io::Error>().is_some_and(|e| {
                matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            })
        })
    }

    /// The error and its causes in one line.
    pub fn message_chain(&self) -> String {
        chain(self.error.as_ref())
    }

    /// The text for stderr: the error, its causes, the hints.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        let mut last = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // Wrappers that repeat their source word for word would print everything twice.
            if cause != last && !last.ends_with(&cause) {
                let _ = writeln!(text, "  caused by: {cause}");
            }
            last = cause;
        }
        for hint in &self.hints {
            let _ = writeln!(text, "hint: {hint}");
        }
        if self.is_disk_full() {
            text.push_str(
                "hint: the disk is full; free some space and give the same command again, finished work is kept\n",
            );
        }
        text
    }

    /// Prints the error to stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        let _ = io::stderr().write_all(self.render().as_bytes());
        self.exit().into()
    }
}

impl<E: Into<anyhow::Error>> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::new(Exit::Failure, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_sets_code_and_hint() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error =
            CliError::new(Exit::BadInput, anyhow::Error::from(full).context("cannot write `x`"));
        assert_eq!(error.exit(), Exit::DiskFull);
        assert!(error.render().contains("hint: the disk is full"), "{}", error.render());
    }

    #[test]
    fn causes_and_hints_are_printed_once_each() {
        let inner = io::Error::other("no such page");
        let error =
            CliError::new(Exit::BadInput, anyhow::Error::from(inner).context("cannot prepare `a`"))
                .hint("try `b`");
        assert_eq!(
            error.render(),
            "error: cannot prepare `a`\n  caused by: no such page\nhint: try `b`\n"
        );
    }
}
