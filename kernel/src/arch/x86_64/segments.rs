//! Segment descriptors, task state and the interrupt descriptor table.
//!
//! The order of the descriptors follows from `syscall` and `sysret`: kernel code and data adjoin, user data
//! comes before user code (AMD APM vol. 2 §6.1.1).

// UNSAFETY: loads descriptor tables.
#![allow(
    unsafe_code,
    reason = "descriptor tables are loaded by privileged instructions"
)]

use core::cell::UnsafeCell;

use x86_64::VirtAddr;
use x86_64::instructions::tables::{lgdt, lidt, load_tss};
use x86_64::registers::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

use super::cpu_area::{self, CpuArea};
use super::entry;

/// Selectors. The user's have privilege level 3.
pub(crate) const KERNEL_CODE: u16 = 0x08;
pub(crate) const USER_DATA: u16 = 0x18 | 3;
pub(crate) const USER_CODE: u16 = 0x20 | 3;
const KERNEL_DATA: u16 = 0x10;
const TASK_STATE: u16 = 0x28;

/// Value of the STAR register: `syscall` loads `KERNEL_CODE` and the next, `sysret` the second and the first
/// after `0x10 | 3`.
pub(crate) const STAR: u64 = ((KERNEL_DATA as u64 | 3) << 48) | ((KERNEL_CODE as u64) << 32);

const VECTOR_DEBUG: usize = 1;
const VECTOR_NMI: usize = 2;
const VECTOR_BREAKPOINT: usize = 3;
const VECTOR_DOUBLE_FAULT: usize = 8;
const VECTOR_MACHINE_CHECK: usize = 18;

/// An interrupt gate (Intel SDM vol. 3 §6.14.1), as two words.
type Gate = [u64; 2];

struct GateTable(UnsafeCell<[Gate; 256]>);

// SAFETY: written by the first CPU before any other one runs, only read by the processors afterwards.
unsafe impl Sync for GateTable {}

static GATES: GateTable = GateTable(UnsafeCell::new([[0; 2]; 256]));

/// A gate that disables interrupts, on exception stack `stack` (from 1; 0 = none), usable from privilege
/// level `privilege` by software.
const fn gate(handler: u64, stack: u64, privilege: u64) -> Gate {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
    let low = (handler & 0xffff)
        | ((KERNEL_CODE as u64) << 16)
        | (stack << 32)
        | PRESENT_INTERRUPT_GATE
        | (privilege << 45)
        | ((handler >> 16 & 0xffff) << 48);
    [low, handler >> 32]
}

/// Fills the interrupt descriptor table that all CPUs share.
///
/// # Safety
/// Only the first CPU runs, and it calls this once.
pub(crate) unsafe fn build_gates() {
    let entries = entry::trap_entries as *const () as u64;
    let mut gates = [[0; 2]; 256];
    for (vector, slot) in gates.iter_mut().enumerate() {
        let handler = entries + 16 * vector as u64;
        *slot = match vector {
            VECTOR_DOUBLE_FAULT => gate(handler, 1, 0),
            VECTOR_NMI => gate(entry::nmi_entry as *const () as u64, 2, 0),
            VECTOR_DEBUG => gate(handler, 3, 0),
            VECTOR_MACHINE_CHECK => gate(handler, 4, 0),
            VECTOR_BREAKPOINT => gate(handler, 0, 3),
            _ => gate(handler, 0, 0),
        };
    }
    // SAFETY: by the caller's promise nobody reads or writes the table now.
    unsafe { GATES.0.get().write(gates) };
}

/// Loads this CPU's descriptor tables and task state and sets the data segments to null.
///
/// # Safety
/// `index` is this CPU's, its area is initialised, its tables are not loaded yet.
pub(crate) unsafe fn load(index: u32) {
    // SAFETY: the caller's promise. Nobody else looks at the task state before it is loaded below.
    let area = unsafe { cpu_area::area(index) };
    let task_state = task_state_of(index);
    let pointer = (&raw const area.task_state).cast_mut();
    // SAFETY: the area is mapped writable, and the processor does not use the task state yet.
    unsafe { pointer.write(task_state) };
    area.gdt.set(descriptors(area));
    let table = |base: *const (), bytes: usize| DescriptorTablePointer {
        limit: (bytes - 1) as u16,
        base: VirtAddr::from_ptr(base),
    };
    // SAFETY: the tables live for ever and describe flat segments as the kernel uses them; the code segment
    // is the same as in the boot loader's table.
    unsafe {
        lgdt(&table(area.gdt.as_ptr().cast(), size_of::<[u64; 7]>()));
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        let null = SegmentSelector(0);
        DS::set_reg(null);
        ES::set_reg(null);
        FS::set_reg(null);
        GS::set_reg(null);
        load_tss(SegmentSelector(TASK_STATE));
        lidt(&table(GATES.0.get().cast(), size_of::<[Gate; 256]>()));
    }
}

fn task_state_of(index: u32) -> TaskStateSegment {
    let mut state = TaskStateSegment::new();
    state.privilege_stack_table[0] = VirtAddr::new(cpu_area::stack_top(index));
    for number in 0..4 {
        state.interrupt_stack_table[number] = VirtAddr::new(cpu_area::exception_stack_top(index, number));
    }
    state
}

fn descriptors(area: &'static CpuArea) -> [u64; 7] {
    let (low, high) = match Descriptor::tss_segment(&area.task_state) {
        Descriptor::SystemSegment(low, high) => (low, high),
        Descriptor::UserSegment(low) => (low, 0),
    };
    [
        0,
        DescriptorFlags::KERNEL_CODE64.bits(),
        DescriptorFlags::KERNEL_DATA.bits(),
        DescriptorFlags::USER_DATA.bits(),
        DescriptorFlags::USER_CODE64.bits(),
        low,
        high,
    ]
}
