//! Reading what runs left: our run groups, MLE-bench's run directories and grading reports.
//!
//! A damaged file never stops a report: it is named in a [`Warning`], left out, and every report
//! repeats the warning.

mod agents;
mod claims;
mod foreign;
mod group;
mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use self::foreign::{ExperimentError, experiment_groups, grading_reports_in};
use crate::attempt::Attempt;
use crate::record::{CompetitionFacts, GroupRecord};

/// What a report asks about competitions. The catalogue answers; `()` knows nothing.
pub trait CompetitionSource: Sync {
    /// Facts to show and to group by.
    fn facts(&self, id: &str) -> Option<CompetitionFacts>;

    /// Ids of a suite in its order; `None` for an unknown suite.
    fn suite(&self, name: &str) -> Option<Vec<String>>;

    /// Percent of the leaderboard's teams whose score is not better than `score`, 0 to 100; `None`
    /// without a leaderboard.
    fn percentile(&self, id: &str, score: f64) -> Option<f64>;

    /// Where that leaderboard comes from, if it is the user's own in place of the published one.
    fn own_leaderboard(&self, id: &str) -> Option<String>;
}

impl CompetitionSource for () {
    fn facts(&self, _: &str) -> Option<CompetitionFacts> {
        None
    }

    fn suite(&self, _: &str) -> Option<Vec<String>> {
        None
    }

    fn percentile(&self, _: &str, _: f64) -> Option<f64> {
        None
    }

    fn own_leaderboard(&self, _: &str) -> Option<String> {
        None
    }
}

/// Something that was left out or read otherwise than it stands, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// File or folder.
    pub path: PathBuf,
    /// What is wrong and what was done about it.
    pub message: String,
}

impl Warning {
    fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into() }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.path.display(), self.message)
    }
}

/// A run group, or a grading report that stands for one.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Name of the group's folder, or of the report.
    pub id: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// Agent of its attempts.
    pub agent: String,
    /// Whether the group says so; a grading report does not, and names of files and folders stand in.
    pub agent_is_recorded: bool,
    /// The stored record, where the group is ours.
    pub record: Option<GroupRecord>,
    /// Its attempts, sorted by competition, then seed.
    pub attempts: Vec<Attempt>,
}

/// Everything that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Groups, sorted by name.
    pub groups: Vec<Group>,
    /// What was left out.
    pub warnings: Vec<Warning>,
}

impl Reading {
    /// All attempts of all groups.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.groups.iter().flat_map(|group| &group.attempts)
    }

    /// Gives every group the agent name `agent`.
    pub fn rename_agent(&mut self, agent: &str) {
        for group in &mut self.groups {
            group.rename_agent(agent);
        }
    }

    /// Keeps the groups of `agent` alone. Grading reports, which do not say whose they are, become
    /// its where no group carries that name.
    ///
    /// # Errors
    /// [`ReadError::NoSuchAgent`] if nothing is left.
    pub fn keep_agent(&mut self, agent: &str) -> Result<(), ReadError> {
        let known: BTreeSet<String> =
            self.groups.iter().map(|group| format!("`{}`", group.agent)).collect();
        if self.groups.iter().any(|group| group.agent == agent) {
            self.groups.retain(|group| group.agent == agent);
        } else {
            self.groups.retain(|group| !group.agent_is_recorded);
            self.rename_agent(agent);
        }
        if self.groups.is_empty() {
            let known = known.into_iter().collect();
            return Err(ReadError::NoSuchAgent { agent: agent.to_owned(), known });
        }
        Ok(())
    }
}

impl Group {
    fn rename_agent(&mut self, agent: &str) {
        agent.clone_into(&mut self.agent);
        self.agent_is_recorded = false;
        for attempt in &mut self.attempts {
            agent.clone_into(&mut attempt.key.agent);
        }
    }
}

/// Nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The path does not exist or cannot be opened.
    #[error("cannot read `{}`", path.display())]
    Path {
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No group is of the agent that was asked for.
    #[error("no run group of agent `{agent}`, there are groups of {}", known.join(", "))]
    NoSuchAgent {
        agent: String,
        /// Agents that there are, quoted.
        known: Vec<String>,
    },
    /// The paths hold no run group and no grading report.
    #[error("no run group and no `*grading_report*.json` in {}", paths.iter().map(|p| format!("`{}`", p.display())).collect::<Vec<_>>().join(", "))]
    Nothing {
        paths: Vec<PathBuf>,
        /// Why candidates were left out.
        warnings: Vec<Warning>,
    },
}

/// What a path turned out to be.
enum Found {
    Ours(PathBuf),
    MleBench(PathBuf),
    Report(PathBuf),
    Claims(PathBuf),
}

impl Found {
    fn path(&self) -> &Path {
        let (Self::Ours(path) | Self::MleBench(path) | Self::Report(path) | Self::Claims(path)) =
            self;
        path
    }
}

