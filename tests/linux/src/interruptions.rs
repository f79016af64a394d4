//! Signals that interrupt what a thread does: computing and waiting.
#![expect(unsafe_code, reason = "the standard library has no signals")]

use std::arch::asm;
use std::io::Error;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_int, c_void, siginfo_t};

use crate::Check;
use crate::signals::{
    COUNT, SIGNAL, catching, change_mask, counting, handler, install, is_pending, raise, set_of,
};

pub(crate) const CHECKS: &[Check] = &[
    (
        "a computing thread is interrupted and loses no register",
        computing,
    ),
    ("waits are interrupted, or restarted", waits),
    ("signals are waited for", waited_for),
    ("masks of ppoll hold as long as it waits", masks_of_waits),
    ("a pipe without reader raises SIGPIPE", broken_pipe),
    ("a thread that reads clocks is interrupted", reading_clocks),
    ("clocks that are read without a call are right", clocks_agree),
    (
        "a bad address for a clock is the program's fault",
        clock_to_nowhere,
    ),
];

/// Fills registers, and loops until the word is not 0. Returns how many registers changed meanwhile.
fn keep_registers(word: &AtomicU64) -> u64 {
    let changed: u64;
    // SAFETY: Only the registers named are changed; rbx and rbp are put back.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov rbx, 11", "mov rcx, 12", "mov rdx, 13", "mov rsi, 14", "mov rbp, 15", "mov r8, 16", "mov r9, 17",
            "mov r10, 18", "mov r11, 19", "mov r12, 20", "mov r13, 21", "mov r14, 22", "mov r15, 23",
            "movq xmm0, r15", "movq xmm7, r14", "movq xmm15, r13",
            "stc",
            // Neither instruction changes the carry flag.
            "2: mov rax, [rdi]",
            "inc rax",
            "dec rax",
            "jz 2b",
            "mov eax, 0",
            "adc rax, -1",
            "sub rbx, 11", "or rax, rbx", "sub rcx, 12", "or rax, rcx", "sub rdx, 13", "or rax, rdx",
            "sub rsi, 14", "or rax, rsi", "sub rbp, 15", "or rax, rbp", "sub r8, 16", "or rax, r8",
            "sub r9, 17", "or rax, r9", "sub r10, 18", "or rax, r10", "sub r11, 19", "or rax, r11",
            "sub r12, 20", "or rax, r12",
            "movq r12, xmm0", "sub r12, r15", "or rax, r12",
            "movq r12, xmm7", "sub r12, r14", "or rax, r12",
            "movq r12, xmm15", "sub r12, r13", "or rax, r12",
            "sub r13, 21", "or rax, r13", "sub r14, 22", "or rax, r14", "sub r15, 23", "or rax, r15",
            "pop rbp",
            "pop rbx",
            in("rdi") word.as_ptr(),
            out("rax") changed,
            out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            out("xmm0") _, out("xmm7") _, out("xmm15") _,
        );
    }
    changed
}

/// Changes every register that a handler may change.
extern "C" fn scribbler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: Only registers that belong to a function are changed.
    unsafe {
        asm!("pxor xmm0, xmm0", "pcmpeqd xmm7, xmm7", "pxor xmm15, xmm15", "mov rcx, 1", "mov r11, 2", "clc",
            out("xmm0") _, out("xmm7") _, out("xmm15") _, out("rcx") _, out("r11") _);
    }
    // SAFETY: The call has no arguments.
    assert_eq!(unsafe { libc::getpid() }, 2);
    handler(signal, info, context);
}

/// Signals that the computing thread gets.
const SIGNALS: u64 = 200;

