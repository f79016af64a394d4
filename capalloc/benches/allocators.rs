//! Time per allocate-and-release pair, against a bitmap and a vector behind a mutex, for 1 to 8 threads.
//! Run with `cargo bench -p capalloc`.

#[cfg(loom)]
fn main() {}

#[cfg(not(loom))]
fn main() {
    measured::run();
}

#[cfg(not(loom))]
mod measured {
    use std::hint::black_box;
    use std::sync::{Barrier, Mutex};
    use std::time::Instant;
    use std::{iter, thread};

    use capalloc::{CapAlloc, Lane, Slot};

    const SLOTS: usize = 4096;
    const PAIRS: usize = 400_000;
    /// Slots that each thread holds while it measures, so that a search from the start would be long.
    const HELD: usize = 256;

    trait Allocator: Sync {
        fn allocate(&self, thread: usize) -> u32;
        fn release(&self, thread: usize, slot: u32);
    }

    impl Allocator for CapAlloc<SLOTS> {
        fn allocate(&self, thread: usize) -> u32 {
            CapAlloc::allocate(self, Lane(thread))
                .expect("enough slots")
                .index()
        }

        fn release(&self, thread: usize, slot: u32) {
            CapAlloc::release(self, Slot::new(slot), Lane(thread), |slot| _ = black_box(slot))
                .expect("allocated");
        }
    }

    /// One bit per slot, searched word by word from the word used last.
    struct Bitmap(Mutex<(Vec<u64>, usize)>);

    impl Allocator for Bitmap {
        fn allocate(&self, _: usize) -> u32 {
            let mut guard = self.0.lock().expect("no thread panics");
            let (words, hint) = &mut *guard;
            let index = (0..words.len())
                .map(|i| (*hint + i) % words.len())
                .find(|&i| words[i] != u64::MAX);
            let index = index.expect("enough slots");
            let bit = words[index].trailing_ones();
            words[index] |= 1 << bit;
            *hint = index;
            index as u32 * 64 + bit
        }

        fn release(&self, _: usize, slot: u32) {
            black_box(slot);
            self.0.lock().expect("no thread panics").0[slot as usize / 64] &= !(1 << (slot % 64));
        }
    }

    /// A vector of the free slots.
    struct FreeList(Mutex<Vec<u32>>);

    impl Allocator for FreeList {
        fn allocate(&self, _: usize) -> u32 {
            self.0
                .lock()
                .expect("no thread panics")
                .pop()
                .expect("enough slots")
        }

        fn release(&self, _: usize, slot: u32) {
            black_box(slot);
            self.0.lock().expect("no thread panics").push(slot);
        }
    }

    /// Nanoseconds per pair and thread.
    fn measure(allocator: &dyn Allocator, threads: usize) -> f64 {
        let barrier = Barrier::new(threads + 1);
        let start = thread::scope(|scope| {
            for thread in 0..threads {
                let barrier = &barrier;
                scope.spawn(move || {
                    let held: Vec<u32> = iter::repeat_with(|| allocator.allocate(thread))
                        .take(HELD)
                        .collect();
                    barrier.wait();
                    for _ in 0..PAIRS {
                        allocator.release(thread, black_box(allocator.allocate(thread)));
                    }
                    held.into_iter().for_each(|slot| allocator.release(thread, slot));
                });
            }
            barrier.wait();
            Instant::now()
        });
        start.elapsed().as_nanos() as f64 / PAIRS as f64
    }

    /// The best of three runs: the one that the machine disturbed least.
    fn best(allocator: &dyn Allocator, threads: usize) -> f64 {
        (0..3)
            .map(|_| measure(allocator, threads))
            .fold(f64::INFINITY, f64::min)
    }

    pub(super) fn run() {
        let lock_free: Box<CapAlloc<SLOTS>> = Box::new(CapAlloc::new(0));
        let bitmap = Bitmap(Mutex::new((vec![0; SLOTS / 64], 0)));
        let list = FreeList(Mutex::new((0..SLOTS as u32).rev().collect()));
        println!("nanoseconds per allocate-and-release pair, {SLOTS} slots, {HELD} held per thread");
        println!(
            "{:>8} {:>12} {:>16} {:>16}",
            "threads", "capalloc", "mutexed bitmap", "mutexed list"
        );
        for threads in [1, 2, 4, 8] {
            let row = [
                best(&*lock_free, threads),
                best(&bitmap, threads),
                best(&list, threads),
            ];
            println!("{threads:>8} {:>12.1} {:>16.1} {:>16.1}", row[0], row[1], row[2]);
        }
    }
}
