//! What people read: questions, the brief, the report.

use std::fmt::Write as _;

use super::columns::Shape;
use super::decision::{Certainty, Decision};
use super::{Draft, KaggleFacts};
use crate::spec::OpenChoice;
use crate::survey::{CellKind, ColumnFacts, TableFacts};

/// A question for a decision that is open.
pub(super) fn open_choice(decision: &Decision) -> OpenChoice {
    let (question, flag) = match decision.key.as_str() {
        "grading.metric" => ("which metric scores a submission?", "--metric NAME"),
        // It is asked with the metric, and answered by it.
        "grading.direction" => ("are higher or lower scores better?", "--metric NAME"),
        "grading.id_columns" => ("which columns name a row?", "--id-columns COLUMN,..."),
        "grading.target_columns" => ("which columns are predicted?", "--target COLUMN,..."),
        "split.table" => ("which table holds the examples with answers?", "--train PATH"),
        "split" => ("how are public and private data made?", ""),
        key if key.starts_with("grading.options.") => {
            ("what does this option of the metric hold?", "--metric-option KEY=VALUE")
        }
        _ => ("what is right here?", ""),
    };
    OpenChoice {
        key: decision.key.clone(),
        question: format!("{question} {}", decision.evidence),
        flag: (!flag.is_empty()).then(|| flag.to_owned()),
        candidates: decision.candidates.clone(),
    }
}

