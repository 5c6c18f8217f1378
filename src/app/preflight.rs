//! Whether a plan can run here, asked once and before anything starts: of the plan itself, of its
//! competitions, of its agent and of the machine. `run`, `run --resume`, `attempt` and `--dry-run`
//! all come here, and hear of everything that is in the way at once.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;

use super::context::Context;
use super::error::{CliError, Exit};
use super::gpu::{self, FoundGpus};
use super::judge::CatalogueJudge;
use super::llm;
use super::run::{Opened, open_executor};
use crate::attempt::agents::{AgentError, Build};
use crate::attempt::job::Allocation;
use crate::attempt::launch::HOME;
use crate::attempt::limits::{Limits, Network};
use crate::attempt::plan::{ExecutorKind, Plan};
use crate::host::machine;
use crate::run::{Judge as _, LlmRun};
use crate::sandbox::ExecutorInfo;
use crate::sandbox::namespaces::is_in_files;

const MIB: u64 = 1 << 20;
/// The least memory that an engine takes for a container.
const LEAST_MEMORY: u64 = 6 * MIB;
/// The smallest share of a processor that an engine takes.
const LEAST_CPUS: f64 = 0.01;
/// An init, a shell and the agent's program, with a few threads.
const LEAST_PIDS: u64 = 16;
/// Longer limits are slips, and none of our clocks counts so far.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// How many competitions a message names.
const NAMED: usize = 5;

/// What was opened to see that a plan can run, for the run itself.
pub struct Ready {
    /// The executor, which answers.
    pub(super) opened: Opened,
    /// Knows the plan's competitions, all of them prepared.
    pub(super) judge: CatalogueJudge,
    /// The GPUs of the plan, if it wants any, with who tells about them.
    pub(super) gpus: FoundGpus,
    /// The language models of the plan, if its agents get any.
    pub(super) llm: Option<LlmRun>,
}

/// Checks everything that can be known before a plan's attempts start.
///
/// # Errors
/// All that stands in the way, in one error with a hint for each.
pub async fn check(plan: &Plan, context: &Context) -> Result<Ready, CliError> {
    check_with(plan, gpu::find(plan).await, context).await
}

/// As [`check`], where the machine has been asked for the plan's GPUs already: that takes seconds on
/// some machines.
///
/// # Errors
/// As [`check`].
pub async fn check_with(
    plan: &Plan,
    gpus: Result<FoundGpus, CliError>,
    context: &Context,
) -> Result<Ready, CliError> {
    let mut found = of_plan(plan);
    let judge = CatalogueJudge::of_plan(plan)
        .map(|judge| judge.with_workers(|| context.workers()))
        .map_err(|error| CliError::new(Exit::BadInput, error));
    let judge = kept(judge, &mut found);
    found.extend(judge.as_ref().and_then(|judge| not_ready(plan, judge)));
    let opened = kept(open_executor(plan.executor, storage_key(plan)).await, &mut found);
    found.extend(opened.iter().flat_map(|opened| of_machine(plan, &opened.info)));
    let gpus = kept(gpus, &mut found).flatten();
    let llm = kept(llm::open(plan, context).await, &mut found).flatten();
    for mount in &plan.mounts {
        let checked = mount.check(&[&plan.data_dir, &context.runs_dir]);
        found.extend(checked.err().map(|error| CliError::new(Exit::BadInput, error)));
    }
    match (opened, judge) {
        (Some(opened), Some(judge)) if found.is_empty() => {
            for warning in warnings(plan, &opened.info, &context.runs_dir) {
                context.warn(warning);
            }
            Ok(Ready { opened, judge, gpus, llm })
        }
        _ => Err(join(found)),
    }
}

/// Names what a run's own engine keeps: the first attempt's folder, which is no other run's.
fn storage_key(plan: &Plan) -> &str {
    plan.attempts.first().map_or(plan.group.as_str(), |attempt| attempt.dir.as_str())
}

