//! Which request goes where: only the routes listed here exist.

use http::{HeaderMap, Method};

use crate::config::Config;
use crate::dialect::{Dialect, Refusal};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Messages,
    /// Counting tokens is free.
    CountTokens,
    Generate,
    StreamGenerate,
    Embed,
    /// Answered here: the models that are allowed.
    Models,
    /// Answered here: one model.
    Model,
    /// Answered here: a client looks whether anybody is there.
    Hello,
}

impl Operation {
    /// OpenTelemetry's `gen_ai.operation.name`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses | Self::Messages => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings | Self::Embed => "embeddings",
            Self::Generate | Self::StreamGenerate => "generate_content",
            Self::CountTokens => "count_tokens",
            Self::Models | Self::Model | Self::Hello => "models",
        }
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `GET /medalist/budget`.
    Budget,
    /// A provider, or an answer in its name.
    Route(Route),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) upstream: String,
    /// The dialect of this route; a provider may have a second one (Gemini speaks OpenAI's too).
    pub(crate) dialect: Dialect,
    pub(crate) operation: Operation,
    /// What follows the provider's base address, with a slash before it.
    pub(crate) path: String,
    /// The query that is passed on.
    pub(crate) query: String,
    /// The model, where it stands in the path.
    pub(crate) model: Option<String>,
    /// What the agent calls this part of itself.
    pub(crate) role: Option<String>,
}

impl Route {
    /// The path and the query at the provider.
    pub(crate) fn target(&self) -> String {
        let Self { path, query, .. } = self;
        if query.is_empty() { path.clone() } else { format!("{path}?{query}") }
    }
}

/// Why there is no route.
pub(crate) struct NoRoute {
    pub(crate) dialect: Dialect,
    pub(crate) refusal: Refusal,
    pub(crate) message: String,
}

/// How a request came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `localhost:4000`: the provider stands in the path.
    Local,
    /// A provider's own host name.
    Host(String),
}

