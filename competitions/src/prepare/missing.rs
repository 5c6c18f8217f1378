//! Where a raw file is that is not where it must be: in a folder around everything, under a name
//! with other capitals, or in an archive inside the archive. Each is a way in which a download is
//! packed again by hand, and none is mended by fetching it once more.

use std::path::Path;

use crate::archive::ArchiveKind;

/// Where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// All files lie in this folder.
    Folder(String),
    /// There is a file or folder of this name.
    Capitals(String),
    /// It lies in this archive.
    Archive(String),
}

impl Elsewhere {
    /// As the end of the message.
    pub(super) fn found(&self) -> String {
        match self {
            Self::Folder(folder) => format!("; all its files lie in the folder `{folder}/`"),
            Self::Capitals(name) => format!("; there is `{name}`, whose capitals differ"),
            Self::Archive(name) => format!("; it lies in the archive `{name}` inside"),
        }
    }

    /// What to do about it, for raw data at `location`.
    pub(super) fn remedy(&self, location: &Path) -> String {
        let is_folder = location.is_dir();
        let place = location.display();
        match self {
            Self::Folder(folder) if is_folder => format!("give `--raw-dir {place}/{folder}`"),
            Self::Folder(folder) => format!(
                "pack what is in `{folder}/`, not the folder itself; or unpack `{place}` and give `--raw-dir` with that folder"
            ),
            Self::Capitals(_) if is_folder => "rename it".to_owned(),
            Self::Capitals(_) => {
                format!("unpack `{place}`, rename it, and give the folder with `--raw-dir`")
            }
            Self::Archive(name) if is_folder => {
                format!("unpack `{place}/{name}`; if it holds everything, give it with `--raw-zip`")
            }
            Self::Archive(name) => format!(
                "unpack `{place}`; if `{name}` holds everything, give it with `--raw-zip`, else unpack it too and give the folder with `--raw-dir`"
            ),
        }
    }
}

/// What packers of some systems add to an archive.
fn is_clutter(file: &str) -> bool {
    file.starts_with("__MACOSX/")
        || matches!(file.rsplit('/').next(), Some(".DS_Store" | "Thumbs.db" | "desktop.ini"))
}

/// Looks for a raw file or folder where it might be instead. `list` gives all raw files, `inside`
/// those in an archive among them, if it can be looked into.
pub(super) fn look(
    path: &str,
    list: impl FnOnce() -> Option<Vec<String>>,
    inside: impl Fn(&str) -> Option<Vec<String>>,
) -> Option<Elsewhere> {
    // Of a path into an archive, the archive itself is looked for.
    let is_archive = |slash: &usize| ArchiveKind::of_name(&path[..*slash]).is_some();
    let end = path.match_indices('/').map(|(slash, _)| slash).find(is_archive);
    let wanted = path[..end.unwrap_or(path.len())].trim_matches('/');
    if wanted.is_empty() {
        return None;
    }
    let files: Vec<String> = list()?.into_iter().filter(|file| !is_clutter(file)).collect();
    if files.iter().any(|file| is_at(file, wanted)) {
        return None;
    }
    capitals(&files, wanted)
        .or_else(|| top_folder(&files, wanted))
        .or_else(|| inner_archive(&files, wanted, inside))
}

/// Whether a file is the one at a path, or below it.
fn is_at(file: &str, path: &str) -> bool {
    file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn capitals(files: &[String], wanted: &str) -> Option<Elsewhere> {
    let length = wanted.len();
    let same = |file: &&String| {
        file.get(..length).is_some_and(|head| head.eq_ignore_ascii_case(wanted))
            && matches!(file.as_bytes().get(length), None | Some(b'/'))
    };
    files.iter().find(same).map(|file| Elsewhere::Capitals(file[..length].to_owned()))
}

/// The folder in which all files lie, if the wanted one is below it, as such or in other capitals.
fn top_folder(files: &[String], wanted: &str) -> Option<Elsewhere> {
    let mut folder = String::new();
    loop {
        let (next, _) = files.first()?[folder.len()..].split_once('/')?;
        folder = format!("{folder}{next}/");
        if !files.iter().all(|file| file.starts_with(&folder)) {
            return None;
        }
        let below: Vec<String> = files.iter().map(|file| file[folder.len()..].to_owned()).collect();
        if below.iter().any(|file| is_at(file, wanted)) || capitals(&below, wanted).is_some() {
            return Some(Elsewhere::Folder(folder.trim_end_matches('/').to_owned()));
        }
    }
}

fn inner_archive(
    files: &[String],
    wanted: &str,
    inside: impl Fn(&str) -> Option<Vec<String>>,
) -> Option<Elsewhere> {
    /// Archives that are looked into.
    const LOOKED_INTO: usize = 4;
    let archives = || files.iter().filter(|file| ArchiveKind::of_name(file).is_some());
    if let (Some(only), 1) = (archives().next(), files.len()) {
        return Some(Elsewhere::Archive(only.clone()));
    }
    let name = wanted.rsplit('/').next().unwrap_or(wanted);
    let holds = |archive: &&String| {
        let members = inside(archive).unwrap_or_default();
        members.iter().any(|file| is_at(file, wanted) || is_at(file, name))
    };
    archives().take(LOOKED_INTO).find(holds).map(|archive| Elsewhere::Archive(archive.clone()))
}
