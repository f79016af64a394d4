//! Where the kernel returns a `syscall` instruction of the program to, and how a thread goes back to the program.
#![expect(unsafe_code, reason = "registers are saved and restored by assembly")]
#![expect(
    clippy::too_many_lines,
    reason = "the entry has a line for each register, there and back"
)]

use core::arch::{naked_asm, x86_64::__cpuid};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering};

use l4::utcb;
use linux_abi::Registers;

use super::calls::{attend_after_call, attend_again, system_call};
use super::thread_area::State;

/// Word of the UTCB's page that holds the address of the thread's [`State`].
pub(super) const STATE_WORD: usize = utcb::FREE_WORD;
/// Word of the UTCB's page that keeps the program's stack pointer for an instant.
const STACK_WORD: usize = utcb::FREE_WORD + 1;
/// Word of the UTCB's page that holds the thread's number.
pub(super) const NUMBER_WORD: usize = utcb::FREE_WORD + 2;
/// Word of the UTCB's page that holds the thread's id.
pub(super) const TID_WORD: usize = utcb::FREE_WORD + 3;
/// Word of the UTCB's page that holds the thread's FS base.
pub(super) const FS_WORD: usize = utcb::FREE_WORD + 4;
/// Word of the UTCB's page that holds where the program goes on, for the instant before it does.
const JUMP_WORD: usize = utcb::FREE_WORD + 5;
/// Word of the UTCB's page that holds where this layer goes on after a signal, for the instant before it does.
pub(super) const BACK_WORD: usize = utcb::FREE_WORD + 6;

/// The processor and the kernel support XSAVE.
pub(super) static HAS_XSAVE: AtomicBool = AtomicBool::new(false);

/// CPUID leaf 1, ecx bit 27: XSAVE is there and enabled.
const OSXSAVE: u32 = 1 << 27;

/// Looks at the processor; before the first entry.
pub(super) fn prepare() {
    HAS_XSAVE.store(__cpuid(1).ecx & OSXSAVE != 0, Ordering::Relaxed);
}

/// Offset of one of the program's registers in [`State`].
pub(super) const fn register(field: usize) -> usize {
    offset_of!(State, registers) + field
}

