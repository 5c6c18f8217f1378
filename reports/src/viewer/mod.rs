//! The pages of single attempts and competitions, beside the report.
//!
//! A page shows the numbers by itself. What may be long (log, transcript, files) lies in data files
//! beside it, which a script loads when somebody asks for them: `medalistPart(name, value)` in a file
//! of JavaScript, because pages opened from a disk may load scripts and nothing else.

mod folder;
mod site;
mod story;

use std::path::Path;

use serde::Serialize;

use self::folder::{Files, Log};
use crate::attempt::Medal;
use crate::data::{AttemptReport, CompetitionReport, Difference, differences};
use crate::html::{self, HtmlError};
use crate::plots::{self, Plot};
use crate::record::SnapshotRecord;
use crate::stats;

pub(crate) use self::site::write_pages;
pub use self::site::{Links, Site};
use self::story::Told;
pub use self::story::{Said, Step, Stories, Story, Validation};

/// The script that pages of attempts load; see [`Page::script`].
pub const SCRIPT: &str = include_str!("../templates/viewer.js");

/// Bytes of the end of the log that a page itself holds.
const LOG_TAIL: usize = 32 * 1024;
/// Most validations that a page lists.
const VALIDATIONS: usize = 20;

/// How many bytes the data files of an attempt may hold: of its log, its transcript and its files, each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u64);

impl Limit {
    /// The most, which pages of few attempts have.
    pub const MOST: Self = Self(4 << 20);
    /// The least, which pages of any number of attempts have.
    const LEAST: Self = Self(256 << 10);
    /// Attempts up to which all have the most.
    const MANY: u64 = 512;

    /// The limit for each of so many attempts: a report of thousands takes the room of one of 512,
    /// as long as the least allows.
    pub fn each_of(attempts: usize) -> Self {
        let share = Self::MOST.0 * Self::MANY / (attempts as u64).max(1);
        Self(share.clamp(Self::LEAST.0, Self::MOST.0))
    }
}

/// Where a page finds what it loads.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Address of [`SCRIPT`].
    pub script: &'a str,
    /// What stands before the names of the attempt's data files.
    pub base: &'a str,
    /// What stands behind them.
    pub end: &'a str,
    /// Address of server-sent events that announce changes, for a page that is served.
    pub live: Option<&'a str>,
}

/// An attempt with what it left, ready to be shown.
#[derive(Debug)]
pub struct Attempt<'a> {
    report: &'a AttemptReport,
    log: Option<Log>,
    files: Files,
    story: Option<Story>,
    steps: Told,
}

impl<'a> Attempt<'a> {
    /// Reads what `report` says that an attempt left in its folder, and its story from `stories`.
    pub fn read(report: &'a AttemptReport, stories: &dyn Stories, limit: Limit) -> Self {
        let mut attempt = Self {
            report,
            log: None,
            files: Files::default(),
            story: None,
            steps: Told::default(),
        };
        if let Some(dir) = &report.dir {
            attempt.log = folder::log(dir, limit.0);
            attempt.files = folder::files(dir, limit.0);
            attempt.story = stories.of(dir);
        }
        if let Some(story) = &mut attempt.story {
            attempt.steps = story.tell(limit.0);
        }
        attempt
    }

    /// The page.
    ///
    /// # Errors
    /// [`HtmlError`], which with the embedded template is a bug.
    pub fn page(
        &self,
        site: &Site<'_>,
        number: usize,
        links: Links<'_>,
        page: Page<'_>,
    ) -> Result<String, HtmlError> {
        let validations = self.story.as_ref().map_or(&[][..], |story| &story.validations);
        let view = AttemptView {
            a: self.report,
            nav: site.nav(number, links),
            chart: plots::attempt(self.report, validations)?,
            best: better_snapshot(self.report),
            validations: &validations[validations.len().saturating_sub(VALIDATIONS)..],
            validations_all: validations.len(),
            tail: self
                .log
                .as_ref()
                .and_then(|log| log.text.segments.last())
                .map(|segment| tail(&segment.text)),
            log: self
                .log
                .as_ref()
                .map(|log| LogView { bytes: log.bytes, note: log.text.note.as_deref() }),
            steps: self.steps.count,
            notes: self
                .story
                .iter()
                .flat_map(|story| &story.notes)
                .chain(&self.steps.note)
                .map(String::as_str)
                .collect(),
            files: &self.files.entries,
            files_note: self.files.note.as_deref(),
            first: folder::first_code(&self.files.entries)
                .or_else(|| self.files.entries.iter().find(|entry| entry.part.is_some()))
                .and_then(|entry| entry.part.as_deref()),
            comparisons: comparisons(self.report, &self.files),
            script_src: page.script,
            base: page.base,
            end: page.end,
            live: page.live,
            version: env!("CARGO_PKG_VERSION"),
        };
        html::render("attempt.html", &view)
    }

