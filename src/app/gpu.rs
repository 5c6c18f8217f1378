//! What a run asks of GPUs, what this machine has to meet them, and the way into its containers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medalist_reports::record::{AttemptRecord, CompetitionFacts, HardwareRecord};

use super::context::Context;
use super::error::{CliError, Exit};
use super::plan::capacity;
use super::run::executor_error;
use crate::attempt::job::{ANY_GPU, Allocation};
use crate::attempt::limits::{GpuAccess, GpuRequest};
use crate::attempt::plan::{AccessKind, MountSpec, Plan};
use crate::host::files::read_json_if_there;
use crate::host::gpu::{Gpu, Inventory, NvidiaSmi, PROGRAM_VARIABLE};
use crate::host::store::GroupDir;
use crate::run::Gpus;
use crate::sandbox::gpu::{Probe, probe};
use crate::sandbox::{Executor, ExecutorInfo};

/// What each attempt gets of the machine's GPUs and files.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// GPUs of each attempt.
    pub gpus: Option<GpuRequest>,
    /// Another number for some competitions.
    pub gpus_for: Vec<GpusFor>,
    /// Attempts that share one GPU.
    pub gpu_share: u32,
    /// The GPUs that the run may use, by UUID; all if empty.
    pub gpu_pool: Vec<String>,
    /// How GPUs get into containers; the first way that works if none.
    pub gpu_access: Option<AccessKind>,
    /// What of this machine agents see read-only.
    pub mounts: Vec<MountSpec>,
}

/// Another number of GPUs for some competitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpusFor {
    /// A competition's id, or a complexity.
    pub which: String,
    /// What they get.
    pub request: GpuRequest,
}

impl std::str::FromStr for GpusFor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (which, request) = text.split_once('=').ok_or("expected `ID=N` or `high=N`")?;
        let request = request
            .parse()
            .map_err(|error: crate::attempt::limits::GpuRequestError| error.to_string())?;
        Ok(Self { which: which.to_owned(), request })
    }
}

impl GpuOptions {
    /// What the competition gets, where that is not what all get; a rule for its id goes before one
    /// for its complexity.
    pub fn of(&self, competition: &CompetitionFacts) -> Option<GpuRequest> {
        let rule = |name: &str| self.gpus_for.iter().rfind(|rule| rule.which == name);
        rule(&competition.id)
            .or_else(|| rule(&competition.complexity))
            .map(|rule| rule.request.clone())
    }

    /// Refuses rules that fit no competition of the run, and mounts that would break the seal.
    pub fn check(&self, chosen: &[CompetitionFacts], context: &Context) -> Result<(), CliError> {
        for rule in &self.gpus_for {
            if !chosen.iter().any(|facts| facts.id == rule.which || facts.complexity == rule.which)
            {
                let message =
                    format!("`--gpus-for {}` fits no competition of this run", rule.which);
                return Err(CliError::message(Exit::BadInput, message)
                    .hint("name a competition's id, or `low`, `medium` or `high`"));
            }
        }
        for mount in &self.mounts {
            mount
                .check(&[&context.data_dir, &context.runs_dir])
                .map_err(|error| CliError::new(Exit::BadInput, error))?;
        }
        Ok(())
    }
}

/// Whether any attempt of a plan gets a GPU.
fn wants_gpus(plan: &Plan) -> bool {
    let some = |request: &GpuRequest| *request != GpuRequest::None;
    plan.attempts.iter().any(|attempt| some(attempt.gpus.as_ref().unwrap_or(&plan.gpus)))
}

/// The GPUs that a plan may use, with who tells about them; `None` if it wants none.
pub type FoundGpus = Option<(NvidiaSmi, Inventory)>;

/// Asks the driver for the GPUs that a plan may use.
///
/// # Errors
/// There is no driver, or it does not have what the plan names.
pub async fn find(plan: &Plan) -> Result<FoundGpus, CliError> {
    if !wants_gpus(plan) {
        return Ok(None);
    }
    let missing = |message: String| {
        CliError::message(Exit::Environment, message)
            .hint("`medalist doctor` shows this machine's GPUs; `--gpus none` runs without")
    };
    let Some(smi) = NvidiaSmi::find() else {
        return Err(missing(format!(
            "this machine has no `nvidia-smi`, and {PROGRAM_VARIABLE} names none"
        )));
    };
    let mut inventory =
        smi.inventory().await.map_err(|error| CliError::new(Exit::Environment, error))?;
    if let Some(job) = Allocation::current() {
        let all = inventory.gpus.len();
        inventory.gpus = of_job(inventory.gpus, job.gpus.as_deref().unwrap_or_default());
        if inventory.gpus.is_empty() {
            return Err(CliError::message(
                Exit::Environment,
                format!(
                    "the job has none of the {all} GPUs that `nvidia-smi` shows here: its own are `{}`",
                    job.gpus.unwrap_or_default().join(",")
                ),
            )
            .hint("ask for GPUs by `--gpus N`; `medalist doctor --on slurm` shows what the cluster calls them"));
        }
    }
    let named = plan.gpu_pool.iter().chain(match &plan.gpus {
        GpuRequest::Uuids(uuids) => uuids.as_slice(),
        _ => &[],
    });
    for uuid in named {
        if !inventory.gpus.iter().any(|gpu| gpu.uuid == *uuid) {
            let known: Vec<&str> = inventory.gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
            return Err(missing(format!(
                "this machine has no GPU `{uuid}`, only `{}`",
                known.join("`, `")
            )));
        }
    }
    if !plan.gpu_pool.is_empty() {
        inventory.gpus.retain(|gpu| plan.gpu_pool.contains(&gpu.uuid));
    }
    let unschedulable = crate::run::forecast(plan, capacity(plan), &inventory.gpus).unschedulable;
    if unschedulable > 0 {
        let message = format!(
            "{unschedulable} attempts ask for more GPUs than this run has ({})",
            models(&inventory.gpus)
        );
        return Err(missing(message));
    }
    Ok(Some((smi, inventory)))
}

