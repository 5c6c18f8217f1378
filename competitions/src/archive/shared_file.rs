use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A file that several readers read at places of their own.
#[derive(Clone, Debug)]
pub(super) struct SharedFile {
    file: Arc<File>,
    length: u64,
    position: u64,
}

impl SharedFile {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length, position: 0 })
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }
}

impl SharedFile {
    /// A part of the file, as a file of its own.
    pub(super) fn part(&self, begin: u64, length: u64) -> io::Take<Self> {
        Self { position: begin, ..self.clone() }.take(length)
    }

    /// Reads at a place of the file, which leaves the reader's own place as it is.
    pub(super) fn read_from(&self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        self.file.read_at(buffer, place)
    }
}

impl Read for SharedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for SharedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
