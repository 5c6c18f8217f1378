//! What Slurm's programs print.

use std::collections::BTreeMap;

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{Node, Partition};
use crate::host::scheduler::{Over, Seen, State, SubmitError, Submitted};

/// Columns of `squeue -o`: the array's id, index, state, reason, nodes, name.
pub(super) const QUEUE_COLUMNS: &str = "%F|%K|%T|%r|%N|%j";
/// Columns of `sinfo -o`: partition, time limit, nodes, state, processors, memory, generic resources.
pub(super) const PARTITION_COLUMNS: &str = "%P|%l|%D|%T|%c|%m|%G";
/// Columns of `sacct -o`.
pub(super) const RECORD_COLUMNS: &str = "JobID,State,NodeList,JobName";

/// A line of `squeue`.
pub(super) fn queued(line: &str) -> Option<Seen> {
    let fields: Vec<&str> = line.trim().split('|').collect();
    let [id, index, word, reason, node, name] = fields.as_slice() else { return None };
    let reason = match *reason {
        "None" => "",
        reason => reason,
    };
    Some(Seen {
        name: (*name).to_owned(),
        id: (*id).to_owned(),
        // An array that nobody has split yet prints all of its indices in one line.
        index: index.parse().ok(),
        // One that could not be started and that nobody starts again.
        state: match reason.replace('_', " ").contains("requeued held") {
            true => State::Over(Over::NodeLost(reason.to_owned())),
            false => state(word),
        },
        reason: reason.to_owned(),
        node: (*node).to_owned(),
    })
}

/// What `sacct -P` says of jobs and their steps. The memory that ran out is told of the step alone: its
/// job has only failed.
pub(super) fn records(text: &str) -> Vec<Seen> {
    let mut jobs: Vec<Seen> = Vec::new();
    let mut last = "";
    for line in text.lines() {
        let Some(seen) = recorded(line) else { continue };
        let id = line.split('|').next().unwrap_or_default().trim();
        match id.split_once('.') {
            None => {
                last = id;
                jobs.push(seen);
            }
            Some((job, _)) => {
                let of_last = jobs.last_mut().filter(|_| job == last);
                if let Some(one) = of_last.filter(|one| one.state == State::Over(Over::Ended))
                    && seen.state == State::Over(Over::OutOfMemory)
                {
                    one.state = seen.state;
                }
            }
        }
    }
    jobs
}

/// A line of `sacct -P`.
fn recorded(line: &str) -> Option<Seen> {
    let fields: Vec<&str> = line.trim().split('|').collect();
    let [id, word, node, name] = fields.as_slice() else { return None };
    let (id, index) = id.split_once('_').unwrap_or((id, ""));
    let node = match *node {
        "None assigned" => "",
        node => node,
    };
    Some(Seen {
        name: (*name).to_owned(),
        id: id.to_owned(),
        index: index.parse().ok(),
        state: state(word),
        reason: String::new(),
        node: node.to_owned(),
    })
}

/// A line of `sinfo`.
pub(super) fn partition(line: &str) -> Option<Partition> {
    let fields: Vec<&str> = line.trim().split('|').collect();
    let [name, longest, nodes, states, cpus, memory, gres] = fields.as_slice() else { return None };
    let number = |text: &str| leading_number(text).unwrap_or(0);
    Some(Partition {
        name: name.trim_end_matches('*').to_owned(),
        is_default: name.ends_with('*'),
        longest: time_limit(longest),
        nodes: u32::try_from(number(nodes)).unwrap_or(u32::MAX),
        states: (*states).to_owned(),
        cpus: u32::try_from(number(cpus)).unwrap_or(u32::MAX),
        memory_mib: number(memory),
        gres: match *gres {
            "(null)" => String::new(),
            gres => gres.to_owned(),
        },
    })
}

/// A line of `scontrol show nodes`; `None` for a node that has never said what it is.
pub(super) fn node(line: &str) -> Option<Node> {
    let value = |name: &str| {
        let mut words = line.split_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let (name, architecture) = (value("NodeName").to_owned(), value("Arch").to_owned());
    let partitions = value("Partitions").split(',').map(str::to_owned).collect();
    (!name.is_empty() && !architecture.is_empty()).then_some(Node {
        name,
        architecture,
        partitions,
    })
}

/// A time limit: minutes, `minutes:seconds`, `hours:minutes:seconds`, or any of these after `days-`;
/// `None` for none.
fn time_limit(text: &str) -> Option<Duration> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (days.parse::<u64>().ok()?, rest),
        None => (0, text),
    };
    let parts: Option<Vec<u64>> = rest.split(':').map(|part| part.parse().ok()).collect();
    let seconds = match (parts?.as_slice(), text.contains('-')) {
        ([hours], true) => hours * 3600,
        ([hours, minutes], true) => hours * 3600 + minutes * 60,
        ([minutes], false) => minutes * 60,
        ([minutes, seconds], false) => minutes * 60 + seconds,
        ([hours, minutes, seconds], _) => hours * 3600 + minutes * 60 + seconds,
        _ => return None,
    };
    Some(Duration::from_secs(days * 86_400 + seconds))
}

