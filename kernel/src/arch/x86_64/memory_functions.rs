//! `memcpy` and its kin, which compiled code calls, and whole pages.
//!
//! All move 8 or 16 bytes per instruction, pages 32: emulators without KVM run a string instruction one
//! element at a time, and for the short lengths of a kernel it pays nowhere else.

// UNSAFETY: defines symbols that the compiler calls.
#![allow(
    unsafe_code,
    reason = "these functions must be assembly: the compiler would turn loops into calls of them"
)]

use core::arch::{asm, global_asm};

use super::features::Features;

global_asm!(
    r#"
.text
.balign 32
.globl memcpy, memmove
memcpy:
memmove:
    mov rax, rdi
    cmp rdx, 16
    jb 20f
    cmp rdx, 32
    ja 10f
    movups xmm0, [rsi]
    movups xmm1, [rsi + rdx - 16]
    movups [rdi], xmm0
    movups [rdi + rdx - 16], xmm1
    ret
10: cmp rdx, 64
    ja 30f
    movups xmm0, [rsi]
    movups xmm1, [rsi + 16]
    movups xmm2, [rsi + rdx - 32]
    movups xmm3, [rsi + rdx - 16]
    movups [rdi], xmm0
    movups [rdi + 16], xmm1
    movups [rdi + rdx - 32], xmm2
    movups [rdi + rdx - 16], xmm3
    ret
20: cmp edx, 8
    jb 21f
    mov rcx, [rsi]
    mov r8, [rsi + rdx - 8]
    mov [rdi], rcx
    mov [rdi + rdx - 8], r8
    ret
21: cmp edx, 4
    jb 22f
    mov ecx, [rsi]
    mov r8d, [rsi + rdx - 4]
    mov [rdi], ecx
    mov [rdi + rdx - 4], r8d
    ret
22: test edx, edx
    jz 23f
    movzx ecx, byte ptr [rsi]
    movzx r8d, byte ptr [rsi + rdx - 1]
    mov r9, rdx
    shr r9, 1
    movzx r10d, byte ptr [rsi + r9]
    mov [rdi], cl
    mov [rdi + r9], r10b
    mov [rdi + rdx - 1], r8b
23: ret

    // More than 64 bytes. Upwards unless the target begins inside the source. What the last round would
    // overwrite before it is read is loaded first: the last 64 bytes upwards, the first 64 downwards.
30: mov rcx, rdi
    sub rcx, rsi
    cmp rcx, rdx
    jb 40f
    movups xmm4, [rsi + rdx - 64]
    movups xmm5, [rsi + rdx - 48]
    movups xmm6, [rsi + rdx - 32]
    movups xmm7, [rsi + rdx - 16]
    lea r8, [rdi + rdx - 64]
31: movups xmm0, [rsi]
    movups xmm1, [rsi + 16]
    movups xmm2, [rsi + 32]
    movups xmm3, [rsi + 48]
    movups [rdi], xmm0
    movups [rdi + 16], xmm1
    movups [rdi + 32], xmm2
    movups [rdi + 48], xmm3
    add rsi, 64
    add rdi, 64
    cmp rdi, r8
    jb 31b
    movups [r8], xmm4
    movups [r8 + 16], xmm5
    movups [r8 + 32], xmm6
    movups [r8 + 48], xmm7
    ret
40: movups xmm4, [rsi]
    movups xmm5, [rsi + 16]
    movups xmm6, [rsi + 32]
    movups xmm7, [rsi + 48]
41: movups xmm0, [rsi + rdx - 64]
    movups xmm1, [rsi + rdx - 48]
    movups xmm2, [rsi + rdx - 32]
    movups xmm3, [rsi + rdx - 16]
    movups [rdi + rdx - 64], xmm0
    movups [rdi + rdx - 48], xmm1
    movups [rdi + rdx - 32], xmm2
    movups [rdi + rdx - 16], xmm3
    sub rdx, 64
    cmp rdx, 64
    ja 41b
    movups [rdi], xmm4
    movups [rdi + 16], xmm5
    movups [rdi + 32], xmm6
    movups [rdi + 48], xmm7
    ret

.balign 32
.globl memset
memset:
    mov rax, rdi
    movzx esi, sil
    movabs rcx, 0x0101010101010101
    imul rcx, rsi
    cmp rdx, 16
    jb 20f
    movq xmm0, rcx
    punpcklqdq xmm0, xmm0
    lea r8, [rdi + rdx - 16]
    cmp rdx, 64
    jbe 11f
    lea r9, [rdi + rdx - 64]
10: movups [rdi], xmm0
    movups [rdi + 16], xmm0
    movups [rdi + 32], xmm0
    movups [rdi + 48], xmm0
    add rdi, 64
    cmp rdi, r9
    jb 10b
11: cmp rdi, r8
    jae 12f
    movups [rdi], xmm0
    add rdi, 16
    jmp 11b
12: movups [r8], xmm0
    ret
20: cmp edx, 8
    jb 21f
    mov [rdi], rcx
    mov [rdi + rdx - 8], rcx
    ret
21: cmp edx, 4
    jb 22f
    mov [rdi], ecx
    mov [rdi + rdx - 4], ecx
    ret
22: test edx, edx
    jz 23f
    mov [rdi], cl
    mov [rdi + rdx - 1], cl
    shr rdx, 1
    mov [rdi + rdx], cl
23: ret

.balign 32
.globl memcmp, bcmp
memcmp:
bcmp:
    xor ecx, ecx
    sub rdx, 8
    jb 20f
10: mov rax, [rdi + rcx]
    mov r8, [rsi + rcx]
    cmp rax, r8
    jne 30f
    add rcx, 8
    cmp rcx, rdx
    jbe 10b
20: add rdx, 8
21: cmp rcx, rdx
    jae 22f
    movzx eax, byte ptr [rdi + rcx]
    movzx r8d, byte ptr [rsi + rcx]
    inc rcx
    sub eax, r8d
    jz 21b
    ret
22: xor eax, eax
    ret
    // The first byte that differs decides.
30: bswap rax
    bswap r8
    cmp rax, r8
    sbb eax, eax
    or eax, 1
    ret
"#
);

