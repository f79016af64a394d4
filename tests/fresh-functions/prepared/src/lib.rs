//! What a function computes before its first request, and changes in each.
#![no_std]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use l4re::clock;

/// Words of the table: two pages.
const WORDS: usize = 1024;
/// Processor time that preparing takes at least, so that a clone that inherited it is caught.
const PREPARE_NS: u64 = 20_000_000;

/// A table, and how often it was used.
#[derive(Debug)]
pub struct Prepared {
    table: [AtomicU64; WORDS],
    uses: AtomicU64,
}

/// What a use found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// A digest of the table.
    pub digest: u64,
    /// How often the table was used, this time included.
    pub uses: u64,
}

impl Prepared {
    /// Nothing computed yet.
    #[expect(clippy::new_without_default, reason = "made for statics")]
    pub const fn new() -> Self {
        Self {
            table: [const { AtomicU64::new(0) }; WORDS],
            uses: AtomicU64::new(0),
        }
    }

    /// Computes the table from a seed, and then goes on for a while.
    pub fn compute(&self, seed: u64) {
        let until = clock::after(PREPARE_NS);
        let mut state = seed | 1;
        for word in &self.table {
            // Marsaglia, "Xorshift RNGs".
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.store(state, Ordering::Relaxed);
        }
        while clock::now_ns() < until {
            core::hint::spin_loop();
        }
    }

    /// Reads the table, and then changes each word of it.
    pub fn use_up(&self) -> Found {
        let mut digest = 0xcbf2_9ce4_8422_2325;
        for word in &self.table {
            // FNV-1a, by words.
            digest = (digest ^ word.fetch_add(1, Ordering::Relaxed)).wrapping_mul(0x0100_0000_01b3);
        }
        let uses = self.uses.fetch_add(1, Ordering::Relaxed) + 1;
        Found { digest, uses }
    }
}
