//! Hands an attempt's connections to the gateway to language models.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::attempt::llm::LlmAccess;

/// Which of the container's ports a socket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The gateway's own.
    Plain,
    /// The providers' own names, behind TLS.
    Tls,
}

/// Serves until dropped; connections end with it, and their calls are booked.
pub(super) async fn serve(access: LlmAccess, listener: UnixListener, door: Door) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (gateway, attempt) = (Arc::clone(&access.gateway), Arc::clone(&access.attempt));
                    connections.spawn(async move {
                        match door {
                            Door::Plain => gateway.serve(stream, attempt).await,
                            Door::Tls => gateway.serve_tls(stream, attempt).await,
                        }
                    });
                }
                // Out of descriptors, most likely: others will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
