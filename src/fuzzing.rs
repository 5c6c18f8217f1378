//! What the fuzz targets of `fuzz/` need of the insides of this crate. Each takes any bytes, and
//! fails only by a panic.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use medalist_competitions::{Catalogue, CompetitionSpec};
use medalist_grading::GradeReport;
use medalist_init::protocol::{Failure, Record};
use medalist_llm::config::Limits as Budget;
use medalist_reports::record::AttemptRecord;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::app::bundle::manifest::{Listed, MANIFEST, Manifest};
use crate::app::context::Context;
use crate::app::grading::workers::GradingLimits;
use crate::app::verify::{VerifyRequest, verify};
use crate::attempt::agents::{AgentSpec, Told};
use crate::attempt::dir::AttemptDir;
use crate::attempt::launch::{ValidationReply, Validator};
use crate::attempt::limits::Limits;
use crate::attempt::outcome::Usage;
use crate::attempt::plan::Plan;
use crate::host::files::read_json;
use crate::run::events::{EventSink as _, RunEvent};
use crate::run::sinks::Lines;
use crate::run::sinks::jsonl;
use crate::sandbox::control::{End, StopNote, read_record};
use crate::sandbox::salvage::{Rules, file_from_tar, from_tar};
use crate::sandbox::services::validate::ValidationService;
use crate::sandbox::services::{allowlist, http};
use crate::sandbox::{Postponed, Salvage};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the temporary directory is writable");
}

/// Takes over what an agent left from the engine's tar: nothing but plain files and directories
/// within the limits comes of it.
pub fn salvage(bytes: &[u8]) {
    const RULES: Rules = Rules { entries: 100, bytes: 1 << 14, file_bytes: 1 << 12 };
    let folder = folder();
    let out = folder.path().join("code");
    std::fs::create_dir(&out).expect("the temporary directory is writable");
    let mut salvage = Salvage::default();
    from_tar(bytes, "code", &out, RULES, &mut salvage);
    let (mut files, mut size, mut pending) = (0, 0, vec![out]);
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).expect("it was made just now") {
            let path = entry.expect("it was made just now").path();
            let facts = path.symlink_metadata().expect("it was made just now");
            assert!(facts.is_dir() || facts.is_file(), "{}", path.display());
            match facts.is_dir() {
                true => pending.push(path),
                false => (files, size) = (files + 1, size + facts.len()),
            }
        }
    }
    assert!(files <= RULES.entries && size <= RULES.bytes, "{files} files of {size} bytes");
    assert_eq!((files, size), (salvage.files, salvage.bytes));
    let one = folder.path().join("submission.csv");
    let taken = file_from_tar(bytes, "submission/submission.csv", &one, 1 << 12, &mut salvage);
    assert_eq!(taken, one.is_file());
    assert!(salvage.postponed != Some(Postponed::HostFull));
    shown(&format!("{:?}{:?}{:?}", salvage.refused, salvage.errors, salvage.hint));
    let left = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 1 + usize::from(taken), "something is outside of the folder");
}

/// What an init could answer.
pub fn control(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let folder = folder();
    let path = folder.path().join("record");
    write(&path, bytes);
    let Ok(Some(text)) = read_record(&path) else { return };
    match kind % 3 {
        0 => drop(End::Account(Box::new(Record::parse(&text))).report(Usage::default())),
        1 => drop(End::Failed(Failure::parse(&text)).report(Usage::default())),
        _ => drop(serde_json::from_str::<StopNote>(&text)),
    }
}

/// Every other question is well formed.
struct EveryOther;

impl Validator for EveryOther {
    fn validate(&self, csv: &Path) -> ValidationReply {
        let valid = csv.metadata().is_ok_and(|file| file.len() % 2 == 1);
        ValidationReply { valid, message: String::new() }
    }
}

/// Its clock stands still while there is something to do, and jumps to the next deadline otherwise.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be started")
});

