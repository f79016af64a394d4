//! Large pages: entries of tables of level 1 that map 2 MiB at once.
//!
//! They only show memory that somebody else keeps in one piece, so none owns its frame: one may go at any time, and the
//! pages that it spans are found again by faults. What needs the entry of a single page replaces a large page by a table
//! of pages that show the same.
#![expect(unsafe_code, reason = "page tables are reached through the direct map")]

use super::entry::{Branch, LARGE, Leaf, OWNED, PRESENT, TABLE_FLAGS, WRITABLE, permissions, store};
use super::{Missing, PageTable, index};
use crate::memory::address::{FrameMemory, LARGE_SIZE, LargeFrame, WORDS_PER_FRAME};
use crate::memory::holdings::Holdings;
use crate::memory::sparse::Population;
use crate::tlb;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

/// Where the frame's address stands. Of the bits from 12 on below, the lowest is a part of the memory type (in an entry of
/// level 0 that is bit 7), the others must be zero (Intel SDM vol. 3, table 4-18).
const LARGE_FRAME_MASK: u64 = 0x000f_ffff_ffff_ffff & !(LARGE_SIZE - 1);

/// An entry that maps a large page. It has the bits of a page's entry in the same places, but for the size and the memory
/// type, which is the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeLeaf(u64);

impl LargeLeaf {
    /// An entry that shows memory of somebody else.
    pub(crate) const fn shown(frame: LargeFrame, access: Access) -> LargeLeaf {
        LargeLeaf(frame.start().0 | LARGE | permissions(access))
    }

    /// The large page that the value of an entry of a table of level 1 maps. `None` if it maps none.
    pub(super) const fn of(value: u64) -> Option<LargeLeaf> {
        if value & (PRESENT | LARGE | OWNED) == PRESENT | LARGE {
            Some(LargeLeaf(value))
        } else {
            None
        }
    }

    /// The same memory with other permissions.
    pub(crate) const fn with_access(self, access: Access) -> LargeLeaf {
        LargeLeaf(self.0 & LARGE_FRAME_MASK | LARGE | permissions(access))
    }

    /// The same memory, not to be written.
    pub(super) const fn read_only(self) -> LargeLeaf {
        LargeLeaf(self.0 & !WRITABLE)
    }

    /// What the page at an address would have as an entry of its own.
    pub(crate) const fn page(self, address: u64) -> Leaf {
        let offset = address % LARGE_SIZE / PAGE_SIZE * PAGE_SIZE;
        Leaf(self.0 & !LARGE | offset)
    }

    /// Tells whether user mode may do everything with `self` that it may do with `other`.
    pub(super) const fn permits(self, other: LargeLeaf) -> bool {
        self.page(0).permits(other.page(0))
    }
}

/// An entry of a table of level 1 that maps a large page.
pub(crate) struct LargeSlot<'a>(pub(super) &'a AtomicU64);

impl LargeSlot<'_> {
    /// Makes the entry map its memory in another way.
    pub(super) fn set(&self, leaf: LargeLeaf) {
        store(self.0, leaf.0);
    }

    /// Unmaps the large page.
    pub(super) fn clear(&self) {
        store(self.0, 0);
    }
}

impl PageTable {
    /// Maps the large page that holds an address, where nothing is mapped. False if that can't be, because a table is there or
    /// another large page.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; then fewer tables are shared, and nothing else has changed.
    pub(crate) fn map_large(
        &self,
        address: u64,
        leaf: LargeLeaf,
        holdings: &Holdings,
    ) -> Result<bool, Error> {
        let table = match self.own_path(address, 1, holdings)? {
            Ok(table) => table,
            Err(missing) => return Self::install_large(missing, address, leaf, holdings).map(|()| true),
        };
        let entry = table.word(index(address, 1));
        match Branch::of(entry, 1) {
            Branch::Empty => {
                holdings.note_shown(address, 1);
                store(entry, leaf.0);
                Ok(true)
            }
            // Another processor was faster.
            Branch::Large(old) => Ok(old == leaf),
            Branch::Own(_) | Branch::Shared(_) => Ok(false),
        }
    }

