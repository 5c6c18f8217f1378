//! Who holds which GPU. Pure: no clock, no driver, no container.

use std::collections::BTreeMap;

use crate::attempt::limits::GpuRequest;
use crate::host::gpu::Gpu;

/// What an attempt asks of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GpuNeed {
    pub(super) request: GpuRequest,
    /// How many attempts may be on each of its GPUs at once, itself among them; 1 means alone.
    pub(super) share: u32,
}

/// GPUs that an attempt holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lease {
    /// By UUID, in the order of the driver.
    pub(super) uuids: Vec<String>,
    /// For each, whether nobody else was on it when it was taken.
    pub(super) alone: Vec<bool>,
}

/// The GPUs of a run, who is on them, and which are left out.
///
/// One rule makes exclusive and shared GPUs: a GPU never has more holders than the least that any
/// of them agrees to.
#[derive(Debug, Clone, Default)]
pub(super) struct GpuPool {
    devices: Vec<Device>,
}

#[derive(Debug, Clone)]
struct Device {
    uuid: String,
    /// UUID of the GPU that this is, or is a slice of.
    device: String,
    slice: bool,
    numa: Option<u32>,
    /// Attempts and the shares they agreed to.
    holders: BTreeMap<usize, u32>,
    left_out: bool,
}

impl Device {
    fn takes(&self, share: u32) -> bool {
        let least = self.holders.values().copied().fold(share, u32::min);
        !self.left_out && self.holders.len() < least as usize
    }
}

impl GpuPool {
    pub(super) fn new(gpus: &[Gpu]) -> Self {
        let device = |gpu: &Gpu| Device {
            uuid: gpu.uuid.clone(),
            device: gpu.device.clone(),
            slice: gpu.is_slice(),
            numa: gpu.numa,
            holders: BTreeMap::new(),
            left_out: false,
        };
        Self { devices: gpus.iter().map(device).collect() }
    }

    /// Hands GPUs to an attempt; `None` if there are not enough now.
    ///
    /// `allowed` can rule out GPUs by their position. Several GPUs come from one NUMA node where
    /// one has enough, a single GPU from the node with the fewest left, and a shared one is the
    /// one with the fewest holders.
    pub(super) fn take(
        &mut self,
        who: usize,
        need: &GpuNeed,
        allowed: &dyn Fn(usize) -> bool,
    ) -> Option<Lease> {
        let chosen = self.choose(need, allowed)?;
        let mut lease = Lease::default();
        for position in chosen {
            let device = &mut self.devices[position];
            lease.uuids.push(device.uuid.clone());
            lease.alone.push(device.holders.is_empty());
            device.holders.insert(who, need.share);
        }
        Some(lease)
    }

    fn choose(&self, need: &GpuNeed, allowed: &dyn Fn(usize) -> bool) -> Option<Vec<usize>> {
        let free =
            |position: &usize| allowed(*position) && self.devices[*position].takes(need.share);
        let positions = 0..self.devices.len();
        let count = match &need.request {
            GpuRequest::None => return Some(Vec::new()),
            GpuRequest::Count(count) => *count as usize,
            GpuRequest::All => {
                let all: Vec<usize> =
                    positions.filter(|position| !self.devices[*position].left_out).collect();
                return (!all.is_empty() && all.iter().all(free)).then_some(all);
            }
            GpuRequest::Uuids(uuids) => {
                let all: Vec<usize> = positions
                    .filter(|position| uuids.contains(&self.devices[*position].uuid))
                    .collect();
                return (all.len() == uuids.len() && all.iter().all(free)).then_some(all);
            }
        };
        let mut nodes: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
        let mut spare: Vec<usize> = positions.filter(free).collect();
        if count > 1 {
            // A program sees no more than one slice, whatever it is given.
            spare.retain(|position| !self.devices[*position].slice);
        }
        for position in &spare {
            nodes.entry(self.devices[*position].numa).or_default().push(*position);
        }
        let left = |position: &usize| nodes.get(&self.devices[*position].numa).map_or(0, Vec::len);
        if let Some(node) =
            nodes.values().filter(|node| node.len() >= count).min_by_key(|node| node.len())
            && count > 1
        {
            spare.clone_from(node);
        }
        spare.sort_by_key(|position| {
            // Across nodes, big sets are cut as little as possible.
            let left = left(position);
            (
                self.devices[*position].holders.len(),
                if count > 1 { usize::MAX - left } else { left },
                *position,
            )
        });
        spare.truncate(count);
        spare.sort_unstable();
        (spare.len() == count).then_some(spare)
    }

    /// Notes GPUs that an attempt holds already, whatever this pool thinks of it.
    pub(super) fn adopt(&mut self, who: usize, uuids: &[String], share: u32) {
        for device in self.devices.iter_mut().filter(|device| uuids.contains(&device.uuid)) {
            device.holders.insert(who, share);
        }
    }

