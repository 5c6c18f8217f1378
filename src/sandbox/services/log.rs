//! Records of what agents ask services for: JSON lines, bounded, since agents choose how often they
//! ask.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::Utc;
use serde_json::Value;

/// A file of JSON lines that grows to a limit; what happens after it is not recorded, and the last
/// line says so.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    most: u64,
    bytes: Mutex<u64>,
}

impl Log {
    /// A log at `path` of at most `most` bytes, and one line more. A resumed harness appends to the
    /// log of the one before it.
    pub(super) fn open(path: PathBuf, most: u64) -> Self {
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        Self { path, most, bytes: Mutex::new(bytes) }
    }

    /// Adds an object, with the time as `at`.
    pub(super) fn add(&self, mut value: Value) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if *bytes > self.most {
            return;
        }
        value["at"] = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into();
        let mut line = format!("{value}\n");
        if *bytes + line.len() as u64 > self.most {
            line = format!("{}\n", serde_json::json!({"more": "what followed is not recorded"}));
            *bytes = self.most;
        }
        match append(&self.path, line.as_bytes()) {
            Ok(()) => *bytes += line.len() as u64,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot record a request");
            }
        }
    }
}

fn append(path: &Path, line: &[u8]) -> std::io::Result<()> {
    File::options().append(true).create(true).open(path)?.write_all(line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_bounded_and_says_where_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        std::fs::write(&path, "{}\n").unwrap();
        let log = Log::open(path.clone(), 1000);
        for _ in 0..100 {
            log.add(json!({"verdict": "no"}));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 1100, "{}", text.len());
        let second = text.lines().nth(1).unwrap();
        assert!(second.contains("\"verdict\":\"no\"") && second.contains("\"at\":"), "{second}");
        assert!(text.ends_with("{\"more\":\"what followed is not recorded\"}\n"));
        assert_eq!(text.matches("not recorded").count(), 1);
    }
}
