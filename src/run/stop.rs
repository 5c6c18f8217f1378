//! Wishes to end attempts, from this process or another one: `medalist stop` leaves a file in the
//! group's folder, which also works where harness and person share nothing but that folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::attempt::outcome::CancelReason;
use crate::host::files::{StoreError, if_there, is_listed, write_atomic};
use crate::host::store::GroupDir;

/// Name of the request that means the whole group; no attempt's folder is called so, they end in a
/// UUID.
const WHOLE_GROUP: &str = "all";
/// Between two looks at the requests.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A wish to end what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopRequest {
    /// Everything, and nothing new is started.
    Group(CancelReason),
    /// One attempt; one that has not begun is passed over when its turn comes.
    Attempt {
        /// Its folder below the group's.
        dir: String,
        /// How urgent.
        reason: CancelReason,
    },
}

/// Leaves a request for the harness that runs the group.
///
/// # Errors
/// [`StoreError::Io`] if the group's folder cannot be written.
pub fn request(group: &GroupDir, request: &StopRequest) -> Result<(), StoreError> {
    let (name, reason) = match request {
        StopRequest::Group(reason) => (WHOLE_GROUP, reason),
        StopRequest::Attempt { dir, reason } => (dir.as_str(), reason),
    };
    let folder = group.stop_requests();
    std::fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
        verb: "create",
        path: folder.clone(),
        source,
    })?;
    let word: &[u8] = if *reason == CancelReason::Kill { b"kill\n" } else { b"term\n" };
    write_atomic(&folder.join(name), word)
}

/// True if all attempts of the group were asked to end and no harness has run it since.
pub fn is_stopped(group: &GroupDir) -> bool {
    is_there(&group.stop_requests().join(WHOLE_GROUP))
}

/// Whether there is a request, which another machine may just have left.
fn is_there(request: &Path) -> bool {
    is_listed(request).unwrap_or(false)
}

/// The request that is there for one attempt alone, which is taken, or for the whole group, which
/// stays for the others.
pub fn take_one(group: &GroupDir, dir: &str) -> Vec<StopRequest> {
    let mut requests = Vec::new();
    for (name, reason) in [(WHOLE_GROUP, CancelReason::Interrupt), (dir, CancelReason::Stopped)] {
        let path = group.stop_requests().join(name);
        if !is_there(&path) {
            continue;
        }
        let Ok(word) = std::fs::read(&path) else { continue };
        if name == dir && std::fs::remove_file(&path).is_err() {
            continue;
        }
        let reason = if word.starts_with(b"kill") { CancelReason::Kill } else { reason };
        requests.push(StopRequest::Attempt { dir: dir.to_owned(), reason });
    }
    requests
}

/// Takes the requests that are there.
fn take(group: &GroupDir) -> Vec<StopRequest> {
    let entries = std::fs::read_dir(group.stop_requests()).into_iter().flatten().flatten();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let mut requests = Vec::new();
    for path in paths {
        let Some(name) =
            path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'))
        else {
            continue;
        };
        let kill = std::fs::read(&path).is_ok_and(|word| word.starts_with(b"kill"));
        // One that cannot be removed would be obeyed again and again, by this harness and the next.
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "a request to stop cannot be removed and is ignored");
            continue;
        }
        requests.push(match (name, kill) {
            (WHOLE_GROUP, true) => StopRequest::Group(CancelReason::Kill),
            (WHOLE_GROUP, false) => StopRequest::Group(CancelReason::Interrupt),
            (dir, true) => StopRequest::Attempt { dir: dir.to_owned(), reason: CancelReason::Kill },
            (dir, false) => {
                StopRequest::Attempt { dir: dir.to_owned(), reason: CancelReason::Stopped }
            }
        });
    }
    requests
}

/// Whether an attempt was asked to end, alone or with its group, and nobody has answered yet.
pub fn is_asked(group: &GroupDir, dir: &str) -> bool {
    [WHOLE_GROUP, dir].iter().any(|name| is_there(&group.stop_requests().join(name)))
}

/// Takes back what was asked of the whole group and of these attempts, which are to run again.
///
/// # Errors
/// [`StoreError::Io`] if a request cannot be removed.
pub fn clear<'a>(
    group: &GroupDir,
    dirs: impl IntoIterator<Item = &'a str>,
) -> Result<(), StoreError> {
    for name in dirs.into_iter().chain([WHOLE_GROUP]) {
        let path = group.stop_requests().join(name);
        if_there(std::fs::remove_file(&path)).map_err(StoreError::io("remove", &path))?;
    }
    Ok(())
}

/// Hands requests to the dispatcher until it is gone: all, or those about the only attempt that it
/// runs. What was asked of an earlier harness of the whole group that died is over; what was asked
/// of one attempt before it began is not.
pub async fn watch(group: GroupDir, only: Option<String>, wishes: mpsc::Sender<StopRequest>) {
    let look = || match &only {
        Some(dir) => take_one(&group, dir),
        None => take(&group),
    };
    let mut told = Vec::new();
    match only {
        None => drop(look()),
        // A folder that is not there is looked for by its name, and a network file system remembers for half
        // a minute that it was not.
        Some(_) => drop(std::fs::create_dir_all(group.stop_requests())),
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let found = look();
        // One that stays is obeyed once.
        for request in found.iter().filter(|request| !told.contains(*request)) {
            if wishes.send(request.clone()).await.is_err() {
                return;
            }
        }
        told = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_hands_on_what_is_asked_once_and_of_one_attempt_also_what_was_asked_before() {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        let attempt = |reason| StopRequest::Attempt { dir: "titanic_1".to_owned(), reason };
        for (only, all_of_it) in [
            (None, StopRequest::Group(CancelReason::Interrupt)),
            (Some("titanic_1".to_owned()), attempt(CancelReason::Interrupt)),
        ] {
            request(&group, &attempt(CancelReason::Kill)).unwrap();
            let alone = only.is_some();
            let (sender, mut wishes) = mpsc::channel(4);
            let watching = tokio::spawn(watch(group.clone(), only, sender));
            if alone {
                assert_eq!(wishes.recv().await, Some(attempt(CancelReason::Kill)));
            }
            tokio::time::sleep(LOOK_EVERY / 2).await;
            request(&group, &attempt(CancelReason::Stopped)).unwrap();
            assert_eq!(
                wishes.recv().await,
                Some(attempt(CancelReason::Stopped)),
                "what was asked of an earlier harness of the group is over"
            );
            request(&group, &StopRequest::Group(CancelReason::Interrupt)).unwrap();
            assert_eq!(wishes.recv().await, Some(all_of_it));
            tokio::time::sleep(LOOK_EVERY * 5).await;
            assert!(wishes.try_recv().is_err(), "one that stays is not told again");
            watching.abort();
        }
    }

    #[test]
    fn a_request_is_taken_once() {
        let temp = tempfile::tempdir().unwrap();
        let (group, _) = GroupDir::create(temp.path(), "group").unwrap();
        assert_eq!(take(&group), []);
        let one = |reason| StopRequest::Attempt {
            dir: "titanic_00000000-0000-0000-0000-000000000001".to_owned(),
            reason,
        };
        for wish in [
            one(CancelReason::Stopped),
            one(CancelReason::Kill),
            StopRequest::Group(CancelReason::Kill),
        ] {
            request(&group, &wish).unwrap();
            assert_eq!(take(&group), [wish]);
            assert_eq!(take(&group), []);
        }
    }
}
