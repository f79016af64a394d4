//! Clocks that programs read without a call: a shared object in this image, which C libraries and Go's runtime find through
//! `AT_SYSINFO_EHDR` (vdso(7)).
//!
//! It is written as it is loaded: ELF header, two program headers, and what the dynamic section points to (ELF-64 Object
//! File Format). Its functions run in the program, on the program's stack: a fault in them is the program's, and so is a
//! signal; so they lie behind the code of this layer (`image.ld`).
#![expect(unsafe_code, reason = "the object is made of assembly")]

use core::arch::global_asm;
use core::mem::offset_of;

use l4::info_page::InfoPage;

use super::own::INFO_PAGE;

/// Clocks that are the kernel's, or differ from it by a constant: `CLOCK_REALTIME`, `MONOTONIC`, `MONOTONIC_RAW`, both coarse
/// ones, and `BOOTTIME`, one bit each.
const CLOCKS: u32 = 0b1111_0011;
/// Those that are the wall clock: `CLOCK_REALTIME` and the coarse one.
const WALL_CLOCKS: u32 = 0b0010_0001;
/// With [`BILLIONTH_SHIFT`], and a shift by 9 before: n / 10^9 = ((n >> 9) * this >> 64) >> 11 for every 64-bit n (Granlund
/// and Montgomery, "Division by invariant integers using multiplication").
const BILLIONTH: u64 = 0x0044_b82f_a09b_5a53;
const BILLIONTH_SHIFT: u32 = 11;
const SECOND: u32 = 1_000_000_000;
/// n / 1000 = ((n >> 3) * this >> 64) >> 4, likewise.
const THOUSANDTH: u64 = 0x20c4_9ba5_e353_f7cf;

const CLOCK_GETTIME: u32 = 228;

/// Hashes of `linux-vdso.so.1` and `LINUX_2.6` (System V ABI, chapter 5, "Hash Table").
const OBJECT_HASH: u32 = 0x0dee_bfa1;
const VERSION_HASH: u32 = 0x03ae_75f6;

