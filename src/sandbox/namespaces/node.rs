//! This machine as far as containers without an engine need it: a directory on its own disk, the
//! users that this user may hand out, and the program that acts as them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;

use medalist_init::protocol::IdMap;
use nix::unistd::{Uid, User, getgid, getuid};

use super::worker::{ARGUMENT, Done, Fault, Work};
use crate::host::machine;
use crate::sandbox::cache;

/// The users of root's containers: of the numbers that are reserved for containers, the last.
const ROOTS_RANGE: (u32, u32) = (1_878_982_657, 65_535);
/// The most users that a container gets, and the fewest that are worth a range.
const MOST: u32 = 65_536;
const FEWEST: u32 = 2_000;

/// Which users of the machine a container's are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Maps {
    pub(super) users: String,
    pub(super) groups: String,
}

impl Maps {
    /// Names the maps in paths: images are unpacked for one of them.
    pub(super) fn name(&self) -> String {
        match IdMap::parse(&self.users) {
            Ok(map) if !map.is_single() => format!("from-{}", map.0[1].1),
            _ => "one-user".to_string(),
        }
    }

    pub(super) fn is_single(&self) -> bool {
        IdMap::parse(&self.users).is_ok_and(|map| map.is_single())
    }

    /// What this user may try, the best first.
    pub(super) fn candidates() -> Vec<Self> {
        let (user, group) = (getuid(), getgid());
        if user.is_root() {
            let (first, count) = ROOTS_RANGE;
            let map = format!("0:0:1,1:{first}:{count}");
            return vec![Self { users: map.clone(), groups: map }];
        }
        let ranged = || {
            let of = |table: &str, own: u32| {
                let text = std::fs::read_to_string(table).ok()?;
                let (first, count) = range_of(&text, user, &user_name(user))?;
                Some(format!("0:{own}:1,1:{first}:{count}"))
            };
            let there =
                ["newuidmap", "newgidmap"].iter().all(|program| machine::has_program(program));
            let users = of("/etc/subuid", user.as_raw()).filter(|_| there)?;
            Some(Self { users, groups: of("/etc/subgid", group.as_raw())? })
        };
        let single = Self { users: format!("0:{user}:1"), groups: format!("0:{group}:1") };
        ranged().into_iter().chain([single]).collect()
    }
}

fn user_name(user: Uid) -> String {
    User::from_uid(user).ok().flatten().map(|user| user.name).unwrap_or_default()
}

/// The user's numbers in `/etc/subuid` or `/etc/subgid`: the first and how many.
fn range_of(table: &str, user: Uid, name: &str) -> Option<(u32, u32)> {
    table.lines().find_map(|line| {
        let (whose, range) = line.split_once(':')?;
        let (first, count) = range.split_once(':')?;
        let ours = (whose == name && !name.is_empty()) || whose == user.to_string();
        let count = count.trim().parse::<u32>().ok()?.min(MOST);
        Some((first.parse().ok()?, count)).filter(|_| ours && count >= FEWEST)
    })
}

/// The program whose workers act as root of the containers.
#[derive(Debug)]
pub(super) struct Program(File);

impl Program {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::open(path)?))
    }

    /// Has work done with these maps. What runs is the program that was opened, whatever became of
    /// its path.
    pub(super) async fn ask(&self, maps: &Maps, work: &Work) -> Result<Done, Fault> {
        let other = |error: &dyn std::fmt::Display| Fault::Other(error.to_string());
        let text = serde_json::to_string(work).map_err(|error| other(&error))?;
        let output = tokio::process::Command::new(cache::init_program()?)
            .args(["enter", &maps.users, &maps.groups, "/proc/self/fd/0", ARGUMENT, &text])
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::from(self.0.try_clone()?))
            .kill_on_drop(true)
            .output()
            .await?;
        match serde_json::from_slice(&output.stdout) {
            Ok(done) => done,
            Err(_) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(Fault::Other(format!(
                    "the worker ended with {}: {}",
                    output.status,
                    said.trim()
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_own_range_is_found_by_name_or_number() {
        let table =
            "root:1:65536\nalice:100000:65536\n1001:200000:70000\nbob:1:5\nalice\n:5:9999\n";
        let of = |user: u32, name: &str| range_of(table, Uid::from_raw(user), name);
        assert_eq!(of(1000, "alice"), Some((100_000, 65_536)));
        assert_eq!(of(1001, "nobody"), Some((200_000, 65_536)));
        assert_eq!(of(1002, "bob"), None, "too few to be worth it");
        assert_eq!(of(1003, ""), None);
    }

    #[test]
    fn maps_have_a_name_for_each_range() {
        let map = |text: &str| Maps { users: text.to_string(), groups: text.to_string() };
        assert_eq!(map("0:1000:1,1:100000:65536").name(), "from-100000");
        assert_eq!(map("0:1000:1").name(), "one-user");
        assert!(map("0:1000:1").is_single());
    }
}
