//! Answers requests from a recording.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::objects::{Objects, hash};
use super::recorder::REFERENCE;
use super::{FORMAT, MAJOR};
use crate::dialect::Dialect;
use crate::json::{first_difference, sorted};

/// Fields that differ from run to run without meaning anything.
const VOLATILE: [&str; 8] = [
    "stream_options",
    "user",
    "metadata",
    "store",
    "prompt_cache_key",
    "client_metadata",
    "service_tier",
    "safety_identifier",
];

/// A request as it counts for a replay, and its key.
///
/// Equal keys mean: the same question. The order of keys, ids of users and sessions, and where the
/// bill goes do not count; whether the answer is to be streamed does, since it shapes the answer.
pub(crate) fn canonical(
    dialect: Dialect,
    route: &str,
    headers: &[(String, String)],
    body: &Value,
) -> (String, Value) {
    let mut body = sorted(body);
    if let Value::Object(fields) = &mut body {
        fields.retain(|key, _| !VOLATILE.contains(&key.as_str()));
    }
    let key = hash(format!("{dialect}\n{route}\n{headers:?}\n{body}").as_bytes());
    (key, body)
}

/// What happens to a request beyond the last recorded one that is equal to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exhausted {
    /// It is a miss.
    #[default]
    Miss,
    /// It gets the last answer again.
    Repeat,
}

/// How a recording is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayOptions {
    /// What happens when a request comes more often than it was recorded.
    pub exhausted: Exhausted,
    /// Whether answers come as slowly as they were recorded.
    pub pace: bool,
    /// Whether recorded overloads and answers that broke off are replayed too.
    pub errors: bool,
    /// Whether requests without a recorded answer go to the provider.
    pub through: bool,
}

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The files are no recording, or of a version that this program does not know.
    #[error("`{}` is no recording that can be replayed: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A line or object is damaged.
    #[error("`{}`, line {line}: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
struct Entry {
    id: u64,
    key: String,
    dialect: Dialect,
    route: String,
    request: Value,
    answer: StoredAnswer,
}

#[derive(Debug, Deserialize)]
struct StoredAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    whole: bool,
    body: String,
    chunks: Vec<(u64, u64)>,
}

/// A recorded answer.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) call: u64,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Whether the answer came to its end.
    pub(crate) whole: bool,
    pub(crate) body: Vec<u8>,
    /// How long after the one before each piece comes, and its length.
    pub(crate) chunks: Vec<(Duration, usize)>,
}

/// A recording that answers an attempt's requests: the n-th of equal ones gets the n-th answer.
#[derive(Debug)]
pub struct Replay {
    entries: Vec<Entry>,
    by_key: HashMap<String, Vec<usize>>,
    used: Mutex<HashMap<String, usize>>,
    /// Another harness has begun to answer: its last answers may not have arrived whole.
    goes_on: bool,
    objects: Objects,
    options: ReplayOptions,
}

