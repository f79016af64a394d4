//! The end of page tables that no processor uses any more.
#![expect(unsafe_code, reason = "frames are given back by address")]

use super::entry::{load, store};
use super::{PageTable, ROOT_LEVEL, TABLE_SPAN, index, span};
use crate::account::Account;
use crate::memory::address::{FrameMemory, WORDS_PER_FRAME};
use crate::memory::holdings::Holding;
use crate::memory::sparse;

impl PageTable {
    /// Frees the frame that an entry owns, and empties the entry. Nothing happens if it owns none.
    pub(in crate::memory) fn release(&self, holding: Holding, account: &Account) {
        let mut table = self.root;
        for level in (holding.level + 1..=ROOT_LEVEL).rev() {
            match load(table.word(index(holding.address, level))).filter(|entry| entry.is_owned()) {
                Some(entry) => table = Self::child(entry),
                None => return,
            }
        }
        let entry = table.word(index(holding.address, holding.level));
        if let Some(owned) = load(entry).filter(|entry| entry.is_owned()) {
            store(entry, 0);
            // SAFETY: No processor uses the tables any more.
            unsafe { sparse::free(owned.frame(), holding.population, account) };
        }
    }

    /// Frees the page at an address if the tables own it, and empties its entry. Remembers in `last` the table of level 0 that it was
    /// found in, for the next one.
    pub(in crate::memory) fn release_page(
        &self,
        address: u64,
        last: &mut Option<(u64, FrameMemory)>,
        account: &Account,
    ) {
        let number = address / TABLE_SPAN;
        let table = match *last {
            Some((same, table)) if same == number => table,
            _ => {
                let mut table = self.root;
                for level in (1..=ROOT_LEVEL).rev() {
                    match load(table.word(index(address, level))).filter(|entry| entry.is_owned()) {
                        Some(entry) => table = Self::child(entry),
                        None => return,
                    }
                }
                *last = Some((number, table));
                table
            }
        };
        let entry = table.word(index(address, 0));
        if let Some(owned) = load(entry).filter(|entry| entry.is_owned()) {
            store(entry, 0);
            account.free_frame(owned.frame());
        }
    }

    /// Frees everything that the tables own but the root, from the address `at` on. True when nothing is left;
    /// otherwise the budget is used up (one for each frame) and `at` tells where to go on.
    pub(crate) fn release_all(&self, at: &mut u64, budget: &mut u32, account: &Account) -> bool {
        release_table(self.root, ROOT_LEVEL, 0, at, budget, account)
    }
}

fn release_table(
    table: FrameMemory,
    level: u32,
    base: u64,
    at: &mut u64,
    budget: &mut u32,
    account: &Account,
) -> bool {
    let entries = if level == ROOT_LEVEL {
        WORDS_PER_FRAME / 2
    } else {
        WORDS_PER_FRAME
    };
    let first = at.saturating_sub(base) / span(level);
    for number in first as usize..entries {
        let entry = table.word(number);
        let Some(owned) = load(entry).filter(|entry| entry.is_owned()) else {
            continue;
        };
        let address = base + number as u64 * span(level);
        if level > 0 && !release_table(PageTable::child(owned), level - 1, address, at, budget, account) {
            return false;
        }
        *at = (*at).max(address);
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        store(entry, 0);
        account.free_frame(owned.frame());
    }
    true
}
