//! JSON as Python writes it: `NaN`, `Infinity` and `-Infinity` are not JSON, yet grading reports
//! may hold them.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::Warning;

/// How a file begins that stands for one that Git LFS keeps elsewhere.
pub(super) const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Parses `path`. Numbers that are not finite are read as absent, with a warning.
pub(super) fn read<T: DeserializeOwned>(path: &Path, warnings: &mut Vec<Warning>) -> Option<T> {
    let text = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            warnings.push(Warning::new(path, format!("cannot be read ({error}); left out")));
            return None;
        }
    };
    if text.starts_with(LFS_POINTER) {
        let what = "is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`";
        warnings.push(Warning::new(path, format!("{what}; left out")));
        return None;
    }
    let text = match String::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            warnings.push(Warning::new(path, format!("is not UTF-8 from byte {at}; left out")));
            return None;
        }
    };
    let first = match serde_json::from_str(&text) {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let (finite, replaced) = without_non_finite(&text);
    match serde_json::from_str(&finite) {
        Ok(value) if replaced > 0 => {
            let message =
                format!("holds {replaced} number(s) that are not finite; read as no score");
            warnings.push(Warning::new(path, message));
            Some(value)
        }
        _ => {
            let what = if text.trim().is_empty() {
                "is empty".to_owned()
            } else {
                format!("is damaged ({first})")
            };
            warnings.push(Warning::new(path, format!("{what}; left out")));
            None
        }
    }
}

fn without_non_finite(text: &str) -> (String, usize) {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut replaced, mut in_string) = (text, 0, false);
    while let Some(c) = rest.chars().next() {
        if in_string {
            let n = if c == '\\' {
                c.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8)
            } else {
                c.len_utf8()
            };
            in_string = c != '"';
            out.push_str(&rest[..n]);
            rest = &rest[n..];
            continue;
        }
        if let Some(word) =
            ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            out.push_str("null");
            replaced += 1;
            rest = &rest[word.len()..];
            continue;
        }
        in_string = c == '"';
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    (out, replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_replaced() {
        let (text, n) = without_non_finite(r#"{"a\"NaN":"NaN","b":[NaN,-Infinity,1]}"#);
        assert_eq!(text, r#"{"a\"NaN":"NaN","b":[null,null,1]}"#);
        assert_eq!(n, 2);
    }
}
