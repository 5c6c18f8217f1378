//! The one place that makes HTTP clients.

use std::sync::Once;
use std::time::Duration;

/// How this program names itself to servers.
const USER_AGENT: &str = concat!("medalist/", env!("CARGO_PKG_VERSION"));

/// A builder for HTTP clients with this program's name, a connect timeout and TLS through ring.
///
/// The TLS provider is installed on the first call. Every client must start here: a client made
/// without a provider panics.
pub fn client_builder() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the program embedding this library installed its own provider, which
        // serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().user_agent(USER_AGENT).connect_timeout(Duration::from_secs(20))
}
