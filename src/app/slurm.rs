//! What a Slurm cluster has and how it is set, for those who are about to hand attempts over.

use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;

use super::cluster;
use super::context::Context;
use super::doctor::{Finding, Level};
use super::error::{CliError, Exit};
use crate::attempt::plan::{Plan, Remote};
use crate::attempt::text::duration;
use crate::host::machine;
use crate::host::scheduler::slurm::{Node, Partition, Slurm};
use crate::host::scheduler::{Request, Resources, SubmitError};

/// The programs that handing over needs, and those that make it better.
const NEEDED: [&str; 4] = ["sbatch", "squeue", "scontrol", "scancel"];

/// Whether a plan's jobs can be handed over at all.
///
/// # Errors
/// There is no Slurm, it does not answer, or it cannot give what a job needs.
pub(super) fn check(
    plan: &Plan,
    remote: &Remote,
    resources: Resources,
    context: &Context,
) -> Result<(), CliError> {
    let slurm = Slurm::default();
    for program in NEEDED {
        if !slurm.has(program) {
            return Err(CliError::message(Exit::Environment, format!("there is no `{program}` here"))
                .hint("run this on a login node of the cluster; `module load slurm` puts Slurm's programs on PATH on some"));
        }
    }
    let partitions = slurm.partitions().map_err(|away| CliError::new(Exit::Environment, away))?;
    let wishes = &remote.wishes;
    let says = |name: &str| {
        wishes.without.iter().any(|left_out| left_out == name)
            || wishes.arguments.iter().any(|arg| {
                arg.strip_prefix("--").is_some_and(|arg| arg.split('=').next() == Some(name))
            })
    };
    let named = wishes.partition.as_deref();
    let rows: Vec<&Partition> = partitions
        .iter()
        .filter(|one| {
            named.map_or(one.is_default, |named| named.split(',').any(|it| it == one.name))
        })
        .collect();
    if let (Some(named), true) = (named, rows.is_empty() && !partitions.is_empty()) {
        let known: std::collections::BTreeSet<&str> =
            partitions.iter().map(|one| one.name.as_str()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        return Err(CliError::message(
            Exit::BadInput,
            format!("`--partition {named}`: the cluster has `{}`", known.join("`, `")),
        ));
    }
    let longest = rows.iter().filter_map(|one| one.longest).max();
    let has_no_limit = rows.iter().any(|one| one.longest.is_none());
    let job = Duration::from_secs(resources.time_s);
    if let (Some(longest), false, false) = (longest, has_no_limit, says("time"))
        && job > longest
    {
        let most = cluster::longest_timeout(plan, longest);
        let hint = match most.is_zero() {
            true => "choose another with `--partition`; no attempt fits into this one".to_owned(),
            false => format!(
                "the longest `--timeout` that fits is {}; another `--partition` may give more",
                duration(most)
            ),
        };
        return Err(CliError::message(
            Exit::BadInput,
            format!(
                "`--timeout {}` makes jobs of {}, and partition `{}` gives them {} at most",
                duration(plan.limits.timeout),
                duration(job),
                rows.first().map_or("", |one| one.name.as_str()),
                duration(longest)
            ),
        )
        .hint(hint));
    }
    architectures(
        &slurm,
        &rows,
        says("constraint") || says("nodelist") || says("exclude"),
        context,
    )?;
    try_out(&slurm, remote, resources, &context.runs_dir)
}

/// Looks for nodes that cannot run this program: some are warned of unless the user chooses nodes, all
/// are an error.
fn architectures(
    slurm: &Slurm,
    rows: &[&Partition],
    are_chosen: bool,
    context: &Context,
) -> Result<(), CliError> {
    // An answer is no condition: handing over asks again.
    let nodes = slurm.nodes().unwrap_or_default();
    let of_rows =
        |node: &&Node| node.partitions.iter().any(|name| rows.iter().any(|row| row.name == *name));
    let nodes: Vec<&Node> = nodes.iter().filter(of_rows).collect();
    let ours = machine::architecture();
    let others: Vec<&&Node> = nodes.iter().filter(|node| node.architecture != ours).collect();
    let Some(other) = others.first() else { return Ok(()) };
    let their = &other.architecture;
    if others.len() == nodes.len() {
        let message = format!("this program is for {ours}, and the partition's nodes are {their}");
        return Err(CliError::message(Exit::BadInput, message)
            .hint("build medalist for them, or choose another `--partition`"));
    }
    if !are_chosen {
        let names: Vec<&str> = others.iter().map(|node| node.name.as_str()).collect();
        context.warn(format_args!(
            "{} of {} nodes are {their}, and this program is for {ours}: attempts cannot begin there; leave them out with \
             `--slurm-arg=--exclude={}`",
            others.len(),
            nodes.len(),
            names.join(",")
        ));
    }
    Ok(())
}

/// Asks `sbatch --test-only`.
fn try_out(
    slurm: &Slurm,
    remote: &Remote,
    resources: Resources,
    runs_dir: &Path,
) -> Result<(), CliError> {
    std::fs::create_dir_all(runs_dir)?;
    let scratch = tempfile::Builder::new().prefix(".preflight-").tempdir_in(runs_dir)?;
    let request = Request {
        name: format!("{}-check", remote.prefix),
        elements: 1,
        at_once: None,
        command: Vec::new(),
        folder: std::path::absolute(scratch.path())?,
        resources,
        kill_wait: Default::default(),
        excluded: Default::default(),
        wishes: remote.wishes.clone(),
    };
    match slurm.try_out(&request) {
        // That there is no room now is found out when there is something to hand over.
        Ok(_) | Err(SubmitError::Full(_)) => Ok(()),
        Err(error @ SubmitError::Away(_)) => Err(CliError::new(Exit::Environment, error)),
        Err(error @ SubmitError::Refused(_)) => Err(CliError::new(Exit::BadInput, error)
            .hint("`medalist doctor --on slurm` shows partitions, GPUs and limits; `--slurm-arg` passes any option to sbatch, `--slurm-without` leaves one of ours out")),
    }
}

/// What `doctor --on slurm` says: Slurm itself, its limits, its partitions.
pub fn examine() -> Vec<Finding> {
    let slurm = Slurm::default();
    let missing: Vec<&str> = NEEDED.into_iter().filter(|program| !slurm.has(program)).collect();
    if !missing.is_empty() {
        let hint = "run this on a login node of the cluster";
        let found = format!("no `{}` here", missing.join("`, `"));
        return vec![Finding::other("slurm", Level::Missing, found, hint)];
    }
    let config = match slurm.config() {
        Ok(config) => config,
        Err(away) => {
            let hint = "the controller, slurmctld, must answer here";
            return vec![Finding::other("slurm", Level::Missing, away.to_string(), hint)];
        }
    };
    let get = |name: &str| config.get(name).map_or("not told", String::as_str);
    let version = get("SLURM_VERSION");
    let mut found = vec![
        Finding::ok("slurm", format!("version {version}, cluster {}", get("ClusterName"))),
        Finding::ok(
            "limits",
            format!(
                "arrays of {} at most, {} jobs in all, {} between SIGTERM and SIGKILL",
                get("MaxArraySize"),
                get("MaxJobCount"),
                get("KillWait")
            ),
        ),
    ];
    if matches!(get("ProctrackType"), "proctrack/linuxproc" | "proctrack/pgid") {
        found.push(Finding::other(
            "processes",
            Level::Note,
            format!("{} loses processes that fork away", get("ProctrackType")),
            "an agent may outlive its job; ask for `ProctrackType=proctrack/cgroup`",
        ));
    }
    if get("JobRequeue") == "0" {
        found.push(Finding::other(
            "requeue",
            Level::Note,
            "JobRequeue=0: some jobs of failed nodes do not come back",
            "medalist asks for it by `--requeue`, and hands over again what a node lost",
        ));
    }
    match slurm.has("sacct") && !get("AccountingStorageType").ends_with("/none") {
        true => found.push(Finding::ok("accounting", get("AccountingStorageType"))),
        false => found.push(Finding::other(
            "accounting",
            Level::Note,
            "none",
            "why a job ended that left nothing behind cannot be asked; everything else works",
        )),
    }
    match slurm.partitions() {
        Ok(partitions) => found.extend(partitions.iter().map(partition)),
        Err(away) => {
            let hint = "`sinfo` should list them";
            found.push(Finding::other("partition", Level::Note, away.to_string(), hint));
        }
    }
    found
}

fn partition(one: &Partition) -> Finding {
    let longest = one
        .longest
        .map_or("any time".to_owned(), |longest| format!("{} at most", duration(longest)));
    let memory = ByteSize::mib(one.memory_mib);
    let gres = if one.gres.is_empty() { "no GPUs" } else { one.gres.as_str() };
    let default = if one.is_default { ", the default" } else { "" };
    let text = format!(
        "{}{default}: {} nodes ({}), {longest}, {} cpus, {memory}, {gres} each",
        one.name, one.nodes, one.states, one.cpus
    );
    match one.states.as_str() {
        "down" | "drain" | "drained" | "inval" | "down*" => Finding::other(
            "partition",
            Level::Note,
            text,
            "`sinfo -R` says why; jobs wait until such nodes are back",
        ),
        _ => Finding::ok("partition", text),
    }
}
