//! Which calls are made in which order.

use alloc::vec::Vec;
use core::ops::Range;
use fastrand::Rng;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Index of the workload.
    pub workload: usize,
    /// The seed that its input is made from.
    pub seed: u64,
}

/// The calls of a run, in pieces that one client takes at a time.
#[derive(Clone, Debug)]
pub struct Plan {
    calls: Vec<Call>,
    /// Calls of each piece.
    piece: usize,
}

impl Plan {
    /// Each of so many workloads with each of the seeds; a piece is all calls of one workload.
    #[must_use]
    pub fn of_each(workloads: usize, seeds: Range<u64>) -> Plan {
        let piece = seeds.end.saturating_sub(seeds.start) as usize;
        let calls = (0..workloads)
            .flat_map(|workload| seeds.clone().map(move |seed| Call { workload, seed }))
            .collect();
        Plan { calls, piece }
    }

    /// A balanced load: at most `calls` calls, of each workload equally many, with consecutive seeds from `seed`, in
    /// an order that `seed` decides. A piece is one call.
    #[must_use]
    pub fn balanced(workloads: usize, calls: u32, seed: u64) -> Plan {
        let each = u64::from(calls) / workloads.max(1) as u64;
        let mut plan = Plan::of_each(workloads, seed..seed + each);
        Rng::with_seed(seed).shuffle(&mut plan.calls);
        Plan { piece: 1, ..plan }
    }

    /// The piece number `index`, or `None` behind the last one.
    #[must_use]
    pub fn piece(&self, index: usize) -> Option<&[Call]> {
        self.calls.chunks(self.piece.max(1)).nth(index)
    }

    /// How many calls there are.
    #[must_use]
    pub fn length(&self) -> usize {
        self.calls.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(plan: &Plan) -> Vec<&[Call]> {
        (0..).map_while(|index| plan.piece(index)).collect()
    }

    #[test]
    fn each_workload_gets_each_seed() {
        let plan = Plan::of_each(3, 5..7);
        let pieces = pieces(&plan);
        assert_eq!((pieces.len(), plan.length()), (3, 6));
        for (workload, calls) in pieces.into_iter().enumerate() {
            assert_eq!(calls, [5, 6].map(|seed| Call { workload, seed }));
        }
    }

    #[test]
    fn a_load_is_balanced_and_its_order_is_the_seeds() {
        let plan = Plan::balanced(16, 17_000, 3);
        assert_eq!(plan.length(), 16 * 1062);
        let order = pieces(&plan).concat();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_ne!(order, sorted);
        assert_eq!(sorted, Plan::of_each(16, 3..1065).calls);
        assert_eq!(order, Plan::balanced(16, 17_000, 3).calls);
        assert_ne!(order, Plan::balanced(16, 17_000, 4).calls);
    }

    #[test]
    fn too_few_calls_and_no_workload_are_an_empty_plan() {
        assert_eq!(Plan::balanced(4, 3, 1).length(), 0);
        assert!(Plan::balanced(0, 3, 1).piece(0).is_none());
    }
}
