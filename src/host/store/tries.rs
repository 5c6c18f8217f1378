//! The tries of an attempt that processes of their own make, on any machine that shares the folder.
//!
//! ```text
//! <attempt>/tries/<n>/
//!   claim.json    who makes the try; the folder appears with it, whole or not at all
//!   beat          written anew every minute while its harness lives
//!   …             all that the try writes: log, snapshots, events, record, grade
//!   end.json      how it ended; made once, by whoever is first
//! ```
//! Two rules keep the tries of an attempt apart, and neither needs a lock:
//!
//! 1. *A claim is a rename.* Of two that want the same number, one gets it.
//! 2. *An end is decided once.* A try publishes what it has only after it has made its own `end.json`;
//!    a later try makes that of the earlier one before it begins. So a process that comes back from a
//!    lost node finds its end decided, and never wins.
//!
//! What is published is a view: links in the attempt's folder to the files of the try that counts, and
//! copies of its record and its grade.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptRecord, OutcomeRecord};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::attempt::dir::AttemptDir;
use crate::attempt::job::Job;
use crate::host::files::{
    StoreError, flush_folder, if_there, read_json_if_listed, read_json_if_there, write_atomic,
    write_exclusive, write_json,
};
use crate::host::machine;

/// A heartbeat that is older than this is nobody's: it is written every minute.
pub const BEAT_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Who makes a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Tells this claim from all others.
    pub id: Uuid,
    /// Name of the machine.
    pub host: String,
    /// Which boot of it.
    pub boot: String,
    /// The harness's process.
    pub pid: u32,
    /// When the kernel started that process, in its ticks since boot.
    pub pid_started: u64,
    /// The scheduler's job, if it is part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// When the try began, by the clock of its machine.
    pub started_at: DateTime<Utc>,
    /// Version of its harness.
    pub harness_version: String,
}

impl Claim {
    /// A claim of this process.
    pub fn of_this_process(job: Option<Job>) -> Self {
        let pid = std::process::id();
        Self {
            id: Uuid::new_v4(),
            host: machine::host_name(),
            boot: machine::boot_id(),
            pid,
            pid_started: machine::process_started(pid).unwrap_or(0),
            job,
            started_at: Utc::now(),
            harness_version: crate::attempt::VERSION.to_owned(),
        }
    }

    /// Whether it was made by this very process.
    pub fn is_ours(&self, us: &Self) -> bool {
        (&self.host, &self.boot, self.pid, self.pid_started)
            == (&us.host, &us.boot, us.pid, us.pid_started)
    }

    /// Where it is made, for people.
    pub fn place(&self) -> String {
        match &self.job {
            Some(job) => {
                let index = job.index.map_or(String::new(), |index| format!("_{index}"));
                let node = job.node.as_deref().unwrap_or(&self.host);
                format!("{} job {}{index} on `{node}`", job.scheduler, job.id)
            }
            None => format!("process {} on `{}`", self.pid, self.host),
        }
    }
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum TryEnd {
    /// By itself: its record and grade say how.
    Itself,
    /// A later try began, since whoever made this one was gone.
    Superseded {
        /// Number of the later one.
        next: u32,
        /// What the record says of it.
        outcome: OutcomeRecord,
    },
    /// Whoever made it is gone, and nobody has begun another.
    Lost {
        /// What the record says of it.
        outcome: OutcomeRecord,
    },
    /// It began while the one before it ended well, and did nothing.
    Withdrawn,
}

/// One try as its folder tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TryState {
    /// From 1.
    pub number: u32,
    /// Who makes it; `None` for a folder that a harness of the whole group has set aside.
    pub claim: Option<Claim>,
    /// How it ended, if that is decided.
    pub end: Option<TryEnd>,
}

/// What [`claim`] came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// A new try is this process's.
    New(u32),
    /// The last try has ended and its agent's files are collected; only its grade is missing.
    Ungraded(u32),
    /// The attempt is over; what it left is published.
    Over,
    /// Somebody else makes a try now, as far as can be told from here.
    Elsewhere {
        /// Who, in words.
        who: String,
    },
}

