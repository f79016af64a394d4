//! Who the program is and what it may use.

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Caller, Errno, Process, System, memory, user};

/// Process id, thread id of the first thread, process group.
pub(crate) const PID: u64 = FIRST_TID;
/// Id of a program's first thread.
pub const FIRST_TID: u64 = 2;
const PARENT_PID: u64 = 1;
/// User and group: an ordinary one, because the layer gives no privileges.
pub(crate) const USER: u64 = 1000;

/// Length of each text of `struct utsname`.
const UTSNAME_FIELD: usize = 65;

/// What `uname` answers. glibc refuses to run on a kernel older than it was built for.
const UTSNAME: [&str; 6] = ["Linux", "aerie", "6.1.0", "Aerie linux-abi", "x86_64", "(none)"];

/// `getpid()`, `getpgrp()`.
pub(crate) fn getpid(_: &mut impl Caller, _: &Arguments) -> Answer {
    Ok(PID)
}

/// `gettid()`.
pub(crate) fn gettid(caller: &mut impl Caller, _: &Arguments) -> Answer {
    Ok(u64::from(caller.tid()))
}

/// `getppid()`.
pub(crate) fn getppid(_: &mut impl Caller, _: &Arguments) -> Answer {
    Ok(PARENT_PID)
}

/// `getuid()`, `geteuid()`, `getgid()`, `getegid()`.
pub(crate) fn getuid(_: &mut impl Caller, _: &Arguments) -> Answer {
    Ok(USER)
}

/// `uname(buffer)`.
pub(crate) fn uname<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let mut bytes = [0; UTSNAME_FIELD * UTSNAME.len()];
    for (field, text) in bytes.chunks_exact_mut(UTSNAME_FIELD).zip(UTSNAME) {
        field[..text.len()].copy_from_slice(text.as_bytes());
    }
    process.system.write(arguments[0], &bytes)?;
    Ok(0)
}

const RLIMIT_STACK: u64 = 3;
const RLIMIT_CORE: u64 = 4;
const RLIMIT_NOFILE: u64 = 7;
const RLIMIT_COUNT: u64 = 16;
const UNLIMITED: u64 = u64::MAX;

fn limit(resource: u64) -> Result<[u64; 2], Errno> {
    match resource {
        RLIMIT_STACK => Ok([memory::STACK_SIZE; 2]),
        RLIMIT_CORE => Ok([0; 2]),
        RLIMIT_NOFILE => Ok([crate::files::DESCRIPTOR_LIMIT as u64; 2]),
        0..RLIMIT_COUNT => Ok([UNLIMITED; 2]),
        _ => Err(Errno::INVAL),
    }
}

/// `getrlimit(resource, limit)`.
pub(crate) fn getrlimit<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let limits = limit(arguments[0])?;
    user::write_words(&mut process.system, arguments[1], &limits)?;
    Ok(0)
}

/// `prlimit64(pid, resource, new, old)`. The limits are those of the task's account and can't be changed here, so a
/// new limit is accepted only where it is the one in force.
pub(crate) fn prlimit64<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [pid, resource, new, old, ..] = *arguments;
    if pid != 0 && pid != PID {
        return Err(Errno::SRCH);
    }
    let limits = limit(resource)?;
    if new != 0 && user::read_words::<2>(&mut process.system, new)? != limits {
        return Err(Errno::PERM);
    }
    if old != 0 {
        user::write_words(&mut process.system, old, &limits)?;
    }
    Ok(0)
}

/// Size of `struct sysinfo`.
const SYSINFO_SIZE: usize = 112;

/// `sysinfo(buffer)`: uptime, memory and the number of processes.
pub(crate) fn sysinfo<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let mut bytes = [0; SYSINFO_SIZE];
    let uptime = process.system.now() / crate::time::SECOND;
    let memory = process.system.memory();
    for (at, value) in [(0, uptime), (32, memory), (40, memory)] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes[80..82].copy_from_slice(&1u16.to_le_bytes());
    bytes[104..108].copy_from_slice(&1u32.to_le_bytes());
    process.system.write(arguments[0], &bytes)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    #[test]
    fn uname_has_six_texts() {
        let mut process = process();
        assert_eq!(call(&mut process, 63, &[BASE]), Ok(0));
        let bytes = process.system.peek(BASE, 390);
        assert!(bytes.starts_with(b"Linux\0"));
        assert!(bytes[4 * 65..].starts_with(b"x86_64\0"));
        assert_eq!(call(&mut process, 63, &[16]), Err(14));
    }

    #[test]
    fn limits_can_be_read_but_not_changed() {
        let mut process = process();
        assert_eq!(call(&mut process, 302, &[0, RLIMIT_STACK, 0, BASE]), Ok(0));
        assert_eq!(
            user::read_words::<2>(&mut process.system, BASE),
            Ok([memory::STACK_SIZE; 2])
        );
        assert_eq!(call(&mut process, 302, &[0, RLIMIT_STACK, BASE, 0]), Ok(0));
        assert_eq!(call(&mut process, 302, &[0, RLIMIT_NOFILE, BASE, 0]), Err(1));
        assert_eq!(call(&mut process, 302, &[77, RLIMIT_STACK, 0, BASE]), Err(3));
        assert_eq!(call(&mut process, 302, &[0, 16, 0, BASE]), Err(22));
        assert_eq!(call(&mut process, 97, &[16, BASE]), Err(22));
    }

    #[test]
    fn sysinfo_tells_the_memory() {
        let mut process = process();
        assert_eq!(call(&mut process, 99, &[BASE]), Ok(0));
        assert_eq!(
            user::read_words::<1>(&mut process.system, BASE + 32),
            Ok([64 << 20])
        );
    }
}
