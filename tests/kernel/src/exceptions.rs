//! Faults: what their handler learns, and what it can do.
#![expect(unsafe_code, reason = "faults are made in assembly")]

use crate::harness::{Failure, PRIORITY, Test, TestResult};
use crate::partner::{Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::exception::{ExceptionFrame, Reason};
use l4::object::{Placement, Thread};
use l4::protocol::EXCEPTION;
use l4::protocol::thread::EX_REGS_TRIGGER;
use l4::{CapIndex, Error, IpcError, Tag, Utcb, syscall};
use l4re::thread::{Builder, Ending, JoinHandle};
use l4re::{clock, server};

pub(crate) const TESTS: &[Test] = tests![exceptions:
    a_handler_sees_and_sets_all_registers,
    a_page_fault_tells_address_and_kind,
    a_handler_can_make_the_access_possible,
    a_negative_answer_ends_the_thread,
    a_dropped_answer_ends_the_thread,
    a_thread_without_handler_ends,
    a_handler_that_is_gone_ends_the_thread,
    processor_exceptions_have_their_vectors,
    a_triggered_exception_stops_a_blocked_thread,
    a_triggered_exception_stops_a_running_thread,
    a_handler_may_live_on_another_cpu,
    bad_registers_end_the_thread,
    the_label_of_the_handler_is_kept,
];

const FAULT: u64 = 0x330;
const DEATH: u64 = 0x340;

/// Reads a byte at an address.
pub(crate) fn touch(address: u64) {
    // SAFETY: Reading has no effect on the program; that it may fault is the purpose.
    unsafe { core::arch::asm!("mov al, [{}]", in(reg) address, out("al") _, options(nostack, readonly)) };
}

/// Writes a byte at an address, which is memory of the test or faults.
pub(crate) fn poke(address: u64) {
    // SAFETY: The test passes an address of its own; that it may fault is the purpose.
    unsafe { core::arch::asm!("mov byte ptr [{}], 1", in(reg) address, options(nostack)) };
}

/// A thread whose faults come to the calling thread.
pub(crate) struct Victim {
    thread: Option<JoinHandle>,
    _gate: l4re::OwnedCap,
}

/// What happened to a victim.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Fault(ExceptionFrame),
    Ended(Ending),
}

impl Victim {
    pub(crate) fn start(
        cpu: u32,
        priority: u8,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Victim, Error> {
        let gate = server::create_gate(FAULT)?;
        let placement = Placement {
            cpu,
            priority,
            slice_us: 0,
        };
        let builder = Builder {
            placement,
            handler: gate.index(),
            ..Builder::default()
        };
        let thread = builder.spawn(body)?;
        thread.notify_death(DEATH)?;
        Ok(Victim {
            thread: Some(thread),
            _gate: gate,
        })
    }

    /// The thread.
    pub(crate) fn cap(&self) -> CapIndex {
        self.thread.as_ref().map_or(CapIndex::NONE, JoinHandle::cap)
    }

    /// Waits for the next fault or the end.
    pub(crate) fn next(&mut self) -> Result<Event, Error> {
        let received = syscall::wait(clock::after(5_000_000_000));
        if received.tag.is_error() {
            received.result()?;
        }
        if received.label & !3 == DEATH {
            return Ok(Event::Ended(
                self.thread.take().map_or(Ending::Died, JoinHandle::reap),
            ));
        }
        let mut words = [0; ExceptionFrame::WORDS];
        Utcb::current().read(0, &mut words);
        if received.tag.label() != EXCEPTION || received.tag.words() != ExceptionFrame::WORDS {
            return Err(Error::BadProtocol);
        }
        Ok(Event::Fault(ExceptionFrame::from_words(&words)))
    }

    /// The next fault.
    pub(crate) fn fault(&mut self) -> Result<ExceptionFrame, Failure> {
        match self.next()? {
            Event::Fault(frame) => Ok(frame),
            Event::Ended(ending) => Err(Failure::new(format_args!("{ending:?} instead of a fault"))),
        }
    }

    /// Lets it go on after a fault, with these registers or as it was.
    pub(crate) fn go_on(&self, frame: Option<&ExceptionFrame>) -> Result<(), Error> {
        let words = match frame {
            Some(frame) => {
                Utcb::current().write(0, &frame.to_words());
                ExceptionFrame::WORDS
            }
            None => 0,
        };
        syscall::reply(None, Tag::new(0, words, 0)).result().map(drop)
    }

    /// Ends it after a fault.
    pub(crate) fn end(&mut self) -> Result<Event, Error> {
        syscall::reply(None, Tag::new(-1, 0, 0)).result()?;
        self.next()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.kill();
        }
    }
}