    fn install_large(
        missing: Missing,
        address: u64,
        leaf: LargeLeaf,
        holdings: &Holdings,
    ) -> Result<(), Error> {
        holdings.note_shown(address, 1);
        Self::link_new(missing, address, (leaf.0, 1), holdings)
    }

    /// Replaces a large page that an entry maps by a table of its pages, which show the same memory.
    ///
    /// # Errors
    /// [`Error::NoMemory`], and nothing changed.
    #[cold]
    pub(super) fn split(
        &self,
        entry: &AtomicU64,
        leaf: LargeLeaf,
        address: u64,
        holdings: &Holdings,
    ) -> Result<FrameMemory, Error> {
        let frame = holdings.take_table(address, 1, false, Population::UNKNOWN)?;
        // SAFETY: The frame is new and ours alone.
        let table = unsafe { FrameMemory::new(frame) };
        for (page, word) in (0..WORDS_PER_FRAME as u64).zip(table.words()) {
            word.store(leaf.page(page * PAGE_SIZE).0, Ordering::Relaxed);
        }
        // Some processors stop when they find translations of both sizes for an address of code (CVE-2018-12207): so all
        // drop the large one before any can have another. What faults meanwhile waits for the lock of the space.
        store(entry, 0);
        tlb::flush_page(self.root(), address);
        store(entry, frame.0 | TABLE_FLAGS);
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::PhysAddr;

    const SOME: u64 = 5 * LARGE_SIZE;

    fn leaf(access: Access) -> LargeLeaf {
        LargeLeaf::shown(LargeFrame::new(PhysAddr(SOME)).unwrap(), access)
    }

    #[test]
    fn entries_are_as_the_processor_reads_them() {
        // Present, user, accessed, large; writable and dirty; no execution.
        assert_eq!(leaf(Access::READ).0, SOME | 0xa5 | 1 << 63);
        assert_eq!(leaf(Access::READ_WRITE).0, SOME | 0xe7 | 1 << 63);
        assert_eq!(leaf(Access::READ_EXECUTE).0, SOME | 0xa5);
        assert_eq!(leaf(Access::empty()).0, SOME | 0xa1 | 1 << 63);
        for access in [
            Access::empty(),
            Access::READ,
            Access::READ_WRITE,
            Access::READ_EXECUTE,
        ] {
            assert_eq!(leaf(Access::READ_WRITE).with_access(access), leaf(access));
            assert_eq!(LargeLeaf::of(leaf(access).0), Some(leaf(access)));
            assert_eq!(
                leaf(access).0 & (LARGE_SIZE - 1) & !0xfff,
                0,
                "reserved bits and the memory type"
            );
        }
        assert_eq!(LargeLeaf::of(0), None);
        assert_eq!(LargeLeaf::of(SOME | TABLE_FLAGS), None, "a table");
    }

    #[test]
    fn pages_of_a_large_page_show_the_same() {
        for access in [
            Access::empty(),
            Access::READ,
            Access::READ_WRITE,
            Access::READ_EXECUTE,
        ] {
            for page in [0, 1, 77, 511] {
                let frame = PhysAddr(SOME + page * PAGE_SIZE);
                let address = 9 * LARGE_SIZE + page * PAGE_SIZE + 123;
                assert_eq!(leaf(access).page(address), Leaf::shown(frame, access, false));
            }
        }
    }

    #[test]
    fn rights_are_compared() {
        assert!(leaf(Access::READ_WRITE).permits(leaf(Access::READ)));
        assert!(!leaf(Access::READ).permits(leaf(Access::READ_WRITE)));
        assert!(!leaf(Access::READ).permits(leaf(Access::READ_EXECUTE)));
        assert!(!leaf(Access::empty()).permits(leaf(Access::READ)));
        assert_eq!(leaf(Access::READ_WRITE).read_only().0 & WRITABLE, 0);
    }
}