    /// The data files of the page: name without `.js`, and content. They are made one at a time.
    pub fn parts(&self) -> impl Iterator<Item = (&str, String)> {
        let log = self.log.iter().map(|log| ("log", part("log", &log.text)));
        let steps = self.steps.script.iter().map(|steps| ("steps", steps.clone()));
        let texts = self.files.texts.iter().map(|(name, text)| (name.as_str(), part(name, text)));
        log.chain(steps).chain(texts)
    }
}

/// The data file `name` of the attempt in `dir`, as [`Attempt::parts`] gives it; none if there is no such.
pub fn one_part(dir: &Path, stories: &dyn Stories, limit: Limit, name: &str) -> Option<String> {
    match name {
        "log" => folder::log(dir, limit.0).map(|log| part(name, &log.text)),
        "steps" => stories.of(dir)?.tell(limit.0).script,
        _ => {
            let texts = folder::files(dir, limit.0).texts;
            texts.into_iter().find(|(other, _)| other == name).map(|(_, text)| part(name, &text))
        }
    }
}

/// A data file: a call of a function with JSON, which is JavaScript: line ends that older JavaScript
/// does not allow in a text stand as their numbers in all that is shown.
fn part(name: &str, value: &impl Serialize) -> String {
    let mut script = format!("medalistPart(\"{name}\",").into_bytes();
    serde_json::to_writer(&mut script, value).expect("texts and numbers always print");
    script.extend(b");\n");
    String::from_utf8(script).expect("JSON is UTF-8")
}

/// The last 32 KiB of a text, from a whole line on.
fn tail(text: &str) -> &str {
    let rest = &text[text.ceil_char_boundary(text.len().saturating_sub(LOG_TAIL))..];
    match rest.split_once('\n') {
        Some((_, whole)) if rest.len() < text.len() => whole,
        _ => rest,
    }
}

/// The snapshot with the best score, if that is better than the submission's.
fn better_snapshot(attempt: &AttemptReport) -> Option<usize> {
    let sign = if attempt.grade.lower_is_better { -1.0 } else { 1.0 };
    let scored = attempt.snapshots.iter().enumerate().filter_map(|(i, snapshot)| {
        let score = snapshot.score.filter(|score| snapshot.valid && score.is_finite())?;
        Some((i, sign * score))
    });
    let (best, worth) = scored.max_by(|a, b| a.1.total_cmp(&b.1))?;
    attempt.grade.score.is_none_or(|score| worth > sign * score).then_some(best)
}

/// Two files that are worth comparing.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Comparison<'a> {
    label: &'static str,
    /// The parts that hold them.
    before: &'a str,
    after: &'a str,
}

/// What is worth comparing: the code of the best snapshot with the last, what changed last in the code and
/// in the submission; else the code of the last try with that of the one before.
fn comparisons<'a>(attempt: &AttemptReport, files: &'a Files) -> Vec<Comparison<'a>> {
    let held = |path: &str| {
        files
            .entries
            .iter()
            .find(|entry| entry.path == path)
            .and_then(|entry| entry.part.as_deref())
    };
    let text = |part: &str| {
        files.texts.iter().find(|(name, _)| name == part).map(|(_, text)| &text.segments)
    };
    let mut all = Vec::new();
    let code = folder::first_code(&files.entries);
    let program =
        code.and_then(|entry| Some((entry.path.strip_prefix("code/")?, entry.part.as_deref()?)));
    if let Some((name, last)) = program {
        let copy =
            |snapshot: &SnapshotRecord| held(&format!("{}/{name}", snapshot.code.as_deref()?));
        let best = better_snapshot(attempt).and_then(|best| copy(&attempt.snapshots[best]));
        all.extend(best.map(|best| Comparison {
            label: "Code of its best snapshot, and the last",
            before: best,
            after: last,
        }));
        let differs = |part: &&str| text(part) != text(last);
        let before = attempt.snapshots.iter().rev().filter_map(copy).find(differs);
        all.extend(before.map(|before| Comparison {
            label: "What changed last in its code",
            before,
            after: last,
        }));
    }
    let copies: Vec<&str> = attempt.snapshots.iter().filter_map(|one| held(&one.path)).collect();
    if let [.., before, after] = copies[..] {
        all.push(Comparison { label: "Last two snapshots of its submission", before, after });
    }
    if all.is_empty()
        && let Some(code) = code
        && let Some(after) = code.part.as_deref()
    {
        let entries = &files.entries;
        let earlier = entries.iter().rev().find(|entry| {
            entry.part.is_some()
                && entry.path.starts_with("tries/")
                && entry.path.ends_with(&format!("/{}", code.path))
        });
        let other = entries
            .iter()
            .find(|entry| entry.is_code && entry.part.is_some() && entry.part != code.part);
        let before = earlier.or(other).and_then(|entry| entry.part.as_deref());
        all.extend(before.map(|before| Comparison { label: "What changed", before, after }));
    }
    all
}

