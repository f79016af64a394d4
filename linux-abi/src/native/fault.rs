//! Faults of the thread, and signals for it while it computes: both arrive here.
//!
//! A fault in a copy ends the copy. One of the program is a signal if the program handles that, and goes to the task's
//! handler gate if not. One of this layer, and memory that the account can't pay, go to the handler gate at once.
#![expect(unsafe_code, reason = "the entry is assembly and knows where this layer lies")]
#![expect(clippy::too_many_lines, reason = "the entry has a line for each register")]

use core::arch::naked_asm;
use core::mem::offset_of;

use l4::exception::{ExceptionFrame, Reason};
use l4::object::Thread;
use l4::{Utcb, utcb};
use l4re::start::current_thread;
use linux_abi::{Caller, Process, Registers};

use super::calls::fault_of_program;
use super::copy::{linux_abi_copy, linux_abi_copy_end};
use super::entry::{BACK_WORD, HAS_XSAVE, STATE_WORD, register};
use super::own::Own;
use super::thread_area::State;
use super::threads;

unsafe extern "C" {
    /// First byte of this layer's code. What runs elsewhere is the program, the functions of `vdso.rs` among it.
    safe static linux_abi_code: u8;
    /// The byte behind the last one.
    safe static linux_abi_code_end: u8;
}

/// Offset in the UTCB's page of a register at the fault.
const fn offset(field: usize) -> usize {
    utcb::FAULT_FRAME * 8 + field
}

