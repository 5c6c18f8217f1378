//! Reads requests that may be hostile: heads, bodies, and what a body asks for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use crate::dialect::{Dialect, Refusal};
use crate::encoding::{DecodeError, decode};
use crate::json::parse_strict;
use crate::route::{Door, Operation, is_model_name};

/// However slowly pieces come, a body must have come within this.
const WHOLE_BODY: Duration = Duration::from_secs(600);
/// Bodies hold at least this many bytes a token, which makes their length a bound.
const BYTES_PER_TOKEN_PROBABLY: u64 = 3;
/// What providers add to a request of their own: templates of roles and tools.
const HIDDEN_TOKENS: u64 = 1024;

/// Why a request is refused.
pub(crate) type Refused = (Refusal, String);

/// Checks a request's head and tells by which name it came.
pub(crate) fn check_head(
    parts: &Parts,
    door: &Door,
    serves: impl Fn(&str) -> bool,
) -> Result<Door, Refused> {
    let bad = |message: &str| Err((Refusal::BadRequest, message.to_owned()));
    let headers = &parts.headers;
    if parts.method == Method::CONNECT {
        return Err((Refusal::NotFound, "this is no proxy".to_owned()));
    }
    if headers.get_all(header::HOST).iter().count() > 1 {
        return bad("there is more than one `host`");
    }
    let named = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let named = parts.uri.authority().map(|a| a.as_str()).or(named).unwrap_or_default();
    let name = host_name(named);
    match door {
        Door::Local => {
            let own = ["localhost", "127.0.0.1", "[::1]"].contains(&name.as_str());
            // An absolute address is what a client sends to a proxy; this is one for itself alone.
            if parts.uri.authority().is_some() && !own {
                return Err((
                    Refusal::Misdirected,
                    format!("`{name}` is not here; this is no proxy"),
                ));
            }
            Ok(Door::Local)
        }
        Door::Host(expected) if expected.is_empty() && serves(&name) => Ok(Door::Host(name)),
        Door::Host(expected) if *expected == name && !name.is_empty() => Ok(door.clone()),
        Door::Host(_) => {
            Err((Refusal::Misdirected, format!("`{name}` is not the name that was connected to")))
        }
    }
}

/// A host without its port, in lower case.
fn host_name(authority: &str) -> String {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host.rfind(':').filter(|at| host[at + 1..].bytes().all(|b| b.is_ascii_digit()));
    host[..port.unwrap_or(host.len())].to_lowercase()
}

/// Reads and decodes a body.
pub(crate) async fn read_body(
    mut body: Incoming,
    headers: &HeaderMap,
    limit: usize,
    idle: Duration,
) -> Result<Bytes, Refused> {
    let too_large = || (Refusal::TooLarge, format!("the request is larger than {limit} bytes"));
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let deadline = Instant::now() + WHOLE_BODY;
    let mut raw = BytesMut::with_capacity(length.unwrap_or(0).min(1 << 20) as usize);
    loop {
        let until = deadline.min(Instant::now() + idle);
        let frame = match timeout_at(until, body.frame()).await {
            Err(_) => {
                return Err((
                    Refusal::RequestTimeout,
                    "the request's body came too slowly".to_owned(),
                ));
            }
            Ok(None) => break,
            Ok(Some(Err(_))) => {
                return Err((Refusal::BadRequest, "the request's body broke off".to_owned()));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data() {
            if raw.len() + data.len() > limit {
                return Err(too_large());
            }
            raw.extend_from_slice(&data);
        }
    }
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let encoding =
        encodings.next().map(|v| v.to_str().unwrap_or("?")).unwrap_or_default().to_owned();
    if encodings.next().is_some() {
        return Err((Refusal::Encoding, "only one `content-encoding` is supported".to_owned()));
    }
    if encoding.is_empty() {
        return Ok(raw.freeze());
    }
    // A bomb takes a while; it must not take the thread that other calls need.
    let decoded = tokio::task::spawn_blocking(move || decode(raw.freeze(), &encoding, limit)).await;
    match decoded {
        Ok(Ok(plain)) => Ok(plain),
        Ok(Err(DecodeError::TooLarge)) => Err(too_large()),
        Ok(Err(DecodeError::Corrupt(why))) => {
            Err((Refusal::BadRequest, format!("the compressed body is damaged: {why}")))
        }
        Ok(Err(DecodeError::Unknown(name))) => {
            let name: String = name.chars().take(40).collect();
            Err((
                Refusal::Encoding,
                format!("`{name}` is not supported; send gzip, deflate, zstd or plain bodies"),
            ))
        }
        Err(_) => Err((Refusal::BadRequest, "the body cannot be decoded".to_owned())),
    }
}

/// The JSON object of a body.
pub(crate) fn parse_object(body: &[u8]) -> Result<Map<String, Value>, Refused> {
    match parse_strict(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err((Refusal::BadRequest, "the body is no JSON object".to_owned())),
        Err(why) => Err((Refusal::BadRequest, format!("the body is no JSON: {why}"))),
    }
}

/// What a body asks for.
#[derive(Debug)]
pub(crate) struct Wants {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) max_output: Option<u64>,
    pub(crate) choices: u64,
    /// Whether text is written.
    pub(crate) writes: bool,
    /// Tokens that go in, probably and at most.
    pub(crate) input: u64,
    pub(crate) input_bound: u64,
}

/// Where a body's longest answer stands.
fn length_key(dialect: Dialect, operation: Operation) -> &'static [&'static str] {
    match (dialect, operation) {
        (Dialect::OpenAi, Operation::Responses) => &["max_output_tokens"],
        (Dialect::OpenAi, Operation::Chat) => &["max_completion_tokens", "max_tokens"],
        (Dialect::Gemini, _) => &["maxOutputTokens", "max_output_tokens"],
        _ => &["max_tokens"],
    }
}

