//! An agent's folder as an image is built from it: what `.dockerignore` leaves of it, its hash, and
//! what its Dockerfile builds upon.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Levels of folders that are read; more is taken for a loop or a mistake.
const DEPTH: usize = 64;

/// What is sent to the engine, in the order of names.
#[derive(Debug)]
pub(crate) struct BuildContext {
    dir: PathBuf,
    /// Folders from elsewhere: their name in the context, and where they are.
    added: Vec<(PathBuf, PathBuf)>,
    pub(crate) entries: Vec<ContextEntry>,
    /// Sockets, pipes and devices, which no image can be built from.
    pub(crate) left_out: Vec<PathBuf>,
}

/// A file, folder or link of the context, by its path below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContextEntry {
    pub(crate) path: PathBuf,
    pub(crate) kind: EntryKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Folder,
    File { executable: bool },
    Link(PathBuf),
}

impl BuildContext {
    /// Looks through a folder. The Dockerfile and `.dockerignore` belong to it whatever the latter
    /// says, as with `docker build`.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(crate) fn read(dir: &Path, dockerfile: &Path) -> io::Result<Self> {
        let ignore = match fs::read_to_string(dir.join(IGNORE_FILE)) {
            Ok(text) => Ignore::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ignore::default(),
            Err(error) => return Err(error),
        };
        let mut context = Self {
            dir: dir.to_owned(),
            added: Vec::new(),
            entries: Vec::new(),
            left_out: Vec::new(),
        };
        let always = [Path::new(IGNORE_FILE), dockerfile];
        context.walk(Path::new(""), &ignore, &always, 0)?;
        context.entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(context)
    }

    fn walk(
        &mut self,
        below: &Path,
        ignore: &Ignore,
        always: &[&Path],
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEPTH {
            let message = format!("`{}` is nested too deeply", self.dir.join(below).display());
            return Err(io::Error::other(message));
        }
        for entry in fs::read_dir(self.dir.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            let ignored = ignore.ignores(&path) && !always.contains(&path.as_path());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !ignored {
                    self.entries.push(ContextEntry { path: path.clone(), kind: EntryKind::Folder });
                }
                let wanted_below = always.iter().any(|file| file.starts_with(&path));
                if !ignored || ignore.has_exceptions || wanted_below {
                    self.walk(&path, ignore, always, depth + 1)?;
                }
            } else if ignored {
                continue;
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                self.entries.push(ContextEntry { path, kind: EntryKind::Link(target) });
            } else if kind.is_file() {
                let executable = entry.metadata()?.permissions().mode() & 0o111 != 0;
                self.entries.push(ContextEntry { path, kind: EntryKind::File { executable } });
            } else {
                self.left_out.push(path);
            }
        }
        Ok(())
    }

    /// Adds the files of a folder from elsewhere, as the folder `name`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn add(&mut self, dir: &Path, name: &Path) -> io::Result<()> {
        self.entries.push(ContextEntry { path: name.to_owned(), kind: EntryKind::Folder });
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let path = name.join(entry.file_name());
                let kind = EntryKind::File { executable: false };
                self.entries.push(ContextEntry { path, kind });
            }
        }
        self.entries.sort_by(|one, other| one.path.cmp(&other.path));
        self.added.push((name.to_owned(), dir.to_owned()));
        Ok(())
    }

    /// Where an entry is on this machine.
    pub(crate) fn source(&self, entry: &ContextEntry) -> PathBuf {
        let added = self.added.iter().find_map(|(name, dir)| {
            let below = entry.path.strip_prefix(name).ok()?;
            (!below.as_os_str().is_empty()).then(|| dir.join(below))
        });
        added.unwrap_or_else(|| self.dir.join(&entry.path))
    }

    /// SHA-256 over names, kinds and contents, in the order of names, without times and owners.
    ///
    /// # Errors
    /// If a file cannot be read; the message names it.
    pub(crate) fn sha256(&self) -> io::Result<String> {
        let mut hash = Sha256::new();
        let field = |hash: &mut Sha256, bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for entry in &self.entries {
            let name = entry.path.as_os_str().as_bytes();
            match &entry.kind {
                // A folder matters by what is in it.
                EntryKind::Folder => {}
                EntryKind::Link(target) => {
                    field(&mut hash, name);
                    field(&mut hash, b"link");
                    field(&mut hash, target.as_os_str().as_bytes());
                }
                EntryKind::File { executable } => {
                    field(&mut hash, name);
                    if *executable {
                        field(&mut hash, b"executable");
                    }
                    self.hash_file(&mut hash, entry)?;
                }
            }
        }
        Ok(hex::encode(hash.finalize()))
    }

    fn hash_file(&self, hash: &mut Sha256, entry: &ContextEntry) -> io::Result<()> {
        let path = self.source(entry);
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot read `{}`: {error}", path.display()))
        };
        let mut file = File::open(&path).map_err(named)?;
        hash.update(file.metadata().map_err(named)?.len().to_le_bytes());
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = file.read(&mut buffer).map_err(named)?;
            if count == 0 {
                return Ok(());
            }
            hash.update(&buffer[..count]);
        }
    }
}

