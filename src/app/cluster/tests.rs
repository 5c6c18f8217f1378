//! Random histories of a cluster: requeues, lost nodes whose processes live on, a controller that forgets,
//! a login node that dies. Whatever happens, each attempt is published once, and no try is lost.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use medalist_grading::GradeReport;
use medalist_reports::record::{AttemptRecord, OutcomeKind, OutcomeRecord};
use proptest::prelude::*;

use super::follow::{Follower, Pace, Setup};
use super::order::{self, Order, OrderState};
use crate::attempt::dir::AttemptDir;
use crate::attempt::job::Job;
use crate::attempt::plan::{Plan, Remote, SchedulerKind, SchedulerWishes};
use crate::host::files::{read_json_if_there, write_json};
use crate::host::scheduler::{
    Away, Habits, Over, Request, Scheduler, Seen, State, SubmitError, Submitted,
};
use crate::host::store::GroupDir;
use crate::host::store::tries::{self, Claim, Claimed, Standing, TryEnd};
use crate::run::{Judge, JudgeError, Material};

pub(in crate::app) fn plan(seeds: u32) -> Plan {
    let on = Remote {
        scheduler: SchedulerKind::Slurm,
        prefix: "medalist-test".to_owned(),
        wishes: SchedulerWishes::default(),
    };
    Plan { on: Some(on), retries: 10_000, ..crate::run::plan_for_tests(seeds) }
}

/// Grades nothing.
struct Nobody;

impl Judge for Nobody {
    fn material(&self, _: &str) -> Result<Material, JudgeError> {
        Err(JudgeError { message: "nothing is prepared".to_owned() })
    }

    fn grade(&self, _: &str, _: &Path) -> Result<GradeReport, JudgeError> {
        Err(JudgeError { message: "nothing is graded".to_owned() })
    }
}

/// A job of the cluster.
#[derive(Clone)]
struct FakeJob {
    seen: Seen,
    /// The file of its order.
    order: std::path::PathBuf,
    restarts: u32,
    process: Option<usize>,
}

/// What goes wrong with the next calls.
#[derive(Default)]
struct Faults {
    full: u32,
    away: u32,
    /// Takes the jobs and says nothing.
    mute: u32,
    /// Records come late.
    lag: u32,
}

#[derive(Default)]
struct Cluster {
    next_id: u32,
    jobs: Vec<FakeJob>,
    over: HashMap<(String, Option<u32>), Seen>,
    faults: Faults,
    room: usize,
    largest_array: u32,
    /// How often it was asked to take jobs, and how often where they are.
    asked: (usize, usize),
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Cluster>>);

/// Whether a fault that is left strikes now.
fn strikes(left: &mut u32) -> bool {
    let struck = *left > 0;
    *left = left.saturating_sub(1);
    struck
}

impl Scheduler for Fake {
    fn habits(&self) -> Result<Habits, Away> {
        let largest_array = self.0.lock().unwrap().largest_array;
        let kill_wait = Some(Duration::from_secs(30));
        Ok(Habits { largest_array, kill_wait, throttles: true, is_asked_gently: true })
    }

    fn submit(&self, request: &Request) -> Result<Submitted, SubmitError> {
        let mut cluster = self.0.lock().unwrap();
        cluster.asked.0 += 1;
        if strikes(&mut cluster.faults.full)
            || cluster.jobs.len() + request.elements as usize > cluster.room
        {
            return Err(SubmitError::Full("MaxSubmitJobs".to_owned()));
        }
        let id = cluster.next_id.to_string();
        cluster.next_id += 1;
        for index in 0..request.elements {
            let seen = Seen {
                name: request.name.clone(),
                id: id.clone(),
                index: Some(index),
                state: State::Waiting,
                reason: String::new(),
                node: String::new(),
            };
            let order = request.command.last().unwrap().into();
            cluster.jobs.push(FakeJob { seen, order, restarts: 0, process: None });
        }
        match strikes(&mut cluster.faults.mute) {
            true => Err(Away("timed out".to_owned()).into()),
            false => Ok(Submitted { id, cluster: None }),
        }
    }

