//! What a request may carry out of the sealed container.
//!
//! A provider that searches the web, runs code or fetches an address on an agent's behalf is a hole
//! in the seal. Tools and contents are let through by a list of what stays inside; everything else
//! is taken out or refused.

use serde_json::{Map, Value};

use crate::config::HostedTools;
use crate::dialect::Dialect;
use crate::route::{Operation, is_model_name, shorten};

/// What the rules did with a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What was taken out.
    pub(crate) stripped: Vec<String>,
    /// What forbids the request.
    pub(crate) refused: Option<String>,
    /// Models named besides the main one.
    pub(crate) other_models: Vec<String>,
}

/// Applies the rules to a request's body.
pub(crate) fn apply(
    dialect: Dialect,
    operation: Operation,
    body: &mut Map<String, Value>,
    mode: HostedTools,
) -> Verdict {
    let mut check = Check { mode, verdict: Verdict::default() };
    match (dialect, operation) {
        (Dialect::OpenAi, Operation::Responses | Operation::CountTokens) => check.responses(body),
        (Dialect::OpenAi, _) => check.chat(body),
        (Dialect::Anthropic, _) => check.anthropic(body),
        (Dialect::Gemini, _) => check.gemini(body),
    }
    check.verdict
}

/// A request may hold a million tools; no more of what was taken out are noted.
const NOTED: usize = 64;

struct Check {
    mode: HostedTools,
    verdict: Verdict,
}

impl Check {
    /// Notes something that leaves the container; true if it must be taken out.
    fn hosted(&mut self, what: String) -> bool {
        match self.mode {
            HostedTools::Allow => false,
            HostedTools::Strip => {
                if self.verdict.stripped.len() < NOTED {
                    self.verdict.stripped.push(what);
                }
                true
            }
            HostedTools::Refuse => {
                self.refuse(format!("{what} runs at the provider, outside the sealed container"));
                false
            }
        }
    }

    fn refuse(&mut self, why: String) {
        self.verdict.refused.get_or_insert(why);
    }

    /// Refuses content that the provider would fetch.
    fn remote(&mut self, what: &str) {
        if self.mode != HostedTools::Allow {
            self.refuse(format!(
                "{what} would be fetched by the provider; only inline data is allowed"
            ));
        }
    }

    fn strip_keys(&mut self, body: &mut Map<String, Value>, keys: &[&str]) {
        for key in keys {
            let set = body.get(*key).is_some_and(|v| !v.is_null());
            if set && self.hosted(format!("`{key}`")) {
                body.shift_remove(*key);
            }
        }
    }

    /// Keeps the tools for which `stays` holds; a choice among tools goes with the last of them.
    fn tools(&mut self, body: &mut Map<String, Value>, stays: fn(&Value) -> bool) {
        let Some(tools) = body.get_mut("tools") else { return };
        let Value::Array(list) = tools else {
            if !tools.is_null() {
                self.refuse("`tools` is no list".to_owned());
            }
            return;
        };
        let mut gone = Vec::new();
        list.retain(|tool| {
            let name = tool.get("type").and_then(Value::as_str).unwrap_or("without a type");
            let take = !stays(tool) && self.hosted(format!("tool `{}`", shorten(name)));
            if take {
                gone.push(name.to_owned());
            }
            !take
        });
        let empty = list.is_empty();
        if gone.is_empty() {
            return;
        }
        let names_it = |choice: &Value| {
            ["type", "name"].iter().any(|k| {
                choice.get(k).and_then(Value::as_str).is_some_and(|c| gone.iter().any(|g| g == c))
            })
        };
        if empty {
            body.shift_remove("tools");
        }
        if empty || body.get("tool_choice").is_some_and(names_it) {
            body.shift_remove("tool_choice");
        }
    }

    fn chat(&mut self, body: &mut Map<String, Value>) {
        self.tools(body, |tool| matches!(tool_type(tool), Some("function" | "custom")));
        self.strip_keys(body, &["web_search_options", "plugins"]);
        self.fallbacks(body);
        self.search_model(body);
        for part in blocks(body.get("messages")) {
            self.openai_part(part);
        }
    }

