//! The pages of attempts and competitions in a real browser, from files on a disk.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, TimeZone as _, Utc};
use medalist_reports::record::{
    AgentRecord, AttemptKey, AttemptRecord, CompetitionFacts, ConditionsRecord, GroupRecord,
    OutcomeRecord, PlannedRecord, SnapshotRecord, TryRecord,
};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::page::{CONTRAST, LABELS};
use crate::support::TestContext;

const ID: &str = "spaceship-titanic";

/// What tries to run wherever an agent can write something.
const SCRIPTS: [&str; 7] = [
    "</script><script>window.taken = 1</script>",
    "<img src=x onerror=window.taken=2>",
    "\");window.taken=3;//",
    "<!--<script>",
    "-->\u{2028}window.taken=4\u{2029}",
    "' onmouseover='window.taken=5' autofocus onfocus='window.taken=6",
    "{{ 7 * 7 }}${window.taken=8}`;window.taken=9;`",
];

/// A run group on disk.
struct Group {
    dir: PathBuf,
    record: GroupRecord,
}

impl Group {
    fn new(runs: &Path, id: &str, agent: &str, version: &str) -> Self {
        let agent = AgentRecord {
            id: agent.to_owned(),
            version: Some(version.to_owned()),
            ..AgentRecord::default()
        };
        let record = GroupRecord { id: id.to_owned(), agent, ..GroupRecord::default() };
        Self { dir: runs.join(id), record }
    }

    /// An attempt that ended with a score; gives its folder.
    fn attempt(&mut self, competition: &str, seed: u32, score: f64) -> PathBuf {
        let key = AttemptKey {
            competition: competition.to_owned(),
            agent: self.record.agent.id.clone(),
            seed,
        };
        let dir = self.dir.join(format!("{competition}_{seed}"));
        std::fs::create_dir_all(&dir).expect("writable");
        let began = Utc.with_ymd_and_hms(2026, 11, 24, 12, 0, 0).single().expect("a date");
        let snapshot = |after_s: u32, score| SnapshotRecord {
            after_s: f64::from(after_s),
            path: format!("snapshots/{after_s:07}.csv"),
            code: Some(format!("snapshots/code/{after_s:07}")),
            valid: true,
            score: Some(score),
            ..SnapshotRecord::default()
        };
        let outcome = OutcomeRecord { kind: "finished".into(), ..OutcomeRecord::default() };
        let record = AttemptRecord {
            key: key.clone(),
            group: self.record.id.clone(),
            competition: CompetitionFacts {
                id: competition.to_owned(),
                modality: "tabular".to_owned(),
                complexity: "low".to_owned(),
                ..CompetitionFacts::default()
            },
            outcome: Some(outcome),
            started_at: Some(began),
            ended_at: Some(began + TimeDelta::hours(1)),
            took_s: Some(3_600.0),
            tries: vec![TryRecord { number: 1, started_at: Some(began), ..TryRecord::default() }],
            snapshots: vec![snapshot(600, score - 0.1), snapshot(1_200, score + 0.01)],
            conditions: ConditionsRecord {
                executor: format!("executor-of-{}", self.record.agent.id),
                ..ConditionsRecord::default()
            },
            ..AttemptRecord::default()
        };
        put(&dir.join("attempt.json"), &record);
        let grade = json!({
            "competition_id": competition, "created_at": "2026-11-24T13:00:00Z", "score": score, "gold_threshold": 0.9, "silver_threshold": 0.85,
            "bronze_threshold": 0.8, "median_threshold": 0.7, "any_medal": score >= 0.8,
            "gold_medal": score >= 0.9, "silver_medal": (0.85..0.9).contains(&score),
            "bronze_medal": (0.8..0.85).contains(&score), "above_median": score > 0.7,
            "submission_exists": true, "valid_submission": true, "is_lower_better": false,
        });
        put(&dir.join("grade.json"), &grade);
        let planned = PlannedRecord { key, dir: format!("{competition}_{seed}") };
        self.record.attempts.push(planned);
        put(&self.dir.join("group.json"), &self.record);
        dir
    }
}

fn put(path: &Path, value: &impl serde::Serialize) {
    write(path, &serde_json::to_vec(value).expect("plain"));
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("inside a folder")).expect("writable");
    std::fs::write(path, bytes).expect("writable");
}

