//! File formats other than tables and archives: JSON, npy, BSON, TFRecord and the sizes of PNG pictures.

mod json;
mod json_write;

pub use json::{Json, NumberRules};
pub(crate) use json_write::JsonWriteError;
pub use json_write::{JsonStream, JsonStyle};

/// A file that is not what its format asks for.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A text that is no JSON.
    #[error("`{file}` is no valid JSON at byte {at}: {what}")]
    Json {
        /// The file.
        file: String,
        /// Where reading stopped, counting from 0.
        at: u64,
        /// What was expected and found.
        what: String,
    },
    /// A JSON value without the shape that is needed.
    #[error("`{file}`: expected {expected}{place}")]
    Shape {
        /// The file.
        file: String,
        /// What was expected.
        expected: String,
        /// Where, as the end of the message.
        place: String,
    },
    /// A binary file that is malformed.
    #[error("`{file}` is no whole {format} file: {what}")]
    Binary {
        /// The file.
        file: String,
        /// The format.
        format: &'static str,
        /// What was expected and found.
        what: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{file}`")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        file: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}
