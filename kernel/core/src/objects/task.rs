//! Tasks: an address space and a capability space.
#![expect(unsafe_code, reason = "an object's type is vouched for")]

use super::snapshot::{CloneLinks, Snapshot};
use crate::account::Account;
use crate::capability::{self, CapTable};
use crate::invocation;
use crate::memory::AddressSpace;
use crate::object::{Header, Kind, Making, Object, Ref};
use crate::reaper;
use crate::sync::{Rank, SpinLock};
use crate::thread::Thread;
use crate::tlb;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use l4::{CapIndex, Error, Tag};

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
    /// The snapshot that the task began as.
    base: Option<Ref<Snapshot>>,
    /// What it has written becomes the snapshot's write set at its end.
    is_recorded: AtomicBool,
    pub(super) clone_links: CloneLinks,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Task {
    const KIND: Kind = Kind::Task;
}

const SLOTS_PER_LEAF: u32 = 128;

impl Task {
    /// Creates an empty task.
    pub fn create(account: Ref<Account>) -> Result<Ref<Task>, Error> {
        Task::create_with(account, None, || AddressSpace::new(account)).map(Making::finish)
    }

    /// Creates a task that begins as `base` is, yet without a thread.
    ///
    /// # Errors
    /// [`Error::Again`] if the snapshot is not prepared yet, [`Error::NotFound`] if its end has begun, [`Error::NoMemory`].
    pub(crate) fn begin_from(account: Ref<Account>, base: Ref<Snapshot>) -> Result<Making<Task>, Error> {
        if !base.is_ready() {
            return Err(Error::Again);
        }
        let making = Task::create_with(account, Some(base), || {
            AddressSpace::copy_image(account, base.space())
        })?;
        let task = making.object();
        let entered = base
            .add_clone(task)
            .and_then(|()| task.space.register_views(base.space()));
        entered.inspect_err(|_| reaper::destroy(task.erase()))?;
        Ok(making)
    }

    #[inline(always)]
    fn create_with(
        account: Ref<Account>,
        base: Option<Ref<Snapshot>>,
        space: impl FnOnce() -> Result<AddressSpace, Error>,
    ) -> Result<Making<Task>, Error> {
        let template = base.map(|base| base.capabilities());
        // SAFETY: All fields are written. The snapshot's task, whose table the template is, is freed after its clones.
        unsafe {
            Account::begin_in_place(account, |header, place| {
                let space = space()?;
                let task: *mut Task = place.as_mut_ptr();
                (&raw mut (*task).header).write(header);
                (&raw mut (*task).space).write(space);
                CapTable::write(&raw mut (*task).caps, template);
                (&raw mut (*task).threads).write(SpinLock::new(Rank::Space, ()));
                (&raw mut (*task).first_thread).write(AtomicPtr::new(core::ptr::null_mut()));
                (&raw mut (*task).cursor).write(AtomicU32::new(0));
                (&raw mut (*task).base).write(base);
                (&raw mut (*task).is_recorded).write(AtomicBool::new(false));
                (&raw mut (*task).clone_links).write(CloneLinks::new());
                Ok(())
            })
        }
    }

    /// The snapshot that the task began as.
    pub(super) fn base(&self) -> Option<Ref<Snapshot>> {
        self.base
    }

    /// Tells whether `thread` is the task's only one.
    pub(crate) fn has_only(&self, thread: Ref<Thread>) -> bool {
        let _list = self.threads.lock();
        self.first_thread.load(Ordering::Relaxed) == thread.as_ptr()
            && thread.sibling.load(Ordering::Relaxed).is_null()
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
        if let Some(account) = invocation::account_of(self.me()) {
            reaper::destroy(account.erase());
        }
        if let Some(snapshot) = self.space.image_owner() {
            // Its last capability was dropped while it became a snapshot. Clones may use it: they end first.
            super::delete(snapshot);
            return false;
        }
        self.end_threads() && self.empty_slots(budget) && self.end_space(budget) && self.leave_base()
    }

    /// Nothing of the snapshot is used any more.
    fn leave_base(&self) -> bool {
        if let Some(base) = self.base {
            base.remove_clone(self.me());
        }
        true
    }

    fn me(&self) -> Ref<Task> {
        // SAFETY: Tasks are made by `Account::create` only, so this one is an object at its place.
        unsafe { Ref::from_raw(NonNull::from_ref(self)) }
    }

    /// Tells whether the task goes on without a thread.
    pub(super) fn is_left_alone(&self) -> bool {
        !self.header.is_dead() && self.first_thread.load(Ordering::Acquire).is_null()
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
        if tlb::is_loaded(self.space.root()) {
            return false;
        }
        if self.is_recorded.load(Ordering::Relaxed) {
            self.record();
        }
        self.space.destroy_step(budget)
    }

    /// The task, a clone, ends with an answer of this tag, whose first word `first` reads. If somebody wants to know what such a
    /// clone has written, that is noted for when its threads are gone.
    #[inline]
    pub(crate) fn note_answer(&self, tag: Tag, first: impl FnOnce() -> u64) {
        if let Some(base) = self.base
            && base.claim_record(tag, first)
        {
            self.is_recorded.store(true, Ordering::Relaxed);
        }
    }

    #[cold]
    fn record(&self) {
        self.is_recorded.store(false, Ordering::Relaxed);
        if let Some(base) = self.base {
            base.record_claimed(&self.space);
        }
    }

    /// Frees what other CPUs may have looked at until now.
    pub(crate) fn free(&self) {
        if let Some(account) = self.account() {
            self.caps.free(&account);
        }
    }
}