impl Draft<'_> {
    /// What agents are told, in our own words.
    pub(super) fn brief(&self) -> String {
        let mut text = format!("# {}\n\n", self.known.title);
        let _ = writeln!(text, "{}\n", self.task());
        text.push_str("## Files\n\n");
        text.push_str(&self.files());
        if let Some(train) = self.roles.train {
            text.push_str("\n## Columns\n\n");
            text.push_str(&columns_table(train));
        }
        let _ = write!(text, "\n## Metric\n\n{}\n", self.metric_text());
        text.push_str("\n## Submission\n\n");
        text.push_str(&self.submission());
        if let Some(page) = self.known.kaggle.as_ref().and_then(|facts| facts.page_text.as_deref())
        {
            let license = self.known.kaggle.as_ref().and_then(|facts| facts.license.as_deref());
            let _ = write!(
                text,
                "\n## The host's own text\n\nFrom the competition's page on Kaggle; the data's licence is {}. Rights in the text are its authors'.\n\n{}\n",
                license.unwrap_or("not stated"),
                page.trim()
            );
        }
        text
    }

    /// The kind of task in a sentence.
    fn task(&self) -> String {
        let ids = self.columns.ids.join("`, `");
        let targets = &self.columns.targets;
        let truth = self.columns.in_train().first().and_then(|name| self.roles.train?.column(name));
        let kind = match (&self.columns.shape, truth) {
            (Shape::OneHot { .. } | Shape::Folder { .. }, _) => "a classification".to_owned(),
            (_, Some(column)) if column.is_binary() && targets.len() == 1 => {
                "a classification into two classes".to_owned()
            }
            (_, Some(column)) if column.is_binary() => {
                format!("{} classifications into two classes", targets.len())
            }
            (_, Some(column)) => match column.kind() {
                CellKind::Int | CellKind::Float if column.distinct() > 30 => {
                    "a regression".to_owned()
                }
                CellKind::Int | CellKind::Float => {
                    "a prediction of numbers, of which there are few".to_owned()
                }
                CellKind::Text if column.is_categorical() => {
                    format!("a classification into {} classes", column.distinct())
                }
                _ => "a prediction of texts".to_owned(),
            },
            (_, None) => "a prediction".to_owned(),
        };
        let names = shown(targets, 6);
        format!("This is {kind}: for each `{ids}` of the test part, predict {names}.")
    }

    fn files(&self) -> String {
        let mut text = String::new();
        let Some(split) = &self.split else {
            return "`sample_submission.csv`: a valid submission.\n".to_owned();
        };
        let mut file = |name: &str, what: &str| {
            let _ = writeln!(text, "- `{name}`: {what}");
        };
        let strip = |path: &str| path.strip_prefix("public/").unwrap_or(path).to_owned();
        if let Some(train) = split.train_file() {
            file(&strip(train), "the train part, with the answers");
        }
        if let Some(test) = split.test_file() {
            file(&strip(test), "the test part, without the answers");
        }
        for copy in &split.copy {
            match &copy.to {
                Some(to) => file(
                    &strip(&to.to_string()).replace("{part}", "train or test, "),
                    "the file or files of a row",
                ),
                None => copy.from.iter().for_each(|from| file(&from.to_string(), "as published")),
            }
        }
        file("sample_submission.csv", "a valid submission that knows nothing");
        text
    }

    fn metric_text(&self) -> String {
        let metric = self.scoring.metric;
        let better = if self.scoring.direction.is_lower_better() { "Lower" } else { "Higher" };
        let options: Vec<String> =
            self.scoring.options.iter().map(|(key, value)| format!("`{key} = {value}`")).collect();
        let with = if options.is_empty() {
            String::new()
        } else {
            format!(" With {}.", options.join(", "))
        };
        format!("`{}`: {}{with} {better} is better.", metric.name, metric.summary)
    }

    fn submission(&self) -> String {
        let names: Vec<&str> =
            self.columns.ids.iter().chain(&self.columns.targets).map(String::as_str).collect();
        let mut text = format!(
            "A CSV file with the columns {} and one row for each `{}` of the test part, in any order.\n",
            shown(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), 12),
            self.columns.ids.join("`, `"),
        );
        if names.len() <= 12 {
            let _ = write!(text, "\n```\n{}\n```\n", names.join(","));
        }
        text
    }

    /// What was decided, from what, and how sure.
    pub(super) fn report(&self) -> String {
        let mut text = format!("# How `{}` was made\n\n", self.known.id);
        let (files, tables) = (self.survey.files, self.survey.tables.len());
        let _ = writeln!(
            text,
            "Looked at: {files} files, {tables} tables of {} bytes.\n",
            self.survey.table_bytes
        );
        let _ = writeln!(text, "| key | value | how sure | evidence |\n| --- | --- | --- | --- |");
        for decision in &self.decisions {
            let sure = match decision.certainty {
                Certainty::Sure => "sure",
                Certainty::Likely => "likely",
                Certainty::Open => "**open**",
            };
            let _ = writeln!(
                text,
                "| `{}` | {} | {sure} | {} |",
                decision.key,
                cell(&decision.value),
                cell(&decision.evidence)
            );
        }
        let open: Vec<&Decision> = self
            .decisions
            .iter()
            .filter(|decision| decision.certainty == Certainty::Open)
            .collect();
        if !open.is_empty() {
            text.push_str("\n## Open\n\nSettle each in `competition.toml` and remove its `[[open]]` table, or run `competitions new` again with its flag.\n");
            for decision in open {
                let choice = open_choice(decision);
                let _ = writeln!(text, "\n- `{}`: {}", choice.key, choice.question);
                for candidate in &choice.candidates {
                    let _ = writeln!(text, "  - `{}`: {}", candidate.value, candidate.evidence);
                }
                if let Some(flag) = choice.flag {
                    let _ = writeln!(text, "  - answer with `{flag}`");
                }
            }
        }
        text.push_str("\n## Tables\n");
        for table in &self.survey.tables {
            let role = self.role_of(table);
            let _ = write!(
                text,
                "\n`{}`: {} rows, {} columns{role}\n\n",
                table.path,
                table.rows,
                table.columns.len()
            );
            text.push_str(&columns_table(table));
        }
        if !self.survey.families.is_empty() {
            text.push_str("\n## Other files\n\n");
            for family in &self.survey.families {
                let link = self.roles.train.and_then(|train| family.link(train));
                let link =
                    link.map_or_else(String::new, |link| format!(", linked by `{}`", link.pattern));
                let _ = writeln!(
                    text,
                    "- `{}`: {} files `.{}`{link}",
                    family.place, family.count, family.ending
                );
            }
        }
        if let Some(facts) = &self.known.kaggle {
            text.push_str("\n## From Kaggle\n\n");
            text.push_str(&kaggle_text(facts));
        }
        if !self.issues.is_empty() {
            text.push_str("\n## Issues\n\n");
            for issue in &self.issues {
                let _ = writeln!(text, "- {}: {}", issue.kind, issue.summary);
            }
        }
        text
    }

    fn role_of(&self, table: &TableFacts) -> &'static str {
        let is = |other: Option<&TableFacts>| other.is_some_and(|other| other.path == table.path);
        if is(self.roles.train) {
            "; the train table"
        } else if is(self.roles.test) {
            "; the test table"
        } else if is(self.roles.sample) {
            "; the sample submission"
        } else if is(self.roles.solution) {
            "; published answers"
        } else {
            ""
        }
    }
}

