//! The process that grades: what is asked of it, and what it does.
//!
//! It is this same program, started under another name and kept for many submissions. A process
//! that forks itself for every submission would share the answers without reading them, but a fork
//! of a program with threads has none of them, and grading uses all cores.
//!
//! Memory is limited by `RLIMIT_DATA`, which counts what a process may write to. `RLIMIT_AS` would
//! count address space as well, and threads and allocators reserve much that they never use.

use std::ffi::OsStr;
use std::io::{BufRead as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

use medalist_grading::{Graded, Grader, GradingSpec, InvalidSubmission, Score, Verdict};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shelf::{Fault, Shelf};

/// The first argument of a program that is to be a worker.
pub const ARGUMENT: &str = "grading-worker";

/// Cores that one worker uses; more make no submission quicker.
const MOST_THREADS: usize = 8;
/// Memory for each byte of answers that are read and graded against; see the tests of
/// `medalist-grading`.
const MEMORY_PER_BYTE: u64 = 4;
/// Memory that a worker may keep between submissions beside the answers; with more it is replaced,
/// so that what one submission left behind is no room for the next.
const WORN_BYTES: u64 = 256 << 20;

/// What is asked of a worker, one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// The competition's `[grading]` table, as TOML.
    pub(super) grading: String,
    /// What to do.
    pub(super) work: Work,
    /// Memory that the submission may take.
    pub(super) memory_bytes: u64,
    /// Processor time that it may take; none where a program of the competition's author grades,
    /// whose time is its own matter.
    pub(super) cpu_s: Option<u64>,
}

/// What to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Work {
    /// Grade a submission against answers.
    Grade { submission: FilePath, answers: FilePath },
    /// Check a submission by the sample.
    Validate { submission: FilePath, sample: FilePath },
    /// Read the sample, to see that it can be.
    Sample { sample: FilePath },
}

/// A path, whatever its bytes are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FilePath(pub(super) PathBuf);

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_os_str().as_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        Ok(Self(OsStr::from_bytes(&bytes).into()))
    }
}

impl Work {
    /// The competition's own file that is needed.
    pub(super) fn own_file(&self) -> &Path {
        match self {
            Self::Grade { answers: file, .. }
            | Self::Validate { sample: file, .. }
            | Self::Sample { sample: file } => &file.0,
        }
    }
}

/// What a worker answers, one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) result: Result<Done, Fault>,
    /// Whether the worker holds too much memory to be asked again.
    pub(super) worn: bool,
}

/// What came of the work.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Done {
    Graded(GradedBits),
    Validated(Option<InvalidSubmission>),
    Read,
}

/// A [`Graded`] whose numbers are their bits, since JSON has neither NaN nor infinity.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GradedBits {
    verdict: Result<(u64, u64), InvalidSubmission>,
    strict_score: Option<u64>,
    strict_issues: Vec<InvalidSubmission>,
}

impl From<Graded> for GradedBits {
    fn from(graded: Graded) -> Self {
        Self {
            verdict: match graded.verdict {
                Verdict::Scored(score) => Ok((score.raw.to_bits(), score.rounded.to_bits())),
                Verdict::Invalid(invalid) => Err(invalid),
            },
            strict_score: graded.strict_score.map(f64::to_bits),
            strict_issues: graded.strict_issues,
        }
    }
}

impl From<GradedBits> for Graded {
    fn from(bits: GradedBits) -> Self {
        Self {
            verdict: match bits.verdict {
                Ok((raw, rounded)) => Verdict::Scored(Score {
                    raw: f64::from_bits(raw),
                    rounded: f64::from_bits(rounded),
                }),
                Err(invalid) => Verdict::Invalid(invalid),
            },
            strict_score: bits.strict_score.map(f64::from_bits),
            strict_issues: bits.strict_issues,
        }
    }
}

