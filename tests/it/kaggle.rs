//! The Kaggle client against a server that speaks the API, in good weather and bad.

use crate::support::kaggle_facts::Described;
use crate::support::kaggle_server::{Fault, KEY, KaggleServer, TOKEN, USERNAME, fake_zip};
use crate::support::skip;
use medalist::host::kaggle::{
    Access, Credentials, DownloadReporter, DownloadRequest, Downloaded, KaggleClient, KaggleError,
    KaggleOptions, ListQuery, RemoteFile, RemoteObject, RetryPolicy, SilentReporter,
};
use medalist::host::secret::Secret;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

const ID: &str = "spaceship-titanic";

fn key() -> Credentials {
    Credentials::Key { username: USERNAME.to_owned(), key: Secret::new(KEY) }
}

fn quick() -> RetryPolicy {
    RetryPolicy {
        attempts: 4,
        first_wait: Duration::from_millis(1),
        max_wait: Duration::from_millis(5),
        silence: Duration::from_millis(400),
        ..RetryPolicy::default()
    }
}

fn client_with(
    server: &KaggleServer,
    credentials: Credentials,
    retry: RetryPolicy,
) -> KaggleClient {
    KaggleClient::new(KaggleOptions {
        endpoint: server.endpoint(),
        credentials: Some(credentials),
        retry,
    })
    .unwrap()
}

fn client(server: &KaggleServer) -> KaggleClient {
    client_with(server, key(), quick())
}

fn request(dir: &Path) -> DownloadRequest {
    DownloadRequest {
        id: ID.to_owned(),
        object: RemoteObject::All,
        path: dir.join(format!("{ID}.zip")),
    }
}

#[derive(Default)]
struct Recorder {
    starts: Mutex<Vec<(u64, Option<u64>)>>,
    retries: Mutex<Vec<(String, Duration)>>,
}

impl DownloadReporter for Recorder {
    fn on_start(&self, _id: &str, have: u64, total: Option<u64>) {
        self.starts.lock().unwrap().push((have, total));
    }
    fn on_retry(&self, _id: &str, error: &KaggleError, wait: Duration) {
        self.retries.lock().unwrap().push((error.to_string(), wait));
    }
}

/// A server with one competition, a scratch folder, and the zip that should arrive.
async fn scene(len: usize) -> (KaggleServer, tempfile::TempDir, Vec<u8>) {
    let server = KaggleServer::start().await;
    let zip = fake_zip(len);
    server.add(ID, zip.clone(), &[]);
    (server, tempfile::tempdir().unwrap(), zip)
}

fn leftovers(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.to_string_lossy().contains(".part"))
        .collect()
}

#[tokio::test]
async fn lists_all_pages() {
    let server = KaggleServer::start().await;
    let names: Vec<String> = (0..7).map(|i| format!("folder/file {i}.csv")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"abc"[..])).collect();
    server.add(ID, fake_zip(100), &files);
    let listed = client(&server).files(ID).await.unwrap();
    let expected: Vec<_> =
        names.iter().map(|n| RemoteFile { name: n.clone(), total_bytes: 3 }).collect();
    assert_eq!(listed, expected);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn downloads_with_either_kind_of_credentials_and_never_shows_them_to_the_storage_server() {
    for credentials in [key(), Credentials::Token(Secret::new(TOKEN))] {
        let (server, dir, zip) = scene(300_000).await;
        let client = client_with(&server, credentials, quick());
        let done = client.download(&request(dir.path()), &SilentReporter).await.unwrap();
        assert_eq!(std::fs::read(&done.path).unwrap(), zip);
        assert_eq!((done.bytes, done.resumed_from, done.retries), (300_000, 0, 0));
        let expected: String =
            <md5::Md5 as md5::Digest>::digest(&zip).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(done.md5, Some(expected));
        assert!(leftovers(dir.path()).is_empty());
        assert!(server.storage_seen().iter().all(|s| !s.authorized));
        assert!(server.seen().iter().any(|s| s.authorized));
    }
}

#[tokio::test]
async fn downloads_one_file_by_its_path() {
    let server = KaggleServer::start().await;
    server.add(ID, fake_zip(100), &[("train/a b%20c.csv", b"id\n1\n")]);
    let dir = tempfile::tempdir().unwrap();
    let wanted = DownloadRequest {
        id: ID.to_owned(),
        object: RemoteObject::File("train/a b%20c.csv".to_owned()),
        path: dir.path().join("deep/er/a.csv"),
    };
    let done = client(&server).download(&wanted, &SilentReporter).await.unwrap();
    assert_eq!(std::fs::read(done.path).unwrap(), b"id\n1\n");
}

