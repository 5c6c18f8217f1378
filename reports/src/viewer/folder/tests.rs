use std::path::{Path, PathBuf};

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("medalist-left-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("writable");
        Self(dir)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("writable");
        std::fs::write(path, bytes).expect("writable");
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_cannot_be_seen_becomes_visible_and_colours_go() {
    let cases: [(&[u8], &str); 8] = [
        (b"plain\tand `code`\n", "plain\tand `code`"),
        (b"\x1b[1;31mred\x1b[0m\r\nnext\r\n\r\n", "red\nnext\n"),
        (b" 10%\r 20%\r100%\n", " 10%\u{240d} 20%\u{240d}100%"),
        (b"\x1b]0;title\x07\x1b[2J", "\u{241b}]0;title\u{2407}\u{241b}[2J"),
        (b"\x1b[31", "\u{241b}[31"),
        ("a\u{202e}b\u{2028}c\u{85}".as_bytes(), "a\\u{202e}b\\u{2028}c\\u{85}"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        (b"", ""),
    ];
    for (bytes, expected) in cases {
        assert_eq!(shown(bytes), expected, "{bytes:?}");
    }
    let long = shown(&vec![b'x'; LINE + 2048]);
    assert!(long.ends_with("x \u{2026} 2.0 KiB more of this line"), "{}", &long[LINE..]);
}

#[test]
fn lines_of_a_long_log_keep_their_numbers() {
    let folder = Folder::new("log");
    assert!(log(folder.path(), 100).is_none());
    let text: String = (1..=1_000).map(|line| format!("line {line}\n")).collect();
    folder.put("run.log", text.as_bytes());
    let whole = log(folder.path(), 1 << 20).expect("a log").text;
    assert_eq!(whole.note, None);
    assert_eq!((whole.segments.len(), whole.segments[0].first), (1, 1));
    assert!(whole.segments[0].text.ends_with("line 1000"));
    for limit in [100, 101, 400, 5_000] {
        let cut = log(folder.path(), limit).expect("a log").text;
        assert!(cut.note.as_deref().expect("said").contains("left out in the middle"));
        for segment in &cut.segments {
            for (i, line) in segment.text.lines().enumerate() {
                assert_eq!(line, format!("line {}", segment.first + i as u64), "{limit}");
            }
        }
        assert!(cut.segments[1].text.ends_with("line 1000"));
        let kept: usize = cut.segments.iter().map(|segment| segment.text.len() + 1).sum();
        assert!(kept as u64 <= limit, "{kept} of {limit}");
    }
    folder.put("run.log", &vec![b'x'; 10_000]);
    let line = log(folder.path(), 1_000).expect("a log").text;
    assert_eq!(line.segments.iter().map(|s| s.first).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn files_are_listed_in_order_and_texts_are_held_up_to_the_limit() {
    let folder = Folder::new("files");
    folder.put("code/b.py", b"print(1)\n");
    folder.put("code/a/best_solution.py", b"print(2)\n");
    folder.put("code/model.bin", b"\0\0");
    folder.put("code/latin.txt", &[b"caf\xe9 ".repeat(10), b"x".repeat(900)].concat());
    folder.put("submission/submission.csv", b"id\n1\n");
    folder.put("snapshots/0000060.csv", b"id\n");
    folder.put("snapshots/code/0000060/b.py", b"print(3)\n");
    folder.put("snapshots/code/0000120/b.py", b"print(4)\n");
    folder.put("tries/1/code/b.py", b"print(0)\n");
    folder.put("elsewhere/secret", b"no");
    let left = files(folder.path(), 1 << 20);
    let paths: Vec<&str> = left.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "code/b.py",
            "code/latin.txt",
            "code/model.bin",
            "code/a/best_solution.py",
            "submission/submission.csv",
            "snapshots/code/0000120/b.py",
            "snapshots/code/0000060/b.py",
            "snapshots/0000060.csv",
            "tries/1/code/b.py",
        ]
    );
    assert_eq!(left.entries[2].note.as_deref(), Some("not a text"));
    assert_eq!(left.texts.len(), 8);
    assert_eq!(left.note, None);
    let first = first_code(&left.entries).expect("code");
    assert_eq!(first.path, "code/a/best_solution.py");
    let little = files(folder.path(), 12);
    assert_eq!(little.entries[1].note.as_deref(), Some("the first 3 B are shown"));
    assert!(little.entries[4].note.as_deref().expect("said").contains("holds no more"));
}

#[cfg(unix)]
#[test]
fn nothing_outside_the_folder_is_read_and_no_pipe_is_opened() {
    use std::os::unix::fs::symlink;
    let (folder, other) = (Folder::new("links"), Folder::new("links-other"));
    other.put("secret", b"secret");
    let secret = other.path().join("secret");
    symlink(&secret, folder.path().join("run.log")).expect("writable");
    symlink(other.path(), folder.path().join("code")).expect("writable");
    folder.put("logs/fine", b"fine");
    symlink(&secret, folder.path().join("logs/link")).expect("writable");
    symlink(other.path(), folder.path().join("logs/folder")).expect("writable");
    symlink("..", folder.path().join("logs/up")).expect("writable");
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("logs/pipe")).status();
    assert!(made.is_ok_and(|status| status.success()));
    assert!(log(folder.path(), 1_000).is_none());
    let left = files(folder.path(), 1_000);
    let told: Vec<(&str, Option<&str>)> =
        left.entries.iter().map(|e| (e.path.as_str(), e.note.as_deref())).collect();
    let link = Some("a link, not followed");
    assert_eq!(
        told,
        [
            ("logs/fine", None),
            ("logs/folder", link),
            ("logs/link", link),
            ("logs/pipe", Some("no plain file")),
            ("logs/up", link),
        ]
    );
    // The harness itself makes links to the try that counts.
    folder.put("tries/2/submission/submission.csv", b"id\n");
    symlink("tries/2/submission", folder.path().join("submission")).expect("writable");
    let left = files(folder.path(), 1_000);
    let paths: Vec<&str> = left.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths[0], "submission/submission.csv");
    assert!(!paths.iter().any(|path| path.starts_with("tries/")), "once: {paths:?}");
}

#[test]
fn thousands_of_files_are_counted_and_not_held() {
    let folder = Folder::new("many");
    for i in 0..LISTED + 30 {
        folder.put(&format!("code/{i:05}.py"), b"x = 1\n");
    }
    let left = files(folder.path(), 1 << 20);
    assert_eq!((left.entries.len(), left.texts.len()), (LISTED, HELD));
    assert_eq!(left.note.as_deref(), Some("30 more files are not listed"));
}
