//! Each CPU's own memory: its stacks and its data, in a block at a fixed virtual address.
//!
//! A block's address follows from the CPU's index and the other way round, so code that runs on a stack of
//! the kernel knows its CPU even when GS cannot be trusted (NMI, machine check, double fault).

// UNSAFETY: gives out references to memory at fixed virtual addresses.
#![allow(
    unsafe_code,
    reason = "per-CPU data is reached through fixed addresses and GS"
)]

use core::cell::{Cell, RefCell};
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::AtomicU32;

use kernel_core::context::Context;
use platform::random::RandomGenerator;
use x86_64::structures::tss::TaskStateSegment;

/// Virtual address of CPU 0's block.
const BLOCKS: u64 = 0xffff_ffff_c000_0000;
/// Distance of the blocks.
const BLOCK_BYTES: u64 = 0x2_0000;
/// Stacks for exceptions that may hit kernel code anywhere: double fault, NMI, debug, machine check.
const EXCEPTION_STACKS: [(u64, u64); 4] = [
    (0x1000, 0x3000),
    (0x4000, 0x6000),
    (0x7000, 0x9000),
    (0xa000, 0xc000),
];
/// The stack that kernel code normally runs on.
const KERNEL_STACK: (u64, u64) = (0xd000, 0x1_d000);
const AREA: (u64, u64) = (0x1_e000, 0x2_0000);

/// Parts of a block that are mapped, as offsets; the pages between them are guards.
pub(crate) const MAPPED: [(u64, u64); 6] = [
    EXCEPTION_STACKS[0],
    EXCEPTION_STACKS[1],
    EXCEPTION_STACKS[2],
    EXCEPTION_STACKS[3],
    KERNEL_STACK,
    AREA,
];

/// A CPU's data. GS points to it in kernel mode. Only its own CPU uses it, except where fields are atomic.
#[repr(C, align(64))]
pub(crate) struct CpuArea {
    /// The thread that runs in user mode, or ran last.
    pub(crate) context: Cell<*mut Context>,
    /// Top of the kernel stack.
    pub(crate) stack_top: u64,
    /// For the entry assembly, where it has no register to spare.
    pub(crate) scratch: [Cell<u64>; 2],
    /// Address of the code that ends a system call.
    pub(crate) system_call_exit: Cell<u64>,
    this: *const CpuArea,
    /// A word for the kernel's logic.
    pub(crate) local: Cell<u64>,
    pub(crate) index: u32,
    pub(crate) apic_id: AtomicU32,
    /// Interrupts that hit kernel mode and nobody has taken yet: `EVENT_*` bits.
    pub(crate) recorded: Cell<u32>,
    /// Device interrupt lines among them.
    pub(crate) recorded_lines: Cell<u32>,
    /// When the kernel wants its timer interrupt, nanoseconds; `u64::MAX` = never.
    pub(crate) deadline_wanted: Cell<u64>,
    /// When the hardware will give one; `u64::MAX` = never.
    pub(crate) deadline_armed: Cell<u64>,
    /// Not 0 once the CPU is ready to run threads.
    pub(crate) ready: AtomicU32,
    /// Not 0 once the kernel's logic has started and the CPU may run threads.
    pub(crate) released: AtomicU32,
    pub(crate) random: RefCell<RandomGenerator>,
    pub(crate) gdt: Cell<[u64; 7]>,
    pub(crate) task_state: TaskStateSegment,
}

/// Offsets of what the assembly uses.
pub(crate) mod offset {
    use super::{CpuArea, offset_of};
    pub(crate) const CONTEXT: usize = offset_of!(CpuArea, context);
    pub(crate) const STACK_TOP: usize = offset_of!(CpuArea, stack_top);
    pub(crate) const SCRATCH: usize = offset_of!(CpuArea, scratch);
    pub(crate) const SYSTEM_CALL_EXIT: usize = offset_of!(CpuArea, system_call_exit);
}

const _: () = assert!(size_of::<CpuArea>() as u64 <= AREA.1 - AREA.0);

/// Virtual address of a CPU's block.
pub(crate) const fn block(index: u32) -> u64 {
    BLOCKS + index as u64 * BLOCK_BYTES
}

