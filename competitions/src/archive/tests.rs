use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn zip_with(write: impl FnOnce(&mut ZipWriter<File>)) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let mut writer = ZipWriter::new(File::create(&path).unwrap());
    write(&mut writer);
    writer.finish().unwrap();
    (folder, path)
}

fn open(path: &Path) -> Result<ZipSource, ArchiveError> {
    ZipSource::open(path, "a.zip", false)
}

fn refusal(path: &Path) -> String {
    match open(path) {
        Ok(_) => panic!("the archive should be refused"),
        Err(error) => error.to_string(),
    }
}

fn with_member(name: &str) -> (TempDir, PathBuf) {
    zip_with(|zip| {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(b"evil").unwrap();
    })
}

#[test]
fn zip_members_that_leave_their_folder_are_refused() {
    for name in ["../evil.csv", "a/../../evil.csv", "/tmp/evil.csv", "..\\evil.csv", "C:\\evil.csv"]
    {
        let (_folder, path) = with_member(name);
        assert!(
            refusal(&path).starts_with(&format!("member `{name}` of `a.zip` is refused: ")),
            "{name}"
        );
    }
}

#[test]
fn links_in_a_zip_are_refused() {
    let (_folder, path) = zip_with(|zip| {
        zip.add_symlink("train.csv", "/etc/passwd", SimpleFileOptions::default()).unwrap()
    });
    assert_eq!(refusal(&path), "member `train.csv` of `a.zip` is refused: it is a link");
}

#[test]
fn a_zip_that_is_cut_short_says_so() {
    let (_folder, path) = with_member("train.csv");
    let whole = fs::read(&path).unwrap();
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(refusal(&path).contains("it may be cut short"), "cut at {length}");
    }
}

#[test]
fn damaged_members_are_named() {
    let (_folder, path) = zip_with(|zip| {
        let stored =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("train.csv", stored).unwrap();
        zip.write_all(b"id,label\n1,2\n").unwrap();
    });
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.windows(4).position(|window| window == b"id,l").unwrap();
    bytes[place] = b'x';
    fs::write(&path, bytes).unwrap();
    let zip = open(&path).unwrap();
    let Err(CopyError::Read(error)) = zip.reader().copy("train.csv", &mut Vec::new()) else {
        panic!("a wrong checksum should be an error");
    };
    assert!(
        error.to_string().starts_with("member `train.csv` of `a.zip` cannot be read"),
        "{error}"
    );
}

#[test]
fn members_that_share_bytes_are_refused() {
    let (_folder, path) = zip_with(|zip| {
        zip.start_file("a", SimpleFileOptions::default()).unwrap();
        zip.write_all(&[0; 10_000]).unwrap();
        zip.shallow_copy_file("a", "b").unwrap();
    });
    assert!(refusal(&path).contains("zip bomb"));
}

#[test]
fn packing_gives_the_same_bytes_and_reads_back() {
    let pack = |kind: ArchiveKind| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let file = File::create(&path).unwrap();
        let mut packing = match kind {
            ArchiveKind::Zip => Packing::zip(file),
            ArchiveKind::SevenZip => Packing::seven_zip(file).unwrap(),
            ArchiveKind::Tar => Packing::tar(file),
        };
        packing.add("a/1.txt", 3, &b"one"[..]).unwrap();
        packing
            .add_all(&[("b.txt".to_owned(), b"two".to_vec()), ("c".to_owned(), Vec::new())])
            .unwrap();
        packing.finish().unwrap();
        fs::read(&path).unwrap()
    };
    for kind in [ArchiveKind::Zip, ArchiveKind::SevenZip, ArchiveKind::Tar] {
        let bytes = pack(kind);
        assert_eq!(bytes, pack(kind), "{kind:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, &bytes).unwrap();
        let read = |name: &str| match kind {
            ArchiveKind::Zip => {
                let mut bytes = Vec::new();
                assert!(open(&path).unwrap().reader().copy(name, &mut bytes).is_ok());
                bytes
            }
            kind => {
                let into = tempfile::tempdir().unwrap();
                unpack(kind, &path, "a", into.path(), false).unwrap();
                fs::read(into.path().join(name)).unwrap()
            }
        };
        assert_eq!(
            (read("a/1.txt"), read("b.txt"), read("c")),
            (b"one".to_vec(), b"two".to_vec(), vec![]),
            "{kind:?}"
        );
    }
}

