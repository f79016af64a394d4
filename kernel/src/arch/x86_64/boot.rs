//! The first instructions of each CPU: from the PVH entry (32-bit, no paging) or the start-up IPI (real mode)
//! to Rust code in the upper half, on tables that map the first 4 GiB.
//!
//! PVH: xenbits.xen.org/docs/unstable/misc/pvh.html. On entry EBX holds the physical address of the start
//! info, the segments are flat, paging and interrupts are off.

// UNSAFETY: defines the image's entry point.
#![allow(
    unsafe_code,
    reason = "the first code of the image cannot be written otherwise"
)]

use core::arch::global_asm;

/// Bytes of the stack that the first CPU uses until it has its own.
pub(crate) const BOOT_STACK_BYTES: usize = 32 * 1024;

global_asm!(
    r#"
// ELF note 18, XEN_ELFNOTE_PHYS32_ENTRY: where a PVH loader enters the image.
.section .note.pvh, "a", @note
.balign 4
.long 4, 8, 18
.asciz "Xen"
.quad pvh_entry

// Page tables, PAE, SSE, long mode with NX and system calls, write protection, caches on. From protected
// or real mode; a jump to a 64-bit code segment must follow.
.macro ENTER_LONG_MODE
    movl $0x620, %eax
    movl %eax, %cr4
    movl $boot_pml4_physical, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x901, %eax
    wrmsr
    movl $0x80010033, %eax
    movl %eax, %cr0
.endm

.section .boot.text, "ax", @progbits
.code32
.globl pvh_entry
pvh_entry:
    cli
    cld
    movl %ebx, %ebp
    // Lower half (identity, for the switch itself) and direct map: the same 4 GiB.
    movl $boot_pml4_physical, %edi
    movl $boot_pdpt_low_physical + 3, %eax
    movl %eax, (%edi)
    movl %eax, 256*8(%edi)
    // The image: physical 0 to 1 GiB at the start of the upper 2 GiB.
    movl $boot_pdpt_high_physical + 3, 511*8(%edi)
    movl $boot_directories_physical + 3, %eax
    movl $boot_pdpt_high_physical, %edi
    movl %eax, 510*8(%edi)
    movl $boot_pdpt_low_physical, %edi
    movl $4, %ecx
1:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 1b
    // 2048 pages of 2 MiB: present, writable, large.
    movl $boot_directories_physical, %edi
    movl $0x83, %eax
    movl $2048, %ecx
2:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 2b
    ENTER_LONG_MODE
    lgdtl boot_gdt_pointer
    ljmpl $8, $boot_entry64

.code64
boot_entry64:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    movabsq $boot_stack_top, %rsp
    movl %ebp, %edi
    xorl %ebp, %ebp
    movabsq $kernel_main, %rax
    call *%rax
    ud2

ap_entry64:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    // Takes the stack that is offered; a CPU that comes too late finds none.
    movabsq $ap_stack_top, %rax
    xorl %esp, %esp
    xchgq %rsp, (%rax)
    testq %rsp, %rsp
    jz 3f
    movq %rsp, %rdi
    xorl %ebp, %ebp
    movabsq $ap_main, %rax
    call *%rax
    ud2
3:  hlt
    jmp 3b

.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .word 23
    .long boot_gdt

// Copied to a page below 1 MiB; a started CPU begins at its first byte with CS = page / 16.
.section .rodata.trampoline, "a", @progbits
.balign 16
.code16
.globl ap_trampoline
ap_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl (trampoline_gdt_pointer - ap_trampoline)
    ENTER_LONG_MODE
    ljmpl *(trampoline_target - ap_trampoline)
.balign 4
trampoline_gdt_pointer:
    .word 23
    .long boot_gdt
.balign 4
trampoline_target:
    .long ap_entry64
    .word 8
.globl ap_trampoline_end
ap_trampoline_end:
.code64

.section .bss.boot, "aw", @nobits
.balign 4096
.globl boot_pml4, boot_pdpt_low, boot_pdpt_high, boot_directories
boot_pml4: .skip 4096
boot_pdpt_low: .skip 4096
boot_pdpt_high: .skip 4096
boot_directories: .skip 4 * 4096
boot_stack: .skip {stack_bytes}
boot_stack_top:
.text
"#,
    stack_bytes = const BOOT_STACK_BYTES,
    options(att_syntax)
);
