use super::*;
use crate::attempt::dir::AttemptDir;
use tar::{Builder, EntryType, Header};

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o777);
    header
}

/// Sets a name that the builder itself would refuse.
fn raw_name(header: &mut Header, name: &str) {
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
}

fn add(builder: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, content: &[u8]) {
    let mut header = header(kind, content.len() as u64);
    raw_name(&mut header, name);
    builder.append(&header, content).unwrap();
}

fn salvaged(tar: Vec<u8>, rules: Rules) -> (tempfile::TempDir, Salvage) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("submission");
    fresh_directory(&to).unwrap();
    let mut salvage = Salvage::default();
    from_tar(tar.as_slice(), "submission", &to, rules, &mut salvage);
    (dir, salvage)
}

const RULES: Rules = Rules { entries: 20, bytes: 1000, file_bytes: 600 };

#[test]
fn hostile_entries_are_refused_and_recorded_and_the_rest_is_kept() {
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, "submission/", EntryType::Directory, b"");
    add(&mut builder, "submission/../../evil", EntryType::Regular, b"x");
    add(&mut builder, "submission//etc/passwd", EntryType::Regular, b"x");
    add(&mut builder, "submission/link", EntryType::Symlink, b"");
    add(&mut builder, "submission/hard", EntryType::Link, b"");
    add(&mut builder, "submission/null", EntryType::Char, b"");
    add(&mut builder, "submission/disk", EntryType::Block, b"");
    add(&mut builder, "submission/pipe", EntryType::Fifo, b"");
    add(&mut builder, "submission/large", EntryType::Regular, &[0; 601]);
    add(&mut builder, "submission/a\nb", EntryType::Regular, b"x");
    add(&mut builder, "submission/sub/", EntryType::Directory, b"");
    add(&mut builder, "submission/sub/kept", EntryType::Regular, b"kept");
    add(&mut builder, "submission/sub/kept", EntryType::Regular, b"again");
    let (dir, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
    let whys: Vec<(&str, &str)> = salvage
        .refused
        .iter()
        .map(|refused| (refused.path.as_str(), refused.why.as_str()))
        .collect();
    let expected = [
        ("submission/../../evil", "a path that leads elsewhere"),
        ("submission//etc/passwd", "a path that leads elsewhere"),
        ("submission/link", "a symbolic link"),
        ("submission/hard", "a hard link to a file that was not taken"),
        ("submission/null", "a device"),
        ("submission/disk", "a device"),
        ("submission/pipe", "a pipe"),
        ("submission/large", "too large: 601 bytes"),
        ("submission/a\\nb", "a name with control characters, or too long"),
        ("submission/sub/kept", "a second entry of this name"),
    ];
    assert_eq!(whys, expected);
    assert_eq!((salvage.files, salvage.bytes, salvage.refused_count), (1, 4, 10));
    assert_eq!(fs::read(dir.path().join("submission/sub/kept")).unwrap(), b"kept");
    assert!(!dir.path().join("evil").exists());
}

fn add_link(builder: &mut Builder<Vec<u8>>, name: &str, target: &str) {
    let mut header = header(EntryType::Link, 0);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    raw_name(&mut header, name);
    builder.append(&header, &b""[..]).unwrap();
}

#[test]
fn a_hard_link_is_the_file_that_it_names() {
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, "submission/best.csv", EntryType::Regular, &[7; 400]);
    add_link(&mut builder, "submission/same.csv", "submission/best.csv");
    add_link(&mut builder, "submission/again.csv", "submission/same.csv");
    add_link(&mut builder, "submission/out", "submission/../../secret");
    add_link(&mut builder, "submission/absolute", "/etc/passwd");
    add_link(&mut builder, "submission/later", "submission/not-yet");
    add_link(&mut builder, "submission/itself", "submission/itself");
    add(&mut builder, "submission/not-yet", EntryType::Regular, b"x");
    let (dir, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
    assert_eq!(fs::read(dir.path().join("submission/same.csv")).unwrap(), [7; 400]);
    assert_eq!((salvage.files, salvage.bytes), (3, 801));
    let whys: Vec<&str> = salvage.refused.iter().map(|entry| entry.why.as_str()).collect();
    let link = "a hard link to a file that was not taken";
    assert_eq!(whys, ["too large: 400 bytes", link, link, link, link]);
}

