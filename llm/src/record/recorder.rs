//! Writes the transcript and the recording in a thread of its own, so that no call waits for it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::objects::Objects;
use super::transcript::Transcript;
use super::{FORMAT, MAJOR, MINOR};
use crate::config::Record;
use crate::dialect::Dialect;
use crate::events::{Event, EventSink};
use crate::json::sorted;

/// Answers beyond this size wait for the recorder in a file instead of in memory.
const IN_MEMORY: usize = 256 << 10;
/// Values above this size are stored as objects of their own.
const INLINE: usize = 64;
/// The key that marks a reference to an object.
pub(super) const REFERENCE: &str = "$object";

/// An answer's bytes as they pass.
#[derive(Debug)]
pub(crate) struct Capture {
    started: Instant,
    memory: Vec<Bytes>,
    size: usize,
    spilled: Option<File>,
    /// When each piece came, in milliseconds from the request, and its length.
    chunks: Vec<(u64, u64)>,
}

impl Capture {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            memory: Vec::new(),
            size: 0,
            spilled: None,
            chunks: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, piece: &Bytes) -> io::Result<()> {
        let at = self.started.elapsed().as_millis() as u64;
        // Pieces of one moment are one: a large answer has no use for thousands of marks.
        match self.chunks.last_mut() {
            Some((last, length)) if *last == at => *length += piece.len() as u64,
            _ => self.chunks.push((at, piece.len() as u64)),
        }
        self.size += piece.len();
        if let Some(file) = &mut self.spilled {
            return file.write_all(piece);
        }
        self.memory.push(piece.clone());
        if self.size > IN_MEMORY {
            let mut file = tempfile::tempfile()?;
            for piece in self.memory.drain(..) {
                file.write_all(&piece)?;
            }
            self.spilled = Some(file);
        }
        Ok(())
    }
}

/// The answer to a recorded request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Capture,
    /// Whether it came to its end.
    pub(crate) whole: bool,
}

/// One call to write down.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) dialect: Dialect,
    pub(crate) role: String,
    pub(crate) model: String,
    pub(crate) route: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) key: String,
    /// The request as it counts for a replay.
    pub(crate) canonical: Value,
    pub(crate) request: Value,
    pub(crate) answer: Answer,
}

/// The thread of one attempt.
#[derive(Debug)]
pub(crate) struct Recorder {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Opens the files in `dir` that the settings ask for.
    pub(crate) fn open(
        dir: &Path,
        record: Record,
        attempt: &str,
        events: EventSink,
    ) -> io::Result<Self> {
        if !record.transcript && !record.recording {
            return Ok(Self { jobs: None, thread: None });
        }
        let mut writer = Writer {
            transcript: record
                .transcript
                .then(|| Transcript::open(&dir.join("transcript.jsonl.gz")))
                .transpose()?,
            recording: record
                .recording
                .then(|| Recording::open(&dir.join("recording")))
                .transpose()?,
        };
        let (sender, jobs): (_, Receiver<Job>) = channel();
        let attempt = attempt.to_owned();
        let thread =
            std::thread::Builder::new().name("llm-recorder".to_owned()).spawn(move || {
                for job in jobs {
                    let id = job.id;
                    if let Err(error) = writer.write(job) {
                        let message = format!("cannot write down call {id}: {error}");
                        events.send(Event::RecordFailed { attempt: attempt.clone(), message });
                    }
                }
            })?;
        Ok(Self { jobs: Some(sender), thread: Some(thread) })
    }

    /// Whether anything is written down.
    pub(crate) fn is_on(&self) -> bool {
        self.jobs.is_some()
    }

    pub(crate) fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only with this sender.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    transcript: Option<Transcript>,
    recording: Option<Recording>,
}

impl Writer {
    fn write(&mut self, mut job: Job) -> io::Result<()> {
        if let Some(transcript) = &mut self.transcript {
            transcript.write(&mut job)?;
        }
        if let Some(recording) = &mut self.recording {
            recording.write(job)?;
        }
        Ok(())
    }
}

impl Capture {
    /// The whole answer, if it is not larger than `limit`.
    pub(super) fn text(&mut self, limit: usize) -> io::Result<Option<Vec<u8>>> {
        use std::io::{Read, Seek, SeekFrom};
        if self.size > limit {
            return Ok(None);
        }
        match &mut self.spilled {
            None => Ok(Some(self.memory.concat())),
            Some(file) => {
                let mut text = Vec::with_capacity(self.size);
                file.seek(SeekFrom::Start(0))?;
                file.read_to_end(&mut text)?;
                Ok(Some(text))
            }
        }
    }
}

/// The recording that a replay reads.
struct Recording {
    dir: PathBuf,
    index: File,
    objects: Objects,
}

impl Recording {
    fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut index = super::calls::append(&dir.join("index.jsonl"))?;
        if index.metadata()?.len() == 0 {
            writeln!(
                index,
                "{}",
                json!({"format": FORMAT, "version": format!("{MAJOR}.{MINOR}")})
            )?;
        }
        let objects = Objects::open(&dir.join("objects.bin"))?;
        Ok(Self { dir: dir.to_owned(), index, objects })
    }

    fn write(&mut self, mut job: Job) -> io::Result<()> {
        let request = self.store_parts(&job.canonical)?;
        let capture = &mut job.answer.body;
        let body = match &mut capture.spilled {
            None => self.objects.put(&capture.memory.concat())?,
            Some(file) => self.objects.put_file(file, &mut tempfile::tempfile_in(&self.dir)?)?,
        };
        let entry = json!({
            "id": job.id, "at": job.at, "key": job.key, "dialect": job.dialect, "route": job.route,
            "headers": job.headers.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "request": request,
            "answer": {"status": job.answer.status, "headers": job.answer.headers, "whole": job.answer.whole,
                "body": body, "chunks": capture.chunks},
        });
        let mut line = entry.to_string();
        line.push('\n');
        self.index.write_all(line.as_bytes())
    }

    /// The request with its larger parts replaced by references: each message, tool and long text
    /// is stored once, however often the agent sends it again.
    fn store_parts(&mut self, request: &Value) -> io::Result<Value> {
        let Value::Object(fields) = request else { return self.store(request) };
        let mut out = Map::new();
        for (key, value) in fields {
            let value = match value {
                Value::Array(items) => Value::Array(
                    items.iter().map(|item| self.store(item)).collect::<io::Result<_>>()?,
                ),
                other => self.store(other)?,
            };
            out.insert(key.clone(), value);
        }
        Ok(Value::Object(out))
    }

    fn store(&mut self, value: &Value) -> io::Result<Value> {
        let text = value.to_string();
        // An object of the agent's that looks like a reference is stored too, so that none is
        // taken for one.
        if text.len() <= INLINE && value.get(REFERENCE).is_none() {
            return Ok(value.clone());
        }
        let name = self.objects.put(sorted(value).to_string().as_bytes())?;
        Ok(json!({ REFERENCE: name }))
    }
}
