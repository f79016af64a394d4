//! `memcpy` and its kin, for programs without a C library.
//!
//! The linker script gives them their C names. They move 8 and 16 bytes at a time and use no string instructions:
//! those cost one step per byte under an emulator, and are slow for short blocks on hardware. A block of up to 64
//! bytes is read completely before it is written, so `memcpy` and `memmove` differ only above that.
#![expect(unsafe_code, reason = "the compiler calls these by symbol, with raw pointers")]

use core::arch::global_asm;

global_asm!(
    ".pushsection .text.l4re_memory, \"ax\", @progbits",
    ".globl l4re_memcpy, l4re_memmove, l4re_memset, l4re_memcmp, l4re_bcmp, l4re_strlen, l4re_no_unwinding",
    // In: rdi target, rsi source, rdx size. Out: rax target.
    ".balign 16",
    ".type l4re_memcpy, @function",
    "l4re_memcpy:",
    "mov rax, rdi",
    "cmp rdx, 16",
    "jb 5f",
    "cmp rdx, 32",
    "ja 2f",
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + rdx - 16]",
    "movups [rdi], xmm0",
    "movups [rdi + rdx - 16], xmm1",
    "ret",
    "2:",
    "cmp rdx, 64",
    "ja 3f",
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + 16]",
    "movups xmm2, [rsi + rdx - 32]",
    "movups xmm3, [rsi + rdx - 16]",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "movups [rdi + rdx - 32], xmm2",
    "movups [rdi + rdx - 16], xmm3",
    "ret",
    // Above 64: forwards in steps of 64; the last 64 bytes, which may overlap the step before, were read first.
    "3:",
    "movups xmm4, [rsi + rdx - 64]",
    "movups xmm5, [rsi + rdx - 48]",
    "movups xmm6, [rsi + rdx - 32]",
    "movups xmm7, [rsi + rdx - 16]",
    "lea r8, [rdi + rdx - 64]",
    "4:",
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + 16]",
    "movups xmm2, [rsi + 32]",
    "movups xmm3, [rsi + 48]",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "movups [rdi + 32], xmm2",
    "movups [rdi + 48], xmm3",
    "add rsi, 64",
    "add rdi, 64",
    "cmp rdi, r8",
    "jb 4b",
    "movups [r8], xmm4",
    "movups [r8 + 16], xmm5",
    "movups [r8 + 32], xmm6",
    "movups [r8 + 48], xmm7",
    "ret",
    "5:",
    "cmp edx, 8",
    "jb 6f",
    "mov rcx, [rsi]",
    "mov r8, [rsi + rdx - 8]",
    "mov [rdi], rcx",
    "mov [rdi + rdx - 8], r8",
    "ret",
    "6:",
    "cmp edx, 4",
    "jb 7f",
    "mov ecx, [rsi]",
    "mov r8d, [rsi + rdx - 4]",
    "mov [rdi], ecx",
    "mov [rdi + rdx - 4], r8d",
    "ret",
    "7:",
    "test edx, edx",
    "je 8f",
    "movzx ecx, byte ptr [rsi]",
    "cmp edx, 1",
    "je 9f",
    "movzx r8d, word ptr [rsi + rdx - 2]",
    "mov [rdi + rdx - 2], r8w",
    "9:",
    "mov [rdi], cl",
    "8:",
    "ret",
    // As memcpy; backwards if the target starts inside the source.
    ".balign 16",
    ".type l4re_memmove, @function",
    "l4re_memmove:",
    "cmp rdx, 64",
    "jbe l4re_memcpy",
    "mov rax, rdi",
    "sub rax, rsi",
    "cmp rax, rdx",
    "jae l4re_memcpy",
    "mov rax, rdi",
    // The first 64 bytes were read first; what lies behind them moves from the end in steps of 64.
    "movups xmm4, [rsi]",
    "movups xmm5, [rsi + 16]",
    "movups xmm6, [rsi + 32]",
    "movups xmm7, [rsi + 48]",
    "3:",
    "movups xmm0, [rsi + rdx - 16]",
    "movups xmm1, [rsi + rdx - 32]",
    "movups xmm2, [rsi + rdx - 48]",
    "movups xmm3, [rsi + rdx - 64]",
    "movups [rdi + rdx - 16], xmm0",
    "movups [rdi + rdx - 32], xmm1",
    "movups [rdi + rdx - 48], xmm2",
    "movups [rdi + rdx - 64], xmm3",
    "sub rdx, 64",
    "cmp rdx, 64",
    "ja 3b",
    "movups [rdi], xmm4",
    "movups [rdi + 16], xmm5",
    "movups [rdi + 32], xmm6",
    "movups [rdi + 48], xmm7",
    "ret",
    // In: rdi target, esi byte, rdx size. Out: rax target.
    ".balign 16",
    ".type l4re_memset, @function",
    "l4re_memset:",
    "mov rax, rdi",
    "movzx esi, sil",
    "mov rcx, 0x0101010101010101",
    "imul rcx, rsi",
    "cmp rdx, 16",
    "jb 5f",
    "movq xmm0, rcx",
    "punpcklqdq xmm0, xmm0",
    "movups [rdi + rdx - 16], xmm0",
    "lea rdx, [rdi + rdx - 16]",
    "lea r8, [rdi + 64]",
    "cmp r8, rdx",
    "ja 4f",
    "3:",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm0",
    "movups [rdi + 32], xmm0",
    "movups [rdi + 48], xmm0",
    "mov rdi, r8",
    "add r8, 64",
    "cmp r8, rdx",
    "jbe 3b",
    "4:",
    "cmp rdi, rdx",
    "jae 8f",
    "movups [rdi], xmm0",
    "add rdi, 16",
    "jmp 4b",
    "5:",
    "cmp edx, 8",
    "jb 6f",
    "mov [rdi], rcx",
    "mov [rdi + rdx - 8], rcx",
    "ret",
    "6:",
    "cmp edx, 4",
    "jb 7f",
    "mov [rdi], ecx",
    "mov [rdi + rdx - 4], ecx",
    "ret",
    "7:",
    "test edx, edx",
    "je 8f",
    "mov [rdi], cl",
    "mov [rdi + rdx - 1], cl",
    "cmp edx, 3",
    "jne 8f",
    "mov [rdi + 1], cl",
    "8:",
    "ret",
    // In: rdi and rsi blocks, rdx size. Out: eax < 0, 0 or > 0 as the first differing bytes compare.
    ".balign 16",
    ".type l4re_bcmp, @function",
    ".type l4re_memcmp, @function",
    "l4re_bcmp:",
    "l4re_memcmp:",
    "xor eax, eax",
    "2:",
    "cmp rdx, 8",
    "jb 4f",
    "mov rcx, [rdi]",
    "mov r8, [rsi]",
    "cmp rcx, r8",
    "jne 3f",
    "add rdi, 8",
    "add rsi, 8",
    "sub rdx, 8",
    "jmp 2b",
    "3:",
    "bswap rcx",
    "bswap r8",
    "cmp rcx, r8",
    "sbb eax, eax",
    "or eax, 1",
    "ret",
    "4:",
    "test edx, edx",
    "je 6f",
    "movzx eax, byte ptr [rdi]",
    "movzx ecx, byte ptr [rsi]",
    "sub eax, ecx",
    "jne 6f",
    "inc rdi",
    "inc rsi",
    "dec edx",
    "jmp 4b",
    "6:",
    "ret",
    // In: rdi string. Out: rax bytes before its NUL.
    ".balign 16",
    ".type l4re_strlen, @function",
    "l4re_strlen:",
    "mov rax, rdi",
    "jmp 3f",
    "2:",
    "inc rax",
    "3:",
    "cmp byte ptr [rax], 0",
    "jne 2b",
    "sub rax, rdi",
    "ret",
    // Panics end the program or its thread; nothing ever unwinds.
    ".type l4re_no_unwinding, @function",
    "l4re_no_unwinding:",
    "ud2",
    ".popsection",
);

