//! A machine made of ordinary memory, for tests on the host.
//!
//! All of it is shared by the tests of this process, so a test that uses it holds [`lock`] and is then the machine's
//! CPU 0. Other CPUs count as halted; a test may be another CPU in threads of its own ([`set_cpu`]).
#![expect(
    unsafe_code,
    reason = "memory is used by address, and the linker finds the functions by name"
)]

use crate::context::{Context, MemoryRange};
use crate::cpu;
use crate::memory::{PhysAddr, frame};
use crate::tlb;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use l4::PAGE_SIZE;
use std::alloc::{Layout, alloc_zeroed};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

/// Bytes of physical memory.
const MEMORY: u64 = USABLE.end + (24 << 20);
/// What a boot loader would have left to the kernel. What lies behind it is for boot modules.
const USABLE: MemoryRange = MemoryRange {
    start: 1 << 20,
    end: 256 << 20,
    usable: true,
};
const KERNEL_ROOT: PhysAddr = PhysAddr(PAGE_SIZE);
const CPUS: u32 = 8;

/// What each look at the clock takes while a test drives the machine.
const CLOCK_STEP_NS: u64 = 100;

static LOCALS: [AtomicU64; CPUS as usize] = [const { AtomicU64::new(0) }; CPUS as usize];
static LOCK: Mutex<()> = Mutex::new(());
static FLUSHES: [AtomicU64; CPUS as usize] = [const { AtomicU64::new(0) }; CPUS as usize];
static NOW: AtomicU64 = AtomicU64::new(0);
/// First address behind the last boot module.
static MODULES: AtomicU64 = AtomicU64::new(USABLE.end);
static RANDOM: AtomicU64 = AtomicU64::new(0);
/// A test delivers the interrupts ([`drive`]).
static DRIVEN: AtomicBool = AtomicBool::new(false);
/// Bit n: CPU n was poked.
static POKED: AtomicU32 = AtomicU32::new(0);
/// When each CPU's timer fires.
static TIMERS: [AtomicU64; CPUS as usize] = [const { AtomicU64::new(u64::MAX) }; CPUS as usize];
/// Interrupts that each CPU took while it was halted.
static RECORDED: [AtomicU32; CPUS as usize] = [const { AtomicU32::new(0) }; CPUS as usize];

std::thread_local! {
    static CPU: Cell<u32> = const { Cell::new(0) };
    static WAIT: Cell<Option<fn(Wait)>> = const { Cell::new(None) };
}

/// The right to use the machine.
pub struct Guard {
    _guard: MutexGuard<'static, ()>,
}

/// Waits for the machine and boots it when it is used for the first time.
pub fn lock() -> Guard {
    static BOOT: Once = Once::new();
    // A test that failed leaves frames in use, which does no harm to the others.
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    CPU.set(0);
    BOOT.call_once(|| {
        cpu::initialise();
        cpu::all().skip(1).for_each(|cpu| cpu.epoch.set_halted(true));
        frame::initialise(&[USABLE]);
    });
    MODULES.store(USABLE.end, Ordering::Relaxed);
    Guard { _guard: guard }
}

/// Memory for a boot module of `size` bytes, aligned to a power of two, for as long as this test has the machine.
pub fn module(size: u64, alignment: u64) -> PhysAddr {
    let start = MODULES.load(Ordering::Relaxed).next_multiple_of(alignment);
    let end = start + size.next_multiple_of(PAGE_SIZE);
    assert!(end <= MEMORY, "no room for so many boot modules");
    MODULES.store(end, Ordering::Relaxed);
    PhysAddr(start)
}

/// Makes this thread another CPU.
pub fn set_cpu(cpu: u32) {
    assert!(cpu < CPUS);
    CPU.set(cpu);
}

/// How a CPU waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It is halted until it has an interrupt.
    Halt,
    /// It looks again and again, and lets interrupts in.
    Spin,
}

