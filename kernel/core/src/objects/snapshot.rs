//! Snapshots: a task that was stopped in a call, and is kept as it was so that others begin from there.
//!
//! The task and its one thread stay inside of the snapshot, where nobody can name them any more. Its address space becomes
//! an image, its capability table a template, its thread's registers and UTCB what each clone's thread begins with.
//!
//! Clones use the snapshot: its memory stays until the last of them is gone. Dropping the snapshot's last capability
//! forbids new ones; deleting it, or its account, ends those that there are. Clones are listed in shards by CPU, so that
//! CPUs which begin and end clones of one snapshot do not meet.
#![expect(
    unsafe_code,
    reason = "an object's type is vouched for; tables refer to each other"
)]

use super::write_set::WriteSet;
use super::{Task, delete};
use crate::account::Account;
use crate::capability::{self, CapTable, Slot, SlotState};
use crate::cpu::Domain;
use crate::machine::machine_cpu;
use crate::memory::{AddressSpace, ImageSize, Population};
use crate::object::{Header, Kind, Object, Ref};
use crate::reaper;
use crate::sync::{Rank, SpinLock};
use crate::thread::{Content, State, Thread};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use l4::{CapIndex, Error, Rights};

/// Lists of clones; a CPU uses the one of its number modulo this.
const SHARDS: usize = 16;
/// Most capabilities of a task to itself, its thread and its account.
const MAX_OWN: usize = 8;
/// Most snapshots below one another.
const MAX_DEPTH: u8 = 8;
/// Flag of [`Snapshot::in_use`]: the object's end was reached with clones left; the last one hands it to the reaper.
const ORPHANED: u32 = 1 << 31;

/// A snapshot.
#[repr(C, align(64))]
pub struct Snapshot {
    pub(crate) header: Header,
    /// Both are counted until their end has begun.
    task: Ref<Task>,
    thread: Ref<Thread>,
    /// Snapshots below this one.
    depth: u8,
    /// The end takes the clones along.
    deleted: AtomicBool,
    /// The end of the task has begun.
    ended: AtomicBool,
    /// Somebody works on the preparation.
    preparing: AtomicBool,
    /// Everything is in its place: clones can begin.
    ready: AtomicBool,
    /// While it is prepared: the next slot of the template to look at.
    cursor: AtomicU32,
    /// Entry and stack for faults that the thread handles itself.
    fault_entry: [AtomicU64; 2],
    /// What the thread's UTCB has in it.
    utcb_population: AtomicU8,
    /// Slots in which a clone has a capability to itself; 0 ends the list.
    own: [AtomicU64; MAX_OWN],
    pub(super) write_set: WriteSet,
    /// Shards that have clones, each of which counts a reference; and [`ORPHANED`].
    in_use: AtomicU32,
    clones: [SpinLock<AtomicPtr<Task>>; SHARDS],
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Snapshot {
    const KIND: Kind = Kind::Snapshot;
}

/// What a task's capability to itself names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// The task.
    Task,
    /// Its thread.
    Thread,
    /// Its account.
    Account,
}

/// A slot in which a clone has a capability to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnSlot {
    pub(crate) index: CapIndex,
    pub(crate) rights: Rights,
    pub(crate) names: Own,
}

impl OwnSlot {
    fn word(self) -> u64 {
        let names = match self.names {
            Own::Task => 1,
            Own::Thread => 2,
            Own::Account => 3u64,
        };
        u64::from(self.index.0) | u64::from(self.rights.bits()) << 32 | names << 40
    }

    fn from_word(word: u64) -> Option<OwnSlot> {
        let names = match word >> 40 {
            1 => Own::Task,
            2 => Own::Thread,
            3 => Own::Account,
            _ => return None,
        };
        Some(OwnSlot {
            index: CapIndex(word as u32),
            rights: Rights::from_bits_truncate((word >> 32) as u8),
            names,
        })
    }
}

/// What a snapshot consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotInfo {
    /// Clones can begin.
    pub(crate) ready: bool,
    /// What it owns itself.
    pub(crate) size: ImageSize,
    /// Snapshots below it.
    pub(crate) depth: u8,
    /// Pages of its write set.
    pub(crate) written: u64,
}

