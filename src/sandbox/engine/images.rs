//! Images: looked up, pulled, imported from a tar, built from a directory.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::Path;

use axum::body::Bytes;
use bollard::query_parameters::{BuildImageOptions, CreateImageOptions, RemoveImageOptions};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::client::{Engine, EngineError};
use crate::attempt::build_context::{BuildContext, EntryKind};
use crate::attempt::launch::PreparedImage;

/// Chunks of a context that wait for the engine.
const CHUNKS: usize = 16;
/// Bytes of one of them.
const CHUNK: usize = 256 << 10;

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

/// What an image says of itself. All of it is the image's own choice.
#[derive(Debug, Clone, Default)]
pub struct ImageFacts {
    /// What a record keeps of it.
    pub prepared: PreparedImage,
    /// `linux`, ...
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// Paths that it declares as volumes.
    pub volumes: Vec<String>,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// Its `WORKDIR`, empty if it has none.
    pub workdir: String,
}

impl Engine {
    /// An image that is here, by tag, digest or id.
    ///
    /// # Errors
    /// If the engine does not answer; a missing image is `None`.
    pub async fn image(&self, reference: &str) -> Result<Option<PreparedImage>, EngineError> {
        Ok(self.image_facts(reference).await?.map(|facts| facts.prepared))
    }

    /// An image that is here, and what it says of itself.
    ///
    /// # Errors
    /// If the engine does not answer; a missing image is `None`.
    pub async fn image_facts(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        match self.docker.inspect_image(reference).await {
            Ok(found) => {
                let config = found.config.unwrap_or_default();
                Ok(Some(ImageFacts {
                    prepared: PreparedImage {
                        reference: reference.to_string(),
                        id: found.id.unwrap_or_default(),
                        digest: found.repo_digests.unwrap_or_default().into_iter().next(),
                        bytes: found.size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
                    },
                    os: found.os.unwrap_or_default(),
                    architecture: found.architecture.unwrap_or_default(),
                    volumes: config.volumes.unwrap_or_default(),
                    labels: config.labels.unwrap_or_default().into_keys().collect(),
                    workdir: config.working_dir.unwrap_or_default(),
                }))
            }
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
        let whole = futures_util::stream::iter([Bytes::from(context)]);
        self.run_build(request, whole, on_line).await
    }

    /// Builds an image from an agent's folder, which is sent while it is read.
    pub(crate) async fn build_from(
        &self,
        request: &BuildRequest,
        context: BuildContext,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<PreparedImage, EngineError> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let reading = tokio::task::spawn_blocking(move || write_context(&context, sender));
        let chunks = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        let built = self.run_build(request, chunks, on_line).await;
        // A context that could not be read is why the engine saw a broken one.
        match reading.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                let action = format!("build image `{}`", request.tag);
                Err(EngineError::Refused { action, message: error.to_string() })
            }
            _ => built,
        }
    }

    async fn run_build(
        &self,
        request: &BuildRequest,
        context: impl Stream<Item = Bytes> + Send + 'static,
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
            self.docker.build_image(options, None, Some(bollard::body_stream(context)));
        while let Some(step) = progress.next().await {
            let step = step.map_err(|error| Self::error(&action, error))?;
            for line in step.stream.iter().chain(&step.status).flat_map(|text| text.lines()) {
                let line = plain(line);
                if !line.is_empty() {
                    on_line(&line);
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

/// A line of a builder without the colours and cursor moves of the programs that it runs; what they
/// print over is left out.
pub(crate) fn plain(line: &str) -> String {
    let line = anstream::adapter::strip_str(line.trim_end()).to_string();
    let last = line.rsplit('\r').next().unwrap_or_default();
    last.replace(|c: char| c.is_control() && c != '\t', "").trim_end().to_owned()
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

/// Sends what is written in chunks, and waits where the other end is slower.
struct ChunkWriter {
    sender: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Writes the tar of a context, without times and owners, and sparse files in full: the classic
/// builder knows no sparse entries.
fn write_context(context: &BuildContext, sender: mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut builder = tar::Builder::new(ChunkWriter { sender, buffer: Vec::new() });
    builder.mode(tar::HeaderMode::Deterministic);
    builder.sparse(false);
    for entry in &context.entries {
        let mut header = tar::Header::new_gnu();
        let source = context.source(entry);
        match &entry.kind {
            EntryKind::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                builder.append_data(&mut header, &entry.path, io::empty())?;
            }
            EntryKind::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                builder.append_link(&mut header, &entry.path, target)?;
            }
            EntryKind::File { executable } => {
                let mut file = fs_err::File::open(&source)?;
                let size = file.metadata()?.len();
                header.set_mode(if *executable { 0o755 } else { 0o644 });
                header.set_size(size);
                // One that shrinks meanwhile must not shift all that follows.
                let mut whole = io::Read::take(&mut file, size);
                let before = whole.limit();
                builder.append_data(&mut header, &entry.path, &mut whole)?;
                if whole.limit() > 0 {
                    let got = before - whole.limit();
                    let path = source.display();
                    return Err(io::Error::other(format!(
                        "`{path}` shrank from {before} to {got} bytes while it was read"
                    )));
                }
            }
        }
    }
    builder.into_inner()?.flush()
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
    fn a_line_of_a_builder_is_shown_without_colours() {
        assert_eq!(plain("\u{1b}[91mE: no such package\u{1b}[0m\r\n"), "E: no such package");
        assert_eq!(plain(" 10 %\r 90 %\r100 %"), "100 %");
        assert_eq!(plain("Step 1/2 : FROM a"), "Step 1/2 : FROM a");
        assert_eq!(plain("\u{1b}[0m"), "");
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
