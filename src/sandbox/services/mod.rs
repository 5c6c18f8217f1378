//! The harness's side of an attempt's sockets: what agents reach as services on `localhost`.
//!
//! An init passes connections on byte for byte, so everything that arrives here is hostile input.

pub mod allowlist;
pub(crate) mod http;
mod llm;
mod log;
pub mod validate;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use self::allowlist::Allowlist;
use self::validate::ValidationService;
use crate::attempt::launch::LaunchSpec;
use crate::attempt::limits::Network;
use crate::host::files::if_there;

/// Socket of the validation service.
pub(crate) const VALIDATE_SOCKET: &str = "validate.sock";
/// Socket of the allowlist's proxy.
pub(crate) const PROXY_SOCKET: &str = "proxy.sock";
/// Socket of the gateway to language models.
pub(crate) const LLM_SOCKET: &str = "llm.sock";
/// Socket of the same by the providers' own names.
pub(crate) const LLM_TLS_SOCKET: &str = "llm-tls.sock";

/// Listens on a socket in `dir`, in place of an earlier one; the path of `dir` may be longer than
/// sockets allow.
pub(crate) fn listen(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let handle = File::open(dir)?;
    let path = Path::new("/proc/self/fd").join(handle.as_raw_fd().to_string()).join(name);
    if_there(std::fs::remove_file(&path))?;
    UnixListener::bind(path)
}

/// Serves each connection in a task of its own until dropped, at most `most` at a time; further ones
/// wait in the kernel's queue. Connections end with it.
async fn serve_each<F>(listener: UnixListener, most: usize, serve: impl Fn(UnixStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < most => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream));
                }
                // Out of descriptors, most likely: others will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A service that ends when this is dropped.
#[derive(Debug)]
struct Service(JoinHandle<()>);

impl Service {
    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The services of one attempt; they end with this value.
pub(crate) struct Services {
    validation: Arc<ValidationService>,
    _tasks: Vec<Service>,
}

impl Services {
    /// Listens on the sockets in `dir` that the attempt's init connects to.
    pub(crate) fn open(spec: &LaunchSpec, dir: &Path) -> io::Result<Self> {
        let validation = Arc::new(ValidationService::new(
            &spec.competition,
            Arc::clone(&spec.validator),
            spec.limits.submission_bytes,
            &spec.attempt_dir,
        ));
        let listener = listen(dir, VALIDATE_SOCKET)?;
        let mut tasks = vec![Service::spawn(Arc::clone(&validation).serve(listener))];
        if let Network::Allowlist(hosts) = &spec.network {
            let listener = listen(dir, PROXY_SOCKET)?;
            let proxy = Arc::new(Allowlist::new(hosts, spec.attempt_dir.network_log()));
            tasks.push(Service::spawn(proxy.serve(listener)));
        }
        if let Some(access) = &spec.llm {
            let plain = listen(dir, LLM_SOCKET)?;
            tasks.push(Service::spawn(llm::serve(access.clone(), plain, llm::Door::Plain)));
            if access.attempt.tls().is_some() {
                let tls = listen(dir, LLM_TLS_SOCKET)?;
                tasks.push(Service::spawn(llm::serve(access.clone(), tls, llm::Door::Tls)));
            }
        }
        Ok(Self { validation, _tasks: tasks })
    }

    /// Requests the validation service has answered.
    pub(crate) fn validations(&self) -> u64 {
        self.validation.answered()
    }
}