/// Grades what stdin asks for, until it ends.
pub fn main() -> ExitCode {
    // Should the machine run out of memory, this process goes first, and not the harness.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // A core file would hold the answers.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        eprintln!("cannot start threads: {error}");
        return ExitCode::FAILURE;
    }
    let (sender, requests) = mpsc::channel();
    // Reads while a submission is graded, too: a harness that is gone ends this process at once.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    let shelf = Shelf::default();
    for line in requests {
        let answered = serde_json::from_str(&line).map_err(std::io::Error::other).and_then(
            |request: Request| {
                let mut reply = serde_json::to_vec(&serve(&shelf, &request)?)?;
                reply.push(b'\n');
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&reply)?;
                stdout.flush()
            },
        );
        if let Err(error) = answered {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn serve(shelf: &Shelf, request: &Request) -> std::io::Result<Reply> {
    let spec: GradingSpec = toml::from_str(&request.grading).map_err(std::io::Error::other)?;
    let grader = Grader::new(spec).map_err(std::io::Error::other)?;
    limit(shelf, request)?;
    let result = match &request.work {
        Work::Grade { submission, answers } => {
            let graded = shelf.grade(&grader, &submission.0, &answers.0);
            graded.map(|graded| Done::Graded(graded.into()))
        }
        Work::Validate { submission, sample } => {
            let checked = shelf.validate(&grader, &submission.0, &sample.0);
            checked.map(|valid| Done::Validated(valid.err()))
        }
        Work::Sample { sample } => shelf.sample(&sample.0).map(|_| Done::Read),
    };
    let worn = data_bytes()? > shelf.kept_bytes() * MEMORY_PER_BYTE + WORN_BYTES;
    Ok(Reply { result, worn })
}

/// Limits what may be used from now on. The hard limits stay, so that a program of the
/// competition's author can be given its own.
fn limit(shelf: &Shelf, request: &Request) -> std::io::Result<()> {
    let own = shelf.unread_bytes(request.work.own_file()).saturating_mul(MEMORY_PER_BYTE);
    let memory = data_bytes()?.saturating_add(own).saturating_add(request.memory_bytes);
    let (_, most) = getrlimit(Resource::RLIMIT_DATA)?;
    setrlimit(Resource::RLIMIT_DATA, memory.min(most), most)?;
    let (_, most) = getrlimit(Resource::RLIMIT_CPU)?;
    let until = match request.cpu_s {
        Some(cpu_s) => {
            let used = getrusage(UsageWho::RUSAGE_SELF)?;
            let seconds = used.user_time().tv_sec() + used.system_time().tv_sec();
            cpu_s.saturating_add(seconds as u64 + 1)
        }
        None => most,
    };
    Ok(setrlimit(Resource::RLIMIT_CPU, until.min(most), most)?)
}

/// What `RLIMIT_DATA` counts, of this process.
fn data_bytes() -> std::io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = kib.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| std::io::Error::other("`/proc/self/status` lacks `VmData`"))
}

#[cfg(test)]
mod tests {
    use medalist_competitions::Catalogue;

    use super::*;

    #[test]
    fn numbers_arrive_as_they_were() {
        for raw in [0.1 + 0.2, f64::NAN, f64::NEG_INFINITY, -0.0] {
            let score = Score { raw, rounded: raw };
            let graded = Graded {
                verdict: Verdict::Scored(score),
                strict_score: Some(raw),
                strict_issues: Vec::new(),
            };
            let text = serde_json::to_string(&GradedBits::from(graded)).unwrap();
            let back: Graded = serde_json::from_str::<GradedBits>(&text).unwrap().into();
            assert_eq!(back.verdict.score().unwrap().raw.to_bits(), raw.to_bits());
            assert_eq!(back.strict_score.unwrap().to_bits(), raw.to_bits());
        }
    }

    #[test]
    fn every_competition_can_be_asked_for_whatever_the_path() {
        for spec in Catalogue::embedded().unwrap().iter() {
            let text = toml::to_string(&spec.grading).unwrap();
            assert_eq!(toml::from_str::<GradingSpec>(&text).unwrap(), spec.grading);
        }
        let path = FilePath(OsStr::from_bytes(b"/a\xff\n\"b").into());
        let text = serde_json::to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<FilePath>(&text).unwrap(), path);
    }

    #[test]
    fn what_a_process_may_write_to_is_counted() {
        assert!(data_bytes().unwrap() > 1 << 16);
    }
}
