//! What the executor tests share: the probe as an agent in an image or as a program, and a spec to
//! start it with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use medalist::attempt::dir::AttemptDir;
use medalist::attempt::launch::{DataMode, LaunchSpec, Program, ValidationReply, Validator};
use medalist::attempt::limits::{GpuAccess, Limits, Network};
use medalist::attempt::outcome::CancelReason;
use medalist::run::clock::{AttemptEnd, AttemptEvent, WatchOptions, run_attempt};
use medalist::sandbox::docker::DockerExecutor;
use medalist::sandbox::engine::{Engine, tar_directory};
use medalist::sandbox::namespaces::NamespacesExecutor;
use medalist::sandbox::process::ProcessExecutor;
use medalist::sandbox::{Executor, RunToken};
use tempfile::TempDir;
use tokio::sync::{OnceCell, mpsc};

use crate::support::{oci, skip, skip_without_engine};

/// Tag of the image whose only file is the probe.
pub(crate) const IMAGE: &str = "medalist-test/probe:latest";
/// Label of everything the tests start.
pub(crate) const TEST_LABEL: &str = "io.medalist.test";

const MIB: u64 = 1 << 20;

/// Accepts what begins with `id,`; remembers nothing.
struct HeaderValidator;

impl Validator for HeaderValidator {
    fn validate(&self, csv: &Path) -> ValidationReply {
        let text = std::fs::read_to_string(csv).unwrap_or_default();
        let valid = text.starts_with("id,");
        let message =
            if valid { "Submission is valid." } else { "Submission invalid! The header is wrong." };
        ValidationReply { valid, message: message.to_string() }
    }
}

/// Compiles the probe, once for all tests of this process.
pub(crate) fn probe() -> &'static Path {
    static PROBE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    PROBE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let aside = scratch.path().join("probe");
        let status = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition=2024",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "opt-level=s",
                "-C",
                "panic=abort",
            ])
            .args([
                "-C",
                "strip=symbols",
                "--target",
                &format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
                "-o",
            ])
            .arg(&aside)
            .arg(root.join("tests/fixtures/probe/main.rs"))
            .status()
            .unwrap();
        assert!(status.success(), "the probe does not compile");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe-agent/probe");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::rename(aside, &path).unwrap();
        path
    })
}

/// The kinds of executors that share the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Docker,
    Namespaces,
    Process,
}

impl Kind {
    /// Those that seal.
    pub(crate) const SEALED: [Self; 2] = [Self::Docker, Self::Namespaces];

    /// Whether agents are in containers, made from images.
    pub(crate) fn has_containers(self) -> bool {
        self != Self::Process
    }
}

/// An executor and what starts the probe on it.
pub(crate) struct Bench {
    pub(crate) kind: Kind,
    pub(crate) executor: Arc<dyn Executor>,
    /// The engine, if there is one.
    pub(crate) engine: Option<Engine>,
    /// The probe's image.
    image: String,
    dir: TempDir,
}

/// The engine of this machine with the probe's image; `None` where there is no engine, and the test
/// is skipped.
pub(crate) async fn engine() -> Option<Engine> {
    static IMPORTED: OnceCell<()> = OnceCell::const_new();
    let engine = match Engine::connect().await {
        Ok(engine) => engine,
        Err(error) => {
            skip_without_engine(&error.to_string());
            return None;
        }
    };
    IMPORTED
        .get_or_init(|| async {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("home/agent")).unwrap();
            std::fs::copy(probe(), root.path().join("home/agent/probe")).unwrap();
            engine.import(tar_directory(root.path()).unwrap(), IMAGE).await.unwrap();
        })
        .await;
    Some(engine)
}

