//! What is fetched from elsewhere.

use crate::calls::{Call, Constants, Value};
use crate::finding::{Confidence, Finding, Rule};
use crate::setting::{Leave, Setting};
use crate::source::{Parsed, in_text};
use crate::token::Kind;

/// Functions that fetch: the last part of the name, and a part before it that tells it from others (or
/// none).
const FETCHES: [(&str, &str); 26] = [
    ("urlopen", ""),
    ("urlretrieve", ""),
    ("get", "requests"),
    ("post", "requests"),
    ("get", "httpx"),
    ("get", "session"),
    ("download", "wget"),
    ("download", "gdown"),
    ("download_folder", "gdown"),
    ("cached_download", "gdown"),
    ("dataset_download", "kagglehub"),
    ("competition_download", "kagglehub"),
    ("model_download", "kagglehub"),
    ("dataset_download_files", ""),
    ("competition_download_files", ""),
    ("load_dataset", ""),
    ("hf_hub_download", ""),
    ("snapshot_download", ""),
    ("fetch_openml", ""),
    ("fetch_20newsgroups", ""),
    ("fetch_california_housing", ""),
    ("download", "nltk"),
    ("download", "od"),
    ("clone_from", "Repo"),
    ("get_file", "utils"),
    ("load", "tfds"),
];

/// Commands of a shell that fetch, by their first words.
const COMMANDS: [(&[&str], bool); 14] = [
    (&["wget"], false),
    (&["curl"], false),
    (&["aria2c"], false),
    (&["gdown"], false),
    (&["git", "clone"], false),
    (&["kaggle", "competitions", "download"], false),
    (&["kaggle", "datasets", "download"], false),
    (&["kaggle", "kernels", "pull"], false),
    (&["huggingface-cli", "download"], false),
    (&["hf", "download"], false),
    (&["pip", "install"], true),
    (&["pip3", "install"], true),
    (&["conda", "install"], true),
    (&["apt-get", "install"], true),
];

/// Functions that hand a text to a shell.
const SHELLS: [&str; 10] = [
    "system",
    "run",
    "Popen",
    "call",
    "check_call",
    "check_output",
    "getoutput",
    "popen",
    "spawn",
    "execute",
];

/// How sure a download is a violation, and what is said of it.
pub(crate) fn weigh(setting: &Setting, is_package: bool) -> Option<(Confidence, &'static str)> {
    Some(match (setting.downloads, setting.sealed, is_package) {
        (Leave::Given, ..) => return None,
        (_, true, true) => (Confidence::Low, "there was no network, so that it should have failed"),
        (_, true, false) => {
            (Confidence::Medium, "there was no network, so that it should have failed")
        }
        (Leave::Denied, false, _) => (Confidence::High, "and was not allowed to"),
        (Leave::Unknown, false, true) => {
            (Confidence::Low, "which the competition's rules may allow")
        }
        (Leave::Unknown, false, false) => {
            (Confidence::Medium, "which the competition's rules may allow")
        }
    })
}

/// Downloads in code.
pub(crate) fn in_code(
    code: &Parsed<'_>,
    constants: &Constants<'_>,
    setting: &Setting,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |line: u32, what: String, is_package: bool, sure: bool| {
        if let Some((confidence, why)) = weigh(setting, is_package) {
            let confidence = if sure { confidence } else { Confidence::Low };
            found.push(code.finding(Rule::Download, line, confidence, format!("{what}, {why}")));
        }
    };
    for call in &code.calls {
        if let Some(sure) = fetches(call, code, constants) {
            add(call.line, format!("`{}` fetches something", call.path.join(".")), false, sure);
        } else if SHELLS.contains(&call.name()) {
            let words: Vec<&str> = call.texts(&code.tokens, constants).take(16).collect();
            if let Some((name, is_package)) = command(&words.join(" ")) {
                add(call.line, format!("`{name}` fetches something"), is_package, true);
            }
        }
    }
    for token in code.tokens.iter().filter(|token| token.kind == Kind::Shell) {
        if let Some((name, is_package)) = command(token.text) {
            add(token.line, format!("`{name}` fetches something"), is_package, true);
        }
    }
    found
}