/// Numbers of the tries of an attempt, in order.
///
/// # Errors
/// [`StoreError::Io`] if the folder is there and cannot be listed.
pub fn numbers(dir: &AttemptDir) -> Result<Vec<u32>, StoreError> {
    let folder = dir.tries();
    // Listed and not asked for one by one: a network file system remembers for half a minute that a
    // name was not there.
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", &folder)(error)),
    };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let mut numbers: Vec<u32> = entries.flatten().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// One try of an attempt.
///
/// # Errors
/// [`StoreError`] if its files cannot be read.
pub fn state(dir: &AttemptDir, number: u32) -> Result<TryState, StoreError> {
    let folder = dir.earlier_try(number);
    Ok(TryState {
        number,
        claim: read_json_if_there(&folder.claim())?,
        end: read_json_if_listed(&folder.end_mark())?,
    })
}

/// The tries of an attempt that processes have claimed, in order; none that were withdrawn.
///
/// # Errors
/// As [`state`].
pub fn claimed(dir: &AttemptDir) -> Result<Vec<TryState>, StoreError> {
    let mut found = Vec::new();
    for number in numbers(dir)? {
        let one = state(dir, number)?;
        if one.claim.is_some() && one.end != Some(TryEnd::Withdrawn) {
            found.push(one);
        }
    }
    Ok(found)
}

/// Where an attempt stands by its tries.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// No process of its own has made a try.
    Apart,
    /// Somebody makes this try, or has died over it.
    Claimed(TryState),
    /// The last try has ended, and another one may follow.
    Ended(TryState),
    /// The end of this try is the attempt's.
    Final(TryState),
}

/// Where an attempt stands by its tries.
///
/// # Errors
/// As [`state`].
pub fn standing(dir: &AttemptDir) -> Result<Standing, StoreError> {
    standing_of(dir, claimed(dir)?)
}

fn standing_of(dir: &AttemptDir, mut tries: Vec<TryState>) -> Result<Standing, StoreError> {
    // At most one: a later try begins only when no earlier one can end any more.
    for one in &tries {
        let outcome = match &one.end {
            Some(TryEnd::Itself) => own_outcome(dir, one.number)?,
            Some(TryEnd::Lost { outcome }) => Some(outcome.clone()),
            _ => None,
        };
        if outcome.is_some_and(|outcome| outcome.is_final()) {
            return Ok(Standing::Final(one.clone()));
        }
    }
    Ok(match tries.pop() {
        None => Standing::Apart,
        Some(last) if last.end.is_none() => Standing::Claimed(last),
        Some(last) => Standing::Ended(last),
    })
}

/// The outcome in a try's own record.
fn own_outcome(dir: &AttemptDir, number: u32) -> Result<Option<OutcomeRecord>, StoreError> {
    outcome_in(&dir.earlier_try(number).record())
}

/// The outcome in a record, which is all that is read of it; `None` if there is none.
///
/// # Errors
/// [`StoreError`] if the record is there and cannot be read.
pub fn outcome_in(record: &Path) -> Result<Option<OutcomeRecord>, StoreError> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        outcome: Option<OutcomeRecord>,
    }
    let part: Option<Part> = read_json_if_there(record)?;
    Ok(part.and_then(|part| part.outcome))
}

/// Whether what the agent of a try left is collected, and that was no failure of the machine.
///
/// # Errors
/// [`StoreError`] if the try's record cannot be read.
pub fn is_collected(dir: &AttemptDir, number: u32) -> Result<bool, StoreError> {
    Ok(own_outcome(dir, number)?.is_some_and(|outcome| outcome.is_final()))
}