    fn queue(&self, names: &[String]) -> Result<Vec<Seen>, Away> {
        let mut cluster = self.0.lock().unwrap();
        cluster.asked.1 += 1;
        if strikes(&mut cluster.faults.away) {
            return Err(Away("no answer".to_owned()));
        }
        let seen = cluster.jobs.iter().map(|job| job.seen.clone());
        Ok(seen.filter(|seen| names.contains(&seen.name)).collect())
    }

    fn recorded(&self, names: &[String], _: DateTime<Utc>) -> Result<Vec<Seen>, Away> {
        let mut cluster = self.0.lock().unwrap();
        if strikes(&mut cluster.faults.lag) {
            return Err(Away("no records".to_owned()));
        }
        Ok(cluster.over.values().filter(|seen| names.contains(&seen.name)).cloned().collect())
    }

    fn cancel(&self, _: &[(String, u32)], _: bool) -> Result<(), Away> {
        Ok(())
    }
}

/// A process that makes a try, step by step; it may outlive its job.
struct Process {
    dir: AttemptDir,
    us: Claim,
    number: u32,
    /// How far it has come: claimed, collected, graded, decided, published.
    step: u32,
    outcome: OutcomeKind,
    alive: bool,
}

impl Process {
    fn advance(&mut self) {
        let work = self.dir.earlier_try(self.number);
        match self.step {
            0 => {
                let infrastructure = self.outcome.is_infrastructure();
                let kind = self.outcome.clone();
                let outcome = OutcomeRecord { kind, infrastructure, ..OutcomeRecord::default() };
                let group = self.us.id.to_string();
                let outcome = Some(outcome);
                let record = AttemptRecord { outcome, group, ..AttemptRecord::default() };
                write_json(&work.record(), &record).unwrap();
            }
            1 => std::fs::write(work.grade(), GRADE).unwrap(),
            2 => {
                if !tries::end(&self.dir, self.number, &TryEnd::Itself).unwrap() {
                    self.alive = false;
                }
            }
            3 => tries::publish(&self.dir).unwrap(),
            _ => self.alive = false,
        }
        self.step += 1;
    }
}

const GRADE: &str = r#"{"competition_id": "c", "score": null, "gold_threshold": 1.0, "silver_threshold": 1.0,
    "bronze_threshold": 1.0, "median_threshold": 1.0, "any_medal": false, "medal": null, "gold_medal": false, "silver_medal": false,
    "bronze_medal": false, "above_median": false, "submission_exists": false, "valid_submission": false,
    "is_lower_better": false, "created_at": "", "submission_path": ""}"#;

struct World {
    _temp: tempfile::TempDir,
    group: GroupDir,
    plan: Plan,
    fake: Fake,
    processes: Vec<Process>,
    random: u64,
    now: Duration,
    /// Which try of an attempt was first seen to be its end.
    published: BTreeMap<String, (u32, String)>,
}

const PACE: Pace = Pace { every: Duration::from_secs(60), settle: Duration::from_secs(90) };

