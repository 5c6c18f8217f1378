//! The harness's side: finds the service, and knows it again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{HELLO, LATE, OWN, REFUSED, ServiceFile, TOKEN, UNREACHABLE};
use crate::events::{Event, EventSink};
use crate::upstream::Failed;

/// How long the service may take to say that it is there.
const REACH: Duration = Duration::from_secs(10);

/// A way to whatever service the folders name at the moment.
pub(crate) struct Link {
    folders: Mutex<Vec<PathBuf>>,
    connect: Duration,
    /// The service that was last found, with a client that trusts it and no other.
    open: Mutex<Option<(ServiceFile, reqwest::Client)>>,
    /// What stands in the way, as it was last told.
    told: Mutex<Option<String>>,
    events: EventSink,
}

/// A service that was found.
pub(crate) struct Found {
    path: PathBuf,
    file: ServiceFile,
    client: reqwest::Client,
}

impl Link {
    pub(crate) fn new(connect: Duration, events: EventSink) -> Self {
        let (folders, open, told) = Default::default();
        Self { folders, connect, open, told, events }
    }

    /// Says in which folders services leave their files; the first that has one counts.
    pub(crate) fn look_in(&self, folders: Vec<PathBuf>) {
        *lock(&self.folders) = folders;
    }

    /// Reads anew where the service is.
    async fn find(&self) -> Result<Found, String> {
        let folders = lock(&self.folders).clone();
        let places: Vec<_> = folders.iter().map(|f| format!("`{}`", f.display())).collect();
        // A network file system may hold a call up for as long as it likes.
        let found = tokio::task::spawn_blocking(move || ServiceFile::newest(&folders)).await;
        let found = found.unwrap_or_else(|error| Err(error.to_string()))?;
        let (path, file) = found.ok_or_else(|| {
            format!("there is none; no file of one is in {}", places.join(" or "))
        })?;
        let mut open = lock(&self.open);
        if let Some((known, client)) = &*open
            && *known == file
        {
            return Ok(Found { path, file, client: client.clone() });
        }
        let client = client_of(&file, self.connect)?;
        *open = Some((file.clone(), client.clone()));
        Ok(Found { path, file, client })
    }

    /// Sends a request, and tells the service's own answers from providers'.
    pub(crate) async fn post(
        &self,
        path: &str,
        headers: HeaderMap,
        body: bytes::Bytes,
        patience: Duration,
    ) -> Result<reqwest::Response, Failed> {
        let found = match self.find().await {
            Ok(found) => found,
            Err(why) => return Err(self.unreached(why)),
        };
        let url = format!("https://{}{path}", found.file.address);
        // Last, so that nothing from outside stands in its place.
        let post =
            found.client.post(url).headers(headers).bearer_auth(&found.file.token).body(body);
        let response = match timeout(patience, post.send()).await {
            Err(_) => return Err(Failed::Late),
            Ok(Err(error)) if error.is_connect() => {
                return Err(self.unreached(found.unreached(&error)));
            }
            // The service may have passed the request on before it was killed.
            Ok(Err(_)) => return Err(Failed::Broke { may_cost: true }),
            Ok(Ok(response)) => response,
        };
        match response.headers().get(OWN).and_then(|word| word.to_str().ok()) {
            None => {
                self.works(&found);
                Ok(response)
            }
            Some(TOKEN) => Err(self.unreached(found.refuses_the_token())),
            Some(REFUSED) => {
                let text = response.text().await.unwrap_or_default();
                let why: String = text.chars().take(300).collect();
                self.trouble(format!("`{}` refuses a call: {why}", found.file.address));
                Err(Failed::Refused(why))
            }
            Some(UNREACHABLE) => {
                self.works(&found);
                Err(Failed::Unreached("not from the gateway service".to_owned()))
            }
            Some(LATE) => Err(Failed::Late),
            Some(_) => Err(Failed::Broke { may_cost: true }),
        }
    }

    /// What keeps the service from taking calls, if anything does.
    pub(crate) async fn missing(&self) -> Option<String> {
        let found = match self.find().await {
            Ok(found) => found,
            Err(why) => return Some(why),
        };
        let url = format!("https://{}{HELLO}", found.file.address);
        let ask = found.client.get(url).bearer_auth(&found.file.token).send();
        match timeout(REACH, ask).await {
            Err(_) => {
                let (address, seconds) = (&found.file.address, REACH.as_secs());
                Some(format!("`{address}` does not answer within {seconds} s"))
            }
            Ok(Err(error)) => Some(found.unreached(&error)),
            Ok(Ok(response)) if response.headers().contains_key(OWN) => {
                Some(found.refuses_the_token())
            }
            Ok(Ok(_)) => None,
        }
    }

    fn unreached(&self, why: String) -> Failed {
        self.trouble(why.clone());
        Failed::Unreached(why)
    }

    /// Tells what stands in the way, once.
    fn trouble(&self, message: String) {
        let mut told = lock(&self.told);
        if told.as_ref() != Some(&message) {
            *told = Some(message.clone());
            drop(told);
            self.events.send(Event::ServiceAway { message });
        }
    }

    fn works(&self, found: &Found) {
        if lock(&self.told).take().is_some() {
            self.events.send(Event::ServiceBack { address: found.file.address.clone() });
        }
    }
}

impl Found {
    /// Why nobody was reached, in words that do not change from try to try.
    fn unreached(&self, error: &reqwest::Error) -> String {
        let (address, path) = (&self.file.address, self.path.display());
        if is_other_certificate(error) {
            return format!(
                "`{address}` shows another certificate than `{path}` says: the service is gone, and another server is there now"
            );
        }
        format!("nobody answers at `{address}`, where `{path}` says that it is")
    }

    fn refuses_the_token(&self) -> String {
        format!("`{}` does not take the token in `{}`", self.file.address, self.path.display())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client for one service: through no proxy, with no other certificate.
fn client_of(file: &ServiceFile, connect: Duration) -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned =
        Pinned { sha256: file.certificate_sha256.clone(), provider: Arc::clone(&provider) };
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .connect_timeout(connect)
        .redirect(reqwest::redirect::Policy::none())
        .no_gzip()
        .tcp_nodelay(true)
        .build()
        .map_err(|error| error.to_string())
}

/// Trusts one certificate by its hash, whatever its names and times are: clocks of machines differ.
#[derive(Debug)]
struct Pinned {
    sha256: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match hex::encode(Sha256::digest(end_entity)) == self.sha256 {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a connection failed over the certificate. An I/O error hides what it wraps from `source`.
fn is_other_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => inner as &(dyn std::error::Error + 'static),
            None => error,
        };
        if let Some(rustls::Error::InvalidCertificate(_)) = inner.downcast_ref() {
            return true;
        }
        next = match std::ptr::addr_eq(inner, error) {
            true => error.source(),
            false => Some(inner),
        };
    }
    false
}
