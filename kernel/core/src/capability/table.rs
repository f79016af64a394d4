//! A task's capability table: some slots in the task itself, and leaves of 128 slots that are made when they are needed.
//!
//! A clone's table begins empty and has a template, the snapshot's table: what was never touched in the clone's own
//! is looked up there, and so on down a stack of snapshots. Whatever changes a slot, or derives from it, does so in the clone's own table.
#![expect(unsafe_code, reason = "leaves are raw pages of slots")]

use super::{Capability, Slot, SlotState};
use crate::account::Account;
use crate::machine::machine_direct_map;
use crate::memory::PhysAddr;
use crate::object::Ref;
use crate::sync::{Guard, Rank, SpinLock};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use l4::{CapIndex, Error, PAGE_SIZE};

const SLOTS: usize = PAGE_SIZE as usize / size_of::<Slot>();
const LEAVES: usize = CapIndex::LIMIT as usize / SLOTS;
/// Slots that stand in the table itself, so that a small task needs no leaf.
const NEAR: usize = 32;

type Leaf = [Slot; SLOTS];
type Directory = [AtomicPtr<Leaf>; 512];

/// A capability table. Reading takes no lock; filling a slot takes the table's.
pub struct CapTable {
    near: [Slot; NEAR],
    lock: SpinLock<()>,
    /// Never changes. The table that it names lives at least as long as this one.
    template: Option<NonNull<CapTable>>,
    first: AtomicPtr<Leaf>,
    directory: AtomicPtr<Directory>,
    /// No slot from this index on was ever filled.
    end: AtomicU32,
    /// The task's end has begun: no slot is filled any more.
    closed: AtomicBool,
}

// SAFETY: The template is only read, through the same interface as the table itself.
unsafe impl Sync for CapTable {}
// SAFETY: As above.
unsafe impl Send for CapTable {}

impl CapTable {
    /// Writes a table that shows what `template` does until it is changed.
    ///
    /// # Safety
    /// The place is the caller's alone. The template's memory stays until no CPU can see the new table any more.
    #[inline(always)]
    pub(crate) unsafe fn write(place: *mut CapTable, template: Option<NonNull<CapTable>>) {
        // SAFETY: All fields are written, in a place that nobody else uses. Slots of zeroes are empty.
        unsafe {
            (&raw mut (*place).near).write_bytes(0, 1);
            (&raw mut (*place).lock).write(SpinLock::new(Rank::CapTable, ()));
            (&raw mut (*place).template).write(template);
            (&raw mut (*place).first).write(AtomicPtr::new(core::ptr::null_mut()));
            (&raw mut (*place).directory).write(AtomicPtr::new(core::ptr::null_mut()));
            (&raw mut (*place).end).write(AtomicU32::new(0));
            (&raw mut (*place).closed).write(AtomicBool::new(false));
        }
    }

    /// Takes the lock that filling slots needs.
    pub(super) fn lock(&self) -> Guard<'_, ()> {
        self.lock.lock()
    }

    /// The table's own slot of an index, `None` if it was never used or can't be.
    #[inline(always)]
    pub fn slot(&self, index: CapIndex) -> Option<&Slot> {
        let index = index.0 as usize;
        if let Some(slot) = self.near.get(index) {
            return Some(slot);
        }
        let page = if index < SLOTS {
            self.first.load(Ordering::Acquire)
        } else {
            self.far_leaf(index / SLOTS)?.load(Ordering::Acquire)
        };
        // SAFETY: Leaves are made before they are linked, and freed only when no CPU can see their task any more.
        unsafe { page.as_ref() }.map(|page| &page[index % SLOTS])
    }

    /// The slot where what is at an index stands: the table's own, or that of the nearest template that has touched it. Only for
    /// looking. There are as many templates as snapshots can stack.
    pub(crate) fn find(&self, index: CapIndex) -> Option<&Slot> {
        let mut table = self;
        loop {
            let own = table.slot(index);
            match table.template {
                // SAFETY: By the promise given to `with_template`.
                Some(template) if !own.is_some_and(Slot::is_touched) => table = unsafe { template.as_ref() },
                _ => return own,
            }
        }
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
        match self.find(index).map(Slot::read) {
            Some(SlotState::Object(capability)) if !capability.object.is_dead() => Ok(capability),
            _ => Err(Error::NotFound),
        }
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
        if (index.0 as usize) < NEAR {
            // It is there.
        } else if leaf == 0 {
            make(&self.first, account)?;
        } else {
            make(&self.directory, account)?;
            make(self.far_leaf(leaf).ok_or(Error::Range)?, account)?;
        }
        self.slot(index).ok_or(Error::Range)
    }

    /// Makes the template's slot of an index invisible, if it is not already.
    ///
    /// # Errors
    /// Those of filling the slot.
    pub(super) fn hide(&self, index: CapIndex, account: &Account) -> Result<(), Error> {
        let lock = self.lock();
        let slot = self.slot_to_fill(index, account, &lock)?;
        if !slot.is_touched() {
            slot.hide();
        }
        Ok(())
    }

    /// Tells whether what is at an index stands in the template.
    pub(crate) fn inherits(&self, index: CapIndex) -> bool {
        self.template.is_some() && !self.slot(index).is_some_and(Slot::is_touched)
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
        let end = (self.end() as usize).div_ceil(SLOTS);
        for leaf in 1..end {
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
