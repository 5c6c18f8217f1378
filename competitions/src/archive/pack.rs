//! Archives that come out the same however often they are made.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use rayon::prelude::*;
use sevenz_rust2::{ArchiveEntry, ArchiveWriter};
use zip::write::{PreparedZipFile, SimpleFileOptions};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::ZipReader;

/// An archive being written.
pub(crate) enum Packing {
    Zip(Box<ZipWriter<BufWriter<File>>>),
    SevenZip(Box<ArchiveWriter<BufWriter<File>>>),
    Tar(Box<tar::Builder<BufWriter<File>>>),
    TarGz(Box<tar::Builder<GzEncoder<BufWriter<File>>>>),
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Keeps a full disk recognisable.
fn zip_error(error: zip::result::ZipError) -> io::Error {
    match error {
        zip::result::ZipError::Io(error) => error,
        error => other(error),
    }
}

fn zip_options(size: u64) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644)
        .large_file(size >= u64::from(u32::MAX))
}

fn tar_header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn folder_header() -> tar::Header {
    let mut header = tar_header(0);
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header
}

impl Packing {
    pub(crate) fn zip(file: File) -> Self {
        Self::Zip(Box::new(ZipWriter::new(BufWriter::with_capacity(256 << 10, file))))
    }

    pub(crate) fn seven_zip(file: File) -> io::Result<Self> {
        Ok(Self::SevenZip(Box::new(
            ArchiveWriter::new(BufWriter::with_capacity(256 << 10, file)).map_err(other)?,
        )))
    }

    pub(crate) fn tar(file: File) -> Self {
        Self::Tar(Box::new(tar::Builder::new(BufWriter::with_capacity(256 << 10, file))))
    }

    /// A gzipped tar; lightly packed, for what lies in such archives is mostly packed itself.
    pub(crate) fn tar_gz(file: File) -> Self {
        let packed = GzEncoder::new(BufWriter::with_capacity(256 << 10, file), Compression::fast());
        Self::TarGz(Box::new(tar::Builder::new(packed)))
    }

    pub(crate) fn is_zip(&self) -> bool {
        matches!(self, Self::Zip(_))
    }

    /// Adds a member of known size from a stream.
    pub(crate) fn add(&mut self, name: &str, size: u64, mut stream: impl Read) -> io::Result<()> {
        match self {
            Self::Zip(writer) => {
                writer.start_file(name, zip_options(size)).map_err(zip_error)?;
                io::copy(&mut stream, writer).map(drop)
            }
            Self::SevenZip(writer) => writer
                .push_archive_entry(ArchiveEntry::new_file(name), Some(stream))
                .map(drop)
                .map_err(other),
            Self::Tar(writer) => writer.append_data(&mut tar_header(size), name, stream.take(size)),
            Self::TarGz(writer) => {
                writer.append_data(&mut tar_header(size), name, stream.take(size))
            }
        }
    }

    /// Adds an entry for a folder.
    pub(crate) fn add_folder(&mut self, name: &str) -> io::Result<()> {
        match self {
            Self::Zip(writer) => writer
                .add_directory(name, zip_options(0).unix_permissions(0o755))
                .map_err(zip_error),
            Self::SevenZip(writer) => writer
                .push_archive_entry::<&[u8]>(ArchiveEntry::new_directory(name), None)
                .map(drop)
                .map_err(other),
            Self::Tar(writer) => writer.append_data(&mut folder_header(), name, io::empty()),
            Self::TarGz(writer) => writer.append_data(&mut folder_header(), name, io::empty()),
        }
    }

    /// Adds small members, packing them on all threads.
    pub(crate) fn add_all(&mut self, members: &[(String, Vec<u8>)]) -> io::Result<()> {
        let Self::Zip(writer) = self else {
            return members
                .iter()
                .try_for_each(|(name, data)| self.add(name, data.len() as u64, &**data));
        };
        let packed: Vec<_> = members
            .par_iter()
            .map(|(name, data)| {
                PreparedZipFile::from_data(name, zip_options(data.len() as u64), data)
            })
            .collect();
        packed.into_iter().try_for_each(|file| {
            writer.add_prepared_file(file.map_err(zip_error)?).map_err(zip_error)
        })
    }

    /// Adds a member of another zip as it is, without unpacking it; says whether that was possible.
    pub(crate) fn add_packed(
        &mut self,
        name: &str,
        reader: &mut ZipReader<'_>,
        member: &str,
    ) -> io::Result<bool> {
        let Self::Zip(writer) = self else {
            return Ok(false);
        };
        let Some(file) = reader.packed(member).map_err(other)? else {
            return Ok(false);
        };
        writer.raw_copy_file_rename(file, name).map_err(zip_error)?;
        Ok(true)
    }

    /// Begins a member of a zip whose bytes are then written piece by piece; its size may be
    /// anything.
    pub(crate) fn start(&mut self, name: &str) -> io::Result<()> {
        match self {
            Self::Zip(writer) => writer.start_file(name, zip_options(u64::MAX)).map_err(zip_error),
            _ => Err(other("only a zip takes a member piece by piece")),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Zip(writer) => writer.write_all(bytes),
            _ => Err(other("only a zip takes a member piece by piece")),
        }
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        let mut out = match self {
            Self::Zip(writer) => writer.finish().map_err(zip_error)?,
            Self::SevenZip(writer) => writer.finish()?,
            Self::Tar(writer) => writer.into_inner()?,
            Self::TarGz(writer) => writer.into_inner()?.finish()?,
        };
        out.flush()
    }
}