/// From now on the caller is all CPUs in turn ([`set_cpu`]): pokes and timers are recorded for it to deliver, and a CPU
/// that waits calls `wait`, in which the others go on. `None` ends that.
///
/// Requests to flush translations are served as soon as they are made: who makes them waits.
pub fn drive(wait: Option<fn(Wait)>) {
    DRIVEN.store(wait.is_some(), Ordering::SeqCst);
    WAIT.set(wait);
}

/// Tells whether a CPU was poked since this was asked last.
pub fn take_poke(cpu: u32) -> bool {
    POKED.fetch_and(!(1 << cpu), Ordering::SeqCst) >> cpu & 1 != 0
}

/// Tells whether a poke of the CPU waits for delivery.
pub fn is_poked(cpu: u32) -> bool {
    POKED.load(Ordering::SeqCst) >> cpu & 1 != 0
}

/// When a CPU's timer fires; `u64::MAX` if it is off.
pub fn timer(cpu: u32) -> u64 {
    TIMERS[cpu as usize].load(Ordering::SeqCst)
}

/// Lets a CPU's timer fire: it is off then, and the time has come.
pub fn fire_timer(cpu: u32) {
    let deadline = TIMERS[cpu as usize].swap(u64::MAX, Ordering::SeqCst);
    NOW.fetch_max(deadline, Ordering::SeqCst);
}

/// Records interrupts for a halted CPU: bit 0 timer, bit 1 poke.
pub fn record(cpu: u32, interrupts: u32) {
    RECORDED[cpu as usize].fetch_or(interrupts, Ordering::SeqCst);
}

/// Tells whether a halted CPU has an interrupt.
pub fn has_recorded(cpu: u32) -> bool {
    RECORDED[cpu as usize].load(Ordering::SeqCst) != 0
}

/// How often this CPU flushed translations.
pub fn flushes() -> u64 {
    FLUSHES[machine_cpu() as usize].load(Ordering::SeqCst)
}

/// Sets the clock.
pub fn set_now(now: u64) {
    NOW.store(now, Ordering::SeqCst);
}

/// Fills a frame with a byte.
pub fn fill(frame: PhysAddr, byte: u8) {
    assert!(frame.0.is_multiple_of(PAGE_SIZE) && frame.0 < MEMORY);
    // SAFETY: The frame lies in the machine's memory, to which only raw pointers and atomics exist.
    unsafe { core::ptr::write_bytes(pointer(frame), byte, PAGE_SIZE as usize) }
}

fn pointer(address: PhysAddr) -> *mut u8 {
    (machine_direct_map() + address.0) as *mut u8
}

#[unsafe(no_mangle)]
fn machine_now() -> u64 {
    // Who waits for a time must see it come.
    let step = if DRIVEN.load(Ordering::Relaxed) {
        CLOCK_STEP_NS
    } else {
        0
    };
    NOW.fetch_add(step, Ordering::SeqCst)
}

#[unsafe(no_mangle)]
fn machine_ticks() -> u64 {
    NOW.load(Ordering::Relaxed)
}

#[unsafe(no_mangle)]
fn machine_ticks_to_ns(ticks: u64) -> u64 {
    ticks
}

#[unsafe(no_mangle)]
fn machine_set_timer(deadline_ns: u64) {
    TIMERS[machine_cpu() as usize].store(deadline_ns, Ordering::SeqCst);
}

#[unsafe(no_mangle)]
fn machine_poke(cpu: u32) {
    if DRIVEN.load(Ordering::SeqCst) {
        POKED.fetch_or(1 << cpu, Ordering::SeqCst);
        let this = CPU.replace(cpu);
        tlb::serve();
        CPU.set(this);
    }
}

#[unsafe(no_mangle)]
fn machine_wait_for_interrupt() {
    if let Some(wait) = WAIT.get() {
        wait(Wait::Halt);
    }
}

#[unsafe(no_mangle)]
fn machine_take_interrupts() -> u32 {
    RECORDED[machine_cpu() as usize].swap(0, Ordering::SeqCst)
}

#[unsafe(no_mangle)]
fn machine_take_device() -> u32 {
    u32::MAX
}

#[unsafe(no_mangle)]
fn machine_allow_interrupts() {
    if let Some(wait) = WAIT.get() {
        wait(Wait::Spin);
    }
}

