//! What an attempt left in its folder, as its page shows it.
//!
//! All of it is somebody else's: links are not followed out of the folder, nothing but plain files
//! is opened, everything is read up to a limit, and what is left out is said.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use medalist_grading::untrusted::Shown;
use serde::Serialize;

use crate::text;

/// Bytes of one file that a page holds.
const FILE: u64 = 256 << 10;
/// Bytes of a line that are shown.
const LINE: usize = 16 << 10;
/// Bytes between the beginning and the end of a log whose lines are counted.
const COUNTED: u64 = 1 << 30;
/// Files that a page lists.
const LISTED: usize = 400;
/// Files whose content a page holds.
const HELD: usize = 120;
/// Entries of folders that are looked at.
const VISITED: usize = 20_000;
/// Folders in folders that are looked at.
const DEPTH: usize = 16;
/// Where copies of the code from while the agent ran are.
const COPIES_OF_CODE: &str = "snapshots/code";
/// Files of such copies that are listed.
const COPIES: usize = 60;
/// Tries whose files are listed.
const TRIES: u32 = 20;

/// The text of a file as a page holds it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Text {
    /// Where it stands in the attempt's folder.
    pub(super) path: String,
    /// Its pieces, in order; lines between two of them are left out.
    pub(super) segments: Vec<Segment>,
    /// What is left out, for people.
    pub(super) note: Option<String>,
}

/// Whole lines of a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Segment {
    /// Number of the first line, from 1.
    pub(super) first: u64,
    /// The lines, with `\n` between them.
    pub(super) text: String,
}

/// The log of an attempt.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) text: Text,
    /// Size of the file.
    pub(super) bytes: u64,
}

/// A file in an attempt's folder.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// Where it stands in the attempt's folder, fit to be shown.
    pub(super) path: String,
    /// Size; none of what is no plain file.
    pub(super) bytes: Option<u64>,
    /// Name of the data file that holds its text, if one does.
    pub(super) part: Option<String>,
    /// Why its text is not shown, or not whole.
    pub(super) note: Option<String>,
    /// Whether the agent left it as its code.
    pub(super) is_code: bool,
}

/// The files in an attempt's folder.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) entries: Vec<Entry>,
    /// Texts by the names of their parts.
    pub(super) texts: Vec<(String, Text)>,
    /// What is not listed, for people.
    pub(super) note: Option<String>,
}

/// Opens a plain file that does not lead out of the attempt's folder.
fn open_inside(root: &Path, path: &Path) -> Option<File> {
    let real = path.canonicalize().ok()?;
    // Opening a pipe or a device may wait for ever.
    (real.starts_with(root.canonicalize().ok()?) && real.metadata().ok()?.is_file())
        .then(|| File::open(real).ok())?
}

/// The log, of which a large one's beginning and end are kept, `limit` bytes together; none if there
/// is none.
pub(super) fn log(root: &Path, limit: u64) -> Option<Log> {
    let mut file = open_inside(root, &root.join("run.log"))?;
    let bytes = file.metadata().ok()?.len();
    let mut text = Text { path: "run.log".to_owned(), ..Text::default() };
    if bytes <= limit {
        let mut whole = Vec::new();
        file.take(limit).read_to_end(&mut whole).ok()?;
        text.segments.push(Segment { first: 1, text: shown(&whole) });
        return Some(Log { text, bytes });
    }
    let mut head = vec![0; (limit / 4) as usize];
    file.read_exact(&mut head).ok()?;
    if let Some(end) = memrchr(&head) {
        head.truncate(end + 1);
    }
    let mut tail_from = bytes - (limit - limit / 4);
    let skipped = tail_from - head.len() as u64;
    let between = if skipped <= COUNTED { newlines(&mut file, &head, tail_from) } else { None };
    file.seek(SeekFrom::Start(tail_from)).ok()?;
    let mut tail = Vec::new();
    file.take(limit).read_to_end(&mut tail).ok()?;
    let mut first = 1 + count(&head) + between.unwrap_or(0);
    if let Some(end) = tail.iter().position(|byte| *byte == b'\n') {
        tail.drain(..=end);
        tail_from += end as u64 + 1;
        first += 1;
    }
    let left_out = text::bytes(tail_from - head.len() as u64);
    let size = text::bytes(bytes);
    if between.is_some() {
        text.segments.push(Segment { first: 1, text: shown(&head) });
        text.note = Some(format!("{left_out} of {size} are left out in the middle"));
    } else {
        first = 1;
        text.note =
            Some(format!("{size}; only the end is here, and its lines are numbered from its own"));
    }
    text.segments.push(Segment { first, text: shown(&tail) });
    Some(Log { text, bytes })
}

