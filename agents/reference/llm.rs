//! A language model behind OpenAI's chat completions, called in the name of a role.

use std::io;
use std::time::{Duration, Instant};

use crate::http::{self, Answer, Url};
use crate::json::Json;
use crate::settings::Settings;
use crate::sys;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a role cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The time is over, but for what is kept back to save.
    OutOfTime,
    /// The budget for language models is spent; the gateway's words.
    OutOfBudget(String),
    /// SIGTERM.
    Asked,
    /// The role made as many calls as it may.
    OutOfSteps,
    /// The model cannot be used; what was answered.
    Failed(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfTime => f.write_str("the time is over"),
            Self::OutOfBudget(said) => write!(f, "the budget for language models is spent: {said}"),
            Self::Asked => f.write_str("it was asked to stop"),
            Self::OutOfSteps => f.write_str("it made as many calls as it may"),
            Self::Failed(said) => write!(f, "the language model cannot be used: {said}"),
        }
    }
}

/// A tool call of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The arguments, or why they are none.
    pub(crate) arguments: Result<Json, String>,
}

/// What a model said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
    /// The message as it goes back to the model.
    pub(crate) message: Json,
}

/// The models of an attempt.
#[derive(Debug)]
pub(crate) struct Llm {
    base: Url,
    /// True if the gateway counts by the role in the path.
    roles_in_path: bool,
    authorization: String,
    budget: Option<Url>,
    usual_model: String,
    settings: Settings,
    pub(crate) deadline: Instant,
}

impl Llm {
    /// Finds out which models there are, if none is named.
    ///
    /// # Errors
    /// An address that is none, and a gateway that lists no model although none is named.
    pub(crate) fn new(settings: &Settings, deadline: Instant) -> Result<Self, String> {
        let base = Url::parse(&settings.llm)?;
        let gateway = settings.gateway.as_deref().filter(|gateway| !gateway.is_empty());
        let mut llm = Self {
            roles_in_path: gateway.is_some_and(|gateway| settings.llm.starts_with(gateway)),
            base,
            authorization: format!("Bearer {}", settings.key),
            budget: settings.budget.as_deref().map(Url::parse).transpose()?,
            usual_model: settings.model.clone().unwrap_or_default(),
            settings: settings.clone(),
            deadline,
        };
        if llm.usual_model.is_empty() {
            llm.usual_model = llm.first_listed()?;
        }
        Ok(llm)
    }

    fn first_listed(&self) -> Result<String, String> {
        let url = self.base.around("", "/models");
        let headers = [("Authorization", self.authorization.as_str())];
        let answer = http::send(
            &url,
            "GET",
            &headers,
            b"",
            self.deadline.min(Instant::now() + Duration::from_secs(30)),
        );
        let nothing = |why: String| {
            format!(
                "no model is named (`model` in kwargs, or MODEL), and {} lists none: {why}",
                self.settings.llm
            )
        };
        let answer = answer.map_err(|error| nothing(error.to_string()))?;
        let list = Json::parse(&answer.text()).map_err(nothing)?;
        let mut ids = list.get("data").items().iter().filter_map(|entry| entry.get("id").as_str());
        let first = ids.find(|id| !id.contains('*'));
        first.map(str::to_owned).ok_or_else(|| nothing(format!("it answered {}", answer.status)))
    }

    /// The model of a role.
    pub(crate) fn model(&self, role: &str) -> &str {
        self.settings.role_models.get(role).unwrap_or(&self.usual_model)
    }

