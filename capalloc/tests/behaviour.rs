//! What the allocator promises, case by case and against a model.
#![cfg(not(loom))]

use std::cell::RefCell;
use std::collections::BTreeMap;

use capalloc::{CapAlloc, Lane, Release, Slot, SlotError};
use proptest::prelude::*;

fn leave(_: Slot) {}

#[test]
fn slots_are_dense_and_start_at_the_first() {
    let slots: CapAlloc<4> = CapAlloc::new(10);
    let got: Vec<u32> = (0..4)
        .map(|lane| slots.allocate(Lane(lane)).unwrap().index())
        .collect();
    assert_eq!(got, [10, 11, 12, 13]);
    assert_eq!(slots.allocate(Lane(0)), Err(SlotError::Exhausted));
}

#[test]
fn the_slot_freed_last_is_reused_first() {
    let slots: CapAlloc<8> = CapAlloc::new(0);
    let first = slots.allocate(Lane(3)).unwrap();
    let second = slots.allocate(Lane(3)).unwrap();
    slots.release(first, Lane(3), leave).unwrap();
    slots.release(second, Lane(3), leave).unwrap();
    assert_eq!(slots.allocate(Lane(3)), Ok(second));
    assert_eq!(slots.allocate(Lane(3)), Ok(first));
}

#[test]
fn a_slot_is_not_free_while_it_is_unmapped() {
    let slots: CapAlloc<1> = CapAlloc::new(0);
    let slot = slots.allocate(Lane(0)).unwrap();
    let seen = RefCell::new(Vec::new());
    let unmap = |slot| {
        seen.borrow_mut().push(slot);
        assert_eq!(slots.allocate(Lane(0)), Err(SlotError::Exhausted));
        assert_eq!(slots.take(slot), Err(SlotError::NotAllocated(slot)));
        assert_eq!(
            slots.release(slot, Lane(0), leave),
            Err(SlotError::NotAllocated(slot))
        );
        assert_eq!(slots.in_use(), 1);
    };
    assert_eq!(slots.release(slot, Lane(0), unmap), Ok(Release::Freed));
    assert_eq!(*seen.borrow(), [slot]);
    assert_eq!(slots.allocate(Lane(0)), Ok(slot));
}

#[test]
fn free_and_foreign_slots_are_refused() {
    let slots: CapAlloc<4> = CapAlloc::new(5);
    for slot in [4, 9, u32::MAX].map(Slot::new) {
        assert_eq!(slots.take(slot), Err(SlotError::OutOfRange(slot)));
        assert_eq!(
            slots.release(slot, Lane(0), leave),
            Err(SlotError::OutOfRange(slot))
        );
    }
    let unused = Slot::new(5);
    assert_eq!(slots.take(unused), Err(SlotError::NotAllocated(unused)));
    let slot = slots.allocate(Lane(0)).unwrap();
    slots.release(slot, Lane(0), leave).unwrap();
    assert_eq!(slots.take(slot), Err(SlotError::NotAllocated(slot)));
    assert_eq!(
        slots.release(slot, Lane(0), leave),
        Err(SlotError::NotAllocated(slot))
    );
}

#[test]
fn reserving_withholds_the_slots_below() {
    let slots: CapAlloc<8> = CapAlloc::new(4);
    slots.reserve_below(Slot::new(10)).unwrap();
    assert_eq!(slots.allocate(Lane(0)), Ok(Slot::new(10)));
    assert_eq!(
        slots.reserve_below(Slot::new(10)),
        Err(SlotError::AlreadyHandedOut(Slot::new(10)))
    );
    assert_eq!(
        slots.reserve_below(Slot::new(3)),
        Err(SlotError::OutOfRange(Slot::new(3)))
    );
    assert_eq!(
        slots.reserve_below(Slot::new(13)),
        Err(SlotError::OutOfRange(Slot::new(13)))
    );
    slots.reserve_below(Slot::new(12)).unwrap();
    assert_eq!(slots.allocate(Lane(0)), Err(SlotError::Exhausted));
}

#[test]
fn an_owner_gives_its_reference_back_once() {
    let slots: CapAlloc<2> = CapAlloc::new(0);
    let unmapped = RefCell::new(0);
    let unmap = |_| *unmapped.borrow_mut() += 1;
    let owner = slots.allocate_owned(Lane(0), unmap).unwrap();
    let clone = owner.try_clone().unwrap();
    drop(owner);
    assert_eq!(*unmapped.borrow(), 0);
    let raw = clone.into_raw();
    assert_eq!(slots.references(raw), 1);
    drop(capalloc::OwnedSlot::adopt(&slots, raw, Lane(0), unmap));
    assert_eq!((*unmapped.borrow(), slots.in_use()), (1, 0));
}

#[test]
fn errors_name_the_slot() {
    let slot = Slot::new(0x2a);
    for error in [
        SlotError::OutOfRange(slot),
        SlotError::NotAllocated(slot),
        SlotError::TooManyReferences(slot),
    ] {
        assert!(error.to_string().contains("0x2a"), "{error}");
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Allocate { lane: usize },
    Take { slot: u32 },
    Release { slot: u32, lane: usize },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..4usize).prop_map(|lane| Operation::Allocate { lane }),
        (0..12u32).prop_map(|slot| Operation::Take { slot }),
        (0..12u32, 0..4usize).prop_map(|(slot, lane)| Operation::Release { slot, lane }),
    ]
}

/// The slots 2..10 and their reference counts.
type Model = BTreeMap<u32, u32>;

fn step(slots: &CapAlloc<8, 2>, model: &mut Model, operation: &Operation) {
    match *operation {
        Operation::Allocate { lane } => match slots.allocate(Lane(lane)) {
            Ok(slot) => assert_eq!(model.insert(slot.index(), 1), None, "handed out twice"),
            Err(error) => assert_eq!((error, model.len()), (SlotError::Exhausted, 8)),
        },
        Operation::Take { slot } => match (slots.take(Slot::new(slot)), model.get_mut(&slot)) {
            (Ok(()), Some(references)) => *references += 1,
            (Err(_), None) => {}
            (result, references) => panic!("{result:?} with {references:?} references"),
        },
        Operation::Release { slot, lane } => {
            let unmapped = RefCell::new(false);
            let result = slots.release(Slot::new(slot), Lane(lane), |_| *unmapped.borrow_mut() = true);
            match model.get(&slot).copied() {
                None => assert!(result.is_err()),
                Some(1) => {
                    model.remove(&slot);
                    assert_eq!(result, Ok(Release::Freed));
                }
                Some(references) => {
                    model.insert(slot, references - 1);
                    assert_eq!(result, Ok(Release::Remaining(references - 1)));
                }
            }
            assert_eq!(*unmapped.borrow(), result == Ok(Release::Freed));
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_the_model(operations in prop::collection::vec(operation(), 0..200)) {
        let slots: CapAlloc<8, 2> = CapAlloc::new(2);
        let mut model = Model::new();
        for operation in &operations {
            step(&slots, &mut model, operation);
            prop_assert_eq!(slots.in_use(), model.len());
            for slot in 0..12 {
                prop_assert_eq!(slots.references(Slot::new(slot)), model.get(&slot).copied().unwrap_or(0));
            }
        }
    }
}