impl Snapshot {
    /// Stops `task` for good and makes a snapshot of it, which [`Self::prepare`] completes. Its thread waits for the answer
    /// to its call number `call`, which `holder`, a thread of this CPU, is about to give; or, without a number, never ran and
    /// has the registers of a thread that does.
    ///
    /// # Errors
    /// - [`Error::Invalid`]: the thread is not of the task, or waits for something else
    /// - [`Error::Busy`]: the task has other threads, or serves gates, notifications or callers
    /// - [`Error::Again`]: another CPU has not let go of the thread yet
    /// - [`Error::Range`]: too many regions, or snapshots below one another
    /// - [`Error::NoMemory`]; [`Error::NotFound`] if the end of the task has begun
    pub(crate) fn create(
        task: Ref<Task>,
        thread: Ref<Thread>,
        call: Option<u64>,
    ) -> Result<Ref<Snapshot>, Error> {
        let depth = task.base().map_or(0, |base| base.depth + 1);
        if depth >= MAX_DEPTH {
            return Err(Error::Range);
        }
        if thread.task() != task {
            return Err(Error::Invalid);
        }
        let account = task.account().ok_or(Error::NotFound)?;
        if !task.acquire() {
            return Err(Error::NotFound);
        }
        if !thread.acquire() {
            task.release();
            return Err(Error::NotFound);
        }
        let made = Account::begin(account, |header| Snapshot::new(header, task, thread, depth));
        let making = made.inspect_err(|_| {
            thread.release();
            task.release();
        })?;
        let snapshot = making.object();
        if let Err(error) = snapshot.stop_task(call) {
            // It has nothing of its own yet.
            snapshot.ended.store(true, Ordering::Relaxed);
            thread.release();
            task.release();
            reaper::destroy(snapshot.erase());
            return Err(error);
        }
        Ok(snapshot)
    }

    fn new(header: Header, task: Ref<Task>, thread: Ref<Thread>, depth: u8) -> Snapshot {
        Snapshot {
            header,
            task,
            thread,
            depth,
            deleted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            preparing: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            cursor: AtomicU32::new(0),
            fault_entry: [const { AtomicU64::new(0) }; 2],
            utcb_population: AtomicU8::new(0),
            own: [const { AtomicU64::new(0) }; MAX_OWN],
            write_set: WriteSet::new(),
            in_use: AtomicU32::new(0),
            clones: [const { SpinLock::new(Rank::Space, AtomicPtr::new(core::ptr::null_mut())) }; SHARDS],
        }
    }

    pub(super) fn me(&self) -> Ref<Snapshot> {
        // SAFETY: Snapshots are made by `Account::create` only, so this one is an object at its place.
        unsafe { Ref::from_raw(NonNull::from_ref(self)) }
    }

    /// Stops the thread where it is and makes the space an image. Nothing has changed if that fails.
    fn stop_task(&self, call: Option<u64>) -> Result<(), Error> {
        let (task, thread) = (self.task, self.thread);
        let domain = Domain::lock_with(thread);
        let waits = match call {
            Some(call) => {
                thread.state.get(&domain) == State::Calling
                    && thread.sending.get(&domain).content == Content::Message
                    && thread.call.get(&domain) == call
            }
            None => thread.is_restored(&domain),
        };
        if !waits {
            return Err(Error::Invalid);
        }
        if thread.home().current() == Some(thread) {
            return Err(Error::Again);
        }
        if !task.has_only(thread) || thread.serves(&domain) {
            return Err(Error::Busy);
        }
        task.space.begin_image(self.me().erase())?;
        let (entry, stack) = thread.fault_entry.get(&domain);
        self.fault_entry[0].store(entry, Ordering::Relaxed);
        self.fault_entry[1].store(stack, Ordering::Relaxed);
        crate::ipc::keep_caller(&domain, thread);
        drop(domain);
        task.caps.close();
        Ok(())
    }

    /// Gets on with what a snapshot needs before clones can begin. True when that is done; otherwise the budget is used
    /// up and the caller calls again.
    ///
    /// # Errors
    /// [`Error::Again`] while another thread does this, [`Error::Range`] if the task has too many capabilities to itself,
    /// [`Error::NoMemory`], [`Error::NotFound`] if the end has begun.
    pub(crate) fn prepare(&self, budget: &mut u32) -> Result<bool, Error> {
        if self.is_ready() {
            return Ok(true);
        }
        if self.header.is_dead() {
            return Err(Error::NotFound);
        }
        if self.preparing.swap(true, Ordering::Acquire) {
            return Err(Error::Again);
        }
        let result = self.prepare_alone(budget);
        self.preparing.store(false, Ordering::Release);
        result
    }

    fn prepare_alone(&self, budget: &mut u32) -> Result<bool, Error> {
        let done = self.find_own_slots(budget)?
            && capability::clear_all(self.task.erase(), budget)
            && capability::clear_all(self.thread.erase(), budget)
            && self.task.space.freeze(budget)?;
        if done {
            let population = self.thread.utcb().population();
            self.utcb_population.store(population.bits(), Ordering::Relaxed);
            self.ready.store(true, Ordering::Release);
        }
        Ok(done)
    }