/// The fault that `body` runs into, which ends it; `None` if it comes to its end.
pub(crate) fn fault_of(body: impl FnOnce() + Send + 'static) -> Result<Option<ExceptionFrame>, Failure> {
    let mut victim = Victim::start(0, PRIORITY, body)?;
    match victim.next()? {
        Event::Fault(frame) => {
            check_eq_ended(victim.end()?)?;
            Ok(Some(frame))
        }
        Event::Ended(_) => Ok(None),
    }
}

fn check_eq_ended(event: Event) -> TestResult {
    check_eq!(event, Event::Ended(Ending::Died));
    Ok(())
}

/// Fills registers with known values, faults, and stores what they are afterwards at rdi.
#[unsafe(naked)]
extern "C" fn probe(registers: *mut [u64; 14]) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rax, 0x101",
        "mov rbx, 0x102",
        "mov rcx, 0x103",
        "mov rdx, 0x104",
        "mov rsi, 0x105",
        "mov rbp, 0x106",
        "mov r8, 0x107",
        "mov r9, 0x108",
        "mov r10, 0x109",
        "mov r11, 0x10a",
        "mov r12, 0x10b",
        "mov r13, 0x10c",
        "mov r14, 0x10d",
        "mov r15, 0x10e",
        "ud2",
        "mov [rdi], rax",
        "mov [rdi + 8], rbx",
        "mov [rdi + 16], rcx",
        "mov [rdi + 24], rdx",
        "mov [rdi + 32], rsi",
        "mov [rdi + 40], rbp",
        "mov [rdi + 48], r8",
        "mov [rdi + 56], r9",
        "mov [rdi + 64], r10",
        "mov [rdi + 72], r11",
        "mov [rdi + 80], r12",
        "mov [rdi + 88], r13",
        "mov [rdi + 96], r14",
        "mov [rdi + 104], r15",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

fn registers(frame: &mut ExceptionFrame) -> [&mut u64; 14] {
    let f = frame;
    [
        &mut f.rax, &mut f.rbx, &mut f.rcx, &mut f.rdx, &mut f.rsi, &mut f.rbp, &mut f.r8, &mut f.r9,
        &mut f.r10, &mut f.r11, &mut f.r12, &mut f.r13, &mut f.r14, &mut f.r15,
    ]
}

fn a_handler_sees_and_sets_all_registers() -> TestResult {
    let after: Arc<[AtomicU64; 14]> = Arc::new([const { AtomicU64::new(0) }; 14]);
    let stored = after.clone();
    let mut victim = Victim::start(0, PRIORITY, move || {
        let mut values = [0; 14];
        probe(&mut values);
        for (place, value) in stored.iter().zip(values) {
            place.store(value, Ordering::SeqCst);
        }
    })?;
    let mut frame = victim.fault()?;
    check_eq!(
        (Reason::from_word(frame.reason), frame.vector),
        (Some(Reason::Exception), 6)
    );
    for (index, register) in registers(&mut frame).into_iter().enumerate() {
        check_eq!(*register, 0x101 + index as u64);
        *register += 0x1000;
    }
    frame.rip += 2;
    victim.go_on(Some(&frame))?;
    check_eq!(victim.next()?, Event::Ended(Ending::Returned));
    for (index, value) in after.iter().enumerate() {
        check_eq!(value.load(Ordering::SeqCst), 0x1101 + index as u64);
    }
    Ok(())
}

/// No region is here.
const NOWHERE: u64 = 0x6000_0000_1230;