fn unpack_tar(write: impl FnOnce(&mut tar::Builder<File>)) -> (TempDir, Result<(), ArchiveError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let mut builder = tar::Builder::new(File::create(&path).unwrap());
    write(&mut builder);
    builder.into_inner().unwrap();
    let into = folder.path().join("into");
    fs::create_dir(&into).unwrap();
    let result = unpack(ArchiveKind::Tar, &path, "a.tar", &into, false);
    (folder, result)
}

fn tar_entry(
    builder: &mut tar::Builder<File>,
    name: &str,
    kind: tar::EntryType,
    link: Option<&str>,
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    // The library refuses such names itself, so they are written by hand.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(link) = link {
        header.set_link_name_literal(link).unwrap();
    }
    header.set_cksum();
    builder.append(&header, std::io::empty()).unwrap();
}

#[test]
fn hostile_tar_entries_are_refused() {
    let cases = [
        ("../evil", tar::EntryType::Regular, None),
        ("/tmp/evil", tar::EntryType::Regular, None),
        ("link", tar::EntryType::Symlink, Some("/etc/passwd")),
        ("hard", tar::EntryType::Link, Some("../../etc/passwd")),
        ("device", tar::EntryType::Char, None),
        ("../folder", tar::EntryType::Directory, None),
    ];
    for (name, kind, link) in cases {
        let (folder, result) = unpack_tar(|builder| tar_entry(builder, name, kind, link));
        assert!(matches!(result, Err(ArchiveError::Refused { .. })), "{name}: {result:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{name}");
        assert_eq!(fs::read_dir(folder.path().join("into")).unwrap().count(), 0, "{name}");
    }
    let (_folder, result) =
        unpack_tar(|builder| tar_entry(builder, "./", tar::EntryType::Directory, None));
    assert!(result.is_ok());
}

#[test]
fn other_archives_that_are_cut_short_say_so() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [ArchiveKind::SevenZip, ArchiveKind::Tar] {
        let path = folder.path().join("out");
        let file = File::create(&path).unwrap();
        let mut packing = match kind {
            ArchiveKind::SevenZip => Packing::seven_zip(file).unwrap(),
            _ => Packing::tar(file),
        };
        packing.add("a.txt", 5000, &vec![7u8; 5000][..]).unwrap();
        packing.finish().unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len().min(3000) * 2 / 3]).unwrap();
        let into = tempfile::tempdir_in(folder.path()).unwrap();
        let error = unpack(kind, &path, "a", into.path(), false).unwrap_err().to_string();
        assert!(error.contains("it may be cut short"), "{kind:?}: {error}");
    }
}

/// Windows packs archives beyond 2 GB so. The fixture is of 7-Zip (`7z a -tzip -mm=Deflate64
/// -mx=9`); one of its copies lies further back than plain deflate can reach, and one is longer
/// than its longest.
#[test]
fn deflate64_is_unpacked_and_packed_anew() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/archives/deflate64.zip");
    let zip = open(&path).unwrap();
    assert_eq!(zip.below("").collect::<Vec<_>>(), ["far.csv", "train.csv"]);
    let read = |zip: &ZipSource, member: &str| {
        let mut bytes = Vec::new();
        assert!(zip.reader().copy(member, &mut bytes).is_ok(), "{member}");
        bytes
    };
    let table: String = (0..200).map(|row| format!("{row},{}\n", row % 3)).collect();
    assert_eq!(read(&zip, "train.csv"), format!("id,label\n{table}").into_bytes());
    let far = read(&zip, "far.csv");
    let lines: Vec<u8> =
        (0..6000).flat_map(|row| format!("{row},{}\n", row % 3).into_bytes()).collect();
    let block = &far[..600];
    assert_eq!(far, [block, &lines, block, &[b'x'; 70_000], block].concat());

    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed.zip");
    let mut packing = Packing::zip(File::create(&packed).unwrap());
    assert!(
        !packing.add_packed("far.csv", &mut zip.reader(), "far.csv").unwrap(),
        "agents' tools may not know deflate64"
    );
    packing.add("far.csv", far.len() as u64, &far[..]).unwrap();
    packing.finish().unwrap();
    assert_eq!(read(&open(&packed).unwrap(), "far.csv"), far);
}