/// Index of the CPU whose block `address` lies in; `None` outside the blocks.
pub(crate) fn index_of(address: u64) -> Option<u32> {
    let index = address.checked_sub(BLOCKS)? / BLOCK_BYTES;
    (index < platform::acpi::CPU_LIMIT as u64).then_some(index as u32)
}

/// Whether the 16 bytes at `address` lie on a stack of a CPU.
pub(crate) fn is_on_stack(address: u64) -> bool {
    let offset = address.wrapping_sub(BLOCKS) % BLOCK_BYTES;
    let inside = |&(start, end): &(u64, u64)| (start..=end - 16).contains(&offset);
    index_of(address).is_some() && (inside(&KERNEL_STACK) || EXCEPTION_STACKS.iter().any(inside))
}

/// Top of a CPU's kernel stack.
pub(crate) const fn stack_top(index: u32) -> u64 {
    block(index) + KERNEL_STACK.1
}

/// Top of a CPU's exception stack `number` (0 double fault, 1 NMI, 2 debug, 3 machine check).
pub(crate) const fn exception_stack_top(index: u32, number: usize) -> u64 {
    block(index) + EXCEPTION_STACKS[number].1
}

/// Virtual address of a CPU's area.
pub(crate) const fn area_address(index: u32) -> u64 {
    block(index) + AREA.0
}

/// Writes the initial data of a CPU whose block has just been mapped.
///
/// # Safety
/// The block of `index` must be mapped and not in use.
pub(crate) unsafe fn initialise(index: u32, random: RandomGenerator) {
    let area = area_address(index) as *mut CpuArea;
    let initial = CpuArea {
        context: Cell::new(ptr::null_mut()),
        stack_top: stack_top(index),
        scratch: [Cell::new(0), Cell::new(0)],
        system_call_exit: Cell::new(0),
        this: area,
        local: Cell::new(0),
        index,
        apic_id: AtomicU32::new(0),
        recorded: Cell::new(0),
        recorded_lines: Cell::new(0),
        deadline_wanted: Cell::new(u64::MAX),
        deadline_armed: Cell::new(u64::MAX),
        ready: AtomicU32::new(0),
        released: AtomicU32::new(0),
        random: RefCell::new(random),
        gdt: Cell::new([0; 7]),
        task_state: TaskStateSegment::new(),
    };
    // SAFETY: the area is mapped, aligned and large enough (checked above), and by the caller's promise
    // nobody else refers to it.
    unsafe { area.write(initial) };
}

/// The area of any CPU that was initialised. Of another CPU's only atomic and immutable fields may be used.
///
/// # Safety
/// `initialise` was called for `index`.
pub(crate) unsafe fn area(index: u32) -> &'static CpuArea {
    // SAFETY: by the caller's promise there is a CpuArea, and areas are never freed or moved.
    unsafe { &*(area_address(index) as *const CpuArea) }
}

/// This CPU's area.
#[inline]
pub(crate) fn this() -> &'static CpuArea {
    let this: *const CpuArea;
    // SAFETY: kernel code runs with GS at its CPU's area, which holds its own address and lives for ever.
    unsafe {
        core::arch::asm!("mov {}, gs:[{offset}]", out(reg) this, offset = const offset_of!(CpuArea, this),
                         options(nostack, preserves_flags, pure, readonly));
        &*this
    }
}

/// This CPU's index.
#[inline]
pub(crate) fn this_index() -> u32 {
    let index: u32;
    // SAFETY: as above; the field never changes.
    unsafe {
        core::arch::asm!("mov {:e}, gs:[{offset}]", out(reg) index, offset = const offset_of!(CpuArea, index),
                         options(nostack, preserves_flags, pure, readonly));
    }
    index
}

/// This CPU's word for the kernel's logic.
#[inline(always)]
pub(crate) fn local() -> *const () {
    let local;
    // SAFETY: as in `this`. The word is set once, before anybody reads it.
    unsafe {
        core::arch::asm!("mov {}, gs:[{offset}]", out(reg) local, offset = const offset_of!(CpuArea, local),
                         options(nostack, preserves_flags, pure, readonly));
    }
    local
}