    fn responses(&mut self, body: &mut Map<String, Value>) {
        self.tools(body, |tool| {
            let local = tool.pointer("/environment/type").and_then(Value::as_str) == Some("local");
            match tool_type(tool) {
                Some(
                    "function" | "custom" | "local_shell" | "apply_patch" | "namespace"
                    | "tool_search",
                ) => true,
                Some("shell") => local,
                Some(kind) => kind.starts_with("computer"),
                None => false,
            }
        });
        self.strip_keys(body, &["plugins"]);
        self.fallbacks(body);
        self.search_model(body);
        if body.get("background").and_then(Value::as_bool) == Some(true) {
            self.refuse("`background` responses run on after the call".to_owned());
        }
        for key in ["conversation", "prompt"] {
            if body.get(key).is_some_and(|v| !v.is_null()) {
                self.refuse(format!("`{key}` names something stored at the provider"));
            }
        }
        if let Some(Value::Array(items)) = body.get("input") {
            for item in items {
                if tool_type(item) == Some("item_reference") {
                    self.refuse(
                        "`item_reference` names something stored at the provider".to_owned(),
                    );
                }
                self.openai_part(item);
                if let Some(output) = item.get("output") {
                    self.openai_part(output);
                    for part in output.as_array().into_iter().flatten() {
                        self.openai_part(part);
                    }
                }
            }
        }
        for part in blocks(body.get("input")) {
            self.openai_part(part);
        }
    }

    /// One part of a message: images and files must be inline.
    fn openai_part(&mut self, part: &Value) {
        let image = part
            .get("image_url")
            .and_then(|i| i.as_str().or_else(|| i.get("url").and_then(Value::as_str)));
        if image.is_some_and(|url| !is_inline(url)) {
            self.remote("an image at an address");
        }
        let file = part.get("file").unwrap_or(part);
        for key in ["file_url", "file_id"] {
            if file.get(key).is_some_and(|v| !v.is_null()) {
                self.remote(&format!("a file by `{key}`"));
            }
        }
        if file
            .get("file_data")
            .and_then(Value::as_str)
            .is_some_and(|data| data.starts_with("http"))
        {
            self.remote("a file at an address");
        }
    }

    /// OpenRouter takes a list of models to fall back to.
    fn fallbacks(&mut self, body: &Map<String, Value>) {
        for key in ["models", "fallbacks"] {
            for entry in body.get(key).and_then(Value::as_array).into_iter().flatten() {
                let name = entry.as_str().or_else(|| entry.get("model").and_then(Value::as_str));
                match name.filter(|name| is_model_name(name)) {
                    Some(name) => self.verdict.other_models.push(name.to_owned()),
                    None => self.refuse(format!("`{key}` names no models")),
                }
            }
        }
    }

    fn search_model(&mut self, body: &Map<String, Value>) {
        let model = body.get("model").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let searches = ["-search-", "deep-research", ":online"].iter().any(|s| model.contains(s))
            || model.ends_with("-search");
        if searches && self.mode != HostedTools::Allow {
            self.refuse(format!("`{}` searches the web", shorten(&model)));
        }
    }

    fn anthropic(&mut self, body: &mut Map<String, Value>) {
        self.tools(body, |tool| match tool.get("type") {
            None | Some(Value::Null) => true,
            Some(Value::String(kind)) => {
                kind == "custom"
                    || ["bash_", "text_editor_", "memory_", "computer_", "tool_search_"]
                        .iter()
                        .any(|p| kind.starts_with(p))
            }
            Some(_) => false,
        });
        self.strip_keys(body, &["mcp_servers", "container"]);
        self.fallbacks(body);
        for block in blocks(body.get("messages")) {
            self.anthropic_block(block);
        }
        for block in body.get("system").and_then(Value::as_array).into_iter().flatten() {
            self.anthropic_block(block);
        }
    }

    fn anthropic_block(&mut self, block: &Value) {
        if let Some(kind) = block.pointer("/source/type").and_then(Value::as_str)
            && !matches!(kind, "base64" | "text" | "content")
        {
            self.remote(&format!("a source of type `{}`", shorten(kind)));
        }
        if tool_type(block) == Some("container_upload") {
            self.remote("`container_upload`");
        }
        // A tool's result and a document's content hold blocks in turn; a tool's input is free
        // data.
        for inner in [block.get("content"), block.pointer("/source/content")] {
            for block in inner.and_then(Value::as_array).into_iter().flatten() {
                self.anthropic_block(block);
            }
        }
    }

    fn gemini(&mut self, body: &mut Map<String, Value>) {
        // Several calls in one: each is a request of its own.
        if let Some(Value::Array(requests)) = body.get_mut("requests") {
            for request in requests.iter_mut().filter_map(Value::as_object_mut) {
                self.gemini_request(request);
            }
        }
        if let Some(Value::Object(inner)) = body.get_mut("generateContentRequest") {
            self.gemini_request(inner);
        }
        self.gemini_request(body);
    }

