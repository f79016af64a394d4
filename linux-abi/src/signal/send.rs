//! Sending signals.

use super::info::Info;
use super::{SIGKILL, Waiting, bit, check};
use crate::exit::SIGNALLED;
use crate::identity::PID;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

/// `kill(pid, signal)`: there is no other program to send a signal to.
pub(crate) fn kill<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [pid, signal, ..] = *arguments;
    check_pid(user::int(pid))?;
    if signal == 0 {
        return Ok(0);
    }
    let info = Info::by_process(check(signal)?);
    process.send_to_any(info).and(Ok(0))
}

/// Own process, or own group.
fn check_pid(pid: i32) -> Result<(), Errno> {
    const OWN: i32 = PID as i32;
    match pid {
        0 | OWN => Ok(()),
        _ if pid == -OWN => Ok(()),
        _ => Err(Errno::SRCH),
    }
}

/// `tkill(tid, signal)`.
pub(crate) fn tkill<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [tid, signal, ..] = *arguments;
    tgkill(process, &[PID, tid, signal, 0, 0, 0])
}

/// `tgkill(pid, tid, signal)`.
pub(crate) fn tgkill<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [pid, tid, signal, ..] = *arguments;
    let number = process.threads.number_of(tid).ok_or(Errno::SRCH)?;
    if pid != PID {
        return Err(Errno::SRCH);
    }
    if signal == 0 {
        return Ok(0);
    }
    let info = Info::by_thread(check(signal)?);
    process.send_to(number, info, false).and(Ok(0))
}

/// `rt_sigqueueinfo(pid, signal, information)`.
pub(crate) fn rt_sigqueueinfo<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [pid, signal, address, ..] = *arguments;
    let info = Info::read(&mut process.system, address, check(signal)?)?;
    check_pid(user::int(pid))?;
    process.send_to_any(info).and(Ok(0))
}

/// `rt_tgsigqueueinfo(pid, tid, signal, information)`.
pub(crate) fn rt_tgsigqueueinfo<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [pid, tid, signal, address, ..] = *arguments;
    let info = Info::read(&mut process.system, address, check(signal)?)?;
    let number = process.threads.number_of(tid).ok_or(Errno::SRCH)?;
    if pid != PID {
        return Err(Errno::SRCH);
    }
    process.send_to(number, info, false).and(Ok(0))
}

/// Sends a signal to the calling thread.
pub(crate) fn raise<S: System>(process: &mut Process<S>, signal: u8) -> Result<(), Errno> {
    let number = process.system.thread();
    process.send_to(number, Info::by_process(signal), false)
}

impl<S: System> Process<S> {
    /// Sends a signal to a thread that waits for it, or does not block it; if there is none, it is pending for the program.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if too many signals wait.
    pub(crate) fn send_to_any(&mut self, info: Info) -> Result<(), Errno> {
        let mask = bit(info.signal);
        let caller = self.system.thread();
        let awaits = self
            .threads
            .numbered()
            .find(|(_, thread)| thread.signals.awaited & mask != 0);
        let takes = || {
            let takers = self
                .threads
                .numbered()
                .filter(|(_, thread)| thread.signals.blocked & mask == 0);
            // Rather the caller itself, or the first one.
            takers.min_by_key(|(number, _)| (*number != caller, *number))
        };
        match awaits.or_else(takes).map(|(number, _)| number) {
            Some(number) => self.send_to(number, info, true),
            None if self.signals.action(info.signal).handler == super::HANDLER_IGNORE => Ok(()),
            None => self.signals.pending.add(Waiting { info, for_all: true }),
        }
    }

    /// Sends a signal to the thread with this number; `for_all` says that any other would do.
    ///
    /// # Errors
    /// As above.
    fn send_to(&mut self, number: u32, info: Info, for_all: bool) -> Result<(), Errno> {
        let mask = bit(info.signal);
        let action = *self.signals.action(info.signal);
        let Some(thread) = self.threads.by_number(number) else {
            return Err(Errno::SRCH);
        };
        let signals = &mut thread.signals;
        let is_blocked = signals.blocked & mask != 0;
        if !is_blocked && action.ignores(info.signal) {
            return Ok(());
        }
        if !is_blocked && action.handler == super::HANDLER_DEFAULT || info.signal == SIGKILL {
            self.exit = Some(SIGNALLED + i32::from(info.signal));
            return Ok(());
        }
        signals.pending.add(Waiting { info, for_all })?;
        if !is_blocked {
            self.system.interrupt(number);
        } else if signals.awaited & mask != 0 {
            self.system.unpark(number);
        }
        Ok(())
    }

    /// Finds other threads for the signals for any thread that waited for one that ends.
    pub(crate) fn pass_on_signals(&mut self, left: super::ThreadSignals) {
        let mut pending = left.pending;
        for info in pending.take_for_all(u64::MAX) {
            // They had room in a queue, and find it in another one.
            let _ = self.send_to_any(info);
        }
    }
}
