//! Tools that a model's provider runs: they reach the web, whatever the container's seal.

use serde_json::{Map, Value};

use crate::download;
use crate::finding::{Confidence, Finding, Rule};
use crate::injection::Reading;
use crate::paths;
use crate::setting::Setting;
use crate::source::in_text;

/// Beginnings of the types of tools that a provider runs.
const TOOLS: [&str; 9] = [
    "web_search",
    "web_fetch",
    "code_interpreter",
    "code_execution",
    "file_search",
    "mcp",
    "url_context",
    "browser_search",
    "bash_code_execution",
];
/// Keys of Gemini's tools.
const KEYS: [&str; 12] = [
    "googleSearch",
    "google_search",
    "googleSearchRetrieval",
    "google_search_retrieval",
    "urlContext",
    "url_context",
    "codeExecution",
    "code_execution",
    "fileSearch",
    "file_search",
    "googleMaps",
    "google_maps",
];
/// Options of a request that search the web.
const OPTIONS: [&str; 5] =
    ["web_search_options", "search_parameters", "plugins", "search_options", "enable_search"];
/// Types of parts of an answer that such a tool made.
const USED: [&str; 14] = [
    "web_search_call",
    "code_interpreter_call",
    "file_search_call",
    "mcp_call",
    "mcp_list_tools",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
    "url_citation",
];
/// Keys of an answer that such a tool made.
const MADE: [&str; 8] = [
    "groundingMetadata",
    "grounding_metadata",
    "urlContextMetadata",
    "url_context_metadata",
    "executableCode",
    "codeExecutionResult",
    "citations",
    "search_results",
];
/// Parts of names of models that search the web by themselves.
const SEARCHING: [&str; 4] = ["-search-preview", ":online", "-search-api", "sonar"];
/// What an agent's program runs itself.
const OWN: [&str; 10] = [
    "function",
    "custom",
    "local_shell",
    "apply_patch",
    "shell",
    "bash",
    "computer",
    "text_editor",
    "memory",
    "tool_search",
];
/// Objects whose content the model wrote, or the agent's program.
const OPAQUE: [&str; 7] =
    ["arguments", "input", "args", "text", "function", "parameters", "input_schema"];

/// Looks at a line of a transcript: a request, and what a model answered. `number`: of the line.
pub(crate) fn findings(file: &str, number: u64, line: &Value, setting: &Setting) -> Vec<Finding> {
    let mut found = Vec::new();
    let find = |rule, text: &str, confidence, says: String| {
        in_text(rule, file, number, text, confidence, says)
    };
    let empty = Value::Null;
    let body = line.pointer("/answer/body").unwrap_or(&empty);
    let request = line.get("request").unwrap_or(&empty);
    if let Some((name, text)) = used(body) {
        let says = format!("a model's answer has `{name}`, which the provider's tool made");
        found.push(find(Rule::HostedTool, &text, Confidence::High, says));
    } else if let Some((name, text)) = asked(request) {
        let says = format!("a request offers the model `{name}`, which the provider runs");
        found.push(find(Rule::HostedTool, &text, Confidence::Medium, says));
    } else if let Some((name, text)) = unknown(request) {
        let says =
            format!("a request offers the model `{name}`, and it is not known who runs that");
        found.push(find(Rule::HostedTool, &text, Confidence::Low, says));
    }
    let mut commands = Vec::new();
    wishes(body, false, &mut commands);
    for command in &commands {
        found.extend(paths::in_conversation(file, number, command, setting));
        let fetches =
            command.lines().take(2_000).find_map(|line| Some((download::command(line)?, line)));
        if let Some(((name, is_package), line)) = fetches
            && let Some((confidence, why)) = download::weigh(setting, is_package)
        {
            let says = format!("a model asks for `{name}`, {why}");
            found.push(find(Rule::Download, line, confidence, says));
        }
    }
    // What a model says is an answer to its reader; what tools and files told it may be an injection.
    let mut told = Vec::new();
    results(request, &mut told);
    for text in told {
        let mut reading = Reading::default();
        for line in text.lines() {
            if let Some((confidence, says)) = reading.line(line, false) {
                let says = format!("{says}, in what a tool told a model");
                found.push(find(Rule::PromptInjection, line, confidence, says));
            }
        }
    }
    found
}

