//! What an address space has taken from its account for pages and tables: a list, so that the end of a task that used little
//! costs little. When it is full, the end searches the tables instead. The account pays for what goes beyond a short one. The
//! pages of a snapshot's write set, which a clone began with, need no place in it: the set names them.
//!
//! The list may name entries that own nothing any more, or twice; each is looked at before anything is freed.
#![expect(unsafe_code, reason = "the write set is the snapshot's memory")]

use super::address::PhysAddr;
use super::page_list::PageList;
use super::page_table::{index, span};
use super::sparse::Population;
use crate::account::Account;
use crate::object::Ref;
use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, Ordering};
use l4::{Error, PAGE_SIZE};

/// Entries of the short list.
const CAPACITY: usize = 48;
/// Most pages in the short list, so that there is room for the tables.
const MAX_PAGES: usize = 30;

/// An entry of a table that may own a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    /// An address that the entry spans.
    pub(super) address: u64,
    /// Level of the table that the entry is in: 0 for a page, otherwise the entry names a table.
    pub(super) level: u32,
    /// Where words of the table may be other than zero when it owns nothing any more, if that is known.
    pub(super) population: Population,
}

/// Bits of an entry of the list beside the address: the level, and the population.
const LEVEL_MASK: u64 = 3;
const POPULATION_SHIFT: u32 = 4;

impl Holding {
    const fn to_word(self) -> u64 {
        self.address | (self.population.bits() as u64) << POPULATION_SHIFT | self.level as u64
    }

    const fn from_word(word: u64) -> Holding {
        Holding {
            address: word & !(PAGE_SIZE - 1),
            level: (word & LEVEL_MASK) as u32,
            population: Population::from_bits((word >> POPULATION_SHIFT) as u8),
        }
    }
}

/// The account of an address space, and what was taken from it. Guarded by the space's lock.
pub(crate) struct Holdings {
    account: Ref<Account>,
    /// Pages stand first, tables last.
    pages: Cell<usize>,
    tables: Cell<usize>,
    /// More was taken than the list holds.
    incomplete: Cell<bool>,
    /// Where words of the root table may be other than zero once nothing is owned. Known if the space began as a copy of an
    /// image.
    root: Cell<Population>,
    /// Pages that were copied ahead may be at these addresses: so many, in memory that stays as long as the space.
    ahead: AtomicPtr<u64>,
    ahead_length: Cell<usize>,
    entries: [Cell<u64>; CAPACITY],
    /// Pages that the short list has no room for.
    further: PageList,
}

impl Holdings {
    pub(super) const fn new(account: Ref<Account>) -> Holdings {
        Holdings {
            account,
            pages: Cell::new(0),
            tables: Cell::new(0),
            incomplete: Cell::new(false),
            root: Cell::new(Population::UNKNOWN),
            ahead: AtomicPtr::new(core::ptr::null_mut()),
            ahead_length: Cell::new(0),
            entries: [const { Cell::new(0) }; CAPACITY],
            further: PageList::new(),
        }
    }

    /// A frame for the page at `address`, zeroed or with unknown contents.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    #[inline]
    pub(super) fn take_page(&self, address: u64, zeroed: bool) -> Result<PhysAddr, Error> {
        let frame = self.account.allocate_frame(zeroed)?;
        let (number, address) = (self.pages.get(), address & !(PAGE_SIZE - 1));
        if number < MAX_PAGES.min(CAPACITY - self.tables.get()) {
            self.entries[number].set(address);
            self.pages.set(number + 1);
        } else if !self.further.push(address, &self.account) {
            self.incomplete.set(true);
        }
        Ok(frame)
    }

    /// Says where pages are going to be copied ahead.
    ///
    /// # Safety
    /// The addresses stay there and do not change until the space has given back all that it owns, or [`Self::clear`].
    pub(super) unsafe fn begin_ahead(&self, pages: &[u64]) {
        self.ahead.store(pages.as_ptr().cast_mut(), Ordering::Relaxed);
        self.ahead_length.set(pages.len());
    }

    /// A frame for one of these pages, zeroed or with unknown contents.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    #[inline]
    pub(super) fn take_ahead(&self, zeroed: bool) -> Result<PhysAddr, Error> {
        self.account.allocate_frame(zeroed)
    }

    /// Addresses where the list says that the space may own pages, in no order, and the same once more for pages that were
    /// copied ahead. All that there are, if it is complete.
    pub(super) fn pages(&self) -> impl Iterator<Item = u64> {
        let listed = self.entries[..self.pages.get()].iter().map(Cell::get);
        let listed = listed.chain(self.further.iter());
        listed.chain((0..self.ahead_length.get()).map(|number| self.ahead(number)))
    }

