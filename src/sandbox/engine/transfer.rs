//! Files out of a container, through the archive API.

use std::io::{self, Read};

use axum::body::Bytes;
use bollard::query_parameters::DownloadFromContainerOptions;
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

impl Engine {
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
