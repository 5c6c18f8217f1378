//! Who may start: attempts in the order of the plan as long as there is room, later ones only where
//! they delay nobody.
//!
//! Pure: the time is an argument, starting and ending are the caller's. The attempt at the head of
//! the queue that does not fit gets a reservation: the moment at which enough of what runs is over
//! at the latest, and the GPUs it will then have. An attempt behind it may start before it only if
//! it is over by then, or if it takes nothing of what is reserved. So big attempts never starve,
//! and the machine does not stand still while one waits.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::pool::{GpuNeed, GpuPool, Lease};
use crate::attempt::limits::GpuRequest;

/// How far behind the head of the queue an attempt may be that starts before it.
const LOOK_AHEAD: usize = 512;

/// What a machine has for attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Processors.
    pub cpus: f64,
    /// Memory.
    pub memory_bytes: u64,
    /// Attempts at once.
    pub attempts: usize,
}

/// What an attempt needs, and for how long at most.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Need {
    pub(super) cpus: f64,
    pub(super) memory_bytes: u64,
    pub(super) gpus: GpuNeed,
    /// Its time limit and grace: it holds what it has no longer.
    pub(super) longest: Duration,
}

impl Need {
    /// The same without GPUs.
    pub(super) fn without_gpus(&self) -> Self {
        Self { gpus: GpuNeed { request: GpuRequest::None, share: 1 }, ..self.clone() }
    }
}

/// What the scheduler says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// This attempt starts now, on these GPUs.
    Start(usize, Lease),
    /// This attempt can never start.
    Unschedulable(usize, String),
    /// Nothing can start before something ends.
    Wait,
}

/// The machine's room.
#[derive(Debug, Clone)]
struct Room {
    capacity: Capacity,
    cpus: f64,
    memory_bytes: u64,
    attempts: usize,
    pool: GpuPool,
}

impl Room {
    /// True if processors, memory and places are enough. An idle machine takes any attempt: one
    /// that asks for more than there is runs alone rather than never.
    fn has(&self, need: &Need) -> bool {
        // The last bit of sums of fractions must not keep an attempt waiting: ten times 0.1 is not 1.
        let fits = |used: f64, more: f64, all: f64| used + more <= all + 1e-9;
        self.attempts == 0
            || (self.attempts < self.capacity.attempts
                && fits(self.cpus, need.cpus, self.capacity.cpus)
                && self.memory_bytes.saturating_add(need.memory_bytes)
                    <= self.capacity.memory_bytes)
    }

    fn take(&mut self, who: usize, need: &Need, allowed: &dyn Fn(usize) -> bool) -> Option<Lease> {
        let lease =
            if self.has(need) { self.pool.take(who, &need.gpus, allowed)? } else { return None };
        self.count(need);
        Some(lease)
    }

    fn count(&mut self, need: &Need) {
        self.cpus += need.cpus;
        self.memory_bytes = self.memory_bytes.saturating_add(need.memory_bytes);
        self.attempts += 1;
    }

    fn release(&mut self, who: usize, need: &Need) {
        self.pool.release(who);
        self.attempts -= 1;
        // Sums of fractions drift; an idle machine is wholly free.
        self.cpus = if self.attempts == 0 { 0.0 } else { self.cpus - need.cpus };
        self.memory_bytes = if self.attempts == 0 {
            0
        } else {
            self.memory_bytes.saturating_sub(need.memory_bytes)
        };
    }
}

/// The queue and what runs.
#[derive(Debug, Clone)]
pub(super) struct Scheduler {
    room: Room,
    waiting: VecDeque<(usize, Need)>,
    /// What runs, and when it is over at the latest.
    running: BTreeMap<usize, (Need, Duration)>,
}

impl Scheduler {
    pub(super) fn new(capacity: Capacity, pool: GpuPool) -> Self {
        let room = Room { capacity, cpus: 0.0, memory_bytes: 0, attempts: 0, pool };
        Self { room, waiting: VecDeque::new(), running: BTreeMap::new() }
    }

