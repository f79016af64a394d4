//! Users, groups, sessions and children, none of which there is more than one of, and what the program has used.

use crate::identity::{PID, USER};
use crate::process::Answer;
use crate::table::Arguments;
use crate::time::SECOND;
use crate::{Caller, Errno, user};

/// The session is that of whoever started the program, which leads none.
const SESSION: u64 = 1;
/// Ticks in a second, as `AT_CLKTCK` tells programs.
const TICKS: u64 = 100;

/// Accepts an id that the program has already, or -1, which asks for no change. The ids are those of `setuid(2)`, of 32 bits.
fn accept(ids: &[u64]) -> Answer {
    let is_known = |id: &u64| *id as u32 == USER as u32 || *id as u32 == u32::MAX;
    if ids.iter().all(is_known) {
        Ok(0)
    } else {
        Err(Errno::PERM)
    }
}

/// `setuid(user)`, `setgid(group)`.
pub(crate) fn set_one(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    if arguments[0] as u32 == u32::MAX {
        return Err(Errno::INVAL);
    }
    accept(&arguments[..1])
}

/// `setreuid(real, effective)`, `setregid(…)`.
pub(crate) fn set_two(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    accept(&arguments[..2])
}

/// `setresuid(real, effective, saved)`, `setresgid(…)`.
pub(crate) fn set_three(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    accept(&arguments[..3])
}

/// `getresuid(real, effective, saved)`, `getresgid(…)`.
pub(crate) fn get_three(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    for address in &arguments[..3] {
        caller.write(*address, &(USER as u32).to_le_bytes())?;
    }
    Ok(0)
}

/// `getgroups(size, list)`: there are no further ones.
pub(crate) fn getgroups(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    if user::int(arguments[0]) < 0 {
        return Err(Errno::INVAL);
    }
    Ok(0)
}

/// Whether a number of a process is the program's own, or 0, which means the caller.
fn is_own(pid: u64) -> bool {
    pid as u32 == 0 || pid as u32 == PID as u32
}

/// `getpgid(process)`.
pub(crate) fn getpgid(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    if is_own(arguments[0]) {
        Ok(PID)
    } else {
        Err(Errno::SRCH)
    }
}

/// `setpgid(process, group)`: the program leads its group already.
pub(crate) fn setpgid(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    match (is_own(arguments[0]), is_own(arguments[1])) {
        (true, true) => Ok(0),
        (true, false) => Err(Errno::PERM),
        (false, _) => Err(Errno::SRCH),
    }
}

/// `getsid(process)`.
pub(crate) fn getsid(_: &mut impl Caller, arguments: &Arguments) -> Answer {
    if is_own(arguments[0]) {
        Ok(SESSION)
    } else {
        Err(Errno::SRCH)
    }
}

/// `setsid()`: who leads a group can't.
pub(crate) fn setsid(_: &mut impl Caller, _: &Arguments) -> Answer {
    Err(Errno::PERM)
}

/// `wait4(process, status, options, usage)`, `waitid(…)`: there are no children.
pub(crate) fn wait4(_: &mut impl Caller, _: &Arguments) -> Answer {
    Err(Errno::CHILD)
}

const RUSAGE_SELF: i32 = 0;
const RUSAGE_CHILDREN: i32 = -1;
const RUSAGE_THREAD: i32 = 1;
/// Words of `struct rusage`: two times of two words, and fourteen numbers.
const RUSAGE_WORDS: usize = 18;

/// `getrusage(who, usage)`: CPU time of the calling thread, as of `CLOCK_PROCESS_CPUTIME_ID`; all of it counts as the
/// program's own, and nothing else is counted.
pub(crate) fn getrusage(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let time = match user::int(arguments[0]) {
        RUSAGE_SELF | RUSAGE_THREAD => caller.cpu_time()?,
        RUSAGE_CHILDREN => 0,
        _ => return Err(Errno::INVAL),
    };
    let mut words = [0; RUSAGE_WORDS];
    words[..2].copy_from_slice(&[time / SECOND, time % SECOND / 1000]);
    user::write_words(caller, arguments[1], &words)?;
    Ok(0)
}

