//! Making threads.

use l4::USER_END;

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, NewThread, Process, System, user};

const VM: u64 = 0x100;
const FS: u64 = 0x200;
const FILES: u64 = 0x400;
const SIGHAND: u64 = 0x800;
const THREAD: u64 = 0x1_0000;
const SYSVSEM: u64 = 0x4_0000;
const SETTLS: u64 = 0x8_0000;
const PARENT_SETTID: u64 = 0x10_0000;
const CHILD_CLEARTID: u64 = 0x20_0000;
const DETACHED: u64 = 0x40_0000;
const CHILD_SETTID: u64 = 0x100_0000;
/// The low byte of the flags of `clone`: a signal at the end, which threads do not send.
const EXIT_SIGNAL: u64 = 0xff;

/// What makes a thread instead of a process.
const SHARED: u64 = VM | FS | FILES | SIGHAND | THREAD;
/// What may be asked for beside that.
const OPTIONAL: u64 = SYSVSEM | SETTLS | PARENT_SETTID | CHILD_CLEARTID | DETACHED | CHILD_SETTID;

/// A wanted thread.
struct Wanted {
    flags: u64,
    stack: u64,
    tls: u64,
    parent_tid: u64,
    child_tid: u64,
}

/// `clone(flags, stack, parent tid, child tid, tls)`.
pub(crate) fn clone<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [flags, stack, parent_tid, child_tid, tls, _] = *arguments;
    let wanted = Wanted {
        flags: flags & !EXIT_SIGNAL,
        stack,
        tls,
        parent_tid,
        child_tid,
    };
    start(process, &wanted)
}

/// Size of the first version of `struct clone_args`, in words.
const CLONE_ARGS_WORDS: usize = 8;

/// `clone3(arguments, size)`.
pub(crate) fn clone3<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [address, size, ..] = *arguments;
    if size < CLONE_ARGS_WORDS as u64 * 8 || !size.is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    let [
        flags,
        _,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
    ] = user::read_words::<CLONE_ARGS_WORDS>(&mut process.system, address)?;
    if flags & THREAD != 0 && exit_signal != 0 {
        return Err(Errno::INVAL);
    }
    let wanted = Wanted {
        flags,
        stack: stack.checked_add(stack_size).ok_or(Errno::INVAL)?,
        tls,
        parent_tid,
        child_tid,
    };
    start(process, &wanted)
}

/// `fork()` and `vfork()`: there is one process.
pub(crate) fn fork<S: System>(process: &mut Process<S>, _: &Arguments) -> Answer {
    if !core::mem::replace(&mut process.told_of_fork, true) {
        process
            .system
            .log(b"linux-abi: a program cannot start another process here (ENOSYS)\n");
    }
    Err(Errno::NOSYS)
}