/// A tool that a request offers.
fn asked(request: &Value) -> Option<(String, String)> {
    let request = request.as_object()?;
    let tools = request.get("tools").and_then(Value::as_array);
    for tool in tools.into_iter().flatten().filter_map(Value::as_object) {
        let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
        let name = match kind {
            "" => KEYS.iter().copied().find(|key| tool.contains_key(*key)),
            kind => TOOLS.iter().any(|start| kind.starts_with(start)).then_some(kind),
        };
        if let Some(name) = name {
            return Some((name.to_owned(), Value::Object(tool.clone()).to_string()));
        }
    }
    let is_set = |key: &&&str| {
        request.get(**key).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
    };
    if let Some(key) = OPTIONS.iter().find(is_set) {
        return Some(((*key).to_owned(), request[*key].to_string()));
    }
    let model = request.get("model").and_then(Value::as_str).unwrap_or_default();
    let searches = SEARCHING.iter().any(|part| model.contains(part));
    searches.then(|| (model.to_owned(), format!("model: {model}")))
}

/// A tool of a kind that is neither known to be a provider's nor the agent's.
fn unknown(request: &Value) -> Option<(String, String)> {
    let tools = request.get("tools").and_then(Value::as_array);
    tools.into_iter().flatten().find_map(|tool| {
        let kind = tool.get("type").and_then(Value::as_str)?;
        let own = OWN.iter().any(|start| kind.starts_with(start));
        (!own).then(|| (kind.to_owned(), tool.to_string()))
    })
}

/// A part of an answer that a provider's tool made.
fn used(value: &Value) -> Option<(String, String)> {
    match value {
        Value::Array(items) => items.iter().find_map(used),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            if USED.contains(&kind) {
                return Some((kind.to_owned(), value.to_string()));
            }
            if let Some(key) = MADE.iter().find(|key| is_filled(fields, key)) {
                return Some(((*key).to_owned(), format!("{key}: {}", fields[*key])));
            }
            let inner = fields.iter().filter(|(key, _)| !OPAQUE.contains(&key.as_str()));
            inner.map(|(_, value)| value).find_map(used)
        }
        _ => None,
    }
}

fn is_filled(fields: &Map<String, Value>, key: &str) -> bool {
    match fields.get(key) {
        Some(Value::Object(inner)) => !inner.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        _ => false,
    }
}

/// The texts that a model hands to tools.
fn wishes(value: &Value, inside: bool, texts: &mut Vec<String>) {
    match value {
        Value::String(text) if inside => {
            // Arguments are often JSON in a text.
            match serde_json::from_str::<Value>(text) {
                Ok(inner @ (Value::Object(_) | Value::Array(_))) => wishes(&inner, true, texts),
                _ => texts.push(text.clone()),
            }
        }
        Value::Array(items)
            if inside && !items.is_empty() && items.iter().all(Value::is_string) =>
        {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            texts.push(words.join(" "));
        }
        Value::Array(items) => items.iter().for_each(|item| wishes(item, inside, texts)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let wish =
                    matches!(key.as_str(), "arguments" | "input" | "args" | "command" | "action");
                wishes(value, inside || wish, texts);
            }
        }
        _ => {}
    }
}

/// What tools told a model: results in a request, in the three dialects.
fn results<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    let Some(fields) = value.as_object() else {
        if let Value::Array(items) = value {
            items.iter().for_each(|item| results(item, texts));
        }
        return;
    };
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    let role = fields.get("role").and_then(Value::as_str).unwrap_or_default();
    let is_result = matches!(
        kind,
        "tool_result"
            | "function_call_output"
            | "custom_tool_call_output"
            | "local_shell_call_output"
    ) || role == "tool"
        || fields.contains_key("functionResponse");
    match is_result {
        true => all_texts(value, texts),
        false => fields.values().for_each(|value| results(value, texts)),
    }
}

fn all_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| all_texts(item, texts)),
        Value::Object(fields) => fields.values().for_each(|value| all_texts(value, texts)),
        _ => {}
    }
}
