//! A task's capability table: leaves of 128 slots. The first stands in the task, a directory of the others is made
//! when it is needed.
#![expect(unsafe_code, reason = "leaves are raw pages of slots")]

use super::{Capability, Slot, SlotState};
use crate::account::Account;
use crate::machine::machine_direct_map;
use crate::memory::PhysAddr;
use crate::object::{Header, Ref};
use crate::sync::{Guard, Rank, SpinLock};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use l4::{CapIndex, Error, PAGE_SIZE, Rights};

const SLOTS: usize = PAGE_SIZE as usize / size_of::<Slot>();
const LEAVES: usize = CapIndex::LIMIT as usize / SLOTS;

type Leaf = [Slot; SLOTS];
type Directory = [AtomicPtr<Leaf>; 512];

/// A capability table. Reading takes no lock; filling a slot takes the table's.
pub struct CapTable {
    lock: SpinLock<()>,
    first: AtomicPtr<Leaf>,
    directory: AtomicPtr<Directory>,
    /// No slot from this index on was ever filled.
    end: AtomicU32,
    /// The task's end has begun: no slot is filled any more.
    closed: AtomicBool,
}

impl Default for CapTable {
    fn default() -> CapTable {
        CapTable::new()
    }
}

impl CapTable {
    /// A table without slots yet.
    pub const fn new() -> CapTable {
        CapTable {
            lock: SpinLock::new(Rank::CapTable, ()),
            first: AtomicPtr::new(core::ptr::null_mut()),
            directory: AtomicPtr::new(core::ptr::null_mut()),
            end: AtomicU32::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Takes the lock that filling slots needs.
    pub(super) fn lock(&self) -> Guard<'_, ()> {
        self.lock.lock()
    }

    /// The slot of an index, `None` if it was never used or can't be.
    #[inline(always)]
    pub fn slot(&self, index: CapIndex) -> Option<&Slot> {
        let index = index.0 as usize;
        let page = if index < SLOTS {
            self.first.load(Ordering::Acquire)
        } else {
            self.far_leaf(index / SLOTS)?.load(Ordering::Acquire)
        };
        // SAFETY: Leaves are made before they are linked, and freed only when no CPU can see their task any more.
        unsafe { page.as_ref() }.map(|page| &page[index % SLOTS])
    }

    fn far_leaf(&self, leaf: usize) -> Option<&AtomicPtr<Leaf>> {
        if leaf >= LEAVES {
            return None;
        }
        // SAFETY: As for leaves.
        unsafe { self.directory.load(Ordering::Acquire).as_ref() }.map(|directory| &directory[leaf])
    }

    /// The capability at an index.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none or its object's end has begun.
    #[inline]
    pub fn get(&self, index: CapIndex) -> Result<Capability, Error> {
        match self.slot(index).map(Slot::read) {
            Some(SlotState::Object(capability)) if !capability.object.is_dead() => Ok(capability),
            _ => Err(Error::NotFound),
        }
    }

    /// The object at an index and the rights to it, for objects whose capabilities' labels mean nothing.
    #[inline(always)]
    pub(crate) fn object(&self, index: CapIndex) -> Option<(Ref<Header>, Rights)> {
        self.slot(index)?.object().filter(|(object, _)| !object.is_dead())
    }

    /// The slot of an index, made if it never was used; the account pays for its page.
    pub(super) fn slot_to_fill(
        &self,
        index: CapIndex,
        account: &Account,
        _lock: &Guard<'_, ()>,
    ) -> Result<&Slot, Error> {
        if index.0 == 0 || index.0 >= CapIndex::LIMIT {
            return Err(Error::Range);
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::NotFound);
        }
        let leaf = index.0 as usize / SLOTS;
        self.end.fetch_max(index.0 + 1, Ordering::Relaxed);
        if leaf == 0 {
            make(&self.first, account)?;
        } else {
            make(&self.directory, account)?;
            make(self.far_leaf(leaf).ok_or(Error::Range)?, account)?;
        }
        self.slot(index).ok_or(Error::Range)
    }

    /// Fills no slot any more. Whoever was filling one has done so when this returns.
    pub(crate) fn close(&self) {
        let _lock = self.lock();
        self.closed.store(true, Ordering::Relaxed);
    }

    /// No slot from this index on was ever filled.
    pub(crate) fn end(&self) -> u32 {
        self.end.load(Ordering::Relaxed)
    }

    /// Frees the table's pages; all slots must be empty and no CPU may see the table any more.
    pub(crate) fn free(&self, account: &Account) {
        free_page(&self.first, account);
        for leaf in 1..LEAVES {
            match self.far_leaf(leaf) {
                Some(link) => free_page(link, account),
                None => break,
            }
        }
        free_page(&self.directory, account);
    }
}

fn make<T>(link: &AtomicPtr<T>, account: &Account) -> Result<(), Error> {
    if link.load(Ordering::Acquire).is_null() {
        let frame = account.allocate_frame(true)?;
        // All zeroes are empty slots and null links alike.
        link.store((machine_direct_map() + frame.0) as *mut T, Ordering::Release);
    }
    Ok(())
}

fn free_page<T>(link: &AtomicPtr<T>, account: &Account) {
    if let Some(page) = NonNull::new(link.swap(core::ptr::null_mut(), Ordering::AcqRel)) {
        account.free_frame(PhysAddr(page.as_ptr() as u64 - machine_direct_map()));
    }
}

/// A reference to the account that pays for a table's pages.
pub(super) type Payer = Ref<Account>;
