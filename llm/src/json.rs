//! JSON read so that no two readers can see different things in it.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads one JSON value; a key that stands twice in an object is an error.
///
/// The gateway's rules are checked on this reading while the provider reads the bytes. If both
/// could take a different one of two equal keys, a request could show each of them another face.
pub(crate) fn parse_strict(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice::<Strict>(bytes).map(|s| s.0).map_err(|e| e.to_string())
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!(
                    "the key `{key}` stands twice in one object"
                )));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The value with the keys of all objects sorted, so that equal values have equal text.
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Value::Object(entries.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Where two values first differ, as a path such as `messages[2].content`; none if nowhere.
pub(crate) fn first_difference(left: &Value, right: &Value) -> Option<String> {
    fn walk(left: &Value, right: &Value, path: &mut String) -> bool {
        let length = path.len();
        match (left, right) {
            (Value::Object(a), Value::Object(b)) => {
                for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(key);
                    match (a.get(key), b.get(key)) {
                        (Some(x), Some(y)) if !walk(x, y, path) => path.truncate(length),
                        _ => return true,
                    }
                }
                false
            }
            (Value::Array(a), Value::Array(b)) => {
                for index in 0..a.len().max(b.len()) {
                    path.push_str(&format!("[{index}]"));
                    match (a.get(index), b.get(index)) {
                        (Some(x), Some(y)) if !walk(x, y, path) => path.truncate(length),
                        _ => return true,
                    }
                }
                false
            }
            _ => left != right,
        }
    }
    let mut path = String::new();
    walk(left, right, &mut path).then_some(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_keys_are_refused_at_any_depth() {
        assert!(parse_strict(br#"{"a":1,"b":{"a":[{"c":1}]}}"#).is_ok());
        for bad in [
            &br#"{"model":"x","model":"y"}"#[..],
            br#"[{"a":{"b":1,"\u0062":2}}]"#,
            b"{",
            b"{} {}",
            b"\xff",
        ] {
            assert!(parse_strict(bad).is_err());
        }
        let deep = "[".repeat(100_000);
        assert!(parse_strict(deep.as_bytes()).is_err());
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let a = json!({"m": [{"c": "x"}, {"c": "y"}], "t": 1});
        for (b, path) in [
            (json!({"m": [{"c": "x"}, {"c": "z"}], "t": 1}), Some("m[1].c")),
            (json!({"m": [{"c": "x"}], "t": 1}), Some("m[1]")),
            (json!({"m": [{"c": "x"}, {"c": "y"}], "t": 1, "u": 2}), Some("u")),
            (json!({"m": [{"c": "x"}, {"c": "y"}]}), Some("t")),
            (a.clone(), None),
        ] {
            assert_eq!(first_difference(&a, &b).as_deref(), path);
        }
    }

    #[test]
    fn sorting_ignores_the_order_of_keys_alone() {
        let text = |v: Value| sorted(&v).to_string();
        assert_eq!(
            text(json!({"b": 1, "a": [{"d": 1, "c": 2}]})),
            r#"{"a":[{"c":2,"d":1}],"b":1}"#
        );
    }
}
