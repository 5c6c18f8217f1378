//! One object to one file: begun, cut, resumed, checked.

use super::client::{KaggleClient, Source, content_range, total_bytes};
use super::error::{KaggleError, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt;
use md5::{Digest, Md5};
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::files::if_there;

/// What to download and where to.
#[derive(Clone, Debug)]
pub struct DownloadRequest {
    /// The competition.
    pub id: String,
    /// What of it.
    pub object: RemoteObject,
    /// The file to write. Until it is whole, `<path>.part` holds what has arrived.
    pub path: PathBuf,
}

/// What there is to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteObject {
    /// The zip with all files of the competition.
    All,
    /// One file, by its path within the competition's data.
    File(String),
    /// A file from elsewhere, which never gets the credentials.
    Url(String),
}

/// A finished download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its md5 in hexadecimal digits; `None` if it was there already and nothing was read.
    pub md5: Option<String>,
    /// Bytes that an earlier, interrupted download had left.
    pub resumed_from: u64,
    /// How often the transfer had to be taken up again.
    pub retries: u32,
}

/// Hears how downloads get on; all methods do nothing unless replaced.
pub trait DownloadReporter: Send + Sync {
    /// A transfer begins or goes on with `have` bytes of `total` there already.
    fn on_start(&self, _id: &str, _have: u64, _total: Option<u64>) {}
    /// `have` bytes are there now.
    fn on_bytes(&self, _id: &str, _have: u64) {}
    /// A try failed; the next follows after `wait`.
    fn on_retry(&self, _id: &str, _error: &KaggleError, _wait: Duration) {}
    /// The file is whole.
    fn on_done(&self, _id: &str, _downloaded: &Downloaded) {}
}

/// Hears and says nothing.
#[derive(Clone, Copy, Debug)]
pub struct SilentReporter;

impl DownloadReporter for SilentReporter {}

impl KaggleClient {
    /// Downloads several objects, `jobs` at a time; the results are in the order of the requests.
    pub async fn download_all(
        &self,
        requests: &[DownloadRequest],
        jobs: usize,
        reporter: &dyn DownloadReporter,
    ) -> Vec<Result<Downloaded, KaggleError>> {
        futures_util::stream::iter(requests)
            .map(|r| self.download(r, reporter))
            .buffered(jobs.max(1))
            .collect()
            .await
    }