/// Claims the next try of an attempt for `us`. `is_gone` says of the newest try, whose end nobody has
/// decided, why its maker is known to be gone, or else who makes it.
///
/// # Errors
/// [`StoreError`] if the folder cannot be read or written.
pub fn claim(
    dir: &AttemptDir,
    us: &Claim,
    is_gone: &dyn Fn(&TryState) -> Result<String, String>,
) -> Result<Claimed, StoreError> {
    // Each round somebody else was quicker, and either makes the try or has died over it.
    loop {
        let mut why = String::new();
        // Read before where the attempt stands: a number that somebody takes after this look is
        // theirs, and ours is refused.
        let number = highest(dir)?.saturating_add(1);
        match standing(dir)? {
            Standing::Final(_) => {
                publish(dir)?;
                return Ok(Claimed::Over);
            }
            Standing::Claimed(last) if !last.claim.as_ref().is_some_and(|it| it.is_ours(us)) => {
                match is_gone(&last) {
                    Ok(gone) => why = gone,
                    Err(who) => return Ok(Claimed::Elsewhere { who }),
                }
                if is_collected(dir, last.number)? {
                    return Ok(Claimed::Ungraded(last.number));
                }
            }
            Standing::Apart | Standing::Claimed(_) | Standing::Ended(_) => {}
        }
        if !take(dir, number, us)? {
            continue;
        }
        // From here on no earlier try can end by itself.
        for earlier in claimed(dir)?.iter().filter(|one| one.number < number) {
            let superseded = TryEnd::Superseded { next: number, outcome: lost(&why) };
            if earlier.end.is_none() {
                end(dir, earlier.number, &superseded)?;
            }
        }
        let earlier = claimed(dir)?.into_iter().filter(|one| one.number < number).collect();
        if let Standing::Final(_) = standing_of(dir, earlier)? {
            end(dir, number, &TryEnd::Withdrawn)?;
            continue;
        }
        return Ok(Claimed::New(number));
    }
}

/// The highest number that a try of the attempt has had, those of a harness of the whole group among
/// them, the last of which has no folder of its own.
fn highest(dir: &AttemptDir) -> Result<u32, StoreError> {
    let record: Option<AttemptRecord> = read_json_if_there(&dir.record())?;
    let recorded = record.and_then(|record| record.tries.last().map(|last| last.number));
    Ok(numbers(dir)?.last().copied().max(recorded).unwrap_or(0))
}

/// The outcome of a try whose maker is gone.
pub fn lost(cause: &str) -> OutcomeRecord {
    crate::attempt::outcome::Outcome::NodeLost { cause: cause.to_owned() }.record()
}

/// Takes a number: a folder that holds the claim already is renamed to it.
fn take(dir: &AttemptDir, number: u32, us: &Claim) -> Result<bool, StoreError> {
    let tries = dir.tries();
    std::fs::create_dir_all(&tries).map_err(StoreError::io("create", &tries))?;
    let aside = tempfile::Builder::new()
        .prefix(".claim-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir_in(&tries)
        .map_err(StoreError::io("create", &tries))?;
    let folder = AttemptDir::new(aside.path());
    write_json(&folder.claim(), us)?;
    let to = dir.earlier_try(number);
    // A name that is not a folder with a claim in it is refused by `rename` all the same.
    match std::fs::rename(aside.path(), to.root()) {
        Ok(()) => {
            // What is left of it is the name that is gone.
            let _ = aside.keep();
        }
        Err(_) => {
            // A server that has done it and whose answer was lost is asked by what is there now.
            let there: Option<Claim> = read_json_if_there(&to.claim())?;
            if there.is_none_or(|there| there.id != us.id) {
                if !to.root().exists() {
                    let error = io::Error::other("the folder of a try cannot be named");
                    return Err(StoreError::io("create", to.root())(error));
                }
                return Ok(false);
            }
        }
    }
    flush_folder(&tries).map_err(StoreError::io("write", &tries))?;
    Ok(true)
}

/// Decides the end of a try; false if it was decided before, and as something else.
///
/// # Errors
/// [`StoreError`] if the folder cannot be written.
pub fn end(dir: &AttemptDir, number: u32, how: &TryEnd) -> Result<bool, StoreError> {
    let path = dir.earlier_try(number).end_mark();
    let mut bytes = serde_json::to_vec_pretty(how)
        .map_err(|error| StoreError::Damaged { path: path.clone(), message: error.to_string() })?;
    bytes.push(b'\n');
    if write_exclusive(&path, &bytes)? {
        return Ok(true);
    }
    let there: Option<TryEnd> = read_json_if_there(&path)?;
    Ok(there.as_ref() == Some(how))
}

/// The try whose files are the attempt's: the final one, or the last one that has ended.
fn shown(dir: &AttemptDir) -> Result<Option<TryState>, StoreError> {
    Ok(match standing(dir)? {
        Standing::Final(one) | Standing::Ended(one) => Some(one),
        // A new try is at work; what was shown before stays.
        Standing::Apart | Standing::Claimed(_) => None,
    })
}

/// Shows the files of the try that counts as the attempt's. Doing it again changes nothing, and
/// finishes what a harness has died over.
///
/// # Errors
/// [`StoreError`] if the folder cannot be read or written.
pub fn publish(dir: &AttemptDir) -> Result<(), StoreError> {
    let mut now = shown(dir)?;
    while let Some(one) = now {
        show(dir, &one)?;
        // A harness that was slow finds a later try, which has shown its files meanwhile.
        let again = shown(dir)?;
        if again.as_ref() == Some(&one) {
            return Ok(());
        }
        now = again;
    }
    Ok(())
}

fn show(dir: &AttemptDir, one: &TryState) -> Result<(), StoreError> {
    let from = dir.earlier_try(one.number);
    let read = |path: PathBuf| match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", &path)(error)),
    };
    let by_itself = one.end == Some(TryEnd::Itself);
    let record = read(if by_itself { from.record() } else { from.lost_record() })?;
    let Some(record) = record else { return Ok(()) };
    let grade = read(if by_itself { from.grade() } else { from.lost_grade() })?;
    if read(dir.record())?.as_ref() == Some(&record) && read(dir.grade())? == grade {
        return Ok(());
    }
    // No grade stands beside the record of another try.
    if_there(std::fs::remove_file(dir.grade())).map_err(StoreError::io("remove", &dir.grade()))?;
    for name in AttemptDir::LEFT_BY_A_TRY {
        link(dir, one.number, name)?;
    }
    write_atomic(&dir.record(), &record)?;
    match grade {
        Some(grade) => write_atomic(&dir.grade(), &grade),
        None => Ok(()),
    }
}

