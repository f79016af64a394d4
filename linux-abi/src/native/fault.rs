//! Faults of the thread: those in a copy end the copy, all others go to the task's handler gate.

use core::arch::naked_asm;
use core::mem::offset_of;

use l4::exception::{ExceptionFrame, Reason};
use l4::object::Thread;
use l4::{Utcb, utcb};
use l4re::start::current_thread;
use linux_abi::{Caller, Process};

use super::copy::{linux_abi_copy, linux_abi_copy_end};
use super::own::{Own, own_range};

/// Offset in the UTCB's page of a register at the fault.
const fn offset(field: usize) -> usize {
    utcb::FAULT_FRAME * 8 + field
}

/// The fault entry. In: the stack for faults; all registers but rip, rsp and rflags as they were at the fault; these
/// three in the UTCB's page.
///
/// A fault inside the copy makes the copy return 1: it is a leaf that changes no callee-saved register and nothing on
/// its stack. After any other fault the thread goes back to the instruction with the fault entry switched off; so it
/// faults again, and the kernel tells the handler gate, with the registers as they were.
#[unsafe(naked)]
pub(super) extern "C" fn fault_entry() -> ! {
    naked_asm!(
        "push rax",
        "lea rax, [rip + {copy}]",
        "cmp gs:[{rip}], rax",
        "jb 2f",
        "lea rax, [rip + {copy_end}]",
        "cmp gs:[{rip}], rax",
        "jae 2f",
        "mov rsp, gs:[{rsp}]",
        "mov qword ptr gs:[{active}], 0",
        "mov eax, 1",
        "ret",
        "2:",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push rbx",
        "mov rbx, rsp",
        "and rsp, -16",
        "call {give_up}",
        "mov rsp, rbx",
        "pop rbx",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "push qword ptr gs:[{rflags}]",
        "popfq",
        "mov rsp, gs:[{rsp}]",
        "jmp qword ptr gs:[{rip}]",
        copy = sym linux_abi_copy,
        copy_end = sym linux_abi_copy_end,
        give_up = sym give_up,
        active = const utcb::FAULT_ACTIVE * 8,
        rip = const offset(offset_of!(ExceptionFrame, rip)),
        rsp = const offset(offset_of!(ExceptionFrame, rsp)),
        rflags = const offset(offset_of!(ExceptionFrame, rflags)),
    )
}

/// Leaves the first thread's faults to the handler gate from now on. Other threads have none, so theirs end the
/// program here.
extern "C" fn give_up() {
    if Own.thread() != 0 {
        end_program();
    }
    if Thread(current_thread()).set_fault_entry(0, 0).is_err() {
        // The fault would come here for ever.
        super::task::exit(FAULT_CODE);
    }
}

/// Says where the thread's fault was and ends the program.
fn end_program() -> ! {
    let word = |offset: usize| Utcb::current().word(utcb::FAULT_FRAME + offset / 8);
    let address = word(offset_of!(ExceptionFrame, address));
    let rip = word(offset_of!(ExceptionFrame, rip));
    let vector = word(offset_of!(ExceptionFrame, vector));
    let tid = Own.tid();
    let code = match Reason::from_word(word(offset_of!(ExceptionFrame, reason))) {
        Some(Reason::PageFault) => {
            l4re::println!("linux-abi: thread {tid}: page fault at {address:#x}, instruction {rip:#x}");
            FAULT_CODE
        }
        Some(Reason::Quota) => {
            l4re::println!("linux-abi: thread {tid}: memory limit reached, address {address:#x}");
            QUOTA_CODE
        }
        _ => {
            l4re::println!("linux-abi: thread {tid}: exception {vector}, instruction {rip:#x}");
            FAULT_CODE
        }
    };
    // A fault of this layer itself may hold what all threads share.
    if own_range().contains(&rip) || super::start::with_process(Process::end) {
        super::task::exit(code);
    }
    super::threads::stop()
}

/// Exit code of a program whose fault nobody could be told: that of a segmentation violation.
const FAULT_CODE: i32 = 128 + 11;
/// Exit code of a program that used more memory than it may: that of a killed one.
const QUOTA_CODE: i32 = 128 + 9;
