//! Copies from and to the program's memory, which may turn out not to be there.
#![expect(
    unsafe_code,
    reason = "the copy is assembly, so that a fault in it has a known address"
)]

use core::arch::global_asm;

use l4::USER_END;
use linux_abi::Errno;

global_asm!(
    ".pushsection .text.linux_abi_copy, \"ax\", @progbits",
    // In: rdi target, rsi source, rdx size. Out: eax 0; after a fault the fault entry returns 1 in its stead, so
    // callee-saved registers and the stack must stay untouched.
    ".balign 16",
    "linux_abi_copy:",
    "sub rdx, 16",
    "jb 3f",
    "2:",
    "movups xmm0, [rsi]",
    "movups [rdi], xmm0",
    "add rsi, 16",
    "add rdi, 16",
    "sub rdx, 16",
    "jae 2b",
    "3:",
    "add rdx, 8",
    "js 4f",
    "mov rax, [rsi]",
    "mov [rdi], rax",
    "add rsi, 8",
    "add rdi, 8",
    "sub rdx, 8",
    "4:",
    "add rdx, 8",
    "je 6f",
    "5:",
    "mov al, [rsi]",
    "mov [rdi], al",
    "inc rsi",
    "inc rdi",
    "dec rdx",
    "jne 5b",
    "6:",
    "xor eax, eax",
    "ret",
    // In: rdi address, rsi where its word goes. Out as above.
    ".balign 16",
    "linux_abi_load:",
    "mov eax, [rdi]",
    "mov [rsi], eax",
    "xor eax, eax",
    "ret",
    // In: rdi address, rsi and rdx two words. Out as above.
    ".balign 16",
    "linux_abi_store_pair:",
    "mov [rdi], rsi",
    "mov [rdi + 8], rdx",
    "xor eax, eax",
    "ret",
    // In: rdi address, esi expected, edx new, rcx where the old word goes. Out as above.
    ".balign 16",
    "linux_abi_compare_exchange:",
    "mov eax, esi",
    "lock cmpxchg [rdi], edx",
    "mov [rcx], eax",
    "xor eax, eax",
    "ret",
    "linux_abi_copy_end:",
    ".popsection",
);

unsafe extern "C" {
    pub(super) fn linux_abi_copy(target: u64, source: u64, size: u64) -> u64;
    fn linux_abi_load(address: u64, word: *mut u32) -> u64;
    fn linux_abi_store_pair(address: u64, first: u64, second: u64) -> u64;
    fn linux_abi_compare_exchange(address: u64, expected: u32, new: u32, old: *mut u32) -> u64;
    pub(super) safe static linux_abi_copy_end: u8;
}

/// Reads an aligned word of the program.
///
/// # Errors
/// [`Errno::FAULT`] if it is not accessible.
pub(super) fn load(address: u64) -> Result<u32, Errno> {
    let mut word = 0;
    if address >= USER_END {
        return Err(Errno::FAULT);
    }
    // SAFETY: Only the second pointer is written to, which is good; a fault on the first ends in a return of 1.
    match unsafe { linux_abi_load(address, &raw mut word) } {
        0 => Ok(word),
        _ => Err(Errno::FAULT),
    }
}

/// Writes two words to the program's memory.
///
/// # Errors
/// [`Errno::FAULT`] if they are not accessible.
///
/// # Safety
/// The words are not this layer's own memory.
#[inline]
pub(super) unsafe fn store_pair(address: u64, [first, second]: [u64; 2]) -> Result<(), Errno> {
    if address > USER_END - 16 {
        return Err(Errno::FAULT);
    }
    // SAFETY: As the caller promises; a fault ends in a return of 1.
    match unsafe { linux_abi_store_pair(address, first, second) } {
        0 => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

/// Changes an aligned word of the program from `expected` to `new`, and returns what it was.
///
/// # Errors
/// [`Errno::FAULT`] if it is not accessible.
///
/// # Safety
/// The word is not this layer's own memory.
pub(super) unsafe fn compare_exchange(address: u64, expected: u32, new: u32) -> Result<u32, Errno> {
    let mut old = 0;
    if address >= USER_END {
        return Err(Errno::FAULT);
    }
    // SAFETY: As the caller promises; the last pointer is good, and a fault on the first ends in a return of 1.
    match unsafe { linux_abi_compare_exchange(address, expected, new, &raw mut old) } {
        0 => Ok(old),
        _ => Err(Errno::FAULT),
    }
}

/// Copies between two ranges, one or both of which are the program's word.
///
/// # Errors
/// [`Errno::FAULT`] if a byte is not accessible, or a range is not in user memory; some bytes may be copied then.
///
/// # Safety
/// The range that is not the program's word is valid for the copy. Writing to the other one must not break this
/// layer: it is not the layer's own memory.
pub(super) unsafe fn copy(target: u64, source: u64, size: u64) -> Result<(), Errno> {
    for start in [target, source] {
        if start.checked_add(size).is_none_or(|end| end > USER_END) {
            return Err(Errno::FAULT);
        }
    }
    // SAFETY: As the caller promises; a fault on the program's range ends in a return of 1.
    match unsafe { linux_abi_copy(target, source, size) } {
        0 => Ok(()),
        _ => Err(Errno::FAULT),
    }
}
