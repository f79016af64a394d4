//! The short way of a call, and of an answer with the wait for the next message, between two threads of one CPU: the
//! partner waits already, no capability travels, and nobody else is to run first. Then the message is copied and the
//! partner runs, under one taking of the lock. Everything else goes the ordinary way, with the same outcome.
//!
//! The machine has stored the registers that the system call preserves before, so the partner is switched to as soon as the
//! message is copied.
//!
//! Mostly there is nothing but the words: no deadline, no slot for the right to answer, nobody else who is ready. Such plain
//! messages are tried first, by a way that calls no other function.

use super::{set_result, transfer};
use crate::capability::{Slot, SlotState};
use crate::counters::Event;
use crate::cpu::{Cpu, Domain};
use crate::object::Ref;
use crate::objects::Gate;
use crate::schedule;
use crate::thread::{Content, Filter, ReplyHolder, State, Thread};
use crate::timeout::{Owner, has_passed};
use core::sync::atomic::Ordering;
use l4::Tag;

/// Sender and receiver of a message that is to be delivered at once.
#[derive(Clone, Copy)]
struct Partners {
    cpu: &'static Cpu,
    from: Ref<Thread>,
    to: Ref<Thread>,
}

impl Partners {
    /// Tells whether the sender's CPU may go on with another thread of its own.
    #[inline(always)]
    fn may_switch(&self, domain: &Domain) -> bool {
        core::ptr::eq(self.to.home(), self.cpu)
            && !self.cpu.due.load(Ordering::Relaxed)
            && self.from.moving_to.get(domain).is_none()
    }

    /// Tells whether no timer runs for the receiver, and nobody is ready: then nobody else is to run before it.
    #[inline(always)]
    fn are_plain(&self, domain: &Domain) -> bool {
        !self.to.timer.is_armed(domain) && self.cpu.run_queue.is_empty(domain)
    }

    /// Tells whether a thread of higher priority than the receiver's is ready.
    fn are_outranked(&self, domain: &Domain) -> bool {
        let highest = self.cpu.run_queue.highest(domain);
        highest.is_some_and(|highest| highest > self.to.priority())
    }

    /// Ends the receiver's wait and makes the sender wait.
    #[inline(always)]
    fn swap_states(&self, domain: &Domain, state: State) {
        self.from.state.set(domain, state);
        self.to.state.set(domain, State::Ready);
    }

    /// Copies the words and switches to the receiver.
    #[inline(always)]
    fn deliver<const PLAIN: bool>(&self, domain: &Domain, tag: Tag, label: u64) -> Option<Ref<Thread>> {
        self.cpu.counters.count(Event::Message);
        transfer::copy_words(self.from, self.to, tag.words());
        set_result(domain, self.to, tag.without_flags(), label);
        if PLAIN {
            schedule::switch_directly(domain, self.cpu, self.from, self.to);
        } else {
            schedule::switch_before_others(domain, self.cpu, self.from, self.to);
        }
        Some(self.to)
    }
}

/// Switches from this CPU's current thread, which waits or has ended and whose registers are saved, to one whose wait is over,
/// unless others are to run before; else that one becomes ready. Tells whether it runs now. Both homes are locked.
pub(super) fn hand_over(domain: &Domain, from: Ref<Thread>, to: Ref<Thread>) -> bool {
    let cpu = Cpu::this();
    let partners = Partners { cpu, from, to };
    let may_run = partners.may_switch(domain) && !partners.are_outranked(domain) && !to.frozen.get(domain);
    if may_run {
        to.state.set(domain, State::Ready);
        schedule::switch_before_others(domain, cpu, from, to);
    } else {
        schedule::wake(domain, to);
    }
    may_run
}

/// Who calls whom through a gate on this CPU; `None` if it has to go the ordinary way. Who is bound and homed here stays so
/// while the CPU's lock is held.
#[inline(always)]
fn call_partners(
    domain: &Domain,
    cpu: &'static Cpu,
    sender: Ref<Thread>,
    gate: Ref<Gate>,
) -> Option<Partners> {
    let receiver = gate.binding.thread()?;
    let partners = Partners {
        cpu,
        from: sender,
        to: receiver,
    };
    // A pattern instead of a comparison, which the compiler may make a call of.
    let waits = matches!(receiver.state.get(domain), State::Receiving(Filter::Anybody));
    let ready = waits
        && partners.may_switch(domain)
        && sender.sending.get(domain).content == Content::Message
        && !gate.header.is_dead();
    ready.then_some(partners)
}

