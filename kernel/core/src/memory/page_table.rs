//! Page tables of x86-64 with four levels (Intel SDM vol. 3, section 4.5), written for processors that read them at
//! the same time: an entry changes by one store of 64 bits, and a table is complete before an entry points to it.
//!
//! Levels count from the leaves: a table of level 0 maps 2 MiB in pages, the root has level 3. Each table spans
//! addresses of at least one region, so walking the regions finds every table and every leaf.
#![expect(unsafe_code, reason = "page tables are reached through the direct map")]

use super::address::{FrameMemory, PhysAddr, WORDS_PER_FRAME};
use crate::account::Account;
use crate::machine::{machine_copy_page, machine_kernel_root};
use core::sync::atomic::{AtomicU64, Ordering};
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLED: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// Software's bit: the frame, or the table, is paid for by the address space's account and goes with the entry. An
/// entry without it shows a frame that a dataspace (or later a snapshot) keeps.
const OWNED: u64 = 1 << 9;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;
const TABLE_FLAGS: u64 = PRESENT | WRITABLE | USER | ACCESSED | OWNED;

const ROOT_LEVEL: u32 = 3;
/// First address behind the half of the addresses that a root table's user entries span.
pub(crate) const SPAN_END: u64 = 1 << 47;
/// Bytes that a table of level 0 spans.
pub(crate) const TABLE_SPAN: u64 = span(1);

/// Bytes that an entry of a table of this level spans.
const fn span(level: u32) -> u64 {
    PAGE_SIZE << (9 * level)
}

const fn index(address: u64, level: u32) -> usize {
    (address / span(level)) as usize % WORDS_PER_FRAME
}

/// An entry that maps a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf(u64);

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

/// The bits of a leaf. Without any access the page stays where it is, out of reach of user mode.
const fn permissions(access: Access) -> u64 {
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
    table: &'a [AtomicU64; WORDS_PER_FRAME],
    index: usize,
}

