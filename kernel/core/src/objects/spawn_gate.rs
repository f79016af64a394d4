//! Spawn gates: each call begins a clone of a snapshot, whose answer is the reply.
#![expect(unsafe_code, reason = "an object's type is vouched for")]

use super::Snapshot;
use super::answer_kinds::AnswerKinds;
use crate::account::Account;
use crate::capability::{self, Slot, SlotState};
use crate::invocation::Outcome;
use crate::object::{Header, Kind, Object, Ref};
use crate::sync::{Rank, SpinLock};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use l4::object::{FailureReason, GateCounts};
use l4::{CapIndex, Error};

/// The gate's own end is over: it stays for the clones.
const OVER: u8 = 1;
/// The account that pays for the gate ends, which takes the clones along.
const TAKES_ALONG: u8 = 2;

/// What a gate's clones are to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    /// Where they run, and their callers.
    pub(crate) cpu: u32,
    pub(crate) priority: u8,
    pub(crate) slice_ns: u64,
    /// Bytes of each one's account.
    pub(crate) memory: u64,
    /// Nanoseconds for an answer, 0 for no limit.
    pub(crate) deadline_ns: u64,
    /// Most that have not answered at a time.
    pub(crate) concurrent: u64,
    /// Slot of the right to answer.
    pub(crate) answer: CapIndex,
    /// The gate's label.
    pub(crate) label: u64,
}

/// A gate that is bound to a snapshot. It is charged to the account that its clones' accounts are cut out of.
#[repr(C, align(64))]
pub struct SpawnGate {
    pub(crate) header: Header,
    /// A capability to the snapshot, which goes with that.
    snapshot: Slot,
    binding: Binding,
    live: AtomicU64,
    started: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    abandoned: AtomicU64,
    failed: [AtomicU64; FailureReason::COUNT],
    kinds: AnswerKinds,
    /// Accounts of the clones.
    clones: SpinLock<AtomicPtr<Account>>,
    /// [`OVER`] and [`TAKES_ALONG`], in one word: who sets the second of them goes on with the end, and nobody else.
    end: AtomicU8,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for SpawnGate {
    const KIND: Kind = Kind::SpawnGate;
}

impl SpawnGate {
    /// Creates a gate whose calls begin clones of `snapshot`.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::NotFound`] if the snapshot's or the account's end has begun.
    pub(crate) fn create(
        account: Ref<Account>,
        snapshot: Ref<Snapshot>,
        binding: Binding,
    ) -> Result<Ref<SpawnGate>, Error> {
        let making = Account::begin(account, |header| SpawnGate {
            header,
            snapshot: Slot::new(),
            binding,
            live: AtomicU64::new(0),
            started: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            failed: [const { AtomicU64::new(0) }; FailureReason::COUNT],
            kinds: AnswerKinds::new(),
            clones: SpinLock::new(Rank::Clones, AtomicPtr::new(core::ptr::null_mut())),
            end: AtomicU8::new(0),
        })?;
        let gate = making.object();
        capability::hold_in(&gate.snapshot, snapshot.erase())
            .inspect_err(|_| crate::reaper::destroy(gate.erase()))?;
        Ok(gate)
    }

    /// What the gate's clones are to be like.
    #[inline]
    pub(crate) fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Slot, in a clone, of the right to answer.
    pub(crate) fn answer(&self) -> CapIndex {
        self.binding.answer
    }

    /// The snapshot.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub(crate) fn snapshot(&self) -> Result<Ref<Snapshot>, Error> {
        match self.snapshot.read() {
            SlotState::Object(found) if !found.object.is_dead() => {
                found.object.downcast().ok_or(Error::NotFound)
            }
            _ => Err(Error::NotFound),
        }
    }