const GEMINI_SETTINGS: [&str; 2] = ["generationConfig", "generation_config"];

impl Wants {
    pub(crate) fn read(
        dialect: Dialect,
        operation: Operation,
        path_model: Option<&str>,
        body: &Map<String, Value>,
        size: usize,
    ) -> Result<Self, Refused> {
        let bad = |message: String| (Refusal::BadRequest, message);
        let model = match path_model {
            Some(model) => model.to_owned(),
            None => match body.get("model") {
                Some(Value::String(name)) if is_model_name(name) => name.clone(),
                Some(_) => return Err(bad("`model` is no model's name".to_owned())),
                None => return Err(bad("`model` is missing".to_owned())),
            },
        };
        let stream = match (dialect, body.get("stream")) {
            (Dialect::Gemini, _) => operation == Operation::StreamGenerate,
            (_, None | Some(Value::Null)) => false,
            (_, Some(Value::Bool(stream))) => *stream,
            _ => return Err(bad("`stream` is neither true nor false".to_owned())),
        };
        let settings = match dialect {
            Dialect::Gemini => GEMINI_SETTINGS.iter().find_map(|k| body.get(*k)?.as_object()),
            _ => Some(body),
        };
        let number = |key: &&str| settings.and_then(|s| s.get(*key)).and_then(Value::as_u64);
        let size = size as u64;
        Ok(Self {
            model,
            stream,
            max_output: length_key(dialect, operation).iter().find_map(number),
            choices: ["n", "best_of", "candidateCount"]
                .iter()
                .filter_map(number)
                .max()
                .unwrap_or(1)
                .clamp(1, 1000),
            writes: !matches!(
                operation,
                Operation::Embeddings | Operation::Embed | Operation::CountTokens
            ),
            input: size / BYTES_PER_TOKEN_PROBABLY,
            input_bound: size + HIDDEN_TOKENS,
        })
    }
}

