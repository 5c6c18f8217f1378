//! The `[llm]` table for people: where keys come from, and never a key.

use toml::{Table, Value};

/// What stands in place of what is not shown.
const HIDDEN: &str = "***";

/// The values of an `[llm]` table as dotted keys, each with its value as TOML.
pub fn llm_lines(table: &Table) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    walk("", table, &mut lines);
    lines
}

fn walk(prefix: &str, table: &Table, lines: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = match !key.is_empty() && key.chars().all(plain) {
            true => format!("{prefix}{key}"),
            false => format!("{prefix}{}", Value::String(key.clone())),
        };
        match (key.as_str(), value) {
            ("key", source) => lines.push((name, key_source(source).to_string())),
            ("base_url", Value::String(url)) => {
                lines.push((name, Value::String(without_user(url)).to_string()));
            }
            (_, Value::Table(inner)) => walk(&format!("{name}."), inner, lines),
            (_, other) => lines.push((name, other.to_string())),
        }
    }
}

/// A key's source: the variable or file that has it, or the program that prints it without its
/// arguments.
fn key_source(source: &Value) -> Value {
    let hidden = || Value::String(HIDDEN.to_owned());
    let Value::Table(table) = source else { return hidden() };
    let shown = table.iter().map(|(kind, value)| {
        let value = match (kind.as_str(), value) {
            ("env" | "file", Value::String(_)) => value.clone(),
            ("command", Value::Array(words)) => {
                let rest = words.iter().skip(1).map(|_| hidden());
                Value::Array(words.iter().take(1).cloned().chain(rest).collect())
            }
            _ => hidden(),
        };
        (kind.clone(), value)
    });
    Value::Table(shown.collect())
}

/// An address without what may be a name and a password, and without its query.
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host =
        host.rsplit_once('@').map_or(host.to_owned(), |(_, host)| format!("{HIDDEN}@{host}"));
    let path = path.map(|path| format!("/{path}")).unwrap_or_default();
    match scheme {
        "" => format!("{host}{path}"),
        scheme => format!("{scheme}://{host}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_keys_are_shown_and_keys_are_not() {
        let table: Table = toml::from_str(
            r#"
            [upstreams.a]
            key = "sk-1secret"
            base_url = "https://me:1secret@example.org/v1?token=1secret"
            [upstreams.b]
            key = { command = ["pass", "1secret"] }
            models = ["m-*"]
            [upstreams.c]
            key = { env = "C_KEY" }
            [upstreams.d]
            key = { file = "/run/key", other = "1secret" }
            [upstreams.e]
            key = ["1secret"]
            [prices."x/y"]
            input = "0.5"
            "#,
        )
        .unwrap();
        let lines = llm_lines(&table);
        let text: Vec<String> = lines.iter().map(|(k, v)| format!("{k} = {v}")).collect();
        let text = text.join("\n");
        assert!(!text.contains("1secret"), "{text}");
        for expected in [
            "upstreams.a.key = \"***\"",
            "upstreams.a.base_url = \"https://***@example.org/v1\"",
            "upstreams.b.key = { command = [\"pass\", \"***\"] }",
            "upstreams.b.models = [\"m-*\"]",
            "upstreams.c.key = { env = \"C_KEY\" }",
            "prices.\"x/y\".input = \"0.5\"",
        ] {
            assert!(text.contains(expected), "`{expected}` is not in\n{text}");
        }
    }
}
