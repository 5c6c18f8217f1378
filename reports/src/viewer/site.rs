//! The pages together: their order, the links between them, and how a folder of them is written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use super::{Attempt, Limit, Page, SCRIPT, Stories, competition_page};
use crate::data::ReportData;
use crate::export::{WriteError, make_dir, write_cached};
use crate::html::{self, HeatCell, PageOptions};
use crate::plots::Plot;

/// Most attempts at a competition that a page of one of them shows as cells.
const CELLS: usize = 60;

/// Where pages lead to.
#[derive(Clone, Copy)]
pub struct Links<'a> {
    /// The report.
    pub report: &'a str,
    /// The page of an attempt, by its place in [`ReportData::attempts`].
    pub attempt: &'a (dyn Fn(usize) -> String + Sync),
    /// The page of a competition, by its place in [`ReportData::competitions`].
    pub competition: &'a (dyn Fn(usize) -> String + Sync),
}

/// The order of a report's pages.
pub struct Site<'a> {
    data: &'a ReportData,
    /// Attempts in the order of the report's list.
    order: Vec<usize>,
    /// The place of each attempt in it.
    place: Vec<usize>,
    /// Competitions in the order of the report.
    competitions: Vec<usize>,
    /// Attempts at each competition, by agent and seed.
    at: Vec<Vec<usize>>,
    /// The competition of each attempt.
    of: Vec<usize>,
    /// Versions of agents by run group.
    versions: HashMap<&'a str, &'a str>,
}

impl<'a> Site<'a> {
    /// The pages of a report.
    pub fn new(data: &'a ReportData) -> Self {
        let competitions: Vec<usize> = data.by_complexity().collect();
        let order: Vec<usize> =
            html::folds(data, &competitions).into_iter().flat_map(|fold| fold.attempts).collect();
        let mut place = vec![0; data.attempts.len()];
        for (at, attempt) in order.iter().enumerate() {
            place[*attempt] = at;
        }
        let numbers: HashMap<&str, usize> =
            data.competitions.iter().enumerate().map(|(i, c)| (c.facts.id.as_str(), i)).collect();
        let mut at = vec![Vec::new(); data.competitions.len()];
        let mut of = Vec::with_capacity(data.attempts.len());
        for (i, attempt) in data.attempts.iter().enumerate() {
            // Every attempt's competition is in the report.
            let number = numbers.get(attempt.key.competition.as_str()).copied().unwrap_or(0);
            of.push(number);
            if let Some(attempts) = at.get_mut(number) {
                attempts.push(i);
            }
        }
        let versions = data
            .groups
            .iter()
            .filter_map(|group| Some((group.id.as_str(), group.version.as_deref()?)))
            .collect();
        Self { data, order, place, competitions, at, of, versions }
    }