    /// Takes an attempt's GPUs back; how many it had.
    pub(super) fn release(&mut self, who: usize) -> usize {
        self.devices.iter_mut().filter_map(|device| device.holders.remove(&who)).count()
    }

    /// Hands a GPU, or any slice of it, to nobody from now on.
    pub(super) fn leave_out(&mut self, device: &str) {
        for unit in self.devices.iter_mut().filter(|unit| unit.device == device) {
            unit.left_out = true;
        }
    }

    /// Why a need can never be met, however long it waits.
    pub(super) fn unschedulable(&self, need: &GpuNeed) -> Option<String> {
        let mut empty = self.clone();
        empty.devices.iter_mut().for_each(|device| device.holders.clear());
        if empty.choose(need, &|_| true).is_some() {
            return None;
        }
        let sound = self.devices.iter().filter(|device| !device.left_out).count();
        let (all, what) = (
            self.devices.len(),
            match &need.request {
                GpuRequest::Uuids(uuids) => format!("GPUs {}", uuids.join(", ")),
                GpuRequest::Count(count) => format!("{count} GPUs"),
                GpuRequest::All | GpuRequest::None => "a GPU".to_owned(),
            },
        );
        Some(format!("it asks for {what}, and {sound} of the {all} GPUs of this run are left"))
    }

