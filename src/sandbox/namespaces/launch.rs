//! What a container without an engine is started with.

use std::path::{Path, PathBuf};

use medalist_init::protocol;

use super::{Ground, Unpacked};
use crate::attempt::launch::{ExecutorError, LaunchSpec};
use crate::attempt::limits::{GpuAccess, Network};
use crate::attempt::llm::LlmAccess;
use crate::sandbox::docker::launch::{container_env, container_launch};
use crate::sandbox::engine::{Inner, all_gpus_void, driver_mounts, given_mounts};

/// Between two looks of the supervisor at memory and processes.
const SAMPLE_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
/// What an image that names no places of programs gets, as from Docker.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Set for the agent's user, whatever the image says.
const OF_THE_USER: [&str; 2] = ["HOME", "USER"];

/// Where an attempt's container lies on the machine's disk.
#[derive(Debug, Clone)]
pub(super) struct Storage(pub(super) PathBuf);

impl Storage {
    /// What the agent writes, seen as the container's `/`.
    pub(super) fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.upper().join("home")
    }
}

/// What must not be asked of this executor.
pub(super) fn check(spec: &LaunchSpec) -> Result<(), ExecutorError> {
    let refuse = |what: &str| {
        Err(ExecutorError::Unsupported { what: format!("`--executor namespaces` has no {what}") })
    };
    if spec.privileged {
        return refuse("privileged containers");
    }
    if spec.network == Network::Open {
        return refuse(
            "open network: give the hosts that the agent may reach (`--network HOST,...`)",
        );
    }
    if let Some(runtime) = &spec.runtime {
        return refuse(&format!("runtimes such as `{runtime}`"));
    }
    if spec.cpuset.is_some() {
        return refuse("`cpuset_cpus`: start medalist itself under `taskset`");
    }
    if !spec.gpus.is_empty() && !matches!(spec.gpu_access, GpuAccess::DeviceNodes { .. }) {
        return refuse("way to hand over GPUs but `--gpu-access device-nodes`");
    }
    Ok(())
}

/// The init's orders. `data` is what is mounted at `/home/data` and below it.
pub(super) fn orders(
    spec: &LaunchSpec,
    argv: &[String],
    image: &Unpacked,
    ground: &Ground,
    storage: &Storage,
    data: &[(PathBuf, String)],
) -> protocol::Launch {
    let inner = Inner::draw();
    let launch = container_launch(spec, argv, image.workdir(), &inner);
    let limits = &spec.limits;
    let program = inner.init();
    let mut binds = vec![(shown(&init_path()), program.trim_start_matches('/').to_string())];
    let given = given_mounts(spec, &inner, data);
    binds.extend(given.map(|(from, to)| (shown(&from), to.trim_start_matches('/').to_string())));
    let mut env = environment(spec, image);
    let devices = add_gpus(spec, &mut binds, &mut env);
    env.extend(launch.env.clone());
    protocol::Launch {
        // The supervisor is on this machine.
        container: false,
        log: shown(&spec.attempt_dir.log()),
        env,
        sample_every: SAMPLE_EVERY,
        fsize: limits.largest_file().unwrap_or(0),
        namespaces: Some(protocol::Namespaces {
            image: shown(&image.files),
            storage: shown(&storage.0),
            overlay: ground.no_overlay.is_none(),
            uid_map: ground.maps.users.clone(),
            gid_map: ground.maps.groups.clone(),
            binds,
            devices,
            hosts: hosts(spec),
            shm_bytes: limits.shm_bytes,
            program,
        }),
        ..launch
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The init as a file; it was written before anything is started.
fn init_path() -> PathBuf {
    crate::sandbox::cache::init_program().unwrap_or_default()
}

/// The image's variables, and over them what every agent is told.
fn environment(spec: &LaunchSpec, image: &Unpacked) -> Vec<(String, String)> {
    let own = image.settings.env.iter().flatten().filter_map(|pair| pair.split_once('='));
    let own = own.filter(|(name, _)| !name.is_empty() && !OF_THE_USER.contains(name));
    let mut env = vec![("PATH".to_string(), PATH.to_string())];
    env.extend(own.map(|(name, value)| (name.to_string(), value.to_string())));
    env.extend(container_env(spec));
    env
}

fn hosts(spec: &LaunchSpec) -> String {
    let named = spec.llm.as_ref().map(LlmAccess::hosts).unwrap_or_default();
    let named = named.iter().map(|name| format!("127.0.0.1\t{name}\n"));
    let fixed = "127.0.0.1\tlocalhost medalist\n::1\tlocalhost ip6-localhost\n".to_string();
    std::iter::once(fixed).chain(named).collect()
}

/// The device nodes of the attempt's GPUs, with what the driver has beside them.
fn add_gpus(
    spec: &LaunchSpec,
    binds: &mut Vec<(String, String)>,
    env: &mut Vec<(String, String)>,
) -> Vec<String> {
    env.push(all_gpus_void());
    let GpuAccess::DeviceNodes { control_nodes, library_path, .. } = &spec.gpu_access else {
        return Vec::new();
    };
    if spec.gpus.is_empty() {
        return Vec::new();
    }
    let uuids: Vec<&str> = spec.gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
    env.push(("CUDA_VISIBLE_DEVICES".to_string(), uuids.join(",")));
    binds.extend(driver_mounts(&spec.gpu_access).map(|(from, to)| (shown(from), to)));
    let known = env.iter().rev().find(|(name, _)| name == "LD_LIBRARY_PATH");
    let path = known.map_or(library_path.clone(), |(_, known)| format!("{known}:{library_path}"));
    env.push(("LD_LIBRARY_PATH".to_string(), path));
    let own = spec.gpus.iter().flat_map(|gpu| &gpu.device_nodes);
    own.chain(control_nodes).map(|node| shown(node)).collect()
}
