//! Small tables of the harness's own, written as parquet.

use std::fs::File;
use std::path::Path;

use polars_core::prelude::*;
use polars_io::prelude::*;

use super::FrameError;

/// A named column; `None` becomes null.
#[derive(Clone, Debug, PartialEq)]
pub enum ExportColumn {
    /// UTF-8 text.
    Text(Vec<Option<String>>),
    /// Doubles.
    Number(Vec<Option<f64>>),
    /// Unsigned 64-bit whole numbers.
    Whole(Vec<Option<u64>>),
    /// Booleans.
    Flag(Vec<bool>),
}

impl ExportColumn {
    fn named(self, name: &str) -> Column {
        match self {
            Self::Text(values) => Column::new(name.into(), values),
            Self::Number(values) => Column::new(name.into(), values),
            Self::Whole(values) => Column::new(name.into(), values),
            Self::Flag(values) => Column::new(name.into(), values),
        }
    }
}

/// Writes columns of equal length as a parquet file.
///
/// # Errors
/// Columns of different lengths, a name twice, or a file that cannot be written.
pub fn write_parquet(path: &Path, columns: Vec<(&str, ExportColumn)>) -> Result<(), FrameError> {
    let failed = |reason: String| FrameError::Engine {
        action: "write",
        file: path.display().to_string(),
        reason,
    };
    let columns = columns.into_iter().map(|(name, values)| values.named(name)).collect();
    let mut table = DataFrame::new_infer_height(columns).map_err(|e| failed(e.to_string()))?;
    let file = File::create(path).map_err(|e| failed(e.to_string()))?;
    ParquetWriter::new(&file).finish(&mut table).map_err(|e| failed(e.to_string()))?;
    file.sync_all().map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_with_its_nulls() {
        let path =
            std::env::temp_dir().join(format!("medalist-export-{}.parquet", std::process::id()));
        let columns = vec![
            ("name", ExportColumn::Text(vec![Some("a".into()), None])),
            ("score", ExportColumn::Number(vec![None, Some(0.5)])),
            ("rank", ExportColumn::Whole(vec![Some(u64::MAX), None])),
            ("valid", ExportColumn::Flag(vec![true, false])),
        ];
        write_parquet(&path, columns).unwrap();
        let table = ParquetReader::new(File::open(&path).unwrap()).finish().unwrap();
        assert_eq!(table.shape(), (2, 4));
        assert_eq!(table.column("rank").unwrap().get(0).unwrap(), AnyValue::UInt64(u64::MAX));
        assert!(table.column("score").unwrap().get(0).unwrap().is_null());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn columns_of_different_lengths_are_refused() {
        let path = std::env::temp_dir().join("medalist-export-ragged.parquet");
        let columns = vec![
            ("a", ExportColumn::Flag(vec![true])),
            ("b", ExportColumn::Flag(vec![true, false])),
        ];
        assert!(write_parquet(&path, columns).is_err());
    }
}
