//! Which images are started: what is wrong with one is said before the engine meets it.

use std::collections::HashSet;
use std::sync::PoisonError;

use super::{DockerExecutor, engine_error};
use crate::attempt::launch::{ExecutorError, LaunchSpec};
use crate::sandbox::engine::{EngineError, Entry, ImageFacts};
use crate::sandbox::setup::refused;

/// Where the engine mounts in every container, parents first.
const MOUNTED_ON: [&str; 9] = [
    "/proc",
    "/sys",
    "/sys/fs/cgroup",
    "/dev",
    "/dev/shm",
    "/etc",
    "/private",
    "/home",
    "/home/data",
];

impl DockerExecutor {
    /// Looks at what the engine itself touches in an image when it starts a container, before it
    /// does: it mounts on directories, and reads the tables of users, where a pipe would keep it
    /// waiting for ever. Once for each image.
    pub(super) async fn vet(&self, id: &str, spec: &LaunchSpec) -> Result<(), ExecutorError> {
        let image = self.engine.container_image(id).await?;
        if self.lock_vetted().contains(&image) {
            return Ok(());
        }
        let odd = |path: &str, error: EngineError| match error {
            // The engine prepares its mounts before it looks, so the path need not be the culprit;
            // and it may say nothing more.
            EngineError::Refused { message, .. } => {
                let why = "a link leads in a circle, to `/`, or through what is no directory";
                let said = if message.is_empty() { String::new() } else { format!(" ({message})") };
                refused(spec, format!("the engine cannot look into it at `{path}`: {why}{said}"))
            }
            other => other.into(),
        };
        let is_not = |path: &str, entry: Entry, expected: &str| {
            refused(spec, format!("`{path}` in it is {}, expected {expected}", entry.name()))
        };
        for path in MOUNTED_ON {
            match self.engine.entry(id, path).await.map_err(|error| odd(path, error))? {
                Some(Entry::Directory) | None => {}
                Some(other) => return Err(is_not(path, other, "a directory")),
            }
        }
        for path in ["/etc/passwd", "/etc/group"] {
            match self.engine.followed(id, path).await.map_err(|error| odd(path, error))? {
                Some(Entry::File) | None => {}
                Some(other) => return Err(is_not(path, other, "a plain file")),
            }
        }
        self.lock_vetted().insert(image);
        Ok(())
    }

    fn lock_vetted(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.vetted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells an image that cannot be started from an engine that cannot start one, as far as the
/// engine's words go.
pub(super) fn why_not_started(spec: &LaunchSpec, error: EngineError) -> ExecutorError {
    let EngineError::Refused { message, .. } = &error else {
        return engine_error("start the container", error);
    };
    if message.contains("argument list too long") {
        return refused(spec, "its environment is too large for any program".to_string());
    }
    if message.contains("unable to find user") || message.contains("unable to find group") {
        let why = format!("the engine cannot read its `/etc/passwd` or `/etc/group`: {message}");
        return refused(spec, why);
    }
    engine_error("start the container", error)
}

/// Refuses an image that could not be held to the limits, or cannot run here, where processors are
/// `here`.
pub(super) fn check_image(
    image: &ImageFacts,
    disk_bytes: u64,
    here: &str,
) -> Result<(), ExecutorError> {
    check_platform(&image.prepared.reference, &image.os, &image.architecture, here)?;
    if !image.volumes.is_empty() && disk_bytes > 0 {
        let mut volumes = image.volumes.clone();
        volumes.sort();
        volumes.truncate(5);
        let why = format!(
            "it declares VOLUME `{}`, and what is written there is outside the disk limit; build it without that line, or run it with `--disk 0`, without the limit",
            volumes.join("`, `")
        );
        return Err(ExecutorError::ImageRefused { image: image.prepared.reference.clone(), why });
    }
    Ok(())
}

/// Refuses an image of another system, or for other processors than `here`.
pub(crate) fn check_platform(
    image: &str,
    os: &str,
    architecture: &str,
    here: &str,
) -> Result<(), ExecutorError> {
    let (image_is, machine_is) = (processor(architecture), processor(here));
    let foreign = !image_is.is_empty() && !machine_is.is_empty() && image_is != machine_is;
    if foreign || (!os.is_empty() && os != "linux") {
        let why = format!(
            "it is made for {os}/{architecture}, this machine is linux/{machine_is}; build it here, or with `--platform linux/{machine_is}`"
        );
        return Err(ExecutorError::ImageRefused { image: image.to_string(), why });
    }
    Ok(())
}

/// One name for each kind of processor: images have Go's, engines the kernel's.
fn processor(name: &str) -> &str {
    match name {
        "x86_64" | "amd64" => "amd64",
        "aarch64" | "arm64" => "arm64",
        other => other,
    }
}

pub(super) fn image_missing(reference: &str, cause: &str) -> ExecutorError {
    let after = if cause.is_empty() { String::new() } else { format!(" (pulling it: {cause})") };
    let hint = format!(
        "give its agent a Dockerfile (`build = \"dockerfile\"`), `docker load` it from a file, or pull it where a registry \
         can be reached{after}"
    );
    ExecutorError::ImageMissing { image: reference.to_string(), hint }
}
