//! YAML as MLE-bench reads its agents' settings, with PyYAML.

use serde_json::{Map, Value};
use serde_saphyr::MergeKeyPolicy;

/// A document's top-level map, with its `<<` keys merged.
///
/// # Errors
/// What is wrong with the document, and where.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let mut options = serde_saphyr::Options::default();
    options.merge_keys = MergeKeyPolicy::AsOrdinary;
    let root: Map<String, Value> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    Ok(merged(root))
}

/// A map with what its `<<` names in front of its own keys, in PyYAML's order: arguments are in the
/// order of their map.
fn merged(map: Map<String, Value>) -> Map<String, Value> {
    let (mut all, mut own) = (Map::new(), Map::new());
    for (key, value) in map {
        match (key.as_str(), value) {
            ("<<", Value::Object(source)) => all.extend(merged(source)),
            ("<<", Value::Array(sources)) => {
                for source in sources {
                    if let Value::Object(source) = source {
                        // The first of several wins.
                        for (key, value) in merged(source) {
                            all.entry(key).or_insert(value);
                        }
                    }
                }
            }
            (_, value) => {
                own.insert(key, within(value));
            }
        }
    }
    // A key that is there keeps its place.
    all.extend(own);
    all
}

fn within(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(merged(map)),
        Value::Array(list) => Value::Array(list.into_iter().map(within).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_keys_come_first_and_own_ones_win() {
        let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  w: 0\n  <<: *a\n  x: 9\nd:\n  <<: [*a, *b]\n  v: 5\ne: {inner: {<<: *b, y: 0}}\n";
        let root = parse(text).unwrap();
        let shown = |key: &str| serde_json::to_string(&root[key]).unwrap();
        // As `yaml.safe_load` of PyYAML 6.0 gives them.
        assert_eq!(shown("c"), r#"{"x":9,"y":2,"w":0}"#);
        assert_eq!(shown("d"), r#"{"x":1,"y":2,"z":4,"v":5}"#);
        assert_eq!(shown("e"), r#"{"inner":{"y":0,"z":4}}"#);
        assert!(parse("- a\n").is_err() && parse("a: {").is_err());
    }
}
