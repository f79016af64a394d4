//! The local APIC, through its registers in memory or, where present, as model-specific registers (x2APIC).
//! Intel SDM vol. 3, chapter 11. (x2APIC is untested: the emulator used for tests does not have it.)

// UNSAFETY: device and model-specific registers.
#![allow(
    unsafe_code,
    reason = "the APIC is reached through memory-mapped and model-specific registers"
)]

use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::registers::model_specific::Msr;

use super::features::Features;
use super::paging::DIRECT_MAP;

/// Vector of this CPU's timer.
pub(crate) const VECTOR_TIMER: u8 = 0xf0;
/// Vector of the interrupt by which CPUs get each other's attention.
pub(crate) const VECTOR_POKE: u8 = 0xf1;
const VECTOR_SPURIOUS: u8 = 0xff;

const APIC_BASE: u32 = 0x1b;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const APIC_BASE_X2APIC: u64 = 1 << 10;
const X2APIC_REGISTERS: u32 = 0x800;

/// Offsets of registers; in x2APIC mode the number of the MSR is `X2APIC_REGISTERS + offset / 16`.
const ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const COMMAND: u32 = 0x300;
const COMMAND_HIGH: u32 = 0x310;
const LOCAL_TIMER: u32 = 0x320;
const LOCAL_LINT0: u32 = 0x350;
const LOCAL_LINT1: u32 = 0x360;
const LOCAL_ERROR: u32 = 0x370;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;

const SPURIOUS_APIC_ENABLE: u32 = 1 << 8;
const LOCAL_MASKED: u32 = 1 << 16;
const LOCAL_NMI: u32 = 4 << 8;
const TIMER_TSC_DEADLINE: u32 = 2 << 17;
const TIMER_DIVIDE_BY_1: u32 = 0b1011;

const COMMAND_NMI: u32 = 4 << 8;
const COMMAND_INIT: u32 = 5 << 8;
const COMMAND_STARTUP: u32 = 6 << 8;
const COMMAND_PENDING: u32 = 1 << 12;
const COMMAND_ASSERT: u32 = 1 << 14;

/// Virtual address of the registers; 0 in x2APIC mode and before [`initialise`].
static REGISTERS: AtomicU64 = AtomicU64::new(0);

fn read(register: u32) -> u32 {
    if Features::X2APIC.present() {
        // SAFETY: reading these registers has no side effect.
        return unsafe { Msr::new(X2APIC_REGISTERS + register / 16).read() } as u32;
    }
    let address = REGISTERS.load(Ordering::Relaxed) + u64::from(register);
    // SAFETY: the registers' page is mapped uncached in the direct map; reads have no side effect.
    unsafe { (address as *const u32).read_volatile() }
}

/// # Safety
/// The write must not make the APIC deliver what the kernel does not expect.
#[inline]
unsafe fn write(register: u32, value: u32) {
    if Features::X2APIC.present() {
        // SAFETY: the caller's promise.
        unsafe { Msr::new(X2APIC_REGISTERS + register / 16).write(value.into()) };
        return;
    }
    let address = REGISTERS.load(Ordering::Relaxed) + u64::from(register);
    // SAFETY: the registers' page is mapped uncached in the direct map; otherwise the caller's promise.
    unsafe { (address as *mut u32).write_volatile(value) };
}

/// Switches on this CPU's APIC, with its registers at physical address `registers` (below 4 GiB) unless it has
/// x2APIC. Only the NMI pin and messages get through; the timer is off.
///
/// # Safety
/// Called on each CPU once, after its interrupt descriptor table was loaded.
pub(crate) unsafe fn initialise(registers: u64) {
    let mode = if Features::X2APIC.present() {
        APIC_BASE_X2APIC
    } else {
        0
    };
    REGISTERS.store(DIRECT_MAP + registers, Ordering::Relaxed);
    // SAFETY: enables the APIC where it is; all its interrupts have handlers.
    unsafe {
        let mut base = Msr::new(APIC_BASE);
        let value = base.read();
        base.write(value | APIC_BASE_ENABLE);
        base.write(value | APIC_BASE_ENABLE | mode);
        write(SPURIOUS, SPURIOUS_APIC_ENABLE | u32::from(VECTOR_SPURIOUS));
        write(TASK_PRIORITY, 0);
        write(LOCAL_LINT0, LOCAL_MASKED);
        write(LOCAL_LINT1, LOCAL_NMI);
        write(LOCAL_ERROR, LOCAL_MASKED);
        write(LOCAL_TIMER, LOCAL_MASKED | u32::from(VECTOR_TIMER));
        write(TIMER_DIVIDE, TIMER_DIVIDE_BY_1);
    }
}

