//! A zip file whose members are read in any order, by several threads.
//!
//! Archives of millions of pictures exist, so of a member no more is kept than its name and where
//! it lies: about 56 bytes and the name.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::OnceLock;

use deflate64::Deflate64Decoder;
use flate2::bufread::DeflateDecoder;
use flate2::{Crc, Decompress, FlushDecompress, Status};
use rawzip::{CompressionMethod, ReaderAt, ZipArchiveEntryWayfinder, ZipFileHeaderRecord};
use zip::ZipArchive;
use zip::read::ZipFile;

use super::other::or_unreadable;
use super::shared_file::SharedFile;
use super::zip_names::member_name;
use super::{ArchiveError, Guard};

/// An opened zip whose list of members was checked.
pub(crate) struct ZipSource {
    name: String,
    archive: rawzip::ZipArchive<SharedFile>,
    /// All names one after another.
    names: String,
    /// Files only, sorted by name.
    members: Vec<Member>,
    /// The same archive with its bytes still packed, for the few that are packed into others.
    packed: OnceLock<ZipArchive<SharedFile>>,
}

/// A file in the archive.
#[derive(Clone, Copy)]
struct Member {
    place: ZipArchiveEntryWayfinder,
    /// Where its own header begins.
    header: u64,
    checksum: u32,
    name_begin: u32,
    name_length: u16,
    method: Method,
}

/// How a member is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored,
    Deflated,
    Deflated64,
    Other,
}

impl Method {
    fn of(method: CompressionMethod) -> Self {
        match method {
            CompressionMethod::STORE => Self::Stored,
            CompressionMethod::DEFLATE => Self::Deflated,
            CompressionMethod::DEFLATE64 => Self::Deflated64,
            _ => Self::Other,
        }
    }
}

/// What is gathered while the list of members is read.
#[derive(Default)]
struct Listing {
    names: String,
    members: Vec<Member>,
    /// Where each member begins and how many bytes it has at least.
    extents: Vec<(u64, u64)>,
}

impl ZipSource {
    /// Opens a zip; messages call it `name`.
    pub(crate) fn open(path: &Path, name: &str, ignores_case: bool) -> Result<Self, ArchiveError> {
        let io = |source| ArchiveError::Io { action: "read", path: path.to_owned(), source };
        let file = SharedFile::new(File::open(path).map_err(io)?).map_err(io)?;
        Self::of_file(file, name, ignores_case, &|reason| or_unreadable(path, name, "zip", reason))
    }

    /// Opens a zip that is a member of this one, where it lies; none if it is packed, so that it
    /// must be unpacked first.
    pub(crate) fn open_inside(
        &self,
        member: &str,
        name: &str,
        ignores_case: bool,
    ) -> Result<Option<Self>, ArchiveError> {
        let Some(found) = self.find(member).filter(|found| found.method == Method::Stored) else {
            return Ok(None);
        };
        let file = self.archive.get_ref();
        let begin = data_begin(file, found.header).map_err(|error| self.failed(member, error))?;
        let inside = file.part(begin, found.place.compressed_size_hint());
        let unreadable = |reason: rawzip::Error| ArchiveError::Unreadable {
            archive: name.to_owned(),
            kind: "zip",
            reason: reason.to_string(),
        };
        Self::of_file(inside, name, ignores_case, &unreadable).map(Some)
    }