fn memrchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n')
}

fn count(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Line ends between the head of a file and a place in it.
fn newlines(file: &mut File, head: &[u8], to: u64) -> Option<u64> {
    let from = head.len() as u64;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut reader = BufReader::with_capacity(1 << 16, file.take(to.checked_sub(from)?));
    let mut found = 0;
    loop {
        let block = reader.fill_buf().ok()?;
        if block.is_empty() {
            return Some(found);
        }
        found += count(block);
        let read = block.len();
        reader.consume(read);
    }
}

/// A text of somebody else's as it may be shown: line ends and tabs stay, colours of terminals go,
/// and every other character that cannot be seen stands as a sign or its number.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        push_line(&mut out, line.strip_suffix('\r').unwrap_or(line));
        out.push_str(end);
    }
    if out.ends_with('\n') {
        out.pop();
    }
    out
}

fn push_line(out: &mut String, line: &str) {
    let cut = line.floor_char_boundary(LINE);
    let mut rest = &line[..cut];
    while !rest.is_empty() {
        // Most of a log is plain.
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
        let plain = rest.bytes().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
        if let Some(end) = colour(rest) {
            rest = &rest[end..];
        } else if let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                // Pictures of the control characters, in their order.
                '\0'..' ' => out.extend(char::from_u32(0x2400 + u32::from(c))),
                '\u{7f}' => out.push('\u{2421}'),
                c => out.push_str(&text::visible(c.encode_utf8(&mut [0; 4]))),
            }
        }
    }
    if cut < line.len() {
        out.push_str(&format!(
            " \u{2026} {} more of this line",
            text::bytes((line.len() - cut) as u64)
        ));
    }
}

/// The length of the code for a colour or weight that a text begins with: `ESC [ 1 ; 31 m`.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[end..].starts_with('m').then_some(end + 3)
}

/// The files that the agent left, and copies of its submission: listed with their sizes, and texts
/// of `limit` bytes together.
pub(super) fn files(root: &Path, limit: u64) -> Files {
    let mut walk = Walk { limit, ..Walk::default() };
    let Ok(real) = root.canonicalize() else { return walk.files };
    walk.folder(&real, "code");
    walk.folder(&real, "submission");
    walk.copies_of_code(&real);
    walk.folder(&real, "snapshots");
    walk.folder(&real, "logs");
    for number in 1..=TRIES {
        for label in ["code", "submission", "logs"] {
            walk.folder(&real, &format!("tries/{number}/{label}"));
        }
    }
    let unlisted = walk.found - walk.files.entries.len();
    walk.files.note = match (walk.visited >= VISITED, unlisted) {
        (false, 0) => None,
        (false, more) => Some(format!("{more} more files are not listed")),
        (true, more) => Some(format!("at least {more} more files are not listed")),
    };
    walk.files
}

#[derive(Default)]
struct Walk {
    limit: u64,
    files: Files,
    found: usize,
    visited: usize,
    seen: BTreeSet<PathBuf>,
}