/// Bytes that a client sends to the validation service, if it then hangs up.
pub fn validation(bytes: &[u8]) {
    let folder = folder();
    let dir = AttemptDir::new(folder.path());
    let service = ValidationService::new("c", Arc::new(EveryOther), 1 << 12, &dir);
    let service = Arc::new(service);
    RUNTIME.block_on(async {
        let (mut client, server) = UnixStream::pair().expect("sockets can be made");
        let serving = tokio::spawn(http::connection(server, service.router()));
        // The service may have heard enough before all is sent.
        let _ = client.write_all(bytes).await;
        let _ = client.shutdown().await;
        let mut reply = Vec::new();
        let _ = client.read_to_end(&mut reply).await;
        // Requests that are sent one behind the other get an answer each.
        let most = (1 << 14) + 64 * bytes.len();
        assert!(reply.len() < most, "a reply of {} bytes", reply.len());
        serving.await.expect("serving does not panic");
        // A check that was begun is ended, also for a client that hung up; in a task of its own, which this
        // thread has to run.
        let uploads = || {
            let entries = std::fs::read_dir(folder.path()).expect("it is there");
            entries.flatten().filter(|entry| entry.path() != dir.validation_log()).count()
        };
        let began = std::time::Instant::now();
        while uploads() > 0 {
            assert!(began.elapsed().as_secs() < 10, "an upload was left");
            std::thread::sleep(std::time::Duration::from_micros(100));
            tokio::task::yield_now().await;
        }
    });
}

/// The head of a request to the proxy, up to the decision about it.
pub fn proxy(bytes: &[u8]) {
    RUNTIME.block_on(async {
        let (mut client, mut server) = UnixStream::pair().expect("sockets can be made");
        let bytes = bytes[..bytes.len().min(1 << 14)].to_vec();
        let sending = tokio::spawn(async move {
            let _ = client.write_all(&bytes).await;
        });
        if let Ok(Some((host, port))) = allowlist::read_target(&mut server).await {
            assert!(!host.contains(char::is_control) && host.len() <= 253 && host.is_ascii());
            let allowed = allowlist::Allowlist::new(&["example.org".into()], "/dev/null".into());
            assert_eq!(
                allowed.allows(&host, port),
                host == "example.org" && (port == 80 || port == 443)
            );
        }
        drop(server);
        sending.await.expect("sending does not panic");
    });
}

/// What `--resume`, `status`, `replay` and reports read of a group's folder.
pub fn records(bytes: &[u8]) {
    const GROUP: &str = r#"{"format":1,"id":"g","agent":{"id":"a"},"attempts":[{"key":{"competition":"c","agent":"a","seed":0},"dir":"c_1"}]}"#;
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let folder = folder();
    let group = folder.path().join("2026-01-01T00-00-00-UTC_run-group_a");
    let attempt = group.join("c_1");
    std::fs::create_dir_all(&attempt).expect("the temporary directory is writable");
    write(&group.join("group.json"), GROUP.as_bytes());
    let path = match kind % 6 {
        0 => group.join("plan.json"),
        1 => group.join("group.json"),
        2 => group.join("metadata.json"),
        3 => attempt.join("attempt.json"),
        4 => attempt.join("grade.json"),
        _ => group.join("events.jsonl"),
    };
    write(&path, bytes);
    match kind % 6 {
        0 => drop(read_json::<Plan>(&path)),
        3 => drop(read_json::<AttemptRecord>(&path)),
        4 => drop(read_json::<GradeReport>(&path)),
        5 => {
            for event in jsonl::read(&path).expect("it was written just now").0 {
                print_event(&event);
            }
        }
        _ => {}
    }
    drop(medalist_reports::read::read(&[group], &()));
}

/// One event is one line of limited length that a terminal takes for nothing else.
fn print_event(event: &RunEvent) {
    let mut out = Vec::new();
    Lines::new(&mut out).on_event(event).expect("memory takes all");
    let text = String::from_utf8(out).expect("lines are text");
    assert!(text.matches('\n').count() <= 1, "{text:?}");
    shown(text.trim_end_matches('\n'));
}

fn shown(text: &str) {
    assert!(!text.contains(char::is_control) && !text.contains('\u{202e}'), "{text:?}");
}