    /// The report.
    pub fn data(&self) -> &'a ReportData {
        self.data
    }

    /// The attempts at a competition.
    pub(super) fn attempts_at(&self, competition: usize) -> &[usize] {
        &self.at[competition]
    }

    /// The version of an attempt's agent, where its package states one.
    pub(super) fn version_of(&self, attempt: usize) -> Option<&'a str> {
        self.versions.get(self.data.attempts[attempt].group.as_str()).copied()
    }

    pub(super) fn nav(&self, attempt: usize, links: Links<'_>) -> Nav {
        let link = |attempt: usize| Link {
            href: (links.attempt)(attempt),
            label: self.data.attempts[attempt].key.to_string(),
        };
        let beside = |list: &[usize], at: usize| {
            let before = at.checked_sub(1).and_then(|at| list.get(at));
            (before.map(|i| link(*i)), list.get(at + 1).map(|i| link(*i)))
        };
        let (previous, next) = beside(&self.order, self.place[attempt]);
        let competition = self.of[attempt];
        let here = &self.at[competition];
        let at = here.iter().position(|i| *i == attempt).unwrap_or(0);
        let (previous_here, next_here) = beside(here, at);
        let cells = if here.len() > 1 && here.len() <= CELLS { &here[..] } else { &[] };
        Nav {
            report: links.report.to_owned(),
            competition: (links.competition)(competition),
            version: self.version_of(attempt).map(str::to_owned),
            previous,
            next,
            previous_here,
            next_here,
            number_here: at + 1,
            count_here: here.len(),
            cells: cells
                .iter()
                .map(|i| Cell {
                    href: (links.attempt)(*i),
                    is_this: *i == attempt,
                    cell: HeatCell::of(*i, &self.data.attempts[*i]),
                })
                .collect(),
        }
    }

    pub(super) fn competition_nav(&self, competition: usize, links: Links<'_>) -> CompetitionNav {
        let at = self.competitions.iter().position(|c| *c == competition).unwrap_or(0);
        let link = |at: usize| {
            self.competitions.get(at).map(|c| Link {
                href: (links.competition)(*c),
                label: self.data.competitions[*c].facts.id.clone(),
            })
        };
        CompetitionNav {
            report: links.report.to_owned(),
            previous: at.checked_sub(1).and_then(link),
            next: link(at + 1),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Link {
    href: String,
    label: String,
}

/// Where an attempt's page leads to.
#[derive(Debug, Serialize)]
pub(super) struct Nav {
    report: String,
    competition: String,
    version: Option<String>,
    /// In the order of the report's list.
    previous: Option<Link>,
    next: Option<Link>,
    /// Among the attempts at the same competition.
    previous_here: Option<Link>,
    next_here: Option<Link>,
    number_here: usize,
    count_here: usize,
    /// All attempts at the competition, if they are few.
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    href: String,
    is_this: bool,
    cell: HeatCell,
}

/// Where a competition's page leads to.
#[derive(Debug, Serialize)]
pub(super) struct CompetitionNav {
    report: String,
    previous: Option<Link>,
    next: Option<Link>,
}

/// Writes `pages/` into `dir`: the report with its links, and a page for every attempt and competition.
/// An attempt at a time is in memory on each core.
///
/// # Errors
/// [`WriteError`]; files written before it stay.
pub(crate) fn write_pages(
    dir: &Path,
    data: &ReportData,
    plots: &[Plot],
    stories: &dyn Stories,
) -> Result<Vec<PathBuf>, WriteError> {
    let pages = dir.join("pages");
    let (attempts, competitions) = (pages.join("attempts"), pages.join("competitions"));
    make_dir(&attempts)?;
    make_dir(&competitions)?;
    let site = Site::new(data);
    let limit = Limit::each_of(data.attempts.len());
    let mut written: Vec<PathBuf> = (0..data.attempts.len())
        .into_par_iter()
        .map(|number| write_attempt(&attempts, &site, number, stories, limit))
        .collect::<Result<_, WriteError>>()?;
    let links = Links {
        report: "../index.html",
        attempt: &|number| format!("../attempts/{number}.html"),
        competition: &|number| format!("{number}.html"),
    };
    let more: Vec<PathBuf> = (0..data.competitions.len())
        .into_par_iter()
        .map(|number| {
            let path = competitions.join(format!("{number}.html"));
            write_cached(&path, &competition_page(&site, number, links, None)?)?;
            Ok(path)
        })
        .collect::<Result<_, WriteError>>()?;
    written.extend(more);
    let script = pages.join("viewer.js");
    write_cached(&script, SCRIPT)?;
    written.push(script);
    let options = PageOptions {
        links: &links_to("attempts", data.attempts.len()),
        competition_links: &links_to("competitions", data.competitions.len()),
        live: None,
    };
    let index = pages.join("index.html");
    crate::export::write_file(&index, html::page_with(data, plots, options)?.as_bytes())?;
    written.push(index);
    Ok(written)
}

fn links_to(folder: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{folder}/{number}.html")).collect()
}

/// Writes an attempt's page, and its data files into a folder beside it; gives the page's path.
fn write_attempt(
    dir: &Path,
    site: &Site<'_>,
    number: usize,
    stories: &dyn Stories,
    limit: Limit,
) -> Result<PathBuf, WriteError> {
    let attempt = Attempt::read(&site.data().attempts[number], stories, limit);
    let links = Links {
        report: "../index.html",
        attempt: &|number| format!("{number}.html"),
        competition: &|number| format!("../competitions/{number}.html"),
    };
    let base = format!("{number}/");
    let page = Page { script: "../viewer.js", base: &base, end: ".js", live: None };
    let path = dir.join(format!("{number}.html"));
    write_cached(&path, &attempt.page(site, number, links, page)?)?;
    let folder = dir.join(number.to_string());
    remove_parts(&folder);
    let mut is_made = false;
    for (name, text) in attempt.parts() {
        if !is_made {
            make_dir(&folder)?;
            is_made = true;
        }
        write_cached(&folder.join(format!("{name}.js")), &text)?;
    }
    Ok(path)
}

/// Removes the data files of an earlier report, which may be those of another attempt.
fn remove_parts(folder: &Path) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
    {
        if path.extension().is_some_and(|end| end == "js") {
            let _ = std::fs::remove_file(path);
        }
    }
}
