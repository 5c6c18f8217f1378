//! The report's pages in a real browser.

use std::path::PathBuf;

use chrono::{TimeZone as _, Utc};
use medalist_reports::compare::{Gate, compare};
use medalist_reports::data::{ReportData, ReportOptions};
use medalist_reports::html;
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::read::{Reading, Warning};
use medalist_reports::simulate::Simulation;
use serde_json::json;

use crate::browser::Browser;

fn simulation(agent: &str, draw: u64) -> Simulation {
    Simulation {
        agent: agent.to_owned(),
        competitions: 8,
        seeds: 3,
        shift: 0.0,
        infrastructure: 0.1,
        truth: 4,
        draw,
    }
}

fn report() -> ReportData {
    let mut reading = Reading {
        groups: vec![
            simulation("careful", 21).group(),
            simulation("<script>alert(1)</script>", 22).group(),
        ],
        warnings: vec![Warning {
            path: "x/attempt.json".into(),
            message: "is damaged; left out".into(),
        }],
    };
    let long = "a-name-without-any-place-to-break-it-that-is-longer-than-a-phone-is-wide";
    reading.groups[0].attempts[0].facts.id = long.to_owned();
    reading.groups[0].attempts[0].key.competition = long.to_owned();
    let options = ReportOptions {
        title: "A report in a browser".to_owned(),
        generated_at: Utc.with_ymd_and_hms(2026, 11, 24, 12, 0, 0).single().expect("a date"),
        seed_rule: SeedRule::default(),
        cutoffs: Default::default(),
    };
    ReportData::compute(&reading, &(), &options)
}

/// A page on disk that is removed with the test.
struct Page(PathBuf);

impl Page {
    fn new(name: &str, html: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("medalist-page-{}-{name}.html", std::process::id()));
        std::fs::write(&path, html).expect("a writable temporary folder");
        Self(path)
    }

    fn name(&self) -> String {
        self.0.file_name().expect("a file").to_string_lossy().into_owned()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const VISIBLE_ROWS: &str = "[...document.querySelector('#attempts-table').tBodies[0].rows].filter(r => !r.hidden && r.offsetParent !== null)";

#[test]
fn the_report_renders_sorts_and_filters_without_a_request() {
    let Some(mut browser) = Browser::start("report") else { return };
    let data = report();
    let page = Page::new("report", &html::page(&data).expect("the page"));
    browser.look(1280, "light");
    browser.open_file(&page.0);

    assert_eq!(browser.eval("document.title"), json!("A report in a browser"));
    assert_eq!(
        browser.eval("document.querySelectorAll('figure svg[role=img]').length >= 4"),
        json!(true)
    );
    assert_eq!(browser.eval(&format!("{VISIBLE_ROWS}.length")), json!(data.attempts.len()));
    assert_eq!(
        browser.eval("document.querySelectorAll('.card').length"),
        json!(3),
        "two agents and their difference"
    );
    assert_eq!(
        browser.eval("document.querySelectorAll('body script').length"),
        json!(1),
        "names are escaped"
    );

    let scores =
        format!("{VISIBLE_ROWS}.map(r => r.cells[3].dataset.v).filter(v => v !== '').map(Number)");
    let click = "[...document.querySelectorAll('#attempts-table th button')].find(b => b.textContent === 'Score').click()";
    for (state, holds) in [("ascending", "a <= b"), ("descending", "a >= b")] {
        browser.eval(click);
        let head =
            "document.querySelector('#attempts-table th:nth-child(4)').getAttribute('aria-sort')";
        assert_eq!(browser.eval(head), json!(state));
        let sorted = format!(
            "(() => {{ const v = {scores}; return v.length > 5 && v.slice(1).every((b, i) => {{ const a = v[i]; return {holds}; }}); }})()"
        );
        assert_eq!(browser.eval(&sorted), json!(true), "{state}");
        let last = format!("{VISIBLE_ROWS}.at(-1).cells[3].dataset.v");
        assert_eq!(browser.eval(&last), json!(""), "attempts without a score stay last");
    }

    let golds = data.attempts.iter().filter(|a| a.grade.gold).count();
    browser.eval("(() => { const s = document.querySelector('[name=medal]'); s.value = 'gold'; s.dispatchEvent(new Event('input', {bubbles: true})); })()");
    assert_eq!(browser.eval(&format!("{VISIBLE_ROWS}.length")), json!(golds));
    let told = format!("{golds} of {} attempts shown", data.attempts.len());
    assert_eq!(browser.eval("document.querySelector('#filters output').textContent"), json!(told));
    browser.eval("(() => { const s = document.querySelector('[name=medal]'); s.value = ''; const q = document.querySelector('[name=search]'); q.value = 'careful engine'; q.dispatchEvent(new Event('input', {bubbles: true})); })()");
    let lost = data
        .attempts
        .iter()
        .filter(|a| a.key.agent == "careful" && a.outcome == "engine_lost")
        .count();
    assert_eq!(browser.eval(&format!("{VISIBLE_ROWS}.length")), json!(lost));

    assert_eq!(browser.requests(&page.name()), [""; 0]);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_report_works_from_the_keyboard() {
    let Some(mut browser) = Browser::start("keyboard") else { return };
    let page = Page::new("keyboard", &html::page(&report()).expect("the page"));
    browser.look(1280, "light");
    browser.open_file(&page.0);
    browser.press("Tab");
    assert_eq!(
        browser.eval("document.activeElement.className"),
        json!("skip"),
        "the first stop skips to the attempts"
    );
    browser.eval("document.querySelector('#attempts-table th button').focus()");
    browser.press("Enter");
    assert_eq!(
        browser.eval("document.querySelector('#attempts-table th').getAttribute('aria-sort')"),
        json!("ascending")
    );
    assert_eq!(
        browser.eval("getComputedStyle(document.activeElement).outlineStyle !== 'none'"),
        json!(true),
        "the focus can be seen"
    );
}

/// Every text against its ground, by WCAG's formula; gives the offenders.
pub(crate) const CONTRAST: &str = r#"(() => {
  const parse = (c) => (c.match(/[\d.]+/g) || []).map(Number);
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)]; return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const probe = document.createElement("i"); document.body.append(probe);
  const variable = (name) => { probe.style.color = `var(--${name})`; return parse(getComputedStyle(probe).color); };
  const dark = variable("on-medal").join(), inverse = variable("surface").join();
  const series = ["s0", "s1", "s2"].map(variable);
  const grounds = ["gold", "silver", "bronze", "valid", "invalid", "infra", "unfinished"].map(variable);
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || e.closest("script,style") || !e.getClientRects().length) continue;
    const style = getComputedStyle(e);
    const svg = e.namespaceURI.endsWith("svg");
    const colour = parse(svg ? style.fill : style.color);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const against = svg && colour.join() === dark ? grounds : svg && colour.join() === inverse ? series : [ground(e)];
    // Letters at medal lines repeat what the caption says; they count as graphics, for which 3:1
    // holds.
    const wanted = large || (svg && style.fontWeight >= 700) ? 3 : 4.5;
    const worst = Math.min(...against.map((g) => ratio(colour, g)));
    if (worst < wanted && !(svg && ["G", "S", "B"].includes(e.textContent.trim()))) bad.push(`${e.tagName} ${e.textContent.trim().slice(0, 30)}: ${worst.toFixed(2)}`);
  }
  probe.remove();
  return [...new Set(bad)];
})()"#;

