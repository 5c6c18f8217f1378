//! Calls to the engine, in our own types.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ApiError;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum,
    ContainerSummaryStateEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::attempt::launch::{BoxError, ExecutorError};

/// How long a call may take; starting a container on a loaded machine takes long.
const CALL_TIMEOUT_S: u64 = 600;
/// How long the first word of a daemon is waited for.
const FIRST_WORD: Duration = Duration::from_secs(20);
/// The oldest API that has all that is used here.
const OLDEST_API: (usize, usize) = (1, 41);

/// A connection to a container engine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    address: String,
}

/// Why the engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers.
    #[error("no container engine answers at `{address}`")]
    Unavailable {
        /// Socket or URL.
        address: String,
        /// What the client saw.
        #[source]
        source: BoxError,
    },
    /// The engine is older than API 1.41.
    #[error("the container engine at `{address}` speaks API {found}, expected 1.41 or later")]
    TooOld {
        /// Socket or URL.
        address: String,
        /// Its version.
        found: String,
    },
    /// There is no such image or container.
    #[error("{what} is not there")]
    NotFound {
        /// What was named.
        what: String,
    },
    /// The name is taken.
    #[error("{what} exists already")]
    Conflict {
        /// What was named.
        what: String,
    },
    /// The engine's disk is full.
    #[error("no space left on the engine's disk: {message}")]
    HostFull {
        /// What it said.
        message: String,
    },
    /// The connection broke or the answer did not come.
    #[error("lost the container engine while trying to {action}")]
    Lost {
        /// What was asked.
        action: String,
        /// What the client saw.
        #[source]
        source: BoxError,
    },
    /// The engine refused.
    #[error("the container engine could not {action}: {message}")]
    Refused {
        /// What was asked.
        action: String,
        /// What it said.
        message: String,
    },
}

impl From<EngineError> for ExecutorError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable { address, source } => Self::Unavailable { address, source },
            EngineError::HostFull { message } => Self::HostFull { cause: message },
            EngineError::Lost { action, source } => Self::EngineAway { action, source },
            EngineError::TooOld { .. } => Self::Unsupported { what: error.to_string() },
            EngineError::NotFound { .. }
            | EngineError::Conflict { .. }
            | EngineError::Refused { .. } => Self::Engine {
                action: "use the container engine".to_string(),
                source: Box::new(error),
            },
        }
    }
}

/// What an engine is.
#[derive(Debug, Clone, Default)]
pub struct EngineInfo {
    /// Server version.
    pub version: String,
    /// True for Podman, which speaks Docker's API.
    pub podman: bool,
    /// API version in use.
    pub api: String,
    /// `overlay2`, `fuse-overlayfs`, ...
    pub storage_driver: String,
    /// File system below the storage driver.
    pub backing_filesystem: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Kernel of the machine that runs containers.
    pub kernel: String,
    /// Its processors: `x86_64`, `aarch64`, ...
    pub architecture: String,
    /// Where its files are, on its machine.
    pub root_dir: PathBuf,
    /// OCI runtimes by name.
    pub runtimes: Vec<String>,
    /// The one used by default.
    pub default_runtime: String,
    /// `seccomp`, `rootless`, `userns`, ...
    pub security: Vec<String>,
    /// True if the engine is a plain user's.
    pub rootless: bool,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// Limits that the kernel and the engine can hold together.
    pub memory_limit: bool,
    /// Swap can be switched off.
    pub swap_limit: bool,
    /// Processes can be counted.
    pub pids_limit: bool,
    /// CPU time can be limited.
    pub cpu_limit: bool,
    /// CPUs of its machine.
    pub cpus: u64,
    /// Memory of its machine.
    pub memory_bytes: u64,
    /// True if CDI devices can be asked for.
    pub cdi: bool,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Running or paused.
    Running,
    Ended,
}

/// A container as the engine sees it.
#[derive(Debug, Clone)]
pub struct ContainerFacts {
    pub state: ContainerState,
    /// Its exit status, if it ended.
    pub exit: Option<i64>,
    /// True if the kernel ended one of its processes for memory.
    pub out_of_memory: bool,
    /// What the engine has to say about its end.
    pub error: String,
    /// When it started.
    pub started: Option<DateTime<Utc>>,
    /// Bytes in its own layer, if asked for.
    pub layer_bytes: Option<u64>,
}

/// A container in a list.
#[derive(Debug, Clone)]
pub struct ListedContainer {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    pub state: ContainerState,
    /// When it was created.
    pub created: DateTime<Utc>,
}

