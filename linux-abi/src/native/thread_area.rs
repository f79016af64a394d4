//! What a thread needs in order to enter this layer: a stack, and room for its registers.
#![expect(unsafe_code, reason = "the entry's assembly shares this memory")]

use core::cell::UnsafeCell;
use core::sync::atomic::AtomicU64;

use linux_abi::{Registers, VECTOR_SIZE};

/// Size of the stack that Linux calls run on, in bytes.
const STACK_SIZE: usize = 32 << 10;
/// Size of the stack that faults are handled on, in bytes.
const FAULT_STACK_SIZE: usize = 4 << 10;

/// State of a thread while it is in this layer. The assembly of the entries knows the layout.
#[repr(C, align(64))]
pub(super) struct State {
    /// The XSAVE area. What the processor does not write of its header must stay zero.
    pub(super) vectors: [u8; VECTOR_SIZE],
    /// The program's registers; rcx and r11 only where they have to be kept.
    pub(super) registers: Registers,
    /// Number of the call that the program made.
    pub(super) number: u64,
    /// Not 0 if the thread has signals to look for before it goes on in the program.
    pub(super) attention: AtomicU64,
    /// Not 0 if the registers are not those of a call but all the thread's own.
    pub(super) is_whole: u64,
    /// Vector, error code and address of a fault of the program.
    pub(super) fault: [u64; 3],
}

/// A thread's stacks and state. The stack for calls ends where the state starts.
#[repr(C, align(4096))]
pub(super) struct ThreadArea {
    fault_stack: UnsafeCell<[u8; FAULT_STACK_SIZE]>,
    stack: UnsafeCell<[u8; STACK_SIZE]>,
    state: UnsafeCell<State>,
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
            state: UnsafeCell::new(unsafe { core::mem::zeroed() }),
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

    /// Offset of the state in an area.
    pub(super) const STATE: u64 = core::mem::offset_of!(ThreadArea, state) as u64;

    /// Where the state is, which is also the top of the stack for calls.
    pub(super) fn state(&self) -> *mut State {
        debug_assert_eq!(
            self.stack.get() as u64 + STACK_SIZE as u64,
            self.state.get() as u64
        );
        self.state.get()
    }
}
