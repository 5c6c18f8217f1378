//! Which competitions a command is about.

use std::path::PathBuf;

use medalist_competitions::{Catalogue, CompetitionSpec};

use super::error::{CliError, Exit};
use super::names;
use super::suites::ChosenSuite;

/// What chooses competitions.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Ids.
    pub competitions: Vec<String>,
    /// The name of a suite, or the path of its file.
    pub suite: Option<String>,
    /// A file with one id a line; blank lines and lines that begin with `#` are skipped.
    pub list: Option<PathBuf>,
}

impl Selection {
    /// Whether any of the flags was given.
    pub fn is_given(&self) -> bool {
        !self.competitions.is_empty() || self.suite.is_some() || self.list.is_some()
    }

    /// The suite that was named, if any.
    ///
    /// # Errors
    /// An unknown name, with the nearest one, or a file that cannot be used.
    pub fn suite(&self) -> Result<Option<ChosenSuite>, CliError> {
        self.suite.as_deref().map(ChosenSuite::named).transpose()
    }

    /// The chosen competitions in the order named, each once.
    ///
    /// # Errors
    /// An unknown id (with the nearest known one), an unreadable list, a suite that means other
    /// competitions than those here, or nothing chosen.
    pub fn resolve<'a>(
        &self,
        catalogue: &'a Catalogue,
    ) -> Result<Vec<&'a CompetitionSpec>, CliError> {
        let mut ids = self.competitions.clone();
        if let Some(path) = &self.list {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::new(
                    Exit::BadInput,
                    anyhow::Error::new(error).context(format!("cannot read `{}`", path.display())),
                )
            })?;
            ids.extend(
                text.lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty() && !line.starts_with('#'))
                    .map(str::to_owned),
            );
        }
        if let Some(suite) = self.suite()? {
            let specs = suite.competitions(catalogue)?;
            ids.extend(specs.iter().map(|spec| spec.id.as_str().to_owned()));
        }
        if ids.is_empty() {
            return Err(CliError::message(Exit::Usage, "no competition chosen")
                .hint("name some with `-c ID...`, `--suite NAME`, `--lite`, `--all` or `-l FILE`; `medalist competitions list` shows them"));
        }
        let mut chosen: Vec<&CompetitionSpec> = Vec::new();
        for id in &ids {
            let spec = catalogue.get(id).map_err(names::unknown_competition)?;
            if !chosen.iter().any(|known| known.id == spec.id) {
                chosen.push(spec);
            }
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_once_and_in_order() {
        let catalogue = Catalogue::embedded().unwrap();
        let temp = tempfile::tempdir().unwrap();
        let list = temp.path().join("ids.txt");
        std::fs::write(&list, "# mine\n\nAI4Code\nspaceship-titanic\n").unwrap();
        let selection = Selection {
            competitions: vec!["spaceship-titanic".into()],
            list: Some(list),
            ..Selection::default()
        };
        let ids: Vec<&str> =
            selection.resolve(&catalogue).unwrap().iter().map(|spec| spec.id.as_str()).collect();
        assert_eq!(ids, ["spaceship-titanic", "AI4Code"]);
    }

    #[test]
    fn nothing_and_nonsense_are_refused() {
        let catalogue = Catalogue::embedded().unwrap();
        assert_eq!(Selection::default().resolve(&catalogue).unwrap_err().exit(), Exit::Usage);
        let wrong =
            Selection { competitions: vec!["spaceship-titanc".into()], ..Selection::default() };
        assert!(wrong.resolve(&catalogue).unwrap_err().render().contains("`spaceship-titanic`"));
    }
}