const IGNORE_FILE: &str = ".dockerignore";

/// The patterns of a `.dockerignore`: the last one that matches decides.
#[derive(Debug, Default)]
struct Ignore {
    /// Segments of a pattern, and whether it takes back what others ignore.
    patterns: Vec<(Vec<Vec<char>>, bool)>,
    has_exceptions: bool,
}

impl Ignore {
    fn parse(text: &str) -> Self {
        let mut ignore = Self::default();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (pattern, exception) = match line.strip_prefix('!') {
                Some(rest) => (rest.trim(), true),
                None => (line, false),
            };
            let mut segments: Vec<Vec<char>> = Vec::new();
            for segment in pattern.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
                if segment == ".." {
                    segments.pop();
                } else {
                    segments.push(segment.chars().collect());
                }
            }
            if !segments.is_empty() {
                ignore.has_exceptions |= exception;
                ignore.patterns.push((segments, exception));
            }
        }
        ignore
    }

    /// A pattern also matches all that is below what it matches.
    fn ignores(&self, path: &Path) -> bool {
        let path: Vec<Vec<char>> =
            path.iter().map(|name| name.to_string_lossy().chars().collect()).collect();
        let matches = |pattern: &[Vec<char>]| {
            (1..=path.len()).any(|length| match_path(pattern, &path[..length]))
        };
        let last = self.patterns.iter().rev().find(|(pattern, _)| matches(pattern));
        last.is_some_and(|(_, exception)| !exception)
    }
}

/// Whether segments match, where `**` stands for any number of them. Takes time in the product of
/// both lengths.
fn match_path(pattern: &[Vec<char>], path: &[Vec<char>]) -> bool {
    // `reach[n]`: the pattern so far matches the first n segments.
    let mut reach = vec![false; path.len() + 1];
    reach[0] = true;
    for segment in pattern {
        let any = segment.iter().collect::<String>() == "**";
        let mut next = vec![false; path.len() + 1];
        next[0] = any && reach[0];
        for n in 1..=path.len() {
            next[n] = if any {
                reach[n] || next[n - 1]
            } else {
                reach[n - 1] && match_name(segment, &path[n - 1])
            };
        }
        reach = next;
    }
    reach[path.len()]
}

/// Whether a name matches a pattern of `*`, `?`, `[a-z]`, `[^a]` and `\`.
fn match_name(pattern: &[char], name: &[char]) -> bool {
    let mut reach = vec![false; name.len() + 1];
    reach[0] = true;
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        let mut next = vec![false; name.len() + 1];
        let single: Box<dyn Fn(char) -> bool>;
        match first {
            '*' => {
                let mut seen = false;
                for n in 0..=name.len() {
                    seen |= reach[n];
                    next[n] = seen;
                }
                (reach, rest) = (next, after);
                continue;
            }
            '?' => {
                single = Box::new(|_| true);
                rest = after;
            }
            '[' if let Some((class, after)) = Class::parse(after) => {
                single = Box::new(move |c| class.holds(c));
                rest = after;
            }
            '\\' if !after.is_empty() => {
                let literal = after[0];
                single = Box::new(move |c| c == literal);
                rest = &after[1..];
            }
            literal => {
                let literal = *literal;
                single = Box::new(move |c| c == literal);
                rest = after;
            }
        }
        for n in 1..=name.len() {
            next[n] = reach[n - 1] && single(name[n - 1]);
        }
        reach = next;
    }
    reach[name.len()]
}

