//! The receive phase, and notifications.

use super::send::{accepts, complete_queued, deliver};
use super::{drop_implicit_reply, fail_send, queue, set_error, set_result};
use crate::cpu::Domain;
use crate::object::Ref;
use crate::objects::Irq;
use crate::schedule;
use crate::thread::{Filter, State, Thread};
use crate::timeout::{Owner, has_passed};
use core::sync::atomic::Ordering;
use l4::protocol::IRQ;
use l4::{IpcError, Tag};

/// Receives for this CPU's current thread: sets its result, or blocks it. True if it got something (or an error).
pub(crate) fn receive(receiver: Ref<Thread>, filter: Filter, deadline: u64) -> bool {
    if !receiver.owes.load(Ordering::Relaxed).is_null() {
        // Whoever waits for another message without having answered the last one never will.
        drop_implicit_reply(receiver);
    }
    loop {
        let domain = Domain::lock(receiver.home());
        if let Some(irq) = take_pending(&domain, receiver, filter) {
            set_result(&domain, receiver, Tag::new(IRQ, 0, 0), irq.label());
            return true;
        }
        let Some(sender) = first_acceptable(&domain, receiver, filter) else {
            return block(&domain, receiver, filter, deadline);
        };
        if core::ptr::eq(sender.home(), receiver.home()) {
            take(&domain, sender, receiver);
            return true;
        }
        drop(domain);
        let domain = Domain::lock_homes(receiver, sender);
        if sender.state.get(&domain) == State::Sending(receiver) {
            take(&domain, sender, receiver);
            return true;
        }
    }
}

fn block(domain: &Domain, receiver: Ref<Thread>, filter: Filter, deadline: u64) -> bool {
    if has_passed(deadline) {
        set_error(domain, receiver, IpcError::ReceiveTimeout);
        return true;
    }
    receiver.state.set(domain, State::Receiving(filter));
    receiver
        .home()
        .timeouts
        .arm(domain, Owner::Thread(receiver), deadline);
    false
}

fn first_acceptable(domain: &Domain, receiver: Ref<Thread>, filter: Filter) -> Option<Ref<Thread>> {
    let mut next = receiver.senders.get(domain).head;
    if filter != Filter::Anybody {
        while let Some(sender) = next.filter(|sender| !accepts(filter, *sender)) {
            next = sender.next.get(domain);
        }
    }
    next
}

/// Takes the message of a queued sender.
fn take(domain: &Domain, sender: Ref<Thread>, receiver: Ref<Thread>) {
    queue::remove(domain, &receiver.senders, sender);
    let sending = sender.sending.get(domain);
    match deliver(domain, sender, receiver, &sending) {
        Ok(()) => complete_queued(domain, sender, receiver, sending.then),
        Err(error) => fail_send(domain, sender, error),
    }
}

/// Delivers a notification to the thread that it is bound to, at once or when it receives next. The thread's home is
/// locked.
pub(crate) fn notify(domain: &Domain, irq: Ref<Irq>, thread: Ref<Thread>) {
    if irq.triggered.get(domain) {
        return;
    }
    if let State::Receiving(filter) = thread.state.get(domain)
        && wants(filter, irq)
    {
        thread.home().timeouts.disarm(domain, Owner::Thread(thread));
        set_result(domain, thread, Tag::new(IRQ, 0, 0), irq.label());
        schedule::wake(domain, thread);
        return;
    }
    irq.triggered.set(domain, true);
    irq.next_pending.set(domain, None);
    let (first, last) = thread.pending.get(domain);
    match last {
        Some(last) => {
            last.next_pending.set(domain, Some(irq));
            thread.pending.set(domain, (first, Some(irq)));
        }
        None => thread.pending.set(domain, (Some(irq), Some(irq))),
    }
}

fn wants(filter: Filter, irq: Ref<Irq>) -> bool {
    match filter {
        Filter::Anybody => true,
        Filter::Irq(number) => irq.number() == number,
        Filter::Nobody | Filter::Thread(_) => false,
    }
}

fn take_pending(domain: &Domain, thread: Ref<Thread>, filter: Filter) -> Option<Ref<Irq>> {
    let mut next = thread.pending.get(domain).0;
    while let Some(irq) = next.filter(|irq| !wants(filter, *irq)) {
        next = irq.next_pending.get(domain);
    }
    let irq = next?;
    forget_pending(domain, irq, thread);
    irq.triggered.set(domain, false);
    Some(irq)
}

/// Takes a triggered notification out of its thread's list; it stays triggered.
pub(crate) fn forget_pending(domain: &Domain, irq: Ref<Irq>, thread: Ref<Thread>) {
    let (mut first, mut last) = thread.pending.get(domain);
    let after = irq.next_pending.get(domain);
    let mut before = None;
    let mut next = first;
    while let Some(other) = next.filter(|other| *other != irq) {
        before = next;
        next = other.next_pending.get(domain);
    }
    match before {
        Some(before) => before.next_pending.set(domain, after),
        None => first = after,
    }
    if last == Some(irq) {
        last = before;
    }
    irq.next_pending.set(domain, None);
    thread.pending.set(domain, (first, last));
}

/// Empties the list of a thread that ends; the notifications stay triggered.
pub(crate) fn forget_all_pending(domain: &Domain, thread: Ref<Thread>) {
    while let Some(irq) = thread.pending.get(domain).0 {
        forget_pending(domain, irq, thread);
    }
}
