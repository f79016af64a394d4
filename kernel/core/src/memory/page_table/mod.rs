//! Page tables of x86-64 with four levels (Intel SDM vol. 3, section 4.5), written for processors that read them at
//! the same time: an entry changes by one store of 64 bits, and a table is complete before an entry points to it.
//!
//! Levels count from the leaves: a table of level 0 maps 2 MiB in pages, the root has level 3. Each table spans
//! addresses of at least one region, so walking the regions finds every table and every leaf.
#![expect(unsafe_code, reason = "page tables are reached through the direct map")]

mod entry;
mod freeze;
mod large;
mod owned;
mod reclaim;
mod release;
mod sharing;

pub(crate) use entry::{Leaf, Slot};
pub(crate) use freeze::Records;
pub(crate) use large::{LargeLeaf, LargeSlot};
pub(crate) use reclaim::Reclaim;

use super::address::{FrameMemory, LARGE_SIZE, PhysAddr, WORDS_PER_FRAME};
use super::holdings::Holdings;
use super::sparse::{self, Population};
use crate::account::Account;
use crate::machine::{machine_copy_page, machine_kernel_root};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use entry::{Branch, LARGE, TABLE_FLAGS, load, store};
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

const ROOT_LEVEL: u32 = 3;
/// First address behind the half of the addresses that a root table's user entries span.
pub(crate) const SPAN_END: u64 = 1 << 47;
/// Bytes that a table of level 0 spans.
pub(crate) const TABLE_SPAN: u64 = span(1);

/// Bytes that an entry of a table of this level spans.
pub(super) const fn span(level: u32) -> u64 {
    PAGE_SIZE << (9 * level)
}

pub(super) const fn index(address: u64, level: u32) -> usize {
    (address / span(level)) as usize % WORDS_PER_FRAME
}

/// The lowest table that exists on the way to an address, whose entry there is empty. It is the space's own if the way
/// was made so.
#[derive(Clone, Copy)]
pub(crate) struct Missing {
    table: FrameMemory,
    level: u32,
}

impl Missing {
    /// The first address behind the hole that `address`, at which this was found, lies in.
    pub(crate) const fn behind(self, address: u64) -> u64 {
        (address | (span(self.level) - 1)) + 1
    }
}

