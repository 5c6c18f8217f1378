//! The least that preparing an archive can cost: reads it, unpacks every member with the same decoder and
//! writes the bytes to files, and does nothing else. `scripts/bench-prepare.py` states its time as the limit.
//!
//! ```sh
//! cargo run --release -p medalist-competitions --example unpack -- ARCHIVE.zip FOLDER
//! ```

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [archive, folder] = &arguments[..] else {
        return Err("expected ARCHIVE.zip and FOLDER".into());
    };
    let mut zip = zip::ZipArchive::new(File::open(archive)?)?;
    for index in 0..zip.len() {
        let mut member = zip.by_index(index)?;
        let Some(name) = member.enclosed_name().filter(|_| member.is_file()) else { continue };
        let target = folder.join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        io::copy(&mut member, &mut File::create(target)?)?;
    }
    Ok(())
}