impl World {
    fn new(seeds: u32, random: u64) -> Self {
        // Every write is flushed to disk; where there is a disk of memory that costs nothing.
        let shm = Path::new("/dev/shm");
        let temp = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let temp = temp.unwrap();
        let group = GroupDir::new(temp.path());
        let plan = plan(seeds);
        let fake = Fake::default();
        {
            let mut cluster = fake.0.lock().unwrap();
            (cluster.room, cluster.largest_array) = (4, 3);
        }
        Self {
            _temp: temp,
            group,
            plan,
            fake,
            processes: Vec::new(),
            random,
            now: Duration::ZERO,
            published: BTreeMap::new(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below.max(1)
    }

    fn pick(&mut self, wanted: impl Fn(&FakeJob) -> bool) -> Option<usize> {
        let fake = self.fake.clone();
        let found: Vec<usize> = {
            let cluster = fake.0.lock().unwrap();
            (0..cluster.jobs.len()).filter(|at| wanted(&cluster.jobs[*at])).collect()
        };
        let chosen = self.random(found.len() as u64) as usize;
        found.get(chosen).copied()
    }

    /// Starts a waiting job, as its node would.
    fn start(&mut self) {
        if let Some(at) = self.pick(|job| job.seen.state == State::Waiting) {
            self.start_job(at);
        }
    }

    fn start_job(&mut self, at: usize) {
        let job = self.fake.0.lock().unwrap().jobs[at].clone();
        let file: Result<Order, _> = crate::host::files::read_json(&job.order);
        let order = file.unwrap();
        let index = job.seen.index.unwrap();
        if matches!(order.state, OrderState::Withdrawn(_)) {
            return self.over(at, Over::Ended);
        }
        let element = &order.elements[index as usize];
        let dir = self.group.attempt(&element.dir);
        std::fs::create_dir_all(dir.root()).unwrap();
        let named = Job {
            scheduler: "slurm".into(),
            name: Some(job.seen.name.clone()),
            id: job.seen.id.clone(),
            index: Some(index),
            restarts: job.restarts,
            ..Job::default()
        };
        let pid = 1 + self.processes.len() as u32;
        let us = Claim { pid, ..Claim::of_this_process(Some(named)) };
        let gone = |last: &tries::TryState| match tries::gone(&dir, last, &us) {
            Err(_) if last.number <= element.after => Ok("over".to_owned()),
            known => known,
        };
        match tries::claim(&dir, &us, &gone).unwrap() {
            Claimed::New(number) => {
                let id = us.id.to_string();
                std::fs::write(dir.earlier_try(number).log(), &id).unwrap();
                let kinds = [OutcomeKind::Finished, OutcomeKind::TimedOut, OutcomeKind::EngineLost];
                let outcome = kinds[self.random(3) as usize].clone();
                self.processes.push(Process { dir, us, number, step: 0, outcome, alive: true });
            }
            Claimed::Ungraded(number) => {
                let outcome = OutcomeKind::Finished;
                self.processes.push(Process { dir, us, number, step: 1, outcome, alive: true });
            }
            Claimed::Over | Claimed::Elsewhere { .. } => return self.over(at, Over::Ended),
        }
        let mut cluster = self.fake.0.lock().unwrap();
        cluster.jobs[at].seen.state = State::Running;
        cluster.jobs[at].seen.node = "n1".into();
        cluster.jobs[at].process = Some(self.processes.len() - 1);
    }

    /// A job leaves the queue.
    fn over(&mut self, at: usize, how: Over) {
        let mut cluster = self.fake.0.lock().unwrap();
        let job = cluster.jobs.remove(at);
        let key = (job.seen.name.clone(), job.seen.index);
        cluster.over.insert(key, Seen { state: State::Over(how), ..job.seen });
    }

    fn advance(&mut self) {
        let living: Vec<usize> =
            (0..self.processes.len()).filter(|at| self.processes[*at].alive).collect();
        let chosen = self.random(living.len() as u64) as usize;
        let Some(at) = living.get(chosen).copied() else { return };
        self.processes[at].advance();
        if !self.processes[at].alive
            && let Some(job) = self.pick(|job| job.process == Some(at))
        {
            self.over(job, Over::Ended);
        }
    }

    /// Something goes wrong.
    fn fault(&mut self) {
        let running = self.pick(|job| job.seen.state == State::Running);
        match (self.random(9), running) {
            // Its node is lost; its process lives on, and the job is started again.
            (0 | 1, Some(at)) => {
                let mut cluster = self.fake.0.lock().unwrap();
                let job = &mut cluster.jobs[at];
                job.seen.state = State::Waiting;
                job.restarts += 1;
                job.process = None;
            }
            // The same, and it is not started again.
            (2, Some(at)) => self.over(at, Over::NodeLost("NODE_FAIL".into())),
            // Its process is killed.
            (3, Some(at)) => {
                let process = self.fake.0.lock().unwrap().jobs[at].process;
                self.processes[process.unwrap()].alive = false;
                self.over(at, Over::OutOfMemory);
            }
            // Ended before it began.
            (4, _) => {
                if let Some(at) = self.pick(|job| job.seen.state == State::Waiting) {
                    self.over(at, Over::Ended);
                }
            }
            // The controller forgets what waits, and gives its ids out again.
            (5, _) => {
                let mut cluster = self.fake.0.lock().unwrap();
                cluster.jobs.retain(|job| job.seen.state != State::Waiting);
                cluster.next_id = cluster.next_id.saturating_sub(1);
            }
            (6, _) => self.fake.0.lock().unwrap().faults.away = 2,
            (7, _) => self.fake.0.lock().unwrap().faults.mute = 1,
            _ => {
                let mut cluster = self.fake.0.lock().unwrap();
                cluster.faults.full = 1;
                cluster.faults.lag = 2;
            }
        }
    }

    /// What must hold at every moment.
    fn check(&mut self) {
        for attempt in &self.plan.attempts {
            let dir = self.group.attempt(&attempt.dir);
            let Standing::Final(one) = tries::standing(&dir).unwrap() else { continue };
            let end = (one.number, one.claim.unwrap().id.to_string());
            let known = self.published.entry(attempt.dir.clone()).or_insert_with(|| end.clone());
            assert_eq!(*known, end, "an attempt ends once");
        }
    }
}

fn setup<'a>(group: &'a GroupDir, plan: &'a Plan, fake: &'a Fake) -> Setup<'a> {
    Setup {
        group,
        plan,
        remote: plan.on.as_ref().unwrap(),
        scheduler: fake,
        judge: &Nobody,
        program: Path::new("/opt/medalist"),
        habits: fake.habits().unwrap(),
        pace: PACE,
    }
}