#[test]
fn names_are_read_as_python_reads_them() {
    let name = |raw: &[u8], flags: u16, extra: &[u8]| {
        let (_folder, path) = zip_by_hand(&[(raw, b"x")], flags, extra);
        let zip = open(&path).unwrap();
        zip.below("").map(str::to_owned).collect::<Vec<_>>().remove(0)
    };
    assert_eq!(name("Größe.csv".as_bytes(), 1 << 11, &[]), "Größe.csv");
    assert_eq!(name(b"Gr\x94\xe1e.csv", 0, &[]), "Größe.csv");
    assert_eq!(name("ö".as_bytes(), 0, &[]), "├╢");
    let mut extra = vec![0x75, 0x70, 7, 0, 1];
    extra.extend(rawzip::crc32(b"\xf6").to_le_bytes());
    extra.extend("ö".as_bytes());
    assert_eq!(name(b"\xf6", 0, &extra), "ö");
    extra[5] ^= 1;
    assert_eq!(name(b"\xf6", 0, &extra), "÷");
}

#[test]
fn names_that_are_there_twice_are_refused() {
    let (_folder, path) = zip_by_hand(&[(b"a/b", b"1"), (b"c", b"2"), (b"a//b", b"3")], 0, &[]);
    assert_eq!(refusal(&path), "member `a/b` of `a.zip` is refused: it is there twice");
    let (_folder, path) = zip_by_hand(&[(b"a/b", b"1"), (b"A/b", b"2")], 0, &[]);
    assert!(open(&path).is_ok());
    let error = ZipSource::open(&path, "a.zip", true).err().unwrap().to_string();
    assert_eq!(
        error,
        "member `A/b` of `a.zip` is refused: this file system does not tell it from `a/b`"
    );
}

#[test]
fn members_with_other_sizes_than_announced_are_named() {
    let (_folder, path) = zip_by_hand(&[(b"a.txt", b"12345")], 0, &[]);
    let whole = fs::read(&path).unwrap();
    let directory = whole.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for (announced, found) in [(4, "found more"), (6, "found 5")] {
        let mut bytes = whole.clone();
        bytes[directory + 24] = announced;
        fs::write(&path, bytes).unwrap();
        let zip = open(&path).unwrap();
        let Err(CopyError::Read(error)) = zip.reader().copy("a.txt", &mut Vec::new()) else {
            panic!("another size should be an error");
        };
        let expected = format!(
            "member `a.txt` of `a.zip` cannot be read (expected {announced} bytes, {found})"
        );
        assert_eq!(error.to_string(), expected);
    }
}

/// A zip of stored members, written by hand: no packer takes such names.
fn zip_by_hand(members: &[(&[u8], &[u8])], flags: u16, extra: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let begin = bytes.len() as u32;
        let mut head = [20, 0].to_vec();
        head.extend(flags.to_le_bytes());
        head.extend([0; 6]);
        head.extend(rawzip::crc32(data).to_le_bytes());
        head.extend([(data.len() as u32).to_le_bytes(); 2].concat());
        head.extend((name.len() as u16).to_le_bytes());
        head.extend((extra.len() as u16).to_le_bytes());
        bytes.extend([b"PK\x03\x04", &head[..], name, extra, data].concat());
        let end = [&[0; 10][..], &begin.to_le_bytes(), name, extra].concat();
        directory.extend([b"PK\x01\x02\x14\x00", &head[..], &end].concat());
    }
    let begin = bytes.len() as u32;
    bytes.extend(&directory);
    let count = (members.len() as u16).to_le_bytes();
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    bytes.extend([(directory.len() as u32).to_le_bytes(), begin.to_le_bytes()].concat());
    bytes.extend([0, 0]);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}
