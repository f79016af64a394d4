//! The thread's own state, and waiting for words in memory.

use interfaces::faas::PR_SUPERVISE;
use l4::{NEVER, USER_END};

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, files, time, user};

const ARCH_SET_FS: u64 = 0x1002;

/// `arch_prctl(code, address)`: the FS base, which holds thread-local storage, can be set. GS is the kernel's.
pub(crate) fn arch_prctl<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [code, address, ..] = *arguments;
    if code != ARCH_SET_FS {
        return Err(Errno::INVAL);
    }
    if address >= USER_END {
        return Err(Errno::PERM);
    }
    process.system.set_fs_base(address)?;
    Ok(0)
}

const PR_SET_NAME: u64 = 15;
const PR_GET_NAME: u64 = 16;

/// `prctl(option, …)`: the thread's name, and [`PR_SUPERVISE`].
pub(crate) fn prctl<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [option, address, ..] = *arguments;
    match option {
        PR_SET_NAME => {
            let mut name = [0; 16];
            process.system.read(address, &mut name)?;
            name[15] = 0;
            process.name = name;
        }
        PR_GET_NAME => {
            let name = process.name;
            process.system.write(address, &name)?;
        }
        PR_SUPERVISE => return files::take_over(process),
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

/// `sched_yield()`.
pub(crate) fn sched_yield<S: System>(process: &mut Process<S>, _: &Arguments) -> Answer {
    process.system.yield_now();
    Ok(0)
}

/// `sched_getaffinity(pid, size, mask)`: one CPU, because there is one thread.
pub(crate) fn sched_getaffinity<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [_, size, address, ..] = *arguments;
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    user::write_words(&mut process.system, address, &[1])?;
    Ok(8)
}

/// `getcpu(cpu, node, cache)`.
pub(crate) fn getcpu<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    for address in &arguments[..2] {
        if *address != 0 {
            process.system.write(*address, &[0; 4])?;
        }
    }
    Ok(0)
}

const FUTEX_COMMAND: u64 = 0x7f;
const FUTEX_CLOCK_REALTIME: u64 = 0x100;
const FUTEX_WAIT: u64 = 0;
const FUTEX_WAKE: u64 = 1;
const FUTEX_WAIT_BITSET: u64 = 9;
const FUTEX_WAKE_BITSET: u64 = 10;

/// `futex(address, operation, value, timeout, …)`: with one thread nobody waits when it wakes, and nobody wakes it
/// when it waits.
pub(crate) fn futex<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [address, operation, value, timeout, ..] = *arguments;
    if !address.is_multiple_of(4) {
        return Err(Errno::INVAL);
    }
    match operation & FUTEX_COMMAND {
        FUTEX_WAKE | FUTEX_WAKE_BITSET => Ok(0),
        FUTEX_WAIT | FUTEX_WAIT_BITSET => {
            if user::read_u32(&mut process.system, address)? != value as u32 {
                return Err(Errno::AGAIN);
            }
            let deadline = if timeout == 0 {
                NEVER
            } else {
                let time = time::read_timespec(&mut process.system, timeout)?;
                if operation & FUTEX_COMMAND == FUTEX_WAIT {
                    process.system.now().saturating_add(time)
                } else {
                    time::absolute(process, operation & FUTEX_CLOCK_REALTIME != 0, time)
                }
            };
            process.system.sleep_until(deadline);
            Err(Errno::TIMEDOUT)
        }
        _ => Err(Errno::NOSYS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    #[test]
    fn fs_base_is_set_where_user_memory_is() {
        let mut process = process();
        assert_eq!(call(&mut process, 158, &[ARCH_SET_FS, BASE]), Ok(0));
        assert_eq!(process.system.fs_base, BASE);
        assert_eq!(call(&mut process, 158, &[ARCH_SET_FS, u64::MAX]), Err(1));
        assert_eq!(call(&mut process, 158, &[0x1001, BASE]), Err(22));
    }

    #[test]
    fn futex_waits_only_on_the_expected_value_and_until_the_deadline() {
        let mut process = process();
        process.system.poke(BASE, &5u32.to_le_bytes());
        assert_eq!(call(&mut process, 202, &[BASE, 128, 4, 0]), Err(11));
        user::write_words(&mut process.system, BASE + 16, &[1, 0]).unwrap();
        process.system.time = 10;
        assert_eq!(call(&mut process, 202, &[BASE, 128, 5, BASE + 16]), Err(110));
        assert_eq!(process.system.time, 10 + time::SECOND);
        assert_eq!(call(&mut process, 202, &[BASE, 129, 1, 0]), Ok(0));
        assert_eq!(call(&mut process, 202, &[BASE + 1, 128, 5, 0]), Err(22));
        assert_eq!(call(&mut process, 202, &[16, 128, 5, 0]), Err(14));
    }

    #[test]
    fn name_can_be_changed() {
        let mut process = process();
        process.system.poke(BASE, b"a name that is too long");
        assert_eq!(call(&mut process, 157, &[PR_SET_NAME, BASE]), Ok(0));
        assert_eq!(call(&mut process, 157, &[PR_GET_NAME, BASE + 64]), Ok(0));
        assert_eq!(process.system.peek(BASE + 64, 16), b"a name that is \0");
    }

    #[test]
    fn affinity_needs_room_for_a_word() {
        let mut process = process();
        assert_eq!(call(&mut process, 204, &[0, 128, BASE]), Ok(8));
        assert_eq!(process.system.peek(BASE, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(call(&mut process, 204, &[0, 4, BASE]), Err(22));
    }
}