impl Walk {
    /// The code as it was while the agent ran, from the last copy back.
    fn copies_of_code(&mut self, root: &Path) {
        let entries = std::fs::read_dir(root.join(COPIES_OF_CODE)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.take(VISITED).map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        let most = self.files.entries.len() + COPIES;
        for name in names.into_iter().rev() {
            if self.files.entries.len() >= most {
                self.found += 1;
                continue;
            }
            self.folder(root, &format!("{COPIES_OF_CODE}/{}", name.to_string_lossy()));
        }
    }

    /// The files below a folder of the attempt's, which the harness may have made a link into a try.
    fn folder(&mut self, root: &Path, label: &str) {
        let Ok(top) = root.join(label).canonicalize() else { return };
        if !top.starts_with(root) || !self.seen.insert(top.clone()) {
            return;
        }
        let mut pending = vec![(top, label.to_owned(), 0)];
        while let Some((dir, name, depth)) = pending.pop() {
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            let room = VISITED.saturating_sub(self.visited);
            let mut entries: Vec<PathBuf> =
                entries.filter_map(Result::ok).take(room).map(|entry| entry.path()).collect();
            self.visited += entries.len();
            entries.sort();
            let mut folders = Vec::new();
            for path in entries {
                let last = path.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("{name}/{last}");
                match path.symlink_metadata() {
                    // Listed before.
                    Ok(_) if name == COPIES_OF_CODE => {}
                    Ok(meta) if meta.is_dir() && depth < DEPTH => {
                        folders.push((path, name, depth + 1));
                    }
                    Ok(meta) => self.file(&path, &name, &meta),
                    Err(_) => {}
                }
            }
            // Files come before the folders beside them, and folders by their names.
            pending.extend(folders.into_iter().rev());
        }
    }

    fn file(&mut self, path: &Path, name: &str, meta: &std::fs::Metadata) {
        self.found += 1;
        if self.files.entries.len() >= LISTED {
            return;
        }
        let mut entry = Entry {
            path: Shown::new(name).into_string(),
            bytes: meta.is_file().then_some(meta.len()),
            part: None,
            note: None,
            is_code: name.starts_with("code/"),
        };
        if meta.is_file() {
            self.hold(path, &mut entry, meta.len());
        } else {
            let what = if meta.is_symlink() { "a link, not followed" } else { "no plain file" };
            entry.note = Some(what.to_owned());
        }
        self.files.entries.push(entry);
    }

    /// Takes over the text of a file, if it is one and there is room.
    fn hold(&mut self, path: &Path, entry: &mut Entry, size: u64) {
        if self.limit == 0 || self.files.texts.len() >= HELD {
            entry.note = Some("not shown: the page holds no more".to_owned());
            return;
        }
        let most = FILE.min(self.limit);
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
        if read.is_err() {
            entry.note = Some("cannot be read".to_owned());
            return;
        }
        if is_binary(&bytes) {
            entry.note = Some("not a text".to_owned());
            return;
        }
        if size > most {
            if let Some(end) = memrchr(&bytes) {
                bytes.truncate(end + 1);
            }
            entry.note = Some(format!("the first {} are shown", text::bytes(bytes.len() as u64)));
        }
        self.limit -= bytes.len() as u64;
        let part = format!("f{}", self.files.texts.len());
        let segments = vec![Segment { first: 1, text: shown(&bytes) }];
        let text = Text { path: entry.path.clone(), segments, note: entry.note.clone() };
        self.files.texts.push((part.clone(), text));
        entry.part = Some(part);
    }
}

/// Whether bytes are no text: a zero, or much that is not UTF-8.
fn is_binary(bytes: &[u8]) -> bool {
    let odd: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    bytes.contains(&0) || odd * 10 > bytes.len()
}

/// The code to look at first: what is called a solution or the main program, else the largest
/// program.
pub(super) fn first_code(entries: &[Entry]) -> Option<&Entry> {
    const NAMES: [&str; 6] =
        ["best_solution.", "best_submission.", "best.", "solution.", "main.", "train."];
    const PROGRAMS: [&str; 6] = [".py", ".rs", ".r", ".jl", ".sh", ".ipynb"];
    let held = || entries.iter().filter(|entry| entry.is_code && entry.part.is_some());
    let program =
        |entry: &&Entry| PROGRAMS.iter().any(|end| entry.path.to_lowercase().ends_with(end));
    let named = |name: &str| {
        held()
            .filter(program)
            .find(|entry| entry.path.rsplit('/').next().is_some_and(|last| last.starts_with(name)))
    };
    let largest = || held().filter(program).max_by_key(|entry| entry.bytes);
    NAMES.iter().find_map(|name| named(name)).or_else(largest).or_else(|| held().next())
}

#[cfg(test)]
mod tests;
