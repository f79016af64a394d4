//! The program's calls, faults and signals, once the thread's registers are saved.
#![expect(unsafe_code, reason = "a thread's state is shared with the entry's assembly")]

use core::ptr;
use core::sync::atomic::Ordering;

use l4::Utcb;
use linux_abi::{Caller, Fault, Futexes, Machine, Outcome, answer_alone, depart};

use super::entry::{HAS_XSAVE, STATE_WORD};
use super::own::Own;
use super::thread_area::State;
use super::{fault, start, task, threads};

/// Who waits for which word.
static FUTEXES: Futexes = Futexes::new();

/// The calling thread's state.
pub(super) fn own_state() -> *mut State {
    ptr::with_exposed_provenance_mut(Utcb::current().word(STATE_WORD) as usize)
}

/// The program's registers and vectors.
///
/// # Safety
/// `state` is the calling thread's, which is in this layer, and nothing else refers to these parts of it.
unsafe fn machine<'a>(state: *mut State) -> Machine<'a> {
    // SAFETY: As the caller promises; other threads use only `attention`.
    unsafe {
        Machine {
            registers: &mut (*state).registers,
            vectors: &mut (*state).vectors,
            has_xsave: HAS_XSAVE.load(Ordering::Relaxed),
        }
    }
}

/// Answers the call in `state`; its result goes to rax there.
pub(super) extern "C" fn system_call(state: *mut State) {
    // SAFETY: The entry passes the calling thread's state, and only `attention` is used by others.
    let (registers, number) = unsafe { (&(*state).registers, (*state).number) };
    let arguments = [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
        registers.r9,
    ];
    let result = match answer_alone(&mut Own, &FUTEXES, number, &arguments) {
        Some(value) => value,
        None => shared_call(state, number, &arguments),
    };
    // SAFETY: As above.
    unsafe { (*state).registers.rax = result };
}

/// Answers a call that uses what the program's threads share.
#[inline(never)]
fn shared_call(state: *mut State, number: u64, arguments: &[u64; 6]) -> u64 {
    loop {
        let thread = Own.thread();
        match start::with_process(|process| process.system_call(thread, number, arguments)) {
            Outcome::Return(value) => return value,
            Outcome::Wait(deadline) => Own.park(deadline),
            Outcome::ReturnFromHandler => return return_from_handler(state),
            other => end(other),
        }
    }
}

/// Ends the thread, or the program.
fn end(outcome: Outcome) -> ! {
    match outcome {
        Outcome::EndThread(departure) => {
            depart(&mut Own, &FUTEXES, departure);
            threads::end()
        }
        Outcome::Exit(code) => task::exit(code),
        Outcome::Respond(length) => start::with_process(|process| process.system().respond(length)),
        Outcome::TooLong(length) => start::with_process(|process| process.system().refuse(length)),
        Outcome::Stop | Outcome::Return(_) | Outcome::Wait(_) | Outcome::ReturnFromHandler => threads::stop(),
    }
}

/// Restores the registers that a handler's frame keeps. Returns rax.
fn return_from_handler(state: *mut State) -> u64 {
    // SAFETY: `shared_call` has the calling thread's state and no reference to it.
    let mut machine = unsafe { machine(state) };
    let thread = Own.thread();
    match start::with_process(|process| process.return_from_handler(thread, &mut machine)) {
        Outcome::Return(_) => {}
        other => end(other),
    }
    let rax = machine.registers.rax;
    // The way back from a call does not restore all registers; the one behind a look for signals does.
    // SAFETY: As above; `attention` is atomic.
    unsafe {
        (*state).is_whole = 1;
        (*state).attention.store(1, Ordering::Relaxed);
    }
    rax
}

/// Acts on signals after a call.
pub(super) extern "C" fn attend_after_call(state: *mut State) {
    // SAFETY: The entry passes the calling thread's state.
    let call = unsafe {
        if (*state).is_whole == 0 {
            let registers = &mut (*state).registers;
            // As the instruction leaves them.
            (registers.rcx, registers.r11) = (registers.rip, registers.rflags);
            Some((*state).number)
        } else {
            (*state).is_whole = 0;
            None
        }
    };
    attend(state, call);
}

/// Acts on signals while the program computed.
pub(super) extern "C" fn attend_again(state: *mut State) {
    attend(state, None);
}

fn attend(state: *mut State, call: Option<u64>) {
    // SAFETY: Both callers have the calling thread's state and no reference to it.
    let mut machine = unsafe { machine(state) };
    let thread = Own.thread();
    match start::with_process(|process| process.deliver_signals(thread, &mut machine, call)) {
        Outcome::Return(_) => {}
        other => end(other),
    }
}

/// Acts on a fault of the program, whose registers are all in `state`.
pub(super) extern "C" fn fault_of_program(state: *mut State) {
    // SAFETY: The fault entry passes the calling thread's state.
    let (mut machine, [vector, error, address]) = unsafe { (machine(state), (*state).fault) };
    let fault = Fault {
        vector,
        error,
        address,
    };
    let thread = Own.thread();
    match start::with_process(|process| process.deliver_fault(thread, &mut machine, fault)) {
        Some(Outcome::Return(_)) => {}
        Some(other) => end(other),
        None => fault::leave_to_handler(machine.registers, vector),
    }
}