fn kaggle_text(facts: &KaggleFacts) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        let _ = writeln!(text, "- {name}: {}", value.unwrap_or_else(|| "not stated".to_owned()));
    };
    line("page", Some(format!("https://www.kaggle.com/competitions/{}", facts.slug)));
    line("category", facts.category.clone());
    line("subjects", (!facts.tags.is_empty()).then(|| facts.tags.join(", ")));
    line("deadline", facts.deadline.clone());
    line("teams", facts.teams.map(|teams| teams.to_string()));
    line("evaluation", facts.metric.clone());
    line("licence of the data", facts.license.clone());
    text
}

/// A table of columns: type, missing cells, what they hold.
fn columns_table(table: &TableFacts) -> String {
    const SHOWN: usize = 60;
    let mut text = "| column | holds | missing |\n| --- | --- | --- |\n".to_owned();
    for column in table.columns.iter().take(SHOWN) {
        let missing = match column.missing {
            0 => String::new(),
            missing => format!("{:.1} %", 100.0 * missing as f64 / column.rows.max(1) as f64),
        };
        let _ = writeln!(text, "| `{}` | {} | {missing} |", column.name, holds(column));
    }
    if table.columns.len() > SHOWN {
        let _ = writeln!(text, "\nand {} more columns.", table.columns.len() - SHOWN);
    }
    text
}

/// What a column holds, without showing a value of its rows.
fn holds(column: &ColumnFacts) -> String {
    let distinct = column.distinct();
    let few = column.values().filter(|values| values.len() <= 8 && !column.is_unique());
    let listed = |values: Vec<(&str, u64)>| -> String {
        values.iter().map(|(value, _)| format!("`{}`", cell(value))).collect::<Vec<_>>().join(", ")
    };
    match column.kind() {
        CellKind::Empty => "nothing".to_owned(),
        CellKind::Bool => "true or false".to_owned(),
        CellKind::Date => "times".to_owned(),
        CellKind::Int if column.is_unique() => "whole numbers, each once".to_owned(),
        CellKind::Int => format!("whole numbers from {} to {}", column.low, column.high),
        CellKind::Float => format!("numbers from {} to {}", column.low, column.high),
        CellKind::Text if column.is_unique() && !column.is_prose() => "texts, each once".to_owned(),
        CellKind::Text if column.is_prose() => {
            format!("texts of {:.0} bytes on average", column.mean_length())
        }
        CellKind::Text => match few {
            Some(values) => listed(values),
            None => format!("about {distinct} distinct texts"),
        },
    }
}

fn shown(names: &[String], most: usize) -> String {
    let mut text: Vec<String> = names.iter().take(most).map(|name| format!("`{name}`")).collect();
    if names.len() > most {
        text.push(format!("and {} more", names.len() - most));
    }
    text.join(", ")
}

/// A text that is one cell of a Markdown table.
fn cell(text: &str) -> String {
    let line: String = text.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }).collect();
    let short: String = line.chars().take(200).collect();
    let more = if line.chars().count() > 200 { "…" } else { "" };
    format!("{}{more}", short.replace('|', "\\|"))
}