/// Checks what can be known here of a plan that other machines run.
///
/// # Errors
/// As [`check`].
pub fn check_for_nodes(plan: &Plan, more: Vec<CliError>) -> Result<CatalogueJudge, CliError> {
    let mut found = of_plan(plan);
    let judge = CatalogueJudge::of_plan(plan).map_err(|error| CliError::new(Exit::BadInput, error));
    let judge = kept(judge, &mut found);
    found.extend(judge.as_ref().and_then(|judge| not_ready(plan, judge)));
    found.extend(more);
    match judge {
        Some(judge) if found.is_empty() => Ok(judge),
        _ => Err(join(found)),
    }
}

/// Checks what is wrong with a plan wherever it runs.
///
/// # Errors
/// As [`check`].
pub fn check_plan(plan: &Plan) -> Result<(), CliError> {
    let found = of_plan(plan);
    if found.is_empty() { Ok(()) } else { Err(join(found)) }
}

/// What was asked for, or the error put with the others.
fn kept<T>(asked: Result<T, CliError>, found: &mut Vec<CliError>) -> Option<T> {
    asked.map_err(|error| found.push(error)).ok()
}

/// Several errors in one; the first gives the exit code.
fn join(mut errors: Vec<CliError>) -> CliError {
    if errors.len() == 1 {
        return errors.remove(0);
    }
    let mut text = format!("{} things stand in the way of this run:", errors.len());
    for error in &errors {
        let _ = write!(text, "\n  - {}", error.message_chain());
    }
    let exit = errors.first().map_or(Exit::Failure, CliError::exit);
    let mut hints: Vec<&String> = Vec::new();
    for hint in errors.iter().flat_map(CliError::hints) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints.into_iter().fold(CliError::message(exit, text), |error, hint| error.hint(hint))
}

fn refuse(what: impl std::fmt::Display, hint: impl Into<String>) -> CliError {
    CliError::message(Exit::BadInput, what).hint(hint)
}

/// What is wrong with a plan wherever it runs.
fn of_plan(plan: &Plan) -> Vec<CliError> {
    let limits = &plan.limits;
    let mut found = of_sizes(limits);
    let cpus = limits.cpus;
    if !cpus.is_finite() || cpus < 0.0 {
        found.push(refuse(
            format_args!("`--cpus {cpus}` is no number of processors"),
            "expected a number such as `--cpus 2` or `--cpus 0.5`; 0 means no limit",
        ));
    } else if cpus > 0.0 && cpus < LEAST_CPUS {
        found.push(refuse(
            format_args!("`--cpus {cpus}` is less than an engine takes"),
            format!("give at least {LEAST_CPUS}; 0 means no limit"),
        ));
    }
    if limits.pids > 0 && limits.pids < LEAST_PIDS {
        found.push(refuse(
            format_args!("`--pids {}` is too few for an agent to start", limits.pids),
            format!("give at least {LEAST_PIDS}; 0 means no limit"),
        ));
    }
    if limits.timeout.is_zero() {
        found.push(refuse(
            "`--timeout 0s` leaves the agent no time",
            "give it some: `--timeout 24h`",
        ));
    }
    for (flag, time) in [("--timeout", limits.timeout), ("--grace", limits.grace)] {
        if time > LONGEST {
            found.push(refuse(
                format_args!("`{flag} {}` is longer than a year", humantime::format_duration(time)),
                "is the unit right? `h` is hours, `d` is days",
            ));
        }
    }
    let every = plan.snapshot_every.map(|every| every.0);
    if let Some(every) = every.filter(|every| *every < Duration::from_secs(1)) {
        found.push(refuse(
            format_args!("`--snapshot-every {}` is too often", humantime::format_duration(every)),
            "give at least 1s; 30min is usual",
        ));
    }
    if let Some(cpuset) = &plan.cpuset
        && last_cpu(cpuset).is_none()
    {
        found.push(refuse(
            format_args!("`cpuset_cpus` of the container config is `{cpuset}`, which is no list of processors"),
            "expected a list such as `0-3` or `0,2`",
        ));
    }
    found.extend(consent(plan).err());
    found
}

