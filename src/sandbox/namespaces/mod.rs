//! Attempts in sealed containers without a container engine and without root: the init makes the
//! namespaces itself, from an unpacked image.
//!
//! The supervisor of a container is a process of this user, found again by its mark as that of a
//! plain process is. What the agent writes lies on this machine's disk, owned by users that only a
//! user namespace with the same map can act as: [`worker`] does.

mod image;
mod launch;
mod node;
mod running;
mod unpack;
pub mod worker;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use chrono::Utc;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OnceCell};

use super::cache;
use super::control::{self, Control, End};
use super::docker::check_platform;
use super::docker::launch::data_mounts;
use super::supervisor::{LOOK_EVERY, Marks, Process, Supervised, reap};
use super::{Enforcement, Executor, ExecutorInfo, Orphan, RunToken, Running};
use crate::attempt::launch::{BoxFuture, ExecutorError, LaunchSpec, PreparedImage, Program};
use crate::host::machine;
use crate::sandbox::services::Services;
use crate::sandbox::setup::{SETUP_PATIENCE, not_begun, not_started, too_slow};
use image::{Image, ImageError, Settings};
use launch::{Storage, check, orders};
use node::Maps;
use running::NamespacesRunning;
use worker::{Done, Fault, Work};

pub use image::{EMBEDDED, is_in_files};

/// The executor's name.
const NAME: &str = "namespaces";

/// Runs attempts in namespaces.
pub struct NamespacesExecutor {
    shared: Arc<Shared>,
    ground: OnceCell<Ground>,
    /// Held while an image is unpacked, which two attempts may want at once.
    unpacking: Mutex<()>,
}

/// What outlives the executor in what it started.
struct Shared {
    dir: PathBuf,
    program: node::Program,
}

/// What this machine allows.
#[derive(Debug, Clone)]
struct Ground {
    maps: Maps,
    /// Why there is no overlay, if there is none.
    no_overlay: Option<String>,
}

/// An image that is unpacked on this machine.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Unpacked {
    id: String,
    bytes: u64,
    pub(super) settings: Settings,
    pub(super) files: PathBuf,
}

impl Unpacked {
    pub(super) fn workdir(&self) -> &str {
        self.settings.working_dir.as_deref().unwrap_or_default()
    }
}

impl Fault {
    fn into_error(self, action: &str) -> ExecutorError {
        match self {
            Self::HostFull(cause) => ExecutorError::HostFull { cause },
            Self::Image(message) | Self::Other(message) => {
                ExecutorError::Engine { action: action.to_string(), source: message.into() }
            }
        }
    }
}

impl Shared {
    fn storage(&self, name: &str) -> Storage {
        Storage(self.dir.join("attempts").join(name))
    }

    fn marks(&self) -> Marks {
        Marks::new(self.dir.join("marks"))
    }

    async fn remove(&self, maps: &Maps, name: &str) -> Result<(), ExecutorError> {
        let storage = self.storage(name);
        if !storage.0.exists() {
            return Ok(());
        }
        let work = Work::Remove { dirs: vec![storage.0] };
        let removed = self.program.ask(maps, &work).await;
        removed.map(drop).map_err(|fault| fault.into_error("remove what the agent left"))
    }
}

impl NamespacesExecutor {
    /// An executor on this machine's own disk (`MEDALIST_NODE_DIR`, else a directory in `/var/tmp`),
    /// whose workers are the program that runs now.
    ///
    /// # Errors
    /// The program cannot be opened.
    pub fn new() -> Result<Self, ExecutorError> {
        Self::with(cache::node_dir(), Path::new("/proc/self/exe"))
    }

    /// An executor in `dir`, whose workers are `program`, which runs [`worker::main`] if its first
    /// argument is [`worker::ARGUMENT`].
    ///
    /// # Errors
    /// The program cannot be opened.
    pub fn with(dir: PathBuf, program: &Path) -> Result<Self, ExecutorError> {
        let shared = Arc::new(Shared { dir, program: node::Program::open(program)? });
        Ok(Self { shared, ground: OnceCell::new(), unpacking: Mutex::default() })
    }

