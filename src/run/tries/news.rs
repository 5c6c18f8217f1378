//! What happens in a try: into its record, and to the dispatcher.

use std::path::Path;

use medalist_grading::untrusted::Shown;
use medalist_reports::export::end_of;
use medalist_reports::record::{AttemptRecord, PhaseRecord, SnapshotRecord};
use tokio::sync::mpsc;

use crate::attempt::dir::AttemptDir;
use crate::host::files::{StoreError, write_json};
use crate::run::attempt_record::finish_try;
use crate::run::clock::AttemptEvent;
use crate::run::messages::{AttemptMessage, AttemptUpdate};

/// What an attempt's task tells the dispatcher.
pub(super) struct News {
    /// Folder of the attempt.
    pub(super) dir: String,
    pub(super) messages: mpsc::UnboundedSender<AttemptMessage>,
}

impl News {
    /// Tells the dispatcher, which may be gone.
    pub(super) fn tell(&self, update: AttemptUpdate) {
        // A dispatcher that is gone is told nothing; what a resumed run needs is on disk.
        let _ = self.messages.send(AttemptMessage { dir: self.dir.clone(), update });
    }

    /// Notes an event of a try in its record, and tells it.
    pub(super) fn on_event(
        &self,
        dir: &AttemptDir,
        record: &mut AttemptRecord,
        clock: &Clock,
        event: AttemptEvent,
    ) -> Result<(), StoreError> {
        match event {
            AttemptEvent::Phase(phase) => {
                let began_s = clock.0.elapsed().as_secs_f64();
                close_phase(record, began_s);
                record.phases.push(PhaseRecord { name: phase.clone(), began_s, took_s: 0.0 });
                self.tell(AttemptUpdate::Phase(phase));
            }
            AttemptEvent::Image(image) => {
                record.conditions.image_digest = Some(image.digest.unwrap_or(image.id));
                // A harness that finds the container later cannot know what its image was.
                write_json(&dir.record(), record)?;
            }
            AttemptEvent::Started(token) => {
                record.started_at.get_or_insert(token.started);
                // The way back to the agent before the word that it runs.
                write_json(&dir.token(), &token)?;
                write_json(&dir.record(), record)?;
                self.tell(AttemptUpdate::AgentRuns { since: token.started });
            }
            AttemptEvent::EngineAway { cause } => {
                self.tell(AttemptUpdate::warning(&format!(
                    "{cause}; waiting for the engine, agents run on meanwhile"
                )));
            }
            AttemptEvent::Usage(usage) => {
                self.tell(AttemptUpdate::Usage { usage, last_line: last_line(&dir.log()) })
            }
            AttemptEvent::SnapshotsFull { limit } => self.tell(AttemptUpdate::warning(&format!(
                "its snapshots have taken {}, its disk limit; no more are taken",
                bytesize::ByteSize(limit)
            ))),
            AttemptEvent::Snapshot { path, code, elapsed } => {
                let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                let path = dir.relative(&path);
                record.snapshots.push(SnapshotRecord {
                    after_s: elapsed.as_secs_f64(),
                    path,
                    code: code.as_ref().map(|code| dir.relative(&code.path)),
                    code_left_out: code.map_or(0, |code| code.left_out),
                    ..SnapshotRecord::default()
                });
                self.tell(AttemptUpdate::Snapshot { elapsed, bytes });
            }
            AttemptEvent::Collected(end) => {
                close_phase(record, clock.0.elapsed().as_secs_f64());
                finish_try(record, &end);
                write_json(&dir.record(), record)?;
            }
        }
        Ok(())
    }
}

/// Seconds since the current try began, for the time line.
pub(super) struct Clock(pub(super) std::time::Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

/// Notes how long the phase took that ends now.
pub(super) fn close_phase(record: &mut AttemptRecord, now_s: f64) {
    if let Some(last) = record.phases.last_mut()
        && last.took_s == 0.0
    {
        last.took_s = now_s - last.began_s;
    }
}

/// The end of the last line that the agent printed.
fn last_line(log: &Path) -> Shown {
    const TAIL: u64 = 512;
    let (bytes, _) = end_of(log, TAIL).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let line = text.trim_end().rsplit(['\n', '\r']).next().unwrap_or_default();
    Shown::cut(line, 120)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_safe_to_print() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("run.log");
        std::fs::write(&log, b"first\nsec\x1b[31mond \xff\n\n").unwrap();
        assert_eq!(last_line(&log), "sec\\u{1b}[31mond \u{fffd}");
        assert_eq!(last_line(&temp.path().join("none")), "");
    }
}
