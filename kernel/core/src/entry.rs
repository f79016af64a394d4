//! What the machine calls: system calls, exceptions, interrupts. Interrupts are off, the stack is the CPU's kernel stack, and
//! each of these returns the registers to go on with, or says that they are as they were.

use crate::capability::{Live, Slot};
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

/// How [`call`] ends if the thread goes on.
pub const GOES_ON: u64 = 0;
/// How [`call`] ends if there is something else to do first: [`leave_system_call`] says how to go on.
pub const LEAVES: u64 = 1;

/// A `syscall` instruction of the current thread in the form of a call (send, then receive the answer), with its operands;
/// `context` has its instruction pointer, stack pointer and flags, and gets the results. Returns [`GOES_ON`], [`LEAVES`], or the
/// address of a slot: then it is a gate that is called, and [`call_gate`] does so. Before that, and before
/// [`leave_system_call`], the machine stores the thread's other callee-saved registers in `context`.
///
/// Calls of kernel objects need none of what calls of gates do. So the shortest of them saves no register.
pub extern "C" fn call(
    context: *mut Context,
    _label: u64,
    selector: u64,
    tag: u64,
    send_deadline: u64,
    receive_deadline: u64,
) -> u64 {
    let cpu = Cpu::this();
    cpu.counters.count(Event::SystemCall);
    debug_assert!(Selector(selector).is_call());
    if let Some(thread) = cpu.current()
        && let Some(slot) = thread.task().caps.slot(Selector(selector).slot())
        && let Some(called) = slot.live()
    {
        let operands = Operands::new(selector, tag, send_deadline, receive_deadline);
        return call_found(cpu, thread, slot, called, &operands);
    }
    call_inherited(context, 0, selector, tag, send_deadline, receive_deadline)
}

/// As [`call`], of what does not stand in the table of the thread's task itself: a clone's may stand in its snapshot's.
#[inline(never)]
extern "C" fn call_inherited(
    _context: *mut Context,
    _label: u64,
    selector: u64,
    tag: u64,
    send_deadline: u64,
    receive_deadline: u64,
) -> u64 {
    let cpu = Cpu::this();
    let Some(thread) = cpu.current() else {
        return LEAVES;
    };
    let operands = Operands::new(selector, tag, send_deadline, receive_deadline);
    let (task, index) = (thread.task(), operands.selector.slot());
    if let Some(slot) = task.caps.find(index)
        && let Some(called) = slot.live()
    {
        return call_found(cpu, thread, slot, called, &operands);
    }
    match task.caps.slot(index) {
        // It may hold the right to answer for a clone.
        Some(slot) => call_later(thread, slot, 0, &operands),
        None => finish(cpu, invoke::call_nothing(thread)),
    }
}

#[inline(always)]
fn call_found(cpu: &'static Cpu, thread: Ref<Thread>, slot: &Slot, called: Live, operands: &Operands) -> u64 {
    match called.object.kind() {
        Kind::Gate => call_later(thread, slot, called.word, operands),
        Kind::Debug if invoke::is_null(thread, operands.tag) => {
            thread.with_own_context(|context| (context.rax, context.rsi) = (0, 0));
            finish(cpu, true)
        }
        Kind::SpawnGate => call_later(thread, slot, called.word, operands),
        _ => call_object(cpu, thread, called.object, called.rights(), operands.tag),
    }
}

/// Leaves the call to [`call_gate`], which finds the operands in the context.
#[inline(always)]
fn call_later(thread: Ref<Thread>, slot: &Slot, word: u64, operands: &Operands) -> u64 {
    thread.with_own_context(|context| {
        (context.rax, context.rdx) = (operands.tag.0, operands.selector.0);
        (context.r8, context.r9) = (operands.send_deadline, operands.receive_deadline);
        context.rcx = word;
    });
    core::ptr::from_ref(slot) as u64
}

#[inline(never)]
fn call_object(cpu: &'static Cpu, thread: Ref<Thread>, object: Ref<Header>, rights: Rights, tag: Tag) -> u64 {
    finish(cpu, invoke::call_object(thread, object, rights, tag))
}

