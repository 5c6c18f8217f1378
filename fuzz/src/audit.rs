//! The rules that look for violations; the first byte chooses what the rest is.

use medalist_audit::kernels::Kernels;
use medalist_audit::{Ids, Kind, Setting, Source, Text, code, data, transcript_line};

/// Every finding has a line of the text, and evidence that can be shown.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let ids: Vec<String> = (0..50).map(|id| format!("img_{id}")).collect();
    let answers = (0..50).map(|row| (row % 2).to_string()).collect();
    let setting = Setting {
        ids: Some(Ids::new(ids.iter().map(String::as_str), answers)),
        id_columns: vec!["id".to_owned()],
        ..Setting::default()
    };
    let name = ["a.py", "a.ipynb", "a.sh", "a.json"][usize::from(kind % 4)];
    let source = Source::new(name, bytes);
    let mut found = code(&source, &setting);
    found.extend(data(&source, &setting));
    let mut kernels = Kernels::default();
    kernels.add(&source);
    found.extend(kernels.finding(&source));
    let mut lines = Text::new("a.log", Kind::Log);
    String::from_utf8_lossy(bytes).lines().for_each(|line| lines.line(line, &setting));
    found.extend(lines.finish());
    if let Ok(value) = serde_json::from_slice(bytes) {
        found.extend(transcript_line("t", 1, &value, &setting));
    }
    for finding in found {
        assert!(!finding.evidence.contains(char::is_control), "{finding:?}");
    }
}