/// The fault entry. In: the stack for faults; all registers but rip, rsp and rflags as they were at the fault; these
/// three in the UTCB's page.
///
/// - A fault inside the copy makes the copy return 1: it is a leaf that changes no callee-saved register and nothing on
///   its stack.
/// - A fault or a signal while the program ran: all registers are saved in the thread's state, as for a call, and the thread
///   goes on on the stack for calls.
/// - A signal inside this layer: the thread goes on where it was, and will look for signals on its way to the program. If it
///   is past that look, it starts that way anew. The next signal may come as soon as this one is no longer active, which
///   leaves one instruction to be made again.
/// - After any other fault the thread goes back to the instruction with the fault entry switched off; so it faults again,
///   and the kernel tells the handler gate, with the registers as they were.
#[unsafe(naked)]
pub(super) extern "C" fn fault_entry() -> ! {
    naked_asm!(
        "push rax",
        "cmp qword ptr gs:[{reason}], {triggered}",
        "je 5f",
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
        // The layer's own code, or the program's?
        "2: cmp qword ptr gs:[{reason}], {quota}",
        "je 3f",
        "lea rax, [rip + {code}]",
        "cmp gs:[{rip}], rax",
        "jb 4f",
        "lea rax, [rip + {code_end}]",
        "cmp gs:[{rip}], rax",
        "jae 4f",
        // To the handler gate.
        "3: push rcx",
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
        // The program was interrupted: all of its registers go where those of a call go.
        "4: mov rax, gs:[{state}]",
        "mov [rax + {s_rbx}], rbx",
        "mov [rax + {s_rcx}], rcx",
        "mov [rax + {s_rdx}], rdx",
        "mov [rax + {s_rsi}], rsi",
        "mov [rax + {s_rdi}], rdi",
        "mov [rax + {s_rbp}], rbp",
        "mov [rax + {s_r8}], r8",
        "mov [rax + {s_r9}], r9",
        "mov [rax + {s_r10}], r10",
        "mov [rax + {s_r11}], r11",
        "mov [rax + {s_r12}], r12",
        "mov [rax + {s_r13}], r13",
        "mov [rax + {s_r14}], r14",
        "mov [rax + {s_r15}], r15",
        "pop rbx",
        "mov [rax + {s_rax}], rbx",
        "mov rsp, rax",
        "mov rbx, gs:[{rip}]",
        "mov [rsp + {s_rip}], rbx",
        "mov rbx, gs:[{rsp}]",
        "mov [rsp + {s_rsp}], rbx",
        "mov rbx, gs:[{rflags}]",
        "mov [rsp + {s_rflags}], rbx",
        "mov rbx, gs:[{vector}]",
        "mov [rsp + {s_fault}], rbx",
        "mov rbx, gs:[{error}]",
        "mov [rsp + {s_fault} + 8], rbx",
        "mov rbx, gs:[{address}]",
        "mov [rsp + {s_fault} + 16], rbx",
        "mov rbx, gs:[{reason}]",
        "mov qword ptr gs:[{active}], 0",
        "mov eax, 7",
        "xor edx, edx",
        "cmp byte ptr [rip + {has_xsave}], 0",
        "je 8f",
        "xsave64 [rsp]",
        "jmp 9f",
        "8: fxsave64 [rsp]",
        "9: cmp rbx, {triggered}",
        "je linux_abi_attend_whole",
        "mov rdi, rsp",
        "call {fault_of_program}",
        "jmp linux_abi_leave_whole",
        // A signal. While the program ran?
        "5: lea rax, [rip + {code}]",
        "cmp gs:[{rip}], rax",
        "jb 4b",
        "lea rax, [rip + {code_end}]",
        "cmp gs:[{rip}], rax",
        "jae 4b",
        // On the way to it?
        "lea rax, [rip + linux_abi_leave_call]",
        "cmp gs:[{rip}], rax",
        "jb 6f",
        "lea rax, [rip + linux_abi_leave_call_end]",
        "cmp gs:[{rip}], rax",
        "jb 12f",
        "lea rax, [rip + linux_abi_leave_whole]",
        "cmp gs:[{rip}], rax",
        "jb 6f",
        "lea rax, [rip + linux_abi_leave_whole_end]",
        "cmp gs:[{rip}], rax",
        "jb 13f",
        // Elsewhere. If it is the last instruction here, where to go is known already.
        "6: lea rax, [rip + 7f]",
        "cmp gs:[{rip}], rax",
        "je 14f",
        "mov rax, gs:[{rip}]",
        "mov gs:[{back}], rax",
        "14: push qword ptr gs:[{rflags}]",
        "mov rax, [rsp + 8]",
        "popfq",
        "mov rsp, gs:[{rsp}]",
        "mov qword ptr gs:[{active}], 0",
        "7: jmp qword ptr gs:[{back}]",
        "12: mov rsp, gs:[{state}]",
        "mov qword ptr gs:[{active}], 0",
        "jmp linux_abi_attend_call",
        "13: mov rsp, gs:[{state}]",
        "mov qword ptr gs:[{active}], 0",
        "jmp linux_abi_attend_whole",
        copy = sym linux_abi_copy,
        copy_end = sym linux_abi_copy_end,
        code = sym linux_abi_code,
        code_end = sym linux_abi_code_end,
        has_xsave = sym HAS_XSAVE,
        give_up = sym give_up,
        fault_of_program = sym fault_of_program,
        triggered = const Reason::Triggered.word(),
        quota = const Reason::Quota.word(),
        state = const STATE_WORD * 8,
        back = const BACK_WORD * 8,
        active = const utcb::FAULT_ACTIVE * 8,
        reason = const offset(offset_of!(ExceptionFrame, reason)),
        vector = const offset(offset_of!(ExceptionFrame, vector)),
        error = const offset(offset_of!(ExceptionFrame, error)),
        address = const offset(offset_of!(ExceptionFrame, address)),
        rip = const offset(offset_of!(ExceptionFrame, rip)),
        rsp = const offset(offset_of!(ExceptionFrame, rsp)),
        rflags = const offset(offset_of!(ExceptionFrame, rflags)),
        s_fault = const offset_of!(State, fault),
        s_rax = const register(offset_of!(Registers, rax)),
        s_rbx = const register(offset_of!(Registers, rbx)),
        s_rcx = const register(offset_of!(Registers, rcx)),
        s_rdx = const register(offset_of!(Registers, rdx)),
        s_rsi = const register(offset_of!(Registers, rsi)),
        s_rdi = const register(offset_of!(Registers, rdi)),
        s_rbp = const register(offset_of!(Registers, rbp)),
        s_rsp = const register(offset_of!(Registers, rsp)),
        s_r8 = const register(offset_of!(Registers, r8)),
        s_r9 = const register(offset_of!(Registers, r9)),
        s_r10 = const register(offset_of!(Registers, r10)),
        s_r11 = const register(offset_of!(Registers, r11)),
        s_r12 = const register(offset_of!(Registers, r12)),
        s_r13 = const register(offset_of!(Registers, r13)),
        s_r14 = const register(offset_of!(Registers, r14)),
        s_r15 = const register(offset_of!(Registers, r15)),
        s_rip = const register(offset_of!(Registers, rip)),
        s_rflags = const register(offset_of!(Registers, rflags)),
    )
}

/// Leaves a fault that the program has no handler for to the handler gate: the thread goes back to the instruction and
/// faults again.
pub(super) fn leave_to_handler(registers: &mut Registers, vector: u64) {
    match vector {
        // A breakpoint's instruction is over when it faults.
        BREAKPOINT => {
            let mut opcode = [0];
            let before = registers.rip.wrapping_sub(1);
            let is_short = Own.read(before, &mut opcode).is_ok() && opcode == [0xcc];
            registers.rip = if is_short { before } else { before.wrapping_sub(1) };
        }
        // So is that of a single step, and it does not trap by itself.
        SINGLE_STEP => end_program(),
        _ => {}
    }
    give_up();
}

const SINGLE_STEP: u64 = 1;
const BREAKPOINT: u64 = 3;

/// Leaves the thread's faults to the handler gate from now on. If there is none for a thread but the first, its fault ends
/// the program here.
extern "C" fn give_up() {
    if Own.thread() != 0 && !threads::have_handler() {
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
    if super::own::own_range().contains(&rip) || super::start::with_process(Process::end) {
        super::task::exit(code);
    }
    threads::stop()
}

/// Exit code of a program whose fault nobody could be told: that of a segmentation violation.
const FAULT_CODE: i32 = 128 + 11;
/// Exit code of a program that used more memory than it may: that of a killed one.
const QUOTA_CODE: i32 = 128 + 9;
