//! Kaggle: credentials, file lists, the rules check, and downloads that survive a bad line.
//!
//! ```text
//!  auth       environment and files -> Credentials
//!  client     the API: what exists, may this account download it, from where
//!  facts      what the API tells of competitions: facts, pages, leaderboards, the list of all
//!  error      why that fails, and what to do about it
//!  download   one object to one file: ranges, retries, checks
//! ```
//! The API answers a download request with a redirect to a storage server. Credentials are sent to
//! the API only; the redirect's address is short-lived, so it is asked for again whenever the
//! storage server no longer accepts it.

mod auth;
mod client;
mod download;
mod error;
mod facts;
mod retry;

pub use auth::{AuthError, Credentials, CredentialsOrigin, Found};
pub use client::{Access, DEFAULT_ENDPOINT, KaggleClient, KaggleOptions, RemoteFile};
pub use download::{DownloadReporter, DownloadRequest, Downloaded, RemoteObject, SilentReporter};
pub use error::KaggleError;
pub use facts::{CompetitionFacts, CompetitionPage, ListQuery, Tag};
pub use retry::RetryPolicy;
