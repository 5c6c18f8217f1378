//! What becomes of an attempt, by what its folder holds and where its job is. Pure.

use std::time::Duration;

use medalist_reports::record::OutcomeRecord;

use crate::attempt::outcome::{CancelReason, Outcome};
use crate::host::scheduler::{Over, Seen, State};
use crate::host::store::tries::{Standing, TryState};

/// What is known of an attempt that was handed over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known<'a> {
    /// What its folder says.
    pub(super) standing: Standing,
    /// The makers of the tries up to this one were gone when the job was handed over.
    pub(super) after: u32,
    /// Its job.
    pub(super) job: Where<'a>,
    /// How long the agent had run when it was last heard of, if its own time was over then.
    pub(super) overtime: Option<Duration>,
    /// Whether somebody asked medalist to end it.
    pub(super) asked_to_end: bool,
}

/// Where a job is, for certain.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Where<'a> {
    /// In the queue, or nobody could be asked.
    Waiting,
    /// On a node.
    Running,
    /// Gone from the queue for so long that its last words are in the folder; what the scheduler has
    /// recorded of it.
    Gone(Option<&'a Seen>),
}

/// What is to be done of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Nothing: its job waits.
    Waits,
    /// Nothing: somebody makes a try.
    Runs,
    /// Nothing ever again.
    Final,
    /// Its last try has ended, and not as the attempt's.
    Ended(Box<TryState>),
    /// The maker of the try is gone: its end is to be written down.
    Lost {
        number: u32,
        outcome: OutcomeRecord,
        /// Whether it may be made again without a word of a person.
        again: bool,
    },
    /// Its job is over and no try has begun.
    NeverBegan {
        why: String,
        /// Where that was.
        node: String,
        again: bool,
    },
    /// Neither the folder nor the scheduler knows anything of its job.
    Unheard,
}

pub(super) fn verdict(known: Known<'_>) -> Verdict {
    let Known { standing, after, job, overtime, asked_to_end } = known;
    let begun = match standing {
        Standing::Final(_) => return Verdict::Final,
        Standing::Apart => None,
        Standing::Claimed(one) | Standing::Ended(one) => Some(one).filter(|one| one.number > after),
    };
    let over = match (&job, &begun) {
        // The scheduler may start the job again, whatever its last start came to.
        (Where::Waiting, _) => return Verdict::Waits,
        (Where::Running, Some(one)) if one.end.is_some() => return Verdict::Waits,
        (Where::Running, _) => return Verdict::Runs,
        (Where::Gone(seen), _) => *seen,
    };
    let word = over.map(|seen| &seen.state);
    let again = !matches!(word, Some(State::Over(Over::Cancelled(_))));
    match begun {
        Some(one) if one.end.is_some() => Verdict::Ended(Box::new(one)),
        Some(one) => {
            let outcome = lost_outcome(over, overtime, asked_to_end).record();
            Verdict::Lost { number: one.number, outcome, again }
        }
        None => match over {
            None => Verdict::Unheard,
            Some(seen) => {
                Verdict::NeverBegan { why: in_words(seen), node: seen.node.clone(), again }
            }
        },
    }
}

/// How a try ended whose harness has left no word. Exit codes prove nothing.
fn lost_outcome(over: Option<&Seen>, overtime: Option<Duration>, asked: bool) -> Outcome {
    let Some(seen) = over else {
        if asked {
            return Outcome::Cancelled { reason: CancelReason::Stopped };
        }
        let cause = "its job is gone from the scheduler's queue".to_owned();
        return Outcome::NodeLost { cause };
    };
    match (&seen.state, overtime) {
        (State::Over(Over::TimedOut), Some(after)) => Outcome::TimedOut { after, killed: true },
        (State::Over(Over::TimedOut), None) => {
            Outcome::NodeLost { cause: "its job's time limit came before the agent's".to_owned() }
        }
        (State::Over(Over::Cancelled(_)), _) if asked => {
            Outcome::Cancelled { reason: CancelReason::Stopped }
        }
        (State::Over(Over::Ended | Over::OutOfMemory), _) => {
            Outcome::EngineLost { cause: in_words(seen) }
        }
        _ => Outcome::NodeLost { cause: in_words(seen) },
    }
}

