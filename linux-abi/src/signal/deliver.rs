//! Entering handlers and coming back from them.

use super::frame::{self, Entry, Trap};
use super::info::{FROM_KERNEL, Info};
use super::stack::AlternateStack;
use super::{HANDLER_DEFAULT, HANDLER_IGNORE, NO_DEFER, ON_STACK, RESET, RESTART, RESTORER, bit};
use crate::exit::SIGNALLED;
use crate::registers::Machine;
use crate::{Errno, Outcome, Process, System};

const SIGILL: u8 = 4;
const SIGTRAP: u8 = 5;
const SIGBUS: u8 = 7;
const SIGFPE: u8 = 8;
const SIGSEGV: u8 = 11;

/// Length of the `syscall` instruction.
const SYSCALL_SIZE: u64 = 2;

/// Why the processor stopped the program at an instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The exception's vector (Intel SDM vol. 3, table 6-1).
    pub vector: u64,
    /// What the processor pushed; 0 for vectors that have none.
    pub error: u64,
    /// The address of a page fault.
    pub address: u64,
}

/// Vectors, where they have no signal that needs no further look.
const DEBUG: u64 = 1;
const PAGE_FAULT: u64 = 14;
const X87: u64 = 16;
const SIMD: u64 = 19;

/// Codes of SIGSEGV: nothing is there; what is there does not permit the access.
const NOT_MAPPED: i32 = 1;
const NOT_PERMITTED: i32 = 2;

impl<S: System> Process<S> {
    /// Has the thread with this number, which is on its way back to the program, enter the handlers of signals that wait
    /// for it. `call` is the number of the call that it made, whose result is in rax, if it made one.
    pub fn deliver_signals(&mut self, thread: u32, machine: &mut Machine<'_>, call: Option<u64>) -> Outcome {
        self.threads.enter(thread);
        self.system.clear_interrupt();
        if !self.is_running() {
            return Outcome::Stop;
        }
        let result = Errno::from_result(machine.registers.rax);
        let mut restart = call.zip(result).filter(|(_, errno)| errno.is_restart());
        while self.is_running()
            && let Some(info) = self.next_signal()
        {
            let action = *self.signals.action(info.signal);
            match action.handler {
                HANDLER_IGNORE => continue,
                HANDLER_DEFAULT if action.ignores(info.signal) => continue,
                HANDLER_DEFAULT => self.exit = Some(SIGNALLED + i32::from(info.signal)),
                _ => {
                    if let Some((number, errno)) = restart.take() {
                        if errno == Errno::RESTART && action.flags & RESTART != 0 {
                            make_again(machine, number);
                        } else {
                            machine.registers.rax = Errno::INTR.result();
                        }
                    }
                    if self.enter_handler(machine, info, Trap::default()).is_err() {
                        self.exit = Some(SIGNALLED + i32::from(SIGSEGV));
                    }
                }
            }
        }
        if let Some((number, _)) = restart {
            make_again(machine, number);
        }
        self.restore_mask();
        self.conclude(Ok(0))
    }

    /// Has the thread with this number enter the handler of the signal for a fault of the program. `None` if there is none
    /// that could run: the program is to end by its fault.
    pub fn deliver_fault(&mut self, thread: u32, machine: &mut Machine<'_>, fault: Fault) -> Option<Outcome> {
        self.threads.enter(thread);
        if !self.is_running() {
            return Some(Outcome::Stop);
        }
        let info = self.info_of(machine, fault);
        let handler = self.signals.action(info.signal).handler;
        let is_blocked = self.threads.current().signals.blocked & bit(info.signal) != 0;
        if is_blocked || matches!(handler, HANDLER_DEFAULT | HANDLER_IGNORE) {
            return None;
        }
        let trap = Trap {
            error: fault.error,
            vector: fault.vector,
            address: fault.address,
        };
        self.enter_handler(machine, info, trap).ok()?;
        Some(self.conclude(Ok(0)))
    }

