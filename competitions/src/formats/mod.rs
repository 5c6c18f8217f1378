//! File formats other than tables and archives: JSON, npy, BSON, TFRecord and PNG pictures.

mod bson;
mod grey_png;
mod json;
mod json_list;
mod json_write;
mod npy;
mod npy_array;
mod png_size;
mod tfrecord;

pub use bson::{BsonDocument, bson_documents};
pub use grey_png::{GreyImage, read_grey_png};
pub use json::{Json, NumberRules};
pub use json_list::{JsonEncoding, JsonList, JsonObject};
pub(crate) use json_write::JsonWriteError;
pub use json_write::{JsonStream, JsonStyle};
pub use npy::Npy;
pub use npy_array::NpyArray;
pub use png_size::png_size;
pub use tfrecord::tfrecord_texts;

/// A file that is not what its format asks for.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A text that is no JSON.
    #[error("`{file}` is no valid JSON at byte {at}: {what}")]
    Json {
        file: String,
        /// Where reading stopped, counting from 0.
        at: u64,
        /// What was expected and found.
        what: String,
    },
    /// A JSON value without the shape that is needed.
    #[error("`{file}`: expected {expected}{place}")]
    Shape {
        file: String,
        /// What was expected.
        expected: String,
        /// Where, as the end of the message.
        place: String,
    },
    /// A binary file that is malformed.
    #[error("`{file}` is no whole {format} file: {what}")]
    Binary {
        file: String,
        format: &'static str,
        /// What was expected and found.
        what: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{file}`")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        file: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}
