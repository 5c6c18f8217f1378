//! Attempts as plain processes of this machine, where there is no container engine. Not sealed, and
//! said to be so.
//!
//! The init supervises: it is the agent's ancestor whatever the agent forks, watches memory and
//! processes, keeps the output, and goes on when the harness dies.

mod home;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use medalist_init::protocol::Launch;
use nix::sys::signal::Signal;

use super::cache;
use super::control::{self, Control};
use super::salvage::{self, CODE, SUBMISSION};
use super::supervisor::{Marks, Process, Supervised, kill_marked, reap};
use super::{
    Enforcement, Executor, ExecutorInfo, ExitCause, ExitReport, Orphan, RunToken, Running, Salvage,
    Stop, StopReason,
};
use crate::attempt::launch::{
    BoxFuture, ExecutorError, LaunchSpec, PreparedImage, Program, agent_env,
};
use crate::attempt::llm;
use crate::attempt::outcome::Usage;
use crate::host::files::if_there;
use crate::sandbox::services::{self, Services};
use home::prepare_home;
pub(crate) use home::tree_bytes;

/// The executor's name.
const NAME: &str = "process";
/// Between two looks of the supervisor at memory and processes.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Variables of the harness that an agent needs to find its programs and libraries; no other gets
/// through.
const PASSED_ON: [&str; 6] = ["PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "NIX_LD"];

/// Runs attempts as processes.
#[derive(Debug, Clone, Default)]
pub struct ProcessExecutor {
    /// Where the marks of running attempts are, by which orphans are found.
    marks: Marks,
}

impl ProcessExecutor {
    /// An executor that keeps its marks where this user's other programs keep theirs.
    #[must_use]
    pub fn new() -> Self {
        Self::with_marks(cache::dir().join("processes"))
    }

    /// An executor that keeps its marks in `marks`.
    #[must_use]
    pub fn with_marks(marks: PathBuf) -> Self {
        Self { marks: Marks::new(marks) }
    }

    fn launch(&self, spec: &Arc<LaunchSpec>) -> Result<ProcessRunning, ExecutorError> {
        let Program::Local { agent_dir, argv } = &spec.program else {
            let what = "an image cannot be started without a container engine".to_string();
            return Err(ExecutorError::Unsupported { what });
        };
        if !spec.mounts.is_empty() {
            let what = "nothing can be mounted without a container engine".to_string();
            return Err(ExecutorError::Unsupported { what });
        }
        if argv.is_empty() {
            return Err(ExecutorError::Unsupported {
                what: "the agent names no command to start".to_string(),
            });
        }
        let home = spec.attempt_dir.home();
        let control = Control::of(&spec.attempt_dir);
        prepare_home(spec, &home, agent_dir.as_deref())?;
        let listener = listen(control::VALIDATE_PORT)?;
        let port = listener.local_addr()?.port();
        let home_text = home.display().to_string();
        let mut argv = argv.clone();
        let beside = home.join("agent").join(&argv[0]);
        // A program in the agent's own folder goes before one of its name on PATH.
        if beside.is_file() {
            argv[0] = beside.display().to_string();
        }
        let log = spec.attempt_dir.log().display().to_string();
        let mut forwards = vec![control::forward(0, services::VALIDATE_SOCKET)];
        let (mut llm_port, mut llm_listener) = (llm::PORT, Stdio::null());
        if spec.llm.is_some() {
            let listener = listen(llm::PORT)?;
            llm_port = listener.local_addr()?.port();
            llm_listener = Stdio::from(OwnedFd::from(listener));
            forwards.push(control::llm_forward(0, services::LLM_SOCKET));
        }
        let launch = Launch {
            home: home_text.clone(),
            log,
            env: process_env(spec, &home_text, port, llm_port),
            watch_memory_bytes: spec.limits.memory_bytes,
            watch_pids: spec.limits.pids,
            sample_every: SAMPLE_EVERY,
            ..control::launch(spec, &argv, forwards)
        };
        let instructions = instructions(spec, &home_text, port);
        control.create(spec, &instructions, false)?;
        control.order(&launch, false)?;
        fs_err::write(home.join("instructions.txt"), instructions)?;
        let services = Services::open(spec, control.dir())?;
        let child = tokio::process::Command::new(cache::init_program()?)
            .arg("run")
            .arg(control.dir())
            .env_clear()
            .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(llm_listener)
            .stderr(Stdio::null())
            .kill_on_drop(false)
            .spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        let attempt = Supervised::new(NAME, Process::of(pid), spec, &control, services);
        reap(child);
        let running = ProcessRunning { attempt, marks: self.marks.clone() };
        // Nothing that could not be found again may run.
        let marked = self.marks.write(running.token(), spec);
        if let Err(error) = marked {
            running.kill_all();
            return Err(error.into());
        }
        Ok(running)
    }
}

/// The instructions speak of a container's paths and port.
fn instructions(spec: &LaunchSpec, home: &str, port: u16) -> String {
    let text = spec.instructions.replace("/home/", &format!("{home}/"));
    text.replace(&format!("localhost:{}", control::VALIDATE_PORT), &format!("localhost:{port}"))
}

/// Listens on `wanted`, or on any other port: several attempts may run on this machine, which has
/// one loopback for all of them. The supervisor gets the socket itself: a port that is looked for here
/// and opened there could go to another attempt in between.
fn listen(wanted: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
}

fn process_env(spec: &LaunchSpec, home: &str, port: u16, llm_port: u16) -> Vec<(String, String)> {
    let gpus: Vec<&str> = spec.gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
    let mut env = vec![
        ("HOME".to_string(), format!("{home}/nonroot")),
        ("TMPDIR".to_string(), format!("{home}/tmp")),
        ("CUDA_VISIBLE_DEVICES".to_string(), gpus.join(",")),
        ("GRADING_SERVER_PORT".to_string(), port.to_string()),
        ("MEDALIST_VALIDATE_URL".to_string(), format!("http://localhost:{port}/validate")),
    ];
    env.extend(agent_env(spec, home, llm_port));
    env
}

impl Executor for ProcessExecutor {
    fn check(&self) -> BoxFuture<'_, Result<ExecutorInfo, ExecutorError>> {
        Box::pin(async {
            let limits = [
                ("timeout", Enforcement::Watched),
                ("cpus", Enforcement::None),
                ("memory", Enforcement::Watched),
                ("swap", Enforcement::None),
                ("shm", Enforcement::None),
                ("pids", Enforcement::Watched),
                ("disk", Enforcement::Watched),
                ("log", Enforcement::Kernel),
                ("nofile", Enforcement::Kernel),
            ];
            Ok(ExecutorInfo {
                name: NAME.to_string(),
                sealed: false,
                details: BTreeMap::from([("marks".to_string(), self.marks.dir().display().to_string())]),
                limits: limits.map(|(name, by)| (name.to_string(), by)).into_iter().collect(),
                warnings: vec![
                    "agents run unsealed: they reach the network and every file of this user, answers included"
                        .to_string(),
                    "CPU and shared memory are not limited; memory, processes and disk are measured again and again"
                        .to_string(),
                ],
            })
        })
    }

    fn prepare_image<'a>(
        &'a self,
        _: &'a Program,
    ) -> BoxFuture<'a, Result<Option<PreparedImage>, ExecutorError>> {
        Box::pin(async { Ok(None) })
    }

    fn start(
        &self,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'_, Result<Box<dyn Running>, ExecutorError>> {
        Box::pin(async move {
            let launched = self.launch(&spec);
            let running = launched.inspect_err(|_| {
                let _ = Control::of(&spec.attempt_dir).remove();
                let _ = std::fs::remove_dir_all(spec.attempt_dir.home());
            })?;
            Ok(Box::new(running) as Box<dyn Running>)
        })
    }

    fn attach<'a>(
        &'a self,
        token: &'a RunToken,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'a, Result<Box<dyn Running>, ExecutorError>> {
        Box::pin(async move {
            let attempt = Supervised::find(NAME, token, spec, false).await?;
            let running = ProcessRunning { attempt, marks: self.marks.clone() };
            Ok(Box::new(running) as Box<dyn Running>)
        })
    }

    fn list_orphans<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, ExecutorError>> {
        Box::pin(async move { Ok(self.marks.orphans(labels)?) })
    }

    fn remove_orphan<'a>(
        &'a self,
        token: &'a RunToken,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            if let Some(dir) = self.marks.end_orphan(token).await? {
                if_there(fs_err::remove_dir_all(dir.home()))?;
            }
            Ok(self.marks.remove(&token.name)?)
        })
    }
}

