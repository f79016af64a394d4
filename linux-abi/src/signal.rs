//! Signals: what the program asked for is kept; what would end it ends it.
//!
//! Handlers are not run yet. A signal that the program catches ends it like one that it does not, and the log says
//! so; ignored and blocked signals behave as on Linux.

use alloc::format;

use crate::exit::SIGNALLED;
use crate::identity::PID;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

/// Highest signal number.
const SIGNALS: usize = 64;
const SIGKILL: u64 = 9;
const SIGSTOP: u64 = 19;
/// CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH: they do nothing by default, or would stop a program that nobody
/// could continue.
const HARMLESS: [u64; 8] = [17, 18, SIGSTOP, 20, 21, 22, 23, 28];

const HANDLER_DEFAULT: u64 = 0;
const HANDLER_IGNORE: u64 = 1;

/// Size of a signal set in bytes; the only one that is accepted.
const SET_SIZE: u64 = 8;
const SET_BLOCK: u64 = 0;
const SET_UNBLOCK: u64 = 1;
const SET_MASK: u64 = 2;

const STACK_DISABLED: u64 = 2;
const STACK_MINIMUM: u64 = 2048;

/// What the program wants done with each signal.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Handler, flags, restorer and mask of each signal, as the program gave them.
    actions: [[u64; 4]; SIGNALS],
}

impl Signals {
    pub(crate) const fn new() -> Signals {
        Signals {
            actions: [[0; 4]; SIGNALS],
        }
    }
}

/// Signals of one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadSignals {
    blocked: u64,
    pending: u64,
    /// The alternate stack: start, flags and size.
    stack: [u64; 3],
}

impl ThreadSignals {
    /// Nothing blocked or pending, no alternate stack.
    pub(crate) const fn new() -> ThreadSignals {
        ThreadSignals {
            blocked: 0,
            pending: 0,
            stack: [0, STACK_DISABLED, 0],
        }
    }

    /// What a thread starts with that this one makes: its mask.
    pub(crate) const fn inherited(&self) -> ThreadSignals {
        ThreadSignals {
            blocked: self.blocked,
            ..ThreadSignals::new()
        }
    }
}

/// Bit of a signal in a set.
const fn bit(signal: u64) -> u64 {
    1 << (signal - 1)
}

fn check(signal: u64) -> Result<usize, Errno> {
    match signal {
        1..=64 => Ok(signal as usize - 1),
        _ => Err(Errno::INVAL),
    }
}

/// `rt_sigaction(signal, new, old, set size)`.
pub(crate) fn rt_sigaction<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [signal, new, old, size, ..] = *arguments;
    let index = check(signal)?;
    let can_change = signal != SIGKILL && signal != SIGSTOP;
    if size != SET_SIZE || (new != 0 && !can_change) {
        return Err(Errno::INVAL);
    }
    let action = if new == 0 {
        process.signals.actions[index]
    } else {
        user::read_words::<4>(&mut process.system, new)?
    };
    if old != 0 {
        let words = process.signals.actions[index];
        user::write_words(&mut process.system, old, &words)?;
    }
    process.signals.actions[index] = action;
    Ok(0)
}

/// `rt_sigprocmask(how, new, old, set size)`.
pub(crate) fn rt_sigprocmask<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [how, new, old, size, ..] = *arguments;
    if size != SET_SIZE {
        return Err(Errno::INVAL);
    }
    let before = process.threads.current().signals.blocked;
    if new != 0 {
        let [set] = user::read_words::<1>(&mut process.system, new)?;
        let blocked = match how {
            SET_BLOCK => before | set,
            SET_UNBLOCK => before & !set,
            SET_MASK => set,
            _ => return Err(Errno::INVAL),
        };
        process.threads.current().signals.blocked = blocked & !(bit(SIGKILL) | bit(SIGSTOP));
    }
    if old != 0 {
        user::write_words(&mut process.system, old, &[before])?;
    }
    let tid = process.threads.current().tid.into();
    deliver_pending(process, tid);
    Ok(0)
}

/// `sigaltstack(new, old)`.
pub(crate) fn sigaltstack<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [new, old, ..] = *arguments;
    let mut stack = process.threads.current().signals.stack;
    if new != 0 {
        stack = user::read_words::<3>(&mut process.system, new)?;
        stack[1] &= u64::from(u32::MAX);
        match stack[1] {
            0 if stack[2] < STACK_MINIMUM => return Err(Errno::NOMEM),
            0 => {}
            STACK_DISABLED => stack = [0, STACK_DISABLED, 0],
            _ => return Err(Errno::INVAL),
        }
    }
    if old != 0 {
        let words = process.threads.current().signals.stack;
        user::write_words(&mut process.system, old, &words)?;
    }
    process.threads.current().signals.stack = stack;
    Ok(0)
}

/// `kill(pid, signal)`: there is no other program to send a signal to.
pub(crate) fn kill<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [pid, signal, ..] = *arguments;
    let own_group = [0, PID, (PID as i64).wrapping_neg() as u64];
    if own_group.contains(&pid) || user::int(pid) == -(PID as i32) {
        raise(process, None, signal)
    } else {
        Err(Errno::SRCH)
    }
}

/// `tkill(tid, signal)`.
pub(crate) fn tkill<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [tid, signal, ..] = *arguments;
    raise(process, Some(tid), signal)
}

/// `tgkill(pid, tid, signal)`.
pub(crate) fn tgkill<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [pid, tid, signal, ..] = *arguments;
    if pid != PID {
        return Err(Errno::SRCH);
    }
    raise(process, Some(tid), signal)
}

