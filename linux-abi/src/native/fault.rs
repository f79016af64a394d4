//! Faults of the thread: those in a copy end the copy, all others go to the task's handler gate.

use core::arch::naked_asm;
use core::mem::offset_of;

use l4::exception::ExceptionFrame;
use l4::object::Thread;
use l4::utcb;
use l4re::start::current_thread;

use super::copy::{linux_abi_copy, linux_abi_copy_end};

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

/// Leaves the thread's faults to the handler gate from now on.
extern "C" fn give_up() {
    if Thread(current_thread()).set_fault_entry(0, 0).is_err() {
        // The fault would come here for ever.
        super::task::exit(FAULT_CODE);
    }
}

/// Exit code of a program whose fault nobody could be told: that of a segmentation violation.
const FAULT_CODE: i32 = 128 + 11;
