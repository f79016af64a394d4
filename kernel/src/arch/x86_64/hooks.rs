//! The functions that `kernel_core::machine` declares.

// UNSAFETY: defines functions for another crate to link to, some of them one instruction long.
#![allow(
    unsafe_code,
    reason = "called across crates by symbol; privileged instructions"
)]

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};

use kernel_core::context::{Context, KIND_FULL, KIND_SYSCALL, XsaveArea};
use kernel_core::memory::PhysAddr;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{FsBase, KernelGsBase};

use super::features::Features;
use super::{apic, clock, console, cpu_area, debug_console, io_apic, memory_functions, paging, panic, timer};

static CPU_COUNT: AtomicU32 = AtomicU32::new(1);

/// Makes the number of running CPUs known. Called once, before the kernel's logic starts.
pub(super) fn set_cpu_count(count: u32) {
    CPU_COUNT.store(count, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
fn machine_now() -> u64 {
    clock::now()
}

#[unsafe(no_mangle)]
fn machine_ticks() -> u64 {
    clock::ticks()
}

#[unsafe(no_mangle)]
fn machine_ticks_to_ns(ticks: u64) -> u64 {
    clock::ticks_to_ns(ticks)
}

#[unsafe(no_mangle)]
fn machine_set_timer(deadline_ns: u64) {
    timer::set(deadline_ns);
}

#[unsafe(no_mangle)]
fn machine_poke(cpu: u32) {
    assert!(cpu < machine_cpu_count(), "there is no CPU {cpu}");
    // SAFETY: all CPUs that run have areas, and the APIC id does not change once they run.
    let target = unsafe { cpu_area::area(cpu) }.apic_id.load(Ordering::Relaxed);
    apic::send_poke(target);
}

#[unsafe(no_mangle)]
fn machine_wait_for_interrupt() {
    // SAFETY: the interrupts that get in save what they use, except vector registers, which are declared lost.
    // No interrupt is missed: the one after `sti` comes no earlier than in `hlt`.
    unsafe { asm!("sti", "hlt", "cli", clobber_abi("C")) };
}

#[unsafe(no_mangle)]
fn machine_allow_interrupts() {
    // SAFETY: as above.
    unsafe { asm!("sti", "nop", "cli", clobber_abi("C")) };
}

#[unsafe(no_mangle)]
fn machine_take_interrupts() -> u32 {
    cpu_area::this().recorded.take()
}

#[unsafe(no_mangle)]
fn machine_take_device() -> u32 {
    let lines = &cpu_area::this().recorded_lines;
    let set = lines.get();
    if set == 0 {
        return u32::MAX;
    }
    lines.set(set & (set - 1));
    set.trailing_zeros()
}

#[unsafe(no_mangle)]
fn machine_activate(root: PhysAddr) {
    // SAFETY: the kernel's logic copies the upper half of each root from the kernel's.
    unsafe { paging::load_root(root.0) };
}

#[unsafe(no_mangle)]
fn machine_kernel_root() -> PhysAddr {
    PhysAddr(paging::kernel_root())
}

#[unsafe(no_mangle)]
fn machine_flush_page(address: u64) {
    paging::flush_page(address);
}

#[unsafe(no_mangle)]
fn machine_flush_all() {
    paging::flush_all();
}

#[unsafe(no_mangle)]
fn machine_direct_map() -> u64 {
    paging::DIRECT_MAP
}

#[unsafe(no_mangle)]
fn machine_cpu() -> u32 {
    cpu_area::this_index()
}

#[unsafe(no_mangle)]
fn machine_local() -> *const () {
    cpu_area::local()
}

#[unsafe(no_mangle)]
fn machine_set_local(cpu: u32, value: u64) {
    assert!(cpu < machine_cpu_count(), "there is no CPU {cpu}");
    // SAFETY: all CPUs that run have areas; the others read the word only after the kernel's logic has started.
    unsafe { cpu_area::area(cpu) }.local.set(value);
}

#[unsafe(no_mangle)]
fn machine_cpu_count() -> u32 {
    CPU_COUNT.load(Ordering::Relaxed)
}

#[unsafe(no_mangle)]
fn machine_console_write(bytes: &[u8]) {
    console::write(bytes);
}

#[unsafe(no_mangle)]
fn machine_debug_console_write(bytes: &[u8]) -> bool {
    debug_console::write(bytes)
}

#[unsafe(no_mangle)]
fn machine_power_off(success: bool) -> ! {
    panic::power_off(success)
}

#[unsafe(no_mangle)]
fn machine_random() -> u64 {
    cpu_area::this().random.borrow_mut().next_u64()
}

#[unsafe(no_mangle)]
fn machine_unmask_device(line: u32, level: bool) {
    io_apic::unmask(line, level);
}

#[unsafe(no_mangle)]
fn machine_mask_device(line: u32) {
    io_apic::mask(line);
}

/// # Safety
/// The frame is RAM and nobody refers to it.
#[unsafe(no_mangle)]
unsafe fn machine_zero_page(frame: PhysAddr) {
    // SAFETY: RAM is mapped writable in the direct map; otherwise the caller's promise.
    unsafe { memory_functions::zero_page((paging::DIRECT_MAP + frame.0) as *mut u8) };
}

/// # Safety
/// Both frames are RAM, nobody refers to `to`, nobody writes to `from`.
#[unsafe(no_mangle)]
unsafe fn machine_copy_page(to: PhysAddr, from: PhysAddr) {
    let (to, from) = (
        (paging::DIRECT_MAP + to.0) as *mut u8,
        (paging::DIRECT_MAP + from.0) as *const u8,
    );
    // SAFETY: RAM is mapped writable in the direct map; otherwise the caller's promise.
    unsafe { memory_functions::copy_page(to, from) };
}

/// # Safety
/// Both frames are RAM, nobody refers to `to`, nobody writes to `from`.
#[unsafe(no_mangle)]
unsafe fn machine_copy_eighths(to: PhysAddr, from: PhysAddr, eighths: u8) {
    let (to, from) = (
        (paging::DIRECT_MAP + to.0) as *mut u8,
        (paging::DIRECT_MAP + from.0) as *const u8,
    );
    // SAFETY: RAM is mapped writable in the direct map; otherwise the caller's promise.
    unsafe { memory_functions::copy_eighths(to, from, eighths) };
}

/// # Safety
/// The frame is RAM and nobody refers to it.
#[unsafe(no_mangle)]
unsafe fn machine_zero_eighths(frame: PhysAddr, eighths: u8) {
    // SAFETY: RAM is mapped writable in the direct map; otherwise the caller's promise.
    unsafe { memory_functions::zero_eighths((paging::DIRECT_MAP + frame.0) as *mut u8, eighths) };
}

/// What XRSTOR loads to put the x87 unit into its initial state.
pub(super) static INITIAL_FLOATING_POINT: XsaveArea = XsaveArea::initial();

/// Saves what of the running thread's state is only in the processor into `from`, and loads that of `to`.
///
/// # Safety
/// Both are null or point to contexts that nobody else uses.
#[unsafe(no_mangle)]
unsafe fn machine_switch(from: *mut Context, to: *const Context, _other_task: bool) {
    // SAFETY: the caller's promise.
    unsafe { switch(from, to) };
}

/// [`machine_switch`], for the assembly as well.
///
/// # Safety
/// As there.
pub(super) unsafe extern "C" fn switch(from: *mut Context, to: *const Context) {
    // SAFETY: the caller's promise.
    let (from, to) = unsafe { (from.as_mut(), to.as_ref()) };
    if let Some(from) = from {
        (from.fs_base, from.gs_base) = segment_bases();
        store_floating_point_control(from);
    }
    if let Some(to) = to {
        set_segment_bases(to.fs_base, to.gs_base);
        load_floating_point_control(to);
    }
}

#[inline]
fn store_floating_point_control(from: &mut Context) {
    // SAFETY: stores into two fields of `from`, without waiting for pending exceptions.
    unsafe {
        asm!(
            "stmxcsr [{from} + {mxcsr}]",
            "fnstcw [{from} + {fcw}]",
            from = in(reg) from,
            mxcsr = const offset_of!(Context, mxcsr),
            fcw = const offset_of!(Context, fcw),
            options(nostack, preserves_flags),
        );
    }
}

/// Clears the x87 registers and loads the floating-point control of a thread in a system call.
///
/// The x87 registers are cleared whenever such a thread is loaded, not only for one of another task: their stack must be
/// empty by the calling convention, whoever used them last, and a pending exception must not hit the kernel. A thread with
/// all its registers saved gets them back when it is resumed.
#[inline]
fn load_floating_point_control(to: &Context) {
    if to.kind != KIND_SYSCALL {
        debug_assert_eq!(to.kind, KIND_FULL, "damaged context");
        return;
    }
    // SAFETY: the control values were stored from the processor, which has no x87 exception pending after
    // XRSTOR; the area is in standard format and all initial. Kernel code has no x87 state of its own.
    unsafe {
        asm!(
            "xrstor64 [{initial}]",
            "ldmxcsr [{to} + {mxcsr}]",
            "fldcw [{to} + {fcw}]",
            initial = in(reg) &raw const INITIAL_FLOATING_POINT,
            to = in(reg) to,
            in("eax") 1,
            in("edx") 0,
            mxcsr = const offset_of!(Context, mxcsr),
            fcw = const offset_of!(Context, fcw),
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack, preserves_flags),
        );
    }
}

/// The running thread's FS and GS base. Its GS base is the one that `swapgs` put away.
#[inline]
fn segment_bases() -> (u64, u64) {
    if !Features::FS_GS_BASE.present() {
        return (FsBase::read().as_u64(), KernelGsBase::read().as_u64());
    }
    let (fs, gs);
    // SAFETY: GS is the kernel's again at the end, and nothing uses it in between: interrupts are off, and
    // what comes nevertheless does not need it.
    unsafe {
        asm!("rdfsbase {fs}", "swapgs", "rdgsbase {gs}", "swapgs", fs = out(reg) fs, gs = out(reg) gs,
             options(nomem, nostack, preserves_flags));
    }
    (fs, gs)
}

#[inline]
fn set_segment_bases(fs: u64, gs: u64) {
    if !Features::FS_GS_BASE.present() {
        FsBase::write(VirtAddr::new_truncate(fs));
        KernelGsBase::write(VirtAddr::new_truncate(gs));
        return;
    }
    // SAFETY: as in `segment_bases`; both addresses are canonical, so the instructions do not fault: they come from the
    // processor or were checked where they were set.
    unsafe {
        asm!("wrfsbase {fs}", "swapgs", "wrgsbase {gs}", "swapgs", fs = in(reg) fs, gs = in(reg) gs,
             options(nomem, nostack, preserves_flags));
    }
}
