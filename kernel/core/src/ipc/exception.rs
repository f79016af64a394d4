//! Faults and exceptions: to the thread itself, to its handler's gate, or its end.

use super::send::{Sent, send};
use super::{invocation, transfer};
use crate::capability::SlotState;
use crate::context::{Context, KIND_FULL};
use crate::cpu::{Cpu, Domain};
use crate::object::Ref;
use crate::objects::Gate;
use crate::schedule;
use crate::thread::{Content, Fault, Resume, Sending, State, Then, Thread};
use core::fmt::Write;
use l4::exception::{ExceptionFrame, Reason};
use l4::object::{CloneFailure, FailureReason};
use l4::protocol::EXCEPTION;
use l4::{NEVER, Rights, Tag, utcb};

/// Raises an exception of this CPU's current thread, all of whose registers are saved.
pub(crate) fn raise(thread: Ref<Thread>, fault: Fault) {
    if thread.header.is_dead() {
        // It only has not stopped yet. What it works with may be gone already, which is nobody's concern.
        stop(thread);
        return;
    }
    let domain = Domain::lock(thread.home());
    if enter_own_handler(&domain, thread, fault) {
        return;
    }
    thread.fault.set(&domain, fault);
    drop(domain);
    if !send_to_handler(thread) {
        end(thread, &fault);
    }
}

/// Has this CPU's current thread, which may be at the end of a system call, enter its own fault entry if it can.
pub(crate) fn signal(thread: Ref<Thread>) {
    let fault = Fault {
        reason: Reason::Triggered,
        vector: 0xff,
        error: 0,
        address: 0,
    };
    let domain = Domain::lock(thread.home());
    if thread.with_context(&domain, |context| context.kind != KIND_FULL) {
        // What the CPU holds of the thread is saved before it counts as fully saved.
        thread.with_live_context(&domain, Context::make_full);
    }
    // A thread that handles a fault looks for signals itself before it goes on.
    let _entered = enter_own_handler(&domain, thread, fault);
}

/// Lets the thread handle its own fault, unless it is handling one already.
fn enter_own_handler(domain: &Domain, thread: Ref<Thread>, fault: Fault) -> bool {
    let (entry, stack) = thread.fault_entry.get(domain);
    if entry == 0 || thread.utcb().get(utcb::FAULT_ACTIVE) != 0 {
        return false;
    }
    thread.fault.set(domain, fault);
    let words = transfer::exception_frame(domain, thread).to_words();
    for (index, word) in words.into_iter().enumerate() {
        thread.utcb().set(utcb::FAULT_FRAME + index, word);
    }
    thread.utcb().set(utcb::FAULT_ACTIVE, 1);
    thread.with_context(domain, |context| {
        context.rip = entry;
        context.rsp = stack;
        context.set_flags(0);
    });
    true
}

fn send_to_handler(thread: Ref<Thread>) -> bool {
    let SlotState::Object(capability) = thread.handler.read() else {
        return false;
    };
    let Some(gate) = capability.object.downcast::<Gate>() else {
        return false;
    };
    let of_gate = capability.label == 0;
    let label = if of_gate { gate.label() } else { capability.label };
    let sending = Sending {
        tag: Tag::new(EXCEPTION, ExceptionFrame::WORDS, 0),
        label: label | u64::from((capability.rights & (Rights::WRITE | Rights::STRONG)).bits()),
        of_gate,
        strong: false,
        deadline: NEVER,
        content: Content::Exception,
        then: Then::AwaitReply(NEVER),
    };
    send(thread, gate, sending) == Sent::Blocked
}

/// Ends a thread whose fault nobody handles.
fn end(thread: Ref<Thread>, fault: &Fault) {
    let (rip, rsp) = thread.with_own_context(|context| (context.rip, context.rsp));
    let failure = CloneFailure {
        vector: fault.vector,
        error: fault.error,
        address: fault.address,
        ip: rip,
        sp: rsp,
        ..CloneFailure::new(match fault.reason {
            Reason::Quota => FailureReason::Quota,
            Reason::PageFault | Reason::Exception | Reason::Triggered => FailureReason::Fault,
        })
    };
    if invocation::fail_by_fault(thread, failure) {
        stop(thread);
        return;
    }
    let mut line = crate::boot::ConsoleLine::new();
    // A line that is too long is cut off, which loses nothing that matters.
    let _ = write!(
        line,
        "kernel: thread '{}' ended: nobody handles its {:?} (vector {}, error {:#x}, address {:#x}, ip {rip:#x})",
        thread.header.name(),
        fault.reason,
        fault.vector,
        fault.error,
        fault.address,
    );
    line.print();
    stop(thread);
}

/// Acts on a handler's answer; the faulting thread's home is locked.
pub(super) fn answer(domain: &Domain, handler: Ref<Thread>, thread: Ref<Thread>, tag: Tag) {
    if tag.label() < 0 {
        thread.set_resume(domain, Resume::Stop);
    } else if tag.words() >= ExceptionFrame::WORDS {
        let words = core::array::from_fn(|index| handler.utcb().get(index));
        let frame = ExceptionFrame::from_words(&words);
        if !thread.with_context(domain, |context| transfer::set_registers(context, &frame)) {
            give_up(domain, thread);
        }
    }
    schedule::wake(domain, thread);
}

/// Makes a stopped thread end as soon as it is to run again: nobody answers its exception. Its handler is not asked a
/// second time.
pub(super) fn give_up(domain: &Domain, thread: Ref<Thread>) {
    thread.set_resume(domain, Resume::End(thread.fault.get(domain)));
}

/// Ends this CPU's current thread for a fault that was given up.
pub(crate) fn end_unhandled(thread: Ref<Thread>, fault: &Fault) {
    end(thread, fault);
}

/// Ends this CPU's current thread, as its handler wants it.
pub(crate) fn stop(thread: Ref<Thread>) {
    let domain = Domain::lock(thread.home());
    thread.state.set(&domain, State::Dead);
    Cpu::this().due.store(true, core::sync::atomic::Ordering::Release);
    drop(domain);
    crate::reaper::destroy(thread.erase());
}
