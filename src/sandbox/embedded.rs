//! Agents that this binary carries, and images made of them or of an agent's Dockerfile.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::attempt::agents::WHEELS;
use crate::attempt::build_context::{BuildContext, base_images, needs_buildkit};
use crate::attempt::launch::ExecutorError;
use crate::sandbox::engine::{BuildRequest, Engine, EngineError, plain};

/// The programs of the built-in agents, compiled by the build script as static binaries.
const PROGRAMS: [(&str, &[u8]); 3] = [
    ("sample", include_bytes!(env!("MEDALIST_AGENT_SAMPLE"))),
    ("baseline", include_bytes!(env!("MEDALIST_AGENT_BASELINE"))),
    ("reference", include_bytes!(env!("MEDALIST_AGENT_REFERENCE"))),
];

/// How much of a builder's output a failure quotes.
const LAST_LINES: usize = 10;
/// Where the program is in an image made of it.
const PROGRAM_PATH: &str = "agent";

/// The bytes of an embedded program.
///
/// # Panics
/// If it is none of them.
pub(crate) fn program(name: &str) -> &'static [u8] {
    let known = PROGRAMS.iter().find(|(known, _)| *known == name);
    known.expect("reading agents refuses programs that are not embedded").1
}

/// The image reference of an embedded agent: its tag is the program's hash, so that a new version
/// never meets an old image.
pub fn image_reference(image: &str, name: &str) -> String {
    format!("{image}:{}", &hex::encode(Sha256::digest(program(name)))[..12])
}

/// Writes an embedded program to a file of its own, which is removed when the value is dropped.
///
/// # Errors
/// The system's.
pub fn write_program(name: &str) -> std::io::Result<tempfile::TempPath> {
    let mut file = tempfile::Builder::new().prefix(&format!("medalist-{name}-")).tempfile()?;
    file.write_all(program(name))?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o755))?;
    // A file that is open for writing cannot be executed.
    Ok(file.into_temp_path())
}

/// Makes the image of an embedded agent unless it is here, and gives its reference: the program alone,
/// no shell, no library; or the program on top of another image, whose hash is then in the tag, too.
///
/// # Errors
/// The engine's, and a base that is neither here nor can be pulled.
pub async fn ensure_program_image(
    engine: &Engine,
    reference: &str,
    name: &str,
    base: Option<&str>,
) -> Result<String, ExecutorError> {
    let Some(base) = base else {
        if engine.image(reference).await?.is_none() {
            engine.import(program_tar(program(name)), reference).await?;
        }
        return Ok(reference.to_owned());
    };
    let id = base_id(engine, base, Path::new(name)).await?;
    let reference = format!("{reference}-{}", &hex::encode(Sha256::digest(id))[..12]);
    if engine.image(&reference).await?.is_none() {
        let request = BuildRequest { tag: reference.clone(), ..BuildRequest::default() };
        let dockerfile = format!("FROM {base}\nCOPY {PROGRAM_PATH} /{PROGRAM_PATH}\n");
        let files =
            [("Dockerfile", 0o644, dockerfile.as_bytes()), (PROGRAM_PATH, 0o755, program(name))];
        engine.build(&request, files_tar(files), &mut |_| {}).await?;
    }
    Ok(reference)
}

/// What the image of an agent's folder is made of.
#[derive(Debug, Clone, Copy)]
pub struct FolderImage<'a> {
    /// Its name, whose tag holds the hash of the files.
    pub image: &'a str,
    /// The folder.
    pub dir: &'a Path,
    /// The Dockerfile's path below it.
    pub dockerfile: &'a Path,
    /// What the plan says of the files.
    pub files_sha256: &'a str,
}