    fn gemini_request(&mut self, body: &mut Map<String, Value>) {
        self.gemini_tools(body);
        for key in ["cachedContent", "cached_content"] {
            if body.get(key).is_some_and(|v| !v.is_null()) {
                self.refuse(format!("`{key}` names something stored at the provider"));
            }
        }
        if let Some(name) = body.get("model").and_then(Value::as_str) {
            let name = name.strip_prefix("models/").unwrap_or(name);
            match is_model_name(name) {
                true => self.verdict.other_models.push(name.to_owned()),
                false => self.refuse("`model` names no model".to_owned()),
            }
        }
        let one =
            [body.get("systemInstruction"), body.get("system_instruction"), body.get("content")];
        let many = body
            .get("contents")
            .and_then(|c| c.as_array().map(|a| a.iter().collect::<Vec<_>>()).or(Some(vec![c])));
        for content in one.into_iter().flatten().chain(many.into_iter().flatten()) {
            let parts = content.get("parts");
            let list = parts.and_then(Value::as_array).into_iter().flatten();
            for part in list.chain(parts.filter(|p| p.is_object())) {
                self.gemini_part(part);
            }
        }
    }

    fn gemini_part(&mut self, part: &Value) {
        for key in ["fileData", "file_data"] {
            if part.get(key).is_some_and(|v| !v.is_null()) {
                self.remote("a file by its address");
            }
        }
        for key in ["functionResponse", "function_response"] {
            for part in part
                .get(key)
                .and_then(|r| r.get("parts"))
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                self.gemini_part(part);
            }
        }
    }

    fn gemini_tools(&mut self, body: &mut Map<String, Value>) {
        let Some(tools) = body.get_mut("tools") else { return };
        let Value::Array(list) = tools else {
            if !tools.is_null() {
                self.refuse("`tools` is no list".to_owned());
            }
            return;
        };
        for tool in list.iter_mut().filter_map(Value::as_object_mut) {
            let inside =
                ["functionDeclarations", "function_declarations", "computerUse", "computer_use"];
            let hosted: Vec<_> =
                tool.keys().filter(|k| !inside.contains(&k.as_str())).cloned().collect();
            for key in hosted {
                if self.hosted(format!("tool `{}`", shorten(&key))) {
                    tool.shift_remove(&key);
                }
            }
        }
        list.retain(|tool| tool.as_object().is_none_or(|t| !t.is_empty()));
        if list.is_empty() {
            body.shift_remove("tools");
        }
    }
}

fn tool_type(value: &Value) -> Option<&str> {
    value.get("type").and_then(Value::as_str)
}

/// The parts of all messages whose content is a list.
fn blocks(messages: Option<&Value>) -> impl Iterator<Item = &Value> {
    let list = messages.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|m| m.get("content").and_then(Value::as_array)).flatten()
}

