//! A job that looks at a node of a cluster from within, and what the login node makes of it: whether both
//! see one folder, and whether attempts can be made there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use chrono::Utc;
use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use super::cluster::scheduler_of;
use super::context::Context;
use super::doctor::{Finding, Level};
use super::error::{CliError, Exit};
use super::run::open_executor;
use crate::attempt::job::Allocation;
use crate::attempt::plan::{ExecutorKind, Remote};
use crate::host::files::{read_json, write_json};
use crate::host::gpu::NvidiaSmi;
use crate::host::lock::lock;
use crate::host::machine;
use crate::host::scheduler::{Request, Resources, Scheduler};

/// How long the probe's job may wait for a node.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Memory of its job.
const MEMORY: u64 = 512 << 20;
/// Clocks further apart than this confuse the order of events.
const CLOCKS: f64 = 5.0;

/// What a node tells.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    host: String,
    version: String,
    kernel: String,
    arch: String,
    /// By the node's clock, in milliseconds since 1970.
    clock_ms: i64,
    /// What the executor says, or why there is none.
    executor: Result<Vec<String>, String>,
    /// GPUs that the job has and that `nvidia-smi` shows.
    gpus: Option<(usize, usize)>,
    memory_bytes: Option<u64>,
    /// At how much the kernel ends the job's processes.
    memory_held: Option<u64>,
    cpus: u32,
    scratch: PathBuf,
    scratch_free: Option<u64>,
    /// What the login node wrote, as it is seen here.
    from_login: Option<String>,
    /// Whether a file that the login node holds can be locked here: it must not.
    lock_held: Result<bool, String>,
    /// Whether a shared lock can be had.
    lock_shared: Result<(), String>,
    ends_at_known: bool,
}

/// Looks at this node for a probe in `folder`, and leaves what it saw there.
///
/// # Errors
/// The folder cannot be written: then it is not shared.
pub async fn look(folder: &Path, executor: ExecutorKind) -> Result<(), CliError> {
    let job = Allocation::current();
    let executor = match open_executor(executor, "probe").await {
        Ok(opened) => Ok(opened.info.warnings),
        Err(error) => Err(error.message_chain()),
    };
    let gpus = match NvidiaSmi::find() {
        Some(smi) => smi.inventory().await.ok().map(|inventory| {
            let own = job.as_ref().and_then(|job| job.gpus.as_ref()).map_or(0, Vec::len);
            (own, inventory.gpus.len())
        }),
        None => None,
    };
    let held = match lock(&folder.join("held.lock"), FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(false),
        Err(crate::host::files::StoreError::Locked { .. }) => Ok(true),
        Err(error) => Err(crate::attempt::text::chain(&error)),
    };
    let shared = lock(&folder.join("shared.lock"), FlockArg::LockSharedNonblock);
    let (cpus, memory_bytes) = machine::share(job.as_ref());
    let scratch =
        job.as_ref().and_then(|job| job.scratch.clone()).unwrap_or_else(std::env::temp_dir);
    let seen = Seen {
        host: machine::host_name(),
        version: crate::attempt::VERSION.to_owned(),
        kernel: machine::hardware().kernel,
        arch: std::env::consts::ARCH.to_owned(),
        clock_ms: Utc::now().timestamp_millis(),
        executor,
        gpus,
        memory_bytes,
        memory_held: machine::group_memory_limit(),
        cpus,
        scratch_free: machine::free_bytes(&scratch).ok(),
        scratch,
        from_login: std::fs::read_to_string(folder.join("from-login")).ok(),
        lock_held: held,
        lock_shared: shared.map(drop).map_err(|error| crate::attempt::text::chain(&error)),
        ends_at_known: job.is_some_and(|job| job.ends_at.is_some()),
    };
    write_json(&folder.join("from-node.json"), &seen)?;
    Ok(())
}

/// Runs a probe on one node, and says what it found.
///
/// # Errors
/// The job cannot be handed over or does not begin, or the folder cannot be written.
pub fn probe(
    executor: ExecutorKind,
    gpus: u32,
    remote: &Remote,
    context: &Context,
) -> Result<Vec<Finding>, CliError> {
    std::fs::create_dir_all(&context.runs_dir)?;
    let scratch = tempfile::Builder::new().prefix(".probe-").tempdir_in(&context.runs_dir)?;
    let folder = std::path::absolute(scratch.path())?;
    let word = uuid::Uuid::new_v4().to_string();
    std::fs::write(folder.join("from-login"), &word)?;
    let held = lock(&folder.join("held.lock"), FlockArg::LockExclusiveNonblock);
    let name = format!("{}-probe", remote.prefix);
    let request = Request {
        name: name.clone(),
        elements: 1,
        at_once: None,
        command: vec![
            std::env::current_exe()?.display().to_string(),
            "doctor".to_owned(),
            "--look".to_owned(),
            folder.display().to_string(),
            "--executor".to_owned(),
            executor.to_string(),
        ],
        folder: folder.clone(),
        resources: Resources { cpus: 1, memory_bytes: MEMORY, gpus, time_s: 5 * 60, warning_s: 30 },
        kill_wait: Duration::from_secs(30),
        excluded: Default::default(),
        wishes: remote.wishes.clone(),
    };
    let scheduler = scheduler_of(remote)?;
    let submitted = scheduler
        .submit(&request)
        .map_err(|error| CliError::new(Exit::Environment, error).context("the probe's job"))?;
    context.say(format_args!("job {} looks at a node; waiting for it", submitted.id));
    let waited = wait_for(&*scheduler, &folder, &name, context);
    let _ = scheduler.cancel(&[(submitted.id, 0)], false);
    let (seen, delay) = waited?;
    Ok(findings(&seen, &word, held.is_ok(), delay))
}