/// Makes `<attempt>/<name>` show the try's, or nothing if it has none.
fn link(dir: &AttemptDir, number: u32, name: &str) -> Result<(), StoreError> {
    let (place, target) = (dir.root().join(name), dir.earlier_try(number).root().join(name));
    unlink(&place)?;
    if std::fs::symlink_metadata(&target).is_err() || std::fs::symlink_metadata(&place).is_ok() {
        return Ok(());
    }
    let to = Path::new("tries").join(number.to_string()).join(name);
    std::os::unix::fs::symlink(to, &place).map_err(StoreError::io("create", &place))
}

/// Removes a link of [`publish`]; what is no link stays.
///
/// # Errors
/// [`StoreError::Io`].
pub fn unlink(place: &Path) -> Result<(), StoreError> {
    match std::fs::symlink_metadata(place) {
        Ok(facts) if facts.is_symlink() => {
            if_there(std::fs::remove_file(place)).map(drop).map_err(StoreError::io("remove", place))
        }
        _ => Ok(()),
    }
}

/// Ends a try whose maker is gone, and publishes that. `record` makes the attempt's record where the
/// try has left none; `grade` is what its submission is worth, where that was found out. False if the
/// try has ended otherwise in the same moment.
///
/// # Errors
/// [`StoreError`] if the folder cannot be read or written.
pub fn settle(
    dir: &AttemptDir,
    number: u32,
    outcome: OutcomeRecord,
    record: &dyn Fn() -> AttemptRecord,
    grade: Option<&GradeReport>,
) -> Result<bool, StoreError> {
    let folder = dir.earlier_try(number);
    if let Some(grade) = grade {
        write_json(&folder.lost_grade(), grade)?;
    }
    // One that is damaged tells as little as one that is not there.
    let own: Option<AttemptRecord> = read_json_if_there(&folder.record()).unwrap_or_default();
    let mut lost = own.unwrap_or_else(record);
    lost.outcome = Some(outcome.clone());
    if let Some(last) = lost.tries.last_mut() {
        last.outcome = Some(outcome.clone());
    }
    // Beside the try's own record, which its process may still write.
    write_json(&folder.lost_record(), &lost)?;
    let settled = end(dir, number, &TryEnd::Lost { outcome })?;
    publish(dir)?;
    Ok(settled)
}

