//! Parquet files, read and written by polars.

use std::fs::File;
use std::path::Path;

use polars::prelude::*;
use sha2::{Digest, Sha256};

/// Rows held at a time.
const ROWS: usize = 1 << 18;

/// The hash of a parquet file's schema and cells, which does not depend on the writer of the file; none if it cannot be read.
pub(crate) fn parquet_hash(path: &Path) -> Option<String> {
    let mut hash = Sha256::new();
    let mut begin = 0;
    loop {
        let reader = ParquetReader::new(File::open(path).ok()?).set_low_memory(true).with_slice(Some((begin, ROWS)));
        let part = reader.finish().ok()?;
        if begin == 0 {
            for column in part.columns() {
                hash.update(format!("{}\0{}\0", column.name(), column.dtype()));
            }
        }
        for column in part.columns() {
            for value in column.as_materialized_series().rechunk().iter() {
                hash.update(format!("{value}\0"));
            }
        }
        begin += part.height();
        if part.height() < ROWS {
            return Some(crate::prepare::hex(&hash.finalize()));
        }
    }
}
