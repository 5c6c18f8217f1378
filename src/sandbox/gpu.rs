//! Which way a GPU gets into a container on this machine: a probe container for each, and the first
//! that works is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Executor, ExecutorInfo, Stop, StopReason};
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::{DataMode, LaunchSpec, Program, ValidationReply, Validator};
use crate::attempt::limits::{DRIVER_LIBRARIES, GpuAccess, GpuHandle, Limits, Network};
use crate::attempt::plan::{AccessKind, MountSpec};
use crate::attempt::text::chain;
use crate::host::gpu::Gpu;
use crate::sandbox::engine::INIT_ITSELF;

/// Names a directory of the driver's own with `lib64` or `lib` in it, for machines without the
/// toolkit.
pub const DRIVER_DIR_VARIABLE: &str = "MEDALIST_GPU_DRIVER_DIR";
/// How long a probe container may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// In the order in which they are tried.
const WAYS: [AccessKind; 4] = [
    AccessKind::DeviceRequest,
    AccessKind::NvidiaRuntime,
    AccessKind::Cdi,
    AccessKind::DeviceNodes,
];
/// Libraries of the driver that CUDA programs load, by the beginning of their names.
const DRIVER_FILES: [&str; 7] = [
    "libcuda.so",
    "libcudadebugger.so",
    "libnvidia-ml.so",
    "libnvidia-ptxjitcompiler.so",
    "libnvidia-nvvm",
    "libnvidia-gpucomp.so",
    "libnvidia-allocator.so",
];

/// What the probes found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The first way that works.
    pub works: Option<GpuAccess>,
    /// Every way that was tried, and why it does not work if so.
    pub tried: Vec<(AccessKind, Result<(), String>)>,
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |kind: AccessKind| {
            clap::ValueEnum::to_possible_value(&kind)
                .map_or(String::new(), |v| v.get_name().to_owned())
        };
        let words = self.tried.iter().map(|(kind, result)| match result {
            Ok(()) => format!("{} works", name(*kind)),
            Err(why) => format!("{}: {why}", name(*kind)),
        });
        f.write_str(&words.collect::<Vec<_>>().join("; "))
    }
}

/// Tries the ways of a GPU into a container of `image`, or the one that is wished. `scratch` is a
/// directory that the engine can mount from.
pub async fn probe(
    executor: &dyn Executor,
    info: &ExecutorInfo,
    gpu: &Gpu,
    image: &str,
    mounts: &[MountSpec],
    wish: Option<AccessKind>,
    scratch: &Path,
) -> Probe {
    let mut probe = Probe { works: None, tried: Vec::new() };
    for kind in WAYS.into_iter().filter(|kind| wish.is_none_or(|wish| wish == *kind)) {
        let result = async {
            let access = access(kind, info, gpu)?;
            let log = look_inside(executor, gpu, image, mounts, &access, scratch).await?;
            verdict(&log, gpu)?;
            Ok(access)
        };
        match result.await {
            Ok(access) => {
                probe.works = Some(access);
                probe.tried.push((kind, Ok(())));
                break;
            }
            Err(why) => probe.tried.push((kind, Err(why))),
        }
    }
    probe
}

/// What a way comes to on this machine, or why it cannot even be tried.
fn access(kind: AccessKind, info: &ExecutorInfo, gpu: &Gpu) -> Result<GpuAccess, String> {
    let detail = |name: &str| info.details.get(name).map(String::as_str).unwrap_or_default();
    match kind {
        AccessKind::DeviceRequest => Ok(GpuAccess::DeviceRequest),
        AccessKind::NvidiaRuntime => {
            let has = detail("runtimes").split_whitespace().any(|name| name == "nvidia");
            has.then_some(GpuAccess::NvidiaRuntime)
                .ok_or_else(|| "the engine has no runtime `nvidia`".to_owned())
        }
        AccessKind::Cdi => (detail("cdi") == "true")
            .then_some(GpuAccess::Cdi)
            .ok_or_else(|| "the engine does not speak CDI".to_owned()),
        AccessKind::DeviceNodes if gpu.is_slice() => {
            Err("a MIG slice needs the NVIDIA Container Toolkit, it has no device node of its own"
                .to_owned())
        }
        AccessKind::DeviceNodes => {
            device_nodes(Path::new("/"), std::env::var_os(DRIVER_DIR_VARIABLE).map(PathBuf::from))
        }
    }
}

