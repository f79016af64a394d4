//! Which number is which call.

use crate::process::Answer;
use crate::{Caller, Errno, Futexes, Process, System};

/// The calls' arguments: rdi, rsi, rdx, r10, r8, r9.
pub(crate) type Arguments = [u64; 6];

/// A call that a program may try and that is not there: the answer is ENOSYS, and that is no news for the log.
fn absent<S: System>(_: &mut Process<S>, _: &Arguments) -> Answer {
    Err(Errno::NOSYS)
}

macro_rules! calls {
    (
        alone: { $($quick_number:literal $quick_name:literal => $quick:path;)* }
        queues: { $queue_number:literal $queue_name:literal => $queue:path; }
        shared: { $($number:literal $name:literal => $handler:path;)* }
    ) => {
        /// Numbers and names of all calls that have an answer of their own.
        pub const CALLS: &[(u64, &str)] = &[
            $(($quick_number, $quick_name),)*
            ($queue_number, $queue_name),
            $(($number, $name)),*
        ];

        /// Answers a call that concerns the calling thread alone, or the queues of [`Futexes`]; `None` if it is none.
        #[inline]
        pub fn answer_alone<C: Caller>(
            caller: &mut C,
            futexes: &Futexes,
            number: u64,
            arguments: &Arguments,
        ) -> Option<u64> {
            let answer = match number {
                $($quick_number => $quick(caller, arguments),)*
                $queue_number => $queue(caller, futexes, arguments),
                _ => return None,
            };
            Some(answer.unwrap_or_else(Errno::result))
        }

        /// Answers a call that uses what the program's threads share; `None` if there is no such call.
        pub(crate) fn answer<S: System>(
            process: &mut Process<S>,
            number: u64,
            arguments: &Arguments,
        ) -> Option<Answer> {
            Some(match number {
                $($number => $handler(process, arguments),)*
                _ => return None,
            })
        }
    };
}