#[test]
fn the_submission_is_left_to_its_own_taking() {
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, "submission/big", EntryType::Regular, &[0; 600]);
    add(&mut builder, "submission/submission.csv", EntryType::Regular, &[0; 600]);
    add_link(&mut builder, "submission/copy", "submission/submission.csv");
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("submission");
    fresh_directory(&to).unwrap();
    fs::write(to.join("submission.csv"), "id").unwrap();
    let mut salvage = Salvage::default();
    let tar = builder.into_inner().unwrap();
    from_tar(tar.as_slice(), "submission", &to, RULES, &mut salvage);
    assert_eq!(fs::read(to.join("submission.csv")).unwrap(), b"id");
    assert_eq!(fs::read(to.join("copy")).unwrap(), b"id");
    assert_eq!((salvage.refused_count, salvage.bytes), (0, 602));
}

#[test]
fn a_submission_under_another_name_is_pointed_out() {
    let cases = [
        ("submission/Submission.csv", "is spelt in another way"),
        ("submission/submission.csv.gz", "is packed, or under another name"),
        ("submission/submission.csv/part-0", "is a directory"),
        ("submission/out/submission.csv", "is in another place"),
        ("code/submission.csv", "is in another place"),
        ("submission/predictions.csv", "but `submission/predictions.csv`"),
    ];
    for (path, said) in cases {
        let dir = tempfile::tempdir().unwrap();
        for label in LABELS {
            fs::create_dir(dir.path().join(label)).unwrap();
        }
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "id").unwrap();
        let mut salvage = Salvage::default();
        say_what_was_meant(&AttemptDir::new(dir.path()), &mut salvage);
        assert!(salvage.hint.clone().unwrap().contains(said), "{:?}", salvage.hint);
    }
    let mut salvage = Salvage::default();
    salvage.refuse(SUBMISSION, "a symbolic link");
    say_what_was_meant(&AttemptDir::new("/nowhere"), &mut salvage);
    assert_eq!(
        salvage.hint.as_deref(),
        Some("`submission/submission.csv` was not taken: a symbolic link")
    );
}

#[test]
fn a_directory_that_is_a_link_gives_nothing() {
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, "submission", EntryType::Symlink, b"");
    let (dir, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
    assert_eq!(salvage.refused[0].why, "a symbolic link");
    assert_eq!(fs::read_dir(dir.path().join("submission")).unwrap().count(), 0);
}

#[test]
fn sums_and_counts_are_limited() {
    let mut builder = Builder::new(Vec::new());
    for name in ["submission/a", "submission/b", "submission/c"] {
        add(&mut builder, name, EntryType::Regular, &[0; 400]);
    }
    let (_, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
    assert_eq!((salvage.files, salvage.bytes), (2, 800));
    assert_eq!(salvage.refused[0].path, "submission/c");

    let mut builder = Builder::new(Vec::new());
    for number in 0..30 {
        add(&mut builder, &format!("submission/{number}"), EntryType::Regular, b"");
    }
    let (_, salvage) = salvaged(builder.into_inner().unwrap(), RULES);
    assert_eq!(salvage.files, 20);
    assert_eq!(salvage.errors, ["submission has more than 20 entries"]);
}

#[test]
fn a_broken_tar_is_an_error_and_no_panic() {
    let (_, salvage) = salvaged(vec![7; 2000], RULES);
    assert_eq!(salvage.errors.len(), 1);
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, "submission/a", EntryType::Regular, &[1; 500]);
    let mut tar = builder.into_inner().unwrap();
    tar.truncate(700);
    let (_, salvage) = salvaged(tar, RULES);
    assert!(salvage.errors.len() <= 1);
}

#[test]
fn a_directory_of_this_machine_is_held_to_the_same_rules() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::write(from.join("sub/kept"), "kept").unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret"), from.join("link")).unwrap();
    fs::hard_link(from.join("sub/kept"), from.join("hard")).unwrap();
    File::create(from.join("sparse")).unwrap().set_len(10 << 30).unwrap();
    let to = dir.path().join("to");
    fresh_directory(&to).unwrap();
    let mut salvage = Salvage::default();
    from_directory(&from, "code", &to, RULES, &mut salvage);
    let mut whys: Vec<&str> = salvage.refused.iter().map(|refused| refused.why.as_str()).collect();
    whys.sort_unstable();
    assert_eq!(whys, ["a symbolic link", "too large: 10737418240 bytes"]);
    assert_eq!(fs::read(to.join("sub/kept")).unwrap(), b"kept");
    assert_eq!(fs::read(to.join("hard")).unwrap(), b"kept");
    assert!(!file_from_directory(
        &from.join("link"),
        "submission.csv",
        &to.join("x"),
        10,
        &mut salvage
    ));
    assert!(file_from_directory(
        &from.join("sub/kept"),
        "submission.csv",
        &to.join("x"),
        10,
        &mut salvage
    ));
}
