//! The kernel's random generator: ChaCha20 with fast key erasure, so that what was handed out cannot be
//! recomputed from a later state.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

const KEY_BYTES: usize = 32;
/// With the key, what the cipher makes in one go: four blocks of 64 bytes.
const WORDS: usize = (4 * 64 - KEY_BYTES) / 8;

/// Gathers unpredictable bytes, good and bad ones alike: a good one is never spoilt by a bad one.
#[derive(Clone)]
pub struct EntropyPool {
    key: [u8; KEY_BYTES],
}

impl Default for EntropyPool {
    fn default() -> Self {
        Self::new()
    }
}

impl EntropyPool {
    /// A pool without entropy.
    #[must_use]
    pub const fn new() -> Self {
        Self { key: [0; KEY_BYTES] }
    }

    /// Adds `bytes`. Their order and number count.
    pub fn add(&mut self, bytes: &[u8]) {
        self.absorb(&(bytes.len() as u64).to_le_bytes());
        for chunk in bytes.chunks(KEY_BYTES) {
            self.absorb(chunk);
        }
    }

    /// A generator that is independent of others with another `stream` number.
    #[must_use]
    pub fn generator(&self, stream: u64) -> RandomGenerator {
        let mut pool = self.clone();
        pool.add(&stream.to_le_bytes());
        RandomGenerator {
            key: pool.key,
            words: [0; WORDS],
            used: WORDS,
        }
    }

    fn absorb(&mut self, chunk: &[u8]) {
        for (key, byte) in self.key.iter_mut().zip(chunk) {
            *key ^= byte;
        }
        ChaCha20Rng::from_seed(self.key).fill_bytes(&mut self.key);
    }
}

/// A generator of 64-bit numbers that nobody can predict who does not know the pool.
#[derive(Clone)]
pub struct RandomGenerator {
    key: [u8; KEY_BYTES],
    words: [u64; WORDS],
    used: usize,
}

impl RandomGenerator {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        if self.used == WORDS {
            self.refill();
        }
        // Taken words are erased: the state never tells what was handed out.
        let word = core::mem::take(&mut self.words[self.used]);
        self.used += 1;
        word
    }

    fn refill(&mut self) {
        let mut stream = ChaCha20Rng::from_seed(self.key);
        stream.fill_bytes(&mut self.key);
        self.words.fill_with(|| stream.next_u64());
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn pool(entropy: &[u8]) -> EntropyPool {
        let mut pool = EntropyPool::new();
        pool.add(entropy);
        pool
    }

    #[test]
    fn numbers_do_not_repeat_over_refills() {
        let mut generator = pool(b"seed").generator(0);
        let numbers: HashSet<u64> = (0..10 * WORDS).map(|_| generator.next_u64()).collect();
        assert_eq!(numbers.len(), 10 * WORDS);
    }

    #[test]
    fn every_input_counts() {
        let firsts: HashSet<u64> = [
            pool(b"").generator(0),
            pool(b"").generator(1),
            pool(b"a").generator(0),
            pool(b"b").generator(0),
            pool(&[0; 1]).generator(0),
            pool(&[0; 32]).generator(0),
            pool(&[0; 33]).generator(0),
        ]
        .iter_mut()
        .map(RandomGenerator::next_u64)
        .collect();
        assert_eq!(firsts.len(), 7);
    }

    #[test]
    fn the_same_entropy_gives_the_same_numbers() {
        let (mut a, mut b) = (pool(b"x").generator(3), pool(b"x").generator(3));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
    }

    #[test]
    fn handed_out_words_are_erased() {
        let mut generator = pool(b"x").generator(0);
        let first = generator.next_u64();
        assert_eq!(generator.words[0], 0);
        assert!(!generator.words.contains(&first));
    }

    #[test]
    fn half_of_the_bits_are_set() {
        let mut generator = pool(b"bits").generator(0);
        let ones: u32 = (0..1_000).map(|_| generator.next_u64().count_ones()).sum();
        assert!((31_000..33_000).contains(&ones), "{ones}");
    }
}
