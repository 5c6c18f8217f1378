//! Attempts in sealed containers, through Docker or Podman.

mod held;
mod images;
mod job;
pub(crate) mod launch;
pub(crate) use images::check_platform;
pub use job::is_of_dead_job;
mod running;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_init::protocol::{self, Record};
use tokio::sync::OnceCell;

use super::cache;
use super::control::{self, Control, End};
use super::{Enforcement, Executor, ExecutorInfo, Orphan, RunToken, Running};
use crate::attempt::launch::{
    BoxFuture, ExecutorError, LABEL, LABEL_NAME, LaunchSpec, PreparedImage, Program,
};
use crate::sandbox::engine::{
    Capabilities, ContainerState, Engine, EngineError, EngineInfo, Inner, Mounts, container_body,
};
use crate::sandbox::services::Services;
use crate::sandbox::setup::{SETUP_PATIENCE, not_begun, too_slow};
use held::Held;
use images::{check_image, image_missing, why_not_started};
use launch::{
    container_env, container_launch, container_name, data_mounts, podman_limits, remaps_users,
};

/// Between two looks at whether a container that prepares itself has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs attempts in containers.
pub struct DockerExecutor {
    engine: Engine,
    info: OnceCell<EngineInfo>,
    /// Cleared when the engine refuses to limit a layer's size.
    layer_size: AtomicBool,
    /// Images that [`DockerExecutor::vet`] has found sound, by id.
    vetted: Mutex<HashSet<String>>,
}

impl DockerExecutor {
    /// Connects to the engine of this machine ([`Engine::connect`]).
    ///
    /// # Errors
    /// If none answers, with a hint.
    pub async fn connect() -> Result<Self, ExecutorError> {
        Ok(Self::new(Engine::connect().await?))
    }

