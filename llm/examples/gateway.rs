//! Runs a gateway on loopback, to try it by hand.
//!
//! ```text
//! gateway LLM.TOML RECORDS [--port N] [--tls-port N] [--replay RECORDING]
//! ```
//!
//! Prints its ports and where the authority for TLS is; ends with its standard input. Events are
//! printed as they come, the sums of all calls at the end.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use medalist_llm::events::EventSink;
use medalist_llm::record::{Replay, ReplayOptions};
use medalist_llm::{AttemptSpec, Config, Gateway};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Arguments {
    config: PathBuf,
    records: PathBuf,
    port: u16,
    tls_port: u16,
    replay: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, Failure> {
    let mut words = std::env::args().skip(1);
    let mut next =
        |what: &str| words.next().ok_or_else(|| Failure::from(format!("missing: {what}")));
    let mut arguments = Arguments {
        config: next("llm.toml")?.into(),
        records: next("folder for records")?.into(),
        port: 0,
        tls_port: 0,
        replay: None,
    };
    while let Ok(flag) = next("flag") {
        let value = next(&flag)?;
        match flag.as_str() {
            "--port" => arguments.port = value.parse()?,
            "--tls-port" => arguments.tls_port = value.parse()?,
            "--replay" => arguments.replay = Some(value.into()),
            _ => return Err(format!("unknown flag `{flag}`").into()),
        }
    }
    Ok(arguments)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let config = Config::read(&arguments.config)?;
    let config = if arguments.replay.is_some() { config.without_keys() } else { config };
    let gateway = Gateway::new(config, EventSink::new(|event| eprintln!("{event:?}")))?;
    let replay =
        arguments.replay.map(|dir| Replay::open(&dir, ReplayOptions::default())).transpose()?;
    let spec = AttemptSpec {
        id: "by-hand".to_owned(),
        dir: arguments.records.clone(),
        limits: None,
        until: Utc::now() + TimeDelta::days(1),
        replay,
    };
    let attempt = gateway.open(spec)?;
    let plain = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    let tls = TcpListener::bind(("127.0.0.1", arguments.tls_port)).await?;
    if let Some(tls) = attempt.tls() {
        std::fs::write(arguments.records.join("ca.pem"), tls.ca_pem())?;
    }
    println!("port {}", plain.local_addr()?.port());
    println!("tls-port {}", tls.local_addr()?.port());

    let (served, in_attempt) = (Arc::clone(&gateway), Arc::clone(&attempt));
    let accept = tokio::spawn(async move {
        loop {
            let (connection, is_tls) = tokio::select! {
                accepted = plain.accept() => (accepted, false),
                accepted = tls.accept() => (accepted, true),
            };
            let Ok((stream, _)) = connection else { continue };
            // A stream of small events must not wait for more of them.
            let _ = stream.set_nodelay(true);
            let (gateway, attempt) = (Arc::clone(&served), Arc::clone(&in_attempt));
            tokio::spawn(async move {
                if is_tls {
                    gateway.serve_tls(stream, attempt).await
                } else {
                    gateway.serve(stream, attempt).await
                }
            });
        }
    });
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    accept.abort();
    attempt.close()?;
    println!("{}", serde_json::to_string(&attempt.summary()?)?);
    Ok(())
}
