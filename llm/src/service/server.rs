//! The service itself: checks who asks, limits what all attempts ask together, and adds the key.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{
    BEARER, BROKE, HELLO, LATE, MODEL, OWN, REFUSED, ServiceFile, TOKEN, UNREACHABLE, VERSION,
};
use crate::answer::down;
use crate::clean::{BodyError, Clean, Cut};
use crate::config::Config;
use crate::events::{Event, EventSink};
use crate::gateway::{Gateway, GatewayError};
use crate::outage::Pass;
use crate::request::read_body;
use crate::route::{Door, Operation, Target, resolve};
use crate::upstream::{Class, Failed, Outgoing, Provider, classify, read_error, retry_after};

/// The longest that a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that may be open at the same time, strangers' among them.
const CONNECTIONS: usize = 8192;
/// How the service names itself in what is told of it.
const ITSELF: &str = "gateway service";

/// Why a service cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The settings, or a key.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// It has no certificate.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refuses the certificate.
    #[error("cannot use the certificate")]
    Rustls(#[from] rustls::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A service with a certificate and a token of its own, which are gone when it ends.
pub struct Server {
    gateway: Arc<Gateway>,
    tls: TlsAcceptor,
    certificate_sha256: String,
    token: String,
    events: EventSink,
    connections: AtomicUsize,
    calls: AtomicUsize,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

type Answer = Response<Either<Full<Bytes>, Watched>>;

impl Server {
    /// A service with these settings. Providers' keys are read now.
    ///
    /// # Errors
    /// A key cannot be had, or no certificate can be made.
    pub fn new(config: Config, events: EventSink) -> Result<Arc<Self>, ServiceError> {
        let gateway = Gateway::new(config.for_service(), events.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut token = [0u8; 32];
        provider.secure_random.fill(&mut token).map_err(|_| ServiceError::Random)?;
        let key = KeyPair::generate()?;
        // Callers know it by its hash; its name and times tell nobody anything.
        let certificate =
            CertificateParams::new(vec!["medalist-gateway".to_owned()])?.self_signed(&key)?;
        let certificate_sha256 = hex::encode(Sha256::digest(certificate.der()));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(Self {
            gateway,
            tls: TlsAcceptor::from(Arc::new(tls)),
            certificate_sha256,
            token: hex::encode(token),
            events,
            connections: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        }))
    }

    /// The gateway behind it, to ask whether providers are there.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// What tells harnesses of this service, if they reach it at `address` (host and port).
    pub fn file(&self, address: String) -> ServiceFile {
        ServiceFile {
            version: VERSION,
            address,
            certificate_sha256: self.certificate_sha256.clone(),
            token: self.token.clone(),
            started_at: Utc::now(),
        }
    }

    /// How many calls are under way.
    pub fn under_way(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Serves one connection until it closes.
    pub async fn serve<S>(self: Arc<Self>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let open = Counted::new(&self, |server| &server.connections);
        if open.before >= CONNECTIONS {
            return;
        }
        let Ok(Ok(stream)) = timeout(HANDSHAKE, self.tls.accept(stream)).await else { return };
        let service = service_fn(|request: Request<Incoming>| {
            let server = Arc::clone(&self);
            async move { Ok::<Answer, Infallible>(server.answer(request).await) }
        });
        let config = self.gateway.config();
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(config.timeouts.request())
            .max_headers(config.policy.headers);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!("connection of a harness: {error}");
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (mut parts, body) = request.into_parts();
        if !self.knows(&parts.headers) {
            return closing(own(
                StatusCode::UNAUTHORIZED,
                TOKEN,
                "this is not the service's token",
            ));
        }
        // It is for this service alone, and no provider may see it.
        parts.headers.remove(header::AUTHORIZATION);
        if parts.method == Method::GET && parts.uri.path() == HELLO {
            return Response::new(Either::Left(Full::default()));
        }
        let call = Counted::new(&self, |server| &server.calls);
        match self.pass_on(parts, body, call).await {
            Ok(answer) => answer,
            Err(why) => closing(own(StatusCode::NOT_FOUND, REFUSED, &why)),
        }
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let given = given.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        given.as_bytes().ct_eq(self.token.as_bytes()).into()
    }

    /// Passes a call on to its provider; why it is refused, in words for the operator, if it is.
    async fn pass_on(
        &self,
        mut parts: Parts,
        body: Incoming,
        call: Counted,
    ) -> Result<Answer, String> {
        let config = self.gateway.config();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let target = resolve(config, &Door::Local, &parts.method, path, query, &parts.headers);
        let route = match target {
            Ok(Target::Route(route)) if !is_answered_by_harness(route.operation) => route,
            Ok(_) => return Err(format!("there is no `{} {path}` here", parts.method)),
            Err(no_route) => return Err(no_route.message),
        };
        let provider = &self.gateway.providers[&route.upstream];
        let model =
            parts.headers.get(MODEL).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        if !provider.config.allows(&model) {
            return Err(format!("its settings do not allow `{model}` at `{}`", route.upstream));
        }
        let limit = config.policy.request_bytes;
        let body = read_body(body, &parts.headers, limit, config.timeouts.request()).await;
        let body = body.map_err(|(_, why)| why)?;
        let passes = match self.passes(provider, &model) {
            Ok(passes) => passes,
            Err(answer) => return Ok(*answer),
        };
        if parts.headers.contains_key(BEARER) {
            parts.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer"));
        }
        let headers = provider.headers(&parts.headers, route.dialect);
        let request = Outgoing { path: route.target(), headers, body, model };
        Ok(self.ask(provider, request, passes, call).await)
    }

    /// The way past what limits all attempts together, or what a caller is told that must wait.
    fn passes(&self, provider: &Provider, model: &str) -> Result<(Pass, Pass), Box<Answer>> {
        let key_gate = self.gateway.gates.gate(&provider.name, None);
        let key_pass = key_gate.try_pass().map_err(|wait| match key_gate.refusal() {
            Some((status, code)) => {
                let error = serde_json::json!({"error": {"code": code}}).to_string();
                Box::new(plain(StatusCode::from_u16(status).unwrap_or_default(), error))
            }
            None => Box::new(busy(wait)),
        })?;
        let model_gate = self.gateway.gates.gate(&provider.name, Some(model));
        let model_pass = model_gate.try_pass().map_err(|wait| Box::new(busy(wait)))?;
        Ok((key_pass, model_pass))
    }

    async fn ask(
        &self,
        provider: &Provider,
        request: Outgoing,
        (key_pass, model_pass): (Pass, Pass),
        call: Counted,
    ) -> Answer {
        let timeouts = &self.gateway.config().timeouts;
        // One try: to wait and to try again is the harness's, whose clock counts it.
        let patience = Duration::from_secs_f64(timeouts.first_byte_s);
        let response = match self.gateway.way.post(provider, &request, patience).await {
            Ok(response) => response,
            Err(Failed::Unreached(_)) => {
                model_pass.refused(0, None);
                return own(StatusCode::SERVICE_UNAVAILABLE, UNREACHABLE, "");
            }
            Err(Failed::Late) => return own(StatusCode::GATEWAY_TIMEOUT, LATE, ""),
            Err(_) => return own(StatusCode::BAD_GATEWAY, BROKE, ""),
        };
        let status = response.status();
        if status.is_success() {
            key_pass.succeeded();
            model_pass.succeeded();
            return self.relay(provider, response, timeouts.idle(), call);
        }
        let headers = response.headers().clone();
        let text = read_error(response).await;
        match classify(status.as_u16(), &text) {
            Class::Money(code) => key_pass.money_refused(status.as_u16(), &code),
            Class::Busy => {
                key_pass.succeeded();
                let cap = Duration::from_secs_f64(timeouts.retry_after_s);
                let wait = retry_after(&headers, &text).map(|wait| wait.min(cap));
                model_pass.refused(status.as_u16(), wait);
            }
            Class::Brief | Class::Clients => key_pass.succeeded(),
        }
        if provider.needles.found_in(&text) {
            self.events.send(key_in_answer(&provider.name));
            let text = r#"{"error":{"message":"medalist: the provider's error held a secret of the harness"}}"#;
            return plain(StatusCode::BAD_GATEWAY, text.to_owned());
        }
        let mut answer = Response::new(Either::Left(Full::new(text)));
        *answer.status_mut() = status;
        *answer.headers_mut() = down(&headers, provider);
        answer
    }

    fn relay(
        &self,
        provider: &Provider,
        response: reqwest::Response,
        idle_for: Duration,
        call: Counted,
    ) -> Answer {
        let (parts, source) = Response::<reqwest::Body>::from(response).into_parts();
        let mut answer = Response::new(Either::Right(Watched {
            source: Clean::new(source, &provider.needles, idle_for),
            done: false,
            upstream: provider.name.clone(),
            events: self.events.clone(),
            _call: call,
        }));
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = down(&parts.headers, provider);
        answer
    }
}

fn is_answered_by_harness(operation: Operation) -> bool {
    matches!(operation, Operation::Models | Operation::Model | Operation::Hello)
}

fn key_in_answer(upstream: &str) -> Event {
    Event::KeyInAnswer { upstream: upstream.to_owned(), attempt: ITSELF.to_owned() }
}

fn plain(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(text)));
    *answer.status_mut() = status;
    answer
}

/// An answer of the service's own.
fn own(status: StatusCode, word: &'static str, text: &str) -> Answer {
    let mut answer = plain(status, text.to_owned());
    answer.headers_mut().insert(OWN, HeaderValue::from_static(word));
    answer
}

/// The answer, and then the end of the connection: what is left of the request is not read.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The provider is overloaded, as other attempts have heard.
fn busy(wait: Duration) -> Answer {
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, String::new());
    let seconds = wait.as_secs_f64().max(0.1);
    if let Ok(value) = HeaderValue::from_str(&format!("{seconds:.1}")) {
        answer.headers_mut().insert(header::RETRY_AFTER, value);
    }
    answer
}

/// Something that counts until it is dropped.
struct Counted {
    server: Arc<Server>,
    of: fn(&Server) -> &AtomicUsize,
    before: usize,
}

impl Counted {
    fn new(server: &Arc<Server>, of: fn(&Server) -> &AtomicUsize) -> Self {
        let before = of(server).fetch_add(1, Ordering::Relaxed);
        Self { server: Arc::clone(server), of, before }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.of)(&self.server).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A provider's answer on its way to a harness: no key of ours passes.
struct Watched {
    source: Clean,
    done: bool,
    upstream: String,
    events: EventSink,
    _call: Counted,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        while !this.done {
            let piece = match ready!(this.source.poll_piece(cx)) {
                Some(Ok(piece)) => piece,
                Some(Err(cut)) => {
                    this.done = true;
                    if matches!(cut, Cut::Secret) {
                        this.events.send(key_in_answer(&this.upstream));
                    }
                    return Poll::Ready(Some(Err(cut.into())));
                }
                None => {
                    this.done = true;
                    this.source.rest()
                }
            };
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        Poll::Ready(None)
    }
}