    /// Takes from the template what names the task itself, and what can't be shared. True when all slots were looked at.
    fn find_own_slots(&self, budget: &mut u32) -> Result<bool, Error> {
        let caps = &self.task.caps;
        let mut cursor = self.cursor.load(Ordering::Relaxed);
        while cursor < caps.end() {
            if *budget == 0 {
                self.cursor.store(cursor, Ordering::Relaxed);
                return Ok(false);
            }
            *budget -= 1;
            let index = CapIndex(cursor);
            if let Some(slot) = caps.slot(index) {
                match slot.read() {
                    SlotState::Empty => {}
                    SlotState::Reply(..) => capability::drop_slot(slot),
                    SlotState::Object(found) => {
                        if let Some(names) = self.own(found.object) {
                            let own = OwnSlot {
                                index,
                                rights: found.rights,
                                names,
                            };
                            self.add_own(own)?;
                            self.take_out(slot, names);
                        }
                    }
                }
            }
            cursor += 1;
        }
        self.cursor.store(cursor, Ordering::Relaxed);
        Ok(true)
    }

    /// Empties a slot of the template in which clones have a capability to themselves. The task and its thread stay, whoever
    /// has capabilities to them; an account ends with its last one.
    fn take_out(&self, slot: &Slot, names: Own) {
        match names {
            Own::Task | Own::Thread => drop(capability::remove(slot)),
            Own::Account => capability::drop_slot(slot),
        }
    }

    fn own(&self, object: Ref<Header>) -> Option<Own> {
        if object == self.task.erase() {
            Some(Own::Task)
        } else if object == self.thread.erase() {
            Some(Own::Thread)
        } else if self
            .task
            .account()
            .is_some_and(|account| account.erase() == object)
        {
            Some(Own::Account)
        } else {
            None
        }
    }

    fn add_own(&self, slot: OwnSlot) -> Result<(), Error> {
        let free = self.own.iter().find(|own| own.load(Ordering::Relaxed) == 0);
        free.ok_or(Error::Range)?.store(slot.word(), Ordering::Relaxed);
        Ok(())
    }

    /// Tells whether clones can begin.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The slots in which a clone has capabilities to itself.
    pub(crate) fn own_slots(&self) -> impl Iterator<Item = OwnSlot> {
        self.own
            .iter()
            .map_while(|word| OwnSlot::from_word(word.load(Ordering::Relaxed)))
    }

    /// The first slot from `index` on in which clones have a capability, and where to look on if none was found up to there.
    pub(crate) fn slot_from(&self, index: CapIndex) -> (Option<CapIndex>, Option<CapIndex>) {
        let caps = &self.task.caps;
        let end = caps.end().min(index.0.saturating_add(reaper::BUDGET));
        let shared = (index.0..end)
            .map(CapIndex)
            .find(|index| caps.find(*index).is_some_and(|slot| !slot.is_empty()));
        let own = self.own_slots().map(|own| own.index);
        let first = own
            .filter(|own| (index.0..end).contains(&own.0))
            .chain(shared)
            .min_by_key(|slot| slot.0);
        (
            first,
            (first.is_none() && end < caps.end()).then_some(CapIndex(end)),
        )
    }

    /// What it consists of.
    pub(crate) fn info(&self) -> SnapshotInfo {
        SnapshotInfo {
            ready: self.is_ready(),
            size: self.task.space.image_size(),
            depth: self.depth,
            written: self.written().len() as u64,
        }
    }

    /// What clones begin with: the thread with its registers.
    pub(crate) fn thread(&self) -> Ref<Thread> {
        self.thread
    }

    /// Entry and stack for faults that a clone's thread handles itself.
    pub(crate) fn fault_entry(&self) -> (u64, u64) {
        let [entry, stack] = &self.fault_entry;
        (entry.load(Ordering::Relaxed), stack.load(Ordering::Relaxed))
    }

    /// What the UTCB that clones begin with has in it.
    pub(crate) fn utcb_population(&self) -> Population {
        Population::from_bits(self.utcb_population.load(Ordering::Relaxed))
    }

    /// What clones begin with: the address space.
    pub(crate) fn space(&self) -> &AddressSpace {
        &self.task.space
    }

    /// The capability table that those of clones begin as. It stays until the last clone that [`Self::add_clone`] entered has
    /// been freed.
    pub(super) fn capabilities(&self) -> NonNull<CapTable> {
        NonNull::from_ref(&self.task.caps)
    }

