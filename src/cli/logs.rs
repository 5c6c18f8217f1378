//! `medalist logs`: what an agent printed, also while it prints.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use medalist_reports::record::AttemptRecord;

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::run::find_attempt;
use crate::attempt::dir::AttemptDir;
use crate::attempt::text::chain;
use crate::host::files::read_json_if_there;
use crate::host::store::find::Found;

/// Between two looks at a log that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes read at once.
const BLOCK: usize = 1 << 16;

/// Print the output of an attempt's agent.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The attempt: its folder, its key (competition/agent/seed), or its competition if the group
    /// has one attempt on it.
    #[arg(value_name = "ATTEMPT")]
    attempt: String,
    /// The attempt's run group, by folder or name; by default the newest that has the attempt.
    #[arg(long, value_name = "GROUP")]
    group: Option<PathBuf>,
    /// Keep printing until the attempt ends.
    #[arg(short, long, conflicts_with = "try_number")]
    follow: bool,
    /// Start with the last N lines.
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<u64>,
    /// The log of an earlier try that failed because of the machine.
    #[arg(long = "try", value_name = "N")]
    try_number: Option<u32>,
}

/// Runs the subcommand.
///
/// # Errors
/// The attempt or its log cannot be found or read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let found = find_attempt(&args.attempt, args.group.as_deref(), context)?;
    let dir = found.group.attempt(&found.attempt.dir);
    let path = match args.try_number {
        Some(number) => tried(&dir, number, context)?,
        None => dir.log(),
    };
    let stdout = io::stdout().lock();
    let plain = stdout.is_terminal();
    let mut out = Output { to: stdout, plain, held: Vec::new() };
    let done = match args.follow {
        false => show(&path, args.tail, &mut out),
        true => follow(&found, &path, args.tail, &mut out, context),
    };
    match done.and_then(|()| out.finish()) {
        Ok(()) => Ok(Exit::Success),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CliError::message(
            Exit::BadInput,
            format!(
                "`{}` has printed nothing yet: there is no `{}`",
                found.attempt.key,
                path.display()
            ),
        )
        .hint("`--follow` waits for it; `medalist status` says where the group stands")),
        Err(error) => {
            let what = format!("cannot print `{}`", path.display());
            Err(CliError::new(Exit::BadInput, anyhow::Error::new(error).context(what)))
        }
    }
}

/// The log of a try that the machine failed; the last try's is the attempt's own.
fn tried(dir: &AttemptDir, number: u32, context: &Context) -> Result<PathBuf, CliError> {
    let record: Option<AttemptRecord> = match read_json_if_there(&dir.record()) {
        Ok(record) => record,
        Err(error) => {
            // The folders of earlier tries tell them too.
            context.warn(chain(&error));
            let earlier = dir.earlier_try(number).log();
            return Ok(if earlier.is_file() { earlier } else { dir.log() });
        }
    };
    let tries = record.map_or(0, |record| record.tries.len());
    if number == 0 || number as usize > tries {
        let message =
            format!("there is no try {number}: `{}` has had {tries}", dir.root().display());
        return Err(CliError::message(Exit::BadInput, message));
    }
    if number as usize == tries {
        return Ok(dir.log());
    }
    Ok(dir.earlier_try(number).log())
}

fn show(path: &Path, tail: Option<u64>, out: &mut Output<impl Write>) -> io::Result<()> {
    let mut file = File::open(path)?;
    if let Some(lines) = tail {
        seek_to_tail(&mut file, lines)?;
    }
    copy_rest(&mut file, out)
}