#[derive(Serialize)]
struct AttemptView<'a> {
    a: &'a AttemptReport,
    nav: site::Nav,
    chart: Option<Plot>,
    /// Number of the snapshot that is better than the submission.
    best: Option<usize>,
    validations: &'a [Validation],
    validations_all: usize,
    tail: Option<&'a str>,
    log: Option<LogView<'a>>,
    /// How many steps the transcript has.
    steps: usize,
    /// What is missing of it.
    notes: Vec<&'a str>,
    files: &'a [folder::Entry],
    files_note: Option<&'a str>,
    /// Part that is shown first.
    first: Option<&'a str>,
    comparisons: Vec<Comparison<'a>>,
    script_src: &'a str,
    base: &'a str,
    end: &'a str,
    live: Option<&'a str>,
    version: &'static str,
}

#[derive(Serialize)]
struct LogView<'a> {
    bytes: u64,
    note: Option<&'a str>,
}

/// All attempts at a competition, of all agents and versions, as one page.
///
/// # Errors
/// [`HtmlError`], which with the embedded template is a bug.
pub fn competition_page(
    site: &Site<'_>,
    number: usize,
    links: Links<'_>,
    live: Option<&str>,
) -> Result<String, HtmlError> {
    let data = site.data();
    let competition = &data.competitions[number];
    let places = site.attempts_at(number);
    let attempts = || places.iter().map(|place| &data.attempts[*place]);
    let rows = versions(site, competition, places);
    let view = CompetitionView {
        c: competition,
        nav: site.competition_nav(number, links),
        chart: plots::competition(competition, &rows)?,
        metered: attempts().any(|attempt| attempt.llm.is_some()),
        attempts: places
            .iter()
            .map(|place| AttemptRow {
                a: &data.attempts[*place],
                href: (links.attempt)(*place),
                version: site.version_of(*place),
            })
            .collect(),
        rows,
        differences: differences(attempts()),
        live,
        version: env!("CARGO_PKG_VERSION"),
    };
    html::render("competition.html", &view)
}

#[derive(Serialize)]
struct CompetitionView<'a> {
    c: &'a CompetitionReport,
    nav: site::CompetitionNav,
    chart: Option<Plot>,
    metered: bool,
    rows: Vec<VersionRow<'a>>,
    attempts: Vec<AttemptRow<'a>>,
    differences: Vec<Difference<'a>>,
    live: Option<&'a str>,
    version: &'static str,
}

#[derive(Serialize)]
struct AttemptRow<'a> {
    a: &'a AttemptReport,
    href: String,
    version: Option<&'a str>,
}

/// The attempts of one version of an agent at a competition.
#[derive(Debug, Serialize)]
pub(crate) struct VersionRow<'a> {
    pub(crate) agent: &'a str,
    pub(crate) version: Option<&'a str>,
    attempts: usize,
    valid: usize,
    medals: usize,
    lost: usize,
    best: Option<f64>,
    pub(crate) median: Option<f64>,
    worst: Option<f64>,
    percentile: Option<f64>,
    took_s: Option<f64>,
    /// Score and medal of each valid submission.
    #[serde(skip)]
    pub(crate) scores: Vec<(f64, Option<Medal>)>,
}

/// The versions of all agents at a competition, in the order of the attempts.
fn versions<'a>(
    site: &Site<'a>,
    competition: &CompetitionReport,
    places: &[usize],
) -> Vec<VersionRow<'a>> {
    let mut parts: Vec<((&str, Option<&str>), Vec<&AttemptReport>)> = Vec::new();
    for place in places {
        let attempt = &site.data().attempts[*place];
        let key = (attempt.key.agent.as_str(), site.version_of(*place));
        match parts.iter_mut().find(|(other, _)| *other == key) {
            Some((_, attempts)) => attempts.push(attempt),
            None => parts.push((key, vec![attempt])),
        }
    }
    let mean = |values: Vec<f64>| (!values.is_empty()).then(|| stats::mean(&values));
    let row = |((agent, version), attempts): ((&'a str, Option<&'a str>), Vec<&AttemptReport>)| {
        let mut scores: Vec<(f64, Option<Medal>)> = attempts
            .iter()
            .filter(|attempt| attempt.grade.valid)
            .filter_map(|attempt| Some((attempt.grade.score?, attempt.grade.medal)))
            .filter(|(score, _)| score.is_finite())
            .collect();
        let sign = if competition.lower_is_better { 1.0 } else { -1.0 };
        scores.sort_by(|a, b| (sign * a.0).total_cmp(&(sign * b.0)));
        let count = |holds: fn(&AttemptReport) -> bool| {
            attempts.iter().filter(|attempt| holds(attempt)).count()
        };
        let half = scores.len() / 2;
        VersionRow {
            agent,
            version,
            attempts: attempts.len(),
            valid: count(|a| a.grade.valid),
            medals: count(|a| a.grade.medal.is_some()),
            lost: count(AttemptReport::is_lost),
            best: scores.first().map(|score| score.0),
            median: match scores.len() {
                0 => None,
                n if n % 2 == 1 => Some(scores[half].0),
                _ => Some(f64::midpoint(scores[half - 1].0, scores[half].0)),
            },
            worst: scores.last().map(|score| score.0),
            percentile: mean(attempts.iter().filter_map(|a| a.grade.percentile).collect()),
            took_s: mean(attempts.iter().filter_map(|a| a.took_s).collect()),
            scores,
        }
    };
    parts.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests;
