//! Every interleaving of a few operations by two or three threads, under loom's model of the memory order.
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p capalloc --release`.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::{CapAlloc, Lane, Release, Slot, SlotError};

fn leave(_: Slot) {}

#[test]
fn two_threads_never_get_the_same_slot() {
    loom::model(|| {
        let slots = Arc::new(CapAlloc::<2, 1>::new(0));
        let other = slots.clone();
        let theirs = thread::spawn(move || other.allocate(Lane(0)));
        let mine = slots.allocate(Lane(0)).unwrap();
        assert_ne!(theirs.join().unwrap().unwrap(), mine);
    });
}

#[test]
fn a_free_list_under_contention_stays_consistent() {
    loom::model(|| {
        // Three free slots on one stack; both threads pop and push, which is where an ABA error would show.
        let slots = Arc::new(CapAlloc::<3, 1>::new(0));
        let all: Vec<Slot> = (0..3).map(|_| slots.allocate(Lane(0)).unwrap()).collect();
        for slot in all {
            slots.release(slot, Lane(0), leave).unwrap();
        }
        let other = slots.clone();
        let theirs = thread::spawn(move || {
            let a = other.allocate(Lane(0)).unwrap();
            let b = other.allocate(Lane(0)).unwrap();
            other.release(a, Lane(0), leave).unwrap();
            b
        });
        let mine = slots.allocate(Lane(0)).unwrap();
        assert_ne!(theirs.join().unwrap(), mine);
        let last = slots.allocate(Lane(0)).unwrap();
        assert_ne!(last, mine);
        assert_eq!(slots.allocate(Lane(0)), Err(SlotError::Exhausted));
    });
}

#[test]
fn reuse_happens_after_the_unmap() {
    loom::model(|| {
        let slots = Arc::new(CapAlloc::<1, 1>::new(0));
        let table = Arc::new(AtomicUsize::new(1));
        let slot = slots.allocate(Lane(0)).unwrap();
        let (other, their_table) = (slots.clone(), table.clone());
        let releaser = thread::spawn(move || {
            other
                .release(slot, Lane(0), |_| their_table.store(0, Ordering::Relaxed))
                .unwrap();
        });
        if slots.allocate(Lane(0)).is_ok() {
            assert_eq!(
                table.load(Ordering::Relaxed),
                0,
                "the slot was handed out while its capability was there"
            );
        }
        releaser.join().unwrap();
    });
}

#[test]
fn take_never_revives_a_slot() {
    loom::model(|| {
        let slots = Arc::new(CapAlloc::<1, 1>::new(0));
        let unmapped = Arc::new(AtomicUsize::new(0));
        let slot = slots.allocate(Lane(0)).unwrap();
        let (other, count) = (slots.clone(), unmapped.clone());
        let releaser = thread::spawn(move || {
            let unmap = |_| _ = count.fetch_add(1, Ordering::Relaxed);
            other.release(slot, Lane(0), unmap).unwrap()
        });
        match slots.take(slot) {
            Ok(()) => {
                assert_eq!(unmapped.load(Ordering::Relaxed), 0);
                slots
                    .release(slot, Lane(0), |_| _ = unmapped.fetch_add(1, Ordering::Relaxed))
                    .unwrap();
            }
            Err(error) => assert_eq!(error, SlotError::NotAllocated(slot)),
        }
        releaser.join().unwrap();
        assert_eq!(unmapped.load(Ordering::Relaxed), 1);
        assert_eq!(slots.in_use(), 0);
    });
}

#[test]
fn the_last_of_two_releases_sees_what_the_other_holder_did() {
    loom::model(|| {
        let slots = Arc::new(CapAlloc::<1, 1>::new(0));
        let work = Arc::new(AtomicUsize::new(0));
        let slot = slots.allocate(Lane(0)).unwrap();
        slots.take(slot).unwrap();
        let holders: Vec<_> = (0..2)
            .map(|_| {
                let (slots, work) = (slots.clone(), work.clone());
                thread::spawn(move || {
                    work.fetch_add(1, Ordering::Relaxed);
                    slots
                        .release(slot, Lane(0), |_| assert_eq!(work.load(Ordering::Relaxed), 2))
                        .unwrap()
                })
            })
            .collect();
        let results: Vec<Release> = holders.into_iter().map(|holder| holder.join().unwrap()).collect();
        assert!(results.contains(&Release::Freed) && results.contains(&Release::Remaining(1)));
    });
}

#[test]
fn an_empty_lane_takes_from_another() {
    loom::model(|| {
        let slots = Arc::new(CapAlloc::<2, 2>::new(0));
        let first = slots.allocate(Lane(0)).unwrap();
        let second = slots.allocate(Lane(0)).unwrap();
        slots.release(first, Lane(1), leave).unwrap();
        let other = slots.clone();
        let releaser = thread::spawn(move || other.release(second, Lane(0), leave).unwrap());
        let mine = slots.allocate(Lane(0)).unwrap();
        releaser.join().unwrap();
        let rest = slots.allocate(Lane(0)).unwrap();
        assert_ne!(mine, rest);
    });
}
