//! The last step of an attempt: its submission and the copies of it are graded.

use std::sync::Arc;
use std::time::Duration;

use medalist_grading::GradeReport;
use medalist_grading::untrusted::Shown;
use medalist_reports::record::{
    AttemptRecord, LlmRecord, OutcomeKind, OutcomeRecord, Phase, PhaseRecord, SubmissionRecord,
};

use super::dispatcher::Run;
use super::events::GradeLine;
use super::messages::FinishedAttempt;
use crate::attempt::dir::AttemptDir;
use crate::attempt::plan::PlannedAttempt;
use crate::host::files::{StoreError, file_sha256, write_json};

/// Grades what an ended attempt left, with its snapshots, and writes both down.
pub(super) async fn grade(
    run: &Arc<Run>,
    attempt: &PlannedAttempt,
    dir: &AttemptDir,
    mut record: AttemptRecord,
) -> Result<FinishedAttempt, StoreError> {
    let began = std::time::Instant::now();
    let (run, dir, competition) = (Arc::clone(run), dir.clone(), attempt.key.competition.clone());
    let name = attempt.dir.clone();
    // Reading and scoring take a processor for as long as minutes; other attempts go on meanwhile.
    let task = tokio::task::spawn_blocking(move || {
        let report = run.judge.grade(&competition, &dir.submission());
        for snapshot in &mut record.snapshots {
            // A copy that cannot be graded has no score: the attempt's result is that of its submission.
            if let Ok(report) = run.judge.grade(&competition, &dir.root().join(&snapshot.path)) {
                snapshot.valid = report.valid_submission;
                snapshot.score = report.score;
                snapshot.medal = report.medal;
            }
        }
        record.submission = submission_record(&dir);
        // A harness that died here once has noted it already.
        record.phases.retain(|phase| phase.name != Phase::Grade);
        if let Some(last) = record.phases.last() {
            let began_s = last.began_s + last.took_s;
            record.phases.push(PhaseRecord {
                name: Phase::Grade,
                began_s,
                took_s: began.elapsed().as_secs_f64(),
            });
        }
        let grade = match &report {
            Ok(report) => GradeLine::from(report),
            Err(error) => {
                // The agent is not to blame for answers that cannot be read.
                record.outcome = Some(OutcomeRecord {
                    kind: OutcomeKind::GradingFailed,
                    infrastructure: true,
                    exit_code: record.outcome.as_ref().and_then(|outcome| outcome.exit_code),
                    detail: Some(Shown::message(&error.to_string())),
                });
                GradeLine::default()
            }
        };
        write_json(&dir.record(), &record)?;
        // The grade comes last: where there is one, nothing is left to be done.
        if let Ok(report) = &report {
            let llm = record.llm.as_ref().map(GradedLlm::of);
            write_json(&dir.grade(), &GradeFile { report, llm })?;
        }
        let outcome = record.outcome.clone().unwrap_or_default();
        Ok(FinishedAttempt {
            dir: name,
            outcome,
            grade,
            took: Duration::from_secs_f64(record.took_s.unwrap_or(0.0).max(0.0)),
        })
    });
    task.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// `grade.json`: MLE-bench's report and ours, and what the attempt's language models cost.
#[derive(serde::Serialize)]
struct GradeFile<'a> {
    #[serde(flatten)]
    report: &'a GradeReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm: Option<GradedLlm>,
}

/// The cost beside a grade; `attempt.json` has all of it.
#[derive(serde::Serialize)]
struct GradedLlm {
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// `None` where the price of a call is not known.
    dollars: Option<f64>,
    held_s: f64,
    budget_reached: bool,
}

impl GradedLlm {
    fn of(llm: &LlmRecord) -> Self {
        Self {
            calls: llm.totals.calls,
            input_tokens: llm.totals.tokens.sent(),
            output_tokens: llm.totals.tokens.received(),
            dollars: llm.totals.dollars(),
            held_s: llm.held_s,
            budget_reached: llm.reached_budget(),
        }
    }
}

fn submission_record(dir: &AttemptDir) -> Option<SubmissionRecord> {
    let path = dir.submission();
    let (sha256, bytes) = file_sha256(&path).ok()?;
    let path = dir.relative(&path);
    Some(SubmissionRecord { path, bytes, sha256: Some(sha256) })
}
