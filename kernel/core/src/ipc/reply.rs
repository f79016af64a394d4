//! Answers: a reply capability is the right to answer one caller, once. Either side's end ends it.

use super::send::deliver;
use super::{exception, invocation, set_error, transfer};
use crate::capability::{Slot, SlotState};
use crate::cpu::{Cpu, Domain};
use crate::invocation::{Outcome, conclude};
use crate::object::Ref;
use crate::schedule;
use crate::thread::{Content, ReplyHolder, Sending, State, Then, Thread};
use crate::timeout::Owner;
use core::sync::atomic::Ordering;
use l4::{CapIndex, Error, IpcError, NEVER, Tag};

/// What becomes of who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replied {
    /// It goes on.
    GoesOn,
    /// It was a clone's thread, and has ended with that.
    Ended,
    /// The same, and the caller runs already.
    Switched,
}

/// Locks this CPU and a caller's home.
pub(super) fn lock(caller: Ref<Thread>) -> Domain {
    loop {
        let home = caller.home();
        let domain = Domain::lock_pair(Cpu::this(), home);
        if core::ptr::eq(caller.home(), home) {
            return domain;
        }
    }
}

/// Uses up the reply capability in `slot` (`None`: the thread's implicit one). The caller's home is locked from then on.
fn consume(thread: Ref<Thread>, slot: Option<&Slot>) -> Option<(Domain, Ref<Thread>)> {
    match slot {
        Some(slot) => {
            let found = slot.read();
            let SlotState::Reply(caller, _) = found else {
                return None;
            };
            let domain = lock(caller);
            if slot.read() != found {
                return None;
            }
            clear(&domain, caller, slot);
            Some((domain, caller))
        }
        None => {
            let caller = Ref::load(&thread.owes)?;
            let domain = lock(caller);
            if caller.reply_holder.get(&domain) != ReplyHolder::Implicit(thread) {
                return None;
            }
            thread.owes.store(core::ptr::null_mut(), Ordering::Release);
            caller.reply_holder.set(&domain, ReplyHolder::Nobody);
            Some((domain, caller))
        }
    }
}

/// Notes that the right to answer a caller is in a slot; the caller's home is locked.
pub(super) fn set_holder(domain: &Domain, caller: Ref<Thread>, slot: &Slot) {
    caller.reply_holder.set(domain, ReplyHolder::Slot(slot.into()));
}

/// Empties the slot of a reply capability; the caller's home is locked.
pub(super) fn clear(domain: &Domain, caller: Ref<Thread>, slot: &Slot) {
    slot.clear_reply();
    caller.reply_holder.set(domain, ReplyHolder::Nobody);
}

/// Answers a caller with the message in the thread's UTCB. Never blocks.
pub(crate) fn reply(thread: Ref<Thread>, slot: Option<&Slot>, tag: Tag) -> Result<Replied, IpcError> {
    let (domain, caller) = consume(thread, slot).ok_or(IpcError::NotExistent)?;
    debug_assert_eq!(caller.state.get(&domain), State::Calling);
    caller.home().timeouts.disarm(&domain, Owner::Thread(caller));
    let content = caller.sending.get(&domain).content;
    if content == Content::Exception {
        exception::answer(&domain, thread, caller, tag);
        return Ok(Replied::GoesOn);
    }
    let sending = Sending {
        tag,
        label: 0,
        of_gate: false,
        strong: true,
        deadline: NEVER,
        content: Content::Message,
        then: Then::Continue,
    };
    let delivered = deliver(&domain, thread, caller, &sending);
    if let Content::Invocation(task) = content {
        let first = || thread.utcb().get(0);
        task.note_answer(tag, first);
        let begin = (delivered.is_ok() && tag.words() > 0).then(|| (tag.label(), first()));
        conclude(&domain, caller, task, Outcome::Answered(begin));
        return Ok(invocation::end_answerer(&domain, thread, caller));
    }
    schedule::wake(&domain, caller);
    delivered.map(|()| Replied::GoesOn)
}

/// Drops the reply capability in `slot`, if it still is the one that was read: the caller gets an error.
pub(crate) fn drop_reply(slot: &Slot, caller: Ref<Thread>, call: u64) {
    let domain = lock(caller);
    if slot.read() == SlotState::Reply(caller, call) {
        clear(&domain, caller, slot);
        abandon(&domain, caller);
    }
}

/// Drops the thread's implicit reply capability, if there is one.
pub(crate) fn drop_implicit_reply(thread: Ref<Thread>) {
    if let Some((domain, caller)) = consume(thread, None) {
        abandon(&domain, caller);
    }
}

/// Ends the wait of a caller whom nobody can answer any more.
fn abandon(domain: &Domain, caller: Ref<Thread>) {
    caller.home().timeouts.disarm(domain, Owner::Thread(caller));
    match caller.sending.get(domain).content {
        Content::Exception => exception::give_up(domain, caller),
        Content::Invocation(task) => invocation::give_up(domain, caller, task),
        Content::Message => set_error(domain, caller, IpcError::PartnerGone),
    }
    schedule::wake(domain, caller);
}

/// Moves the thread's implicit reply capability into a free slot of its task.
///
/// # Errors
/// [`Error::NotFound`] if there is none, [`Error::Busy`] if the slot is taken, [`Error::Range`], [`Error::NoMemory`].
pub(crate) fn take_reply(thread: Ref<Thread>, slot: CapIndex) -> Result<(), Error> {
    let caller = Ref::load(&thread.owes).ok_or(Error::NotFound)?;
    let domain = lock(caller);
    if caller.reply_holder.get(&domain) != ReplyHolder::Implicit(thread) {
        return Err(Error::NotFound);
    }
    transfer::store_reply(&domain, caller, thread, slot)?;
    thread.owes.store(core::ptr::null_mut(), Ordering::Release);
    Ok(())
}

/// Keeps a caller as it is for ever: nobody answers it. Its home is locked.
pub(crate) fn keep_caller(domain: &Domain, caller: Ref<Thread>) {
    caller.home().timeouts.disarm(domain, Owner::Thread(caller));
    revoke(domain, caller);
    caller.state.set(domain, State::Kept);
}

/// Takes away the right to answer a caller that waits no more; its home is locked.
pub(super) fn revoke(domain: &Domain, caller: Ref<Thread>) {
    match caller.reply_holder.get(domain) {
        ReplyHolder::Nobody => {}
        ReplyHolder::Implicit(holder) => {
            // The holder may just be about to use it: it then finds that the caller's `reply_holder` has changed.
            let null = core::ptr::null_mut();
            let _ = holder
                .owes
                .compare_exchange(caller.as_ptr(), null, Ordering::AcqRel, Ordering::Relaxed);
        }
        ReplyHolder::Slot(slot) => Slot::clear_reply_at(slot),
    }
    caller.reply_holder.set(domain, ReplyHolder::Nobody);
}
