//! Attempts in sealed containers, through Docker or Podman.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_init::protocol::{self, Record};
use tokio::sync::OnceCell;

use super::control::{self, Control, End};
use super::salvage::{self, LABELS, Rules, SUBMISSION};
use super::{
    Enforcement, Executor, ExecutorInfo, ExitCause, ExitReport, Orphan, Postponed, RunToken,
    Running, Salvage, Stop, StopReason,
};
use crate::attempt::launch::{
    BoxFuture, DataMode, ExecutorError, LABEL, LABEL_NAME, LaunchSpec, PreparedImage, Program,
    agent_env,
};
use crate::attempt::limits::Network;
use crate::attempt::outcome::Usage;
use crate::attempt::text::chain;
use crate::sandbox::engine::{
    Capabilities, ContainerFacts, ContainerState, Engine, EngineError, EngineInfo, Entry,
    INIT_ITSELF, ImageFacts, Inner, Mounts, container_body,
};
use crate::sandbox::services::{self, Services};

/// How long a killed agent's init may take for its last words, before the container is killed under
/// it.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long an init may take to prepare a container: an image may hold a great many files in /home.
const SETUP_PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at whether a container that prepares itself has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Entries of the public data that are mounted one by one when `description.md` is not among them.
const SINGLE_MOUNTS: usize = 200;

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
        check_image(&image, spec.limits.disk_bytes, info)?;
        let inner = Inner::draw();
        let launch = container_launch(spec, argv, &image, &inner);
        control.create(spec, &spec.instructions, &launch, remaps_users(info))?;
        let data = data_mounts(spec, control)?;
        let init = control::init_program()?;
        let log = spec.attempt_dir.join("run.log");
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
                let seconds = SETUP_PATIENCE.as_secs();
                let why = format!("its /home could not be opened for the agent within {seconds} s");
                return Err(refused(spec, why));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Looks at what the engine itself touches in an image when it starts a container, before it
    /// does: it mounts on directories, and reads the tables of users, where a pipe would keep it
    /// waiting for ever. Once for each image.
    async fn vet(&self, id: &str, spec: &LaunchSpec) -> Result<(), ExecutorError> {
        let image = self.engine.container_image(id).await?;
        if self.lock_vetted().contains(&image) {
            return Ok(());
        }
        let odd = |path: &str, error: EngineError| match error {
            // The engine prepares its mounts before it looks, so the path need not be the culprit;
            // and it may say nothing more.
            EngineError::Refused { message, .. } => {
                let why = "a link leads in a circle, to `/`, or through what is no directory";
                let said = if message.is_empty() { String::new() } else { format!(" ({message})") };
                refused(spec, format!("the engine cannot look into it at `{path}`: {why}{said}"))
            }
            other => other.into(),
        };
        let is_not = |path: &str, entry: Entry, expected: &str| {
            refused(spec, format!("`{path}` in it is {}, expected {expected}", entry.name()))
        };
        for path in MOUNTED_ON {
            match self.engine.entry(id, path).await.map_err(|error| odd(path, error))? {
                Some(Entry::Directory) | None => {}
                Some(other) => return Err(is_not(path, other, "a directory")),
            }
        }
        for path in ["/etc/passwd", "/etc/group"] {
            match self.engine.followed(id, path).await.map_err(|error| odd(path, error))? {
                Some(Entry::File) | None => {}
                Some(other) => return Err(is_not(path, other, "a plain file")),
            }
        }
        self.lock_vetted().insert(image);
        Ok(())
    }

    fn lock_vetted(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.vetted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn is_ours(&self, spec: &LaunchSpec) -> Result<bool, ExecutorError> {
        let labels = BTreeMap::from([(LABEL_NAME.to_string(), spec.name.clone())]);
        Ok(!self.engine.list(&labels).await?.is_empty())
    }
}

/// Where the engine mounts in every container, parents first.
const MOUNTED_ON: [&str; 9] = [
    "/proc",
    "/sys",
    "/sys/fs/cgroup",
    "/dev",
    "/dev/shm",
    "/etc",
    "/private",
    "/home",
    "/home/data",
];

