//! The Kaggle API: which files a competition has and where they can be downloaded.

use super::auth::Credentials;
use super::error::{KaggleError, Server};
use super::retry::{RetryPolicy, retry_after};
use crate::host::http;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, LOCATION, RANGE};
use reqwest::{RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use std::time::Duration;

/// The public API.
pub const DEFAULT_ENDPOINT: &str = "https://www.kaggle.com/api/v1";

/// The site whose pages messages point at.
pub(super) const SITE: &str = "https://www.kaggle.com";

/// What a client is made from.
#[derive(Clone, Debug)]
pub struct KaggleOptions {
    /// The API's address with its version path, [`DEFAULT_ENDPOINT`] as a rule.
    pub endpoint: String,
    /// What is sent with each API request, if anything.
    pub credentials: Option<Credentials>,
    /// How failures are retried.
    pub retry: RetryPolicy,
}

impl KaggleOptions {
    /// Options for the public API, or for the one that `KAGGLE_API_ENDPOINT` names (with or without
    /// `/api/v1`).
    pub fn new(credentials: Option<Credentials>) -> Self {
        let endpoint = match std::env::var("KAGGLE_API_ENDPOINT") {
            Ok(e) if !e.trim().is_empty() => {
                let e = e.trim().trim_end_matches('/');
                if e.ends_with("/api/v1") { e.to_owned() } else { format!("{e}/api/v1") }
            }
            _ => DEFAULT_ENDPOINT.to_owned(),
        };
        Self { endpoint, credentials, retry: RetryPolicy::default() }
    }
}

/// A file of a competition, as the API lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteFile {
    /// Its path within the competition's data.
    pub name: String,
    /// Its size, before any packing for the way.
    #[serde(default)]
    pub total_bytes: u64,
}

/// Whether an account may download a competition's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Yes. The size of the download, where the server tells it.
    Ready {
        /// Bytes of the zip with all files.
        bytes: Option<u64>,
    },
    /// Not before the rules are accepted on this page.
    RulesNotAccepted {
        /// The page to open in a browser.
        page: String,
    },
    /// The account is not allowed to, for a reason in the server's words.
    Forbidden {
        /// What the server said.
        message: String,
    },
    /// The site does not know the competition.
    NotFound,
}

/// The address a download comes from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) url: Url,
    /// True if the API serves the bytes itself; a redirect's target never gets the credentials.
    pub(super) with_credentials: bool,
    pub(super) server: Server,
}

impl Source {
    /// An address that has nothing to do with the API.
    pub(super) fn elsewhere(url: &str) -> Result<Self, KaggleError> {
        let url =
            Url::parse(url).map_err(|_| KaggleError::Endpoint { endpoint: url.to_owned() })?;
        let server = Server::Elsewhere(url.host_str().unwrap_or("the server").to_owned());
        Ok(Self { url, with_credentials: false, server })
    }
}

/// A client of the Kaggle API.
#[derive(Clone, Debug)]
pub struct KaggleClient {
    api: reqwest::Client,
    storage: reqwest::Client,
    endpoint: Url,
    credentials: Option<Credentials>,
    pub(super) retry: RetryPolicy,
}

