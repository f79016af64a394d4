//! The frame allocator.
//!
//! Each CPU has a cache of some frames and of some frames that are zeroed already. Behind them stands a shared store
//! under a lock: batches of frames that came back, and the ranges of boot memory that were never used. A batch
//! is described by its first frame, so the lock is held for a few instructions, whatever the size of memory.
#![expect(unsafe_code, reason = "batches are written into free frames")]

use super::address::{FrameMemory, PhysAddr};
use crate::context::MemoryRange;
use crate::cpu::MAX_CPUS;
use crate::machine::{machine_cpu, machine_zero_page};
use crate::sync::{Rank, SpinLock};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use l4::PAGE_SIZE;

/// Frames of a batch.
const BATCH: usize = 32;
/// Frames of each sort that a CPU's cache can hold.
const CACHE: usize = 2 * BATCH;
/// Ranges of boot memory that can be kept; further ones stay unused.
const MAX_RANGES: usize = 64;

/// The machine's frames.
static FRAMES: Allocator = Allocator::new();

/// A frame of zeroes that is never written: what absent pages of immutable memory show.
static ZEROES: AtomicU64 = AtomicU64::new(0);

/// Takes over the usable ranges of memory, once, before anything else.
pub fn initialise(memory: &[MemoryRange]) {
    FRAMES.initialise(memory);
    let zeroes = FRAMES.allocate(true).map_or(0, |frame| frame.0);
    ZEROES.store(zeroes, Ordering::Relaxed);
}

/// A frame of zeroes, to be mapped read-only.
pub(crate) fn zeroes() -> PhysAddr {
    PhysAddr(ZEROES.load(Ordering::Relaxed))
}

/// A frame, zeroed or with unknown contents. `None` if memory is used up.
#[inline]
pub fn allocate(zeroed: bool) -> Option<PhysAddr> {
    FRAMES.allocate(zeroed)
}

/// `frames` neighbouring frames with unknown contents, aligned to `alignment` bytes (a power of two of at least a
/// page). Only for boot: it takes them from memory that was never used.
pub fn allocate_contiguous(frames: u64, alignment: u64) -> Option<PhysAddr> {
    FRAMES.allocate_contiguous(frames, alignment)
}

/// Gives a frame back.
#[inline]
pub fn free(frame: PhysAddr) {
    FRAMES.free(frame);
}

/// Gives a frame back that is all zeroes.
#[inline]
pub(crate) fn free_zeroed(frame: PhysAddr) {
    FRAMES.free_zeroed(frame);
}

/// Zeroes up to `max` free frames for later; for idle CPUs. Returns how many it zeroed; fewer than `max` means that
/// there are enough.
pub fn zero_ahead(max: u32) -> u32 {
    FRAMES.zero_ahead(max)
}

/// Free frames, those in the CPUs' caches included. Exact when nobody allocates or frees meanwhile.
pub fn free_count() -> u64 {
    FRAMES.free_count()
}

/// Frames that the allocator was given at boot.
pub fn total_count() -> u64 {
    FRAMES.total_count()
}

/// A stack of frames that only its CPU changes; others read its length.
struct Stack {
    length: AtomicU32,
    frames: [AtomicU64; CACHE],
}

impl Stack {
    const fn new() -> Stack {
        Stack {
            length: AtomicU32::new(0),
            frames: [const { AtomicU64::new(0) }; CACHE],
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed) as usize
    }

    #[inline(always)]
    fn pop(&self) -> Option<PhysAddr> {
        let top = self.len().checked_sub(1)?;
        let frame = self.frames[top % CACHE].load(Ordering::Relaxed);
        self.length.store(top as u32, Ordering::Relaxed);
        Some(PhysAddr(frame))
    }

    /// False if it is full.
    #[inline(always)]
    fn push(&self, frame: PhysAddr) -> bool {
        let length = self.len();
        let Some(slot) = self.frames.get(length) else {
            return false;
        };
        slot.store(frame.0, Ordering::Relaxed);
        self.length.store(length as u32 + 1, Ordering::Relaxed);
        true
    }
}

