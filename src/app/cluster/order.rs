//! What was handed to a scheduler: one file for each array of jobs, on disk before the scheduler hears of
//! it.
//!
//! ```text
//! <group>/jobs/
//!   order-<n>.json     name, attempts by index, and whether it was handed over
//!   <name>_<i>.out     what a job printed
//!   environment.json   secrets and settings of its attempts, for this user alone
//!   dead-starts.json   jobs that never began, by node: a node with two is left out
//!   queue.json         the scheduler's last answer, for all who ask within a minute
//!   follow.lock        held by whoever hands over
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_reports::record::FormatVersion;
use serde::{Deserialize, Serialize};

use crate::app::error::{CliError, Exit};
use crate::attempt::limits::seconds;
use crate::attempt::llm::LlmPlan;
use crate::attempt::plan::Plan;
use crate::host::files::{
    StoreError, if_there, read_json, read_json_if_there, write_exclusive, write_json,
};
use crate::host::scheduler::{Resources, Submitted};
use crate::host::store::GroupDir;

/// The version of order files that this program writes.
const ORDER_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };
/// Says to the program that it has its environment.
const TAKEN: &str = "MEDALIST_JOB_ENVIRONMENT";
/// Variables that attempts need on nodes as well, beside secrets.
const PASSED_ON: [&str; 9] = [
    "DOCKER_HOST",
    "I_ACCEPT_RUNNING_PRIVILEGED_CONTAINERS",
    crate::host::gpu::PROGRAM_VARIABLE,
    // The way to providers of language models; an address may hold a password.
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// An array of jobs, one attempt each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Format of the file.
    pub format: FormatVersion,
    /// The array's name, which no other has; ids come back.
    pub name: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// Version of the program that made it and that its jobs run.
    pub harness_version: String,
    /// Its attempts; the index of a job is the place in this list.
    pub elements: Vec<Element>,
    /// What each job has.
    pub resources: Resources,
    /// Between the scheduler's SIGTERM and its SIGKILL.
    #[serde(default, with = "optional_seconds", skip_serializing_if = "Option::is_none")]
    pub kill_wait: Option<Duration>,
    /// What became of it.
    pub state: OrderState,
}

mod optional_seconds {
    use super::{Deserialize, Duration, seconds};

    #[derive(serde::Serialize, Deserialize)]
    struct Seconds(#[serde(with = "seconds")] Duration);

    pub(super) fn serialize<S: serde::Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        serde::Serialize::serialize(&value.map(Seconds), to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Seconds>::deserialize(from)?.map(|seconds| seconds.0))
    }
}

/// One job of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// The attempt's folder below the group's.
    pub dir: String,
    /// The makers of all tries up to this one are known to be gone.
    pub after: u32,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// It is about to be handed over, or was and the answer was lost.
    Intended,
    /// The scheduler has taken it.
    Submitted(Submitted),
    /// It was not handed over, or counts for nothing: a job of it that begins all the same leaves at once.
    Withdrawn(String),
}

/// The folder of a group's orders.
pub fn folder(group: &GroupDir) -> PathBuf {
    group.root().join("jobs")
}

fn path(group: &GroupDir, number: u32) -> PathBuf {
    folder(group).join(format!("order-{number}.json"))
}

/// Where a job's own output goes.
pub fn output(group: &GroupDir, name: &str, index: u32) -> PathBuf {
    folder(group).join(format!("{name}_{index}.out"))
}

/// Whether a job of an order has printed anything.
pub(super) fn has_printed(group: &GroupDir, order: &Order) -> bool {
    let begins = format!("{}_", order.name);
    let entries = std::fs::read_dir(folder(group)).into_iter().flatten().flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.any(|name| name.starts_with(&begins) && name.ends_with(".out"))
}

/// All orders of a group, by number.
///
/// # Errors
/// [`StoreError`] if one cannot be read: what was handed over must not be guessed.
pub fn all(group: &GroupDir) -> Result<BTreeMap<u32, Order>, StoreError> {
    let mut orders = BTreeMap::new();
    let entries = match std::fs::read_dir(folder(group)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(orders),
        Err(error) => return Err(StoreError::io("read", &folder(group))(error)),
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| {
            name.strip_prefix("order-")?.strip_suffix(".json")?.parse::<u32>().ok()
        });
        if let Some(number) = number {
            orders.insert(number, read_json(&entry.path())?);
        }
    }
    Ok(orders)
}