impl KaggleClient {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`KaggleError::Endpoint`] and [`KaggleError::Setup`].
    pub fn new(options: KaggleOptions) -> Result<Self, KaggleError> {
        let endpoint = Url::parse(&options.endpoint)
            .ok()
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
            .ok_or_else(|| KaggleError::Endpoint { endpoint: options.endpoint.clone() })?;
        let setup = |source| KaggleError::Setup { source };
        let api = http::client_builder()
            .redirect(redirect::Policy::none())
            .read_timeout(options.retry.silence)
            .build()
            .map_err(setup)?;
        // Compression on the way would make byte ranges meaningless.
        let storage = http::client_builder()
            .no_gzip()
            .read_timeout(options.retry.silence)
            .build()
            .map_err(setup)?;
        Ok(Self { api, storage, endpoint, credentials: options.credentials, retry: options.retry })
    }

    /// Lists the files of a competition, all pages of the list.
    ///
    /// # Errors
    /// [`KaggleError`]; temporary failures are retried first.
    pub async fn files(&self, id: &str) -> Result<Vec<RemoteFile>, KaggleError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(default)]
            files: Vec<RemoteFile>,
            #[serde(default)]
            next_page_token: Option<String>,
        }
        let mut files = Vec::new();
        let mut token = String::new();
        loop {
            let url = self.url(&["competitions", "data", "list", id]);
            let response = self
                .retrying(async || {
                    let request = self.api.get(url.clone()).query(&[("pageSize", "200")]);
                    let request = if token.is_empty() {
                        request
                    } else {
                        request.query(&[("pageToken", &token)])
                    };
                    let response = self.send_api(request).await?;
                    api_status(id, response).await
                })
                .await?;
            let page: Page = response.json().await.map_err(|e| KaggleError::BadAnswer {
                server: Server::Api,
                what: format!("the file list of `{id}`: {e}"),
            })?;
            files.extend(page.files);
            match page.next_page_token.filter(|t| !t.is_empty() && *t != token) {
                Some(next) => token = next,
                None => return Ok(files),
            }
        }
    }

    /// Asks whether the data of `id` may be downloaded and how large it is, without downloading it.
    ///
    /// # Errors
    /// [`KaggleError`] for what says nothing about the competition: bad credentials, no connection.
    pub async fn access(&self, id: &str) -> Result<Access, KaggleError> {
        let asked = self
            .retrying(async || {
                let source = self.locate(id, None).await?;
                let response = self
                    .send_storage(&source, self.storage_request(&source).header(RANGE, "bytes=0-0"))
                    .await?;
                Ok(total_bytes(response.status(), response.headers()))
            })
            .await;
        match asked {
            Ok(bytes) => Ok(Access::Ready { bytes }),
            Err(KaggleError::RulesNotAccepted { page, .. }) => {
                Ok(Access::RulesNotAccepted { page })
            }
            Err(KaggleError::Forbidden { message, .. }) => Ok(Access::Forbidden { message }),
            Err(KaggleError::NotFound { .. }) => Ok(Access::NotFound),
            Err(error) => Err(error),
        }
    }

    /// Asks the API where the zip of all files, or one file, can be fetched.
    pub(super) async fn locate(&self, id: &str, file: Option<&str>) -> Result<Source, KaggleError> {
        let url = match file {
            None => self.url(&["competitions", "data", "download-all", id]),
            Some(file) => self.url(&["competitions", "data", "download", id, file]),
        };
        let response = self.get_api(&url, &[]).await?;
        if response.status().is_redirection() {
            return self.redirected(&url, &response);
        }
        api_status(id, response).await?;
        Ok(Source { url, with_credentials: true, server: Server::Api })
    }

    /// Where the API's answer to a request for `url` sends one.
    pub(super) fn redirected(&self, url: &Url, response: &Response) -> Result<Source, KaggleError> {
        let target = response
            .headers()
            .get(LOCATION)
            .and_then(|l| l.to_str().ok())
            .and_then(|l| url.join(l).ok());
        let target = target.ok_or_else(|| KaggleError::BadAnswer {
            server: Server::Api,
            what: format!("a redirect ({}) without a usable address", response.status()),
        })?;
        Ok(Source { url: target, with_credentials: false, server: Server::Storage })
    }

    /// Asks the API for `url` with the credentials.
    pub(super) async fn get_api(
        &self,
        url: &Url,
        query: &[(&str, &str)],
    ) -> Result<Response, KaggleError> {
        self.send_api(self.api.get(url.clone()).query(query)).await
    }

    pub(super) fn storage_request(&self, source: &Source) -> RequestBuilder {
        let request = self.storage.get(source.url.clone());
        if source.with_credentials { self.authorize(request) } else { request }
    }

    /// Sends a request for an object; its status is one that comes with the object's bytes.
    pub(super) async fn send_storage(
        &self,
        source: &Source,
        request: RequestBuilder,
    ) -> Result<Response, KaggleError> {
        let server = || source.server.clone();
        let response = request.send().await.map_err(|e| self.connection(server(), e))?;
        if matches!(response.status().as_u16(), 200 | 206) {
            return Ok(response);
        }
        let server = if source.with_credentials { Server::Storage } else { server() };
        Err(status_error(server, response).await)
    }

    /// Repeats `ask` until it succeeds, fails for good, or has failed too often.
    pub(super) async fn retrying<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, KaggleError>,
    ) -> Result<T, KaggleError> {
        let mut failures = 0;
        loop {
            match ask().await {
                Err(error) if error.is_temporary() => {
                    failures += 1;
                    tokio::time::sleep(self.wait_after(error, failures)?.1).await;
                }
                result => return result,
            }
        }
    }

    /// The wait before the next try after failure number `failures`, with the error given back for
    /// reports.
    ///
    /// # Errors
    /// If there is to be no next try.
    pub(super) fn wait_after(
        &self,
        error: KaggleError,
        failures: u32,
    ) -> Result<(KaggleError, Duration), KaggleError> {
        if failures >= self.retry.attempts {
            return Err(KaggleError::GaveUp { failures, source: Box::new(error) });
        }
        match error.retry_after() {
            Some(wait) if wait > self.retry.max_retry_after => {
                Err(KaggleError::TooLongAWait { server: error.server(), wait })
            }
            Some(wait) => Ok((error, wait)),
            None => Ok((error, self.retry.backoff(failures))),
        }
    }

    pub(super) fn connection(&self, server: Server, error: reqwest::Error) -> KaggleError {
        if error.is_timeout() && !error.is_connect() {
            return KaggleError::Silent { server, silence: self.retry.silence };
        }
        // The address may carry a signature, which must not reach a log.
        KaggleError::Connection { server, source: error.without_url() }
    }

    async fn send_api(&self, request: RequestBuilder) -> Result<Response, KaggleError> {
        self.authorize(request).send().await.map_err(|e| self.connection(Server::Api, e))
    }

    fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Some(Credentials::Key { username, key }) => {
                request.basic_auth(username, Some(key.expose()))
            }
            Some(Credentials::Token(token)) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .expect("an http address has a path")
            .pop_if_empty()
            .extend(segments);
        url
    }
}