/// Whether a call fetches from elsewhere; `Some(false)` if it cannot be told from where.
fn fetches(call: &Call<'_>, code: &Parsed<'_>, constants: &Constants<'_>) -> Option<bool> {
    let tokens = &code.tokens;
    let name = call.name();
    let address = match call.first(tokens, constants) {
        Value::Unknown => call.named("url", tokens, constants).unwrap_or(Value::Unknown),
        value => value,
    };
    let reads =
        name.starts_with("read_") && matches!(address, Value::Text(text) if is_address(text));
    let downloads = matches!(call.named("download", tokens, constants), Some(Value::Word("True")));
    let known =
        FETCHES.iter().any(|(last, part)| *last == name && (part.is_empty() || call.of(part)));
    if !(known || reads || downloads) {
        return None;
    }
    let web = matches!(name, "get" | "post" | "urlopen" | "urlretrieve");
    if call.texts(tokens, constants).any(is_local) {
        return None;
    }
    match address {
        // Records of visitors are called sessions, too.
        Value::Text(text) if call.of("session") && !is_address(text) => None,
        Value::Word(_) | Value::Unknown if call.of("session") => None,
        // A text with a name in it may be any address.
        Value::Text(text) if web && !is_address(text) => Some(false),
        Value::Text(_) => Some(true),
        _ if web => Some(false),
        _ => Some(true),
    }
}

/// Whether a text is an address in the web.
pub(crate) fn is_address(text: &str) -> bool {
    ["http://", "https://", "ftp://", "s3://", "gs://", "hf://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
        && !is_local(text)
}

/// Whether a text names this machine.
fn is_local(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"].iter().any(|host| rest.starts_with(host))
}

/// The command in a line of a shell that fetches, and whether it fetches a package.
pub(crate) fn command(line: &str) -> Option<(&'static str, bool)> {
    const WORDS: usize = 256;
    let words: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || matches!(c, ';' | '|' | '&' | '(' | '`' | '"' | '\''))
        .filter(|word| !word.is_empty())
        .take(WORDS)
        .collect();
    if words.first().is_some_and(|word| word.starts_with('#') || *word == "echo") {
        return None;
    }
    for at in 0..words.len() {
        let name = words[at].rsplit('/').next().unwrap_or(words[at]);
        for (command, is_package) in COMMANDS {
            let rest = &words[at + 1..];
            let fits = name == command[0]
                && rest.len() >= command.len() - 1
                && command[1..].iter().zip(rest).all(|(a, b)| a == b);
            if !fits {
                continue;
            }
            let addresses = || rest.iter().filter(|word| word.contains("://") || is_local(word));
            let web = matches!(command[0], "wget" | "curl" | "aria2c");
            let local = addresses().next().is_some() && addresses().all(|word| is_local(word));
            // `command -v wget` and `which curl` name a program and fetch nothing.
            let names =
                web && addresses().next().is_none() && !rest.iter().any(|word| word.contains('.'));
            let from_folder =
                rest.iter().any(|word| matches!(*word, "--no-index" | "-e" | "--find-links"));
            if !(local || names || is_package && from_folder) {
                return Some((command[0], is_package));
            }
        }
    }
    None
}

/// What programs print while they fetch.
const PRINTED: [&str; 9] = [
    "Downloading: \"http",
    "Downloading data from http",
    "Downloading http",
    "Downloading from http",
    "Downloading model.safetensors",
    "Downloading pytorch_model.bin",
    "Cloning into '",
    "Saving to: ",
    "Downloading extra modules",
];

/// A line of a log that a download printed.
pub(crate) fn in_log(file: &str, number: u64, line: &str, setting: &Setting) -> Option<Finding> {
    PRINTED.iter().find(|mark| line.contains(**mark))?;
    let (confidence, why) = weigh(setting, false)?;
    let says = format!("a program says that it fetches something, {why}");
    Some(in_text(Rule::Download, file, number, line, confidence, says))
}