struct ProcessRunning {
    attempt: Supervised,
    marks: Marks,
}

impl ProcessRunning {
    fn kill_all(&self) {
        self.attempt.process.signal(Signal::SIGKILL);
        kill_marked(&self.attempt.spec.name);
    }
}

impl Running for ProcessRunning {
    fn token(&self) -> RunToken {
        self.attempt.token()
    }

    fn elapsed_before(&self) -> Duration {
        self.attempt.elapsed_before
    }

    fn wait(&self) -> BoxFuture<'_, Result<ExitReport, ExecutorError>> {
        Box::pin(async {
            self.attempt.ended().await;
            // The supervisor may have been killed over the agent's head.
            kill_marked(&self.attempt.spec.name);
            let usage = self.attempt.usage().await;
            if let Some(end) = self.attempt.control.end().await {
                return Ok(end.report(usage));
            }
            let cause =
                ExitCause::Lost("the agent's supervisor was ended from outside".to_string());
            Ok(ExitReport { cause, usage, ran: None })
        })
    }

    fn stop<'a>(
        &'a self,
        how: Stop,
        why: &'a StopReason,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            self.attempt.stop(how, why).await;
            Ok(())
        })
    }

    fn stopped(&self) -> BoxFuture<'_, Option<(StopReason, Duration)>> {
        Box::pin(control::stopped(&self.attempt.control))
    }

    fn usage(&self) -> BoxFuture<'_, Usage> {
        Box::pin(self.attempt.usage())
    }

    fn disk_bytes(&self) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async {
            let home = self.attempt.spec.attempt_dir.home();
            tokio::task::spawn_blocking(move || tree_bytes(&home)).await.ok()
        })
    }

    fn storage(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn snapshot<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<bool, ExecutorError>> {
        Box::pin(async move {
            let from = self.attempt.spec.attempt_dir.home().join(SUBMISSION);
            let (to, largest) = (to.to_path_buf(), self.attempt.spec.limits.submission_bytes);
            let taken = tokio::task::spawn_blocking(move || {
                let mut unrecorded = Salvage::default();
                salvage::file_from_directory(&from, SUBMISSION, &to, largest, &mut unrecorded)
            });
            Ok(taken.await.unwrap_or(false))
        })
    }

    fn snapshot_code<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<u64, ExecutorError>> {
        Box::pin(async move {
            let (from, to) = (self.attempt.spec.attempt_dir.home().join(CODE), to.to_path_buf());
            let copied =
                tokio::task::spawn_blocking(move || salvage::code_from_directory(&from, &to));
            Ok(copied.await.map_err(io::Error::other)?)
        })
    }

    fn collect(&self) -> BoxFuture<'_, Salvage> {
        Box::pin(async {
            let spec = Arc::clone(&self.attempt.spec);
            salvage::in_background(Salvage::default(), move |salvage| {
                let (dir, largest) = (&spec.attempt_dir, spec.limits.submission_bytes);
                salvage::from_home(&dir.home(), dir, largest, salvage);
            })
            .await
        })
    }

    fn remove(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        Box::pin(async {
            self.attempt.end().await;
            let home = self.attempt.spec.attempt_dir.home();
            tokio::task::spawn_blocking(move || if_there(fs_err::remove_dir_all(home)))
                .await
                .map_err(io::Error::other)??;
            self.attempt.control.remove()?;
            Ok(self.marks.remove(&self.attempt.spec.name)?)
        })
    }
}