    /// What this machine allows, found out by trying.
    async fn ground(&self) -> Result<&Ground, ExecutorError> {
        self.ground
            .get_or_try_init(|| async {
                cache::own_node_dir(&self.shared.dir)?;
                let mut why = String::new();
                for maps in Maps::candidates() {
                    let no_overlay = match self.probe(&maps, "overlay").await? {
                        None => None,
                        Some(first) => match self.probe(&maps, "copy").await? {
                            None => Some(first),
                            Some(second) => {
                                why = second;
                                continue;
                            }
                        },
                    };
                    return Ok(Ground { maps, no_overlay });
                }
                Err(ExecutorError::Unsupported {
                    what: format!(
                        "this machine lets this user make no sealed container: {why} (it needs Linux 5.12 or later, and user \
                         namespaces: the settings `kernel.unprivileged_userns_clone`, `user.max_user_namespaces` and \
                         `kernel.apparmor_restrict_unprivileged_userns` switch them off; in a Kubernetes pod `procMount: Unmasked`)"
                    ),
                })
            })
            .await
    }

    /// Makes a container of nothing; gives what is in the way.
    async fn probe(&self, maps: &Maps, kind: &str) -> Result<Option<String>, ExecutorError> {
        let dir = tempfile::Builder::new().prefix("probe-").tempdir_in(&self.shared.dir)?;
        for name in ["image", "upper", "work", "root"] {
            fs_err::create_dir(dir.path().join(name))?;
        }
        let output = tokio::process::Command::new(cache::init_program()?)
            .args(["probe", &maps.users, &maps.groups])
            .arg(dir.path())
            .arg(kind)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .output()
            .await?;
        // The overlay leaves a directory that is closed even for its owner.
        let left = Work::Remove { dirs: vec![dir.path().join("work"), dir.path().join("upper")] };
        let _ = self.shared.program.ask(maps, &left).await;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
        match (output.status.success(), said.is_empty()) {
            (true, true) => Ok(None),
            (true, false) => Ok(Some(said)),
            _ => Ok(Some(format!("the init ended with {}", output.status))),
        }
    }

    /// The image, unpacked if it is not yet.
    async fn unpacked(&self, reference: &str) -> Result<Unpacked, ExecutorError> {
        let maps = &self.ground().await?.maps;
        let name = reference.to_string();
        let opened = tokio::task::spawn_blocking(move || {
            let image = Image::open(&name)?;
            Ok::<_, ImageError>((image.id, image.config))
        });
        let opened = opened.await.map_err(io::Error::other)?;
        let (id, config) = opened.map_err(|error| image_error(reference, error))?;
        check_platform(reference, &config.os, &config.architecture, std::env::consts::ARCH)?;
        let hex = id.trim_start_matches("sha256:");
        let dir = self.shared.dir.join("images").join(format!("{hex}-{}", maps.name()));
        let _one_at_a_time = self.unpacking.lock().await;
        let lock = self.lock_image(&dir).await?;
        let files = dir.join("files");
        let record = dir.join("image.json");
        if let Ok(text) = fs_err::read(&record)
            && let Ok(known) = serde_json::from_slice::<Unpacked>(&text)
        {
            return Ok(Unpacked { files, ..known });
        }
        // What a killed harness left half done.
        let stale = Work::Remove { dirs: vec![files.clone()] };
        let removed = self.shared.program.ask(maps, &stale).await;
        removed.map_err(|fault| fault.into_error("remove a half unpacked image"))?;
        fs_err::create_dir(&files)?;
        let work = Work::Unpack {
            reference: reference.to_string(),
            to: files.clone(),
            uid_map: maps.users.clone(),
            gid_map: maps.groups.clone(),
        };
        let bytes = match self.shared.program.ask(maps, &work).await {
            Ok(Done::Bytes(bytes)) => bytes,
            Ok(other) => return Err(odd(&other)),
            Err(Fault::Image(why)) => {
                return Err(ExecutorError::ImageRefused { image: reference.to_string(), why });
            }
            Err(fault) => return Err(fault.into_error("unpack the image")),
        };
        let settings = config.config.unwrap_or_default();
        let unpacked = Unpacked { id, bytes, settings, files };
        let text = serde_json::to_vec(&unpacked).map_err(io::Error::other)?;
        crate::host::files::write_atomic(&record, &text).map_err(io::Error::other)?;
        drop(lock);
        Ok(unpacked)
    }