/// Sizes so small that a unit must be missing.
fn of_sizes(limits: &Limits) -> Vec<CliError> {
    let sizes = [
        ("--memory", limits.memory_bytes, LEAST_MEMORY),
        ("--shm", limits.shm_bytes, MIB / 16),
        ("--disk", limits.disk_bytes, MIB),
        ("--log-size", limits.log_bytes, 1024),
    ];
    let small = sizes.into_iter().filter(|(_, bytes, least)| *bytes > 0 && bytes < least);
    let refused = small.map(|(flag, bytes, least)| {
        let least = ByteSize::b(least);
        let hint = match bytes < 1024 {
            true => {
                format!("a size needs its unit, as in `{flag} {bytes}GiB`; the least is {least}")
            }
            false => format!("the least is {least}"),
        };
        refuse(format_args!("`{flag} {}` is too little for any agent", size(bytes)), hint)
    });
    refused.collect()
}

/// A size as it may be typed.
fn size(bytes: u64) -> String {
    if bytes < 1024 { bytes.to_string() } else { ByteSize::b(bytes).to_string().replace(' ', "") }
}

/// The highest processor that a list such as `0-3,6` names.
fn last_cpu(list: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let last_of = |part: &str| match part.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).filter(|(a, b)| a <= b).map(|(_, b)| b),
        None => number(part),
    };
    list.split(',').map(last_of).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// A user must agree to what weakens the seal before anything runs, and secrets must be there.
fn consent(plan: &Plan) -> Result<(), CliError> {
    let agent = plan.agent.id.clone();
    if plan.agent.privileged
        && !std::env::var("I_ACCEPT_RUNNING_PRIVILEGED_CONTAINERS")
            .is_ok_and(|value| ["true", "1", "t"].contains(&value.to_lowercase().as_str()))
    {
        return Err(CliError::new(Exit::Environment, AgentError::PrivilegedRefused { agent })
            .hint("set I_ACCEPT_RUNNING_PRIVILEGED_CONTAINERS=true to run it all the same, as in MLE-bench"));
    }
    let secrets = plan.secrets();
    if !secrets.is_empty() && !plan.pass_secrets {
        let names: Vec<String> = secrets.into_iter().map(|(_, name)| name).collect();
        return Err(CliError::new(
            Exit::Environment,
            AgentError::SecretsRefused { agent, names: names.join(", ") },
        )
        .hint("`--pass-secrets` hands them over; results say so"));
    }
    let Some(attempt) = plan.attempts.first() else { return Ok(()) };
    let resolved = plan.resolve_agent(&attempt.key, HOME, |name| std::env::var(name).ok());
    resolved.map(|_| ()).map_err(|error| {
        let exit = match &error {
            AgentError::NotTold { .. } => Exit::BadInput,
            _ => Exit::Environment,
        };
        CliError::new(exit, error)
    })
}

/// The competitions that no attempt can start on, in one error.
fn not_ready(plan: &Plan, judge: &CatalogueJudge) -> Option<CliError> {
    let mut seen: Vec<&str> = Vec::new();
    let mut wrong: Vec<(&str, String)> = Vec::new();
    for attempt in &plan.attempts {
        let id = attempt.key.competition.as_str();
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        if let Err(error) = judge.material(id) {
            wrong.push((id, error.to_string()));
        }
    }
    let [(id, first), more @ ..] = &wrong[..] else { return None };
    if more.is_empty() {
        let hint = format!("prepare it first: medalist prepare -c {id}");
        return Some(refuse(first, hint));
    }
    let named: Vec<&str> = wrong.iter().take(NAMED).map(|(id, _)| *id).collect();
    let rest = if wrong.len() > NAMED { ", …" } else { "" };
    let all: Vec<&str> = wrong.iter().map(|(id, _)| *id).collect();
    Some(refuse(
        format_args!(
            "{} of {} competitions are not ready: `{}`{rest} ({first})",
            wrong.len(),
            seen.len(),
            named.join("`, `")
        ),
        format!("prepare them first: medalist prepare -c {}", all.join(" ")),
    ))
}

