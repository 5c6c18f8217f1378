//! What the fuzz targets of `fuzz/` need of the insides of this crate. Each takes any bytes, and
//! fails only by a panic.

use std::io::{self, Write as _};
use std::path::Path;

use crate::archive::{ArchiveKind, ZipSource, tar_names, unpack};
use crate::frame::{CsvOptions, CsvStyle, Frame};

/// Opens an archive of the kind that `kind` stands for and reads every member.
pub fn archive(kind: u8, bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let path = folder.path().join("raw");
    std::fs::write(&path, bytes).expect("the temporary directory is writable");
    match kind % 3 {
        0 => zip(&path),
        1 => drop(unpack(ArchiveKind::SevenZip, &path, "raw", &folder.path().join("out"), true)),
        _ => {
            let names = tar_names(bytes, "raw");
            let out = folder.path().join("out");
            // What cannot be listed cannot be unpacked either; what can be listed may be refused.
            let unpacked = unpack(ArchiveKind::Tar, &path, "raw", &out, false);
            assert!(names.is_ok() || unpacked.is_err());
        }
    }
}

/// A member is the same whether it is read at once or as a stream, and where one fails, both do.
fn zip(path: &Path) {
    let Ok(zip) = ZipSource::open(path, "raw", false) else { return };
    let mut reader = zip.reader();
    for member in zip.below("") {
        let mut streamed = Vec::new();
        let stream = zip.stream(member).map_err(io::Error::other);
        let stream = stream.and_then(|mut stream| io::copy(&mut stream, &mut streamed));
        match reader.whole(member) {
            Ok(Some(whole)) => assert!(stream.is_ok() && whole == streamed, "{member}"),
            Ok(None) => {}
            Err(_) => assert!(stream.is_err(), "{member}"),
        }
    }
}

/// A table that is read, printed and read again is the same table.
pub fn table(bytes: &[u8]) {
    let options = CsvOptions::default();
    let Ok(table) = Frame::from_csv(bytes, "t.csv", &options) else { return };
    let Ok(printed) = table.to_csv(&CsvStyle::default()) else { return };
    let again = Frame::from_csv(printed.clone(), "t.csv", &options.all_text());
    if let Ok(again) = again {
        let mut second = Vec::new();
        again.write_csv(&mut second, &CsvStyle::default()).expect("its cells were read before");
        second.flush().expect("memory cannot fail");
    }
}
