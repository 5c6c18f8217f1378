//! Names that a person types: the thing that is meant, or an error with the nearest name.

use medalist_competitions::{
    CatalogueError, CompetitionSpec, Complexity, Modality, Suite, suggestion,
};
use medalist_grading::{METRICS, Metric};

use super::error::{CliError, Exit};

/// Other words for suites that MLE-bench's users know.
const OTHER_SUITES: [&str; 2] = ["lite", "split75"];

/// An unknown name of a kind, with the nearest of those there are and all of them.
pub fn unknown(what: &str, typed: &str, known: &[&str]) -> CliError {
    let suggested = suggestion(typed, known.iter().copied());
    CliError::message(Exit::BadInput, format_args!("there is no {what} `{typed}`{suggested}"))
        .hint(format!("expected one of `{}`", known.join("`, `")))
}

/// A catalogue's error as the command line shows it.
pub fn unknown_competition(error: CatalogueError) -> CliError {
    CliError::new(Exit::BadInput, anyhow::Error::new(error))
        .hint("`medalist competitions list` shows all ids")
}

/// Fails if choices of a competition are open.
///
/// # Errors
/// The list of them, with the exit code of open choices.
pub fn settled(spec: &CompetitionSpec) -> Result<(), CliError> {
    spec.settled().map_err(|open| {
        let remedy = open.remedy();
        CliError::new(Exit::Open, open).hint(remedy)
    })
}

/// The suite of a name.
///
/// # Errors
/// [`unknown`].
pub fn suite(typed: &str) -> Result<Suite, CliError> {
    let known: Vec<&str> =
        Suite::ALL.iter().map(|suite| suite.as_str()).chain(OTHER_SUITES).collect();
    typed.parse().map_err(|_| unknown("suite", typed, &known))
}

/// The modality of a name.
///
/// # Errors
/// [`unknown`].
pub fn modality(typed: &str) -> Result<Modality, CliError> {
    let known: Vec<&str> = Modality::ALL.iter().map(|modality| modality.as_str()).collect();
    typed.parse().map_err(|_| unknown("modality", typed, &known))
}

/// The complexity of a name.
///
/// # Errors
/// [`unknown`].
pub fn complexity(typed: &str) -> Result<Complexity, CliError> {
    let known: Vec<&str> = Complexity::ALL.iter().map(|complexity| complexity.as_str()).collect();
    typed.parse().map_err(|_| unknown("complexity", typed, &known))
}

/// The metric of a name or alias.
///
/// # Errors
/// [`unknown`].
pub fn metric(typed: &str) -> Result<&'static Metric, CliError> {
    Metric::find(typed).ok_or_else(|| {
        let known = METRICS.iter().flat_map(|metric| metric.aliases.iter().chain([&metric.name]));
        let known: Vec<&str> = known.copied().collect();
        let suggested = suggestion(typed, known.iter().copied());
        CliError::message(Exit::BadInput, format_args!("there is no metric `{typed}`{suggested}"))
            .hint("`medalist metrics` lists them")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_bad_input_with_the_nearest_one() {
        let cases = [
            (suite("litte").map(drop), "`lite`"),
            (suite("systemcrad").map(drop), "`systemcard`"),
            (modality("tabluar").map(drop), "`tabular`"),
            (complexity("hihg").map(drop), "`high`"),
            (metric("log-los").map(drop), "did you mean `log"),
        ];
        for (result, nearest) in cases {
            let error = result.unwrap_err();
            assert_eq!(error.exit(), Exit::BadInput);
            let first = error.render().lines().next().unwrap_or_default().to_owned();
            assert!(first.contains("did you mean") && first.contains(nearest), "{first}");
        }
        assert!(!suite("xyzzy").unwrap_err().render().contains("did you mean"));
        assert_eq!(suite("lite").unwrap(), Suite::Low);
    }
}