    /// Uses an engine that is connected already.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let layer_size = AtomicBool::new(true);
        Self { engine, info: OnceCell::new(), layer_size, vetted: Mutex::default() }
    }

    /// The engine, to build and look up images with.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    async fn info(&self) -> Result<&EngineInfo, ExecutorError> {
        Ok(self.info.get_or_try_init(|| self.engine.info()).await?)
    }

    /// True if a limit on a container's layer is worth asking for.
    fn may_limit_layers(&self, info: &EngineInfo) -> bool {
        let supported = match info.storage_driver.as_str() {
            "overlay2" | "overlay" => info.backing_filesystem == "xfs",
            "btrfs" | "zfs" | "windowsfilter" => true,
            _ => false,
        };
        supported && self.layer_size.load(Ordering::Relaxed)
    }

    /// Creates the container; gives its id.
    async fn create(&self, spec: &LaunchSpec, control: &Control) -> Result<String, ExecutorError> {
        let Program::Image { reference, argv } = &spec.program else {
            return Err(ExecutorError::Unsupported {
                what: "a container needs an image to start from".to_string(),
            });
        };
        let mut labelled = spec.clone();
        labelled.labels.extend(job::labels());
        let spec = &labelled;
        let info = self.info().await?;
        if let Some(runtime) = &spec.runtime
            && !info.runtimes.contains(runtime)
        {
            let known = info.runtimes.join("`, `");
            let what = format!(
                "runtime `{runtime}` is not installed in the container engine, which has `{known}`"
            );
            return Err(ExecutorError::Unsupported { what });
        }
        let image = self.engine.image_facts(reference).await?;
        let image = image.ok_or_else(|| image_missing(reference, ""))?;
        check_image(&image, spec.limits.disk_bytes, &info.architecture)?;
        // Only now: the image has been looked at and cannot know the name.
        let inner = Inner::draw();
        let launch = protocol::Launch {
            shared_group: !Held::by(info).own_group(),
            ..container_launch(spec, argv, &image.workdir, &inner)
        };
        control.create(spec, &spec.instructions, remaps_users(info))?;
        control.order(&launch, remaps_users(info))?;
        let data = data_mounts(spec, control)?;
        let init = cache::init_program()?;
        let log = spec.attempt_dir.log();
        let mounts =
            Mounts { inner: &inner, init: &init, control: control.dir(), log: &log, data: &data };
        let env = container_env(spec);
        let mut can =
            Capabilities { layer_size: self.may_limit_layers(info), told: podman_limits(info) };
        let name = container_name(spec);
        let mut replaced = false;
        loop {
            let body = container_body(spec, &image, &env, &mounts, can);
            match self.engine.create(&name, body).await {
                Ok(id) => return Ok(id),
                Err(EngineError::NotFound { .. }) => return Err(image_missing(reference, "")),
                Err(EngineError::Refused { message, .. })
                    if can.layer_size && message.contains("storage-opt") =>
                {
                    self.layer_size.store(false, Ordering::Relaxed);
                    can.layer_size = false;
                }
                // An earlier try of the same attempt that nobody removed.
                Err(EngineError::Conflict { .. }) if !replaced && self.is_ours(spec).await? => {
                    self.engine.remove(&name).await?;
                    replaced = true;
                }
                Err(error) => return Err(engine_error("create the container", error)),
            }
        }
    }

    /// Starts a created container and waits until its agent runs: the clock begins there, whatever
    /// the engine and the init did before.
    async fn begin(
        &self,
        id: &str,
        spec: &LaunchSpec,
        control: &Control,
    ) -> Result<Began, ExecutorError> {
        self.vet(id, spec).await?;
        self.engine.start(id).await.map_err(|error| why_not_started(spec, error))?;
        let patience = tokio::time::Instant::now() + SETUP_PATIENCE;
        let mut pause = Duration::from_millis(2);
        let mut next_look = tokio::time::Instant::now() + LOOK_EVERY;
        loop {
            if let Some(record) = control.usage().await {
                return Ok(Began::of(&record));
            }
            match control.end().await {
                Some(End::Account(record)) => return Ok(Began::of(&record)),
                Some(end) => return Err(not_begun(end, spec)),
                None => {}
            }
            let now = tokio::time::Instant::now();
            if now >= next_look {
                next_look = now + LOOK_EVERY;
                // One that ended without a word is left to whoever waits for its end.
                if self.engine.inspect(id, false).await?.state == ContainerState::Ended {
                    return Ok(Began::now());
                }
            }
            if now >= patience {
                return Err(too_slow(spec));
            }
            tokio::time::sleep(pause).await;
            // Short at first: the harness's clock of the agent starts when this returns.
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    async fn is_ours(&self, spec: &LaunchSpec) -> Result<bool, ExecutorError> {
        let labels = BTreeMap::from([(LABEL_NAME.to_string(), spec.name.clone())]);
        Ok(!self.engine.list(&labels).await?.is_empty())
    }
}

/// When an agent began, and what was in its container's layer by then.
struct Began {
    at: DateTime<Utc>,
    baseline: u64,
}

impl Began {
    fn of(record: &Record) -> Self {
        let at = control::began(record).unwrap_or_else(Utc::now);
        Self { at, baseline: record.baseline_bytes.unwrap_or(0) }
    }

    fn now() -> Self {
        Self { at: Utc::now(), baseline: 0 }
    }
}

fn engine_error(action: &str, error: EngineError) -> ExecutorError {
    match error {
        refused @ EngineError::Refused { .. } => {
            ExecutorError::Engine { action: action.to_string(), source: Box::new(refused) }
        }
        other => other.into(),
    }
}

impl Executor for DockerExecutor {
    fn check(&self) -> BoxFuture<'_, Result<ExecutorInfo, ExecutorError>> {
        Box::pin(async move {
            let info = self.info().await?;
            let held = Held::by(info);
            let [cpus, memory, swap, pids] = held.limits();
            let layers = if self.may_limit_layers(info) {
                Enforcement::Kernel
            } else {
                Enforcement::Watched
            };
            let limits = [
                ("timeout", Enforcement::Watched),
                cpus,
                memory,
                swap,
                ("shm", Enforcement::Kernel),
                pids,
                ("disk", layers),
                ("log", Enforcement::Kernel),
                ("nofile", Enforcement::Kernel),
            ];
            let missing = limits.iter().filter(|(_, by)| *by == Enforcement::None);
            let mut warnings: Vec<String> = missing
                .map(|(name, _)| format!("this container engine cannot hold the limit `{name}`"))
                .collect();
            warnings.extend(held.warning(info));
            if layers == Enforcement::Watched {
                let driver = &info.storage_driver;
                warnings.push(format!(
                    "storage driver `{driver}` cannot limit a container's disk: it is measured every few seconds"
                ));
            }
            if info.security.iter().any(|option| option.contains("userns")) {
                warnings.push(
                    "the engine remaps users: the attempts' directory must be writable for them"
                        .to_string(),
                );
            }
            if info.podman {
                warnings.push(
                    "Podman's seccomp filter lets agents make user namespaces, which Docker's does not: a larger part of \
                     the kernel is in their reach"
                        .to_string(),
                );
            }
            let seccomp = info.security.iter().any(|option| option.contains("seccomp"));
            if !seccomp {
                warnings.push("the engine has no seccomp filter".to_string());
            }
            let details = [
                ("address", self.engine.address().to_string()),
                ("version", info.version.clone()),
                ("api", info.api.clone()),
                ("storage_driver", info.storage_driver.clone()),
                ("backing_filesystem", info.backing_filesystem.clone()),
                ("cgroup_version", info.cgroup_version.clone()),
                ("cgroup_driver", info.cgroup_driver.clone()),
                ("rootless", info.rootless.to_string()),
                ("kernel", info.kernel.clone()),
                ("root_dir", info.root_dir.display().to_string()),
                ("runtimes", info.runtimes.join(" ")),
                ("default_runtime", info.default_runtime.clone()),
                ("security", info.security.join(" ")),
                ("cpus", info.cpus.to_string()),
                ("memory_bytes", info.memory_bytes.to_string()),
                ("cdi", info.cdi.to_string()),
            ];
            Ok(ExecutorInfo {
                name: "docker".to_string(),
                sealed: true,
                details: details
                    .map(|(name, value)| (name.to_string(), value))
                    .into_iter()
                    .collect(),
                limits: limits.map(|(name, by)| (name.to_string(), by)).into_iter().collect(),
                warnings,
            })
        })
    }

    fn prepare_image<'a>(
        &'a self,
        program: &'a Program,
    ) -> BoxFuture<'a, Result<Option<PreparedImage>, ExecutorError>> {
        Box::pin(async move {
            let Program::Image { reference, .. } = program else { return Ok(None) };
            if let Some(image) = self.engine.image(reference).await? {
                return Ok(Some(image));
            }
            match self.engine.pull(reference).await {
                Ok(()) => {}
                Err(error @ (EngineError::HostFull { .. } | EngineError::Lost { .. })) => {
                    return Err(error.into());
                }
                Err(error) => return Err(image_missing(reference, &error.to_string())),
            }
            let found = self.engine.image(reference).await?;
            found.map(Some).ok_or_else(|| image_missing(reference, ""))
        })
    }

    fn start(
        &self,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'_, Result<Box<dyn Running>, ExecutorError>> {
        Box::pin(async move {
            let control = Control::of(&spec.attempt_dir);
            let created = self.create(&spec, &control).await;
            // An engine that went away may have done what was asked all the same: then its
            // container needs its files.
            let id = created.inspect_err(|error| {
                if !error.is_engine_away() {
                    drop(control.remove());
                }
            })?;
            let begin = async {
                let services = Services::open(&spec, control.dir())?;
                Ok::<_, ExecutorError>((services, self.begin(&id, &spec, &control).await?))
            };
            match begin.await {
                Ok((services, began)) => {
                    Ok(self.running(id, spec, control, services, began, Duration::ZERO))
                }
                Err(error) if error.is_engine_away() => Err(error),
                Err(error) => {
                    // What is left of it has our label; the reason for the failure is what counts
                    // now.
                    let _ = self.engine.remove(&id).await;
                    let _ = control.remove();
                    Err(error)
                }
            }
        })
    }

    fn attach<'a>(
        &'a self,
        token: &'a RunToken,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'a, Result<Box<dyn Running>, ExecutorError>> {
        Box::pin(async move {
            self.info().await?;
            let facts = match self.engine.inspect(&token.id, false).await {
                Ok(facts) => facts,
                Err(EngineError::NotFound { .. }) => {
                    return Err(ExecutorError::Gone { name: token.name.clone() });
                }
                Err(error) => return Err(error.into()),
            };
            let control = Control::of(&spec.attempt_dir);
            let services = Services::open(&spec, control.dir())?;
            if facts.state == ContainerState::Created {
                // The harness died between creation and start: nothing of the attempt's time is
                // used up.
                let id = token.id.clone();
                let began = match self.begin(&id, &spec, &control).await {
                    Ok(began) => began,
                    Err(error) if error.is_engine_away() => return Err(error),
                    Err(error) => {
                        let _ = self.engine.remove(&id).await;
                        let _ = control.remove();
                        return Err(error);
                    }
                };
                return Ok(self.running(id, spec, control, services, began, Duration::ZERO));
            }
            let mut began = Began { at: facts.started.unwrap_or(token.started), baseline: 0 };
            if let Some(record) = control.usage().await {
                began.baseline = record.baseline_bytes.unwrap_or(0);
                began.at = control::began(&record).unwrap_or(began.at);
            }
            let elapsed = (Utc::now() - began.at).to_std().unwrap_or(Duration::ZERO);
            Ok(self.running(token.id.clone(), spec, control, services, began, elapsed))
        })
    }

    fn list_orphans<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, ExecutorError>> {
        Box::pin(async move {
            let mut wanted = labels.clone();
            wanted.entry(LABEL.to_string()).or_default();
            let listed = self.engine.list(&wanted).await?;
            let orphan = |container: crate::sandbox::engine::ListedContainer| {
                let name = container.labels.get(LABEL_NAME)?.clone();
                let token = RunToken {
                    executor: "docker".to_string(),
                    name,
                    id: container.id,
                    started: container.created,
                };
                Some(Orphan {
                    token,
                    labels: container.labels,
                    running: container.state == ContainerState::Running,
                })
            };
            Ok(listed.into_iter().filter_map(orphan).collect())
        })
    }

    fn remove_orphan<'a>(
        &'a self,
        token: &'a RunToken,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move { Ok(self.engine.remove(&token.id).await?) })
    }
}
