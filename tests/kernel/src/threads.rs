//! Threads: start, end, registers, entries of their own.
#![expect(unsafe_code, reason = "registers are looked at in assembly")]

use crate::exceptions::{Event, Victim, ex_regs_patiently, touch};
use crate::harness::{FACTORY, PRIORITY, Test, TestResult, eventually, settled_counters};
use crate::partner::{Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use l4::object::{Irq, MapEntry, Placement, Scheduler, Start, Task, Thread};
use l4::protocol::thread::EX_REGS_CANCEL;
use l4::{CapIndex, Error, NEVER, Rights, Tag, Utcb, syscall, utcb};
use l4re::thread::{Builder, Ending};
use l4re::{Slot, clock, start};

pub(crate) const TESTS: &[Test] = tests![threads:
    a_thread_starts_once,
    bad_utcb_addresses_are_refused,
    a_utcb_address_can_be_used_again,
    ex_regs_redirects_a_blocked_thread,
    ex_regs_redirects_a_running_thread,
    ex_regs_checks_the_instruction_pointer,
    threads_end_whatever_they_do,
    the_last_capability_ends_a_thread,
    the_end_is_noticed,
    a_watcher_that_comes_late_is_told,
    cpu_time_counts_work_only,
    a_thread_can_ask_where_it_runs,
    segment_bases_belong_to_the_thread,
    foreign_system_calls_enter_the_personality,
    a_fault_enters_the_thread_itself,
    a_fault_while_one_is_handled_goes_to_the_handler,
    some_operations_are_for_oneself_only,
];

const SCHEDULER: Scheduler = Scheduler(CapIndex::SCHEDULER);
const OWN: Task = Task(CapIndex::TASK);
/// A page that nobody uses.
const SPARE_PAGE: u64 = 0x6200_0000_0000;

fn here(priority: u8) -> Placement {
    Placement {
        cpu: 0,
        priority,
        slice_us: 0,
    }
}

fn own() -> Thread {
    Thread(start::current_thread())
}

fn a_thread_starts_once() -> TestResult {
    let partner = Partner::start(Role::Echo, Place::HERE)?;
    let again = Start {
        ip: 0x20_0000,
        sp: 0,
        argument: 0,
    };
    check!(SCHEDULER.start(partner.thread(), here(PRIORITY), again).is_err());
    partner.call(&[1])?;
    Ok(())
}

fn bad_utcb_addresses_are_refused() -> TestResult {
    let slot = Slot::allocate()?;
    let used = Utcb::current().word(utcb::SELF_WORD);
    for address in [
        0,
        1,
        SPARE_PAGE + 8,
        used,
        0x20_0000,
        l4::USER_END,
        0xffff_8000_0000_0000,
        u64::MAX,
    ] {
        let created = FACTORY.create_thread(OWN, address, CapIndex::NONE, 0, slot.index());
        check!(created.is_err());
        check_eq!(OWN.is_valid(slot.index()), Ok(false));
    }
    Ok(())
}

fn a_utcb_address_can_be_used_again() -> TestResult {
    for _ in 0..20 {
        let thread = Slot::fill(|slot| FACTORY.create_thread(OWN, SPARE_PAGE, CapIndex::NONE, 0, slot))?;
        let taken = Slot::fill(|slot| FACTORY.create_thread(OWN, SPARE_PAGE, CapIndex::NONE, 0, slot));
        check!(taken.is_err());
        thread.delete()?;
        settled_counters()?;
    }
    check!(
        OWN.find(SPARE_PAGE)
            .map_or(true, |found| found.start != SPARE_PAGE)
    );
    Ok(())
}

/// Where a redirected thread goes: it tells a waiting caller through its argument, and ends.
#[unsafe(naked)]
extern "C" fn redirected() -> ! {
    naked_asm!("and rsp, -16", "call {}", "ud2", sym redirected_on_stack)
}

static REDIRECTED: AtomicU64 = AtomicU64::new(0);

extern "C" fn redirected_on_stack() -> ! {
    REDIRECTED.fetch_add(1, Ordering::SeqCst);
    start::end_thread()
}

fn redirected_address() -> u64 {
    redirected as *const () as u64
}

fn ex_regs_redirects_a_blocked_thread() -> TestResult {
    let before = REDIRECTED.load(Ordering::SeqCst);
    let mut victim = Victim::start(0, PRIORITY + 1, || syscall::sleep_until(NEVER))?;
    Thread(victim.cap()).ex_regs(redirected_address(), u64::MAX, EX_REGS_CANCEL)?;
    check_eq!(victim.next()?, Event::Ended(Ending::Died));
    check_eq!(REDIRECTED.load(Ordering::SeqCst), before + 1);
    Ok(())
}

fn spin() {
    loop {
        core::hint::spin_loop();
    }
}

fn ex_regs_redirects_a_running_thread() -> TestResult {
    for cpu in 0..crate::harness::cpu_count()?.min(2) {
        let before = REDIRECTED.load(Ordering::SeqCst);
        let is_spinning = Arc::new(AtomicBool::new(false));
        let tell = is_spinning.clone();
        let mut victim = Victim::start(cpu, PRIORITY - 1, move || {
            tell.store(true, Ordering::SeqCst);
            spin();
        })?;
        // Before, it does not know its own capability, with which it ends.
        check!(eventually(|| is_spinning.load(Ordering::SeqCst)));
        ex_regs_patiently(victim.cap(), redirected_address(), u64::MAX, 0)?;
        check_eq!(victim.next()?, Event::Ended(Ending::Died));
        check_eq!(REDIRECTED.load(Ordering::SeqCst), before + 1);
    }
    Ok(())
}

fn ex_regs_checks_the_instruction_pointer() -> TestResult {
    let victim = Victim::start(0, PRIORITY + 1, || syscall::sleep_until(NEVER))?;
    for ip in [0xffff_8000_0000_0000, 1 << 47, l4::USER_END] {
        check!(
            Thread(victim.cap())
                .ex_regs(ip, u64::MAX, EX_REGS_CANCEL)
                .is_err()
        );
    }
    let thread = Slot::fill(|slot| FACTORY.create_thread(OWN, SPARE_PAGE, CapIndex::NONE, 0, slot))?;
    let bad = Start {
        ip: 1 << 47,
        sp: 0,
        argument: 0,
    };
    check!(SCHEDULER.start(thread.index(), here(PRIORITY), bad).is_err());
    drop(thread);
    settled_counters()?;
    Ok(())
}

fn threads_end_whatever_they_do() -> TestResult {
    let gate = l4re::server::create_gate(0)?;
    let unbound = Slot::fill(|slot| FACTORY.create_gate(0, CapIndex::NONE, slot))?;
    let partner = Partner::start(Role::Sleep, Place::TASK)?;
    let caps = [gate.index(), unbound.index(), partner.gate.index()];
    for cpu in 0..crate::harness::cpu_count()?.min(2) {
        for (kind, cap) in caps.into_iter().chain([CapIndex::NONE; 3]).enumerate() {
            let thread = Builder {
                placement: Placement {
                    cpu,
                    ..here(PRIORITY)
                },
                ..Builder::default()
            }
            .spawn(move || match kind {
                0..3 => drop(syscall::call(cap, Tag::new(1, 0, 0))),
                3 => drop(syscall::wait(NEVER)),
                4 => syscall::sleep_until(clock::after(3_600_000_000_000)),
                _ => spin(),
            })?;
            clock::sleep(500_000);
            check_eq!(thread.kill()?, Ending::Died);
            settled_counters()?;
        }
    }
    let never_run = Slot::fill(|slot| FACTORY.create_thread(OWN, SPARE_PAGE, CapIndex::NONE, 0, slot))?;
    never_run.delete()?;
    settled_counters()?;
    Ok(())
}

fn the_last_capability_ends_a_thread() -> TestResult {
    let before = settled_counters()?.threads;
    let thread = Builder {
        placement: here(PRIORITY - 1),
        ..Builder::default()
    }
    .spawn(spin)?;
    let copy = Slot::fill(|slot| OWN.map(&[MapEntry::copy(thread.cap(), slot, Rights::READ)]))?;
    let slot = thread.cap();
    OWN.drop_cap(slot)?;
    check_eq!(settled_counters()?.threads, before + 1);
    drop(copy);
    check_eq!(settled_counters()?.threads, before);
    thread.reap();
    Ok(())
}

fn the_end_is_noticed() -> TestResult {
    let mut partner = Partner::start(Role::Sleep, Place::TASK)?;
    let own = start::current_thread();
    let irqs = [0x10, 0x20].map(|label| Slot::fill(|slot| FACTORY.create_irq(label, own, slot)));
    let [task, thread] = irqs;
    let (task, thread) = (task?, thread?);
    Irq(task.index()).watch(partner.task())?;
    Irq(thread.index()).watch(partner.thread())?;
    partner.kill();
    let mut seen = [
        syscall::wait(clock::after(1_000_000_000)),
        syscall::wait(clock::after(1_000_000_000)),
    ]
    .map(|received| received.result().map(|_| received.label));
    seen.sort_by_key(|label| label.unwrap_or(0));
    // A notification's result is its protocol, which is below zero.
    check_eq!(seen.map(|label| label.is_err()), [true, true]);
    Ok(())
}

fn a_watcher_that_comes_late_is_told() -> TestResult {
    let gate = l4re::server::create_gate(0)?;
    let cap = gate.index();
    let thread = Builder {
        placement: here(PRIORITY + 1),
        ..Builder::default()
    }
    .spawn(move || {
        syscall::send(cap, Tag::new(1, 0, 0), NEVER);
    })?;
    let copy = Slot::fill(|slot| OWN.map(&[MapEntry::copy(thread.cap(), slot, Rights::all())]))?;
    syscall::wait(clock::after(1_000_000_000)).result()?;
    // It has ended by now, having the higher priority.
    let irq = Slot::fill(|slot| FACTORY.create_irq(0x50, start::current_thread(), slot))?;
    if Irq(irq.index()).watch(copy.index()).is_ok() {
        let received = syscall::wait(clock::after(1_000_000_000));
        check_eq!((received.tag.label(), received.label), (l4::protocol::IRQ, 0x50));
    }
    thread.reap();
    Ok(())
}

fn cpu_time_counts_work_only() -> TestResult {
    let before = own().cpu_time()?;
    clock::sleep(20_000_000);
    let slept = own().cpu_time()? - before;
    check!(slept < 10_000_000);
    let until = clock::after(5_000_000);
    while clock::now_ns() < until {
        core::hint::spin_loop();
    }
    check!(own().cpu_time()? - before >= 4_000_000);
    Ok(())
}

fn a_thread_can_ask_where_it_runs() -> TestResult {
    let before = own().stats()?;
    check_eq!((before.priority, before.cpu), (PRIORITY, 0));
    let lower = PRIORITY - 1;
    SCHEDULER.place(start::current_thread(), here(lower))?;
    let between = own().stats()?;
    SCHEDULER.place(start::current_thread(), here(PRIORITY))?;
    check_eq!(between.priority, lower);
    check!(own().stats()?.cpu_time >= between.cpu_time);
    Ok(())
}

fn segment_bases_belong_to_the_thread() -> TestResult {
    fn run(value: u64, rounds: u32) -> Result<bool, Error> {
        let cell = AtomicU64::new(value);
        own().set_bases(&raw const cell as u64, u64::MAX)?;
        for _ in 0..rounds {
            own().yield_now()?;
            let read: u64;
            // SAFETY: FS points to a word that lives until the end of this function.
            unsafe { core::arch::asm!("mov {}, fs:[0]", out(reg) read, options(nostack, readonly)) };
            if read != value {
                return Ok(false);
            }
        }
        own().set_bases(0, u64::MAX)?;
        Ok(true)
    }
    let other = Builder {
        placement: here(PRIORITY),
        ..Builder::default()
    }
    .spawn(|| {
        if run(0x1111, 100) != Ok(true) {
            touch(0);
        }
    })?;
    check!(run(0x2222, 100)?);
    check_eq!(other.join()?, Ending::Returned);
    check!(own().set_bases(1 << 47, u64::MAX).is_err());
    check!(own().set_bases(u64::MAX, 0xffff_8000_0000_0000).is_err());
    Ok(())
}

/// Answers a foreign system call: the sum of its number and its first argument.
#[unsafe(naked)]
extern "C" fn personality() {
    naked_asm!("add rax, rdi", "jmp qword ptr gs:[{}]", const utcb::PERSONALITY_RETURN * 8)
}

fn foreign_system_calls_enter_the_personality() -> TestResult {
    own().set_personality(personality as *const () as u64)?;
    let (result, kept, vector): (u64, u64, u64);
    // SAFETY: The entry above changes rax only, the instruction itself rcx and r11.
    unsafe {
        core::arch::asm!(
            "movq xmm5, {pattern}",
            "syscall",
            "movq {pattern}, xmm5",
            pattern = inlateout(reg) 0x1357_9bdfu64 => vector,
            inlateout("rax") 39u64 => result,
            in("rdi") 1000u64,
            inlateout("rdx") 0x2468u64 => kept,
            out("rcx") _, out("r11") _, out("xmm5") _,
        );
    }
    own().set_personality(0)?;
    check_eq!((result, kept, vector), (1039, 0x2468, 0x1357_9bdf));
    let partner = Partner::start(Role::Echo, Place::TASK)?;
    partner.call(&[1])?;
    check!(own().set_personality(1 << 47).is_err());
    Ok(())
}

/// Handles a fault in the thread: moves the instruction pointer of the record past the faulting instruction, whose length
/// is 2, and resumes.
extern "C" fn fault_entry() -> ! {
    let utcb = Utcb::current();
    let rip = utcb::FAULT_FRAME + 4;
    utcb.set_word(rip, utcb.word(rip) + 2);
    utcb.set_word(utcb::FAULT_FRAME + 7, utcb.word(utcb::FAULT_FRAME + 3));
    let error = own().resume();
    panic!("resume came back: {error}");
}

#[repr(align(16))]
struct FaultStack([u8; 8192]);

fn with_fault_entry(entry: u64, body: impl FnOnce() -> TestResult) -> TestResult {
    let mut stack = alloc::boxed::Box::new(FaultStack([0; 8192]));
    let top = stack.0.as_mut_ptr_range().end as u64;
    own().set_fault_entry(entry, top - 8)?;
    let result = body();
    own().set_fault_entry(0, 0)?;
    result
}

fn a_fault_enters_the_thread_itself() -> TestResult {
    with_fault_entry(fault_entry as *const () as u64, || {
        for address in [0x6300_0000_0010u64, 0x6300_0000_0020] {
            let seen: u64;
            let kept: u64;
            // SAFETY: The load faults; the entry puts the fault's address into rax and goes on behind it.
            unsafe {
                core::arch::asm!(
                    "mov eax, [rdx]",
                    inlateout("rax") 0u64 => seen,
                    in("rdx") address,
                    inlateout("r9") 0x77u64 => kept,
                );
            }
            check_eq!((seen, kept), (address, 0x77));
            check_eq!(Utcb::current().word(utcb::FAULT_ACTIVE), 0);
        }
        Ok(())
    })
}

extern "C" fn faulty_entry() -> ! {
    touch(0x6300_0000_0030);
    start::end_thread()
}

fn a_fault_while_one_is_handled_goes_to_the_handler() -> TestResult {
    let mut victim = Victim::start(0, PRIORITY, || {
        let _ = with_fault_entry(faulty_entry as *const () as u64, || {
            touch(0x6300_0000_0040);
            Ok(())
        });
    })?;
    check_eq!(victim.fault()?.address, 0x6300_0000_0030);
    check_eq!(victim.end()?, Event::Ended(Ending::Died));
    Ok(())
}

fn some_operations_are_for_oneself_only() -> TestResult {
    let partner = Partner::start(Role::Sleep, Place::HERE)?;
    let other = Thread(partner.thread());
    check_eq!(other.yield_now(), Err(Error::Invalid));
    check_eq!(other.take_reply(CapIndex(0xf00)), Err(Error::Invalid));
    check_eq!(other.exit(), Error::Invalid);
    check_eq!(other.resume(), Error::Invalid);
    check_eq!(own().resume(), Error::Invalid);
    check_eq!(own().ex_regs(u64::MAX, u64::MAX, 0), Err(Error::Invalid));
    Ok(())
}