    /// Downloads one object. A file that is there already is left as it is.
    ///
    /// The transfer is resumed after failures, and across runs if the server's `ETag` or date shows
    /// that the object is still the same. Checked are the length, the md5 that the storage server
    /// states, and that a `.zip` is a whole archive.
    ///
    /// # Errors
    /// [`KaggleError`]. What has arrived stays in `<path>.part`, except when it is known to be of
    /// no use.
    pub async fn download(
        &self,
        request: &DownloadRequest,
        reporter: &dyn DownloadReporter,
    ) -> Result<Downloaded, KaggleError> {
        if let Ok(existing) = fs::metadata(&request.path) {
            let done = Downloaded {
                path: request.path.clone(),
                bytes: existing.len(),
                md5: None,
                resumed_from: 0,
                retries: 0,
            };
            reporter.on_done(&request.id, &done);
            return Ok(done);
        }
        let target = request.path.clone();
        let opened = tokio::task::spawn_blocking(move || Part::open(&target)).await;
        let mut part = opened.expect("opening a file does not panic and is not cancelled")?;
        let (resumed_from, mut furthest, mut failures, mut retries) = (part.have, part.have, 0, 0);
        let md5 = loop {
            let tried = match self.transfer(request, &mut part, reporter).await {
                Ok(stated) => part.check(stated.as_deref()),
                Err(error) => Err(error),
            };
            match tried {
                Ok(md5) => break md5,
                Err(error) if error.is_temporary() => {
                    // A transfer that begins anew again and again is no progress.
                    failures = if part.have > furthest { 1 } else { failures + 1 };
                    furthest = furthest.max(part.have);
                    retries += 1;
                    let (error, wait) = self.wait_after(error, failures)?;
                    reporter.on_retry(&request.id, &error, wait);
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        };
        if request.path.extension().is_some_and(|e| e == "zip") && !part.is_whole_zip()? {
            let bytes = part.have;
            part.discard()?;
            return Err(KaggleError::NotAZip { id: request.id.clone(), bytes });
        }
        let bytes = part.have;
        part.finish(&request.path)?;
        let done =
            Downloaded { path: request.path.clone(), bytes, md5: Some(md5), resumed_from, retries };
        reporter.on_done(&request.id, &done);
        Ok(done)
    }

    /// One connection's worth of transfer. Gives the md5 (base64) that the server states, if it
    /// does.
    ///
    /// The address is asked for anew each time, for a failure may mean that it has expired.
    async fn transfer(
        &self,
        request: &DownloadRequest,
        part: &mut Part,
        reporter: &dyn DownloadReporter,
    ) -> Result<Option<String>, KaggleError> {
        let source = match &request.object {
            RemoteObject::All => self.locate(&request.id, None).await?,
            RemoteObject::File(file) => self.locate(&request.id, Some(file)).await?,
            RemoteObject::Url(url) => Source::elsewhere(url)?,
        };
        let mut get = self.storage_request(&source);
        if part.have > 0 {
            get = get.header(RANGE, format!("bytes={}-", part.have));
            if let Some(validator) = &part.state.validator {
                get = get.header(IF_RANGE, validator);
            }
        }
        let response = match self.send_storage(&source, get).await {
            Err(KaggleError::Status { status: StatusCode::RANGE_NOT_SATISFIABLE, .. })
                if part.is_complete() =>
            {
                return Ok(None);
            }
            Err(error @ KaggleError::Status { status: StatusCode::RANGE_NOT_SATISFIABLE, .. }) => {
                part.restart(None)?;
                return Err(error);
            }
            other => other?,
        };
        part.accept(&response)?;
        reporter.on_start(&request.id, part.have, part.state.total);
        let stated = stated_md5(response.headers());
        let result = self.receive(&request.id, &source.server, part, response, reporter).await;
        part.flush()?;
        result?;
        if let Some(total) = part.state.total.filter(|total| part.have != *total) {
            return Err(KaggleError::Short { got: part.have, total });
        }
        Ok(stated)
    }

    async fn receive(
        &self,
        id: &str,
        server: &Server,
        part: &mut Part,
        mut response: Response,
        reporter: &dyn DownloadReporter,
    ) -> Result<(), KaggleError> {
        while let Some(chunk) =
            response.chunk().await.map_err(|e| self.connection(server.clone(), e))?
        {
            part.append(&chunk)?;
            reporter.on_bytes(id, part.have);
        }
        Ok(())
    }
}

/// What identifies the object that a partial file belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PartState {
    /// Strong `ETag`, else `Last-Modified`.
    validator: Option<String>,
    total: Option<u64>,
}

/// The file that is being filled, `<path>.part`, with its state in `<path>.part.json`.
struct Part {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    have: u64,
    state: PartState,
    md5: Md5,
}

/// Bytes collected before they are written.
const BUFFER: usize = 1 << 20;

impl Part {
    /// Opens or creates the partial file of `target` for this process alone.
    fn open(target: &Path) -> Result<Self, KaggleError> {
        let path = with_suffix(target, ".part");
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir).map_err(file_error("create the folder of", &path))?;
        }
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(file_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(KaggleError::Busy { path }),
            // Some network file systems have no locks; going on without one is what other tools do
            // as well.
            Err(TryLockError::Error(_)) => {}
        }
        let state: PartState = fs::read(with_suffix(&path, ".json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let mut part = Self { path, file, buffer: Vec::new(), have: 0, state, md5: Md5::new() };
        if part.state.validator.is_some() {
            part.read_back()?;
        } else {
            part.restart(None)?;
        }
        Ok(part)
    }

    /// Takes over the bytes of an earlier run.
    fn read_back(&mut self) -> Result<(), KaggleError> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = self.file.read(&mut buffer).map_err(file_error("read", &self.path))?;
            if n == 0 {
                break;
            }
            self.md5.update(&buffer[..n]);
            self.have += n as u64;
        }
        if self.state.total.is_some_and(|total| self.have > total) {
            self.restart(None)?;
        }
        Ok(())
    }

    /// Forgets all bytes; what follows belongs to the object `state`.
    fn restart(&mut self, state: Option<PartState>) -> Result<(), KaggleError> {
        self.buffer.clear();
        self.have = 0;
        self.md5 = Md5::new();
        self.state = state.unwrap_or_default();
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(file_error("empty", &self.path))?;
        let path = with_suffix(&self.path, ".json");
        let text = serde_json::to_vec(&self.state).expect("two plain fields serialize");
        fs::write(&path, text).map_err(file_error("write", &path))
    }

    /// Looks at the head of an answer: does its body continue what is there, or start anew?
    fn accept(&mut self, response: &Response) -> Result<(), KaggleError> {
        let headers = response.headers();
        let state = PartState {
            validator: validator(headers),
            total: total_bytes(response.status(), headers),
        };
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let first = content_range(headers).map(|(first, _)| first);
            let what = if first != Some(self.have) {
                Some(format!(
                    "asked for bytes from {}, got them from {}",
                    self.have,
                    first.map_or("?".to_owned(), |f| f.to_string())
                ))
            } else if self.state.total.is_some()
                && state.total.is_some()
                && self.state.total != state.total
            {
                Some(format!(
                    "it had {} bytes, now {}",
                    self.state.total.unwrap_or(0),
                    state.total.unwrap_or(0)
                ))
            } else {
                None
            };
            if let Some(what) = what {
                self.restart(None)?;
                return Err(KaggleError::Changed { what });
            }
        } else {
            self.restart(Some(state))?;
        }
        self.check_room(headers)
    }

    fn check_room(&self, headers: &HeaderMap) -> Result<(), KaggleError> {
        let Some(needed) =
            headers.get(CONTENT_LENGTH).and_then(|l| l.to_str().ok()).and_then(|l| l.parse().ok())
        else {
            return Ok(());
        };
        let Ok(stat) = nix::sys::statvfs::statvfs(self.path.parent().unwrap_or(Path::new(".")))
        else {
            return Ok(());
        };
        let free = stat.blocks_available() * stat.fragment_size();
        if needed > free {
            return Err(KaggleError::NoSpace { path: self.path.clone(), needed, free });
        }
        Ok(())
    }

    fn append(&mut self, chunk: &[u8]) -> Result<(), KaggleError> {
        self.md5.update(chunk);
        self.buffer.extend_from_slice(chunk);
        self.have += chunk.len() as u64;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), KaggleError> {
        self.file.write_all(&self.buffer).map_err(file_error("write", &self.path))?;
        self.buffer.clear();
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.state.total == Some(self.have)
    }

    /// Compares with the md5 that the server stated; gives it in hexadecimal digits.
    fn check(&mut self, stated: Option<&str>) -> Result<String, KaggleError> {
        let digest = self.md5.clone().finalize();
        let actual = BASE64.encode(digest);
        if let Some(expected) = stated.filter(|s| *s != actual) {
            let error = KaggleError::Damaged { expected: expected.to_owned(), actual };
            self.restart(None)?;
            return Err(error);
        }
        Ok(hex::encode(digest))
    }

    /// True if the file begins as a zip does and its directory is where it should be.
    fn is_whole_zip(&mut self) -> Result<bool, KaggleError> {
        const END_RECORD: u64 = 22;
        const LONGEST_COMMENT: u64 = 0xffff;
        let mut look = || -> io::Result<bool> {
            let mut head = [0; 4];
            self.file.seek(SeekFrom::Start(0))?;
            if self.have < END_RECORD || self.file.read_exact(&mut head).is_err() {
                return Ok(false);
            }
            let mut tail = Vec::new();
            self.file
                .seek(SeekFrom::Start(self.have.saturating_sub(END_RECORD + LONGEST_COMMENT)))?;
            self.file.read_to_end(&mut tail)?;
            let starts = head == *b"PK\x03\x04" || head == *b"PK\x05\x06";
            Ok(starts && tail.windows(4).rev().any(|w| w == b"PK\x05\x06"))
        };
        look().map_err(file_error("read", &self.path))
    }

    /// Gives the file its final name; its bytes are on the disk by then.
    fn finish(self, target: &Path) -> Result<(), KaggleError> {
        self.file.sync_all().map_err(file_error("write", &self.path))?;
        fs::rename(&self.path, target).map_err(file_error("rename", &self.path))?;
        remove_if_there(&with_suffix(&self.path, ".json"))
    }

    fn discard(self) -> Result<(), KaggleError> {
        remove_if_there(&with_suffix(&self.path, ".json"))?;
        remove_if_there(&self.path)
    }
}

fn remove_if_there(path: &Path) -> Result<(), KaggleError> {
    if_there(fs::remove_file(path)).map(drop).map_err(file_error("remove", path))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn file_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> KaggleError + 'a {
    move |source| KaggleError::File { action, path: path.to_owned(), source }
}

/// What `If-Range` may carry: a strong entity tag or a date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    text(ETAG).filter(|t| !t.starts_with("W/")).or_else(|| text(LAST_MODIFIED))
}

/// The md5 of the whole object in base64, as Google's storage states it (`x-goog-hash:
/// crc32c=…,md5=…`).
fn stated_md5(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all("x-goog-hash").iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|v| v.split(','))
        .find_map(|part| part.trim().strip_prefix("md5=").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stated_md5_is_found_among_other_hashes() {
        let mut headers = HeaderMap::new();
        headers.append("x-goog-hash", "crc32c=n03x6A==".parse().unwrap());
        assert_eq!(stated_md5(&headers), None);
        headers.append("x-goog-hash", "md5=Ojk9c3dhfxgoKVVHYwFbHQ==".parse().unwrap());
        assert_eq!(stated_md5(&headers).as_deref(), Some("Ojk9c3dhfxgoKVVHYwFbHQ=="));
    }
}
