//! A Podman of this user's own, for one run: the harness starts its service, starts it again whenever
//! it is gone, and removes all that it kept.
//!
//! Everything of it lies on this machine's own disk in a directory that the first attempt's folder
//! names, so that a run that is resumed on the same machine finds its containers. A batch scheduler
//! that ends a job signals every process of it, this service too, while the agent still saves its
//! work: the service is back a moment later, and the containers never noticed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::cache;
use super::engine::{Engine, EngineError};
use super::supervisor::Process;
use crate::attempt::launch::ExecutorError;
use crate::host::machine;

/// Names a store of images that many machines share, read-only.
pub const IMAGES: &str = "MEDALIST_PODMAN_IMAGES";
/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Before a service that was ended is started again, and before one that cannot start is.
const PAUSE: Duration = Duration::from_millis(200);
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// The longest path, in bytes, that Podman takes as its `--runroot`.
const LONGEST_RUNROOT: usize = 50;

/// A service that runs as long as this value; then it is ended, and what it kept is removed unless a
/// container is left that a resumed run will want.
#[derive(Debug)]
pub struct PodmanService {
    engine: Engine,
    place: Place,
    stopping: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
}

/// Where the service keeps everything.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

/// What services of harnesses that are gone have left on this machine, without a container in it.
#[must_use]
pub fn left_behind() -> Vec<Place> {
    let places =
        std::fs::read_dir(cache::node_dir().join("podman")).into_iter().flatten().flatten();
    let places = places.map(|entry| Place(entry.path()));
    places.filter(|place| !place.is_in_use() && place.is_empty()).collect()
}

impl PodmanService {
    /// Starts the service, or takes over what an earlier one kept under the same `key`.
    ///
    /// # Errors
    /// There is no Podman, it does not start, or this machine's disk cannot be written to.
    pub async fn start(key: &str) -> Result<Self, ExecutorError> {
        let hash = hex::encode(Sha256::digest(key));
        let place = Place(cache::node_dir().join("podman").join(&hash[..8]));
        cache::own_node_dir(&cache::node_dir())?;
        place.write()?;
        let own = Process::of(i32::try_from(std::process::id()).unwrap_or(0));
        fs_err::write(place.at("harness.pid"), own.to_string())?;
        // One that a killed harness left behind.
        let rest = place.clone();
        let _ = tokio::task::spawn_blocking(move || rest.end_service()).await;
        let stopping = Arc::new(AtomicBool::new(false));
        let first = place.spawn().map_err(|error| missing(&error))?;
        let watcher = tokio::spawn(watch(place.clone(), first, Arc::clone(&stopping)));
        let address = place.address();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let engine = loop {
            match Engine::connect_to(&address).await {
                Ok(engine) => break engine,
                Err(error) if tokio::time::Instant::now() >= deadline => {
                    stopping.store(true, Ordering::Relaxed);
                    watcher.abort();
                    let rest = place.clone();
                    let _ = tokio::task::spawn_blocking(move || rest.end_service()).await;
                    return Err(place.explain(error));
                }
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        Ok(Self { engine, place, stopping, watcher })
    }

    /// The engine that it serves.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for PodmanService {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.watcher.abort();
        self.place.end_service();
        if self.place.is_empty() {
            self.place.remove();
        }
    }
}

/// Starts the service again whenever it has ended.
async fn watch(place: Place, first: tokio::process::Child, stopping: Arc<AtomicBool>) {
    let mut running = Some(first);
    loop {
        let began = tokio::time::Instant::now();
        if let Some(mut child) = running.take()
            && let Ok(status) = child.wait().await
        {
            tracing::info!(%status, "Podman's service has ended and is started again");
        }
        let lived = began.elapsed() > LONG_PAUSE;
        tokio::time::sleep(if lived { PAUSE } else { PAUSE.max(LONG_PAUSE / 10) }).await;
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        // What is left of it would hold its storage, and serves nobody.
        let rest = place.clone();
        let _ = tokio::task::spawn_blocking(move || rest.end_service()).await;
        match place.spawn() {
            Ok(child) => running = Some(child),
            Err(error) => {
                tracing::warn!(%error, "Podman's service cannot be started again");
                tokio::time::sleep(LONG_PAUSE).await;
            }
        }
    }
}

fn missing(error: &std::io::Error) -> ExecutorError {
    ExecutorError::Unsupported {
        what: format!(
            "`podman` cannot be started ({error}): `--executor podman` needs Podman 4 or later, with `runc` or `crun` and `newuidmap`; \
             `--executor namespaces` needs neither"
        ),
    }
}

impl Place {
    /// Its path.
    #[must_use]
    pub fn shown(&self) -> String {
        self.0.display().to_string()
    }