/// How a call ends after which the thread does or does not go on.
#[inline(always)]
fn finish(cpu: &'static Cpu, goes_on: bool) -> u64 {
    if goes_on && !cpu.due.load(Ordering::Relaxed) {
        cpu.epoch.leave();
        return GOES_ON;
    }
    // A thread that does not go on is not ready, or has something to do first: both are found when looking for the next one.
    cpu.due.store(true, Ordering::Relaxed);
    LEAVES
}

/// The end of a call after which the thread does not simply go on.
pub extern "C" fn leave_system_call() -> *mut Context {
    leave(Cpu::this())
}

/// A call of the gate in `slot`, as [`call`] found it.
pub extern "C" fn call_gate(_context: *mut Context, slot: &Slot) -> *mut Context {
    let cpu = Cpu::this();
    match invoke::call_plainly(cpu, slot) {
        Some(partner) => enter(cpu, partner),
        None => call_otherwise(cpu, slot),
    }
}

#[inline(never)]
fn call_otherwise(cpu: &'static Cpu, slot: &Slot) -> *mut Context {
    let Some(thread) = cpu.current() else {
        return leave(cpu);
    };
    let [selector, tag, send_deadline, receive_deadline] =
        thread.with_own_context(|context| [context.rdx, context.rax, context.r8, context.r9]);
    let operands = Operands::new(selector, tag, send_deadline, receive_deadline);
    match invoke::call_of_invocation(thread, slot, &operands) {
        Some(goes_on) => leave_or_find(cpu, goes_on),
        None => other_system_call(cpu, selector, tag, send_deadline, receive_deadline),
    }
}

/// A `syscall` instruction of the form [`Selector::REPLY_AND_WAIT`]. `context` has all of the thread's registers that count,
/// and gets the results.
pub extern "C" fn reply_and_wait(
    _context: *mut Context,
    _label: u64,
    selector: u64,
    tag: u64,
    send_deadline: u64,
    receive_deadline: u64,
) -> *mut Context {
    let cpu = Cpu::this();
    cpu.counters.count(Event::SystemCall);
    debug_assert!(Selector(selector).is_implicit_reply_and_wait());
    match invoke::reply_plainly(cpu, Tag(tag), receive_deadline) {
        Some(partner) => enter(cpu, partner),
        None => other_system_call(cpu, selector, tag, send_deadline, receive_deadline),
    }
}

/// A `syscall` instruction of any other form, as [`reply_and_wait`].
pub extern "C" fn system_call(
    _context: *mut Context,
    _label: u64,
    selector: u64,
    tag: u64,
    send_deadline: u64,
    receive_deadline: u64,
) -> *mut Context {
    let cpu = Cpu::this();
    cpu.counters.count(Event::SystemCall);
    other_system_call(cpu, selector, tag, send_deadline, receive_deadline)
}

/// A system call that is not as plain as most.
#[inline(never)]
fn other_system_call(
    cpu: &'static Cpu,
    selector: u64,
    tag: u64,
    send_deadline: u64,
    receive_deadline: u64,
) -> *mut Context {
    let operands = Operands::new(selector, tag, send_deadline, receive_deadline);
    let Some(thread) = cpu.current() else {
        return leave(cpu);
    };
    if let Some(partner) = invoke::go_directly(cpu, thread, &operands) {
        return enter(cpu, partner);
    }
    leave_or_find(cpu, invoke::system_call(thread, &operands))
}

#[inline(always)]
fn leave_or_find(cpu: &'static Cpu, goes_on: bool) -> *mut Context {
    if !goes_on {
        // As in `finish`.
        cpu.due.store(true, Ordering::Relaxed);
    }
    leave(cpu)
}

/// Goes on with the thread that was just switched to.
#[inline(always)]
fn enter(cpu: &'static Cpu, thread: Ref<Thread>) -> *mut Context {
    if !cpu.due.load(Ordering::Relaxed) && !thread.attention.load(Ordering::Relaxed) {
        cpu.epoch.leave();
        return thread.context();
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