/// The nodes and libraries of the driver below `root`.
fn device_nodes(root: &Path, named: Option<PathBuf>) -> Result<GpuAccess, String> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let control: Vec<PathBuf> = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
        .into_iter()
        .filter(|node| below(node).exists())
        .map(PathBuf::from)
        .collect();
    for needed in ["/dev/nvidiactl", "/dev/nvidia-uvm"] {
        if !control.iter().any(|node| node == Path::new(needed)) {
            return Err(format!("`{needed}` is missing; `nvidia-modprobe -u -c=0` makes it"));
        }
    }
    let own = named.into_iter().chain([PathBuf::from("/usr/local/nvidia")]);
    for dir in own {
        for lib in ["lib64", "lib"] {
            let libraries = dir.join(lib);
            if below(&libraries.display().to_string()).join("libcuda.so.1").exists() {
                return Ok(GpuAccess::DeviceNodes {
                    control_nodes: control,
                    driver_dirs: vec![dir],
                    driver_files: Vec::new(),
                    library_path: libraries.display().to_string(),
                });
            }
        }
    }
    for dir in ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
    {
        if !below(dir).join("libcuda.so.1").exists() {
            continue;
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(below(dir))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                DRIVER_FILES.iter().any(|start| name.starts_with(start))
            })
            .map(|entry| Path::new(dir).join(entry.file_name()))
            .collect();
        files.sort();
        return Ok(GpuAccess::DeviceNodes {
            control_nodes: control,
            driver_dirs: Vec::new(),
            driver_files: files,
            library_path: DRIVER_LIBRARIES.to_owned(),
        });
    }
    Err(format!(
        "`libcuda.so.1` is in none of the usual places; `{DRIVER_DIR_VARIABLE}` can name the driver's directory"
    ))
}

struct Nobody;

impl Validator for Nobody {
    fn validate(&self, _: &Path) -> ValidationReply {
        ValidationReply { valid: false, message: String::new() }
    }
}

/// Starts a container as an attempt's is started, with the GPU, and gives what its init found in
/// it.
async fn look_inside(
    executor: &dyn Executor,
    gpu: &Gpu,
    image: &str,
    mounts: &[MountSpec],
    access: &GpuAccess,
    scratch: &Path,
) -> Result<String, String> {
    let scratch = tempfile::Builder::new()
        .prefix(".gpu-probe-")
        .tempdir_in(scratch)
        .map_err(|error| error.to_string())?;
    let attempt_dir = AttemptDir::new(scratch.path());
    let public_dir = scratch.path().join("public");
    std::fs::create_dir(&public_dir).map_err(|error| error.to_string())?;
    let name = scratch
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .trim_start_matches('.')
        .to_owned();
    let spec = LaunchSpec {
        name,
        labels: BTreeMap::new(),
        competition: "gpu-probe".to_owned(),
        program: Program::Image {
            reference: image.to_owned(),
            argv: [INIT_ITSELF, "gpus"].map(str::to_owned).to_vec(),
        },
        env: Vec::new(),
        public_dir,
        description: String::new(),
        instructions: String::new(),
        attempt_dir: attempt_dir.clone(),
        limits: Limits {
            timeout: PATIENCE,
            grace: Duration::ZERO,
            memory_bytes: 0,
            cpus: 0.0,
            ..Limits::default()
        },
        network: Network::Sealed,
        gpus: vec![handle(gpu)],
        gpu_access: access.clone(),
        mounts: mounts.iter().map(|mount| (mount.source.clone(), mount.target.clone())).collect(),
        data_mode: DataMode::ReadOnly,
        seed: 0,
        privileged: false,
        cpuset: None,
        runtime: None,
        validator: Arc::new(Nobody),
        llm: None,
    };
    let running = executor.start(Arc::new(spec)).await.map_err(|error| chain(&error))?;
    let ended = tokio::time::timeout(PATIENCE, running.wait()).await;
    if ended.is_err() {
        let _ = running.stop(Stop::Kill, &StopReason::Abandoned).await;
    }
    let log = std::fs::read_to_string(attempt_dir.log());
    let removed = running.remove().await;
    match ended {
        Err(_) => {
            return Err(format!("the probe container did not end within {} s", PATIENCE.as_secs()));
        }
        Ok(Err(error)) => return Err(chain(&error)),
        Ok(Ok(_)) => removed.map_err(|error| chain(&error))?,
    }
    log.map_err(|error| error.to_string())
}

/// What an executor is given for a GPU.
pub fn handle(gpu: &Gpu) -> GpuHandle {
    GpuHandle {
        uuid: gpu.uuid.clone(),
        index: gpu.index,
        device_nodes: gpu
            .minor
            .iter()
            .map(|minor| PathBuf::from(format!("/dev/nvidia{minor}")))
            .collect(),
    }
}

