//! Slurm, through its own programs, whose answers are alike from version 20.11 on where they are asked
//! for columns.

mod words;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::programs::Programs;
use super::{Away, Habits, Request, Scheduler, Seen, SubmitError, Submitted};
use crate::host::files::write_atomic;

/// What `scontrol show config` calls the end of arrays, and what it is where nobody set it.
const LARGEST_ARRAY: u32 = 1001;
/// The same of the time between SIGTERM and SIGKILL.
const KILL_WAIT: Duration = Duration::from_secs(30);
/// The script of every job. What differs comes as arguments; `srun` makes a step of it, which hears of a
/// preemption at once, and is told again what sbatch was told, since newer versions do not pass it on.
const SCRIPT: &str = r#"#!/bin/sh
exec srun --ntasks=1 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} --export=ALL "$@"
"#;

/// Slurm, as this user reaches it.
#[derive(Debug, Clone, Default)]
pub struct Slurm {
    programs: Programs,
}

/// Nodes of a kind in a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether jobs go there that name none.
    pub is_default: bool,
    /// How long a job may run; `None` for any time.
    pub longest: Option<Duration>,
    /// Nodes of the kind.
    pub nodes: u32,
    /// Their state, in Slurm's word.
    pub states: String,
    /// Processors of each.
    pub cpus: u32,
    /// Memory of each.
    pub memory_mib: u64,
    /// Generic resources of each, GPUs among them, in Slurm's words.
    pub gres: String,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The kind of its processors, in the kernel's word.
    pub architecture: String,
    /// The partitions that it is in.
    pub partitions: Vec<String>,
}

/// What one of its programs gave.
#[derive(Debug)]
pub struct Answer {
    /// Whether it ended well.
    pub ok: bool,
    pub stdout: String,
    /// What it complained of, in one line.
    pub complaint: String,
}

impl Slurm {
    /// Whether one of its programs is there.
    pub fn has(&self, program: &str) -> bool {
        self.programs.has(program)
    }

    /// Runs one of its programs to its end.
    ///
    /// # Errors
    /// [`Away`] if it cannot be started or does not end in time.
    pub fn call<I: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = I>,
    ) -> Result<Answer, Away> {
        let output = self.programs.run(program, args, b"", |command| {
            // Settings of a job in which this may run would become the new job's; where the cluster is would not.
            for (name, _) in std::env::vars_os() {
                let text = name.to_string_lossy();
                let of_a_job =
                    ["SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "PMI", "OMPI_"];
                if text != "SLURM_CONF" && of_a_job.iter().any(|prefix| text.starts_with(prefix)) {
                    command.env_remove(&name);
                }
            }
            // Dates as they are parsed here.
            command.env("SLURM_TIME_FORMAT", "standard").env("TZ", "UTC");
        })?;
        let complaint = words::complaint(&output.stderr);
        Ok(Answer { ok: output.ok, stdout: output.stdout, complaint })
    }

    /// As [`Slurm::call`], where a failure means that nothing was answered.
    fn ask<I: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = I>,
    ) -> Result<String, Away> {
        let answer = self.call(program, args)?;
        match answer.ok {
            true => Ok(answer.stdout),
            false => Err(Away(format!("`{program}`: {}", answer.complaint))),
        }
    }

    /// What `scontrol show config` says, by name.
    ///
    /// # Errors
    /// [`Away`].
    pub fn config(&self) -> Result<std::collections::BTreeMap<String, String>, Away> {
        Ok(words::config(&self.ask("scontrol", ["show", "config"])?))
    }

    /// The partitions, a row for each kind of node in each.
    ///
    /// # Errors
    /// [`Away`].
    pub fn partitions(&self) -> Result<Vec<Partition>, Away> {
        let text = self.ask("sinfo", ["-h", "-o", words::PARTITION_COLUMNS])?;
        Ok(text.lines().filter_map(words::partition).collect())
    }

    /// The nodes of which Slurm knows what they are.
    ///
    /// # Errors
    /// [`Away`].
    pub fn nodes(&self) -> Result<Vec<Node>, Away> {
        let text = self.ask("scontrol", ["show", "nodes", "--oneliner"])?;
        Ok(text.lines().filter_map(words::node).collect())
    }

    /// When a job ends at the latest; `None` if it has no such time or nobody knows.
    pub fn ends_at(&self, id: &str) -> Option<DateTime<Utc>> {
        let text = self.ask("squeue", ["-h", "-j", id, "-o", "%e"]).ok()?;
        words::time(text.lines().next()?.trim())
    }

    /// Whether `sbatch` would take jobs such as these; what it says of them.
    ///
    /// # Errors
    /// As [`Scheduler::submit`].
    pub fn try_out(&self, request: &Request) -> Result<String, SubmitError> {
        let mut args = vec!["--test-only".to_owned()];
        args.extend(arguments(request, &script(&request.folder)?));
        let answer = self.call("sbatch", args)?;
        match answer.ok {
            true => Ok(answer.complaint),
            false => Err(words::refusal(&answer.complaint)),
        }
    }
}