calls! {
    alone: {
        24 "sched_yield" => crate::thread::sched_yield;
        35 "nanosleep" => crate::time::nanosleep;
        39 "getpid" => crate::identity::getpid;
        61 "wait4" => crate::credentials::wait4;
        96 "gettimeofday" => crate::time::gettimeofday;
        98 "getrusage" => crate::credentials::getrusage;
        100 "times" => crate::credentials::times;
        102 "getuid" => crate::identity::getuid;
        104 "getgid" => crate::identity::getuid;
        105 "setuid" => crate::credentials::set_one;
        106 "setgid" => crate::credentials::set_one;
        107 "geteuid" => crate::identity::getuid;
        108 "getegid" => crate::identity::getuid;
        109 "setpgid" => crate::credentials::setpgid;
        110 "getppid" => crate::identity::getppid;
        111 "getpgrp" => crate::identity::getpid;
        112 "setsid" => crate::credentials::setsid;
        113 "setreuid" => crate::credentials::set_two;
        114 "setregid" => crate::credentials::set_two;
        115 "getgroups" => crate::credentials::getgroups;
        117 "setresuid" => crate::credentials::set_three;
        118 "getresuid" => crate::credentials::get_three;
        119 "setresgid" => crate::credentials::set_three;
        120 "getresgid" => crate::credentials::get_three;
        121 "getpgid" => crate::credentials::getpgid;
        124 "getsid" => crate::credentials::getsid;
        140 "getpriority" => crate::scheduling::getpriority;
        141 "setpriority" => crate::scheduling::setpriority;
        142 "sched_setparam" => crate::scheduling::sched_setparam;
        143 "sched_getparam" => crate::scheduling::sched_getparam;
        144 "sched_setscheduler" => crate::scheduling::sched_setscheduler;
        145 "sched_getscheduler" => crate::scheduling::sched_getscheduler;
        146 "sched_get_priority_max" => crate::scheduling::sched_get_priority_max;
        147 "sched_get_priority_min" => crate::scheduling::sched_get_priority_min;
        148 "sched_rr_get_interval" => crate::scheduling::sched_rr_get_interval;
        158 "arch_prctl" => crate::thread::arch_prctl;
        186 "gettid" => crate::identity::gettid;
        201 "time" => crate::time::time;
        203 "sched_setaffinity" => crate::scheduling::sched_setaffinity;
        204 "sched_getaffinity" => crate::thread::sched_getaffinity;
        228 "clock_gettime" => crate::time::clock_gettime;
        229 "clock_getres" => crate::time::clock_getres;
        230 "clock_nanosleep" => crate::time::clock_nanosleep;
        247 "waitid" => crate::credentials::wait4;
        309 "getcpu" => crate::thread::getcpu;
        318 "getrandom" => crate::random::getrandom;
        324 "membarrier" => crate::scheduling::membarrier;
    }
    queues: {
        202 "futex" => crate::futex::futex;
    }
    shared: {
        0 "read" => crate::files::read;
        1 "write" => crate::files::write;
        2 "open" => crate::files::open;
        3 "close" => crate::files::close;
        4 "stat" => crate::files::stat;
        5 "fstat" => crate::files::fstat;
        6 "lstat" => crate::files::stat;
        7 "poll" => crate::files::poll;
        8 "lseek" => crate::files::lseek;
        9 "mmap" => crate::memory::mmap;
        10 "mprotect" => crate::memory::mprotect;
        11 "munmap" => crate::memory::munmap;
        12 "brk" => crate::memory::brk;
        13 "rt_sigaction" => crate::signal::rt_sigaction;
        14 "rt_sigprocmask" => crate::signal::rt_sigprocmask;
        15 "rt_sigreturn" => crate::thread::rt_sigreturn;
        16 "ioctl" => crate::files::ioctl;
        17 "pread64" => crate::files::pread64;
        18 "pwrite64" => crate::files::pwrite64;
        19 "readv" => crate::files::readv;
        20 "writev" => crate::files::writev;
        21 "access" => crate::files::access;
        22 "pipe" => crate::files::pipe;
        23 "select" => crate::files::select;
        25 "mremap" => crate::memory::mremap;
        26 "msync" => crate::memory::accept;
        27 "mincore" => crate::memory::mincore;
        28 "madvise" => crate::memory::madvise;
        32 "dup" => crate::files::dup;
        33 "dup2" => crate::files::dup2;
        34 "pause" => crate::signal::pause;
        40 "sendfile" => absent;
        41 "socket" => crate::files::socket;
        42 "connect" => crate::files::no_such_socket;
        43 "accept" => crate::files::no_such_socket;
        44 "sendto" => crate::files::sendto;
        45 "recvfrom" => crate::files::recvfrom;
        46 "sendmsg" => crate::files::no_such_socket;
        47 "recvmsg" => crate::files::no_such_socket;
        48 "shutdown" => crate::files::shutdown;
        49 "bind" => crate::files::no_such_socket;
        50 "listen" => crate::files::no_such_socket;
        51 "getsockname" => crate::files::getsockname;
        52 "getpeername" => crate::files::getsockname;
        53 "socketpair" => crate::files::socketpair;
        54 "setsockopt" => crate::files::no_such_socket;
        55 "getsockopt" => crate::files::getsockopt;
        56 "clone" => crate::clone::clone;
        57 "fork" => crate::clone::fork;
        58 "vfork" => crate::clone::fork;
        60 "exit" => crate::exit::exit_thread;
        62 "kill" => crate::signal::kill;
        63 "uname" => crate::identity::uname;
        72 "fcntl" => crate::files::fcntl;
        73 "flock" => crate::files::accept;
        74 "fsync" => crate::files::fsync;
        75 "fdatasync" => crate::files::fsync;
        76 "truncate" => crate::files::truncate;
        77 "ftruncate" => crate::files::ftruncate;
        79 "getcwd" => crate::files::getcwd;
        80 "chdir" => crate::files::chdir;
        82 "rename" => crate::files::rename;
        83 "mkdir" => crate::files::mkdir;
        84 "rmdir" => crate::files::rmdir;
        87 "unlink" => crate::files::unlink;
        89 "readlink" => crate::files::readlink;
        90 "chmod" => crate::files::chmod;
        91 "fchmod" => crate::files::fchmod;
        95 "umask" => crate::files::umask;
        97 "getrlimit" => crate::identity::getrlimit;
        99 "sysinfo" => crate::identity::sysinfo;
        127 "rt_sigpending" => crate::signal::rt_sigpending;
        128 "rt_sigtimedwait" => crate::signal::rt_sigtimedwait;
        129 "rt_sigqueueinfo" => crate::signal::rt_sigqueueinfo;
        130 "rt_sigsuspend" => crate::signal::rt_sigsuspend;
        131 "sigaltstack" => crate::signal::sigaltstack;
        137 "statfs" => crate::files::statfs;
        138 "fstatfs" => crate::files::fstatfs;
        149 "mlock" => crate::memory::accept;
        150 "munlock" => crate::memory::accept;
        151 "mlockall" => crate::memory::accept;
        152 "munlockall" => crate::memory::accept;
        157 "prctl" => crate::thread::prctl;
        160 "setrlimit" => crate::scheduling::setrlimit;
        162 "sync" => crate::files::sync;
        200 "tkill" => crate::signal::tkill;
        213 "epoll_create" => crate::files::epoll_create;
        217 "getdents64" => crate::files::getdents64;
        218 "set_tid_address" => crate::thread::set_tid_address;
        221 "fadvise64" => crate::files::accept;
        222 "timer_create" => absent;
        231 "exit_group" => crate::exit::exit_group;
        232 "epoll_wait" => crate::files::epoll_wait;
        233 "epoll_ctl" => crate::files::epoll_ctl;
        234 "tgkill" => crate::signal::tgkill;
        253 "inotify_init" => absent;
        257 "openat" => crate::files::openat;
        258 "mkdirat" => crate::files::mkdirat;
        262 "newfstatat" => crate::files::newfstatat;
        263 "unlinkat" => crate::files::unlinkat;
        264 "renameat" => crate::files::renameat;
        267 "readlinkat" => crate::files::readlinkat;
        268 "fchmodat" => crate::files::fchmodat;
        269 "faccessat" => crate::files::faccessat;
        270 "pselect6" => crate::files::pselect6;
        271 "ppoll" => crate::files::ppoll;
        273 "set_robust_list" => crate::thread::set_robust_list;
        274 "get_robust_list" => crate::scheduling::get_robust_list;
        280 "utimensat" => crate::files::utimensat;
        281 "epoll_pwait" => crate::files::epoll_pwait;
        283 "timerfd_create" => crate::files::timerfd_create;
        284 "eventfd" => crate::files::eventfd;
        285 "fallocate" => crate::files::fallocate;
        286 "timerfd_settime" => crate::files::timerfd_settime;
        287 "timerfd_gettime" => crate::files::timerfd_gettime;
        288 "accept4" => crate::files::no_such_socket;
        290 "eventfd2" => crate::files::eventfd2;
        291 "epoll_create1" => crate::files::epoll_create1;
        292 "dup3" => crate::files::dup3;
        293 "pipe2" => crate::files::pipe2;
        294 "inotify_init1" => absent;
        295 "preadv" => crate::files::preadv;
        296 "pwritev" => crate::files::pwritev;
        297 "rt_tgsigqueueinfo" => crate::signal::rt_tgsigqueueinfo;
        302 "prlimit64" => crate::identity::prlimit64;
        316 "renameat2" => crate::files::renameat2;
        319 "memfd_create" => absent;
        325 "mlock2" => crate::memory::accept;
        326 "copy_file_range" => absent;
        327 "preadv2" => crate::files::preadv2;
        328 "pwritev2" => crate::files::pwritev2;
        332 "statx" => crate::files::statx;
        334 "rseq" => absent;
        425 "io_uring_setup" => absent;
        434 "pidfd_open" => absent;
        435 "clone3" => crate::clone::clone3;
        436 "close_range" => crate::files::close_range;
        439 "faccessat2" => crate::files::faccessat;
        441 "epoll_pwait2" => crate::files::epoll_pwait2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    use crate::testing::process;

    #[test]
    fn every_call_has_one_answer() {
        let mut numbers: Vec<u64> = CALLS.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "a number twice");
        for (number, name) in CALLS {
            let mut process = process();
            let arguments = [u64::MAX; 6];
            let alone = answer_alone(&mut process.system, &Futexes::new(), *number, &arguments);
            let is_answered = alone.is_some() != answer(&mut process, *number, &arguments).is_some();
            assert!(is_answered, "{name}");
        }
    }

    #[test]
    fn the_documentation_names_every_call() {
        let documentation = include_str!("../../docs/linux-abi.md");
        for (number, name) in CALLS {
            let row = std::format!("| {number} | `{name}` |");
            assert!(documentation.contains(&row), "docs/linux-abi.md lacks {row:?}");
        }
        let rows = documentation
            .lines()
            .filter(|line| {
                line.split('|')
                    .nth(1)
                    .is_some_and(|cell| cell.trim().parse::<u64>().is_ok())
            })
            .count();
        assert_eq!(
            rows,
            CALLS.len(),
            "docs/linux-abi.md has rows for calls that don't exist"
        );
    }
}
