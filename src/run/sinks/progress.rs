//! Bars on a terminal: one for the group and one for each running attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{AttemptKey, Phase};

use crate::attempt::outcome::LlmUsage;
use crate::attempt::text::seconds;
use crate::run::events::{EventKind, EventSink, RunEvent, RunStats, SinkError};

/// Draws the run on stderr.
pub struct Progress {
    bars: MultiProgress,
    group: ProgressBar,
    attempts: BTreeMap<AttemptKey, Attempt>,
    stats: RunStats,
    /// What the group has spent on language models, if it may use any.
    spent: Option<String>,
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
        Self { bars, group, attempts: BTreeMap::new(), stats: RunStats::default(), spent: None }
    }

    /// Removes the bar of an attempt that no longer runs.
    fn take_down(&mut self, key: &AttemptKey) {
        if let Some(attempt) = self.attempts.remove(key) {
            attempt.bar.finish_and_clear();
            self.bars.remove(&attempt.bar);
        }
    }

    fn set_stats(&mut self, stats: &RunStats) {
        self.stats = *stats;
        self.group.set_length(stats.planned as u64);
        self.group.set_position(stats.finished as u64);
        self.group.set_message(match &self.spent {
            Some(spent) => format!("{stats}, {spent}"),
            None => stats.to_string(),
        });
    }
}

impl Drop for Progress {
    /// A run that breaks off leaves attempts running that nobody draws any more.
    fn drop(&mut self) {
        for attempt in self.attempts.values() {
            attempt.bar.finish_and_clear();
        }
        if !self.group.is_finished() {
            self.group.abandon();
        }
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
                // Another try has a bar of its own.
                self.take_down(key);
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
            EventKind::Usage { key, elapsed_s, memory_bytes, cpus, gpu, llm, last_line } => {
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
                    if let Some(llm) = llm {
                        let money = LlmUsage::money(llm.dollars, llm.dollars_limit);
                        attempt.usage.push_str(&format!(", {} calls {money}", llm.calls));
                    }
                    attempt.last_line.clone_from(last_line);
                    attempt.draw();
                }
                if let Some(llm) = llm {
                    let money = LlmUsage::money(llm.group_dollars, llm.group_dollars_limit);
                    self.spent = Some(money);
                    let stats = self.stats;
                    self.set_stats(&stats);
                }
            }
            EventKind::Finished { key, stats, .. } => {
                self.take_down(key);
                self.set_stats(stats);
            }
            EventKind::GroupFinished { stats } => {
                self.set_stats(stats);
                // `finish` would fill a bar that a person has stopped.
                self.group.abandon();
            }
            EventKind::TryFailed { key, .. } => self.take_down(key),
            EventKind::Snapshot { .. }
            | EventKind::Warning { .. }
            | EventKind::CancelBegan { .. } => {}
        }
        if let Some(line) = super::line(event) {
            let _ = self.bars.println(line);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use medalist_reports::record::OutcomeRecord;

    use super::*;

    #[test]
    fn an_attempt_has_one_bar_at_a_time_and_none_once_it_does_not_run() {
        let key = AttemptKey { competition: "a".into(), agent: "x".into(), seed: 0 };
        let event = |kind| RunEvent { seq: 0, at: chrono::Utc::now(), kind };
        let started = |try_number| {
            event(EventKind::Started {
                key: key.clone(),
                dir: String::new(),
                try_number,
                attached: false,
                timeout_s: 1.0,
                stats: RunStats::default(),
            })
        };
        let mut progress = Progress::new();
        progress.on_event(&started(1)).unwrap();
        let first = progress.attempts[&key].bar.clone();
        progress.on_event(&started(2)).unwrap();
        let second = progress.attempts[&key].bar.clone();
        assert!(first.is_finished() && !second.is_finished());
        let failed = EventKind::TryFailed {
            key: key.clone(),
            try_number: 2,
            outcome: OutcomeRecord::default(),
            retry_in_s: 10.0,
        };
        progress.on_event(&event(failed)).unwrap();
        assert!(second.is_finished() && progress.attempts.is_empty());
        progress.on_event(&started(3)).unwrap();
        let (third, group) = (progress.attempts[&key].bar.clone(), progress.group.clone());
        drop(progress);
        assert!(third.is_finished() && group.is_finished(), "a run that broke off");
    }
}
