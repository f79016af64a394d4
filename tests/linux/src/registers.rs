//! A Linux call changes rax, rcx and r11, and nothing else.
#![expect(unsafe_code, reason = "registers are set and read by assembly")]

use std::arch::asm;
use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_storeu_si256};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("general registers and flags survive a call", general),
    ("vector registers survive a call", vectors),
    ("floating-point control survives a call", control),
];

const GETPID: u64 = libc::SYS_getpid as u64;

fn general() {
    let values: [u64; 12] = std::array::from_fn(|index| 0x1234_5678_9abc_0000 + index as u64);
    let mut after = values;
    let (pid, flags): (u64, u64);
    // SAFETY: `getpid` has no effect; rbx and rbp are put back.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "push rax",
            "mov rbx, [rax]", "mov rbp, [rax + 8]", "mov rdx, [rax + 16]", "mov rsi, [rax + 24]",
            "mov rdi, [rax + 32]", "mov r8, [rax + 40]", "mov r9, [rax + 48]", "mov r10, [rax + 56]",
            "mov r12, [rax + 64]", "mov r13, [rax + 72]", "mov r14, [rax + 80]", "mov r15, [rax + 88]",
            "mov eax, {getpid}",
            "stc",
            "syscall",
            "pushfq",
            "pop rcx",
            "pop r11",
            "mov [r11], rbx", "mov [r11 + 8], rbp", "mov [r11 + 16], rdx", "mov [r11 + 24], rsi",
            "mov [r11 + 32], rdi", "mov [r11 + 40], r8", "mov [r11 + 48], r9", "mov [r11 + 56], r10",
            "mov [r11 + 64], r12", "mov [r11 + 72], r13", "mov [r11 + 80], r14", "mov [r11 + 88], r15",
            "pop rbp",
            "pop rbx",
            getpid = const GETPID,
            inlateout("rax") after.as_mut_ptr() => pid,
            out("rcx") flags,
            out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    assert_eq!(pid, 2);
    assert_eq!(after, values);
    assert_eq!(flags & 1, 1, "the carry flag");
}

fn vectors() {
    if !std::is_x86_feature_detected!("avx") {
        return;
    }
    // SAFETY: The processor has AVX.
    unsafe { vectors_with_avx() }
}

#[target_feature(enable = "avx")]
fn vectors_with_avx() {
    let values: [__m256i; 4] = std::array::from_fn(|index| _mm256_set1_epi8(index as i8 + 65));
    let [mut a, mut b, mut c, mut d] = values;
    // SAFETY: A `clock_gettime` of a clock that is not there: an error without effect.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") 228u64 => _,
            in("rdi") 99u64,
            in("rsi") 0u64,
            out("rcx") _, out("r11") _,
            inout("ymm0") a, inout("ymm5") b, inout("ymm10") c, inout("ymm15") d,
        );
    }
    for (after, before) in [a, b, c, d].iter().zip(&values) {
        let mut bytes = [[0u8; 32]; 2];
        // SAFETY: Both have 32 bytes.
        unsafe {
            _mm256_storeu_si256(bytes[0].as_mut_ptr().cast(), _mm256_loadu_si256(after));
            _mm256_storeu_si256(bytes[1].as_mut_ptr().cast(), _mm256_loadu_si256(before));
        }
        assert_eq!(bytes[0], bytes[1]);
    }
}

fn control() {
    const ROUND_UP: u32 = 0x5f80;
    const SINGLE_PRECISION: u16 = 0x007f;
    let (mut mxcsr, mut fcw, mut old_mxcsr, mut old_fcw) = (0u32, 0u16, 0u32, 0u16);
    // SAFETY: The control words are put back, and no floating-point number is computed meanwhile.
    unsafe {
        asm!(
            "stmxcsr [{old_mxcsr}]", "fnstcw [{old_fcw}]",
            "ldmxcsr [{new_mxcsr}]", "fldcw [{new_fcw}]",
            "mov eax, {getpid}",
            "syscall",
            "stmxcsr [{mxcsr}]", "fnstcw [{fcw}]",
            "ldmxcsr [{old_mxcsr}]", "fldcw [{old_fcw}]",
            getpid = const GETPID,
            old_mxcsr = in(reg) &mut old_mxcsr, old_fcw = in(reg) &mut old_fcw,
            new_mxcsr = in(reg) &ROUND_UP, new_fcw = in(reg) &SINGLE_PRECISION,
            mxcsr = in(reg) &mut mxcsr, fcw = in(reg) &mut fcw,
            out("rax") _, out("rcx") _, out("r11") _,
        );
    }
    assert_eq!((mxcsr, fcw), (ROUND_UP, SINGLE_PRECISION));
    assert_ne!((old_mxcsr, old_fcw), (ROUND_UP, SINGLE_PRECISION));
}