    /// Whether a harness that lives works with it.
    fn is_in_use(&self) -> bool {
        let harness = fs_err::read_to_string(self.at("harness.pid")).unwrap_or_default();
        Process::parse(harness.trim()).is_some_and(Process::alive)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn address(&self) -> String {
        format!("unix://{}", self.at("p.sock").display())
    }

    /// Writes the settings. Storage of a rootless Podman is where `rootless_storage_path` says; its
    /// database remembers all the others, which must therefore be one machine's.
    fn write(&self) -> Result<(), ExecutorError> {
        fs_err::create_dir_all(self.at("xdg"))?;
        fs_err::create_dir_all(self.at("scratch"))?;
        let shown = |name: &str| self.at(name).display().to_string();
        let mut storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}\"\nrootless_storage_path = \"{0}\"\nrunroot = \"{1}\"\n",
            shown("graph"),
            shown("run")
        );
        if let Some(images) = std::env::var_os(IMAGES).filter(|images| !images.is_empty()) {
            let images = PathBuf::from(images);
            if !images.is_dir() {
                let what = format!("{IMAGES} names `{}`, which is no directory", images.display());
                return Err(ExecutorError::Unsupported { what });
            }
            let _ = write!(
                storage,
                "[storage.options]\nadditionalimagestores = [\"{}\"]\n",
                images.display()
            );
        }
        let mut containers = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\ntmp_dir = \"{}\"\nstatic_dir = \"{}\"\nvolume_path = \"{}\"\n",
            shown("tmp"),
            // Where Podman looks that is told its storage by options, as what ends a container is: with another database
            // it would not find the container, and the service would wait 20 s for the exit code.
            shown("graph/libpod"),
            shown("volumes")
        );
        // It works on every kind of control groups.
        if machine::has_program("runc") {
            containers.push_str("runtime = \"runc\"\n");
        }
        fs_err::write(self.at("storage.conf"), storage)?;
        fs_err::write(self.at("containers.conf"), containers)?;
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        // What ends a container is told the same path by an option, and leaves at once if it is too long: the service would
        // then wait 20 s for the exit code. Left alone, a rootless Podman takes a longer one.
        let run = self.at("run");
        if run.as_os_str().len() <= LONGEST_RUNROOT {
            command.arg("--runroot").arg(run);
        }
        command
            .env("CONTAINERS_STORAGE_CONF", self.at("storage.conf"))
            .env("CONTAINERS_CONF", self.at("containers.conf"))
            .env("XDG_RUNTIME_DIR", self.at("xdg"))
            // Images that it is given lie there for a while; a service that is ended removes none.
            .env("TMPDIR", self.at("scratch"))
            .env_remove("CONTAINER_HOST")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn spawn(&self) -> std::io::Result<tokio::process::Child> {
        let _ = fs_err::remove_file(self.at("p.sock"));
        let log =
            std::fs::File::options().append(true).create(true).open(self.at("service.log"))?;
        let mut command = tokio::process::Command::from(self.command());
        command.args(["system", "service", "--time", "0", &self.address()]);
        // Ctrl-C is for the harness.
        command.process_group(0).stderr(Stdio::from(log)).kill_on_drop(false);
        command.spawn()
    }

    /// The service's processes: Podman starts itself again inside its user namespace, and a signal to
    /// the first does not end the second.
    fn services(&self) -> Vec<Process> {
        let address = self.address();
        let serves = |pid: &i32| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
            words.contains(&b"service".as_slice()) && words.contains(&address.as_bytes())
        };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(serves).map(Process::of).collect()
    }

    /// Ends all that serves here.
    fn end_service(&self) {
        let all = self.services();
        all.iter().for_each(|service| service.signal(Signal::SIGTERM));
        for _ in 0..50 {
            if !all.iter().any(|service| service.alive()) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        all.iter().for_each(|service| service.signal(Signal::SIGKILL));
    }

    /// Whether no container is left. Where that cannot be told there may be some.
    fn is_empty(&self) -> bool {
        let listed =
            self.command().args(["ps", "--all", "--quiet"]).stdout(Stdio::piped()).output();
        listed.is_ok_and(|listed| listed.status.success() && listed.stdout.trim_ascii().is_empty())
    }

    /// Removes everything. Files of a rootless Podman belong to users that only it can act as.
    pub fn remove(&self) {
        self.end_service();
        if nix::unistd::getuid().is_root() {
            let graph = self.at("graph/overlay");
            let _ = Command::new("umount").arg("-l").arg(&graph).stderr(Stdio::null()).status();
        } else {
            let removed =
                self.command().args(["unshare", "rm", "-rf"]).arg(self.at("graph")).status();
            if let Err(error) = removed {
                tracing::warn!(%error, "Podman's storage cannot be removed");
            }
        }
        self.end_pause();
        if let Err(error) = fs_err::remove_dir_all(&self.0) {
            tracing::warn!(%error, "Podman's storage is left");
        }
    }

    /// Podman leaves a process that does nothing but hold its user namespace.
    fn end_pause(&self) {
        for file in ["xdg/libpod/tmp/pause.pid", "tmp/pause.pid"] {
            let text = fs_err::read_to_string(self.at(file)).unwrap_or_default();
            let Ok(pid) = text.trim().parse::<i32>() else { continue };
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let name = Path::new("/proc").join(pid.to_string()).join("comm");
            let comm = std::fs::read_to_string(name).unwrap_or_default();
            let is_pause = comm.contains("pause")
                || command.windows(6).any(|part| part == b"podman")
                || command.windows(9).any(|part| part == b"catatonit");
            if pid > 1 && is_pause {
                Process::of(pid).signal(Signal::SIGKILL);
            }
        }
    }

    fn explain(&self, error: EngineError) -> ExecutorError {
        let log = fs_err::read_to_string(self.at("service.log")).unwrap_or_default();
        match log.lines().rfind(|line| !line.trim().is_empty()) {
            Some(last) => ExecutorError::Unsupported {
                what: format!("Podman's own service does not start: {}", last.trim()),
            },
            None => error.into(),
        }
    }
}
