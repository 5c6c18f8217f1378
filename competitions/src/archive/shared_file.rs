use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use medalist_grading::platform;

/// A file, or a part of one, that several readers read at places of their own.
#[derive(Clone, Debug)]
pub(super) struct SharedFile {
    file: Arc<File>,
    /// Where it begins in the whole file; all other places count from there.
    begin: u64,
    length: u64,
    position: u64,
}

impl SharedFile {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), begin: 0, length, position: 0 })
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }
}

impl SharedFile {
    /// A part of the file, as a file of its own.
    pub(super) fn part(&self, begin: u64, length: u64) -> Self {
        let length = length.min(self.length.saturating_sub(begin));
        Self { file: Arc::clone(&self.file), begin: self.begin + begin, length, position: 0 }
    }

    /// Reads at a place of the file, which leaves the reader's own place as it is.
    pub(super) fn read_from(&self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        let left = self.length.saturating_sub(place).min(buffer.len() as u64) as usize;
        platform::read_at(&self.file, &mut buffer[..left], self.begin + place)
    }
}

impl Read for SharedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_from(buffer, self.position)?;
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
