//! Signals: handlers on `raise` and on faults.
#![expect(unsafe_code, reason = "the standard library has no signals")]

use std::arch::asm;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use libc::{c_int, c_void, siginfo_t, ucontext_t};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("a handler runs and is told of its signal", raised),
    ("a handler's flags are honoured", flags),
    ("handlers run on the alternate stack", alternate_stack),
    ("blocked signals are pending until unblocked", blocked),
    ("queued signals keep their order and values", queued),
    ("a fault's handler learns the address and can go on", faults),
    ("each exception of the processor has its signal", exceptions),
];

/// What the handler saw last: signal, code, sender or address, value; and how often it ran.
pub(crate) static SIGNAL: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static STACK: AtomicUsize = AtomicUsize::new(0);
pub(crate) static COUNT: AtomicU64 = AtomicU64::new(0);
/// Added to the instruction pointer by the handler.
static SKIP: AtomicU64 = AtomicU64::new(0);

pub(crate) extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: The arguments are those of a handler with SA_SIGINFO.
    unsafe {
        CODE.store((*info).si_code, Ordering::SeqCst);
        ADDRESS.store((*info).si_addr() as usize, Ordering::SeqCst);
        let context: *mut ucontext_t = context.cast();
        let rip = &mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize];
        *rip += SKIP.load(Ordering::SeqCst) as i64;
    }
    let here = 0u8;
    STACK.store(&raw const here as usize, Ordering::SeqCst);
    SIGNAL.store(signal, Ordering::SeqCst);
    COUNT.fetch_add(1, Ordering::SeqCst);
}