    fn of_file(
        file: SharedFile,
        name: &str,
        ignores_case: bool,
        unreadable: &dyn Fn(rawzip::Error) -> ArchiveError,
    ) -> Result<Self, ArchiveError> {
        let packed = file.len();
        let mut buffer = vec![0; rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let located = rawzip::ZipLocator::new().locate_in_reader(file, &mut buffer, packed);
        let archive = located.map_err(|(_, error)| unreadable(error))?;
        let mut listing = Listing::default();
        let mut guard = Guard::new(name, packed, ignores_case);
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(unreadable)? {
            listing.add(&entry, &mut guard)?;
        }
        let mut source = Self {
            name: name.to_owned(),
            archive,
            names: listing.names,
            members: listing.members,
            packed: OnceLock::new(),
        };
        source.sort(&guard)?;
        source.check_extents(listing.extents, packed)?;
        Ok(source)
    }

    /// Puts the members in the order of their names, of which no two may be the same.
    fn sort(&mut self, guard: &Guard<'_>) -> Result<(), ArchiveError> {
        let mut members = std::mem::take(&mut self.members);
        members.sort_unstable_by(|a, b| self.name_of(a).cmp(self.name_of(b)));
        if let Some(pair) =
            members.windows(2).find(|pair| self.name_of(&pair[0]) == self.name_of(&pair[1]))
        {
            return Err(guard.refuse(self.name_of(&pair[0]), "it is there twice"));
        }
        self.members = members;
        Ok(())
    }

    /// Members lie one behind another, before the end of the file.
    fn check_extents(&self, mut extents: Vec<(u64, u64)>, length: u64) -> Result<(), ArchiveError> {
        extents.sort_unstable();
        let end = |&(begin, bytes): &(u64, u64)| begin.saturating_add(bytes);
        if extents.windows(2).any(|pair| end(&pair[0]) > pair[1].0) {
            let what = "members share the same bytes, as in a zip bomb".to_owned();
            return Err(ArchiveError::Bomb { archive: self.name.clone(), what });
        }
        match extents.last().filter(|last| end(last) > length) {
            None => Ok(()),
            Some(_) => Err(ArchiveError::Unreadable {
                archive: self.name.clone(),
                kind: "zip",
                reason: "its last member ends behind the end of the file".to_owned(),
            }),
        }
    }

    fn name_of(&self, member: &Member) -> &str {
        let begin = member.name_begin as usize;
        &self.names[begin..begin + usize::from(member.name_length)]
    }

    pub(crate) fn contains(&self, member: &str) -> bool {
        self.find(member).is_some()
    }

    fn find(&self, member: &str) -> Option<&Member> {
        let place = self.members.binary_search_by(|known| self.name_of(known).cmp(member)).ok()?;
        Some(&self.members[place])
    }

    /// The names of all files below a folder (`""` for all), sorted by code point.
    pub(crate) fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let begin = self.members.partition_point(|member| self.name_of(member) < prefix.as_str());
        let names = self.members[begin..].iter().map(|member| self.name_of(member));
        names.take_while(move |name| name.starts_with(&prefix))
    }

    /// A stream of a member's bytes that outlives this one; its end checks number and checksum.
    pub(crate) fn stream(&self, member: &str) -> Result<MemberStream, ArchiveError> {
        let found =
            self.find(member).ok_or_else(|| self.failed(member, "there is no such member"))?;
        let file = self.archive.get_ref().clone();
        let begin = data_begin(&file, found.header).map_err(|error| self.failed(member, error))?;
        let (bytes, announced) =
            (found.place.compressed_size_hint(), found.place.uncompressed_size_hint());
        let packed = file.part(begin, bytes);
        // Small members need no large buffer.
        let ahead = bytes.clamp(512, 256 << 10) as usize;
        let packed = BufReader::with_capacity(ahead, packed);
        let stream: Box<dyn Read + Send> = match found.method {
            Method::Stored => Box::new(packed),
            Method::Deflated => Box::new(DeflateDecoder::new(packed)),
            Method::Deflated64 => Box::new(Deflate64Decoder::with_buffer(packed)),
            Method::Other => {
                return Err(self.failed(member, "it is packed by a method that is not known here"));
            }
        };
        Ok(MemberStream { stream, crc: Crc::new(), bytes: 0, announced, checksum: found.checksum })
    }

