//! Times a report with all its files on made-up run groups, from files on disk to files on disk:
//! `cargo run --release -p medalist-reports --example report_bench -- GROUPS COMPETITIONS SEEDS
//! [AGENTS [LOG_KIB [KEEP]]]`.
//!
//! With `LOG_KIB` every attempt has a log of that size, some code and copies of its submission, and
//! with a folder as `KEEP` the report stays there.
//! Processor seconds are those of the whole process over all cores; memory is the peak so far.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::Utc;
use medalist_reports::attempt::Attempt;
use medalist_reports::data::{ReportData, ReportOptions};
use medalist_reports::export::{self, Format};
use medalist_reports::leaderboard::SeedRule;
use medalist_reports::read::{self, Group};
use medalist_reports::record::PlannedRecord;
use medalist_reports::simulate::Simulation;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default| args.next().map_or(Ok(default), |n| n.parse::<u64>());
    let (groups, competitions, seeds) = (number(1)?, number(75)?, number(3)?);
    let agents = number(groups)?;
    let log_kib = number(0)?;
    let keep = std::env::args().nth(6).map(PathBuf::from);
    let dir = std::env::temp_dir().join(format!("medalist-bench-{}", std::process::id()));
    let runs = dir.join("runs");
    for draw in 0..groups {
        let agent = format!("agent-{}", draw % agents);
        let (competitions, seeds) = (competitions as usize, seeds as u32);
        let group = Simulation {
            agent,
            competitions,
            seeds,
            shift: 0.0,
            infrastructure: 0.03,
            truth: 1,
            draw,
        }
        .group();
        store(&runs.join(format!("group-{draw}")), &format!("group-{draw}"), group, log_kib)?;
    }
    let mut watch = Stopwatch::new();
    let reading = read::read(std::slice::from_ref(&runs), &())?;
    watch.tell(&format!("read {} attempts", reading.attempts().count()));
    let options = ReportOptions {
        title: "Bench".to_owned(),
        generated_at: Utc::now(),
        seed_rule: SeedRule::default(),
        cutoffs: Default::default(),
    };
    let data = ReportData::compute(&reading, &(), &options);
    watch.tell("computed");
    drop(reading);
    let report = keep.unwrap_or_else(|| dir.join("report"));
    for format in Format::ALL {
        let written = export::write(&report, &data, &[format], &())?;
        let bytes: u64 =
            written.iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum();
        watch.tell(&format!(
            "{}: {:.2} MB in {} files",
            format.name(),
            bytes as f64 / 1e6,
            written.len()
        ));
    }
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// Wall and processor seconds since the last word.
struct Stopwatch(Instant, f64);

impl Stopwatch {
    fn new() -> Self {
        Self(Instant::now(), processor_s())
    }

    fn tell(&mut self, what: &str) {
        let now = Self::new();
        let peak = process_line("status", "VmHWM")
            .split_whitespace()
            .nth(1)
            .map_or(0.0, |kb| kb.parse().unwrap_or(0.0));
        let (wall, processor) = ((now.0 - self.0).as_secs_f64(), now.1 - self.1);
        println!(
            "{wall:>7.3} s wall {processor:>7.3} s processor {:>6.0} MiB peak  {what}",
            peak / 1024.0
        );
        *self = Self::new();
    }
}

/// User and system time of this process, in seconds; clock ticks are hundredths on Linux.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in brackets may hold spaces; user and system time are fields 14 and 15.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        / 100.0
}

fn process_line(file: &str, key: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    text.lines().find(|line| line.starts_with(key)).unwrap_or("unknown").to_owned()
}

/// A run group as the harness leaves it on disk.
fn store(dir: &Path, id: &str, group: Group, log_kib: u64) -> Result<(), Box<dyn Error>> {
    let mut record = group.record.unwrap_or_default();
    id.clone_into(&mut record.id);
    for attempt in &group.attempts {
        let name = format!("{}_{}", attempt.key.competition, attempt.key.seed);
        std::fs::create_dir_all(dir.join(&name))?;
        std::fs::write(
            dir.join(&name).join("attempt.json"),
            serde_json::to_vec_pretty(&attempt.record)?,
        )?;
        std::fs::write(dir.join(&name).join("grade.json"), grade(attempt).to_string())?;
        if log_kib > 0 {
            leave(&dir.join(&name), attempt, log_kib)?;
        }
        record.attempts.push(PlannedRecord { key: attempt.key.clone(), dir: name });
    }
    std::fs::write(dir.join("group.json"), serde_json::to_vec_pretty(&record)?)?;
    Ok(())
}

/// What an agent leaves.
fn leave(dir: &Path, attempt: &Attempt, log_kib: u64) -> Result<(), Box<dyn Error>> {
    let line = |i: u64| {
        let loss = 1.0 / (1.0 + i as f64 / 100.0);
        format!(
            "2026-11-24 12:00:00 INFO trainer: epoch {i} fold {} loss {loss:.5} lr 0.00030\n",
            i % 5
        )
    };
    let mut log = String::new();
    for i in 0.. {
        if log.len() as u64 >= log_kib << 10 {
            break;
        }
        log.push_str(&line(i));
    }
    std::fs::write(dir.join("run.log"), log)?;
    for folder in ["code/src", "submission", "snapshots"] {
        std::fs::create_dir_all(dir.join(folder))?;
    }
    let code = |functions: u32| -> String {
        (0..functions)
            .map(|i| {
                format!("def step_{i}(frame):\n    return frame.assign(x{i}=frame.x * {i})\n\n")
            })
            .collect()
    };
    std::fs::write(dir.join("code/main.py"), code(60))?;
    std::fs::write(dir.join("code/src/features.py"), code(120))?;
    let rows = |shift: u64| -> String {
        (0..2_000_u64).fold("id,target\n".to_owned(), |rows, i| {
            rows + &format!("{i},0.{}\n", (i * i + (i % 7) * shift) % 997)
        })
    };
    std::fs::write(dir.join("submission/submission.csv"), rows(6))?;
    let snapshots = attempt.record.iter().flat_map(|record| &record.snapshots);
    for (i, snapshot) in snapshots.enumerate() {
        let name = format!("snapshots/{:07}.csv", snapshot.after_s as u64);
        std::fs::write(dir.join(name), rows(i as u64))?;
    }
    Ok(())
}

fn grade(attempt: &Attempt) -> serde_json::Value {
    let (grade, t) = (&attempt.grade, attempt.grade.thresholds);
    json!({
        "competition_id": attempt.key.competition, "score": grade.score,
        "gold_threshold": t.map(|t| t.gold), "silver_threshold": t.map(|t| t.silver),
        "bronze_threshold": t.map(|t| t.bronze), "median_threshold": t.map(|t| t.median),
        "any_medal": grade.medal.is_some(), "gold_medal": grade.gold, "silver_medal": grade.silver, "bronze_medal": grade.bronze,
        "above_median": grade.above_median, "submission_exists": grade.exists, "valid_submission": grade.valid,
        "is_lower_better": grade.lower_is_better, "rank": grade.rank, "n_teams": grade.teams, "percentile": grade.percentile,
    })
}
