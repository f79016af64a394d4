//! What an address space has taken from its account for pages and tables: a short list, so that the end of a task that
//! used little costs little. When it is full, the end searches the tables instead.
//!
//! The list may name entries that own nothing any more, or twice; each is looked at before anything is freed.

use super::address::PhysAddr;
use crate::account::Account;
use crate::object::Ref;
use core::cell::Cell;
use l4::{Error, PAGE_SIZE};

/// Entries of the list.
const CAPACITY: usize = 48;

/// An entry of a table that may own a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    /// An address that the entry spans.
    pub(super) address: u64,
    /// Level of the table that the entry is in: 0 for a page, otherwise the entry names a table.
    pub(super) level: u32,
}

/// The account of an address space, and what was taken from it. Guarded by the space's lock.
pub(crate) struct Holdings {
    account: Ref<Account>,
    /// Pages stand first, tables last.
    pages: Cell<usize>,
    tables: Cell<usize>,
    /// More was taken than the list holds.
    incomplete: Cell<bool>,
    entries: [Cell<u64>; CAPACITY],
}

impl Holdings {
    pub(super) const fn new(account: Ref<Account>) -> Holdings {
        Holdings {
            account,
            pages: Cell::new(0),
            tables: Cell::new(0),
            incomplete: Cell::new(false),
            entries: [const { Cell::new(0) }; CAPACITY],
        }
    }

    /// A frame for the page at `address`, zeroed or with unknown contents.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    #[inline]
    pub(super) fn take_page(&self, address: u64, zeroed: bool) -> Result<PhysAddr, Error> {
        let frame = self.account.allocate_frame(zeroed)?;
        let number = self.pages.get();
        if self.has_room() {
            self.entries[number].set(address & !(PAGE_SIZE - 1));
            self.pages.set(number + 1);
        }
        Ok(frame)
    }

    /// A frame for the table that an entry of a table of `level` (1 to 3) will name.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub(super) fn take_table(&self, address: u64, level: u32, zeroed: bool) -> Result<PhysAddr, Error> {
        let frame = self.account.allocate_frame(zeroed)?;
        let number = self.tables.get();
        if self.has_room() {
            self.entries[CAPACITY - 1 - number].set(address & !(PAGE_SIZE - 1) | u64::from(level));
            self.tables.set(number + 1);
        }
        Ok(frame)
    }

    #[inline]
    fn has_room(&self) -> bool {
        let room = self.pages.get() + self.tables.get() < CAPACITY;
        if !room {
            self.incomplete.set(true);
        }
        room
    }

    /// Gives a frame back.
    pub(super) fn give_back(&self, frame: PhysAddr) {
        self.account.free_frame(frame);
    }

    /// Tells whether the list names everything that was taken and not given back.
    pub(super) fn is_complete(&self) -> bool {
        !self.incomplete.get()
    }

    /// Takes an entry out of the list: pages first, then tables from the leaves upwards.
    pub(super) fn pop(&self) -> Option<Holding> {
        if let Some(last) = self.pages.get().checked_sub(1) {
            self.pages.set(last);
            let address = self.entries[last].get();
            return Some(Holding { address, level: 0 });
        }
        let last = self.tables.get().checked_sub(1)?;
        let tables = &self.entries[CAPACITY - 1 - last..];
        let lowest = tables.iter().min_by_key(|entry| entry.get() % PAGE_SIZE)?;
        let entry = lowest.replace(tables[0].get());
        self.tables.set(last);
        Some(Holding {
            address: entry & !(PAGE_SIZE - 1),
            level: (entry % PAGE_SIZE) as u32,
        })
    }

    /// Forgets everything: somebody else has taken it over.
    pub(super) fn clear(&self) {
        self.pages.set(0);
        self.tables.set(0);
        self.incomplete.set(false);
    }
}
