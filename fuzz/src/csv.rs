//! The CSV reader: any bytes are a table or refused, and every cell of a table can be read in every
//! way.

use medalist_grading::ids::sorted_rows;
use medalist_grading::table::{Limits, Table};

/// The target.
pub fn run(bytes: &[u8]) {
    let limits = Limits { cells: 100_000, columns: 1_000, ..Limits::default() };
    let Ok(table) = Table::parse(bytes.to_vec(), &limits) else { return };
    // Typing columns while the text is split is quicker, and nothing else.
    let names: Vec<&str> = table.names().iter().map(String::as_str).collect();
    for wanted in [&names[..], &names[..names.len().min(1)]] {
        let at_once = Table::parse_for(bytes.to_vec(), &limits, wanted).expect("it was read before");
        assert_eq!(at_once.rows(), table.rows());
        for index in 0..names.len() {
            let (now, later) = (at_once.column_at(index), table.column_at(index));
            assert_eq!(format!("{:?}", now.values()), format!("{:?}", later.values()));
            assert!((0..table.rows()).all(|row| now.raw(row) == later.raw(row)));
        }
    }
    for index in 0..table.names().len() {
        let column = table.column_at(index);
        assert_eq!(sorted_rows(&[column]).len(), table.rows());
        for row in 0..column.len() {
            let _ = (column.raw(row), column.printed(row), column.number(row), column.is_missing(row));
        }
    }
}