/// The personality entry. In: the registers of the program but rcx and r11, its stack, the return address in the
/// UTCB's page. All but rax, rcx and r11 are preserved, flags, vector and x87 state included.
///
/// The two ways back look for signals first. Whatever interrupts a thread between that look and the program starts the
/// way anew (`fault.rs` knows the labels), so what they restore from stays as it is.
#[unsafe(naked)]
pub(super) extern "C" fn personality_entry() -> ! {
    naked_asm!(
        "mov gs:[{stack_word}], rsp",
        "mov rsp, gs:[{state_word}]",
        "mov [rsp + {number}], rax",
        "mov [rsp + {rbx}], rbx",
        "mov [rsp + {rdx}], rdx",
        "mov [rsp + {rsi}], rsi",
        "mov [rsp + {rdi}], rdi",
        "mov [rsp + {rbp}], rbp",
        "mov [rsp + {r8}], r8",
        "mov [rsp + {r9}], r9",
        "mov [rsp + {r10}], r10",
        "mov [rsp + {r12}], r12",
        "mov [rsp + {r13}], r13",
        "mov [rsp + {r14}], r14",
        "mov [rsp + {r15}], r15",
        "mov rax, gs:[{stack_word}]",
        "mov [rsp + {rsp}], rax",
        "mov rax, gs:[{return_word}]",
        "mov [rsp + {rip}], rax",
        "pushfq",
        "pop rax",
        "mov [rsp + {rflags}], rax",
        "cld",
        "mov eax, 7",
        "xor edx, edx",
        "cmp byte ptr [rip + {has_xsave}], 0",
        "je 2f",
        "xsave64 [rsp]",
        "jmp 3f",
        "2: fxsave64 [rsp]",
        "3: mov rdi, rsp",
        "call {system_call}",
        // Back from a call. The call preserved rbx, rbp and r12 to r15.
        ".globl linux_abi_leave_call",
        "linux_abi_leave_call:",
        "cmp qword ptr [rsp + {attention}], 0",
        "jne linux_abi_attend_call",
        "mov eax, 7",
        "xor edx, edx",
        "cmp byte ptr [rip + {has_xsave}], 0",
        "je 4f",
        "xrstor64 [rsp]",
        "jmp 5f",
        "4: fxrstor64 [rsp]",
        "5: mov r10, [rsp + {r10}]",
        "mov r9, [rsp + {r9}]",
        "mov r8, [rsp + {r8}]",
        "mov rdi, [rsp + {rdi}]",
        "mov rsi, [rsp + {rsi}]",
        "mov rdx, [rsp + {rdx}]",
        "mov rcx, [rsp + {rip}]",
        "mov r11, [rsp + {rflags}]",
        "push r11",
        "popfq",
        "mov rax, [rsp + {rax}]",
        "mov rsp, [rsp + {rsp}]",
        "jmp rcx",
        ".globl linux_abi_leave_call_end",
        "linux_abi_leave_call_end:",
        // Signals after a call, with the stack pointer at the state.
        ".globl linux_abi_attend_call",
        "linux_abi_attend_call:",
        "mov rdi, rsp",
        "call {attend_after_call}",
        // Back with all registers.
        ".globl linux_abi_leave_whole",
        "linux_abi_leave_whole:",
        "cmp qword ptr [rsp + {attention}], 0",
        "jne linux_abi_attend_whole",
        "mov eax, 7",
        "xor edx, edx",
        "cmp byte ptr [rip + {has_xsave}], 0",
        "je 6f",
        "xrstor64 [rsp]",
        "jmp 7f",
        "6: fxrstor64 [rsp]",
        "7: mov rax, [rsp + {rip}]",
        "mov gs:[{jump_word}], rax",
        "mov r15, [rsp + {r15}]",
        "mov r14, [rsp + {r14}]",
        "mov r13, [rsp + {r13}]",
        "mov r12, [rsp + {r12}]",
        "mov r11, [rsp + {r11}]",
        "mov r10, [rsp + {r10}]",
        "mov r9, [rsp + {r9}]",
        "mov r8, [rsp + {r8}]",
        "mov rdi, [rsp + {rdi}]",
        "mov rsi, [rsp + {rsi}]",
        "mov rbp, [rsp + {rbp}]",
        "mov rbx, [rsp + {rbx}]",
        "mov rdx, [rsp + {rdx}]",
        "mov rcx, [rsp + {rcx}]",
        "mov rax, [rsp + {rflags}]",
        "push rax",
        "popfq",
        "mov rax, [rsp + {rax}]",
        "mov rsp, [rsp + {rsp}]",
        "jmp qword ptr gs:[{jump_word}]",
        ".globl linux_abi_leave_whole_end",
        "linux_abi_leave_whole_end:",
        // Signals while the program computed, with the stack pointer at the state.
        ".globl linux_abi_attend_whole",
        "linux_abi_attend_whole:",
        "mov rdi, rsp",
        "call {attend_again}",
        "jmp linux_abi_leave_whole",
        // A new thread starts here, with its maker's state at the top of its stack.
        ".globl linux_abi_resume",
        "linux_abi_resume:",
        "mov r15, [rsp + {r15}]",
        "mov r14, [rsp + {r14}]",
        "mov r13, [rsp + {r13}]",
        "mov r12, [rsp + {r12}]",
        "mov rbp, [rsp + {rbp}]",
        "mov rbx, [rsp + {rbx}]",
        "jmp linux_abi_leave_call",
        stack_word = const STACK_WORD * 8,
        state_word = const STATE_WORD * 8,
        jump_word = const JUMP_WORD * 8,
        return_word = const utcb::PERSONALITY_RETURN * 8,
        has_xsave = sym HAS_XSAVE,
        system_call = sym system_call,
        attend_after_call = sym attend_after_call,
        attend_again = sym attend_again,
        number = const offset_of!(State, number),
        attention = const offset_of!(State, attention),
        rax = const register(offset_of!(Registers, rax)),
        rbx = const register(offset_of!(Registers, rbx)),
        rcx = const register(offset_of!(Registers, rcx)),
        rdx = const register(offset_of!(Registers, rdx)),
        rsi = const register(offset_of!(Registers, rsi)),
        rdi = const register(offset_of!(Registers, rdi)),
        rbp = const register(offset_of!(Registers, rbp)),
        rsp = const register(offset_of!(Registers, rsp)),
        r8 = const register(offset_of!(Registers, r8)),
        r9 = const register(offset_of!(Registers, r9)),
        r10 = const register(offset_of!(Registers, r10)),
        r11 = const register(offset_of!(Registers, r11)),
        r12 = const register(offset_of!(Registers, r12)),
        r13 = const register(offset_of!(Registers, r13)),
        r14 = const register(offset_of!(Registers, r14)),
        r15 = const register(offset_of!(Registers, r15)),
        rip = const register(offset_of!(Registers, rip)),
        rflags = const register(offset_of!(Registers, rflags)),
    )
}

unsafe extern "C" {
    /// Where a new thread starts, with the stack pointer at its [`State`].
    pub(super) safe static linux_abi_resume: u8;
}

/// Runs the program from its first instruction, as the System V ABI says: registers cleared, rdx 0 (no function to
/// register with `atexit`).
///
/// # Safety
/// `entry` is the program's first instruction and `stack` its initial stack pointer.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn run_program(entry: u64, stack: u64) -> ! {
    naked_asm!(
        "mov rsp, rsi",
        "mov rax, rdi",
        "xor ebx, ebx",
        "xor ecx, ecx",
        "xor edx, edx",
        "xor esi, esi",
        "xor edi, edi",
        "xor ebp, ebp",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r11d, r11d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "jmp rax",
    )
}