    /// Enters a clone. Each that was entered is removed once, maybe before this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the snapshot's end has begun.
    pub(super) fn add_clone(&self, task: Ref<Task>) -> Result<(), Error> {
        let shard = machine_cpu() as usize % SHARDS;
        let first = self.clones[shard].lock();
        if self.header.is_dead() {
            return Err(Error::NotFound);
        }
        let next = first.load(Ordering::Relaxed);
        if next.is_null() {
            if !self.me().acquire() {
                return Err(Error::NotFound);
            }
            self.in_use.fetch_add(1, Ordering::Relaxed);
        }
        task.clone_links.enter(shard as u32, next);
        if let Some(next) = Ref::load(&first) {
            next.clone_links.previous.store(task.as_ptr(), Ordering::Relaxed);
        }
        first.store(task.as_ptr(), Ordering::Relaxed);
        Ok(())
    }

    /// Removes a clone that uses nothing of the snapshot any more, if it was entered and not removed yet.
    pub(super) fn remove_clone(&self, task: Ref<Task>) {
        let links = &task.clone_links;
        if !links.is_entered.swap(false, Ordering::AcqRel) {
            return;
        }
        let first = self.clones[links.shard()].lock();
        let next = links.next.load(Ordering::Relaxed);
        match Ref::load(&links.previous) {
            Some(previous) => previous.clone_links.next.store(next, Ordering::Relaxed),
            None => first.store(next, Ordering::Relaxed),
        }
        if let Some(next) = Ref::load(&links.next) {
            let previous = links.previous.load(Ordering::Relaxed);
            next.clone_links.previous.store(previous, Ordering::Relaxed);
        }
        let empty = first.load(Ordering::Relaxed).is_null();
        drop(first);
        if !empty {
            return;
        }
        // This was the last clone of the shard, whose reference is now ours.
        let last = |shards| Some(if shards == ORPHANED | 1 { 0 } else { shards - 1 });
        let before = self
            .in_use
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, last);
        if before == Ok(ORPHANED | 1) {
            reaper::reopen(self.me().erase());
        } else {
            self.me().release();
        }
    }

    /// Notes that the end takes the clones along. [`crate::objects::delete`] calls it before the end begins.
    pub(super) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Tells, once, whether the end was reached with clones left, so that nobody works on it any more.
    pub(super) fn take_orphaned(&self) -> bool {
        self.in_use.fetch_and(!ORPHANED, Ordering::AcqRel) & ORPHANED != 0
    }

    /// Works on the end of a snapshot that is marked dead. True when its part is done: either nothing is left of it, or
    /// clones are, the last of which hands it to the reaper again.
    pub(super) fn destroy_step(&self, budget: &mut u32) -> bool {
        if self.deleted.load(Ordering::Acquire) && !self.end_clones(budget) {
            return false;
        }
        // Who is entering a clone has done so after this, and nobody else will.
        self.clones.iter().for_each(|shard| drop(shard.lock()));
        let idle = self
            .in_use
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |shards| {
                (shards != 0).then_some(shards | ORPHANED)
            })
            .is_err();
        if idle && !self.ended.swap(true, Ordering::AcqRel) {
            self.task.space.disown_image();
            reaper::destroy(self.task.erase());
            self.thread.release();
            self.task.release();
        }
        true
    }

    /// Begins the end of all clones. False if the budget is used up.
    fn end_clones(&self, budget: &mut u32) -> bool {
        for shard in &self.clones {
            let mut next = Ref::load(&shard.lock());
            while let Some(clone) = next {
                if *budget == 0 {
                    return false;
                }
                *budget -= 1;
                delete(clone.erase());
                let _list = shard.lock();
                next = Ref::load(&clone.clone_links.next);
            }
        }
        true
    }
}

/// A clone's place in its snapshot's list, guarded by the list's lock.
pub(super) struct CloneLinks {
    shard: AtomicU32,
    next: AtomicPtr<Task>,
    previous: AtomicPtr<Task>,
    /// Set before anybody can find the clone in the list.
    is_entered: AtomicBool,
}

impl CloneLinks {
    pub(super) const fn new() -> CloneLinks {
        CloneLinks {
            shard: AtomicU32::new(0),
            next: AtomicPtr::new(core::ptr::null_mut()),
            previous: AtomicPtr::new(core::ptr::null_mut()),
            is_entered: AtomicBool::new(false),
        }
    }

    fn enter(&self, shard: u32, next: *mut Task) {
        self.shard.store(shard, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        self.previous.store(core::ptr::null_mut(), Ordering::Relaxed);
        self.is_entered.store(true, Ordering::Release);
    }

    fn shard(&self) -> usize {
        self.shard.load(Ordering::Relaxed) as usize % SHARDS
    }
}