/// Installs an action for a signal.
pub(crate) fn install(signal: c_int, action: usize, flags: c_int) {
    // SAFETY: All-zero bytes are an action.
    let mut new: libc::sigaction = unsafe { zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = flags | libc::SA_SIGINFO;
    // SAFETY: The action is one, and the handler is safe to run at any time: it uses atomics only.
    assert_eq!(unsafe { libc::sigaction(signal, &new, ptr::null_mut()) }, 0);
}

/// Catches a signal while `body` runs.
pub(crate) fn catching<R>(signal: c_int, flags: c_int, body: impl FnOnce() -> R) -> R {
    install(signal, handler as *const () as usize, flags);
    let result = body();
    install(signal, libc::SIG_DFL, 0);
    result
}

/// How often the handler runs in `body`.
pub(crate) fn counting(body: impl FnOnce()) -> u64 {
    let before = COUNT.load(Ordering::SeqCst);
    body();
    COUNT.load(Ordering::SeqCst) - before
}

pub(crate) fn raise(signal: c_int) {
    // SAFETY: The call takes a number.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

pub(crate) fn set_of(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: The set is one.
    unsafe {
        let mut set = zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

pub(crate) fn change_mask(how: c_int, signals: &[c_int]) {
    let set = set_of(signals);
    // SAFETY: The set is one.
    assert_eq!(unsafe { libc::pthread_sigmask(how, &set, ptr::null_mut()) }, 0);
}

pub(crate) fn is_pending(signal: c_int) -> bool {
    let mut set = set_of(&[]);
    // SAFETY: The set is one.
    unsafe {
        libc::sigpending(&raw mut set);
        libc::sigismember(&set, signal) == 1
    }
}

fn raised() {
    catching(libc::SIGUSR1, 0, || {
        assert_eq!(counting(|| raise(libc::SIGUSR1)), 1);
        assert_eq!(SIGNAL.load(Ordering::SeqCst), libc::SIGUSR1);
        assert_eq!(CODE.load(Ordering::SeqCst), -6, "SI_TKILL");
        let count = counting(|| {
            // SAFETY: The call takes numbers.
            assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
        });
        assert_eq!(count, 1);
        assert_eq!(CODE.load(Ordering::SeqCst), 0, "SI_USER");
    });
    // Ignored by default.
    raise(libc::SIGCHLD);
}

/// Raises its own signal again, three times in all.
extern "C" fn nested(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    if COUNT.load(Ordering::SeqCst) < LIMIT.load(Ordering::SeqCst) {
        COUNT.fetch_add(1, Ordering::SeqCst);
        let before = COUNT.load(Ordering::SeqCst);
        raise(signal);
        WAS_NESTED.store(COUNT.load(Ordering::SeqCst) > before, Ordering::SeqCst);
    }
    let _ = (info, context);
}

static LIMIT: AtomicU64 = AtomicU64::new(0);
static WAS_NESTED: AtomicBool = AtomicBool::new(false);

fn flags() {
    for (flags, is_nested) in [(0, false), (libc::SA_NODEFER, true)] {
        LIMIT.store(COUNT.load(Ordering::SeqCst) + 2, Ordering::SeqCst);
        WAS_NESTED.store(false, Ordering::SeqCst);
        install(libc::SIGUSR2, nested as *const () as usize, flags);
        assert_eq!(counting(|| raise(libc::SIGUSR2)), 2);
        let was_nested = WAS_NESTED.load(Ordering::SeqCst);
        // With the signal blocked, the second run comes after the first.
        assert_eq!(was_nested, is_nested);
        install(libc::SIGUSR2, libc::SIG_DFL, 0);
    }
    install(libc::SIGWINCH, handler as *const () as usize, libc::SA_RESETHAND);
    assert_eq!(counting(|| raise(libc::SIGWINCH)), 1);
    assert_eq!(counting(|| raise(libc::SIGWINCH)), 0);
}

fn alternate_stack() {
    let mut memory = vec![0u8; 64 << 10];
    let range = memory.as_mut_ptr_range();
    let stack = libc::stack_t {
        ss_sp: memory.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: memory.len(),
    };
    // SAFETY: All-zero bytes are a stack's description.
    let mut before: libc::stack_t = unsafe { zeroed() };
    // SAFETY: The memory outlives its use.
    assert_eq!(unsafe { libc::sigaltstack(&stack, &raw mut before) }, 0);
    for (flags, is_there) in [(0, false), (libc::SA_ONSTACK, true)] {
        catching(libc::SIGUSR1, flags, || raise(libc::SIGUSR1));
        let address = STACK.load(Ordering::SeqCst);
        assert_eq!(
            (range.start as usize..range.end as usize).contains(&address),
            is_there
        );
    }
    // SAFETY: The stack was in force before.
    assert_eq!(unsafe { libc::sigaltstack(&before, ptr::null_mut()) }, 0);
}

fn blocked() {
    catching(libc::SIGUSR1, 0, || {
        change_mask(libc::SIG_BLOCK, &[libc::SIGUSR1]);
        assert_eq!(counting(|| (0..3).for_each(|_| raise(libc::SIGUSR1))), 0);
        assert!(is_pending(libc::SIGUSR1));
        // Merged into one.
        assert_eq!(counting(|| change_mask(libc::SIG_UNBLOCK, &[libc::SIGUSR1])), 1);
        assert!(!is_pending(libc::SIGUSR1));
        // One for all threads is taken by the one that does not block it.
        change_mask(libc::SIG_BLOCK, &[libc::SIGUSR1]);
        // SAFETY: The call takes numbers.
        assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
        let other = thread::spawn(|| counting(|| change_mask(libc::SIG_UNBLOCK, &[libc::SIGUSR1])));
        assert_eq!(other.join().expect("it ends"), 1);
        assert_eq!(counting(|| change_mask(libc::SIG_UNBLOCK, &[libc::SIGUSR1])), 0);
    });
}

fn queued() {
    let signal = libc::SIGRTMIN() + 1;
    change_mask(libc::SIG_BLOCK, &[signal]);
    for value in 1..=3usize {
        let value = libc::sigval {
            sival_ptr: ptr::without_provenance_mut(value),
        };
        // SAFETY: The call takes numbers.
        assert_eq!(unsafe { libc::sigqueue(libc::getpid(), signal, value) }, 0);
    }
    for expected in 1..=3usize {
        // SAFETY: All-zero bytes are an information.
        let mut info: siginfo_t = unsafe { zeroed() };
        let set = set_of(&[signal]);
        // SAFETY: Both are there.
        assert_eq!(unsafe { libc::sigwaitinfo(&set, &raw mut info) }, signal);
        // SAFETY: The signal came with a value.
        assert_eq!(unsafe { info.si_value().sival_ptr.addr() }, expected);
    }
    change_mask(libc::SIG_UNBLOCK, &[signal]);
}

/// An address where nothing is.
const NOWHERE: u64 = 0x6000_0000_1230;

fn faults() {
    SKIP.store(2, Ordering::SeqCst);
    catching(libc::SIGSEGV, 0, || {
        let (mut rcx, mut r11, mut xmm, flags): (u64, u64, u64, u64);
        // SAFETY: The load faults, and the handler goes on behind its two bytes.
        unsafe {
            asm!(
                "movq xmm9, {pattern}",
                "stc",
                "mov eax, [rdx]",
                "pushfq",
                "pop {flags}",
                "movq {xmm}, xmm9",
                pattern = in(reg) 0x1357_9bdf_0246_8aceu64,
                flags = out(reg) flags,
                xmm = out(reg) xmm,
                in("rdx") NOWHERE,
                inlateout("rcx") 0x77u64 => rcx,
                inlateout("r11") 0x88u64 => r11,
                out("eax") _, out("xmm9") _,
            );
        }
        assert_eq!((rcx, r11, xmm, flags & 1), (0x77, 0x88, 0x1357_9bdf_0246_8ace, 1));
    });
    SKIP.store(0, Ordering::SeqCst);
    assert_eq!(SIGNAL.load(Ordering::SeqCst), libc::SIGSEGV);
    assert_eq!(ADDRESS.load(Ordering::SeqCst) as u64, NOWHERE);
    assert_eq!(CODE.load(Ordering::SeqCst), 1, "SEGV_MAPERR");
}

fn exceptions() {
    type Body = fn();
    let cases: [(c_int, c_int, u64, Body); 4] = [
        // SAFETY: The handler goes on behind the instruction, as it does in all of these.
        (libc::SIGILL, 2, 2, || unsafe { asm!("ud2") }),
        // SAFETY: As above.
        (libc::SIGFPE, 1, 2, || unsafe {
            asm!("div ecx", inout("eax") 1 => _, in("ecx") 0, inout("edx") 0 => _)
        }),
        // SAFETY: As above; the instruction is over when it traps.
        (libc::SIGTRAP, 0x80, 0, || unsafe { asm!("int3") }),
        // SAFETY: As above: a privileged instruction of one byte.
        (libc::SIGSEGV, 0x80, 1, || unsafe { asm!("hlt") }),
    ];
    for (signal, code, size, body) in cases {
        SKIP.store(size, Ordering::SeqCst);
        assert_eq!(catching(signal, 0, || counting(body)), 1);
        SKIP.store(0, Ordering::SeqCst);
        assert_eq!(SIGNAL.load(Ordering::SeqCst), signal);
        assert_eq!(CODE.load(Ordering::SeqCst), code, "signal {signal}");
    }
}