/// Reads run groups, folders of run groups, MLE-bench run directories, grading reports, and tables
/// of claimed medals (`*.csv`).
///
/// Groups that are given twice are read once, with a warning. Order of `paths` does not matter.
///
/// # Errors
/// [`ReadError::Path`] for a path that cannot be opened, [`ReadError::Nothing`] if nothing was
/// found.
pub fn read(paths: &[PathBuf], source: &dyn CompetitionSource) -> Result<Reading, ReadError> {
    let mut warnings = Vec::new();
    let mut found = Vec::new();
    for path in paths {
        find(path, &mut found, &mut warnings)?;
    }
    let mut seen = BTreeSet::new();
    found.retain(|item| {
        let path = item.path();
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let new = seen.insert(whole);
        if !new {
            warnings.push(Warning::new(path, "is given twice; it counts once"));
        }
        new
    });
    let reports: Vec<PathBuf> = found
        .iter()
        .filter_map(|item| match item {
            Found::Report(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    let owners: BTreeMap<&PathBuf, String> = reports.iter().zip(agents::owners(&reports)).collect();
    let read: Vec<(Vec<Group>, Vec<Warning>)> = found
        .par_iter()
        .map(|item| {
            let mut warnings = Vec::new();
            let groups = match item {
                Found::Claims(path) => {
                    return (claims::read(path, source, &mut warnings), warnings);
                }
                Found::Ours(path) => group::read(path, source, &mut warnings),
                Found::MleBench(path) => foreign::read_run_directory(path, source, &mut warnings),
                Found::Report(path) => {
                    foreign::read_report_group(path, &owners[path], source, &mut warnings)
                }
            };
            (groups.into_iter().collect(), warnings)
        })
        .collect();
    let mut groups = Vec::new();
    for (group, more) in read {
        groups.extend(group);
        warnings.extend(more);
    }
    if groups.is_empty() {
        return Err(ReadError::Nothing { paths: paths.to_vec(), warnings });
    }
    groups.sort_by(|a: &Group, b| (&a.id, &a.path).cmp(&(&b.id, &b.path)));
    groups.dedup_by(|later, first| {
        let copy = later.id == first.id && later.record.is_some() && later.record == first.record;
        if copy {
            warnings.push(Warning::new(
                &later.path,
                format!("is a copy of `{}`; it counts once", first.path.display()),
            ));
        }
        copy
    });
    tell_apart(&mut groups);
    mark_known(&mut groups, source);
    warnings.extend(groups.iter().filter_map(own_leaderboards));
    warnings.sort();
    Ok(Reading { groups, warnings })
}

/// Gives groups of one name a number each: what belongs to one must not be taken for the other's.
fn tell_apart(groups: &mut [Group]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for group in groups {
        let times = seen.entry(group.id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            group.id = format!("{}-{times}", group.id);
            for attempt in &mut group.attempts {
                attempt.group.clone_from(&group.id);
            }
        }
    }
}

/// Marks the attempts on competitions whose leaderboard or thresholds are known, so that a measure is
/// known on all attempts at a competition or on none.
fn mark_known(groups: &mut [Group], source: &dyn CompetitionSource) {
    let mut known: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for attempt in groups.iter().flat_map(|group| &group.attempts) {
        let id = &attempt.key.competition;
        let entry = known
            .entry(id.clone())
            .or_insert_with(|| (source.percentile(id, 0.0).is_some(), false));
        entry.0 |= attempt.grade.percentile.is_some();
        entry.1 |= attempt.grade.thresholds.is_some();
    }
    for attempt in groups.iter_mut().flat_map(|group| &mut group.attempts) {
        let (leaderboard, thresholds) = known[&attempt.key.competition];
        attempt.grade.has_leaderboard = leaderboard;
        attempt.grade.has_thresholds = thresholds;
    }
}

/// That a group's medals, ranks and percentiles are not those of the published leaderboards.
fn own_leaderboards(group: &Group) -> Option<Warning> {
    const SHOWN: usize = 3;
    let boards: BTreeMap<&str, &str> = group
        .attempts
        .iter()
        .filter_map(|attempt| {
            Some((attempt.key.competition.as_str(), attempt.grade.own_leaderboard.as_deref()?))
        })
        .collect();
    let mut shown: Vec<String> =
        boards.iter().take(SHOWN).map(|(id, origin)| format!("`{id}` ({origin})")).collect();
    if boards.len() > SHOWN {
        shown.push(format!("and {} more", boards.len() - SHOWN));
    }
    let message = format!("is measured against leaderboards of your own for {}", shown.join(", "));
    (!boards.is_empty()).then(|| Warning::new(&group.path, message))
}

fn find(path: &Path, found: &mut Vec<Found>, warnings: &mut Vec<Warning>) -> Result<(), ReadError> {
    let cannot = |source| ReadError::Path { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if metadata.is_file() {
        if path.file_name().is_some_and(|name| name == "group.json") {
            found.push(Found::Ours(path.parent().unwrap_or(Path::new(".")).to_owned()));
        } else if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) {
            found.push(Found::Claims(path.to_owned()));
        } else {
            found.push(Found::Report(path.to_owned()));
        }
        return Ok(());
    }
    if let Some(item) = classify(path).map_err(cannot)? {
        found.extend(item);
        return Ok(());
    }
    let mut below: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(cannot)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    below.sort();
    for child in below {
        match classify(&child) {
            Ok(Some(items)) => found.extend(items),
            Ok(None) => {}
            Err(error) => {
                warnings.push(Warning::new(&child, format!("cannot be read ({error}); left out")))
            }
        }
    }
    Ok(())
}

fn classify(dir: &Path) -> std::io::Result<Option<Vec<Found>>> {
    if dir.join("group.json").is_file() {
        return Ok(Some(vec![Found::Ours(dir.to_owned())]));
    }
    let reports = grading_reports_in(dir)?;
    if dir.join("metadata.json").is_file() && reports.len() <= 1 {
        return Ok(Some(vec![Found::MleBench(dir.to_owned())]));
    }
    Ok((!reports.is_empty()).then(|| reports.into_iter().map(Found::Report).collect()))
}

#[cfg(test)]
mod tests;