    /// A reader for one thread.
    pub(crate) fn reader(&self) -> ZipReader<'_> {
        ZipReader {
            source: self,
            packed: None,
            buffer: Vec::new(),
            small: Vec::new(),
            inflate: None,
        }
    }

    fn failed(&self, member: &str, reason: impl std::fmt::Display) -> ArchiveError {
        ArchiveError::Member {
            archive: self.name.clone(),
            member: member.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl Listing {
    fn add(
        &mut self,
        entry: &ZipFileHeaderRecord<'_>,
        guard: &mut Guard<'_>,
    ) -> Result<(), ArchiveError> {
        let name = member_name(entry);
        if entry.mode().is_symlink() {
            return Err(guard.refuse(&name, "it is a link"));
        }
        if entry.is_dir() {
            return super::safe_path(&name).map(drop).map_err(|what| guard.refuse(&name, what));
        }
        if entry.flags().is_encrypted() {
            return Err(guard.refuse(&name, "it is encrypted"));
        }
        let path = guard.member(&name)?;
        let path = path.to_string_lossy();
        guard.size(entry.uncompressed_size_hint())?;
        let (Ok(name_begin), Ok(name_length)) =
            (u32::try_from(self.names.len()), u16::try_from(path.len()))
        else {
            return Err(guard.refuse(&name, "its name, or all names together, are too long"));
        };
        self.names.push_str(&path);
        let method = Method::of(entry.compression_method());
        self.members.push(Member {
            place: entry.wayfinder(),
            header: entry.local_header_offset(),
            checksum: entry.crc32(),
            name_begin,
            name_length,
            method,
        });
        let bytes = entry.compressed_size_hint().saturating_add(HEADER as u64);
        self.extents.push((entry.local_header_offset(), bytes));
        Ok(())
    }
}

impl ReaderAt for SharedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_from(buffer, offset)
    }
}

/// The header that stands before a member's data, without its name.
const HEADER: usize = 30;

/// Where the data of a member begin, whose own header is at a place of the file.
fn data_begin(file: &SharedFile, header: u64) -> io::Result<u64> {
    let mut head = [0; HEADER];
    file.part(header, HEADER as u64).read_exact(&mut head)?;
    if !head.starts_with(b"PK\x03\x04") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has no header"));
    }
    Ok(header + (HEADER + variable_length(&head)) as u64)
}

/// The bytes of name and extra fields behind a member's own header.
fn variable_length(head: &[u8]) -> usize {
    let length = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    length(26) + length(28)
}

/// Reads members of a [`ZipSource`].
pub(crate) struct ZipReader<'a> {
    source: &'a ZipSource,
    packed: Option<ZipArchive<SharedFile>>,
    /// Used again for each member that is copied.
    buffer: Vec<u8>,
    /// Used again for each member that is [unpacked whole](Self::whole): as it is packed.
    small: Vec<u8>,
    inflate: Option<Box<Decompress>>,
}

