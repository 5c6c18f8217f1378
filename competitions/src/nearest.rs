//! What somebody who typed a name most likely meant.

use rapidfuzz::distance::osa;

/// The known name that `typed` was most likely meant to be: at most a third of it (and at least
/// one letter) may be wrong, whatever the case.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let distance = |known: &str| osa::distance(typed.chars(), known.to_lowercase().chars());
    known
        .into_iter()
        .map(|known| (distance(known), known))
        .filter(|(distance, known)| *distance <= (known.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `; did you mean ...?`, or nothing.
pub fn suggestion<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["command", "timeout_s", "memory_gb"];
        for (typed, meant) in [
            ("comand", Some("command")),
            ("Command", Some("command")),
            ("commnad", Some("command")),
            ("timeout", Some("timeout_s")),
            ("memory", Some("memory_gb")),
            ("shell", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
