/* Registers: filled before a system call, a fault or a return, and looked at behind it, before the compiler's code uses any. */
#ifndef REGISTERS_H
#define REGISTERS_H

#include "canary.h"
#include <stddef.h>
#include <stdint.h>

/* The XSAVE area in the standard format (Intel SDM vol. 1 §13.4): x87 and SSE, the header, the upper halves of AVX. */
struct vectors {
    uint16_t control, status;
    /* A bit for each x87 register that is in use. */
    uint8_t tags;
    uint8_t instruction[19];
    uint32_t mxcsr, mxcsr_mask;
    /* Of each x87 register ten bytes count: 64 bits of mantissa, 16 of exponent and sign. */
    uint64_t x87[8][2];
    uint64_t lower[16][2];
    uint8_t software[96];
    /* Which components are not in their initial state. */
    uint64_t components;
    uint64_t header[7];
    uint64_t upper[16][2];
} __attribute__((aligned(64)));

/* The processor's registers, but for rsp. */
struct registers {
    uint64_t general[16];
    struct vectors vectors;
};

_Static_assert(offsetof(struct registers, vectors) == 128, "as the instructions have it");
_Static_assert(offsetof(struct vectors, lower) == 160, "as the processor has it");
_Static_assert(offsetof(struct vectors, components) == 512, "as the processor has it");
_Static_assert(offsetof(struct vectors, upper) == 576, "as the processor has it");

/* x87, SSE and AVX: the components that Aerie switches on where the processor has them. */
enum { AVX = 4, COMPONENTS = 7 };
/* General registers that a Linux call does not change: all but rax, rcx, r11 and rsp. */
enum { KEPT_BY_CALLS = 12 };

/* Takes note of the registers. */
void registers_look(struct registers *into);
/* Loads the general registers with `word` and the others from `full`, makes a Linux call, and takes note of the registers behind
 * it. Those that a function need not preserve are still full when it returns; the x87 stack is empty for the C calling convention,
 * which says nothing of what its registers contain. */
void registers_call(const struct registers *full, struct registers *after, uint64_t word);
/* Loads all registers likewise, and ends the process with an invalid instruction. */
void registers_fault(const struct registers *full, struct registers *unused, uint64_t word) __attribute__((noreturn));

__asm__(".text\n"
        ".macro store_general base\n"
        "mov %rdx, 8(\\base); mov %rbx, 16(\\base); mov %rsi, 24(\\base); mov %rdi, 32(\\base); mov %rbp, 40(\\base)\n"
        "mov %r8, 48(\\base); mov %r9, 56(\\base); mov %r10, 64(\\base); mov %r11, 72(\\base); mov %r12, 80(\\base)\n"
        "mov %r13, 88(\\base); mov %r14, 96(\\base); mov %r15, 104(\\base)\n"
        ".endm\n"
        ".macro store_vectors base\n"
        "mov $7, %eax; xor %edx, %edx; xsave64 128(\\base)\n"
        ".endm\n"
        ".macro load_all\n"
        "mov %rdx, %rcx; mov $7, %eax; xor %edx, %edx; xrstor64 128(%rdi)\n"
        ".irp register, rax, rdx, rbx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15\n"
        "mov %rcx, %\\register\n"
        ".endr\n"
        ".endm\n"

        ".globl registers_look\n"
        "registers_look:\n"
        "mov %rax, 0(%rdi); mov %rcx, 112(%rdi)\n"
        "store_general %rdi\n"
        "store_vectors %rdi\n"
        "ret\n"

        ".globl registers_call\n"
        "registers_call:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rsi\n"
        "load_all\n"
        /* getpid(): of what is full, the call itself needs rax only. */
        "mov $39, %eax; syscall\n"
        "pop %rcx\n"
        "store_general %rcx\n"
        "store_vectors %rcx\n"
        /* What the stores used is filled again, from a register that the caller wants back. */
        "mov %rbx, %rax; mov %rbx, %rcx; mov %rbx, %rdx; mov %rbx, %r11\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n"

        ".globl registers_fault\n"
        "registers_fault:\n"
        "load_all\n"
        "ud2\n");

/* Makes registers that are full of `word`, with the control words and the components that the processor has now. */
static inline void registers_fill(struct registers *full, uint64_t word)
{
    struct vectors *vectors = &full->vectors;
    uint32_t components, ignored;
    registers_look(full);
    __asm__("xgetbv" : "=a"(components), "=d"(ignored) : "c"(0));
    vectors->status = 0;
    vectors->tags = 0;
    vectors->components = components & COMPONENTS;
    for (int i = 0; i < 8; i++) {
        vectors->x87[i][0] = word;
        vectors->x87[i][1] = (uint16_t)word;
    }
    for (int i = 0; i < 16; i++) {
        full->general[i] = word;
        vectors->lower[i][0] = vectors->lower[i][1] = word;
        vectors->upper[i][0] = vectors->upper[i][1] = word;
    }
}

/* How many words of the registers are the canary. */
static inline unsigned registers_count(const struct registers *registers, uint64_t wanted)
{
    const struct vectors *vectors = &registers->vectors;
    unsigned count = 0;
    for (int i = 0; i < 15; i++) {
        count += is_canary(registers->general[i], wanted);
    }
    for (int i = 0; i < 8; i++) {
        count += is_canary(vectors->x87[i][0], wanted);
    }
    for (int i = 0; i < 16; i++) {
        count += is_canary(vectors->lower[i][0], wanted) + is_canary(vectors->lower[i][1], wanted);
        count += is_canary(vectors->upper[i][0], wanted) + is_canary(vectors->upper[i][1], wanted);
    }
    return count;
}

/* How many words a Linux call leaves in the registers that are full before it. */
static inline unsigned registers_kept(const struct registers *full)
{
    return KEPT_BY_CALLS + 8 + 32 + (full->vectors.components & AVX ? 32 : 0);
}

#endif
