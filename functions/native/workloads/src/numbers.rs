//! Random numbers that a seed reproduces.

/// Steele, Lea and Flood's generator (2014), as the functions in Python have it.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator that starts with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// The next number of 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`, which is at least 1.
    pub const fn below(&mut self, count: u32) -> u32 {
        (self.next_u64() % count as u64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix64;

    #[test]
    fn numbers_are_the_published_ones() {
        let mut numbers = SplitMix64::new(1_234_567);
        for published in [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
        ] {
            assert_eq!(numbers.next_u64(), published);
        }
    }

    #[test]
    fn numbers_below_a_bound_reach_all_of_them() {
        let mut numbers = SplitMix64::new(0);
        let mut seen = [false; 5];
        for _ in 0..100 {
            seen[numbers.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
