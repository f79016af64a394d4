//! Regions: what a range of a task's addresses shows.

/// What backs a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// Zeroed memory of the task's own account, filled on demand.
    Anonymous,
    /// A dataspace; writes go to the dataspace.
    Shared,
    /// A sealed dataspace; the first write to a page copies it.
    Private,
    /// Nothing: the range is only taken, an access faults.
    Reserved,
}

bitflags::bitflags! {
    /// How memory may be used.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Access: u8 {
        /// Fetch instructions.
        const EXECUTE = 1;
        /// Write.
        const WRITE = 2;
        /// Read.
        const READ = 4;
    }
}

impl Access {
    /// Read and write.
    pub const READ_WRITE: Access = Access::READ.union(Access::WRITE);
    /// Read and fetch instructions.
    pub const READ_EXECUTE: Access = Access::READ.union(Access::EXECUTE);
}

/// One region as [`crate::protocol::task::ATTACH`] takes it, five words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Page-aligned start; with `search`, the lowest address to consider.
    pub start: u64,
    /// Page-aligned size in bytes, above 0.
    pub size: u64,
    /// Permitted use. Writable and executable at once is refused.
    pub access: Access,
    /// What it shows.
    pub backing: Backing,
    /// Find the first free range at or behind `start` instead of failing if it is taken.
    pub search: bool,
    /// The dataspace, in the caller's capability space; ignored for anonymous and reserved regions.
    pub dataspace: crate::CapIndex,
    /// Page-aligned offset into the dataspace.
    pub offset: u64,
}

const SEARCH: u64 = 0x100;

impl Region {
    /// Words per region in a message.
    pub const WORDS: usize = 5;

    /// The region's words.
    pub const fn words(&self) -> [u64; Self::WORDS] {
        let backing = match self.backing {
            Backing::Anonymous => 0x10,
            Backing::Shared => 0x20,
            Backing::Private => 0x30,
            Backing::Reserved => 0x40,
        };
        let flags = self.access.bits() as u64 | backing | if self.search { SEARCH } else { 0 };
        [self.start, self.size, flags, self.dataspace.word(), self.offset]
    }

    /// Reads a region; `None` if flags are unknown or alignment or size are wrong.
    pub const fn parse(words: [u64; Self::WORDS]) -> Option<Region> {
        let [start, size, flags, dataspace, offset] = words;
        let backing = match flags & 0xf0 {
            0x10 => Backing::Anonymous,
            0x20 => Backing::Shared,
            0x30 => Backing::Private,
            0x40 => Backing::Reserved,
            _ => return None,
        };
        let unaligned = (start | size | offset) % crate::PAGE_SIZE != 0;
        if unaligned || size == 0 || flags & !(0xf7 | SEARCH) != 0 || dataspace > u32::MAX as u64 {
            return None;
        }
        Some(Region {
            start,
            size,
            access: Access::from_bits_truncate(flags as u8 & 7),
            backing,
            search: flags & SEARCH != 0,
            dataspace: crate::CapIndex(dataspace as u32),
            offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CapIndex;

    #[test]
    fn regions_survive_the_wire() {
        for backing in [
            Backing::Anonymous,
            Backing::Shared,
            Backing::Private,
            Backing::Reserved,
        ] {
            for search in [false, true] {
                let region = Region {
                    start: 0x20_0000,
                    size: 0x3000,
                    access: Access::READ_WRITE,
                    backing,
                    search,
                    dataspace: CapIndex(9),
                    offset: 0x1000,
                };
                assert_eq!(Region::parse(region.words()), Some(region));
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Region::parse([0, 0, 0x16, 0, 0]), None, "empty");
        assert_eq!(Region::parse([1, 0x1000, 0x16, 0, 0]), None, "unaligned");
        assert_eq!(Region::parse([0, 0x1000, 0x06, 0, 0]), None, "no backing");
        assert_eq!(Region::parse([0, 0x1000, 0x8016, 0, 0]), None, "unknown flag");
    }
}
