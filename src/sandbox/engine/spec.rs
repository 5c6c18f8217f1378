//! From an attempt's limits to what the engine is asked for. Pure, so that snapshots can show all
//! of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    ResourcesUlimits,
};

use medalist_init::protocol::{INNER_CONTROL, INNER_DATA, INNER_LOG};

use super::images::ImageFacts;
use crate::attempt::launch::{DataMode, LABEL, LABEL_NAME, LaunchSpec};
use crate::attempt::limits::{DRIVER_LIBRARIES, GpuAccess, Network};
use crate::attempt::llm::LlmAccess;

/// Stands for the init as the program of an agent: its path is another in every container.
pub(crate) const INIT_ITSELF: &str = "{init}";

/// What the init needs: it opens /home for all, becomes `nonroot` for good, and signals processes
/// of that user.
const CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETPCAP", "SETUID"];
/// Beginning of the labels that tell our containers.
const OUR_LABELS: &str = "io.medalist.";

/// Where the harness's own files are in one container. The engine follows links of the image when
/// it mounts, so no image may know the name: it is drawn for each container.
#[derive(Debug, Clone)]
pub(crate) struct Inner {
    name: String,
}

impl Inner {
    pub(crate) fn draw() -> Self {
        Self { name: format!(".medalist-{}", uuid::Uuid::new_v4().simple()) }
    }

    /// The directory below `/` that only the container's root can enter.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("/{}/{below}", self.name)
    }

    /// The init, which agents may start too.
    pub(crate) fn init(&self) -> String {
        format!("/{}-init", self.name)
    }
}

/// What is mounted.
pub(crate) struct Mounts<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) init: &'a Path,
    pub(crate) control: &'a Path,
    pub(crate) log: &'a Path,
    /// What is mounted at /home/data and below, as pairs of host path and path below /home/data.
    pub(crate) data: &'a [(PathBuf, String)],
}

/// What this engine can hold.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Capabilities {
    /// Sizes of container layers.
    pub(crate) layer_size: bool,
    /// Open files and processes of a user, which Podman must be told: left alone it asks for more
    /// than it may itself have where that is little.
    pub(crate) told: Option<(u64, u64)>,
}

