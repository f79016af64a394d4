//! What the machine calls: system calls, exceptions, interrupts. Interrupts are off, the stack is the CPU's kernel stack, and
//! each of these returns the registers to go on with, or says that they are as they were.

use crate::capability::Slot;
use crate::context::{Context, Trap};
use crate::counters::Event;
use crate::cpu::{Cpu, Domain};
use crate::invoke::{self, Operands};
use crate::ipc;
use crate::memory::FaultOutcome;
use crate::object::{Header, Kind, Ref};
use crate::objects;
use crate::reaper;
use crate::schedule;
use crate::thread::{Fault, Resume, State, Thread};
use core::sync::atomic::Ordering;
use l4::exception::Reason;
use l4::{Rights, Selector, Tag};

pub use crate::boot::{start, start_cpu};

/// Vector of page faults (Intel SDM 3A §6.15).
const PAGE_FAULT: u64 = 14;

/// A `syscall` instruction of the current thread, with its operands; `context` has its instruction pointer, stack pointer and
/// flags, and gets the results. 0: the thread goes on. 1: its other callee-saved registers are to be stored in `context`, and
/// [`leave_system_call`] says how to go on.
pub extern "C" fn system_call(
    context: *mut Context,
    _label: u64,
    selector: u64,
    tag: u64,
    send_deadline: u64,
    receive_deadline: u64,
) -> u32 {
    let cpu = Cpu::this();
    cpu.counters.count(Event::SystemCall);
    let Some(thread) = cpu.current() else { return 1 };
    debug_assert_eq!(context, thread.context());
    // Calls of kernel objects come first, and nothing is live behind the other forms: so the shortest way saves no register.
    // What a clone inherits takes the ordinary way.
    let task = thread.task();
    if let Some(index) = Selector(selector).called()
        && let Some(slot) = task.caps.slot(index)
        && let Some((object, rights)) = slot.live_object()
    {
        if invoke::is_null(thread, object, Tag(tag)) {
            thread.with_own_context(|context| (context.rax, context.rsi) = (0, 0));
            return finish(cpu, true);
        }
        return match object.kind() {
            Kind::Gate => call_gate(context, slot, selector, tag, send_deadline, receive_deadline),
            Kind::SpawnGate => any_system_call(context, 0, selector, tag, send_deadline, receive_deadline),
            _ => call_object(cpu, thread, object, rights, tag),
        };
    }
    any_system_call(context, 0, selector, tag, send_deadline, receive_deadline)
}

/// A call of a gate: to a partner that waits already if possible, else the ordinary way.
#[inline(never)]
extern "C" fn call_gate(
    context: *mut Context,
    slot: &Slot,
    selector: u64,
    tag: u64,
    send_deadline: u64,
    receive_deadline: u64,
) -> u32 {
    let cpu = Cpu::this();
    if let Some(thread) = cpu.current()
        && invoke::call_directly(cpu, thread, slot, Tag(tag), receive_deadline)
    {
        return 1;
    }
    any_system_call(context, 0, selector, tag, send_deadline, receive_deadline)
}

#[inline(never)]
fn call_object(cpu: &'static Cpu, thread: Ref<Thread>, object: Ref<Header>, rights: Rights, tag: u64) -> u32 {
    finish(cpu, invoke::call_object(thread, object, rights, Tag(tag)))
}

#[inline(never)]
extern "C" fn any_system_call(
    _context: *mut Context,
    _label: u64,
    selector: u64,
    tag: u64,
    send_deadline: u64,
    receive_deadline: u64,
) -> u32 {
    let cpu = Cpu::this();
    let Some(thread) = cpu.current() else { return 1 };
    let operands = Operands {
        selector: Selector(selector),
        tag: Tag(tag),
        send_deadline,
        receive_deadline,
    };
    finish(cpu, invoke::system_call(cpu, thread, &operands))
}

/// How a system call goes on: 0 with the same thread, 1 by way of [`leave_system_call`].
#[inline(always)]
fn finish(cpu: &'static Cpu, goes_on: bool) -> u32 {
    if goes_on && !cpu.due.load(Ordering::Relaxed) {
        cpu.epoch.leave();
        return 0;
    }
    if cpu.direct.load(Ordering::Relaxed).is_null() {
        // A thread that does not go on is not ready, or has something to do first: both are found when looking for the
        // next one.
        cpu.due.store(true, Ordering::Relaxed);
    }
    1
}