/// Makes a signal pending for one thread, or for the calling one, and acts on it unless that thread blocks it.
pub(crate) fn raise<S: System>(process: &mut Process<S>, tid: Option<u64>, signal: u64) -> Answer {
    let thread = match tid {
        Some(tid) => process.threads.by_tid(tid).ok_or(Errno::SRCH)?,
        None => process.threads.current(),
    };
    if signal == 0 {
        return Ok(0);
    }
    check(signal)?;
    thread.signals.pending |= bit(signal);
    let tid = thread.tid.into();
    deliver_pending(process, tid);
    Ok(0)
}

/// Acts on every pending signal of a thread that it does not block.
fn deliver_pending<S: System>(process: &mut Process<S>, tid: u64) {
    let Some(thread) = process.threads.by_tid(tid) else {
        return;
    };
    let signals = &mut thread.signals;
    let ready = signals.pending & !signals.blocked;
    signals.pending &= signals.blocked;
    for signal in (1..=SIGNALS as u64).filter(|signal| ready & bit(*signal) != 0) {
        let handler = process.signals.actions[signal as usize - 1][0];
        let ends = match handler {
            HANDLER_IGNORE => false,
            HANDLER_DEFAULT => !HARMLESS.contains(&signal),
            _ => {
                let text = format!("linux-abi: signal {signal} has a handler, which can't run yet: exit\n");
                process.system.log(text.as_bytes());
                true
            }
        };
        if ends {
            process.exit = Some(SIGNALLED + signal as i32);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::{BASE, call, outcome, process};

    const SIGABRT: u64 = 6;
    const SIGTERM: u64 = 15;

    #[test]
    fn actions_are_kept() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[1, 2, 3, 4]).unwrap();
        assert_eq!(call(&mut process, 13, &[11, BASE, BASE + 64, 8]), Ok(0));
        assert_eq!(call(&mut process, 13, &[11, 0, BASE + 32, 8]), Ok(0));
        assert_eq!(user::read_words(&mut process.system, BASE + 32), Ok([1, 2, 3, 4]));
        assert_eq!(user::read_words(&mut process.system, BASE + 64), Ok([0; 4]));
        for bad in [[0, 0, 0, 8], [65, 0, 0, 8], [9, BASE, 0, 8], [11, 0, 0, 4]] {
            assert_eq!(call(&mut process, 13, &bad), Err(22), "{bad:?}");
        }
    }

    #[test]
    fn abort_ends_the_program_with_134() {
        let mut process = process();
        assert_eq!(
            process.system_call(0, 234, &[PID, PID, SIGABRT, 0, 0, 0]),
            Outcome::Exit(134)
        );
    }

    #[test]
    fn ignored_and_harmless_signals_do_nothing() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[HANDLER_IGNORE, 0, 0, 0]).unwrap();
        assert_eq!(call(&mut process, 13, &[SIGTERM, BASE, 0, 8]), Ok(0));
        for signal in [0, SIGTERM, 17, 28] {
            assert_eq!(call(&mut process, 62, &[PID, signal]), Ok(0));
        }
        assert_eq!(call(&mut process, 62, &[99, SIGTERM]), Err(3));
        assert_eq!(call(&mut process, 62, &[PID, 65]), Err(22));
        assert_eq!(process.exit, None);
    }

    #[test]
    fn blocked_signals_wait_until_they_are_unblocked() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[bit(SIGTERM)]).unwrap();
        assert_eq!(call(&mut process, 14, &[SET_BLOCK, BASE, 0, 8]), Ok(0));
        assert_eq!(call(&mut process, 62, &[PID, SIGTERM]), Ok(0));
        assert_eq!(
            process.system_call(0, 14, &[SET_UNBLOCK, BASE, 0, 8, 0, 0]),
            Outcome::Exit(143)
        );
    }

    #[test]
    fn signals_of_other_threads_end_the_program_unless_they_block_them() {
        let mut process = process();
        let thread = [0x5_0f00, BASE + 0x800, BASE, BASE, BASE];
        assert_eq!(call(&mut process, 56, &thread), Ok(3));
        process.system.thread = 1;
        user::write_words(&mut process.system, BASE, &[bit(SIGTERM)]).unwrap();
        assert_eq!(call(&mut process, 14, &[SET_BLOCK, BASE, 0, 8]), Ok(0));
        process.system.thread = 0;
        assert_eq!(call(&mut process, 234, &[PID, 3, SIGTERM]), Ok(0));
        assert_eq!(
            call(&mut process, 200, &[4, SIGTERM]),
            Err(3),
            "there is no such thread"
        );
        process.system.thread = 1;
        let unblock = [SET_UNBLOCK, BASE, 0, 8];
        assert_eq!(outcome(&mut process, 14, &unblock), Outcome::Exit(143));
    }

    #[test]
    fn a_signal_for_another_thread_acts_at_once() {
        let mut process = process();
        let thread = [0x5_0f00, BASE + 0x800, BASE, BASE, BASE];
        assert_eq!(call(&mut process, 56, &thread), Ok(3));
        assert_eq!(outcome(&mut process, 234, &[PID, 3, SIGABRT]), Outcome::Exit(134));
    }

    #[test]
    fn alternate_stack_is_kept() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[0x5000, 0, 8192]).unwrap();
        assert_eq!(call(&mut process, 131, &[BASE, BASE + 64]), Ok(0));
        assert_eq!(user::read_words(&mut process.system, BASE + 64), Ok([0, 2, 0]));
        assert_eq!(call(&mut process, 131, &[0, BASE + 64]), Ok(0));
        assert_eq!(
            user::read_words(&mut process.system, BASE + 64),
            Ok([0x5000, 0, 8192])
        );
        user::write_words(&mut process.system, BASE, &[0x5000, 0, 100]).unwrap();
        assert_eq!(call(&mut process, 131, &[BASE, 0]), Err(12));
    }
}
