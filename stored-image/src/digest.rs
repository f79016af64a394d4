//! Digests: quick, and different for contents that differ by accident. They are no protection against intent.

/// Odd, with bits everywhere (2^64 over the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const LANES: usize = 4;

/// A lane after a word.
#[inline(always)]
const fn mix(lane: u64, word: u64) -> u64 {
    (lane ^ word).wrapping_mul(FACTOR).rotate_left(29)
}

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
        *lane = mix(*lane, word);
        self.words += 1;
    }

    /// Adds words, given by their bytes, lowest first.
    pub fn add_words(&mut self, mut words: &[[u8; 8]]) {
        while !(self.words as usize).is_multiple_of(LANES) {
            let Some((first, rest)) = words.split_first() else {
                return;
            };
            self.add(u64::from_le_bytes(*first));
            words = rest;
        }
        let (rows, rest) = words.as_chunks::<LANES>();
        // On the stack of this function alone the lanes are registers.
        let mut lanes = self.lanes;
        for row in rows {
            for (lane, word) in lanes.iter_mut().zip(row) {
                *lane = mix(*lane, u64::from_le_bytes(*word));
            }
        }
        self.lanes = lanes;
        self.words += (rows.len() * LANES) as u64;
        rest.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
    }

    /// Adds bytes and their number; zeroes fill up the last word.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        self.add_words(words);
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.add(u64::from_le_bytes(last));
        self.add(bytes.len() as u64);
    }

    /// The digest as one word.
    pub fn finish(&self) -> u64 {
        let join = |sum: u64, lane: &u64| (sum ^ lane).wrapping_mul(FACTOR).rotate_left(32);
        self.lanes.iter().fold(self.words, join)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_alike_one_by_one_and_together() {
        let words: Vec<[u8; 8]> = (0..50u64)
            .map(|word| word.wrapping_mul(FACTOR).to_le_bytes())
            .collect();
        let mut one_by_one = Digest::new();
        words
            .iter()
            .for_each(|word| one_by_one.add(u64::from_le_bytes(*word)));
        for (first, second) in [(0, 50), (1, 9), (7, 7), (49, 50)] {
            let mut together = Digest::new();
            together.add_words(&words[..first]);
            together.add_words(&words[first..second]);
            together.add_words(&words[second..]);
            assert_eq!(together, one_by_one, "{first}, {second}");
        }
    }

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
