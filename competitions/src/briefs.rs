//! Which text describes a competition to the agent: our own brief, or MLE-bench's description that
//! the user imported.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::{CompetitionSpec, SpecError, read_text};
use crate::{CompetitionId, DataDir};

/// Who wrote the text that an agent gets as `description.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BriefSource {
    /// The brief of the catalogue.
    Catalogue,
    /// Another text that was found with the prepared data, as MLE-bench's own preparation leaves
    /// one.
    Prepared,
    /// MLE-bench's description, imported from the user's own checkout.
    MleBench,
    /// MLE-bench's description with the competition's origin disguised.
    MleBenchObfuscated,
}

impl BriefSource {
    /// The words used in tables and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Catalogue => "catalogue",
            Self::Prepared => "prepared",
            Self::MleBench => "mle-bench",
            Self::MleBenchObfuscated => "mle-bench-obfuscated",
        }
    }

    /// The file in which an imported text of this source is kept.
    const fn file_name(self) -> Option<&'static str> {
        match self {
            Self::Catalogue | Self::Prepared => None,
            Self::MleBench => Some("description.md"),
            Self::MleBenchObfuscated => Some("description_obfuscated.md"),
        }
    }
}

/// The text that an agent gets, and who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief<'a> {
    /// Markdown.
    pub text: Cow<'a, str>,
    /// Who wrote it.
    pub source: BriefSource,
}

/// Where an imported text lies: beside the competition's prepared data, where preparing again does
/// not touch it.
///
/// `None` for sources that are not imported.
pub fn imported_brief_path(
    data_dir: &Path,
    id: &CompetitionId,
    source: BriefSource,
) -> Option<PathBuf> {
    let home = DataDir::new(data_dir).competition(id);
    source.file_name().map(|name| home.root().join(name))
}

impl CompetitionSpec {
    /// The text that an agent gets: an imported one if there is one (the disguised one first), else
    /// the one beside the prepared data, else the brief.
    ///
    /// # Errors
    /// A text cannot be read.
    pub fn brief_in(&self, data_dir: &Path) -> Result<Option<Brief<'_>>, SpecError> {
        for source in [BriefSource::MleBenchObfuscated, BriefSource::MleBench] {
            let path = imported_brief_path(data_dir, &self.id, source);
            if let Some(text) = path.map(|path| read_text(&path)).transpose()?.flatten() {
                return Ok(Some(Brief { text: Cow::Owned(text), source }));
            }
        }
        let prepared = DataDir::new(data_dir).public(&self.id).join("description.md");
        if let Some(text) = read_text(&prepared)?.filter(|text| self.brief() != Some(text)) {
            return Ok(Some(Brief { text: Cow::Owned(text), source: BriefSource::Prepared }));
        }
        Ok(self
            .brief()
            .map(|text| Brief { text: Cow::Borrowed(text), source: BriefSource::Catalogue }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    #[test]
    fn an_imported_text_takes_precedence() {
        let catalogue = Catalogue::embedded().expect("the catalogue is well-formed");
        let spec = catalogue.get("aerial-cactus-identification").expect("it is in the catalogue");
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let source =
            || spec.brief_in(dir.path()).expect("it is readable").map(|brief| brief.source);
        assert_eq!(source(), Some(BriefSource::Catalogue));
        let prepared = dir.path().join(spec.id.as_str()).join("prepared/public");
        fs_err::create_dir_all(&prepared).expect("the directory is writable");
        for (text, found) in
            [(spec.brief(), BriefSource::Catalogue), (Some("official"), BriefSource::Prepared)]
        {
            fs_err::write(prepared.join("description.md"), text.unwrap_or_default())
                .expect("the directory is writable");
            assert_eq!(source(), Some(found));
        }
        for imported in [BriefSource::MleBench, BriefSource::MleBenchObfuscated] {
            let path =
                imported_brief_path(dir.path(), &spec.id, imported).expect("it is kept in a file");
            fs_err::create_dir_all(path.parent().expect("it has a folder"))
                .expect("the directory is writable");
            fs_err::write(path, "official").expect("the directory is writable");
            assert_eq!(source(), Some(imported));
        }
    }
}
