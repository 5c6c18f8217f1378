//! Facts as text, the same everywhere.

pub use medalist_grading::chain;

/// A length of time as a person would say it, the same as in reports.
pub fn duration(length: std::time::Duration) -> String {
    seconds(length.as_secs_f64())
}

/// As [`duration`], of seconds.
pub fn seconds(seconds: f64) -> String {
    medalist_reports::text::duration(Some(seconds.max(0.0)))
}

/// A word as a shell reads it as one.
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(shell_word("runs/2026-11-29_a"), "runs/2026-11-29_a");
        assert_eq!(shell_word("my runs/a"), "'my runs/a'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
