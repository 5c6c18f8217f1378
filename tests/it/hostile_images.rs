//! Hostile images: whatever an image holds where the harness works, the agent runs under the seal
//! or not at all, and the image is to blame.
//!
//! Each image is made here from a tar and a Dockerfile, or the same as an OCI layout, without a
//! registry. A case that held prints a line, which `scripts/attack` counts.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use medalist::attempt::launch::Program;
use medalist::attempt::outcome::Outcome;
use medalist::run::clock::AttemptEvent;
use medalist::sandbox::engine::BuildRequest;
use tar::EntryType;

use crate::executor_bench::{Bench, Finished, Kind, probe};
use crate::support::oci;

/// The probe, outside of all places that an image may spoil.
const PROBE: &str = "/probe";
/// What a bare container of this engine may not do: see `harness_is_held`.
const STATUS: [&str; 2] = ["show", "/proc/self/status"];

/// An image in the making: the probe, the usual directories, and what the case adds.
struct Image {
    name: String,
    architecture: &'static str,
    tar: tar::Builder<Vec<u8>>,
    lines: String,
}

impl Image {
    fn new(name: &str) -> Self {
        let mut image = Self {
            name: name.to_string(),
            architecture: oci::architecture(),
            tar: tar::Builder::new(Vec::new()),
            lines: String::new(),
        };
        image.file(PROBE, 0o755, &std::fs::read(probe()).unwrap());
        image
    }

    fn entry(&mut self, path: &str, kind: EntryType, mode: u32, link: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        let path = path.trim_start_matches('/');
        if link.is_empty() {
            self.tar.append_data(&mut header, path, bytes).unwrap();
        } else {
            self.tar.append_link(&mut header, path, link).unwrap();
        }
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.entry(path, EntryType::Regular, mode, "", bytes);
    }

    fn directory(&mut self, path: &str, mode: u32) {
        self.entry(path, EntryType::Directory, mode, "", &[]);
    }

    /// Lets everybody write to `/`, a name that the tar's builder would not take.
    fn open_root(&mut self) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o777);
        header.set_size(0);
        header.as_old_mut().name[..2].copy_from_slice(b"./");
        header.set_cksum();
        self.tar.append(&header, &[][..]).unwrap();
    }

    fn link(&mut self, path: &str, target: &str) {
        self.entry(path, EntryType::Symlink, 0o777, target, &[]);
    }

    fn pipe(&mut self, path: &str) {
        self.entry(path, EntryType::Fifo, 0o666, "", &[]);
    }

    /// A line of its Dockerfile.
    fn line(&mut self, line: &str) {
        self.lines.push_str(line);
        self.lines.push('\n');
    }

    /// Makes it for the bench's executor; gives its reference.
    async fn make(self, bench: &Bench) -> String {
        let files = self.tar.into_inner().unwrap();
        let Some(engine) = &bench.engine else {
            let dir = bench.scratch(&format!("hostile-{}", self.name));
            return oci::layout(&dir, &[files], &oci::config_of(&self.lines), self.architecture);
        };
        let tag = format!("medalist-test/hostile-{}:{}", self.name, std::process::id());
        if self.architecture != oci::architecture() {
            load_foreign(&tag, self.architecture);
            return tag;
        }
        engine.import(files, &tag).await.unwrap();
        if !self.lines.is_empty() {
            let mut context = tar::Builder::new(Vec::new());
            let text = format!("FROM {tag}\n{}", self.lines);
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            context.append_data(&mut header, "Dockerfile", text.as_bytes()).unwrap();
            let request = BuildRequest { tag: tag.clone(), ..BuildRequest::default() };
            engine.build(&request, context.into_inner().unwrap(), &mut |_| {}).await.unwrap();
        }
        tag
    }
}

/// Removes an image that an engine has.
async fn forget(bench: &Bench, reference: &str) {
    if let Some(engine) = &bench.engine {
        engine.remove_image(reference).await.unwrap();
    }
}