/// What the executor's machine cannot give.
fn of_machine(plan: &Plan, info: &ExecutorInfo) -> Vec<CliError> {
    let limits = &plan.limits;
    let detail = |name: &str| info.details.get(name).map_or("", String::as_str);
    let (whose, cpus, memory_bytes) = match plan.executor {
        ExecutorKind::Docker | ExecutorKind::Podman => {
            let known = |name: &str| detail(name).parse().ok().filter(|count: &u64| *count > 0);
            ("the container engine", known("cpus"), known("memory_bytes"))
        }
        ExecutorKind::Process | ExecutorKind::Namespaces => {
            let job = Allocation::current();
            let (cpus, memory) = machine::share(job.as_ref());
            (if job.is_some() { "this job" } else { "this machine" }, Some(u64::from(cpus)), memory)
        }
    };
    let mut found = Vec::new();
    if let Some(have) = cpus.filter(|have| limits.cpus > *have as f64) {
        let processors = if have == 1 { "processor" } else { "processors" };
        found.push(refuse(
            format_args!("`--cpus {}`: {whose} has {have} {processors}", limits.cpus),
            format!("give `--cpus {have}` or less (`nano_cpus` in a container config)"),
        ));
    }
    if let Some(have) = memory_bytes.filter(|have| limits.memory_bytes > *have) {
        let (asked, have) = (size(limits.memory_bytes), ByteSize::b(have));
        found.push(refuse(
            format_args!("`--memory {asked}`: {whose} has {have}"),
            "give less (`mem_limit` in a container config); an agent that used more than there is would end with the machine to blame",
        ));
    }
    if let (Some(last), Some(have)) = (plan.cpuset.as_deref().and_then(last_cpu), cpus)
        && last >= have
    {
        let cpuset = plan.cpuset.as_deref().unwrap_or_default();
        found.push(refuse(
            format_args!("`cpuset_cpus` of the container config is `{cpuset}`: {whose} has processors 0 to {}", have - 1),
            "name processors that are there",
        ));
    }
    if plan.executor == ExecutorKind::Namespaces {
        found.extend(without_engine(plan));
    }
    if plan.executor.has_engine() {
        let known: Vec<&str> = detail("runtimes").split_whitespace().collect();
        if let Some(runtime) = plan.runtime.as_deref().filter(|name| !known.contains(name)) {
            found.push(
                CliError::message(
                    Exit::Environment,
                    format_args!(
                        "`--runtime {runtime}`: the container engine has `{}`",
                        known.join("`, `")
                    ),
                )
                .hint("install it in the engine, or name one that is there (`runtime` in a container config)"),
            );
        }
        if let Build::Dockerfile { dir, dockerfile } = &plan.agent.build
            && !dir.join(dockerfile).is_file()
        {
            found.push(refuse(
                format_args!(
                    "agent `{}` cannot be built: there is no `{}`",
                    plan.agent.id,
                    dir.join(dockerfile).display()
                ),
                "docs/agents.md says what an agent's folder holds; `--executor process` needs no image",
            ));
        }
    }
    found
}

/// What containers without an engine cannot be asked for.
fn without_engine(plan: &Plan) -> Vec<CliError> {
    let mut found = Vec::new();
    let id = &plan.agent.id;
    let image = "build it where there is Docker, `docker save IMAGE -o FILE`, and name the file in agent.toml: \
                 `build = \"image\"`, `image = \"docker-archive:FILE\"` (docs/containers.md)";
    match &plan.agent.build {
        Build::Dockerfile { .. } => found.push(refuse(
            format_args!(
                "agent `{id}` is built by a Dockerfile, which `--executor namespaces` cannot do"
            ),
            image,
        )),
        Build::Embedded { base: Some(base), .. } => found.push(refuse(
            format_args!(
                "agent `{id}` is put on top of `{base}`, which `--executor namespaces` cannot do"
            ),
            image,
        )),
        Build::Image if !is_in_files(&plan.agent.image) => found.push(refuse(
            format_args!("agent `{id}` runs in image `{}`, which is in no file", plan.agent.image),
            image,
        )),
        Build::Image | Build::Embedded { base: None, .. } => {}
    }
    if plan.network == Network::Open {
        found.push(refuse(
            "`--network open`: `--executor namespaces` gives no agent the machine's network",
            "name the hosts that it may reach: `--network example.org,...`",
        ));
    }
    if plan.agent.privileged {
        found.push(refuse(
            format_args!(
                "agent `{id}` is privileged, which `--executor namespaces` makes no container"
            ),
            "use `--executor docker` for it",
        ));
    }
    for (what, given) in [
        ("`--runtime`", plan.runtime.is_some()),
        ("`cpuset_cpus` of the container config", plan.cpuset.is_some()),
    ] {
        if given {
            found.push(refuse(
                format_args!("{what}: `--executor namespaces` has none"),
                "leave it out; processors can be chosen with `taskset`",
            ));
        }
    }
    found
}