/// What can be told from here of whoever makes a try: why they are gone, or who they are.
///
/// A scheduler's word is not asked for; who has it decides before.
pub fn gone(dir: &AttemptDir, last: &TryState, us: &Claim) -> Result<String, String> {
    let Some(claim) = &last.claim else { return Ok("its folder has no claim".to_owned()) };
    let who = || Err(claim.place());
    if let (Some(theirs), Some(ours)) = (&claim.job, &us.job)
        && theirs.is_same(ours)
    {
        return match theirs.restarts < ours.restarts {
            true => Ok(format!("{} was started again by the scheduler", claim.place())),
            false => who(),
        };
    }
    if claim.host == us.host && claim.boot != us.boot {
        return Ok(format!("`{}` was booted anew", claim.host));
    }
    if claim.host == us.host && claim.job.is_none() {
        return match machine::process_started(claim.pid) == Some(claim.pid_started) {
            true => who(),
            false => Ok(format!("{} is gone", claim.place())),
        };
    }
    if claim.job.is_none() && beat_age(dir, last.number).is_some_and(|age| age > BEAT_PATIENCE) {
        return Ok(format!("{} has given no sign of life", claim.place()));
    }
    who()
}

/// How long ago a try's harness has last said that it lives, by the clock of the folder's file system:
/// clocks of machines differ.
pub fn beat_age(dir: &AttemptDir, number: u32) -> Option<Duration> {
    let folder = dir.earlier_try(number);
    let changed = |path: &Path| path.metadata().and_then(|facts| facts.modified()).ok();
    let beaten = changed(&folder.beat()).or_else(|| changed(&folder.claim()))?;
    let now = tempfile::Builder::new().prefix(".clock-").tempfile_in(dir.root()).ok();
    let now = now.and_then(|file| file.as_file().metadata().ok()?.modified().ok());
    now.unwrap_or_else(SystemTime::now).duration_since(beaten).ok()
}

#[cfg(test)]
mod tests {
    use medalist_reports::record::OutcomeKind;

    use super::*;

    fn dir() -> (tempfile::TempDir, AttemptDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = AttemptDir::new(temp.path().join("a_1"));
        std::fs::create_dir(dir.root()).unwrap();
        (temp, dir)
    }

    fn job(restarts: u32) -> Claim {
        let job = Job { scheduler: "slurm".into(), id: "7".into(), restarts, ..Job::default() };
        Claim::of_this_process(Some(job))
    }

    fn record(kind: OutcomeKind) -> AttemptRecord {
        let infrastructure = kind.is_infrastructure();
        let outcome = OutcomeRecord { kind, infrastructure, ..OutcomeRecord::default() };
        AttemptRecord { outcome: Some(outcome), ..AttemptRecord::default() }
    }

    /// What a try does at its end; false if it may not publish.
    fn finish(dir: &AttemptDir, number: u32, kind: OutcomeKind) -> bool {
        let own = dir.earlier_try(number);
        write_json(&own.record(), &record(kind)).unwrap();
        std::fs::write(own.grade(), number.to_string()).unwrap();
        std::fs::write(own.log(), number.to_string()).unwrap();
        let won = end(dir, number, &TryEnd::Itself).unwrap();
        if won {
            publish(dir).unwrap();
        }
        won
    }

    fn nobody(_: &TryState) -> Result<String, String> {
        Ok("gone".to_owned())
    }

    #[test]
    fn a_zombie_never_publishes_over_a_newer_try() {
        let (_temp, dir) = dir();
        let (first, again) = (job(0), job(1));
        let by = |us: &Claim| claim(&dir, us, &|last| gone(&dir, last, us)).unwrap();
        assert_eq!(by(&first), Claimed::New(1));
        // The same start of the job is not claimed twice, another job's is not known to be gone.
        let other = Claim { pid: 1, ..job(0) };
        assert!(matches!(by(&other), Claimed::Elsewhere { .. }));
        let other = Claim { pid: 1, ..again };
        assert_eq!(by(&other), Claimed::New(2));
        assert!(!finish(&dir, 1, OutcomeKind::Finished), "its end is decided");
        assert!(!dir.record().exists() && !dir.log().exists());
        assert!(finish(&dir, 2, OutcomeKind::TimedOut));
        assert_eq!(std::fs::read_to_string(dir.log()).unwrap(), "2");
        assert_eq!(std::fs::read_to_string(dir.grade()).unwrap(), "2");
        assert_eq!(by(&other), Claimed::Over);
        let earlier = std::fs::read_to_string(dir.earlier_try(1).log()).unwrap();
        assert_eq!(earlier, "1", "what the zombie has is kept");
    }