/// Tells an image that cannot be started from an engine that cannot start one, as far as the
/// engine's words go.
fn why_not_started(spec: &LaunchSpec, error: EngineError) -> ExecutorError {
    let EngineError::Refused { message, .. } = &error else {
        return engine_error("start the container", error);
    };
    if message.contains("argument list too long") {
        return refused(spec, "its environment is too large for any program".to_string());
    }
    if message.contains("unable to find user") || message.contains("unable to find group") {
        let why = format!("the engine cannot read its `/etc/passwd` or `/etc/group`: {message}");
        return refused(spec, why);
    }
    engine_error("start the container", error)
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

fn refused(spec: &LaunchSpec, why: String) -> ExecutorError {
    let image = match &spec.program {
        Program::Image { reference, .. } => reference.clone(),
        Program::Local { .. } => String::new(),
    };
    // An engine's words may hold the image's.
    let why = protocol::Failure::image(why).message;
    ExecutorError::ImageRefused { image, why }
}

/// Why the init did not start the agent.
fn not_begun(end: End, spec: &LaunchSpec) -> ExecutorError {
    match end.report(Usage::default()).cause {
        ExitCause::ImageRefused(why) => refused(spec, why),
        ExitCause::SetupFailed(message) => {
            let action = "prepare the container".to_string();
            ExecutorError::Engine { action, source: message.into() }
        }
        other => ExecutorError::Engine {
            action: "start the agent".to_string(),
            source: format!("{other:?}").into(),
        },
    }
}

/// Refuses an image that could not be held to the limits, or cannot run here.
fn check_image(
    image: &ImageFacts,
    disk_bytes: u64,
    info: &EngineInfo,
) -> Result<(), ExecutorError> {
    let refuse = |why: String| {
        Err(ExecutorError::ImageRefused { image: image.prepared.reference.clone(), why })
    };
    let (image_is, machine_is) = (processor(&image.architecture), processor(&info.architecture));
    let foreign = !image_is.is_empty() && !machine_is.is_empty() && image_is != machine_is;
    if foreign || (!image.os.is_empty() && image.os != "linux") {
        return refuse(format!(
            "it is made for {}/{}, this machine is linux/{machine_is}; build it here, or with `--platform linux/{machine_is}`",
            image.os, image.architecture
        ));
    }
    if !image.volumes.is_empty() && disk_bytes > 0 {
        let mut volumes = image.volumes.clone();
        volumes.sort();
        volumes.truncate(5);
        return refuse(format!(
            "it declares VOLUME `{}`, and what is written there is outside the disk limit; build it without that line, or run it with `--disk 0`, without the limit",
            volumes.join("`, `")
        ));
    }
    Ok(())
}

/// One name for each kind of processor: images have Go's, engines the kernel's.
fn processor(name: &str) -> &str {
    match name {
        "x86_64" | "amd64" => "amd64",
        "aarch64" | "arm64" => "arm64",
        other => other,
    }
}

fn remaps_users(info: &EngineInfo) -> bool {
    info.security.iter().any(|option| option.contains("userns"))
}

fn container_launch(
    spec: &LaunchSpec,
    argv: &[String],
    image: &ImageFacts,
    inner: &Inner,
) -> protocol::Launch {
    let default_argv = ["bash".to_string(), "/home/agent/start.sh".to_string()];
    let mut argv = if argv.is_empty() { default_argv.to_vec() } else { argv.to_vec() };
    if argv[0] == INIT_ITSELF {
        argv[0] = inner.init();
    }
    let mut forwards = vec![(control::VALIDATE_PORT, services::VALIDATE_SOCKET)];
    if let Network::Allowlist(_) = spec.network {
        forwards.push((control::PROXY_PORT, services::PROXY_SOCKET));
    }
    let workdir = image.workdir.trim_end_matches('/');
    protocol::Launch {
        container: true,
        home: "/home".to_string(),
        workdir: (!workdir.is_empty()).then(|| workdir.to_string()),
        copy_data: spec.data_mode == DataMode::Copy,
        ..control::launch(spec, &argv, &forwards)
    }
}

fn container_name(spec: &LaunchSpec) -> String {
    format!("medalist-{}", spec.name)
}

fn image_missing(reference: &str, cause: &str) -> ExecutorError {
    let after = if cause.is_empty() { String::new() } else { format!(" (pulling it: {cause})") };
    let hint = format!(
        "give its agent a Dockerfile (`build = \"dockerfile\"`), `docker load` it from a file, or pull it where a registry \
         can be reached{after}"
    );
    ExecutorError::ImageMissing { image: reference.to_string(), hint }
}

/// What Podman is told of open files and processes: no more than this process may have, which is
/// started like it, and no more processes than the kernel numbers, to which Podman lowers its own
/// limit.
fn podman_limits(info: &EngineInfo) -> Option<(u64, u64)> {
    use nix::sys::resource::{Resource, getrlimit};
    let hard = |resource| getrlimit(resource).ok().map(|(_, hard)| hard);
    let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    let limits = hard(Resource::RLIMIT_NOFILE)
        .zip(hard(Resource::RLIMIT_NPROC).map(|most| most.min(pid_max)));
    limits.filter(|_| info.podman)
}

fn engine_error(action: &str, error: EngineError) -> ExecutorError {
    match error {
        refused @ EngineError::Refused { .. } => {
            ExecutorError::Engine { action: action.to_string(), source: Box::new(refused) }
        }
        other => other.into(),
    }
}

fn container_env(spec: &LaunchSpec) -> Vec<(String, String)> {
    let mut env = Vec::new();
    if let Network::Allowlist(_) = spec.network {
        let proxy = format!("http://127.0.0.1:{}", control::PROXY_PORT);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            env.push((name.to_string(), proxy.clone()));
        }
        for name in ["NO_PROXY", "no_proxy"] {
            env.push((name.to_string(), "localhost,127.0.0.1".to_string()));
        }
    }
    env.push(("GRADING_SERVER_PORT".to_string(), control::VALIDATE_PORT.to_string()));
    env.push((
        "MEDALIST_VALIDATE_URL".to_string(),
        format!("http://localhost:{}/validate", control::VALIDATE_PORT),
    ));
    env.extend(agent_env(spec, "/home"));
    env
}

