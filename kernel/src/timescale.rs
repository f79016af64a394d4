//! Conversion between ticks of a counter and nanoseconds, and what CPUID tells about the counters' rates.

/// Nanoseconds per second.
pub const SECOND: u64 = 1_000_000_000;

/// Fixed-point factors between ticks and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timescale {
    /// Nanoseconds per tick, times 2^32.
    pub ns_per_tick: u64,
    /// Ticks per nanosecond, times 2^32.
    pub ticks_per_ns: u64,
}

impl Timescale {
    /// The scale of a counter with `hertz` ticks per second; `None` below 1 kHz or above 1 THz.
    #[must_use]
    pub const fn from_hertz(hertz: u64) -> Option<Self> {
        if hertz < 1_000 || hertz > 1_000_000_000_000 {
            return None;
        }
        let ns_per_tick = ((SECOND as u128) << 32) / hertz as u128;
        let ticks_per_ns = ((hertz as u128) << 32) / SECOND as u128;
        Some(Self {
            ns_per_tick: ns_per_tick as u64,
            ticks_per_ns: ticks_per_ns as u64,
        })
    }

    /// Nanoseconds that `ticks` take, rounded down.
    #[must_use]
    #[inline]
    pub const fn nanoseconds(&self, ticks: u64) -> u64 {
        ((ticks as u128 * self.ns_per_tick as u128) >> 32) as u64
    }

    /// Ticks in `ns` nanoseconds, rounded up, so that a timer never fires early; saturates.
    #[must_use]
    #[inline]
    pub const fn ticks(&self, ns: u64) -> u64 {
        let ticks = (ns as u128 * self.ticks_per_ns as u128 + 0xffff_ffff) >> 32;
        if ticks > u64::MAX as u128 {
            u64::MAX
        } else {
            ticks as u64
        }
    }
}

/// Rate of the time stamp counter in hertz from CPUID's registers, `None` if they do not tell.
///
/// `leaf` gives EAX, EBX, ECX, EDX of a leaf, or `None` if the processor does not have it. Leaf 0x15 is exact
/// (Intel SDM vol. 2, CPUID); leaf 0x4000_0010 is what hypervisors report in kHz.
pub fn tsc_hertz(leaf: impl Fn(u32) -> Option<[u32; 4]>) -> Option<u64> {
    if let Some([denominator, numerator, crystal, _]) = leaf(0x15)
        && denominator != 0
        && numerator != 0
        && crystal != 0
    {
        return Some(u64::from(crystal) * u64::from(numerator) / u64::from(denominator));
    }
    match leaf(0x4000_0010) {
        Some([kilohertz, ..]) if kilohertz != 0 => Some(u64::from(kilohertz) * 1_000),
        _ => None,
    }
}

/// Rate in hertz of a counter that made `ticks` while a reference of `reference_hertz` made
/// `reference_ticks`; `None` if the reference stood still.
#[must_use]
pub fn measured_hertz(ticks: u64, reference_ticks: u64, reference_hertz: u64) -> Option<u64> {
    let hertz = (u128::from(ticks) * u128::from(reference_hertz)).checked_div(u128::from(reference_ticks))?;
    u64::try_from(hertz).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    #[test]
    fn absurd_rates_are_refused() {
        assert_eq!(Timescale::from_hertz(0), None);
        assert_eq!(Timescale::from_hertz(999), None);
        assert_eq!(Timescale::from_hertz(u64::MAX), None);
    }

    #[test]
    fn one_second_is_one_second() {
        for hertz in [1_193_182, 1_000_000_000, 2_995_200_000, 5_800_000_000] {
            let scale = Timescale::from_hertz(hertz).unwrap();
            assert!(scale.nanoseconds(hertz).abs_diff(SECOND) <= 2, "{hertz}");
            assert!(scale.ticks(SECOND).abs_diff(hertz) <= 1, "{hertz}");
        }
    }

    #[test]
    fn cpuid_leaves_in_order_of_precision() {
        let both = |leaf| match leaf {
            0x15 => Some([2, 250, 24_000_000, 0]),
            0x4000_0010 => Some([2_000_000, 0, 0, 0]),
            _ => None,
        };
        assert_eq!(tsc_hertz(both), Some(3_000_000_000));
        assert_eq!(
            tsc_hertz(|leaf| both(leaf).filter(|_| leaf != 0x15)),
            Some(2_000_000_000)
        );
        assert_eq!(tsc_hertz(|_| Some([0; 4])), None);
        assert_eq!(tsc_hertz(|_| None), None);
    }

    #[test]
    fn a_standing_reference_measures_nothing() {
        assert_eq!(measured_hertz(5, 0, 1), None);
        assert_eq!(measured_hertz(30_000_000, 11_932, 1_193_182), Some(2_999_954_743));
    }

    proptest! {
        #[test]
        fn a_timer_is_never_early(hertz in 1_000_000..10_000_000_000_u64, ns in 0..SECOND * 86_400) {
            let scale = Timescale::from_hertz(hertz).unwrap();
            // Both factors are rounded: allow their relative error of 2^-30 and one tick.
            let slack = (ns >> 20) + scale.nanoseconds(1) + 2;
            prop_assert!(scale.nanoseconds(scale.ticks(ns)).abs_diff(ns) <= slack);
        }
    }
}