/// A bundle that somebody sends: the bytes as they are, or packed as a tar, or the tar's files with a
/// manifest that lists them, so that what they say is looked at.
pub fn bundle(bytes: &[u8]) {
    let Some((kind, tar)) = bytes.split_first() else { return };
    let pack = |tar: &[u8]| zstd::encode_all(tar, 1).expect("memory takes all");
    let packed = match kind % 3 {
        0 => tar.to_vec(),
        1 => pack(tar),
        _ => pack(&with_manifest(tar)),
    };
    let folder = folder();
    let file = folder.path().join("entry.medalist");
    write(&file, &packed);
    let context = Context {
        data_dir: folder.path().join("data"),
        runs_dir: folder.path().join("runs"),
        catalog_dirs: Vec::new(),
        quiet: 2,
        progress: false,
        grading_limits: GradingLimits::default(),
    };
    let request = VerifyRequest { file: &file, signers: None, witnesses: &[], most: 1 << 20 };
    if let Ok(found) = verify(&request, &context) {
        for line in found.text().lines().chain(found.markdown().lines()) {
            shown(line);
        }
        serde_json::to_string(&found).expect("a verification can be written");
    }
    let left = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 1, "something is beside the bundle");
}

/// The plain files of a tar, packed again with a manifest that lists them.
fn with_manifest(tar: &[u8]) -> Vec<u8> {
    let (mut files, mut manifest) = (BTreeMap::new(), None);
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().into_iter().flatten() {
        let Ok(mut entry) = entry else { break };
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_err() {
            break;
        }
        match path == MANIFEST {
            true => manifest = serde_json::from_slice::<Manifest>(&content).ok(),
            false => drop(files.insert(path, content)),
        }
    }
    let Some(mut manifest) = manifest else { return tar.to_vec() };
    let hash = |content: &[u8]| hex::encode(Sha256::digest(content));
    for group in &mut manifest.groups {
        if let Some(plan) = files.get(&format!("{}/plan.json", group.id)) {
            group.plan_sha256 = hash(plan);
        }
    }
    let listed = files.iter().map(|(path, content)| Listed {
        path: path.clone(),
        bytes: content.len() as u64,
        sha256: hash(content),
    });
    manifest.files = listed.collect();
    let text = serde_json::to_vec(&manifest).expect("a manifest can be written");
    let mut out = tar::Builder::new(Vec::new());
    let first = std::iter::once((MANIFEST, &text));
    for (path, content) in first.chain(files.iter().map(|(path, content)| (path.as_str(), content)))
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // What has no place in a tar is left out.
        let _ = out.append_data(&mut header, path, content.as_slice());
    }
    out.into_inner().expect("memory takes all")
}

/// A leaderboard that somebody imports.
pub fn leaderboard(bytes: &[u8]) {
    static SPEC: LazyLock<CompetitionSpec> = LazyLock::new(|| {
        let catalogue = Catalogue::embedded().expect("the catalogue is well formed");
        catalogue.get("spaceship-titanic").expect("it is in the catalogue").clone()
    });
    let folder = folder();
    let path = folder.path().join("board.csv");
    write(&path, bytes);
    if let Ok((board, _)) = crate::app::boards::import::read_board(&path, &SPEC) {
        assert!(board.scores.iter().all(|score| score.is_finite()));
    }
}

/// An agent's folder, ours or MLE-bench's.
pub fn agents(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let folder = folder();
    write(&folder.path().join("Dockerfile"), b"FROM scratch\n");
    let path = folder.path().join(if kind % 2 == 0 { "agent.toml" } else { "config.yaml" });
    write(&path, bytes);
    let agents = match kind % 2 {
        0 => AgentSpec::from_folder(folder.path(), folder.path()).map(|agent| vec![agent]),
        _ => AgentSpec::from_mlebench(&path),
    };
    let told = Told {
        home: "/home",
        limits: &Limits::default(),
        budget: Budget::default(),
        competition: "c",
        seed: 0,
    };
    for agent in agents.unwrap_or_default() {
        drop((agent.secrets(), agent.resolve(&told, |_| Some("secret".to_owned()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_takes_its_seeds() {
        let targets: [(&str, fn(&[u8])); 8] = [
            ("agents", agents),
            ("bundle", bundle),
            ("control", control),
            ("leaderboard", leaderboard),
            ("proxy", proxy),
            ("records", records),
            ("salvage", salvage),
            ("validation", validation),
        ];
        for (name, target) in targets {
            let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
            let files: Vec<_> = std::fs::read_dir(&seeds).unwrap().map(Result::unwrap).collect();
            assert!(!files.is_empty(), "{}", seeds.display());
            files.iter().for_each(|seed| target(&std::fs::read(seed.path()).unwrap()));
        }
    }
}
