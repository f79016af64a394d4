//! The send phase.

use super::{queue, receiver_side, set_error, set_result, transfer};
use crate::cpu::Domain;
use crate::object::Ref;
use crate::objects::Gate;
use crate::schedule;
use crate::sync::Guarded;
use crate::thread::{Content, Filter, Queue, Resume, Sending, State, Then, Thread};
use crate::timeout::{Owner, has_passed};
use l4::{IpcError, NEVER, Tag};

/// What became of a send phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The message was taken.
    Done,
    /// The sender waits: for the receiver, or for the answer.
    Blocked,
    /// It did not get through.
    Failed(IpcError),
}

/// Tells whether a receiver with this filter takes a message of `sender`.
pub(super) fn accepts(filter: Filter, sender: Ref<Thread>) -> bool {
    match filter {
        Filter::Anybody => true,
        Filter::Thread(number) => sender.number() == number,
        Filter::Nobody | Filter::Irq(_) => false,
    }
}

/// Sends a message of this CPU's current thread through a gate.
pub(crate) fn send(sender: Ref<Thread>, gate: Ref<Gate>, sending: Sending) -> Sent {
    let (domain, receiver) = gate.binding.lock();
    if gate.header.is_dead() {
        return Sent::Failed(IpcError::NotExistent);
    }
    let Some(receiver) = receiver else {
        if gate.binding.is_orphaned(&domain) {
            return Sent::Failed(IpcError::NotExistent);
        }
        return enqueue(
            &domain,
            sender,
            &sending,
            &gate.senders,
            State::SendingUnbound(gate),
        );
    };
    match receiver.state.get(&domain) {
        State::Receiving(filter) if accepts(filter, sender) => {
            receiver.home().timeouts.disarm(&domain, Owner::Thread(receiver));
            sender.sending.set(&domain, sending);
            match deliver(&domain, sender, receiver, &sending) {
                Ok(()) => {
                    schedule::wake(&domain, receiver);
                    after_send(&domain, sender, receiver, sending.then)
                }
                Err(error) => {
                    schedule::wake(&domain, receiver);
                    Sent::Failed(error)
                }
            }
        }
        State::Dead => Sent::Failed(IpcError::NotExistent),
        _ => enqueue(
            &domain,
            sender,
            &sending,
            &receiver.senders,
            State::Sending(receiver),
        ),
    }
}

/// Copies the message and sets the receiver's result. On an error the receiver gets one as well.
pub(super) fn deliver(
    domain: &Domain,
    sender: Ref<Thread>,
    receiver: Ref<Thread>,
    sending: &Sending,
) -> Result<(), IpcError> {
    let copied = transfer::transfer(domain, sender, receiver, sending);
    match copied {
        Ok(()) => set_result(domain, receiver, transfer::delivered(sending), sending.label),
        Err(error) => set_error(domain, receiver, receiver_side(error)),
    }
    copied
}

fn after_send(domain: &Domain, sender: Ref<Thread>, receiver: Ref<Thread>, then: Then) -> Sent {
    match then {
        Then::AwaitReply(deadline) => {
            await_reply(domain, sender, receiver, deadline);
            Sent::Blocked
        }
        Then::Receive(..) | Then::Continue => Sent::Done,
    }
}

/// Blocks the sender of a call until `receiver` answers.
pub(super) fn await_reply(domain: &Domain, sender: Ref<Thread>, receiver: Ref<Thread>, deadline: u64) {
    transfer::give_reply_capability(domain, sender, receiver);
    sender.state.set(domain, State::Calling);
    if deadline != NEVER {
        sender
            .home()
            .timeouts
            .arm(domain, Owner::Thread(sender), deadline);
    }
}

fn enqueue(
    domain: &Domain,
    sender: Ref<Thread>,
    sending: &Sending,
    senders: &Guarded<Queue, Domain>,
    state: State,
) -> Sent {
    if has_passed(sending.deadline) {
        return Sent::Failed(IpcError::SendTimeout);
    }
    sender.sending.set(domain, *sending);
    queue::insert_by_priority(domain, senders, sender);
    sender.state.set(domain, state);
    sender
        .home()
        .timeouts
        .arm(domain, Owner::Thread(sender), sending.deadline);
    Sent::Blocked
}

/// Completes the send of a queued sender whose message was just taken by `receiver`.
pub(super) fn complete_queued(domain: &Domain, sender: Ref<Thread>, receiver: Ref<Thread>, then: Then) {
    sender.home().timeouts.disarm(domain, Owner::Thread(sender));
    match then {
        Then::AwaitReply(deadline) => await_reply(domain, sender, receiver, deadline),
        Then::Receive(filter, deadline) => {
            sender.set_resume(domain, Resume::Receive(filter, deadline));
            schedule::wake(domain, sender);
        }
        Then::Continue => {
            set_result(domain, sender, Tag(0), 0);
            schedule::wake(domain, sender);
        }
    }
}

/// Ends the wait of a sender that is in no queue any more with an error.
pub(crate) fn fail_send(domain: &Domain, sender: Ref<Thread>, error: IpcError) {
    sender.home().timeouts.disarm(domain, Owner::Thread(sender));
    if sender.sending.get(domain).content == Content::Exception {
        // Nobody handles its fault: it ends, as soon as it is to run again.
        sender.set_resume(domain, Resume::End(sender.fault.get(domain)));
    } else {
        set_error(domain, sender, error);
    }
    schedule::wake(domain, sender);
}

/// Wakes the senders that waited for a gate's binding: each sends again when it runs.
pub(crate) fn wake_waiting_senders(gate: Ref<Gate>) {
    loop {
        let head = gate.senders.get(&Domain::lock(gate.binding.home())).head;
        let Some(sender) = head else { return };
        let domain = gate.binding.lock_queue(sender);
        if sender.state.get(&domain) != State::SendingUnbound(gate) {
            continue;
        }
        queue::remove(&domain, &gate.senders, sender);
        if gate.acquire() {
            sender.home().timeouts.disarm(&domain, Owner::Thread(sender));
            sender.set_resume(&domain, Resume::Send(gate));
            schedule::wake(&domain, sender);
        } else {
            fail_send(&domain, sender, IpcError::NotExistent);
        }
    }
}