/// A history of the cluster, then peace until all is over.
fn history(seeds: u32, random: u64, length: u32) {
    let mut world = World::new(seeds, random);
    let (group, plan, fake) = (world.group.clone(), world.plan.clone(), world.fake.clone());
    let start = || Follower::new(setup(&group, &plan, &fake)).unwrap();
    let mut follower = start();
    for _ in 0..length {
        match world.random(10) {
            0..3 => {
                world.now += Duration::from_secs(30);
                follower.step(world.now).unwrap();
            }
            // The login node dies; somebody resumes.
            3 => follower = start(),
            4..6 => world.start(),
            6..9 => world.advance(),
            _ => world.fault(),
        }
        world.check();
    }
    fake.0.lock().unwrap().faults = Faults::default();
    let mut done = false;
    for _ in 0..5_000 {
        world.now += Duration::from_secs(60);
        done = follower.step(world.now).unwrap().is_done;
        world.start();
        world.advance();
        world.check();
        if done && world.processes.iter().all(|process| !process.alive) {
            break;
        }
    }
    assert!(done, "it comes to an end");
    for process in &world.processes {
        let log = process.dir.earlier_try(process.number).log();
        assert!(log.is_file(), "no try is lost");
    }
    for attempt in &plan.attempts {
        let dir = group.attempt(&attempt.dir);
        let (number, id) = &world.published[&attempt.dir];
        let own: AttemptRecord =
            read_json_if_there(&dir.earlier_try(*number).record()).unwrap().unwrap();
        let shown: AttemptRecord = read_json_if_there(&dir.record()).unwrap().unwrap();
        assert_eq!(shown, own, "what is shown is the try that counts");
        assert_eq!(std::fs::read_to_string(dir.log()).unwrap(), *id);
        assert!(dir.grade().is_file());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_attempt_is_published_once(random in any::<u64>(), length in 0_u32..150) {
        history(3, random, length);
    }
}

#[test]
fn a_job_that_was_only_to_grade_and_never_began_is_handed_over_again() {
    history(4, 16_073_358_378_224_934_202, 79);
}

#[test]
fn a_group_that_nothing_happens_to_is_handed_over_in_arrays_and_windows() {
    let mut world = World::new(10, 7);
    let (group, plan, fake) = (world.group.clone(), world.plan.clone(), world.fake.clone());
    let mut follower = Follower::new(setup(&group, &plan, &fake)).unwrap();
    let step = follower.step(world.now).unwrap();
    // Arrays have three elements at most, and there is room for four jobs.
    assert_eq!((step.waiting, step.open), (4, 6));
    let handed = order::all(&group).unwrap();
    let sizes: Vec<usize> = handed
        .values()
        .filter(|order| matches!(order.state, OrderState::Submitted(_)))
        .map(|order| order.elements.len())
        .collect();
    assert_eq!(sizes, [3, 1]);
    world.now += Duration::from_secs(60);
    assert_eq!(follower.step(world.now).unwrap().open, 6, "there is no more room than before");
}

#[test]
fn an_order_whose_answer_was_lost_is_found_by_its_name() {
    let mut world = World::new(2, 7);
    let (group, plan, fake) = (world.group.clone(), world.plan.clone(), world.fake.clone());
    let start = || Follower::new(setup(&group, &plan, &fake)).unwrap();
    fake.0.lock().unwrap().faults.mute = 1;
    start().step(world.now).unwrap();
    assert!(matches!(order::all(&group).unwrap()[&1].state, OrderState::Intended));
    let mut later = start();
    for _ in 0..4 {
        world.now += Duration::from_secs(60);
        later.step(world.now).unwrap();
    }
    let orders = order::all(&group).unwrap();
    assert!(matches!(orders[&1].state, OrderState::Submitted(_)), "{orders:?}");
    assert_eq!((orders.len(), fake.0.lock().unwrap().jobs.len()), (1, 2), "and nothing twice");
}

/// Makes many attempts without anything that takes time, a window of jobs after the other; `at_once` of
/// them end in each minute. The scheduler is asked once a minute, and to take jobs ten times at most.
fn crowd(attempts: u32, room: usize, largest_array: u32, at_once: usize) {
    let mut world = World::new(attempts, 7);
    let (group, plan, fake) = (world.group.clone(), world.plan.clone(), world.fake.clone());
    {
        let mut cluster = fake.0.lock().unwrap();
        (cluster.room, cluster.largest_array) = (room, largest_array);
    }
    let mut follower = Follower::new(setup(&group, &plan, &fake)).unwrap();
    let mut following = Duration::ZERO;
    loop {
        let before = fake.0.lock().unwrap().asked;
        // As often as the group's folder is looked at.
        let mut is_done = false;
        for _ in 0..12 {
            let began = std::time::Instant::now();
            is_done = follower.step(world.now).unwrap().is_done;
            following += began.elapsed();
            world.now += Duration::from_secs(5);
        }
        let after = fake.0.lock().unwrap().asked;
        assert!(after.0 - before.0 <= 10, "{} submissions in a minute", after.0 - before.0);
        assert!(after.1 - before.1 <= 1, "{} questions in a minute", after.1 - before.1);
        if is_done {
            break;
        }
        for _ in 0..at_once {
            let waiting = fake.0.lock().unwrap().jobs.len();
            if waiting == 0 {
                break;
            }
            world.start_job(0);
            if let Some(process) = world.processes.last_mut() {
                while process.alive {
                    process.advance();
                }
            }
            if fake.0.lock().unwrap().jobs.len() == waiting {
                world.over(0, Over::Ended);
            }
        }
    }
    let submissions = fake.0.lock().unwrap().asked.0;
    println!(
        "{attempts} attempts, {submissions} submissions: followed in {:.1} s over {} simulated minutes",
        following.as_secs_f64(),
        world.now.as_secs() / 60
    );
}

#[test]
fn a_scheduler_is_asked_once_a_minute_whatever_the_size() {
    crowd(200, 60, 7, 30);
}

#[test]
#[ignore = "a benchmark: run it with --release"]
fn ten_thousand_attempts_on_a_hollow_cluster() {
    crowd(10_000, usize::MAX, 1001, 2_000);
    crowd(10_000, 2_000, 1001, 500);
}
