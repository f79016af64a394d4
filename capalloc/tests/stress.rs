//! Many threads at once: no slot has two owners, and none is lost.
#![cfg(not(loom))]

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use capalloc::{CapAlloc, Lane, Release, Slot};

const SLOTS: usize = 96;
const THREADS: usize = 8;
const ROUNDS: usize = 20_000;

/// What a task's capability table would hold: the owner's number, or 0.
struct Table([AtomicU32; SLOTS]);

impl Table {
    fn insert(&self, slot: Slot, owner: u32) {
        let before = self.0[slot.index() as usize].swap(owner, Ordering::Relaxed);
        assert_eq!(
            before,
            0,
            "slot {} was handed out while it was in use",
            slot.index()
        );
    }

    fn remove(&self, slot: Slot, owner: u32) {
        let before = self.0[slot.index() as usize].swap(0, Ordering::Relaxed);
        assert_eq!(before, owner, "slot {} changed its owner", slot.index());
    }
}

/// Holds up to a dozen slots at a time, in an order that a small generator chooses.
fn churn(slots: &CapAlloc<SLOTS, 4>, table: &Table, owner: u32) {
    let lane = Lane(owner as usize);
    let mut held: Vec<Slot> = Vec::new();
    let mut random = owner.wrapping_mul(0x9e37_79b9) | 1;
    for _ in 0..ROUNDS {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        if held.len() < 12 && random & 1 == 0 {
            let slot = slots.allocate(lane).expect("8 threads hold at most 96 slots");
            table.insert(slot, owner);
            held.push(slot);
        } else if !held.is_empty() {
            let slot = held.swap_remove(random as usize % held.len());
            slots.take(slot).expect("held");
            let not_yet = slots.release(slot, lane, |_| panic!("unmapped while referenced"));
            assert_eq!(not_yet, Ok(Release::Remaining(1)));
            assert_eq!(
                slots.release(slot, lane, |slot| table.remove(slot, owner)),
                Ok(Release::Freed)
            );
        }
    }
    for slot in held {
        slots
            .release(slot, lane, |slot| table.remove(slot, owner))
            .expect("held");
    }
}

#[test]
fn no_slot_has_two_owners_and_none_is_lost() {
    let slots: CapAlloc<SLOTS, 4> = CapAlloc::new(0);
    let table = Table([const { AtomicU32::new(0) }; SLOTS]);
    thread::scope(|scope| {
        for owner in 1..=THREADS as u32 {
            scope.spawn({
                let (slots, table) = (&slots, &table);
                move || churn(slots, table, owner)
            });
        }
    });
    assert_eq!(slots.in_use(), 0);
    let all: Vec<Slot> = (0..SLOTS).map(|_| slots.allocate(Lane(0)).unwrap()).collect();
    assert!(slots.allocate(Lane(0)).is_err());
    assert_eq!(all.len(), SLOTS);
}

#[test]
fn shared_references_unmap_exactly_once() {
    let slots: CapAlloc<4> = CapAlloc::new(0);
    let unmapped = AtomicU32::new(0);
    for round in 1..=2_000 {
        let slot = slots.allocate(Lane(0)).unwrap();
        for _ in 1..THREADS {
            slots.take(slot).unwrap();
        }
        thread::scope(|scope| {
            for lane in 0..THREADS {
                let (slots, unmapped) = (&slots, &unmapped);
                scope.spawn(move || {
                    slots.release(slot, Lane(lane), |_| _ = unmapped.fetch_add(1, Ordering::Relaxed))
                });
            }
        });
        assert_eq!((unmapped.load(Ordering::Relaxed), slots.in_use()), (round, 0));
        if round == 200 && cfg!(debug_assertions) {
            break; // starting threads is slow in this build, and the rounds are alike
        }
    }
}