/// A plain call through a gate: without items or deadline. `None`, and nothing done, if it has to go another way; else the thread that runs now.
#[inline(always)]
pub(crate) fn call_plainly(
    domain: &Domain,
    cpu: &'static Cpu,
    sender: Ref<Thread>,
    gate: Ref<Gate>,
    tag: Tag,
    label: u64,
) -> Option<Ref<Thread>> {
    let partners = call_partners(domain, cpu, sender, gate)?;
    if !partners.are_plain(domain) || transfer::wanted_reply_slot(partners.to).is_some() {
        return None;
    }
    transfer::give_implicit_reply(domain, sender, partners.to);
    partners.swap_states(domain, State::Calling);
    partners.deliver::<true>(domain, tag, label)
}

/// A call through a gate, without items. As [`call_plainly`].
pub(crate) fn call(
    domain: &Domain,
    cpu: &'static Cpu,
    sender: Ref<Thread>,
    gate: Ref<Gate>,
    (tag, label, deadline): (Tag, u64, u64),
) -> Option<Ref<Thread>> {
    let partners = call_partners(domain, cpu, sender, gate)?;
    if partners.are_outranked(domain) {
        return None;
    }
    cpu.timeouts.disarm(domain, Owner::Thread(partners.to));
    transfer::give_reply_capability(domain, sender, partners.to);
    cpu.timeouts.arm(domain, Owner::Thread(sender), deadline);
    partners.swap_states(domain, State::Calling);
    partners.deliver::<false>(domain, tag, label)
}

/// Tells whether the sender may answer the receiver, if it has the right to, and then wait for anybody.
#[inline(always)]
fn may_answer(domain: &Domain, partners: Partners) -> bool {
    partners.may_switch(domain)
        && partners.to.sending.get(domain).content == Content::Message
        && partners.from.pending.get(domain).0.is_none()
        && partners.from.senders.get(domain).head.is_none()
}

/// A plain answer by the thread's implicit reply capability, and the wait for anybody's next message. As [`call_plainly`].
#[inline(always)]
pub(crate) fn reply_plainly(
    domain: &Domain,
    cpu: &'static Cpu,
    thread: Ref<Thread>,
    tag: Tag,
) -> Option<Ref<Thread>> {
    let caller = Ref::load(&thread.owes)?;
    let partners = Partners {
        cpu,
        from: thread,
        to: caller,
    };
    let ready = may_answer(domain, partners)
        && caller.reply_holder.get(domain) == ReplyHolder::Implicit(thread)
        && partners.are_plain(domain);
    if !ready {
        return None;
    }
    thread.owes.store(core::ptr::null_mut(), Ordering::Release);
    caller.reply_holder.set(domain, ReplyHolder::Nobody);
    partners.swap_states(domain, State::Receiving(Filter::Anybody));
    partners.deliver::<true>(domain, tag, 0)
}

/// Whom the thread's reply capability in `slot`, or its implicit one, lets it answer.
fn caller_of(domain: &Domain, thread: Ref<Thread>, slot: Option<&Slot>) -> Option<Ref<Thread>> {
    let (caller, holder) = match slot {
        None => (Ref::load(&thread.owes)?, ReplyHolder::Implicit(thread)),
        Some(slot) => match slot.read() {
            SlotState::Reply(caller, _) if thread.owes.load(Ordering::Relaxed).is_null() => {
                (caller, ReplyHolder::Slot(slot.into()))
            }
            _ => return None,
        },
    };
    // What guards the holder is the lock of the caller's home.
    (domain.holds(caller.home()) && caller.reply_holder.get(domain) == holder).then_some(caller)
}

/// An answer by the reply capability in `slot`, or by the implicit one, and the wait for anybody's next message. As
/// [`call_plainly`].
pub(crate) fn reply_and_wait(
    domain: &Domain,
    cpu: &'static Cpu,
    thread: Ref<Thread>,
    slot: Option<&Slot>,
    (tag, deadline): (Tag, u64),
) -> Option<Ref<Thread>> {
    let caller = caller_of(domain, thread, slot)?;
    let partners = Partners {
        cpu,
        from: thread,
        to: caller,
    };
    if !may_answer(domain, partners) || has_passed(deadline) || partners.are_outranked(domain) {
        return None;
    }
    match slot {
        None => thread.owes.store(core::ptr::null_mut(), Ordering::Release),
        Some(slot) => slot.clear_reply(),
    }
    caller.reply_holder.set(domain, ReplyHolder::Nobody);
    cpu.timeouts.disarm(domain, Owner::Thread(caller));
    cpu.timeouts.arm(domain, Owner::Thread(thread), deadline);
    partners.swap_states(domain, State::Receiving(Filter::Anybody));
    partners.deliver::<false>(domain, tag, 0)
}
