//! Timers that are waited for as files (timerfd_create(2)).

use l4::NEVER;

use super::descriptor::{CLOEXEC, Kind};
use crate::process::Answer;
use crate::table::Arguments;
use crate::time::{self, SECOND};
use crate::{Errno, Process, System, user};

/// Clocks that timers follow: the wall clock, and those that are the kernel's.
const REALTIME: u64 = 0;
const MONOTONIC: u64 = 1;
const BOOT_TIME: u64 = 7;
/// Flag of an open file: do not wait.
const NONBLOCK: u64 = 0o4000;
/// Flags of `timerfd_settime`: the time is absolute; the wall clock is never set, so this one changes nothing.
const ABSOLUTE: u64 = 1;
const CANCEL_ON_SET: u64 = 2;

/// A timer. Times are those of the kernel clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timer {
    follows_wall_clock: bool,
    /// When it expires next, or expired first since it was read; 0 if it is not set.
    expires: u64,
    /// Time between further expirations; 0 for none.
    interval: u64,
    /// Expirations that were read, and settings.
    changes: u64,
}

impl Timer {
    /// Expirations by `now` that nobody has read.
    fn expirations(&self, now: u64) -> u64 {
        match now.checked_sub(self.expires) {
            _ if self.expires == 0 => 0,
            None => 0,
            Some(since) => since.checked_div(self.interval).map_or(1, |further| further + 1),
        }
    }

    /// Whether it can be read, and how often it changed.
    pub(super) fn state(&self, now: u64) -> (bool, u64) {
        let expirations = self.expirations(now);
        (expirations > 0, self.changes.wrapping_add(expirations))
    }

    /// When it expires next, if it does.
    pub(super) fn next(&self, now: u64) -> Option<u64> {
        let further = self.expirations(now).saturating_mul(self.interval);
        let next = self.expires.saturating_add(further);
        (self.expires != 0 && next > now).then_some(next)
    }

    /// Reads it.
    fn take(&mut self, now: u64) -> u64 {
        let expirations = self.expirations(now);
        self.changes = self.changes.wrapping_add(expirations);
        self.expires = match (expirations, self.next(now)) {
            (0, _) => self.expires,
            (_, next) => next.unwrap_or(0),
        };
        expirations
    }

    /// Time between expirations, and to the next one, as `struct itimerspec`.
    fn words(&self, now: u64) -> [u64; 4] {
        let left = self.next(now).map_or(0, |next| next - now);
        let interval = self.interval;
        [interval / SECOND, interval % SECOND, left / SECOND, left % SECOND]
    }
}

/// `timerfd_create(clock, flags)`.
pub(crate) fn timerfd_create<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [clock, flags, ..] = *arguments;
    if !matches!(clock, REALTIME | MONOTONIC | BOOT_TIME) || flags & !(CLOEXEC | NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    let timer = Timer {
        follows_wall_clock: clock == REALTIME,
        ..Timer::default()
    };
    let status = flags & NONBLOCK | 2;
    process.files.has_timers = true;
    let fd = process
        .files
        .insert(Kind::Timer(timer), status, flags & CLOEXEC != 0, 0)?;
    Ok(fd as u64)
}

fn timer<S: System>(process: &mut Process<S>, fd: u64) -> Result<&mut Timer, Errno> {
    match &mut process.files.get(user::int(fd))?.kind {
        Kind::Timer(timer) => Ok(timer),
        _ => Err(Errno::INVAL),
    }
}

/// `timerfd_settime(fd, flags, new, old)`.
pub(crate) fn timerfd_settime<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, flags, new, old, ..] = *arguments;
    if flags & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::INVAL);
    }
    let interval = time::read_timespec(&mut process.system, new)?;
    let value = time::read_timespec(&mut process.system, new.wrapping_add(16))?;
    let now = process.system.now();
    let before = timer(process, fd)?.clone();
    let expires = match value {
        0 => 0,
        _ if flags & ABSOLUTE == 0 => now.saturating_add(value),
        // A time that has passed is one all the same; 0 would be none.
        _ => time::absolute(&mut process.system, before.follows_wall_clock, value).max(1),
    };
    if old != 0 {
        user::write_words(&mut process.system, old, &before.words(now))?;
    }
    let set = timer(process, fd)?;
    set.changes = before.state(now).1.wrapping_add(1);
    (set.expires, set.interval) = (expires, interval);
    process.files_changed();
    Ok(0)
}

/// `timerfd_gettime(fd, time)`.
pub(crate) fn timerfd_gettime<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, ..] = *arguments;
    let now = process.system.now();
    let words = timer(process, fd)?.words(now);
    user::write_words(&mut process.system, address, &words)?;
    Ok(0)
}

