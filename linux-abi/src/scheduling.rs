//! Scheduling, as far as programs ask for it: every thread has the one ordinary policy (sched(7)).

use crate::identity::PID;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Caller, Errno, Process, System, user};

/// `SCHED_OTHER`, and two variants of it that ask for less.
const OTHER: u64 = 0;
const BATCH: u64 = 3;
const IDLE: u64 = 5;
/// Policies for real time.
const FIFO: u64 = 1;
const ROUND_ROBIN: u64 = 2;
/// Length of a slice in nanoseconds, as the kernel gives it.
const SLICE_NS: u64 = 10_000_000;
/// What `getpriority` answers for a niceness of 0.
const NEUTRAL: u64 = 20;

/// `sched_setaffinity(tid, size, mask)`: threads stay where they are, so the mask must leave them a CPU.
pub(crate) fn sched_setaffinity(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [_, size, address, ..] = *arguments;
    let mut mask = [0; 8];
    let given = mask.len().min(size as usize);
    caller.read(address, &mut mask[..given])?;
    if u64::from_le_bytes(mask) & caller.cpus() == 0 {
        return Err(Errno::INVAL);
    }
    Ok(0)
}

/// `sched_getscheduler(tid)`.
pub(crate) fn sched_getscheduler(_: &mut impl Caller, _: &Arguments) -> Answer {
    Ok(OTHER)
}

/// `sched_setscheduler(tid, policy, parameters)`: ordinary policies are accepted and all the same.
pub(crate) fn sched_setscheduler(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    match arguments[1] {
        OTHER | BATCH | IDLE => sched_setparam(caller, &[0, arguments[2], 0, 0, 0, 0]),
        FIFO | ROUND_ROBIN => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}

/// `sched_getparam(tid, parameters)`: the priority is 0.
pub(crate) fn sched_getparam(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    caller.write(arguments[1], &[0; 4])?;
    Ok(0)
}

/// `sched_setparam(tid, parameters)`: only the priority 0 is one.
pub(crate) fn sched_setparam(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let mut priority = [0; 4];
    caller.read(arguments[1], &mut priority)?;
    if priority == [0; 4] {
        Ok(0)
    } else {
        Err(Errno::INVAL)
    }
}

/// `sched_get_priority_max(policy)`.
pub(crate) fn sched_get_priority_max(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    match arguments[0] {
        OTHER | BATCH | IDLE => Ok(0),
        FIFO | ROUND_ROBIN => Ok(99),
        _ => Err(Errno::INVAL),
    }
}

/// `sched_get_priority_min(policy)`.
pub(crate) fn sched_get_priority_min(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    sched_get_priority_max(caller, arguments).map(|highest| highest.min(1))
}

/// `sched_rr_get_interval(tid, time)`.
pub(crate) fn sched_rr_get_interval(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    user::write_words(caller, arguments[1], &[0, SLICE_NS])?;
    Ok(0)
}

/// `getpriority(which, who)`.
pub(crate) fn getpriority(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    match arguments[0] {
        0..=2 => Ok(NEUTRAL),
        _ => Err(Errno::INVAL),
    }
}

/// `setpriority(which, who, niceness)`: there is only one.
pub(crate) fn setpriority(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    match (arguments[0], user::int(arguments[2])) {
        (0..=2, 0) => Ok(0),
        (0..=2, _) => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}

/// `membarrier(command, …)`: the query says that there is no command.
pub(crate) fn membarrier(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    match arguments[0] {
        0 => Ok(0),
        _ => Err(Errno::INVAL),
    }
}

/// `get_robust_list(tid, head, size)`.
pub(crate) fn get_robust_list<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [tid, head, size, ..] = *arguments;
    let robust = match tid {
        0 => process.threads.current().robust(),
        _ => {
            let number = process.threads.number_of(tid).ok_or(Errno::SRCH)?;
            process
                .threads
                .by_number(number)
                .map_or(0, |thread| thread.robust())
        }
    };
    user::write_words(&mut process.system, head, &[robust])?;
    user::write_words(&mut process.system, size, &[crate::thread::ROBUST_HEAD_SIZE])?;
    Ok(0)
}

/// `setrlimit(resource, limit)`: as `prlimit64`.
pub(crate) fn setrlimit<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    crate::identity::prlimit64(process, &[PID, arguments[0], arguments[1], 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    #[test]
    fn there_is_one_policy() {
        let mut process = process();
        assert_eq!(call(&mut process, 145, &[0]), Ok(OTHER));
        user::write_words(&mut process.system, BASE, &[0]).unwrap();
        assert_eq!(call(&mut process, 144, &[0, BATCH, BASE]), Ok(0));
        assert_eq!(call(&mut process, 144, &[0, FIFO, BASE]), Err(1));
        assert_eq!(call(&mut process, 144, &[0, 99, BASE]), Err(22));
        assert_eq!(call(&mut process, 143, &[0, BASE + 8]), Ok(0));
        user::write_words(&mut process.system, BASE, &[1]).unwrap();
        assert_eq!(call(&mut process, 142, &[0, BASE]), Err(22));
        assert_eq!(
            (call(&mut process, 146, &[FIFO]), call(&mut process, 147, &[FIFO])),
            (Ok(99), Ok(1))
        );
        assert_eq!(
            (
                call(&mut process, 146, &[OTHER]),
                call(&mut process, 147, &[OTHER])
            ),
            (Ok(0), Ok(0))
        );
        assert_eq!(call(&mut process, 148, &[0, BASE]), Ok(0));
        assert_eq!(user::read_words(&mut process.system, BASE), Ok([0, SLICE_NS]));
        assert_eq!(
            (call(&mut process, 140, &[0, 0]), call(&mut process, 140, &[3, 0])),
            (Ok(20), Err(22))
        );
        assert_eq!(
            (
                call(&mut process, 141, &[0, 0, 0]),
                call(&mut process, 141, &[0, 0, 5])
            ),
            (Ok(0), Err(1))
        );
        assert_eq!(
            (call(&mut process, 324, &[0]), call(&mut process, 324, &[8])),
            (Ok(0), Err(22))
        );
    }

    #[test]
    fn threads_stay_on_their_cpus() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[0b111, 0b010]).unwrap();
        assert_eq!(call(&mut process, 203, &[0, 16, BASE]), Ok(0));
        assert_eq!(call(&mut process, 203, &[0, 8, BASE + 8]), Err(22));
        assert_eq!(call(&mut process, 203, &[0, 8, 16]), Err(14));
    }

    #[test]
    fn lists_of_robust_mutexes_and_limits_are_told() {
        let mut process = process();
        assert_eq!(call(&mut process, 273, &[BASE + 64, 24]), Ok(0));
        for tid in [0, PID] {
            assert_eq!(call(&mut process, 274, &[tid, BASE, BASE + 8]), Ok(0));
            assert_eq!(user::read_words(&mut process.system, BASE), Ok([BASE + 64, 24]));
        }
        assert_eq!(call(&mut process, 274, &[77, BASE, BASE + 8]), Err(3));
        assert_eq!(call(&mut process, 97, &[3, BASE]), Ok(0));
        assert_eq!(call(&mut process, 160, &[3, BASE]), Ok(0));
        assert_eq!(call(&mut process, 160, &[7, BASE]), Err(1));
    }
}