/// `times(buffer)`: answers the ticks since the kernel's start; CPU time as of `getrusage`.
pub(crate) fn times(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let in_ticks = |nanoseconds: u64| nanoseconds / (SECOND / TICKS);
    if arguments[0] != 0 {
        let time = caller.cpu_time()?;
        user::write_words(caller, arguments[0], &[in_ticks(time), 0, 0, 0])?;
    }
    Ok(in_ticks(caller.now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, FakeSystem, call, process};

    #[test]
    fn ids_are_what_they_are() {
        let mut process = process();
        for (set, get) in [(105, 102), (106, 104)] {
            let own = call(&mut process, get, &[]).unwrap();
            assert_eq!(call(&mut process, set, &[own]), Ok(0));
            assert_eq!(call(&mut process, set, &[0]), Err(1));
            assert_eq!(call(&mut process, set, &[u64::MAX]), Err(22));
        }
        for (number, count) in [(113, 2), (114, 2), (117, 3), (119, 3)] {
            for index in 0..count {
                let mut ids = [u64::from(u32::MAX), USER, USER];
                assert_eq!(call(&mut process, number, &ids), Ok(0));
                ids[index] = 0;
                assert_eq!(call(&mut process, number, &ids), Err(1), "{number} {index}");
            }
        }
        for number in [118, 120] {
            process.system.poke(BASE, &[0xff; 16]);
            assert_eq!(call(&mut process, number, &[BASE, BASE + 4, BASE + 8]), Ok(0));
            assert_eq!(process.system.peek(BASE, 12), [0xe8, 3, 0, 0].repeat(3));
            assert_eq!(call(&mut process, number, &[BASE, BASE, 16]), Err(14));
        }
        assert_eq!(call(&mut process, 115, &[0, 0]), Ok(0));
        assert_eq!(call(&mut process, 115, &[u64::MAX, 0]), Err(22));
    }

    #[test]
    fn there_is_one_process_with_a_group_of_its_own() {
        let mut process = process();
        assert_eq!(call(&mut process, 121, &[0]), Ok(PID));
        assert_eq!(call(&mut process, 121, &[77]), Err(3));
        assert_eq!(call(&mut process, 124, &[PID]), Ok(SESSION));
        assert_eq!(call(&mut process, 124, &[77]), Err(3));
        assert_eq!(call(&mut process, 109, &[0, PID]), Ok(0));
        assert_eq!(call(&mut process, 109, &[0, 77]), Err(1));
        assert_eq!(call(&mut process, 109, &[77, 0]), Err(3));
        assert_eq!(call(&mut process, 112, &[]), Err(1));
        for number in [61, 247] {
            assert_eq!(call(&mut process, number, &[u64::MAX, 0, 0, 0]), Err(10));
        }
    }

    #[test]
    fn used_time_is_told_in_microseconds_and_ticks() {
        let mut process = process();
        let time = |process: &mut crate::Process<FakeSystem>| process.system.cpu_time().unwrap();
        let used = time(&mut process);
        process.system.poke(BASE, &[0xff; 144]);
        assert_eq!(call(&mut process, 98, &[0, BASE]), Ok(0));
        let words = user::read_words::<RUSAGE_WORDS>(&mut process.system, BASE).unwrap();
        assert_eq!(words[..3], [used / SECOND, used % SECOND / 1000, 0]);
        assert_eq!(call(&mut process, 98, &[u64::MAX, BASE]), Ok(0));
        assert_eq!(user::read_words::<2>(&mut process.system, BASE), Ok([0; 2]));
        assert_eq!(call(&mut process, 98, &[2, BASE]), Err(22));
        let now = process.system.now();
        assert_eq!(call(&mut process, 100, &[BASE]), Ok(now / 10_000_000));
        assert_eq!(
            user::read_words::<1>(&mut process.system, BASE),
            Ok([used / 10_000_000])
        );
        assert_eq!(call(&mut process, 100, &[0]), Ok(now / 10_000_000));
        assert_eq!(call(&mut process, 100, &[16]), Err(14));
    }
}