/// What the way to an address ends at.
pub(crate) enum Place<'a> {
    /// The entry for its page.
    Page(Slot<'a>),
    /// A large page that it lies in.
    Large(LargeSlot<'a>, LargeLeaf),
    /// Nothing.
    Missing(Missing),
}

/// Something mapped, as [`PageTable::visit`] finds it.
pub(crate) enum Mapped<'a> {
    /// A page.
    Page(&'a Slot<'a>, Leaf),
    /// A large page.
    Large {
        slot: LargeSlot<'a>,
        leaf: LargeLeaf,
        /// All of it lies in the range that is visited.
        is_whole: bool,
    },
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

    /// What the root table has in it.
    pub(crate) fn root_population(self) -> Population {
        Population::of(self.root)
    }

    /// Gives the root table back; nothing below may be the space's own any more. Where words of it may be other than zero, if
    /// that is known, tells `population`.
    pub(crate) fn free_root(self, population: Population, account: &Account) {
        debug_assert!(
            self.root.words()[..WORDS_PER_FRAME / 2]
                .iter()
                .all(|entry| load(entry).is_none_or(|entry| !entry.is_owned()))
        );
        // SAFETY: No processor uses the table any more.
        unsafe { sparse::free(self.root.frame(), population, account) };
    }

    /// The table that an entry points to.
    #[inline(always)]
    fn child(entry: Leaf) -> FrameMemory {
        debug_assert!(entry.0 & LARGE == 0, "a large page is no table");
        // SAFETY: A present entry of a table above level 0 points to a table, unless it is a large page: these own nothing, and
        // `Branch` tells them from shared tables. The table lives until it is unlinked, under the lock of the space.
        unsafe { FrameMemory::new(entry.frame()) }
    }

    /// The entries of a table, one of these tables.
    #[inline(always)]
    fn entries(&self, table: FrameMemory) -> &[AtomicU64; WORDS_PER_FRAME] {
        // SAFETY: The table lives until it is unlinked, which needs the lock that the caller holds.
        unsafe { &*core::ptr::from_ref(table.words()) }
    }

    /// What the way to an address ends at.
    #[inline]
    pub(crate) fn find(&self, address: u64) -> Place<'_> {
        let mut table = self.root;
        for level in [3, 2, 1] {
            let index = index(address, level);
            match Branch::of(table.word(index), level) {
                Branch::Own(entry) | Branch::Shared(entry) => table = Self::child(entry),
                Branch::Empty => return Place::Missing(Missing { table, level }),
                Branch::Large(leaf) => return Place::Large(LargeSlot(&self.entries(table)[index]), leaf),
            }
        }
        Place::Page(Slot {
            table: self.entries(table),
            index: index(address, 0),
        })
    }

    /// The entry for a page, if its table exists.
    #[inline]
    pub(crate) fn slot(&self, address: u64) -> Option<Slot<'_>> {
        match self.find(address) {
            Place::Page(slot) => Some(slot),
            Place::Large(..) | Place::Missing(_) => None,
        }
    }

    /// Maps a page whose tables are missing in part: makes them from the leaf upwards and links them last.
    ///
    /// # Errors
    /// [`Error::NoMemory`], and nothing changed.
    pub(crate) fn install(
        missing: Missing,
        address: u64,
        leaf: Leaf,
        holdings: &Holdings,
    ) -> Result<(), Error> {
        if !leaf.is_owned() {
            holdings.note_shown(address, 0);
        }
        Self::link_new(missing, address, (leaf.0, 0), holdings)
    }

    /// The same for an entry of a table of a `lowest` level.
    #[inline]
    fn link_new(
        missing: Missing,
        address: u64,
        (mut entry, lowest): (u64, u32),
        holdings: &Holdings,
    ) -> Result<(), Error> {
        for level in lowest..missing.level {
            let population = holdings.beginning(address, level);
            match holdings.take_table(address, level + 1, true, population) {
                Ok(frame) => {
                    // SAFETY: The frame is new and ours alone.
                    let table = unsafe { FrameMemory::new(frame) };
                    store(table.word(index(address, level)), entry);
                    entry = frame.0 | TABLE_FLAGS;
                }
                Err(error) => {
                    Self::abandon(entry, address, lowest..level, holdings);
                    return Err(error);
                }
            }
        }
        store(missing.table.word(index(address, missing.level)), entry);
        Ok(())
    }

    /// Frees the tables of some levels that hang on an entry that was not linked.
    fn abandon(entry: u64, address: u64, levels: Range<u32>, holdings: &Holdings) {
        let mut entry = Leaf(entry);
        for level in levels.rev() {
            let table = Self::child(entry);
            entry = Leaf(table.word(index(address, level)).load(Ordering::Relaxed));
            holdings.give_back(table.frame());
        }
    }

    /// Calls `each` for what is mapped in a range, in order, until it returns false or the budget is used up (one for
    /// each page, large page, table and hole). Returns the first address that was not dealt with, `end` if all were.
    /// Large pages that lie in the range in part are visited too.
    pub(crate) fn visit(
        &self,
        start: u64,
        end: u64,
        budget: &mut u32,
        mut each: impl FnMut(Mapped<'_>) -> bool,
    ) -> u64 {
        let mut address = start;
        while address < end {
            if *budget == 0 {
                return address;
            }
            *budget -= 1;
            let next = (address | (span(1) - 1)) + 1;
            let mut slot = match self.find(address) {
                Place::Page(slot) => slot,
                Place::Missing(missing) => {
                    address = missing.behind(address);
                    continue;
                }
                Place::Large(slot, leaf) => {
                    let is_whole = address.is_multiple_of(LARGE_SIZE) && next <= end;
                    if !each(Mapped::Large { slot, leaf, is_whole }) {
                        return address;
                    }
                    address = next;
                    continue;
                }
            };
            let stop = end.min(next);
            while address < stop {
                if let Some(leaf) = slot.get() {
                    if *budget == 0 || !each(Mapped::Page(&slot, leaf)) {
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

    /// Removes the mapped pages of a range, as [`Self::visit`]; stops when `reclaim` is full. Large pages go as a whole,
    /// even if they lie in the range in part.
    pub(crate) fn unmap(&self, start: u64, end: u64, budget: &mut u32, reclaim: &mut Reclaim) -> u64 {
        self.visit(start, end, budget, |mapped| {
            match mapped {
                Mapped::Page(_, leaf) if leaf.is_owned() && !reclaim.push(leaf.frame()) => return false,
                Mapped::Page(slot, _) => store(&slot.table[slot.index], 0),
                Mapped::Large { slot, .. } => slot.clear(),
            }
            reclaim.set_reduced();
            true
        })
    }

    /// Changes what may be done with the mapped pages of a range, as [`Self::visit`]: `access` tells, for those that the space owns
    /// (true) and for the others. Large pages that lie in the range in part are unmapped.
    pub(crate) fn protect(
        &self,
        start: u64,
        end: u64,
        budget: &mut u32,
        reclaim: &mut Reclaim,
        access: impl Fn(bool) -> Access,
    ) -> u64 {
        self.visit(start, end, budget, |mapped| {
            let is_reduced = match mapped {
                Mapped::Page(slot, leaf) => {
                    let changed = leaf.with_access(access(leaf.is_owned()));
                    if changed != leaf {
                        slot.set(changed);
                    }
                    !changed.permits(leaf)
                }
                Mapped::Large {
                    slot,
                    leaf,
                    is_whole: true,
                } => {
                    let changed = leaf.with_access(access(false));
                    slot.set(changed);
                    !changed.permits(leaf)
                }
                Mapped::Large { slot, .. } => {
                    slot.clear();
                    true
                }
            };
            if is_reduced {
                reclaim.set_reduced();
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
        // A table that a snapshot shares shows something, so it does not lie in a gap.
        if let Some(child) = load(entry).filter(|entry| entry.is_owned()).map(PageTable::child) {
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