impl Order {
    /// Puts a new order on disk, under a number above `last` that no other has; before the scheduler hears
    /// of it.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be written.
    pub fn make(
        group: &GroupDir,
        prefix: &str,
        last: u32,
        elements: Vec<Element>,
        resources: Resources,
        kill_wait: Option<Duration>,
    ) -> Result<(u32, Self), StoreError> {
        let folder = folder(group);
        std::fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        let mut number = last;
        loop {
            number = number.saturating_add(1);
            let order = Self {
                format: ORDER_FORMAT,
                name: format!("{prefix}-{number}"),
                made_at: Utc::now(),
                harness_version: crate::attempt::VERSION.to_owned(),
                elements: elements.clone(),
                resources,
                kill_wait,
                state: OrderState::Intended,
            };
            let path = path(group, number);
            let bytes = serde_json::to_vec_pretty(&order).map_err(|error| StoreError::Damaged {
                path: path.clone(),
                message: error.to_string(),
            })?;
            if write_exclusive(&path, &bytes)? {
                return Ok((number, order));
            }
        }
    }

    /// Notes what became of it.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be written.
    pub fn become_state(
        &mut self,
        group: &GroupDir,
        number: u32,
        state: OrderState,
    ) -> Result<(), StoreError> {
        self.state = state;
        write_json(&path(group, number), self)
    }

    /// Where its file is.
    pub fn file(group: &GroupDir, number: u32) -> PathBuf {
        path(group, number)
    }

    /// The order in a file, for a job of it, and its group.
    ///
    /// # Errors
    /// It cannot be read, counts for nothing, or another version of the program made it.
    pub(in crate::app) fn read(file: &Path) -> Result<(GroupDir, Self), CliError> {
        let bad = |error: StoreError| CliError::new(Exit::BadInput, error);
        let order: Self = read_json(file).map_err(bad)?;
        if !ORDER_FORMAT.reads(order.format) {
            return Err(CliError::message(
                Exit::BadInput,
                format!(
                    "`{}` has format {}, this program reads up to {ORDER_FORMAT}",
                    file.display(),
                    order.format
                ),
            ));
        }
        if order.harness_version != crate::attempt::VERSION {
            return Err(CliError::message(
                Exit::Environment,
                format!(
                    "this job was handed over by medalist {}, and this node has {}",
                    order.harness_version,
                    crate::attempt::VERSION
                ),
            )
            .hint("attempts of one group are comparable only where one program makes them: put the program where all nodes see the same file"));
        }
        if let OrderState::Withdrawn(why) = &order.state {
            let message = format!("this job counts for nothing any more: {why}");
            return Err(CliError::message(Exit::Elsewhere, message));
        }
        let root = std::path::absolute(file)?;
        let group = root.parent().and_then(Path::parent).ok_or_else(|| {
            CliError::message(Exit::BadInput, format!("`{}` is in no group", file.display()))
        })?;
        Ok((GroupDir::new(group), order))
    }

    /// The attempt of the job with this index.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::app) fn element(&self, index: Option<u32>) -> Result<&Element, CliError> {
        let found = index.and_then(|index| self.elements.get(index as usize));
        found.ok_or_else(|| {
            let index = index.map_or("no index".to_owned(), |index| format!("index {index}"));
            CliError::message(
                Exit::Usage,
                format!(
                    "this is no job of `{}`, which has {}: it has {index}",
                    self.name,
                    self.elements.len()
                ),
            )
            .hint("`--job` is for the jobs of an array that `medalist run --on` hands over")
        })
    }
}