/// A CPU's cache.
#[repr(align(128))]
struct Cache {
    dirty: Stack,
    zeroed: Stack,
}

/// What all CPUs share.
struct Store {
    /// First frame of the newest batch, 0 if there is none.
    batches: u64,
    /// Ranges (start, end) that were never used.
    ranges: [(u64, u64); MAX_RANGES],
    range_count: usize,
}

/// An allocator of frames; the machine has one.
pub(super) struct Allocator {
    caches: [Cache; MAX_CPUS],
    store: SpinLock<Store>,
    /// Frames in the store: those of batches and those never used.
    stored: AtomicU64,
    total: AtomicU64,
    #[cfg(debug_assertions)]
    ledger: ledger::Ledger,
}

/// Words of a batch's first frame: the next batch's first frame, then the other frames of the batch.
const NEXT_WORD: usize = 0;

/// The memory of a free frame.
fn free_memory(frame: u64) -> FrameMemory {
    // SAFETY: Only called for frames that are in the allocator's hands, which are RAM and used by nobody else.
    unsafe { FrameMemory::new(PhysAddr(frame)) }
}

impl Allocator {
    pub(super) const fn new() -> Allocator {
        Allocator {
            caches: [const {
                Cache {
                    dirty: Stack::new(),
                    zeroed: Stack::new(),
                }
            }; MAX_CPUS],
            store: SpinLock::new(
                Rank::Frames,
                Store {
                    batches: 0,
                    ranges: [(0, 0); MAX_RANGES],
                    range_count: 0,
                },
            ),
            stored: AtomicU64::new(0),
            total: AtomicU64::new(0),
            #[cfg(debug_assertions)]
            ledger: ledger::Ledger::new(),
        }
    }

