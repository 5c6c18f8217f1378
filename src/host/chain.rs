//! Log lines that hold each other: every line carries a link made of the link before it and of itself.
//!
//! A line is a JSON object whose last field is `chain`, 64 hexadecimal digits:
//!
//! ```text
//! link(0) = SHA-256(SHA-256(plan.json) ‖ line 0 without the field)
//! link(n) = SHA-256(link(n-1) ‖ line n without the field)
//! ```
//! Nobody can change, drop, add or move a line without making all later links anew. Who can write the
//! whole file can do that: the chain binds the log to whatever of it others have seen.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::files::{StoreError, file_sha256};

/// What stands between a line's own fields and its link.
const FIELD: &[u8] = br#","chain":""#;
/// What stands after it.
const END: &[u8] = br#""}"#;
/// A link in hexadecimal digits.
const DIGITS: usize = 64;

/// SHA-256 of all lines so far.
pub type Link = [u8; 32];

/// Where a log's chain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(Link);

impl Chain {
    /// The chain of a log without lines, of the group with this plan.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the plan cannot be read.
    pub fn of_plan(plan: &Path) -> Result<Self, StoreError> {
        let (hash, _) = file_sha256(plan)?;
        let mut link = Link::default();
        // Always 64 digits.
        let _ = hex::decode_to_slice(hash, &mut link);
        Ok(Self(link))
    }

    /// Goes on where a log has stopped, if it has a chain; a line that was cut short has no link and is
    /// passed over.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn resume(self, log: &Path) -> io::Result<Self> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        let mut window = 1 << 16;
        loop {
            let from = length.saturating_sub(window);
            file.seek(SeekFrom::Start(from))?;
            let mut tail = Vec::new();
            (&mut file).take(window).read_to_end(&mut tail)?;
            let mut lines = tail.split(|byte| *byte == b'\n');
            if from > 0 {
                // Perhaps only the end of a line.
                lines.next();
            }
            if let Some(link) = lines.rev().find_map(|line| Some(split(line)?.1)) {
                return Ok(Self(link));
            }
            if from == 0 {
                return Ok(self);
            }
            window *= 4;
        }
    }

    /// The link of the last line.
    pub fn link(&self) -> &Link {
        &self.0
    }

    /// Puts the link of the next line into it; `object` is one JSON object with a field at least, without
    /// an end of line.
    pub fn seal(&mut self, object: &mut Vec<u8>) {
        self.0 = self.next(object);
        object.pop();
        object.extend_from_slice(FIELD);
        object.extend_from_slice(hex::encode(self.0).as_bytes());
        object.extend_from_slice(END);
    }

    /// Takes a line of a log, without its end: whether it is the next one. `None` if it has no link.
    pub fn follow(&mut self, line: &[u8]) -> Option<bool> {
        let (object, link) = split(line)?;
        let is_next = self.next(&object) == link;
        // What comes after a break is told from what comes after a second one.
        self.0 = link;
        Some(is_next)
    }

    fn next(&self, object: &[u8]) -> Link {
        Sha256::new().chain_update(self.0).chain_update(object).finalize().into()
    }
}

/// A line without its link, and the link.
fn split(line: &[u8]) -> Option<(Vec<u8>, Link)> {
    let rest = line.strip_suffix(END)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let mut link = Link::default();
    hex::decode_to_slice(digits, &mut link).ok()?;
    let mut object = rest.strip_suffix(FIELD)?.to_vec();
    object.push(b'}');
    Some((object, link))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &Path, lines: &[&str]) -> (Chain, Vec<Vec<u8>>) {
        let plan = folder.join("plan.json");
        std::fs::write(&plan, "{}").unwrap();
        let head = Chain::of_plan(&plan).unwrap();
        let mut chain = head.clone();
        let seal = |text: &&str| {
            let mut line = text.as_bytes().to_vec();
            chain.seal(&mut line);
            line
        };
        (head, lines.iter().map(seal).collect())
    }

    fn follow(head: &Chain, lines: &[Vec<u8>]) -> Vec<Option<bool>> {
        let mut chain = head.clone();
        lines.iter().map(|line| chain.follow(line)).collect()
    }

    #[test]
    fn a_line_that_is_changed_dropped_or_moved_breaks_the_chain() {
        let temp = tempfile::tempdir().unwrap();
        let (head, lines) = log(temp.path(), &[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
        assert_eq!(follow(&head, &lines), [Some(true); 3]);
        let parsed: serde_json::Value = serde_json::from_slice(&lines[0]).unwrap();
        assert_eq!(parsed["a"], 1, "a reader of plain JSON sees the line's own fields");
        let mut changed = lines.clone();
        changed[1][5] = b'7';
        assert_eq!(follow(&head, &changed), [Some(true), Some(false), Some(true)]);
        let dropped = [lines[0].clone(), lines[2].clone()];
        assert_eq!(follow(&head, &dropped), [Some(true), Some(false)]);
        let moved = [lines[1].clone(), lines[0].clone(), lines[2].clone()];
        assert!(follow(&head, &moved).contains(&Some(false)));
        assert_eq!(follow(&head, &lines[1..]), [Some(false), Some(true)], "the first one dropped");
        assert_eq!(follow(&head, &[b"{\"a\":1}".to_vec()]), [None]);
    }

    #[test]
    fn a_chain_goes_on_after_a_line_that_was_cut_short() {
        let temp = tempfile::tempdir().unwrap();
        let (head, lines) = log(temp.path(), &[r#"{"a":1}"#, r#"{"a":2}"#]);
        let file = temp.path().join("events.jsonl");
        for (text, last) in [
            (Vec::new(), &head),
            (b"{\"old\":1}\n".to_vec(), &head),
            (
                [&lines[0][..], b"\n", &lines[1][..20], b"\n"].concat(),
                &Chain(split(&lines[0]).unwrap().1),
            ),
            ([&lines[0][..], b"\n", &lines[1][..]].concat(), &Chain(split(&lines[1]).unwrap().1)),
            (
                [&lines[0][..], b"\n", &vec![b'x'; 200_000][..]].concat(),
                &Chain(split(&lines[0]).unwrap().1),
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(head.clone().resume(&file).unwrap(), *last);
        }
    }
}
