//! What a signal handler finds on its stack: the layout that programs know from Linux (`rt_sigframe`,
//! arch/x86/include/asm/sigframe.h, asm/sigcontext.h and asm-generic/ucontext.h of its user interface).

use super::info::Info;
use super::stack::{AlternateStack, STACK_WORDS};
use crate::registers::{Machine, Registers, VECTOR_SIZE};
use crate::{Errno, System, user};

/// Bytes below the stack pointer that a function may use without moving it (System V ABI, §3.2.2).
const RED_ZONE: u64 = 128;
/// The frame without the vector state: return address, context, information.
const SIZE: usize = CONTEXT + CONTEXT_SIZE + Info::SIZE;
/// Offset of `struct ucontext`, behind the return address.
const CONTEXT: usize = 8;
const CONTEXT_SIZE: usize = 304;
/// Offset of `siginfo_t`.
const INFORMATION: usize = CONTEXT + CONTEXT_SIZE;
/// Offsets in `struct ucontext`, in words: flags, alternate stack, registers, mask.
const FLAGS_WORD: usize = 0;
const STACK_WORD: usize = 2;
const REGISTERS_WORD: usize = 5;
const MASK_WORD: usize = 37;
/// Words of the context.
const CONTEXT_WORDS: usize = CONTEXT_SIZE / 8;

/// In the context's flags: there is XSAVE state; the stack segment is saved, and restored as saved.
const FLAG_XSTATE: u64 = 1;
const FLAG_SEGMENT: u64 = 2 | 4;

/// Where the legacy area says what follows it (`struct _fpx_sw_bytes`).
const SOFTWARE: usize = 464;
const LEGACY_SIZE: usize = 512;
/// First and last words of extended state (`FP_XSTATE_MAGIC1`, `FP_XSTATE_MAGIC2`).
const MAGIC_FIRST: u32 = 0x4650_5853;
const MAGIC_LAST: u32 = 0x4650_5845;
/// x87, SSE, AVX.
const COMPONENTS: u64 = 7;

/// Code and stack segment of programs, as Linux has them.
const SEGMENTS: u64 = 0x33 | 0x2b << 48;
/// Flags that a program can set: CF PF AF ZF SF TF DF OF AC ID.
const CHANGEABLE_FLAGS: u64 = 0x24_0dd5;
/// Flags that are always set: the interrupt flag, and bit 1.
const FIXED_FLAGS: u64 = 0x202;
/// Flags that a handler starts without: trap, direction.
const CLEARED_FLAGS: u64 = 0x100 | 0x400;

/// What the processor said about a fault; zeroes for other signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trap {
    pub(super) error: u64,
    pub(super) vector: u64,
    pub(super) address: u64,
}

/// A handler that is to be entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) handler: u64,
    /// Where the handler returns to: it calls `rt_sigreturn`.
    pub(super) restorer: u64,
    pub(super) info: Info,
    pub(super) trap: Trap,
    /// The mask that holds again when the handler returns.
    pub(super) mask: u64,
    /// The thread's alternate stack as it is now.
    pub(super) stack: AlternateStack,
    /// The handler runs on it, unless the thread is there already.
    pub(super) on_alternate: bool,
}

/// What a handler's return brings back beside registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Returned {
    pub(super) mask: u64,
    pub(super) stack: [u64; STACK_WORDS],
}

/// The registers in the order of `struct sigcontext`.
fn in_order(registers: &mut Registers) -> [&mut u64; 18] {
    let Registers {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        rsp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags,
    } = registers;
    [
        r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags,
    ]
}

/// Words of `struct sigcontext` behind the registers: segments, error, vector, mask, address, vector state.
const SEGMENTS_WORD: usize = REGISTERS_WORD + 18;
const VECTORS_WORD: usize = SEGMENTS_WORD + 5;

