//! The live view: who gets in, and that the page follows the files.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use medalist::app::report::Source;
use medalist::app::serve::{Shown, serve};
use medalist_competitions::Catalogue;
use medalist_reports::record::{
    AgentRecord, AttemptKey, AttemptRecord, GroupRecord, LlmRecord, LlmTokens, LlmTotals,
    OutcomeRecord, PhaseRecord, PlannedRecord,
};
use serde_json::json;

use crate::browser::Browser;

const ID: &str = "spaceship-titanic";

fn key(seed: u32) -> AttemptKey {
    AttemptKey { competition: ID.into(), agent: "tester".into(), seed }
}

fn put(path: &Path, value: &impl serde::Serialize) {
    std::fs::create_dir_all(path.parent().expect("inside the group")).expect("writable");
    let aside = path.with_extension("tmp");
    std::fs::write(&aside, serde_json::to_vec(value).expect("plain")).expect("writable");
    std::fs::rename(aside, path).expect("writable");
}

fn group(dir: &Path) {
    let planned = |seed| PlannedRecord { key: key(seed), dir: format!("{ID}_{seed}") };
    let record = GroupRecord {
        id: "g".into(),
        agent: AgentRecord { id: "tester".into(), ..AgentRecord::default() },
        attempts: vec![planned(0), planned(1)],
        ..GroupRecord::default()
    };
    put(&dir.join("group.json"), &record);
}

/// An attempt at work: its record, and a log of `lines` lines with what agents like to print.
fn begin(dir: &Path, seed: u32, lines: usize) {
    let dir = dir.join(format!("{ID}_{seed}"));
    let record = AttemptRecord {
        key: key(seed),
        started_at: Some(chrono::Utc::now()),
        phases: vec![PhaseRecord { name: "agent".into(), began_s: 1.0, took_s: 2.0 }],
        llm: Some(LlmRecord {
            totals: LlmTotals {
                calls: 7,
                tokens: LlmTokens { input: 4_321, ..LlmTokens::default() },
                ..LlmTotals::default()
            },
            ..LlmRecord::default()
        }),
        ..AttemptRecord::default()
    };
    put(&dir.join("attempt.json"), &record);
    let mut log = String::new();
    for line in 0..lines {
        log += &format!(
            "line {line} <script>document.title = 'taken'</script> \u{1b}[31m{}\n",
            "x".repeat(50)
        );
    }
    std::fs::write(dir.join("run.log"), log).expect("writable");
}

fn finish(dir: &Path, seed: u32) {
    let dir = dir.join(format!("{ID}_{seed}"));
    let grade = json!({
        "competition_id": ID, "score": 0.83, "gold_threshold": 0.82066, "silver_threshold": 0.81388,
        "bronze_threshold": 0.80967, "median_threshold": 0.79565, "any_medal": true, "gold_medal": true,
        "silver_medal": false, "bronze_medal": false, "above_median": true, "submission_exists": true,
        "valid_submission": true, "is_lower_better": false,
    });
    put(&dir.join("grade.json"), &grade);
    let outcome = OutcomeRecord { kind: "finished".into(), ..OutcomeRecord::default() };
    put(
        &dir.join("attempt.json"),
        &AttemptRecord { key: key(seed), outcome: Some(outcome), ..AttemptRecord::default() },
    );
}

/// A server in its own thread; it stops with the test.
struct Server {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    dir: PathBuf,
}

impl Server {
    fn start(name: &str) -> Self {
        Self::with_token(name, "secret")
    }