/// Writes what attempts need of this process's environment, secrets among it, where only this user reads
/// it. Nothing of it is told to the scheduler, whose other users read what it is told.
///
/// # Errors
/// [`StoreError`] if the file cannot be written.
pub fn keep_environment(group: &GroupDir, plan: &Plan) -> Result<(), StoreError> {
    let folder = folder(group);
    std::fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    let secrets = if plan.pass_secrets { plan.secrets() } else { Vec::new() };
    let keys = plan.llm.as_ref().map(LlmPlan::key_variables).unwrap_or_default();
    let names = secrets.into_iter().map(|(_, name)| name).chain(keys);
    let names = names.chain(PASSED_ON.map(str::to_owned));
    let kept: BTreeMap<String, String> =
        names.filter_map(|name| std::env::var(&name).ok().map(|value| (name, value))).collect();
    let path = environment(group);
    let aside = folder.join(".aside-environment");
    let write = || -> std::io::Result<()> {
        if_there(std::fs::remove_file(&aside))?;
        let mut file =
            std::fs::File::options().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.sync_all()?;
        std::fs::rename(&aside, &path)
    };
    write().map_err(StoreError::io("write", &path))
}

fn environment(group: &GroupDir) -> PathBuf {
    folder(group).join("environment.json")
}

/// Removes what [`keep_environment`] has written.
///
/// # Errors
/// [`StoreError`] if it is there and cannot be removed.
pub fn forget_environment(group: &GroupDir) -> Result<(), StoreError> {
    let path = environment(group);
    if_there(std::fs::remove_file(&path)).map(drop).map_err(StoreError::io("remove", &path))
}

/// Starts this program again, in its own place, with what [`keep_environment`] has kept; returns where
/// that is done already or there is nothing.
///
/// # Errors
/// The file cannot be read, or the program cannot be started.
pub(in crate::app) fn take_environment(group: &GroupDir) -> Result<(), CliError> {
    if std::env::var_os(TAKEN).is_some() {
        return Ok(());
    }
    let kept: Option<BTreeMap<String, String>> = read_json_if_there(&environment(group))
        .map_err(|error| CliError::new(Exit::BadInput, error))?;
    let Some(kept) = kept.filter(|kept| !kept.is_empty()) else { return Ok(()) };
    let program = std::env::current_exe()?;
    let error = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(kept)
        .env(TAKEN, "1")
        .exec();
    Err(CliError::new(Exit::Environment, anyhow::Error::new(error).context("cannot start again")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn resources() -> Resources {
        Resources { cpus: 1, memory_bytes: 1, gpus: 0, time_s: 60, warning_s: 60 }
    }

    #[test]
    fn an_order_is_on_disk_before_it_is_handed_over_and_has_a_name_of_its_own() {
        let temp = tempfile::tempdir().unwrap();
        let group = GroupDir::new(temp.path());
        let element = |dir: &str| Element { dir: dir.to_owned(), after: 0 };
        let make = |dir| {
            Order::make(&group, "medalist-x", 0, vec![element(dir)], resources(), None).unwrap()
        };
        let (first, mut order) = make("a_1");
        let (second, other) = make("b_1");
        assert_eq!((first, second, other.name.as_str()), (1, 2, "medalist-x-2"));
        let submitted = Submitted { id: "7".into(), cluster: None };
        order.become_state(&group, first, OrderState::Submitted(submitted)).unwrap();
        assert_eq!(all(&group).unwrap(), BTreeMap::from([(1, order.clone()), (2, other)]));
        let file = Order::file(&group, first);
        let (found, read) = Order::read(&file).unwrap();
        assert_eq!((found.root(), &read), (temp.path(), &order));
        assert_eq!(read.element(Some(0)).unwrap().dir, "a_1");
        for index in [None, Some(1)] {
            assert_eq!(read.element(index).unwrap_err().exit(), Exit::Usage);
        }
        order.become_state(&group, first, OrderState::Withdrawn("x".into())).unwrap();
        assert_eq!(Order::read(&file).unwrap_err().exit(), Exit::Elsewhere);
        order.harness_version = "another".to_owned();
        order.become_state(&group, first, OrderState::Intended).unwrap();
        assert!(Order::read(&file).unwrap_err().render().contains("another"));
    }

    #[test]
    fn secrets_are_kept_for_this_user_alone() {
        let temp = tempfile::tempdir().unwrap();
        let group = GroupDir::new(temp.path());
        keep_environment(&group, &crate::app::cluster::tests::plan(1)).unwrap();
        let facts = std::fs::metadata(environment(&group)).unwrap();
        assert_eq!(facts.mode() & 0o777, 0o600);
        forget_environment(&group).unwrap();
        forget_environment(&group).unwrap();
        assert!(!environment(&group).exists());
    }
}