impl<'a> ZipReader<'a> {
    fn member(&self, member: &str) -> Result<&'a Member, ArchiveError> {
        self.source
            .find(member)
            .ok_or_else(|| self.source.failed(member, "there is no such member"))
    }

    /// The size of a member when unpacked, as announced.
    pub(crate) fn size(&self, member: &str) -> Result<u64, ArchiveError> {
        Ok(self.member(member)?.place.uncompressed_size_hint())
    }

    /// The bytes of a member, read with a single call to the system; none if it is large, or packed
    /// in a way that only [`open`](Self::open) knows.
    pub(crate) fn whole(&mut self, member: &str) -> Result<Option<&[u8]>, ArchiveError> {
        const LARGEST: u64 = 1 << 20;
        /// More than the name and the extra fields of most members.
        const NAME: usize = 256;
        let found = *self.member(member)?;
        let (packed, bytes) =
            (found.place.compressed_size_hint(), found.place.uncompressed_size_hint());
        let is_known = matches!(found.method, Method::Stored | Method::Deflated);
        if !is_known || packed > LARGEST || !(1..=LARGEST).contains(&bytes) {
            return Ok(None);
        }
        let failed = |reason: &dyn std::fmt::Display| self.source.failed(member, reason);
        let file = self.source.archive.get_ref();
        self.small.resize(HEADER + NAME + packed as usize, 0);
        let mut filled = 0;
        while filled < self.small.len() {
            let place = found.header + filled as u64;
            match file
                .read_from(&mut self.small[filled..], place)
                .map_err(|error| failed(&error))?
            {
                0 => break,
                read => filled += read,
            }
        }
        let head = &self.small[..filled];
        if filled < HEADER || !head.starts_with(b"PK\x03\x04") {
            return Err(failed(&"it has no header"));
        }
        let begin = HEADER + variable_length(head);
        let Some(data) = head.get(begin..begin + packed as usize) else { return Ok(None) };
        self.buffer.clear();
        if found.method == Method::Stored {
            if packed != bytes {
                return Err(failed(&"it has two sizes"));
            }
            self.buffer.extend_from_slice(data);
        } else {
            // A byte more than announced has room, so that it is noticed.
            self.buffer.resize(bytes as usize + 1, 0);
            let inflate = self.inflate.get_or_insert_with(|| Box::new(Decompress::new(false)));
            inflate.reset(false);
            let end = inflate.decompress(data, &mut self.buffer, FlushDecompress::Finish);
            let whole = matches!(end, Ok(Status::StreamEnd)) && inflate.total_out() == bytes;
            if !whole {
                return Err(failed(&format!("expected {bytes} bytes when it is unpacked")));
            }
            self.buffer.truncate(bytes as usize);
        }
        let mut crc = Crc::new();
        crc.update(&self.buffer);
        if crc.sum() != found.checksum {
            return Err(failed(&"its checksum is wrong"));
        }
        Ok(Some(&self.buffer))
    }

    /// Writes a member's bytes to `out` and gives their number, which is the announced one.
    pub(crate) fn copy(&mut self, member: &str, out: &mut impl Write) -> Result<u64, CopyError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(64 << 10, 0);
        let result = self.copy_through(member, out, &mut buffer);
        self.buffer = buffer;
        result
    }

    fn copy_through(
        &self,
        member: &str,
        out: &mut impl Write,
        buffer: &mut [u8],
    ) -> Result<u64, CopyError> {
        let mut stream = self.source.stream(member)?;
        let mut written = 0;
        loop {
            let read = match stream.read(buffer) {
                Ok(0) => return Ok(written),
                Ok(read) => read,
                Err(error) => return Err(self.source.failed(member, error).into()),
            };
            out.write_all(&buffer[..read]).map_err(CopyError::Write)?;
            written += read as u64;
        }
    }

    /// A member with its bytes still packed, if other programs are sure to read them so.
    pub(super) fn packed(
        &mut self,
        member: &str,
    ) -> Result<Option<ZipFile<'_, SharedFile>>, ArchiveError> {
        let source = self.source;
        let found = self.member(member)?;
        if !matches!(found.method, Method::Stored | Method::Deflated) {
            return Ok(None);
        }
        if self.packed.is_none() {
            let opened = match source.packed.get() {
                Some(opened) => opened.clone(),
                None => {
                    let file = source.archive.get_ref().clone();
                    let opened =
                        ZipArchive::new(file).map_err(|error| source.failed(member, error))?;
                    source.packed.get_or_init(|| opened).clone()
                }
            };
            self.packed = Some(opened);
        }
        let archive = self.packed.as_mut().expect("it was just opened");
        let index = archive
            .index_for_path(member)
            .ok_or_else(|| source.failed(member, "its name is written in an odd way"))?;
        archive.by_index_raw(index).map(Some).map_err(|error| source.failed(member, error))
    }
}

/// A stream that must end after the announced number of bytes with the announced checksum.
pub(crate) struct MemberStream {
    stream: Box<dyn Read + Send>,
    crc: Crc,
    bytes: u64,
    announced: u64,
    checksum: u32,
}

impl Read for MemberStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.crc.update(&buffer[..read]);
        self.bytes += read as u64;
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if self.bytes > self.announced
            || read == 0 && !buffer.is_empty() && self.bytes < self.announced
        {
            let found = if read == 0 { self.bytes.to_string() } else { "more".to_owned() };
            return Err(wrong(format!("expected {} bytes, found {found}", self.announced)));
        }
        if read == 0 && !buffer.is_empty() && self.crc.sum() != self.checksum {
            return Err(wrong(format!(
                "expected the checksum {:08x}, found {:08x}",
                self.checksum,
                self.crc.sum()
            )));
        }
        Ok(read)
    }
}

/// Which side of a copy failed.
pub(crate) enum CopyError {
    Read(ArchiveError),
    Write(io::Error),
}

impl From<ArchiveError> for CopyError {
    fn from(error: ArchiveError) -> Self {
        Self::Read(error)
    }
}