/// Runs the probe through `steps` in an image, and removes the image.
async fn run_in(bench: &Bench, image: Image, steps: &[&str]) -> Finished {
    let tag = image.make(bench).await;
    let mut argv = vec![PROBE.to_string()];
    argv.extend(steps.iter().map(ToString::to_string));
    let program = Program::Image { reference: tag.clone(), argv };
    let run = bench.run_with(&[], |spec| spec.program = program).await;
    forget(bench, &tag).await;
    run
}

/// The image was refused for the reason that is said, and nothing of it ran or reached this
/// machine.
fn is_refused(case: &str, run: &Finished, said: &str) {
    let Outcome::ImageRefused { cause } = &run.end.outcome else {
        panic!("{case}: {:?}\n{}", run.end.outcome, run.log())
    };
    assert!(cause.contains(said), "{case}: {cause}");
    assert!(!cause.chars().any(char::is_control), "{case}: {cause:?}");
    assert!(!run.end.outcome.is_infrastructure(), "the machine is not to blame");
    assert_eq!(run.log(), "", "{case}: the agent ran");
    host_is_clean(case, &run.dir);
    println!("image {case}: held ({cause})");
}

/// The agent ran to its end as nobody in particular.
fn is_held(case: &str, run: &Finished) {
    assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{case}: {}", run.log());
    let log = run.log();
    let value = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().map(ToString::to_string).collect::<Vec<_>>()
    };
    for name in ["Uid:", "Gid:"] {
        let ids = value(name);
        assert_eq!(ids.len(), 4, "{case}: {log}");
        assert!(ids.iter().all(|id| id != "0" && id != "4294967295"), "{case}: {name} {ids:?}");
    }
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(value(name), ["0000000000000000"], "{case}: {name}");
    }
    assert_eq!(value("NoNewPrivs:"), ["1"], "{case}");
    assert!(!log.contains(": OPEN ("), "{case}: {log}");
    host_is_clean(case, &run.dir);
    println!("image {case}: held (ran as {})", value("Uid:")[0]);
}