/// Writes a frame and has the thread enter the handler.
///
/// # Errors
/// [`Errno::FAULT`] if the stack can't be written, or is not large enough.
pub(super) fn enter(system: &mut impl System, machine: &mut Machine<'_>, entry: &Entry) -> Result<(), Errno> {
    let pointer = machine.registers.rsp;
    let to_alternate = entry.on_alternate && entry.stack.is_enabled() && !entry.stack.contains(pointer);
    let top = if to_alternate {
        entry.stack.end()
    } else {
        pointer.wrapping_sub(RED_ZONE)
    };
    let state_size = if machine.has_xsave {
        VECTOR_SIZE + 4
    } else {
        LEGACY_SIZE
    };
    let vectors = top.wrapping_sub(state_size as u64) & !63;
    // A function expects its stack pointer to be 8 off a multiple of 16.
    let frame = (vectors.wrapping_sub(SIZE as u64) & !15).wrapping_sub(8);
    if to_alternate && !entry.stack.contains(frame) {
        return Err(Errno::FAULT);
    }
    write_vectors(system, machine, vectors)?;
    let mut words = [0; CONTEXT_WORDS];
    let xstate = if machine.has_xsave { FLAG_XSTATE } else { 0 };
    words[FLAGS_WORD] = xstate | FLAG_SEGMENT;
    words[STACK_WORD..STACK_WORD + STACK_WORDS].copy_from_slice(&entry.stack.words(pointer));
    for (word, register) in words[REGISTERS_WORD..]
        .iter_mut()
        .zip(in_order(machine.registers))
    {
        *word = *register;
    }
    let Trap {
        error,
        vector,
        address,
    } = entry.trap;
    words[SEGMENTS_WORD..=VECTORS_WORD]
        .copy_from_slice(&[SEGMENTS, error, vector, entry.mask, address, vectors]);
    words[MASK_WORD] = entry.mask;
    let mut bytes = [0; SIZE];
    bytes[..CONTEXT].copy_from_slice(&entry.restorer.to_le_bytes());
    bytes[CONTEXT..INFORMATION].copy_from_slice(words.map(u64::to_le_bytes).as_flattened());
    bytes[INFORMATION..].copy_from_slice(&entry.info.bytes());
    system.write(frame, &bytes)?;
    machine.clear_vectors();
    let registers = &mut *machine.registers;
    registers.rdi = entry.info.signal.into();
    registers.rsi = frame + INFORMATION as u64;
    registers.rdx = frame + CONTEXT as u64;
    registers.rax = 0;
    registers.rsp = frame;
    registers.rip = entry.handler;
    registers.rflags &= !CLEARED_FLAGS;
    Ok(())
}

fn write_vectors(system: &mut impl System, machine: &mut Machine<'_>, address: u64) -> Result<(), Errno> {
    let mut bytes = [0; VECTOR_SIZE + 4];
    bytes[..VECTOR_SIZE].copy_from_slice(machine.vectors);
    let software = &mut bytes[SOFTWARE..LEGACY_SIZE];
    software.fill(0);
    if !machine.has_xsave {
        return system.write(address, &bytes[..LEGACY_SIZE]);
    }
    software[..4].copy_from_slice(&MAGIC_FIRST.to_le_bytes());
    software[4..8].copy_from_slice(&(VECTOR_SIZE as u32 + 4).to_le_bytes());
    software[8..16].copy_from_slice(&COMPONENTS.to_le_bytes());
    software[16..20].copy_from_slice(&(VECTOR_SIZE as u32).to_le_bytes());
    bytes[VECTOR_SIZE..].copy_from_slice(&MAGIC_LAST.to_le_bytes());
    system.write(address, &bytes)
}

/// Restores the registers from the frame whose handler has returned: the stack pointer is at its context.
///
/// # Errors
/// [`Errno::FAULT`] if the frame can't be read, or what it says can't be a thread's state.
pub(super) fn leave(system: &mut impl System, machine: &mut Machine<'_>) -> Result<Returned, Errno> {
    let context = machine.registers.rsp;
    let words = user::read_words::<CONTEXT_WORDS>(system, context)?;
    read_vectors(system, machine, words[VECTORS_WORD])?;
    for (register, word) in in_order(machine.registers)
        .into_iter()
        .zip(&words[REGISTERS_WORD..])
    {
        *register = *word;
    }
    let registers = &mut *machine.registers;
    registers.rflags = registers.rflags & CHANGEABLE_FLAGS | FIXED_FLAGS;
    if registers.rip >= l4::USER_END {
        return Err(Errno::FAULT);
    }
    let mut stack = [0; STACK_WORDS];
    stack.copy_from_slice(&words[STACK_WORD..STACK_WORD + STACK_WORDS]);
    Ok(Returned {
        mask: words[MASK_WORD],
        stack,
    })
}

fn read_vectors(system: &mut impl System, machine: &mut Machine<'_>, address: u64) -> Result<(), Errno> {
    if address == 0 {
        machine.clear_vectors();
        return Ok(());
    }
    let mut legacy = [0; LEGACY_SIZE];
    system.read(address, &mut legacy)?;
    let word = |at: usize| u32::from_le_bytes([legacy[at], legacy[at + 1], legacy[at + 2], legacy[at + 3]]);
    let size = word(SOFTWARE + 16) as usize;
    let mut is_extended = machine.has_xsave && word(SOFTWARE) == MAGIC_FIRST && size == VECTOR_SIZE;
    if is_extended {
        let mut last = [0; 4];
        system.read(address.wrapping_add(VECTOR_SIZE as u64), &mut last)?;
        is_extended = u32::from_le_bytes(last) == MAGIC_LAST;
    }
    machine.vectors.fill(0);
    if is_extended {
        system.read(address, machine.vectors)?;
    } else {
        machine.vectors[..LEGACY_SIZE].copy_from_slice(&legacy);
    }
    machine.make_loadable(is_extended);
    Ok(())
}
