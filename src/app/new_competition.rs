//! Makes an entry for a competition that the catalogue lacks: from Kaggle, or from data that lie
//! here.

mod kaggle;

use std::path::{Path, PathBuf};

use medalist_competitions::draft::{
    Answers, Certainty, Decision, Draft, DraftError, Earlier, Known,
};
use medalist_competitions::survey::Survey;
use medalist_competitions::{CompetitionId, OpenChoice};
use serde::Serialize;

use super::context::Context;
use super::error::{CliError, Exit};

/// What to make an entry of.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id, which is Kaggle's name of it unless the data lie here.
    pub id: CompetitionId,
    /// Its name for people; Kaggle's, or the id.
    pub title: Option<String>,
    /// Where the data lie; on Kaggle if nowhere.
    pub from: Option<PathBuf>,
    /// The folder in which the entry's folder is made.
    pub dir: PathBuf,
    /// What somebody said.
    pub answers: Answers,
    /// Replace an entry that was changed by hand.
    pub force: bool,
    /// Put the text of Kaggle's pages into the brief.
    pub with_page_text: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
pub struct Made {
    /// The entry's folder.
    pub folder: PathBuf,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// What is still to be decided.
    pub open: Vec<OpenChoice>,
    /// What is wrong with the task.
    pub issues: Vec<String>,
    /// Where the raw data are.
    pub raw: PathBuf,
}

/// Looks at the data and writes the entry.
///
/// # Errors
/// The competition cannot be had, or is none that an entry can be made of; nothing is written then.
pub fn make(request: &Request, context: &Context) -> Result<Made, CliError> {
    let folder = request.dir.join(request.id.as_str());
    let answers = earlier_answers(request, &folder)?;
    let (known, raw) = match &request.from {
        Some(from) => (known_here(request), from.clone()),
        None => kaggle::fetch(request, context)?,
    };
    let scratch = tempfile::Builder::new().prefix("medalist-new-").tempdir().map_err(|error| {
        CliError::new(Exit::Environment, error).context("cannot make a folder for unpacked files")
    })?;
    context.say(format_args!("{}: looking at the data", request.id));
    let survey = Survey::of(&raw, scratch.path()).map_err(|error| {
        CliError::new(Exit::BadInput, error).context(format!("cannot look at `{}`", raw.display()))
    })?;
    let draft = Draft::of(&survey, known, answers).map_err(explained)?;
    let written = draft.write(&request.dir).map_err(explained)?;
    Ok(Made {
        folder: written,
        open: draft.open(),
        issues: draft
            .issues
            .iter()
            .map(|issue| format!("{}: {}", issue.kind, issue.summary))
            .collect(),
        decisions: draft.decisions,
        raw,
    })
}

/// What was said now, and before where an entry of ours is in place.
fn earlier_answers(request: &Request, folder: &Path) -> Result<Answers, CliError> {
    if !folder.exists() {
        return Ok(request.answers.clone());
    }
    let refuse = |what: &str| {
        Err(CliError::message(Exit::BadInput, format_args!("`{}` {what}", folder.display()))
            .hint("`--force` makes it anew; `--dir` makes it elsewhere"))
    };
    match Earlier::read(folder) {
        Some(earlier) if earlier.is_untouched => Ok(request.answers.clone().over(earlier.answers)),
        Some(earlier) if request.force => Ok(request.answers.clone().over(earlier.answers)),
        None if request.force => Ok(request.answers.clone()),
        Some(_) => refuse("was changed since it was made"),
        None => refuse("is there, and `competitions new` did not make it"),
    }
}

fn known_here(request: &Request) -> Known {
    let title = request.title.clone().unwrap_or_else(|| request.id.to_string());
    Known { id: request.id.clone(), title, kaggle: None, board: None }
}

fn explained(error: DraftError) -> CliError {
    let (exit, hint) = match &error {
        DraftError::NoExamples(_) => {
            (Exit::BadInput, "an entry can be written by hand (docs/own-competition.md)")
        }
        DraftError::SeveralFiles(_) => (
            Exit::BadInput,
            "only competitions with one file a submission can be graded; write an entry for one of them by hand",
        ),
        DraftError::NoSuch { .. } => (Exit::BadInput, "names are those of the files, case and all"),
        DraftError::Board(_) => (Exit::BadInput, "leave the leaderboard out, or look at the file"),
        DraftError::Entry(_) => (Exit::Failure, "please report it with the data's header lines"),
        DraftError::Io { .. } => (Exit::Environment, "choose another place with `--dir`"),
    };
    CliError::new(exit, error).hint(hint)
}

impl Made {
    /// What a person is told: what is not sure, what is open, what to do next.
    pub fn summary(&self, id: &CompetitionId) -> String {
        let mut text = String::new();
        for decision in &self.decisions {
            let sure = match decision.certainty {
                Certainty::Sure => continue,
                Certainty::Likely => "likely",
                Certainty::Open => "OPEN",
            };
            text.push_str(&format!(
                "{sure:7}{} = {} ({})\n",
                decision.key, decision.value, decision.evidence
            ));
        }
        for issue in &self.issues {
            text.push_str(&format!("issue  {issue}\n"));
        }
        let catalog = self.folder.parent().unwrap_or(&self.folder).display();
        if self.open.is_empty() {
            text.push_str(&format!(
                "next: look at `{}`, then `medalist --catalog {catalog} prepare -c {id} {}`\n",
                self.folder.join("report.md").display(),
                raw_flag(&self.raw),
            ));
        } else {
            text.push_str(&format!(
                "{} open: settle what is OPEN in `{}` and remove the `[[open]]` tables, or give the same command again with {}\n",
                self.open.len(),
                self.folder.join("competition.toml").display(),
                flags(&self.open),
            ));
        }
        text
    }
}

fn flags(open: &[OpenChoice]) -> String {
    let mut flags: Vec<String> = open
        .iter()
        .filter_map(|choice| choice.flag.as_ref())
        .map(|flag| format!("`{flag}`"))
        .collect();
    flags.dedup();
    if flags.is_empty() { "what answers them".to_owned() } else { flags.join(", ") }
}

fn raw_flag(raw: &Path) -> String {
    let flag = if raw.is_dir() { "--raw-dir" } else { "--raw-zip" };
    format!("{flag} {}", raw.display())
}