fn a_page_fault_tells_address_and_kind() -> TestResult {
    let read = fault_of(|| touch(NOWHERE))?;
    let read = read.ok_or_else(|| Failure::new(format_args!("no fault")))?;
    check_eq!(
        (read.reason, read.vector, read.address, read.error & 0x17),
        (0, 14, NOWHERE, 4)
    );
    let written = fault_of(|| poke(NOWHERE + 1))?;
    let written = written.ok_or_else(|| Failure::new(format_args!("no fault")))?;
    check_eq!((written.address, written.error & 0x17), (NOWHERE + 1, 6));
    check!(fault_of(|| touch(0))?.is_some_and(|frame| frame.address == 0));
    let kernel = fault_of(|| touch(0xffff_8000_0000_0000))?;
    check!(kernel.is_some_and(|frame| frame.address == 0xffff_8000_0000_0000));
    let kernel = fault_of(|| poke(0xffff_ffff_8010_0000))?;
    check!(kernel.is_some());
    Ok(())
}

fn a_handler_can_make_the_access_possible() -> TestResult {
    let mut victim = Victim::start(0, PRIORITY, || touch(NOWHERE))?;
    let frame = victim.fault()?;
    check_eq!(frame.address, NOWHERE);
    let region = crate::memory::anonymous(NOWHERE & !0xfff, 0x1000);
    l4::object::Task(CapIndex::TASK).attach(&[region])?;
    victim.go_on(None)?;
    check_eq!(victim.next()?, Event::Ended(Ending::Returned));
    l4::object::Task(CapIndex::TASK).detach(NOWHERE & !0xfff, 0x1000)?;
    Ok(())
}

fn a_negative_answer_ends_the_thread() -> TestResult {
    let mut victim = Victim::start(0, PRIORITY, || touch(NOWHERE))?;
    victim.fault()?;
    check_eq!(victim.end()?, Event::Ended(Ending::Died));
    Ok(())
}

fn a_dropped_answer_ends_the_thread() -> TestResult {
    let mut victim = Victim::start(0, PRIORITY, || touch(NOWHERE))?;
    victim.fault()?;
    // Waiting again gives up the answer.
    check_eq!(victim.next()?, Event::Ended(Ending::Died));
    Ok(())
}

fn a_thread_without_handler_ends() -> TestResult {
    let placement = Placement {
        cpu: 0,
        priority: PRIORITY,
        slice_us: 0,
    };
    let thread = Builder {
        placement,
        ..Builder::default()
    }
    .spawn(|| touch(NOWHERE))?;
    check_eq!(thread.join()?, Ending::Died);
    Ok(())
}

fn a_handler_that_is_gone_ends_the_thread() -> TestResult {
    let gate = server::create_gate(FAULT)?;
    let placement = Placement {
        cpu: 0,
        priority: PRIORITY - 1,
        slice_us: 0,
    };
    let thread = Builder {
        placement,
        handler: gate.index(),
        ..Builder::default()
    }
    .spawn(|| touch(NOWHERE))?;
    gate.delete()?;
    check_eq!(thread.join()?, Ending::Died);
    Ok(())
}

fn processor_exceptions_have_their_vectors() -> TestResult {
    let cases: [(u64, fn()); 4] = [
        // SAFETY: Each makes the exception that is its purpose; the thread ends there.
        (0, || unsafe {
            core::arch::asm!("div {0:r}", in(reg) 0u64, inout("rax") 1u64 => _, inout("rdx") 0u64 => _);
        }),
        // SAFETY: As above.
        (3, || unsafe { core::arch::asm!("int3") }),
        // SAFETY: As above.
        (13, || unsafe { core::arch::asm!("cli") }),
        // SAFETY: As above.
        (13, || unsafe { core::arch::asm!("int 0x20") }),
    ];
    for (vector, body) in cases {
        let frame = fault_of(body)?;
        check_eq!(frame.map(|frame| (frame.reason, frame.vector)), Some((1, vector)));
    }
    Ok(())
}

fn a_triggered_exception_stops_a_blocked_thread() -> TestResult {
    let mut victim = Victim::start(0, PRIORITY + 1, || {
        let received = syscall::wait(l4::NEVER).result();
        if received != Err(Error::Ipc(IpcError::ReceiveCanceled)) {
            touch(NOWHERE);
        }
    })?;
    let (old_ip, _) = Thread(victim.cap()).ex_regs(u64::MAX, u64::MAX, EX_REGS_TRIGGER)?;
    let frame = victim.fault()?;
    check_eq!(
        (Reason::from_word(frame.reason), frame.vector),
        (Some(Reason::Triggered), 0xff)
    );
    check_eq!(frame.rip, old_ip);
    victim.go_on(None)?;
    check_eq!(victim.next()?, Event::Ended(Ending::Returned));
    Ok(())
}

