//! Registers: filled before a system call or a fault, and looked at behind it, before the compiler's code uses any.
#![expect(unsafe_code, reason = "registers are written and read in assembly")]

use crate::{Letters, word};
use core::arch::naked_asm;
use core::mem::offset_of;
use l4::{CapIndex, NEVER, Selector, Tag};
use l4re::clock;

/// The processor's registers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    general: [u64; 15],
    /// 1 if the vector registers have upper halves (AVX).
    has_upper: u64,
    lower: [[u64; 2]; 16],
    upper: [[u64; 2]; 16],
}

/// Loads vector registers from xmm0, and upper halves if `[rcx + upper]` says that there are any.
macro_rules! load_vectors {
    () => {
        "punpcklqdq xmm0, xmm0
        .irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movdqa xmm\\n, xmm0
        .endr
        cmp qword ptr [rcx + {has_upper}], 0
        je 2f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vinsertf128 ymm\\n, ymm\\n, xmm0, 1
        .endr
        2:"
    };
}

/// Stores all registers but rsp and rcx at `[rcx]`; what rcx was is on the stack.
macro_rules! store_registers {
    () => {
        "mov [rcx], rax
        mov [rcx + 8], rbx
        mov [rcx + 16], rdx
        mov [rcx + 24], rsi
        mov [rcx + 32], rdi
        mov [rcx + 40], rbp
        mov [rcx + 48], r8
        mov [rcx + 56], r9
        mov [rcx + 64], r10
        mov [rcx + 72], r11
        mov [rcx + 80], r12
        mov [rcx + 88], r13
        mov [rcx + 96], r14
        mov [rcx + 104], r15
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movdqu [rcx + {lower} + 16 * \\n], xmm\\n
        .endr
        cmp qword ptr [rcx + {has_upper}], 0
        je 3f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vextractf128 [rcx + {upper} + 16 * \\n], ymm\\n, 1
        .endr
        3:"
    };
}

impl Registers {
    /// All zero.
    #[expect(
        clippy::new_without_default,
        reason = "it asks the kernel's info page for AVX"
    )]
    pub fn new() -> Registers {
        Registers {
            general: [0; 15],
            has_upper: u64::from(clock::info_page().features & 1),
            lower: [[0; 2]; 16],
            upper: [[0; 2]; 16],
        }
    }

    /// Calls through a gate with the letters in every register that the call itself does not need, and takes note of
    /// the registers as they are when it is back. Without letters, they are zero.
    pub fn call(&mut self, gate: CapIndex, tag: Tag, letters: Option<Letters>) -> Tag {
        let selector = Selector::new(gate, Selector::CALL);
        let fill = letters.map_or(0, word);
        // SAFETY: It keeps to the C calling convention, writes to `self` only, and a system call changes no other memory
        // than the UTCB.
        Tag(unsafe { call(tag.0 | Tag::NATIVE, selector.0, fill, self) })
    }

    /// Takes note of the registers.
    #[inline(always)]
    pub fn look(&mut self) {
        // SAFETY: It keeps to the C calling convention, and writes to `self` only.
        unsafe { look(self) }
    }

    /// What was found in them, word by word.
    pub(crate) fn words(&self) -> impl Iterator<Item = &u64> {
        let vectors = self.lower.as_flattened().iter().chain(self.upper.as_flattened());
        self.general.iter().chain(vectors)
    }
}

/// Leaves the letters in the vector registers.
pub fn fill_vectors(letters: Letters) {
    let form = Registers::new();
    // SAFETY: Vector registers are the caller's to save; the function reads `form` only.
    unsafe { vectors(word(letters), &form) }
}

/// Fills the vector registers, and tells whether all of them are seen to be full: no system call leaves any for a later
/// search to find, so it is shown here that the search would.
pub fn vectors_are_seen(letters: Letters) -> bool {
    let mut registers = Registers::new();
    // SAFETY: Both keep to the C calling convention and use `registers` only.
    unsafe {
        vectors(word(letters), &registers);
        look(&mut registers);
    }
    let is_full = |vectors: &[[u64; 2]]| vectors.as_flattened().iter().all(|half| *half == word(letters));
    is_full(&registers.lower) && (registers.has_upper == 0 || is_full(&registers.upper))
}

/// Ends the task with an invalid instruction, and the letters in every register.
pub fn fault(letters: Letters) -> ! {
    let form = Registers::new();
    // SAFETY: The function does not come back.
    unsafe { fill_and_fault(word(letters), &form) }
}

#[unsafe(naked)]
unsafe extern "sysv64" fn call(tag: u64, selector: u64, fill: u64, into: *mut Registers) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rcx",
        "movq xmm0, rdx",
        load_vectors!(),
        "mov rax, rdi",
        "mov rbx, rdx",
        "mov rdi, rdx",
        "mov rdx, rsi",
        "mov rsi, rbx",
        "mov rbp, rbx",
        "mov r10, rbx",
        "mov r12, rbx",
        "mov r13, rbx",
        "mov r14, rbx",
        "mov r15, rbx",
        "mov r8, {never}",
        "mov r9, r8",
        "syscall",
        "push rcx",
        "mov rcx, [rsp + 8]",
        store_registers!(),
        "pop [rcx + 112]",
        "pop rcx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        never = const NEVER as i64,
        has_upper = const offset_of!(Registers, has_upper),
        lower = const offset_of!(Registers, lower),
        upper = const offset_of!(Registers, upper),
    )
}

#[unsafe(naked)]
unsafe extern "sysv64" fn look(into: *mut Registers) {
    naked_asm!(
        "push rcx",
        "mov rcx, rdi",
        store_registers!(),
        "pop [rcx + 112]",
        "ret",
        has_upper = const offset_of!(Registers, has_upper),
        lower = const offset_of!(Registers, lower),
        upper = const offset_of!(Registers, upper),
    )
}

#[unsafe(naked)]
unsafe extern "sysv64" fn vectors(fill: u64, form: *const Registers) {
    naked_asm!(
        "mov rcx, rsi",
        "movq xmm0, rdi",
        load_vectors!(),
        "ret",
        has_upper = const offset_of!(Registers, has_upper),
    )
}

#[unsafe(naked)]
unsafe extern "sysv64" fn fill_and_fault(fill: u64, form: *const Registers) -> ! {
    naked_asm!(
        "mov rcx, rsi",
        "movq xmm0, rdi",
        load_vectors!(),
        ".irp n, rax, rbx, rcx, rdx, rsi, rbp, r8, r9, r10, r11, r12, r13, r14, r15",
        "mov \\n, rdi",
        ".endr",
        "ud2",
        has_upper = const offset_of!(Registers, has_upper),
    )
}
