//! What Kaggle has of a competition: checked first, then fetched.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use medalist_competitions::draft::{KaggleFacts, Known};

use super::Request;
use crate::app::context::Context;
use crate::app::download::{self, MAKE_A_TOKEN};
use crate::app::error::{CliError, Exit};
use crate::app::run::start_runtime;
use crate::host::kaggle::{
    Access, CompetitionFacts, CompetitionPage, Credentials, KaggleClient, KaggleError,
    KaggleOptions, RemoteFile,
};
use crate::host::machine::free_bytes;

/// Fetches facts, leaderboard and data; the data stay in the data directory, where `prepare` looks
/// for them.
pub(super) fn fetch(request: &Request, context: &Context) -> Result<(Known, PathBuf), CliError> {
    let found = Credentials::of_process().map_err(|error| {
        CliError::new(Exit::Environment, error)
            .hint(format!("{MAKE_A_TOKEN}, or give `--from-dir DIR` for data that lie here"))
    })?;
    let options = KaggleOptions::new(Some(found.credentials));
    let client = KaggleClient::new(options).map_err(download::cli_error)?;
    let runtime = start_runtime()?;
    let slug = request.id.as_str();
    let facts = runtime.block_on(client.facts(slug)).map_err(|error| no_facts(error, slug))?;
    refuse(&facts, slug)?;
    let files = runtime.block_on(client.files(slug)).map_err(download::cli_error)?;
    let bytes = admit(&runtime, &client, slug, &files, context)?;
    let board = match runtime.block_on(client.leaderboard_csv(slug)) {
        Ok(board) => board,
        Err(KaggleError::Forbidden { .. }) => None,
        Err(error) => return Err(download::cli_error(error)),
    };
    if board.is_none() {
        context.warn(format_args!("{slug}: there is no leaderboard, so no medals will be given"));
    }
    if facts.is_kernels_submissions_only {
        context.warn(format_args!(
            "{slug} is a code competition: its test data are hidden, and both parts will be made of the train data"
        ));
    }
    let pages = if request.with_page_text {
        runtime.block_on(client.pages(slug)).map_err(download::cli_error)?
    } else {
        Vec::new()
    };
    let archive = context.data().archive(&request.id);
    runtime.block_on(download::fetch_one(&client, slug, &archive, context))?;
    let mut kaggle = kaggle_facts(&facts, slug, bytes, &pages);
    kaggle.missing = missing(&files, &archive);
    let known = Known {
        id: request.id.clone(),
        title: request
            .title
            .clone()
            .or_else(|| Some(facts.title.clone()).filter(|title| !title.trim().is_empty()))
            .unwrap_or_else(|| slug.to_owned()),
        kaggle: Some(kaggle),
        board,
    };
    Ok((known, archive))
}

/// Files that are listed and not in the archive, nor packed in it under another ending.
fn missing(files: &[RemoteFile], archive: &Path) -> Vec<String> {
    let names: Option<Vec<String>> = std::fs::File::open(archive)
        .ok()
        .and_then(|file| zip::ZipArchive::new(file).ok())
        .map(|zip| zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect());
    let Some(names) = names else { return Vec::new() };
    let is_there = |file: &&RemoteFile| names.iter().any(|name| name.starts_with(&file.name));
    files.iter().filter(|file| !is_there(file)).map(|file| file.name.clone()).take(20).collect()
}

fn no_facts(error: KaggleError, slug: &str) -> CliError {
    match error {
        KaggleError::NotFound { .. } => CliError::message(
            Exit::BadInput,
            format_args!("Kaggle has no competition `{slug}` that this account may see"),
        )
        .hint("it may be private, withdrawn or renamed; the name is the last part of its page's address"),
        KaggleError::Forbidden { .. } => CliError::new(Exit::Environment, error)
            .hint("a private competition is shown only to those who were invited"),
        other => download::cli_error(other),
    }
}

/// Competitions whose submissions cannot be graded by a metric.
fn refuse(facts: &CompetitionFacts, slug: &str) -> Result<(), CliError> {
    let says = |word: &str| {
        let tags = facts.tags.iter().map(|tag| tag.name.as_str());
        [facts.category.as_str(), facts.title.as_str(), facts.description.as_str()]
            .into_iter()
            .chain(tags)
            .any(|text| text.to_lowercase().contains(word))
    };
    let is_judged = facts.evaluation_metric.trim().is_empty()
        && (says("hackathon")
            || says("analytics")
            || facts.submissions_disabled && facts.team_count == 0);
    if is_judged {
        return Err(CliError::message(
            Exit::BadInput,
            format_args!(
                "`{slug}` is a hackathon: people judge its submissions, and no metric does"
            ),
        )
        .hint("only competitions whose submissions are scored by a metric can be added"));
    }
    Ok(())
}

/// Whether the data may and can be had; their size.
fn admit(
    runtime: &tokio::runtime::Runtime,
    client: &KaggleClient,
    slug: &str,
    files: &[RemoteFile],
    context: &Context,
) -> Result<u64, CliError> {
    let unpacked: u64 = files.iter().map(|file| file.total_bytes).sum();
    if files.is_empty() {
        return Err(CliError::message(
            Exit::BadInput,
            format_args!("`{slug}` has no data files: they were removed, or it never had any"),
        ));
    }
    let packed = match runtime.block_on(client.access(slug)).map_err(download::cli_error)? {
        Access::Ready { bytes } => bytes.unwrap_or(unpacked),
        Access::RulesNotAccepted { page } => {
            return Err(CliError::message(
                Exit::Environment,
                format_args!("the rules of `{slug}` are not accepted yet"),
            )
            .hint(format!(
                "log in, open {page}, accept the rules, then run the same command again"
            )));
        }
        Access::Forbidden { message } => {
            return Err(CliError::message(
                Exit::Environment,
                format_args!("Kaggle refuses the data of `{slug}`: {message}"),
            )
            .hint("the competition may be private or closed to new entrants"));
        }
        Access::NotFound => {
            return Err(CliError::message(
                Exit::BadInput,
                format_args!("the data of `{slug}` are no longer on Kaggle"),
            ));
        }
    };
    let needed = packed + unpacked;
    let free = free_bytes(&context.data_dir).unwrap_or(u64::MAX);
    if free < needed {
        let (needed, free) = (ByteSize(needed), ByteSize(free));
        return Err(CliError::message(
            Exit::DiskFull,
            format_args!(
                "`{slug}` needs about {needed} in `{}`, where {free} are free; nothing was downloaded",
                context.data_dir.display()
            ),
        )
        .hint("free some, or choose another place with `--data-dir`"));
    }
    Ok(packed)
}

fn kaggle_facts(
    facts: &CompetitionFacts,
    slug: &str,
    bytes: u64,
    pages: &[CompetitionPage],
) -> KaggleFacts {
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let page_text: Vec<String> =
        pages.iter().map(|page| format!("### {}\n\n{}", page.name, page.content.trim())).collect();
    KaggleFacts {
        slug: slug.to_owned(),
        description: facts.description.clone(),
        metric: some(&facts.evaluation_metric),
        category: some(&facts.category),
        tags: facts.tags.iter().map(|tag| tag.name.clone()).collect(),
        deadline: facts.deadline.map(|time| time.format("%Y-%m-%d").to_string()),
        teams: Some(facts.team_count).filter(|teams| *teams > 0),
        license: some(&facts.license_name),
        is_code: facts.is_kernels_submissions_only,
        page_text: Some(page_text.join("\n\n")).filter(|text| !text.is_empty()),
        missing: Vec::new(),
        bytes: Some(bytes),
    }
}