    /// The address of a page that may have been copied ahead.
    fn ahead(&self, number: usize) -> u64 {
        debug_assert!(number < self.ahead_length.get());
        // SAFETY: The memory is there by the promise to `begin_ahead`, and has more addresses than that.
        unsafe { *self.ahead.load(Ordering::Relaxed).add(number) }
    }

    /// A frame for the table that an entry of a table of `level` (1 to 3) will name, which will have something where
    /// `population` says.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub(super) fn take_table(
        &self,
        address: u64,
        level: u32,
        zeroed: bool,
        population: Population,
    ) -> Result<PhysAddr, Error> {
        let frame = self.account.allocate_frame(zeroed)?;
        let number = self.tables.get();
        if self.pages.get() + number == CAPACITY {
            self.incomplete.set(true);
        } else {
            let holding = Holding {
                address: address & !(PAGE_SIZE - 1),
                level,
                population,
            };
            self.entries[CAPACITY - 1 - number].set(holding.to_word());
            self.tables.set(number + 1);
        }
        Ok(frame)
    }

    /// Notes that the entry for an address in a table of `level`, which may have been zero, shows a frame of somebody else, and
    /// does so until the end. Entries that own something are cleared then.
    #[inline]
    pub(super) fn note_shown(&self, address: u64, level: u32) {
        if self.root.get() != Population::UNKNOWN {
            self.widen(address, level);
        }
    }

    /// What a new table of a level will have in it: an entry on the way to an address. Unknown unless it is kept up to date.
    pub(super) fn beginning(&self, address: u64, level: u32) -> Population {
        if self.root.get() == Population::UNKNOWN {
            Population::UNKNOWN
        } else {
            Population::UNKNOWN.with_word(index(address, level))
        }
    }

    #[cold]
    #[inline(never)]
    fn widen(&self, address: u64, level: u32) {
        let span = span(level + 1);
        // All of the table's entries, even if one of them is left over from another table that was there.
        for entry in &self.entries[CAPACITY - self.tables.get()..] {
            let holding = Holding::from_word(entry.get());
            let is_there = holding.address / span == address / span;
            if holding.level == level + 1 && is_there && holding.population != Population::UNKNOWN {
                let population = holding.population.with_word(index(address, level));
                entry.set(
                    Holding {
                        population,
                        ..holding
                    }
                    .to_word(),
                );
            }
        }
    }

    /// Says what the root table began with.
    pub(super) fn set_root(&self, population: Population) {
        self.root.set(population);
    }

    /// Where words of the root table may be other than zero.
    pub(super) fn root(&self) -> Population {
        self.root.get()
    }

    /// Bytes that the account may still use.
    pub(super) fn left(&self) -> u64 {
        self.account.limit().saturating_sub(self.account.used())
    }

    /// Gives a frame back.
    pub(super) fn give_back(&self, frame: PhysAddr) {
        self.account.free_frame(frame);
    }

    /// Tells whether the list names everything that was taken and not given back.
    pub(super) fn is_complete(&self) -> bool {
        !self.incomplete.get()
    }

    /// Tells whether [`Self::pop_ahead`] has something left.
    #[inline]
    pub(super) fn has_ahead(&self) -> bool {
        self.ahead_length.get() > 0
    }

    /// The address of a page that may have been copied ahead, each once.
    pub(super) fn pop_ahead(&self) -> Option<u64> {
        let last = self.ahead_length.get().checked_sub(1)?;
        let address = self.ahead(last);
        self.ahead_length.set(last);
        Some(address)
    }

    /// Takes an entry out of the list: pages first, then tables from the leaves upwards.
    pub(super) fn pop(&self) -> Option<Holding> {
        if let Some(address) = self.pop_page() {
            return Some(Holding {
                address,
                level: 0,
                population: Population::UNKNOWN,
            });
        }
        let last = self.tables.get().checked_sub(1)?;
        let tables = &self.entries[CAPACITY - 1 - last..];
        let level = |entry: &Cell<u64>| entry.get() & LEVEL_MASK;
        // The way to a page is made from above, so the last one often is the lowest.
        let lowest = match tables {
            [newest, ..] if level(newest) == 1 => newest,
            _ => tables.iter().min_by_key(|entry| level(entry))?,
        };
        let entry = lowest.replace(tables[0].get());
        self.tables.set(last);
        Some(Holding::from_word(entry))
    }

    #[inline]
    fn pop_page(&self) -> Option<u64> {
        let further = self.further.pop(&self.account);
        further.or_else(|| {
            let last = self.pages.get().checked_sub(1)?;
            self.pages.set(last);
            Some(self.entries[last].get())
        })
    }

    /// Forgets everything: somebody else has taken it over, or it is given back without the list.
    pub(super) fn clear(&self) {
        self.further.clear(&self.account);
        self.pages.set(0);
        self.tables.set(0);
        self.ahead_length.set(0);
        self.incomplete.set(false);
    }
}