/// The request that creates the container of an attempt. What an image says of its entrypoint, its
/// user, its directory, its health and its stop signal does not count, and none of its labels can
/// pass for ours.
pub(crate) fn container_body(
    spec: &LaunchSpec,
    image: &ImageFacts,
    env: &[(String, String)],
    mounts: &Mounts<'_>,
    can: Capabilities,
) -> ContainerCreateBody {
    let limits = &spec.limits;
    let mut env: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let forged = image.labels.iter().filter(|name| name.starts_with(OUR_LABELS));
    let mut labels: HashMap<String, String> =
        forged.map(|name| (name.clone(), String::new())).collect();
    labels.extend(spec.labels.clone());
    labels.insert(LABEL.to_string(), crate::attempt::VERSION.to_string());
    labels.insert(LABEL_NAME.to_string(), spec.name.clone());
    let mut host = HostConfig {
        mounts: Some(all_mounts(spec, mounts)),
        network_mode: Some(network_mode(&spec.network).to_string()),
        memory: positive(limits.memory_bytes),
        // The sum of memory and swap: no swap.
        memory_swap: positive(limits.memory_bytes),
        nano_cpus: (limits.cpus > 0.0).then_some((limits.cpus * 1e9) as i64),
        cpuset_cpus: spec.cpuset.clone(),
        pids_limit: positive(limits.pids),
        shm_size: positive(limits.shm_bytes),
        ulimits: Some(ulimits(spec, can)),
        // The init keeps the agent's output; what else the engine would keep has no limit.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_string()), config: None }),
        // Where MLE-bench has the answers there is an empty place that only root can enter.
        tmpfs: Some(HashMap::from([(
            "/private".to_string(),
            "nosuid,nodev,noexec,size=4096,mode=0700".to_string(),
        )])),
        runtime: spec.runtime.clone(),
        init: Some(false),
        ..HostConfig::default()
    };
    if spec.privileged {
        host.privileged = Some(true);
    } else {
        host.cap_drop = Some(vec!["ALL".to_string()]);
        host.cap_add = Some(CAPABILITIES.map(String::from).to_vec());
        host.security_opt = Some(vec!["no-new-privileges".to_string()]);
        host.ipc_mode = Some("private".to_string());
    }
    if can.layer_size && limits.disk_bytes > 0 {
        host.storage_opt =
            Some(HashMap::from([("size".to_string(), limits.disk_bytes.to_string())]));
    }
    let hosts = spec.llm.as_ref().map(LlmAccess::hosts).unwrap_or_default();
    if !hosts.is_empty() {
        // IPv4 alone: clients that find both go to the one that the container need not have.
        host.extra_hosts = Some(hosts.iter().map(|name| format!("{name}:127.0.0.1")).collect());
        // Docker's own setting, which other engines do not make: the init has no right to port 443.
        let any_port = ("net.ipv4.ip_unprivileged_port_start".to_string(), "0".to_string());
        host.sysctls = Some(HashMap::from([any_port]));
    }
    add_gpus(spec, &mut host, &mut env);
    ContainerCreateBody {
        // What was looked at is what runs, whatever becomes of its tag.
        image: Some(image.prepared.id.clone()),
        entrypoint: Some(vec![
            mounts.inner.init(),
            "contain".to_string(),
            mounts.inner.name.clone(),
        ]),
        stop_signal: Some("SIGTERM".to_string()),
        cmd: Some(Vec::new()),
        // For the init, which becomes `nonroot` for good before the agent starts.
        user: Some("0:0".to_string()),
        working_dir: Some("/".to_string()),
        hostname: Some("medalist".to_string()),
        env: Some(env),
        labels: Some(labels),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_string()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn positive(value: u64) -> Option<i64> {
    (value > 0).then(|| i64::try_from(value).unwrap_or(i64::MAX))
}

fn network_mode(network: &Network) -> &'static str {
    match network {
        Network::Sealed | Network::Allowlist(_) => "none",
        Network::Open => "bridge",
    }
}

fn ulimits(spec: &LaunchSpec, can: Capabilities) -> Vec<ResourcesUlimits> {
    let ulimit = |name: &str, value: u64| {
        // -1 is no limit, and so is all that i64 cannot hold.
        let value = i64::try_from(value).unwrap_or(-1);
        ResourcesUlimits { name: Some(name.to_string()), soft: Some(value), hard: Some(value) }
    };
    let mut all = vec![ulimit("core", 0)];
    // The init sets the limit of open files: an engine that is itself limited refuses to start a
    // container with more.
    if let Some((files, processes)) = can.told {
        all.extend([ulimit("nofile", files), ulimit("nproc", processes)]);
    }
    all.extend(spec.limits.largest_file().map(|bytes| ulimit("fsize", bytes)));
    all
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_string()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn all_mounts(spec: &LaunchSpec, mounts: &Mounts<'_>) -> Vec<Mount> {
    let mut all = vec![
        bind(mounts.init, &mounts.inner.init(), true),
        bind(mounts.control, &mounts.inner.path(INNER_CONTROL), false),
        bind(mounts.log, &mounts.inner.path(INNER_LOG), false),
    ];
    let given = given_mounts(spec, mounts.inner, mounts.data);
    all.extend(given.map(|(source, target)| bind(&source, &target, true)));
    all
}

/// What an attempt may read, as pairs of host path and path in the container: `data` is what is mounted
/// at /home/data and below, as pairs of host path and path below /home/data.
pub(crate) fn given_mounts(
    spec: &LaunchSpec,
    inner: &Inner,
    data: &[(PathBuf, String)],
) -> impl Iterator<Item = (PathBuf, String)> {
    let data_at = match spec.data_mode {
        DataMode::ReadOnly => "/home/data".to_string(),
        DataMode::Copy => inner.path(INNER_DATA),
    };
    let own = spec.mounts.iter().map(|(from, to)| (from.clone(), to.display().to_string()));
    let data = data.iter().map(move |(from, below)| {
        let to = if below.is_empty() { data_at.clone() } else { format!("{data_at}/{below}") };
        (from.clone(), to)
    });
    data.chain(own)
}

/// What the GPUs' driver has beside the device nodes, as pairs of host path and path in the container.
pub(crate) fn driver_mounts(access: &GpuAccess) -> impl Iterator<Item = (&Path, String)> {
    let (dirs, files) = match access {
        GpuAccess::DeviceNodes { driver_dirs, driver_files, .. } => {
            (driver_dirs.as_slice(), driver_files.as_slice())
        }
        _ => Default::default(),
    };
    let dirs = dirs.iter().map(|dir| (dir.as_path(), dir.display().to_string()));
    let files = files.iter().filter_map(|file| {
        let name = file.file_name()?.to_string_lossy();
        Some((file.as_path(), format!("{DRIVER_LIBRARIES}/{name}")))
    });
    dirs.chain(files)
}

/// Variables by which the NVIDIA runtime is told what to hand over; neither an image nor an agent
/// may set them.
const VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";
const DRIVER_CAPABILITIES: &str = "NVIDIA_DRIVER_CAPABILITIES";

/// What keeps GPUs out of a container that is not given any.
pub(crate) fn all_gpus_void() -> (String, String) {
    (VISIBLE_DEVICES.to_string(), "void".to_string())
}

fn set(env: &mut Vec<String>, name: &str, value: &str) {
    env.retain(|pair| pair.split_once('=').is_none_or(|(known, _)| known != name));
    env.push(format!("{name}={value}"));
}

fn add_gpus(spec: &LaunchSpec, host: &mut HostConfig, env: &mut Vec<String>) {
    let uuids: Vec<String> = spec.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    // CUDA's base images ask for every GPU, and where the NVIDIA runtime is the daemon's default
    // they get them.
    set(env, VISIBLE_DEVICES, "void");
    if uuids.is_empty() {
        return;
    }
    let list = uuids.join(",");
    set(env, "CUDA_VISIBLE_DEVICES", &list);
    match &spec.gpu_access {
        GpuAccess::DeviceRequest => {
            // The engine fills the variable itself, unless it is there.
            env.retain(|pair| !pair.starts_with(VISIBLE_DEVICES));
            set(env, DRIVER_CAPABILITIES, "compute,utility");
            host.device_requests = Some(vec![DeviceRequest {
                driver: Some("nvidia".to_string()),
                device_ids: Some(uuids),
                capabilities: Some(vec![["gpu", "compute", "utility"].map(String::from).to_vec()]),
                ..DeviceRequest::default()
            }]);
        }
        GpuAccess::NvidiaRuntime => {
            host.runtime = Some("nvidia".to_string());
            set(env, VISIBLE_DEVICES, &list);
            set(env, DRIVER_CAPABILITIES, "compute,utility");
        }
        GpuAccess::Cdi => {
            host.device_requests = Some(vec![DeviceRequest {
                driver: Some("cdi".to_string()),
                device_ids: Some(
                    uuids.iter().map(|uuid| format!("nvidia.com/gpu={uuid}")).collect(),
                ),
                ..DeviceRequest::default()
            }]);
        }
        GpuAccess::DeviceNodes { control_nodes, library_path, .. } => {
            let own = spec.gpus.iter().flat_map(|gpu| &gpu.device_nodes);
            let device = |node: &PathBuf| DeviceMapping {
                path_on_host: Some(node.display().to_string()),
                path_in_container: Some(node.display().to_string()),
                cgroup_permissions: Some("rw".to_string()),
            };
            host.devices = Some(own.chain(control_nodes).map(device).collect());
            let mounts = host.mounts.get_or_insert_default();
            mounts.extend(driver_mounts(&spec.gpu_access).map(|(from, to)| bind(from, &to, true)));
            match env.iter_mut().find(|pair| pair.starts_with("LD_LIBRARY_PATH=")) {
                Some(known) => *known = format!("{known}:{library_path}"),
                None => env.push(format!("LD_LIBRARY_PATH={library_path}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::attempt::dir::AttemptDir;
    use crate::attempt::launch::{PreparedImage, Program, ValidationReply, Validator};
    use crate::attempt::limits::{GpuHandle, Limits};

    struct Nothing;

    impl Validator for Nothing {
        fn validate(&self, _: &Path) -> ValidationReply {
            ValidationReply { valid: false, message: String::new() }
        }
    }

    fn spec() -> LaunchSpec {
        LaunchSpec {
            name: "spaceship-titanic_1".to_string(),
            labels: [("io.medalist.group".to_string(), "g".to_string())].into(),
            competition: "spaceship-titanic".to_string(),
            program: Program::Image { reference: "agent".to_string(), argv: Vec::new() },
            env: Vec::new(),
            public_dir: PathBuf::from("/data/public"),
            description: String::new(),
            instructions: String::new(),
            attempt_dir: AttemptDir::new("/runs/1"),
            limits: Limits { timeout: Duration::from_secs(60), ..Limits::default() },
            network: Network::Sealed,
            gpus: Vec::new(),
            gpu_access: GpuAccess::default(),
            mounts: Vec::new(),
            data_mode: DataMode::ReadOnly,
            seed: 0,
            privileged: false,
            cpuset: None,
            runtime: None,
            validator: Arc::new(Nothing),
            llm: None,
        }
    }

    fn body(spec: &LaunchSpec) -> serde_json::Value {
        let data = [(PathBuf::from("/data/public"), String::new())];
        let inner = Inner { name: ".medalist-x".to_string() };
        let image = ImageFacts {
            prepared: PreparedImage {
                reference: "agent".to_string(),
                id: "sha256:1".to_string(),
                digest: None,
                bytes: 0,
            },
            labels: ["io.medalist.forged", "io.medalist.group", "maintainer"]
                .map(String::from)
                .to_vec(),
            ..ImageFacts::default()
        };
        let mounts = Mounts {
            inner: &inner,
            init: Path::new("/cache/init"),
            control: Path::new("/runs/1/control"),
            log: Path::new("/runs/1/run.log"),
            data: &data,
        };
        let pairs =
            [("SEED", "0"), ("NVIDIA_VISIBLE_DEVICES", "all"), ("CUDA_VISIBLE_DEVICES", "0,1,2,3")];
        let env = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
        serde_json::to_value(container_body(spec, &image, &env, &mounts, Capabilities::default()))
            .unwrap()
    }

    #[test]
    fn limits_become_the_engines_and_the_seal_is_whole() {
        let body = body(&spec());
        let host = &body["HostConfig"];
        let expected = serde_json::json!({
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETPCAP", "SETUID"],
            "SecurityOpt": ["no-new-privileges"],
            "IpcMode": "private",
            "Memory": 34_359_738_368_u64,
            "MemorySwap": 34_359_738_368_u64,
            "NanoCpus": 4_000_000_000_u64,
            "PidsLimit": 4096,
            "ShmSize": 4_294_967_296_u64,
            "LogConfig": {"Type": "none"},
            "Tmpfs": {"/private": "nosuid,nodev,noexec,size=4096,mode=0700"},
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "fsize", "Soft": 214_748_364_800_u64, "Hard": 214_748_364_800_u64},
            ],
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&host[key], value, "{key}");
        }
        for key in [
            "Privileged",
            "Binds",
            "Devices",
            "DeviceRequests",
            "StorageOpt",
            "PidMode",
            "UsernsMode",
        ] {
            assert!(host.get(key).is_none(), "{key}");
        }
        assert_eq!(body["User"], "0:0");
        assert_eq!(
            body["Entrypoint"],
            serde_json::json!(["/.medalist-x-init", "contain", ".medalist-x"])
        );
        assert_eq!(
            (body["Image"].as_str(), body["StopSignal"].as_str()),
            (Some("sha256:1"), Some("SIGTERM"))
        );
        assert_eq!(
            (body["WorkingDir"].as_str(), &body["Healthcheck"]["Test"]),
            (Some("/"), &serde_json::json!(["NONE"]))
        );
        assert_eq!(body["Labels"]["io.medalist.forged"], "");
        assert_eq!(body["Labels"]["io.medalist.group"], "g", "ours win");
        assert!(body["Labels"].get("maintainer").is_none());
        let mounts: Vec<(&str, bool)> = host["Mounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| (mount["Target"].as_str().unwrap(), mount["ReadOnly"].as_bool().unwrap()))
            .collect();
        let inner = [
            ("/.medalist-x-init", true),
            ("/.medalist-x/control", false),
            ("/.medalist-x/run.log", false),
        ];
        assert_eq!(mounts[..3], inner);
        assert_eq!(mounts[3..], [("/home/data", true)]);
    }

    #[test]
    fn no_limit_is_left_out() {
        let mut spec = spec();
        spec.limits = Limits {
            cpus: 0.0,
            memory_bytes: 0,
            pids: 0,
            disk_bytes: 0,
            nofile: 0,
            shm_bytes: 0,
            ..spec.limits
        };
        let body = body(&spec);
        for key in ["Memory", "MemorySwap", "NanoCpus", "PidsLimit", "ShmSize"] {
            assert!(body["HostConfig"].get(key).is_none(), "{key}");
        }
        assert_eq!(body["HostConfig"]["Ulimits"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn only_an_open_network_has_one() {
        let mut spec = spec();
        for (network, mode) in [
            (Network::Open, "bridge"),
            (Network::Allowlist(vec!["example.org".to_string()]), "none"),
        ] {
            spec.network = network;
            assert_eq!(body(&spec)["HostConfig"]["NetworkMode"], mode);
        }
    }

    #[test]
    fn gpus_are_handed_over_by_uuid_in_each_way() {
        let mut spec = spec();
        // What the agent's own settings say about GPUs is not heard.
        let env_of = |body: &serde_json::Value, name: &str| -> Vec<String> {
            let all = body["Env"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|pair| pair.as_str()?.split_once('='));
            all.filter(|(known, _)| *known == name).map(|(_, value)| value.to_string()).collect()
        };
        let visible = "NVIDIA_VISIBLE_DEVICES";
        assert_eq!(
            env_of(&body(&spec), visible),
            ["void"],
            "an image that asks for all GPUs gets none"
        );
        spec.gpus = vec![GpuHandle {
            uuid: "GPU-1".to_string(),
            index: 3,
            device_nodes: vec![PathBuf::from("/dev/nvidia3")],
        }];
        assert_eq!(
            env_of(&body(&spec), visible),
            [] as [&str; 0],
            "the engine sets it from the request"
        );
        assert_eq!(env_of(&body(&spec), "CUDA_VISIBLE_DEVICES"), ["GPU-1"]);
        let request = &body(&spec)["HostConfig"]["DeviceRequests"][0];
        assert_eq!(request["DeviceIDs"], serde_json::json!(["GPU-1"]));
        spec.gpu_access = GpuAccess::Cdi;
        let request = &body(&spec)["HostConfig"]["DeviceRequests"][0];
        assert_eq!(request["DeviceIDs"], serde_json::json!(["nvidia.com/gpu=GPU-1"]));
        assert_eq!(env_of(&body(&spec), visible), ["void"]);
        spec.gpu_access = GpuAccess::NvidiaRuntime;
        let with_runtime = body(&spec);
        assert_eq!(with_runtime["HostConfig"]["Runtime"], "nvidia");
        assert_eq!(env_of(&with_runtime, visible), ["GPU-1"]);
        spec.gpu_access = GpuAccess::DeviceNodes {
            control_nodes: vec![PathBuf::from("/dev/nvidiactl")],
            driver_dirs: vec![PathBuf::from("/usr/local/nvidia")],
            driver_files: Vec::new(),
            library_path: "/usr/local/nvidia/lib64".to_string(),
        };
        let plain = body(&spec);
        let nodes: Vec<&str> = plain["HostConfig"]["Devices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|device| device["PathInContainer"].as_str().unwrap())
            .collect();
        assert_eq!(nodes, ["/dev/nvidia3", "/dev/nvidiactl"]);
        assert!(
            plain["Env"]
                .as_array()
                .unwrap()
                .contains(&"LD_LIBRARY_PATH=/usr/local/nvidia/lib64".into())
        );
        let last = plain["HostConfig"]["Mounts"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            (last["Target"].as_str(), last["ReadOnly"].as_bool()),
            (Some("/usr/local/nvidia"), Some(true))
        );
    }

    #[test]
    fn a_privileged_agent_has_no_seal_and_says_so() {
        let mut spec = spec();
        spec.privileged = true;
        let host = &body(&spec)["HostConfig"];
        assert_eq!(host["Privileged"], true);
        assert!(host.get("CapDrop").is_none());
    }
}
