//! Bodies and their parts by their hash, each stored once.
//!
//! `objects.bin` is a list of entries: a line of JSON, then so many bytes, then a line feed. It
//! only grows; what a kill left at its end is cut off.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Objects above this size are compressed.
const COMPRESS: usize = 128;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    sha256: String,
    bytes: u64,
    stored: u64,
    zstd: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    bytes: u64,
    stored: u64,
    zstd: bool,
}

/// The hash of an object, in hexadecimal.
pub(crate) fn hash(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// A store of objects.
#[derive(Debug)]
pub(crate) struct Objects {
    file: File,
    places: HashMap<String, Place>,
    end: u64,
}

impl Objects {
    /// Opens a store for reading and writing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).read(true).append(true).open(path)?;
        let mut store = Self { file, places: HashMap::new(), end: 0 };
        store.scan()?;
        store.file.set_len(store.end)?;
        Ok(store)
    }

    /// Opens a store for reading alone; nothing of it is changed.
    pub(crate) fn read_only(path: &Path) -> io::Result<Self> {
        let mut store = Self { file: File::open(path)?, places: HashMap::new(), end: 0 };
        store.scan()?;
        Ok(store)
    }

    fn scan(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let mut reader = BufReader::new(&self.file);
        loop {
            let mut line = Vec::new();
            reader.by_ref().take(1024).read_until(b'\n', &mut line)?;
            let Ok(header) = serde_json::from_slice::<Header>(&line) else { return Ok(()) };
            let offset = self.end + line.len() as u64;
            let Some(end) = offset.checked_add(header.stored).and_then(|e| e.checked_add(1)) else {
                return Ok(());
            };
            if end > length {
                return Ok(());
            }
            let place =
                Place { offset, bytes: header.bytes, stored: header.stored, zstd: header.zstd };
            self.places.insert(header.sha256, place);
            self.end = end;
            reader.seek_relative((header.stored + 1) as i64)?;
        }
    }

    /// Stores an object unless it is there, and gives its hash.
    pub(crate) fn put(&mut self, data: &[u8]) -> io::Result<String> {
        let name = hash(data);
        if self.places.contains_key(&name) {
            return Ok(name);
        }
        let compressed =
            if data.len() > COMPRESS { Some(zstd::bulk::compress(data, 1)?) } else { None };
        let stored = compressed.as_deref().unwrap_or(data);
        self.append(name.clone(), data.len() as u64, stored, compressed.is_some())?;
        Ok(name)
    }

    /// Stores what a file holds, without reading it into memory.
    pub(crate) fn put_file(&mut self, file: &mut File, scratch: &mut File) -> io::Result<String> {
        file.seek(SeekFrom::Start(0))?;
        let mut digest = Sha256::new();
        let mut encoder = zstd::Encoder::new(&mut *scratch, 1)?;
        let mut buffer = vec![0; 64 << 10];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
            encoder.write_all(&buffer[..count])?;
            bytes += count as u64;
        }
        encoder.finish()?;
        let name = hex::encode(digest.finalize());
        if self.places.contains_key(&name) {
            return Ok(name);
        }
        let stored = scratch.stream_position()?;
        scratch.seek(SeekFrom::Start(0))?;
        let offset = self.write_header(&name, bytes, stored, true)?;
        io::copy(&mut scratch.take(stored), &mut self.file)?;
        self.file.write_all(b"\n")?;
        self.end = offset + stored + 1;
        self.places.insert(name.clone(), Place { offset, bytes, stored, zstd: true });
        Ok(name)
    }

    fn write_header(&mut self, name: &str, bytes: u64, stored: u64, zstd: bool) -> io::Result<u64> {
        let mut line =
            serde_json::to_vec(&Header { sha256: name.to_owned(), bytes, stored, zstd })?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        Ok(self.end + line.len() as u64)
    }

    fn append(&mut self, name: String, bytes: u64, stored: &[u8], zstd: bool) -> io::Result<()> {
        let length = stored.len() as u64;
        let offset = self.write_header(&name, bytes, length, zstd)?;
        self.file.write_all(stored)?;
        self.file.write_all(b"\n")?;
        self.end = offset + length + 1;
        self.places.insert(name, Place { offset, bytes, stored: length, zstd });
        Ok(())
    }

    /// Reads an object; an error names what is missing or damaged.
    pub(crate) fn get(&self, name: &str) -> Result<Vec<u8>, String> {
        let place = self.places.get(name).ok_or_else(|| format!("object {name} is missing"))?;
        let damaged =
            |why: String| format!("object {name} at byte {} is damaged: {why}", place.offset);
        let mut stored = vec![0; place.stored as usize];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(place.offset))
            .and_then(|_| file.read_exact(&mut stored))
            .map_err(|e| damaged(e.to_string()))?;
        let data = if place.zstd {
            let mut plain = Vec::new();
            let decoder = zstd::Decoder::new(&stored[..]).map_err(|e| damaged(e.to_string()))?;
            decoder
                .take(place.bytes + 1)
                .read_to_end(&mut plain)
                .map_err(|e| damaged(e.to_string()))?;
            plain
        } else {
            stored
        };
        if hash(&data) == name { Ok(data) } else { Err(damaged("its hash is another".to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_stored_once_and_survive_a_kill() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("objects.bin");
        let long = b"message ".repeat(1000);
        let mut store = Objects::open(&path).expect("opens");
        let names = [store.put(b"short").expect("writes"), store.put(&long).expect("writes")];
        let size = store.end;
        assert!(size < 1000);
        assert_eq!(store.put(&long).expect("writes"), names[1]);
        assert_eq!(store.end, size);
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"in a file").expect("writes");
        let third =
            store.put_file(&mut file, &mut tempfile::tempfile().expect("a file")).expect("writes");
        drop(store);
        let whole = std::fs::read(&path).expect("reads");
        std::fs::write(
            &path,
            [&whole[..], b"{\"sha256\":\"x\",\"bytes\":9,\"stored\":9,\"zstd\":false}\n123"]
                .concat(),
        )
        .expect("writes");
        let mut store = Objects::open(&path).expect("opens");
        assert_eq!(std::fs::read(&path).expect("reads"), whole);
        let fourth = store.put(b"more").expect("writes");
        for (name, data) in [
            (&names[0], &b"short"[..]),
            (&names[1], &long),
            (&third, b"in a file"),
            (&fourth, b"more"),
        ] {
            assert_eq!(store.get(name).as_deref(), Ok(data));
        }
    }

    #[test]
    fn damage_and_absence_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("objects.bin");
        let name = Objects::open(&path).and_then(|mut s| s.put(b"short")).expect("writes");
        let mut bytes = std::fs::read(&path).expect("reads");
        let at = bytes.len() - 2;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("writes");
        let store = Objects::read_only(&path).expect("opens");
        assert!(store.get(&name).expect_err("damaged").contains("is damaged"));
        assert!(store.get("00").expect_err("missing").contains("is missing"));
    }
}