/// A transcript of one conversation, a call for each text.
fn transcript(dir: &Path, texts: &[String]) {
    let file = dir.join("llm/transcript.jsonl.gz");
    std::fs::create_dir_all(dir.join("llm")).expect("writable");
    let file = std::fs::File::create(file).expect("writable");
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    for (call, text) in texts.iter().enumerate() {
        let line = json!({
            "id": call, "at": format!("2026-11-24T12:{:02}:00Z", call % 60), "role": "coder", "model": text, "dialect": "openai",
            "route": "POST /chat/completions",
            "request": { "messages": [{ "role": "user", "content": text }] },
            "answer": { "status": 200, "whole": true, "body": { "choices": [{ "message": {
                "role": "assistant", "content": format!("answer {call}: {text}"),
                "tool_calls": [{ "id": "t", "function": { "name": text, "arguments": json!({ "path": text, "content": text }).to_string() } }],
            } }] } },
        });
        writeln!(gzip, "{line}").expect("writable");
    }
    gzip.finish().expect("writable");
}

/// Writes the pages of the run groups in `runs` and gives their folder.
fn pages(context: &TestContext) -> PathBuf {
    let output = context
        .command()
        .args(["report", "runs", "--format", "pages", "--out", "out"])
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    context.join("out/pages")
}