/// The batch script, written once for each group.
fn script(folder: &Path) -> Result<PathBuf, SubmitError> {
    let path = folder.join("job.sh");
    if std::fs::read_to_string(&path).is_ok_and(|text| text == SCRIPT) {
        return Ok(path);
    }
    std::fs::create_dir_all(folder).map_err(|error| {
        SubmitError::Refused(format!("cannot make `{}`: {error}", folder.display()))
    })?;
    write_atomic(&path, SCRIPT.as_bytes())
        .map_err(|error| SubmitError::Refused(crate::attempt::text::chain(&error)))?;
    Ok(path)
}

/// All that sbatch is told, as arguments: nothing of it is kept in a script or in an environment. Other
/// users can read it.
fn arguments(request: &Request, script: &Path) -> Vec<String> {
    let Request { resources, wishes, .. } = request;
    let last = request.elements.saturating_sub(1);
    let at_once = request.at_once.map_or(String::new(), |at_once| format!("%{at_once}"));
    // A percent sign begins a pattern.
    let folder = request.folder.display().to_string().replace('%', "%%");
    let mib = resources.memory_bytes.div_ceil(1 << 20);
    let mut options: Vec<(&str, String)> = vec![
        ("parsable", String::new()),
        ("job-name", request.name.clone()),
        ("array", format!("0-{last}{at_once}")),
        ("nodes", "1".to_owned()),
        ("ntasks", "1".to_owned()),
        ("chdir", request.folder.display().to_string()),
        ("output", format!("{folder}/{}_%a.out", request.name)),
        ("open-mode", "append".to_owned()),
        ("export", "NONE".to_owned()),
        ("requeue", String::new()),
        ("signal", format!("TERM@{}", resources.warning_s)),
        ("time", resources.time_s.div_ceil(60).to_string()),
        ("cpus-per-task", resources.cpus.to_string()),
    ];
    if mib > 0 {
        options.push(("mem", format!("{mib}M")));
    }
    if resources.gpus > 0 {
        options.push(("gres", format!("gpu:{}", resources.gpus)));
    }
    if !request.excluded.is_empty() {
        let nodes: Vec<&str> = request.excluded.iter().map(String::as_str).collect();
        options.push(("exclude", nodes.join(",")));
    }
    for (name, value) in
        [("partition", &wishes.partition), ("account", &wishes.account), ("qos", &wishes.qos)]
    {
        options.extend(value.clone().map(|value| (name, value)));
    }
    options.retain(|(name, _)| !wishes.without.iter().any(|left_out| left_out == name));
    let mut args: Vec<String> = options
        .into_iter()
        .map(|(name, value)| match value.is_empty() {
            true => format!("--{name}"),
            false => format!("--{name}={value}"),
        })
        .collect();
    // The last one counts where two say the same.
    args.extend(wishes.arguments.iter().cloned());
    args.push(script.display().to_string());
    args.extend(request.command.iter().cloned());
    args
}

impl Scheduler for Slurm {
    fn habits(&self) -> Result<Habits, Away> {
        let config = self.config()?;
        let number = |name: &str| words::leading_number(config.get(name)?);
        let largest_array = number("MaxArraySize").and_then(|most| u32::try_from(most).ok());
        Ok(Habits {
            largest_array: largest_array.unwrap_or(LARGEST_ARRAY).max(1),
            kill_wait: Some(number("KillWait").map_or(KILL_WAIT, Duration::from_secs)),
            throttles: true,
            is_asked_gently: true,
        })
    }

