//! Published rows: those that medalist carries, and those of a README in MLE-bench's form.

use serde::Deserialize;

use super::{Cell, Row};

/// Competitions of the four splits.
const COMPETITIONS: [usize; 4] = [22, 38, 15, 75];

/// A table of published rows cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublishedError {
    /// There is none.
    #[error("it has no table with the columns `Agent` and `All (%)`")]
    NoTable,
    /// A cell is no number.
    #[error(
        "line {line}, column `{column}`: `{found}`, expected a mean and its standard error such as `33.33 ± 2.22`, or `n/a`"
    )]
    Cell {
        /// From 1.
        line: usize,
        column: String,
        found: String,
    },
    /// Hours are no number.
    #[error("line {line}, column `{column}`: `{found}`, expected hours such as `24`")]
    Hours {
        /// From 1.
        line: usize,
        column: String,
        found: String,
    },
}

/// The published table as of openai/mle-bench 783b15a (26 rows).
pub fn published() -> Vec<Row> {
    #[derive(Deserialize)]
    struct Line {
        agent: String,
        llm: String,
        low: f64,
        low_sem: f64,
        medium: f64,
        medium_sem: f64,
        high: f64,
        high_sem: f64,
        all: f64,
        all_sem: f64,
        hours: f64,
        date: String,
        known_leakage: String,
        source_code: String,
        padded: String,
    }
    csv::Reader::from_reader(include_str!("../published.csv").as_bytes())
        .deserialize()
        .map(|line: Result<Line, csv::Error>| {
            let line = line.expect("the embedded table is tested");
            let means = [line.low, line.medium, line.high, line.all];
            let sems = [line.low_sem, line.medium_sem, line.high_sem, line.all_sem];
            Row {
                cells: std::array::from_fn(|i| Some(cell(i, means[i], sems[i]))),
                agent: line.agent,
                llm: line.llm,
                hours: Some(line.hours),
                date: line.date,
                published: true,
                claimed: false,
                section: None,
                padded: line.padded == "yes",
                known_leakage: line.known_leakage == "yes",
                source_code: Some(line.source_code == "yes"),
                grading_reports: Some(true),
            }
        })
        .collect()
}

fn cell(split: usize, mean: f64, sem: f64) -> Cell {
    Cell { mean, sem, seeds: None, competitions: COMPETITIONS[split] }
}

/// The rows of all tables of a README in MLE-bench's form. A table after the first has the heading
/// above it as its [`Row::section`].
///
/// # Errors
/// [`PublishedError`].
pub fn read_published(markdown: &str) -> Result<Vec<Row>, PublishedError> {
    let padding = footnotes_of_padding(markdown);
    let (mut rows, mut tables) = (Vec::new(), 0);
    let (mut heading, mut columns) = (String::new(), None);
    for (number, line) in markdown.lines().enumerate() {
        let line = line.trim();
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().to_owned();
        }
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Some(known) = &columns else {
            columns = Columns::of(&cells);
            tables += usize::from(columns.is_some());
            continue;
        };
        if cells.iter().all(|cell| cell.chars().all(|c| "-: ".contains(c))) {
            continue;
        }
        let section = (tables > 1).then(|| heading.clone());
        rows.push(known.row(number + 1, &cells, section, &padding)?);
    }
    if tables == 0 { Err(PublishedError::NoTable) } else { Ok(rows) }
}

/// Marks of the footnotes that speak of padding.
fn footnotes_of_padding(markdown: &str) -> Vec<String> {
    let notes = markdown.lines().filter_map(|line| line.trim().split_once("]:"));
    notes
        .filter(|(mark, text)| mark.starts_with("[^") && text.contains("padding"))
        .map(|(mark, _)| format!("{mark}]"))
        .collect()
}

/// Where a table has what.
struct Columns {
    names: Vec<String>,
    agent: usize,
    llm: Option<usize>,
    splits: [Option<usize>; 4],
    hours: Option<usize>,
    date: Option<usize>,
    leakage: Option<usize>,
    source_code: Option<usize>,
    grading_reports: Option<usize>,
}

impl Columns {
    fn of(head: &[&str]) -> Option<Self> {
        let names: Vec<String> = head.iter().map(|name| plain(name)).collect();
        let find = |start: &str| {
            names.iter().position(|name| name.to_lowercase().starts_with(&start.to_lowercase()))
        };
        let splits = ["Low", "Medium", "High", "All"].map(find);
        splits[3]?;
        Some(Self {
            agent: find("Agent")?,
            llm: find("LLM"),
            splits,
            hours: find("Running Time"),
            date: find("Date"),
            leakage: find("Known Leakage"),
            source_code: find("Source Code"),
            grading_reports: find("Grading Reports"),
            names,
        })
    }

