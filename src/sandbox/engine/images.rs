//! Images: looked up, pulled, imported from a tar, built from a directory.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use axum::body::Bytes;
use bollard::query_parameters::{BuildImageOptions, CreateImageOptions, RemoveImageOptions};
use futures_util::StreamExt;

use super::client::{Engine, EngineError};
use crate::attempt::launch::PreparedImage;

/// An image to be built.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// `name:tag`.
    pub tag: String,
    /// Path of the Dockerfile in the context.
    pub dockerfile: String,
    /// `ARG`s.
    pub arguments: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Ignore what was built before.
    pub no_cache: bool,
}

impl Engine {
    /// An image that is here, by tag, digest or id.
    ///
    /// # Errors
    /// If the engine does not answer; a missing image is `None`.
    pub async fn image(&self, reference: &str) -> Result<Option<PreparedImage>, EngineError> {
        match self.docker.inspect_image(reference).await {
            Ok(found) => Ok(Some(PreparedImage {
                reference: reference.to_string(),
                id: found.id.unwrap_or_default(),
                digest: found.repo_digests.unwrap_or_default().into_iter().next(),
                bytes: found.size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
            })),
            Err(error) => match Self::error(&format!("image `{reference}`"), error) {
                EngineError::NotFound { .. } => Ok(None),
                other => Err(other),
            },
        }
    }

    /// Pulls an image from its registry.
    ///
    /// # Errors
    /// If it cannot be had.
    pub async fn pull(&self, reference: &str) -> Result<(), EngineError> {
        let options = CreateImageOptions {
            from_image: Some(with_tag(reference)),
            ..CreateImageOptions::default()
        };
        let mut progress = self.docker.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            step.map_err(|error| Self::error(&format!("pull image `{reference}`"), error))?;
        }
        Ok(())
    }

    /// Makes an image of one layer from a tar of its files, as `docker import` does.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub async fn import(&self, tar: Vec<u8>, tag: &str) -> Result<PreparedImage, EngineError> {
        let options = CreateImageOptions {
            from_src: Some("-".to_string()),
            // Podman does not read the parameter `tag` here.
            repo: Some(with_tag(tag)),
            ..CreateImageOptions::default()
        };
        let mut progress = self.docker.create_image(
            Some(options),
            Some(bollard::body_full(Bytes::from(tar))),
            None,
        );
        while let Some(step) = progress.next().await {
            step.map_err(|error| Self::error(&format!("import image `{tag}`"), error))?;
        }
        self.image(tag)
            .await?
            .ok_or_else(|| EngineError::NotFound { what: format!("imported image `{tag}`") })
    }

    /// Builds an image from the tar of a directory ([`tar_directory`]); `on_line` gets what the
    /// builder prints.
    ///
    /// # Errors
    /// If a step fails; the message is the builder's.
    pub async fn build(
        &self,
        request: &BuildRequest,
        context: Vec<u8>,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<PreparedImage, EngineError> {
        let map = |pairs: &BTreeMap<String, String>| -> Option<HashMap<String, String>> {
            (!pairs.is_empty()).then(|| pairs.clone().into_iter().collect())
        };
        let dockerfile =
            if request.dockerfile.is_empty() { "Dockerfile" } else { &request.dockerfile };
        let options = BuildImageOptions {
            dockerfile: dockerfile.to_string(),
            t: Some(request.tag.clone()),
            rm: true,
            forcerm: true,
            nocache: request.no_cache,
            buildargs: map(&request.arguments),
            labels: map(&request.labels),
            ..BuildImageOptions::default()
        };
        let action = format!("build image `{}`", request.tag);
        let mut progress =
            self.docker.build_image(options, None, Some(bollard::body_full(Bytes::from(context))));
        while let Some(step) = progress.next().await {
            let step = step.map_err(|error| Self::error(&action, error))?;
            for line in step.stream.iter().chain(&step.status).flat_map(|text| text.lines()) {
                if !line.trim().is_empty() {
                    on_line(line.trim_end());
                }
            }
        }
        let found = self.image(&request.tag).await?;
        found
            .ok_or_else(|| EngineError::NotFound { what: format!("built image `{}`", request.tag) })
    }

    /// Removes a tag and what only it holds; one that is gone is no error.
    ///
    /// # Errors
    /// If it is in use.
    pub async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        match self.docker.remove_image(reference, Some(options), None).await {
            Ok(_) => Ok(()),
            Err(error) => match Self::error(&format!("remove image `{reference}`"), error) {
                EngineError::NotFound { .. } => Ok(()),
                other => Err(other),
            },
        }
    }
}

/// A pull without a tag would fetch every tag there is.
fn with_tag(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    if name.contains(':') || reference.contains('@') {
        reference.to_string()
    } else {
        format!("{reference}:latest")
    }
}

/// The tar of a directory, in order of names and without times and owners, so that equal files give
/// equal bytes.
///
/// # Errors
/// If a file cannot be read; what is neither file, directory nor link is an error too.
pub fn tar_directory(dir: &Path) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.mode(tar::HeaderMode::Deterministic);
    builder.follow_symlinks(false);
    add_directory(&mut builder, dir, Path::new(""))?;
    builder.into_inner()
}

fn add_directory(builder: &mut tar::Builder<Vec<u8>>, from: &Path, to: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = fs_err::read_dir(from)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let name = to.join(entry.file_name());
        builder.append_path_with_name(entry.path(), &name)?;
        if entry.file_type()?.is_dir() {
            add_directory(builder, &entry.path(), &name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_without_a_tag_get_one() {
        let cases = [
            ("debian", "debian:latest"),
            ("debian:12", "debian:12"),
            ("localhost:5000/debian", "localhost:5000/debian:latest"),
            ("debian@sha256:00", "debian@sha256:00"),
        ];
        for (given, expected) in cases {
            assert_eq!(with_tag(given), expected);
        }
    }

    #[test]
    fn equal_directories_give_equal_tars() {
        let make = || {
            let dir = tempfile::tempdir().unwrap();
            fs_err::create_dir(dir.path().join("sub")).unwrap();
            fs_err::write(dir.path().join("sub/b"), "b").unwrap();
            fs_err::write(dir.path().join("Dockerfile"), "FROM scratch").unwrap();
            tar_directory(dir.path()).unwrap()
        };
        let (first, second) = (make(), make());
        assert_eq!(first, second);
        let mut archive = tar::Archive::new(first.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["Dockerfile", "sub", "sub/b"]);
    }
}