fn is_inline(url: &str) -> bool {
    url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(
        dialect: Dialect,
        operation: Operation,
        body: Value,
        mode: HostedTools,
    ) -> (Value, Verdict) {
        let Value::Object(mut map) = body else { panic!("an object") };
        let verdict = apply(dialect, operation, &mut map, mode);
        (Value::Object(map), verdict)
    }

    #[test]
    fn hosted_tools_are_stripped_refused_or_allowed_in_every_dialect() {
        for (dialect, operation, hosted, kept) in [
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"type": "web_search"}),
                json!({"type": "function", "name": "f"}),
            ),
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"type": "shell", "environment": {"type": "container_auto"}}),
                json!({"type": "shell", "environment": {"type": "local"}}),
            ),
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"type": "mcp", "server_url": "u"}),
                json!({"type": "local_shell"}),
            ),
            (
                Dialect::OpenAi,
                Operation::Chat,
                json!({"type": "web_search"}),
                json!({"type": "function"}),
            ),
            (Dialect::OpenAi, Operation::Chat, json!({}), json!({"type": "custom"})),
            (
                Dialect::Anthropic,
                Operation::Messages,
                json!({"type": "web_fetch_20250910"}),
                json!({"name": "f"}),
            ),
            (
                Dialect::Anthropic,
                Operation::Messages,
                json!({"type": "advisor_1", "model": "m"}),
                json!({"type": "bash_20250124"}),
            ),
            (
                Dialect::Gemini,
                Operation::Generate,
                json!({"google_search": {}}),
                json!({"functionDeclarations": []}),
            ),
            (
                Dialect::Gemini,
                Operation::Generate,
                json!({"urlContext": {}}),
                json!({"function_declarations": []}),
            ),
        ] {
            let body = json!({"model": "m", "tools": [hosted, kept]});
            let (stripped, verdict) = run(dialect, operation, body.clone(), HostedTools::Strip);
            assert_eq!(
                (&stripped["tools"], verdict.stripped.len()),
                (&json!([kept]), 1),
                "{hosted}"
            );
            assert_eq!(verdict.refused, None, "{hosted}");
            let (same, verdict) = run(dialect, operation, body.clone(), HostedTools::Refuse);
            assert!(same == body && verdict.refused.is_some(), "{hosted}");
            let (same, verdict) = run(dialect, operation, body.clone(), HostedTools::Allow);
            assert!(
                same == body && verdict.refused.is_none() && verdict.stripped.is_empty(),
                "{hosted}"
            );
        }
    }

    #[test]
    fn a_choice_goes_with_the_last_tool() {
        let body = json!({"tools": [{"type": "web_search"}], "tool_choice": "required"});
        let (body, _) = run(Dialect::OpenAi, Operation::Responses, body, HostedTools::Strip);
        assert_eq!(body, json!({}));
        let body = json!({"tools": [{"type": "mcp"}, {"type": "function"}], "tool_choice": {"type": "mcp"}});
        let (body, _) = run(Dialect::OpenAi, Operation::Responses, body, HostedTools::Strip);
        assert_eq!(body, json!({"tools": [{"type": "function"}]}));
    }

    #[test]
    fn remote_content_is_refused_and_inline_content_is_not() {
        let image = |url: &str| json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]});
        let source = |kind: &str| {
            json!({"messages": [{"role": "user", "content": [
            {"type": "tool_result", "content": [{"type": "image", "source": {"type": kind}}]}]}]})
        };
        for (dialect, operation, body, refused) in [
            (Dialect::OpenAi, Operation::Chat, image("data:image/png;base64,AA"), false),
            (Dialect::OpenAi, Operation::Chat, image("https://example.org/x.png"), true),
            (
                Dialect::OpenAi,
                Operation::Chat,
                json!({"messages": [{"content": [{"type": "file", "file": {"file_id": "f"}}]}]}),
                true,
            ),
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"input": [{"content": [{"type": "input_image", "image_url": "http://x"}]}]}),
                true,
            ),
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"input": [{"type": "function_call_output", "output": [{"type": "input_file", "file_url": "u"}]}]}),
                true,
            ),
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"input": [{"type": "item_reference", "id": "x"}]}),
                true,
            ),
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"input": "text", "background": true}),
                true,
            ),
            (
                Dialect::OpenAi,
                Operation::Responses,
                json!({"input": "text", "background": false}),
                false,
            ),
            (Dialect::OpenAi, Operation::Chat, json!({"model": "gpt-4o-search-preview"}), true),
            (Dialect::Anthropic, Operation::Messages, source("base64"), false),
            (Dialect::Anthropic, Operation::Messages, source("url"), true),
            (
                Dialect::Anthropic,
                Operation::Messages,
                json!({"messages": [{"content": [{"type": "tool_use", "input": {"file_id": "x", "source": {"type": "url"}}}]}]}),
                false,
            ),
            (
                Dialect::Gemini,
                Operation::Generate,
                json!({"contents": [{"parts": [{"fileData": {"fileUri": "u"}}]}]}),
                true,
            ),
            (
                Dialect::Gemini,
                Operation::Generate,
                json!({"contents": {"parts": {"file_data": {}}}}),
                true,
            ),
            (
                Dialect::Gemini,
                Operation::Generate,
                json!({"contents": [{"parts": [{"inlineData": {}}]}]}),
                false,
            ),
            (Dialect::Gemini, Operation::Generate, json!({"cachedContent": "c"}), true),
        ] {
            let (_, verdict) = run(dialect, operation, body.clone(), HostedTools::Strip);
            assert_eq!(verdict.refused.is_some(), refused, "{body}");
        }
    }

    #[test]
    fn every_model_that_a_request_names_is_seen() {
        let body = json!({"model": "a", "models": ["b", "c"], "fallbacks": [{"model": "d"}]});
        let (_, verdict) = run(Dialect::OpenAi, Operation::Chat, body, HostedTools::Strip);
        assert_eq!(verdict.other_models, ["b", "c", "d"]);
        let body = json!({"requests": [{"model": "models/e"}]});
        let (_, verdict) = run(Dialect::Gemini, Operation::Embed, body, HostedTools::Strip);
        assert_eq!(verdict.other_models, ["e"]);
    }
}
