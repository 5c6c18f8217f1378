//! What a container is started with: its name, environment, mounts, and the init's orders.

use std::path::PathBuf;

use medalist_init::protocol;

use crate::attempt::launch::{DataMode, ExecutorError, LaunchSpec, agent_env};
use crate::attempt::limits::Network;
use crate::attempt::llm::{self, LlmAccess};
use crate::sandbox::control::{self, Control};
use crate::sandbox::engine::{EngineInfo, INIT_ITSELF, Inner};
use crate::sandbox::services;

/// Entries of the public data that are mounted one by one when `description.md` is not among them.
const SINGLE_MOUNTS: usize = 200;

pub(super) fn remaps_users(info: &EngineInfo) -> bool {
    info.security.iter().any(|option| option.contains("userns"))
}

pub(crate) fn container_launch(
    spec: &LaunchSpec,
    argv: &[String],
    workdir: &str,
    inner: &Inner,
) -> protocol::Launch {
    let default_argv = ["bash".to_string(), "/home/agent/start.sh".to_string()];
    let mut argv = if argv.is_empty() { default_argv.to_vec() } else { argv.to_vec() };
    if argv[0] == INIT_ITSELF {
        argv[0] = inner.init();
    }
    let mut forwards = vec![control::forward(control::VALIDATE_PORT, services::VALIDATE_SOCKET)];
    if let Network::Allowlist(_) = spec.network {
        forwards.push(control::forward(control::PROXY_PORT, services::PROXY_SOCKET));
    }
    if spec.llm.is_some() {
        forwards.push(control::llm_forward(llm::PORT, services::LLM_SOCKET));
    }
    let trust = serves_hosts(spec);
    if trust {
        forwards.push(control::llm_forward(llm::TLS_PORT, services::LLM_TLS_SOCKET));
    }
    let workdir = workdir.trim_end_matches('/');
    protocol::Launch {
        container: true,
        home: "/home".to_string(),
        workdir: (!workdir.is_empty()).then(|| workdir.to_string()),
        copy_data: spec.data_mode == DataMode::Copy,
        // Where the control group does not hold them.
        watch_memory_bytes: spec.limits.memory_bytes,
        watch_pids: spec.limits.pids,
        trust,
        // What the image itself says of these is where its own authorities are, which the init asks.
        env: if trust { trust_env(spec) } else { Vec::new() },
        ..control::launch(spec, &argv, forwards)
    }
}

/// Whether the container reaches providers by their own names.
fn serves_hosts(spec: &LaunchSpec) -> bool {
    spec.llm.as_ref().is_some_and(|llm| llm.attempt.tls().is_some())
}

fn trust_env(spec: &LaunchSpec) -> Vec<(String, String)> {
    let below = |name: &str| format!("/{}/{name}", protocol::TRUST_DIR);
    let mut env = llm::trust(&below(protocol::CA), &below(protocol::BUNDLE));
    // An agent that says where its own authorities are knows better.
    env.retain(|(name, _)| !spec.env.iter().any(|(own, _)| own == name));
    env
}

pub(super) fn container_name(spec: &LaunchSpec) -> String {
    format!("medalist-{}", spec.name)
}

/// What Podman is told of open files and processes: no more than this process may have, which is
/// started like it, and no more processes than the kernel numbers, to which Podman lowers its own
/// limit.
pub(super) fn podman_limits(info: &EngineInfo) -> Option<(u64, u64)> {
    use nix::sys::resource::{Resource, getrlimit};
    let hard = |resource| getrlimit(resource).ok().map(|(_, hard)| hard);
    let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    let limits = hard(Resource::RLIMIT_NOFILE)
        .zip(hard(Resource::RLIMIT_NPROC).map(|most| most.min(pid_max)));
    limits.filter(|_| info.podman)
}

pub(crate) fn container_env(spec: &LaunchSpec) -> Vec<(String, String)> {
    let mut env = Vec::new();
    if let Network::Allowlist(_) = spec.network {
        let proxy = format!("http://127.0.0.1:{}", control::PROXY_PORT);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            env.push((name.to_string(), proxy.clone()));
        }
        let hosts = spec.llm.iter().flat_map(LlmAccess::hosts);
        let direct: Vec<String> =
            ["localhost".to_string(), "127.0.0.1".to_string()].into_iter().chain(hosts).collect();
        for name in ["NO_PROXY", "no_proxy"] {
            env.push((name.to_string(), direct.join(",")));
        }
    }
    env.push(("GRADING_SERVER_PORT".to_string(), control::VALIDATE_PORT.to_string()));
    env.push((
        "MEDALIST_VALIDATE_URL".to_string(),
        format!("http://localhost:{}/validate", control::VALIDATE_PORT),
    ));
    env.extend(agent_env(spec, "/home", llm::PORT));
    env
}

/// What to mount at /home/data: the public directory with our `description.md` over its own. Where
/// it has none there is nothing to mount over, and a mount must not write to the data: its entries
/// are then mounted one by one.
pub(crate) fn data_mounts(
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