impl Replay {
    /// Opens the recording of an attempt: its `llm/recording` folder.
    ///
    /// # Errors
    /// The folder is missing, damaged or of a newer version; the message says which.
    pub fn open(dir: &Path, options: ReplayOptions) -> Result<Self, ReplayError> {
        let path = dir.join("index.jsonl");
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| ReplayError::Read { path, source }
        };
        let mut lines =
            BufReader::new(File::open(&path).map_err(read(&path))?).split(b'\n').enumerate();
        check_header(&path, lines.next().map(|(_, line)| line).transpose().map_err(read(&path))?)?;
        let mut entries = Vec::new();
        for (index, line) in lines {
            let line = line.map_err(read(&path))?;
            match serde_json::from_slice::<Entry>(&line) {
                Ok(entry) => entries.push(entry),
                Err(_) if line.is_empty() => {}
                // Only a kill leaves half a line, and the next start ends it.
                Err(error) if error.is_eof() => {}
                Err(error) => {
                    return Err(ReplayError::Damaged {
                        path,
                        line: index + 1,
                        message: error.to_string(),
                    });
                }
            }
        }
        let bodies = dir.join("objects.bin");
        let objects = Objects::read_only(&bodies).map_err(read(&bodies))?;
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let final_answer =
                entry.answer.whole && !matches!(entry.answer.status, 401 | 402 | 408 | 429 | 500..);
            if options.errors || final_answer {
                by_key.entry(entry.key.clone()).or_default().push(index);
            }
        }
        let (used, goes_on) = (Mutex::default(), false);
        Ok(Self { entries, by_key, used, goes_on, objects, options })
    }

    /// Goes on after the recorded calls whose answers an earlier harness gave.
    pub(crate) fn go_on_after(&mut self, calls: impl IntoIterator<Item = u64>) {
        let used = self.used.get_mut().expect("no code panics while it counts");
        for id in calls {
            self.goes_on = true;
            if let Some(entry) = self.entries.iter().find(|entry| entry.id == id) {
                *used.entry(entry.key.clone()).or_default() += 1;
            }
        }
    }

    pub(crate) fn options(&self) -> ReplayOptions {
        self.options
    }

    /// The next answer to a request, or why there is none.
    pub(crate) fn answer(
        &self,
        dialect: Dialect,
        route: &str,
        key: &str,
        request: &Value,
    ) -> Result<Recorded, String> {
        let known = self.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        let nth = {
            let mut used = self.used.lock().expect("no code panics while it counts");
            let nth = used.entry(key.to_owned()).or_default();
            *nth += 1;
            *nth - 1
        };
        let exhausted = if self.goes_on { Exhausted::Repeat } else { self.options.exhausted };
        let index = match (known.get(nth), known.last(), exhausted) {
            (Some(index), ..) => *index,
            (None, Some(last), Exhausted::Repeat) => *last,
            (None, Some(_), Exhausted::Miss) => {
                return Err(format!(
                    "request {} was recorded {} times, and this is the next one",
                    short(key),
                    known.len()
                ));
            }
            (None, None, _) => return Err(self.miss(dialect, route, key, request)),
        };
        let entry = &self.entries[index];
        let body = self.objects.get(&entry.answer.body)?;
        let mut before = 0;
        let chunks = entry.answer.chunks.iter().map(|(at, length)| {
            let wait = at.saturating_sub(before);
            before = *at;
            (Duration::from_millis(wait), *length as usize)
        });
        Ok(Recorded {
            call: entry.id,
            status: entry.answer.status,
            headers: entry.answer.headers.clone(),
            whole: entry.answer.whole,
            chunks: chunks.collect(),
            body,
        })
    }

    /// Names the recorded request that is most like this one, and where they first differ.
    fn miss(&self, dialect: Dialect, route: &str, key: &str, request: &Value) -> String {
        let mut nearest: Option<(usize, &Entry, String)> = None;
        for entry in self.entries.iter().filter(|e| e.dialect == dialect && e.route == route) {
            let Ok(recorded) = self.whole_request(&entry.request) else { continue };
            let shared = likeness(&recorded, request);
            if nearest.as_ref().is_none_or(|(most, ..)| shared > *most) {
                let path = first_difference(&recorded, request);
                // Equal bodies have another key only if a header differs.
                nearest = Some((shared, entry, path.unwrap_or_else(|| "its headers".to_owned())));
            }
        }
        match nearest {
            Some((_, entry, path)) => format!(
                "request {} was not recorded; the nearest is call {}, which first differs at `{path}`",
                short(key),
                entry.id
            ),
            None => format!("request {} was not recorded, nor any other of `{route}`", short(key)),
        }
    }

    /// A recorded request with its references replaced.
    fn whole_request(&self, request: &Value) -> Result<Value, String> {
        let resolve = |value: &Value| match value.get(REFERENCE).and_then(Value::as_str) {
            Some(name) => {
                serde_json::from_slice(&self.objects.get(name)?).map_err(|e| e.to_string())
            }
            None => Ok(value.clone()),
        };
        let Value::Object(fields) = request else { return resolve(request) };
        if fields.contains_key(REFERENCE) {
            return resolve(request);
        }
        let mut out = Map::new();
        for (key, value) in fields {
            let value = match value {
                Value::Array(items) => {
                    Value::Array(items.iter().map(resolve).collect::<Result<_, String>>()?)
                }
                other => resolve(other)?,
            };
            out.insert(key.clone(), value);
        }
        Ok(Value::Object(out))
    }
}

fn check_header(path: &Path, line: Option<Vec<u8>>) -> Result<(), ReplayError> {
    let error = |message: String| ReplayError::Format { path: path.to_owned(), message };
    let header: Value = line
        .and_then(|line| serde_json::from_slice(&line).ok())
        .ok_or_else(|| error("its first line is no header".to_owned()))?;
    if header.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err(error(format!("its format is not `{FORMAT}`")));
    }
    let version = header.get("version").and_then(Value::as_str).unwrap_or_default();
    let major = version.split('.').next().and_then(|m| m.parse::<u32>().ok());
    match major {
        Some(major) if major <= MAJOR => Ok(()),
        _ => Err(error(format!(
            "its version is `{version}`, and this program reads {MAJOR}; use a newer medalist"
        ))),
    }
}

/// How many fields, and entries at the beginning of lists, two requests share.
fn likeness(left: &Value, right: &Value) -> usize {
    let (Value::Object(a), Value::Object(b)) = (left, right) else {
        return usize::from(left == right);
    };
    a.iter()
        .map(|(key, value)| match (value, b.get(key)) {
            (Value::Array(x), Some(Value::Array(y))) => {
                x.iter().zip(y).take_while(|(x, y)| x == y).count()
            }
            (value, other) => usize::from(other == Some(value)),
        })
        .sum()
}