    /// Puts an attempt at the end of the queue.
    pub(super) fn queue(&mut self, who: usize, need: Need) {
        self.waiting.push_back((who, need));
    }

    /// Puts an attempt at the head of the queue: it has waited before.
    pub(super) fn queue_first(&mut self, who: usize, need: Need) {
        self.waiting.push_front((who, need));
    }

    /// Notes an attempt that runs already, on the GPUs it has, whether there is room for it or
    /// not.
    pub(super) fn adopt(&mut self, who: usize, need: Need, uuids: &[String], now: Duration) {
        self.room.pool.adopt(who, uuids, need.gpus.share);
        self.room.count(&need);
        let until = now + need.longest;
        self.running.insert(who, (need, until));
    }

    /// Takes back what an attempt held; false if it holds nothing.
    pub(super) fn end(&mut self, who: usize) -> bool {
        let Some((need, _)) = self.running.remove(&who) else { return false };
        self.room.release(who, &need);
        true
    }

    /// Hands a GPU to nobody from now on.
    pub(super) fn leave_out(&mut self, uuid: &str) {
        self.room.pool.leave_out(uuid);
    }

    /// What runs and is over first, and when that is at the latest.
    fn first_end(&self) -> Option<(usize, Duration)> {
        self.running.iter().map(|(who, (_, until))| (*who, *until)).min_by_key(|(_, until)| *until)
    }

    /// What starts next; to be asked again until it says [`Next::Wait`].
    pub(super) fn next(&mut self, now: Duration) -> Next {
        let Some((who, need)) = self.waiting.front().cloned() else { return Next::Wait };
        if let Some(lease) = self.room.take(who, &need, &|_| true) {
            self.waiting.pop_front();
            return self.started(who, need, lease, now);
        }
        if let Some(why) = self.room.pool.unschedulable(&need.gpus) {
            self.waiting.pop_front();
            return Next::Unschedulable(who, why);
        }
        let (at, after) = self.reservation(who, &need, now);
        let mut tried: Vec<Need> = Vec::new();
        for position in 1..self.waiting.len().min(LOOK_AHEAD) {
            let (who, need) = self.waiting[position].clone();
            // Where one found no room its equals find none, and a plan has few kinds.
            if tried.contains(&need) {
                continue;
            }
            if let Some(lease) = self.backfill(who, &need, now, at, &after) {
                self.waiting.remove(position);
                return self.started(who, need, lease, now);
            }
            tried.push(need);
        }
        Next::Wait
    }

    fn started(&mut self, who: usize, need: Need, lease: Lease, now: Duration) -> Next {
        let until = now + need.longest;
        self.running.insert(who, (need, until));
        Next::Start(who, lease)
    }

    /// When the head of the queue starts at the latest, and the room that is left when it has.
    fn reservation(&self, who: usize, need: &Need, now: Duration) -> (Duration, Room) {
        let mut after = self.room.clone();
        let mut ends: Vec<(Duration, usize)> =
            self.running.iter().map(|(who, (_, until))| (*until, *who)).collect();
        // Each is taken to last as long as it may, so that the promise holds whatever agents do.
        ends.sort_unstable();
        let mut at = now;
        for (until, ended) in ends {
            at = at.max(until);
            after.release(ended, &self.running[&ended].0);
            if after.take(who, need, &|_| true).is_some() {
                return (at, after);
            }
        }
        (at, after)
    }

    /// Starts an attempt before the head of the queue if that delays it by nothing.
    fn backfill(
        &mut self,
        who: usize,
        need: &Need,
        now: Duration,
        at: Duration,
        after: &Room,
    ) -> Option<Lease> {
        // It may outlast the wait if it fits beside the head then, on GPUs that the head leaves.
        if after.clone().take(who, need, &|_| true).is_some() {
            let spare = after.pool.free(need.gpus.share);
            if let Some(lease) = self.room.take(who, need, &|position| spare[position]) {
                return Some(lease);
            }
        }
        if now + need.longest <= at { self.room.take(who, need, &|_| true) } else { None }
    }
}

