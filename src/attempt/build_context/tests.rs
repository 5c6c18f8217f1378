use super::*;

fn names(dir: &Path) -> Vec<String> {
    let context = BuildContext::read(dir, Path::new("Dockerfile")).unwrap();
    context.entries.iter().map(|entry| entry.path.display().to_string()).collect()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn what_is_ignored_is_neither_sent_nor_hashed() {
    let ignore = "# data\ndata\n**/*.pyc\n!keep.pyc\n/top\nDockerfile\nlogs/*\n!logs/keep\n";
    let dir = folder(&[
        (".dockerignore", ignore),
        ("Dockerfile", "FROM scratch"),
        ("data/large", "x"),
        ("src/a.pyc", "x"),
        ("src/a.py", "x"),
        ("keep.pyc", "x"),
        ("top", "x"),
        ("src/top", "x"),
        ("logs/old", "x"),
        ("logs/keep", "x"),
    ]);
    let expected = [
        ".dockerignore",
        "Dockerfile",
        "keep.pyc",
        "logs",
        "logs/keep",
        "src",
        "src/a.py",
        "src/top",
    ];
    assert_eq!(names(dir.path()), expected);
    let hash =
        || BuildContext::read(dir.path(), Path::new("Dockerfile")).unwrap().sha256().unwrap();
    let before = hash();
    fs::write(dir.path().join("data/large"), "other").unwrap();
    assert_eq!(hash(), before);
    fs::write(dir.path().join("src/a.py"), "other").unwrap();
    assert_ne!(hash(), before);
}

#[test]
fn patterns_match_as_docker_does() {
    let cases = [
        ("*.md", "README.md", true),
        ("*.md", "docs/README.md", false),
        ("**/*.md", "docs/a/README.md", true),
        ("**/*.md", "README.md", true),
        ("docs", "docs/a/b", true),
        ("docs/**", "docs/a/b", true),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("\\*x", "*x", true),
        ("\\*x", "yx", false),
        ("./a/../b/", "b", true),
        ("/", "b", false),
        ("[", "[", true),
        ("*", "a/b", true),
        ("a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
    ];
    for (pattern, path, expected) in cases {
        let ignored = Ignore::parse(pattern).ignores(Path::new(path));
        assert_eq!(ignored, expected, "{pattern} {path}");
    }
}

#[test]
fn every_change_that_an_image_could_see_changes_the_hash() {
    let dir = folder(&[("Dockerfile", "FROM scratch"), ("start.sh", "x")]);
    let path = |name: &str| dir.path().join(name);
    let hash =
        || BuildContext::read(dir.path(), Path::new("Dockerfile")).unwrap().sha256().unwrap();
    let mut seen = vec![hash()];
    fs::set_permissions(path("start.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    seen.push(hash());
    std::os::unix::fs::symlink("start.sh", path("link")).unwrap();
    seen.push(hash());
    fs::remove_file(path("link")).unwrap();
    std::os::unix::fs::symlink("Dockerfile", path("link")).unwrap();
    seen.push(hash());
    fs::rename(path("start.sh"), path("begin.sh")).unwrap();
    seen.push(hash());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    assert_eq!(hash(), seen[4], "a socket is no part of an image");
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn what_a_dockerfile_builds_upon_is_found() {
    let text = "ARG BASE=debian\nARG TAG=\"12\"\n# FROM no\nFROM ${BASE}:${TAG} AS build\nRUN x \\\n  FROM y\n\
                FROM build\nCOPY --from=build /a /b\nCOPY --from=0 /a /b\nCOPY --from=tools:1 /a /b\n\
                FROM --platform=linux/amd64 ${OTHER:-env} as last\nFROM scratch\nfrom $BASE\n";
    let given = BTreeMap::from([("BASE".to_owned(), "mlebench-env".to_owned())]);
    assert_eq!(base_images(text, &given), ["mlebench-env:12", "tools:1", "env", "mlebench-env"]);
    assert_eq!(base_images(text, &BTreeMap::new())[0], "debian:12");
}

#[test]
fn what_only_buildkit_understands_is_named_with_its_line() {
    let cases = [
        ("# syntax=docker/dockerfile:1\nFROM x\nRUN echo hi\n", None),
        (
            "FROM x\nRUN --mount=type=cache,target=/c \\\n  pip install y\n",
            Some((2, "RUN --mount")),
        ),
        ("FROM x\n\nCOPY --chown=a --chmod=755 a b\n", Some((3, "COPY --chmod"))),
        ("FROM x\nRUN <<EOF\necho\nEOF\n", Some((2, "RUN <<"))),
        ("FROM x\nRUN cat <<< word; x << 3\nCOPY --chown=a a b\n", None),
    ];
    for (text, expected) in cases {
        let found = needs_buildkit(text);
        let found = found.as_ref().map(|(line, what)| (*line, what.as_str()));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn names_of_images_are_what_engines_accept() {
    for (name, expected) in [
        ("AIDE", "aide"),
        ("aide/dev", "aide/dev"),
        ("My Agent!", "my-agent"),
        ("--", "agent"),
        ("a//b", "a/b"),
    ] {
        assert_eq!(repository(name), expected);
    }
}