impl FolderImage<'_> {
    fn path(&self) -> PathBuf {
        self.dir.join(self.dockerfile)
    }

    fn unreadable(&self, source: std::io::Error) -> ExecutorError {
        ExecutorError::Engine {
            action: format!("read the build context `{}`", self.dir.display()),
            source: Box::new(source),
        }
    }

    fn text(&self) -> Result<String, ExecutorError> {
        fs_err::read_to_string(self.path()).map_err(|error| self.unreadable(error))
    }

    /// The images that it builds upon.
    ///
    /// # Errors
    /// The Dockerfile cannot be read.
    pub fn bases(&self) -> Result<Vec<String>, ExecutorError> {
        Ok(base_images(&self.text()?, &arguments()))
    }

    /// The reference of the image: its name with the hash of the images that it builds upon, which are
    /// pulled if need be. An image that is there under this name was made of exactly these.
    ///
    /// # Errors
    /// The engine's, and a Dockerfile that this engine cannot build.
    pub async fn reference(&self, engine: &Engine) -> Result<String, ExecutorError> {
        let text = self.text()?;
        let podman = engine.info().await?.podman;
        if let Some((line, what)) = needs_buildkit(&text).filter(|_| !podman) {
            let path = self.path();
            let path = path.display();
            let what = format!(
                "`{path}` line {line} uses `{what}`, which only BuildKit builds and this engine's own builder does not; build \
                 the image yourself (`docker buildx build`) and name it in agent.toml with `build = \"image\"`"
            );
            return Err(ExecutorError::Unsupported { what });
        }
        let mut bases = Sha256::new();
        for base in base_images(&text, &arguments()) {
            bases.update(base_id(engine, &base, &self.path()).await?);
        }
        Ok(format!("{}-{}", self.image, &hex::encode(bases.finalize())[..12]))
    }

    /// Builds the image under its reference. `wheels` is a folder of packages that is put into the build
    /// context; `log` gets all that the builder prints.
    ///
    /// # Errors
    /// The engine's; a step that fails is quoted. Files that are not those of the plan are refused.
    pub async fn build(
        &self,
        engine: &Engine,
        reference: &str,
        wheels: Option<&Path>,
        log: &Path,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), ExecutorError> {
        let context = read_context(self.dir, self.dockerfile, self.files_sha256).await;
        let Some(mut context) = context.map_err(|error| self.unreadable(error))? else {
            let what = format!(
                "the files in `{}` have changed since this group was planned; plan a new one for them",
                self.dir.display()
            );
            return Err(ExecutorError::Unsupported { what });
        };
        for odd in &context.left_out {
            on_line(&format!("`{}` is no file and is left out", odd.display()));
        }
        if let Some(wheels) = wheels {
            context.add(wheels, Path::new(WHEELS)).map_err(|error| self.unreadable(error))?;
        }
        let request = BuildRequest {
            tag: reference.to_owned(),
            dockerfile: self.dockerfile.to_string_lossy().into_owned(),
            arguments: arguments(),
            ..BuildRequest::default()
        };
        let mut file = fs_err::File::create(log)?;
        let mut last = VecDeque::new();
        let mut keep = |line: &str| {
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line.to_owned());
            // A log that cannot be written is no reason to give up a build.
            let _ = writeln!(file, "{line}");
            on_line(line);
        };
        match engine.build_from(&request, context, &mut keep).await {
            Ok(_) => Ok(()),
            Err(EngineError::Refused { message, .. }) => {
                let cause = plain(&message);
                let _ = writeln!(file, "{cause}");
                Err(ExecutorError::BuildFailed {
                    dockerfile: self.path().display().to_string(),
                    cause,
                    last_lines: last.into(),
                    log: log.to_owned(),
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// MLE-bench's Dockerfiles take these as build arguments; the values are its own.
fn arguments() -> BTreeMap<String, String> {
    let arguments = [
        ("SUBMISSION_DIR", "/home/submission"),
        ("LOGS_DIR", "/home/logs"),
        ("CODE_DIR", "/home/code"),
        ("AGENT_DIR", "/home/agent"),
    ];
    arguments.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The folder, unless it no longer is what the plan says.
async fn read_context(
    dir: &Path,
    dockerfile: &Path,
    files_sha256: &str,
) -> std::io::Result<Option<BuildContext>> {
    let (dir, dockerfile) = (dir.to_owned(), dockerfile.to_owned());
    let expected = files_sha256.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let context = BuildContext::read(&dir, &dockerfile)?;
        Ok((context.sha256()? == expected).then_some(context))
    });
    reading.await.map_err(std::io::Error::other)?
}

/// The id of an image that a Dockerfile builds upon, which is pulled if it is not here.
async fn base_id(engine: &Engine, base: &str, dockerfile: &Path) -> Result<String, ExecutorError> {
    if let Some(found) = engine.image(base).await? {
        return Ok(found.id);
    }
    let missing = |cause: String| ExecutorError::ImageMissing {
        image: base.to_owned(),
        hint: format!(
            "`{}` builds upon it: build or `docker load` it, or pull it where a registry can be reached{cause}",
            dockerfile.display()
        ),
    };
    engine.pull(base).await.map_err(|error| missing(format!(" ({error})")))?;
    let found = engine.image(base).await?.ok_or_else(|| missing(String::new()))?;
    Ok(found.id)
}

/// The tar of a build context: names, modes and contents.
fn files_tar<const N: usize>(files: [(&str, u32, &[u8]); N]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, bytes).expect("writing to memory does not fail");
    }
    builder.into_inner().expect("writing to memory does not fail")
}

/// The tar of an image that holds one program and the directories that programs expect.
pub(crate) fn program_tar(program: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, bytes).expect("writing to memory does not fail");
    };
    for (dir, mode) in [("home", 0o755), ("tmp", 0o1777), ("etc", 0o755)] {
        add(dir, tar::EntryType::Directory, mode, &[]);
    }
    add(PROGRAM_PATH, tar::EntryType::Regular, 0o755, program);
    builder.into_inner().expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_programs_run_here_and_their_images_hold_them_alone() {
        for (name, bytes) in PROGRAMS {
            assert_eq!(&bytes[..4], b"\x7fELF", "{name}");
            let path = write_program(name).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0o111);
            let tar = program_tar(bytes);
            let mut archive = tar::Archive::new(&tar[..]);
            let names: Vec<String> = archive
                .entries()
                .unwrap()
                .map(|entry| entry.unwrap().path().unwrap().display().to_string())
                .collect();
            assert_eq!(names, ["home", "tmp", "etc", "agent"]);
        }
        assert!(image_reference("medalist/sample", "sample").starts_with("medalist/sample:"));
    }
}
