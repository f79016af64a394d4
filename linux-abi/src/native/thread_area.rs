//! What a thread needs in order to enter this layer: a stack, and room for its registers.
#![expect(unsafe_code, reason = "the entry's assembly shares this memory")]

use core::cell::UnsafeCell;

/// Size of the stack that Linux calls run on, in bytes.
const STACK_SIZE: usize = 32 << 10;
/// Size of the stack that faults are handled on, in bytes.
const FAULT_STACK_SIZE: usize = 4 << 10;
/// Room for XSAVE: legacy area, header, AVX state.
const VECTOR_SIZE: usize = 832;

/// Registers of a thread while it is in this layer. The assembly of the entry knows the layout.
#[repr(C, align(64))]
pub(super) struct Registers {
    /// The XSAVE area. What the processor does not write of its header must stay zero.
    pub(super) vectors: [u8; VECTOR_SIZE],
    pub(super) rax: u64,
    pub(super) rbx: u64,
    pub(super) rdx: u64,
    pub(super) rsi: u64,
    pub(super) rdi: u64,
    pub(super) rbp: u64,
    pub(super) rsp: u64,
    pub(super) r8: u64,
    pub(super) r9: u64,
    pub(super) r10: u64,
    pub(super) r12: u64,
    pub(super) r13: u64,
    pub(super) r14: u64,
    pub(super) r15: u64,
    pub(super) rip: u64,
    pub(super) rflags: u64,
}

/// A thread's stacks and registers. The stack for calls ends where the registers start.
#[repr(C, align(4096))]
pub(super) struct ThreadArea {
    fault_stack: UnsafeCell<[u8; FAULT_STACK_SIZE]>,
    stack: UnsafeCell<[u8; STACK_SIZE]>,
    registers: UnsafeCell<Registers>,
}

// SAFETY: The area is only used by the one thread that it was given to; others only take addresses in it.
unsafe impl Sync for ThreadArea {}

impl ThreadArea {
    /// An area for a thread that is not in this layer.
    pub(super) const fn new() -> ThreadArea {
        ThreadArea {
            fault_stack: UnsafeCell::new([0; FAULT_STACK_SIZE]),
            stack: UnsafeCell::new([0; STACK_SIZE]),
            // SAFETY: All-zero bytes are valid numbers.
            registers: UnsafeCell::new(unsafe { core::mem::zeroed() }),
        }
    }

    /// Top of the stack for faults. Its memory is there from now on: a fault because of a full account must not need
    /// more of it.
    pub(super) fn prepare_fault_stack(&self) -> u64 {
        let top = self.fault_stack.get() as u64 + FAULT_STACK_SIZE as u64;
        // SAFETY: The area belongs to the thread that asks, which handles no fault now. Only the page is wanted.
        unsafe {
            self.fault_stack
                .get()
                .cast::<u8>()
                .add(FAULT_STACK_SIZE - 1)
                .write_volatile(0)
        };
        top
    }

    /// Where the registers are, which is also the top of the stack for calls.
    pub(super) fn registers(&self) -> u64 {
        debug_assert_eq!(
            self.stack.get() as u64 + STACK_SIZE as u64,
            self.registers.get() as u64
        );
        self.registers.get() as u64
    }
}
