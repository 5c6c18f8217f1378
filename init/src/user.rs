//! Whom the agent runs as: a number that the image's tables name, or a free one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::dir::{Dir, odd};
use crate::protocol::Failure;
use crate::sys;

/// The agent's user name, MLE-bench's.
pub(crate) const NAME: &str = "nonroot";
/// The longest table that is read.
const TABLE: u64 = 4 << 20;
/// The most groups that a user may be in.
const GROUPS: usize = 1000;

/// A user that is not root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) group: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
    /// True if the image's tables do not have it.
    pub(crate) added: bool,
}

impl User {
    /// The user of the image, or one that is added to its tables where they can be written.
    pub(crate) fn choose(root: &Dir) -> Result<Self, Failure> {
        let passwd = table("/etc/passwd")?;
        let user = Self::of(&passwd, &table("/etc/group")?)?;
        if user.added {
            let (id, home) = (user.id, &user.home);
            append(root, "passwd", &format!("{NAME}:x:{id}:{id}::{home}:/bin/sh\n"));
            append(root, "group", &format!("{NAME}:x:{id}:\n"));
        }
        Ok(user)
    }

    fn of(passwd: &str, groups: &str) -> Result<Self, Failure> {
        let rows = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let Some(row) = rows().find(|row| row[0] == NAME) else {
            let taken =
                |id: u32| rows().any(|row| row.get(2).is_some_and(|text| *text == id.to_string()));
            let id = (1000..2000).find(|id| !taken(*id)).unwrap_or(1000);
            let home = format!("/home/{NAME}");
            return Ok(Self { id, group: id, groups: vec![id], home, added: true });
        };
        let [_, _, id, group, _, home, ..] = row.as_slice() else {
            return Err(Failure::image(format!("`/etc/passwd` has no whole row for `{NAME}`")));
        };
        let id = number(id, "user", "/etc/passwd")?;
        let group = number(group, "group", "/etc/passwd")?;
        let mut all = vec![group];
        for line in groups.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if let [_, _, id, members] = fields.as_slice()
                && members.split(',').any(|member| member.trim() == NAME)
            {
                let id = number(id, "group", "/etc/group")?;
                if !all.contains(&id) {
                    all.push(id);
                }
            }
        }
        if all.len() > GROUPS {
            return Err(Failure::image(format!("`{NAME}` is in more than {GROUPS} groups")));
        }
        let sound = home.starts_with('/') && home.len() < 4096;
        let home = if sound { (*home).to_string() } else { format!("/home/{NAME}") };
        Ok(Self { id, group, groups: all, home, added: false })
    }

    /// The name of its own directory in /home, if that is where it is.
    pub(crate) fn own_directory(&self) -> Option<&str> {
        let name = self.home.strip_prefix("/home/")?.trim_end_matches('/');
        let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        plain.then_some(name)
    }
}

/// A user or group number. Root's is none, and 4294967295 means "leave it as it is" to the kernel.
fn number(text: &str, what: &str, path: &str) -> Result<u32, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u32>().ok().filter(|_| digits);
    number.filter(|number| *number != 0 && *number != u32::MAX).ok_or_else(|| {
        let most = u32::MAX - 1;
        Failure::image(format!(
            "`{path}` gives `{NAME}` the {what} number `{text}`, expected 1 to {most}"
        ))
    })
}

/// A table of the image, empty if it has none. It may be a link, for it is only read.
fn table(path: &str) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::image(format!("cannot read `{path}` of the image: {error}"))
    };
    let file = match File::options().read(true).custom_flags(sys::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let facts = file.metadata().map_err(unreadable)?;
    if !facts.is_file() {
        return Err(odd(Path::new(path), &facts, "a plain file"));
    }
    let mut bytes = Vec::new();
    file.take(TABLE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > TABLE {
        return Err(Failure::image(format!("`{path}` of the image is longer than {TABLE} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds a line to a table of the image if it is a plain file with one name, or not there. Otherwise
/// the agent runs under a number without a name, which is enough.
fn append(root: &Dir, table: &str, line: &str) {
    let add = || -> Result<(), Failure> {
        let etc = root.dir_or_new("etc")?;
        let mut file = match etc.look(table)? {
            Some(facts) if facts.is_file() && facts.nlink() == 1 => {
                etc.plain_file(table, File::options().append(true))?
            }
            Some(_) => return Ok(()),
            None => etc.new_file(table, 0o644)?,
        };
        let _ = file.write_all(line.as_bytes());
        Ok(())
    };
    let _ = add();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Blame;

    #[test]
    fn the_images_own_user_is_taken_with_its_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnonroot:x:1001:1002:a,b:/home/me:/bin/sh\n";
        let groups = "video:x:44:other,nonroot\nnone:x:45:\nsame:x:1002:nonroot\n";
        let user = User::of(passwd, groups).unwrap();
        assert_eq!((user.id, user.group, user.groups.as_slice()), (1001, 1002, &[1002, 44][..]));
        assert_eq!((user.own_directory(), user.added), (Some("me"), false));
    }

    #[test]
    fn numbers_that_are_root_or_nobody_at_all_are_refused() {
        for bad in ["0", "4294967295", "-1", "+5", "00", " 7", "7 ", "4294967296", "", "x", "１"] {
            let rows = [
                (format!("nonroot:x:{bad}:5::/h:/bin/sh"), String::new()),
                (format!("nonroot:x:5:{bad}::/h:/bin/sh"), String::new()),
                ("nonroot:x:5:5::/h:/bin/sh".to_string(), format!("g:x:{bad}:nonroot")),
            ];
            for (passwd, group) in rows {
                let error = User::of(&passwd, &group).unwrap_err();
                assert_eq!(error.blame, Blame::Image, "{passwd} {group}");
                assert!(error.message.contains(bad), "{}", error.message);
            }
        }
        assert!(User::of("nonroot:x:5", "").unwrap_err().message.contains("no whole row"));
    }

    #[test]
    fn without_one_a_free_number_is_taken() {
        let user = User::of("a:x:1000:1\nb:x:1001:1\n", "").unwrap();
        assert_eq!((user.id, user.group, user.added), (1002, 1002, true));
        assert_eq!(User::of("", "").unwrap().id, 1000);
    }

    #[test]
    fn only_a_home_below_home_is_made() {
        for (home, name) in [
            ("/home/nonroot", Some("nonroot")),
            ("/home/nonroot/", Some("nonroot")),
            ("/home/..", None),
            ("/home/", None),
            ("/home/a/b", None),
            ("/proc/1", None),
        ] {
            let user = User::of(&format!("nonroot:x:5:5::{home}:/bin/sh"), "").unwrap();
            assert_eq!(user.own_directory(), name, "{home}");
        }
        assert_eq!(User::of("nonroot:x:5:5::../x:", "").unwrap().home, "/home/nonroot");
    }
}
