//! `--events FILE` and the group's own `events.jsonl`: one JSON object a line, appended.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::attempt::dir::AttemptDir;
use crate::host::chain::Chain;
use crate::run::events::{EventKind, EventSink, RunEvent, SinkError};

/// Writes every event as a line of JSON.
pub struct JsonLines {
    to: String,
    out: Box<dyn Write + Send>,
    /// The file to flush to disk when something is final; none for a pipe.
    file: Option<File>,
    /// What binds each line to those before it; only in a group's own logs.
    chain: Option<Chain>,
}

impl JsonLines {
    /// Appends to a file, or to stdout for `-`.
    ///
    /// A line that a killed harness left unfinished is closed first, so that the log stays one
    /// object a line.
    ///
    /// # Errors
    /// [`SinkError`] if the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, SinkError> {
        let to = path.display().to_string();
        if path == Path::new("-") {
            return Ok(Self { to, out: Box::new(io::stdout()), file: None, chain: None });
        }
        let error = |source| SinkError { to: to.clone(), source };
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(error)?;
        if is_cut_short(path).map_err(error)? {
            file.write_all(b"\n").map_err(error)?;
        }
        let out = Box::new(file.try_clone().map_err(error)?);
        Ok(Self { to, out, file: Some(file), chain: None })
    }

    /// Appends to a log of the group whose plan this is; each line is bound to those before it, from the
    /// plan on.
    ///
    /// # Errors
    /// [`SinkError`] if the log cannot be opened or the plan cannot be read.
    pub fn chained(path: &Path, plan: &Path) -> Result<Self, SinkError> {
        let lines = Self::open(path)?;
        let error = |source| SinkError { to: path.display().to_string(), source };
        let chain = Chain::of_plan(plan).map_err(|cause| error(io::Error::other(cause)))?;
        let chain = chain.resume(path).map_err(error)?;
        Ok(Self { chain: Some(chain), ..lines })
    }

    /// Brings what was written to disk.
    fn flush(&self) -> Result<(), SinkError> {
        let error = |source| SinkError { to: self.to.clone(), source };
        self.file.as_ref().map_or(Ok(()), |file| file.sync_data().map_err(error))
    }
}

/// Between two flushes to disk of events that are told often, such as what an agent uses.
const FLUSH_EVERY: Duration = Duration::from_secs(30);

/// Writes the events of an attempt that a process of its own makes: into a log of each try's own, since
/// no two machines may write to one file, and to disk at once, since others read it from theirs.
pub struct TryEvents {
    dir: AttemptDir,
    plan: PathBuf,
    number: u32,
    lines: JsonLines,
    flushed: Instant,
}

impl TryEvents {
    /// Begins with the log of try `number` of the attempt in `dir`, of the group whose plan this is.
    ///
    /// # Errors
    /// As [`JsonLines::chained`].
    pub fn open(dir: AttemptDir, number: u32, plan: PathBuf) -> Result<Self, SinkError> {
        let lines = JsonLines::chained(&dir.earlier_try(number).events(), &plan)?;
        Ok(Self { dir, plan, number, lines, flushed: Instant::now() })
    }
}

impl EventSink for TryEvents {
    fn on_event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        if let EventKind::Started { try_number, .. } = &event.kind
            && *try_number != self.number
        {
            let events = self.dir.earlier_try(*try_number).events();
            self.lines = JsonLines::chained(&events, &self.plan)?;
            self.number = *try_number;
        }
        self.lines.on_event(event)?;
        let is_frequent = matches!(event.kind, EventKind::Usage { .. });
        if !is_frequent || self.flushed.elapsed() >= FLUSH_EVERY {
            self.flushed = Instant::now();
            self.lines.flush()?;
        }
        Ok(())
    }
}

/// Whether the last line of a file has no end. A pipe or a device has no lines to look at.
fn is_cut_short(path: &Path) -> io::Result<bool> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() || meta.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, meta.len() - 1)?;
    Ok(last != *b"\n")
}

impl EventSink for JsonLines {
    fn on_event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        let error = |source| SinkError { to: self.to.clone(), source };
        let mut line = serde_json::to_vec(event).map_err(|e| error(e.into()))?;
        if let Some(chain) = &mut self.chain {
            chain.seal(&mut line);
        }
        line.push(b'\n');
        // One write a line: a reader that follows the file never sees two halves interleaved.
        self.out.write_all(&line).and_then(|()| self.out.flush()).map_err(error)?;
        let is_final =
            matches!(event.kind, EventKind::Finished { .. } | EventKind::GroupFinished { .. });
        if is_final { self.flush() } else { Ok(()) }
    }
}

/// The longest line of a log that is read; ours are a hundredth of it.
const LONGEST_LINE: u64 = 1 << 20;

/// Calls `each` for every line of a stored log, without its end, whatever it holds. A line longer than
/// 1 MiB comes in pieces.
///
/// # Errors
/// The system's, if the file cannot be read.
pub fn lines(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut file).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        each(line.strip_suffix(b"\n").unwrap_or(&line));
    }
}

/// Calls `each` for every event of a stored log, and gives the number of lines that are none (a killed
/// harness can leave one).
///
/// # Errors
/// As [`lines`].
pub fn each(path: &Path, mut each: impl FnMut(RunEvent)) -> io::Result<usize> {
    let mut damaged = 0;
    lines(path, |line| match serde_json::from_slice(line) {
        Ok(event) => each(event),
        Err(_) => damaged += usize::from(!line.is_empty()),
    })?;
    Ok(damaged)
}

/// Reads a stored log whole; as [`each`].
///
/// # Errors
/// As [`lines`].
pub fn read(path: &Path) -> io::Result<(Vec<RunEvent>, usize)> {
    let mut events = Vec::new();
    let damaged = each(path, |event| events.push(event))?;
    Ok((events, damaged))
}
