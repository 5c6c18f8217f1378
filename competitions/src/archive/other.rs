//! What a file is that was taken for an archive: a page or a reply of a server that was saved under
//! the archive's name, or an archive of another kind.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::ArchiveError;

/// How much of a file is looked at.
const HEAD: u64 = 4 << 10;
/// How much of what a server said is shown.
const SHOWN: usize = 160;

/// The error for an archive that cannot be opened: by what the file is, if that is known, else as
/// given.
pub(super) fn or_unreadable(
    path: &Path,
    archive: &str,
    kind: &'static str,
    reason: impl ToString,
) -> ArchiveError {
    let archive = archive.to_owned();
    match head_of(path).and_then(|head| what_it_is(&head)) {
        // A tar may be packed by gzip.
        Some((other, what)) if other != kind && (kind, other) != ("tar", "gzip") => {
            ArchiveError::Other { archive, kind, what }
        }
        _ => ArchiveError::Unreadable { archive, kind, reason: reason.to_string() },
    }
}

fn head_of(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    Some(head)
}

/// The kind of a file, and what to call it.
fn what_it_is(head: &[u8]) -> Option<(&'static str, String)> {
    let archives: [(&[u8], &str); 5] = [
        (b"PK\x03\x04", "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07", "rar"),
        (b"\x1f\x8b", "gzip"),
        (b"\xfd7zXZ\x00", "xz"),
    ];
    if let Some((_, kind)) = archives.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some((kind, format!("a {kind} archive")));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some(("tar", "a tar archive".to_owned()));
    }
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    if text.starts_with("version https://git-lfs") {
        let what = "a pointer of Git LFS, not the file that it stands for";
        return Some(("pointer", what.to_owned()));
    }
    if ["<!doctype", "<html", "<head", "<body", "<?xml"].iter().any(|tag| lower.starts_with(tag)) {
        return Some(("page", format!("a web page{}", title(text, &lower))));
    }
    if text.starts_with('{') || text.starts_with("[{") {
        return Some(("json", format!("a server's reply, `{}`", shown(text))));
    }
    None
}

/// The title of a page, in parentheses.
fn title(text: &str, lower: &str) -> String {
    let inside = || {
        let begin = lower.find("<title")?;
        let begin = begin + lower[begin..].find('>')? + 1;
        let end = begin + lower[begin..].find('<')?;
        text.get(begin..end).map(shown).filter(|title| !title.is_empty())
    };
    inside().map_or_else(String::new, |title| format!(" (`{title}`)"))
}

/// A server's text on one line, cut, with nothing that a terminal would obey.
fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().flat_map(escaped).collect();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn escaped(letter: char) -> impl Iterator<Item = char> {
    let plain = !letter.is_control() && letter != '`';
    plain.then_some(letter).into_iter().chain((!plain).then_some('?'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_under_an_archives_name_is_recognised() {
        let tar = [vec![b'a'; 257], b"ustar\x0000".to_vec()].concat();
        for (head, expected) in [
            (&b""[..], None),
            (b"PK\x03\x04...", Some("a zip archive")),
            (b"7z\xbc\xaf\x27\x1c\x00\x04", Some("a 7z archive")),
            (&tar, Some("a tar archive")),
            (
                b"\n\n<!DOCTYPE html>\n<html><head><title>\n Sign  in </title>",
                Some("a web page (`Sign in`)"),
            ),
            (b"\xef\xbb\xbf<HTML lang=en><body>", Some("a web page")),
            (
                b"{\"code\":403,\n \"message\":\"Forbidden\x1b[2J\"}",
                Some("a server's reply, `{\"code\":403, \"message\":\"Forbidden?[2J\"}`"),
            ),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                Some("a pointer of Git LFS, not the file that it stands for"),
            ),
            (b"id,label\n1,2\n", None),
        ] {
            let found = what_it_is(head).map(|(_, what)| what);
            assert_eq!(found.as_deref(), expected, "{}", String::from_utf8_lossy(head));
        }
    }
}
