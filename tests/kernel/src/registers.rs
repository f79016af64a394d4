//! Registers survive whatever happens to a thread.

use crate::harness::{PRIORITY, Test, TestResult};
use crate::{check_eq, tests};
use alloc::sync::Arc;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::CapIndex;
use l4::object::{Placement, Task};
use l4re::clock;
use l4re::thread::{Builder, Ending};

pub(crate) const TESTS: &[Test] = tests![threads:
    callee_saved_registers_survive,
    preemption_keeps_all_registers,
    page_faults_keep_all_registers,
];

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

/// Fills the callee-saved registers, sleeps, and counts those that have changed.
#[unsafe(naked)]
extern "C" fn sleep_with_registers(selector: u64, deadline: u64) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rdx, rdi",
        "mov r9, rsi",
        "xor r8, r8",
        "xor esi, esi",
        "mov eax, 0x8000",
        "mov rbx, 0x11",
        "mov rbp, 0x12",
        "mov r12, 0x13",
        "mov r13, 0x14",
        "mov r14, 0x15",
        "mov r15, 0x16",
        "syscall",
        "xor eax, eax",
        "sub rbx, 0x11",
        "or rax, rbx",
        "sub rbp, 0x12",
        "or rax, rbp",
        "sub r12, 0x13",
        "or rax, r12",
        "sub r13, 0x14",
        "or rax, r13",
        "sub r14, 0x15",
        "or rax, r14",
        "sub r15, 0x16",
        "or rax, r15",
        // Nothing of the kernel's is left in the others.
        "or rax, rdx",
        "or rax, r8",
        "or rax, r9",
        "or rax, r10",
        "or rax, rdi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

fn callee_saved_registers_survive() -> TestResult {
    let selector = l4::Selector::own(l4::Selector::RECEIVE).0;
    check_eq!(sleep_with_registers(selector, 0), 0);
    check_eq!(sleep_with_registers(selector, clock::after(2_000_000)), 0);
    let counted = Arc::new(AtomicU64::new(0));
    let shared = counted.clone();
    let other = Builder {
        placement: here(PRIORITY),
        ..Builder::default()
    }
    .spawn(move || {
        let selector = l4::Selector::own(l4::Selector::RECEIVE).0;
        for _ in 0..50 {
            shared.fetch_add(
                sleep_with_registers(selector, clock::after(20_000)),
                Ordering::SeqCst,
            );
        }
    })?;
    for _ in 0..50 {
        check_eq!(sleep_with_registers(selector, clock::after(20_000)), 0);
    }
    other.join()?;
    check_eq!(counted.load(Ordering::SeqCst), 0);
    Ok(())
}

/// Fills registers with `value`, writes to the pages from `start` to `end`, waits for `rounds` steps, and tells whether
/// one has changed. Vector registers of 32 bytes are used as 16.
#[unsafe(naked)]
extern "C" fn keeps_registers(value: u64, rounds: u64, start: u64, end: u64) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rbx, rdi",
        "mov rbp, rdi",
        "mov r8, rdi",
        "mov r9, rdi",
        "mov r10, rdi",
        "mov r11, rdi",
        "mov r12, rdi",
        "mov r13, rdi",
        "mov r14, rdi",
        "mov r15, rdi",
        "movq xmm0, rdi",
        "punpcklqdq xmm0, xmm0",
        ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movdqa xmm\\n, xmm0",
        ".endr",
        "2:",
        "cmp rdx, rcx",
        "jae 3f",
        "movdqu [rdx], xmm7",
        "add rdx, 4096",
        "jmp 2b",
        "3:",
        "dec rsi",
        "jnz 3b",
        // Zero stays zero if all are equal.
        "xor eax, eax",
        ".irp r, rbx, rbp, r8, r9, r10, r11, r12, r13, r14, r15",
        "xor \\r, rdi",
        "or rax, \\r",
        ".endr",
        "movq xmm0, rdi",
        "punpcklqdq xmm0, xmm0",
        ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "pxor xmm\\n, xmm0",
        "movq rbx, xmm\\n",
        "or rax, rbx",
        "punpckhqdq xmm\\n, xmm\\n",
        "movq rbx, xmm\\n",
        "or rax, rbx",
        ".endr",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

fn preemption_keeps_all_registers() -> TestResult {
    let wrong = Arc::new(AtomicU64::new(0));
    let mut threads = alloc::vec::Vec::new();
    for number in 1..5u64 {
        let wrong = wrong.clone();
        let placement = Placement {
            slice_us: 100,
            ..here(PRIORITY - 1)
        };
        let builder = Builder {
            placement,
            ..Builder::default()
        };
        threads.push(builder.spawn(move || {
            for round in 1..200 {
                let changed = keeps_registers(number << 40 | round, 20_000, 0, 0);
                wrong.fetch_add((changed != 0).into(), Ordering::SeqCst);
            }
        })?);
    }
    for thread in threads {
        check_eq!(thread.join()?, Ending::Returned);
    }
    check_eq!(wrong.load(Ordering::SeqCst), 0);
    Ok(())
}

fn page_faults_keep_all_registers() -> TestResult {
    let size = 100 * l4::PAGE_SIZE;
    for round in 1..20u64 {
        OWN.attach(&[crate::memory::anonymous(SPARE_PAGE, size)])?;
        let value = round << 32 | 0x55aa;
        let changed = keeps_registers(value, 1, SPARE_PAGE, SPARE_PAGE + size);
        check_eq!(changed, 0);
        for page in 0..100 {
            check_eq!(crate::memory::read(SPARE_PAGE + page * l4::PAGE_SIZE), value);
        }
        OWN.detach(SPARE_PAGE, size)?;
    }
    Ok(())
}
