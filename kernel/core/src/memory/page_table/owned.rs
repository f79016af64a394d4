//! What the tables of a space own, whatever else they show.

use super::entry::load;
use super::{PageTable, ROOT_LEVEL, span};
use crate::memory::address::{FrameMemory, WORDS_PER_FRAME};

impl PageTable {
    /// Calls `each` with the addresses of the pages that the tables own, in order, until it returns false or as many tables
    /// as `tables` says have been looked at.
    pub(crate) fn visit_owned(&self, tables: &mut u32, each: &mut impl FnMut(u64) -> bool) {
        visit_table(self.root, ROOT_LEVEL, 0, tables, each);
    }
}

/// Visits what is below a table of a level that begins at the address `base`. False if there is no going on.
fn visit_table(
    table: FrameMemory,
    level: u32,
    base: u64,
    tables: &mut u32,
    each: &mut impl FnMut(u64) -> bool,
) -> bool {
    if *tables == 0 {
        return false;
    }
    *tables -= 1;
    let entries = if level == ROOT_LEVEL {
        WORDS_PER_FRAME / 2
    } else {
        WORDS_PER_FRAME
    };
    (0..).zip(&table.words()[..entries]).all(|(number, entry)| {
        let address = base + number * span(level);
        match load(entry).filter(|entry| entry.is_owned()) {
            None => true,
            Some(_) if level == 0 => each(address),
            Some(entry) => visit_table(PageTable::child(entry), level - 1, address, tables, each),
        }
    })
}