/// Sends a thread many signals, each once the one before was handled. `work` runs in it until its argument is not 0.
fn bombard<R: Send + 'static>(work: impl FnOnce(&AtomicU64) -> R + Send + 'static) -> R {
    static STOP: AtomicU64 = AtomicU64::new(0);
    static READY: AtomicU64 = AtomicU64::new(0);
    let flags = libc::SA_RESTART | libc::SA_ONSTACK;
    install(libc::SIGURG, scribbler as *const () as usize, flags);
    STOP.store(0, Ordering::SeqCst);
    READY.store(0, Ordering::SeqCst);
    let thread = thread::spawn(move || {
        // SAFETY: The call has no arguments.
        READY.store(unsafe { libc::pthread_self() }, Ordering::SeqCst);
        work(&STOP)
    });
    while READY.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    for _ in 0..SIGNALS {
        let before = COUNT.load(Ordering::SeqCst);
        let id = READY.load(Ordering::SeqCst);
        // SAFETY: The thread lives until it is told to stop.
        assert_eq!(unsafe { libc::pthread_kill(id, libc::SIGURG) }, 0);
        let until = Instant::now() + Duration::from_secs(10);
        while COUNT.load(Ordering::SeqCst) == before {
            assert!(Instant::now() < until, "the handler did not run");
            thread::yield_now();
        }
    }
    STOP.store(1, Ordering::SeqCst);
    let result = thread.join().expect("it ends");
    install(libc::SIGURG, libc::SIG_DFL, 0);
    result
}

fn computing() {
    assert_eq!(bombard(keep_registers), 0, "registers that changed");
}

fn reading_clocks() {
    let (reads, backwards) = bombard(|stop| {
        let (mut reads, mut backwards, mut last) = (0u64, 0u64, Instant::now());
        while stop.load(Ordering::Relaxed) == 0 {
            let now = Instant::now();
            backwards += u64::from(now < last);
            last = now;
            reads += 1;
        }
        (reads, backwards)
    });
    assert!(reads > 0);
    assert_eq!(backwards, 0);
}

/// A clock's nanoseconds as the C library reads it, and as the call tells it.
fn read_both(clock: c_int) -> [i64; 3] {
    // SAFETY: All-zero bytes are a time.
    let mut times: [libc::timespec; 3] = unsafe { zeroed() };
    // SAFETY: The targets are times.
    unsafe {
        assert_eq!(libc::clock_gettime(clock, &raw mut times[0]), 0);
        assert_eq!(
            libc::syscall(libc::SYS_clock_gettime, clock, &raw mut times[1]),
            0
        );
        assert_eq!(libc::clock_gettime(clock, &raw mut times[2]), 0);
    }
    times.map(|time| {
        assert!((0..1_000_000_000).contains(&time.tv_nsec));
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    })
}

fn clocks_agree() {
    for clock in [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_REALTIME_COARSE,
        libc::CLOCK_MONOTONIC_COARSE,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_PROCESS_CPUTIME_ID,
    ] {
        let [before, told, after] = read_both(clock);
        assert!(before <= told && told <= after, "clock {clock}");
    }
    let [realtime, ..] = read_both(libc::CLOCK_REALTIME);
    // SAFETY: All-zero bytes are a time.
    let mut day: libc::timeval = unsafe { zeroed() };
    // SAFETY: The target is a time; there is no zone.
    let seconds = unsafe {
        assert_eq!(libc::gettimeofday(&raw mut day, ptr::null_mut()), 0);
        libc::time(ptr::null_mut())
    };
    let microseconds = day.tv_sec * 1_000_000 + day.tv_usec;
    assert!((0..1_000_000).contains(&day.tv_usec));
    assert!((realtime / 1000..realtime / 1000 + 60_000_000).contains(&microseconds));
    assert!(seconds - day.tv_sec < 60);
    // SAFETY: The target is a time, which a clock that is not there does not change.
    assert_eq!(unsafe { libc::clock_gettime(99, ptr::null_mut()) }, -1);
}