/// What is worth a word and stands in nobody's way.
fn warnings(plan: &Plan, info: &ExecutorInfo, runs_dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let root = info.details.get("root_dir").map(Path::new).filter(|root| root.is_dir());
    for place in root.into_iter().chain([runs_dir]) {
        if let Ok(free) = machine::free_bytes(place)
            && plan.limits.disk_bytes > free
        {
            found.push(format!(
                "`--disk {}`: only {} are free at `{}`; an attempt that fills them ends as the machine's failure",
                size(plan.limits.disk_bytes),
                ByteSize::b(free),
                place.display()
            ));
        }
    }
    found.extend(time_limit(plan));
    found
}

/// What is said where the agent's own settings and `--timeout` disagree about its time.
fn time_limit(plan: &Plan) -> Option<String> {
    let stated = plan.agent.env.get("TIME_LIMIT_SECS")?;
    let (agent, given) = (&plan.agent.id, plan.limits.timeout);
    let Ok(seconds) = stated.trim().parse::<f64>() else { return None };
    let mut said = format!("agent `{agent}` sets `TIME_LIMIT_SECS` to {stated}");
    // Arguments are the agent's own language: those that speak of time are told, not touched.
    let is_time = |key: &str| key.to_lowercase().contains("time");
    let argument = plan.agent.command.windows(2).find_map(|words| match words {
        [key, value] if key.starts_with("--") && is_time(key) && value == stated => {
            Some(format!("{key} {value}"))
        }
        [_, word] => word
            .split_once('=')
            .filter(|(key, value)| is_time(key) && value == stated)
            .map(|_| word.clone()),
        _ => None,
    });
    if let Some(argument) = argument {
        said.push_str(&format!(" (and `{argument}`)"));
    }
    let timeout = humantime::format_duration(given);
    if seconds > given.as_secs_f64() {
        Some(format!(
            "{said}, more than `--timeout {timeout}`: it is told {} instead",
            given.as_secs()
        ))
    } else if seconds < given.as_secs_f64() {
        Some(format!("{said}, less than `--timeout {timeout}`: it may stop by itself before"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        for (list, last) in [
            ("0-3", Some(3)),
            ("0,2", Some(2)),
            ("4,0-1", Some(4)),
            ("", None),
            ("3-0", None),
            ("all", None),
            ("0-", None),
        ] {
            assert_eq!(last_cpu(list), last, "{list}");
        }
    }

    #[test]
    fn a_size_without_its_unit_is_seen_and_no_limit_is_none() {
        let said = |limits: &Limits| {
            let errors = of_sizes(limits);
            errors.iter().map(|error| error.render()).collect::<String>()
        };
        let limits = Limits::default();
        assert_eq!(said(&limits), "");
        assert_eq!(said(&Limits { memory_bytes: 0, disk_bytes: 0, ..limits.clone() }), "");
        let four = said(&Limits { memory_bytes: 4, ..limits.clone() });
        assert!(four.contains("`--memory 4`") && four.contains("`--memory 4GiB`"), "{four}");
        let all = said(&Limits {
            memory_bytes: 5 * MIB,
            shm_bytes: 1,
            disk_bytes: 100,
            log_bytes: 10,
            ..limits
        });
        for flag in ["`--memory 5.0MiB`", "`--shm 1`", "`--disk 100`", "`--log-size 10`"] {
            assert!(all.contains(flag), "{flag}: {all}");
        }
    }

    #[test]
    fn several_obstacles_are_one_error_with_all_hints() {
        let one = || refuse("`--cpus nan` is none", "give a number");
        assert_eq!(
            join(vec![one()]).render(),
            "error: `--cpus nan` is none\nhint: give a number\n"
        );
        let two = join(vec![one(), one(), refuse("no time", "give some")]);
        assert_eq!(
            two.render(),
            "error: 3 things stand in the way of this run:\n  - `--cpus nan` is none\n  - `--cpus nan` is none\n  - no time\nhint: give a number\nhint: give some\n"
        );
    }
}
