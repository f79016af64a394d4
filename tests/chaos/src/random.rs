//! Random numbers that a seed reproduces.

/// The generator xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators").
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The generator for a seed.
    pub(crate) fn new(seed: u64) -> Random {
        // The state must not be 0; an odd factor keeps different seeds apart.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63)
    }

    /// 64 random bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.word() >> 16) % limit
    }

    /// One of the values.
    pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    /// True in one of `count` cases.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
