//! Capability slots: which are free, and owners that empty them.

use capalloc::{CapAlloc, Lane};
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, Ordering};
use l4::object::Task;
use l4::{CapIndex, Error, Utcb, utcb};

/// All slots of a capability space: the size of the kernel's. Untouched parts of it cost nothing.
static SLOTS: CapAlloc<{ CapIndex::LIMIT as usize }> = CapAlloc::new(0);
static READY: AtomicBool = AtomicBool::new(false);

/// A slot that belongs to its owner: empty at first. When dropped it is free for reuse, whatever it holds then is
/// dropped before.
#[derive(Debug)]
pub struct Slot(CapIndex);

/// A capability that belongs to its owner, who drops it with the slot.
#[derive(Debug)]
pub struct OwnedCap(Slot);

impl Slot {
    /// Takes a free slot.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if all are in use.
    pub fn allocate() -> Result<Slot, Error> {
        if !READY.load(Ordering::Acquire) {
            // A second thread at the same moment finds slots handed out already, hence those below reserved.
            let _ = SLOTS.reserve_below(capalloc::Slot::new(crate::env::first_free().0));
            READY.store(true, Ordering::Release);
        }
        let slot = SLOTS.allocate(lane()).map_err(|_| Error::NoSpace)?;
        Ok(Slot(CapIndex(slot.index())))
    }

    /// The slot's index.
    pub fn index(&self) -> CapIndex {
        self.0
    }

    /// The slot now holds a capability.
    pub fn filled(self) -> OwnedCap {
        OwnedCap(self)
    }

    /// Lets `create` put a capability into a fresh slot.
    ///
    /// # Errors
    /// Those of `create`; [`Error::NoSpace`] if no slot is free.
    pub fn fill<T>(create: impl FnOnce(CapIndex) -> Result<T, Error>) -> Result<OwnedCap, Error> {
        let slot = Slot::allocate()?;
        match create(slot.0) {
            Ok(_) => Ok(slot.filled()),
            Err(error) => {
                slot.free_empty();
                Err(error)
            }
        }
    }

    /// Frees a slot that is known to be empty, without asking the kernel to empty it.
    pub fn free_empty(self) {
        let slot = ManuallyDrop::new(self).0;
        // The slot is this owner's, so the release can't fail.
        let _ = SLOTS.release(capalloc::Slot::new(slot.0), lane(), |_| ());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let empty = |slot: capalloc::Slot| {
            let _ = Task(CapIndex::TASK).drop_cap(CapIndex(slot.index()));
        };
        let _ = SLOTS.release(capalloc::Slot::new(self.0.0), lane(), empty);
    }
}

impl OwnedCap {
    /// The capability's index.
    pub fn index(&self) -> CapIndex {
        self.0.0
    }

    /// Gives up ownership: the capability stays for ever.
    pub fn leak(self) -> CapIndex {
        ManuallyDrop::new(self).0.0
    }

    /// Takes up ownership of a capability that was given up by [`OwnedCap::leak`].
    pub fn adopt(cap: CapIndex) -> OwnedCap {
        OwnedCap(Slot(cap))
    }

    /// Deletes the object (delete right needed) and frees the slot; on an error the capability is just dropped.
    ///
    /// # Errors
    /// Those of [`Task::delete`].
    pub fn delete(self) -> Result<(), Error> {
        Task(CapIndex::TASK).delete(self.index())?;
        self.0.free_empty();
        Ok(())
    }
}

/// Withholds all slots below `first` from allocation, for a program whose creator filled slots without saying so in the
/// start block. To be called before the first allocation; later it has no effect.
pub fn reserve_below(first: CapIndex) {
    let _ = SLOTS.reserve_below(capalloc::Slot::new(first.0));
    READY.store(true, Ordering::Release);
}

/// Slots in use, for leak checks.
pub fn in_use() -> usize {
    SLOTS.in_use()
}

/// Threads differ in the low bits of their UTCB's page number.
fn lane() -> Lane {
    Lane((Utcb::current().word(utcb::SELF_WORD) >> 12) as usize)
}
