//! A dataspace's own frames: a radix tree over page numbers, whose tables are frames.
//!
//! Entries are atomics: they change under the dataspace's lock, but may be read without it while the dataspace is sealed
//! or pinned, because then nothing is removed.
#![expect(unsafe_code, reason = "tables are reached through the direct map")]

use super::address::{FrameMemory, PhysAddr, WORDS_PER_FRAME};
use crate::account::Account;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::Error;

/// Pages that need no table.
const DIRECT: usize = 4;
const LEVEL_BITS: u32 = WORDS_PER_FRAME.trailing_zeros();
/// Levels of tables that the largest tree has.
const MAX_LEVELS: u32 = 4;

const FRAME: u64 = 1;
const HIDDEN: u64 = 2;

/// What stands for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Nothing: zeroes, or the parent's page.
    Absent,
    /// Zeroes, whatever the parent has there.
    Hidden,
    /// A frame of the dataspace's own.
    Own(PhysAddr),
}

impl Page {
    fn read(entry: u64) -> Page {
        match entry {
            0 => Page::Absent,
            HIDDEN => Page::Hidden,
            _ => Page::Own(PhysAddr(entry & !FRAME)),
        }
    }

    fn entry(self) -> u64 {
        match self {
            Page::Absent => 0,
            Page::Hidden => HIDDEN,
            Page::Own(frame) => frame.0 | FRAME,
        }
    }
}

/// The frames of a dataspace.
pub(super) struct FrameTree {
    /// 0: `roots` are the pages themselves; otherwise its first entry is the root table's.
    levels: u32,
    roots: [AtomicU64; DIRECT],
}

fn table(entry: u64) -> FrameMemory {
    // SAFETY: Entries above the pages' level are written by `set` only, with the frames of tables, which stay until
    // `drain` runs: then nobody else uses the tree any more.
    unsafe { FrameMemory::new(PhysAddr(entry & !FRAME)) }
}

const fn index(page: u64, level: u32) -> usize {
    (page >> (level * LEVEL_BITS)) as usize % WORDS_PER_FRAME
}

impl FrameTree {
    /// Most pages that a tree can have.
    pub(super) const MAX_PAGES: u64 = 1 << (MAX_LEVELS * LEVEL_BITS);

    /// An empty tree for `pages` pages.
    pub(super) const fn new(pages: u64) -> FrameTree {
        let mut levels = 0;
        if pages > DIRECT as u64 {
            levels = 1;
            while levels < MAX_LEVELS && pages > 1 << (levels * LEVEL_BITS) {
                levels += 1;
            }
        }
        FrameTree {
            levels,
            roots: [const { AtomicU64::new(0) }; DIRECT],
        }
    }

    /// What stands for a page below the size given at the start.
    #[inline]
    pub(super) fn get(&self, page: u64) -> Page {
        if self.levels == 0 {
            return Page::read(self.roots[page as usize % DIRECT].load(Ordering::Acquire));
        }
        let mut entry = self.roots[0].load(Ordering::Acquire);
        for level in (0..self.levels).rev() {
            if entry == 0 {
                return Page::Absent;
            }
            entry = table(entry).word(index(page, level)).load(Ordering::Acquire);
        }
        Page::read(entry)
    }

    /// Replaces what stands for a page; what stood there is the caller's.
    ///
    /// # Errors
    /// [`Error::NoMemory`] if a table is needed; then nothing changed.
    pub(super) fn set(&self, page: u64, value: Page, account: &Account) -> Result<(), Error> {
        if self.levels == 0 {
            self.roots[page as usize % DIRECT].store(value.entry(), Ordering::Release);
            return Ok(());
        }
        let mut memory;
        let mut slot = &self.roots[0];
        let mut level = self.levels;
        while level > 0 {
            let entry = slot.load(Ordering::Acquire);
            if entry == 0 {
                break;
            }
            level -= 1;
            memory = table(entry);
            slot = memory.word(index(page, level));
        }
        if level > 0 && value == Page::Absent {
            return Ok(());
        }
        let entry = Self::build(page, value.entry(), level, account)?;
        slot.store(entry, Ordering::Release);
        Ok(())
    }

    /// The tables below `levels` that lead to one page, complete.
    fn build(page: u64, mut entry: u64, levels: u32, account: &Account) -> Result<u64, Error> {
        for level in 0..levels {
            match account.allocate_frame(true) {
                Ok(frame) => {
                    table(frame.0)
                        .word(index(page, level))
                        .store(entry, Ordering::Relaxed);
                    entry = frame.0 | FRAME;
                }
                Err(error) => {
                    for level in (0..level).rev() {
                        let old = table(entry);
                        entry = old.word(index(page, level)).load(Ordering::Relaxed);
                        account.free_frame(old.frame());
                    }
                    return Err(error);
                }
            }
        }
        Ok(entry)
    }

    /// Frees all frames and tables, as far as the budget goes. True when nothing is left.
    pub(super) fn drain(&self, account: &Account, budget: &mut u32) -> bool {
        self.roots
            .iter()
            .all(|root| drain(root, self.levels, account, budget))
    }
}

fn drain(slot: &AtomicU64, level: u32, account: &Account, budget: &mut u32) -> bool {
    let entry = slot.load(Ordering::Relaxed);
    if entry == 0 {
        return true;
    }
    if *budget == 0 {
        return false;
    }
    if level > 0
        && !table(entry)
            .words()
            .iter()
            .all(|child| drain(child, level - 1, account, budget))
    {
        return false;
    }
    *budget = budget.saturating_sub(1);
    slot.store(0, Ordering::Relaxed);
    if entry & FRAME != 0 {
        account.free_frame(PhysAddr(entry & !FRAME));
    }
    true
}
