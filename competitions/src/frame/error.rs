use std::path::PathBuf;

/// What went wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A CSV row that no reader could take.
    #[error("row {row} of `{file}`: {what}")]
    Row {
        /// The file as the recipe names it.
        file: String,
        /// Number of the row, counting from 1 below the header; 0 is the header.
        row: usize,
        /// What was expected and found.
        what: String,
    },
    /// A cell whose text does not fit the type that its column must have.
    #[error("row {row}, column `{column}` of `{file}`: expected {expected}, found `{value}`")]
    Cell {
        /// The file as the recipe names it.
        file: String,
        /// Number of the row, counting from 1 below the header.
        row: usize,
        column: String,
        /// The type or range wanted.
        expected: &'static str,
        /// The text found.
        value: String,
    },
    /// A column that the table does not have.
    #[error("`{table}` has no column `{column}`, only {known}")]
    NoColumn {
        table: String,
        /// The column asked for.
        column: String,
        /// The columns that there are.
        known: String,
    },
    /// A new column whose length is not that of the table.
    #[error("column `{column}` has {found} values for a table of {rows} rows")]
    Length {
        column: String,
        /// Values given.
        found: usize,
        /// Rows of the table.
        rows: usize,
    },
    /// A split that cannot be made.
    #[error("cannot split {rows} rows: {what}")]
    Split {
        /// Rows or groups to split.
        rows: usize,
        /// The reason.
        what: String,
    },
    /// Tables that do not fit together.
    #[error("cannot put `{left}` and `{right}` together: {what}")]
    Mismatch {
        /// One table.
        left: String,
        /// The other.
        right: String,
        /// The reason.
        what: String,
    },
    /// A parquet file or a join that polars could not do.
    #[error("cannot {action} `{file}`: {reason}")]
    Engine {
        /// What was tried.
        action: &'static str,
        /// The file or table.
        file: String,
        /// The reason in the engine's words.
        reason: String,
    },
}
