use proptest::prelude::*;

use super::*;

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes().to_vec(), &Limits::default()).unwrap()
}

fn column(text: &str) -> Values {
    let mut csv = String::from("i,x\n");
    for (k, cell) in text.split('|').enumerate() {
        csv.push_str(&format!("{k},{cell}\n"));
    }
    table(&csv).column("x").unwrap().values().clone()
}

fn cells(table: &Table) -> Vec<Vec<&str>> {
    (0..table.rows())
        .map(|r| (0..table.names().len()).map(|c| table.cell(r, c)).collect())
        .collect()
}

#[test]
fn splits_as_pandas_does() {
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a [&'a str]]);
    let cases: &[Case<'_>] = &[
        ("a,b\n1,2\n", &["a", "b"], &[&["1", "2"]]),
        ("\u{feff}a,b\r\n1,2\r\n\r\n3,4", &["a", "b"], &[&["1", "2"], &["3", "4"]]),
        ("a,b\r1,2\r3,4\r", &["a", "b"], &[&["1", "2"], &["3", "4"]]),
        ("\n  \na,b\n \t\n1,2\n\n", &["a", "b"], &[&["1", "2"]]),
        ("a,b\n1\n2,3\n4\n", &["a", "b"], &[&["1", ""], &["2", "3"], &["4", ""]]),
        ("a,b\n\"x,\"\"y\"\"\n\"z,q\"w\n", &["a", "b"], &[&["x,\"y\"\nz", "q\"w"]]),
        ("a,b\nx\"y,'z'\n", &["a", "b"], &[&["x\"y", "'z'"]]),
        ("a,b\n9,1,2\n8,3,4\n7,5\n", &["a", "b"], &[&["1", "2"], &["3", "4"], &["5", ""]]),
        ("a,b\n1,2,\n3,4,\n", &["a", "b"], &[&["2", ""], &["4", ""]]),
        (
            "a,a,,a.1,a\n1,2,3,4,5\n",
            &["a", "a.2", "Unnamed: 2", "a.1", "a.3"],
            &[&["1", "2", "3", "4", "5"]],
        ),
        ("a\n\"\"\n x\n", &["a"], &[&[""], &[" x"]]),
        ("a,b\n", &["a", "b"], &[]),
        ("", &[], &[]),
        ("a\nx\0y\n", &["a"], &[&["x"]]),
    ];
    for (text, names, rows) in cases {
        let table = table(text);
        assert_eq!(table.names(), *names, "{text:?}");
        assert_eq!(cells(&table), *rows, "{text:?}");
    }
}

#[test]
fn refuses_what_pandas_refuses() {
    let parse = |bytes: &[u8]| Table::parse(bytes.to_vec(), &Limits::default()).unwrap_err();
    assert!(matches!(
        parse(b"a,b\n1,2\n3,4,5\n"),
        ReadError::LongRow { row: 2, found: 3, expected: 2 }
    ));
    assert!(matches!(parse(b"a,b\n1,\"2\n3,4\n"), ReadError::OpenQuote { row: 1 }));
    assert!(matches!(
        parse(b"a,b\n1,\xff\n"),
        ReadError::NotUtf8 { offset: 6, line: 2, byte: 0xff }
    ));
    assert!(matches!(parse(b"\x1f\x8b\x08"), ReadError::Foreign(ForeignFormat::Gzip)));
    let narrow = Limits { columns: 2, ..Limits::default() };
    for text in ["a,b,c\n", "a,b\n1,2,3\n"] {
        let parsed = Table::parse(text.into(), &narrow);
        assert!(matches!(parsed, Err(ReadError::TooManyColumns { limit: 2, .. })), "{text}");
    }
    let small = Limits { cells: 5, ..Limits::default() };
    assert!(matches!(
        Table::parse(b"a,b\n1\n2\n3\n".to_vec(), &small),
        Err(ReadError::TooManyCells { limit: 5 })
    ));
    let few = Limits { rows: 1, ..Limits::default() };
    assert!(matches!(
        Table::parse(b"a\n1\n2\n".to_vec(), &few),
        Err(ReadError::TooManyRows { limit: 1 })
    ));
}

#[test]
fn types_columns_as_pandas_does() {
    use Values::*;
    let nan = f64::NAN;
    let cases: &[(&str, Values)] = &[
        ("1|007| +5 |-0", Int(vec![1, 7, 5, 0])),
        ("9223372036854775808|1", UInt(vec![9_223_372_036_854_775_808, 1])),
        ("9223372036854775808|-1", Text),
        ("99999999999999999999|1.5", Text),
        ("1.5|99999999999999999999", Float(vec![1.5, 99_999_999_999_999_999_999.0])),
        (
            "1.|.5|1e5| -2.5 |inf|-Infinity",
            Float(vec![1.0, 0.5, 1e5, -2.5, f64::INFINITY, f64::NEG_INFINITY]),
        ),
        ("1.0| inf", Text),
        ("1_0|1", Text),
        ("0x10|1", Text),
        ("1e400|1", Text),
        ("1.5|-1e400", Float(vec![1.5, f64::NEG_INFINITY])),
        ("True|FALSE|tRue", Bool(vec![true, false, true])),
        ("True|", BoolOrMissing(vec![Some(true), None])),
        ("True|1", Text),
        ("1|abc", Text),
        ("NAN|1", Text),
    ];
    for (text, expected) in cases {
        assert_eq!(&column(text), expected, "{text:?}");
    }
    for text in ["1||2", "1|NA|2", "1|null|2"] {
        let Float(values) = column(text) else { panic!("{text} is not float") };
        assert_eq!((values[0], values[1].is_nan(), values[2]), (1.0, true, 2.0));
    }
    let Float(values) = column("|") else { panic!("gaps are not float") };
    assert!(values.iter().all(|v| v.to_bits() == nan.to_bits() || v.is_nan()));
}

#[test]
fn long_files_are_typed_in_pieces() {
    // Two columns: pieces of 262,144 rows.
    let piece = 262_144;
    let text = |rows: usize, last: &str, first: &str| {
        let mut text = format!("i,x\n0,{first}\n");
        for row in 1..rows - 1 {
            text.push_str(&format!("{row},1\n"));
        }
        table(&(text + &format!("{},{last}\n", rows - 1)))
    };
    let mixed = text(piece + 1, "x", "7");
    let column = mixed.column("x").unwrap();
    assert!(matches!(column.values(), Values::Mixed(pieces) if pieces.len() == 2));
    assert!(column.is_text() && !column.is_numeric());
    assert_eq!(column.cell(0), Cell::Int(7));
    assert_eq!(column.cell(piece), Cell::Text("x"));
    assert_eq!((column.number(1), column.number(piece)), (Some(1.0), None));
    assert_eq!(column.not_numeric(), Some(Rejected { row: piece, why: Why::Syntax }));

    let whole = text(piece, "x", "7");
    assert_eq!(whole.column("x").unwrap().cell(0), Cell::Text("7"));
    let wide = text(piece + 1, "18446744073709551615", "7");
    assert!(matches!(wide.column("x").unwrap().values(), Values::Float(v) if v[0] == 7.0));
    let float = text(piece + 1, "0.5", "7");
    assert!(matches!(float.column("x").unwrap().values(), Values::Float(_)));
    // Booleans beside whole numbers are objects that print as numbers.
    let mut bools = String::from("i,x\n");
    (0..piece).for_each(|row| bools.push_str(&format!("{row},True\n")));
    let bools = table(&(bools + "0,5\n"));
    let column = bools.column("x").unwrap();
    assert_eq!((column.cell(3), column.cell(piece)), (Cell::Int(1), Cell::Int(5)));
    assert_eq!((column.is_numeric(), column.printed(3).as_ref()), (false, "1"));
    // A gap in one piece is no reason for another to be floats, but then both are.
    let gaps = text(piece + 1, "", "7");
    assert!(matches!(gaps.column("x").unwrap().values(), Values::Float(v) if v[piece].is_nan()));
    let texts = text(piece + 1, "", "x");
    assert_eq!(texts.column("x").unwrap().values(), &Values::Text);
}

#[test]
fn the_reader_names_the_cell_it_rejects() {
    let named = |cells: &str| {
        let mut csv = String::from("i,x\n");
        cells.split('|').enumerate().for_each(|(k, cell)| csv.push_str(&format!("{k},{cell}\n")));
        let table = table(&csv);
        let column = table.column("x").unwrap();
        let place = |rejected: Option<Rejected>| rejected.map(|r| (r.row, r.why));
        (place(column.not_numeric()), place(column.not_integer()))
    };
    let (syntax, overflow) = (|row| Some((row, Why::Syntax)), |row| Some((row, Why::Overflow)));
    let missing = |row| Some((row, Why::Missing));
    for (cells, not_numeric, not_integer) in [
        ("1|2|3", None, None),
        ("1|2.5|3", None, syntax(1)),
        ("1||3", None, missing(1)),
        ("0.5|0.1|1e309|x", overflow(2), syntax(0)),
        ("1|0|-9223372036854775809|0", overflow(2), overflow(2)),
        ("1|18446744073709551616", overflow(1), overflow(1)),
        // The gap and the sign are fine; the number that needs the last bit is not.
        ("1||9223372036854775808", overflow(2), overflow(2)),
        ("-1|9223372036854775808", overflow(1), overflow(1)),
        ("1|2|four|five", syntax(2), syntax(2)),
        ("0.5|True", syntax(1), syntax(0)),
        ("True||False", missing(1), syntax(0)),
        ("0.5| inf", syntax(1), syntax(0)),
        ("1_0|2", syntax(0), syntax(0)),
    ] {
        assert_eq!(named(cells), (not_numeric, not_integer), "{cells}");
    }
}

#[test]
fn a_gap_beside_64_bits_stays_text() {
    let table = table("i,x\n0,1\n1,\n2,9223372036854775808\n3,NA\n");
    let column = table.column("x").unwrap();
    assert!(column.is_text());
    assert_eq!(
        (column.first_missing(), column.text(1), column.text(3)),
        (None, Some(""), Some("NA"))
    );
}

#[test]
fn a_gap_stays_one_beside_an_integer_below_64_bits() {
    let gap = |cell: &str| {
        let table = table(&format!("a,b\nx,{cell}\nx,\nx,1\n"));
        let column = table.column("b").unwrap();
        (column.is_text(), column.is_missing(1))
    };
    assert_eq!(gap("-9223372036854775809"), (true, true));
    assert_eq!(gap("9223372036854775808"), (true, false));
}

#[test]
fn the_least_integer_is_a_gap_beside_gaps() {
    let missing = |cells: [&str; 3]| {
        let table = table(&format!("a,b\nx,{}\nx,{}\nx,{}\n", cells[0], cells[1], cells[2]));
        let column = table.column("b").unwrap();
        [0, 1, 2].map(|row| column.is_missing(row))
    };
    assert_eq!(missing(["-9223372036854775808", "", "1"]), [true, true, false]);
    assert_eq!(missing(["-9223372036854775807", "NA", "1"]), [false, true, false]);
    assert_eq!(missing(["-9223372036854775808", "2", "1"]), [false; 3]);
    assert_eq!(missing(["-9223372036854775808", "", "1.5"]), [false, true, false]);
}

#[test]
fn a_comma_behind_a_blank_line_that_a_lone_return_ends_is_lost() {
    for (text, expected) in [
        ("a,b\n1,2\n\r,x,y\n5,6\n", &["1 2", "x y", "5 6"][..]),
        ("a,b\n1,2\n \r,\n5,6\n", &["1 2", "5 6"]),
        ("a,b\n1,2\n \r,,x\n5,6\n", &["1 2", " x", "5 6"]),
        ("a,b\n1,2\n\r,\r,x,y\n5,6\n", &["1 2", "x y", "5 6"]),
        ("a,b\n1,2\n\r, \n5,6\n", &["1 2", "5 6"]),
        ("a,b\n1,2\n\r\n,y\n5,6\n", &["1 2", " y", "5 6"]),
    ] {
        let table = table(text);
        let cell = |row, name: &str| table.column(name).unwrap().raw(row).to_owned();
        let rows: Vec<String> =
            (0..table.rows()).map(|row| format!("{} {}", cell(row, "a"), cell(row, "b"))).collect();
        assert_eq!(rows, expected, "{text:?}");
    }
}

#[test]
fn lone_returns_end_rows_unless_blanks_follow() {
    let rows = |text: &str| Table::parse(text.into(), &Limits::default()).map(|table| table.rows());
    for (text, expected) in [
        ("a,b\n1,2\n3,4\r5,6\n", 3),
        // The line feed behind the header's first rows, or before the blanks, keeps pandas straight.
        ("a,b\n1,2\r  3,4\n5,6\n", 2 + 1),
        ("a,b\r1,2\r  3,4\r5,6\r", 3),
        ("a,b\n1,2\n \r3,4\n5,6\n", 3),
        ("a,b\n1,2\r \n3,4\n5,6\n", 3),
        ("a,b\n1,2\n\r\n 3,4\n5,6\n", 3),
    ] {
        assert_eq!(rows(text).unwrap(), expected, "{text:?}");
    }
    for (text, row) in [
        ("a,b\n1,2\n\r  3,4\n5,6\n", 2),
        ("a,b\n1,2\n \r 3,4\n5,6\n", 2),
        ("a,b\n1,2\r\r 3,4\n5,6\n", 2),
        ("a,b\n1,2\n7,8\r 3,4\n", 3),
    ] {
        let error = rows(text).unwrap_err();
        assert!(matches!(error, ReadError::LoneReturn { row: r } if r == row), "{text:?} {error}");
    }
    let stray = table("a,b\n1,x\n2,y\ry\n3,z\n").stray_return();
    assert_eq!(stray, Some(1));
    assert_eq!(table("a,b\r1,x\r2,y\r").stray_return(), None);
}

#[test]
fn long_names_cost_no_more_than_they_are() {
    let long = "n".repeat(5_000);
    for text in [format!("id,{long}\n1,2\n"), format!("id,\"{long}\"\n1,2\n")] {
        let table = table(&text);
        assert_eq!(table.names()[1].chars().count(), 1_001);
        assert!(table.names()[1].ends_with('…'));
    }
}

#[test]
fn plain_and_general_scanners_agree() {
    let mut plain = String::from("a,b\n");
    for k in 0..200_000 {
        plain.push_str(&format!("{k},{}\n", k * 7 % 13));
    }
    let quoted = plain.replacen("0,0\n", "\"0\",0\n", 1) + "\n";
    let quoted = quoted + "\"200000\",1\n";
    let plain = plain + "200000,1\n";
    let (a, b) = (table(&plain), table(&quoted));
    assert_eq!(a.rows(), 200_001);
    assert_eq!(a.column("a").unwrap().values(), b.column("a").unwrap().values());
    assert_eq!(a.column("b").unwrap().values(), b.column("b").unwrap().values());
}

/// A text of about `rows` rows that is long enough for several blocks, with one line in the middle.
fn long(rows: usize, cell: impl Fn(usize) -> String, middle: &str) -> String {
    let mut text = String::from("id,x,note\n");
    for row in 0..rows {
        text.push_str(&format!("{row},{},a note to fill the line with\n", cell(row)));
        if row == rows / 2 {
            text.push_str(middle);
        }
    }
    text
}

#[test]
fn columns_typed_at_once_are_those_typed_later() {
    let float = |row: usize| (row as f64 / 7.0 - 999.5).to_string();
    let cases: &[(&str, bool)] = &[
        ("", true),
        ("5,0.25,x\n", true),
        ("5,,x\n", true),
        ("5,NaN,x\n", true),
        ("5,1e-7,x\n", true),
        ("5,-inf,x\n", true),
        ("5, 1.5 ,x\n", true),
        ("-5,3,x\n", true),
        ("5,99999999999999999999,x\n", false),
        ("+5,1,x\n", false),
        (",1,x\n", false),
        ("5,true,x\n", false),
        ("5,1_0,x\n", false),
        ("5,\"1\",x\n", false),
        ("\n5,1,x\n", false),
        ("5,1\n", false),
    ];
    for (middle, at_once) in cases {
        let text = long(200, float, middle);
        let parse = |wanted: &[&str]| {
            Table::parse_for(text.clone().into(), &Limits::default(), wanted).unwrap()
        };
        let (later, now) = (parse(&[]), parse(&["x", "id", "absent"]));
        assert_eq!(now.typed[0].get().is_some(), *at_once, "{middle:?}");
        assert!(now.typed[2].get().is_none());
        for name in ["id", "x", "note"] {
            let (a, b) = (later.column(name).unwrap(), now.column(name).unwrap());
            // A missing cell is NaN, which equals nothing.
            assert_eq!(format!("{:?}", a.values()), format!("{:?}", b.values()), "{middle:?}");
            assert!((0..a.len()).all(|row| a.raw(row) == b.raw(row)), "{middle:?}");
        }
    }
    let long_row = long(200, float, "5,1,x,y\n").into_bytes();
    let error = Table::parse_for(long_row, &Limits::default(), &["x"]).unwrap_err();
    assert!(matches!(error, ReadError::LongRow { row: 102, found: 4, expected: 3 }), "{error}");
}

#[test]
fn large_files_are_read_whole() {
    let text = long(200_000, |row| row.to_string(), "");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    assert_eq!(read_bytes(file.path(), u64::MAX - 1).unwrap(), text.as_bytes());
    assert!(text.len() > 4 << 20);
    let limit = text.len() as u64 - 1;
    assert!(matches!(read_bytes(file.path(), limit), Err(ReadError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever the cells, and wherever they are cut into blocks, typing at once changes nothing.
    #[test]
    fn typing_at_once_changes_nothing(
        cells in prop::collection::vec(
            prop::sample::select(&["7", "-3", "0.25", "12345678.5", "1", "-0", "0", "1e3", "", "NA", " 2", "x", "99999999999999999999", "+1", "5."]),
            0..60,
        ),
        numbers in 0_usize..9,
        columns in 1_usize..4,
    ) {
        // Mostly numbers, or no column would be typed at once.
        let few = ["7", "-3", "0.25", "12345678.5", "1", "-0", "0"];
        let cell = |k: usize, cell: &'static str| if k % 9 < numbers { few[k % few.len()] } else { cell };
        let cells: Vec<&str> = cells.iter().enumerate().map(|(k, c)| cell(k, c)).collect();
        let names = ["a", "b", "c"];
        let mut text = names[..columns].join(",") + "\n";
        for row in cells.chunks(columns) {
            text.push_str(&row.join(","));
            text.push('\n');
        }
        let shown = |wanted: &[&str]| match Table::parse_for(text.clone().into(), &Limits::default(), wanted) {
            Ok(table) => {
                let columns = (0..table.names().len()).map(|k| table.column_at(k));
                columns.map(|c| format!("{:?} {:?}", c.values(), (0..c.len()).map(|r| c.raw(r)).collect::<Vec<_>>())).collect()
            }
            Err(error) => error.to_string(),
        };
        prop_assert_eq!(shown(&[]), shown(&["a", "c"]));
        prop_assert_eq!(shown(&[]), shown(&names));
    }
}
