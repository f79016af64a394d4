//! The kernel info page: read-only facts for user programs, and the clock.

/// First word of the page ("L4µK" in little-endian, as in L4Re).
pub const MAGIC: u32 = 0x4be6_344c;
/// Version of this interface.
pub const VERSION: u32 = 1;

/// The start of the kernel info page. The loader attaches it at [`InfoPage::ADDRESS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoPage {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub version: u32,
    /// TSC at the kernel clock's zero.
    pub tsc_base: u64,
    /// Nanoseconds per TSC tick, times 2^32.
    pub tsc_mult: u64,
    /// Nanoseconds since the Unix epoch at the kernel clock's zero.
    pub wall_clock_ns: u64,
    /// CPUs that run.
    pub cpu_count: u32,
    /// Bit 0: AVX is there.
    pub features: u32,
    /// Usable memory in bytes.
    pub memory: u64,
}

impl InfoPage {
    /// Where the loader puts the page in a task.
    pub const ADDRESS: u64 = 0x3f_e000;

    /// The page's contents as they stand in memory.
    pub fn to_bytes(&self) -> [u8; size_of::<InfoPage>()] {
        let mut bytes = [0; size_of::<InfoPage>()];
        let words = [
            u64::from(self.magic) | u64::from(self.version) << 32,
            self.tsc_base,
            self.tsc_mult,
            self.wall_clock_ns,
            u64::from(self.cpu_count) | u64::from(self.features) << 32,
            self.memory,
        ];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Kernel clock in nanoseconds for a TSC value.
    pub const fn nanoseconds(&self, tsc: u64) -> u64 {
        ((tsc.wrapping_sub(self.tsc_base) as u128 * self.tsc_mult as u128) >> 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_scales_without_overflow() {
        let page = InfoPage {
            magic: MAGIC,
            version: VERSION,
            tsc_base: 1000,
            tsc_mult: 1 << 31,
            wall_clock_ns: 0,
            cpu_count: 1,
            features: 0,
            memory: 0,
        };
        assert_eq!(page.nanoseconds(1000), 0);
        assert_eq!(page.nanoseconds(3000), 1000);
        assert_eq!(page.nanoseconds(1000 + (1 << 62)), 1 << 61);
    }
}