/// What to mount at /home/data: the public directory with our `description.md` over its own. Where
/// it has none there is nothing to mount over, and a mount must not write to the data: its entries
/// are then mounted one by one.
fn data_mounts(
    spec: &LaunchSpec,
    control: &Control,
) -> Result<Vec<(PathBuf, String)>, ExecutorError> {
    const DESCRIPTION: &str = "description.md";
    let skeleton = control.dir().join("data");
    fs_err::create_dir_all(&skeleton)?;
    let description = skeleton.join(DESCRIPTION);
    fs_err::write(&description, &spec.description)?;
    if spec.public_dir.join(DESCRIPTION).exists() {
        let whole = (spec.public_dir.clone(), String::new());
        return Ok(vec![whole, (description, DESCRIPTION.to_string())]);
    }
    let mut mounts = vec![(skeleton.clone(), String::new())];
    for entry in fs_err::read_dir(&spec.public_dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let place = skeleton.join(&name);
        if fs_err::metadata(entry.path())?.is_dir() {
            fs_err::create_dir(&place)?;
        } else {
            fs_err::write(&place, "")?;
        }
        mounts.push((entry.path(), name));
        if mounts.len() > SINGLE_MOUNTS {
            let dir = spec.public_dir.display();
            let what = format!(
                "`{dir}` has no `{DESCRIPTION}` and too many entries to mount them one by one; add that file"
            );
            return Err(ExecutorError::Unsupported { what });
        }
    }
    Ok(mounts)
}

