//! Containers without an engine: images in files, what a layer may try, what holds where nobody
//! gives this user anything, and a plain user without root.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use medalist::attempt::launch::{ExecutorError, Program};
use medalist::attempt::outcome::Outcome;
use medalist::sandbox::Enforcement;
use serde_json::Value;
use tar::EntryType;

use crate::executor_bench::{Bench, Finished, Kind, probe};
use crate::support::{TestContext, called, oci, skip};

/// A layer in the making; names are written as they are.
struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(mut self, name: &str, kind: EntryType, mode: u32, link: &str, bytes: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.entry(name, EntryType::Regular, 0o755, "", bytes)
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn with_probe() -> Layer {
    Layer::new().file("probe", &std::fs::read(probe()).unwrap())
}

async fn bench() -> Option<Bench> {
    Bench::new(Kind::Namespaces).await
}

fn layout(bench: &Bench, name: &str, layers: &[Vec<u8>]) -> String {
    oci::layout(&bench.scratch(name), layers, &oci::config_of(""), oci::architecture())
}

async fn run_in(bench: &Bench, reference: &str, steps: &[&str]) -> Finished {
    let argv = std::iter::once(&"/probe").chain(steps).map(ToString::to_string).collect();
    let program = Program::Image { reference: reference.to_string(), argv };
    bench.run_with(&[], |spec| spec.program = program).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_cover_each_other_as_whiteouts_say() {
    let Some(bench) = bench().await else { return };
    let lower = with_probe()
        .file("kept/old", b"old")
        .file("gone/file", b"lower")
        .file("changed", b"lower")
        .entry("lib", EntryType::Symlink, 0o777, "usr/lib", b"")
        .file("usr/lib/a", b"a");
    let upper = Layer::new()
        .file("kept/.wh.old", b"")
        .file("gone/new", b"upper")
        .file("gone/.wh..wh..opq", b"")
        .file("changed", b"upper")
        .file("lib/b", b"b")
        .entry("hard", EntryType::Link, 0o755, "changed", b"");
    let reference = layout(&bench, "layers", &[lower.done(), upper.done()]);
    let steps = [
        "show",
        "/changed",
        "+",
        "show",
        "/gone/new",
        "+",
        "show",
        "/usr/lib/b",
        "+",
        "show",
        "/hard",
        "+",
        "show",
        "/usr/lib/a",
    ];
    let run = run_in(&bench, &reference, &steps).await;
    assert_eq!(run.end.outcome, Outcome::Finished { exit: 0 }, "{}", run.log());
    assert_eq!(run.log(), "upperupperbuppera");
    for gone in ["/kept/old", "/gone/file"] {
        let run = run_in(&bench, &reference, &["show", gone]).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 9 }, "{gone}: {}", run.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_writes_nowhere_but_into_its_image() {
    let Some(bench) = bench().await else { return };
    let outside = bench.scratch("outside");
    std::fs::create_dir(&outside).unwrap();
    let far = outside.display().to_string();
    let link = |target: &str| Layer::new().entry("way", EntryType::Symlink, 0o777, target, b"");
    let cases: Vec<(&str, Layer, Option<&str>)> = vec![
        ("a name with `..`", Layer::new().file("../../../../tmp/evil", b"x"), Some("leads out")),
        ("a link out, and a file through it", link(&far).file("way/evil", b"x"), None),
        (
            "a link up, and a file through it",
            link("../../../../../../..").file("way/evil", b"x"),
            None,
        ),
        ("an absolute name", Layer::new().file("/evil", b"x"), None),
        (
            "a hard link to a file of the machine",
            Layer::new().entry("way", EntryType::Link, 0o644, "/etc/hostname", b""),
            Some("way"),
        ),
        (
            "a directory where a file is",
            Layer::new().file("way", b"x").file("way/evil", b"x"),
            Some("way"),
        ),
    ];
    for (number, (case, layer, said)) in cases.into_iter().enumerate() {
        let layers = [with_probe().done(), layer.done()];
        let reference = layout(&bench, &format!("escape-{number}"), &layers);
        let run = run_in(&bench, &reference, &["print", "ran"]).await;
        match (&run.end.outcome, said) {
            (Outcome::ImageRefused { cause }, Some(said)) => {
                assert!(cause.contains(said), "{case}: {cause}");
            }
            (Outcome::Finished { exit: 0 }, None) => {}
            // A link to a folder that the image has not leads nowhere in it.
            (Outcome::ImageRefused { .. }, None) => {}
            (other, _) => panic!("{case}: {other:?}"),
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{case}");
        assert!(!Path::new("/tmp/evil").exists() && !Path::new("/evil").exists(), "{case}");
        println!("layer {case}: held (nothing outside)");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_and_programs_that_change_their_user_are_not_made() {
    let Some(bench) = bench().await else { return };
    let bytes = std::fs::read(probe()).unwrap();
    let layer = Layer::new()
        .file("probe", &bytes)
        .entry("root-shell", EntryType::Regular, 0o6755, "", &bytes)
        .entry("disk", EntryType::Block, 0o666, "", b"")
        .entry("null", EntryType::Char, 0o666, "", b"");
    let reference = layout(&bench, "rights", &[layer.done()]);
    for missing in ["/disk", "/null"] {
        let run = run_in(&bench, &reference, &["show", missing]).await;
        assert_eq!(run.end.outcome, Outcome::Finished { exit: 9 }, "{missing}: {}", run.log());
    }
    let images = bench.scratch("node/images");
    let unpacked = walkdir::WalkDir::new(images).into_iter().flatten();
    let shell = unpacked.into_iter().find(|entry| entry.file_name() == "root-shell").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(shell.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_not_what_it_says_is_refused() {
    let Some(bench) = bench().await else { return };
    let good = layout(&bench, "good", &[with_probe().done()]);
    let spoil = |name: &str, change: &dyn Fn(&Path)| {
        layout(&bench, name, &[with_probe().done(), Layer::new().file("a", b"a").done()]);
        change(&bench.scratch(name));
        format!("oci:{}", bench.scratch(name).display())
    };
    let largest = |dir: &Path| -> PathBuf {
        let blobs = std::fs::read_dir(dir.join("blobs/sha256")).unwrap().flatten();
        blobs.max_by_key(|blob| blob.metadata().unwrap().len()).unwrap().path()
    };
    let cut = |dir: &Path| {
        let file = std::fs::File::options().write(true).open(largest(dir)).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let changed = |dir: &Path| {
        let mut bytes = std::fs::read(largest(dir)).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(largest(dir), bytes).unwrap();
    };
    let index = |text: &'static str| {
        move |dir: &Path| std::fs::write(dir.join("index.json"), text).unwrap()
    };
    let cases = [
        spoil("cut", &cut),
        spoil("changed", &changed),
        spoil("broken", &index("{")),
        spoil("nothing", &index(r#"{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}"#)),
    ];
    for reference in cases {
        let run = run_in(&bench, &reference, &["print", "ran"]).await;
        assert!(
            matches!(run.end.outcome, Outcome::ImageRefused { .. }),
            "{reference}: {:?}",
            run.end.outcome
        );
        assert_eq!(run.log(), "");
    }
    let program =
        |reference: &str| Program::Image { reference: reference.to_string(), argv: Vec::new() };
    for missing in ["oci:/no/such", "docker-archive:/no/such.tar", "debian:12"] {
        let error = bench.executor.prepare_image(&program(missing)).await.err().unwrap();
        assert!(matches!(error, ExecutorError::ImageMissing { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("docker save"), "{error:?}");
    }
    let first = bench.executor.prepare_image(&program(&good)).await.unwrap().unwrap();
    let again = bench.executor.prepare_image(&program(&good)).await.unwrap().unwrap();
    assert_eq!(first, again, "unpacked once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_of_docker_save_and_packed_layers_are_read() {
    let Some(bench) = bench().await else { return };
    let tar = with_probe().done();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let packed = [gzip.finish().unwrap(), zstd::encode_all(&tar[..], 1).unwrap(), tar.clone()];
    let id = format!("sha256:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&tar)));
    for (number, layer) in packed.into_iter().enumerate() {
        let config = serde_json::json!({
            "architecture": oci::architecture(), "os": "linux", "number": number,
            "rootfs": {"type": "layers", "diff_ids": [id]},
        });
        let manifest = serde_json::json!([
            {"Config": "c.json", "RepoTags": ["agent:1"], "Layers": ["x/layer.tar"]},
        ]);
        let archive = Layer::new()
            .file("x/layer.tar", &layer)
            .file("c.json", config.to_string().as_bytes())
            .file("manifest.json", manifest.to_string().as_bytes());
        let path = bench.scratch(&format!("{number}.tar"));
        std::fs::write(&path, archive.done()).unwrap();
        for tag in ["", ":agent:1"] {
            let reference = format!("docker-archive:{}{tag}", path.display());
            let run = run_in(&bench, &reference, &["print", "ran"]).await;
            assert_eq!(run.log(), "ran\n", "{reference}: {:?}", run.end.outcome);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_held_is_not_claimed() {
    let Some(bench) = bench().await else { return };
    let info = bench.executor.check().await.unwrap();
    assert!(info.sealed);
    for (limit, by) in [
        ("cpus", Enforcement::None),
        ("memory", Enforcement::Watched),
        ("swap", Enforcement::None),
        ("disk", Enforcement::Watched),
    ] {
        assert_eq!(info.limits[limit], by, "{limit}");
    }
    assert!(info.warnings.iter().any(|warning| warning.contains("memory is measured")), "{info:?}");
    let run = bench.run(&["print", "x"]).await;
    assert_eq!(run.end.usage.own_group, Some(false));
    assert!(run.end.usage.cpu_time_s.is_some_and(|seconds| seconds < 60.0), "{:?}", run.end.usage);
}

/// A user without rights, and the programs to become one.
const NOBODY: &str = "65534";

#[test]
fn a_plain_user_runs_sealed_attempts_without_root_or_engine() {
    if !nix::unistd::getuid().is_root() {
        return skip("root", "only root can become another user");
    }
    let context = TestContext::new();
    context.ok(&["-q", "prepare", "-c", "demo-flights"]);
    let (node, runs) = (tempfile::tempdir_in("/var/tmp").unwrap(), context.join("runs"));
    std::fs::create_dir(&runs).unwrap();
    for dir in [context.path(), node.path(), &runs] {
        let owned = Command::new("chown").arg("-R").arg(NOBODY).arg(dir).status().unwrap();
        assert!(owned.success());
    }
    let binary = context.join("medalist");
    std::fs::copy(env!("CARGO_BIN_EXE_medalist"), &binary).unwrap();
    let mut user = Command::new("setpriv");
    user.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs"]);
    user.arg(&binary).args(["run", "--agent", "sample", "-c", "demo-flights"]);
    user.args([
        "--executor",
        "namespaces",
        "--timeout",
        "60s",
        "--memory",
        "512MiB",
        "--disk",
        "1GiB",
    ]);
    user.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", context.path());
    user.env("MEDALIST_DATA_DIR", context.join("data")).env("MEDALIST_RUNS_DIR", &runs);
    user.env("MEDALIST_NODE_DIR", node.path().join("own")).current_dir(context.path());
    let ran = called(&user.output().unwrap());
    if ran.code == 4 && ran.stderr.contains("no sealed container") {
        return skip("namespaces", ran.stderr.trim());
    }
    assert_eq!(ran.code, 0, "{ran:#?}");
    let record = walkdir::WalkDir::new(&runs).into_iter().flatten();
    let record = record.into_iter().find(|entry| entry.file_name() == "attempt.json").unwrap();
    let record: Value = serde_json::from_slice(&std::fs::read(record.path()).unwrap()).unwrap();
    let conditions = &record["conditions"];
    assert_eq!(
        (&conditions["sealed"], &conditions["executor"]),
        (&true.into(), &"namespaces".into())
    );
    assert_eq!(conditions["enforcement"]["memory"], "watched");
    assert_eq!(record["outcome"]["kind"], "finished", "{record:#}");
    let left = std::fs::read_dir(node.path().join("own/attempts")).unwrap().count();
    assert_eq!(left, 0, "nothing of the attempt is left");
}
