//! The flags that choose competitions: `-c`, `--suite`, `--lite`, `-a`, `-l`.

use std::path::PathBuf;

use medalist_competitions::Suite;

use crate::app::selection::Selection;

/// Flags that select competitions: MLE-bench's and ours.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct SelectionArgs {
    /// Competition ids; may be repeated.
    #[arg(short = 'c', long = "competition", value_name = "ID", num_args = 1..)]
    pub competitions: Vec<String>,
    /// A suite: low (or lite), medium, high, all, dev, systemcard, demo, open; or the file of one
    /// (docs/suites.md).
    #[arg(short = 's', long, value_name = "NAME|FILE")]
    pub suite: Option<String>,
    /// The competitions of low complexity.
    #[arg(long, conflicts_with_all = ["suite", "all"])]
    pub lite: bool,
    /// All competitions of MLE-bench.
    #[arg(short = 'a', long, conflicts_with = "suite")]
    pub all: bool,
    /// A file with one id per line; blank lines and lines that begin with `#` are skipped.
    #[arg(short = 'l', long, value_name = "FILE")]
    pub list: Option<PathBuf>,
}

impl SelectionArgs {
    /// What these flags choose.
    pub fn selection(&self) -> Selection {
        let suite = match (self.lite, self.all) {
            (true, _) => Some(Suite::Low.as_str().to_owned()),
            (_, true) => Some(Suite::All.as_str().to_owned()),
            (false, false) => self.suite.clone(),
        };
        Selection { competitions: self.competitions.clone(), suite, list: self.list.clone() }
    }
}