impl Executor for DockerExecutor {
    fn check(&self) -> BoxFuture<'_, Result<ExecutorInfo, ExecutorError>> {
        Box::pin(async move {
            let info = self.info().await?;
            let held =
                |by_kernel: bool| if by_kernel { Enforcement::Kernel } else { Enforcement::None };
            let layers = if self.may_limit_layers(info) {
                Enforcement::Kernel
            } else {
                Enforcement::Watched
            };
            let limits = [
                ("timeout", Enforcement::Watched),
                ("cpus", held(info.cpu_limit)),
                ("memory", held(info.memory_limit)),
                ("swap", held(info.swap_limit)),
                ("shm", Enforcement::Kernel),
                ("pids", held(info.pids_limit)),
                ("disk", layers),
                ("log", Enforcement::Kernel),
                ("nofile", Enforcement::Kernel),
            ];
            let missing = limits.iter().filter(|(_, by)| *by == Enforcement::None);
            let mut warnings: Vec<String> = missing
                .map(|(name, _)| format!("this container engine cannot hold the limit `{name}`"))
                .collect();
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

struct DockerRunning {
    engine: Engine,
    id: String,
    spec: Arc<LaunchSpec>,
    control: Control,
    services: Services,
    began: Began,
    elapsed_before: Duration,
    killed: AtomicBool,
    podman: bool,
    /// The engine's own directory, if it is on this machine.
    storage: Option<PathBuf>,
}

impl DockerExecutor {
    fn running(
        &self,
        id: String,
        spec: Arc<LaunchSpec>,
        control: Control,
        services: Services,
        began: Began,
        elapsed_before: Duration,
    ) -> Box<dyn Running> {
        let engine = self.engine.clone();
        let root = self.info.get().map(|info| info.root_dir.clone());
        let podman = self.info.get().is_some_and(|info| info.podman);
        Box::new(DockerRunning {
            engine,
            id,
            spec,
            control,
            services,
            began,
            elapsed_before,
            killed: AtomicBool::new(false),
            podman,
            storage: root.filter(|root| root.is_absolute() && root.exists()),
        })
    }
}

impl DockerRunning {
    /// Waits until the container has ended. `None` means that the init has left its account, which
    /// says all there is to say.
    async fn ended(&self) -> Result<Option<ContainerFacts>, EngineError> {
        loop {
            let ended = match self.engine.wait(&self.id).await {
                Ok(()) if self.control.end().await.is_some() => return Ok(None),
                Ok(()) => self.engine.inspect(&self.id, false).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(facts) if facts.state == ContainerState::Ended => return Ok(Some(facts)),
                Ok(_) => {}
                // The init's account stands, whatever became of the daemon.
                Err(_) if self.control.end().await.is_some() => return Ok(None),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn last_usage(&self) -> Usage {
        let record = self.control.usage().await;
        let mut usage = record.as_ref().map(control::usage_of).unwrap_or_default();
        usage.validations = self.services.validations();
        usage
    }

    /// What ended a container whose init left no account.
    fn cause_without_account(&self, facts: &ContainerFacts) -> ExitCause {
        let status = facts.exit.unwrap_or(-1);
        if self.killed.load(Ordering::Relaxed) {
            ExitCause::Exited(137)
        } else if facts.out_of_memory {
            ExitCause::OutOfMemory
        } else if facts.error.is_empty() {
            ExitCause::Lost(format!("the container was ended from outside with status {status}"))
        } else {
            ExitCause::Lost(facts.error.clone())
        }
    }

    /// What `submission.csv` is, where that must be known before it is asked for: Podman follows a
    /// link that is asked for by its name, Docker gives the link.
    async fn submission_entry(&self) -> Result<Option<Entry>, EngineError> {
        if !self.podman {
            return Ok(Some(Entry::File));
        }
        self.engine.entry(&self.id, &format!("/home/{SUBMISSION}")).await
    }

    /// Takes over `submission.csv` by its own name, before and apart from all else.
    async fn take_submission(&self, to: PathBuf, salvage: Salvage) -> Salvage {
        let largest = self.spec.limits.submission_bytes;
        let archive = match self.submission_entry().await {
            Ok(Some(Entry::File)) => {
                self.engine.archive(&self.id, &format!("/home/{SUBMISSION}")).await
            }
            Ok(None) => Ok(None),
            Ok(Some(other)) => {
                let mut salvage = salvage;
                salvage.refuse(SUBMISSION, other.name());
                return salvage;
            }
            Err(error) => Err(error),
        };
        salvage::in_background(salvage, move |salvage| match archive {
            Ok(Some(tar)) => {
                salvage.submission = salvage::file_from_tar(tar, SUBMISSION, &to, largest, salvage);
            }
            Ok(None) => {}
            Err(error) => not_read(error, salvage),
        })
        .await
    }

    async fn take(&self, label: &'static str, salvage: Salvage) -> Salvage {
        let rules = Rules::of(label, self.spec.limits.submission_bytes);
        let to = self.spec.attempt_dir.join(label);
        let archive = self.engine.archive(&self.id, &format!("/home/{label}")).await;
        salvage::in_background(salvage, move |salvage| match archive {
            Ok(Some(tar)) => salvage::from_tar(tar, label, &to, rules, salvage),
            Ok(None) => {}
            Err(error) => not_read(error, salvage),
        })
        .await
    }
}

/// Records that the engine did not hand over what the agent left.
fn not_read(error: EngineError, salvage: &mut Salvage) {
    let error = ExecutorError::from(error);
    if error.is_engine_away() {
        salvage.postponed.get_or_insert(Postponed::EngineAway);
    }
    salvage.errors.push(chain(&error));
}

impl Running for DockerRunning {
    fn token(&self) -> RunToken {
        RunToken {
            executor: "docker".to_string(),
            name: self.spec.name.clone(),
            id: self.id.clone(),
            started: self.began.at,
        }
    }

    fn elapsed_before(&self) -> Duration {
        self.elapsed_before
    }

    fn wait(&self) -> BoxFuture<'_, Result<ExitReport, ExecutorError>> {
        Box::pin(async {
            let ended = self.ended().await;
            let usage = self.last_usage().await;
            if let Some(end) = self.control.end().await {
                let mut report = end.report(usage);
                report.usage.validations = self.services.validations();
                if matches!(report.cause, ExitCause::Exited(153)) {
                    // SIGXFSZ: a single file above the disk limit.
                    report.cause = ExitCause::DiskFull;
                }
                return Ok(report);
            }
            let cause = match ended {
                Ok(Some(facts)) => self.cause_without_account(&facts),
                Ok(None) => ExitCause::Lost("the init's account is gone".to_string()),
                Err(EngineError::NotFound { .. }) => {
                    ExitCause::Lost("the container was removed by somebody else".to_string())
                }
                Err(error) => match ExecutorError::from(error) {
                    away if away.is_engine_away() => return Err(away),
                    other => ExitCause::Lost(chain(&other)),
                },
            };
            Ok(ExitReport { cause, usage, ran: None })
        })
    }

    fn stop<'a>(
        &'a self,
        how: Stop,
        why: &'a StopReason,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            self.control.announce_stop(why).await;
            if how == Stop::Term {
                return Ok(self.engine.kill(&self.id, "SIGTERM").await?);
            }
            self.killed.store(true, Ordering::Relaxed);
            // The init ends all others, writes what was used and ends; if it does not, the
            // container is killed.
            let asked = self.engine.kill(&self.id, "SIGUSR2").await;
            let ended = tokio::time::timeout(LAST_WORDS, self.engine.wait(&self.id)).await;
            if asked.is_err() || !matches!(ended, Ok(Ok(()))) {
                self.engine.kill(&self.id, "SIGKILL").await?;
            }
            Ok(())
        })
    }

    fn stopped(&self) -> BoxFuture<'_, Option<(StopReason, Duration)>> {
        Box::pin(control::stopped(&self.control))
    }

    fn usage(&self) -> BoxFuture<'_, Usage> {
        Box::pin(self.last_usage())
    }