/// Where a job is, by Slurm's word for it.
pub(super) fn state(text: &str) -> State {
    let mut parts = text.split_whitespace();
    // A word that a column cut short ends with a plus sign.
    let word = parts.next().unwrap_or_default().trim_end_matches('+');
    match word {
        "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT"
        | "RESV_DEL_HOLD" | "CONFIGURING" => State::Waiting,
        "RUNNING" | "COMPLETING" | "SUSPENDED" | "RESIZING" | "SIGNALING" | "STAGE_OUT"
        | "STOPPED" => State::Running,
        "COMPLETED" | "FAILED" => State::Over(Over::Ended),
        "OUT_OF_MEMORY" | "OUT_OF_ME" => State::Over(Over::OutOfMemory),
        "TIMEOUT" => State::Over(Over::TimedOut),
        // `CANCELLED by 1000`
        "CANCELLED" => {
            let by = parts.nth(1).and_then(|user| user.parse().ok());
            State::Over(Over::Cancelled(by))
        }
        "PREEMPTED" | "NODE_FAIL" | "BOOT_FAIL" | "REVOKED" | "DEADLINE" | "LAUNCH_FAILED"
        | "RECONFIG_FAIL" => State::Over(Over::NodeLost(word.to_owned())),
        other => State::Unknown(other.to_owned()),
    }
}

/// What `sbatch --parsable` answered: `id` or `id;cluster`, after whatever a site's plugins print.
pub(super) fn submitted(stdout: &str) -> Option<Submitted> {
    let line = stdout.lines().rev().find(|line| !line.trim().is_empty())?.trim();
    let (id, cluster) = match line.split_once(';') {
        Some((id, cluster)) => (id, Some(cluster.to_owned())),
        None => (line, None),
    };
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| Submitted { id: id.to_owned(), cluster })
}

/// Why sbatch took nothing.
pub(super) fn refusal(complaint: &str) -> SubmitError {
    let text = complaint.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&[
        "unable to contact slurm controller",
        "socket timed out",
        "connection refused",
        "slurm_receive_msg",
        "zero bytes were transmitted",
        "temporarily unable",
        "unable to resolve",
    ]) {
        return SubmitError::Away(super::Away(format!("`sbatch`: {complaint}")));
    }
    // `Job violates accounting/QOS policy` says the same of a limit for good as of one for now; only the name
    // of the limit before it tells.
    if has(&[
        "maxsubmitjob",
        "maxjobs",
        "max_submit",
        "submitjobslimit",
        "submit limit",
        "grpsubmitjobs",
        "job array size",
        "maxjobcount",
        "too many jobs",
        "resource temporarily unavailable",
    ]) || (has(&["job violates accounting/qos policy"]) && !has(&["invalid"]))
    {
        return SubmitError::Full(complaint.to_owned());
    }
    SubmitError::Refused(complaint.to_owned())
}

/// Whether what scancel complains of is that there is nothing to cancel any more.
pub(super) fn is_over_already(complaint: &str) -> bool {
    let text = complaint.to_ascii_lowercase();
    ["invalid job id", "already completing", "already completed", "no error"]
        .iter()
        .any(|word| text.contains(word))
}

/// What a program complained of, in one line without its own name.
pub(super) fn complaint(stderr: &str) -> String {
    let strip = |line: &str| {
        let line = line.trim();
        ["sbatch: ", "squeue: ", "sacct: ", "scancel: ", "scontrol: ", "slurm_load_jobs "]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix))
            .unwrap_or(line)
            .trim_start_matches("error: ")
            .to_owned()
    };
    let lines: Vec<String> = stderr.lines().map(strip).filter(|line| !line.is_empty()).collect();
    match lines.is_empty() {
        true => "it failed and said nothing".to_owned(),
        false => lines.join("; "),
    }
}

