//! What every member of an archive must pass before it is written.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::ArchiveError;

/// Archives up to this unpacked size may be packed as tightly as they like.
const ALWAYS_ALLOWED: u64 = 1 << 30;
/// Beyond it, data sets do not shrink more than this; deflate alone ends at about 1000.
const LARGEST_RATIO: u64 = 200;

/// A relative path without tricks: no root, no `..`, no empty name, no zero byte.
pub(crate) fn safe_path(name: &str) -> Result<PathBuf, &'static str> {
    if name.contains('\0') {
        return Err("its name contains a zero byte");
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("its name contains `..`"),
            Component::RootDir | Component::Prefix(_) => {
                return Err("its name is an absolute path");
            }
        }
    }
    // A Windows drive letter or a backslash that climbs out is no danger here, but an archive with
    // one is not a data set.
    let backslashed = name.split(['/', '\\']).any(|part| part == "..");
    let drive =
        matches!(name.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    if backslashed || drive || name.starts_with('\\') {
        return Err("its name is a Windows path that leaves the folder");
    }
    if path.as_os_str().is_empty() {
        return Err("its name is empty");
    }
    Ok(path)
}

/// Watches over the members of one archive.
pub(crate) struct Guard<'a> {
    archive: &'a str,
    packed: u64,
    unpacked: u64,
    ignores_case: bool,
    seen: HashMap<String, String>,
}

impl<'a> Guard<'a> {
    /// For an archive of `packed` bytes whose members go to a place that may ignore case.
    pub(crate) fn new(archive: &'a str, packed: u64, ignores_case: bool) -> Self {
        Self { archive, packed, unpacked: 0, ignores_case, seen: HashMap::new() }
    }

    pub(crate) fn refuse(&self, member: &str, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Refused {
            archive: self.archive.to_owned(),
            member: member.to_owned(),
            what: what.into(),
        }
    }

    /// The relative path of a member, unless its name is unsafe or that of another one.
    pub(crate) fn name(&mut self, member: &str) -> Result<PathBuf, ArchiveError> {
        let path = safe_path(member).map_err(|what| self.refuse(member, what))?;
        let key = path.to_string_lossy();
        let key = if self.ignores_case { key.to_lowercase() } else { key.into_owned() };
        if let Some(other) = self.seen.insert(key, member.to_owned()) {
            let what = match other == member {
                true => "it is there twice".to_owned(),
                false => format!("this file system does not tell it from `{other}`"),
            };
            return Err(self.refuse(member, what));
        }
        Ok(path)
    }

    /// As [`name`](Self::name), but where names that differ in case do not collide, it is for the
    /// caller to see that none is there twice: a list of millions need not be held here as well.
    pub(crate) fn member(&mut self, member: &str) -> Result<PathBuf, ArchiveError> {
        match self.ignores_case {
            true => self.name(member),
            false => safe_path(member).map_err(|what| self.refuse(member, what)),
        }
    }

    /// Counts unpacked bytes, announced or written.
    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        let allowed = ALWAYS_ALLOWED.max(self.packed.saturating_mul(LARGEST_RATIO));
        if self.unpacked > allowed {
            return Err(ArchiveError::Bomb {
                archive: self.archive.to_owned(),
                what: format!(
                    "{} bytes would unpack to more than {allowed}, {LARGEST_RATIO} times as much",
                    self.packed
                ),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for name in ["a", "a/b.csv", "./a", "a//b", "Common wheat/x.png", "a..b", "..a", "a\\b"] {
            assert!(safe_path(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../a",
            "a/../../b",
            "a/..",
            "/etc/passwd",
            "a\0b",
            "..\\a",
            "C:\\a",
            "C:/a",
            "\\\\host\\a",
        ] {
            assert!(safe_path(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_may_not_collide() {
        let mut guard = Guard::new("a.zip", 10, false);
        assert!(guard.name("x/a.png").is_ok());
        assert!(guard.name("x/A.png").is_ok());
        assert!(guard.name("x//a.png").is_err());
        let mut guard = Guard::new("a.zip", 10, true);
        assert!(guard.name("x/a.png").is_ok());
        let error = guard.name("X/A.png").unwrap_err().to_string();
        assert_eq!(
            error,
            "member `X/A.png` of `a.zip` is refused: this file system does not tell it from `x/a.png`"
        );
    }

    #[test]
    fn sizes_are_bounded() {
        let mut small = Guard::new("a.zip", 1000, false);
        assert!(small.size(1 << 30).is_ok());
        assert!(small.size(1).is_err());
        let mut large = Guard::new("a.zip", 100 << 20, false);
        assert!(large.size(15 << 30).is_ok());
        assert!(large.size(u64::MAX).is_err());
    }
}
