//! The short way of a call, and of an answer with the wait for the next message, between two threads of one CPU: the
//! partner waits already, no capability travels, and nobody else is to run first. Then the message is copied and the
//! partner runs, under one taking of the lock. Everything else goes the ordinary way, with the same outcome.
//!
//! The lock stays taken until the switch: the machine first stores the registers that the system call preserved, and
//! until then nobody may move the thread to another CPU.

use super::{set_result, transfer};
use crate::capability::{Slot, SlotState};
use crate::counters::Event;
use crate::cpu::{Cpu, Domain};
use crate::object::Ref;
use crate::objects::Gate;
use crate::thread::{Content, Filter, ReplyHolder, State, Thread};
use crate::timeout::{Owner, has_passed};
use core::sync::atomic::Ordering;
use l4::{NEVER, Tag};

/// Tells whether `partner` may run next on this CPU, before everybody who is ready.
#[inline(always)]
fn may_run(domain: &Domain, cpu: &Cpu, thread: Ref<Thread>, partner: Ref<Thread>) -> bool {
    !cpu.due.load(Ordering::Relaxed)
        && thread.moving_to.get(domain).is_none()
        && cpu
            .run_queue
            .highest(domain)
            .is_none_or(|highest| highest <= partner.priority())
}

/// Copies the words and makes `partner` the thread to switch to; the lock stays taken.
#[inline(always)]
fn deliver(domain: Domain, cpu: &Cpu, from: Ref<Thread>, partner: Ref<Thread>, tag: Tag, label: u64) {
    cpu.counters.count(Event::Message);
    for index in 0..tag.words() {
        partner.utcb().set(index, from.utcb().get(index));
    }
    set_result(&domain, partner, tag.without_flags(), label);
    partner.state.set(&domain, State::Ready);
    cpu.direct.store(partner.as_ptr(), Ordering::Relaxed);
    core::mem::forget(domain);
}

/// A call through a gate. False, and nothing done, if it has to go the ordinary way.
#[inline(always)]
pub(crate) fn call(
    cpu: &'static Cpu,
    sender: Ref<Thread>,
    gate: Ref<Gate>,
    tag: Tag,
    label: u64,
    deadline: u64,
) -> bool {
    let Some(receiver) = gate.binding.thread() else {
        return false;
    };
    if tag.items() != 0 || !core::ptr::eq(receiver.home(), cpu) {
        return false;
    }
    let domain = Domain::lock(cpu);
    let ready = gate.binding.thread() == Some(receiver)
        && core::ptr::eq(receiver.home(), cpu)
        && receiver.state.get(&domain) == State::Receiving(Filter::Anybody)
        && sender.sending.get(&domain).content == Content::Message
        && !gate.header.is_dead()
        && may_run(&domain, cpu, sender, receiver);
    if !ready {
        return false;
    }
    cpu.timeouts.disarm(&domain, Owner::Thread(receiver));
    transfer::give_reply_capability(&domain, sender, receiver);
    sender.state.set(&domain, State::Calling);
    if deadline != NEVER {
        cpu.timeouts.arm(&domain, Owner::Thread(sender), deadline);
    }
    deliver(domain, cpu, sender, receiver, tag, label);
    true
}

/// An answer, and the wait for anybody's next message. False, and nothing done, if it has to go the ordinary way.
#[inline(always)]
pub(crate) fn reply_and_wait(
    cpu: &'static Cpu,
    thread: Ref<Thread>,
    slot: Option<&Slot>,
    tag: Tag,
    deadline: u64,
) -> bool {
    let caller = match slot {
        None => Ref::load(&thread.owes),
        Some(slot) => match slot.read() {
            SlotState::Reply(caller, _) => Some(caller),
            _ => None,
        },
    };
    let Some(caller) = caller.filter(|caller| tag.items() == 0 && core::ptr::eq(caller.home(), cpu)) else {
        return false;
    };
    let domain = Domain::lock(cpu);
    let holder = caller.reply_holder.get(&domain);
    let holds = match slot {
        None => holder == ReplyHolder::Implicit(thread),
        Some(slot) => {
            holder == ReplyHolder::Slot(slot.into()) && thread.owes.load(Ordering::Relaxed).is_null()
        }
    };
    let ready = holds
        && core::ptr::eq(caller.home(), cpu)
        && caller.sending.get(&domain).content == Content::Message
        && thread.pending.get(&domain).0.is_none()
        && thread.senders.get(&domain).head.is_none()
        && (deadline == NEVER || !has_passed(deadline))
        && may_run(&domain, cpu, thread, caller);
    if !ready {
        return false;
    }
    match slot {
        None => thread.owes.store(core::ptr::null_mut(), Ordering::Release),
        Some(slot) => slot.clear_reply(),
    }
    caller.reply_holder.set(&domain, ReplyHolder::Nobody);
    cpu.timeouts.disarm(&domain, Owner::Thread(caller));
    thread.state.set(&domain, State::Receiving(Filter::Anybody));
    if deadline != NEVER {
        cpu.timeouts.arm(&domain, Owner::Thread(thread), deadline);
    }
    deliver(domain, cpu, thread, caller, tag, 0);
    true
}