/// The GPUs that a job has, by what its environment says: UUIDs, or the driver's numbers. Where the
/// scheduler shows a job only its own, these have numbers of their own, and all that is seen is the job's.
fn of_job(seen: Vec<Gpu>, own: &[String]) -> Vec<Gpu> {
    let mut devices: Vec<&str> = seen.iter().map(|gpu| gpu.device.as_str()).collect();
    devices.dedup();
    // Nobody names them, and there are no others.
    if own.iter().all(|name| name == ANY_GPU) && !own.is_empty() && devices.len() <= own.len() {
        return seen;
    }
    let by_number: Option<Vec<u32>> = own.iter().map(|name| name.parse().ok()).collect();
    match by_number {
        Some(numbers) if !numbers.is_empty() && devices.len() <= numbers.len() => seen,
        Some(numbers) => seen.into_iter().filter(|gpu| numbers.contains(&gpu.index)).collect(),
        // A driver takes the beginning of a UUID for all of it.
        None => seen
            .into_iter()
            .filter(|gpu| {
                own.iter().any(|name| {
                    !name.is_empty()
                        && (gpu.uuid.starts_with(name.as_str())
                            || gpu.device.starts_with(name.as_str()))
                })
            })
            .collect(),
    }
}

/// GPUs by model: `2 x NVIDIA H100 80GB HBM3`.
pub fn models(gpus: &[Gpu]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for gpu in gpus {
        match counts.iter_mut().find(|(model, _)| *model == gpu.model) {
            Some((_, count)) => *count += 1,
            None => counts.push((&gpu.model, 1)),
        }
    }
    let words: Vec<String> =
        counts.iter().map(|(model, count)| format!("{count} x {model}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// What `--dry-run` says of a plan's GPUs.
pub fn describe(plan: &Plan, gpus: &[Gpu]) -> String {
    if !wants_gpus(plan) {
        return "none".to_owned();
    }
    let mut text = match &plan.gpus {
        GpuRequest::Count(1) => "1 for each attempt".to_owned(),
        request => format!("{request} for each attempt"),
    };
    if plan.gpu_share > 1 {
        text.push_str(&format!(", {} attempts per GPU", plan.gpu_share));
    }
    text.push_str(&format!("; of {}", models(gpus)));
    for gpu in gpus {
        text.push_str(&format!("\n           {} {}", gpu.uuid, gpu.model));
    }
    text
}

/// Opens the GPUs that [`find`] found for a plan: leaves out those that cannot be used, and finds the way into a
/// container of its image.
///
/// # Errors
/// None is left, or none gets into a container.
pub async fn open(
    found: FoundGpus,
    plan: &Plan,
    dir: &GroupDir,
    executor: &dyn Executor,
    info: &ExecutorInfo,
    hardware: &mut HardwareRecord,
    context: &Context,
) -> Result<Option<Arc<Gpus>>, CliError> {
    let Some((smi, inventory)) = found else { return Ok(None) };
    hardware.gpus = inventory.gpus.iter().map(|gpu| gpu.model.clone()).collect();
    hardware.gpu_driver = Some(inventory.driver.clone());
    let access = match (plan.executor, inventory.gpus.first()) {
        (kind, Some(gpu)) if kind.has_containers() => {
            let program = crate::attempt::launch::Program::Image {
                reference: plan.agent.image.clone(),
                argv: Vec::new(),
            };
            executor.prepare_image(&program).await.map_err(executor_error)?;
            let ways = probe(
                executor,
                info,
                gpu,
                &plan.agent.image,
                &plan.mounts,
                plan.gpu_access,
                dir.root(),
            )
            .await;
            chosen(ways, context)?
        }
        _ => GpuAccess::default(),
    };
    let claims = gpu_claims()?;
    let (gpus, bad) =
        Gpus::open(inventory, access, Arc::new(smi), &held(plan, dir), Some(claims)).await;
    for device in &bad {
        context.warn(format_args!("GPU {device}; this run leaves it out"));
    }
    if gpus.units().is_empty() {
        return Err(CliError::message(
            Exit::Environment,
            "none of the GPUs of this run can be used",
        )
        .hint("`nvidia-smi` shows who uses them"));
    }
    let mut models: Vec<&str> = gpus.units().iter().map(|gpu| gpu.model.as_str()).collect();
    models.dedup();
    if models.len() > 1 {
        context
            .warn("the GPUs of this run are of several kinds; `--gpu-pool` can choose equal ones");
    }
    Ok(Some(gpus))
}

/// Where harnesses claim GPUs against each other: on the machine that has them, also where its users'
/// home folders are those of all machines.
fn gpu_claims() -> Result<PathBuf, CliError> {
    let dir = match crate::sandbox::cache::is_shared(&crate::sandbox::cache::dir()) {
        true => crate::sandbox::cache::machine_dir()?,
        false => crate::sandbox::cache::dir(),
    };
    Ok(dir.join("gpus"))
}

fn chosen(found: Probe, context: &Context) -> Result<GpuAccess, CliError> {
    match found.works {
        Some(access) => {
            context.say(format_args!("GPUs get into containers by {}", access.name()));
            Ok(access)
        }
        None => Err(CliError::message(
            Exit::Environment,
            format!("no GPU gets into a container: {found}"),
        )
        .hint("install the NVIDIA Container Toolkit, or see docs/gpu.md for a machine without it")),
    }
}

/// GPUs of attempts that a killed harness left running: what is on them is ours.
fn held(plan: &Plan, dir: &GroupDir) -> Vec<String> {
    let mut held = Vec::new();
    for attempt in &plan.attempts {
        // An attempt whose record is damaged is passed over, and what it held with it.
        if let Ok(Some(record)) =
            read_json_if_there::<AttemptRecord>(&dir.attempt(&attempt.dir).record())
            && let Some(last) = record.tries.last().filter(|last| last.outcome.is_none())
        {
            held.extend(last.gpus.iter().map(|gpu| gpu.uuid.clone()));
        }
    }
    held
}

/// What `doctor` says: the GPUs, and every way into a container that was tried with one of them.
pub struct Checkup {
    /// The GPUs and the driver, or why there are none.
    pub devices: Result<Inventory, String>,
    /// The ways into a container, if an engine answers.
    pub probe: Option<Probe>,
}

/// Looks at the GPUs and tries them in containers of the embedded sample agent.
pub async fn checkup(scratch: &Path) -> Checkup {
    let Some(smi) = NvidiaSmi::find() else {
        return Checkup { devices: Ok(Inventory::default()), probe: None };
    };
    let inventory = match smi.inventory().await {
        Ok(inventory) => inventory,
        Err(error) => return Checkup { devices: Err(error.to_string()), probe: None },
    };
    let probe = match inventory.gpus.first() {
        Some(gpu) => probe_with_sample(gpu, scratch).await,
        None => None,
    };
    Checkup { devices: Ok(inventory), probe }
}

async fn probe_with_sample(gpu: &Gpu, scratch: &Path) -> Option<Probe> {
    let docker = crate::sandbox::docker::DockerExecutor::connect().await.ok()?;
    let info = docker.check().await.ok()?;
    let image = crate::sandbox::embedded::image_reference("medalist/sample", "sample");
    crate::sandbox::embedded::ensure_program_image(docker.engine(), &image, "sample", None)
        .await
        .ok()?;
    Some(probe(&docker, &info, gpu, &image, &[], None, scratch).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_uses_its_own_gpus_whatever_they_are_called_there() {
        let gpu = |index: u32| Gpu {
            uuid: format!("GPU-{index}a"),
            model: String::new(),
            memory_bytes: 0,
            device: format!("GPU-{index}a"),
            index,
            minor: None,
            numa: None,
        };
        let all: Vec<Gpu> = (0..4).map(gpu).collect();
        let names = |gpus: Vec<Gpu>| gpus.into_iter().map(|gpu| gpu.index).collect::<Vec<u32>>();
        let own = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<String>>();
        assert_eq!(names(of_job(all.clone(), &own("1,3"))), [1, 3]);
        assert_eq!(names(of_job(all.clone(), &own("GPU-2a"))), [2]);
        assert_eq!(names(of_job(all.clone(), &own("GPU-9"))), [] as [u32; 0]);
        assert_eq!(names(of_job(all.clone(), &[])), [] as [u32; 0], "it has asked for none");
        // Only its own two are shown to it, under numbers that begin again.
        assert_eq!(names(of_job(all[..2].to_vec(), &own("2,3"))), [0, 1]);
    }

    #[test]
    fn a_rule_for_an_id_goes_before_one_for_a_complexity() {
        let rules = ["high=2", "a=none"].map(|text| text.parse::<GpusFor>().unwrap());
        let options = GpuOptions { gpus_for: rules.to_vec(), ..GpuOptions::default() };
        let facts = |id: &str| CompetitionFacts {
            id: id.into(),
            complexity: "high".into(),
            ..CompetitionFacts::default()
        };
        assert_eq!(options.of(&facts("a")), Some(GpuRequest::None));
        assert_eq!(options.of(&facts("b")), Some(GpuRequest::Count(2)));
        assert_eq!(options.of(&CompetitionFacts::default()), None);
        assert!("high".parse::<GpusFor>().is_err() && "high=two".parse::<GpusFor>().is_err());
    }
}
