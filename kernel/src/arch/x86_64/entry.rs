//! Entry into and exit from the kernel: system calls, exceptions, interrupts.
//!
//! All entries from user mode store the thread's registers straight into its [`Context`], go on on the CPU's
//! kernel stack and call Rust, which returns the context to resume; the exits load that one.
//!
//! System call, in: rax rdx rsi r8 r9 (arguments), rcx and r11 (address and flags, by the processor); out: rax
//! and rsi, the other caller-saved registers and all vector registers are zero. `syscall` and `sysret`: AMD
//! APM vol. 2 §6.1.1.

// UNSAFETY: defines the entry points.
#![allow(unsafe_code, reason = "entries and exits cannot be written in Rust")]

use core::arch::global_asm;
use core::mem::offset_of;

use kernel_core::context::{Context, FIXED_RFLAGS, KIND_FULL, USER_RFLAGS};
use kernel_core::entry::LEAVES;
use l4::Selector;

use super::cpu_area::offset;
use super::features::{FEATURES, Features};
use super::hooks::{INITIAL_FLOATING_POINT, switch};
use super::interrupts::{kernel_exception, kernel_interrupt, refused_return, user_trap};
use super::panic::STOPPING;
use super::segments::{USER_CODE, USER_DATA};

unsafe extern "C" {
    /// `syscall` arrives here, on CPUs with AVX.
    pub(crate) fn system_call_entry_avx();
    /// The end of a system call on CPUs with AVX.
    pub(crate) fn system_call_exit_avx();
    /// `syscall` arrives here, on CPUs without AVX.
    pub(crate) fn system_call_entry_sse();
    /// The end of a system call on CPUs without AVX.
    pub(crate) fn system_call_exit_sse();
    /// Entry of vector n at `16 * n` bytes from here.
    pub(crate) fn trap_entries();
    /// Entry of the NMI.
    pub(crate) fn nmi_entry();
    /// Runs a thread, from the top of the kernel stack.
    ///
    /// # Safety
    /// The context is live and its address space active; nothing on the kernel stack is needed any more.
    pub(crate) fn resume(context: *mut Context) -> !;
}