    fn row(
        &self,
        line: usize,
        cells: &[&str],
        section: Option<String>,
        padding: &[String],
    ) -> Result<Row, PublishedError> {
        let raw = |column: Option<usize>| column.and_then(|i| cells.get(i)).copied();
        let text = |column: Option<usize>| raw(column).map(plain);
        let flag = |column: Option<usize>| text(column).map(|text| text.starts_with('✓'));
        let mut row = Row {
            agent: text(Some(self.agent)).unwrap_or_default(),
            llm: text(self.llm).unwrap_or_else(|| "-".to_owned()),
            cells: [None; 4],
            hours: None,
            date: text(self.date).filter(|date| date != "-").unwrap_or_default(),
            published: true,
            claimed: false,
            section,
            padded: false,
            known_leakage: flag(self.leakage).unwrap_or(false),
            source_code: flag(self.source_code),
            grading_reports: flag(self.grading_reports),
        };
        for (split, column) in self.splits.into_iter().enumerate() {
            let Some(found) = raw(column) else { continue };
            row.padded |= padding.iter().any(|mark| found.contains(mark.as_str()));
            let found = plain(found);
            if is_missing(&found) {
                continue;
            }
            let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
            let (mean, sem) = found.split_once('±').unwrap_or((&found, "0"));
            let parsed = number(mean).zip(number(sem));
            let (mean, sem) = parsed.ok_or_else(|| PublishedError::Cell {
                line,
                column: self.names[column.unwrap_or(0)].clone(),
                found: found.clone(),
            })?;
            row.cells[split] = Some(cell(split, mean, sem));
        }
        if let Some(found) = text(self.hours).filter(|text| !is_missing(text)) {
            let hours = found.parse::<f64>().ok().filter(|hours| hours.is_finite());
            row.hours = Some(hours.ok_or_else(|| PublishedError::Hours {
                line,
                column: self.names[self.hours.unwrap_or(0)].clone(),
                found,
            })?);
        }
        Ok(row)
    }
}

fn is_missing(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "" | "-" | "n/a" | "na" | "tbd")
}

/// A cell without links, line breaks and marks of footnotes.
fn plain(cell: &str) -> String {
    let mut out = String::new();
    let mut rest = cell;
    while let Some(start) = rest.find('[') {
        out.push_str(&rest[..start]);
        let Some(end) = rest[start..].find(']').map(|end| start + end) else { break };
        let (inner, after) = (&rest[start + 1..end], &rest[end + 1..]);
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        if !inner.starts_with('^') {
            out.push_str(inner);
        }
        rest = target.map_or(after, |(_, after)| after);
    }
    out.push_str(rest);
    let text = out.replace("<br>", " ").replace("**", "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "\
# A benchmark

| Competition | Size |
|---|---|
| a | 1 |

## Leaderboard

| Agent | LLM(s) used | Low == Lite (%) | Medium (%) | High (%) | All (%) | Running Time (hours) | Date | Known Leakage[^1] | Source Code Available | Grading Reports Available |
|-------|-------------|------|----|----|----|----|------|-----|----|----|
|[One](https://one.example.org)<br>(a lab)| m-1[^4] | 80.30 ± 1.52[^3] | 58.77 ±  0.88 | n/a | 61.33 ± 0.77[^3] |24| 2026-01-05 | [✓](https://example.org/1) |X|✓|
| Two | m-2 | 4.55 | 0 ± 0 | 0 ± 0 | 1.60 ± 0.27 | 12 | 2024-10-08 | - | ✓ | X |

[^1]: Known.
[^3]: Computed by padding incomplete seeds with failing scores.

### Additional submissions

| Agent | LLM | All (%) |
|---|---|---|
| Three | - | 70.0 ± 1 |
";

    #[test]
    fn a_readme_is_read_with_its_marks_and_sections() {
        let rows = read_published(README).unwrap();
        let [one, two, three] = rows.as_slice() else { panic!("{rows:#?}") };
        assert_eq!((one.agent.as_str(), one.llm.as_str()), ("One (a lab)", "m-1"));
        assert_eq!(one.cells[0].map(|c| (c.mean, c.sem, c.competitions)), Some((80.3, 1.52, 22)));
        assert!(one.cells[2].is_none() && one.padded && one.known_leakage);
        assert_eq!((one.source_code, one.grading_reports), (Some(false), Some(true)));
        assert_eq!(two.cells[0].map(|c| (c.mean, c.sem)), Some((4.55, 0.0)));
        assert!(!two.padded && !two.known_leakage && two.section.is_none());
        assert_eq!(two.hours, Some(12.0));
        assert_eq!(three.section.as_deref(), Some("Additional submissions"));
        assert_eq!((three.hours, three.source_code), (None, None));
        assert!(three.source().contains("Additional submissions"), "{}", three.source());
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_column() {
        assert_eq!(read_published("| a |\n|---|\n").unwrap_err(), PublishedError::NoTable);
        let wrong = read_published(&README.replace("0 ± 0 | 0 ± 0", "0 ± 0 | much")).unwrap_err();
        let words = wrong.to_string();
        assert!(words.starts_with("line 12, column `High (%)`: `much`"), "{words}");
        let wrong = read_published(&README.replace("| 12 |", "| a day |")).unwrap_err();
        assert!(wrong.to_string().contains("`a day`, expected hours"), "{wrong}");
    }
}