/// The end of a system call after which the thread does not simply go on.
pub extern "C" fn leave_system_call() -> *mut Context {
    let cpu = Cpu::this();
    if let Some(next) = Ref::load(&cpu.direct) {
        schedule::switch_directly(cpu, next);
        if !cpu.due.load(Ordering::Relaxed) && !next.attention.load(Ordering::Relaxed) {
            cpu.epoch.leave();
            return next.context();
        }
    }
    leave(cpu)
}

/// An exception of the current thread.
pub extern "C" fn trap(context: *mut Context, trap: &Trap) -> *mut Context {
    let cpu = Cpu::this();
    let Some(thread) = cpu.current() else {
        return context;
    };
    if trap.vector == PAGE_FAULT {
        match thread.task().space.resolve_fault(trap.address, trap.error) {
            FaultOutcome::Resolved => cpu.counters.count(Event::PageFault),
            FaultOutcome::Quota if reaper::wait_for_memory(thread) => {}
            FaultOutcome::Quota => raise(cpu, thread, Reason::Quota, trap),
            FaultOutcome::NoRegion | FaultOutcome::Denied => raise(cpu, thread, Reason::PageFault, trap),
        }
    } else {
        raise(cpu, thread, Reason::Exception, trap);
    }
    leave(cpu)
}

fn raise(cpu: &'static Cpu, thread: Ref<Thread>, reason: Reason, trap: &Trap) {
    let fault = Fault {
        reason,
        vector: trap.vector,
        error: trap.error,
        address: trap.address,
    };
    ipc::raise(thread, fault);
    if thread.state.get(&Domain::lock(cpu)) != State::Ready {
        schedule::run_next(cpu);
    }
}

/// An interrupt while a thread ran: 0 timer, 1 poke, 2 device line `line`.
pub extern "C" fn interrupt(_context: *mut Context, event: u32, line: u32) -> *mut Context {
    let cpu = Cpu::this();
    cpu.counters.count(Event::Interrupt);
    match event {
        0 => schedule::tick(cpu),
        1 => schedule::poked(cpu),
        _ => objects::interrupt(line),
    }
    leave(cpu)
}

/// The last thing before user mode: whatever became due on the way, and the thread to go on with.
#[inline]
pub(crate) fn leave(cpu: &'static Cpu) -> *mut Context {
    loop {
        if cpu.due.load(Ordering::Relaxed) {
            objects::run_deferred(cpu);
            schedule::run_next(cpu);
            continue;
        }
        // `run_next` returns with a thread, and nothing above takes it away.
        let Some(thread) = cpu.current() else {
            schedule::run_next(cpu);
            continue;
        };
        if thread.attention.load(Ordering::Relaxed) {
            attend(cpu, thread);
            continue;
        }
        #[cfg(debug_assertions)]
        assert!(
            crate::sync::order::holds_none(),
            "a lock is held on the way to user mode"
        );
        cpu.epoch.leave();
        return thread.context();
    }
}

/// Does what the current thread has to do before it goes on.
#[cold]
fn attend(cpu: &'static Cpu, thread: Ref<Thread>) {
    let resume = {
        let domain = Domain::lock(cpu);
        let resume = thread.resume.get(&domain);
        thread.set_resume(&domain, Resume::Nothing);
        resume
    };
    let goes_on = match resume {
        Resume::Nothing => true,
        Resume::Receive(filter, deadline) => ipc::receive(thread, filter, deadline),
        Resume::Send(gate) => {
            let sending = thread.sending.get(&Domain::lock(cpu));
            let sent = invoke::send_again(thread, gate, sending);
            gate.release();
            sent
        }
        Resume::Raise(fault) => {
            ipc::raise(thread, fault);
            thread.state.get(&Domain::lock(cpu)) == State::Ready
        }
        Resume::Signal => {
            ipc::signal(thread);
            true
        }
        Resume::Stop => {
            ipc::stop(thread);
            false
        }
        Resume::End(fault) => {
            ipc::end_unhandled(thread, &fault);
            false
        }
    };
    if !goes_on {
        schedule::run_next(cpu);
    }
}
