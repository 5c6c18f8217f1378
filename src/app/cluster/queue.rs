//! The scheduler's last answer, kept in the group's folder, so that however many look, it is asked once a
//! minute.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::follow::write_aside;
use super::order;
use crate::host::files::read_json_if_there;
use crate::host::scheduler::{Scheduler, Seen};
use crate::host::store::GroupDir;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(60);

/// What a scheduler said, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
    /// Jobs that wait or run.
    pub seen: Vec<Seen>,
    /// Why it did not answer, if it did not; then the jobs are those of an earlier answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
}

fn path(group: &GroupDir) -> std::path::PathBuf {
    order::folder(group).join("queue.json")
}

/// Keeps an answer for others.
pub(super) fn keep(group: &GroupDir, seen: &[Seen]) {
    write_aside(&path(group), &Queue { asked_at: Utc::now(), seen: seen.to_vec(), away: None });
}

/// The scheduler's answer, at most a minute old.
pub fn look(group: &GroupDir, scheduler: &dyn Scheduler, names: &[String]) -> Queue {
    let kept: Option<Queue> = read_json_if_there(&path(group)).unwrap_or_default();
    let age = |queue: &Queue| (Utc::now() - queue.asked_at).to_std().unwrap_or(Duration::ZERO);
    if let Some(queue) = kept.clone().filter(|queue| age(queue) < FRESH) {
        return queue;
    }
    let queue = match scheduler.queue(names) {
        Ok(seen) => Queue { asked_at: Utc::now(), seen, away: None },
        Err(away) => Queue {
            asked_at: Utc::now(),
            seen: kept.map(|queue| queue.seen).unwrap_or_default(),
            away: Some(away.to_string()),
        },
    };
    write_aside(&path(group), &queue);
    queue
}