/// Whether the init found the GPU, the whole driver, and no other GPU.
fn verdict(log: &str, gpu: &Gpu) -> Result<(), String> {
    let mut devices = Vec::new();
    let (mut control, mut library, mut listed) = (false, false, None);
    for line in log.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["node", "/dev/nvidiactl", "open"] => control = true,
            ["node", node, rest @ ..] => {
                let number =
                    node.strip_prefix("/dev/nvidia").and_then(|rest| rest.parse::<u32>().ok());
                if let Some(number) = number {
                    if *rest != ["open"] {
                        return Err(format!(
                            "`{node}` cannot be opened in the container: {}",
                            rest.join(" ")
                        ));
                    }
                    devices.push(number);
                }
            }
            ["library", ..] => library = true,
            ["smi", ..] => listed = Some(listed.unwrap_or(false) || line.contains(&gpu.uuid)),
            _ => {}
        }
    }
    match devices.as_slice() {
        [] => return Err("no GPU is in the container".to_owned()),
        [one] if gpu.minor.is_none_or(|minor| minor == *one) => {}
        others => {
            return Err(format!("GPUs {others:?} are in the container, expected {:?}", gpu.minor));
        }
    }
    if !control {
        return Err("`/dev/nvidiactl` is not in the container".to_owned());
    }
    if !library {
        return Err("the driver's `libcuda.so.1` is not in the container".to_owned());
    }
    if listed == Some(false) {
        return Err(format!("`nvidia-smi` does not list `{}` in the container", gpu.uuid));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::fake::FakeExecutor;

    fn gpu() -> Gpu {
        Gpu {
            uuid: "GPU-1".into(),
            model: "GPU".into(),
            memory_bytes: 1,
            device: "GPU-1".into(),
            index: 0,
            minor: Some(3),
            numa: None,
        }
    }

    #[test]
    fn a_container_must_hold_the_card_the_driver_and_no_other_card() {
        let whole = "node /dev/nvidia-uvm open\nnode /dev/nvidia3 open\nnode /dev/nvidiactl open\nlibrary /usr/lib64/libcuda.so.1\n";
        assert_eq!(verdict(whole, &gpu()), Ok(()));
        assert_eq!(verdict(&format!("{whole}smi GPU 0: model (UUID: GPU-1)\n"), &gpu()), Ok(()));
        let cases = [
            (whole.replace("nvidia3", "nvidia2"), "expected Some(3)"),
            (format!("{whole}node /dev/nvidia4 open\n"), "[3, 4]"),
            (
                whole
                    .replace("node /dev/nvidia3 open", "node /dev/nvidia3 Operation not permitted"),
                "not permitted",
            ),
            (whole.replace("node /dev/nvidiactl open\n", ""), "nvidiactl"),
            (whole.replace("library", "x"), "libcuda"),
            (format!("{whole}smi GPU 0: model (UUID: GPU-2)\n"), "does not list"),
            (String::new(), "no GPU"),
        ];
        for (log, why) in cases {
            let error = verdict(&log, &gpu()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_driver_is_found_in_its_own_directory_or_among_the_systems() {
        let temp = tempfile::tempdir().unwrap();
        let touch = |path: &str| {
            let path = temp.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let found = || device_nodes(temp.path(), None);
        assert!(found().unwrap_err().contains("/dev/nvidiactl"));
        touch("dev/nvidiactl");
        assert!(found().unwrap_err().contains("nvidia-modprobe"));
        touch("dev/nvidia-uvm");
        assert!(found().unwrap_err().contains("libcuda.so.1"));
        for name in ["libcuda.so.1", "libnvidia-ml.so.1", "libc.so.6"] {
            touch(&format!("usr/lib/x86_64-linux-gnu/{name}"));
        }
        let GpuAccess::DeviceNodes { driver_files, library_path, .. } = found().unwrap() else {
            panic!("device nodes")
        };
        assert_eq!(driver_files.len(), 2, "{driver_files:?}");
        assert_eq!(library_path, DRIVER_LIBRARIES);
        touch("usr/local/nvidia/lib64/libcuda.so.1");
        let GpuAccess::DeviceNodes { driver_dirs, control_nodes, .. } = found().unwrap() else {
            panic!("device nodes")
        };
        assert_eq!(
            (driver_dirs, control_nodes.len()),
            (vec![PathBuf::from("/usr/local/nvidia")], 2)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn every_way_that_fails_says_why() {
        let executor = FakeExecutor::new(|_| crate::sandbox::fake::Script {
            start_error: Some("could not select device driver".into()),
            ..Default::default()
        });
        let info = executor.check().await.unwrap();
        let temp = tempfile::tempdir().unwrap();
        let probe = probe(
            &executor,
            &info,
            &Gpu { uuid: "MIG-1".into(), ..gpu() },
            "image",
            &[],
            None,
            temp.path(),
        )
        .await;
        assert_eq!(probe.works, None);
        let text = probe.to_string();
        for part in [
            "device-request: could not select",
            "no runtime `nvidia`",
            "CDI",
            "device-nodes: a MIG slice",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "nothing is left");
    }
}
