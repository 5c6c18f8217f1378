//! What this machine has, what is missing, and how to get it.

use serde::Serialize;

use super::context::Context;
use super::error::{CliError, Exit};
use super::gpu::{checkup, models};
use crate::attempt::launch::ExecutorError;
use crate::host::gpu::Gpu;
use crate::host::machine;
use crate::sandbox::namespaces::NamespacesExecutor;
use crate::sandbox::{Enforcement, Executor as _, ExecutorInfo};

/// How a finding bears on running attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; attempts run all the same.
    Note,
    /// No sealed attempt can run without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it bears on attempts.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, level: Level::Ok, found: found.into(), hint: None }
    }

    pub(super) fn other(
        what: &'static str,
        level: Level,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { what, level, found: found.into(), hint: Some(hint.into()) }
    }
}

/// Looks at everything that a run needs.
///
/// # Errors
/// A folder given with `--catalog` cannot be read.
pub async fn examine(context: &Context) -> Result<Vec<Finding>, CliError> {
    let without_engine = namespaces().await;
    let mut findings = engine(without_engine.is_ok()).await;
    findings.extend(match without_engine {
        Ok(info) => findings_of("namespaces", &info),
        Err(error) => vec![Finding::other(
            "namespaces",
            Level::Note,
            CliError::new(Exit::Environment, error).message_chain(),
            "`--executor namespaces` needs it; containers through an engine do not",
        )],
    });
    findings.push(machine());
    findings.push(disk("data directory", &context.data_dir, 100 << 30));
    findings.push(disk("runs directory", &context.runs_dir, 20 << 30));
    findings.extend(gpus().await);
    findings.push(kaggle());
    findings.push(prepared(context)?);
    Ok(findings)
}

/// Containers without an engine.
async fn namespaces() -> Result<ExecutorInfo, ExecutorError> {
    NamespacesExecutor::new()?.check().await
}

/// What an executor is, which limits it does not hold, and what it says of itself.
fn findings_of(what: &'static str, info: &ExecutorInfo) -> Vec<Finding> {
    let details: Vec<String> =
        info.details.iter().map(|(key, value)| format!("{key} {value}")).collect();
    let mut findings = vec![Finding::ok(what, details.join(", "))];
    for (limit, how) in &info.limits {
        let (found, hint) = match how {
            // The clock is the harness's everywhere.
            Enforcement::Watched if limit != "timeout" => (
                format!("{limit} is not held by the kernel here ({what})"),
                "it is measured again and again, and an agent above its limit is ended",
            ),
            Enforcement::None => (
                format!("{limit} is not held here ({what})"),
                "an agent can use more than its limit of it",
            ),
            Enforcement::Kernel | Enforcement::Watched => continue,
        };
        findings.push(Finding::other("limit", Level::Note, found, hint));
    }
    findings.extend(info.warnings.iter().map(|warning| Finding {
        what: "seal",
        level: Level::Note,
        found: warning.clone(),
        hint: None,
    }));
    findings
}

/// The container engine; where there is none, attempts can still be `sealed` without.
async fn engine(sealed: bool) -> Vec<Finding> {
    let checked = async {
        let docker = crate::sandbox::docker::DockerExecutor::connect().await?;
        docker.check().await
    };
    match checked.await {
        Ok(info) => findings_of("container engine", &info),
        Err(error) => {
            let hint: Option<String> = error.hint();
            let hint = match sealed {
                true => "`--executor namespaces` makes sealed containers here without one".into(),
                false => {
                    hint.unwrap_or_else(|| "`--executor process` runs without one, unsealed".into())
                }
            };
            vec![Finding::other(
                "container engine",
                if sealed { Level::Note } else { Level::Missing },
                CliError::new(Exit::Environment, error).message_chain(),
                hint,
            )]
        }
    }
}

fn machine() -> Finding {
    let hardware = machine::hardware();
    let memory = bytesize::ByteSize::b(hardware.memory_bytes);
    Finding::ok(
        "machine",
        format!(
            "{} x {}, {memory} memory, kernel {}",
            hardware.cpu_count, hardware.cpu, hardware.kernel
        ),
    )
}

