use std::io::Read;
use std::path::PathBuf;

use super::context::Prepare;
use super::raw::Place;
use super::{PrepareError, error_at};
use crate::archive::Packing;
use crate::frame::{CsvStyle, Frame};

/// An archive among the prepared files. The same members in the same order give the same bytes.
///
/// An archive that is dropped without [`finish`](Self::finish) is not whole.
#[must_use = "an archive is only whole once it is finished"]
pub struct Packer<'a> {
    context: &'a Prepare<'a>,
    packing: Packing,
    path: PathBuf,
}

/// Members up to this size are packed on all threads.
const SMALL: u64 = 8 << 20;

impl<'a> Packer<'a> {
    pub(super) fn new(context: &'a Prepare<'a>, packing: Packing, path: PathBuf) -> Self {
        Self { context, packing, path }
    }

    fn done(&self, result: std::io::Result<()>) -> Result<(), PrepareError> {
        result.map_err(error_at("write", &self.path))
    }

    /// Adds a raw file under the name `member`.
    ///
    /// # Errors
    /// When the file is missing or the archive cannot be written.
    pub fn add(&mut self, raw: &str, member: &str) -> Result<(), PrepareError> {
        if let Place::Zip(zip, inner) = self.context.raw.place(raw)?
            && self.packing.is_zip()
            && zip.contains(&inner)
        {
            // The bytes go over packed; reading them once besides makes sure that they are whole.
            let mut reader = zip.reader();
            self.context.raw.verify(&mut reader, &inner)?;
            let added = self.packing.add_packed(member, &mut reader, &inner);
            if added.map_err(error_at("write", &self.path))? {
                return Ok(());
            }
        }
        let size = self.context.raw.size(raw)?;
        let Self { packing, path, context } = self;
        context.raw.stream(raw, |stream| {
            packing.add(member, size, stream.take(size)).map_err(error_at("write", path))
        })
    }

    /// Adds many raw files, each with the name of its member.
    ///
    /// # Errors
    /// When one is missing or the archive cannot be written.
    pub fn add_all<R: AsRef<str>, M: AsRef<str>>(
        &mut self,
        files: impl IntoIterator<Item = (R, M)>,
    ) -> Result<(), PrepareError> {
        // What is held in memory at a time; enough to keep all threads busy.
        const BATCH: usize = 64 << 20;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (raw, member) in files {
            let (raw, member) = (raw.as_ref(), member.as_ref());
            let from_zip =
                matches!(self.context.raw.place(raw)?, Place::Zip(..)) && self.packing.is_zip();
            if from_zip || self.context.raw.size(raw)? > SMALL {
                self.flush(&mut batch)?;
                self.add(raw, member)?;
                continue;
            }
            let data = self.context.raw.read(raw)?;
            bytes += data.len();
            batch.push((member.to_owned(), data));
            if bytes > BATCH {
                self.flush(&mut batch)?;
                bytes = 0;
            }
        }
        self.flush(&mut batch)
    }

    /// Adds a raw zip under the name `member`, with those of its members alone whose path fulfils a
    /// test.
    ///
    /// # Errors
    /// When the zip is missing or damaged, or the archive cannot be written.
    pub fn add_zip_if(
        &mut self,
        raw: &str,
        member: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), PrepareError> {
        let scratch = &self.context.scratch;
        std::fs::create_dir_all(scratch).map_err(error_at("create", scratch))?;
        let aside =
            tempfile::NamedTempFile::new_in(scratch).map_err(error_at("create", scratch))?;
        let packing = Packing::zip(aside.reopen().map_err(error_at("write", aside.path()))?);
        let mut inner = Packer::new(self.context, packing, aside.path().to_owned());
        for name in self.context.raw.walk(raw)?.iter().filter(|name| wanted(name)) {
            inner.add(&format!("{raw}/{name}"), name)?;
        }
        inner.packing.finish().map_err(error_at("write", aside.path()))?;
        let size = aside.as_file().metadata().map_err(error_at("read", aside.path()))?.len();
        let result = self.packing.add(member, size, aside.as_file());
        self.done(result)
    }

    fn flush(&mut self, batch: &mut Vec<(String, Vec<u8>)>) -> Result<(), PrepareError> {
        let result = self.packing.add_all(batch);
        batch.clear();
        self.done(result)
    }

    /// Adds a member of given bytes.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn add_bytes(&mut self, member: &str, bytes: impl AsRef<[u8]>) -> Result<(), PrepareError> {
        let bytes = bytes.as_ref();
        let result = self.packing.add(member, bytes.len() as u64, bytes);
        self.done(result)
    }

    /// Adds a member of a zip or 7z whose bytes are made piece by piece and never held together.
    ///
    /// # Errors
    /// When a piece cannot be made or the archive cannot be written.
    pub fn add_pieces(
        &mut self,
        member: &str,
        pieces: impl IntoIterator<Item = Result<String, PrepareError>>,
    ) -> Result<(), PrepareError> {
        let mut stream =
            Pieces { pieces: pieces.into_iter(), piece: Vec::new(), at: 0, failure: None };
        let result = self.packing.add(member, u64::MAX, &mut stream);
        match stream.failure {
            Some(failure) => Err(failure),
            None => self.done(result),
        }
    }

    /// Adds a table as a CSV file.
    ///
    /// # Errors
    /// When a cell cannot be read or the archive cannot be written.
    pub fn add_csv(
        &mut self,
        member: &str,
        table: &Frame,
        style: &CsvStyle,
    ) -> Result<(), PrepareError> {
        if !self.packing.is_zip() {
            return self.add_bytes(member, table.to_csv(style)?);
        }
        self.start(member)?;
        let Self { packing, path, .. } = self;
        table.write_csv(Member(packing), style).map_err(|error| match error {
            crate::frame::WriteCsvError::Io(error) => error_at("write", path)(error),
            crate::frame::WriteCsvError::Cell(error) => error.into(),
        })
    }

    /// Adds an entry for a folder.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn add_folder(&mut self, member: &str) -> Result<(), PrepareError> {
        let result = self.packing.add_folder(member);
        self.done(result)
    }

    /// Begins a member of a zip that is then [written](Self::write) piece by piece.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn start(&mut self, member: &str) -> Result<(), PrepareError> {
        let result = self.packing.start(member);
        self.done(result)
    }

    /// Appends bytes to the member that was [started](Self::start).
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), PrepareError> {
        let result = self.packing.write(bytes.as_ref());
        self.done(result)
    }

    /// Completes the archive.
    ///
    /// # Errors
    /// When its last bytes cannot be written.
    pub fn finish(self) -> Result<(), PrepareError> {
        let Self { context, packing, path } = self;
        packing.finish().map_err(error_at("write", &path))?;
        context.packed(&path)
    }
}

/// The open member of a zip, as a writer.
struct Member<'a>(&'a mut Packing);

impl std::io::Write for Member<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Pieces as one stream; an error in making one ends it and is kept.
struct Pieces<I> {
    pieces: I,
    piece: Vec<u8>,
    at: usize,
    failure: Option<PrepareError>,
}

impl<I: Iterator<Item = Result<String, PrepareError>>> Read for Pieces<I> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.next() {
                None => return Ok(0),
                Some(Ok(piece)) => (self.piece, self.at) = (piece.into_bytes(), 0),
                Some(Err(failure)) => {
                    self.failure = Some(failure);
                    return Err(std::io::Error::other("a piece could not be made"));
                }
            }
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
