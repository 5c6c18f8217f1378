//! `medalist prepare`: from raw data to what agents see and what grades them.

use std::path::PathBuf;

use super::selection::SelectionArgs;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::prepare::{Request, check, prepare_all};

/// Prepare competitions: split the raw data into public data and answers, and verify both.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Kaggle's archive, instead of `<id>.zip` in the data directory.
    #[arg(long, value_name = "FILE", conflicts_with = "raw_dir")]
    raw_zip: Option<PathBuf>,
    /// A directory with the unpacked archive; it is only read.
    #[arg(long, value_name = "DIR")]
    raw_dir: Option<PathBuf>,
    /// A folder with the packages and extra files that some competitions need from elsewhere.
    #[arg(long, value_name = "DIR")]
    downloads: Option<PathBuf>,
    /// Change a constant of a recipe, such as the size of a split; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_and_value)]
    overrides: Vec<(String, String)>,
    /// Unpack the archive to `raw/` and keep it there.
    #[arg(long)]
    keep_raw: bool,
    /// Skip the comparison with the published checksums.
    #[arg(long)]
    skip_verification: bool,
    /// Omit public data that is known to leak labels; runs on such data are marked.
    #[arg(long)]
    fixed: bool,
    /// Prepare again even if already prepared.
    #[arg(long)]
    force: bool,
    /// Only check: what would be downloaded, how much disk it needs, and what is missing.
    #[arg(long, conflicts_with_all = ["raw_zip", "raw_dir", "offline"])]
    check: bool,
    /// Download nothing.
    #[arg(long)]
    offline: bool,
    /// Number of competitions prepared at the same time; each uses all processors where it can.
    #[arg(short, long, default_value_t = 1, value_name = "N")]
    jobs: usize,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected KEY=VALUE, found `{text}`")),
    }
}

/// Runs the subcommand.
///
/// # Errors
/// Nothing was chosen, or the only competition chosen failed; of several, failures are named in the
/// summary.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let catalogue = context.catalogue()?;
    let chosen = args.selection.selection().resolve(&catalogue)?;
    if args.check {
        return check(&chosen, args.force, args.json, context);
    }
    let request = Request {
        raw_zip: args.raw_zip.clone(),
        raw_dir: args.raw_dir.clone(),
        downloads: args.downloads.clone(),
        overrides: args.overrides.iter().cloned().collect(),
        keep_raw: args.keep_raw,
        skip_verification: args.skip_verification,
        fixed: args.fixed,
        force: args.force,
        offline: args.offline,
        jobs: args.jobs,
    };
    let outcome = prepare_all(&chosen, &request, context)?;
    if args.json {
        context.print(format_args!("{}\n", outcome.json()?))?;
    } else {
        context.print(outcome.table())?;
    }
    outcome.exit()
}