/// Sets the longest answer that a body asks for.
pub(crate) fn set_max_output(
    dialect: Dialect,
    operation: Operation,
    upstream: &str,
    body: &mut Map<String, Value>,
    tokens: u64,
) {
    let keys = length_key(dialect, operation);
    let target = match dialect {
        Dialect::Gemini => {
            let name = GEMINI_SETTINGS.iter().find(|k| body.get(**k).is_some_and(Value::is_object));
            let settings = body
                .entry(*name.unwrap_or(&GEMINI_SETTINGS[0]))
                .or_insert_with(|| Map::new().into());
            let Value::Object(settings) = settings else { return };
            settings
        }
        _ => body,
    };
    // OpenAI's newer models take the newer name alone, other servers the older one.
    let default = if upstream == "openai" { keys[0] } else { keys[keys.len() - 1] };
    let default = if dialect == Dialect::Gemini { keys[0] } else { default };
    let given: Vec<&str> = keys.iter().copied().filter(|k| target.contains_key(*k)).collect();
    for key in if given.is_empty() { vec![default] } else { given } {
        target.insert(key.to_owned(), tokens.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head(request: http::request::Builder) -> Parts {
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn heads_that_two_readers_read_differently_are_refused() {
        let ask = |request, door: &Door| {
            check_head(&head(request), door, |h| h == "api.openai.com").map_err(|e| e.0.status())
        };
        let local = Door::Local;
        let host = Door::Host("api.openai.com".to_owned());
        let plain = |uri: &str| Request::builder().uri(uri);
        use http::Request;
        assert_eq!(ask(plain("/x").header("host", "anything"), &local), Ok(Door::Local));
        assert_eq!(ask(plain("http://localhost:4000/x"), &local), Ok(Door::Local));
        assert_eq!(ask(plain("http://[::1]:4000/x"), &local), Ok(Door::Local));
        assert_eq!(ask(plain("http://example.org/x"), &local), Err(421));
        assert_eq!(ask(plain("example.org:443").method("CONNECT"), &local), Err(404));
        assert_eq!(ask(plain("/x").header("host", "a").header("host", "b"), &local), Err(400));
        assert_eq!(ask(plain("/x").header("host", "API.openai.com:443"), &host), Ok(host.clone()));
        assert_eq!(ask(plain("/x").header("host", "api.anthropic.com"), &host), Err(421));
        assert_eq!(ask(plain("/x"), &host), Err(421));
        let nameless = Door::Host(String::new());
        assert_eq!(ask(plain("/x").header("host", "api.openai.com"), &nameless), Ok(host));
        assert_eq!(ask(plain("/x").header("host", "10.0.0.1"), &nameless), Err(421));
    }

    #[test]
    fn wants_are_read_in_every_dialect_and_lengths_are_set_where_they_stand() {
        for (dialect, operation, body, expected) in [
            (
                Dialect::OpenAi,
                Operation::Chat,
                json!({"model": "m", "max_tokens": 50, "n": 3}),
                (Some(50), 3),
            ),
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"model": "m", "max_output_tokens": 9}),
                (Some(9), 1),
            ),
            (
                Dialect::Anthropic,
                Operation::Messages,
                json!({"model": "m", "max_tokens": 7}),
                (Some(7), 1),
            ),
            (
                Dialect::Gemini,
                Operation::Generate,
                json!({"generationConfig": {"maxOutputTokens": 5, "candidateCount": 2}}),
                (Some(5), 2),
            ),
            (Dialect::Gemini, Operation::Generate, json!({}), (None, 1)),
            (Dialect::OpenAi, Operation::Chat, json!({"model": "m"}), (None, 1)),
        ] {
            let Value::Object(mut map) = body else { panic!("an object") };
            let path_model = (dialect == Dialect::Gemini).then_some("m");
            let read = |map: &Map<String, Value>| {
                Wants::read(dialect, operation, path_model, map, 300).expect("good")
            };
            let wants = read(&map);
            assert_eq!(
                (wants.max_output, wants.choices, wants.input),
                (expected.0, expected.1, 100)
            );
            set_max_output(dialect, operation, "openai", &mut map, 4);
            assert_eq!(read(&map).max_output, Some(4), "{map:?}");
        }
    }

    #[test]
    fn bodies_without_a_model_or_with_odd_fields_are_refused() {
        for body in [
            json!({}),
            json!({"model": 3}),
            json!({"model": "a b"}),
            json!({"model": "m", "stream": "yes"}),
        ] {
            let Value::Object(map) = body else { panic!("an object") };
            assert!(Wants::read(Dialect::OpenAi, Operation::Chat, None, &map, 1).is_err());
        }
        assert!(parse_object(b"[]").is_err() && parse_object(b"{").is_err());
    }
}
