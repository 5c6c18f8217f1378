//! Namespaces for what a test must be able to kill: a container daemon of its own.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};

use super::skip;

/// Network, process and mount namespaces apart from this machine's.
///
/// A daemon in it finds no network but an unconfigured loopback, so that it cannot change or delete
/// bridges and rules of this machine. All of it is killed by the kernel when the island is dropped,
/// and also when the test that made it is killed.
pub(crate) struct Island {
    holder: Child,
}

impl Island {
    /// Makes an island; skips the caller's test where this user may not.
    ///
    /// It lasts no longer than the thread that makes it.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("root", "only root can make namespaces");
            return None;
        }
        // The signal on the parent's death survives the execution of another program. The shell that
        // waits is the island's init: it reaps what its killed programs leave.
        let holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"])
            .args(["--kill-child", "--mount-proc", "sh", "-c", "echo ready; sleep infinity & wait"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is on this machine");
        let mut island = Self { holder };
        let mut ready = [0; 6];
        let output = island.holder.stdout.as_mut().expect("it is piped");
        std::io::Read::read_exact(output, &mut ready).expect("the island is made");
        Some(island)
    }

    /// A command that runs `program` on the island.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let own = format!("/proc/{}/ns", self.holder.id());
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={own}/net")).arg(format!("--mount={own}/mnt"));
        command.arg(format!("--pid={own}/pid_for_children")).arg("--").arg(program);
        command
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(command: &mut Command) -> String {
        let output = command.args(["-n", "+2", "/proc/net/dev"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect()
    }

    #[test]
    fn an_island_has_only_its_loopback() {
        let Some(island) = Island::new() else { return };
        assert_eq!(networks(&mut island.command("tail")), "lo");
    }

    #[test]
    fn an_island_dies_with_its_test() {
        // What the kernel sees of a killed test: its thread is gone and nothing was dropped.
        let made = std::thread::spawn(|| {
            let island = Island::new()?;
            let inside = island.command("sleep").arg("infinity").spawn().unwrap();
            std::mem::forget(island);
            Some(inside)
        });
        let Some(mut inside) = made.join().unwrap() else { return };
        // Comes back only when the program on the island is dead.
        assert!(!inside.wait().unwrap().success());
    }
}