/// Free space, and whether the place can be written to.
fn disk(what: &'static str, path: &std::path::Path, wanted: u64) -> Finding {
    let at = path.display();
    let mut parent = path.to_owned();
    while !parent.exists() && parent.pop() {}
    let parent = if parent.as_os_str().is_empty() { std::path::PathBuf::from(".") } else { parent };
    if let Err(error) = tempfile::tempfile_in(&parent) {
        return Finding::other(
            what,
            Level::Missing,
            format!("{at} cannot be written to ({error})"),
            "choose another place with --data-dir or --runs-dir",
        );
    }
    match machine::free_bytes(path) {
        Err(error) => Finding::other(
            what,
            Level::Missing,
            format!("{at}: {error}"),
            "choose another place with --data-dir or --runs-dir",
        ),
        Ok(free) => {
            let found = format!("{at}, {} free", bytesize::ByteSize::b(free));
            if free >= wanted {
                Finding::ok(what, found)
            } else {
                let wanted = bytesize::ByteSize::b(wanted);
                Finding::other(
                    what,
                    Level::Note,
                    found,
                    format!("a Lite run wants about {wanted} here"),
                )
            }
        }
    }
}

/// The GPUs, and the way in which they get into a container.
async fn gpus() -> Vec<Finding> {
    let found = checkup(&std::env::temp_dir()).await;
    let devices = match &found.devices {
        Ok(inventory) if inventory.gpus.is_empty() => {
            vec![Finding::other(
                "GPUs",
                Level::Note,
                "none",
                "agents that train on a GPU need one; tables and texts do without",
            )]
        }
        Ok(inventory) => {
            let driver = &inventory.driver;
            let summary = format!("{}, driver {driver}", models(&inventory.gpus));
            let device = |gpu: &Gpu| {
                let memory = bytesize::ByteSize::b(gpu.memory_bytes);
                let node = gpu.minor.map_or(String::new(), |minor| format!(", /dev/nvidia{minor}"));
                Finding::ok("GPU", format!("{} {}, {memory}{node}", gpu.uuid, gpu.model))
            };
            let mut all = vec![Finding::ok("GPUs", summary)];
            all.extend(inventory.gpus.iter().map(device));
            all
        }
        Err(error) => vec![Finding::other(
            "GPUs",
            Level::Note,
            error.clone(),
            "the driver is not loaded or a GPU is lost; `nvidia-smi` must work before medalist can use a GPU",
        )],
    };
    let access = found.probe.map(|probe| match &probe.works {
        Some(way) => Finding::ok("GPU access", format!("{} ({probe})", way.name())),
        None => Finding::other(
            "GPU access",
            Level::Note,
            format!("no GPU gets into a container: {probe}"),
            "install the NVIDIA Container Toolkit, or see docs/gpu.md for a machine without it",
        ),
    });
    devices.into_iter().chain(access).collect()
}

fn kaggle() -> Finding {
    let by_variable = ["KAGGLE_API_TOKEN", "KAGGLE_KEY"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some());
    let config =
        std::env::var_os("KAGGLE_CONFIG_DIR").map(std::path::PathBuf::from).or_else(|| {
            std::env::var_os("HOME").map(|home| std::path::PathBuf::from(home).join(".kaggle"))
        });
    let file = config.map(|dir| dir.join("kaggle.json")).filter(|file| file.is_file());
    match (by_variable, file) {
        (Some(name), _) => Finding::ok("Kaggle", format!("credentials from {name}")),
        (None, Some(file)) => Finding::ok("Kaggle", format!("credentials from {}", file.display())),
        (None, None) => Finding::other(
            "Kaggle",
            Level::Note,
            "no credentials",
            "only needed to download: create a token on kaggle.com/settings and save it as ~/.kaggle/kaggle.json",
        ),
    }
}

fn prepared(context: &Context) -> Result<Finding, CliError> {
    let catalogue = context.catalogue()?;
    let (mut ready, mut all) = (0, 0);
    for spec in catalogue.iter() {
        all += 1;
        ready += usize::from(context.data().public(&spec.id).is_dir());
    }
    let found = format!("{ready} of {all} competitions");
    Ok(if ready > 0 {
        Finding::ok("prepared", found)
    } else {
        Finding::other(
            "prepared",
            Level::Note,
            found,
            "`medalist demo` needs none; `medalist prepare --lite` gets 22 of them",
        )
    })
}
