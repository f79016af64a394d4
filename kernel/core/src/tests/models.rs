//! Random operations on the kernel's data structures, each compared with a simple model.
#![expect(unsafe_code, reason = "units are given back by address")]

use super::world::{root_account, sub_account};
use crate::account::{Account, UNIT};
use crate::capability::{self, Capability, Replace, Slot};
use crate::cpu::{Cpu, Domain};
use crate::machine::fake;
use crate::object::Ref;
use crate::objects::{Gate, Task};
use crate::schedule::RunQueue;
use crate::thread::Thread;
use crate::timeout::{Owner, TimeoutQueue};
use crate::{objects, reaper};
use core::ptr::NonNull;
use l4::utcb::FIRST_ADDRESS;
use l4::{CapIndex, PAGE_SIZE, Rights};
use proptest::collection::vec;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

/// An account that a test works with; in the end it gives everything back.
struct Purse {
    account: Ref<Account>,
    _guard: fake::Guard,
}

impl Purse {
    fn new() -> Purse {
        let guard = fake::lock();
        Purse {
            account: sub_account(root_account(), 512),
            _guard: guard,
        }
    }

    fn threads(&self, count: usize) -> Vec<Ref<Thread>> {
        let task = Task::create(self.account).unwrap();
        let address = |number: usize| FIRST_ADDRESS - number as u64 * PAGE_SIZE;
        (0..count)
            .map(|number| Thread::create(self.account, task, address(number)).unwrap())
            .collect()
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        objects::delete(self.account.erase());
        for _ in 0..10_000 {
            Cpu::this().epoch.leave();
            reaper::work(reaper::BUDGET);
        }
        assert!(
            std::thread::panicking() || root_account().used() == 0,
            "something is left"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn units_never_overlap_and_pages_come_back(steps in vec((any::<bool>(), 1u32..=63, any::<usize>()), 1..200)) {
        let purse = Purse::new();
        let account = purse.account;
        let mut live: Vec<(NonNull<u8>, u32)> = Vec::new();
        for (take, count, which) in steps {
            if take || live.is_empty() {
                let Ok(units) = account.allocate_units(count) else { continue };
                let (start, size) = (units.as_ptr() as usize, count as usize * UNIT);
                prop_assert_eq!(start % UNIT, 0);
                prop_assert_eq!(start as u64 / PAGE_SIZE, (start + size - 1) as u64 / PAGE_SIZE);
                for (other, count) in &live {
                    let (other, other_size) = (other.as_ptr() as usize, *count as usize * UNIT);
                    prop_assert!(start + size <= other || other + other_size <= start);
                }
                live.push((units, count));
            } else {
                let (units, count) = live.swap_remove(which % live.len());
                // SAFETY: They were allocated with this count, and nobody uses them.
                unsafe { account.free_units(units, count) };
            }
            let mut pages: Vec<u64> = live.iter().map(|(units, _)| units.as_ptr() as u64 / PAGE_SIZE).collect();
            pages.sort_unstable();
            pages.dedup();
            prop_assert_eq!(account.used(), pages.len() as u64 * PAGE_SIZE);
        }
        for (units, count) in live {
            // SAFETY: As above.
            unsafe { account.free_units(units, count) };
        }
        prop_assert_eq!(account.used(), 0);
    }

    #[test]
    fn timers_are_taken_in_order(steps in vec((0u8..4, 0usize..24, 1u64..100), 1..200)) {
        let purse = Purse::new();
        let threads = purse.threads(24);
        let domain = Domain::lock(Cpu::this());
        let queue = TimeoutQueue::new();
        let mut model = BTreeMap::new();
        for (what, which, time) in steps {
            let owner = Owner::Thread(threads[which]);
            match what {
                0 | 1 if !model.contains_key(&which) => {
                    queue.arm(&domain, owner, time);
                    model.insert(which, time);
                }
                2 => {
                    queue.disarm(&domain, owner);
                    model.remove(&which);
                }
                _ => {
                    let taken = queue.take_expired(&domain, time);
                    let least = model.values().min().copied().filter(|least| *least <= time);
                    let index = taken.and_then(|taken| {
                        threads.iter().position(|thread| Owner::Thread(*thread) == taken)
                    });
                    prop_assert_eq!(index.map(|index| model[&index]), least);
                    index.map(|index| model.remove(&index));
                }
            }
            let mut armed: Vec<_> = queue.armed(&domain).into_iter().map(|(owner, time)| {
                (threads.iter().position(|thread| Owner::Thread(*thread) == owner), time)
            }).collect();
            armed.sort_unstable();
            let expected: Vec<_> = model.iter().map(|(which, time)| (Some(*which), *time)).collect();
            prop_assert_eq!(armed, expected);
        }
        for thread in &threads {
            queue.disarm(&domain, Owner::Thread(*thread));
        }
    }

    #[test]
    fn the_run_queue_is_a_list_per_priority(steps in vec((0u8..4, 0usize..16), 1..200), priorities in vec(1u8..=255, 16)) {
        let purse = Purse::new();
        let threads = purse.threads(16);
        let domain = Domain::lock(Cpu::this());
        for (thread, priority) in threads.iter().zip(&priorities) {
            // Few priorities, so that threads share them; from all words of the bitmap.
            thread.set_priority(&domain, *priority | 0x3f);
        }
        let queue = Box::new(RunQueue::new());
        let mut model: Vec<Ref<Thread>> = Vec::new();
        for (what, which) in steps {
            let thread = threads[which];
            let queued = model.iter().position(|other| *other == thread);
            let place = |ahead: &dyn Fn(u8) -> bool| {
                model.iter().position(|other| !ahead(other.priority())).unwrap_or(model.len())
            };
            match (what, queued) {
                (0, None) => {
                    let at = place(&|priority| priority >= thread.priority());
                    queue.push_back(&domain, thread);
                    model.insert(at, thread);
                }
                (1, None) => {
                    let at = place(&|priority| priority > thread.priority());
                    queue.push_front(&domain, thread);
                    model.insert(at, thread);
                }
                (2, Some(at)) => {
                    queue.remove(&domain, thread);
                    model.remove(at);
                }
                (3, _) => {
                    let first = (!model.is_empty()).then(|| model.remove(0));
                    prop_assert_eq!(queue.pop(&domain), first);
                }
                _ => {}
            }
            prop_assert_eq!(queue.threads(&domain), model.clone());
            prop_assert_eq!(queue.highest(&domain), model.first().map(|thread| thread.priority()));
        }
        while queue.pop(&domain).is_some() {}
    }

    #[test]
    fn derivation_is_a_tree(steps in vec((0u8..8, 0usize..SLOTS, 1usize..SLOTS), 1..150)) {
        let mut world = Derivation::new();
        for (what, from, to) in steps {
            world.step(what, from, to);
            world.check();
        }
        world.end();
    }
}

#[test]
fn chains_are_cut_off_at_the_deepest_level() {
    for removed in [1, 15, 30, 31, 32, 40] {
        let mut world = Derivation::new();
        for node in 1..SLOTS {
            world.step(0, node - 1, node);
            world.check();
        }
        assert_eq!(world.depth(SLOTS - 1), DEEPEST);
        world.step(6, 0, removed);
        world.check();
        world.step(5, SLOTS - 1, removed);
        world.check();
        world.step(7, 20, 0);
        world.check();
        world.end();
    }
}

/// Slots of a task that a test uses; the first holds the capability that all others come from, and stays.
const SLOTS: usize = 48;
/// Deepest level of a tree.
const DEEPEST: usize = 31;

/// Capabilities to one gate, beside a tree that says who derived which.
struct Derivation {
    purse: Purse,
    task: Ref<Task>,
    gate: Ref<Gate>,
    /// Parent of each capability that exists; the first is its own.
    parents: BTreeMap<usize, usize>,
    rights: BTreeMap<usize, Rights>,
}

impl Derivation {
    fn new() -> Derivation {
        let purse = Purse::new();
        let task = Task::create(purse.account).unwrap();
        let gate = Gate::create(purse.account, 0, None).unwrap();
        let first = Capability {
            object: gate.erase(),
            rights: Rights::all(),
            label: 0,
        };
        capability::insert_root(&task.caps, purse.account, index(0), first).unwrap();
        Derivation {
            purse,
            task,
            gate,
            parents: BTreeMap::from([(0, 0)]),
            rights: BTreeMap::from([(0, Rights::all())]),
        }
    }

    fn depth(&self, mut node: usize) -> usize {
        let mut depth = 0;
        while node != 0 {
            node = self.parents[&node];
            depth += 1;
        }
        depth
    }

    fn forget(&mut self, node: usize) {
        if let Some(parent) = self.parents.remove(&node) {
            self.rights.remove(&node);
            self.parents
                .values_mut()
                .filter(|other| **other == node)
                .for_each(|other| *other = parent);
        }
    }

    fn is_derived(&self, mut node: usize, from: usize) -> bool {
        while node != 0 {
            node = self.parents[&node];
            if node == from {
                return true;
            }
        }
        false
    }

    fn step(&mut self, what: u8, from: usize, to: usize) {
        match what {
            0..=4 => self.copy(from, to, false),
            5 if from != 0 => self.copy(from, to, true),
            6 => {
                if let Some(slot) = self.task.caps.slot(index(to)) {
                    capability::remove(slot);
                }
                self.forget(to);
            }
            7 => {
                if let Some(slot) = self.task.caps.slot(index(from)) {
                    capability::revoke(slot);
                }
                if self.parents.contains_key(&from) {
                    let all: Vec<usize> = self.parents.keys().copied().collect();
                    let gone: Vec<usize> = all
                        .into_iter()
                        .filter(|node| self.is_derived(*node, from))
                        .collect();
                    for node in gone {
                        self.parents.remove(&node);
                        self.rights.remove(&node);
                    }
                }
            }
            _ => {}
        }
    }

    fn copy(&mut self, from: usize, to: usize, grant: bool) {
        let rights = Rights::from_bits_truncate(to as u8 | 1);
        let exists = self.parents.contains_key(&from);
        let Some(source) = self.task.caps.slot(index(from)) else {
            return;
        };
        let target = (&self.task.caps, self.purse.account, index(to));
        let copied = capability::copy(source, target, Replace::Anything, rights, None, grant);
        assert_eq!(copied.is_ok(), exists);
        if !exists || from == to {
            return;
        }
        self.forget(to);
        let held = self.rights[&from];
        let parent = if grant || self.depth(from) == DEEPEST {
            self.parents[&from]
        } else {
            from
        };
        if grant {
            self.parents.remove(&from);
            self.rights.remove(&from);
            self.parents
                .values_mut()
                .filter(|other| **other == from)
                .for_each(|other| *other = to);
        }
        self.parents.insert(to, parent);
        self.rights.insert(to, held & rights);
    }

    fn check(&self) {
        let number = |slot: *const Slot| {
            let same = |node: &usize| {
                self.task
                    .caps
                    .slot(index(*node))
                    .is_some_and(|other| core::ptr::eq(other, slot))
            };
            (0..SLOTS).find(same).unwrap()
        };
        let mut above: Vec<usize> = Vec::new();
        let mut found = BTreeMap::new();
        for (slot, depth) in capability::tree(self.gate.erase()) {
            let node = number(slot);
            above.truncate(depth.into());
            found.insert(node, above.last().copied().unwrap_or(node));
            above.push(node);
        }
        assert_eq!(found, self.parents);
        for (node, rights) in &self.rights {
            assert_eq!(self.task.caps.get(index(*node)).unwrap().rights, *rights);
        }
    }

    fn end(self) {
        assert!(self.parents.len() <= SLOTS && !self.gate.header.is_dead());
    }
}

fn index(node: usize) -> CapIndex {
    CapIndex(node as u32 + 1)
}