#[unsafe(no_mangle)]
fn machine_activate(_root: PhysAddr) {}

#[unsafe(no_mangle)]
fn machine_kernel_root() -> PhysAddr {
    KERNEL_ROOT
}

#[unsafe(no_mangle)]
fn machine_flush_page(_address: u64) {
    FLUSHES[machine_cpu() as usize].fetch_add(1, Ordering::SeqCst);
}

#[unsafe(no_mangle)]
fn machine_flush_all() {
    FLUSHES[machine_cpu() as usize].fetch_add(1, Ordering::SeqCst);
}

#[unsafe(no_mangle)]
fn machine_direct_map() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    *BASE.get_or_init(|| {
        let layout = Layout::from_size_align(MEMORY as usize, PAGE_SIZE as usize).unwrap();
        // SAFETY: The size is not 0. The memory is never given back.
        unsafe { alloc_zeroed(layout) as u64 }
    })
}

#[unsafe(no_mangle)]
fn machine_cpu() -> u32 {
    CPU.get()
}

#[unsafe(no_mangle)]
fn machine_local() -> *const () {
    LOCALS[CPU.get() as usize].load(Ordering::Relaxed) as *const ()
}

#[unsafe(no_mangle)]
fn machine_set_local(cpu: u32, value: u64) {
    LOCALS[cpu as usize].store(value, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
fn machine_cpu_count() -> u32 {
    CPUS
}

#[unsafe(no_mangle)]
fn machine_console_write(bytes: &[u8]) {
    if !DRIVEN.load(Ordering::SeqCst) {
        std::print!("{}", std::string::String::from_utf8_lossy(bytes));
    }
}

#[unsafe(no_mangle)]
fn machine_debug_console_write(_: &[u8]) -> bool {
    false
}

#[unsafe(no_mangle)]
fn machine_power_off(success: bool) -> ! {
    panic!("powered off, success: {success}");
}

#[unsafe(no_mangle)]
fn machine_random() -> u64 {
    RANDOM.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
}

#[unsafe(no_mangle)]
fn machine_unmask_device(_line: u32, _level: bool) {}

#[unsafe(no_mangle)]
fn machine_mask_device(_line: u32) {}

#[unsafe(no_mangle)]
unsafe fn machine_zero_page(frame: PhysAddr) {
    fill(frame, 0);
}

#[unsafe(no_mangle)]
unsafe fn machine_copy_page(to: PhysAddr, from: PhysAddr) {
    assert!(to.0.max(from.0) < MEMORY && to != from);
    // SAFETY: Both frames lie in the machine's memory, to which only raw pointers and atomics exist.
    unsafe { core::ptr::copy_nonoverlapping(pointer(from), pointer(to), PAGE_SIZE as usize) }
}

#[unsafe(no_mangle)]
unsafe fn machine_copy_eighths(to: PhysAddr, from: PhysAddr, eighths: u8) {
    const EIGHTH: usize = PAGE_SIZE as usize / 8;
    assert!(to.0.max(from.0) < MEMORY && to != from);
    for number in (0..8).filter(|number| eighths >> number & 1 != 0) {
        // SAFETY: As above.
        unsafe {
            let (to, from) = (
                pointer(to).add(number * EIGHTH),
                pointer(from).add(number * EIGHTH),
            );
            core::ptr::copy_nonoverlapping(from, to, EIGHTH);
        }
    }
}

#[unsafe(no_mangle)]
unsafe fn machine_zero_eighths(frame: PhysAddr, eighths: u8) {
    const EIGHTH: usize = PAGE_SIZE as usize / 8;
    assert!(frame.0 < MEMORY);
    for number in (0..8).filter(|number| eighths >> number & 1 != 0) {
        // SAFETY: As above.
        unsafe { pointer(frame).add(number * EIGHTH).write_bytes(0, EIGHTH) };
    }
}

#[unsafe(no_mangle)]
unsafe fn machine_switch(_from: *mut Context, _to: *const Context, _other_task: bool) {}

#[unsafe(no_mangle)]
unsafe extern "C" fn machine_exchange(_from: *mut Context, _to: *const Context) {}
