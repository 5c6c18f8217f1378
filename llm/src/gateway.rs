//! The gateway: connections in, requests checked, calls out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;

use crate::attempt::{AttemptContext, AttemptSpec};
use crate::call::AnswerBody;
use crate::config::{Config, ConfigError, Limits, Via};
use crate::events::EventSink;
use crate::ledger::{Balance, Leases, Ledger};
use crate::outage::Gates;
use crate::prices::PriceTable;
use crate::record::read_bill;
use crate::route::Door;
use crate::service::Link;
use crate::tls::{AttemptTls, TlsError};
use crate::upstream::{Provider, Way};

/// The read buffer of a connection, which a request's head must fit in.
const BUFFER: usize = 256 << 10;
/// The longest that a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Why a gateway or an attempt cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client")]
    Client(#[from] reqwest::Error),
    /// The attempt's folder cannot be written to or read.
    #[error("cannot open the record of attempt `{attempt}`")]
    Record {
        attempt: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no certificate for the attempt.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The gateway of a run group; all attempts share its providers, prices and budget.
pub struct Gateway {
    pub(crate) config: Config,
    pub(crate) providers: BTreeMap<String, Provider>,
    pub(crate) way: Way,
    pub(crate) prices: PriceTable,
    pub(crate) gates: Gates,
    pub(crate) ledger: Arc<Ledger>,
    events: EventSink,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("upstreams", &self.providers.keys()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway with these settings. Keys are read now; a missing one is an error.
    ///
    /// # Errors
    /// A key cannot be had, or the system has no certificates to check providers with.
    pub fn new(config: Config, events: EventSink) -> Result<Arc<Self>, GatewayError> {
        // An error means that the program has a TLS provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = config
            .proxied(reqwest::Client::builder())?
            .connect_timeout(Duration::from_secs_f64(config.timeouts.connect_s))
            .redirect(reqwest::redirect::Policy::none())
            .no_gzip()
            .tcp_nodelay(true)
            .http2_adaptive_window(true)
            .build()?;
        Self::with_client(config, events, client)
    }

    /// As [`Gateway::new`], with an HTTP client that neither follows redirections nor decompresses.
    ///
    /// # Errors
    /// A key cannot be had.
    pub fn with_client(
        config: Config,
        events: EventSink,
        client: reqwest::Client,
    ) -> Result<Arc<Self>, GatewayError> {
        let config = config.for_harness();
        let way = match config.via {
            Via::Direct => Way::Direct(client),
            Via::Service => {
                let connect = Duration::from_secs_f64(config.timeouts.connect_s);
                Way::Service(Link::new(connect, events.clone()))
            }
        };
        let provider = |(name, upstream): (&String, _)| {
            Ok((name.clone(), Provider::new(name, upstream, config.via)?))
        };
        let providers =
            config.upstreams.iter().map(provider).collect::<Result<_, ConfigError>>()?;
        Ok(Arc::new(Self {
            providers,
            way,
            prices: config.price_table(),
            gates: Gates::new(events.clone()),
            ledger: Ledger::new(config.budget.group, config.budget.overshoot, events.clone()),
            config,
            events,
        }))
    }

    /// Opens an attempt, or opens it again after the harness was killed.
    ///
    /// # Errors
    /// Its folder cannot be used, or a host name fits no certificate.
    pub fn open(&self, spec: AttemptSpec) -> Result<Arc<AttemptContext>, GatewayError> {
        let hosts: Vec<String> = self.hosts().map(str::to_owned).collect();
        let tls = if hosts.is_empty() {
            None
        } else {
            Some(AttemptTls::of_attempt(&spec.dir, &spec.id, hosts, spec.until).map_err(
                |error| match error {
                    TlsError::Store(source) => {
                        GatewayError::Record { attempt: spec.id.clone(), source }
                    }
                    other => other.into(),
                },
            )?)
        };
        let attempt = spec.id.clone();
        let (limits, record) = (self.config.budget.attempt, self.config.record);
        AttemptContext::open(
            spec,
            Arc::clone(&self.ledger),
            limits,
            record,
            tls,
            self.events.clone(),
        )
        .map_err(|source| GatewayError::Record { attempt, source })
    }

    /// Counts what an attempt that is over, or an earlier try, has cost the group.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn count_earlier(&self, id: &str, dir: &Path) -> Result<(), GatewayError> {
        let bill = read_bill(dir)
            .map_err(|source| GatewayError::Record { attempt: id.to_owned(), source })?;
        self.ledger.open(id, Limits::default(), bill);
        Ok(())
    }

    /// Spends the group's budget beside other processes: what this one may spend is leased. Needs a
    /// runtime; to be called once, before the first attempt is opened.
    pub fn share_budget(&self, leases: Leases) {
        self.ledger.share(leases);
    }

    /// Says in which folders a gateway service leaves its file; the first that has one counts.
    pub fn find_service_in(&self, folders: Vec<PathBuf>) {
        if let Way::Service(link) = &self.way {
            link.look_in(folders);
        }
    }

    /// What keeps the gateway service from taking calls, if calls go through one and anything does.
    pub async fn missing_service(&self) -> Option<String> {
        match &self.way {
            Way::Direct(_) => None,
            Way::Service(link) => link.missing().await,
        }
    }

    /// The group's balance.
    pub fn group_balance(&self) -> Balance {
        self.ledger.group_balance()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The host names that agents reach without a change of address.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let entries = self.config.upstreams.values().flat_map(|u| u.hosts.iter().flatten());
        entries.map(|host| host.split('/').next().unwrap_or(host))
    }

    /// The table of prices in use: source and date.
    pub fn price_table(&self) -> String {
        self.prices.id()
    }

    /// Serves one connection to the gateway's own port until it closes.
    pub async fn serve<S>(self: &Arc<Self>, stream: S, attempt: Arc<AttemptContext>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(_connected) = attempt.connect() {
            self.serve_http(stream, &attempt, Door::Local).await;
        }
    }

    /// Serves one connection to a provider's own name, port 443, until it closes.
    pub async fn serve_tls<S>(self: &Arc<Self>, stream: S, attempt: Arc<AttemptContext>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (Some(tls), Some(_connected)) = (attempt.tls().cloned(), attempt.connect()) else {
            return;
        };
        let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let started = match tokio::time::timeout(HANDSHAKE, acceptor).await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return attempt.note_handshake("", Some(&reason(&error))),
            Err(_) => return attempt.note_handshake("", Some("too slow")),
        };
        let hello = started.client_hello();
        let host = hello.server_name().unwrap_or_default().to_lowercase();
        let only_http2 = hello.alpn().is_some_and(|names| {
            let names: Vec<_> = names.collect();
            names.contains(&&b"h2"[..]) && !names.contains(&&b"http/1.1"[..])
        });
        if !host.is_empty() && !tls.serves(&host) {
            return attempt.note_handshake(&host, Some("not a provider's name"));
        }
        let config = Arc::clone(if only_http2 { &tls.http2 } else { &tls.http1 });
        let stream = match tokio::time::timeout(HANDSHAKE, started.into_stream(config)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return attempt.note_handshake(&host, Some(&reason(&error))),
            Err(_) => return attempt.note_handshake(&host, Some("too slow")),
        };
        attempt.note_handshake(&host, None);
        if only_http2 {
            refuse_grpc(stream).await;
        } else {
            self.serve_http(stream, &attempt, Door::Host(host)).await;
        }
    }

    async fn serve_http<S>(self: &Arc<Self>, stream: S, attempt: &Arc<AttemptContext>, door: Door)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request: Request<Incoming>| {
            let (gateway, attempt, door) = (Arc::clone(self), Arc::clone(attempt), door.clone());
            async move {
                Ok::<Response<AnswerBody>, Infallible>(gateway.answer(request, attempt, door).await)
            }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.timeouts.request())
            .max_headers(self.config.policy.headers)
            .max_buf_size(BUFFER);
        // However a connection ends, its calls have written their lines.
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!("connection of {}: {error}", attempt.id());
        }
    }
}

/// What a failed handshake says of itself.
fn reason(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("the client refused the certificate: {alert:?}")
        }
        Some(other) => other.to_string(),
        None => "the client left during the handshake".to_owned(),
    }
}

/// Tells a client that speaks gRPC that nobody here does, so that it need not try again.
async fn refuse_grpc<S>(stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|_: Request<Incoming>| async {
        let answer = Response::builder()
            .header(header::CONTENT_TYPE, "application/grpc")
            .header("grpc-status", "12")
            .header("grpc-message", "medalist: gRPC is not spoken here; use the REST transport")
            .body(AnswerBody::Full(None));
        answer.map_err(|_| std::io::Error::other("the headers above are valid"))
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    // Such a client has nothing to stay for.
    let _ = tokio::time::timeout(Duration::from_secs(60), connection).await;
}

impl Gateway {
    /// The price of a model as it is served now.
    pub(crate) fn price(
        &self,
        upstream: &str,
        model: &str,
        tier: Option<&str>,
    ) -> Option<crate::prices::Price> {
        self.config.price(&self.prices, upstream, model, tier, Utc::now())
    }
}