    /// Positions of the GPUs that could be taken now by somebody who shares with so many.
    pub(super) fn free(&self, share: u32) -> Vec<bool> {
        self.devices.iter().map(|device| device.takes(share)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::run) fn gpus(count: usize, per_node: usize) -> Vec<Gpu> {
        let gpu = |number: usize| Gpu {
            uuid: format!("GPU-{number}"),
            model: "GPU".into(),
            memory_bytes: 80 << 30,
            device: format!("GPU-{number}"),
            index: number as u32,
            minor: Some(number as u32),
            numa: Some((number / per_node) as u32),
        };
        (0..count).map(gpu).collect()
    }

    fn need(count: u32, share: u32) -> GpuNeed {
        GpuNeed { request: GpuRequest::Count(count), share }
    }

    fn take(pool: &mut GpuPool, who: usize, need: &GpuNeed) -> Option<Vec<String>> {
        pool.take(who, need, &|_| true).map(|lease| lease.uuids)
    }

    #[test]
    fn several_cards_come_from_one_node_and_single_ones_leave_nodes_whole() {
        let mut pool = GpuPool::new(&gpus(8, 4));
        assert_eq!(take(&mut pool, 0, &need(1, 1)).unwrap(), ["GPU-0"]);
        // Node 0 has three left: it serves the next single ones, and node 1 stays whole for four.
        assert_eq!(take(&mut pool, 1, &need(1, 1)).unwrap(), ["GPU-1"]);
        assert_eq!(take(&mut pool, 2, &need(4, 1)).unwrap(), ["GPU-4", "GPU-5", "GPU-6", "GPU-7"]);
        assert_eq!(take(&mut pool, 3, &need(3, 1)), None);
        pool.release(2);
        assert_eq!(
            take(&mut pool, 3, &need(6, 1)).unwrap().len(),
            6,
            "nodes are mixed where none has enough"
        );
    }

    #[test]
    fn shared_cards_are_filled_evenly_and_exclusive_ones_stay_alone() {
        let mut pool = GpuPool::new(&gpus(2, 2));
        let shared = need(1, 2);
        let leases: Vec<Lease> =
            (0..4).map(|who| pool.take(who, &shared, &|_| true).unwrap()).collect();
        assert_eq!(
            leases.iter().map(|lease| lease.uuids[0].as_str()).collect::<Vec<_>>(),
            ["GPU-0", "GPU-1", "GPU-0", "GPU-1"]
        );
        assert_eq!(
            leases.iter().map(|lease| lease.alone[0]).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(take(&mut pool, 4, &shared), None);
        pool.release(0);
        assert_eq!(take(&mut pool, 4, &need(1, 1)), None, "one holder is left on it");
        pool.release(2);
        assert_eq!(take(&mut pool, 4, &need(1, 1)).unwrap(), ["GPU-0"]);
        pool.release(1);
        assert_eq!(
            take(&mut pool, 5, &need(1, 8)).unwrap(),
            ["GPU-1"],
            "the other holder agrees to two"
        );
        assert_eq!(take(&mut pool, 6, &need(1, 8)), None, "and to no more");
    }

    #[test]
    fn a_list_means_exactly_these_cards_and_slices_come_one_at_a_time() {
        let mut units = gpus(2, 2);
        units[1] = Gpu { uuid: "MIG-1".into(), ..units[1].clone() };
        let mut pool = GpuPool::new(&units);
        let list = |uuids: &[&str]| GpuNeed {
            request: GpuRequest::Uuids(uuids.iter().map(ToString::to_string).collect()),
            share: 1,
        };
        assert_eq!(take(&mut pool, 0, &list(&["MIG-1"])).unwrap(), ["MIG-1"]);
        assert_eq!(take(&mut pool, 1, &list(&["MIG-1"])), None);
        assert!(pool.unschedulable(&need(2, 1)).unwrap().contains("2 GPUs"));
        assert!(pool.unschedulable(&list(&["GPU-9"])).unwrap().contains("GPU-9"));
        let all = GpuNeed { request: GpuRequest::All, share: 1 };
        assert_eq!(take(&mut pool, 1, &all), None, "one of them is taken");
        pool.release(0);
        assert_eq!(take(&mut pool, 1, &all).unwrap(), ["GPU-0", "MIG-1"]);
        pool.leave_out("GPU-0");
        assert_eq!(pool.unschedulable(&need(1, 1)), None, "a slice is left");
        pool.leave_out("GPU-1");
        assert!(pool.unschedulable(&need(1, 1)).unwrap().contains("0 of the 2 GPUs"));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take { count: u32, share: u32 },
        Adopt { device: usize, share: u32 },
        Release(usize),
        LeaveOut(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (1u32..5, 1u32..4).prop_map(|(count, share)| Step::Take { count, share }),
            1 => (0usize..8, 1u32..4).prop_map(|(device, share)| Step::Adopt { device, share }),
            5 => (0usize..40).prop_map(Step::Release),
            1 => (0usize..8).prop_map(Step::LeaveOut),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        /// The model keeps its own books: a list of who holds what with which share. After every
        /// step no GPU has more holders than any of them agreed to (but for those that were
        /// running already), GPUs that are left out go to nobody, what could be had is had, and
        /// everything comes back exactly once.
        #[test]
        fn no_card_is_given_twice_and_every_card_comes_back(steps in prop::collection::vec(step(), 1..120)) {
            let mut pool = GpuPool::new(&gpus(8, 4));
            let mut held: BTreeMap<usize, (Vec<String>, u32)> = BTreeMap::new();
            let mut adopted = std::collections::BTreeSet::new();
            let mut out = std::collections::BTreeSet::new();
            for (who, step) in steps.into_iter().enumerate() {
                let on = |held: &BTreeMap<usize, (Vec<String>, u32)>, device: &str| -> Vec<u32> {
                    held.values().filter(|(devices, _)| devices.iter().any(|c| c == device)).map(|(_, share)| *share).collect()
                };
                match step {
                    Step::Take { count, share } => {
                        let room = |device: &String| {
                            let shares = on(&held, device);
                            let least = shares.iter().copied().fold(share, u32::min);
                            !out.contains(device) && shares.len() < least as usize
                        };
                        let could = (0..8).map(|n| format!("GPU-{n}")).filter(|device| room(device)).count();
                        let lease = pool.take(who, &need(count, share), &|_| true);
                        prop_assert_eq!(lease.is_some(), could >= count as usize);
                        if let Some(lease) = lease {
                            let distinct: std::collections::BTreeSet<&String> = lease.uuids.iter().collect();
                            prop_assert_eq!(distinct.len(), count as usize);
                            for (device, alone) in lease.uuids.iter().zip(&lease.alone) {
                                prop_assert!(room(device), "{} was full or left out", device);
                                prop_assert_eq!(*alone, on(&held, device).is_empty());
                            }
                            held.insert(who, (lease.uuids, share));
                        }
                    }
                    Step::Adopt { device, share } => {
                        let device = format!("GPU-{device}");
                        pool.adopt(who, std::slice::from_ref(&device), share);
                        adopted.insert(device.clone());
                        held.insert(who, (vec![device], share));
                    }
                    Step::Release(who) => {
                        let expected = held.remove(&who).map_or(0, |(devices, _)| devices.len());
                        prop_assert_eq!(pool.release(who), expected);
                        prop_assert_eq!(pool.release(who), 0, "a second release gives nothing back");
                    }
                    Step::LeaveOut(device) => {
                        pool.leave_out(&format!("GPU-{device}"));
                        out.insert(format!("GPU-{device}"));
                    }
                }
                for device in (0..8).map(|n| format!("GPU-{n}")).filter(|device| !adopted.contains(device)) {
                    let shares = on(&held, &device);
                    prop_assert!(shares.iter().all(|share| shares.len() <= *share as usize), "{}: {:?}", device, shares);
                }
            }
            for who in held.keys() {
                pool.release(*who);
            }
            prop_assert_eq!(pool.free(1).iter().filter(|free| **free).count(), 8 - out.len());
        }
    }
}
