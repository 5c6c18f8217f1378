//! The tools that a model is given: a shell, files, the validation service, and an end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::attempt::Attempt;
use crate::board::{Claim, Placed, copy};
use crate::http::{self, Url};
use crate::journal::{Who, shortened};
use crate::json::Json;
use crate::shell;

/// The most that is read of a file for a model, in bytes.
const LONGEST_READ: usize = 24 << 10;
const BOUNDARY: &str = "medalist-reference-51c0de";

/// What a tool call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer for the model.
    Told(String),
    /// The role is done; its summary.
    Finished(String),
}

/// One tool as a model is told of it: `properties` are (name, type, meaning); the first `required` ones
/// must be given.
pub(crate) fn described(
    name: &str,
    description: &str,
    required: usize,
    properties: &[(&str, &str, &str)],
) -> Json {
    let entries = properties.iter().map(|(name, kind, meaning)| {
        let about =
            Json::object([("type", Json::text(*kind)), ("description", Json::text(*meaning))]);
        ((*name).to_owned(), about)
    });
    let names = properties.iter().take(required).map(|(name, _, _)| Json::text(*name));
    let schema = Json::object([
        ("type", Json::text("object")),
        ("properties", Json::Object(entries.collect())),
        ("required", Json::List(names.collect())),
    ]);
    let function = Json::object([
        ("name", Json::text(name)),
        ("description", Json::text(description)),
        ("parameters", schema),
    ]);
    Json::object([("type", Json::text("function")), ("function", function)])
}

/// The tools of every role.
pub(crate) fn common() -> Vec<Json> {
    vec![
        described(
            "shell",
            "Run a bash command in your folder. You see how it ended and what it printed; of long output the beginning and the end.",
            1,
            &[
                ("command", "string", "the command"),
                (
                    "timeout_s",
                    "number",
                    "kill it after so many seconds (default: as long as is allowed)",
                ),
            ],
        ),
        described(
            "write_file",
            "Write a text file, and the folders it is in; one that is there is replaced.",
            2,
            &[
                ("path", "string", "where, relative to your folder"),
                ("content", "string", "the whole text"),
            ],
        ),
        described(
            "read_file",
            "Read a text file; of a long one the beginning and the end.",
            1,
            &[("path", "string", "which, relative to your folder")],
        ),
        described(
            "validate",
            "Check whether a CSV file is a valid submission. A valid file becomes the submission if its cross-validation score is the best so far.",
            1,
            &[
                ("path", "string", "the file"),
                (
                    "score",
                    "number",
                    "what your own cross-validation says of the model behind it, by the competition's metric",
                ),
                (
                    "higher_is_better",
                    "boolean",
                    "whether a higher score is better; give it with the score",
                ),
            ],
        ),
        described(
            "finish",
            "Say that you are done; the summary goes to whoever gave you the task.",
            1,
            &[("summary", "string", "what you did, what it scored, and where it is")],
        ),
    ]
}

/// A role's hands.
#[derive(Debug, Clone)]
pub(crate) struct Tools<'a> {
    pub(crate) attempt: &'a Attempt,
    pub(crate) who: Who,
    /// Where commands run and paths begin.
    pub(crate) folder: PathBuf,
}

