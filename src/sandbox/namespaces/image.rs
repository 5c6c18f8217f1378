//! Images from files: OCI layouts, archives of `docker save`, and the programs inside this binary.
//! Their authors are not trusted: every digest is checked, and every text has a limit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::host::files::Hashed;
use crate::sandbox::embedded;

/// Beginnings of references.
const OCI: &str = "oci:";
const ARCHIVE: &str = "docker-archive:";
/// Beginning of the reference of a program inside this binary.
pub const EMBEDDED: &str = "embedded:";
/// The longest index, manifest or config that is read.
const TEXT: u64 = 4 << 20;
/// The most layers of an image.
const LAYERS: usize = 500;
/// The most files of an archive.
const FILES: usize = 100_000;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// There is no such file or tag.
    #[error("{0}")]
    Missing(String),
    /// It is not what it should be.
    #[error("{0}")]
    Bad(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn bad(message: impl Into<String>) -> ImageError {
    ImageError::Bad(message.into())
}

/// An image that is about to be unpacked.
pub(crate) struct Image {
    /// `sha256:…` of its config.
    pub(crate) id: String,
    pub(crate) config: Config,
    layers: Vec<Blob>,
}

/// What an image says of itself.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) config: Option<Settings>,
    #[serde(default)]
    rootfs: RootFs,
}

/// What of an image's settings counts.
#[derive(Debug, Default, Clone, Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Settings {
    /// `NAME=value`.
    #[serde(default)]
    pub(crate) env: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) working_dir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// An index, or a manifest.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Bytes in a file, or in memory.
enum Blob {
    File(PathBuf),
    Part { archive: PathBuf, at: u64, size: u64 },
    Memory(Vec<u8>),
}

impl Blob {
    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::File(path) => Box::new(fs_err::File::open(path)?),
            Self::Part { archive, at, size } => {
                let mut file = fs_err::File::open(archive)?;
                file.seek(SeekFrom::Start(*at))?;
                Box::new(file.take(*size))
            }
            Self::Memory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
        })
    }

    fn text(&self, what: &str) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        self.open()?.take(TEXT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > TEXT {
            return Err(bad(format!("{what} is longer than {TEXT} bytes")));
        }
        Ok(bytes)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| bad(format!("{what} is damaged: {error}")))
}

/// The hexadecimal part of a SHA-256 digest.
fn hex_of(digest: &str) -> Result<&str, ImageError> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    hex.ok_or_else(|| bad(format!("`{digest}` is no digest, expected `sha256:` and 64 digits")))
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// What a reference names: where, and the tag behind it.
#[derive(Debug, PartialEq, Eq)]
enum Reference<'a> {
    Layout(&'a Path, Option<&'a str>),
    Archive(&'a Path, Option<&'a str>),
    Program(&'a str),
}

/// A path, and after it `:TAG` where the whole is no path of its own.
fn split_tag(text: &str) -> (&Path, Option<&str>) {
    match text.split_once(':') {
        Some((path, tag)) if !Path::new(text).exists() => (Path::new(path), Some(tag)),
        _ => (Path::new(text), None),
    }
}

fn read_reference(reference: &str) -> Option<Reference<'_>> {
    if let Some(name) = reference.strip_prefix(EMBEDDED) {
        return Some(Reference::Program(name));
    }
    let (rest, archive) = match reference.strip_prefix(OCI) {
        Some(rest) => (rest, false),
        None => (reference.strip_prefix(ARCHIVE)?, true),
    };
    let (path, tag) = split_tag(rest);
    Some(if archive { Reference::Archive(path, tag) } else { Reference::Layout(path, tag) })
}

/// Whether a reference names an image in files, which needs no engine.
pub fn is_in_files(reference: &str) -> bool {
    [OCI, ARCHIVE, EMBEDDED].iter().any(|begin| reference.starts_with(begin))
}

impl Image {
    /// Opens what a reference names.
    pub(crate) fn open(reference: &str) -> Result<Self, ImageError> {
        match read_reference(reference) {
            Some(Reference::Layout(path, tag)) => Self::in_layout(path, tag),
            Some(Reference::Archive(path, tag)) => Self::in_archive(path, tag),
            Some(Reference::Program(name)) => Ok(Self::of_program(name)),
            None => Err(ImageError::Missing(format!(
                "without a container engine an image is `oci:FOLDER` or `docker-archive:FILE`, and `{reference}` is neither"
            ))),
        }
    }

