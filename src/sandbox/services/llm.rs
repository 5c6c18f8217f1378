//! Hands an attempt's connections to the gateway to language models.

use std::sync::Arc;

use tokio::net::UnixListener;

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
    let connection = |stream| {
        let (gateway, attempt) = (Arc::clone(&access.gateway), Arc::clone(&access.attempt));
        async move {
            match door {
                Door::Plain => gateway.serve(stream, attempt).await,
                Door::Tls => gateway.serve_tls(stream, attempt).await,
            }
        }
    };
    // The gateway has a limit of its own.
    super::serve_each(listener, usize::MAX, connection).await;
}
