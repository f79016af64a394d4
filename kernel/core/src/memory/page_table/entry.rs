//! Entries of page tables.

use super::index;
use super::large::LargeLeaf;
use crate::memory::Population;
use crate::memory::address::{PhysAddr, WORDS_PER_FRAME};
use crate::memory::holdings::Holdings;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::PAGE_SIZE;
use l4::region::Access;

pub(super) const PRESENT: u64 = 1;
pub(super) const WRITABLE: u64 = 1 << 1;
pub(super) const USER: u64 = 1 << 2;
pub(super) const WRITE_THROUGH: u64 = 1 << 3;
pub(super) const CACHE_DISABLED: u64 = 1 << 4;
pub(super) const ACCESSED: u64 = 1 << 5;
pub(super) const DIRTY: u64 = 1 << 6;
/// In a table of level 1: the entry maps a large page. (In one of level 0 the bit is part of the memory type, and never set.)
pub(super) const LARGE: u64 = 1 << 7;
/// Software's bit: the frame, or the table, is paid for by the address space's account and goes with the entry. An
/// entry without it shows a frame that a dataspace or a snapshot keeps, or names a table that a snapshot shares, which is
/// copied before anything in it changes.
pub(super) const OWNED: u64 = 1 << 9;
/// Software's bits, of an entry that names a table which a snapshot shares: the table's [`Population`].
pub(super) const POPULATION_SHIFT: u32 = 52;
pub(super) const NO_EXECUTE: u64 = 1 << 63;
pub(super) const FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;
pub(super) const TABLE_FLAGS: u64 = PRESENT | WRITABLE | USER | ACCESSED | OWNED;

/// An entry that maps a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf(pub(super) u64);

impl Leaf {
    /// An entry that shows `frame`, which goes with the entry.
    #[inline]
    pub(crate) const fn owned(frame: PhysAddr, access: Access) -> Leaf {
        Leaf(frame.0 | OWNED | permissions(access))
    }

    /// An entry that shows a frame of somebody else.
    #[inline]
    pub(crate) const fn shown(frame: PhysAddr, access: Access, uncached: bool) -> Leaf {
        let cache = if uncached {
            CACHE_DISABLED | WRITE_THROUGH
        } else {
            0
        };
        Leaf(frame.0 | cache | permissions(access))
    }

    /// The same frame with other permissions.
    #[inline]
    pub(crate) const fn with_access(self, access: Access) -> Leaf {
        const KEPT: u64 = FRAME_MASK | OWNED | CACHE_DISABLED | WRITE_THROUGH;
        Leaf(self.0 & KEPT | permissions(access))
    }

    /// The same for another frame, from an entry for frame 0.
    #[inline]
    pub(crate) const fn with_frame(self, frame: PhysAddr) -> Leaf {
        Leaf(self.0 | frame.0)
    }

    /// The frame.
    #[inline]
    pub(crate) const fn frame(self) -> PhysAddr {
        PhysAddr(self.0 & FRAME_MASK)
    }

    /// What the table that the entry names has in it.
    #[inline]
    pub(super) const fn population(self) -> Population {
        Population::from_bits((self.0 >> POPULATION_SHIFT) as u8)
    }

    /// Tells whether the frame goes with the entry.
    #[inline]
    pub(crate) const fn is_owned(self) -> bool {
        self.0 & OWNED != 0
    }

    /// Tells whether user mode may do everything with `self` that it may do with `other`.
    pub(crate) const fn permits(self, other: Leaf) -> bool {
        let (mine, others) = (self.0 ^ NO_EXECUTE, other.0 ^ NO_EXECUTE);
        const PERMISSIONS: u64 = WRITABLE | USER | NO_EXECUTE;
        others & !mine & PERMISSIONS == 0
    }
}

/// What an entry of a table above level 0 holds.
pub(super) enum Branch {
    Empty,
    /// A table of the space's own.
    Own(Leaf),
    /// A table that a snapshot shares.
    Shared(Leaf),
    /// A large page; in tables of level 1 only.
    Large(LargeLeaf),
}

