//! Whether something that should tell nothing gives the answers away.

mod columns;
mod copies;
mod files;
mod order;

use medalist_agents::ladder::Ladder;
use medalist_stats::Rng;
use serde::Serialize;

pub use crate::signal::Signal;
use crate::truth::{Target, Truth, Values};
use crate::{Finding, NotMeasured, Settings, Severity, Subject};
pub use columns::Column;
pub use copies::Copies;

/// From which effect on answers are as good as given.
const GIVEN: f64 = 0.9;
/// From which effect on whoever reads scores must know.
const STRONG: f64 = 0.3;

/// What was looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Ids, orders and facts of files, each with how strongly the answers go with it.
    pub probes: Vec<Probe>,
    /// Rows of the test part that stand in the training part, too.
    pub copies: Option<Copies>,
    /// Files of the test part that are byte for byte files of the training part.
    pub file_copies: Option<Copies>,
    /// Columns that go with an answer nearly everywhere.
    pub columns: Vec<Column>,
    /// How many columns were looked at for that.
    pub columns_looked_at: usize,
}

/// One thing that answers may go with.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// A stable name.
    pub name: &'static str,
    /// What it is, in words.
    pub what: String,
    /// How strongly the answers go with it.
    pub signal: Signal,
    /// Whether chance does not explain it and it has consequences.
    pub counts: bool,
}

/// What the probes look at.
pub(crate) struct Sight<'a> {
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) truth: &'a Truth,
    pub(crate) ladder: Option<&'a Ladder>,
    /// The training rows' answers, by the targets' names; fewer where the tables do not have them.
    pub(crate) train: Vec<Target>,
}

impl<'a> Sight<'a> {
    fn new(subject: &'a Subject<'a>, truth: &'a Truth, ladder: Option<&'a Ladder>) -> Self {
        let of = |target: &Target| {
            let cells = ladder?.train_target(&target.name)?;
            Some(Target { name: target.name.clone(), values: Values::of(cells.into_iter()) })
        };
        Self { subject, truth, ladder, train: truth.targets.iter().filter_map(of).collect() }
    }

    /// The ids of the training rows, in the form of [`Truth::ids`].
    pub(crate) fn train_ids(&self) -> Option<Vec<String>> {
        let part = self.ladder?.train();
        let names = &self.subject.grading.id_columns;
        let columns: Vec<_> = names.iter().map(|name| part.cells(name)).collect::<Option<_>>()?;
        let key = |row| columns.iter().map(|c| c.get(row)).collect::<Vec<_>>().join("\u{1f}");
        (!columns.is_empty()).then(|| (0..part.rows()).map(key).collect())
    }
}

/// Looks for leaks.
pub(crate) fn measure(
    subject: &Subject<'_>,
    truth: &Truth,
    ladder: Option<&Ladder>,
    settings: Settings,
    report: &mut crate::Report,
) {
    let mut rng = Rng::new(settings.seed ^ 0x1EA5);
    let sight = Sight::new(subject, truth, ladder);
    order::measure(&sight, &mut rng, report);
    files::measure(&sight, &mut rng, report);
    if ladder.is_some() {
        copies::measure(&sight, report);
        columns::measure(&sight, &mut rng, report);
    }
    let ids = truth.ids.as_deref().unwrap_or_default();
    let is_series = !ids.is_empty() && ids.iter().all(|id| Ladder::is_moment(id));
    for probe in report.leaks.probes.iter().filter(|probe| probe.counts) {
        report.findings.push(finding(probe, is_series));
    }
}

/// Keeps a signal as a probe.
pub(crate) fn keep(
    report: &mut crate::Report,
    name: &'static str,
    what: impl Into<String>,
    signal: Option<Signal>,
) {
    let what = what.into();
    match signal {
        Some(signal) => {
            let counts = signal.counts();
            report.leaks.probes.push(Probe { name, what, signal, counts });
        }
        None => report.not_measured.push(NotMeasured::new(what, "nothing varies")),
    }
}

fn severity(effect: f64) -> Severity {
    match effect {
        effect if effect >= GIVEN => Severity::Fault,
        effect if effect >= STRONG => Severity::Warning,
        _ => Severity::Note,
    }
}

fn finding(probe: &Probe, is_series: bool) -> Finding {
    let signal = &probe.signal;
    // Days and hours that follow each other are alike, which is what a forecast lives on.
    let is_series = is_series && !probe.name.starts_with("file");
    let advice = match probe.name {
        _ if is_series => "nothing, if agents may know when a row was: the ids are days or moments",
        "id-order" | "id-nearest" | "id-neighbours" => {
            "give rows new ids in random order, unless the ids mean something that agents may use"
        }
        "row-order" | "row-neighbours" => {
            "shuffle the test rows, or sort them by an id that means nothing"
        }
        "file-names" => "rename the files of the test part",
        _ => {
            "write the files anew in random order, with one time and without what the answers left in them"
        }
    };
    Finding::new(
        probe.name,
        if is_series { Severity::Note } else { severity(signal.effect) },
        format!(
            "{} goes with {}: strength {:.2} of 1, {:.0} standard errors from nothing ({:.1} at most in {} shufflings), over {} rows",
            probe.what,
            signal.shows_in,
            signal.effect,
            signal.z,
            signal.z_by_chance,
            crate::signal::PERMUTATIONS,
            signal.rows
        ),
        advice,
        [
            ("effect", signal.effect),
            ("z", signal.z),
            ("z_by_chance", signal.z_by_chance),
            ("rows", signal.rows as f64),
        ],
    )
}