fn start<S: System>(process: &mut Process<S>, wanted: &Wanted) -> Answer {
    if wanted.flags & SHARED != SHARED {
        return fork(process, &[0; 6]);
    }
    if wanted.flags & !(SHARED | OPTIONAL) != 0 || wanted.stack == 0 || wanted.stack >= USER_END {
        return Err(Errno::INVAL);
    }
    let has = |flag| wanted.flags & flag != 0;
    if has(SETTLS) && wanted.tls >= USER_END {
        return Err(Errno::PERM);
    }
    let tid = process.threads.new_tid();
    for (flag, address) in [
        (PARENT_SETTID, wanted.parent_tid),
        (CHILD_SETTID, wanted.child_tid),
    ] {
        if has(flag) {
            process.system.write(address, &tid.to_le_bytes())?;
        }
    }
    let thread = NewThread {
        tid,
        stack: wanted.stack,
        fs_base: has(SETTLS).then_some(wanted.tls),
    };
    let number = process.system.start_thread(thread)?;
    let clear = if has(CHILD_CLEARTID) { wanted.child_tid } else { 0 };
    process.threads.add(number, tid, clear);
    Ok(tid.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, outcome, process};
    use crate::{Caller, Outcome};

    /// What C libraries ask for.
    const USUAL: u64 = SHARED | SYSVSEM | SETTLS | PARENT_SETTID | CHILD_CLEARTID;

    #[test]
    fn threads_get_ids_of_their_own() {
        let mut process = process();
        let arguments = [USUAL, BASE + 0x800, BASE, BASE + 4, BASE + 0x900];
        assert_eq!(call(&mut process, 56, &arguments), Ok(3));
        assert_eq!(process.system.load(BASE), Ok(3));
        let wanted = [
            USUAL | CHILD_SETTID,
            0,
            BASE + 12,
            BASE + 8,
            0,
            BASE + 0x400,
            0x200,
            BASE + 0x910,
        ];
        user::write_words(&mut process.system, BASE + 64, &wanted).unwrap();
        assert_eq!(call(&mut process, 435, &[BASE + 64, 64]), Ok(4));
        assert_eq!(process.system.load(BASE + 8), Ok(4));
        assert_eq!(process.system.load(BASE + 12), Ok(4));
        let started = |tid, stack, fs_base| NewThread {
            tid,
            stack,
            fs_base: Some(fs_base),
        };
        let expected = [
            started(3, BASE + 0x800, BASE + 0x900),
            started(4, BASE + 0x600, BASE + 0x910),
        ];
        assert_eq!(process.system.started, expected);
        assert_eq!(call(&mut process, 56, &arguments), Ok(5));
        assert_eq!(call(&mut process, 56, &arguments), Err(11), "there are too many");
    }

    #[test]
    fn a_thread_that_ends_leaves_its_word_and_the_last_one_ends_the_program() {
        let mut process = process();
        let arguments = [USUAL, BASE + 0x800, BASE, BASE + 4, BASE + 0x900];
        assert_eq!(call(&mut process, 56, &arguments), Ok(3));
        process.system.thread = 1;
        assert_eq!(call(&mut process, 273, &[BASE + 128, 24]), Ok(0));
        assert_eq!(call(&mut process, 273, &[BASE + 128, 16]), Err(22));
        let departure = crate::Departure {
            tid: 3,
            clear: BASE + 4,
            robust: BASE + 128,
        };
        assert_eq!(outcome(&mut process, 60, &[0]), Outcome::EndThread(departure));
        assert_eq!(process.system.left, 1);
        process.system.thread = 0;
        assert_eq!(call(&mut process, 218, &[BASE + 8]), Ok(2));
        assert_eq!(outcome(&mut process, 60, &[0x105]), Outcome::Exit(5));
    }

    #[test]
    fn after_the_program_has_ended_no_thread_goes_on() {
        let mut process = process();
        let arguments = [USUAL, BASE + 0x800, BASE, BASE + 4, BASE + 0x900];
        assert_eq!(call(&mut process, 56, &arguments), Ok(3));
        process.system.thread = 1;
        assert_eq!(outcome(&mut process, 231, &[7]), Outcome::Exit(7));
        process.system.thread = 0;
        assert_eq!(outcome(&mut process, 63, &[BASE]), Outcome::Stop);
        assert_eq!(outcome(&mut process, 231, &[8]), Outcome::Stop);
        assert!(!process.end());
    }

    #[test]
    fn processes_and_nonsense_are_refused() {
        let mut process = process();
        for (number, arguments) in [(57, [0; 2]), (58, [0; 2]), (56, [17, 0]), (56, [0x4111, 0])] {
            assert_eq!(
                call(&mut process, number, &arguments),
                Err(38),
                "{number} {arguments:x?}"
            );
        }
        assert_eq!(process.system.log_text().lines().count(), 1);
        for (flags, stack, tls, error) in [
            (USUAL, 0, BASE, 22),
            (USUAL, u64::MAX, BASE, 22),
            (USUAL | 0x1000_0000, BASE, BASE, 22),
            (USUAL, BASE, u64::MAX, 1),
        ] {
            let arguments = [flags, stack, BASE, BASE, tls];
            assert_eq!(call(&mut process, 56, &arguments), Err(error), "{arguments:x?}");
        }
        assert_eq!(call(&mut process, 56, &[USUAL, BASE, 16, BASE, BASE]), Err(14));
        assert_eq!(call(&mut process, 435, &[BASE, 56]), Err(22));
        assert!(process.system.started.is_empty());
    }
}