impl Tools<'_> {
    /// Uses a tool. What goes wrong is told to the model, which can do better.
    pub(crate) fn call(&self, name: &str, arguments: &Json) -> Outcome {
        let text = |key: &str| {
            arguments
                .get(key)
                .as_str()
                .ok_or_else(|| format!("error: `{name}` needs `{key}`, a text"))
        };
        let told = match name {
            "shell" => text("command").map(|command| {
                let asked = arguments.get("timeout_s").as_f64().filter(|s| (0.0..1e9).contains(s));
                self.shell(command, asked.map(Duration::from_secs_f64))
            }),
            "write_file" => text("path")
                .and_then(|path| text("content").map(|content| self.write(path, content))),
            "read_file" => text("path").map(|path| self.read(path)),
            "validate" => text("path").map(|path| self.validate(path, arguments)),
            "finish" => match text("summary") {
                Ok(summary) => return Outcome::Finished(summary.to_owned()),
                Err(problem) => Err(problem),
            },
            _ => Err(format!("error: there is no tool `{name}`")),
        };
        Outcome::Told(told.unwrap_or_else(|problem| problem))
    }

    fn shell(&self, command: &str, asked: Option<Duration>) -> String {
        let settings = &self.attempt.settings;
        let left = self.attempt.llm.deadline.saturating_duration_since(Instant::now());
        shell::run(
            command,
            &self.folder,
            asked.unwrap_or(settings.command).min(settings.command).min(left),
        )
    }

    fn write(&self, path: &str, content: &str) -> String {
        let path = self.folder.join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        match made.and_then(|()| fs::write(&path, content)) {
            Ok(()) => format!("wrote {} bytes to {}", content.len(), path.display()),
            Err(error) => format!("error: cannot write {}: {error}", path.display()),
        }
    }

    fn read(&self, path: &str) -> String {
        let path = self.folder.join(path);
        match fs::read(&path) {
            Ok(bytes) => shortened(&String::from_utf8_lossy(&bytes), LONGEST_READ),
            Err(error) => format!("error: cannot read {}: {error}", path.display()),
        }
    }

    fn validate(&self, path: &str, arguments: &Json) -> String {
        let path = self.folder.join(path);
        let claim =
            match (arguments.get("score").as_f64(), arguments.get("higher_is_better").as_bool()) {
                (Some(score), Some(higher_is_better)) => Some(Claim { score, higher_is_better }),
                (Some(_), None) => {
                    return "error: give `higher_is_better` with the score, true or false"
                        .to_owned();
                }
                (None, _) => None,
            };
        let verdict =
            match checked(&self.attempt.settings.validate, &path, self.attempt.llm.deadline) {
                Ok(verdict) => verdict,
                Err(problem) => return format!("error: {problem}"),
            };
        let is_valid = verdict.get("is_valid").as_bool() == Some(true);
        let words =
            verdict.get("result").as_str().map_or_else(|| verdict.to_string(), str::to_owned);
        let score = claim.map_or(Json::Null, |claim| Json::Number(claim.score));
        let details = [
            ("file", Json::text(path.display().to_string())),
            ("valid", Json::Bool(is_valid)),
            ("score", score),
        ];
        self.attempt.journal.note(&self.who, "validated", details);
        if !is_valid {
            return format!("NOT VALID: {words}");
        }
        self.place(&path, claim)
    }

    fn place(&self, path: &Path, claim: Option<Claim>) -> String {
        let (placed, leads) = match self.attempt.board.offer(path, claim, self.who.candidate) {
            Ok(placed) => placed,
            Err(problem) => return format!("error: {problem}"),
        };
        if leads && let Err(problem) = copy(path, &self.folder.join("best_submission.csv")) {
            self.attempt.journal.note(&self.who, "not_kept", [("why", Json::text(problem))]);
        }
        if placed == Placed::Best {
            self.attempt.journal.note(
                &self.who,
                "saved",
                [("file", Json::text(path.display().to_string()))],
            );
        }
        match placed {
            Placed::Best => "valid, and the best so far: it is the submission now".to_owned(),
            Placed::Behind(best) => {
                format!("valid, but the submission is at least as good ({}); it stays", best.score)
            }
            Placed::Unscored => {
                "valid, but without a score it does not replace the submission, which has one"
                    .to_owned()
            }
            Placed::OtherDirection => {
                "valid, but `higher_is_better` is not what was said of the submission; it stays"
                    .to_owned()
            }
        }
    }
}

/// The validation service's answer: `is_valid`, and `result` in words.
fn checked(url: &str, file: &Path, deadline: Instant) -> Result<Json, String> {
    let bytes =
        fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"submission.csv\"\r\nContent-Type: text/csv\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(&bytes);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let until = deadline.max(Instant::now() + Duration::from_secs(2));
    let answer = http::send(&Url::parse(url)?, "POST", &[("Content-Type", &kind)], &body, until);
    let answer =
        answer.map_err(|error| format!("the validation service does not answer: {error}"))?;
    let text = answer.text();
    match Json::parse(&text) {
        Ok(verdict @ Json::Object(_)) => Ok(verdict),
        _ => Err(format!(
            "the validation service answered {}: {}",
            answer.status,
            shortened(text.trim(), 300)
        )),
    }
}