global_asm!(
    ".pushsection .vdso, \"ax\", @progbits",
    ".balign 4096",
    "linux_abi_vdso:",
    // ELF header: 64-bit, little-endian, shared object, x86-64.
    ".byte 0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0",
    ".quad 0",
    ".short 3, 62",
    ".long 1",
    ".quad 0",
    ".quad 64",
    ".quad 0",
    ".long 0",
    ".short 64, 56, 2, 64, 0, 0",
    // All of it, to read and execute.
    ".long 1, 5",
    ".quad 0, 0, 0, 2f - linux_abi_vdso, 2f - linux_abi_vdso, 4096",
    // The dynamic section, to read: libraries must not relocate it in place.
    ".long 2, 4",
    ".quad 3f - linux_abi_vdso, 3f - linux_abi_vdso, 3f - linux_abi_vdso, 4f - 3f, 4f - 3f, 8",
    // Names of the object; tables of hashes, names and symbols, size of names and of a symbol; the symbols' versions, the
    // versions and their number.
    "3: .quad 14, 5f - 6f",
    ".quad 4, 7f - linux_abi_vdso",
    ".quad 5, 6f - linux_abi_vdso",
    ".quad 6, 8f - linux_abi_vdso",
    ".quad 10, 9f - 6f",
    ".quad 11, 24",
    ".quad 0x6ffffff0, 35f - linux_abi_vdso",
    ".quad 0x6ffffffc, 36f - linux_abi_vdso",
    ".quad 0x6ffffffd, 2",
    ".quad 0, 0",
    "4:",
    // Symbols: name, global function, section (any), address, size.
    "8: .quad 0, 0, 0",
    ".long 22f - 6f",
    ".byte 0x12, 0",
    ".short 1",
    ".quad linux_abi_vdso_clock_gettime - linux_abi_vdso, 32f - linux_abi_vdso_clock_gettime",
    ".long 23f - 6f",
    ".byte 0x12, 0",
    ".short 1",
    ".quad linux_abi_vdso_gettimeofday - linux_abi_vdso, 33f - linux_abi_vdso_gettimeofday",
    ".long 24f - 6f",
    ".byte 0x12, 0",
    ".short 1",
    ".quad linux_abi_vdso_time - linux_abi_vdso, 34f - linux_abi_vdso_time",
    // One bucket with all four symbols in a chain; the first one is none.
    "7: .long 1, 4, 1, 0, 2, 3, 0",
    // Versions, which Go's runtime does not do without: that of the object, and the one of the functions, each with its
    // hash and one name (Linux Standard Base, "Symbol Versioning").
    "36: .short 1, 1, 1, 1",
    ".long {object_hash}, 20, 28",
    ".long 5f - 6f, 0",
    ".short 1, 0, 2, 1",
    ".long {version_hash}, 20, 0",
    ".long 37f - 6f, 0",
    // Each symbol's version.
    "35: .short 0, 2, 2, 2",
    "6: .byte 0",
    "5: .asciz \"linux-vdso.so.1\"",
    "22: .asciz \"__vdso_clock_gettime\"",
    "23: .asciz \"__vdso_gettimeofday\"",
    "24: .asciz \"__vdso_time\"",
    "37: .asciz \"LINUX_2.6\"",
    "9:",
    // In: edi clock, rsi where the time goes.
    ".balign 16",
    "linux_abi_vdso_clock_gettime:",
    "cmp edi, 7",
    "ja 25f",
    "mov eax, {clocks}",
    "bt eax, edi",
    "jnc 25f",
    "mov r8, [rip + {info_page}]",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "sub rax, [r8 + {tsc_base}]",
    "mul qword ptr [r8 + {tsc_mult}]",
    "shrd rax, rdx, 32",
    "mov ecx, {wall_clocks}",
    "bt ecx, edi",
    "jnc 26f",
    "add rax, [r8 + {wall_clock_ns}]",
    "26: mov r8, rax",
    "shr rax, 9",
    "movabs rcx, {billionth}",
    "mul rcx",
    "shr rdx, {billionth_shift}",
    "mov [rsi], rdx",
    "imul rdx, rdx, {second}",
    "sub r8, rdx",
    "mov [rsi + 8], r8",
    "xor eax, eax",
    "ret",
    "25: mov eax, {clock_gettime}",
    "syscall",
    "ret",
    "32:",
    // In: rdi where the time goes, rsi where the zone goes, each perhaps 0.
    ".balign 16",
    "linux_abi_vdso_gettimeofday:",
    "test rsi, rsi",
    "jz 27f",
    "mov qword ptr [rsi], 0",
    "27: test rdi, rdi",
    "jz 28f",
    "mov r9, rdi",
    "xor edi, edi",
    "mov rsi, r9",
    "call linux_abi_vdso_clock_gettime",
    "mov rax, [r9 + 8]",
    "shr rax, 3",
    "movabs rcx, {thousandth}",
    "mul rcx",
    "shr rdx, 4",
    "mov [r9 + 8], rdx",
    "28: xor eax, eax",
    "ret",
    "33:",
    // In: rdi where the seconds go, or 0. Out: them.
    ".balign 16",
    "linux_abi_vdso_time:",
    "mov r9, rdi",
    "sub rsp, 24",
    "xor edi, edi",
    "mov rsi, rsp",
    "call linux_abi_vdso_clock_gettime",
    "mov rax, [rsp]",
    "add rsp, 24",
    "test r9, r9",
    "jz 29f",
    "mov [r9], rax",
    "29: ret",
    "34:",
    "2:",
    ".popsection",
    info_page = sym INFO_PAGE,
    clocks = const CLOCKS,
    wall_clocks = const WALL_CLOCKS,
    billionth = const BILLIONTH,
    billionth_shift = const BILLIONTH_SHIFT,
    thousandth = const THOUSANDTH,
    second = const SECOND,
    clock_gettime = const CLOCK_GETTIME,
    object_hash = const OBJECT_HASH,
    version_hash = const VERSION_HASH,
    tsc_base = const offset_of!(InfoPage, tsc_base),
    tsc_mult = const offset_of!(InfoPage, tsc_mult),
    wall_clock_ns = const offset_of!(InfoPage, wall_clock_ns),
);

unsafe extern "C" {
    safe static linux_abi_vdso: u8;
}

/// Where the object is.
pub(super) fn address() -> u64 {
    (&raw const linux_abi_vdso) as u64
}