impl Engine {
    /// Connects to `DOCKER_HOST`, or to the first socket that is there: Docker's, Podman's of this
    /// user, Podman's of the system.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if nobody answers, [`EngineError::TooOld`] below API 1.41.
    pub async fn connect() -> Result<Self, EngineError> {
        match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => Self::connect_to(&host).await,
            _ => Self::connect_to(&default_address()).await,
        }
    }

    /// Connects to `unix://PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`.
    ///
    /// # Errors
    /// As [`Engine::connect`].
    pub async fn connect_to(address: &str) -> Result<Self, EngineError> {
        let unavailable =
            |source: BoxError| EngineError::Unavailable { address: address.to_string(), source };
        let connected = if address.starts_with("unix://") {
            Docker::connect_with_unix(address, CALL_TIMEOUT_S, bollard::API_DEFAULT_VERSION)
        } else if address.starts_with("tcp://") || address.starts_with("http://") {
            Docker::connect_with_http(address, CALL_TIMEOUT_S, bollard::API_DEFAULT_VERSION)
        } else {
            let what =
                format!("`{address}` is no address, expected `unix://`, `tcp://` or `http://`");
            return Err(unavailable(what.into()));
        };
        let docker = connected.map_err(|error| unavailable(error.into()))?;
        let negotiated = tokio::time::timeout(FIRST_WORD, docker.negotiate_version()).await;
        let docker = match negotiated {
            Ok(Ok(docker)) => docker,
            Ok(Err(error)) => return Err(unavailable(error.into())),
            Err(elapsed) => return Err(unavailable(elapsed.into())),
        };
        let api = docker.client_version();
        if (api.major_version, api.minor_version) < OLDEST_API {
            let found = format!("{}.{}", api.major_version, api.minor_version);
            return Err(EngineError::TooOld { address: address.to_string(), found });
        }
        Ok(Self { docker, address: address.to_string() })
    }

    /// Where it was found.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn error(action: &str, error: ApiError) -> EngineError {
        let action = action.to_string();
        match error {
            ApiError::DockerResponseServerError { status_code: 404, .. } => {
                EngineError::NotFound { what: action }
            }
            ApiError::DockerResponseServerError { status_code: 409, .. } => {
                EngineError::Conflict { what: action }
            }
            ApiError::DockerResponseServerError { message, .. }
            | ApiError::DockerStreamError { error: message } => {
                if message.contains("no space left on device") {
                    EngineError::HostFull { message }
                } else {
                    EngineError::Refused { action, message }
                }
            }
            other => EngineError::Lost { action, source: Box::new(other) },
        }
    }

    /// Whether its socket belongs to another user than root: Podman says no more of that in Docker's
    /// words.
    fn is_of_plain_user(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let socket = self.address.strip_prefix("unix://").map(Path::new);
        socket.and_then(|socket| socket.metadata().ok()).is_some_and(|facts| facts.uid() != 0)
    }

    /// What it is.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let info =
            self.docker.info().await.map_err(|error| Self::error("describe itself", error))?;
        let version =
            self.docker.version().await.map_err(|error| Self::error("tell its version", error))?;
        let podman = version
            .components
            .unwrap_or_default()
            .iter()
            .any(|component| component.name.starts_with("Podman"));
        let api = self.docker.client_version();
        let backing =
            info.driver_status.unwrap_or_default().into_iter().find_map(|pair| {
                match pair.as_slice() {
                    [name, value] if name == "Backing Filesystem" => Some(value.clone()),
                    _ => None,
                }
            });
        let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
        runtimes.sort();
        let unsigned =
            |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        Ok(EngineInfo {
            version: info.server_version.unwrap_or_default(),
            podman,
            api: format!("{}.{}", api.major_version, api.minor_version),
            storage_driver: info.driver.unwrap_or_default(),
            backing_filesystem: backing.unwrap_or_default(),
            cgroup_version: info
                .cgroup_version
                .map(|version| version.to_string())
                .unwrap_or_default(),
            kernel: info.kernel_version.unwrap_or_default(),
            architecture: info.architecture.unwrap_or_default(),
            root_dir: PathBuf::from(info.docker_root_dir.unwrap_or_default()),
            runtimes,
            default_runtime: info.default_runtime.unwrap_or_default(),
            rootless: info.security_options.iter().flatten().any(|it| it.contains("rootless"))
                || (podman && self.is_of_plain_user()),
            security: info.security_options.unwrap_or_default(),
            cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
            memory_limit: info.memory_limit.unwrap_or(false),
            swap_limit: info.swap_limit.unwrap_or(false),
            pids_limit: info.pids_limit.unwrap_or(false),
            cpu_limit: info.cpu_cfs_quota.unwrap_or(false),
            cpus: unsigned(info.ncpu),
            memory_bytes: unsigned(info.mem_total),
            cdi: info.cdi_spec_dirs.is_some_and(|dirs| !dirs.is_empty()),
        })
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let options = CreateContainerOptions {
            name: Some(name.to_string()),
            ..CreateContainerOptions::default()
        };
        let created = self.docker.create_container(Some(options), body).await;
        created
            .map(|created| created.id)
            .map_err(|error| Self::error(&format!("create container `{name}`"), error))
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), EngineError> {
        let started = self.docker.start_container(id, None::<StartContainerOptions>).await;
        started.map_err(|error| Self::error("start the container", error))
    }

    /// Sends a signal to the container's first process. One that has ended already is no error.
    pub(crate) async fn kill(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptions { signal: signal.to_string() };
        match self.docker.kill_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) => match Self::error("signal the container", error) {
                EngineError::NotFound { .. } | EngineError::Conflict { .. } => Ok(()),
                // Podman answers 500 for a container that is not running.
                EngineError::Refused { message, .. } if message.contains("not running") => Ok(()),
                other => Err(other),
            },
        }
    }

    /// Waits until the container is not running.
    pub(crate) async fn wait(&self, id: &str) -> Result<(), EngineError> {
        loop {
            let options = WaitContainerOptions { condition: "not-running".to_string() };
            let answer = self.docker.wait_container(id, Some(options)).next().await;
            return match answer {
                Some(Ok(_) | Err(ApiError::DockerContainerWaitError { .. })) => Ok(()),
                // Some engines answer only at the end, which may be days away.
                Some(Err(ApiError::RequestTimeoutError)) => continue,
                Some(Err(error)) => Err(Self::error("wait for the container", error)),
                None => Err(EngineError::Lost {
                    action: "wait for the container".to_string(),
                    source: "the connection was closed".into(),
                }),
            };
        }
    }

    pub(crate) async fn inspect(
        &self,
        id: &str,
        with_size: bool,
    ) -> Result<ContainerFacts, EngineError> {
        let facts = self.inspected(id, with_size).await?;
        let state = facts.state.unwrap_or_default();
        let started = state.started_at.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
        Ok(ContainerFacts {
            state: match state.status {
                Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
                Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => {
                    ContainerState::Ended
                }
                _ if state.running == Some(false) => ContainerState::Ended,
                _ => ContainerState::Running,
            },
            exit: state.exit_code,
            out_of_memory: state.oom_killed.unwrap_or(false),
            error: state.error.unwrap_or_default(),
            started: started.map(|at| at.with_timezone(&Utc)),
            layer_bytes: facts.size_rw.and_then(|bytes| u64::try_from(bytes).ok()),
        })
    }

    /// The id of the image that a container was made of.
    pub(crate) async fn container_image(&self, id: &str) -> Result<String, EngineError> {
        Ok(self.inspected(id, false).await?.image.unwrap_or_default())
    }

    async fn inspected(
        &self,
        id: &str,
        with_size: bool,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let options = InspectContainerOptions { size: with_size };
        let answer = self.docker.inspect_container(id, Some(options)).await;
        in_dockers_words(answer).map_err(|error| Self::error("inspect the container", error))
    }

    /// Removes a container, running or not, with its anonymous volumes. One that is gone is no
    /// error.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        for _ in 0..100 {
            match self.docker.remove_container(id, Some(options.clone())).await {
                Ok(()) => return Ok(()),
                Err(error) => match Self::error("remove the container", error) {
                    EngineError::NotFound { .. } => return Ok(()),
                    // Another removal is on its way: ours is done when that one is.
                    EngineError::Conflict { .. } => {
                        tokio::time::sleep(Duration::from_millis(100)).await
                    }
                    other => return Err(other),
                },
            }
        }
        Err(EngineError::Conflict { what: "another removal of the container".to_string() })
    }

    /// All containers, running or not, that have all these labels; an empty value stands for any.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn list(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ListedContainer>, EngineError> {
        let wanted = labels
            .iter()
            .map(
                |(name, value)| {
                    if value.is_empty() { name.clone() } else { format!("{name}={value}") }
                },
            )
            .collect();
        let filters = HashMap::from([("label".to_string(), wanted)]);
        let options = ListContainersOptions {
            all: true,
            filters: Some(filters),
            ..ListContainersOptions::default()
        };
        let answer = self.docker.list_containers(Some(options)).await;
        let listed = in_dockers_words(answer);
        let listed = listed.map_err(|error| Self::error("list containers", error))?;
        let container = |entry: bollard::models::ContainerSummary| {
            Some(ListedContainer {
                id: entry.id?,
                labels: entry.labels.unwrap_or_default().into_iter().collect(),
                state: match entry.state {
                    Some(ContainerSummaryStateEnum::CREATED) => ContainerState::Created,
                    Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD) => {
                        ContainerState::Ended
                    }
                    _ => ContainerState::Running,
                },
                created: entry
                    .created
                    .and_then(|at| DateTime::from_timestamp(at, 0))
                    .unwrap_or_default(),
            })
        };
        Ok(listed.into_iter().filter_map(container).collect())
    }
}