/// What a plan comes to on a machine if every attempt takes all of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// The most attempts at once.
    pub at_once: usize,
    /// Until the last one is over.
    pub longest: Duration,
    /// Attempts that can never start here.
    pub unschedulable: usize,
}

/// Plays the schedule through.
pub(super) fn forecast(mut scheduler: Scheduler) -> Forecast {
    let mut now = Duration::ZERO;
    let mut forecast = Forecast { at_once: 0, longest: Duration::ZERO, unschedulable: 0 };
    loop {
        match scheduler.next(now) {
            Next::Start(..) => forecast.at_once = forecast.at_once.max(scheduler.running.len()),
            Next::Unschedulable(..) => forecast.unschedulable += 1,
            Next::Wait => {
                let Some((who, until)) = scheduler.first_end() else { break };
                now = now.max(until);
                forecast.longest = now;
                scheduler.end(who);
            }
        }
    }
    forecast
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run::pool::tests::gpus;

    const GIB: u64 = 1 << 30;
    const HOUR: Duration = Duration::from_secs(3600);

    fn need(cpus: f64, memory_bytes: u64, gpus: u32, hours: u32) -> Need {
        let request = if gpus == 0 { GpuRequest::None } else { GpuRequest::Count(gpus) };
        Need { cpus, memory_bytes, gpus: GpuNeed { request, share: 1 }, longest: HOUR * hours }
    }

    fn machine(cpus: f64, memory_bytes: u64, attempts: usize, devices: usize) -> Scheduler {
        Scheduler::new(Capacity { cpus, memory_bytes, attempts }, GpuPool::new(&gpus(devices, 4)))
    }

    fn starts(scheduler: &mut Scheduler, now: Duration) -> Vec<usize> {
        let mut started = Vec::new();
        while let Next::Start(who, _) = scheduler.next(now) {
            started.push(who);
        }
        started
    }

    #[test]
    fn the_scarcest_resource_decides() {
        let cases = [
            (machine(16.0, 64 * GIB, 100, 0), 0, 8),
            (machine(16.0, 13 * GIB, 100, 0), 0, 3),
            (machine(16.0, 64 * GIB, 2, 0), 0, 2),
            (machine(16.0, 64 * GIB, 100, 4), 2, 2),
            // One that asks for more than there is runs alone rather than never.
            (machine(1.0, GIB, 4, 0), 0, 1),
        ];
        for (mut scheduler, devices, at_once) in cases {
            (0..20).for_each(|who| scheduler.queue(who, need(2.0, 4 * GIB, devices, 1)));
            let expected = Forecast {
                at_once,
                longest: HOUR * 20u32.div_ceil(at_once as u32),
                unschedulable: 0,
            };
            assert_eq!(forecast(scheduler), expected);
        }
    }

    #[test]
    fn a_small_attempt_goes_before_a_big_one_only_where_it_delays_nothing() {
        let mut scheduler = machine(100.0, GIB, 100, 4);
        scheduler.queue(0, need(1.0, 0, 1, 10));
        scheduler.queue(1, need(1.0, 0, 4, 10));
        scheduler.queue(2, need(1.0, 0, 1, 11));
        scheduler.queue(3, need(1.0, 0, 1, 10));
        scheduler.queue(4, need(1.0, 0, 0, 99));
        // The big one has all GPUs from hour 10 on: 2 would be in its way, 3 is over by then, 4
        // needs no GPU.
        assert_eq!(starts(&mut scheduler, Duration::ZERO), [0, 3, 4]);
        assert_eq!(
            starts(&mut scheduler, HOUR),
            [] as [usize; 0],
            "3 has the place, 2 still does not"
        );
        assert!(scheduler.end(3) && scheduler.end(0));
        assert_eq!(starts(&mut scheduler, HOUR * 2), [1]);
        assert!(!scheduler.end(0), "an end counts once");
    }

    #[test]
    fn gpus_that_fail_make_attempts_unschedulable_and_no_others() {
        let mut scheduler = machine(100.0, GIB, 100, 2);
        scheduler.queue(0, need(1.0, 0, 2, 1));
        scheduler.queue(1, need(1.0, 0, 1, 1));
        scheduler.leave_out("GPU-1");
        assert!(matches!(scheduler.next(Duration::ZERO), Next::Unschedulable(0, _)));
        let Next::Start(1, lease) = scheduler.next(Duration::ZERO) else { panic!("it fits") };
        assert_eq!(lease.uuids, ["GPU-0"]);
    }

    #[test]
    fn what_runs_already_keeps_its_cards() {
        let mut scheduler = machine(1.0, GIB, 1, 2);
        scheduler.adopt(0, need(4.0, 9 * GIB, 1, 1), &["GPU-0".to_owned()], Duration::ZERO);
        scheduler.adopt(1, need(4.0, 9 * GIB, 1, 1), &["GPU-1".to_owned()], Duration::ZERO);
        scheduler.queue(2, need(1.0, 0, 1, 1));
        assert_eq!(scheduler.next(Duration::ZERO), Next::Wait);
        scheduler.end(1);
        assert_eq!(
            scheduler.next(Duration::ZERO),
            Next::Wait,
            "the one place is taken by the other"
        );
        scheduler.end(0);
        assert!(matches!(scheduler.next(Duration::ZERO), Next::Start(2, _)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// The model: attempts of any size that end before their limit. Whoever comes to the head
        /// of the queue and must wait starts no later than was promised at that moment, whatever
        /// overtook it; nobody is forgotten or started twice.
        #[test]
        fn the_head_of_the_queue_is_never_delayed(
            asks in prop::collection::vec((0u32..5, 1u32..4, 1u64..60, 1u64..61), 1..40),
        ) {
            let mut scheduler = machine(8.0, 64 * GIB, 6, 4);
            let minute = Duration::from_secs(60);
            for (who, (devices, cpus, limit, _)) in asks.iter().enumerate() {
                let need = Need { longest: minute * *limit as u32, ..need(f64::from(*cpus), GIB, *devices, 0) };
                scheduler.queue(who, need);
            }
            let (mut now, mut promised, mut started) = (Duration::ZERO, BTreeMap::new(), Vec::new());
            let mut ends: BTreeMap<usize, Duration> = BTreeMap::new();
            loop {
                if let Some((who, need)) = scheduler.waiting.front().cloned()
                    && scheduler.room.clone().take(who, &need, &|_| true).is_none()
                {
                    let (at, _) = scheduler.reservation(who, &need, now);
                    promised.entry(who).or_insert(at);
                }
                match scheduler.next(now) {
                    Next::Start(who, _) => {
                        if let Some(at) = promised.get(&who) {
                            prop_assert!(now <= *at, "{} was promised {:?} and starts at {:?}", who, at, now);
                        }
                        started.push(who);
                        let (_, _, limit, takes) = asks[who];
                        ends.insert(who, now + minute * takes.min(limit) as u32);
                    }
                    Next::Unschedulable(who, why) => prop_assert!(false, "{}: {}", who, why),
                    Next::Wait => {
                        let Some((who, at)) = ends.iter().map(|(who, at)| (*who, *at)).min_by_key(|(_, at)| *at) else { break };
                        now = at;
                        ends.remove(&who);
                        prop_assert!(scheduler.end(who));
                    }
                }
            }
            started.sort_unstable();
            prop_assert_eq!(started, (0..asks.len()).collect::<Vec<_>>());
        }
    }
}