/// Only what the harness makes is in the attempt's directory, and nothing that changes who runs it.
fn host_is_clean(case: &str, dir: &Path) {
    let known = ["run.log", "submission", "logs", "code"];
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(known.contains(&name.as_str()), "{case}: `{name}` is on the host");
        let mode = entry.metadata().unwrap().mode();
        assert_eq!(mode & 0o6000, 0, "{case}: `{name}` has mode {mode:o}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_where_the_harness_works_are_refused() {
    for bench in Bench::sealed().await {
        let places = [
            "/home",
            "/home/agent",
            "/home/code",
            "/home/submission",
            "/home/logs",
            "/home/data",
            "/home/instructions.txt",
            "/home/nonroot",
            "/tmp",
            "/private",
        ];
        for (number, place) in places.into_iter().enumerate() {
            for target in ["/elsewhere", "/proc/1/root", "../../../.."] {
                let mut image = Image::new(&format!("link-{number}"));
                image.directory("/elsewhere", 0o777);
                image.link(place, target);
                let run = run_in(&bench, image, &STATUS).await;
                // The engine itself mounts on this one, and fails before the init can name it.
                let mounted =
                    bench.kind == Kind::Docker && place == "/home/data" && target.starts_with("..");
                let said = if mounted { "a link leads in a circle, to `/`" } else { place };
                is_refused(&format!("{place} -> {target}"), &run, said);
            }
        }
        // Some engines put directories of their own in the place of these before they mount.
        for (number, place) in ["/proc", "/sys", "/dev", "/etc"].into_iter().enumerate() {
            let mut image = Image::new(&format!("engine-link-{number}"));
            image.directory("/elsewhere", 0o777);
            image.link(place, "/elsewhere");
            let run = run_in(&bench, image, &STATUS).await;
            let case = format!("{place} -> /elsewhere");
            match run.end.outcome {
                Outcome::Finished { .. } => is_held(&case, &run),
                _ => is_refused(&case, &run, place),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_kinds_where_the_harness_works_are_refused() {
    for bench in Bench::sealed().await {
        for (number, place) in
            ["/home/code", "/home/instructions.txt", "/tmp", "/home/agent"].into_iter().enumerate()
        {
            let mut image = Image::new(&format!("pipe-{number}"));
            image.pipe(place);
            let run = run_in(&bench, image, &STATUS).await;
            is_refused(&format!("{place} is a pipe"), &run, "a pipe");
        }
        let mut image = Image::new("circle");
        image.link("/home", "/home");
        let run = run_in(&bench, image, &STATUS).await;
        let said = if bench.kind == Kind::Docker { "a link leads in a circle" } else { "`/home`" };
        is_refused("/home -> /home", &run, said);
        let mut image = Image::new("file-home");
        image.file("/home/submission", 0o666, b"x");
        let run = run_in(&bench, image, &STATUS).await;
        is_refused("/home/submission is a file", &run, "expected a directory");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_guesses_the_harness_names_changes_nothing() {
    for bench in Bench::sealed().await {
        let traps: [(&str, fn(&mut Image)); 4] = [
            ("link to the agent", |image| image.link("/.medalist", "/home/agent")),
            ("open directory", |image| {
                image.directory("/.medalist", 0o777);
                image.directory("/.medalist/control", 0o777);
                image.link("/.medalist/control/exit", "/dev/zero");
            }),
            ("init is a directory", |image| image.directory("/.medalist-init", 0o777)),
            ("root is open", Image::open_root),
        ];
        for (number, (case, trap)) in traps.into_iter().enumerate() {
            let mut image = Image::new(&format!("guess-{number}"));
            trap(&mut image);
            let steps = [&STATUS[..], &["+", "attack", "files"]].concat();
            let run = run_in(&bench, image, &steps).await;
            if case == "root is open" {
                // The agent may then write to its own `/`, and still not to what is the harness's.
                assert!(run.log().contains("forge the end: held"), "{}", run.log());
                assert!(run.log().contains("list the control directory: held"), "{}", run.log());
                host_is_clean(case, &run.dir);
                println!("image {case}: held (the harness's directory stays closed)");
            } else {
                is_held(case, &run);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_that_are_root_or_nobody_are_refused() {
    for bench in Bench::sealed().await {
        let rows = [
            "nonroot:x:4294967295:1000::/home/nonroot:/bin/sh",
            "nonroot:x:0:0::/root:/bin/sh",
            "nonroot:x:-1:1000::/home/nonroot:/bin/sh",
            "nonroot:x:1000:0::/home/nonroot:/bin/sh",
            "nonroot:x:1000:4294967295::/home/nonroot:/bin/sh",
            "nonroot:x:4294967296:1000::/home/nonroot:/bin/sh",
            "nonroot:x:+1000:1000::/home/nonroot:/bin/sh",
            "nonroot:x::::",
            "nonroot",
        ];
        for (number, row) in rows.into_iter().enumerate() {
            let mut image = Image::new(&format!("user-{number}"));
            image.file("/etc/passwd", 0o644, format!("{row}\n").as_bytes());
            let run = run_in(&bench, image, &STATUS).await;
            is_refused(row, &run, "`/etc/passwd`");
        }
        let mut image = Image::new("user-group");
        image.file("/etc/passwd", 0o644, b"nonroot:x:1000:1000::/home/nonroot:/bin/sh\n");
        image.file("/etc/group", 0o644, b"root:x:0:nonroot\n");
        let run = run_in(&bench, image, &STATUS).await;
        is_refused("in the group of root", &run, "`/etc/group`");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_users_that_are_missing_or_odd_have_a_treatment() {
    for bench in Bench::sealed().await {
        let odd: [(&str, fn(&mut Image), Option<&str>); 8] = [
            ("no table", |_| {}, None),
            ("a pipe as table", |image| image.pipe("/etc/passwd"), Some("`/etc/passwd`")),
            (
                "a directory as table",
                |image| image.directory("/etc/passwd", 0o755),
                Some("a directory"),
            ),
            (
                "an endless table",
                |image| image.link("/etc/passwd", "/dev/zero"),
                Some("`/etc/passwd`"),
            ),
            (
                "a table that leads to a pipe",
                |image| {
                    image.pipe("/pipe");
                    image.link("/etc/group", "../pipe");
                },
                Some("`/etc/group`"),
            ),
            (
                "a long table",
                |image| image.file("/etc/passwd", 0o644, &vec![b'x'; 5 << 20]),
                Some("`/etc/passwd`"),
            ),
            (
                "a linked table",
                |image| {
                    image.file("/store/passwd", 0o644, b"nonroot:x:1234:1234::/home/x:/bin/sh\n");
                    image.link("/etc/passwd", "/store/passwd");
                },
                None,
            ),
            (
                "a table that leads to the data",
                |image| image.link("/etc/group", "/home/data/train.csv"),
                None,
            ),
        ];
        for (number, (case, trap, said)) in odd.into_iter().enumerate() {
            let mut image = Image::new(&format!("table-{number}"));
            trap(&mut image);
            let run = run_in(&bench, image, &STATUS).await;
            match said {
                Some(said) => is_refused(case, &run, said),
                None => is_held(case, &run),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_image_says_of_itself_does_not_count() {
    for bench in Bench::sealed().await {
        let mut image = Image::new("config");
        for line in [
            "ENTRYPOINT [\"/probe\", \"exit\", \"5\"]",
            "CMD [\"exit\", \"6\"]",
            "USER 4242:4242",
            "STOPSIGNAL SIGKILL",
            "HEALTHCHECK --interval=1s CMD [\"/probe\", \"exit\", \"0\"]",
            "LABEL io.medalist.attempt=forged io.medalist.group=forged io.medalist.version=9",
            "ONBUILD USER root",
            "EXPOSE 5000",
            "ENV COMPETITION_ID=forged MEDALIST_ATTEMPT=forged GRADING_SERVER_PORT=1 LD_PRELOAD=/x GLIBC_TUNABLES=x",
        ] {
            image.line(line);
        }
        let run = run_in(&bench, image, &[&STATUS[..], &["+", "environment"]].concat()).await;
        is_held("entrypoint, user, signal, health, labels, variables", &run);
        assert!(run.log().contains("COMPETITION_ID=probe-competition"), "{}", run.log());
        assert!(run.log().contains("GRADING_SERVER_PORT=5000"), "{}", run.log());
        assert!(!run.log().contains("MEDALIST_ATTEMPT=forged"), "{}", run.log());

        let mut image = Image::new("environment");
        let variables: Vec<String> = (0..10_000).map(|number| format!("V{number}=1")).collect();
        // A line of a Dockerfile has at most 64 KiB.
        for some in variables.chunks(1000) {
            image.line(&format!("ENV {}", some.join(" ")));
        }
        let run = run_in(&bench, image, &[&STATUS[..], &["+", "environment"]].concat()).await;
        is_held("10,000 variables", &run);
        assert!(run.log().contains("\nV9999=1\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_of_an_image_is_entered_if_the_agent_may() {
    for bench in Bench::sealed().await {
        let directories: [(&str, fn(&mut Image), &str); 5] = [
            ("/work", |image| image.directory("/work", 0o755), "/work"),
            ("/root", |image| image.directory("/root", 0o700), "/home"),
            ("/nowhere/at/all", |_| {}, "/home"),
            ("/proc/self/fd/3", |_| {}, "/home"),
            ("/trap", |image| image.link("/trap", "/proc/self/fd/4"), "/home"),
        ];
        for (number, (workdir, add, expected)) in directories.into_iter().enumerate() {
            let mut image = Image::new(&format!("workdir-{number}"));
            add(&mut image);
            image.line(&format!("WORKDIR {workdir}"));
            let run = run_in(&bench, image, &[&STATUS[..], &["+", "cwd"]].concat()).await;
            is_held(&format!("WORKDIR {workdir}"), &run);
            let cwd = run.log().lines().last().unwrap_or_default().to_string();
            // A classic builder makes the directory of a WORKDIR that is not there.
            assert!(cwd == expected || cwd == workdir && number == 2, "{workdir}: {cwd}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_are_refused_where_there_is_a_disk_limit() {
    for bench in Bench::sealed().await {
        for (number, volume) in
            ["/home/code", "/home/submission", "/var/lib/x"].into_iter().enumerate()
        {
            let mut image = Image::new(&format!("volume-{number}"));
            image.directory("/home/code", 0o755);
            image.line(&format!("VOLUME {volume}"));
            let run = run_in(&bench, image, &STATUS).await;
            let case = format!("VOLUME {volume}");
            match bench.kind {
                // Without an engine it is a directory like any other, and counted.
                Kind::Namespaces => is_held(&case, &run),
                _ => is_refused(&case, &run, volume),
            }
        }
        let mut image = Image::new("volume-free");
        image.line("VOLUME /home/submission");
        let tag = image.make(&bench).await;
        let argv = [PROBE, "submit", "id,y\n"].map(String::from).to_vec();
        let run = bench
            .run_with(&[], |spec| {
                spec.program = Program::Image { reference: tag.clone(), argv };
                spec.limits.disk_bytes = 0;
            })
            .await;
        forget(&bench, &tag).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 });
        assert_eq!(run.file("submission/submission.csv").as_deref(), Some("id,y\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_cannot_be_started_blame_the_image() {
    for bench in Bench::sealed().await {
        let mut image = Image::new("no-shell");
        image.directory("/home/agent", 0o755);
        let tag = image.make(&bench).await;
        let cases: [(&str, &[&str], &str); 2] = [
            ("no shell", &[], "cannot start `bash`"),
            ("no program", &["/none"], "cannot start `/none`"),
        ];
        for (case, argv, said) in cases {
            let argv = argv.iter().map(ToString::to_string).collect();
            let program = Program::Image { reference: tag.clone(), argv };
            let run = bench.run_with(&[], |spec| spec.program = program).await;
            is_refused(case, &run, said);
        }
        forget(&bench, &tag).await;

        let mut image = Image::new("no-program");
        image.file("/text", 0o755, b"just words\n");
        image.file("/closed", 0o600, b"#!/probe\n");
        let tag = image.make(&bench).await;
        for program in ["/text", "/closed"] {
            let reference = tag.clone();
            let program = Program::Image { reference, argv: vec![program.to_string()] };
            let run = bench.run_with(&[], |spec| spec.program = program).await;
            is_refused("no executable", &run, "cannot start `/");
        }
        forget(&bench, &tag).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_of_another_architecture_is_refused_by_name() {
    for bench in Bench::sealed().await {
        let other = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
        let mut image = Image::new("foreign");
        image.architecture = other;
        let run = run_in(&bench, image, &STATUS).await;
        is_refused(other, &run, &format!("linux/{other}"));
    }
}

/// Loads an image that says it is for another kind of processor.
fn load_foreign(tag: &str, architecture: &str) {
    use std::io::Write as _;
    let layer = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let digest = sha256(&layer);
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}},"history":[{{"created_by":"test"}}]}}"#
    );
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["{tag}"],"Layers":["layer.tar"]}}]"#);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("layer.tar", &layer[..]),
        ("config.json", config.as_bytes()),
        ("manifest.json", manifest.as_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).unwrap();
    }
    let mut load = std::process::Command::new("docker")
        .arg("load")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    load.stdin.take().unwrap().write_all(&archive.into_inner().unwrap()).unwrap();
    assert!(load.wait().unwrap().success());
}

fn sha256(bytes: &[u8]) -> String {
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_image_left_in_home_is_no_way_out_and_no_charge() {
    for bench in Bench::sealed().await {
        let mut image = Image::new("home");
        image.link("/home/agent/shadow", "/etc/shadow");
        image.file("/etc/shadow", 0o600, b"secret\n");
        image.file("/home/agent/weights", 0o600, &vec![7; 40 << 20]);
        image.pipe("/home/validate_submission.sh");
        let mut deep = String::from("/home/agent/deep");
        for _ in 0..1_000 {
            deep.push_str("/d");
            image.directory(&deep, 0o700);
        }
        let tag = image.make(&bench).await;
        let argv = [PROBE, "show", "/proc/self/status", "+", "sleep", "1500"];
        let argv = argv.map(String::from).to_vec();
        let run = bench
            .run_with(&[], |spec| {
                spec.program = Program::Image { reference: tag.clone(), argv };
                spec.limits.disk_bytes = 20 << 20;
            })
            .await;
        forget(&bench, &tag).await;
        is_held("links, a deep tree and 40 MiB in /home", &run);
        let disk = run.end.usage.disk_bytes.unwrap_or(0);
        assert!(disk < 20 << 20, "the image's own {disk} bytes are charged to the agent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_the_image_made_a_link_is_not_read_through() {
    for bench in Bench::sealed().await {
        let mut image = Image::new("submission");
        image.file("/etc/shadow", 0o600, b"secret\n");
        image.link("/home/submission/submission.csv", "/etc/shadow");
        let run = run_in(&bench, image, &STATUS).await;
        is_held("submission.csv -> /etc/shadow", &run);
        assert_eq!(run.file("submission/submission.csv"), None);
        let salvage = run.end.salvage.unwrap();
        assert_eq!(salvage.refused[0].why, "a symbolic link");
        assert_eq!(
            salvage.hint.as_deref(),
            Some("`submission/submission.csv` was not taken: a symbolic link")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_with_a_second_name_is_taken() {
    for kind in [Kind::Docker, Kind::Namespaces, Kind::Process] {
        let Some(bench) = Bench::new(kind).await else { continue };
        for first in ["best.csv", "zzz.csv"] {
            let run = bench.run(&["link-submission", first]).await;
            assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{}", run.log());
            for name in [first, "submission.csv"] {
                let text = run.file(&format!("submission/{name}"));
                assert_eq!(text.as_deref(), Some("id,label\n1,0\n"), "{kind:?} {name}");
            }
            assert_eq!(run.end.salvage.unwrap().refused, []);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_is_not_ours_is_not_the_agents_doing() {
    for bench in Bench::sealed().await {
        let spec = bench.spec(&["save-on-term", "id,y\n"]);
        let (log, container) = (spec.attempt_dir.log(), format!("medalist-{}", spec.name));
        let supervisor = Mutex::new(String::new());
        let run = bench
            .drive(spec, None, |event, _| {
                if let AttemptEvent::Started(token) = event {
                    let id = token.id.split('@').next().unwrap_or_default();
                    *supervisor.lock().unwrap() = id.to_string();
                }
                let ready = std::fs::read(&log).is_ok_and(|text| text == b"ready\n");
                if matches!(event, AttemptEvent::Usage(_)) && ready {
                    let stopped = match bench.kind {
                        Kind::Docker => std::process::Command::new("docker")
                            .args(["kill", "--signal", "TERM", &container])
                            .output(),
                        _ => std::process::Command::new("kill")
                            .args(["-TERM", &supervisor.lock().unwrap()])
                            .output(),
                    };
                    assert!(stopped.is_ok());
                }
            })
            .await;
        let Outcome::EngineLost { cause } = &run.end.outcome else {
            panic!("{:?}", run.end.outcome)
        };
        assert!(cause.contains("signal 15"), "{cause}");
        assert_eq!(
            run.file("submission/submission.csv").as_deref(),
            Some("id,y\n"),
            "still collected"
        );
    }
}