/// Bytes of a page.
const PAGE: usize = 4096;
const EIGHTH: usize = PAGE / 8;

/// Fills the page at `page` with zeros.
///
/// # Safety
/// `page` is page aligned, mapped writable, and nobody refers to it.
pub(crate) unsafe fn zero_page(page: *mut u8) {
    if !Features::AVX.present() {
        // SAFETY: the caller's promise.
        unsafe { page.write_bytes(0, PAGE) };
        return;
    }
    // SAFETY: writes exactly the page's 4096 bytes, with instructions that the processor has.
    unsafe {
        asm!(
            "vpxor xmm0, xmm0, xmm0",
            "lea {end}, [{page} + 4096]",
            "2:",
            ".set position, 0",
            ".rept 64",
            "vmovdqa [{page} + position], ymm0",
            ".set position, position + 32",
            ".endr",
            "add {page}, 2048",
            "cmp {page}, {end}",
            "jne 2b",
            "vzeroupper",
            page = inout(reg) page => _,
            end = out(reg) _,
            out("ymm0") _,
            options(nostack),
        );
    }
}

/// Copies the page at `from` to `to`.
///
/// # Safety
/// Both are page aligned and mapped, `to` writable; nobody refers to `to` or writes to `from`.
pub(crate) unsafe fn copy_page(to: *mut u8, from: *const u8) {
    if !Features::AVX.present() {
        // SAFETY: the caller's promise.
        unsafe { core::ptr::copy_nonoverlapping(from, to, PAGE) };
        return;
    }
    // SAFETY: reads and writes exactly the pages' 4096 bytes, with instructions that the processor has.
    unsafe {
        asm!(
            "lea {end}, [{to} + 4096]",
            "2:",
            ".set position, 0",
            ".rept 16",
            "vmovdqa ymm0, [{from} + position]",
            "vmovdqa ymm1, [{from} + position + 32]",
            "vmovdqa [{to} + position], ymm0",
            "vmovdqa [{to} + position + 32], ymm1",
            ".set position, position + 64",
            ".endr",
            "add {from}, 1024",
            "add {to}, 1024",
            "cmp {to}, {end}",
            "jne 2b",
            "vzeroupper",
            to = inout(reg) to => _,
            from = inout(reg) from => _,
            end = out(reg) _,
            out("ymm0") _,
            out("ymm1") _,
            options(nostack),
        );
    }
}

/// Copies those eighths of the page at `from` whose bits are set to the same place of the page at `to`.
///
/// # Safety
/// As [`copy_page`].
pub(crate) unsafe fn copy_eighths(to: *mut u8, from: *const u8, eighths: u8) {
    let mut left = eighths;
    while left != 0 {
        let start = left.trailing_zeros() as usize * EIGHTH;
        left &= left - 1;
        // SAFETY: the eighth lies in the pages.
        let (to, from) = unsafe { (to.add(start), from.add(start)) };
        if !Features::AVX.present() {
            // SAFETY: the caller's promise.
            unsafe { core::ptr::copy_nonoverlapping(from, to, EIGHTH) };
            continue;
        }
        // SAFETY: reads and writes exactly the eighth's 512 bytes, with instructions that the processor has.
        unsafe {
            asm!(
                ".set position, 0",
                ".rept 8",
                "vmovdqa ymm0, [{from} + position]",
                "vmovdqa ymm1, [{from} + position + 32]",
                "vmovdqa [{to} + position], ymm0",
                "vmovdqa [{to} + position + 32], ymm1",
                ".set position, position + 64",
                ".endr",
                "vzeroupper",
                to = in(reg) to,
                from = in(reg) from,
                out("ymm0") _,
                out("ymm1") _,
                options(nostack),
            );
        }
    }
}

/// Fills those eighths of the page at `page` whose bits are set with zeros.
///
/// # Safety
/// As [`zero_page`].
pub(crate) unsafe fn zero_eighths(page: *mut u8, eighths: u8) {
    let mut left = eighths;
    while left != 0 {
        // SAFETY: the eighth lies in the page.
        let eighth = unsafe { page.add(left.trailing_zeros() as usize * EIGHTH) };
        left &= left - 1;
        if !Features::AVX.present() {
            // SAFETY: the caller's promise.
            unsafe { eighth.write_bytes(0, EIGHTH) };
            continue;
        }
        // SAFETY: writes exactly the eighth's 512 bytes, with instructions that the processor has.
        unsafe {
            asm!(
                "vpxor xmm0, xmm0, xmm0",
                ".set position, 0",
                ".rept 16",
                "vmovdqa [{eighth} + position], ymm0",
                ".set position, position + 32",
                ".endr",
                "vzeroupper",
                eighth = in(reg) eighth,
                out("ymm0") _,
                options(nostack),
            );
        }
    }
}
