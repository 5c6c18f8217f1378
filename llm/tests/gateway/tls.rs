//! Providers' own names, over TLS that the attempt's clients trust.

use std::sync::Arc;

use medalist_llm::events::Event;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::*;

async fn connect(
    bench: &Bench,
    name: &str,
    trusted: bool,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<tokio::io::DuplexStream>> {
    let mut roots = RootCertStore::empty();
    if trusted {
        let pem = bench.attempt.tls().expect("there are hosts").ca_pem();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate"))
            .expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    let (client, server) = tokio::io::duplex(1 << 16);
    let (gateway, attempt) = (Arc::clone(&bench.gateway), Arc::clone(&bench.attempt));
    tokio::spawn(async move { gateway.serve_tls(server, attempt).await });
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, client).await
}

async fn ask(mut stream: TlsStream<tokio::io::DuplexStream>, host: &str, path: &str) -> Answer {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{ASK}",
        ASK.len()
    );
    stream.write_all(head.as_bytes()).await.expect("the gateway reads");
    let mut raw = Vec::new();
    let _ = stream.read_to_end(&mut raw).await;
    Answer::parse(&raw).expect("an answer")
}

async fn bench() -> (Provider, Bench) {
    let provider = Provider::start(|_, _| reply(200, "", CHAT)).await;
    let bench = Bench::new(&provider, "");
    (provider, bench)
}

#[tokio::test]
async fn clients_reach_providers_by_their_names() {
    let (provider, bench) = bench().await;
    for (host, path, seen) in [
        ("api.openai.com", "/v1/chat/completions", "POST /v1/chat/completions"),
        ("api.anthropic.com", "/v1/messages", "POST /v1/messages"),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/openai/chat/completions",
            "POST /v1beta/openai/chat/completions",
        ),
    ] {
        let stream = connect(&bench, host, true, &[b"h2", b"http/1.1"]).await.expect("trusted");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(ask(stream, host, path).await.status, 200, "{host}");
        assert!(provider.seen().last().is_some_and(|s| s.head.starts_with(seen)));
    }
}

#[tokio::test]
async fn another_host_on_the_same_connection_is_misdirected() {
    let (provider, bench) = bench().await;
    let stream = connect(&bench, "api.openai.com", true, &[]).await.expect("trusted");
    assert_eq!(ask(stream, "api.anthropic.com", "/v1/messages").await.status, 421);
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn refused_handshakes_are_told_by_name() {
    let (_provider, bench) = bench().await;
    assert!(connect(&bench, "api.openai.com", false, &[]).await.is_err());
    assert!(connect(&bench, "example.org", true, &[]).await.is_err());
    let told = until(|| Some(bench.events()).filter(|events| events.len() == 2)).await;
    assert!(
        matches!(&told[0], Event::HandshakeRefused { host, reason, .. } if host == "api.openai.com" && reason.contains("UnknownCA")),
        "{told:?}"
    );
    assert!(matches!(&told[1], Event::HandshakeRefused { host, .. } if host == "example.org"));
    let lines =
        std::fs::read_to_string(bench.dir.path().join("llm/handshakes.jsonl")).expect("reads");
    assert_eq!(lines.lines().count(), 2);
}

#[tokio::test]
async fn a_client_of_http2_alone_is_told_in_its_own_words() {
    let (_provider, bench) = bench().await;
    let stream = connect(&bench, "generativelanguage.googleapis.com", true, &[b"h2"])
        .await
        .expect("trusted");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post("https://generativelanguage.googleapis.com/x")
        .body(String::new())
        .expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    assert_eq!(answer.headers()["grpc-status"], "12");
}