/// Names, labels, roles and structure that assistive programs need; gives the offenders.
pub(crate) const LABELS: &str = r##"(() => {
  const bad = [];
  const name = (e) => (e.getAttribute("aria-label") || e.textContent || "").trim();
  if (!document.documentElement.lang) bad.push("html has no lang");
  for (const e of document.querySelectorAll("input,select,textarea")) if (!e.labels.length) bad.push(`no label: ${e.name}`);
  for (const e of document.querySelectorAll("button,a[href],summary")) if (!name(e)) bad.push(`no name: ${e.outerHTML.slice(0, 60)}`);
  for (const e of document.querySelectorAll("svg")) if (e.getAttribute("role") !== "img" || !e.getAttribute("aria-label")) bad.push("svg without role or label");
  for (const e of document.querySelectorAll("th")) if (!e.getAttribute("scope")) bad.push(`th without scope: ${e.textContent}`);
  for (const e of document.querySelectorAll("[aria-labelledby]")) if (!document.getElementById(e.getAttribute("aria-labelledby"))) bad.push(`dangling: ${e.getAttribute("aria-labelledby")}`);
  for (const e of document.querySelectorAll('a[href^="#"]')) if (!document.getElementById(e.hash.slice(1))) bad.push(`dead link: ${e.hash}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) bad.push(`id twice: ${id}`);
  if (document.querySelectorAll("h1").length !== 1 || document.querySelectorAll("main").length !== 1) bad.push("not one h1 and one main");
  let level = 1;
  for (const h of document.querySelectorAll("h1,h2,h3,h4")) { const l = +h.tagName[1]; if (l > level + 1) bad.push(`heading skips: ${h.textContent}`); level = l; }
  for (const list of document.querySelectorAll("ul,ol")) for (const e of list.children) if (e.tagName !== "LI") bad.push("list holds " + e.tagName);
  return bad;
})()"##;

#[test]
fn pages_fit_a_phone_and_can_be_read_in_both_themes() {
    let Some(mut browser) = Browser::start("looks") else { return };
    let comparison = compare(
        &simulation("before", 31).reading(),
        &simulation("after", 32).reading(),
        Gate::default(),
    )
    .expect("the same competitions");
    let pages = [
        Page::new("looks-report", &html::page(&report()).expect("the page")),
        Page::new("looks-comparison", &html::comparison_page(&comparison).expect("the page")),
    ];
    for page in &pages {
        for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
            browser.look(width, scheme);
            browser.open_file(&page.0);
            let at = format!("{} at {width} px, {scheme}", page.name());
            let widest =
                browser.eval("document.documentElement.scrollWidth").as_u64().expect("a number");
            assert!(widest <= u64::from(width), "{at}: {widest} px wide");
            assert_eq!(browser.eval(CONTRAST), json!([]), "{at}");
            assert_eq!(browser.eval(LABELS), json!([]), "{at}");
            assert_eq!(browser.requests(&page.name()), [""; 0], "{at}");
            assert_eq!(browser.complaints(), [""; 0], "{at}");
        }
        browser.look(1280, "light");
        browser.call("Emulation.setEmulatedMedia", json!({ "media": "print" }));
        let hidden = "[...document.querySelectorAll('nav,.filters')].every(e => getComputedStyle(e).display === 'none')";
        assert_eq!(browser.eval(hidden), json!(true), "print leaves controls out");
    }
}