extern "C" fn leave(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: The arguments are those of a handler with SA_SIGINFO. The function that faulted has pushed nothing, so it
    // returns if its address is taken from the stack.
    unsafe {
        SIGNAL.store((*info).si_addr().addr() as i32, Ordering::SeqCst);
        let context: *mut libc::ucontext_t = context.cast();
        let registers = &mut (*context).uc_mcontext.gregs;
        let pointer = &mut registers[libc::REG_RSP as usize];
        let back: *const i64 = ptr::with_exposed_provenance(*pointer as usize);
        *pointer += 8;
        registers[libc::REG_RIP as usize] = *back;
    }
}

fn clock_to_nowhere() {
    install(libc::SIGSEGV, leave as *const () as usize, 0);
    let bad: *mut libc::timespec = ptr::without_provenance_mut(0x30);
    // SAFETY: The write faults, and the handler returns from the function that does it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, bad) };
    assert_eq!(SIGNAL.load(Ordering::SeqCst), 0x30);
    install(libc::SIGSEGV, libc::SIG_DFL, 0);
}

/// Runs `wait` in a thread, sends it a signal once it waits, and then does `release`.
fn interrupting<R: Send + 'static>(
    flags: c_int,
    wait: impl FnOnce() -> R + Send + 'static,
    release: impl FnOnce(),
) -> R {
    install(libc::SIGUSR1, handler as *const () as usize, flags);
    let (tell, told) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        // SAFETY: The call has no arguments.
        tell.send(unsafe { libc::pthread_self() }).expect("a receiver");
        wait()
    });
    let id = told.recv().expect("it starts");
    thread::sleep(Duration::from_millis(5));
    let count = counting(|| {
        // SAFETY: The thread waits for this.
        assert_eq!(unsafe { libc::pthread_kill(id, libc::SIGUSR1) }, 0);
        let until = Instant::now() + Duration::from_secs(10);
        while SIGNAL.swap(0, Ordering::SeqCst) == 0 {
            assert!(Instant::now() < until, "the handler did not run");
            thread::yield_now();
        }
    });
    assert_eq!(count, 1);
    release();
    let result = thread.join().expect("it ends");
    install(libc::SIGUSR1, libc::SIG_DFL, 0);
    result
}

fn pipe() -> [c_int; 2] {
    let mut ends = [0; 2];
    // SAFETY: There is room for two.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    ends
}

fn read_byte(fd: c_int) -> Result<u8, Option<i32>> {
    let mut byte = 0u8;
    // SAFETY: There is room for a byte.
    match unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } {
        1 => Ok(byte),
        _ => Err(Error::last_os_error().raw_os_error()),
    }
}

fn write_byte(fd: c_int) {
    // SAFETY: There is a byte.
    assert_eq!(unsafe { libc::write(fd, b"x".as_ptr().cast(), 1) }, 1);
}