    fn of_program(name: &str) -> Self {
        let tar = embedded::program_tar(embedded::program(name));
        let digest = sha256(&tar);
        let config = Config {
            architecture: std::env::consts::ARCH.to_string(),
            os: "linux".to_string(),
            config: None,
            rootfs: RootFs { diff_ids: vec![digest.clone()] },
        };
        Self { id: digest, config, layers: vec![Blob::Memory(tar)] }
    }

    fn in_layout(dir: &Path, tag: Option<&str>) -> Result<Self, ImageError> {
        let shown = dir.display();
        let index = dir.join("index.json");
        if !index.is_file() {
            return Err(ImageError::Missing(format!(
                "`{shown}` is no OCI layout: it has no `index.json`"
            )));
        }
        let blob =
            |digest: &str| Ok::<_, ImageError>(dir.join("blobs/sha256").join(hex_of(digest)?));
        let checked = |digest: &str| -> Result<Vec<u8>, ImageError> {
            let path = blob(digest)?;
            let bytes = Blob::File(path.clone()).text(&format!("`{}`", path.display()))?;
            if sha256(&bytes) == digest {
                return Ok(bytes);
            }
            Err(bad(format!("`{}` is not what its name says", path.display())))
        };
        let mut document: Document =
            parse(&Blob::File(index).text("`index.json`")?, &format!("`{shown}/index.json`"))?;
        // An index may name another; a few are enough for anybody.
        for level in 0..4 {
            let Some(manifests) = &document.manifests else { break };
            let chosen = choose(manifests, tag.filter(|_| level == 0), dir)?;
            document = parse(&checked(&chosen.digest)?, &format!("manifest `{}`", chosen.digest))?;
        }
        let (Some(config), Some(layers)) = (document.config, document.layers) else {
            return Err(bad(format!("`{shown}` leads to no manifest of an image")));
        };
        let text = checked(&config.digest)?;
        let layers = layers
            .iter()
            .map(|layer| blob(&layer.digest).map(Blob::File))
            .collect::<Result<_, _>>()?;
        Self::of(&text, layers)
    }

    fn in_archive(path: &Path, tag: Option<&str>) -> Result<Self, ImageError> {
        let shown = path.display();
        if !path.is_file() {
            return Err(ImageError::Missing(format!("there is no file `{shown}`")));
        }
        let mut file = File::open(path)?;
        let mut magic = [0; 2];
        file.read_exact(&mut magic)?;
        if magic == [0x1f, 0x8b] {
            return Err(bad(format!("`{shown}` is compressed; unpack it with `gunzip` first")));
        }
        let parts = parts_of(path)?;
        let part = |name: &str| {
            let found = parts.get(name.trim_start_matches("./"));
            let (at, size) = found.ok_or_else(|| bad(format!("`{shown}` has no `{name}`")))?;
            Ok::<_, ImageError>(Blob::Part { archive: path.to_owned(), at: *at, size: *size })
        };
        let manifest = part("manifest.json")?.text("`manifest.json`")?;
        let images: Vec<Saved> = parse(&manifest, &format!("`manifest.json` in `{shown}`"))?;
        let tags = |image: &Saved| image.repo_tags.clone().unwrap_or_default();
        let named = |image: &&Saved| tag.is_none_or(|tag| tags(image).iter().any(|own| own == tag));
        let mut fitting = images.iter().filter(named);
        let (Some(image), None) = (fitting.next(), fitting.next()) else {
            let all: Vec<String> = images.iter().flat_map(tags).collect();
            return Err(ImageError::Missing(format!(
                "`{shown}` holds `{}`; name one of them behind the file, as `{ARCHIVE}{shown}:TAG`",
                all.join("`, `")
            )));
        };
        let layers = image.layers.iter().map(|name| part(name)).collect::<Result<_, _>>()?;
        Self::of(&part(&image.config)?.text("the image's config")?, layers)
    }

    fn of(config: &[u8], layers: Vec<Blob>) -> Result<Self, ImageError> {
        let id = sha256(config);
        let config: Config = parse(config, "the image's config")?;
        let count = config.rootfs.diff_ids.len();
        if count != layers.len() || count > LAYERS {
            return Err(bad(format!(
                "the image has {} layers and names {count}, expected the same and at most {LAYERS}",
                layers.len()
            )));
        }
        Ok(Self { id, config, layers })
    }

