//! Errors for people.

/// An error and its causes in one line; a cause that the text before it ends with is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Said(&'static str, #[source] Option<Box<Said>>);
        let inner = || Some(Box::new(Said("no such file", None)));
        assert_eq!(chain(&Said("cannot read `x`", inner())), "cannot read `x`: no such file");
        assert_eq!(chain(&Said("`x`: no such file", inner())), "`x`: no such file");
    }
}