    fn disk_bytes(&self) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async {
            let layer = self.engine.inspect(&self.id, true).await.ok()?.layer_bytes?;
            // What the init copied up from the image is no doing of the agent.
            Some(layer.saturating_sub(self.began.baseline))
        })
    }

    fn storage(&self) -> Vec<PathBuf> {
        self.storage.iter().cloned().collect()
    }

    fn snapshot<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<bool, ExecutorError>> {
        Box::pin(async move {
            let path = format!("/home/{SUBMISSION}");
            if self.submission_entry().await? != Some(Entry::File) {
                return Ok(false);
            }
            let Some(tar) = self.engine.archive(&self.id, &path).await? else { return Ok(false) };
            let (to, largest) = (to.to_path_buf(), self.spec.limits.submission_bytes);
            let taken = tokio::task::spawn_blocking(move || {
                let mut unrecorded = Salvage::default();
                salvage::file_from_tar(tar, SUBMISSION, &to, largest, &mut unrecorded)
            });
            Ok(taken.await.unwrap_or(false))
        })
    }

    fn collect(&self) -> BoxFuture<'_, Salvage> {
        Box::pin(async {
            let mut salvage = Salvage::default();
            let dir = &self.spec.attempt_dir;
            for label in LABELS {
                if !salvage::make_room(&dir.join(label), &mut salvage) {
                    return salvage;
                }
            }
            let account = match self.control.end().await {
                Some(End::Account(record)) => *record,
                _ => Record::default(),
            };
            let is_empty = |label: &str| account.empty.iter().any(|empty| empty == label);
            if !is_empty("submission") {
                salvage = self.take_submission(dir.join(SUBMISSION), salvage).await;
            }
            for label in LABELS {
                let done = label == "submission" && account.lone_submission == Some(1);
                if !done && !is_empty(label) {
                    salvage = self.take(label, salvage).await;
                }
            }
            salvage::say_what_was_meant(dir, &mut salvage);
            salvage
        })
    }

    fn remove(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        Box::pin(async {
            self.engine.remove(&self.id).await?;
            Ok(self.control.remove()?)
        })
    }
}