    pub(super) fn initialise(&self, memory: &[MemoryRange]) {
        let mut store = self.store.lock();
        for range in memory.iter().filter(|range| range.usable) {
            // Frame 0 stays unused: its address stands for 'none'.
            let start = range.start.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE);
            let end = range.end & !(PAGE_SIZE - 1);
            if start < end && store.range_count < MAX_RANGES {
                let count = store.range_count;
                store.ranges[count] = (start, end);
                store.range_count += 1;
                self.stored
                    .fetch_add((end - start) / PAGE_SIZE, Ordering::Relaxed);
            }
        }
        #[cfg(debug_assertions)]
        {
            let taken = self.ledger.initialise(&mut store);
            self.stored.fetch_sub(taken, Ordering::Relaxed);
        }
        self.total
            .store(self.stored.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    #[inline(always)]
    fn cache(&self) -> &Cache {
        &self.caches[machine_cpu() as usize]
    }

    #[inline]
    pub(super) fn allocate(&self, zeroed: bool) -> Option<PhysAddr> {
        let cache = self.cache();
        let frame = if zeroed {
            self.take_zeroed(cache)
        } else {
            self.take_dirty(cache)
        }?;
        #[cfg(debug_assertions)]
        self.ledger.mark_allocated(frame);
        Some(frame)
    }

    #[inline]
    fn take_zeroed(&self, cache: &Cache) -> Option<PhysAddr> {
        if let Some(frame) = cache.zeroed.pop() {
            return Some(frame);
        }
        let frame = self.take_dirty(cache)?;
        // SAFETY: The frame was free and is now ours alone.
        unsafe { machine_zero_page(frame) };
        Some(frame)
    }

    /// The last resort is what is zeroed already.
    #[inline]
    fn take_dirty(&self, cache: &Cache) -> Option<PhysAddr> {
        cache
            .dirty
            .pop()
            .or_else(|| self.refill(cache))
            .or_else(|| cache.zeroed.pop())
    }

    /// Fetches a batch from the store; the first frame is the result, the others go to the cache.
    #[cold]
    fn refill(&self, cache: &Cache) -> Option<PhysAddr> {
        let mut store = self.store.lock();
        if store.batches != 0 {
            let first = store.batches;
            let memory = free_memory(first);
            store.batches = memory.word(NEXT_WORD).load(Ordering::Relaxed);
            self.stored.fetch_sub(BATCH as u64, Ordering::Relaxed);
            drop(store);
            for index in 1..BATCH {
                cache
                    .dirty
                    .push(PhysAddr(memory.word(index).load(Ordering::Relaxed)));
            }
            return Some(PhysAddr(first));
        }
        let (start, count) = store.take_unused(BATCH as u64)?;
        drop(store);
        self.stored.fetch_sub(count, Ordering::Relaxed);
        for index in (1..count).rev() {
            cache.dirty.push(PhysAddr(start + index * PAGE_SIZE));
        }
        Some(PhysAddr(start))
    }

    #[inline]
    pub(super) fn free(&self, frame: PhysAddr) {
        #[cfg(debug_assertions)]
        self.ledger.mark_free(frame);
        let cache = self.cache();
        if !cache.dirty.push(frame) {
            self.flush(cache);
            cache.dirty.push(frame);
        }
    }

    #[inline]
    fn free_zeroed(&self, frame: PhysAddr) {
        debug_assert!(
            free_memory(frame.0)
                .words()
                .iter()
                .all(|word| word.load(Ordering::Relaxed) == 0),
            "a frame that is said to be zeroed is not"
        );
        let cache = self.cache();
        if cache.zeroed.len() == CACHE {
            return self.free(frame);
        }
        #[cfg(debug_assertions)]
        self.ledger.mark_free(frame);
        cache.zeroed.push(frame);
    }

    /// Moves a batch from the CPU's full cache to the store.
    #[cold]
    fn flush(&self, cache: &Cache) {
        let Some(first) = cache.dirty.pop() else { return };
        let memory = free_memory(first.0);
        for index in 1..BATCH {
            let frame = cache.dirty.pop().map_or(0, |frame| frame.0);
            debug_assert_ne!(frame, 0, "a full cache holds more than a batch");
            memory.word(index).store(frame, Ordering::Relaxed);
        }
        let mut store = self.store.lock();
        memory.word(NEXT_WORD).store(store.batches, Ordering::Relaxed);
        store.batches = first.0;
        self.stored.fetch_add(BATCH as u64, Ordering::Relaxed);
    }

    pub(super) fn allocate_contiguous(&self, frames: u64, alignment: u64) -> Option<PhysAddr> {
        let start = self.store.lock().take_contiguous(frames, alignment)?;
        self.stored.fetch_sub(frames, Ordering::Relaxed);
        #[cfg(debug_assertions)]
        (0..frames).for_each(|index| self.ledger.mark_allocated(PhysAddr(start + index * PAGE_SIZE)));
        Some(PhysAddr(start))
    }

    pub(super) fn zero_ahead(&self, max: u32) -> u32 {
        let cache = self.cache();
        for done in 0..max {
            if cache.zeroed.len() == CACHE {
                return done;
            }
            let Some(frame) = cache.dirty.pop().or_else(|| self.refill(cache)) else {
                return done;
            };
            // SAFETY: The frame is free and in this CPU's hands.
            unsafe { machine_zero_page(frame) };
            cache.zeroed.push(frame);
        }
        max
    }

    pub(super) fn total_count(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn free_count(&self) -> u64 {
        let cached: usize = self
            .caches
            .iter()
            .map(|cache| cache.dirty.len() + cache.zeroed.len())
            .sum();
        self.stored.load(Ordering::Relaxed) + cached as u64
    }
}

impl Store {
    /// Up to `count` frames that were never used: the first one's address and their number.
    fn take_unused(&mut self, count: u64) -> Option<(u64, u64)> {
        let range = self.ranges[..self.range_count]
            .iter_mut()
            .find(|range| range.0 < range.1)?;
        let start = range.0;
        let count = count.min((range.1 - start) / PAGE_SIZE);
        range.0 += count * PAGE_SIZE;
        Some((start, count))
    }

    fn take_contiguous(&mut self, frames: u64, alignment: u64) -> Option<u64> {
        let size = frames.checked_mul(PAGE_SIZE)?;
        for index in 0..self.range_count {
            let (start, end) = self.ranges[index];
            // From the end, so that what alignment skips can stay a range of its own as rarely as possible.
            let Some(place) = end.checked_sub(size).map(|place| place & !(alignment - 1)) else {
                continue;
            };
            if place < start {
                continue;
            }
            let rest = (place + size, end);
            if rest.0 < rest.1 {
                if self.range_count == MAX_RANGES {
                    continue;
                }
                self.ranges[self.range_count] = rest;
                self.range_count += 1;
            }
            self.ranges[index].1 = place;
            return Some(place);
        }
        None
    }
}

#[cfg(debug_assertions)]
mod ledger {
    //! One bit per frame: set while it is allocated. Catches frames that are freed twice or were never allocated.

    use super::{Store, free_memory};
    use crate::machine::machine_zero_page;
    use crate::memory::address::{PhysAddr, WORDS_PER_FRAME};
    use core::sync::atomic::{AtomicU64, Ordering};
    use l4::PAGE_SIZE;

    const FRAMES_PER_PAGE: u64 = WORDS_PER_FRAME as u64 * 64;

    pub(super) struct Ledger {
        /// Neighbouring frames that hold the bits, and the first address without a bit.
        start: AtomicU64,
        end: AtomicU64,
    }

    impl Ledger {
        pub(super) const fn new() -> Ledger {
            Ledger {
                start: AtomicU64::new(0),
                end: AtomicU64::new(0),
            }
        }

        /// Returns how many frames it took for itself.
        pub(super) fn initialise(&self, store: &mut Store) -> u64 {
            let end = store.ranges[..store.range_count]
                .iter()
                .map(|range| range.1)
                .max()
                .unwrap_or(0);
            let frames = (end / PAGE_SIZE).div_ceil(FRAMES_PER_PAGE);
            let Some(start) = store.take_contiguous(frames, PAGE_SIZE) else {
                return 0;
            };
            for index in 0..frames {
                // SAFETY: The frames were free and are now ours.
                unsafe { machine_zero_page(PhysAddr(start + index * PAGE_SIZE)) };
            }
            self.start.store(start, Ordering::Relaxed);
            self.end.store(end, Ordering::Relaxed);
            frames
        }

        /// Sets or clears a frame's bit and tells what it was.
        fn replace(&self, frame: PhysAddr, allocated: bool) -> bool {
            let start = self.start.load(Ordering::Relaxed);
            let known = frame.0.is_multiple_of(PAGE_SIZE) && frame.0 < self.end.load(Ordering::Relaxed);
            assert!(known || start == 0, "frame {:#x} is not the allocator's", frame.0);
            if start == 0 {
                return !allocated;
            }
            let number = frame.0 / PAGE_SIZE;
            let page = free_memory(start + number / FRAMES_PER_PAGE * PAGE_SIZE);
            let word = page.word((number % FRAMES_PER_PAGE / 64) as usize);
            let bit = 1 << (number % 64);
            let before = if allocated {
                word.fetch_or(bit, Ordering::Relaxed)
            } else {
                word.fetch_and(!bit, Ordering::Relaxed)
            };
            before & bit != 0
        }

        pub(super) fn mark_allocated(&self, frame: PhysAddr) {
            assert!(!self.replace(frame, true), "frame {:#x} allocated twice", frame.0);
        }

        pub(super) fn mark_free(&self, frame: PhysAddr) {
            assert!(
                self.replace(frame, false),
                "frame {:#x} freed, but not allocated",
                frame.0
            );
        }
    }
}
