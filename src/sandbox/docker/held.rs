//! Which limits an engine's control groups really hold.
//!
//! An engine of a plain user takes every limit, and with control groups of version 1, or without a
//! group that was handed to the user, does nothing with it but write a warning to its own log. What it
//! says of itself describes the machine and not the user. Where nobody holds a limit, the init
//! measures.

use crate::sandbox::Enforcement;
use crate::sandbox::engine::EngineInfo;

/// What a rootless engine's control groups hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) memory: bool,
    pub(super) swap: bool,
    pub(super) pids: bool,
    pub(super) cpus: bool,
}

impl Held {
    /// What `engine` holds on this machine.
    pub(super) fn by(engine: &EngineInfo) -> Self {
        let user = nix::unistd::getuid();
        let delegated = format!(
            "/sys/fs/cgroup/user.slice/user-{user}.slice/user@{user}.service/cgroup.controllers"
        );
        Self::of(engine, &std::fs::read_to_string(delegated).unwrap_or_default())
    }

    /// The same, where `delegated` names the controllers that systemd has handed to the user.
    fn of(engine: &EngineInfo, delegated: &str) -> Self {
        let says = Self {
            memory: engine.memory_limit,
            swap: engine.swap_limit,
            pids: engine.pids_limit,
            cpus: engine.cpu_limit,
        };
        if !engine.rootless {
            return says;
        }
        let usable = engine.cgroup_version == "2" && engine.cgroup_driver == "systemd";
        let has = |controller: &str| {
            usable && delegated.split_whitespace().any(|known| known == controller)
        };
        Self {
            memory: says.memory && has("memory"),
            swap: says.swap && has("memory"),
            pids: says.pids && has("pids"),
            cpus: says.cpus && has("cpu"),
        }
    }

    /// Whether the group that a container sees is its own.
    pub(super) fn own_group(self) -> bool {
        self.memory || self.pids || self.cpus
    }

    /// By limit, who holds it.
    pub(super) fn limits(self) -> [(&'static str, Enforcement); 4] {
        let or = |held: bool, otherwise: Enforcement| {
            if held { Enforcement::Kernel } else { otherwise }
        };
        [
            ("cpus", or(self.cpus, Enforcement::None)),
            ("memory", or(self.memory, Enforcement::Watched)),
            ("swap", or(self.swap, Enforcement::None)),
            ("pids", or(self.pids, Enforcement::Watched)),
        ]
    }

    /// What the user should know of a rootless engine.
    pub(super) fn warning(self, engine: &EngineInfo) -> Option<String> {
        if !engine.rootless || (self.memory && self.pids && self.cpus) {
            return None;
        }
        let why = match engine.cgroup_version.as_str() {
            "1" => "control groups have version 1".to_string(),
            _ if engine.cgroup_driver != "systemd" => {
                format!("its manager of control groups is `{}`", engine.cgroup_driver)
            }
            _ => "systemd has not handed it the controllers".to_string(),
        };
        Some(format!(
            "the engine is a plain user's and {why}: it ignores limits that it is given. Memory and processes are measured by the \
             init, which ends an agent above its limit, and processors are not limited; `cpu_s` is counted from the agent's own processes"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(rootless: bool, version: &str, driver: &str) -> EngineInfo {
        EngineInfo {
            rootless,
            cgroup_version: version.to_string(),
            cgroup_driver: driver.to_string(),
            memory_limit: true,
            swap_limit: true,
            pids_limit: true,
            cpu_limit: true,
            ..EngineInfo::default()
        }
    }

    #[test]
    fn a_plain_users_engine_holds_what_was_handed_to_the_user() {
        let all = Held { memory: true, swap: true, pids: true, cpus: true };
        let nothing = Held { memory: false, swap: false, pids: false, cpus: false };
        for (engine, delegated, expected) in [
            (engine(false, "1", "cgroupfs"), "", all),
            (engine(false, "2", "systemd"), "", all),
            (engine(true, "1", "cgroupfs"), "cpu memory pids", nothing),
            (engine(true, "2", "cgroupfs"), "cpu memory pids", nothing),
            (engine(true, "2", "systemd"), "", nothing),
            (engine(true, "2", "systemd"), "memory pids", Held { cpus: false, ..all }),
            (engine(true, "2", "systemd"), "cpuset cpu io memory pids", all),
        ] {
            let held = Held::of(&engine, delegated);
            assert_eq!(held, expected, "{engine:?} {delegated}");
            let warned = held.warning(&engine).is_some();
            assert_eq!(warned, engine.rootless && held != all, "{engine:?} {delegated}");
            assert_eq!(held.own_group(), held != nothing);
        }
    }

    #[test]
    fn what_is_not_held_is_never_called_so() {
        let limits = Held { memory: false, swap: false, pids: false, cpus: false }.limits();
        assert!(limits.iter().all(|(_, by)| *by != Enforcement::Kernel), "{limits:?}");
    }
}