    /// Lets one more clone in, which keeps the gate until [`Self::leave`].
    ///
    /// # Errors
    /// [`Error::Again`] if as many run as may, [`Error::NotFound`] if the gate's end has begun.
    pub(crate) fn enter(gate: Ref<SpawnGate>) -> Result<(), Error> {
        if gate.counts().running() >= gate.binding.concurrent {
            return Err(Error::Again);
        }
        if !gate.acquire() {
            return Err(Error::NotFound);
        }
        gate.live.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A clone is gone, or was not begun after all.
    pub(crate) fn leave(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: Spawn gates are made by `Account::create` only, so this one is an object at its place; and it was counted
        // when the clone was let in.
        unsafe { Ref::from_raw(core::ptr::NonNull::from_ref(self)) }.release();
    }

    /// Counts a clone that was begun.
    pub(crate) fn count_start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that began no clone.
    pub(crate) fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how a call ended, and tells the watcher of failures.
    pub(crate) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Answered(begin) => {
                if let Some(begin) = begin {
                    self.kinds.count(begin);
                }
                &self.answered
            }
            Outcome::Abandoned => &self.abandoned,
            Outcome::Failed(reason) => &self.failed[reason as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(outcome, Outcome::Failed(_)) {
            super::tell_watcher(&self.header);
        }
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> GateCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GateCounts {
            live: read(&self.live),
            started: read(&self.started),
            answered: read(&self.answered),
            refused: read(&self.refused),
            abandoned: read(&self.abandoned),
            failed: core::array::from_fn(|reason| read(&self.failed[reason])),
            kinds: self.kinds.counts(),
        }
    }

    /// Has answers counted by how they begin from now on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no kinds, or too many; [`Error::Exists`] for the second time.
    pub(crate) fn tell_apart(&self, begins: &[(i64, u64)]) -> Result<(), Error> {
        self.kinds.tell_apart(begins)
    }

    /// Enters the account of a clone that was let in.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the gate's clones are being ended.
    pub(crate) fn add_clone(&self, account: Ref<Account>, links: &CloneLinks) -> Result<(), Error> {
        let first = self.clones.lock();
        if self.end.load(Ordering::SeqCst) & TAKES_ALONG != 0 {
            return Err(Error::NotFound);
        }
        links.entered.store(true, Ordering::Relaxed);
        let next = first.load(Ordering::Relaxed);
        links.next.store(next, Ordering::Relaxed);
        links.previous.store(core::ptr::null_mut(), Ordering::Relaxed);
        if let Some(next) = links_of(&links.next) {
            next.previous.store(account.as_ptr(), Ordering::Relaxed);
        }
        first.store(account.as_ptr(), Ordering::Relaxed);
        Ok(())
    }

    /// Removes the account of a clone, whose memory is free, if it was entered.
    pub(crate) fn remove_clone(&self, links: &CloneLinks) {
        let first = self.clones.lock();
        if !links.entered.load(Ordering::Relaxed) {
            return;
        }
        let next = links.next.load(Ordering::Relaxed);
        match links_of(&links.previous) {
            Some(previous) => previous.next.store(next, Ordering::Relaxed),
            None => first.store(next, Ordering::Relaxed),
        }
        if let Some(next) = links_of(&links.next) {
            let previous = links.previous.load(Ordering::Relaxed);
            next.previous.store(previous, Ordering::Relaxed);
        }
    }

    /// The account that pays for the gate ends. True if the gate's own end is over, so that somebody has to begin it anew.
    pub(super) fn take_clones_along(&self) -> bool {
        self.end.fetch_or(TAKES_ALONG, Ordering::SeqCst) == OVER
    }

    /// Takes a dead gate apart. The clones that there are go on, unless the account that pays for the gate ends.
    pub(super) fn destroy_step(&self, budget: &mut u32) -> bool {
        capability::drop_slot(&self.snapshot);
        let before = self.end.fetch_or(OVER, Ordering::SeqCst);
        before & TAKES_ALONG == 0 || self.end_clones(budget)
    }

    /// Begins the end of all clones. False if the budget is used up.
    fn end_clones(&self, budget: &mut u32) -> bool {
        let mut next = first_counted(&self.clones.lock());
        while let Some(clone) = next {
            if *budget == 0 {
                clone.release();
                return false;
            }
            *budget -= 1;
            crate::reaper::destroy(clone.erase());
            let list = self.clones.lock();
            next = clone
                .invocation()
                .and_then(|invocation| first_counted(&invocation.links.next));
            drop(list);
            clone.release();
        }
        true
    }
}

/// The first account, from a place of the list on, whose memory stays as long as it is counted, which it is from now on. The
/// others are about to leave the list: when their memory is freed, not when nobody can find them any more.
fn first_counted(place: &AtomicPtr<Account>) -> Option<Ref<Account>> {
    let mut found = Ref::load(place)?;
    while !found.erase().count_if_any() {
        found = Ref::load(&found.invocation()?.links.next)?;
    }
    Some(found)
}

/// The place of a clone's account in its gate's list, guarded by the list's lock.
pub(crate) struct CloneLinks {
    next: AtomicPtr<Account>,
    previous: AtomicPtr<Account>,
    entered: AtomicBool,
}

impl CloneLinks {
    pub(crate) const fn new() -> CloneLinks {
        CloneLinks {
            next: AtomicPtr::new(core::ptr::null_mut()),
            previous: AtomicPtr::new(core::ptr::null_mut()),
            entered: AtomicBool::new(false),
        }
    }
}

/// The links of a neighbour.
fn links_of<'a>(neighbour: &AtomicPtr<Account>) -> Option<&'a CloneLinks> {
    // SAFETY: Accounts leave the list before their memory is free, and the list's lock is held.
    let account: &'a Account = unsafe { neighbour.load(Ordering::Relaxed).as_ref() }?;
    account.invocation().map(|invocation| &invocation.links)
}

#[cfg(test)]
impl SpawnGate {
    /// Where the capability to the snapshot is.
    pub(crate) fn snapshot_slot(&self) -> &Slot {
        &self.snapshot
    }
}
