//! Where the kernel returns a `syscall` instruction of the program to.
#![expect(unsafe_code, reason = "registers are saved and restored by assembly")]
#![expect(
    clippy::too_many_lines,
    reason = "the entry has a line for each register, there and back"
)]

use core::arch::{naked_asm, x86_64::__cpuid};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering};

use l4::utcb;
use linux_abi::{Caller, Futexes, Outcome, answer_alone, depart};

use super::own::Own;
use super::thread_area::Registers;
use super::{start, task, threads};

/// Who waits for which word.
static FUTEXES: Futexes = Futexes::new();

/// Word of the UTCB's page that holds the address of the thread's [`Registers`].
pub(super) const REGISTERS_WORD: usize = utcb::FREE_WORD;
/// Word of the UTCB's page that keeps the program's stack pointer for an instant.
const STACK_WORD: usize = utcb::FREE_WORD + 1;
/// Word of the UTCB's page that holds the thread's number.
pub(super) const NUMBER_WORD: usize = utcb::FREE_WORD + 2;
/// Word of the UTCB's page that holds the thread's id.
pub(super) const TID_WORD: usize = utcb::FREE_WORD + 3;
/// Word of the UTCB's page that holds the thread's FS base.
pub(super) const FS_WORD: usize = utcb::FREE_WORD + 4;

/// The processor and the kernel support XSAVE.
static HAS_XSAVE: AtomicBool = AtomicBool::new(false);

/// CPUID leaf 1, ecx bit 27: XSAVE is there and enabled.
const OSXSAVE: u32 = 1 << 27;

/// Looks at the processor; before the first entry.
pub(super) fn prepare() {
    HAS_XSAVE.store(__cpuid(1).ecx & OSXSAVE != 0, Ordering::Relaxed);
}

/// The personality entry. In: the registers of the program but rcx and r11, its stack, the return address in the
/// UTCB's page. All but rax, rcx and r11 are preserved, flags, vector and x87 state included.
#[unsafe(naked)]
pub(super) extern "C" fn personality_entry() -> ! {
    naked_asm!(
        "mov gs:[{stack_word}], rsp",
        "mov rsp, gs:[{registers_word}]",
        "mov [rsp + {rax}], rax",
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
        "6: mov eax, 7",
        "xor edx, edx",
        "cmp byte ptr [rip + {has_xsave}], 0",
        "je 4f",
        "xrstor64 [rsp]",
        "jmp 5f",
        "4: fxrstor64 [rsp]",
        // The call preserved rbx, rbp and r12 to r15.
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
        // A new thread starts here, with its maker's registers at the top of its stack.
        ".globl linux_abi_resume",
        "linux_abi_resume:",
        "mov r15, [rsp + {r15}]",
        "mov r14, [rsp + {r14}]",
        "mov r13, [rsp + {r13}]",
        "mov r12, [rsp + {r12}]",
        "mov rbp, [rsp + {rbp}]",
        "mov rbx, [rsp + {rbx}]",
        "jmp 6b",
        stack_word = const STACK_WORD * 8,
        registers_word = const REGISTERS_WORD * 8,
        return_word = const utcb::PERSONALITY_RETURN * 8,
        has_xsave = sym HAS_XSAVE,
        system_call = sym system_call,
        rax = const offset_of!(Registers, rax),
        rbx = const offset_of!(Registers, rbx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rbp = const offset_of!(Registers, rbp),
        rsp = const offset_of!(Registers, rsp),
        r8 = const offset_of!(Registers, r8),
        r9 = const offset_of!(Registers, r9),
        r10 = const offset_of!(Registers, r10),
        r12 = const offset_of!(Registers, r12),
        r13 = const offset_of!(Registers, r13),
        r14 = const offset_of!(Registers, r14),
        r15 = const offset_of!(Registers, r15),
        rip = const offset_of!(Registers, rip),
        rflags = const offset_of!(Registers, rflags),
    )
}

unsafe extern "C" {
    /// The second half of [`personality_entry`]: only to be started at, with the stack pointer at [`Registers`].
    pub(super) safe static linux_abi_resume: u8;
}

/// Answers the call in `registers`; its result goes to rax there.
extern "C" fn system_call(registers: &mut Registers) {
    let arguments = [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
        registers.r9,
    ];
    let number = registers.rax;
    registers.rax = match answer_alone(&mut Own, &FUTEXES, number, &arguments) {
        Some(value) => value,
        None => shared_call(number, &arguments),
    };
}

/// Answers a call that uses what the program's threads share.
#[inline(never)]
fn shared_call(number: u64, arguments: &[u64; 6]) -> u64 {
    loop {
        let thread = Own.thread();
        match start::with_process(|process| process.system_call(thread, number, arguments)) {
            Outcome::Return(value) => return value,
            Outcome::Wait(deadline) => Own.park(deadline),
            Outcome::EndThread(departure) => {
                depart(&mut Own, &FUTEXES, departure);
                threads::end()
            }
            Outcome::Stop => threads::stop(),
            Outcome::Exit(code) => task::exit(code),
            Outcome::Respond(length) => start::with_process(|process| process.system().respond(length)),
            Outcome::TooLong(length) => start::with_process(|process| process.system().refuse(length)),
        }
    }
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
