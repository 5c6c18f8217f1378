//! An HTTP server for clients that are hostile: everything that they can make it hold is bounded, in
//! bytes and in time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::Stream;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, Sleep, timeout};

/// Connections at a time.
const CONNECTIONS: usize = 32;
/// Headers of a request.
const HEADERS: usize = 64;
/// Bytes of a request's head, and of what is read ahead of a body.
const BUFFER: usize = 64 << 10;
/// A head must be complete after this time, and a connection without a request is closed.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// A connection is closed after this time, whatever it does.
const CONNECTION_AGE: Duration = Duration::from_secs(3600);
/// Bytes of a form between two pieces of a part: boundaries, heads of parts, and what precedes them.
const BETWEEN_PIECES: usize = 256 << 10;

/// Serves `router` until dropped; connections end with it.
pub(crate) async fn serve(listener: UnixListener, router: Router) {
    let connection = |stream| {
        let served = timeout(CONNECTION_AGE, connection(stream, router.clone()));
        async { drop(served.await) }
    };
    super::serve_each(listener, CONNECTIONS, connection).await;
}

/// Serves one connection until it ends.
pub(crate) async fn connection(stream: UnixStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER)
        .max_header_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of an agent ended early");
    }
}

/// Why an upload was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the upload has more than {0} bytes")]
    TooLarge(u64),
    #[error(
        "the form has no part within {BETWEEN_PIECES} bytes; is the boundary that of the header?"
    )]
    NoPart,
    #[error("the upload stalled")]
    Stalled,
    #[error("the upload broke off")]
    Broken,
}

/// The body of an upload, chunk by chunk, with limits on what a reader can be made to hold.
///
/// The reader of forms looks for a boundary, or the end of a part's head, in memory. It takes all
/// that is ready, so the stream rests after each chunk; and it tells the stream of its progress
/// ([`Progress::made`]), so that one that looks in vain is stopped.
pub(crate) struct Upload {
    body: BodyDataStream,
    /// Bytes since the last progress.
    pending: Arc<AtomicUsize>,
    seen: u64,
    limit: u64,
    resting: bool,
    idle: Duration,
    stalled: Pin<Box<Sleep>>,
}

/// Tells an [`Upload`] that what it gave was used.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<AtomicUsize>);

impl Progress {
    /// A part began, or a piece of one was taken.
    pub(crate) fn made(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Upload {
    /// At most `limit` bytes of `body`, of which some come at least every `idle`.
    pub(crate) fn new(body: Body, limit: u64, idle: Duration) -> (Self, Progress) {
        let pending = Arc::new(AtomicUsize::new(0));
        let upload = Self {
            body: body.into_data_stream(),
            pending: Arc::clone(&pending),
            seen: 0,
            limit,
            resting: false,
            idle,
            stalled: Box::pin(tokio::time::sleep(idle)),
        };
        (upload, Progress(pending))
    }

    fn take(&mut self, chunk: Bytes) -> Result<Bytes, UploadError> {
        self.seen += chunk.len() as u64;
        if self.seen > self.limit {
            return Err(UploadError::TooLarge(self.limit));
        }
        let pending = self.pending.fetch_add(chunk.len(), Ordering::Relaxed);
        // One chunk may well be longer than the limit; what counts is what came before it.
        if pending > BETWEEN_PIECES {
            return Err(UploadError::NoPart);
        }
        self.resting = true;
        let next = Instant::now() + self.idle;
        self.stalled.as_mut().reset(next);
        Ok(chunk)
    }
}

impl Stream for Upload {
    type Item = Result<Bytes, UploadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.resting) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match Pin::new(&mut self.body).poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => Poll::Ready(Some(self.take(chunk))),
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(UploadError::Broken))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.stalled.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(UploadError::Stalled))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}
