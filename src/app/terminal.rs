//! What the terminal on stdout can show.

use std::io::IsTerminal as _;

use medalist_reports::table::Look;

/// How wide output may be: `COLUMNS`, else the terminal on stdout, else no limit (a pipe or a
/// file).
pub fn output_width() -> usize {
    let stated = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .filter(|&columns| columns > 0);
    stated
        .or_else(|| {
            terminal_size::terminal_size_of(std::io::stdout())
                .map(|(width, _)| usize::from(width.0))
        })
        .unwrap_or(usize::MAX)
}

/// What the terminal on stdout shows: its width, and colours unless `NO_COLOR` is set or it knows
/// none. Pipes and files get 80 columns.
pub fn look() -> Look {
    let width = output_width();
    Look {
        width: if width == usize::MAX { Look::default().width } else { width.max(40) },
        colour: std::io::stdout().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}