/// Prints what comes until the attempt is over or nobody runs it. A new try begins a new file.
fn follow(
    found: &Found,
    path: &Path,
    tail: Option<u64>,
    out: &mut Output<impl Write>,
    context: &Context,
) -> io::Result<()> {
    let dir = found.group.attempt(&found.attempt.dir);
    let mut open: Option<File> = None;
    let mut tail = tail;
    loop {
        // Asked before the last read, so that what was printed before the end is shown.
        let over = is_over(&dir);
        let abandoned = !over && !found.group.is_running();
        if let (Some(file), Ok(there)) = (&mut open, std::fs::metadata(path)) {
            let ours = file.metadata()?;
            if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
                copy_rest(file, out)?;
                context.say("--- the machine failed; another try ---");
                open = None;
            }
        }
        if open.is_none() {
            match File::open(path) {
                Ok(file) => {
                    let file = open.insert(file);
                    if let Some(lines) = tail.take() {
                        seek_to_tail(file, lines)?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(file) = &mut open {
            copy_rest(file, out)?;
        }
        if over {
            return Ok(());
        }
        if abandoned {
            context.warn(format_args!(
                "no harness runs `{}` now; resume with: medalist run --resume {}",
                found.attempt.key,
                found.group.root().display()
            ));
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// True once an attempt's last try has ended and is graded.
pub(super) fn is_over(dir: &AttemptDir) -> bool {
    let record: Option<AttemptRecord> = read_json_if_there(&dir.record()).ok().flatten();
    record.is_some_and(|record| record.outcome.is_some()) && dir.grade().is_file()
}

fn copy_rest(file: &mut File, out: &mut Output<impl Write>) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block)? {
            0 => return out.flush(),
            count => out.write(&block[..count])?,
        }
    }
}

/// Moves to the beginning of the last `lines` lines, reading back block by block.
fn seek_to_tail(file: &mut File, lines: u64) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let (mut at, mut wanted) = (end, lines);
    let mut block = vec![0; BLOCK];
    while at > 0 && lines > 0 {
        let length = at.min(BLOCK as u64);
        at -= length;
        let block = &mut block[..length as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = at + index as u64 + 1;
            // The file's last line end belongs to its last line.
            if after == end {
                continue;
            }
            wanted -= 1;
            if wanted == 0 {
                file.seek(SeekFrom::Start(after))?;
                return Ok(());
            }
        }
    }
    file.seek(SeekFrom::Start(if lines == 0 { end } else { 0 })).map(|_| ())
}

/// Bytes of an agent on their way out: as they are to a file or pipe, without control sequences to
/// a terminal.
struct Output<W> {
    to: W,
    plain: bool,
    /// The beginning of a character whose end is still to come.
    held: Vec<u8>,
}

impl<W: Write> Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.plain {
            return self.to.write_all(bytes);
        }
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        for chunk in held.utf8_chunks() {
            self.to.write_all(tame(chunk.valid()).as_bytes())?;
            let broken = chunk.invalid();
            let last = broken.as_ptr_range().end == held.as_ptr_range().end;
            // At the very end it may be half a character.
            if last
                && !broken.is_empty()
                && std::str::from_utf8(broken).is_err_and(|error| error.error_len().is_none())
            {
                self.held = broken.to_vec();
            } else if !broken.is_empty() {
                self.to.write_all("\u{fffd}".as_bytes())?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn finish(mut self) -> io::Result<()> {
        if !self.held.is_empty() {
            self.to.write_all("\u{fffd}".as_bytes())?;
        }
        self.to.flush()
    }
}

/// Text that a terminal only shows: progress bars may return to the line's start, nothing else
/// moves the cursor.
fn tame(text: &str) -> String {
    text.replace(|c: char| c.is_control() && !['\n', '\r', '\t'].contains(&c), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(text: &str, lines: u64) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        seek_to_tail(&mut file, lines).unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        rest
    }

    #[test]
    fn a_tail_has_whole_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a\nb\n", 9), "a\nb\n");
        assert_eq!(tail("a\nb\n", 0), "");
        assert_eq!(tail("", 3), "");
        let long = "x".repeat(3 * BLOCK);
        assert_eq!(tail(&format!("{long}\n{long}\nend\n"), 2), format!("{long}\nend\n"));
    }

    #[test]
    fn a_terminal_gets_text_alone_and_characters_survive_any_cut() {
        let text = "é\x1b[31m\u{9b}2Jok\tü\r\n".as_bytes();
        let expected = "é\u{fffd}[31m\u{fffd}2Jok\tü\r\n";
        for cut in 0..text.len() {
            let mut out = Output { to: Vec::new(), plain: true, held: Vec::new() };
            out.write(&text[..cut]).unwrap();
            out.write(&text[cut..]).unwrap();
            assert!(out.held.is_empty());
            assert_eq!(String::from_utf8(out.to).unwrap(), expected, "cut at {cut}");
        }
        let mut out = Output { to: Vec::new(), plain: true, held: Vec::new() };
        out.write(b"a\xffb\xc3").unwrap();
        assert_eq!(
            (out.to.as_slice(), out.held.as_slice()),
            ("a\u{fffd}b".as_bytes(), b"\xc3".as_slice())
        );
    }
}
