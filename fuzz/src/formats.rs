//! The rarer raw formats: any bytes are JSON, BSON, TFRecord, npy or PNG, or are refused.

use medalist_competitions::formats::{
    Json, JsonEncoding, JsonList, JsonObject, JsonStyle, Npy, NpyArray, NumberRules,
    bson_documents, png_size, read_grey_png, tfrecord_texts,
};

const NAME: &str = "raw";

/// The target.
pub fn run(bytes: &[u8]) {
    let Some((format, bytes)) = bytes.split_first() else { return };
    match format % 7 {
        0 => {
            if let Ok(value) = Json::parse(bytes, NAME, NumberRules::Python) {
                let text = value.dump(JsonStyle::Compact);
                let again = Json::parse(text.as_bytes(), NAME, NumberRules::Python);
                again.expect("what was printed can be read");
            }
        }
        1 => {
            let file = on_disk(bytes);
            if let Ok(list) = JsonList::open(file.path(), NAME) {
                let _ = list.iter().count();
            }
        }
        2 => {
            let file = on_disk(bytes);
            if let Ok(object) = JsonObject::open(file.path(), NAME, JsonEncoding::Utf8) {
                for key in object.keys() {
                    let _ = object.value(key);
                }
            }
        }
        3 => {
            for document in bson_documents(bytes, NAME) {
                let Ok(document) = document else { break };
                let _ = (document.int("_id"), document.without("category_id"));
            }
        }
        4 => drop(tfrecord_texts(bytes, "image_name", NAME)),
        5 => {
            let file = on_disk(bytes);
            if let Ok(array) = Npy::open(file.path(), NAME) {
                let rows: Vec<u32> = (0..array.rows().min(64) as u32).collect();
                let _ = (array.write_rows(&rows, &mut std::io::sink()), array.texts(&rows));
            }
            if let Ok(array) = NpyArray::parse(bytes, NAME) {
                let _ = (array.shape(), array.ints());
            }
        }
        _ => drop((png_size(bytes, NAME), read_grey_png(bytes, NAME))),
    }
}

fn on_disk(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), bytes).expect("the temporary file is writable");
    file
}