#[cfg(test)]
mod tests {
    use core::ffi::c_int;

    unsafe extern "C" {
        fn l4re_memcpy(target: *mut u8, source: *const u8, size: usize) -> *mut u8;
        fn l4re_memmove(target: *mut u8, source: *const u8, size: usize) -> *mut u8;
        fn l4re_memset(target: *mut u8, byte: c_int, size: usize) -> *mut u8;
        fn l4re_memcmp(one: *const u8, other: *const u8, size: usize) -> c_int;
        fn l4re_strlen(string: *const u8) -> usize;
    }

    const SIZES: core::ops::Range<usize> = 0..300;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 7 + 3) as u8).collect()
    }

    #[test]
    fn copies_exactly_what_was_asked() {
        for size in SIZES {
            for shift in 0..9 {
                let source = pattern(400);
                let mut target = vec![0xee; 400];
                // SAFETY: Both buffers have 400 bytes, more than `size + shift + 1`.
                let returned =
                    unsafe { l4re_memcpy(target[shift..].as_mut_ptr(), source[1..].as_ptr(), size) };
                assert_eq!(returned, target[shift..].as_mut_ptr());
                assert_eq!(target[shift..shift + size], source[1..=size]);
                assert!(target[..shift].iter().all(|&byte| byte == 0xee));
                assert!(
                    target[shift + size..].iter().all(|&byte| byte == 0xee),
                    "size {size}"
                );
            }
        }
    }

    #[test]
    fn moves_overlapping_blocks_both_ways() {
        for size in SIZES {
            for distance in [1, 7, 15, 16, 17, 63, 64, 65, 200] {
                for (from, to) in [(0, distance), (distance, 0), (distance, distance)] {
                    let mut ours = pattern(600);
                    let mut expected = ours.clone();
                    expected.copy_within(from..from + size, to);
                    let base = ours.as_mut_ptr();
                    // SAFETY: `from + size` and `to + size` are below 600.
                    unsafe { l4re_memmove(base.add(to), base.add(from), size) };
                    assert_eq!(ours, expected, "size {size} from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn sets_exactly_what_was_asked() {
        for size in SIZES {
            let mut target = vec![0xee; 320];
            // SAFETY: `3 + size` is below 320.
            unsafe { l4re_memset(target[3..].as_mut_ptr(), 0x1a5, size) };
            assert!(target[..3].iter().all(|&byte| byte == 0xee));
            assert!(
                target[3..3 + size].iter().all(|&byte| byte == 0xa5),
                "size {size}"
            );
            assert!(target[3 + size..].iter().all(|&byte| byte == 0xee), "size {size}");
        }
    }

    #[test]
    fn compares_like_slices() {
        for size in 0..70 {
            let one = pattern(70);
            for change in 0..size {
                for byte in [0, 0x7f, 0x80, 0xff] {
                    let mut other = one.clone();
                    other[change] = byte;
                    // SAFETY: Both buffers have 70 bytes.
                    let order = unsafe { l4re_memcmp(one.as_ptr(), other.as_ptr(), size) };
                    assert_eq!(
                        order.cmp(&0),
                        one[..size].cmp(&other[..size]),
                        "size {size} at {change}"
                    );
                }
            }
        }
    }

    #[test]
    fn measures_strings() {
        for string in [&b"\0"[..], b"a\0", b"twelve bytes\0rest\0"] {
            // SAFETY: The strings have a NUL.
            let length = unsafe { l4re_strlen(string.as_ptr()) };
            assert_eq!(Some(length), string.iter().position(|&byte| byte == 0));
        }
    }
}