/// Finds the route of a request.
pub(crate) fn resolve(
    config: &Config,
    door: &Door,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Target, NoRoute> {
    let (role, rest) = split_role(path);
    let (name, tail) = match door {
        Door::Local => {
            if rest == "/medalist/budget" && method == Method::GET {
                return Ok(Target::Budget);
            }
            local(config, rest, headers)?
        }
        Door::Host(host) => by_host(config, host, rest)?,
    };
    let dialect = config.upstreams[&name].dialect();
    let asked = Asked { method, tail: &tail, query };
    let mut route = match dialect {
        Dialect::OpenAi => asked.openai(tail.strip_prefix("/v1").unwrap_or(&tail), ""),
        Dialect::Anthropic => asked.anthropic(),
        Dialect::Gemini => asked.gemini(),
    }
    .map_err(|(dialect, refusal, message)| NoRoute { dialect, refusal, message })?;
    route.upstream = name;
    route.role = role;
    if headers.contains_key(http::header::UPGRADE) {
        let message = "only plain HTTP is spoken here".to_owned();
        return Err(NoRoute { dialect: route.dialect, refusal: Refusal::Upgrade, message });
    }
    Ok(Target::Route(route))
}

/// Takes `/r/<role>` off the front of a path.
fn split_role(path: &str) -> (Option<String>, &str) {
    let Some(rest) = path.strip_prefix("/r/") else { return (None, path) };
    let (role, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (clean_role(role), rest)
}

/// A role's name, if it is a short plain word.
pub(crate) fn clean_role(role: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (!role.is_empty() && role.len() <= 64 && role.bytes().all(plain)).then(|| role.to_owned())
}

/// The provider's name and the rest of a path such as `/openai/v1/models`.
fn local(config: &Config, path: &str, headers: &HeaderMap) -> Result<(String, String), NoRoute> {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if config.upstreams.contains_key(first) {
        return Ok((first.to_owned(), path[1 + first.len()..].to_owned()));
    }
    // Bare paths mean three things; only headers tell.
    let anthropic = headers.contains_key("anthropic-version")
        || path.starts_with("/v1/messages")
        || path == "/api/hello";
    let gemini = headers.contains_key("x-goog-api-key") || path.starts_with("/v1beta/");
    let dialect = match (anthropic, gemini) {
        (true, _) => Dialect::Anthropic,
        (_, true) => Dialect::Gemini,
        _ => Dialect::OpenAi,
    };
    let bare = matches!(first, "v1" | "v1beta" | "api");
    let preferred = |name: &&String| name.as_str() == dialect.to_string();
    let mut fitting =
        config.upstreams.iter().filter(|(_, u)| u.dialect() == dialect).map(|(name, _)| name);
    let found = fitting.clone().find(preferred).or(fitting.next());
    if let (true, Some(name)) = (bare, found) {
        return Ok((name.clone(), path.to_owned()));
    }
    let names: Vec<_> = config.upstreams.keys().map(|n| format!("/{n}")).collect();
    let message =
        format!("there is no `{}` here; paths begin with {}", shorten(path), names.join(", "));
    Err(NoRoute { dialect, refusal: Refusal::NotFound, message })
}

/// The provider that answers for a host name, and the rest of the path after its prefix.
fn by_host(config: &Config, host: &str, path: &str) -> Result<(String, String), NoRoute> {
    let mut best: Option<(&String, &str)> = None;
    let mut of_host = None;
    for (name, upstream) in &config.upstreams {
        for entry in upstream.hosts.iter().flatten() {
            let (listed, prefix) = entry.split_at(entry.find('/').unwrap_or(entry.len()));
            if listed != host {
                continue;
            }
            of_host = Some(upstream.dialect());
            let under = path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
            if under && best.is_none_or(|(_, longest)| prefix.len() > longest.len()) {
                best = Some((name, prefix));
            }
        }
    }
    match (best, of_host) {
        (Some((name, prefix)), _) => Ok((name.clone(), path[prefix.len()..].to_owned())),
        (None, dialect) => Err(NoRoute {
            dialect: dialect.unwrap_or(Dialect::OpenAi),
            refusal: if dialect.is_some() { Refusal::NotFound } else { Refusal::Misdirected },
            message: format!("there is no `{}` at `{}`", shorten(path), shorten(host)),
        }),
    }
}

/// The beginning of a text of an agent's choice, for a message or a record.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A request whose provider is known.
struct Asked<'a> {
    method: &'a Method,
    tail: &'a str,
    query: &'a str,
}

type Found = Result<Route, (Dialect, Refusal, String)>;

/// Routes that would store data with the provider, run code there or reach the web.
const CLOSED_OPENAI: [&str; 20] = [
    "assistants",
    "audio",
    "batches",
    "chatkit",
    "containers",
    "conversations",
    "evals",
    "files",
    "fine-tunes",
    "fine_tuning",
    "graders",
    "images",
    "organization",
    "projects",
    "realtime",
    "skills",
    "threads",
    "uploads",
    "vector_stores",
    "videos",
];
const CLOSED_ANTHROPIC: [&str; 12] = [
    "agents",
    "complete",
    "deployments",
    "environments",
    "files",
    "memory_stores",
    "organizations",
    "sessions",
    "skills",
    "tunnels",
    "user_profiles",
    "vaults",
];
const CLOSED_GEMINI: [&str; 12] = [
    "batches",
    "cachedContents",
    "corpora",
    "download",
    "dynamic",
    "fileSearchStores",
    "files",
    "generatedFiles",
    "interactions",
    "operations",
    "tunedModels",
    "upload",
];

impl Asked<'_> {
    fn route(&self, dialect: Dialect, operation: Operation, path: String) -> Found {
        let (upstream, query, model, role) = (String::new(), String::new(), None, None);
        Ok(Route { upstream, dialect, operation, path, query, model, role })
    }

    fn none(&self, dialect: Dialect, closed: &[&str], part: &str) -> Found {
        let shown = shorten(self.tail);
        if closed.contains(&part) {
            let message = format!(
                "`{shown}` reaches outside the sealed container; the harness does not allow it"
            );
            return Err((dialect, Refusal::Policy, message));
        }
        Err((dialect, Refusal::NotFound, format!("there is no `{} {shown}`", self.method)))
    }

    fn openai(&self, path: &str, base: &str) -> Found {
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let post = self.method == Method::POST;
        let get = self.method == Method::GET;
        let operation = match parts[..] {
            ["chat", "completions"] if post => Operation::Chat,
            ["completions"] if post => Operation::Completions,
            ["responses"] if post => Operation::Responses,
            ["responses", "compact"] if post => Operation::Responses,
            ["responses", "input_tokens"] if post => Operation::CountTokens,
            ["embeddings"] if post => Operation::Embeddings,
            ["models"] if get => Operation::Models,
            ["models", name] if get => return self.model(Dialect::OpenAi, name),
            // A client that asks for a socket here goes on with POST once it is told 426.
            ["responses"] if get => {
                return Err((
                    Dialect::OpenAi,
                    Refusal::Upgrade,
                    "only plain HTTP is spoken here".to_owned(),
                ));
            }
            // What was stored with an earlier response is no longer the attempt's alone.
            ["responses", _, ..] => return self.none(Dialect::OpenAi, &["responses"], "responses"),
            _ => {
                return self.none(
                    Dialect::OpenAi,
                    &CLOSED_OPENAI,
                    parts.first().copied().unwrap_or_default(),
                );
            }
        };
        self.route(Dialect::OpenAi, operation, format!("{base}{path}"))
    }

    fn anthropic(&self) -> Found {
        let parts: Vec<_> = self.tail.split('/').skip(1).collect();
        let post = self.method == Method::POST;
        let get = self.method == Method::GET;
        let operation = match parts[..] {
            ["v1", "messages"] if post => Operation::Messages,
            ["v1", "messages", "count_tokens"] if post => Operation::CountTokens,
            ["v1", "models"] if get => Operation::Models,
            ["v1", "models", name] if get => return self.model(Dialect::Anthropic, name),
            ["api", "hello"] => Operation::Hello,
            ["v1", "v1", ..] => {
                let message =
                    "the base address must not end in `/v1`: the client adds it itself".to_owned();
                return Err((Dialect::Anthropic, Refusal::NotFound, message));
            }
            ["v1", "messages", "batches", ..] => {
                return self.none(Dialect::Anthropic, &["batches"], "batches");
            }
            ["v1", part, ..] => return self.none(Dialect::Anthropic, &CLOSED_ANTHROPIC, part),
            _ => return self.none(Dialect::Anthropic, &[], ""),
        };
        let mut route = self.route(Dialect::Anthropic, operation, self.tail.to_owned())?;
        if self.query.split('&').any(|pair| pair == "beta=true") {
            route.query = "beta=true".to_owned();
        }
        Ok(route)
    }

    fn gemini(&self) -> Found {
        let dialect = Dialect::Gemini;
        let parts: Vec<_> = self.tail.split('/').skip(1).collect();
        let (version, rest) = match parts[..] {
            [version @ ("v1" | "v1beta" | "v1alpha"), ref rest @ ..] => (version, rest),
            _ => {
                return self.none(
                    dialect,
                    &CLOSED_GEMINI,
                    parts.first().copied().unwrap_or_default(),
                );
            }
        };
        match rest {
            ["openai", ..] => {
                let base = format!("/{version}/openai");
                self.openai(&self.tail[base.len()..], &base)
            }
            ["models"] if self.method == Method::GET => {
                self.route(dialect, Operation::Models, String::new())
            }
            ["models", name] if self.method == Method::GET => self.model(dialect, name),
            ["models", call] if self.method == Method::POST => self.gemini_call(version, call),
            [part, ..] => self.none(dialect, &CLOSED_GEMINI, part),
            [] => self.none(dialect, &[], ""),
        }
    }

    fn gemini_call(&self, version: &str, call: &str) -> Found {
        let dialect = Dialect::Gemini;
        let (name, verb) = call.rsplit_once(':').unwrap_or((call, ""));
        let operation = match verb {
            "generateContent" => Operation::Generate,
            "streamGenerateContent" => Operation::StreamGenerate,
            "countTokens" => Operation::CountTokens,
            "embedContent" | "batchEmbedContents" => Operation::Embed,
            "batchGenerateContent"
            | "asyncBatchEmbedContent"
            | "predict"
            | "predictLongRunning"
            | "bidiGenerateContent" => return self.none(dialect, &["verb"], "verb"),
            _ => return self.none(dialect, &[], ""),
        };
        let model = decode_model(name).ok_or_else(|| bad_model(dialect))?;
        let mut route = self.route(dialect, operation, format!("/{version}/models/{call}"))?;
        // Other parameters could name a key, or leave the usage out of the answer.
        if operation == Operation::StreamGenerate
            && self.query.split('&').any(|pair| pair == "alt=sse")
        {
            route.query = "alt=sse".to_owned();
        }
        route.model = Some(model);
        Ok(route)
    }

    fn model(&self, dialect: Dialect, name: &str) -> Found {
        let mut route = self.route(dialect, Operation::Model, String::new())?;
        route.model = Some(decode_model(name).ok_or_else(|| bad_model(dialect))?);
        Ok(route)
    }
}

