use super::row::next_row;
use super::*;

fn read(text: &str) -> Result<(Vec<String>, Vec<Vec<String>>), FrameError> {
    let source = CsvSource::from_bytes(text.as_bytes().to_vec(), "t.csv", &CsvOptions::default())?;
    let mut reader = source.reader();
    let rows = (0..source.rows()).map(|row| {
        let loaded = reader.load(row)?;
        (0..source.columns.len()).map(|field| Ok(loaded.value(field)?.to_string())).collect()
    });
    let rows = rows.collect::<Result<_, FrameError>>()?;
    Ok((source.columns.into_iter().map(|(name, _)| name).collect(), rows))
}

#[test]
fn reads_as_pandas() {
    type Case = (&'static str, &'static [&'static str], &'static [&'static [&'static str]]);
    let cases: [Case; 16] = [
        ("a,a\n1,2\n", &["a", "a.1"], &[&["1", "2"]]),
        ("a,a.1,a\n1,2,3\n", &["a", "a.1", "a.2"], &[&["1", "2", "3"]]),
        (",b\n1,2\n", &["Unnamed: 0", "b"], &[&["1", "2"]]),
        ("a,b\n1\n", &["a", "b"], &[&["1", ""]]),
        ("a\n  \nx\n\n", &["a"], &[&["x"]]),
        ("a,b\n  \n  x,y\n", &["a", "b"], &[&["  x", "y"]]),
        ("a,b\n\"x\"y,\"z\"\n", &["a", "b"], &[&["xy", "z"]]),
        ("a,b\n\"x\"y\"z\",1\n", &["a", "b"], &[&["xy\"z\"", "1"]]),
        ("a,b\nx\"y\"z,1\n", &["a", "b"], &[&["x\"y\"z", "1"]]),
        ("a,b\n \"x\",1\n", &["a", "b"], &[&[" \"x\"", "1"]]),
        ("a,b\n\"x\n\"\"y\"\"\",1\n", &["a", "b"], &[&["x\n\"y\"", "1"]]),
        ("a,b\r1,2\r3,4\r", &["a", "b"], &[&["1", "2"], &["3", "4"]]),
        ("a,b\r\n1,2\r\n\r\n3,4", &["a", "b"], &[&["1", "2"], &["3", "4"]]),
        ("\u{feff}\"a\",b\n,\n", &["a", "b"], &[&["", ""]]),
        ("a,b\n\"NA\",\"null\"\nx,y\n", &["a", "b"], &[&["", ""], &["x", "y"]]),
        ("a,b\nx\0y,1\n", &["a", "b"], &[&["x", "1"]]),
    ];
    for (text, names, rows) in cases {
        let (found_names, found_rows) =
            read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(found_names, names, "{text:?}");
        assert_eq!(found_rows, rows, "{text:?}");
    }
}

#[test]
fn malformed_files_are_named() {
    let message = |text: &str| read(text).unwrap_err().to_string();
    assert_eq!(message(""), "row 0 of `t.csv`: expected a header, the file is empty");
    assert_eq!(message("a,b\n1,2\n1,2,3\n"), "row 2 of `t.csv`: expected 2 cells, found 3");
    assert!(message("a,b\n1,2\n\"x,2\n").starts_with("row 2 of `t.csv`: expected a closing quote"));
    assert!(message("a,b\n1,2\n1").contains("looks cut short"));
    let latin1 = CsvSource::from_bytes(b"a\nx\n\xe9\n".to_vec(), "t.csv", &CsvOptions::default());
    assert_eq!(latin1.unwrap_err().to_string(), "row 2 of `t.csv`: expected UTF-8 text");
}

#[test]
fn a_row_is_found_however_the_text_is_cut() {
    let text = b"a,b\r\n\"x\r\n\"\"\",1\r\n\r\ny,2\r\n";
    let whole = rows_in_blocks(text, text.len());
    assert_eq!(whole.len(), 3);
    for block in 1..text.len() {
        assert_eq!(rows_in_blocks(text, block), whole, "blocks of {block}");
    }
}

fn rows_in_blocks(text: &[u8], block: usize) -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    let (mut at, mut seen) = (0, block.min(text.len()));
    loop {
        while let Some(row) = next_row(&text[at..seen], b',', seen == text.len()) {
            let row = row.unwrap();
            if !row.blank {
                rows.push(text[at..at + row.text.end].to_vec());
            }
            at += row.next;
        }
        if seen == text.len() {
            return rows;
        }
        seen = (seen + block).min(text.len());
    }
}
