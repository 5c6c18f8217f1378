//! The log of an attempt: what its agent printed, also while it prints.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use medalist_reports::record::AttemptRecord;

use super::cluster;
use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::{find_attempt, is_over, read_plan};
use crate::attempt::dir::AttemptDir;
use crate::attempt::text::chain;
use crate::host::files::read_json_if_there;
use crate::host::store::GroupDir;
use crate::host::store::find::Found;
use crate::host::store::tries::{self, Standing};

/// Between two looks at a log that is followed: a person sees no delay, and a look is a `stat` and a
/// read.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes read at once.
const BLOCK: usize = 1 << 16;

/// The log of an attempt, or of one of its tries.
#[derive(Debug)]
pub struct Log {
    found: Found,
    path: PathBuf,
    /// Whether it is that of the last try, whichever that is.
    is_last: bool,
}

impl Log {
    /// The log of the attempt that `attempt` names, in the group that is named or the newest that has
    /// it: of its last try, or of try `number`. It need not exist yet.
    ///
    /// # Errors
    /// There is no such attempt or try.
    pub fn find(
        attempt: &str,
        group: Option<&Path>,
        number: Option<u32>,
        context: &Context,
    ) -> Result<Self, CliError> {
        let found = find_attempt(attempt, group, context)?;
        let dir = found.group.attempt(&found.attempt.dir);
        let path = match number {
            Some(number) => tried(&dir, number, context)?,
            None => last_log(&dir),
        };
        Ok(Self { found, path, is_last: number.is_none() })
    }

    /// Writes what is there: all of it, or the last `tail` lines. To a terminal without control
    /// sequences.
    ///
    /// # Errors
    /// Nothing was printed yet, or the log cannot be read or `to` not be written.
    pub fn show(
        &self,
        tail: Option<u64>,
        to: impl Write,
        is_terminal: bool,
    ) -> Result<(), CliError> {
        let mut out = Output { to, plain: is_terminal, held: Vec::new() };
        let copied = File::open(&self.path).and_then(|mut file| {
            if let Some(lines) = tail {
                seek_to_tail(&mut file, lines)?;
            }
            copy_rest(&mut file, &mut out)
        });
        self.end(copied, out)
    }

    /// As [`Log::show`], and what comes until the attempt is over or nobody runs it.
    ///
    /// # Errors
    /// The log cannot be read, or `to` cannot be written.
    pub fn follow(
        &self,
        tail: Option<u64>,
        to: impl Write,
        is_terminal: bool,
        context: &Context,
    ) -> Result<(), CliError> {
        let mut out = Output { to, plain: is_terminal, held: Vec::new() };
        let copied = self.copy_until_over(tail, &mut out, context);
        self.end(copied, out)
    }

    /// A new try begins a new file.
    fn copy_until_over(
        &self,
        mut tail: Option<u64>,
        out: &mut Output<impl Write>,
        context: &Context,
    ) -> io::Result<()> {
        let found = &self.found;
        let dir = found.group.attempt(&found.attempt.dir);
        let mut path = self.path.clone();
        let mut open: Option<File> = None;
        loop {
            // Asked before the last read, so that what was printed before the end is shown.
            let over = is_over(&dir);
            let abandoned = !over && !found.group.is_running() && !is_made_elsewhere(&found.group);
            if self.is_last && open.is_none() {
                path = last_log(&dir);
            } else if self.is_last && path != last_log(&dir) && !over {
                if let Some(file) = &mut open {
                    copy_rest(file, out)?;
                }
                context.say("--- the machine failed; another try ---");
                (path, open) = (last_log(&dir), None);
            }
            let path = &path;
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

    /// How a copy ended, in words.
    fn end(&self, copied: io::Result<()>, out: Output<impl Write>) -> Result<(), CliError> {
        match copied.and_then(|()| out.finish()) {
            Ok(()) => Ok(()),
            // A reader that went away (`| head`) has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CliError::message(
                Exit::BadInput,
                format!(
                    "`{}` has printed nothing yet: there is no `{}`",
                    self.found.attempt.key,
                    self.path.display()
                ),
            )
            .hint("`--follow` waits for it; `medalist status` says where the group stands")),
            Err(error) => {
                let what = format!("cannot print `{}`", self.path.display());
                Err(CliError::new(Exit::BadInput, anyhow::Error::new(error).context(what)))
            }
        }
    }
}

/// The log of an attempt's last try: in the try's own folder where a process of its own makes it.
fn last_log(dir: &AttemptDir) -> PathBuf {
    match tries::standing(dir) {
        Ok(Standing::Claimed(one) | Standing::Ended(one) | Standing::Final(one)) => {
            dir.earlier_try(one.number).log()
        }
        Ok(Standing::Apart) | Err(_) => dir.log(),
    }
}

/// Whether a scheduler may still begin or go on with attempts of a group.
fn is_made_elsewhere(group: &GroupDir) -> bool {
    let plan = read_plan(group).ok();
    let jobs = plan.and_then(|plan| cluster::jobs(group, &plan).ok().flatten());
    jobs.is_some_and(|jobs| jobs.are_left())
}

/// The log of a try that the machine failed; the last try's is the attempt's own.
fn tried(dir: &AttemptDir, number: u32, context: &Context) -> Result<PathBuf, CliError> {
    if tries::claimed(dir).is_ok_and(|tries| tries.iter().any(|one| one.number == number)) {
        return Ok(dir.earlier_try(number).log());
    }
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
    use medalist_reports::record::TryRecord;

    use super::*;
    use crate::app::grading::workers::GradingLimits;
    use crate::host::files::write_json;

    fn tail(text: &str, lines: u64) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        seek_to_tail(&mut file, lines).unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        rest
    }

    #[test]
    fn each_try_has_its_log_and_no_other_number_has() {
        let temp = tempfile::tempdir().unwrap();
        let dir = AttemptDir::new(temp.path());
        let context = Context {
            data_dir: temp.path().into(),
            runs_dir: temp.path().into(),
            catalog_dirs: Vec::new(),
            quiet: 2,
            progress: false,
            grading_limits: GradingLimits::default(),
        };
        assert!(tried(&dir, 1, &context).is_err(), "it has not begun");
        let tries = vec![TryRecord::default(); 2];
        write_json(&dir.record(), &AttemptRecord { tries, ..AttemptRecord::default() }).unwrap();
        assert_eq!(tried(&dir, 1, &context).unwrap(), dir.earlier_try(1).log());
        assert_eq!(tried(&dir, 2, &context).unwrap(), dir.log());
        for number in [0, 3] {
            assert!(tried(&dir, number, &context).unwrap_err().render().contains("has had 2"));
        }
        // A damaged record tells nothing; the folders do.
        std::fs::write(dir.record(), "{").unwrap();
        assert_eq!(tried(&dir, 1, &context).unwrap(), dir.log());
        std::fs::create_dir_all(dir.earlier_try(1).root()).unwrap();
        std::fs::write(dir.earlier_try(1).log(), "").unwrap();
        assert_eq!(tried(&dir, 1, &context).unwrap(), dir.earlier_try(1).log());
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
