//! Weights that others trained.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::calls::{Call, Constants, Value};
use crate::finding::{Confidence, Finding, Rule};
use crate::setting::{Leave, Setting};
use crate::source::Parsed;
use crate::token::Kind;

/// What texts of weights are called.
const SETS: [&str; 8] = [
    "imagenet",
    "default",
    "imagenet1k_v1",
    "imagenet1k_v2",
    "noisy-student",
    "coco",
    "coco_v1",
    "openai",
];
/// Files of weights that are known by name.
const FILES: [&str; 9] = [
    "glove.6b",
    "glove.840b",
    "glove.42b",
    "crawl-300d",
    "wiki-news-300d",
    "googlenews-vectors",
    "cc.en.300",
    "sam_vit_",
    "yolov8",
];
/// Beginnings of models' names that hubs know.
const FAMILIES: [&str; 20] = [
    "bert-",
    "roberta-",
    "distil",
    "albert-",
    "deberta",
    "xlm-",
    "xlnet-",
    "gpt2",
    "t5-",
    "electra",
    "bart-",
    "longformer",
    "efficientnet-b",
    "openai/",
    "google/",
    "microsoft/",
    "facebook/",
    "sentence-transformers/",
    "all-minilm",
    "vit-b",
];

/// How sure the use of weights is a violation.
fn weigh(setting: &Setting) -> Option<(Confidence, &'static str)> {
    match setting.weights {
        Leave::Given => None,
        Leave::Unknown => Some((Confidence::Low, "which the competition's rules may allow")),
        Leave::Denied => Some((Confidence::High, "which was not allowed")),
    }
}

/// Pretrained weights in code.
pub(crate) fn findings(
    code: &Parsed<'_>,
    constants: &Constants<'_>,
    setting: &Setting,
) -> Vec<Finding> {
    let Some((confidence, why)) = weigh(setting) else { return Vec::new() };
    let saved = saved(code, constants);
    let mut found = Vec::new();
    let mut add = |line: u32, what: &str, sure: bool| {
        let confidence = if sure { confidence } else { Confidence::Low };
        found.push(code.finding(
            Rule::PretrainedWeights,
            line,
            confidence,
            format!("{what}, {why}"),
        ));
    };
    for call in &code.calls {
        if let Some((what, sure)) = loads(call, code, constants, &saved) {
            add(call.line, what, sure);
        }
    }
    for token in
        code.tokens.iter().filter(|token| token.kind == Kind::Text && token.text.len() < 300)
    {
        let text = token.text.to_ascii_lowercase();
        if FILES.iter().any(|file| text.contains(file)) {
            add(token.line, "a file of published weights is named", true);
        }
    }
    found.dedup_by(|a, b| a.line == b.line);
    found
}

/// Folders and files that the code writes models to itself.
fn saved<'a>(code: &'a Parsed<'a>, constants: &'a Constants<'a>) -> HashSet<Cow<'a, str>> {
    const SAVES: [&str; 6] =
        ["save_pretrained", "save_model", "save", "save_weights", "dump", "makedirs"];
    let calls = code.calls.iter().filter(|call| SAVES.contains(&call.name()));
    calls
        .flat_map(|call| {
            let written = std::iter::once(Cow::Owned(call.written(&code.tokens)));
            written.chain(call.texts(&code.tokens, constants).map(Cow::Borrowed))
        })
        .filter(|text| !text.is_empty())
        .collect()
}

/// What a call loads, and whether that is sure.
fn loads(
    call: &Call<'_>,
    code: &Parsed<'_>,
    constants: &Constants<'_>,
    saved: &HashSet<Cow<'_, str>>,
) -> Option<(&'static str, bool)> {
    let tokens = &code.tokens;
    let first = call.first(tokens, constants);
    let named = |name: &str| call.named(name, tokens, constants);
    for name in ["pretrained", "weights", "encoder_weights", "backbone_weights", "weights_backbone"]
    {
        match named(name) {
            Some(Value::Word("True")) if name == "pretrained" => {
                return Some(("`pretrained=True` loads weights that others trained", true));
            }
            Some(Value::Word(word)) if name == "pretrained" && is_variable(word) => {
                return Some((
                    "`pretrained` is set by a variable, which may load weights of others",
                    false,
                ));
            }
            Some(Value::Text(text)) if is_set(text, name) => {
                return Some(("weights that others trained are loaded by name", true));
            }
            Some(Value::Word(word)) if word.contains("_Weights") => {
                return Some(("weights that others trained are loaded by name", true));
            }
            _ => {}
        }
    }
    let local = matches!(first, Value::Text(text) if is_own(text, saved))
        || saved.contains(call.written(tokens).as_str());
    let by_name = "a model that others trained is loaded by name";
    match call.name() {
        "from_pretrained" | "from_name" if local => None,
        "from_pretrained" => match first {
            Value::Text(text) if is_known(text) => Some((by_name, true)),
            _ => Some((by_name, false)),
        },
        "SentenceTransformer" | "CrossEncoder" | "TextClassificationPipeline" if !local => {
            Some((by_name, matches!(first, Value::Text(_))))
        }
        "pipeline" => match named("model") {
            Some(Value::Text(text)) if !is_own(text, saved) => Some((by_name, is_known(text))),
            _ => None,
        },
        "load" if call.of("hub") => Some((by_name, true)),
        "load" if call.of("spacy") && !local => Some((by_name, true)),
        "load" if (call.of("clip") || call.of("whisper")) && !local => Some((by_name, true)),
        "KerasLayer" if !local => Some((by_name, true)),
        "load_word2vec_format" | "load_facebook_model" | "load_facebook_vectors" => {
            Some(("word vectors are loaded from a file", false))
        }
        // Without `weights`, these load ImageNet's.
        _ if call.of("applications") && named("weights").is_none() && is_class(call.name()) => {
            Some(("weights of ImageNet are loaded, as no `weights` are named", true))
        }
        _ => None,
    }
}

fn is_variable(word: &str) -> bool {
    !matches!(word, "False" | "None" | "True") && word.starts_with(|c: char| !c.is_ascii_digit())
}

fn is_class(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

fn is_set(text: &str, argument: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SETS.contains(&text.as_str())
        || argument == "pretrained"
            && !text.contains('/')
            && text.contains('_')
            && !text.contains('.')
}

/// Whether a text names what the code itself wrote, or a place on disk.
fn is_own(text: &str, saved: &HashSet<Cow<'_, str>>) -> bool {
    let is_path = ["./", "../", "/", "~"].iter().any(|start| text.starts_with(start));
    let is_file = [".pt", ".pth", ".bin", ".h5", ".ckpt"].iter().any(|end| text.ends_with(end));
    is_path || is_file || saved.contains(text)
}

fn is_known(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let is_hub = text.split('/').count() == 2 && !text.contains(['\\', ' ', '{']);
    is_hub || FAMILIES.iter().any(|family| lower.starts_with(family))
}
