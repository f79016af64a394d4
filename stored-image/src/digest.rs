//! Digests: quick, and different for contents that differ by accident. They are no protection against intent.

/// Odd, with bits everywhere (2^64 over the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const LANES: usize = 4;

/// A digest of words, added one after the other. Each step is a bijection of the state, so words that differ in one place
/// never have the same digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    lanes: [u64; LANES],
    words: u64,
}

impl Default for Digest {
    fn default() -> Digest {
        Digest::new()
    }
}

impl Digest {
    /// The digest of nothing.
    pub const fn new() -> Digest {
        Digest {
            lanes: [FACTOR, FACTOR ^ 1, FACTOR ^ 2, FACTOR ^ 3],
            words: 0,
        }
    }

    /// Adds a word.
    #[inline]
    pub const fn add(&mut self, word: u64) {
        let lane = &mut self.lanes[self.words as usize % LANES];
        *lane = (*lane ^ word).wrapping_mul(FACTOR).rotate_left(29);
        self.words += 1;
    }

    /// Adds bytes and their number; zeroes fill up the last word.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.add(u64::from_le_bytes(last));
        self.add(bytes.len() as u64);
    }

    /// The digest as one word.
    pub fn finish(&self) -> u64 {
        let mix = |sum: u64, lane: &u64| (sum ^ lane).wrapping_mul(FACTOR).rotate_left(32);
        self.lanes.iter().fold(self.words, mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_and_the_length_count() {
        let digest = |bytes: &[u8]| {
            let mut digest = Digest::new();
            digest.add_bytes(bytes);
            digest.finish()
        };
        let mut bytes: Vec<u8> = (0..100).collect();
        let first = digest(&bytes);
        for index in 0..bytes.len() {
            bytes[index] ^= 0x10;
            assert_ne!(digest(&bytes), first, "byte {index}");
            bytes[index] ^= 0x10;
        }
        bytes.push(0);
        assert_ne!(digest(&bytes), first);
    }
}
