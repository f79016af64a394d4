//! The frame allocator.

use super::world::{World, word};
use crate::context::MemoryRange;
use crate::machine::fake;
use crate::memory::address::PhysAddr;
use crate::memory::frame::{self, Allocator};
use l4::PAGE_SIZE;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec::Vec;

/// An allocator of its own over frames of the test machine.
fn allocator(frames: u64) -> (Box<Allocator>, PhysAddr) {
    let start = frame::allocate_contiguous(frames, PAGE_SIZE).unwrap();
    let middle = start.0 + frames / 2 * PAGE_SIZE;
    let allocator = Box::new(Allocator::new());
    let range = |start, end, usable| MemoryRange { start, end, usable };
    allocator.initialise(&[
        range(start.0 + 1, middle + 5, true),
        range(middle, middle + PAGE_SIZE, false),
        range(middle + PAGE_SIZE, start.0 + frames * PAGE_SIZE, true),
    ]);
    (allocator, start)
}

/// The frames of [`allocator`] go back to the machine.
fn give_back(frames: u64, start: PhysAddr) {
    (0..frames).for_each(|index| frame::free(PhysAddr(start.0 + index * PAGE_SIZE)));
}

fn take_all(allocator: &Allocator, zeroed: bool) -> Vec<PhysAddr> {
    core::iter::from_fn(|| allocator.allocate(zeroed)).collect()
}

#[test]
fn every_frame_is_handed_out_once() {
    let world = World::new();
    let (allocator, start) = allocator(1000);
    let total = allocator.total_count();
    // The ranges lose their broken first page and the unusable one; debug builds keep some for their bits.
    assert!((996..=998).contains(&total), "{total}");
    assert_eq!(allocator.free_count(), total);
    for zeroed in [false, true] {
        let frames = take_all(&allocator, zeroed);
        assert_eq!(frames.len() as u64, total);
        assert_eq!(frames.iter().collect::<BTreeSet<_>>().len() as u64, total);
        assert!(
            frames
                .iter()
                .all(|frame| (start.0..start.0 + 1000 * PAGE_SIZE).contains(&frame.0))
        );
        assert_eq!(allocator.free_count(), 0);
        frames.into_iter().rev().for_each(|frame| allocator.free(frame));
        assert_eq!(allocator.free_count(), total);
    }
    give_back(1000, start);
    world.close(&[]);
}

#[test]
fn zeroed_frames_are_zero_whoever_zeroed_them() {
    let world = World::new();
    let (allocator, start) = allocator(300);
    let total = allocator.total_count();
    for round in 0..4 {
        let ahead = allocator.zero_ahead(20 * round);
        assert!(ahead <= 20 * round);
        assert_eq!(
            allocator.free_count(),
            total,
            "frames that are zeroed ahead are free"
        );
        let frames = take_all(&allocator, true);
        assert_eq!(frames.len() as u64, total);
        for frame in &frames {
            assert!((0..512).all(|index| word(*frame, index * 8) == 0));
            fake::fill(*frame, 0xff);
        }
        frames.into_iter().for_each(|frame| allocator.free(frame));
    }
    give_back(300, start);
    world.close(&[]);
}

#[test]
fn zeroing_ahead_has_an_end() {
    let world = World::new();
    let (allocator, start) = allocator(300);
    assert_eq!(allocator.zero_ahead(10), 10);
    while allocator.zero_ahead(10) == 10 {}
    assert_eq!(allocator.zero_ahead(10), 0, "there are enough");
    let frames = take_all(&allocator, false);
    assert_eq!(allocator.zero_ahead(10), 0, "there are none");
    assert_eq!(
        frames.len() as u64,
        allocator.total_count(),
        "zeroed frames serve any purpose in need"
    );
    give_back(300, start);
    world.close(&[]);
}

#[test]
fn contiguous_frames_are_aligned_neighbours() {
    let world = World::new();
    let (allocator, start) = allocator(600);
    let total = allocator.total_count();
    let sixteen = allocator.allocate_contiguous(16, 16 * PAGE_SIZE).unwrap();
    assert!(sixteen.0.is_multiple_of(16 * PAGE_SIZE));
    assert_eq!(allocator.allocate_contiguous(600, PAGE_SIZE), None);
    assert_eq!(allocator.allocate_contiguous(u64::MAX, PAGE_SIZE), None);
    let rest = take_all(&allocator, false);
    assert_eq!(rest.len() as u64, total - 16);
    let taken = sixteen.0..sixteen.0 + 16 * PAGE_SIZE;
    assert!(rest.iter().all(|frame| !taken.contains(&frame.0)));
    give_back(600, start);
    world.close(&[]);
}

#[test]
fn processors_share_frames() {
    let world = World::new();
    let (allocator, start) = allocator(2000);
    let total = allocator.total_count();
    let allocator: &Allocator = &allocator;
    std::thread::scope(|scope| {
        for cpu in 1..5u32 {
            scope.spawn(move || {
                fake::set_cpu(cpu);
                let mut mine = Vec::new();
                let mut random = u64::from(cpu);
                for _ in 0..20_000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if mine.len() < 300 && random >> 63 == 0 {
                        let Some(frame) = allocator.allocate(random >> 62 & 1 == 0) else {
                            continue;
                        };
                        fake::fill(frame, cpu as u8);
                        mine.push(frame);
                    } else if let Some(frame) = mine.pop() {
                        assert_eq!(
                            word(frame, 8),
                            u64::from_ne_bytes([cpu as u8; 8]),
                            "a frame has one owner"
                        );
                        allocator.free(frame);
                    }
                }
                mine.into_iter().for_each(|frame| allocator.free(frame));
            });
        }
    });
    assert_eq!(allocator.free_count(), total);
    give_back(2000, start);
    world.close(&[]);
}

#[test]
#[cfg(debug_assertions)]
fn wrong_frees_are_caught() {
    let world = World::new();
    let (allocator, start) = allocator(100);
    let caught = |run: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err();
    let frame = allocator.allocate(false).unwrap();
    allocator.free(frame);
    assert!(caught(&|| allocator.free(frame)), "freed twice");
    assert!(caught(&|| allocator.free(PhysAddr(frame.0 + 8))), "no frame");
    assert!(
        caught(&|| allocator.free(PhysAddr(start.0 + 1000 * PAGE_SIZE))),
        "not the allocator's"
    );
    give_back(100, start);
    world.close(&[]);
}
