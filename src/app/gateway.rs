//! A gateway service for harnesses on machines without internet.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use medalist_llm::Config;
use medalist_llm::events::EventSink;
use medalist_llm::service::{Server, ServiceError, ServiceFile};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::context::{Context, tell};
use super::error::{CliError, Exit};
use super::groups::{find_error, read_plan};
use super::llm::{config_error, llm_error, reach};
use crate::host::machine;
use crate::host::store::{GroupDir, find};
use crate::run::describe_llm;

/// How long a service that is asked to end waits for the calls that are under way.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct GatewayRequest<'a> {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The name by which harnesses reach this machine.
    pub name: Option<&'a str>,
    /// The settings; those of the group if none.
    pub llm: Option<&'a Path>,
    /// The group that is served; all below the runs folder if none.
    pub group: Option<&'a Path>,
}

/// Serves until it is told to end.
///
/// # Errors
/// The settings cannot be used, a key is missing or refused, a provider cannot be reached, the address
/// is taken, or the folder that harnesses share cannot be written.
pub async fn serve(request: &GatewayRequest<'_>, context: &Context) -> Result<(), CliError> {
    let group = request.group.map(|group| find::group(&context.runs_dir, group));
    let group = group.transpose().map_err(find_error)?;
    let events = EventSink::new(|event| tell(describe_llm(&event).1));
    let server = Server::new(config(request, group.as_ref())?, events).map_err(service_error)?;
    reach(server.gateway()).await?;
    // Before the file is there, so that no signal leaves it behind.
    let mut ends = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let listener = TcpListener::bind(request.listen).await.map_err(|error| {
        let what = format!("cannot listen on {}", request.listen);
        CliError::new(Exit::Environment, anyhow::Error::new(error).context(what))
            .hint("`--listen` says where; port 0 picks a free one")
    })?;
    let address = address(listener.local_addr()?, request.name);
    let folder =
        ServiceFile::folder(group.as_ref().map_or(context.runs_dir.as_path(), GroupDir::root));
    let file = server.file(address.clone()).publish(&folder).map_err(|error| {
        let what = format!("cannot write into `{}`", folder.display());
        CliError::new(Exit::Environment, anyhow::Error::new(error).context(what))
    })?;
    context.say(format_args!(
        "gateway service at {address}; harnesses find it by `{}`",
        file.display()
    ));
    accept(&server, &listener, &mut ends).await;
    ServiceFile::withdraw(&file)?;
    drop(listener);
    let give_up = Instant::now() + ENDS_WITHIN;
    while server.under_way() > 0 && Instant::now() < give_up {
        tokio::select! {
            () = next(&mut ends) => break,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    Ok(())
}

/// The settings with the places of keys.
fn config(request: &GatewayRequest<'_>, group: Option<&GroupDir>) -> Result<Config, CliError> {
    if let Some(file) = request.llm {
        return Config::read(file).map_err(config_error);
    }
    let plan = group.map(read_plan).transpose()?;
    match plan.and_then(|plan| plan.llm) {
        Some(llm) => llm.service_config().map_err(config_error),
        None => Err(CliError::message(Exit::Usage, "no settings of language models are named")
            .hint("`--llm FILE` names them; `--group` takes those of a group that was made with `--llm`")),
    }
}

fn service_error(error: ServiceError) -> CliError {
    match error {
        ServiceError::Gateway(error) => llm_error(error.into()),
        other => CliError::new(Exit::Environment, other),
    }
}

/// How others reach what listens at `local`.
fn address(local: SocketAddr, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{name}:{}", local.port()),
        None if local.ip().is_unspecified() => format!("{}:{}", machine::host_name(), local.port()),
        None => local.to_string(),
    }
}

async fn next([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn accept(server: &Arc<Server>, listener: &TcpListener, ends: &mut [Signal; 2]) {
    loop {
        tokio::select! {
            () = next(ends) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Answers come in small pieces, each of which somebody waits for.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(Arc::clone(server).serve(stream));
                }
                Err(error) => {
                    // No file descriptor is left; some come back.
                    tracing::warn!(%error, "a connection was not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harnesses_are_told_an_address_that_they_can_reach() {
        let local = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(address(local("10.1.2.3:4443"), None), "10.1.2.3:4443");
        assert_eq!(address(local("[fd00::1]:4443"), None), "[fd00::1]:4443");
        assert_eq!(address(local("0.0.0.0:4443"), Some("login1")), "login1:4443");
        let own = address(local("0.0.0.0:4443"), None);
        assert_eq!(own, format!("{}:4443", machine::host_name()));
    }
}
