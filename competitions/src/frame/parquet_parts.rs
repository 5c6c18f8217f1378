//! Parquet files read, filtered and written some rows at a time, so that they may be of any size.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use polars_core::prelude::*;
use polars_io::parquet::write::BatchedWriter;
use polars_io::prelude::*;

use super::{Frame, FrameError, NewColumn};

/// Rows held at a time.
const ROWS: usize = 1 << 20;

/// Some rows of a parquet file, in the types that they have there.
#[derive(Clone, Debug)]
pub struct ParquetPart {
    rows: DataFrame,
    name: String,
}

impl ParquetPart {
    fn column(&self, name: &str) -> Result<&Column, FrameError> {
        self.rows.column(name).map_err(|_| FrameError::NoColumn {
            table: self.name.clone(),
            column: name.to_owned(),
            known: self
                .rows
                .get_column_names()
                .iter()
                .map(|known| format!("`{known}`"))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// The names of the columns in order.
    pub fn column_names(&self) -> Vec<&str> {
        self.rows.get_column_names().into_iter().map(|name| name.as_str()).collect()
    }

    fn wrong(&self, column: &Column, expected: &'static str) -> FrameError {
        FrameError::Cell {
            file: self.name.clone(),
            row: 1,
            column: column.name().to_string(),
            expected,
            value: column.dtype().to_string(),
        }
    }

    /// The values of an integer column without gaps.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn ints(&self, column: &str) -> Result<Vec<i64>, FrameError> {
        let column = self.column(column)?;
        if !column.dtype().is_integer() || column.has_nulls() {
            return Err(self.wrong(column, "a column of integers"));
        }
        let cast = column
            .cast(&DataType::Int64)
            .map_err(|_| self.wrong(column, "a column of integers"))?;
        let values = cast.i64().map_err(|_| self.wrong(column, "a column of integers"))?;
        Ok(values.into_no_null_iter().collect())
    }

    /// The values of a column of doubles; single precision becomes the double with the same digits,
    /// gaps become NaN.
    fn floats(&self, column: &Column) -> Result<Vec<f64>, FrameError> {
        let digits = |value: f32| value.to_string().parse().unwrap_or(f64::from(value));
        match column.dtype() {
            DataType::Float32 => {
                let values = column.f32().map_err(|_| self.wrong(column, "a column of numbers"))?;
                Ok(values.iter().map(|value| value.map_or(f64::NAN, digits)).collect())
            }
            DataType::Float64 => {
                let values = column.f64().map_err(|_| self.wrong(column, "a column of numbers"))?;
                Ok(values.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
            }
            _ => Err(self.wrong(column, "a column of numbers")),
        }
    }

    /// The rows for which `wanted` holds, and the others.
    ///
    /// # Errors
    /// When `wanted` has another length than the part.
    pub fn partition(&self, wanted: &[bool]) -> Result<(Self, Self), FrameError> {
        if wanted.len() != self.rows.height() {
            return Err(FrameError::Length {
                column: "filter".into(),
                found: wanted.len(),
                rows: self.rows.height(),
            });
        }
        let side = |yes: bool| {
            let mask = BooleanChunked::from_iter_values(
                "".into(),
                wanted.iter().map(|&wanted| wanted == yes),
            );
            let rows = self.rows.filter(&mask).expect("the mask has the length of the table");
            Self { rows, name: self.name.clone() }
        };
        Ok((side(true), side(false)))
    }

    /// All columns but those named.
    ///
    /// # Errors
    /// When one does not exist.
    pub fn drop(&self, columns: &[&str]) -> Result<Self, FrameError> {
        for column in columns {
            self.column(column)?;
        }
        Ok(Self { rows: self.rows.drop_many(columns.iter().copied()), name: self.name.clone() })
    }

    /// The columns named, which must hold numbers, as a table.
    ///
    /// # Errors
    /// When one does not exist or is no column of numbers.
    pub fn frame(&self, columns: &[&str]) -> Result<Frame, FrameError> {
        columns.iter().try_fold(Frame::new(&self.name, self.rows.height()), |frame, name| {
            let column = self.column(name)?;
            let values: NewColumn = match column.dtype().is_integer() {
                true => self.ints(name)?.into(),
                false => self.floats(column)?.into(),
            };
            frame.with(name, values)
        })
    }
}

/// Goes through a parquet file some rows at a time; messages call it `name`.
pub(crate) fn each_parquet_part<E: From<FrameError>>(
    path: &Path,
    name: &str,
    mut visit: impl FnMut(ParquetPart) -> Result<(), E>,
) -> Result<(), E> {
    let malformed = |error: PolarsError| FrameError::Engine {
        action: "read",
        file: name.to_owned(),
        reason: error.to_string(),
    };
    let io = |source| FrameError::Io { action: "read", path: path.to_owned(), source };
    let mut begin = 0;
    loop {
        let reader = ParquetReader::new(File::open(path).map_err(io)?).set_low_memory(true);
        let rows = reader.with_slice(Some((begin, ROWS))).finish().map_err(malformed)?;
        let height = rows.height();
        if begin == 0 || height > 0 {
            visit(ParquetPart { rows, name: name.to_owned() })?;
        }
        begin += height;
        if height < ROWS {
            return Ok(());
        }
    }
}

/// A parquet file being written part by part; the first part sets its columns.
pub(crate) struct ParquetFile {
    out: Option<BufWriter<File>>,
    writer: Option<BatchedWriter<BufWriter<File>>>,
}

impl ParquetFile {
    pub(crate) fn new(file: File) -> Self {
        Self { out: Some(BufWriter::with_capacity(1 << 20, file)), writer: None }
    }

    pub(crate) fn write(&mut self, part: &ParquetPart) -> PolarsResult<()> {
        if let Some(out) = self.out.take() {
            self.writer = Some(ParquetWriter::new(out).batched(part.rows.schema())?);
        }
        match &mut self.writer {
            Some(writer) if part.rows.height() > 0 => {
                let mut rows = part.rows.clone();
                rows.align_chunks();
                writer.write_batch(&rows)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn finish(self) -> PolarsResult<()> {
        if let Some(writer) = self.writer {
            writer.finish()?;
        }
        if let Some(mut out) = self.out {
            out.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::CsvStyle;

    #[test]
    fn parts_are_filtered_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let mut rows =
            df!("batch" => [3i64, 3, 5], "angle" => [0.1f32, 2.5, 1e-5], "time" => [1.5f64, 2.0, 0.1]).unwrap();
        ParquetWriter::new(File::create(&path).unwrap()).finish(&mut rows).unwrap();
        let copy = dir.path().join("b.parquet");
        let mut out = ParquetFile::new(File::create(&copy).unwrap());
        each_parquet_part(&path, "a.parquet", |part| {
            assert_eq!(part.ints("batch")?, [3, 3, 5]);
            assert!(part.ints("angle").is_err() && part.ints("none").is_err());
            let (odd, rest) = part.partition(&[true, false, true])?;
            assert_eq!(
                odd.frame(&["batch", "angle"])?.to_csv(&CsvStyle::default())?,
                b"batch,angle\n3,0.1\n5,1e-05\n"
            );
            out.write(&rest.drop(&["time"])?).unwrap();
            out.write(&odd.drop(&["time"])?).unwrap();
            Ok::<_, FrameError>(())
        })
        .unwrap();
        out.finish().unwrap();
        let read = ParquetReader::new(File::open(&copy).unwrap()).finish().unwrap();
        assert_eq!(read, df!("batch" => [3i64, 3, 5], "angle" => [2.5f32, 0.1, 1e-5]).unwrap());
    }

    #[test]
    fn what_is_no_parquet_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"PAR1 not really").unwrap();
        let read = each_parquet_part(file.path(), "a.parquet", |_| Ok::<_, FrameError>(()));
        assert!(read.unwrap_err().to_string().contains("a.parquet"));
    }
}
