//! Waiting for signals.

use l4::NEVER;

use super::SET_SIZE;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, time, user};

/// `pause()`.
pub(crate) fn pause<S: System>(process: &mut Process<S>, _: &Arguments) -> Answer {
    process.wait_until(NEVER, Errno::RESTART_UNHANDLED);
    Ok(0)
}

/// `rt_sigsuspend(mask, size)`.
pub(crate) fn rt_sigsuspend<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [mask, size, ..] = *arguments;
    if mask == 0 {
        return Err(Errno::FAULT);
    }
    super::block_meanwhile(process, mask, size)?;
    pause(process, arguments)
}

/// `rt_sigtimedwait(set, information, timeout, size)`.
pub(crate) fn rt_sigtimedwait<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [set, information, timeout, size, ..] = *arguments;
    if size != SET_SIZE {
        return Err(Errno::INVAL);
    }
    let [set] = user::read_words::<1>(&mut process.system, set)?;
    let deadline = if timeout == 0 {
        NEVER
    } else {
        let time = time::read_timespec(&mut process.system, timeout)?;
        process.system.now().saturating_add(time)
    };
    let own = process.threads.current().signals.pending.take(set);
    if let Some(info) = own.or_else(|| process.signals.pending.take(set)) {
        if information != 0 {
            process.system.write(information, &info.bytes())?;
        }
        return Ok(info.signal.into());
    }
    process.threads.current().signals.awaited = set;
    process.wait_until(deadline, Errno::RESTART_UNHANDLED);
    match process.threads.current().wait {
        Some(_) => Ok(0),
        None => Err(Errno::AGAIN),
    }
}
