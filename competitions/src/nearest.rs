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

/// The known names that are nearest to `typed`, whatever the case, nearest first: `count` at most,
/// and none that shares less than a third of its letters with it.
pub(crate) fn closest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    let typed = typed.to_lowercase();
    let length = |text: &str| text.chars().count();
    let mut distances: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| {
            let distance = osa::distance(typed.chars(), name.to_lowercase().chars());
            (distance as f64 / length(&typed).max(length(name)).max(1) as f64, name)
        })
        .filter(|(distance, _)| *distance <= 2.0 / 3.0)
        .collect();
    distances.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    distances.into_iter().take(count).map(|(_, name)| name).collect()
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
