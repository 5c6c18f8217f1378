//! The labelled cases: what each rule finds, and what it should.
//!
//! `cases/before` was written before the rules and `cases/after` when they were done; then rules were mended,
//! and `cases/last` was written, after which no rule was changed for a case. All were written by who wrote the
//! rules. The table in `docs/audit.md` must say what is measured here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use medalist_audit::kernels::Kernels;
use medalist_audit::leak::{Counter, shared_columns};
use medalist_audit::near::{Scores, nearness};
use medalist_audit::same::{Submitted, identical};
use medalist_audit::{
    Confidence, Finding, Ids, Kind, Leave, Rule, Setting, Source, Text, Verdict, code, data,
    transcript_line, verdicts,
};

/// One case.
struct Case {
    rule: Rule,
    name: String,
    /// Whether its rule should find something.
    violation: bool,
    keys: BTreeMap<String, String>,
    parts: Vec<String>,
}

const PARTS: [&str; 3] = ["before", "after", "last"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(half: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for rule in Rule::ALL {
        let path = folder("cases").join(half).join(format!("{rule}.txt"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
        for block in text.split("#=== ").skip(1) {
            let (head, body) = block.split_once('\n').unwrap();
            let (verdict, name) = head.split_once(' ').unwrap();
            let mut keys = BTreeMap::new();
            let mut body = body;
            while let Some(rest) = body.strip_prefix("#: ") {
                let (line, rest) = rest.split_once('\n').unwrap();
                let (key, value) = line.split_once(": ").unwrap();
                keys.insert(key.to_owned(), value.to_owned());
                body = rest;
            }
            assert!(matches!(verdict, "violation" | "innocent"), "{name}: {verdict}");
            cases.push(Case {
                rule,
                name: name.trim().to_owned(),
                violation: verdict == "violation",
                keys,
                parts: body
                    .split("\n#---\n")
                    .map(|part| part.trim_matches('\n').to_owned())
                    .collect(),
            });
        }
    }
    cases
}

impl Case {
    fn key(&self, name: &str) -> &str {
        self.keys.get(name).map(String::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.keys.get(name)?.parse().ok()
    }

    fn ids(&self) -> Option<Ids> {
        let words: Vec<&str> = self.keys.get("ids")?.split(' ').collect();
        let ids: Vec<String> = match words.as_slice() {
            ["list", list] => list.split(',').map(str::to_owned).collect(),
            [form, from, to] => {
                let (start, end) = form.split_once('{').unwrap();
                let width = end.trim_end_matches('}').trim_start_matches(":0").parse().unwrap_or(0);
                let range = from.parse::<usize>().unwrap()..to.parse().unwrap();
                range.map(|number| format!("{start}{number:0width$}")).collect()
            }
            other => panic!("{}: {other:?}", self.name),
        };
        let answers = match self.key("answers").split(' ').collect::<Vec<_>>().as_slice() {
            ["mod", number] => {
                let number: usize = number.parse().unwrap();
                (0..ids.len()).map(|row| (row % number).to_string()).collect()
            }
            _ => Vec::new(),
        };
        Some(Ids::new(ids.iter().map(String::as_str), answers))
    }

    fn setting(&self) -> Setting {
        let forbids = |word: &str| match self.key("forbid").split(' ').any(|one| one == word) {
            true => Leave::Denied,
            false => Leave::Unknown,
        };
        Setting {
            ids: self.ids(),
            id_columns: vec!["id".to_owned(), "Id".to_owned(), "image_id".to_owned()],
            downloads: forbids("downloads"),
            sealed: self.key("network") != "open",
            weights: forbids("weights"),
            roots: Vec::new(),
        }
    }

    fn run(&self) -> Vec<Finding> {
        let setting = self.setting();
        let part = |at: usize| self.parts.get(at).map(String::as_str).unwrap_or_default();
        match self.key("kind") {
            "python" => code(&Source::new("a.py", part(0).as_bytes()), &setting),
            "notebook" => code(&Source::new("a.ipynb", part(0).as_bytes()), &setting),
            "shell" => code(&Source::new("a.sh", part(0).as_bytes()), &setting),
            "json" => data(&Source::new("a.json", part(0).as_bytes()), &setting),
            kind @ ("log" | "data") => {
                let kind = if kind == "log" { Kind::Log } else { Kind::Data };
                let mut text = Text::new("a.txt", kind);
                part(0).lines().for_each(|line| text.line(line, &setting));
                text.finish()
            }
            "transcript" => {
                let lines = (1..).zip(part(0).lines());
                let read = |line: &str| serde_json::from_str(line).unwrap();
                lines.flat_map(|(n, line)| transcript_line("t", n, &read(line), &setting)).collect()
            }
            "validations" => {
                let lines: Vec<serde_json::Value> =
                    part(0).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let all: Vec<Verdict<'_>> = lines
                    .iter()
                    .map(|line| Verdict {
                        valid: line["valid"].as_bool().unwrap(),
                        message: line["message"].as_str().unwrap(),
                    })
                    .collect();
                verdicts("validations.jsonl", &all)
            }
            "table" => self.table(part(0)),
            "submissions" => self.submissions(),
            "kernel" => {
                let name = if self.key("other") == "notebook" { "k.ipynb" } else { "k.py" };
                let mut kernels = Kernels::default();
                kernels.add(&Source::new(name, part(1).as_bytes()));
                kernels.finding(&Source::new("a.py", part(0).as_bytes())).into_iter().collect()
            }
            "leak" => self.leak(),
            other => panic!("{}: {other}", self.name),
        }
    }

    fn table(&self, text: &str) -> Vec<Finding> {
        let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        let pairs: Vec<(&str, &str)> = rows.map(|row| (row[1], row[2])).collect();
        let scores = Scores {
            ideal: self.number("ideal"),
            own: self.number("score"),
            best: self.number("best"),
        };
        let found = nearness(&pairs, &scores);
        found.map(|found| found.finding("submission.csv", "y", &pairs)).into_iter().collect()
    }

    fn submissions(&self) -> Vec<Finding> {
        let hash = |text: &str| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        };
        let agents: Vec<&str> = self.key("agents").split(' ').collect();
        let code: Vec<&str> = self.key("code").split(' ').collect();
        let all: Vec<Submitted> = self
            .parts
            .iter()
            .enumerate()
            .map(|(at, text)| {
                let cells: Vec<&str> =
                    text.lines().skip(1).map(|line| line.split_once(',').unwrap().1).collect();
                Submitted {
                    attempt: format!("c/{}/{at}", agents[at]),
                    agent: agents[at].to_owned(),
                    code: code.get(at).filter(|code| !code.is_empty()).map(|code| hash(code)),
                    all: hash(&cells.join(" ")),
                    cells: cells.iter().map(|cell| hash(cell)).collect(),
                    is_sample: self.key("sample") == at.to_string(),
                }
            })
            .collect();
        identical("submission.csv", &all).into_iter().map(|(_, finding)| finding).collect()
    }

    fn leak(&self) -> Vec<Finding> {
        let table = |text: &str| -> Vec<Vec<String>> {
            text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
        };
        let (train, test) = (table(&self.parts[0]), table(&self.parts[1]));
        let names = shared_columns(&train[0], &test[0], &["target".to_owned()]);
        let places = |head: &[String]| -> Vec<usize> {
            names.iter().filter_map(|name| head.iter().position(|one| one == name)).collect()
        };
        let (a, b) = (places(&train[0]), places(&test[0]));
        let mut counter = Counter::default();
        train[1..].iter().for_each(|row| counter.train(a.iter().map(|at| row[*at].as_str())));
        test[1..].iter().for_each(|row| counter.test(b.iter().map(|at| row[*at].as_str())));
        counter.overlap().finding("public/test.csv", "public/train.csv").into_iter().collect()
    }
}

/// Right and wrong findings of a rule.
#[derive(Default, Clone, Copy)]
struct Count {
    violations: usize,
    innocent: usize,
    /// Violations with a finding, of any confidence and of medium or more.
    found: [usize; 2],
    /// Findings where there should be none: on innocent cases, and on those of other rules.
    false_alarms: [usize; 2],
}

fn percent(part: usize, of: usize) -> String {
    match of {
        0 => "-".to_owned(),
        _ => format!("{:.0} %", 100.0 * part as f64 / of as f64),
    }
}

impl Count {
    fn add(&mut self, other: Self) {
        self.violations += other.violations;
        self.innocent += other.innocent;
        for at in 0..2 {
            self.found[at] += other.found[at];
            self.false_alarms[at] += other.false_alarms[at];
        }
    }

    fn row(&self, name: &str) -> String {
        let mut row = format!("| {name} | {} | {} |", self.violations, self.innocent);
        for at in 0..2 {
            let precision = percent(self.found[at], self.found[at] + self.false_alarms[at]);
            let recall = percent(self.found[at], self.violations);
            let _ = write!(row, " {precision} | {recall} |");
        }
        row
    }
}

fn measure(cases: &[Case], notes: &mut Vec<String>) -> BTreeMap<Rule, Count> {
    let mut counts: BTreeMap<Rule, Count> = BTreeMap::new();
    for case in cases {
        let found = case.run();
        let also: Vec<&str> = case.key("also").split(' ').collect();
        for rule in Rule::ALL {
            let surest =
                found.iter().filter(|one| one.rule == rule).map(|one| one.confidence).max();
            let count = counts.entry(rule).or_default();
            let hits = [surest.is_some(), surest >= Some(Confidence::Medium)];
            if rule == case.rule && case.violation {
                count.violations += 1;
                (0..2).for_each(|at| count.found[at] += usize::from(hits[at]));
                if !hits[1] {
                    notes.push(format!("{rule}: {} is found {surest:?}", case.name));
                }
                continue;
            }
            count.innocent += usize::from(rule == case.rule);
            if !also.contains(&rule.id()) {
                (0..2).for_each(|at| count.false_alarms[at] += usize::from(hits[at]));
                if hits[0] {
                    let what = found.iter().find(|one| one.rule == rule).unwrap();
                    notes.push(format!("{rule}: {} alarms {surest:?}: {what:?}", case.name));
                }
            }
        }
    }
    counts
}

const HEAD: &str = "| rule | violations | innocent | precision | recall | precision, medium or surer | recall, medium or surer |\n| --- | --- | --- | --- | --- | --- | --- |\n";

#[test]
fn the_documents_say_what_is_measured() {
    let mut out = String::new();
    let mut all: BTreeMap<Rule, Count> = BTreeMap::new();
    let mut notes = Vec::new();
    let mut sums = Vec::new();
    for half in PARTS {
        let cases = read(half);
        let counts = measure(&cases, &mut notes);
        let mut sum = Count::default();
        for (rule, count) in counts {
            all.entry(rule).or_default().add(count);
            sum.add(count);
        }
        sums.push((half, sum));
    }
    out.push_str(HEAD);
    for (rule, count) in &all {
        let _ = writeln!(out, "{}", count.row(&format!("`{rule}`")));
    }
    let mut total = Count::default();
    for (half, sum) in sums {
        let name =
            if half == "last" { "written last" } else { &format!("written {half} the rules") };
        let _ = writeln!(out, "{}", sum.row(name));
        total.add(sum);
    }
    assert!(total.violations >= 60 && total.innocent >= 60);
    let _ = writeln!(out, "{}", total.row("all"));
    println!("{}\n\n{out}", notes.join("\n"));
    let docs = folder("../docs/audit.md");
    let text = std::fs::read_to_string(&docs).unwrap();
    assert!(
        text.contains(&out),
        "docs/audit.md does not hold the table that is measured; put this in its place:\n\n{out}"
    );
}

#[test]
fn case_names_are_their_own() {
    let mut seen = std::collections::BTreeSet::new();
    for case in PARTS.iter().flat_map(|half| read(half)) {
        assert!(seen.insert((case.rule, case.name.clone())), "{}: {}", case.rule, case.name);
    }
}