#[tokio::test]
async fn a_file_that_is_there_is_left_alone() {
    let (server, dir, _) = scene(1000).await;
    std::fs::write(request(dir.path()).path, b"mine").unwrap();
    let done = client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap();
    assert_eq!((done.bytes, done.md5), (4, None));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn connections_cut_anywhere_lose_nothing() {
    for seed in 1..=6u64 {
        let (server, dir, zip) = scene(200_000).await;
        let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        server.fail_storage((0..12).map(|_| Fault::Cut { after: next(40_000) as usize }));
        let recorder = Recorder::default();
        let done = client(&server).download(&request(dir.path()), &recorder).await.unwrap();
        assert_eq!(std::fs::read(&done.path).unwrap(), zip, "seed {seed}");
        let starts: Vec<u64> =
            recorder.starts.lock().unwrap().iter().map(|(have, _)| *have).collect();
        assert!(starts.is_sorted() && starts.len() > 2, "seed {seed}: {starts:?}");
        let ranges: Vec<_> = server.storage_seen().into_iter().filter_map(|s| s.range).collect();
        let expected: Vec<_> =
            starts.iter().filter(|s| **s > 0).map(|s| format!("bytes={s}-")).collect();
        assert_eq!(ranges, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn a_later_run_goes_on_where_an_earlier_one_stopped() {
    let (server, dir, zip) = scene(100_000).await;
    server.fail_storage([Fault::Cut { after: 60_000 }]);
    let impatient = client_with(&server, key(), RetryPolicy { attempts: 1, ..quick() });
    let error = impatient.download(&request(dir.path()), &SilentReporter).await.unwrap_err();
    assert!(matches!(error, KaggleError::GaveUp { failures: 1, .. }), "{error}");
    assert!(error.hint().unwrap().contains("goes on where"));
    let done = client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap();
    assert_eq!(std::fs::read(&done.path).unwrap(), zip);
    assert!(done.resumed_from > 0 && done.resumed_from <= 60_000, "{}", done.resumed_from);
}

#[tokio::test]
async fn a_changed_object_is_fetched_from_its_beginning() {
    let (server, dir, _) = scene(100_000).await;
    server.fail_storage([Fault::Cut { after: 60_000 }]);
    let impatient = client_with(&server, key(), RetryPolicy { attempts: 1, ..quick() });
    impatient.download(&request(dir.path()), &SilentReporter).await.unwrap_err();
    let other = fake_zip(80_000);
    server.add(ID, other.clone(), &[]);
    let done = client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap();
    assert_eq!(std::fs::read(&done.path).unwrap(), other);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_put_up_with() {
    let (server, dir, zip) = scene(50_000).await;
    server.fail_storage([Fault::Cut { after: 20_000 }, Fault::WholeObject]);
    let done = client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap();
    assert_eq!(std::fs::read(&done.path).unwrap(), zip);
}

#[tokio::test]
async fn damaged_bytes_are_noticed_and_fetched_again() {
    let (server, dir, zip) = scene(50_000).await;
    server.fail_storage([Fault::Flip]);
    let recorder = Recorder::default();
    let done = client(&server).download(&request(dir.path()), &recorder).await.unwrap();
    assert_eq!(std::fs::read(&done.path).unwrap(), zip);
    assert!(
        recorder.retries.lock().unwrap()[0].0.starts_with("the download arrived damaged: md5 ")
    );
}

#[tokio::test]
async fn an_expired_address_is_asked_for_again() {
    let (server, dir, zip) = scene(50_000).await;
    server.fail_storage([
        Fault::Cut { after: 20_000 },
        Fault::Status { status: 403, retry_after: None },
    ]);
    let done = client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap();
    assert_eq!(std::fs::read(&done.path).unwrap(), zip);
    server.expire_signatures();
    assert_eq!(client(&server).access(ID).await.unwrap(), Access::Ready { bytes: Some(50_000) });
}

#[tokio::test]
async fn a_silent_connection_is_given_up_and_a_slow_one_is_not() {
    let (server, dir, zip) = scene(20_000).await;
    let drip = Fault::Drip { piece: 2_000, pause: Duration::from_millis(100) };
    server.fail_storage([Fault::Stall { after: 5_000 }, drip]);
    let recorder = Recorder::default();
    let done = client(&server).download(&request(dir.path()), &recorder).await.unwrap();
    assert_eq!(std::fs::read(&done.path).unwrap(), zip);
    assert_eq!(done.retries, 1);
    assert_eq!(
        recorder.retries.lock().unwrap()[0].0,
        "Kaggle's storage server sent nothing for 400ms"
    );
    assert_eq!(*recorder.starts.lock().unwrap(), [(0, Some(20_000)), (5_000, Some(20_000))]);
}

#[tokio::test]
async fn a_wrong_length_is_an_error_in_the_end() {
    let (server, dir, _) = scene(10_000).await;
    server.fail_storage(std::iter::repeat_n(Fault::ClaimMore { bytes: 7 }, 40));
    let error = client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap_err();
    assert!(matches!(error, KaggleError::GaveUp { failures: 4, .. }), "{error}");
    assert!(!request(dir.path()).path.exists());
}

#[tokio::test]
async fn something_else_than_a_zip_is_refused_and_not_kept() {
    let server = KaggleServer::start().await;
    let whole = fake_zip(5_000);
    let cases = [b"<html>please log in</html>".to_vec(), whole[..4_000].to_vec()];
    for body in cases {
        server.add(ID, body, &[]);
        let dir = tempfile::tempdir().unwrap();
        let error =
            client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap_err();
        assert!(matches!(error, KaggleError::NotAZip { .. }), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn refusals_are_told_apart_and_say_what_to_do() {
    let (server, dir, _) = scene(1_000).await;
    server.add("closed", fake_zip(100), &[]);
    server.close_rules("closed");
    let at = |id: &str| DownloadRequest { id: id.to_owned(), ..request(dir.path()) };

    let error = client(&server).download(&at("closed"), &SilentReporter).await.unwrap_err();
    assert_eq!(error.to_string(), "the rules of `closed` are not accepted yet");
    assert!(error.hint().unwrap().contains("https://www.kaggle.com/competitions/closed/rules"));

    let error = client(&server).download(&at("nowhere"), &SilentReporter).await.unwrap_err();
    assert_eq!(error.to_string(), "Kaggle has no data for `nowhere`");

    let stranger = client_with(&server, Credentials::Token(Secret::new("KGAT_wrong")), quick());
    let error = stranger.download(&at(ID), &SilentReporter).await.unwrap_err();
    assert!(
        matches!(error, KaggleError::Unauthorized) && error.hint().unwrap().contains("kaggle.json"),
        "{error}"
    );

    assert_eq!(server.storage_seen().len(), 0);
    let page = "https://www.kaggle.com/competitions/closed/rules".to_owned();
    assert_eq!(client(&server).access("closed").await.unwrap(), Access::RulesNotAccepted { page });
    assert_eq!(client(&server).access("nowhere").await.unwrap(), Access::NotFound);
    assert_eq!(client(&server).access(ID).await.unwrap(), Access::Ready { bytes: Some(1_000) });
    assert!(matches!(stranger.access(ID).await, Err(KaggleError::Unauthorized)));
}

#[tokio::test]
async fn waits_as_long_as_the_server_asks() {
    let (server, dir, zip) = scene(1_000).await;
    server.fail_api([
        Fault::Status { status: 429, retry_after: Some("1") },
        Fault::Status { status: 502, retry_after: None },
    ]);
    server.fail_storage([Fault::Status { status: 503, retry_after: Some("0") }]);
    let recorder = Recorder::default();
    let done = client(&server).download(&request(dir.path()), &recorder).await.unwrap();
    assert_eq!(std::fs::read(&done.path).unwrap(), zip);
    let retries = recorder.retries.lock().unwrap();
    assert_eq!(
        retries.iter().map(|(e, _)| e.as_str()).collect::<Vec<_>>(),
        [
            "the Kaggle API answers 429 Too Many Requests: fault on demand",
            "the Kaggle API answers 502 Bad Gateway: fault on demand",
            "Kaggle's storage server answers 503 Service Unavailable: fault on demand",
        ]
    );
    assert_eq!((retries[0].1, retries[2].1), (Duration::from_secs(1), Duration::ZERO));
}

#[tokio::test]
async fn an_endless_wait_is_an_error_at_once() {
    let (server, dir, _) = scene(1_000).await;
    server.fail_api([Fault::Status { status: 429, retry_after: Some("86400") }]);
    let error = client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap_err();
    assert_eq!(error.to_string(), "the Kaggle API asks to wait 1day before the next try");
}

#[tokio::test]
async fn several_downloads_run_at_a_time_but_no_more_than_asked_for() {
    let server = KaggleServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..6).map(|i| format!("c{i}")).collect();
    for (i, id) in ids.iter().enumerate() {
        server.add(id, fake_zip(10_000 + i), &[]);
    }
    server.fail_storage(std::iter::repeat_n(
        Fault::Drip { piece: 1_000, pause: Duration::from_millis(10) },
        6,
    ));
    let requests: Vec<_> = ids
        .iter()
        .map(|id| DownloadRequest {
            id: id.clone(),
            object: RemoteObject::All,
            path: dir.path().join(format!("{id}.zip")),
        })
        .collect();
    let results = client(&server).download_all(&requests, 3, &SilentReporter).await;
    let sizes: Vec<_> =
        results.into_iter().map(|r: Result<Downloaded, _>| r.unwrap().bytes).collect();
    assert_eq!(sizes, [10_000, 10_001, 10_002, 10_003, 10_004, 10_005]);
    assert!((2..=3).contains(&server.most_running()), "{}", server.most_running());
}

#[tokio::test]
async fn two_processes_do_not_write_the_same_file() {
    let (server, dir, _) = scene(10_000).await;
    let part = dir.path().join(format!("{ID}.zip.part"));
    let held = std::fs::File::create(&part).unwrap();
    held.lock().unwrap();
    let error = client(&server).download(&request(dir.path()), &SilentReporter).await.unwrap_err();
    assert!(matches!(error, KaggleError::Busy { .. }), "{error}");
}

/// A Python with that version of the official client: `$MEDALIST_TEST_KAGGLE_<MAJOR>`, or an
/// environment made for this test. `None`, loudly, where none can be had.
fn official_client(version: &str) -> Option<PathBuf> {
    let variable = format!("MEDALIST_TEST_KAGGLE_{}", &version[..1]);
    if let Some(python) = std::env::var_os(&variable) {
        return Some(python.into());
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kaggle-{version}"));
    let python = home.join("bin/python");
    let ready = home.join("ready");
    if !ready.exists() {
        let run = |program: &Path, arguments: &[&str]| {
            Command::new(program).args(arguments).output().is_ok_and(|o| o.status.success())
        };
        let made = run(Path::new("python3"), &["-m", "venv", "--clear", home.to_str()?])
            && run(
                &python,
                &[
                    "-m",
                    "pip",
                    "install",
                    "-q",
                    "--disable-pip-version-check",
                    &format!("kaggle=={version}"),
                    "six",
                ],
            );
        if !made {
            skip(
                "kaggle",
                &format!(
                    "kaggle {version} cannot be installed; set {variable} to a Python that has it"
                ),
            );
            return None;
        }
        std::fs::write(&ready, "").ok()?;
    }
    Some(python)
}

fn run_official(
    python: &Path,
    script: &str,
    server: &KaggleServer,
    home: &Path,
    arguments: &[&str],
) -> std::process::Output {
    Command::new(python)
        .args(["-c", script, &server.root()])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("KAGGLE_API_ENDPOINT", server.root())
        .env("KAGGLE_CONFIG_DIR", home)
        .env("KAGGLE_USERNAME", USERNAME)
        .env("KAGGLE_KEY", KEY)
        .output()
        .unwrap()
}

/// What the present client reads besides data.
fn lists_and_boards(run: &dyn Fn(&[&str]) -> (bool, String), server: &KaggleServer, dir: &Path) {
    let facts = serde_json::json!({"title": "Spaceship", "evaluationMetric": "Categorization Accuracy", "tags": [{"ref": "space", "name": "space"}]});
    let described = Described { facts, board: Some(vec![0.9, 0.8, 0.7]), ..Described::default() };
    server.describe(ID, described);
    let (ok, text) = run(&["competitions", "list"]);
    assert!(ok && text.contains(ID), "{text}");
    let (ok, text) = run(&["competitions", "leaderboard", "-c", ID, "--show"]);
    assert!(ok && text.contains("team 0") && text.contains("0.9"), "{text}");
    let path = dir.to_str().unwrap();
    let board = dir.join("board");
    let (ok, text) = run(&[
        "competitions",
        "leaderboard",
        "-c",
        ID,
        "--download",
        "-p",
        board.to_str().unwrap(),
    ]);
    assert!(ok, "{path}: {text}");
    let bytes = std::fs::read(board.join(format!("{ID}.zip"))).unwrap();
    assert!(bytes.starts_with(b"PK") && bytes.len() > 100);
}

/// What is told of competitions: facts, pages, the board, and the list in pages.
#[tokio::test]
async fn facts_pages_and_boards_are_read() {
    let server = KaggleServer::start().await;
    for k in 0..450 {
        let id = format!("made-up-{k:03}");
        server.add(&id, fake_zip(100), &[]);
        let day = format!("2026-{:02}-{:02}T23:59:00Z", k / 28 % 12 + 1, k % 28 + 1);
        let facts = serde_json::json!({"deadline": day, "evaluationMetric": "AUC"});
        server.describe(&id, Described { facts, ..Described::default() });
    }
    let client = client(&server);
    let all = client.list(&ListQuery::default()).await.unwrap();
    assert_eq!(all.len(), 450);
    assert!(all.windows(2).all(|pair| pair[0].deadline >= pair[1].deadline));
    let few = client.list(&ListQuery { limit: Some(7), ..ListQuery::default() }).await.unwrap();
    assert_eq!(few.len(), 7);
    let found = ListQuery { search: Some("made-up-01".to_owned()), ..ListQuery::default() };
    assert_eq!(client.list(&found).await.unwrap().len(), 10);

    let pages = vec![("Evaluation".to_owned(), "by AUC".to_owned())];
    server.describe(
        "made-up-000",
        Described { pages, board: Some(vec![0.9, 0.5]), ..Described::default() },
    );
    let facts = client.facts("made-up-000").await.unwrap();
    assert_eq!((facts.slug(), facts.team_count), ("made-up-000", 2));
    assert_eq!(client.pages("made-up-000").await.unwrap()[0].content, "by AUC");
    let board = client.leaderboard_csv("made-up-000").await.unwrap().unwrap();
    assert!(String::from_utf8(board).unwrap().contains("Score"));
    assert_eq!(client.leaderboard_csv("made-up-001").await.unwrap(), None);
    let missing = client.facts("no-such").await.unwrap_err();
    assert!(matches!(missing, KaggleError::NotFound { .. }), "{missing}");
}

/// The fake is faithful: the official client, both its older generation (which the reference uses)
/// and the present one, lists, downloads, resumes and is refused as ours is.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_works_against_the_same_server() {
    // The present client knows its servers by name only; the one of the public API is made ours.
    let present = "import sys\nimport kagglesdk.kaggle_env as e\n\
                   e._env_to_endpoint[e.KaggleEnv.PROD] = sys.argv.pop(1) + '/api'\nfrom kaggle.cli import main\nsys.argv[0] = 'kaggle'\nmain()";
    let older = "import sys\nsys.argv.pop(1)\nfrom kaggle.cli import main\nmain()";
    for (version, script) in [("2.2.5", present), ("1.6.17", older)] {
        let Some(python) =
            tokio::task::spawn_blocking(move || official_client(version)).await.unwrap()
        else {
            continue;
        };
        let server = KaggleServer::start().await;
        let zip = fake_zip(3_000_000);
        server.add(ID, zip.clone(), &[("train.csv", b"id\n1\n"), ("test.csv", b"id\n2\n")]);
        server.add("closed", fake_zip(100), &[]);
        server.close_rules("closed");
        let dir = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let output = run_official(&python, script, &server, dir.path(), arguments);
            let text = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            (output.status.success(), text)
        };
        let path = dir.path().to_str().unwrap();

        let (ok, text) = run(&["competitions", "files", "-c", ID]);
        assert!(ok && text.contains("train.csv") && text.contains("test.csv"), "{version}: {text}");

        let (ok, text) = run(&["competitions", "download", "-c", ID, "-p", path]);
        assert!(ok, "{version}: {text}");
        let file = dir.path().join(format!("{ID}.zip"));
        assert_eq!(std::fs::read(&file).unwrap(), zip, "{version}");

        if version.starts_with('2') {
            lists_and_boards(&run, &server, dir.path());
        }

        // The present client resumes; the older one does not, but gives in to a refusal at once
        // instead of after a minute.
        if version.starts_with('2') {
            std::fs::remove_file(&file).unwrap();
            server.fail_storage([Fault::Cut { after: 1_500_000 }]);
            let (ok, text) = run(&["competitions", "download", "-c", ID, "-p", path]);
            assert!(ok, "{version}: {text}");
            assert_eq!(std::fs::read(&file).unwrap(), zip, "{version}");
        } else {
            let (ok, text) = run(&["competitions", "download", "-c", "closed", "-p", path]);
            assert!(!ok && text.contains("403"), "{version}: {text}");
            assert!(server.seen().iter().any(|s| s.authorized && s.status == 403));
        }
    }
}
