//! Physical memory as a sorted list of ranges, from which boot-time structures are taken.

use kernel_core::context::MemoryRange;

const PAGE: u64 = 4096;
/// Boot loaders describe some ten ranges; each structure taken at boot adds at most two.
const RANGES_LIMIT: usize = 128;

/// Why memory cannot be described or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// More ranges than the kernel keeps.
    TooManyRanges,
    /// No usable range is large enough for this many bytes.
    OutOfMemory(u64),
}

impl core::fmt::Display for MapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooManyRanges => write!(f, "more than {RANGES_LIMIT} memory ranges"),
            Self::OutOfMemory(bytes) => write!(f, "no {bytes} bytes of memory: give the machine more"),
        }
    }
}

/// Sorted, disjoint ranges; neighbours of one kind are merged.
#[derive(Clone, Debug, Default)]
pub struct MemoryMap {
    ranges: heapless::Vec<MemoryRange, RANGES_LIMIT>,
}

impl MemoryMap {
    /// A map that describes nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ranges: heapless::Vec::new(),
        }
    }

    /// The ranges, in ascending order.
    #[must_use]
    pub fn ranges(&self) -> &[MemoryRange] {
        &self.ranges
    }

    /// Describes `start..end` as usable or not, whatever it was before. Usable ranges shrink to whole pages,
    /// others grow to them.
    ///
    /// # Errors
    /// If the map would have too many ranges; it is then unchanged.
    pub fn describe(&mut self, start: u64, end: u64, usable: bool) -> Result<(), MapError> {
        let (start, end) = if usable {
            (start.saturating_add(PAGE - 1) & !(PAGE - 1), end & !(PAGE - 1))
        } else {
            (start & !(PAGE - 1), end.saturating_add(PAGE - 1) & !(PAGE - 1))
        };
        if start >= end {
            return Ok(());
        }
        let mut result = Self::new();
        let mut inserted = false;
        for range in &self.ranges {
            result.push(MemoryRange {
                end: range.end.min(start),
                ..*range
            })?;
            if !inserted && range.end > start {
                result.push(MemoryRange { start, end, usable })?;
                inserted = true;
            }
            result.push(MemoryRange {
                start: range.start.max(end),
                ..*range
            })?;
        }
        if !inserted {
            result.push(MemoryRange { start, end, usable })?;
        }
        *self = result;
        Ok(())
    }

    /// Takes `bytes` (whole pages) of usable memory inside `window`, as high as possible, and describes it as
    /// not usable. Gives its physical address.
    ///
    /// # Errors
    /// If no usable range has that many bytes in the window, or the map would have too many ranges.
    pub fn take(&mut self, bytes: u64, window: core::ops::Range<u64>) -> Result<u64, MapError> {
        let fit = |range: &MemoryRange| {
            let end = range.end.min(window.end) & !(PAGE - 1);
            let start = end.checked_sub(bytes)?;
            (range.usable && start >= range.start.max(window.start)).then_some(start)
        };
        let start = self
            .ranges
            .iter()
            .rev()
            .find_map(fit)
            .ok_or(MapError::OutOfMemory(bytes))?;
        self.describe(start, start + bytes, false)?;
        Ok(start)
    }

    fn push(&mut self, range: MemoryRange) -> Result<(), MapError> {
        if range.start >= range.end {
            return Ok(());
        }
        if let Some(last) = self.ranges.last_mut()
            && last.end == range.start
            && last.usable == range.usable
        {
            last.end = range.end;
            return Ok(());
        }
        self.ranges.push(range).map_err(|_| MapError::TooManyRanges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    fn range(start: u64, end: u64, usable: bool) -> MemoryRange {
        MemoryRange {
            start: start * PAGE,
            end: end * PAGE,
            usable,
        }
    }

    #[test]
    fn a_reserved_range_splits_a_usable_one() {
        let mut map = MemoryMap::new();
        map.describe(0, 100 * PAGE, true).unwrap();
        map.describe(10 * PAGE + 5, 11 * PAGE + 5, false).unwrap();
        assert_eq!(
            map.ranges(),
            [range(0, 10, true), range(10, 12, false), range(12, 100, true)]
        );
    }

    #[test]
    fn usable_ranges_shrink_to_pages() {
        let mut map = MemoryMap::new();
        map.describe(1, 3 * PAGE - 1, true).unwrap();
        map.describe(5 * PAGE + 1, 5 * PAGE + 9, true).unwrap();
        assert_eq!(map.ranges(), [range(1, 2, true)]);
    }

    #[test]
    fn memory_is_taken_from_the_top_of_the_window() {
        let mut map = MemoryMap::new();
        map.describe(0, 100 * PAGE, true).unwrap();
        map.describe(200 * PAGE, 300 * PAGE, true).unwrap();
        assert_eq!(map.take(4 * PAGE, 0..150 * PAGE), Ok(96 * PAGE));
        assert_eq!(map.take(2 * PAGE, 0..150 * PAGE), Ok(94 * PAGE));
        assert_eq!(map.ranges()[1], range(94, 100, false));
        assert_eq!(
            map.take(101 * PAGE, 0..u64::MAX),
            Err(MapError::OutOfMemory(101 * PAGE))
        );
        assert_eq!(
            map.take(PAGE, 100 * PAGE..200 * PAGE),
            Err(MapError::OutOfMemory(PAGE))
        );
    }

    #[test]
    fn too_many_ranges_are_an_error_and_change_nothing() {
        let mut map = MemoryMap::new();
        let result =
            (0..=RANGES_LIMIT as u64).try_for_each(|i| map.describe(2 * i * PAGE, (2 * i + 1) * PAGE, true));
        assert_eq!(result, Err(MapError::TooManyRanges));
        assert_eq!(map.ranges().len(), RANGES_LIMIT);
    }

    fn descriptions() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
        prop::collection::vec((0..64_u64, 0..64_u64, any::<bool>()), 0..20)
    }

    proptest! {
        #[test]
        fn the_last_description_of_a_page_counts(list in descriptions(), page in 0..64_u64) {
            let mut map = MemoryMap::new();
            let mut expected = None;
            for (start, end, usable) in list {
                map.describe(start * PAGE, end * PAGE, usable).unwrap();
                if (start..end).contains(&page) {
                    expected = Some(usable);
                }
            }
            let found = map.ranges().iter().find(|r| (r.start..r.end).contains(&(page * PAGE)));
            prop_assert_eq!(found.map(|r| r.usable), expected);
            prop_assert!(map.ranges().windows(2).all(|pair| pair[0].end <= pair[1].start));
            prop_assert!(map.ranges().iter().all(|r| r.start < r.end));
        }

        #[test]
        fn nothing_is_taken_twice(sizes in prop::collection::vec(1..8_u64, 0..20), window in Just(0..u64::MAX)) {
            let mut map = MemoryMap::new();
            map.describe(PAGE, 40 * PAGE, true).unwrap();
            map.describe(10 * PAGE, 12 * PAGE, false).unwrap();
            let mut taken: Vec<(u64, u64)> = vec![(10 * PAGE, 12 * PAGE)];
            for size in sizes {
                if let Ok(start) = map.take(size * PAGE, window.clone()) {
                    let end = start + size * PAGE;
                    prop_assert!(start >= PAGE && end <= 40 * PAGE);
                    prop_assert!(taken.iter().all(|&(s, e)| end <= s || start >= e));
                    taken.push((start, end));
                }
            }
        }
    }
}
