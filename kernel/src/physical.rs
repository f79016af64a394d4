//! Bounded, typed reads of physical memory that somebody else wrote.

/// Physical memory that can be read at boot.
pub trait PhysicalMemory {
    /// The `length` bytes at `address`, or `None` if not all of them can be read.
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]>;
}

/// Little-endian unsigned 16-bit number at `offset`.
#[must_use]
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

/// Little-endian unsigned 32-bit number at `offset`.
#[must_use]
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// Little-endian unsigned 64-bit number at `offset`.
#[must_use]
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    let end = offset.checked_add(N)?;
    bytes.get(offset..end)?.try_into().ok()
}

/// Memory for tests: pieces at given addresses, nothing between them.
#[cfg(test)]
pub(crate) struct FakeMemory(pub(crate) std::vec::Vec<(u64, std::vec::Vec<u8>)>);

#[cfg(test)]
impl PhysicalMemory for FakeMemory {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        self.0.iter().find_map(|(start, piece)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            piece.get(offset..offset.checked_add(length)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stay_inside() {
        let bytes = [1, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(u32_at(&bytes, 4), Some(2));
        assert_eq!(u32_at(&bytes, 5), None);
        assert_eq!(u64_at(&bytes, 0), Some(0x2_0000_0001));
        assert_eq!(u16_at(&bytes, usize::MAX), None);
    }
}