/// A set of characters in square brackets.
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl Class {
    /// Reads behind the opening bracket; gives what follows the closing one.
    fn parse(text: &[char]) -> Option<(Self, &[char])> {
        let negated = text.first() == Some(&'^');
        let mut at = usize::from(negated);
        let mut ranges = Vec::new();
        while *text.get(at)? != ']' || ranges.is_empty() {
            let low = *text.get(at)?;
            let high = match (text.get(at + 1), text.get(at + 2)) {
                (Some('-'), Some(high)) if *high != ']' => {
                    at += 2;
                    *high
                }
                _ => low,
            };
            ranges.push((low, high));
            at += 1;
        }
        Some((Self { ranges, negated }, &text[at + 1..]))
    }

    fn holds(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

/// One instruction of a Dockerfile, with its line number from 1.
struct Instruction {
    line: usize,
    name: String,
    arguments: String,
}

fn instructions(dockerfile: &str) -> Vec<Instruction> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(dockerfile.lines()) {
        let text = line.trim();
        if text.starts_with('#') || (text.is_empty() && open.is_none()) {
            continue;
        }
        let (start, mut so_far) = open.take().unwrap_or((number, String::new()));
        match text.strip_suffix('\\') {
            Some(part) => {
                so_far.push_str(part);
                so_far.push(' ');
                open = Some((start, so_far));
            }
            None => {
                so_far.push_str(text);
                found.extend(instruction(start, &so_far));
            }
        }
    }
    if let Some((start, text)) = open {
        found.extend(instruction(start, &text));
    }
    found
}

fn instruction(line: usize, text: &str) -> Option<Instruction> {
    let (name, arguments) = text.trim().split_once(char::is_whitespace)?;
    Some(Instruction { line, name: name.to_uppercase(), arguments: arguments.trim().to_owned() })
}

/// The first thing in a Dockerfile that only BuildKit understands: its line and what it is.
pub(crate) fn needs_buildkit(dockerfile: &str) -> Option<(usize, String)> {
    for Instruction { line, name, arguments } in instructions(dockerfile) {
        let options: &[&str] = match name.as_str() {
            "RUN" => &["--mount", "--network", "--security"],
            "COPY" | "ADD" => {
                &["--link", "--chmod", "--parents", "--exclude", "--checksum", "--keep-git-dir"]
            }
            _ => continue,
        };
        let given = arguments.split_whitespace().take_while(|word| word.starts_with("--"));
        for word in given {
            let option = word.split('=').next().unwrap_or(word);
            if options.contains(&option) {
                return Some((line, format!("{name} {option}")));
            }
        }
        let heredoc = arguments.split_whitespace().any(|word| {
            let name =
                word.strip_prefix("<<").map(|rest| rest.trim_start_matches(['-', '"', '\'']));
            name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        });
        if heredoc {
            return Some((line, format!("{name} <<")));
        }
    }
    None
}

/// The images that a Dockerfile builds upon or copies from, in the order in which they are named.
pub(crate) fn base_images(dockerfile: &str, given: &BTreeMap<String, String>) -> Vec<String> {
    let mut arguments = BTreeMap::new();
    let mut stages: Vec<String> = Vec::new();
    let mut images: Vec<String> = Vec::new();
    let mut add = |image: String, stages: &[String]| {
        let stage = image.parse::<usize>().is_ok() || stages.contains(&image.to_lowercase());
        if !stage && image != "scratch" && !images.contains(&image) {
            images.push(image);
        }
    };
    for Instruction { name, arguments: text, .. } in instructions(dockerfile) {
        match name.as_str() {
            "ARG" if stages.is_empty() => {
                let (name, default) = text.split_once('=').unwrap_or((&text, ""));
                let default = default.trim_matches(['"', '\'']).to_owned();
                let value = given.get(name).cloned().unwrap_or(default);
                arguments.insert(name.to_owned(), value);
            }
            "FROM" => {
                let words: Vec<&str> =
                    text.split_whitespace().filter(|word| !word.starts_with("--")).collect();
                let Some(image) = words.first() else { continue };
                add(substituted(image, &arguments), &stages);
                let named = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as"));
                let name = words.get(2).filter(|_| named);
                stages.push(name.map_or_else(|| image.to_lowercase(), |name| name.to_lowercase()));
            }
            "COPY" => {
                let from = text.split_whitespace().find_map(|word| word.strip_prefix("--from="));
                if let Some(from) = from {
                    add(substituted(from, &arguments), &stages);
                }
            }
            _ => {}
        }
    }
    images
}

/// A text with `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}` filled in.
fn substituted(text: &str, arguments: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, operator, tail) =
            match after.strip_prefix('{').and_then(|in_| in_.split_once('}')) {
                Some((inner, tail)) => {
                    let (name, operator) = inner.split_once(':').unwrap_or((inner, ""));
                    (name, operator, tail)
                }
                None => {
                    let end = after
                        .find(|c: char| !c.is_alphanumeric() && c != '_')
                        .unwrap_or(after.len());
                    (&after[..end], "", &after[end..])
                }
            };
        let value = arguments.get(name).filter(|value| !value.is_empty());
        out.push_str(match (value, operator.split_at_checked(1)) {
            (Some(_), Some(("+", other))) => other,
            (Some(value), _) => value,
            (None, Some(("-", default))) => default,
            (None, _) => "",
        });
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// A name of an image that an engine accepts, made from an agent's id.
pub(crate) fn repository(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-/".contains(c) { c } else { '-' };
    let lower: String = name.to_ascii_lowercase().chars().map(allowed).collect();
    let parts = lower.split('/').map(|part| part.trim_matches(['.', '_', '-']));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "agent".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests;