/// `scontrol show config`, by name.
pub(super) fn config(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// The number that a text such as `30 sec` begins with.
pub(super) fn leading_number(text: &str) -> Option<u64> {
    let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// A time as Slurm prints it for `TZ=UTC`.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    Some(NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok()?.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_versions_are_known_and_others_are_not_guessed() {
        let over = State::Over;
        for (word, expected) in [
            ("PENDING", State::Waiting),
            ("COMPLETING", State::Running),
            ("COMPLETED", over(Over::Ended)),
            ("FAILED", over(Over::Ended)),
            ("OUT_OF_ME+", over(Over::OutOfMemory)),
            ("CANCELLED by 1001", over(Over::Cancelled(Some(1001)))),
            ("CANCELLED+", over(Over::Cancelled(None))),
            ("NODE_FAIL", over(Over::NodeLost("NODE_FAIL".into()))),
            ("PREEMPTED", over(Over::NodeLost("PREEMPTED".into()))),
            ("TIMEOUT", over(Over::TimedOut)),
            ("EXPEDITING", State::Unknown("EXPEDITING".into())),
            ("", State::Unknown(String::new())),
        ] {
            assert_eq!(state(word), expected, "{word}");
        }
    }

    #[test]
    fn lines_of_elements_are_read_and_broken_ones_are_not() {
        let one = queued("12|3|PENDING|Resources||medalist-1-1\n").unwrap();
        assert_eq!((one.id.as_str(), one.index, &one.state), ("12", Some(3), &State::Waiting));
        assert_eq!(one.reason, "Resources");
        for held in ["launch failed requeued held", "launch_failed_requeued_held"] {
            let one = queued(&format!("12|3|PENDING|{held}||m")).unwrap();
            assert_eq!(one.state, State::Over(Over::NodeLost(held.to_owned())));
        }
        assert_eq!(queued("12|3-5%2|PENDING|None||m").unwrap().index, None);
        assert_eq!(queued("12|3|PENDING"), None);
        let one = recorded("12_3|CANCELLED by 0|None assigned|m").unwrap();
        assert_eq!((one.index, one.node.as_str()), (Some(3), ""));
        assert_eq!(recorded("12_[4-9]|PENDING|None assigned|m").unwrap().index, None);
    }

    #[test]
    fn memory_that_ran_out_is_told_of_a_step() {
        let text = "37_0|FAILED|n1|m-1\n37_0.batch|FAILED|n1|batch\n37_0.0|OUT_OF_MEMORY|n1|medalist\n\
                    37_1|TIMEOUT|n1|m-1\n37_1.0|OUT_OF_MEMORY|n1|medalist\n37_2|COMPLETED|n2|m-1\n37_2.0|COMPLETED|n2|medalist\n";
        let states: Vec<State> = records(text).into_iter().map(|seen| seen.state).collect();
        let over = State::Over;
        assert_eq!(states, [over(Over::OutOfMemory), over(Over::TimedOut), over(Over::Ended)]);
    }

    #[test]
    fn an_answer_of_sbatch_is_an_id_or_nothing() {
        let id = |text: &str| submitted(text).map(|submitted| (submitted.id, submitted.cluster));
        assert_eq!(id("17\n"), Some(("17".into(), None)));
        assert_eq!(id("17;west\n"), Some(("17".into(), Some("west".into()))));
        assert_eq!(id("Welcome to west!\n17\n"), Some(("17".into(), None)));
        assert_eq!(id(""), None);
        assert_eq!(id("Submitted batch job 17"), None);
    }

    #[test]
    fn refusals_for_now_are_told_from_refusals_for_good() {
        let refused = |text: &str| refusal(&complaint(text));
        assert!(matches!(
            refused(
                "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
            ),
            SubmitError::Full(_)
        ));
        for text in [
            "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid partition name specified",
            "sbatch: error: Batch job submission failed: Requested node configuration is not available",
        ] {
            assert!(matches!(refused(text), SubmitError::Refused(_)), "{text}");
        }
        for text in [
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        ] {
            assert!(matches!(refused(text), SubmitError::Away(_)), "{text}");
        }
    }

    #[test]
    fn partitions_are_read() {
        let one = partition("gpu*|2-00:00:00|2|idle|4|4000+|gpu:fake:2(S:0)").unwrap();
        assert!(one.is_default && one.name == "gpu" && one.nodes == 2 && one.memory_mib == 4000);
        assert_eq!(one.longest, Some(Duration::from_secs(2 * 86_400)));
        let one = partition("long|infinite|2|idle|4|4000|(null)").unwrap();
        assert_eq!((one.longest, one.gres.as_str()), (None, ""));
        for (text, seconds) in [("2:00", 120), ("1:00:00", 3600), ("90", 5400), ("1-12", 129_600)] {
            assert_eq!(time_limit(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn nodes_are_read() {
        let line = "NodeName=n1 Arch=aarch64 CoresPerSocket=1 OS=Linux 6.1 #1 SMP State=IDLE Partitions=main,short  BootTime=x";
        let known = node(line).unwrap();
        assert_eq!((known.name.as_str(), known.architecture.as_str()), ("n1", "aarch64"));
        assert_eq!(known.partitions, ["main", "short"]);
        assert_eq!(node("NodeName=n1 CoresPerSocket=1 State=DOWN Partitions=main"), None);
    }

    #[test]
    fn settings_and_times_are_read() {
        let config = config(
            "Configuration data as of 2026-01-01\nKillWait                = 30 sec\nMaxArraySize = 1001\n",
        );
        assert_eq!(leading_number(&config["KillWait"]), Some(30));
        assert_eq!(leading_number("none"), None);
        assert_eq!(time("2026-01-02T03:04:05").unwrap().to_rfc3339(), "2026-01-02T03:04:05+00:00");
        assert_eq!(time("N/A"), None);
    }
}