fn wait(browser: &mut Browser, expression: &str) {
    let since = Instant::now();
    while browser.eval(expression) != json!(true) {
        let page = browser.eval("document.querySelector('main').innerText.slice(0, 2000)");
        assert!(since.elapsed() < Duration::from_secs(60), "`{expression}` never holds: {page}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn open(browser: &mut Browser, path: &Path, more: &str) {
    // The same address with another fragment would not load the page again.
    browser.open("about:blank");
    browser.open(&format!("file://{}{more}", path.display()));
}

fn text(browser: &mut Browser, selector: &str) -> String {
    let found = browser.eval(&format!("document.querySelector(`{selector}`).textContent"));
    found.as_str().expect("a text").to_owned()
}

/// Types into the search of log, transcript and files.
fn search(browser: &mut Browser, words: &str) {
    let words = serde_json::to_string(words).expect("a text");
    browser.eval(&format!(
        "(() => {{ const q = document.querySelector('#find [name=q]'); q.value = {words}; q.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
    ));
}

/// One agent in two versions and another one, each with two seeds at two competitions; the first
/// attempt left much.
fn made_up(context: &TestContext) -> PathBuf {
    let runs = context.join("runs");
    let mut first = PathBuf::new();
    for (id, agent, version, score) in
        [("g1", "careful", "1.0", 0.95), ("g2", "careful", "2.0", 0.86), ("g3", "quick", "7", 0.6)]
    {
        let mut group = Group::new(&runs, id, agent, version);
        for competition in [ID, "text-normalization-challenge-english-language"] {
            for seed in 0..2 {
                let dir = group.attempt(competition, seed, score - 0.01 * f64::from(seed));
                if first.as_os_str().is_empty() {
                    first = dir;
                }
            }
        }
    }
    let mut log = String::new();
    for line in 1..=5_000 {
        let mark = if line % 1_000 == 0 { "\u{1b}[31mneedle\u{1b}[0m and Needle" } else { "hay" };
        log += &format!("line {line} {mark}\r\n");
    }
    write(&first.join("run.log"), log.as_bytes());
    write(&first.join("code/main.py"), b"import os\n\nprint('a needle')\n");
    write(&first.join("code/util/helper.py"), b"X = 1\n");
    write(&first.join("code/model.bin"), b"\0\x01\x02");
    write(&first.join("logs/agent.log"), b"said nothing\n");
    write(&first.join("submission/submission.csv"), b"id,target\n1,0\n2,1\n3,1\n");
    write(&first.join("snapshots/0000600.csv"), b"id,target\n1,0\n2,0\n3,1\n");
    write(&first.join("snapshots/code/0000600/main.py"), b"import os\n");
    write(&first.join("snapshots/code/0001200/main.py"), b"import os\n\nprint('no')\n");
    write(&first.join("snapshots/0001200.csv"), b"id,target\n1,0\n2,1\n3,1\n4,1\n");
    std::os::unix::fs::symlink("/etc/passwd", first.join("code/passwd")).expect("writable");
    let verdict = |second: u32, valid: bool, message: &str| {
        json!({ "at": format!("2026-11-24T12:{second:02}:00Z"), "valid": valid, "message": message })
            .to_string()
    };
    let verdicts = [verdict(5, false, "column `target` is missing"), verdict(9, true, "fine")];
    write(&first.join("validations.jsonl"), (verdicts.join("\n") + "\n").as_bytes());
    let texts: Vec<String> = (0..100).map(|call| format!("thought {call}")).collect();
    transcript(&first, &texts);
    first
}

#[test]
fn an_attempt_shows_its_course_log_transcript_and_code() {
    let Some(mut browser) = Browser::start("viewer") else { return };
    let context = TestContext::new();
    made_up(&context);
    let page = pages(&context).join("attempts/0.html");
    browser.look(1280, "light");
    open(&mut browser, &page, "");
    assert_eq!(text(&mut browser, "h1"), ID);
    let course = text(&mut browser, "#course");
    assert!(course.contains("validation: invalid") && course.contains("submission"), "{course}");
    assert_eq!(browser.eval("document.querySelectorAll('#course svg[role=img]').length"), json!(2));
    let main = text(&mut browser, "main");
    assert!(main.contains("Its best snapshot was better than what it submitted: 0.96"), "{main}");
    assert!(main.contains("column `target` is missing"), "{main}");

    // Nothing of it is loaded before somebody asks, and then it is searched as a whole.
    let loaded = |browser: &Browser| browser.requests("/0.html");
    assert!(
        loaded(&browser).iter().all(|url| !url.contains("/0/log.js")),
        "{:?}",
        loaded(&browser)
    );
    search(&mut browser, "needle");
    wait(
        &mut browser,
        "document.querySelector('#find output').textContent === '10 in the log, 0 in the transcript, 1 in the files'",
    );
    assert!(loaded(&browser).iter().any(|url| url.ends_with("/0/log.js")));
    let next = "document.querySelector('#find [data-go=\"1\"]').click()";
    browser.eval(next);
    wait(&mut browser, "document.querySelector('mark.now')?.closest('.line').id === 'log-1000'");
    browser.eval(next);
    browser.eval(next);
    wait(&mut browser, "document.querySelector('mark.now')?.closest('.line').id === 'log-2000'");
    assert_eq!(
        text(&mut browser, "#log-2000 code"),
        "line 2000 needle and Needle",
        "colours of the terminal are no text"
    );
    assert_eq!(
        browser.eval("document.querySelectorAll('#log-lines .line').length <= 1000"),
        json!(true),
        "a window of the log is in the page"
    );
    assert_eq!(text(&mut browser, "#find output"), "Match 3 of 11, in the log");
    browser.eval("document.querySelector('#find [data-go=\"-1\"]').click()");
    browser.eval("document.querySelector('#find [data-go=\"-1\"]').click()");
    browser.eval("document.querySelector('#find [data-go=\"-1\"]').click()");
    wait(&mut browser, "document.querySelector('mark.now')?.closest('.line').id === 'f0-3'");
    assert_eq!(browser.complaints(), [""; 0]);

    // The address leads back to it.
    assert_eq!(browser.eval("new URL(location.href).searchParams.get('q')"), json!("needle"));
    open(&mut browser, &page, "?q=needle#log-4000");
    wait(&mut browser, "document.querySelector('#log-4000.here mark') !== null");
    assert_eq!(browser.eval("document.querySelector('#find [name=q]').value"), json!("needle"));
    open(&mut browser, &page, "#step-99");
    wait(&mut browser, "document.querySelector('#step-99') !== null");
    search(&mut browser, "THOUGHT 3");
    wait(
        &mut browser,
        "document.querySelector('#find output').textContent.includes(' 77 in the transcript')",
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn any_two_files_are_compared() {
    let Some(mut browser) = Browser::start("viewer-diff") else { return };
    let context = TestContext::new();
    let first = made_up(&context);
    let many = |from: u32| (from..from + 3_000).map(|i| format!("{i}\n")).collect::<String>();
    write(&first.join("logs/a.txt"), many(0).as_bytes());
    write(&first.join("logs/b.txt"), many(100_000).as_bytes());
    let page = pages(&context).join("attempts/0.html");
    browser.look(1280, "light");
    open(&mut browser, &page, "");
    browser.eval("document.querySelector('#pick').scrollIntoView()");
    wait(
        &mut browser,
        "document.querySelector('#f0-3 code')?.textContent === \"print('a needle')\"",
    );
    let names =
        "[...document.querySelector('#pick [name=file]').options].map(o => o.textContent).join()";
    let names = browser.eval(names);
    assert_eq!(
        names,
        json!(
            "code/main.py,code/util/helper.py,submission/submission.csv,snapshots/code/0001200/main.py,snapshots/code/0000600/main.py,snapshots/0000600.csv,snapshots/0001200.csv,logs/a.txt,logs/agent.log,logs/b.txt"
        )
    );
    let files = text(&mut browser, ".files");
    assert!(files.contains("code/passwd") && files.contains("a link, not followed"), "{files}");
    assert!(files.contains("code/model.bin") && files.contains("not a text"), "{files}");

    let labels = "[...document.querySelectorAll('[data-compare]')].map(b => b.textContent).join()";
    assert_eq!(
        browser.eval(labels),
        json!(
            "Code of its best snapshot, and the last,What changed last in its code,Last two snapshots of its submission"
        )
    );
    let output = "document.querySelector('#pick output').textContent";
    browser.eval("document.querySelector('[data-compare]').click()");
    wait(&mut browser, &format!("{output} === '1 line added, 1 removed'"));
    browser.eval("[...document.querySelectorAll('[data-compare]')].at(-1).click()");
    wait(&mut browser, &format!("{output} === '2 lines added, 1 removed'"));
    let of = |kind: &str| {
        format!(
            "[...document.querySelectorAll('.line.{kind} code')].map(e => e.textContent).join()"
        )
    };
    assert_eq!(browser.eval(&of("removed")), json!("2,0"));
    assert_eq!(browser.eval(&of("added")), json!("2,1,4,1"));
    let query = browser.eval("location.search");
    open(&mut browser, &page, query.as_str().expect("a query"));
    wait(&mut browser, &format!("{output} === '2 lines added, 1 removed'"));
    let choose = |file: &str, with: &str| {
        format!(
            "(() => {{ const f = document.getElementById('pick'); const part = (n) => [...f.elements.file.options].find(o => o.textContent === n).value; f.elements.file.value = part('{file}'); f.elements.with.value = part('{with}'); f.dispatchEvent(new Event('change')); }})()"
        )
    };
    browser.eval(&choose("logs/b.txt", "logs/a.txt"));
    wait(&mut browser, &format!("{output}.includes('they differ too much to be aligned')"));
    assert_eq!(
        browser.eval("document.querySelector('#file .list').lastChild.textContent"),
        json!("\u{2026} 3,000 more changed lines not shown \u{2026}")
    );
    browser.eval(&choose("logs/b.txt", "logs/b.txt"));
    wait(&mut browser, "document.querySelector('#file .line a')?.textContent === '1'");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn pages_lead_to_each_other_and_the_address_keeps_the_filters() {
    let Some(mut browser) = Browser::start("viewer-links") else { return };
    let context = TestContext::new();
    made_up(&context);
    let dir = pages(&context);
    browser.look(1280, "light");
    // Without JavaScript, too.
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    open(&mut browser, &dir.join("index.html"), "");
    let order =
        browser.eval("[...document.querySelectorAll('#attempts-table tbody a')].map(a => a.href)");
    let order: Vec<String> = serde_json::from_value(order).expect("links");
    assert_eq!(order.len(), 12);
    let mut at = order[0].clone();
    for (i, expected) in order.iter().enumerate() {
        assert_eq!(at, *expected, "attempt {i}");
        browser.open(&at);
        at = match browser.eval("document.querySelector('a[rel=next]')?.href ?? null") {
            Value::String(next) => next,
            _ => String::new(),
        };
    }
    assert_eq!(at, "", "the last one has no next");
    assert_eq!(
        browser.eval("document.querySelectorAll('.steps .c').length"),
        json!(6),
        "attempts at the same competition, of all agents"
    );
    let competition = browser.eval("document.querySelectorAll('header p a')[1].href");
    browser.open(competition.as_str().expect("a link"));
    let rows = browser.eval("[...document.querySelectorAll('main tbody')][0].rows.length");
    assert_eq!(rows, json!(3), "two agents, one in two versions");
    let main = text(&mut browser, "main");
    assert!(main.contains("executor-of-careful") && main.contains("version 2.0"), "{main}");
    assert_eq!(browser.eval("document.querySelectorAll('#attempts a').length"), json!(6));
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": false }));

    let visible =
        "[...document.querySelectorAll('#attempts-table tbody tr')].filter(r => !r.hidden).length";
    open(&mut browser, &dir.join("index.html"), "?agent=careful&medal=gold&search=english");
    assert_eq!(browser.eval(visible), json!(2));
    browser.eval("(() => { const s = document.querySelector('[name=medal]'); s.value = ''; s.dispatchEvent(new Event('input', { bubbles: true })); })()");
    browser.eval("[...document.querySelectorAll('#attempts-table th button')].find(b => b.textContent === 'Score').click()");
    assert_eq!(browser.eval(visible), json!(4));
    let query = browser.eval("location.search");
    let query = query.as_str().expect("a query");
    assert_eq!(query, "?agent=careful&search=english&sort=3+ascending");
    let scores = "[...document.querySelectorAll('#attempts-table tbody tr')].filter(r => !r.hidden).map(r => r.cells[3].dataset.v).join()";
    let shown = browser.eval(scores);
    open(&mut browser, &dir.join("index.html"), query);
    assert_eq!(browser.eval(scores), shown, "a link shows what was seen");
    browser.eval("document.querySelector('#filters [type=reset]').click()");
    assert_eq!(browser.eval(visible), json!(12));
    assert_eq!(browser.eval("location.search"), json!(""));
    open(&mut browser, &dir.join("index.html"), "?agent=nobody&competition=%3Cscript%3E");
    assert_eq!(browser.eval(visible), json!(12), "an unknown value filters nothing");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn nothing_that_an_agent_left_runs() {
    let Some(mut browser) = Browser::start("viewer-hostile") else { return };
    let context = TestContext::new();
    let runs = context.join("runs");
    let agent = SCRIPTS[1].replace('/', "");
    let mut group = Group::new(&runs, "g", &agent, SCRIPTS[0]);
    let dir = group.attempt(ID, 0, 0.9);
    let all = SCRIPTS.join("\n");
    write(&dir.join("run.log"), all.as_bytes());
    for script in SCRIPTS {
        let name = script.replace('/', "_");
        write(&dir.join(format!("code/{name}.py")), all.as_bytes());
        write(&dir.join(format!("logs/{name}/{name}")), all.as_bytes());
    }
    write(&dir.join("snapshots/0000600.csv"), all.as_bytes());
    write(&dir.join("snapshots/0001200.csv"), format!("x\n{all}").as_bytes());
    let verdict = json!({ "at": "2026-11-24T12:05:00Z", "valid": false, "message": all });
    write(&dir.join("validations.jsonl"), format!("{verdict}\n").as_bytes());
    transcript(&dir, &SCRIPTS.map(str::to_owned));
    let pages = pages(&context);
    browser.look(1280, "light");
    let untouched = |browser: &mut Browser, at: &str| {
        assert_eq!(browser.eval("window.taken === undefined"), json!(true), "{at}");
        assert_eq!(browser.complaints(), [""; 0], "{at}");
    };
    for page in ["index.html", "competitions/0.html"] {
        open(&mut browser, &pages.join(page), "");
        untouched(&mut browser, page);
    }
    let page = pages.join("attempts/0.html");
    open(&mut browser, &page, "");
    search(&mut browser, "window.taken");
    wait(
        &mut browser,
        "document.querySelector('#find output').textContent.includes(' in the log')",
    );
    let told = text(&mut browser, "#find output");
    for button in ["log", "steps"] {
        browser.eval(&format!("document.querySelector('[data-open={button}]').click()"));
        let host = if button == "log" { "log-lines" } else { "steps" };
        wait(&mut browser, &format!("document.querySelector('#{host} mark') !== null"));
    }
    let parts =
        browser.eval("[...document.querySelector('#pick [name=file]').options].map(o => o.value)");
    let parts: Vec<String> = serde_json::from_value(parts).expect("names");
    assert_eq!(parts.len(), 16, "seven files of code and of logs, and two snapshots");
    for part in &parts {
        browser.eval(&format!(
            "(() => {{ const f = document.getElementById('pick'); f.elements.file.value = '{part}'; f.dispatchEvent(new Event('change')); }})()"
        ));
        wait(&mut browser, &format!("document.getElementById('{part}-2') !== null"));
    }
    browser.eval("document.querySelector('[data-compare]').click()");
    wait(
        &mut browser,
        "document.querySelector('#pick output').textContent === '1 line added, 0 removed'",
    );
    assert_eq!(
        browser.eval("document.querySelectorAll('main img, main script, iframe').length"),
        json!(0),
        "{told}"
    );
    untouched(&mut browser, "the attempt's page");
    // Words of an address are text, too.
    open(&mut browser, &page, "?q=%3Cimg+src%3Dx+onerror%3Dwindow.taken%3D1%3E#log-1%22%3E");
    wait(&mut browser, "document.querySelector('#find output').textContent !== ''");
    untouched(&mut browser, "an address");
}

#[test]
fn a_long_log_keeps_its_numbers_and_what_is_missing_is_said() {
    let Some(mut browser) = Browser::start("viewer-long") else { return };
    let context = TestContext::new();
    let dir = made_up(&context);
    let lines = 120_000;
    let log: String = (1..=lines).map(|line| format!("line {line} {}\n", "x".repeat(40))).collect();
    write(&dir.join("run.log"), log.as_bytes());
    let pages = pages(&context);
    let page = pages.join("attempts/0.html");
    browser.look(1280, "light");
    open(&mut browser, &page, &format!("#log-{lines}"));
    wait(&mut browser, &format!("document.getElementById('log-{lines}') !== null"));
    let last = text(&mut browser, &format!("#log-{lines} code"));
    assert!(last.starts_with(&format!("line {lines} ")), "{last}");
    assert!(text(&mut browser, "main").contains("are left out in the middle"));
    open(&mut browser, &page, "#log-40000");
    wait(&mut browser, "!document.getElementById('viewer-problem').hidden");
    let problem = text(&mut browser, "#viewer-problem");
    assert!(problem.contains("no line 40000"), "{problem}");

    std::fs::remove_file(pages.join("attempts/0/log.js")).expect("it was there");
    open(&mut browser, &page, "");
    browser.eval("document.querySelector('[data-open=log]').click()");
    wait(&mut browser, "!document.getElementById('viewer-problem').hidden");
    let problem = text(&mut browser, "#viewer-problem");
    assert!(problem.contains("0/log.js cannot be loaded"), "{problem}");
    std::fs::remove_file(pages.join("viewer.js")).expect("it was there");
    open(&mut browser, &page, "");
    wait(&mut browser, "!document.getElementById('viewer-problem').hidden");
}

#[test]
fn pages_of_attempts_and_competitions_can_be_read_everywhere() {
    let Some(mut browser) = Browser::start("viewer-looks") else { return };
    let context = TestContext::new();
    made_up(&context);
    let pages = pages(&context);
    for name in ["attempts/0.html", "competitions/0.html"] {
        for (width, scheme) in
            [(1440, "light"), (1440, "dark"), (768, "light"), (390, "light"), (390, "dark")]
        {
            browser.look(width, scheme);
            open(&mut browser, &pages.join(name), "?q=needle#log-1000");
            if name.starts_with("attempts") {
                wait(&mut browser, "document.querySelector('#log-1000 mark') !== null");
                browser.eval("document.querySelector('[data-open=steps]').click()");
                wait(&mut browser, "document.querySelector('#step-1') !== null");
                browser.eval("document.querySelector('[data-compare]').click()");
                wait(&mut browser, "document.querySelector('.line.added') !== null");
            }
            let at = format!("{name} at {width} px, {scheme}");
            let widest =
                browser.eval("document.documentElement.scrollWidth").as_u64().expect("a number");
            assert!(widest <= u64::from(width), "{at}: {widest} px wide");
            assert_eq!(browser.eval(CONTRAST), json!([]), "{at}");
            let offenders: Vec<String> =
                serde_json::from_value(browser.eval(LABELS)).expect("a list");
            // Links into files lead to lines that are not in the page yet.
            let later = |bad: &String| bad.starts_with("dead link: #f") && bad.ends_with("-1");
            let bad: Vec<String> = offenders.into_iter().filter(|bad| !later(bad)).collect();
            assert_eq!(bad, [""; 0], "{at}");
        }
    }
}
