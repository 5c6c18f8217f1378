//! Why a request or a download fails, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use reqwest::StatusCode;

use super::client::SITE;
use super::retry::is_temporary;

/// Why a request or download failed.
#[derive(Debug, thiserror::Error)]
pub enum KaggleError {
    /// The endpoint is not an address.
    #[error("`{endpoint}` is not an address on the internet")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Setup {
        /// What went wrong.
        source: reqwest::Error,
    },
    /// 401.
    #[error("Kaggle does not accept the credentials")]
    Unauthorized,
    /// 403 with the message about the rules.
    #[error("the rules of `{id}` are not accepted yet")]
    RulesNotAccepted {
        /// The competition.
        id: String,
        /// The page to open in a browser.
        page: String,
    },
    /// 403 for another reason.
    #[error("Kaggle refuses the data of `{id}`: {message}")]
    Forbidden {
        /// The competition.
        id: String,
        /// What the server said.
        message: String,
    },
    /// 404.
    #[error("Kaggle has no data for `{id}`")]
    NotFound {
        /// The competition, with the file if one was asked for.
        id: String,
    },
    /// A status that means nothing better known.
    #[error("{server} answers {status}{}", said(.message))]
    Status {
        server: Server,
        status: StatusCode,
        /// The wait that the server asks for.
        retry_after: Option<Duration>,
        /// What the server said, shortened.
        message: String,
    },
    /// The server asks for a longer wait than is sensible.
    #[error("{server} asks to wait {} before the next try", humantime::format_duration(*.wait))]
    TooLongAWait {
        server: Server,
        /// The wait that it asks for.
        wait: Duration,
    },
    /// The connection failed.
    #[error("the connection to {server} failed")]
    Connection {
        server: Server,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The connection stayed silent.
    #[error("{server} sent nothing for {}", humantime::format_duration(*.silence))]
    Silent {
        server: Server,
        /// How long.
        silence: Duration,
    },
    /// The body ended early.
    #[error("the download ended after {got} of {total} bytes")]
    Short {
        /// Bytes there are.
        got: u64,
        /// Bytes there should be.
        total: u64,
    },
    /// The object is not the one that was begun.
    #[error("the file on the server changed during the download: {what}")]
    Changed {
        /// What differs.
        what: String,
    },
    /// The bytes are not those that the server says it sent.
    #[error("the download arrived damaged: md5 {actual}, expected {expected}")]
    Damaged {
        /// The server's hash, base64.
        expected: String,
        /// The hash of what arrived, base64.
        actual: String,
    },
    /// The file is not a whole zip archive.
    #[error("what the server sent for `{id}` is not a whole zip archive ({bytes} bytes)")]
    NotAZip {
        /// The competition.
        id: String,
        /// How much was sent.
        bytes: u64,
    },
    /// An answer of the API cannot be understood.
    #[error("cannot understand the answer of {server}: {what}")]
    BadAnswer {
        server: Server,
        /// What is wrong with it.
        what: String,
    },
    /// Too many failures in a row.
    #[error("gave up after {failures} failures in a row")]
    GaveUp {
        /// How many.
        failures: u32,
        /// The last of them.
        source: Box<KaggleError>,
    },
    /// The disk has not enough room.
    #[error("`{path}` needs {needed} more bytes, but only {free} are free there")]
    NoSpace {
        /// The file that is to be written.
        path: PathBuf,
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Another process downloads the same file.
    #[error("`{path}` is being downloaded by another process")]
    Busy {
        /// The partial file.
        path: PathBuf,
    },
    /// A local file cannot be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// The servers that take part in a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// The one that knows competitions and accounts.
    Api,
    /// The one that holds the files.
    Storage,
    /// One that is not Kaggle's, by its name.
    Elsewhere(String),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "the Kaggle API",
            Self::Storage => "Kaggle's storage server",
            Self::Elsewhere(host) => host,
        })
    }
}

impl KaggleError {
    /// True if the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Status { status, server, .. } => {
                // A refusal by the storage server means that the short-lived address has expired.
                is_temporary(*status)
                    || (*server == Server::Storage
                        && matches!(status.as_u16(), 400 | 401 | 403 | 416))
            }
            Self::Connection { .. }
            | Self::Silent { .. }
            | Self::Short { .. }
            | Self::Changed { .. }
            | Self::Damaged { .. } => true,
            Self::Endpoint { .. }
            | Self::Setup { .. }
            | Self::Unauthorized
            | Self::RulesNotAccepted { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::TooLongAWait { .. }
            | Self::NotAZip { .. }
            | Self::BadAnswer { .. }
            | Self::GaveUp { .. }
            | Self::NoSpace { .. }
            | Self::Busy { .. }
            | Self::File { .. } => false,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unauthorized => {
                Some(format!("make a new API token at {SITE}/settings and save it as `~/.kaggle/kaggle.json`"))
            }
            Self::RulesNotAccepted { page, .. } => {
                Some(format!("log in, open {page}, accept the rules, then run the same command again"))
            }
            Self::Forbidden { id, .. } => Some(format!(
                "open {SITE}/competitions/{id}/data in a browser to see whether the account may download it"
            )),
            Self::NotFound { id } => Some(format!("check that {SITE}/competitions/{id} exists")),
            Self::TooLongAWait { .. } => {
                Some("run the same command again later; what is downloaded already is kept".to_owned())
            }
            Self::GaveUp { source, .. } => source
                .hint()
                .or_else(|| Some("run the same command again; it goes on where this download stopped".to_owned())),
            Self::NotAZip { .. } => Some(
                "run the same command again; if it happens twice, download the file by hand and use `--raw-zip`"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The wait that the server asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(super) fn server(&self) -> Server {
        match self {
            Self::Status { server, .. }
            | Self::Connection { server, .. }
            | Self::Silent { server, .. } => server.clone(),
            _ => Server::Storage,
        }
    }
}