/// Reads how often a timer has expired since the last time.
pub(super) fn read<S: System>(process: &mut Process<S>, fd: i32, address: u64, size: u64) -> Answer {
    if size < 8 {
        return Err(Errno::INVAL);
    }
    let now = process.system.now();
    let expirations = timer(process, fd as u64)?.expirations(now);
    if expirations == 0 {
        return super::channel::wait(process, fd);
    }
    user::write_words(&mut process.system, address, &[expirations])?;
    timer(process, fd as u64)?.take(now);
    Ok(8)
}

impl<S: System> Process<S> {
    /// When the next of all timers expires.
    pub(super) fn next_timer(&mut self) -> u64 {
        if !self.files.has_timers {
            return NEVER;
        }
        let now = self.system.now();
        let timers = self.files.iter_mut().filter_map(|file| match &file.kind {
            Kind::Timer(timer) => timer.next(now),
            _ => None,
        });
        timers.min().unwrap_or(NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::{BASE, EPOCH, FakeSystem, call, outcome, process};

    fn set(process: &mut Process<FakeSystem>, flags: u64, interval: u64, value: u64) {
        let words = [
            interval / SECOND,
            interval % SECOND,
            value / SECOND,
            value % SECOND,
        ];
        user::write_words(&mut process.system, BASE, &words).unwrap();
        assert_eq!(call(process, 286, &[3, flags, BASE, BASE + 32]), Ok(0));
    }

    fn read_timer(process: &mut Process<FakeSystem>) -> Result<u64, u64> {
        call(process, 0, &[3, BASE + 64, 8])?;
        Ok(user::read_words::<1>(&mut process.system, BASE + 64).unwrap()[0])
    }

    #[test]
    fn a_timer_is_read_when_it_expires() {
        let mut process = process();
        assert_eq!(call(&mut process, 283, &[MONOTONIC, 0]), Ok(3));
        assert_eq!(
            outcome(&mut process, 0, &[3, BASE, 8]),
            Outcome::Wait(NEVER),
            "not set"
        );
        set(&mut process, 0, 0, 500);
        assert_eq!(process.system.unparked, [0], "who waits looks again");
        assert_eq!(outcome(&mut process, 0, &[3, BASE, 8]), Outcome::Wait(500));
        assert_eq!(read_timer(&mut process), Ok(1));
        assert_eq!(process.system.time, 500);
        assert_eq!(
            outcome(&mut process, 0, &[3, BASE, 8]),
            Outcome::Wait(NEVER),
            "once"
        );
    }

    #[test]
    fn intervals_add_up_and_settings_are_told() {
        let mut process = process();
        assert_eq!(call(&mut process, 283, &[REALTIME, NONBLOCK]), Ok(3));
        assert_eq!(read_timer(&mut process), Err(11));
        set(&mut process, ABSOLUTE, 100, EPOCH + 1000);
        process.system.time = 1250;
        assert_eq!(read_timer(&mut process), Ok(3));
        assert_eq!(read_timer(&mut process), Err(11));
        assert_eq!(call(&mut process, 287, &[3, BASE]), Ok(0));
        assert_eq!(user::read_words(&mut process.system, BASE), Ok([0, 100, 0, 50]));
        set(&mut process, 0, 0, 0);
        assert_eq!(
            user::read_words(&mut process.system, BASE + 32),
            Ok([0, 100, 0, 50])
        );
        process.system.time = 5000;
        assert_eq!(read_timer(&mut process), Err(11), "not set any more");
        set(&mut process, ABSOLUTE, 0, 1);
        assert_eq!(read_timer(&mut process), Ok(1), "long ago");
    }

    #[test]
    fn polls_wait_for_timers() {
        let mut process = process();
        assert_eq!(call(&mut process, 283, &[BOOT_TIME, CLOEXEC]), Ok(3));
        set(&mut process, 0, 0, 2_000_000);
        user::write_words(&mut process.system, BASE, &[3 | 1 << 32]).unwrap();
        assert_eq!(call(&mut process, 7, &[BASE, 1, 1]), Ok(0));
        assert_eq!(process.system.time, 1_000_000);
        assert_eq!(call(&mut process, 7, &[BASE, 1, 5]), Ok(1));
        assert_eq!(process.system.time, 2_000_000);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut process = process();
        assert_eq!(call(&mut process, 283, &[2, 0]), Err(22));
        assert_eq!(call(&mut process, 283, &[MONOTONIC, 1]), Err(22));
        assert_eq!(call(&mut process, 283, &[MONOTONIC, 0]), Ok(3));
        user::write_words(&mut process.system, BASE, &[0, SECOND, 0, 0]).unwrap();
        assert_eq!(call(&mut process, 286, &[3, 0, BASE, 0]), Err(22));
        assert_eq!(call(&mut process, 286, &[3, 4, BASE, 0]), Err(22));
        assert_eq!(call(&mut process, 287, &[1, BASE]), Err(22));
        assert_eq!(call(&mut process, 0, &[3, BASE, 4]), Err(22));
        assert_eq!(call(&mut process, 17, &[3, BASE, 8, 0]), Err(29));
    }
}