impl Bench {
    pub(crate) async fn new(kind: Kind) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine_behind, mut image) = (None, IMAGE.to_string());
        let executor: Arc<dyn Executor> = match kind {
            Kind::Docker => {
                let engine = engine().await?;
                engine_behind = Some(engine.clone());
                Arc::new(DockerExecutor::new(engine))
            }
            Kind::Namespaces => {
                let program = Path::new(env!("CARGO_BIN_EXE_medalist"));
                let executor = NamespacesExecutor::with(dir.path().join("node"), program).unwrap();
                if let Err(error) = executor.check().await {
                    skip("namespaces", &error.to_string());
                    return None;
                }
                let root = dir.path().join("root");
                std::fs::create_dir_all(root.join("home/agent")).unwrap();
                std::fs::copy(probe(), root.join("home/agent/probe")).unwrap();
                let tar = tar_directory(&root).unwrap();
                let config = oci::config_of("");
                image = oci::layout(&dir.path().join("oci"), &[tar], &config, oci::architecture());
                Arc::new(executor)
            }
            Kind::Process => Arc::new(ProcessExecutor::with_marks(dir.path().join("marks"))),
        };
        Some(Self { kind, executor, engine: engine_behind, image, dir })
    }

    /// One for each executor that seals and is to be had here.
    pub(crate) async fn sealed() -> Vec<Self> {
        let mut all = Vec::new();
        for kind in Kind::SEALED {
            all.extend(Self::new(kind).await);
        }
        all
    }

    /// A directory of its own for what a test makes.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A spec that runs the probe through `steps`, which are separated by `+`.
    pub(crate) fn spec(&self, steps: &[&str]) -> LaunchSpec {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}-{number}", std::process::id());
        let attempt_dir = self.dir.path().join(&name);
        let public_dir = self.dir.path().join("public");
        std::fs::create_dir_all(&attempt_dir).unwrap();
        std::fs::create_dir_all(&public_dir).unwrap();
        std::fs::write(public_dir.join("train.csv"), "id,x\n1,2\n").unwrap();
        std::fs::write(public_dir.join("description.md"), "the competition's own text").unwrap();
        let mut argv: Vec<String> = steps.iter().map(ToString::to_string).collect();
        let program = match self.kind {
            Kind::Docker | Kind::Namespaces => {
                argv.insert(0, "/home/agent/probe".to_string());
                Program::Image { reference: self.image.clone(), argv }
            }
            Kind::Process => {
                argv.insert(0, "probe".to_string());
                Program::Local { agent_dir: probe().parent().map(Path::to_path_buf), argv }
            }
        };
        LaunchSpec {
            name,
            labels: BTreeMap::from([(TEST_LABEL.to_string(), self.label())]),
            competition: "probe-competition".to_string(),
            program,
            env: vec![("AGENT_KEY".to_string(), "agent-value".to_string())],
            public_dir,
            description: "the brief".to_string(),
            instructions: "data is in /home/data/, check at localhost:5000".to_string(),
            attempt_dir: AttemptDir::new(attempt_dir),
            limits: Limits {
                timeout: Duration::from_secs(60),
                grace: Duration::from_secs(10),
                cpus: 1.0,
                memory_bytes: 256 * MIB,
                shm_bytes: 16 * MIB,
                pids: 64,
                disk_bytes: 512 * MIB,
                log_bytes: MIB,
                submission_bytes: MIB,
                nofile: 1024,
            },
            network: Network::Sealed,
            gpus: Vec::new(),
            gpu_access: GpuAccess::default(),
            mounts: Vec::new(),
            data_mode: DataMode::ReadOnly,
            seed: 7,
            privileged: false,
            cpuset: None,
            runtime: None,
            validator: Arc::new(HeaderValidator),
            llm: None,
        }
    }

    /// The value of [`TEST_LABEL`] on everything of this bench.
    pub(crate) fn label(&self) -> String {
        self.dir.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// Runs the probe through `steps` to its end.
    pub(crate) async fn run(&self, steps: &[&str]) -> Finished {
        self.run_with(steps, |_| {}).await
    }

    pub(crate) async fn run_with(
        &self,
        steps: &[&str],
        change: impl FnOnce(&mut LaunchSpec),
    ) -> Finished {
        let mut spec = self.spec(steps);
        change(&mut spec);
        self.drive(spec, None, |_, _| {}).await
    }

    /// Runs a spec to its end; `react` sees every event and can ask for the end.
    pub(crate) async fn drive(
        &self,
        spec: LaunchSpec,
        resume: Option<RunToken>,
        react: impl Fn(&AttemptEvent, &mpsc::Sender<CancelReason>) + Sync,
    ) -> Finished {
        let dir = spec.attempt_dir.root().to_owned();
        let name = spec.name.clone();
        let (sender, mut requests) = mpsc::channel(8);
        let options = WatchOptions {
            sample_every: Duration::from_millis(200),
            disk_every: Duration::from_millis(400),
            host_reserve_bytes: 0,
            ..WatchOptions::default()
        };
        let report = |event: AttemptEvent| react(&event, &sender);
        let end =
            run_attempt(&*self.executor, Arc::new(spec), resume, &options, &mut requests, &report)
                .await;
        assert_eq!(end.left_behind, None);
        let labels = BTreeMap::from([(medalist::attempt::launch::LABEL_NAME.to_string(), name)]);
        assert_eq!(
            self.executor.list_orphans(&labels).await.unwrap(),
            [],
            "the attempt was not removed"
        );
        Finished { end, dir }
    }
}

/// An attempt that ended.
pub(crate) struct Finished {
    pub(crate) end: AttemptEnd,
    pub(crate) dir: PathBuf,
}

impl Finished {
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("run.log")).unwrap_or_default())
            .into_owned()
    }

    /// Text of a salvaged file.
    pub(crate) fn file(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.join(path)).ok()
    }

    /// Names in the attempt's directory.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