    /// Removes all unpacked images; gives their names. They are unpacked again when they are needed.
    ///
    /// # Errors
    /// They cannot be removed, or this machine allows no containers.
    pub async fn remove_images(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        let entries = match std::fs::read_dir(self.shared.dir.join("images")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let dirs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let names =
            dirs.iter().filter_map(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
        let names = names.collect();
        if !dry_run && !dirs.is_empty() {
            let (maps, work) = (&self.ground().await?.maps, Work::Remove { dirs });
            let removed = self.shared.program.ask(maps, &work).await;
            removed.map_err(|fault| fault.into_error("remove images"))?;
        }
        Ok(names)
    }

    /// Keeps other harnesses of this user from the image until the file is dropped.
    async fn lock_image(&self, dir: &Path) -> Result<std::fs::File, ExecutorError> {
        fs_err::create_dir_all(dir)?;
        let file = std::fs::File::create(dir.join("lock"))?;
        let locking = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
        Ok(locking.await.map_err(io::Error::other)??)
    }

    /// Makes an attempt's directory afresh.
    async fn make_storage(
        &self,
        spec: &LaunchSpec,
        image: &Unpacked,
        ground: &Ground,
    ) -> Result<Storage, ExecutorError> {
        self.shared.remove(&ground.maps, &spec.name).await?;
        let storage = self.shared.storage(&spec.name);
        fs_err::create_dir_all(&storage.0)?;
        for name in ["upper", "work", "root"] {
            fs_err::create_dir(storage.0.join(name))?;
        }
        let mode = fs_err::metadata(&image.files)?.permissions().mode() & 0o1777;
        fs_err::set_permissions(storage.upper(), std::fs::Permissions::from_mode(mode))?;
        if ground.no_overlay.is_some() {
            let work = Work::Copy { from: image.files.clone(), to: storage.upper() };
            let copied = self.shared.program.ask(&ground.maps, &work).await;
            copied.map_err(|fault| fault.into_error("copy the image"))?;
        }
        Ok(storage)
    }

    async fn launch(
        &self,
        spec: &Arc<LaunchSpec>,
        control: &Control,
    ) -> Result<NamespacesRunning, ExecutorError> {
        let Program::Image { reference, argv } = &spec.program else {
            let what = "a container needs an image to start from".to_string();
            return Err(ExecutorError::Unsupported { what });
        };
        check(spec)?;
        let ground = self.ground().await?;
        let image = self.unpacked(reference).await?;
        let storage = self.make_storage(spec, &image, ground).await?;
        control.create(spec, &spec.instructions, false)?;
        let data = data_mounts(spec, control)?;
        control.order(&orders(spec, argv, &image, ground, &storage, &data), false)?;
        let services = Services::open(spec, control.dir())?;
        let child = tokio::process::Command::new(cache::init_program()?)
            // Its arguments are seen in the container: no path of this machine is among them.
            .arg0("medalist-init")
            .arg("run")
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::from(std::fs::File::open(control.dir())?))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(false)
            .spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        let attempt = Supervised::new(NAME, Process::of(pid), spec, control, services);
        reap(child);
        let shared = Arc::clone(&self.shared);
        let mut running = NamespacesRunning { attempt, shared, maps: ground.maps.clone() };
        let process = running.attempt.process;
        // Nothing that could not be found again may run.
        let marked = self.shared.marks().write(running.attempt.token(), spec);
        let began = match marked {
            Ok(()) => begin(process, control, spec).await,
            Err(error) => Err(error.into()),
        };
        match began {
            Ok(started) => running.attempt.started = started,
            Err(error) => {
                process.signal(Signal::SIGKILL);
                self.shared.marks().remove(&spec.name)?;
                return Err(error);
            }
        }
        Ok(running)
    }
}

/// Waits until the agent runs; its clock begins there.
async fn begin(
    process: Process,
    control: &Control,
    spec: &LaunchSpec,
) -> Result<chrono::DateTime<Utc>, ExecutorError> {
    let patience = tokio::time::Instant::now() + SETUP_PATIENCE;
    loop {
        // Asked first: one that ends has said before how.
        let alive = process.alive();
        if let Some(record) = control.usage().await {
            return Ok(control::began(&record).unwrap_or_else(Utc::now));
        }
        match control.end().await {
            Some(End::Account(record)) => {
                return Ok(control::began(&record).unwrap_or_else(Utc::now));
            }
            Some(end) => return Err(not_begun(end, spec)),
            None if !alive => return Err(not_started("the init ended without a word")),
            None => {}
        }
        if tokio::time::Instant::now() >= patience {
            return Err(too_slow(spec));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn odd(done: &Done) -> ExecutorError {
    let source = format!("the worker answered {done:?}").into();
    ExecutorError::Engine { action: "use a worker".to_string(), source }
}

fn image_error(reference: &str, error: ImageError) -> ExecutorError {
    match error {
        ImageError::Missing(what) => ExecutorError::ImageMissing {
            image: reference.to_string(),
            hint: format!(
                "{what}; where there is Docker, `docker save IMAGE -o FILE` makes such a file: name it in agent.toml with \
                 `build = \"image\"` and `image = \"docker-archive:FILE\"`"
            ),
        },
        ImageError::Bad(why) => ExecutorError::ImageRefused { image: reference.to_string(), why },
        ImageError::Io(error) => error.into(),
    }
}

impl Executor for NamespacesExecutor {
    fn check(&self) -> BoxFuture<'_, Result<ExecutorInfo, ExecutorError>> {
        Box::pin(async {
            let ground = self.ground().await?;
            let limits = [
                ("timeout", Enforcement::Watched),
                ("cpus", Enforcement::None),
                ("memory", Enforcement::Watched),
                ("swap", Enforcement::None),
                ("shm", Enforcement::Kernel),
                ("pids", Enforcement::Kernel),
                ("disk", Enforcement::Watched),
                ("log", Enforcement::Kernel),
                ("nofile", Enforcement::Kernel),
            ];
            let mut warnings = vec![
                "no control group holds memory and CPUs: memory is measured ten times a second and an agent above its limit is \
                 ended, but it can overshoot in between; processors are not limited. In a batch job the job's own limits hold for \
                 all of its attempts together"
                    .to_string(),
            ];
            if ground.maps.is_single() {
                warnings.push(
                    "this user has one number and no range in /etc/subuid, or `newuidmap` is missing: agents own all files of \
                     their image, and can change them for themselves"
                        .to_string(),
                );
            }
            if let Some(why) = &ground.no_overlay {
                warnings.push(format!(
                    "the kernel allows no overlay here ({why}): each attempt gets a whole copy of its image"
                ));
            }
            let details = [
                ("node_dir", self.shared.dir.display().to_string()),
                ("root_dir", self.shared.dir.display().to_string()),
                ("users", ground.maps.name()),
                (
                    "storage_driver",
                    if ground.no_overlay.is_none() { "overlay" } else { "copy" }.to_string(),
                ),
                ("kernel", machine::hardware().kernel),
                ("cpus", machine::cpu_count().to_string()),
                ("memory_bytes", machine::memory_bytes().unwrap_or(0).to_string()),
                ("security", "seccomp no-new-privileges".to_string()),
            ];
            Ok(ExecutorInfo {
                name: NAME.to_string(),
                sealed: true,
                details: details.map(|(name, value)| (name.to_string(), value)).into(),
                limits: limits.map(|(name, by)| (name.to_string(), by)).into(),
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
            let image = self.unpacked(reference).await?;
            let reference = reference.clone();
            Ok(Some(PreparedImage { reference, id: image.id, digest: None, bytes: image.bytes }))
        })
    }

    fn start(
        &self,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'_, Result<Box<dyn Running>, ExecutorError>> {
        Box::pin(async move {
            let control = Control::of(&spec.attempt_dir);
            match self.launch(&spec, &control).await {
                Ok(running) => Ok(Box::new(running) as Box<dyn Running>),
                Err(error) => {
                    // The reason for the failure is what counts now.
                    let _ = control.remove();
                    if let Ok(ground) = self.ground().await {
                        let _ = self.shared.remove(&ground.maps, &spec.name).await;
                    }
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
            let is_left = self.shared.storage(&spec.name).0.exists();
            let attempt = Supervised::find(NAME, token, spec, is_left).await?;
            let maps = self.ground().await?.maps.clone();
            let shared = Arc::clone(&self.shared);
            Ok(Box::new(NamespacesRunning { attempt, shared, maps }) as Box<dyn Running>)
        })
    }

    fn list_orphans<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, ExecutorError>> {
        Box::pin(async move { Ok(self.shared.marks().orphans(labels)?) })
    }

    fn remove_orphan<'a>(
        &'a self,
        token: &'a RunToken,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            let marks = self.shared.marks();
            marks.end_orphan(token).await?;
            self.shared.remove(&self.ground().await?.maps, &token.name).await?;
            Ok(marks.remove(&token.name)?)
        })
    }
}
