//! A provider's answer as it comes, without what must not get out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::time::{Instant, Sleep};

use crate::encoding::Inflate;
use crate::scrub::{Needles, Scrubber};

/// Why a body ends before its end; the connection breaks, so that no client takes it for whole.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Why an answer is cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// Nothing came for too long.
    #[error("the provider's answer stalled")]
    Stalled,
    /// It ended before its own end.
    #[error("the provider's answer broke off")]
    Short,
    /// It held the provider's key.
    #[error("the answer held a secret of the harness")]
    Secret,
    /// Its packing is malformed.
    #[error(transparent)]
    Malformed(#[from] std::io::Error),
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// The body of a provider's answer: unpacked, scrubbed of its key, and cut when it stalls.
pub(crate) struct Clean {
    source: reqwest::Body,
    inflate: Inflate,
    scrub: Scrubber,
    idle: Pin<Box<Sleep>>,
    idle_for: Duration,
}

impl Clean {
    pub(crate) fn new(source: reqwest::Body, needles: &Arc<Needles>, idle_for: Duration) -> Self {
        Self {
            source,
            inflate: Inflate::Unknown,
            scrub: Scrubber::new(Arc::clone(needles)),
            idle: Box::pin(tokio::time::sleep(idle_for)),
            idle_for,
        }
    }

    /// The next piece, which may be empty; `None` where the connection ends.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            let frame = match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.idle.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(Cut::Stalled)));
                }
            };
            let Some(frame) = frame.transpose()? else { return Poll::Ready(None) };
            let Ok(piece) = frame.into_data() else { continue };
            self.idle.as_mut().reset(Instant::now() + self.idle_for);
            let plain = self.inflate.next(piece)?;
            return Poll::Ready(Some(self.scrub.next(plain).ok_or(Cut::Secret)));
        }
    }

    /// What was held back as the possible beginning of the key, once the connection has ended.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.scrub.rest()
    }
}
