//! Tables that become a snapshot's: nothing in them is writable any more, and what they own is written down beside
//! them, so that a copy of a table is a plain copy and owns nothing.
#![expect(unsafe_code, reason = "records are freed by hand")]

use super::entry::{Branch, OWNED, POPULATION_SHIFT, WRITABLE, load, store};
use super::{LargeSlot, PageTable, ROOT_LEVEL};
use crate::account::{Account, UNIT};
use crate::memory::Population;
use crate::memory::address::{FrameMemory, PhysAddr, WORDS_PER_FRAME};
use core::ptr::NonNull;
use l4::Error;

/// Steps of a budget that write-protecting a table takes.
const TABLE_COST: u32 = 16;

/// A table of a snapshot's own.
struct Record {
    next: Option<NonNull<Record>>,
    table: PhysAddr,
    /// Bit n: the page that entry n maps is the snapshot's own.
    pages: [u64; WORDS_PER_FRAME / 64],
}

const RECORD_UNITS: u32 = size_of::<Record>().div_ceil(UNIT) as u32;

/// What a snapshot owns of its pages and tables. Its account pays for these records as well.
pub(crate) struct Records {
    first: Option<NonNull<Record>>,
    /// Tables, without the root.
    pub(crate) tables: u64,
    pub(crate) pages: u64,
}

// SAFETY: The records belong to the value alone.
unsafe impl Send for Records {}

impl Records {
    pub(crate) const fn new() -> Records {
        Records {
            first: None,
            tables: 0,
            pages: 0,
        }
    }

    /// Enters a table; with `leaves`, its pages too, and takes the right to write from all of them.
    fn add(&mut self, table: FrameMemory, leaves: bool, account: &Account) -> Result<(), Error> {
        const { assert!(align_of::<Record>() <= UNIT) };
        let memory = account.allocate_units(RECORD_UNITS)?.cast::<Record>();
        let mut record = Record {
            next: self.first,
            table: table.frame(),
            pages: [0; WORDS_PER_FRAME / 64],
        };
        if leaves {
            for (number, entry) in table.words().iter().enumerate() {
                let Some(leaf) = load(entry) else { continue };
                if leaf.is_owned() {
                    record.pages[number / 64] |= 1 << (number % 64);
                    self.pages += 1;
                }
                store(entry, leaf.0 & !(OWNED | WRITABLE));
            }
        }
        // SAFETY: The memory is new, large and aligned enough.
        unsafe { memory.write(record) };
        self.first = Some(memory);
        self.tables += 1;
        Ok(())
    }

    /// Frees what the records name, and the records, when nobody uses the snapshot any more. True when nothing is left;
    /// otherwise the budget (one for each frame) is used up.
    pub(crate) fn release(&mut self, budget: &mut u32, account: &Account) -> bool {
        while let Some(mut first) = self.first {
            // SAFETY: Records in the list are the list's alone.
            let record = unsafe { first.as_mut() };
            if !record.release_pages(budget, account) || *budget == 0 {
                return false;
            }
            *budget -= 1;
            self.first = record.next;
            account.free_frame(record.table);
            // SAFETY: The record came from this account, and is in no list any more.
            unsafe { account.free_units(first.cast(), RECORD_UNITS) };
        }
        (self.tables, self.pages) = (0, 0);
        true
    }
}

impl Record {
    fn release_pages(&mut self, budget: &mut u32, account: &Account) -> bool {
        // SAFETY: The table is the snapshot's own, and freed after this.
        let table = unsafe { FrameMemory::new(self.table) };
        for (word, bits) in self.pages.iter_mut().enumerate() {
            while *bits != 0 {
                if *budget == 0 {
                    return false;
                }
                *budget -= 1;
                let number = word * 64 + bits.trailing_zeros() as usize;
                *bits &= *bits - 1;
                if let Some(leaf) = load(table.word(number)) {
                    account.free_frame(leaf.frame());
                }
            }
        }
        true
    }
}

impl PageTable {
    /// Makes everything that the tables own part of a snapshot: read-only, and entered in `records`. True when that is
    /// done; otherwise the budget is used up and the caller calls again. No processor runs in the space.
    ///
    /// # Errors
    /// [`Error::NoMemory`] for a record; the caller may try again.
    pub(crate) fn freeze(
        &self,
        records: &mut Records,
        budget: &mut u32,
        account: &Account,
    ) -> Result<bool, Error> {
        freeze_table(self.root, ROOT_LEVEL, records, budget, account)
    }
}

/// Freezes the tables below one. Entries are changed last, so that a table whose entry is unchanged has work left.
fn freeze_table(
    table: FrameMemory,
    level: u32,
    records: &mut Records,
    budget: &mut u32,
    account: &Account,
) -> Result<bool, Error> {
    let entries = if level == ROOT_LEVEL {
        WORDS_PER_FRAME / 2
    } else {
        WORDS_PER_FRAME
    };
    for entry in &table.words()[..entries] {
        let owned = match Branch::of(entry, level) {
            Branch::Own(owned) => owned,
            Branch::Large(leaf) => {
                LargeSlot(entry).set(leaf.read_only());
                continue;
            }
            Branch::Empty | Branch::Shared(_) => continue,
        };
        let child = PageTable::child(owned);
        if level > 1 && !freeze_table(child, level - 1, records, budget, account)? {
            return Ok(false);
        }
        if *budget == 0 {
            return Ok(false);
        }
        *budget = budget.saturating_sub(TABLE_COST);
        records.add(child, level == 1, account)?;
        let population = u64::from(Population::of(child).bits()) << POPULATION_SHIFT;
        store(entry, owned.0 & !(OWNED | WRITABLE) | population);
    }
    Ok(true)
}
