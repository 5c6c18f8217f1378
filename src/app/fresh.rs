//! Competitions that ended after a day, from Kaggle's list: which may be used, and why others may not.

use chrono::NaiveDate;
use futures_util::StreamExt as _;
use medalist_competitions::{Catalogue, CompetitionId, SuiteEntry};
use serde::Serialize;

use super::context::Context;
use super::download::{MAKE_A_TOKEN, cli_error};
use super::error::{CliError, Exit};
use super::suites;
use crate::attempt::text::chain;
use crate::host::kaggle::{
    Access, CompetitionFacts, Credentials, KaggleClient, KaggleOptions, ListQuery,
};

/// Competitions that the first question asks for; each further one asks for twice as many.
const FIRST: usize = 400;
/// Questions about single competitions at a time.
const AT_A_TIME: usize = 4;

/// What was found.
#[derive(Debug)]
pub struct Fresh {
    /// Competitions that may be used, the last ended first.
    pub taken: Vec<SuiteEntry>,
    /// The others that ended after the day.
    pub refused: Vec<Refused>,
}

/// A competition that may not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its name on Kaggle.
    pub id: String,
    /// When it ended.
    pub ended: NaiveDate,
    /// Why it may not be used.
    pub why: String,
}

/// Asks Kaggle for the competitions that ended after `after` and by `today`, and looks at each.
///
/// # Errors
/// There are no credentials, or the list cannot be had. What is wrong with one competition is its
/// reason.
pub async fn fresh(
    after: NaiveDate,
    today: NaiveDate,
    catalogue: &Catalogue,
    context: &Context,
) -> Result<Fresh, CliError> {
    let found = Credentials::of_process()
        .map_err(|error| CliError::new(Exit::Environment, error).hint(MAKE_A_TOKEN))?;
    let client =
        KaggleClient::new(KaggleOptions::new(Some(found.credentials))).map_err(cli_error)?;
    let ended = ended_after(&client, after, today).await?;
    context.say(format_args!("{} competitions ended after {after}; looking at each", ended.len()));
    let looked: Vec<(CompetitionFacts, NaiveDate, Result<(), String>)> =
        futures_util::stream::iter(ended)
            .map(|(facts, day)| {
                let client = &client;
                async move {
                    let verdict = match by_facts(&facts) {
                        Ok(()) => by_asking(client, facts.slug()).await,
                        refused => refused,
                    };
                    (facts, day, verdict)
                }
            })
            .buffered(AT_A_TIME)
            .collect()
            .await;
    let mut fresh = Fresh { taken: Vec::new(), refused: Vec::new() };
    for (facts, day, verdict) in looked {
        let verdict = verdict.and_then(|()| {
            facts.slug().parse::<CompetitionId>().map_err(|error| error.to_string())
        });
        match verdict {
            Ok(id) => fresh.taken.push(entry(id, &facts, day, catalogue, context)?),
            Err(why) => {
                fresh.refused.push(Refused { id: facts.slug().to_owned(), ended: day, why });
            }
        }
    }
    Ok(fresh)
}

/// The entry of a competition, pinned where it is in the catalogue already.
fn entry(
    id: CompetitionId,
    facts: &CompetitionFacts,
    day: NaiveDate,
    catalogue: &Catalogue,
    context: &Context,
) -> Result<SuiteEntry, CliError> {
    let licence = Some(facts.license_name.clone());
    let ended = Some(day);
    Ok(match catalogue.get(id.as_str()) {
        Ok(spec) => SuiteEntry { ended, licence, ..suites::pinned(&[spec], context)?.remove(0) },
        Err(_) => SuiteEntry { id, ended, licence, edition: None, sha256: Default::default() },
    })
}

/// Competitions with their last days, the latest first.
async fn ended_after(
    client: &KaggleClient,
    after: NaiveDate,
    today: NaiveDate,
) -> Result<Vec<(CompetitionFacts, NaiveDate)>, CliError> {
    let mut limit = FIRST;
    loop {
        let query = ListQuery { limit: Some(limit), ..ListQuery::default() };
        let listed = client.list(&query).await.map_err(cli_error)?;
        let day = |facts: &CompetitionFacts| facts.deadline.map(|end| end.date_naive());
        // The latest come first, so that nothing is missing once an earlier one is there.
        let is_whole =
            listed.len() < limit || listed.last().and_then(day).is_some_and(|last| last <= after);
        if is_whole {
            return Ok(listed
                .into_iter()
                .filter_map(|facts| Some((day(&facts)?, facts)))
                .filter(|(day, _)| *day > after && *day <= today)
                .map(|(day, facts)| (facts, day))
                .collect());
        }
        limit *= 2;
    }
}

/// What the list says against a competition.
fn by_facts(facts: &CompetitionFacts) -> Result<(), String> {
    let is_hackathon = facts.category.to_lowercase().contains("hackathon")
        || facts.tags.iter().any(|tag| tag.name.to_lowercase().contains("hackathon"));
    let licence = facts.license_name.trim().to_lowercase();
    Err(if is_hackathon {
        "it is a hackathon, which people judge".to_owned()
    } else if facts.is_kernels_submissions_only {
        "it takes notebooks alone, and its test data are hidden".to_owned()
    } else if facts.evaluation_metric.trim().is_empty() {
        "it names no metric".to_owned()
    } else if facts.team_count == 0 {
        "it has no leaderboard".to_owned()
    } else if licence.is_empty() || licence == "unknown" {
        "the licence of its data is not stated".to_owned()
    } else {
        return Ok(());
    })
}

/// What Kaggle's answers say against a competition.
async fn by_asking(client: &KaggleClient, slug: &str) -> Result<(), String> {
    let refused = match client.access(slug).await {
        Ok(Access::Ready { .. }) => return has_files(client, slug).await,
        Ok(Access::RulesNotAccepted { page }) => {
            format!("its rules are not accepted: open {page}")
        }
        Ok(Access::Forbidden { message }) => {
            format!("Kaggle refuses the data to this account: {message}")
        }
        Ok(Access::NotFound) => "Kaggle does not have its data".to_owned(),
        Err(error) => chain(&error),
    };
    Err(refused)
}

async fn has_files(client: &KaggleClient, slug: &str) -> Result<(), String> {
    match client.files(slug).await {
        Ok(files) if files.is_empty() => Err("it has no files".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(chain(&error)),
    }
}