/// [`Thread::ex_regs`] of a thread that may run on another CPU.
pub(crate) fn ex_regs_patiently(thread: CapIndex, ip: u64, sp: u64, flags: u64) -> Result<(u64, u64), Error> {
    let deadline = clock::after(1_000_000_000);
    loop {
        match Thread(thread).ex_regs(ip, sp, flags) {
            Err(Error::Again) if clock::now_ns() < deadline => core::hint::spin_loop(),
            result => return result,
        }
    }
}

fn a_triggered_exception_stops_a_running_thread() -> TestResult {
    for cpu in 0..crate::harness::cpu_count()?.min(2) {
        let mut victim = Victim::start(cpu, PRIORITY - 1, || {
            loop {
                core::hint::spin_loop();
            }
        })?;
        clock::sleep(1_000_000);
        ex_regs_patiently(victim.cap(), u64::MAX, u64::MAX, EX_REGS_TRIGGER)?;
        let frame = victim.fault()?;
        check_eq!(Reason::from_word(frame.reason), Some(Reason::Triggered));
        check_eq!(victim.end()?, Event::Ended(Ending::Died));
    }
    Ok(())
}

fn a_handler_may_live_on_another_cpu() -> TestResult {
    let cpu = crate::harness::other_cpu()?;
    for _ in 0..20 {
        let mut victim = Victim::start(cpu, PRIORITY, || touch(NOWHERE))?;
        check_eq!(victim.fault()?.address, NOWHERE);
        check_eq!(victim.end()?, Event::Ended(Ending::Died));
    }
    let gate = server::create_gate(FAULT)?;
    let partner = Partner::start_with(Role::Touch, Place { cpu, ..Place::TASK }, gate.index())?;
    Utcb::current().set_word(0, NOWHERE);
    syscall::send(
        partner.gate.index(),
        Tag::new(1, 1, 0),
        clock::after(1_000_000_000),
    )
    .result()?;
    let received = syscall::wait(clock::after(5_000_000_000));
    check_eq!(
        (
            received.result().is_err(),
            received.tag.label(),
            Utcb::current().word(3)
        ),
        (true, EXCEPTION, NOWHERE)
    );
    Ok(())
}

fn bad_registers_end_the_thread() -> TestResult {
    let changes: [fn(&mut ExceptionFrame); 3] = [
        |frame| frame.rip = 0xffff_8000_0000_0000,
        |frame| frame.rip = 1 << 47,
        |frame| frame.fs_base = 1 << 60,
    ];
    for change in changes {
        let mut victim = Victim::start(0, PRIORITY, || touch(NOWHERE))?;
        let mut frame = victim.fault()?;
        change(&mut frame);
        victim.go_on(Some(&frame))?;
        check_eq!(victim.next()?, Event::Ended(Ending::Died));
    }
    // Flags that a program must not have are not set.
    let mut victim = Victim::start(0, PRIORITY, || {
        let mut values = [0; 14];
        probe(&mut values);
        touch(NOWHERE);
    })?;
    let mut frame = victim.fault()?;
    frame.rip += 2;
    frame.rflags = !0x100;
    victim.go_on(Some(&frame))?;
    let frame = victim.fault()?;
    // I/O privilege, nested task, virtual mode: never; interrupts on: always.
    check_eq!(frame.rflags & 0x27200, 0x200);
    check_eq!(victim.end()?, Event::Ended(Ending::Died));
    Ok(())
}

fn the_label_of_the_handler_is_kept() -> TestResult {
    let gate = server::create_gate(FAULT)?;
    let placement = Placement {
        cpu: 0,
        priority: PRIORITY,
        slice_us: 0,
    };
    let builder = Builder {
        placement,
        handler: gate.index(),
        handler_label: 0x5550,
        ..Builder::default()
    };
    let thread = builder.spawn(|| touch(NOWHERE))?;
    let received = syscall::wait(clock::after(1_000_000_000));
    check_eq!((received.label & !3, received.tag.label()), (0x5550, EXCEPTION));
    syscall::reply(None, Tag::new(-1, 0, 0)).result()?;
    thread.join()?;
    Ok(())
}
