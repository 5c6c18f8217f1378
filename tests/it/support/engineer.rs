//! `scripts/engineer`: an upstream that answers agents as an engineer would.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::{has_docker, skip};

/// The image that agents with Python are put on top of, and the script that builds it.
pub(crate) const PYTHON_IMAGE: &str = "medalist-env";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// A running upstream; it ends with the value.
pub(crate) struct Engineer {
    child: Child,
    pub(crate) port: u16,
}

impl Engineer {
    /// Starts one; `None` where there is no Python that is new enough, and the test is skipped.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        let check = "import sys; sys.exit(sys.version_info < (3, 11))";
        let python = Command::new("python3").args(["-c", check]).output();
        if !python.as_ref().is_ok_and(|output| output.status.success()) {
            skip("python", "there is no Python 3.11 or later");
            return None;
        }
        let mut command = Command::new("python3");
        // The tests leave nothing in the folder of sources.
        command.arg("-B").arg(script("engineer")).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("Python starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is ours");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Some(Self { child, port: port.unwrap_or_else(|| panic!("no port in {line:?}")) })
    }

    /// Settings with this upstream as `openai`, and more of them.
    pub(crate) fn settings(&self, file: &Path, more: &str) {
        let text = format!(
            "[upstreams.openai]\nbase_url = \"http://127.0.0.1:{}/v1\"\n\
             models = [\"engineer-large\", \"engineer-small\"]\n\n\
             [prices.\"engineer-large\"]\ninput = \"2.00\"\noutput = \"8.00\"\n\n\
             [prices.\"engineer-small\"]\ninput = \"0.20\"\noutput = \"0.80\"\n\n{more}",
            self.port
        );
        std::fs::write(file, text).expect("the folder is writable");
    }
}

impl Drop for Engineer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is an engine with the image that has Python and scikit-learn; it is built if it is
/// missing. The test is skipped where it cannot be.
pub(crate) fn has_python_image() -> bool {
    static THERE: OnceLock<Result<(), String>> = OnceLock::new();
    if !has_docker() {
        return false;
    }
    let there = THERE.get_or_init(|| {
        let known = Command::new("docker").args(["image", "inspect", PYTHON_IMAGE]).output();
        if known.is_ok_and(|output| output.status.success()) {
            return Ok(());
        }
        let built = Command::new("bash").arg(script("base-image")).output();
        match built {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    if let Err(why) = there {
        skip("medalist-env", &format!("scripts/base-image fails: {why}"));
    }
    there.is_ok()
}