/// Waits until the node has told; how long that took to be seen here after it was written.
fn wait_for(
    scheduler: &dyn Scheduler,
    folder: &Path,
    name: &str,
    context: &Context,
) -> Result<(Seen, f64), CliError> {
    let began = Instant::now();
    let mut told = String::new();
    let mut gone = 0;
    loop {
        // Listed: a name that was not there is remembered for a while on some file systems.
        let there = std::fs::read_dir(folder)?.flatten();
        if there.into_iter().any(|entry| entry.file_name() == "from-node.json") {
            let seen: Seen = read_json(&folder.join("from-node.json"))?;
            let delay = (Utc::now().timestamp_millis() - seen.clock_ms) as f64 / 1000.0;
            return Ok((seen, delay));
        }
        std::thread::sleep(Duration::from_secs(2));
        let queue = scheduler.queue(&[name.to_owned()]).unwrap_or_default();
        match queue.first() {
            Some(job) if !job.reason.is_empty() && job.reason != told => {
                told.clone_from(&job.reason);
                context.say(format_args!("it waits: {told}"));
            }
            Some(_) => gone = 0,
            None => gone += 1,
        }
        let output = std::fs::read_to_string(folder.join(format!("{name}_0.out")));
        if gone > 45 || began.elapsed() > PATIENCE {
            let said = output.unwrap_or_else(|_| "nothing that is seen here".to_owned());
            return Err(CliError::message(
                Exit::Environment,
                format!("the probe's job has left nothing in `{}`; it said: {}", folder.display(), said.trim()),
            )
            .hint("is the runs folder shared with the nodes, and the program too? `--runs-dir` names another; `--partition` chooses other nodes"));
        }
    }
}

fn findings(seen: &Seen, word: &str, held: bool, delay: f64) -> Vec<Finding> {
    let mut found = vec![
        Finding::ok(
            "node",
            format!(
                "`{}`: Linux {} ({}), {} cpus, {} of memory",
                seen.host,
                seen.kernel,
                seen.arch,
                seen.cpus,
                seen.memory_bytes
                    .map_or("unknown".to_owned(), |bytes| ByteSize::b(bytes).to_string())
            ),
        ),
        match seen.version == crate::attempt::VERSION {
            true => Finding::ok("program", seen.version.clone()),
            false => Finding::other(
                "program",
                Level::Missing,
                format!("the node has {}, this is {}", seen.version, crate::attempt::VERSION),
                "put the program where all nodes see the same file",
            ),
        },
        match seen.from_login.as_deref() == Some(word) {
            true => Finding::ok(
                "shared folder",
                format!("seen from both sides, {delay:.1} s late at most"),
            ),
            false => Finding::other(
                "shared folder",
                Level::Missing,
                "the node does not see what this machine has just written",
                "runs must lie on a file system that all nodes share: `--runs-dir`",
            ),
        },
    ];
    found.push(match (&seen.lock_held, &seen.lock_shared, held) {
        (Ok(true), Ok(()), true) => Finding::ok("locks", "hold between machines"),
        (Ok(false), ..) => Finding::other(
            "locks",
            Level::Note,
            "hold on one machine only",
            "tries are told apart by their claims; two `medalist run --resume` of one group must not run on two machines",
        ),
        (Err(why), ..) | (_, Err(why), _) => Finding::other(
            "locks",
            Level::Note,
            format!("none: {why}"),
            "tries are told apart by their claims; two `medalist run --resume` of one group must not run on two machines",
        ),
        (Ok(true), Ok(()), false) => Finding::other("locks", Level::Note, "none on this machine", "the same"),
    });
    if delay.abs() > CLOCKS {
        found.push(Finding::other(
            "clocks",
            Level::Note,
            format!("{delay:.1} s apart, or the folder is so late"),
            "events of different machines are merged by time; `chronyc tracking` shows a clock's error",
        ));
    }
    found.push(match &seen.executor {
        Ok(warnings) if warnings.is_empty() => Finding::ok("executor", "works on the node"),
        Ok(warnings) => {
            Finding { what: "executor", level: Level::Note, found: warnings.join("; "), hint: None }
        }
        Err(why) => Finding::other(
            "executor",
            Level::Missing,
            format!("does not work on the node: {why}"),
            "docs/cluster.md says what nodes need; `--executor` chooses another",
        ),
    });
    match seen.gpus {
        Some((own, shown)) if own == shown => {
            found.push(Finding::ok("GPUs", format!("{own} of the job, no others are shown to it")));
        }
        Some((own, shown)) => found.push(Finding::other(
            "GPUs",
            Level::Note,
            format!("the job has {own}, and the node shows it {shown}"),
            "attempts use those of their job alone; `ConstrainDevices=yes` keeps others out for certain",
        )),
        None => {}
    }
    found.push(match seen.memory_held {
        Some(held) if held <= MEMORY * 2 => {
            Finding::ok("memory", format!("the kernel holds the job to {}", ByteSize::b(held)))
        }
        _ => Finding::other(
            "memory",
            Level::Note,
            "nothing holds the job to what it asked for",
            "one that takes more takes it from its neighbours; `ConstrainRAMSpace=yes` in cgroup.conf holds it",
        ),
    });
    let free =
        seen.scratch_free.map_or("unknown".to_owned(), |bytes| ByteSize::b(bytes).to_string());
    found.push(Finding::ok("scratch", format!("`{}`, {free} free", seen.scratch.display())));
    found
}