    fn with_token(name: &str, token: &'static str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("medalist-serve-{}-{name}", std::process::id()));
        group(&dir);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let shown = Shown {
            paths: vec![dir.clone()],
            agent: None,
            source: Source::new(
                Catalogue::embedded().expect("the catalogue"),
                Path::new("no-data"),
            ),
            token: token.into(),
            names: Vec::new(),
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener =
                    tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                tell.send(listener.local_addr().expect("an address")).expect("the test listens");
                let stop = async {
                    let _ = stopped.await;
                };
                serve(listener, shown, stop).await.expect("the server ends cleanly");
            });
        });
        let address = told.recv().expect("the server starts");
        Self { address, stop: Some(stop), thread: Some(thread), dir }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        let host = self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn nothing_is_shown_without_the_token() {
    let server = Server::start("token");
    for path in [
        "/",
        "/report.json",
        "/events",
        "/?token=",
        "/?token=Secret",
        "/events?token=x",
        "/attempts/0",
        "/attempts/0/log.js",
        "/competitions/0",
        "/viewer.js",
        "/nothing",
    ] {
        let answer = server.get(path);
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
        assert!(!answer.contains(ID), "{path}");
    }
    let page = server.get("/?token=secret");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("id=\"live\""), "{page}");
    let report = server.get("/report.json?token=secret");
    assert!(
        report.contains("\"planned\": 2") && report.contains("content-type: application/json"),
        "{report}"
    );
}

#[test]
fn an_empty_token_lets_nobody_in_and_a_foreign_name_nothing_out() {
    let server = Server::with_token("empty", "");
    assert!(server.get("/?token=").starts_with("HTTP/1.1 403"));
    drop(server);

    let server = Server::start("rebound");
    let ask = |headers: &str| {
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        write!(stream, "GET /?token=secret HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")
            .expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        answer
    };
    let address = server.address;
    assert!(ask(&format!("Host: {address}\r\n")).starts_with("HTTP/1.1 200"));
    for headers in [
        "Host: rebound.example.net\r\n".to_owned(),
        format!("Host: {address}\r\nOrigin: http://example.net\r\n"),
    ] {
        let answer = ask(&headers);
        assert!(answer.starts_with("HTTP/1.1 421") && !answer.contains(ID), "{answer}");
    }

    for empty in ["", " "] {
        let output = assert_cmd::Command::cargo_bin("medalist")
            .expect("the program")
            .env("MEDALIST_SERVE_TOKEN", empty)
            .args(["serve", "--runs-dir"])
            .arg(&server.dir)
            .timeout(Duration::from_secs(60))
            .output()
            .expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains("token is empty"), "{text}");
    }
}