/// What the scheduler says, for people.
fn in_words(seen: &Seen) -> String {
    let node = match seen.node.is_empty() {
        true => String::new(),
        false => format!(" on `{}`", seen.node),
    };
    let why = match seen.reason.is_empty() {
        true => String::new(),
        false => format!(" ({})", seen.reason),
    };
    match &seen.state {
        State::Over(Over::Ended) => format!("its job has ended{node} without a word{why}"),
        State::Over(Over::OutOfMemory) => {
            format!("its job's memory ran out{node} and took the harness")
        }
        State::Over(Over::TimedOut) => format!("its job's time limit came{node}"),
        State::Over(Over::Cancelled(Some(user))) => format!("user {user} cancelled its job{node}"),
        State::Over(Over::Cancelled(None)) => format!("its job was cancelled{node}"),
        State::Over(Over::NodeLost(word)) => format!("the scheduler says {word}{node}"),
        State::Over(Over::Stuck(word)) => format!("it waits{node} for what does not come: {word}"),
        State::Unknown(word) => format!("the scheduler says {word}{node}"),
        State::Waiting | State::Running => format!("its job is gone from the queue{node}"),
    }
}

#[cfg(test)]
mod tests {
    use medalist_reports::record::OutcomeKind;

    use super::*;
    use crate::host::store::tries::{Claim, TryEnd};

    fn one(number: u32, end: Option<TryEnd>) -> TryState {
        TryState { number, claim: Some(Claim::of_this_process(None)), end }
    }

    fn seen(state: State) -> Seen {
        let (name, id) = ("m".to_owned(), "1".to_owned());
        Seen { name, id, index: Some(0), state, reason: String::new(), node: "n1".to_owned() }
    }

    fn known<'a>(standing: Standing, job: Where<'a>) -> Known<'a> {
        Known { standing, after: 0, job, overtime: None, asked_to_end: false }
    }

    #[test]
    fn while_its_job_is_in_the_queue_nothing_is_done() {
        for standing in [
            Standing::Apart,
            Standing::Claimed(one(1, None)),
            Standing::Ended(one(1, Some(TryEnd::Itself))),
        ] {
            assert_eq!(verdict(known(standing.clone(), Where::Waiting)), Verdict::Waits);
            let running = verdict(known(standing, Where::Running));
            assert!(matches!(running, Verdict::Runs | Verdict::Waits), "{running:?}");
        }
        let done = Standing::Final(one(1, Some(TryEnd::Itself)));
        assert_eq!(verdict(known(done, Where::Waiting)), Verdict::Final);
    }

    #[test]
    fn the_table_of_words() {
        use OutcomeKind::{Cancelled, EngineLost, NodeLost, TimedOut};
        let lost = |word: &str| Over::NodeLost(word.to_owned());
        // The scheduler's word, the agent's own time over, asked to end: outcome, and again by itself.
        for (over, late, asked, kind, again) in [
            (Over::Ended, false, false, EngineLost, true),
            (Over::OutOfMemory, false, false, EngineLost, true),
            (Over::TimedOut, false, false, NodeLost, true),
            (Over::TimedOut, true, false, TimedOut, true),
            (lost("PREEMPTED"), false, false, NodeLost, true),
            (lost("NODE_FAIL"), true, false, NodeLost, true),
            (Over::Cancelled(Some(0)), false, false, NodeLost, false),
            (Over::Cancelled(None), false, true, Cancelled, false),
            (Over::Stuck("no image".into()), false, false, NodeLost, true),
        ] {
            let seen = seen(State::Over(over));
            let known = Known {
                overtime: late.then_some(Duration::from_secs(9)),
                asked_to_end: asked,
                ..known(Standing::Claimed(one(2, None)), Where::Gone(Some(&seen)))
            };
            let Verdict::Lost { number: 2, outcome, again: made_again } = verdict(known) else {
                panic!("{seen:?}")
            };
            assert_eq!((outcome.kind, made_again), (kind, again), "{seen:?}");
        }
    }

    #[test]
    fn a_job_of_which_nothing_is_recorded_was_lost_or_stopped_as_asked() {
        for (asked, kind) in [(false, OutcomeKind::NodeLost), (true, OutcomeKind::Cancelled)] {
            let standing = Standing::Claimed(one(1, None));
            let known = Known { asked_to_end: asked, ..known(standing, Where::Gone(None)) };
            let Verdict::Lost { outcome, again: true, .. } = verdict(known) else { panic!() };
            assert_eq!(outcome.kind, kind);
        }
    }

    #[test]
    fn a_job_that_left_nothing_never_began_or_never_was() {
        let ended = seen(State::Over(Over::Ended));
        for standing in [Standing::Apart, Standing::Ended(one(1, Some(TryEnd::Itself)))] {
            let known = Known { after: 1, ..known(standing.clone(), Where::Gone(Some(&ended))) };
            let Verdict::NeverBegan { node, again: true, .. } = verdict(known) else {
                panic!("{standing:?}")
            };
            assert_eq!(node, "n1");
            let known = Known { after: 1, ..self::known(standing, Where::Gone(None)) };
            assert_eq!(verdict(known), Verdict::Unheard);
        }
    }
}