fn waits() {
    SIGNAL.store(0, Ordering::SeqCst);
    let [reader, writer] = pipe();
    let restarted = interrupting(libc::SA_RESTART, move || read_byte(reader), || write_byte(writer));
    assert_eq!(restarted, Ok(b'x'));
    assert_eq!(
        interrupting(0, move || read_byte(reader), || {}),
        Err(Some(libc::EINTR))
    );
    let poll = move || {
        let mut entry = libc::pollfd {
            fd: reader,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: There is one entry.
        let result = unsafe { libc::poll(&raw mut entry, 1, -1) };
        (result, Error::last_os_error().raw_os_error())
    };
    assert_eq!(
        interrupting(libc::SA_RESTART, poll, || {}),
        (-1, Some(libc::EINTR))
    );
    let sleep = || {
        let hour = libc::timespec {
            tv_sec: 3600,
            tv_nsec: 0,
        };
        // SAFETY: All-zero bytes are a time.
        let mut rest: libc::timespec = unsafe { zeroed() };
        // SAFETY: Both are times.
        let result = unsafe { libc::nanosleep(&hour, &raw mut rest) };
        (result, Error::last_os_error().raw_os_error(), rest.tv_sec)
    };
    let (result, error, rest) = interrupting(libc::SA_RESTART, sleep, || {});
    assert_eq!((result, error), (-1, Some(libc::EINTR)));
    assert!((3000..3600).contains(&rest), "{rest} seconds are left");
    static WORD: AtomicI32 = AtomicI32::new(0);
    let futex = || {
        // SAFETY: The word is a static; there is no timeout.
        let result = unsafe { libc::syscall(libc::SYS_futex, WORD.as_ptr(), libc::FUTEX_WAIT, 0, 0usize) };
        (result, Error::last_os_error().raw_os_error())
    };
    assert_eq!(interrupting(0, futex, || {}), (-1, Some(libc::EINTR)));
    let wake = || {
        WORD.store(1, Ordering::SeqCst);
        // SAFETY: The word is a static.
        unsafe { libc::syscall(libc::SYS_futex, WORD.as_ptr(), libc::FUTEX_WAKE, 1) };
    };
    let (result, error) = interrupting(libc::SA_RESTART, futex, wake);
    assert!(result == 0 || error == Some(libc::EAGAIN), "{error:?}");
}

fn waited_for() {
    catching(libc::SIGUSR1, 0, || {
        change_mask(libc::SIG_BLOCK, &[libc::SIGUSR1]);
        let set = set_of(&[libc::SIGUSR1]);
        let moment = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1000,
        };
        // SAFETY: Set and time are there.
        let result = unsafe { libc::sigtimedwait(&set, ptr::null_mut(), &moment) };
        assert_eq!(
            (result, Error::last_os_error().raw_os_error()),
            (-1, Some(libc::EAGAIN))
        );
        let sender = thread::spawn(|| {
            thread::sleep(Duration::from_millis(2));
            // SAFETY: The call takes numbers.
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }
        });
        let mut signal = 0;
        let count = counting(|| {
            // SAFETY: The set is there.
            assert_eq!(unsafe { libc::sigwait(&set, &raw mut signal) }, 0);
        });
        assert_eq!(count, 0);
        assert_eq!(signal, libc::SIGUSR1);
        assert_eq!(sender.join().expect("it ends"), 0);
        raise(libc::SIGUSR1);
        let none = set_of(&[]);
        // SAFETY: The set is there.
        assert_eq!(counting(|| assert_eq!(unsafe { libc::sigsuspend(&none) }, -1)), 1);
        raise(libc::SIGUSR1);
        assert!(is_pending(libc::SIGUSR1), "the old mask holds again");
        change_mask(libc::SIG_UNBLOCK, &[libc::SIGUSR1]);
    });
}

fn masks_of_waits() {
    catching(libc::SIGUSR1, 0, || {
        change_mask(libc::SIG_BLOCK, &[libc::SIGUSR1]);
        raise(libc::SIGUSR1);
        let none = set_of(&[]);
        let count = counting(|| {
            // SAFETY: There is no entry, no time, and a set.
            assert_eq!(unsafe { libc::ppoll(ptr::null_mut(), 0, ptr::null(), &none) }, -1);
        });
        assert_eq!(count, 1);
        raise(libc::SIGUSR1);
        assert!(is_pending(libc::SIGUSR1), "the old mask holds again");
        assert_eq!(counting(|| change_mask(libc::SIG_UNBLOCK, &[libc::SIGUSR1])), 1);
    });
}

fn broken_pipe() {
    let [reader, writer] = pipe();
    // SAFETY: The descriptor is this function's.
    assert_eq!(unsafe { libc::close(reader) }, 0);
    let count = catching(libc::SIGPIPE, 0, || {
        counting(|| {
            // SAFETY: There is a byte.
            assert_eq!(unsafe { libc::write(writer, b"x".as_ptr().cast(), 1) }, -1);
        })
    });
    assert_eq!(count, 1);
    // As the standard library has it.
    // SAFETY: The action is one.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
