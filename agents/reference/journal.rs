//! What happened, a line of JSON each, for people and programs that read the attempt afterwards.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::json::Json;

/// The longest text that a line quotes.
const LONGEST: usize = 600;

/// Writes `progress.jsonl`, and a short form of it to the output.
#[derive(Debug)]
pub(crate) struct Journal {
    started: Instant,
    file: Mutex<Option<File>>,
}

impl Journal {
    /// A folder that cannot be written is no reason to stop: the output has the lines, too.
    pub(crate) fn new(logs: &Path, started: Instant) -> Self {
        let _ = fs::create_dir_all(logs);
        Self { started, file: Mutex::new(File::create(logs.join("progress.jsonl")).ok()) }
    }

    /// Notes an event of a role, which may work on a candidate.
    pub(crate) fn note<const N: usize>(&self, who: &Who, event: &str, details: [(&str, Json); N]) {
        let at = (self.started.elapsed().as_secs_f64() * 100.0).round() / 100.0;
        let mut entries = vec![
            ("at_s".to_owned(), Json::Number(at)),
            ("role".to_owned(), Json::text(&who.role)),
            ("event".to_owned(), Json::text(event)),
        ];
        if let Some(candidate) = who.candidate {
            entries.insert(2, ("candidate".to_owned(), Json::Number(f64::from(candidate))));
        }
        let mut said = format!("[{at:7.2} s] {who}: {event}");
        for (key, value) in details {
            let value = match value {
                Json::Text(text) => Json::Text(shortened(&text, LONGEST)),
                other => other,
            };
            let line = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            said += &format!(", {key} {}", shortened(&line.replace('\n', " "), 160));
            entries.push((key.to_owned(), value));
        }
        println!("{said}");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = file.as_mut() {
            let _ = writeln!(file, "{}", Json::Object(entries));
        }
    }
}

/// A role at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) role: String,
    pub(crate) candidate: Option<u32>,
}

impl Who {
    pub(crate) fn new(role: &str, candidate: Option<u32>) -> Self {
        Self { role: role.to_owned(), candidate }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.candidate {
            Some(candidate) => write!(f, "{} {candidate}", self.role),
            None => f.write_str(&self.role),
        }
    }
}

/// At most `most` bytes: the beginning and the end, and how much is left out between.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(most / 3);
    let tail = text.ceil_char_boundary(text.len() - (most - most / 3));
    format!("{} [... {} bytes left out ...] {}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_their_ends() {
        assert_eq!(shortened("short", 10), "short");
        let long = format!("begin{}end", "ä".repeat(500));
        let short = shortened(&long, 60);
        assert!(short.starts_with("begin") && short.ends_with("end"), "{short}");
        assert!(short.contains("bytes left out") && short.len() < 110, "{short}");
    }

    #[test]
    fn lines_are_json() {
        let folder = std::env::temp_dir().join(format!("medalist-journal-{}", std::process::id()));
        let journal = Journal::new(&folder, Instant::now());
        journal.note(&Who::new("coder", Some(2)), "validated", [("score", Json::Number(0.5))]);
        let text = fs::read_to_string(folder.join("progress.jsonl")).unwrap();
        let line = Json::parse(text.trim()).unwrap();
        assert_eq!(line.get("candidate").as_f64(), Some(2.0));
        assert_eq!(line.get("event").as_str(), Some("validated"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
