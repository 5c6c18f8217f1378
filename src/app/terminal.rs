//! What the terminals on stdout and stderr can show.

use std::io::IsTerminal as _;

use medalist_reports::table::{Look, wrap};

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

/// A warning's text, folded at blanks below its first word if stderr is a terminal.
pub fn fold(text: &str) -> String {
    let width = terminal_size::terminal_size_of(std::io::stderr());
    width.map_or_else(|| text.to_owned(), |(width, _)| folded(text, usize::from(width.0)))
}

/// The text below `warning: ` in lines of at most `width` columns.
fn folded(text: &str, width: usize) -> String {
    let indent = "warning: ".len();
    wrap(text, width.max(40) - indent, indent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_warning_is_folded_below_its_first_word() {
        let text =
            "no Medium column for `x`: Missing reports for competitions: a, b, c and 35 more";
        for width in [0, 40, 60, 200] {
            let shown = format!("warning: {}", folded(text, width));
            assert!(shown.lines().all(|line| line.len() <= width.max(40)), "{shown}");
            assert!(shown.lines().skip(1).all(|line| line.starts_with("         ")), "{shown}");
            let words: Vec<&str> = shown.split_whitespace().skip(1).collect();
            assert_eq!(words.join(" "), text);
        }
    }
}
