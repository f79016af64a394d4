//! Order statistics of a set of durations.

/// The figures of one phase, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Shortest.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// Nine out of ten took at most this.
    pub p90: u64,
    /// 99 out of 100 took at most this.
    pub p99: u64,
    /// Longest.
    pub max: u64,
}

impl Summary {
    /// Sums up `durations`, which are sorted on the way. `None` if there are none.
    ///
    /// A percentile is the smallest value that at least so many per cent of the values do not exceed: always one of
    /// the values, exact, without interpolation.
    pub fn of(durations: &mut [u64]) -> Option<Summary> {
        durations.sort_unstable();
        let (&min, &max) = (durations.first()?, durations.last()?);
        let percentile = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100);
            durations[rank.saturating_sub(1)]
        };
        Some(Summary {
            min,
            p50: percentile(50),
            p90: percentile(90),
            p99: percentile(99),
            max,
        })
    }
}

/// Invocations per second, in thousandths, of `count` invocations in `nanoseconds`; 0 if no time passed.
pub fn throughput_milli(count: u64, nanoseconds: u64) -> u64 {
    if nanoseconds == 0 {
        return 0;
    }
    u64::try_from(u128::from(count) * 1_000_000_000_000 / u128::from(nanoseconds)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn percentiles_of_one_to_hundred_are_their_own_numbers() {
        let mut values: Vec<u64> = (1..=100).rev().collect();
        let summary = Summary::of(&mut values);
        assert_eq!(
            summary,
            Some(Summary {
                min: 1,
                p50: 50,
                p90: 90,
                p99: 99,
                max: 100
            })
        );
    }

    #[test]
    fn one_value_is_every_percentile() {
        assert_eq!(
            Summary::of(&mut [7]),
            Some(Summary {
                min: 7,
                p50: 7,
                p90: 7,
                p99: 7,
                max: 7
            })
        );
        assert_eq!(Summary::of(&mut []), None);
    }

    #[test]
    fn throughput_counts_per_second() {
        assert_eq!(throughput_milli(200, 1_000_000_000), 200_000);
        assert_eq!(throughput_milli(1, 3_000_000_000), 333);
        assert_eq!(throughput_milli(5, 0), 0);
    }

    proptest! {
        #[test]
        fn a_percentile_bounds_its_share(mut values in prop::collection::vec(any::<u64>(), 1..300)) {
            let summary = Summary::of(&mut values).unwrap();
            for (percent, bound) in [(50, summary.p50), (90, summary.p90), (99, summary.p99)] {
                let below = values.iter().filter(|value| **value < bound).count();
                let up_to = values.iter().filter(|value| **value <= bound).count();
                prop_assert!(up_to * 100 >= values.len() * percent);
                prop_assert!(below * 100 < values.len() * percent);
            }
        }
    }
}