impl Branch {
    /// What an entry of a table of a level holds. The usual case is decided first.
    #[inline(always)]
    pub(super) fn of(entry: &AtomicU64, level: u32) -> Branch {
        let value = entry.load(Ordering::Relaxed);
        if value & (PRESENT | OWNED) == PRESENT | OWNED {
            Branch::Own(Leaf(value))
        } else if value & PRESENT == 0 {
            Branch::Empty
        } else if level == 1
            && let Some(leaf) = LargeLeaf::of(value)
        {
            Branch::Large(leaf)
        } else {
            Branch::Shared(Leaf(value))
        }
    }
}

/// The bits of a leaf. Without any access the page stays where it is, out of reach of user mode.
pub(super) const fn permissions(access: Access) -> u64 {
    let mut bits = PRESENT | ACCESSED | NO_EXECUTE;
    if !access.is_empty() {
        bits |= USER;
    }
    if access.contains(Access::WRITE) {
        bits |= WRITABLE | DIRTY;
    }
    if access.contains(Access::EXECUTE) {
        bits &= !NO_EXECUTE;
    }
    bits
}

/// An entry of a table of level 0.
pub(crate) struct Slot<'a> {
    pub(super) table: &'a [AtomicU64; WORDS_PER_FRAME],
    pub(super) index: usize,
}

impl Slot<'_> {
    /// The entry for another page that the same table maps.
    #[inline]
    pub(crate) fn beside(&self, address: u64) -> Self {
        Slot {
            table: self.table,
            index: index(address, 0),
        }
    }

    /// What the entry maps.
    #[inline]
    pub(crate) fn get(&self) -> Option<Leaf> {
        load(&self.table[self.index])
    }

    /// Makes the entry map something else, or a page of the space's own.
    #[inline]
    pub(crate) fn set(&self, leaf: Leaf) {
        debug_assert!(leaf.is_owned() || self.get().is_some());
        store(&self.table[self.index], leaf.0);
    }

    /// Makes the entry, which is that of the page at `address`, map something where nothing was mapped.
    #[inline]
    pub(crate) fn set_absent(&self, address: u64, leaf: Leaf, holdings: &Holdings) {
        debug_assert_eq!(index(address, 0), self.index);
        if !leaf.is_owned() {
            holdings.note_shown(address, 0);
        }
        store(&self.table[self.index], leaf.0);
    }

    /// Maps the pages of `start..end` that nothing is mapped at, as `leaf` tells by their number in the range. The
    /// range lies in the part of the address space that the entry's table spans.
    #[inline]
    pub(crate) fn fill_absent(&self, start: u64, end: u64, holdings: &Holdings, leaf: impl Fn(u64) -> Leaf) {
        // All there is between them is in the same eighths of the table.
        debug_assert!(end - start <= (WORDS_PER_FRAME / 8) as u64 * PAGE_SIZE);
        holdings.note_shown(start, 0);
        holdings.note_shown(end - PAGE_SIZE, 0);
        let first = index(start, 0);
        let count = ((end - start) / PAGE_SIZE) as usize;
        debug_assert!((first..first + count).contains(&self.index));
        for (number, entry) in (0..).zip(self.table.iter().skip(first).take(count)) {
            if entry.load(Ordering::Relaxed) == 0 {
                store(entry, leaf(number).0);
            }
        }
    }
}

#[inline]
pub(super) fn load(entry: &AtomicU64) -> Option<Leaf> {
    let value = entry.load(Ordering::Relaxed);
    (value & PRESENT != 0).then_some(Leaf(value))
}

/// The one way in which entries change.
#[inline]
pub(super) fn store(entry: &AtomicU64, value: u64) {
    #[cfg(test)]
    crate::memory::journal::record(entry, value);
    entry.store(value, Ordering::Release);
}
