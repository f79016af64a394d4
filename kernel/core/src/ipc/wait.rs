//! Ending a thread's wait from outside: its deadline passed, or someone cancelled it.

use super::{invocation, queue, reply, set_error};
use crate::cpu::Domain;
use crate::object::Ref;
use crate::schedule;
use crate::thread::{Content, State, Thread};
use crate::timeout::Owner;
use l4::{Error, IpcError};

/// Why a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Deadline,
    Cancel,
}

impl Cause {
    fn error(self, state: State) -> IpcError {
        match (self, state) {
            (Cause::Deadline, State::Sending(_) | State::SendingUnbound(_)) => IpcError::SendTimeout,
            (Cause::Deadline, _) => IpcError::ReceiveTimeout,
            (Cause::Cancel, State::Sending(_) | State::SendingUnbound(_)) => IpcError::SendCanceled,
            (Cause::Cancel, _) => IpcError::ReceiveCanceled,
        }
    }
}

/// The deadline of a thread homed on this CPU passed; its timer is out of the queue.
pub(crate) fn expire(thread: Ref<Thread>) {
    end_wait(thread, Some(Cause::Deadline), |_| true);
}

/// Cancels whatever the thread waits for, after a change of it: it does not go on without. `None` if it does not wait.
///
/// # Errors
/// Those of `change`; the thread goes on waiting then.
pub(crate) fn interrupt_wait<R>(
    thread: Ref<Thread>,
    change: impl FnOnce(&Domain) -> Result<R, Error>,
) -> Option<Result<R, Error>> {
    let mut changed = None;
    end_wait(thread, Some(Cause::Cancel), |domain| {
        changed.insert(change(domain)).is_ok()
    });
    changed
}

/// Ends a thread that waits; nothing happens if it does not wait.
pub(crate) fn die_waiting(thread: Ref<Thread>) {
    end_wait(thread, None, |_| true);
}

/// Ends a thread's wait if it is `allowed`, which is asked under the locks; without a cause, the thread as well: it does not run
/// again.
fn end_wait(thread: Ref<Thread>, cause: Option<Cause>, allowed: impl FnOnce(&Domain) -> bool) {
    loop {
        let state = thread.state.get(&Domain::lock_with(thread));
        let domain = match state {
            State::Sending(receiver) => Domain::lock_homes(thread, receiver),
            State::SendingUnbound(gate) => gate.binding.lock_queue(thread),
            State::Receiving(_) | State::Calling => Domain::lock_with(thread),
            State::New | State::Ready | State::Kept | State::Dead => return,
        };
        if thread.state.get(&domain) != state {
            continue;
        }
        if cause == Some(Cause::Deadline) && thread.timer.is_armed(&domain) {
            // That wait ended meanwhile, and this is another one.
            return;
        }
        if !allowed(&domain) {
            return;
        }
        match state {
            State::Sending(receiver) => queue::remove(&domain, &receiver.senders, thread),
            State::SendingUnbound(gate) => queue::remove(&domain, &gate.senders, thread),
            State::Calling => reply::revoke(&domain, thread),
            _ => {}
        }
        thread.home().timeouts.disarm(&domain, Owner::Thread(thread));
        let content = thread.sending.get(&domain).content;
        if let Content::Invocation(task) = content {
            let error = cause.map(|cause| cause.error(state));
            invocation::end_call(&domain, thread, task, error);
        }
        let Some(cause) = cause else {
            thread.state.set(&domain, State::Dead);
            return;
        };
        if matches!(content, Content::Invocation(_)) {
            // Its result is set.
        } else if content != Content::Exception || matches!(state, State::Receiving(_)) {
            // A faulting thread has no system call whose result could be set: it faults again when it goes on.
            set_error(&domain, thread, cause.error(state));
        }
        schedule::wake(&domain, thread);
        return;
    }
}