global_asm!(
    r#"
// The thread's registers that a system call preserves and Rust would use, into its context at rdi.
.macro STORE_PRESERVED
    mov [rdi + {rbx}], rbx
    mov [rdi + {rbp}], rbp
    mov [rdi + {r12}], r12
    mov [rdi + {r13}], r13
    mov [rdi + {r14}], r14
    mov [rdi + {r15}], r15
    xor ebp, ebp
.endm

.macro CLEAR_VECTORS avx
.if \avx
    vzeroall
.else
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    pxor xmm\n, xmm\n
    .endr
.endif
.endm

.macro SYSTEM_CALL entry, exit, avx
.balign 64
.globl \entry
\entry:
    swapgs
    test eax, 0x8000
    jz 3f
2:  mov rdi, gs:[{area_context}]
    mov [rdi + {rsp}], rsp
    mov [rdi + {rip}], rcx
    mov [rdi + {rflags}], r11
    mov qword ptr [rdi + {kind}], 0
    mov rsp, gs:[{area_stack}]
    // Arguments: context, label, selector, tag, deadlines.
    mov r10d, edx
    mov rcx, rax
    and r10d, {form}
    cmp r10d, {form_call}
    jne 7f
    // The callee-saved registers are still the thread's.
    call {call}
    mov rdi, gs:[{area_context}]
    test rax, rax
    jnz 5f

    // The thread goes on: what the call preserved is still in place, and rip is where `syscall` was.
    CLEAR_VECTORS \avx
    mov rcx, [rdi + {rip}]
    mov r11, [rdi + {rflags}]
    mov rsp, [rdi + {rsp}]
    mov rsi, [rdi + {rsi}]
    mov rax, [rdi + {rax}]
    xor edi, edi
    xor edx, edx
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    swapgs
    sysretq

5:  cmp rax, {leaves}
    je 6f
    // A gate is called; rax has the address of its slot.
    STORE_PRESERVED
    mov rsi, rax
    call {call_gate}
    jmp 8f

    // Something else is to be done first, perhaps another thread to run. If the call set all of the thread's
    // registers, they stand in the context already.
6:  cmp qword ptr [rdi + {kind}], 0
    jne 9f
    STORE_PRESERVED
9:  xor ebp, ebp
    call {leave_system_call}
    jmp 8f

    // Other forms: the thread seldom goes on.
7:  STORE_PRESERVED
    cmp r10d, {form_reply_and_wait}
    jne 7f
    call {reply_and_wait}
    jmp 8f
7:  call {system_call}

8:  mov gs:[{area_context}], rax
    cmp qword ptr [rax + {kind}], 0
    jne resume_full
.globl \exit
\exit:
    mov rcx, [rax + {rip}]
    mov rdx, rcx
    shr rdx, 47
    jnz refuse_return
    CLEAR_VECTORS \avx
    mov r11, [rax + {rflags}]
    mov rbx, [rax + {rbx}]
    mov rbp, [rax + {rbp}]
    mov r12, [rax + {r12}]
    mov r13, [rax + {r13}]
    mov r14, [rax + {r14}]
    mov r15, [rax + {r15}]
    mov rsp, [rax + {rsp}]
    mov rsi, [rax + {rsi}]
    mov rax, [rax + {rax}]
    // rdx is zero since the check above.
    xor edi, edi
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    swapgs
    sysretq

    // A foreign system call: back to the thread's personality, if it has one, with the address after the
    // instruction in a word of its UTCB. rcx and r11 are the instruction's own to lose.
3:  mov gs:[{area_scratch}], rcx
    mov rcx, gs:[{area_context}]
    cmp qword ptr [rcx + {personality}], 0
    jne 4f
    mov rcx, gs:[{area_scratch}]
    jmp 2b
4:  mov gs:[{area_scratch} + 8], r11
    mov r11, [rcx + {personality_return}]
    mov rcx, [rcx + {personality}]
    xchg rcx, gs:[{area_scratch}]
    mov [r11], rcx
    mov rcx, gs:[{area_scratch}]
    mov r11, gs:[{area_scratch} + 8]
    swapgs
    sysretq
.endm

.text
SYSTEM_CALL system_call_entry_avx, system_call_exit_avx, 1
SYSTEM_CALL system_call_entry_sse, system_call_exit_sse, 0

// `machine_exchange` of the contexts rdi and rsi: what each message's switch does of `hooks::switch`. See there for why
// floating point is loaded only for a thread in a system call, and always for that.
.balign 16
.globl machine_exchange
machine_exchange:
    test dword ptr [rip + {features}], {fs_gs_base}
    jz {switch}
    mov rax, [rsi + {fs_base}]
    rdfsbase rcx
    wrfsbase rax
    mov [rdi + {fs_base}], rcx
    mov rax, [rsi + {gs_base}]
    // Nothing uses GS in between: interrupts are off, and what comes nevertheless does not need it.
    swapgs
    rdgsbase rcx
    wrgsbase rax
    swapgs
    mov [rdi + {gs_base}], rcx
    stmxcsr [rdi + {mxcsr}]
    fnstcw [rdi + {fcw}]
    cmp qword ptr [rsi + {kind}], 0
    jne 2f
    mov eax, 1
    xor edx, edx
    xrstor64 [rip + {initial_floating_point}]
    ldmxcsr [rsi + {mxcsr}]
    fldcw [rsi + {fcw}]
2:  ret

.globl resume
resume:
    mov rax, rdi
    mov rsp, gs:[{area_stack}]
resume_rax:
    mov gs:[{area_context}], rax
    cmp qword ptr [rax + {kind}], 0
    jne resume_full
    jmp gs:[{area_exit}]

.balign 16
resume_full:
    mov rcx, [rax + {rip}]
    shr rcx, 47
    jnz refuse_return
    mov rdi, rax
    mov eax, 7
    xor edx, edx
    xrstor64 [rdi + {xsave}]
    mov rax, [rdi + {rflags}]
    and eax, {user_flags}
    or eax, {fixed_flags}
    push {user_data}
    push qword ptr [rdi + {rsp}]
    push rax
    push {user_code}
    push qword ptr [rdi + {rip}]
    mov rax, [rdi + {rax}]
    mov rbx, [rdi + {rbx}]
    mov rcx, [rdi + {rcx}]
    mov rdx, [rdi + {rdx}]
    mov rsi, [rdi + {rsi}]
    mov rbp, [rdi + {rbp}]
    mov r8, [rdi + {r8}]
    mov r9, [rdi + {r9}]
    mov r10, [rdi + {r10}]
    mov r11, [rdi + {r11}]
    mov r12, [rdi + {r12}]
    mov r13, [rdi + {r13}]
    mov r14, [rdi + {r14}]
    mov r15, [rdi + {r15}]
    mov rdi, [rdi + {rdi}]
    swapgs
    iretq

// The thread would continue at an address where the return itself faults, in kernel mode.
refuse_return:
    mov rdi, rax
    call {refused_return}
    jmp resume_rax

// One entry of 16 bytes per vector: error code (0 where the processor pushes none), vector.
.balign 16
.globl trap_entries
trap_entries:
.set vector, 0
.rept 256
    .balign 16
    .if (vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | (vector == 21) | (vector == 29) | (vector == 30)
    .else
    push 0
    .endif
    .byte 0x68
    .long vector
    jmp trap_common
    .set vector, vector + 1
.endr

// On the stack: vector, error, rip, cs, rflags, rsp, ss.
.balign 16
trap_common:
    test byte ptr [rsp + 24], 3
    jz kernel_trap
    swapgs
    push rdi
    mov rdi, gs:[{area_context}]
    mov [rdi + {rax}], rax
    mov [rdi + {rbx}], rbx
    mov [rdi + {rcx}], rcx
    mov [rdi + {rdx}], rdx
    mov [rdi + {rsi}], rsi
    mov [rdi + {rbp}], rbp
    mov [rdi + {r8}], r8
    mov [rdi + {r9}], r9
    mov [rdi + {r10}], r10
    mov [rdi + {r11}], r11
    mov [rdi + {r12}], r12
    mov [rdi + {r13}], r13
    mov [rdi + {r14}], r14
    mov [rdi + {r15}], r15
    pop rax
    mov [rdi + {rdi}], rax
    mov rax, [rsp + 16]
    mov [rdi + {rip}], rax
    mov rax, [rsp + 32]
    mov [rdi + {rflags}], rax
    mov rax, [rsp + 40]
    mov [rdi + {rsp}], rax
    mov qword ptr [rdi + {kind}], {kind_full}
    mov eax, 7
    xor edx, edx
    xsave64 [rdi + {xsave}]
    mov rcx, [rsp]
    mov r8, [rsp + 8]
    mov r9, cr2
    // Leaves an exception stack, too.
    mov rsp, gs:[{area_stack}]
    // Direction and alignment-check flags are still the thread's.
    push 2
    popfq
    push 0
    push r9
    push r8
    push rcx
    mov rsi, rsp
    xor ebp, ebp
    call {user_trap}
    jmp resume_rax

kernel_trap:
    cmp qword ptr [rsp], 32
    jb fatal_trap
    // Only in the windows where the kernel lets interrupts in, at which all vector registers are dead.
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    mov rdi, [rsp + 72]
    call {kernel_interrupt}
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

// An NMI stops this CPU if another one panicked; otherwise it is fatal itself.
.balign 16
.globl nmi_entry
nmi_entry:
    cmp byte ptr [rip + {stopping}], 0
    jne 2f
    push 0
    push 2
    jmp fatal_trap
2:  hlt
    jmp 2b

fatal_trap:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    and rsp, -16
    cld
    call {kernel_exception}
    ud2
"#,
    call = sym kernel_core::entry::call,
    call_gate = sym kernel_core::entry::call_gate,
    reply_and_wait = sym kernel_core::entry::reply_and_wait,
    system_call = sym kernel_core::entry::system_call,
    leave_system_call = sym kernel_core::entry::leave_system_call,
    user_trap = sym user_trap,
    refused_return = sym refused_return,
    kernel_interrupt = sym kernel_interrupt,
    kernel_exception = sym kernel_exception,
    stopping = sym STOPPING,
    switch = sym switch,
    features = sym FEATURES,
    fs_gs_base = const Features::FS_GS_BASE.bits(),
    initial_floating_point = sym INITIAL_FLOATING_POINT,
    fs_base = const offset_of!(Context, fs_base),
    gs_base = const offset_of!(Context, gs_base),
    mxcsr = const offset_of!(Context, mxcsr),
    fcw = const offset_of!(Context, fcw),
    leaves = const LEAVES,
    form = const Selector::FORM,
    form_call = const Selector::CALL,
    form_reply_and_wait = const Selector::REPLY_AND_WAIT,
    area_context = const offset::CONTEXT,
    area_stack = const offset::STACK_TOP,
    area_scratch = const offset::SCRATCH,
    area_exit = const offset::SYSTEM_CALL_EXIT,
    user_code = const USER_CODE,
    user_data = const USER_DATA,
    user_flags = const USER_RFLAGS,
    fixed_flags = const FIXED_RFLAGS,
    kind_full = const KIND_FULL,
    rax = const offset_of!(Context, rax),
    rbx = const offset_of!(Context, rbx),
    rcx = const offset_of!(Context, rcx),
    rdx = const offset_of!(Context, rdx),
    rsi = const offset_of!(Context, rsi),
    rdi = const offset_of!(Context, rdi),
    rbp = const offset_of!(Context, rbp),
    rsp = const offset_of!(Context, rsp),
    r8 = const offset_of!(Context, r8),
    r9 = const offset_of!(Context, r9),
    r10 = const offset_of!(Context, r10),
    r11 = const offset_of!(Context, r11),
    r12 = const offset_of!(Context, r12),
    r13 = const offset_of!(Context, r13),
    r14 = const offset_of!(Context, r14),
    r15 = const offset_of!(Context, r15),
    rip = const offset_of!(Context, rip),
    rflags = const offset_of!(Context, rflags),
    kind = const offset_of!(Context, kind),
    personality = const offset_of!(Context, personality),
    personality_return = const offset_of!(Context, personality_return),
    xsave = const offset_of!(Context, xsave),
);
