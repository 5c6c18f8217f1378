//! The CSV reader: any bytes are a table or refused, and every cell of a table can be read in every way.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medalist_grading::ids::sorted_rows;
use medalist_grading::table::{Limits, Table};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { cells: 100_000, columns: 1_000, ..Limits::default() };
    let Ok(table) = Table::parse(bytes.to_vec(), &limits) else { return };
    for index in 0..table.names().len() {
        let column = table.column_at(index);
        assert_eq!(sorted_rows(&[column]).len(), table.rows());
        for row in 0..column.len() {
            let _ = (column.raw(row), column.printed(row), column.number(row), column.is_missing(row));
        }
    }
});