fn short(key: &str) -> &str {
    &key[..12.min(key.len())]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Record;
    use crate::events::EventSink;
    use crate::record::{Answer, Capture, Job, Recorder};

    fn record(dir: &Path, calls: &[(Value, u16, &str, bool)]) {
        let recorder =
            Recorder::open(dir, Record::default(), "a", EventSink::ignore()).expect("opens");
        for (id, (request, status, text, whole)) in calls.iter().enumerate() {
            let (key, canonical) =
                canonical(Dialect::OpenAi, "POST /chat/completions", &[], request);
            let mut body = Capture::new();
            for piece in text.as_bytes().chunks(3) {
                body.push(&bytes::Bytes::copy_from_slice(piece)).expect("memory");
            }
            recorder.send(Job {
                id: id as u64 + 1,
                at: chrono::Utc::now(),
                dialect: Dialect::OpenAi,
                role: "r".into(),
                model: "m".into(),
                route: "POST /chat/completions".into(),
                headers: vec![],
                key,
                canonical,
                request: request.clone(),
                answer: Answer {
                    status: *status,
                    headers: vec![("content-type".into(), "text/plain".into())],
                    body,
                    whole: *whole,
                },
            });
        }
    }

    fn ask(replay: &Replay, request: &Value) -> Result<String, String> {
        let (key, canonical) = canonical(Dialect::OpenAi, "POST /chat/completions", &[], request);
        let answer = replay.answer(Dialect::OpenAi, "POST /chat/completions", &key, &canonical)?;
        assert_eq!(answer.chunks.iter().map(|c| c.1).sum::<usize>(), answer.body.len());
        Ok(String::from_utf8(answer.body).expect("text"))
    }

    fn question(text: &str, user: u32) -> Value {
        json!({"user": format!("u{user}"), "model": "m", "messages": [{"role": "system", "content": "be terse, be kind, be quick, be sure, be gone"},
            {"role": "user", "content": text}]})
    }

    #[test]
    fn the_nth_equal_request_gets_the_nth_answer() {
        let dir = tempfile::tempdir().expect("a folder");
        let big = "y".repeat(600 << 10);
        record(
            dir.path(),
            &[
                (question("q", 1), 200, "one", true),
                (question("q", 2), 429, "busy", true),
                (question("q", 3), 200, "cut", false),
                (question("q", 4), 200, &big, true),
            ],
        );
        let open = |options| Replay::open(&dir.path().join("recording"), options).expect("opens");
        let replay = open(ReplayOptions::default());
        assert_eq!(ask(&replay, &question("q", 9)), Ok("one".to_owned()));
        assert_eq!(ask(&replay, &question("q", 9)), Ok(big.clone()));
        assert!(
            ask(&replay, &question("q", 9)).expect_err("exhausted").contains("recorded 2 times")
        );
        let replay = open(ReplayOptions {
            exhausted: Exhausted::Repeat,
            errors: true,
            ..ReplayOptions::default()
        });
        let answers: Vec<_> =
            (0..5).map(|_| ask(&replay, &question("q", 0)).expect("there")).collect();
        assert_eq!(answers, ["one", "busy", "cut", &big, &big]);
    }

    #[test]
    fn a_miss_names_the_nearest_call_and_where_it_differs() {
        let dir = tempfile::tempdir().expect("a folder");
        record(
            dir.path(),
            &[(json!({"model": "other"}), 200, "", true), (question("first", 1), 200, "", true)],
        );
        let replay =
            Replay::open(&dir.path().join("recording"), ReplayOptions::default()).expect("opens");
        let message = ask(&replay, &question("second", 1)).expect_err("a miss");
        assert!(
            message.contains("call 2") && message.contains("`messages[1].content`"),
            "{message}"
        );
    }

    #[test]
    fn damage_and_newer_versions_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        record(dir.path(), &[(question("q", 1), 200, "one", true)]);
        let index = dir.path().join("recording/index.jsonl");
        let text = std::fs::read_to_string(&index).expect("reads");
        for (changed, expected) in [
            (text.replace("\"1.0\"", "\"2.0\""), "use a newer medalist"),
            (text.replace(FORMAT, "x"), "its format is not"),
            (String::new(), "is no header"),
            (text.replace("\"status\":200", "\"status\":\"x\""), "line 2"),
        ] {
            std::fs::write(&index, changed).expect("writes");
            let error = Replay::open(&dir.path().join("recording"), ReplayOptions::default())
                .expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
        std::fs::write(&index, format!("{text}{{\"id\": 5, \"ke")).expect("writes");
        assert!(Replay::open(&dir.path().join("recording"), ReplayOptions::default()).is_ok());
    }
}