/// The page on which the rules of a competition are accepted.
fn rules_page(id: &str) -> String {
    format!("{SITE}/competitions/{id}/rules")
}

/// Passes a success on and turns an API status into its error.
pub(super) async fn api_status(id: &str, response: Response) -> Result<Response, KaggleError> {
    match response.status().as_u16() {
        200..300 => Ok(response),
        401 => Err(KaggleError::Unauthorized),
        403 => {
            let message = message_of(response).await;
            Err(match message.to_ascii_lowercase().contains("rules") {
                true => KaggleError::RulesNotAccepted { id: id.to_owned(), page: rules_page(id) },
                false => KaggleError::Forbidden { id: id.to_owned(), message },
            })
        }
        404 => Err(KaggleError::NotFound { id: id.to_owned() }),
        _ => Err(status_error(Server::Api, response).await),
    }
}

async fn status_error(server: Server, response: Response) -> KaggleError {
    let status = response.status();
    let retry_after = retry_after(response.headers(), chrono::Utc::now());
    KaggleError::Status { server, status, retry_after, message: message_of(response).await }
}

/// The message in an error answer: the JSON field `message`, else the start of a plain text.
async fn message_of(response: Response) -> String {
    #[derive(Deserialize)]
    struct Body {
        message: String,
    }
    // An error page may be any size; its beginning is enough.
    let mut bytes = Vec::new();
    let mut response = response;
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > 16 * 1024 {
            break;
        }
    }
    if let Ok(Body { message }) = serde_json::from_slice(&bytes) {
        return message;
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.starts_with('<') { String::new() } else { text.chars().take(200).collect() }
}

/// The size of the whole object that an answer is about.
pub(super) fn total_bytes(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    if status == StatusCode::PARTIAL_CONTENT {
        return content_range(headers)?.1;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// First byte and total size in `Content-Range: bytes FIRST-LAST/TOTAL`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let first = range.split_once('-')?.0.trim().parse().ok()?;
    Some((first, total.trim().parse().ok()))
}