/// An answer that the client could not read because of words for a container's state that Docker does not
/// have: Podman has some. A container in such a state has not begun, is being ended, or does not run any more.
fn in_dockers_words<T: DeserializeOwned>(answer: Result<T, ApiError>) -> Result<T, ApiError> {
    let Err(ApiError::JsonDataError { contents, .. }) = &answer else { return answer };
    let Ok(mut value) = serde_json::from_str::<Value>(contents) else { return answer };
    let entries = match &mut value {
        Value::Array(entries) => entries.as_mut_slice(),
        one => std::slice::from_mut(one),
    };
    for state in entries.iter_mut().filter_map(|entry| entry.get_mut("State")) {
        // A list has the word itself.
        let word = match state {
            Value::Object(facts) => facts.get_mut("Status"),
            word => Some(word),
        };
        if let Some(Value::String(word)) = word
            && word.parse::<ContainerStateStatusEnum>().is_err()
        {
            *word = match word.as_str() {
                "configured" | "initialized" => ContainerStateStatusEnum::CREATED,
                "stopping" => ContainerStateStatusEnum::RUNNING,
                _ => ContainerStateStatusEnum::EXITED,
            }
            .to_string();
        }
    }
    serde_json::from_value(value).or(answer)
}

fn default_address() -> String {
    let user = nix::unistd::getuid();
    let runtime = std::env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| format!("/run/user/{user}"));
    let podman = format!("{runtime}/podman/podman.sock");
    let places = ["/var/run/docker.sock", podman.as_str(), "/run/podman/podman.sock"];
    let found = places.iter().find(|place| Path::new(place).exists());
    format!("unix://{}", found.unwrap_or(&places[0]))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    /// An engine with one container, in the state that `word` names; of its API, what is needed here.
    async fn engine_with(word: &str, dir: &Path) -> Engine {
        let path = dir.join(word);
        let listener = UnixListener::bind(&path).unwrap();
        let listed = format!(r#"[{{"Id": "c", "State": "{word}", "Labels": {{"a": "b"}}}}]"#);
        let running = matches!(word, "running" | "stopping");
        let inspected = format!(
            r#"{{"Id": "c", "Image": "i", "State": {{"Status": "{word}", "Running": {running}, "ExitCode": 7}}}}"#
        );
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(stream.read_u8().await.unwrap());
                }
                let asked = String::from_utf8(asked).unwrap();
                let answer = match asked.split([' ', '?']).nth(1).unwrap() {
                    path if path.ends_with("/containers/json") => &listed,
                    path if path.ends_with("/containers/c/json") => &inspected,
                    _ => r#"{"ApiVersion": "1.41"}"#,
                };
                let length = answer.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all((head + answer).as_bytes()).await.unwrap();
            }
        });
        Engine::connect_to(&format!("unix://{}", path.display())).await.unwrap()
    }

    #[tokio::test]
    async fn states_that_docker_does_not_have_are_read() {
        let temp = tempfile::tempdir().unwrap();
        for (word, expected) in [
            ("running", ContainerState::Running),
            ("exited", ContainerState::Ended),
            ("stopped", ContainerState::Ended),
            ("stopping", ContainerState::Running),
            ("unknown", ContainerState::Ended),
            ("configured", ContainerState::Created),
            ("initialized", ContainerState::Created),
        ] {
            let engine = engine_with(word, temp.path()).await;
            let facts = engine.inspect("c", false).await.unwrap();
            assert_eq!((facts.state, facts.exit), (expected, Some(7)), "{word}");
            assert_eq!(engine.container_image("c").await.unwrap(), "i", "{word}");
            let listed = engine.list(&BTreeMap::new()).await.unwrap();
            assert_eq!((listed.len(), listed[0].state), (1, expected), "{word}");
            assert_eq!(listed[0].labels["a"], "b");
        }
    }
}
