//! Files out of a container, through the archive API.

use std::io::{self, Read};

use axum::body::Bytes;
use bollard::query_parameters::{ContainerArchiveInfoOptions, DownloadFromContainerOptions};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::client::{Engine, EngineError};

/// Chunks that wait between the network and the reader.
const CHUNKS: usize = 16;

/// A tar that is still on its way, read on a blocking thread. Dropping it ends the transfer.
pub(crate) struct ArchiveReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for ArchiveReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// What a path in a container is; its last part is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory,
    File,
    Link,
    Pipe,
    Socket,
    Device,
}

impl Entry {
    /// From the bits of Go's `FileMode`, which both engines send.
    fn of_mode(mode: u32) -> Self {
        const DIRECTORY: u32 = 1 << 31;
        const LINK: u32 = 1 << 27;
        const DEVICE: u32 = 1 << 26 | 1 << 21 | 1 << 19;
        const PIPE: u32 = 1 << 25;
        const SOCKET: u32 = 1 << 24;
        match mode {
            _ if mode & LINK != 0 => Self::Link,
            _ if mode & DIRECTORY != 0 => Self::Directory,
            _ if mode & PIPE != 0 => Self::Pipe,
            _ if mode & SOCKET != 0 => Self::Socket,
            // Irregular files are nothing to read either.
            _ if mode & DEVICE != 0 => Self::Device,
            _ => Self::File,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Directory => "a directory",
            Self::File => "a file",
            Self::Link => "a symbolic link",
            Self::Pipe => "a pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        }
    }
}

impl Engine {
    /// What `path` is in a container, running or not; `None` if there is no such path.
    pub(crate) async fn entry(&self, id: &str, path: &str) -> Result<Option<Entry>, EngineError> {
        Ok(self.look(id, path).await?.map(|(entry, _)| entry))
    }

    /// The same, and what it is if links are followed within the container.
    pub(crate) async fn followed(
        &self,
        id: &str,
        path: &str,
    ) -> Result<Option<Entry>, EngineError> {
        match self.look(id, path).await? {
            Some((Entry::Link, target)) => self.entry(id, &target).await,
            other => Ok(other.map(|(entry, _)| entry)),
        }
    }

    async fn look(&self, id: &str, path: &str) -> Result<Option<(Entry, String)>, EngineError> {
        let options = ContainerArchiveInfoOptions { path: path.to_string() };
        match self.docker.get_container_archive_info(id, Some(options)).await {
            Ok(facts) => Ok(Some((Entry::of_mode(facts.file_mode), facts.link_target))),
            Err(error) => match Self::error(&format!("look at `{path}`"), error) {
                EngineError::NotFound { .. } => Ok(None),
                other => Err(other),
            },
        }
    }

    /// Starts to read the tar of `path` in a container, running or not; `None` if there is no such
    /// path.
    pub(crate) async fn archive(
        &self,
        id: &str,
        path: &str,
    ) -> Result<Option<ArchiveReader>, EngineError> {
        let options = DownloadFromContainerOptions { path: path.to_string() };
        let mut body = Box::pin(self.docker.download_from_container(id, Some(options)));
        let first = match body.next().await {
            Some(Ok(first)) => first,
            Some(Err(error)) => {
                return match Self::error(&format!("read `{path}`"), error) {
                    EngineError::NotFound { .. } => Ok(None),
                    other => Err(other),
                };
            }
            None => Bytes::new(),
        };
        let (sender, chunks) = mpsc::channel(CHUNKS);
        tokio::spawn(async move {
            while let Some(chunk) = body.next().await {
                let broken = |error| io::Error::new(io::ErrorKind::ConnectionAborted, error);
                if sender.send(chunk.map_err(broken)).await.is_err() {
                    break;
                }
            }
        });
        Ok(Some(ArchiveReader { chunks, current: first }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_modes_are_told_apart() {
        let cases = [
            (0o644, Entry::File),
            (0o755 | 1 << 23 | 1 << 22, Entry::File),
            (0o755 | 1 << 31, Entry::Directory),
            (0o777 | 1 << 27, Entry::Link),
            (0o644 | 1 << 25, Entry::Pipe),
            (0o666 | 1 << 26 | 1 << 21, Entry::Device),
        ];
        for (mode, expected) in cases {
            assert_eq!(Entry::of_mode(mode), expected, "{mode:o}");
        }
    }
}
