//! Parquet files, read and written by polars.

use std::fs::File;
use std::path::Path;

use polars_core::prelude::*;
use polars_io::prelude::*;
use sha2::{Digest, Sha256};

/// Rows held at a time.
const ROWS: usize = 1 << 18;

/// The hash of a parquet file's schema and cells, column by column in blocks of rows, which does
/// not depend on the writer of the file; none if it cannot be read.
pub(crate) fn parquet_hash(path: &Path) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut begin = 0;
    loop {
        let reader = ParquetReader::new(File::open(path).ok()?)
            .set_low_memory(true)
            .with_slice(Some((begin, ROWS)));
        let part = reader.finish().ok()?;
        if begin == 0 {
            for column in part.columns() {
                hash.update(format!("{}\0{}\0", column.name(), column.dtype()));
            }
        }
        for column in part.columns() {
            hash_cells(column.as_materialized_series(), &mut hash);
        }
        begin += part.height();
        if part.height() < ROWS {
            return Some(hash.finalize().into());
        }
    }
}

/// Numbers count by their bits, other cells as they are printed. A missing number counts as a zero,
/// and where they are counts as well.
fn hash_cells(cells: &Series, hash: &mut Sha256) {
    macro_rules! bits {
        ($values:expr) => {{
            let values = $values.expect("the column is of that type");
            let mut block = Vec::with_capacity(BLOCK);
            for value in values.iter() {
                block.extend_from_slice(&value.unwrap_or_default().to_le_bytes());
                if block.len() >= BLOCK {
                    hash.update(&block);
                    block.clear();
                }
            }
            hash.update(&block);
            if cells.null_count() > 0 {
                let missing: Vec<u8> =
                    cells.is_null().iter().map(|missing| u8::from(missing == Some(true))).collect();
                hash.update(&missing);
            }
        }};
    }
    /// Bytes handed to the hash at a time.
    const BLOCK: usize = 64 << 10;
    match cells.dtype() {
        DataType::Int32 => bits!(cells.i32()),
        DataType::Int64 => bits!(cells.i64()),
        DataType::UInt32 => bits!(cells.u32()),
        DataType::UInt64 => bits!(cells.u64()),
        DataType::Float32 => bits!(cells.f32()),
        DataType::Float64 => bits!(cells.f64()),
        _ => cells.rechunk().iter().for_each(|value| hash.update(format!("{value}\0"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(mut table: DataFrame, rows_in_a_group: usize) -> [u8; 32] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer =
            ParquetWriter::new(file.reopen().unwrap()).with_row_group_size(Some(rows_in_a_group));
        writer.finish(&mut table).unwrap();
        parquet_hash(file.path()).unwrap()
    }

    #[test]
    fn cells_count_and_the_way_of_writing_does_not() {
        let table = || {
            df!("a" => [Some(1i64), None, Some(0)], "b" => [0.5f32, 1.0, 2.0], "c" => ["x", "", "y"]).unwrap()
        };
        let hash = hash_of(table(), 100);
        assert_eq!(hash_of(table(), 1), hash);
        let others = [
            df!("a" => [Some(1i64), Some(0), Some(0)], "b" => [0.5f32, 1.0, 2.0], "c" => ["x", "", "y"]),
            df!("a" => [Some(1i64), Some(0), None], "b" => [0.5f32, 1.0, 2.0], "c" => ["x", "", "y"]),
            df!("a" => [Some(1i64), None, Some(0)], "b" => [0.5f64, 1.0, 2.0], "c" => ["x", "", "y"]),
            df!("a" => [Some(1i64), None, Some(0)], "b" => [0.5f32, 1.0, 2.5], "c" => ["x", "", "y"]),
            df!("a" => [Some(1i64), None, Some(0)], "b" => [0.5f32, 1.0, 2.0], "c" => ["x", "y", ""]),
            df!("a" => [Some(1i64), None, Some(0)], "b" => [0.5f32, 1.0, 2.0], "d" => ["x", "", "y"]),
        ];
        for other in others {
            assert_ne!(hash_of(other.unwrap(), 100), hash);
        }
    }
}
