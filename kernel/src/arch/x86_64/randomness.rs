//! Sources of entropy at boot: the processor's generator, timing, the real-time clock, and the boot loader,
//! which may put a seed on the command line.

// UNSAFETY: instructions that only some processors have.
#![allow(
    unsafe_code,
    reason = "the processor's random generator is reached through instructions"
)]

use core::arch::x86_64::{_rdrand64_step, _rdseed64_step};

use platform::random::EntropyPool;

use super::clock;
use super::features::Features;

/// Attempts after which the processor's generator counts as exhausted.
const RETRIES: u32 = 16;
const HARDWARE_WORDS: usize = 8;
const TIMING_SAMPLES: usize = 64;

/// A pool with all entropy that there is at boot.
pub(crate) fn gather(command_line: &[u8], wall_clock: Option<u64>) -> EntropyPool {
    let mut pool = EntropyPool::new();
    pool.add(command_line);
    pool.add(&wall_clock.unwrap_or(0).to_le_bytes());
    for _ in 0..HARDWARE_WORDS {
        for word in [rdseed(), rdrand()].into_iter().flatten() {
            pool.add(&word.to_le_bytes());
        }
    }
    for _ in 0..TIMING_SAMPLES {
        // How long the generator itself takes differs with caches, interrupts of the host and other guests.
        pool.add(&clock::ticks().to_le_bytes());
    }
    pool
}

fn rdrand() -> Option<u64> {
    Features::RDRAND.present().then(rdrand_when_present).flatten()
}

fn rdseed() -> Option<u64> {
    Features::RDSEED.present().then(rdseed_when_present).flatten()
}

fn rdrand_when_present() -> Option<u64> {
    let mut word = 0;
    // SAFETY: only called where the processor has the instruction.
    (0..RETRIES)
        .any(|_| unsafe { _rdrand64_step(&mut word) } == 1)
        .then_some(word)
}

fn rdseed_when_present() -> Option<u64> {
    let mut word = 0;
    // SAFETY: only called where the processor has the instruction.
    (0..RETRIES)
        .any(|_| unsafe { _rdseed64_step(&mut word) } == 1)
        .then_some(word)
}