/// This CPU's APIC id.
pub(crate) fn id() -> u32 {
    let id = read(ID);
    if Features::X2APIC.present() { id } else { id >> 24 }
}

/// Tells the APIC that the interrupt being handled is done with.
#[inline]
pub(crate) fn end_of_interrupt() {
    // SAFETY: called once for each interrupt that was delivered.
    unsafe { write(END_OF_INTERRUPT, 0) };
}

/// Unmasks the timer, which gives an interrupt when a count set by [`set_timer_count`] reaches zero.
pub(crate) fn use_count_timer() {
    // SAFETY: the timer's interrupt has a handler.
    unsafe { write(LOCAL_TIMER, VECTOR_TIMER.into()) };
}

/// Makes the timer compare the time stamp counter with the deadline register.
pub(crate) fn use_deadline_timer() {
    // SAFETY: the timer's interrupt has a handler. The fence orders this write before those of the deadline,
    // as the manual demands.
    unsafe {
        write(LOCAL_TIMER, TIMER_TSC_DEADLINE | u32::from(VECTOR_TIMER));
        core::arch::asm!("mfence", options(nostack, preserves_flags));
    }
}

/// Starts the timer's count at `count`; 0 stops it.
#[inline]
pub(crate) fn set_timer_count(count: u32) {
    // SAFETY: the timer's interrupt has a handler.
    unsafe { write(TIMER_INITIAL, count) };
}

/// The timer's present count.
pub(crate) fn timer_count() -> u32 {
    read(TIMER_CURRENT)
}

/// Interrupts the CPU with APIC id `target`.
pub(crate) fn send_poke(target: u32) {
    // SAFETY: the interrupt has a handler on every CPU that has started.
    unsafe { send(target, u32::from(VECTOR_POKE) | COMMAND_ASSERT) };
}

/// Resets the CPU with APIC id `target`; it then waits for [`send_startup`].
///
/// # Safety
/// The CPU runs nothing that is needed.
pub(crate) unsafe fn send_reset(target: u32) {
    // SAFETY: the caller's promise.
    unsafe { send(target, COMMAND_INIT | COMMAND_ASSERT) };
}

/// Starts the CPU with APIC id `target`, after a reset, in real mode at `page * 4096`.
///
/// # Safety
/// There is code to start with in that page.
pub(crate) unsafe fn send_startup(target: u32, page: u8) {
    // SAFETY: the caller's promise.
    unsafe { send(target, COMMAND_STARTUP | COMMAND_ASSERT | u32::from(page)) };
}

/// Sends the CPU with APIC id `target` an NMI, which stops it.
///
/// # Safety
/// The CPU has started, and nothing is needed of it any more.
pub(crate) unsafe fn send_stop(target: u32) {
    // SAFETY: the caller's promise.
    unsafe { send(target, COMMAND_NMI | COMMAND_ASSERT) };
}

/// # Safety
/// As for [`write`], for the target CPU.
unsafe fn send(target: u32, command: u32) {
    if Features::X2APIC.present() {
        let mut register = Msr::new(X2APIC_REGISTERS + COMMAND / 16);
        // Writes to x2APIC registers do not wait for earlier stores, which the target is to see.
        // SAFETY: a fence, then as the caller promises.
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            register.write(u64::from(target) << 32 | u64::from(command));
        }
        return;
    }
    while read(COMMAND) & COMMAND_PENDING != 0 {
        core::hint::spin_loop();
    }
    // SAFETY: the caller's promise. Nothing comes between the writes: interrupts are off in the kernel.
    unsafe {
        write(COMMAND_HIGH, target << 24);
        write(COMMAND, command);
    }
}