    /// Hands the tar of each layer, the lowest first, to `apply`, and checks that it is the one that
    /// the image names.
    pub(crate) fn each_layer(
        &self,
        mut apply: impl FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<(), ImageError> {
        // All are open before the first is applied: where they are unpacked, these paths lead nowhere.
        let open = self.layers.iter().map(|blob| inflated(blob.open()?));
        let open: Vec<Box<dyn Read>> = open.collect::<io::Result<_>>()?;
        for (layer, expected) in open.into_iter().zip(&self.config.rootfs.diff_ids) {
            let mut hashing = Hashed::new(layer);
            apply(&mut hashing)?;
            // What is behind the end of the tar is part of the digest.
            io::copy(&mut hashing, &mut io::sink())?;
            let found = format!("sha256:{}", hashing.finish().0);
            if found != *expected {
                return Err(bad(format!("a layer is `{found}`, expected `{expected}`")));
            }
        }
        Ok(())
    }
}

/// The manifest of this machine's kind, or the one that has the tag.
fn choose<'a>(
    manifests: &'a [Descriptor],
    tag: Option<&str>,
    dir: &Path,
) -> Result<&'a Descriptor, ImageError> {
    let name = |one: &Descriptor| {
        let names = one.annotations.as_ref()?;
        names.get("org.opencontainers.image.ref.name").cloned()
    };
    let here = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let fits = |one: &&Descriptor| {
        one.platform.as_ref().is_none_or(|it| it.architecture == here && it.os == "linux")
    };
    let tagged: Vec<&Descriptor> =
        manifests.iter().filter(|one| tag.is_none() || name(one).as_deref() == tag).collect();
    let mut fitting = tagged.iter().copied().filter(|one| fits(one));
    match (fitting.next(), fitting.next(), tagged.as_slice()) {
        (Some(one), None, _) => Ok(one),
        (None, None, &[one]) => Ok(one),
        _ => {
            let all: Vec<String> = manifests.iter().filter_map(name).collect();
            Err(ImageError::Missing(format!(
                "`{}` holds `{}`; name one of them behind the folder, as `{OCI}{}:TAG`",
                dir.display(),
                all.join("`, `"),
                dir.display()
            )))
        }
    }
}

/// Where each file of an archive is: its first byte, and its size.
fn parts_of(path: &Path) -> Result<BTreeMap<String, (u64, u64)>, ImageError> {
    let mut archive = tar::Archive::new(File::open(path)?);
    let mut parts = BTreeMap::new();
    let damaged =
        |error: io::Error| bad(format!("`{}` is no archive of images: {error}", path.display()));
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        if parts.len() == FILES {
            return Err(bad(format!("`{}` has more than {FILES} files", path.display())));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let place = (entry.raw_file_position(), entry.size());
        parts.insert(name.trim_start_matches("./").to_string(), place);
    }
    // Older archives name a layer twice, the second time as a link.
    let mut archive = tar::Archive::new(File::open(path)?);
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if let Ok(Some(target)) = entry.link_name()
            && let Some(dir) = Path::new(&name).parent()
            && let Some(place) = parts.get(&joined(dir, &target)).copied()
        {
            parts.insert(name, place);
        }
    }
    Ok(parts)
}

/// A path relative to a folder of the archive, without `..`.
fn joined(dir: &Path, target: &Path) -> String {
    let mut path = dir.to_owned();
    for part in target.components() {
        match part {
            std::path::Component::ParentDir => drop(path.pop()),
            std::path::Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path.to_string_lossy().into_owned()
}

/// A layer as the tar that it is, however it is packed.
fn inflated(mut raw: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    raw.by_ref().take(4).read_to_end(&mut magic)?;
    let (gzip, zstd) = (magic.starts_with(&[0x1f, 0x8b]), magic == [0x28, 0xb5, 0x2f, 0xfd]);
    let whole = io::Cursor::new(magic).chain(raw);
    Ok(if gzip {
        Box::new(flate2::read::MultiGzDecoder::new(whole))
    } else if zstd {
        Box::new(zstd::stream::read::Decoder::new(whole)?)
    } else {
        Box::new(whole)
    })
}
