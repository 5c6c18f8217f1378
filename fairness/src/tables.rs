//! Tables that are JSON, as CSV.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Largest file that is read.
const LARGEST: u64 = 512 << 20;
/// Most files that are looked at.
const MOST: usize = 20;

/// Writes the lists of objects among the JSON files of a folder as CSV files of the same names into
/// `scratch`. A file that is something else is passed over.
pub(crate) fn from_json(public: &Path, scratch: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(public) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .filter(|path| path.metadata().is_ok_and(|facts| facts.is_file() && facts.len() <= LARGEST))
        .collect();
    files.sort();
    files.truncate(MOST);
    files.iter().filter_map(|path| copy(path, scratch)).collect()
}

fn copy(path: &Path, scratch: &Path) -> Option<PathBuf> {
    let rows: Vec<Map<String, Value>> =
        serde_json::from_reader(BufReader::new(File::open(path).ok()?)).ok()?;
    let header: Vec<&String> = rows.first()?.keys().collect();
    let to = scratch.join(path.file_stem()?).with_extension("csv");
    let mut out = csv::Writer::from_path(&to).ok()?;
    out.write_record(&header).ok()?;
    for row in &rows {
        let cells = header.iter().map(|name| row.get(*name).map_or_else(String::new, text));
        out.write_record(cells).ok()?;
    }
    out.flush().ok()?;
    Some(to)
}

/// A value as a cell: flags become 1 and 0, lists words.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "1".to_owned(),
        Value::Bool(false) => "0".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_objects_is_a_table_and_other_files_are_none() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |name: &str, text: &str| std::fs::write(from.path().join(name), text).unwrap();
        write(
            "train.json",
            r#"[{"id": "a", "n": 1.5, "l": ["x", "y"]}, {"n": null, "id": "b,c"}]"#,
        );
        write("other.json", r#"{"a": 1}"#);
        write("broken.json", "[{");
        let tables = from_json(from.path(), to.path());
        assert_eq!(tables, [to.path().join("train.csv")]);
        let text = std::fs::read_to_string(&tables[0]).unwrap();
        assert_eq!(text, "id,n,l\na,1.5,x y\n\"b,c\",,\n");
    }
}