    fn submit(&self, request: &Request) -> Result<Submitted, SubmitError> {
        let answer = self.call("sbatch", arguments(request, &script(&request.folder)?))?;
        if !answer.ok {
            return Err(words::refusal(&answer.complaint));
        }
        words::submitted(&answer.stdout).ok_or_else(|| {
            // It may have taken them: who asks by name finds out.
            SubmitError::Away(Away(format!("`sbatch` answered `{}`", answer.stdout.trim())))
        })
    }

    fn queue(&self, names: &[String]) -> Result<Vec<Seen>, Away> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let user = nix::unistd::getuid().to_string();
        let args =
            ["-h", "-r", "-u", &user, "--name", &names.join(","), "-o", words::QUEUE_COLUMNS];
        let text = self.ask("squeue", args)?;
        Ok(text.lines().filter_map(words::queued).collect())
    }

    fn recorded(&self, names: &[String], since: DateTime<Utc>) -> Result<Vec<Seen>, Away> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // A clock may be behind the controller's.
        let since = since - chrono::Duration::minutes(10);
        let since = since.format("%Y-%m-%dT%H:%M:%S").to_string();
        let args =
            ["-P", "-n", "-S", &since, "--name", &names.join(","), "-o", words::RECORD_COLUMNS];
        let text = self.ask("sacct", args)?;
        Ok(words::records(&text))
    }

    fn cancel(&self, elements: &[(String, u32)], gently: bool) -> Result<(), Away> {
        // Bounded, so that the list of arguments is.
        for some in elements.chunks(500) {
            let mut args: Vec<String> = Vec::new();
            if gently {
                args.extend(["--state=PENDING".to_owned()]);
            }
            args.extend(some.iter().map(|(id, index)| format!("{id}_{index}")));
            let answer = self.call("scancel", args)?;
            if !answer.ok && !words::is_over_already(&answer.complaint) {
                return Err(Away(format!("`scancel`: {}", answer.complaint)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Resources;
    use super::*;
    use crate::attempt::plan::SchedulerWishes as Wishes;

    fn request() -> Request {
        Request {
            name: "medalist-1-1".into(),
            elements: 225,
            at_once: Some(8),
            command: vec![
                "/opt/medalist".into(),
                "attempt".into(),
                "--job".into(),
                "a b.json".into(),
            ],
            folder: "/shared/100%/jobs".into(),
            resources: Resources {
                cpus: 4,
                memory_bytes: (32 << 30) + 1,
                gpus: 1,
                time_s: 3601,
                warning_s: 60,
            },
            kill_wait: Duration::from_secs(30),
            excluded: ["n7".to_owned(), "n3".to_owned()].into(),
            wishes: Wishes {
                partition: Some("gpu".into()),
                arguments: vec!["--gres=gpu:a100:1".into()],
                without: vec!["gres".into(), "requeue".into()],
                ..Wishes::default()
            },
        }
    }

    #[test]
    fn everything_is_an_argument_and_the_users_come_last() {
        let args = arguments(&request(), Path::new("/shared/100%/jobs/job.sh"));
        for wanted in [
            "--array=0-224%8",
            "--time=61",
            "--mem=32769M",
            "--export=NONE",
            "--exclude=n3,n7",
            "--partition=gpu",
            "--chdir=/shared/100%/jobs",
            "--output=/shared/100%%/jobs/medalist-1-1_%a.out",
            "--signal=TERM@60",
        ] {
            assert!(args.iter().any(|arg| arg == wanted), "{wanted} in {args:?}");
        }
        assert!(!args.iter().any(|arg| arg == "--gres=gpu:1" || arg == "--requeue"), "{args:?}");
        let own = args.iter().position(|arg| arg == "--gres=gpu:a100:1").unwrap();
        assert_eq!(
            args[own + 1..],
            ["/shared/100%/jobs/job.sh", "/opt/medalist", "attempt", "--job", "a b.json"]
        );
    }

    #[test]
    fn a_program_that_hangs_is_given_up_and_one_that_is_missing_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let programs =
            Programs { bin: Some(temp.path().to_owned()), patience: Duration::from_millis(300) };
        let slurm = Slurm { programs };
        let missing = slurm.queue(&["a".to_owned()]).unwrap_err().to_string();
        assert!(missing.contains("cannot start `squeue`"), "{missing}");
        let path = temp.path().join("squeue");
        std::fs::write(&path, "#!/bin/sh\nexec sleep 100\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let hung = slurm.queue(&["a".to_owned()]).unwrap_err().to_string();
        assert!(hung.contains("has not answered"), "{hung}");
    }
}
