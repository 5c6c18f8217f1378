//! Bars on a terminal: one for the group and one for each running attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{AttemptKey, Phase};

use crate::attempt::text::seconds;
use crate::run::events::{EventKind, EventSink, RunEvent, RunStats, SinkError};

/// Draws the run on stderr.
pub struct Progress {
    bars: MultiProgress,
    group: ProgressBar,
    attempts: BTreeMap<AttemptKey, Attempt>,
}

struct Attempt {
    bar: ProgressBar,
    phase: Option<Phase>,
    timeout_s: f64,
    usage: String,
    last_line: Shown,
}

impl Attempt {
    fn draw(&self) {
        let phase = self.phase.as_ref().map_or("starting", Phase::as_str);
        self.bar.set_message(
            format!("{phase} {} {}", self.usage, self.last_line).trim_end().to_owned(),
        );
    }
}

impl Progress {
    /// Bars on stderr.
    pub fn new() -> Self {
        let bars = MultiProgress::new();
        let group = bars.add(ProgressBar::new(0));
        group.set_style(style("{bar:24.green/black} {pos}/{len}  {msg}"));
        Self { bars, group, attempts: BTreeMap::new() }
    }

    fn set_stats(&self, stats: &RunStats) {
        self.group.set_length(stats.planned as u64);
        self.group.set_position(stats.finished as u64);
        self.group.set_message(stats.to_string());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl EventSink for Progress {
    fn on_event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        match &event.kind {
            EventKind::GroupStarted { stats, .. } => self.set_stats(stats),
            EventKind::Started { key, timeout_s, stats, .. } => {
                let bar =
                    self.bars.insert_before(&self.group, ProgressBar::new(timeout_s.ceil() as u64));
                bar.set_style(style("  {prefix:<38!} {elapsed:>4} {wide_msg}"));
                bar.set_prefix(Shown::new(&key.to_string()).into_string());
                bar.enable_steady_tick(Duration::from_millis(500));
                let attempt = Attempt {
                    bar,
                    phase: None,
                    timeout_s: *timeout_s,
                    usage: String::new(),
                    last_line: Shown::default(),
                };
                attempt.draw();
                self.attempts.insert(key.clone(), attempt);
                self.set_stats(stats);
                return Ok(());
            }
            EventKind::Phase { key, phase } => {
                if let Some(attempt) = self.attempts.get_mut(key) {
                    attempt.phase = Some(phase.clone());
                    attempt.draw();
                }
            }
            EventKind::Usage { key, elapsed_s, memory_bytes, cpus, gpu, last_line } => {
                if let Some(attempt) = self.attempts.get_mut(key) {
                    attempt.usage = format!(
                        "{} of {}, {cpus:.1} cpu, {}",
                        seconds(*elapsed_s),
                        seconds(attempt.timeout_s),
                        bytesize::ByteSize::b(*memory_bytes)
                    );
                    if let Some(gpu) = gpu {
                        attempt.usage.push_str(&format!(
                            ", gpu {:.0} % {}",
                            gpu.utilisation * 100.0,
                            bytesize::ByteSize::b(gpu.memory_bytes)
                        ));
                    }
                    attempt.last_line.clone_from(last_line);
                    attempt.draw();
                }
            }
            EventKind::Finished { key, stats, .. } => {
                if let Some(attempt) = self.attempts.remove(key) {
                    attempt.bar.finish_and_clear();
                    self.bars.remove(&attempt.bar);
                }
                self.set_stats(stats);
            }
            EventKind::GroupFinished { stats } => {
                self.set_stats(stats);
                self.group.finish();
            }
            EventKind::TryFailed { .. }
            | EventKind::Snapshot { .. }
            | EventKind::Warning { .. }
            | EventKind::CancelBegan { .. } => {}
        }
        if let Some(line) = super::line(event) {
            let _ = self.bars.println(line);
        }
        Ok(())
    }
}
