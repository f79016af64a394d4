//! Threads that handle their own faults, and are interrupted while they compute.
#![expect(unsafe_code, reason = "registers are looked at in assembly")]

use core::arch::{asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use l4::exception::ExceptionFrame;
use l4::object::{Placement, Scheduler, Start, Task, Thread};
use l4::protocol::thread::EX_REGS_CANCEL;
use l4::{CapIndex, Error, NEVER, syscall, utcb};
use l4re::thread::Ending;
use l4re::{Slot, start};

use crate::exceptions::{Event, Victim, ex_regs_patiently};
use crate::harness::{FACTORY, PRIORITY, Test, TestResult, cpu_count, eventually};
use crate::{check, check_eq, tests};

pub(crate) const TESTS: &[Test] = tests![own_faults:
    a_fault_entry_finds_and_keeps_all_registers,
    a_signal_interrupts_a_computing_thread_only,
    signals_come_at_any_time,
    a_thread_can_share_its_handler,
];

/// Size of a stack for faults.
const STACK_SIZE: usize = 8192;
/// A page that nobody uses.
const SPARE_PAGE: u64 = 0x6210_0000_0000;
/// An address where nothing is.
const NOWHERE: u64 = 0x6310_0000_0010;
/// Word of the UTCB's page that nobody else uses.
const BACK: usize = utcb::FREE_WORD + 100;
/// Entries of [`count_and_return`].
static ENTRIES: AtomicU64 = AtomicU64::new(0);

#[repr(align(16))]
struct FaultStack([u8; STACK_SIZE]);

const fn offset(field: usize) -> usize {
    utcb::FAULT_FRAME * 8 + field
}

/// Handles a fault or a signal: counts it and goes back, behind the instruction if that faulted, whose length is 2. All
/// registers are as they were; after a fault, the value of xmm3 is moved to xmm4.
#[unsafe(naked)]
extern "C" fn count_and_return() -> ! {
    naked_asm!(
        "push rax",
        "lock inc qword ptr [rip + {entries}]",
        "cmp qword ptr gs:[{reason}], 3",
        "je 2f",
        "movaps xmm4, xmm3",
        "xorps xmm3, xmm3",
        "add qword ptr gs:[{rip}], 2",
        // The record is another signal's as soon as this one is over; if that came before the jump, its way back is this one's.
        "2: lea rax, [rip + 3f]",
        "cmp gs:[{rip}], rax",
        "je 4f",
        "mov rax, gs:[{rip}]",
        "mov gs:[{back}], rax",
        "4: push qword ptr gs:[{rflags}]",
        "mov rax, [rsp + 8]",
        "popfq",
        "mov rsp, gs:[{rsp}]",
        "mov qword ptr gs:[{active}], 0",
        "3: jmp qword ptr gs:[{back}]",
        entries = sym ENTRIES,
        back = const BACK * 8,
        active = const utcb::FAULT_ACTIVE * 8,
        reason = const offset(offset_of!(ExceptionFrame, reason)),
        rip = const offset(offset_of!(ExceptionFrame, rip)),
        rsp = const offset(offset_of!(ExceptionFrame, rsp)),
        rflags = const offset(offset_of!(ExceptionFrame, rflags)),
    )
}

fn with_entry(body: impl FnOnce() -> TestResult) -> TestResult {
    let mut stack = alloc::boxed::Box::new(FaultStack([0; STACK_SIZE]));
    let own = Thread(start::current_thread());
    let entry = count_and_return as *const () as u64;
    own.set_fault_entry(entry, stack.0.as_mut_ptr_range().end as u64)?;
    let result = body();
    own.set_fault_entry(0, 0)?;
    result
}

fn a_fault_entry_finds_and_keeps_all_registers() -> TestResult {
    with_entry(|| {
        let (mut kept, mut moved): (u64, u64);
        let (rcx, r11, flags): (u64, u64, u64);
        // SAFETY: The load faults; the entry goes on behind it.
        unsafe {
            asm!(
                "movq xmm3, {pattern}",
                "movq xmm12, {pattern}",
                "stc",
                "mov eax, [rdx]",
                "pushfq",
                "pop {flags}",
                "movq {moved}, xmm4",
                "movq {kept}, xmm12",
                pattern = in(reg) 0x1357_9bdf_2468_ace0u64,
                flags = out(reg) flags,
                moved = out(reg) moved,
                kept = out(reg) kept,
                in("rdx") NOWHERE,
                inlateout("rcx") 0x55u64 => rcx,
                inlateout("r11") 0x66u64 => r11,
                out("eax") _, out("xmm3") _, out("xmm4") _, out("xmm12") _,
            );
        }
        check_eq!((moved, kept), (0x1357_9bdf_2468_ace0, 0x1357_9bdf_2468_ace0));
        check_eq!((rcx, r11, flags & 1), (0x55, 0x66, 1));
        Ok(())
    })
}

/// Computes until the entry was entered once more, then sleeps. Checks that its registers are kept.
fn compute_then_sleep(before: u64) -> TestResult {
    let (mut sum, mut rounds) = (0.5f64, 0u64);
    while ENTRIES.load(Ordering::SeqCst) == before {
        sum += 1.0;
        rounds += 1;
    }
    check_eq!(sum, rounds as f64 + 0.5);
    COMPUTED.fetch_add(1, Ordering::SeqCst);
    syscall::sleep_until(NEVER);
    Ok(())
}

/// Threads that found their registers as they were.
static COMPUTED: AtomicU64 = AtomicU64::new(0);
/// Threads that are about to compute.
static COMPUTING: AtomicU64 = AtomicU64::new(0);

fn a_signal_interrupts_a_computing_thread_only() -> TestResult {
    for cpu in 0..cpu_count()?.min(2) {
        let before = ENTRIES.load(Ordering::SeqCst);
        let computing = COMPUTING.load(Ordering::SeqCst);
        let computed = COMPUTED.load(Ordering::SeqCst);
        let mut victim = Victim::start(cpu, PRIORITY - 1, move || {
            let _result = with_entry(|| {
                COMPUTING.fetch_add(1, Ordering::SeqCst);
                compute_then_sleep(before)
            });
        })?;
        check!(eventually(|| COMPUTING.load(Ordering::SeqCst) > computing));
        Thread(victim.cap()).signal()?;
        check!(eventually(|| COMPUTED.load(Ordering::SeqCst) > computed));
        check_eq!(ENTRIES.load(Ordering::SeqCst), before + 1);
        // It has an entry, but waits: nothing happens to it, until it is cancelled.
        check!(eventually(|| {
            Thread(victim.cap()).signal() == Err(Error::Busy)
        }));
        ex_regs_patiently(victim.cap(), u64::MAX, u64::MAX, EX_REGS_CANCEL)?;
        check_eq!(victim.next()?, Event::Ended(Ending::Returned));
    }
    // Without an entry of its own, a thread goes on as if nothing had been.
    let mut victim = Victim::start(0, PRIORITY - 1, || {
        COMPUTING.fetch_add(1, Ordering::SeqCst);
        while COMPUTING.load(Ordering::SeqCst) != 0 {
            core::hint::spin_loop();
        }
    })?;
    let computing = COMPUTING.load(Ordering::SeqCst);
    check!(eventually(|| COMPUTING.load(Ordering::SeqCst) > computing));
    Thread(victim.cap()).signal()?;
    COMPUTING.store(0, Ordering::SeqCst);
    check_eq!(victim.next()?, Event::Ended(Ending::Returned));
    Ok(())
}

/// Signals that a thread handles while it makes system calls.
const SIGNALS: u64 = 100;

/// Calls the kernel in several ways until enough signals were handled; checks what the calls return and that a register of
/// the program is kept.
fn call_and_check(before: u64) -> TestResult {
    let own = Thread(start::current_thread());
    let (mut sum, mut rounds) = (0.5f64, 0u64);
    let (mut signals, mut last) = (0, 0);
    while signals < SIGNALS {
        let now = ENTRIES.load(Ordering::SeqCst) - before;
        if now != signals {
            (signals, last) = (now, rounds);
        }
        own.yield_now()?;
        check!(syscall::receive(CapIndex::NONE, 0).result().is_err());
        // If both CPUs share one of the host, the other one runs while this one sleeps, and finds nobody to signal.
        if rounds - last < 200 {
            syscall::sleep_until(l4re::clock::after(1000));
        }
        check_eq!(own.stats()?.priority, PRIORITY - 1);
        sum += 1.0;
        rounds += 1;
        check_eq!(sum, rounds as f64 + 0.5);
    }
    ENDED.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// Threads that came to the end of their calls.
static ENDED: AtomicU64 = AtomicU64::new(0);

fn signals_come_at_any_time() -> TestResult {
    for cpu in 0..cpu_count()?.min(2) {
        let ended = ENDED.load(Ordering::SeqCst);
        let before = ENTRIES.load(Ordering::SeqCst);
        let mut victim = Victim::start(cpu, PRIORITY - 1, move || {
            let _result = with_entry(|| call_and_check(before));
        })?;
        // An error other than `Busy` says that it has ended.
        while matches!(Thread(victim.cap()).signal(), Ok(()) | Err(Error::Busy)) {
            if ENDED.load(Ordering::SeqCst) > ended {
                break;
            }
            // On the same CPU it only runs while this thread sleeps.
            l4re::clock::sleep(10_000);
        }
        check_eq!(victim.next()?, Event::Ended(Ending::Returned));
        check_eq!(ENDED.load(Ordering::SeqCst), ended + 1);
    }
    Ok(())
}

/// Reads where nothing is.
#[unsafe(naked)]
extern "C" fn read_nowhere() -> ! {
    naked_asm!("mov rdi, {address}", "mov al, [rdi]", "ud2", address = const NOWHERE)
}

fn a_thread_can_share_its_handler() -> TestResult {
    let own = Task(CapIndex::TASK);
    let thread = Slot::fill(|slot| FACTORY.create_thread(own, SPARE_PAGE, CapIndex::NONE, 0, slot))?;
    let cap = thread.index();
    let mut victim = Victim::start(0, PRIORITY, move || {
        let refused = Thread(start::current_thread()).share_handler();
        if refused == Err(Error::Invalid) && Thread(cap).share_handler().is_ok() {
            syscall::sleep_until(NEVER);
        }
    })?;
    check!(eventually(|| {
        Thread(victim.cap()).signal() == Err(Error::Busy)
    }));
    let placement = Placement {
        cpu: 0,
        priority: PRIORITY,
        slice_us: 0,
    };
    let start = Start {
        ip: read_nowhere as *const () as u64,
        sp: 0,
        argument: 0,
    };
    Scheduler(CapIndex::SCHEDULER).start(cap, placement, start)?;
    check_eq!(victim.fault()?.address, NOWHERE);
    drop(thread);
    ex_regs_patiently(victim.cap(), u64::MAX, u64::MAX, EX_REGS_CANCEL)?;
    check_eq!(victim.next()?, Event::Ended(Ending::Returned));
    Ok(())
}
