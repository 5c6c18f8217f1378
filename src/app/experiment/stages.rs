//! Runs an experiment stage by stage, goes on where it was cut short, and stops when the answer is
//! clear.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Utc;
use medalist_llm::Picodollars;
use medalist_reports::experiment::{Cell, ExperimentReport, PairReport, ReportFiles, pairs};
use medalist_reports::record::{AttemptRecord, OutcomeRecord};
use medalist_reports::stats::stopping::PairVerdict;
use medalist_reports::text;

use super::forecast::most_dollars;
use super::{EXPERIMENT_FORMAT, Looks, Prepared, plan_cell};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::groups::read_plan;
use crate::app::plan::Pace;
use crate::app::run::{exit_of, run_group_in};
use crate::attempt::plan::Plan;
use crate::host::files::{read_json_if_there, write_json};
use crate::host::store::GroupDir;

/// How an experiment is worked through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Course {
    /// How its groups are.
    pub pace: Pace,
    /// What it may cost, over what the file says.
    pub max_dollars: Option<Picodollars>,
}

/// What a group's folder says of it.
#[derive(Debug, Default)]
struct GroupState {
    /// Attempts that are still to be made, or made again.
    open: usize,
    /// Attempts whose record cannot be read.
    damaged: usize,
    /// Picodollars that its calls cost so far.
    spent: u64,
}

/// Why a stage did not come to its end.
enum Cut {
    /// By a signal, or by `medalist stop`.
    Interrupted,
    /// By `fail-fast`, or since it may cost too much.
    Stopped(String),
}

impl Prepared<'_> {
    /// Runs what is left of the experiment, and writes its report; the exit code says whether all of
    /// it was done.
    ///
    /// # Errors
    /// [`CliError`] with the documented exit codes; what was finished is safe.
    pub async fn run(
        &self,
        course: Course,
        context: &Context,
    ) -> Result<(ExperimentReport, ReportFiles, Exit), CliError> {
        self.check_dollars(course.max_dollars)?;
        let _held = self.claim(context).await?;
        let interrupted = watch_interrupts();
        let design = self.design();
        let keys: Vec<Cell> = self.arms.iter().map(|arm| arm.cell.clone()).collect();
        let all_pairs = pairs(&keys, design.compare);
        let mut looks = self.looks()?;
        let (mut cut, mut lost, mut is_checked) = (None, 0, false);
        for (stage, seeds) in self.ranges().into_iter().enumerate() {
            let left = self.left(stage, &seeds)?;
            // What is complete asks nothing of the machine.
            if !left.is_empty() && !is_checked {
                self.check(context).await?;
                is_checked = true;
            }
            match self.stage(stage, &seeds, left, &course, &interrupted, context).await? {
                Ok(more) => lost += more,
                Err(why) => {
                    cut = Some(why);
                    break;
                }
            }
            if looks.len() <= stage {
                let (cells, _) = self.read(context)?;
                looks.push(design.look(&cells, seeds.end, Utc::now()));
                let written = Looks { format: EXPERIMENT_FORMAT, looks };
                write_json(&self.looks_path(), &written)?;
                looks = written.looks;
            }
            let verdicts = design.judge(all_pairs.len(), &looks[..=stage]);
            if verdicts.iter().all(PairVerdict::is_settled) {
                break;
            }
        }
        let (report, files) = self.report(context)?;
        self.tell(&report, context);
        let exit = self.ending(cut, lost, context);
        Ok((report, files, exit))
    }

    /// The cells of a stage whose groups are not complete, in the order in which they run. Each stage
    /// begins with another cell, so that none always runs first.
    fn left(&self, stage: usize, seeds: &Range<u32>) -> Result<Vec<usize>, CliError> {
        let cells = self.arms.len();
        let mut left = Vec::new();
        for number in (0..cells).map(|turn| (turn + stage) % cells) {
            let state = group_state(&self.group(number, seeds))?;
            if state.is_none_or(|state| state.open > 0) {
                left.push(number);
            }
        }
        Ok(left)
    }

    /// Runs what is left of a stage. Gives the attempts of the stage that are lost.
    async fn stage(
        &self,
        stage: usize,
        seeds: &Range<u32>,
        left: Vec<usize>,
        course: &Course,
        interrupted: &AtomicBool,
        context: &Context,
    ) -> Result<Result<usize, Cut>, CliError> {
        let mut lost = 0;
        for number in (0..self.arms.len()).filter(|number| !left.contains(number)) {
            lost += group_state(&self.group(number, seeds))?.map_or(0, |state| state.damaged);
        }
        let count = left.len();
        for (turn, number) in left.into_iter().enumerate() {
            let (cell, dir) = (&self.arms[number].cell, self.group(number, seeds));
            if interrupted.load(Ordering::Relaxed) {
                return Ok(Err(Cut::Interrupted));
            }
            let make = || -> Result<Plan, CliError> {
                let plan = plan_cell(&self.experiment, cell, seeds.clone(), self.planner)?;
                let group = dir.root().file_name().unwrap_or_default();
                Ok(Plan { group: group.to_string_lossy().into_owned(), ..plan })
            };
            if let Some(why) = self.too_dear(&dir, &make, course)? {
                return Ok(Err(Cut::Stopped(why)));
            }
            context.say(format_args!(
                "stage {} of {}: {cell} ({} of {count})",
                stage + 1,
                self.experiment.stages.len(),
                turn + 1
            ));
            let ran = run_group_in(&dir, make, course.pace, context).await;
            let summary = ran.map_err(|error| {
                error.hint(format!(
                    "the same command goes on with experiment `{}`",
                    self.experiment.name
                ))
            })?;
            match exit_of(&summary) {
                Exit::Interrupted => return Ok(Err(Cut::Interrupted)),
                Exit::Partial if summary.stopped.is_some() => {
                    return Ok(Err(Cut::Stopped(format!(
                        "an attempt of `{cell}` failed, and `fail-fast` is set"
                    ))));
                }
                _ => {}
            }
            lost += summary.stats.infrastructure + summary.damaged;
        }
        Ok(Ok(lost))
    }

    /// Why the group may not be run: with what was spent it may cost more than is allowed.
    fn too_dear(
        &self,
        dir: &GroupDir,
        make: &impl Fn() -> Result<Plan, CliError>,
        course: &Course,
    ) -> Result<Option<String>, CliError> {
        let Some(allowed) = course.max_dollars.or(self.experiment.max_dollars) else {
            return Ok(None);
        };
        let state = group_state(dir)?;
        let mut plan = if state.is_some() { read_plan(dir)? } else { make()? };
        if let Some(state) = state {
            plan.attempts.truncate(state.open);
        }
        let mut spent = 0_u64;
        for number in 0..self.arms.len() {
            for seeds in self.ranges() {
                let state = group_state(&self.group(number, &seeds))?;
                spent = spent.saturating_add(state.map_or(0, |state| state.spent));
            }
        }
        let spent = Picodollars(spent);
        let most = most_dollars(&plan, 1).map(|most| most + spent);
        Ok(match most {
            Some(most) if most <= allowed => None,
            Some(_) => Some(format!(
                "{spent} are spent, and the next group may cost more than is left of {allowed}"
            )),
            None => {
                Some(format!("nothing bounds what the next group costs, and {allowed} are allowed"))
            }
        })
    }

    /// Says how the last look ended.
    fn tell(&self, report: &ExperimentReport, context: &Context) {
        for pair in &report.pairs {
            context.say(format_args!("{}", line(pair)));
        }
    }

    /// The exit code, after the lines with which a person goes on.
    fn ending(&self, cut: Option<Cut>, lost: usize, context: &Context) -> Exit {
        let again = || {
            context.say(format_args!(
                "the same command goes on: medalist experiment {}",
                self.experiment.file.display()
            ));
        };
        match cut {
            Some(Cut::Interrupted) => {
                again();
                Exit::Interrupted
            }
            Some(Cut::Stopped(why)) => {
                context.warn(format_args!("the experiment was stopped: {why}"));
                again();
                Exit::Partial
            }
            None if lost > 0 => {
                context.warn(format_args!(
                    "{lost} attempts were lost to this machine; they count as failed in the tables, and no test counts them"
                ));
                context.say(format_args!(
                    "the same command makes them again: medalist experiment {}",
                    self.experiment.file.display()
                ));
                Exit::Partial
            }
            None => Exit::Success,
        }
    }
}

