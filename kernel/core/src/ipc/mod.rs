//! IPC: rendezvous of threads, answers, notifications, exceptions.
//!
//! Every step happens under the locks of the CPUs concerned ([`Domain`]): the partner's, and the running one's. What
//! takes part of a blocked thread's wait away (a timeout, a cancel, the partner's end) takes the same locks and looks at
//! the thread's state again, so each wait ends exactly once.

pub(crate) mod direct;
mod exception;
mod invocation;
pub(crate) mod queue;
mod receive;
mod reply;
mod send;
mod transfer;
mod wait;

pub(crate) use exception::{end_unhandled, raise, signal, stop};
pub(crate) use invocation::{Start, await_clone, exit_clone, is_answer};
pub(crate) use receive::{forget_all_pending, forget_pending, notify, receive};
pub(crate) use reply::{Replied, drop_implicit_reply, drop_reply, keep_caller, reply, take_reply};
pub(crate) use send::{Sent, fail_send, send, wake_waiting_senders};
pub(crate) use transfer::{give_message, give_request, set_registers};
pub(crate) use wait::{die_waiting, expire, interrupt_wait};

use crate::cpu::Domain;
use crate::object::Ref;
use crate::thread::Thread;
use l4::{IpcError, Tag, utcb};

/// Sets what the thread's system call returns.
#[inline]
pub(crate) fn set_result(domain: &Domain, thread: Ref<Thread>, tag: Tag, label: u64) {
    thread.with_context(domain, |context| {
        context.rax = tag.0;
        context.rsi = label;
    });
}

/// Makes the thread's system call return an IPC error.
pub(crate) fn set_error(domain: &Domain, thread: Ref<Thread>, error: IpcError) {
    thread.utcb().set(utcb::ERROR_WORD, error.code());
    set_result(domain, thread, Tag(Tag::ERROR), 0);
}

/// The receiver's side of an error that the sender sees.
fn receiver_side(error: IpcError) -> IpcError {
    match error {
        IpcError::SendCut => IpcError::ReceiveCut,
        _ => IpcError::ReceiveMapFailed,
    }
}