    /// Restores what the frame says whose handler has returned (`rt_sigreturn`).
    pub fn return_from_handler(&mut self, thread: u32, machine: &mut Machine<'_>) -> Outcome {
        self.threads.enter(thread);
        if !self.is_running() {
            return Outcome::Stop;
        }
        match frame::leave(&mut self.system, machine) {
            Ok(returned) => {
                // As on Linux, a stack that can't be one is no reason not to return.
                if let Ok(stack) = AlternateStack::from_words(returned.stack) {
                    self.threads.current().signals.stack = stack;
                }
                self.set_mask(returned.mask);
            }
            Err(_) => self.exit = Some(SIGNALLED + i32::from(SIGSEGV)),
        }
        self.conclude(Ok(0))
    }

    fn next_signal(&mut self) -> Option<Info> {
        let signals = &mut self.threads.current().signals;
        signals.pending.take(!signals.blocked)
    }

    fn enter_handler(&mut self, machine: &mut Machine<'_>, info: Info, trap: Trap) -> Result<(), Errno> {
        let Process {
            system,
            threads,
            signals: all,
            ..
        } = self;
        let action = *all.action(info.signal);
        if action.flags & RESTORER == 0 {
            // As on Linux, the handler would have nowhere to return to.
            return Err(Errno::FAULT);
        }
        let signals = &mut threads.current().signals;
        let entry = Entry {
            handler: action.handler,
            restorer: action.restorer,
            info,
            trap,
            mask: signals.saved.take().unwrap_or(signals.blocked),
            stack: signals.stack,
            on_alternate: action.flags & ON_STACK != 0,
        };
        frame::enter(system, machine, &entry)?;
        if signals.stack.is_disarmed() {
            signals.stack = AlternateStack::none();
        }
        signals.blocked |= action.mask;
        if action.flags & NO_DEFER == 0 {
            signals.blocked |= bit(info.signal);
        }
        if action.flags & RESET != 0 {
            all.action_mut(info.signal).handler = HANDLER_DEFAULT;
        }
        Ok(())
    }

    /// Which signal a fault is, and what its handler is told (sigaction(2), "the si_code field").
    fn info_of(&mut self, machine: &Machine<'_>, fault: Fault) -> Info {
        let instruction = machine.registers.rip;
        let (signal, code, address) = match fault.vector {
            0 => (SIGFPE, 1, instruction),
            DEBUG => (SIGTRAP, 2, instruction),
            3 => (SIGTRAP, FROM_KERNEL, 0),
            6 => (SIGILL, 2, instruction),
            11 | 12 => (SIGBUS, FROM_KERNEL, 0),
            PAGE_FAULT => {
                let mapping = self.system.find(fault.address);
                let is_there = mapping.is_some_and(|mapping| mapping.start <= fault.address);
                let code = if is_there { NOT_PERMITTED } else { NOT_MAPPED };
                (SIGSEGV, code, fault.address)
            }
            X87 => (SIGFPE, floating_code(machine.x87_exceptions()), instruction),
            17 => (SIGBUS, 1, 0),
            SIMD => (SIGFPE, floating_code(machine.simd_exceptions()), instruction),
            _ => (SIGSEGV, FROM_KERNEL, 0),
        };
        Info {
            signal,
            code,
            words: [address, 0],
        }
    }
}

/// The code of SIGFPE for the exceptions that a floating-point unit tells of.
fn floating_code(exceptions: u16) -> i32 {
    const INVALID: u16 = 1;
    const DENORMAL: u16 = 2;
    const BY_ZERO: u16 = 4;
    const OVERFLOW: u16 = 8;
    const UNDERFLOW: u16 = 16;
    match exceptions {
        bits if bits & INVALID != 0 => 7,
        bits if bits & BY_ZERO != 0 => 3,
        bits if bits & OVERFLOW != 0 => 4,
        bits if bits & (UNDERFLOW | DENORMAL) != 0 => 5,
        _ => 6,
    }
}

/// Has the thread make the call again that it was interrupted in.
fn make_again(machine: &mut Machine<'_>, number: u64) {
    machine.registers.rax = number;
    machine.registers.rip = machine.registers.rip.wrapping_sub(SYSCALL_SIZE);
}
