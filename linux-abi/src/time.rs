//! Clocks and sleeping.

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Caller, Errno, user};

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

const REALTIME: u64 = 0;
const MONOTONIC: u64 = 1;
const PROCESS_CPU_TIME: u64 = 2;
const THREAD_CPU_TIME: u64 = 3;
const MONOTONIC_RAW: u64 = 4;
const REALTIME_COARSE: u64 = 5;
const MONOTONIC_COARSE: u64 = 6;
const BOOT_TIME: u64 = 7;

const ABSOLUTE: u64 = 1;

/// A clock's time in nanoseconds.
fn clock(caller: &mut impl Caller, id: u64) -> Result<u64, Errno> {
    match id {
        REALTIME | REALTIME_COARSE => Ok(caller.epoch() + caller.now()),
        MONOTONIC | MONOTONIC_RAW | MONOTONIC_COARSE | BOOT_TIME => Ok(caller.now()),
        PROCESS_CPU_TIME | THREAD_CPU_TIME => Ok(caller.cpu_time()?),
        _ => Err(Errno::INVAL),
    }
}

/// Reads a `struct timespec` as nanoseconds; times beyond what 64 bits hold become the greatest.
pub(crate) fn read_timespec(system: &mut impl Caller, address: u64) -> Result<u64, Errno> {
    let [seconds, nanoseconds] = user::read_words::<2>(system, address)?;
    if (seconds as i64) < 0 || nanoseconds >= SECOND {
        return Err(Errno::INVAL);
    }
    Ok(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
}

/// `clock_gettime(clock, time)`.
pub(crate) fn clock_gettime(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [id, address, ..] = *arguments;
    let time = clock(caller, id)?;
    caller.write_pair(address, [time / SECOND, time % SECOND])?;
    Ok(0)
}

/// `clock_getres(clock, resolution)`: one nanosecond.
pub(crate) fn clock_getres(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [id, address, ..] = *arguments;
    clock(caller, id)?;
    if address != 0 {
        user::write_words(caller, address, &[0, 1])?;
    }
    Ok(0)
}

/// `gettimeofday(time, zone)`.
pub(crate) fn gettimeofday(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [address, zone, ..] = *arguments;
    let time = clock(caller, REALTIME)?;
    if address != 0 {
        let words = [time / SECOND, time % SECOND / 1000];
        user::write_words(caller, address, &words)?;
    }
    if zone != 0 {
        user::write_words(caller, zone, &[0])?;
    }
    Ok(0)
}

/// `time(address)`.
pub(crate) fn time(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let seconds = clock(caller, REALTIME)? / SECOND;
    if arguments[0] != 0 {
        user::write_words(caller, arguments[0], &[seconds])?;
    }
    Ok(seconds)
}

/// `nanosleep(time, rest)`.
pub(crate) fn nanosleep(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    clock_nanosleep(caller, &[MONOTONIC, 0, arguments[0], arguments[1], 0, 0])
}

/// `clock_nanosleep(clock, flags, time, rest)`.
pub(crate) fn clock_nanosleep(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [id, flags, address, ..] = *arguments;
    if !matches!(id, REALTIME | MONOTONIC | BOOT_TIME) || flags & !ABSOLUTE != 0 {
        return Err(Errno::INVAL);
    }
    let time = read_timespec(caller, address)?;
    let deadline = if flags & ABSOLUTE == 0 {
        caller.now().saturating_add(time)
    } else {
        absolute(caller, id == REALTIME, time)
    };
    loop {
        let now = caller.now();
        if now >= deadline {
            return Ok(0);
        }
        if caller.is_interrupted() {
            let rest = deadline - now;
            if flags & ABSOLUTE == 0 && arguments[3] != 0 {
                user::write_words(caller, arguments[3], &[rest / SECOND, rest % SECOND])?;
            }
            return Err(Errno::RESTART_UNHANDLED);
        }
        caller.park(deadline);
    }
}

/// The kernel clock's value at an absolute time of the program's.
pub(crate) fn absolute(caller: &mut impl Caller, realtime: bool, time: u64) -> u64 {
    if realtime {
        time.saturating_sub(caller.epoch())
    } else {
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, EPOCH, call, process};

    #[test]
    fn clocks_tell_the_kernel_clock() {
        let mut process = process();
        process.system.time = 3 * SECOND + 7;
        for (id, time) in [(MONOTONIC, 3 * SECOND + 7), (REALTIME, EPOCH + 3 * SECOND + 7)] {
            assert_eq!(call(&mut process, 228, &[id, BASE]), Ok(0));
            assert_eq!(
                user::read_words(&mut process.system, BASE),
                Ok([time / SECOND, time % SECOND])
            );
        }
        assert_eq!(call(&mut process, 228, &[99, BASE]), Err(22));
        assert_eq!(call(&mut process, 228, &[1, 8]), Err(14));
        assert_eq!(call(&mut process, 201, &[0]), Ok(EPOCH / SECOND + 3));
    }

    #[test]
    fn sleeps_end_at_their_deadline() {
        let mut process = process();
        process.system.time = SECOND;
        user::write_words(&mut process.system, BASE, &[2, 5]).unwrap();
        assert_eq!(call(&mut process, 35, &[BASE, 0]), Ok(0));
        assert_eq!(process.system.time, 3 * SECOND + 5);
        assert_eq!(call(&mut process, 230, &[MONOTONIC, ABSOLUTE, BASE]), Ok(0));
        assert_eq!(
            process.system.time,
            3 * SECOND + 5,
            "a deadline in the past does not wait"
        );
    }

    #[test]
    fn times_that_are_none_are_refused() {
        let mut process = process();
        for words in [[u64::MAX, 0], [0, SECOND], [0, u64::MAX]] {
            user::write_words(&mut process.system, BASE, &words).unwrap();
            assert_eq!(call(&mut process, 35, &[BASE, 0]), Err(22), "{words:?}");
        }
        user::write_words(&mut process.system, BASE, &[i64::MAX as u64, 0]).unwrap();
        assert_eq!(read_timespec(&mut process.system, BASE), Ok(u64::MAX));
    }
}