#[test]
fn the_page_follows_a_running_group() {
    let Some(mut browser) = Browser::start("serve") else { return };
    let server = Server::start("live");
    browser.look(1280, "light");
    browser.open(&format!("http://{}/?token=secret", server.address));
    wait(&mut browser, "document.getElementById('live').textContent.startsWith('Live: 0 of 2')");
    browser.eval("(() => { const s = document.querySelector('[name=search]'); s.value = 'titanic'; s.dispatchEvent(new Event('input', {bubbles: true})); })()");
    finish(&server.dir, 0);
    wait(&mut browser, "document.getElementById('live').textContent.startsWith('Live: 1 of 2')");
    wait(&mut browser, "document.querySelectorAll('#attempts-table .tag.gold').length === 1");
    assert_eq!(
        browser.eval("document.querySelector('[name=search]').value"),
        json!("titanic"),
        "filters are kept"
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn an_attempt_has_a_live_page_with_the_end_of_its_log() {
    let Some(mut browser) = Browser::start("serve-attempt") else { return };
    let server = Server::start("attempt");
    begin(&server.dir, 0, 5_000);
    browser.look(1280, "light");
    browser.open(&format!("http://{}/?token=secret", server.address));
    let link = browser.eval("document.querySelector('#attempts-table a').href");
    browser.open(link.as_str().expect("every attempt has a link"));

    assert_eq!(browser.eval("document.querySelector('h1').textContent"), json!(ID));
    assert_eq!(
        browser.eval("document.title"),
        json!(format!("{ID}, tester, seed 0")),
        "the log cannot run scripts"
    );
    let log = browser.eval("document.getElementById('log').textContent");
    let log = log.as_str().expect("a log");
    assert!(log.len() <= 34 * 1024 && log.len() > 30 * 1024, "{} bytes", log.len());
    assert!(
        log.starts_with("line ") && log.contains("line 4999 <script>") && !log.contains('\u{1b}')
    );
    assert_eq!(
        browser.eval("(e => e.scrollTop > 0 && e.scrollTop + e.clientHeight >= e.scrollHeight - 4)(document.getElementById('log'))"),
        json!(true),
        "the log shows its end"
    );
    assert_eq!(
        browser.eval("/4321/.test(document.querySelector('main').textContent)"),
        json!(true),
        "use of the LLM"
    );
    wait(&mut browser, "document.getElementById('live').textContent.startsWith('Live: 0 of 2')");

    let mut file = std::fs::File::options()
        .append(true)
        .open(server.dir.join(format!("{ID}_0")).join("run.log"))
        .expect("the log is there");
    writeln!(file, "one more line").expect("writable");
    wait(&mut browser, "document.getElementById('log').textContent.includes('one more line')");
    finish(&server.dir, 0);
    wait(&mut browser, "document.querySelectorAll('.card .tag.gold').length === 1");
    assert_eq!(browser.complaints(), [""; 0]);
    browser.look(390, "dark");
    let widest = browser.eval("document.documentElement.scrollWidth").as_u64().expect("a number");
    assert!(widest <= 390, "{widest} px wide");

    browser.open(&format!("http://{}/?token=secret", server.address));
    browser.eval("document.querySelectorAll('#attempts-table a')[1].click()");
    wait(&mut browser, "document.title === 'spaceship-titanic, tester, seed 1'");
    wait(
        &mut browser,
        "document.querySelector('main').textContent.includes('There is no log at hand.')",
    );
    for (path, status) in
        [("/attempts/..%2F..%2Fetc?token=secret", "404"), ("/attempts/0?token=secret", "404")]
    {
        assert!(server.get(path).starts_with(&format!("HTTP/1.1 {status}")), "{path}");
    }
}

#[test]
fn served_pages_load_their_data_and_notice_that_there_is_more() {
    let Some(mut browser) = Browser::start("serve-viewer") else { return };
    let server = Server::start("viewer");
    begin(&server.dir, 0, 5_000);
    browser.look(1280, "light");
    browser.open(&format!("http://{}/?token=secret", server.address));
    browser.eval("document.querySelector('#competitions a').click()");
    wait(&mut browser, "document.title === 'spaceship-titanic: all attempts'");
    browser.eval("document.querySelector('#attempts a').click()");
    wait(&mut browser, "document.title === 'spaceship-titanic, tester, seed 0'");
    wait(&mut browser, "document.getElementById('find')?.hidden === false");
    let search = |words: &str| {
        format!(
            "(() => {{ const q = document.querySelector('#find [name=q]'); q.value = '{words}'; q.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
        )
    };
    browser.eval(&search("line 12"));
    let told = "document.querySelector('#find output').textContent";
    wait(&mut browser, &format!("{told} === '111 in the log'"));
    browser.eval("document.querySelector('[data-open=log]').click()");
    wait(&mut browser, "document.querySelectorAll('#log-13 mark').length === 1");
    let address = browser.eval("location.search");
    assert_eq!(address, json!("?token=secret&q=line+12"), "the address keeps the token");

    let log = server.dir.join(format!("{ID}_0")).join("run.log");
    let mut file = std::fs::File::options().append(true).open(&log).expect("the log is there");
    writeln!(file, "line 12 once more").expect("writable");
    wait(&mut browser, "document.getElementById('log').textContent.includes('once more')");
    assert_eq!(browser.eval("document.querySelector('#find [name=q]').value"), json!("line 12"));
    wait(&mut browser, &format!("{told}.startsWith('The attempt has gone on')"));
    browser.eval(&search("line 12"));
    wait(&mut browser, &format!("{told} === '112 in the log'"));
    assert_eq!(browser.complaints(), [""; 0]);

    let script = server.get("/viewer.js?token=secret");
    assert!(script.contains("content-type: text/javascript"), "{script}");
    for path in ["/attempts/0/log.js", "/attempts/..%2Fx/log.js", "/competitions/0"] {
        let answer = server.get(&format!("{path}?token=secret"));
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

fn wait(browser: &mut Browser, expression: &str) {
    let since = Instant::now();
    while browser.eval(expression) != json!(true) {
        assert!(since.elapsed() < Duration::from_secs(60), "`{expression}` never holds");
        std::thread::sleep(Duration::from_millis(200));
    }
}
