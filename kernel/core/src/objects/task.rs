//! Tasks: an address space and a capability space.
#![expect(unsafe_code, reason = "an object's type is vouched for")]

use crate::account::Account;
use crate::capability::{self, CapTable};
use crate::memory::AddressSpace;
use crate::object::{Header, Kind, Object, Ref};
use crate::reaper;
use crate::sync::{Rank, SpinLock};
use crate::thread::Thread;
use crate::tlb;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use l4::{CapIndex, Error};

/// A task.
#[repr(C, align(64))]
pub struct Task {
    pub(crate) header: Header,
    pub(crate) space: AddressSpace,
    pub(crate) caps: CapTable,
    /// Guards the list of the task's threads.
    threads: SpinLock<()>,
    first_thread: AtomicPtr<Thread>,
    /// While the task ends: the next slot to empty.
    cursor: AtomicU32,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Task {
    const KIND: Kind = Kind::Task;
}

const SLOTS_PER_LEAF: u32 = 128;

impl Task {
    /// Creates an empty task.
    pub fn create(account: Ref<Account>) -> Result<Ref<Task>, Error> {
        Account::try_create(account, |header| {
            Ok(Task {
                header,
                space: AddressSpace::new(account)?,
                caps: CapTable::new(),
                threads: SpinLock::new(Rank::Space, ()),
                first_thread: AtomicPtr::new(core::ptr::null_mut()),
                cursor: AtomicU32::new(0),
            })
        })
    }

    /// The account that pays for the task's memory and capability table.
    #[inline]
    pub fn account(&self) -> Option<Ref<Account>> {
        self.header.account()
    }

    /// Adds a thread to the task's list; false if the task's end has begun.
    pub(crate) fn add_thread(&self, thread: Ref<Thread>) -> bool {
        let _list = self.threads.lock();
        if self.header.is_dead() {
            return false;
        }
        thread.elder.store(core::ptr::null_mut(), Ordering::Relaxed);
        let next = self.first_thread.load(Ordering::Relaxed);
        thread.sibling.store(next, Ordering::Relaxed);
        if let Some(next) = Ref::load(&self.first_thread) {
            next.elder.store(thread.as_ptr(), Ordering::Relaxed);
        }
        self.first_thread.store(thread.as_ptr(), Ordering::Release);
        true
    }

    /// Takes a thread out of the task's list, if it is in it.
    pub(crate) fn remove_thread(&self, thread: Ref<Thread>) {
        let _list = self.threads.lock();
        let next = thread.sibling.load(Ordering::Relaxed);
        match Ref::load(&thread.elder) {
            Some(elder) => elder.sibling.store(next, Ordering::Relaxed),
            None if self.first_thread.load(Ordering::Relaxed) == thread.as_ptr() => {
                self.first_thread.store(next, Ordering::Release);
            }
            None => return,
        }
        if let Some(next) = Ref::load(&thread.sibling) {
            next.elder
                .store(thread.elder.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        thread.sibling.store(core::ptr::null_mut(), Ordering::Relaxed);
        thread.elder.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Takes the dead task apart for a while: threads, capabilities, memory. True when it is done.
    pub(crate) fn destroy_step(&self, budget: &mut u32) -> bool {
        self.end_threads() && self.empty_slots(budget) && self.end_space(budget)
    }

    fn end_threads(&self) -> bool {
        let mut next = {
            let _list = self.threads.lock();
            Ref::load(&self.first_thread)
        };
        let none = next.is_none();
        while let Some(thread) = next {
            reaper::destroy(thread.erase());
            let _list = self.threads.lock();
            next = Ref::load(&thread.sibling);
        }
        none
    }

    fn empty_slots(&self, budget: &mut u32) -> bool {
        let mut cursor = self.cursor.load(Ordering::Relaxed);
        if cursor == 0 {
            self.caps.close();
        }
        while cursor < self.caps.end() {
            if *budget == 0 {
                self.cursor.store(cursor, Ordering::Relaxed);
                return false;
            }
            match self.caps.slot(CapIndex(cursor)) {
                Some(slot) if slot.is_empty() => cursor += 1,
                Some(slot) => {
                    *budget -= 1;
                    capability::drop_slot(slot);
                    cursor += 1;
                }
                // The whole leaf was never made.
                None => cursor = (cursor / SLOTS_PER_LEAF + 1) * SLOTS_PER_LEAF,
            }
        }
        self.cursor.store(cursor, Ordering::Relaxed);
        true
    }

    fn end_space(&self, budget: &mut u32) -> bool {
        // A CPU that ran a thread of the task may still have its tables loaded.
        !tlb::is_loaded(self.space.root()) && self.space.destroy_step(budget)
    }

    /// Frees what other CPUs may have looked at until now.
    pub(crate) fn free(&self) {
        if let Some(account) = self.account() {
            self.caps.free(&account);
        }
    }
}
