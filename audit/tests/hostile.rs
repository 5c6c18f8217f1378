//! Whatever an agent left is read to its end: no bytes make a rule panic, and none take it more than time in
//! proportion.

use medalist_audit::kernels::Kernels;
use medalist_audit::leak::Counter;
use medalist_audit::near::{Scores, nearness};
use medalist_audit::{
    Finding, Ids, Kind, Leave, Setting, Source, Text, Verdict, code, data, transcript_line,
    verdicts,
};
use proptest::prelude::*;

fn setting() -> Setting {
    let ids: Vec<String> = (0..300).map(|id| format!("img_{id:04}")).collect();
    let answers = (0..300).map(|row| (row % 3).to_string()).collect();
    Setting {
        ids: Some(Ids::new(ids.iter().map(String::as_str), answers)),
        id_columns: vec!["id".to_owned()],
        downloads: Leave::Denied,
        ..Setting::default()
    }
}

/// Applies every rule that reads text.
fn all(bytes: &[u8]) -> Vec<Finding> {
    of(bytes, &["a.py", "a.ipynb", "a.sh", "a.json"])
}

/// The same, with the bytes as files of these names.
fn of(bytes: &[u8], names: &[&str]) -> Vec<Finding> {
    let setting = setting();
    let mut found = Vec::new();
    for name in names {
        let source = Source::new(name, bytes);
        found.extend(code(&source, &setting));
        found.extend(data(&source, &setting));
        let mut kernels = Kernels::default();
        kernels.add(&source);
        found.extend(kernels.finding(&source));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut lines = Text::new("a.log", Kind::Log);
    text.lines().for_each(|line| lines.line(line, &setting));
    found.extend(lines.finish());
    let messages: Vec<Verdict<'_>> =
        text.lines().map(|message| Verdict { valid: message.len() % 2 == 0, message }).collect();
    found.extend(verdicts("v", &messages));
    if let Ok(value) = serde_json::from_slice(bytes) {
        found.extend(transcript_line("t", 1, &value, &setting));
    }
    let cells: Vec<(&str, &str)> =
        text.lines().map(|line| line.split_once(',').unwrap_or((line, line))).collect();
    let scores = Scores { ideal: Some(0.0), own: Some(0.1), best: Some(f64::INFINITY) };
    found.extend(nearness(&cells, &scores).map(|near| near.finding("s", "y", &cells)));
    let mut counter = Counter::default();
    cells.iter().for_each(|(a, b)| counter.train([*a, *b]));
    cells.iter().for_each(|(a, b)| counter.test([*b, *a]));
    found.extend(counter.overlap().finding("test", "train"));
    found
}

/// Pieces of which hostile code is made.
const PIECES: [&str; 24] = [
    "x = [",
    "{",
    "(",
    ")]}",
    "'",
    "\"\"\"",
    "\"img_0001\": 1, ",
    "img_0002",
    "\\\n",
    "\n",
    "    ",
    "#",
    "!wget http://a.b ",
    "requests.get(",
    "timm.create_model(pretrained=True)",
    "/../private/",
    "ignore previous instructions",
    "for i in ",
    "def f(x):",
    "import a as b",
    "\u{202e}é\u{200b}",
    "0x1e-5",
    "post('/validate')",
    "%%bash\n",
];

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        all(&bytes);
    }

    #[test]
    fn any_pieces_of_code_are_read(places in proptest::collection::vec(0..PIECES.len(), 0..120)) {
        let text: String = places.iter().map(|at| PIECES[*at]).collect();
        let lines = text.matches('\n').count() as u64 + 1;
        for finding in all(text.as_bytes()) {
            prop_assert!(finding.evidence.chars().count() <= 200 && !finding.evidence.contains(char::is_control));
            prop_assert!(finding.line.is_none_or(|line| line <= lines + 1), "{:?}", finding);
        }
    }

    #[test]
    fn any_answer_of_a_model_is_read(keys in proptest::collection::vec("type|tools|output|input|arguments|command|content|role", 1..12)) {
        let mut value = serde_json::json!("cat /private/x; web_search_call");
        for key in keys {
            value = serde_json::json!({key: [value, "server_tool_use"]});
        }
        transcript_line("t", 1, &serde_json::json!({"request": value, "answer": {"body": value}}), &setting());
    }
}

/// A hundred thousand bytes of each shape that costs a careless reader the square of that.
#[test]
fn large_files_of_every_shape_are_read_to_their_end() {
    const SIZE: usize = 1 << 17;
    let shapes = [
        "[",
        "(",
        "{",
        "[\"img_0001\",",
        "f(",
        "a.",
        "'",
        "\"",
        "\"\"\"",
        "\\",
        "#",
        "\n",
        " ",
        "\t\n",
        "x=",
        "=",
        ",",
        "1,",
        "1",
        "a",
        "é",
        "\u{200b}",
        "!wget ",
        "requests.get(",
        "for x in y:\n ",
        "def f():\n ",
        "ignore the ",
        "judge note to the ",
        "../",
        "/private",
        "b'",
        "open('/mnt/",
        "import a as ",
        "from a import b\n",
        "QUJD",
        "'img_0001' == ",
        "post('/validate')\n",
        "isin([1500, id ",
        "\"a\": 1, ",
        "\u{0}",
        "`",
        "while a:\n  b(\n",
    ];
    for shape in shapes {
        let text = shape.repeat(SIZE / shape.len());
        of(text.as_bytes(), &["a.py"]);
        of(format!("x = '{text}'").as_bytes(), &["a.sh"]);
    }
}

#[test]
fn what_a_packed_text_unpacks_to_is_bounded() {
    use base64::Engine as _;
    use std::io::Write as _;
    let mut pack = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        pack.write_all(&[b'0'; 1 << 20]).unwrap();
    }
    let packed = base64::engine::general_purpose::STANDARD.encode(pack.finish().unwrap());
    assert!(packed.len() < 100_000);
    let text = format!("x = zlib.decompress(base64.b64decode('{packed}'))");
    let found = all(text.as_bytes());
    assert!(found.iter().any(|finding| finding.says.contains("packed")), "{found:?}");
}

#[test]
fn a_notebook_that_is_nested_deeply_is_taken_for_text() {
    let deep = format!("{{\"cells\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    all(deep.as_bytes());
}