impl Slot<'_> {
    /// What the entry maps.
    #[inline]
    pub(crate) fn get(&self) -> Option<Leaf> {
        load(&self.table[self.index])
    }

    /// Makes the entry map something else.
    #[inline]
    pub(crate) fn set(&self, leaf: Leaf) {
        store(&self.table[self.index], leaf.0);
    }

    /// Maps the pages of `start..end` that nothing is mapped at, as `leaf` tells by their number in the range. The
    /// range lies in the part of the address space that the entry's table spans.
    #[inline]
    pub(crate) fn fill_absent(&self, start: u64, end: u64, leaf: impl Fn(u64) -> Leaf) {
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

/// The lowest table that exists on the way to an address, whose entry there is empty.
#[derive(Clone, Copy)]
pub(crate) struct Missing {
    table: FrameMemory,
    level: u32,
}

#[inline]
fn load(entry: &AtomicU64) -> Option<Leaf> {
    let value = entry.load(Ordering::Relaxed);
    (value & PRESENT != 0).then_some(Leaf(value))
}

/// The one way in which entries change.
#[inline]
fn store(entry: &AtomicU64, value: u64) {
    #[cfg(test)]
    super::journal::record(entry, value);
    entry.store(value, Ordering::Release);
}

/// What is to be freed once no processor can use it any more.
pub(crate) struct Reclaim {
    frames: heapless::Vec<PhysAddr, { Reclaim::CAPACITY }>,
    /// Unlinked tables, chained through their first word. Such a word looks like an absent entry to a processor that
    /// still has the table in its caches.
    tables: u64,
    /// A translation was removed or reduced.
    reduced: bool,
}

impl Reclaim {
    /// Frames that fit; tables don't count.
    const CAPACITY: usize = 64;

    pub(crate) const fn new() -> Reclaim {
        Reclaim {
            frames: heapless::Vec::new(),
            tables: 0,
            reduced: false,
        }
    }

    /// Notes that a translation was removed or reduced.
    pub(crate) fn set_reduced(&mut self) {
        self.reduced = true;
    }

    /// False if it is full.
    fn push(&mut self, frame: PhysAddr) -> bool {
        self.frames.push(frame).is_ok()
    }

    fn push_table(&mut self, table: FrameMemory) {
        debug_assert!(
            table
                .words()
                .iter()
                .all(|entry| entry.load(Ordering::Relaxed) == 0),
            "table in use"
        );
        table.word(0).store(self.tables, Ordering::Relaxed);
        self.tables = table.frame().0;
    }

    /// Makes sure that no processor uses an old translation of the space `root`, then gives everything back to
    /// `account`. With `live` false no processor can have the space loaded any more.
    pub(crate) fn finish(&mut self, root: PhysAddr, account: &Account, live: bool) {
        if live && (self.reduced || self.tables != 0) {
            crate::tlb::flush_space(root);
        }
        for frame in &self.frames {
            account.free_frame(*frame);
        }
        let mut next = self.tables;
        while next != 0 {
            // SAFETY: The frame is an unlinked table of ours, and no processor walks it any more.
            let table = unsafe { FrameMemory::new(PhysAddr(next)) };
            next = table.word(0).load(Ordering::Relaxed);
            account.free_frame(table.frame());
        }
    }
}

/// The page tables of an address space.
#[derive(Clone, Copy)]
pub(crate) struct PageTable {
    root: FrameMemory,
}

impl PageTable {
    /// Tables that map nothing but the kernel.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub(crate) fn create(account: &Account) -> Result<PageTable, Error> {
        let root = account.allocate_frame(false)?;
        // SAFETY: The frame is new and ours alone. The kernel's root table has an empty lower half and never changes.
        let root = unsafe {
            machine_copy_page(root, machine_kernel_root());
            FrameMemory::new(root)
        };
        debug_assert!(
            root.words()[..WORDS_PER_FRAME / 2]
                .iter()
                .all(|entry| load(entry).is_none())
        );
        Ok(PageTable { root })
    }

    /// The root table.
    pub(crate) fn root(self) -> PhysAddr {
        self.root.frame()
    }

    /// Gives the root table back; everything below must be gone.
    pub(crate) fn free_root(self, account: &Account) {
        debug_assert!(
            self.root.words()[..WORDS_PER_FRAME / 2]
                .iter()
                .all(|entry| load(entry).is_none())
        );
        account.free_frame(self.root.frame());
    }

    /// The table that an entry points to.
    #[inline(always)]
    fn child(entry: Leaf) -> FrameMemory {
        // SAFETY: A present entry of a table above level 0 points to a table: this module writes no others (there are
        // no large pages in the user half). The table lives until it is unlinked, under the lock of the space.
        unsafe { FrameMemory::new(entry.frame()) }
    }

    /// The entry for a page, if its table exists.
    #[inline]
    pub(crate) fn slot(&self, address: u64) -> Result<Slot<'_>, Missing> {
        let mut table = self.root;
        for level in [3, 2, 1] {
            match load(table.word(index(address, level))) {
                Some(entry) => table = Self::child(entry),
                None => return Err(Missing { table, level }),
            }
        }
        // SAFETY: The table lives until it is unlinked, which needs the lock that the caller holds.
        let table = unsafe { &*core::ptr::from_ref(table.words()) };
        Ok(Slot {
            table,
            index: index(address, 0),
        })
    }

    /// Maps a page whose tables are missing in part: makes them from the leaf upwards and links them last.
    ///
    /// # Errors
    /// [`Error::NoMemory`], and nothing changed.
    pub(crate) fn install(
        missing: Missing,
        address: u64,
        leaf: Leaf,
        account: &Account,
    ) -> Result<(), Error> {
        let mut entry = leaf.0;
        for level in 0..missing.level {
            match account.allocate_frame(true) {
                Ok(frame) => {
                    // SAFETY: The frame is new and ours alone.
                    let table = unsafe { FrameMemory::new(frame) };
                    store(table.word(index(address, level)), entry);
                    entry = frame.0 | TABLE_FLAGS;
                }
                Err(error) => {
                    Self::abandon(entry, address, level, account);
                    return Err(error);
                }
            }
        }
        store(missing.table.word(index(address, missing.level)), entry);
        Ok(())
    }

    /// Frees the `tables` that hang on an entry that was not linked.
    fn abandon(entry: u64, address: u64, tables: u32, account: &Account) {
        let mut entry = Leaf(entry);
        for level in (0..tables).rev() {
            let table = Self::child(entry);
            entry = Leaf(table.word(index(address, level)).load(Ordering::Relaxed));
            account.free_frame(table.frame());
        }
    }

    /// Calls `each` for the mapped pages in a range, in order, until it returns false or the budget is used up (one for
    /// each page, table and hole). Returns the first address that was not dealt with, `end` if all were.
    pub(crate) fn visit(
        &self,
        start: u64,
        end: u64,
        budget: &mut u32,
        mut each: impl FnMut(&Slot<'_>, Leaf) -> bool,
    ) -> u64 {
        let mut address = start;
        while address < end {
            if *budget == 0 {
                return address;
            }
            *budget -= 1;
            let mut slot = match self.slot(address) {
                Ok(slot) => slot,
                Err(missing) => {
                    address = (address | (span(missing.level) - 1)) + 1;
                    continue;
                }
            };
            let stop = end.min((address | (span(1) - 1)) + 1);
            while address < stop {
                if let Some(leaf) = slot.get() {
                    if *budget == 0 || !each(&slot, leaf) {
                        return address;
                    }
                    *budget -= 1;
                }
                slot.index += 1;
                address += PAGE_SIZE;
            }
        }
        end
    }

    /// Removes the mapped pages of a range, as [`Self::visit`]; stops when `reclaim` is full.
    pub(crate) fn unmap(&self, start: u64, end: u64, budget: &mut u32, reclaim: &mut Reclaim) -> u64 {
        self.visit(start, end, budget, |slot, leaf| {
            if leaf.is_owned() && !reclaim.push(leaf.frame()) {
                return false;
            }
            store(&slot.table[slot.index], 0);
            reclaim.set_reduced();
            true
        })
    }

    /// Changes what may be done with the mapped pages of a range, as [`Self::visit`]: `access` tells, page by page.
    pub(crate) fn protect(
        &self,
        start: u64,
        end: u64,
        budget: &mut u32,
        reclaim: &mut Reclaim,
        access: impl Fn(Leaf) -> Access,
    ) -> u64 {
        self.visit(start, end, budget, |slot, leaf| {
            let changed = leaf.with_access(access(leaf));
            if changed != leaf {
                slot.set(changed);
                if !changed.permits(leaf) {
                    reclaim.set_reduced();
                }
            }
            true
        })
    }

    /// Unlinks the tables in `start..end`, where nothing is mapped any more, that span no more than the addresses
    /// `gap.0..gap.1`, in which there is no region.
    pub(crate) fn prune(&self, start: u64, end: u64, gap: (u64, u64), reclaim: &mut Reclaim) {
        prune_table(self.root, ROOT_LEVEL, start..end, gap, reclaim);
    }
}

fn prune_table(
    table: FrameMemory,
    level: u32,
    range: core::ops::Range<u64>,
    gap: (u64, u64),
    reclaim: &mut Reclaim,
) {
    let span = span(level);
    let mut address = range.start & !(span - 1);
    while address < range.end {
        let next = address + span;
        let entry = table.word(index(address, level));
        if let Some(child) = load(entry).map(PageTable::child) {
            if level > 1 {
                let part = range.start.max(address)..range.end.min(next);
                prune_table(child, level - 1, part, gap, reclaim);
            }
            if gap.0 <= address && next <= gap.1 {
                store(entry, 0);
                reclaim.push_table(child);
            }
        }
        address = next;
    }
}