    #[test]
    fn a_try_that_ends_while_the_next_one_begins_is_the_attempts() {
        let (_temp, dir) = dir();
        assert_eq!(claim(&dir, &job(0), &nobody).unwrap(), Claimed::New(1));
        let us = Claim { pid: 1, ..job(1) };
        let in_between = |_: &TryState| {
            // After it was looked at, and before the next claim.
            assert!(finish(&dir, 1, OutcomeKind::Finished));
            Ok("gone".to_owned())
        };
        let claimed = claim(&dir, &us, &in_between).unwrap();
        assert!(matches!(claimed, Claimed::Over | Claimed::Ungraded(1)), "{claimed:?}");
        assert!(matches!(standing(&dir).unwrap(), Standing::Final(one) if one.number == 1));
        assert_eq!(std::fs::read_to_string(dir.log()).unwrap(), "1");
    }

    #[test]
    fn what_a_machine_failed_is_tried_again_and_what_is_collected_is_only_graded() {
        let (_temp, dir) = dir();
        let us = job(0);
        assert_eq!(claim(&dir, &us, &nobody).unwrap(), Claimed::New(1));
        assert!(finish(&dir, 1, OutcomeKind::EngineLost));
        assert!(matches!(standing(&dir).unwrap(), Standing::Ended(one) if one.number == 1));
        assert_eq!(claim(&dir, &us, &nobody).unwrap(), Claimed::New(2));
        write_json(&dir.earlier_try(2).record(), &record(OutcomeKind::Finished)).unwrap();
        let later = Claim { pid: 1, ..job(1) };
        assert_eq!(claim(&dir, &later, &nobody).unwrap(), Claimed::Ungraded(2));
        assert!(finish(&dir, 2, OutcomeKind::Finished));
        assert!(matches!(standing(&dir).unwrap(), Standing::Final(one) if one.number == 2));
    }

    #[test]
    fn a_lost_try_is_settled_once_and_keeps_what_it_left() {
        let (_temp, dir) = dir();
        assert_eq!(claim(&dir, &job(0), &nobody).unwrap(), Claimed::New(1));
        std::fs::write(dir.earlier_try(1).log(), "so far").unwrap();
        assert!(settle(&dir, 1, lost("its node is down"), &AttemptRecord::default, None).unwrap());
        assert!(!settle(&dir, 1, lost("another"), &AttemptRecord::default, None).unwrap());
        assert!(!finish(&dir, 1, OutcomeKind::Finished));
        let shown: AttemptRecord = read_json_if_there(&dir.record()).unwrap().unwrap();
        assert_eq!(shown.outcome.unwrap().kind, OutcomeKind::NodeLost);
        assert_eq!(std::fs::read_to_string(dir.log()).unwrap(), "1", "its own log is shown");
        assert_eq!(claim(&dir, &job(1), &nobody).unwrap(), Claimed::New(2));
    }

    #[test]
    fn of_many_that_want_a_try_one_gets_it() {
        // A start together, many times over: what must not happen lies between two looks at a folder.
        for _ in 0..100 {
            let (_temp, dir) = dir();
            let start = std::sync::Barrier::new(8);
            let won = std::sync::atomic::AtomicU32::new(0);
            std::thread::scope(|scope| {
                for pid in 1..9 {
                    let (dir, start, won) = (&dir, &start, &won);
                    scope.spawn(move || {
                        let us = Claim { pid, ..Claim::of_this_process(None) };
                        let alive = |_: &TryState| Err("somebody".to_owned());
                        start.wait();
                        if claim(dir, &us, &alive).unwrap() == Claimed::New(1) {
                            won.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(won.into_inner(), 1);
            assert_eq!(numbers(&dir).unwrap(), [1]);
            let left = std::fs::read_dir(dir.tries()).unwrap().count();
            assert_eq!(left, 1, "claims that lost leave nothing");
        }
    }
}