    /// Asks the model of `role` once; tries again what the gateway or the network refuse for now.
    ///
    /// # Errors
    /// Why the role cannot go on.
    pub(crate) fn ask(&self, role: &str, messages: &[Json], tools: &Json) -> Result<Said, Stop> {
        let body = Json::object([
            ("model", Json::text(self.model(role))),
            ("messages", Json::List(messages.to_vec())),
            ("tools", tools.clone()),
        ]);
        let role_path = if self.roles_in_path { format!("/r/{role}") } else { String::new() };
        let url = self.base.around(&role_path, "/chat/completions");
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", self.authorization.as_str()),
            ("x-medalist-role", role),
        ];
        let body = body.to_string();
        let mut pause = Duration::from_secs(1);
        loop {
            if sys::stopped() {
                return Err(Stop::Asked);
            }
            if Instant::now() >= self.deadline {
                return Err(Stop::OutOfTime);
            }
            let answer = match http::send(&url, "POST", &headers, body.as_bytes(), self.deadline) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    return Err(Stop::Asked);
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Stop::OutOfTime);
                }
                Err(error) => Err(error.to_string()),
                Ok(answer) => Ok(answer),
            };
            match answer.as_ref().map(|answer| (answer.status, answer)) {
                Ok((200, answer)) => return read(answer),
                Ok((402, answer)) => return Err(Stop::OutOfBudget(reason(answer))),
                Ok((status, _)) if status == 408 || status == 429 || status >= 500 => {}
                Ok((status, answer)) => {
                    return Err(Stop::Failed(format!("HTTP {status}: {}", reason(answer))));
                }
                Err(_) => {}
            }
            let asked = answer.ok().and_then(|answer| answer.header("retry-after")?.parse().ok());
            self.rest(asked.map_or(pause, Duration::from_secs).min(LONGEST_PAUSE))?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits, but not beyond the end.
    fn rest(&self, pause: Duration) -> Result<(), Stop> {
        let until = (Instant::now() + pause).min(self.deadline);
        while Instant::now() < until {
            if sys::stopped() {
                return Err(Stop::Asked);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// What is left of time and budget, in words for a model.
    pub(crate) fn left(&self) -> String {
        let seconds = self.deadline.saturating_duration_since(Instant::now()).as_secs();
        let mut parts = vec![format!("{seconds} s of time")];
        if let Some(url) = &self.budget {
            let until = self.deadline.min(Instant::now() + Duration::from_secs(5));
            let answer = http::send(url, "GET", &[], b"", until).ok();
            let budget = answer.and_then(|answer| Json::parse(&answer.text()).ok());
            parts.extend(budget.iter().flat_map(amounts_left));
        }
        format!("[left: {}]", parts.join(", "))
    }
}

/// The smaller of what attempt and group have left, of each thing that is limited.
fn amounts_left(budget: &Json) -> Vec<String> {
    let mut out = Vec::new();
    for (what, unit) in
        [("dollars", "dollars"), ("tokens", "tokens"), ("calls", "calls of a language model")]
    {
        let accounts = ["attempt", "group"].map(|name| budget.get(name));
        let left =
            accounts.iter().filter_map(|account| account.get("remaining").get(what).as_f64());
        let Some(left) = left.reduce(f64::min) else { continue };
        let figure = if what == "dollars" { format!("{left:.4}") } else { format!("{left:.0}") };
        out.push(format!("{figure} {unit}"));
    }
    out
}

/// The words of an error, whatever form they have.
fn reason(answer: &Answer) -> String {
    let text = answer.text();
    let parsed = Json::parse(&text).unwrap_or(Json::Null);
    let said = parsed.get("error").get("message").as_str();
    crate::journal::shortened(said.unwrap_or(text.trim()), 300)
}

fn read(answer: &Answer) -> Result<Said, Stop> {
    let odd = |what: &str| Stop::Failed(format!("its answer {what}: {}", reason(answer)));
    let whole =
        Json::parse(&answer.text()).map_err(|error| odd(&format!("is no JSON ({error})")))?;
    let Some(choice) = whole.get("choices").items().first() else {
        return Err(odd("has no choices"));
    };
    let message = choice.get("message");
    let calls = message.get("tool_calls").items().iter().enumerate().map(|(at, call)| {
        let function = call.get("function");
        let given = function.get("arguments");
        let arguments = match given.as_str() {
            Some("") => Ok(Json::Object(Vec::new())),
            Some(text) => Json::parse(text),
            None => Ok(given.clone()),
        };
        Call {
            id: call.get("id").as_str().map_or_else(|| format!("call_{at}"), str::to_owned),
            name: function.get("name").as_str().unwrap_or_default().to_owned(),
            arguments,
        }
    });
    let calls: Vec<Call> = calls.collect();
    let text = message.get("content").as_str().unwrap_or_default().to_owned();
    let mut entries = vec![
        ("role".to_owned(), Json::text("assistant")),
        ("content".to_owned(), if text.is_empty() { Json::Null } else { Json::text(&text) }),
    ];
    if !calls.is_empty() {
        entries.push(("tool_calls".to_owned(), message.get("tool_calls").clone()));
    } else if text.is_empty() {
        // Servers refuse a message of nothing.
        entries[1].1 = Json::text("...");
    }
    Ok(Said { text, calls, message: Json::Object(entries) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer { status: 200, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn tool_calls_are_read() {
        let body = r#"{"choices":[{"message":{"content":null,"tool_calls":[
            {"id":"a","function":{"name":"shell","arguments":"{\"command\":\"ls\"}"}},
            {"function":{"name":"finish","arguments":"{"}}]}}]}"#;
        let said = read(&answer(body)).unwrap();
        assert_eq!(said.calls[0].arguments.as_ref().unwrap().get("command").as_str(), Some("ls"));
        assert_eq!(said.calls[1].id, "call_1");
        assert!(said.calls[1].arguments.is_err());
        assert_eq!(said.message.get("tool_calls").items().len(), 2);
    }

    #[test]
    fn odd_answers_are_quoted() {
        for (body, words) in [("<html>", "is no JSON"), ("{\"choices\":[]}", "has no choices")] {
            let Err(Stop::Failed(said)) = read(&answer(body)) else { panic!("{body}") };
            assert!(said.contains(words), "{said}");
        }
        let said = read(&answer(r#"{"choices":[{"message":{}}]}"#)).unwrap();
        assert_eq!(said.message.get("content").as_str(), Some("..."));
    }

    #[test]
    fn the_smaller_budget_is_told() {
        let budget = r#"{"attempt":{"remaining":{"dollars":0.5,"tokens":null,"calls":7}},
            "group":{"remaining":{"dollars":0.25,"tokens":1000}}}"#;
        let told = amounts_left(&Json::parse(budget).unwrap());
        assert_eq!(told, ["0.2500 dollars", "1000 tokens", "7 calls of a language model"]);
    }
}