fn bad_model(dialect: Dialect) -> (Dialect, Refusal, String) {
    (dialect, Refusal::BadRequest, "the model's name has characters that no model has".to_owned())
}

/// A model's name out of a path: percent-decoded once, and plain.
fn decode_model(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match first {
            b'%' => {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                rest = &tail[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => *byte,
        });
    }
    let name = String::from_utf8(bytes).ok()?;
    is_model_name(&name).then_some(name)
}

/// Whether a text can be a model's name.
pub(crate) fn is_model_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+-".contains(&b);
    !name.is_empty() && name.len() <= 256 && name.bytes().all(plain) && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn ask(
        door: &Door,
        request: &str,
        header: Option<(&'static str, &'static str)>,
    ) -> Result<Route, u16> {
        let text = "[upstreams.openai]\n[upstreams.anthropic]\n[upstreams.gemini]\n[upstreams.openrouter]\n\
            [upstreams.deepseek]\n[upstreams.vllm]\nbase_url = \"http://h/v1\"";
        let config = Config::parse(text, Path::new("llm.toml")).expect("good");
        let (method, uri) = request.split_once(' ').expect("method and path");
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().expect("a value"));
        }
        match resolve(&config, door, &method.parse().expect("a method"), path, query, &headers) {
            Ok(Target::Route(route)) => Ok(route),
            Ok(Target::Budget) => panic!("not a route"),
            Err(none) => Err(none.refusal.status()),
        }
    }

    fn place(route: &Route) -> String {
        format!("{} {:?} {}", route.upstream, route.operation, route.path)
    }

    #[test]
    fn listed_routes_are_found() {
        for (request, expected) in [
            ("POST /openai/v1/chat/completions", "openai Chat /chat/completions"),
            ("POST /openai/v1/responses", "openai Responses /responses"),
            ("POST /vllm/v1/embeddings", "vllm Embeddings /embeddings"),
            ("POST /anthropic/v1/messages?beta=true", "anthropic Messages /v1/messages"),
            (
                "POST /gemini/v1beta/models/gemini-2.5-pro:generateContent?key=x",
                "gemini Generate /v1beta/models/gemini-2.5-pro:generateContent",
            ),
            (
                "POST /gemini/v1beta/openai/chat/completions",
                "gemini Chat /v1beta/openai/chat/completions",
            ),
            ("POST /v1/messages", "anthropic Messages /v1/messages"),
            ("POST /v1/responses", "openai Responses /responses"),
            ("GET /openrouter/v1/models", "openrouter Models /models"),
            ("HEAD /anthropic/api/hello", "anthropic Hello /api/hello"),
        ] {
            assert_eq!(
                ask(&Door::Local, request, None).map(|r| place(&r)),
                Ok(expected.to_owned()),
                "{request}"
            );
        }
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        for (request, status) in [
            ("POST /openai/v1/batches", 403),
            ("POST /openai/v1/files", 403),
            ("GET /openai/v1/responses/resp_1", 403),
            ("GET /openai/v1/responses", 426),
            ("GET /openai/v1/chat/completions", 404),
            ("POST /openai/v1/chat/completions/", 404),
            ("POST /openai/v1//chat/completions", 404),
            ("POST /openai/v1/../v1/chat/completions", 404),
            ("POST /anthropic/v1/v1/messages", 404),
            ("POST /anthropic/v1/messages/batches", 403),
            ("GET /anthropic/api/claude_code/settings", 404),
            ("POST /gemini/v1beta/models/a%2F..%2Fb:generateContent", 400),
            ("POST /gemini/v1beta/models/a%zz:generateContent", 400),
            ("POST /gemini/v1beta/models/m:predict", 403),
            ("POST /gemini/v1beta/cachedContents", 403),
            ("POST /unknown/v1/chat/completions", 404),
            ("POST /openaiv1/chat/completions", 404),
        ] {
            assert_eq!(
                ask(&Door::Local, request, None).map(|r| place(&r)),
                Err(status),
                "{request}"
            );
        }
        let upgrade = Some(("upgrade", "websocket"));
        assert_eq!(ask(&Door::Local, "POST /openai/v1/responses", upgrade).err(), Some(426));
    }

    #[test]
    fn host_names_lead_to_their_provider() {
        let at = |host: &str, request: &str| {
            ask(&Door::Host(host.to_owned()), request, None).map(|r| place(&r))
        };
        assert_eq!(
            at("api.openai.com", "POST /v1/responses"),
            Ok("openai Responses /responses".into())
        );
        assert_eq!(
            at("api.deepseek.com", "POST /beta/completions"),
            Ok("deepseek Completions /completions".into())
        );
        assert_eq!(
            at("api.deepseek.com", "POST /chat/completions"),
            Ok("deepseek Chat /chat/completions".into())
        );
        assert_eq!(
            at("openrouter.ai", "POST /api/v1/chat/completions"),
            Ok("openrouter Chat /chat/completions".into())
        );
        assert_eq!(at("openrouter.ai", "GET /docs"), Err(404));
        assert_eq!(at("api.openai.com", "GET /v1beta"), Err(404));
        assert_eq!(at("example.org", "GET /"), Err(421));
    }

    #[test]
    fn headers_tell_what_a_bare_path_means_and_roles_stand_before_it() {
        let route = ask(&Door::Local, "GET /v1/models", Some(("anthropic-version", "2023-06-01")))
            .expect("found");
        assert_eq!(route.upstream, "anthropic");
        let route = ask(&Door::Local, "GET /v1/models/a%2Fb", None).expect("found");
        assert_eq!((route.upstream.as_str(), route.model.as_deref()), ("openai", Some("a/b")));
        let route = ask(&Door::Local, "POST /r/feedback/openai/v1/responses", None).expect("found");
        assert_eq!(route.role.as_deref(), Some("feedback"));
    }
}
