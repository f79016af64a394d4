//! Calls of spawn gates: the clone gets the request as an answer, the caller the clone's answer, or the kernel's word that
//! there will be none.

use super::reply::{self, Replied, lock};
use super::{direct, set_error, set_result};
use crate::account::Account;
use crate::capability::{self, Replace, SlotState};
use crate::cpu::Domain;
use crate::invocation::{self, Outcome};
use crate::object::Ref;
use crate::objects::Task;
use crate::schedule;
use crate::thread::{Content, State, Thread};
use crate::timeout::Owner;
use core::sync::atomic::Ordering;
use l4::object::{CloneFailure, FailureReason};
use l4::{CapIndex, Error, IpcError, Tag, utcb};

/// How a clone's first thread is to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) priority: u8,
    pub(crate) slice_ns: u64,
    /// The result of the call that its snapshot was taken in.
    pub(crate) tag: Tag,
}

/// Has `caller`, this CPU's current thread, wait for the answer of a clone, and starts that. The request stands in the
/// clone's UTCB. Tells whether the clone runs already. Nothing has changed if that fails.
///
/// # Errors
/// [`Error::NotFound`] if the end of the clone has begun, [`Error::NoMemory`] if it can't pay for the answer's slot.
pub(crate) fn await_clone(
    caller: Ref<Thread>,
    clone: Ref<Thread>,
    (slot, account): (CapIndex, Ref<Account>),
    deadline: u64,
    start: Start,
) -> Result<bool, Error> {
    let domain = Domain::lock_homes(caller, clone);
    let task = clone.task();
    if clone.state.get(&domain) != State::New || clone.header.is_dead() {
        return Err(Error::NotFound);
    }
    let call = caller.call.get(&domain) + 1;
    capability::fill((&task.caps, account, slot), Replace::Capabilities, |slot| {
        slot.set_reply(caller, call);
        reply::set_holder(&domain, caller, slot);
        Ok(())
    })?;
    caller.call.set(&domain, call);
    let mut sending = caller.sending.get(&domain);
    sending.content = Content::Invocation(task);
    caller.sending.set(&domain, sending);
    caller.state.set(&domain, State::Calling);
    caller
        .home()
        .timeouts
        .arm(&domain, Owner::Thread(caller), deadline);
    clone.set_priority(&domain, start.priority);
    clone.slice.set(&domain, start.slice_ns);
    set_result(&domain, clone, start.tag, 0);
    Ok(direct::hand_over(&domain, caller, clone))
}

/// Tells whether a slot is where the clone that the thread's task is has the right to answer.
pub(crate) fn is_answer(thread: Ref<Thread>, index: CapIndex) -> bool {
    let task = thread.task();
    invocation::account_of(task).is_some_and(|account| {
        account
            .invocation()
            .is_some_and(|invocation| invocation.answer == index)
    }) && task
        .caps
        .slot(index)
        .is_some_and(|slot| matches!(slot.read(), SlotState::Reply(..)))
}

/// The end of a thread that has answered for its clone; the caller goes on. Both homes are locked.
pub(super) fn end_answerer(domain: &Domain, thread: Ref<Thread>, caller: Ref<Thread>) -> Replied {
    thread.state.set(domain, State::Dead);
    if direct::hand_over(domain, thread, caller) {
        return Replied::Switched;
    }
    thread.home().due.store(true, Ordering::Release);
    Replied::Ended
}

/// Tells the caller of a clone, whose account this is, that there will be no answer, and begins the clone's end.
pub(crate) fn fail_clone(account: Ref<Account>, failure: CloneFailure) {
    let Some((task, invocation)) = account
        .invocation()
        .and_then(|invocation| Some((invocation.task()?, invocation)))
    else {
        return;
    };
    let Some(slot) = task.caps.slot(invocation.answer) else {
        return;
    };
    let found = slot.read();
    if let SlotState::Reply(caller, _) = found {
        let domain = lock(caller);
        if slot.read() == found {
            reply::clear(&domain, caller, slot);
            caller.home().timeouts.disarm(&domain, Owner::Thread(caller));
            refuse(&domain, caller, task, failure);
            schedule::wake(&domain, caller);
        }
    }
}

/// Makes a caller's call end with the failure of a clone; its home is locked, its reply capability gone.
fn refuse(domain: &Domain, caller: Ref<Thread>, task: Ref<Task>, failure: CloneFailure) {
    invocation::conclude(domain, caller, task, Outcome::Failed(failure.reason));
    let words = failure.to_words();
    for (index, word) in words.iter().enumerate() {
        caller.utcb().set(index, *word);
    }
    caller.utcb().set(utcb::ERROR_WORD, IpcError::CloneFailed.code());
    set_result(domain, caller, Tag::new(0, words.len(), 0).with(Tag::ERROR), 0);
}

/// The right to answer `caller` was dropped: by the clone itself, or at its end.
pub(super) fn give_up(domain: &Domain, caller: Ref<Thread>, task: Ref<Task>) {
    let is_ending = task.header.is_dead() || task.account().is_none_or(|account| account.header.is_dead());
    let reason = if is_ending {
        FailureReason::Destroyed
    } else {
        FailureReason::Exited
    };
    refuse(domain, caller, task, CloneFailure::new(reason));
}

/// The caller's wait ends: with an error, or with the caller if there is none.
pub(super) fn end_call(domain: &Domain, caller: Ref<Thread>, task: Ref<Task>, error: Option<IpcError>) {
    let invocation = task.account().and_then(|account| {
        let invocation = account.invocation()?;
        Some(invocation.is_callers)
    });
    match error {
        Some(IpcError::ReceiveTimeout) if invocation == Some(false) => {
            refuse(domain, caller, task, CloneFailure::new(FailureReason::Deadline));
        }
        Some(error) => {
            invocation::conclude(domain, caller, task, Outcome::Abandoned);
            set_error(domain, caller, error);
        }
        None => invocation::conclude(domain, caller, task, Outcome::Abandoned),
    }
}

/// The thread's end was its own doing, and it was the last of a clone: nobody will answer.
pub(crate) fn exit_clone(thread: Ref<Thread>, exit_code: u64) {
    if let Some(account) = invocation::account_of(thread.task()) {
        let failure = CloneFailure {
            exit_code,
            ..CloneFailure::new(FailureReason::Exited)
        };
        fail_clone(account, failure);
    }
}

/// The thread of a clone faulted, and nobody resolves that. False if it is no clone's.
pub(super) fn fail_by_fault(thread: Ref<Thread>, failure: CloneFailure) -> bool {
    match invocation::account_of(thread.task()) {
        Some(account) => {
            fail_clone(account, failure);
            true
        }
        None => false,
    }
}