/// A pair in a line.
fn line(pair: &PairReport) -> String {
    let of = &pair.pair;
    let points = text::points(pair.change.as_ref().map(|change| change.difference));
    format!(
        "{} minus {} ({}): {points} points; {}: {}",
        of.candidate,
        of.baseline,
        of.setting,
        pair.look(),
        pair.heading()
    )
}

/// What a group's folder says; `None` if it was not begun.
fn group_state(dir: &GroupDir) -> Result<Option<GroupState>, CliError> {
    if !dir.plan().exists() {
        return Ok(None);
    }
    let plan = read_plan(dir)?;
    let mut state = GroupState::default();
    for attempt in &plan.attempts {
        let dir = dir.attempt(&attempt.dir);
        let Ok(record) = read_json_if_there::<AttemptRecord>(&dir.record()) else {
            state.damaged += 1;
            continue;
        };
        let llm = record.as_ref().and_then(|record| record.llm.as_ref());
        state.spent =
            state.spent.saturating_add(llm.map_or(0, |llm| llm.with_earlier_tries().picodollars));
        let outcome = record.as_ref().and_then(|record| record.outcome.as_ref());
        let is_final = outcome.is_some_and(OutcomeRecord::is_final);
        state.open += usize::from(!is_final || !dir.grade().is_file());
    }
    Ok(Some(state))
}

/// Whether a signal came: between two groups no run listens to it.
fn watch_interrupts() -> Arc<AtomicBool> {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    if let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    {
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            told.store(true, Ordering::Relaxed);
        });
    }
    interrupted
}
