//! Starting the other CPUs (Intel SDM vol. 3 §9.4): reset, start-up message, and the stack that the newcomer
//! takes.

// UNSAFETY: starts CPUs and hands them raw stacks.
#![allow(unsafe_code, reason = "started CPUs run from raw addresses")]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel_core::entry::start_cpu;

use super::boot_info::BootRecord;
use super::console::print;
use super::paging::{DIRECT_MAP, kernel_root, load_root};
use super::{apic, clock, cpu_area, entry, start, timer};

/// Physical address of the page where started CPUs begin: below 1 MiB, which nobody else uses by now.
const START_PAGE: u64 = 0x8000;
const RESET_NS: u64 = 200_000;
const FIRST_WAIT_NS: u64 = 20_000_000;
const SECOND_WAIT_NS: u64 = 500_000_000;

/// Top of the stack for the next CPU that starts; it takes it and leaves 0. A CPU that finds 0 came too late
/// and halts.
#[unsafe(no_mangle)]
static ap_stack_top: AtomicU64 = AtomicU64::new(0);

/// Index of the last CPU that has taken its stack and can take interrupts.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
/// Physical address of the local APIC's registers.
static LOCAL_APIC: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    static ap_trampoline: u8;
    static ap_trampoline_end: u8;
}

/// Starts the other CPUs and waits until they are ready. Gives the number of CPUs that run.
///
/// # Safety
/// Called once, by the first CPU, with the kernel's tables active and its APIC and clock ready. As many areas
/// are initialised as the record allows CPUs.
pub(crate) unsafe fn start_others(record: &BootRecord, local_apic: u64) -> u32 {
    LOCAL_APIC.store(local_apic, Ordering::Relaxed);
    let length = &raw const ap_trampoline_end as usize - &raw const ap_trampoline as usize;
    // SAFETY: the page is RAM below 1 MiB, which the kernel keeps for itself, and mapped in the direct map.
    unsafe {
        core::ptr::copy_nonoverlapping(
            &raw const ap_trampoline,
            (DIRECT_MAP + START_PAGE) as *mut u8,
            length,
        );
    }
    let own = apic::id();
    for target in record.other_cpus(own) {
        // SAFETY: these CPUs wait for their start.
        unsafe { apic::send_reset(target) };
    }
    clock::delay(RESET_NS);
    let mut count = 1;
    for target in record.other_cpus(own) {
        if start_one(target, count) {
            count += 1;
        } else {
            print(format_args!(
                "the CPU with APIC id {target} does not start; going on without it"
            ));
        }
    }
    (1..count).for_each(wait_until_ready);
    count
}

/// Starts the CPU with APIC id `target` as number `index`.
fn start_one(target: u32, index: u32) -> bool {
    ap_stack_top.store(cpu_area::stack_top(index), Ordering::Release);
    for wait in [FIRST_WAIT_NS, SECOND_WAIT_NS] {
        // SAFETY: the trampoline lies in that page.
        unsafe { apic::send_startup(target, (START_PAGE >> 12) as u8) };
        let end = clock::now() + wait;
        while clock::now() < end {
            if ARRIVED.load(Ordering::Acquire) >= index {
                return true;
            }
            core::hint::spin_loop();
        }
    }
    // It may have taken the stack just now.
    let is_late = ap_stack_top.swap(0, Ordering::AcqRel) == 0;
    if is_late {
        print(format_args!(
            "the CPU with APIC id {target} took very long to start"
        ));
    }
    is_late
}

fn wait_until_ready(index: u32) {
    // SAFETY: the area was initialised before the CPU was started.
    let area = unsafe { cpu_area::area(index) };
    while area.ready.load(Ordering::Acquire) == 0 {
        core::hint::spin_loop();
    }
}

/// Lets CPU `index`, which is ready, run threads.
pub(crate) fn release(index: u32) {
    // SAFETY: the CPU is ready, so its area is initialised.
    let area = unsafe { cpu_area::area(index) };
    area.released.store(1, Ordering::Release);
    apic::send_poke(area.apic_id.load(Ordering::Relaxed));
}

/// Stops all other CPUs that have started, after `STOPPING` was set. The others must not get an NMI: QEMU
/// would let it start them, without code to run.
pub(crate) fn stop_others() {
    let started = ARRIVED.load(Ordering::Acquire);
    if started == 0 {
        return;
    }
    let own = apic::id();
    for index in 0..=started {
        // SAFETY: all areas up to the last CPU's that started are initialised.
        let target = unsafe { cpu_area::area(index) }.apic_id.load(Ordering::Relaxed);
        if target != own {
            // SAFETY: the CPU has started, and the machine is about to end.
            unsafe { apic::send_stop(target) };
        }
    }
}

/// A started CPU gets here from its first instructions, on its own kernel stack and the boot tables.
#[unsafe(no_mangle)]
extern "C" fn ap_main(stack: u64) -> ! {
    let Some(index) = cpu_area::index_of(stack - 1) else {
        unreachable!("started on a foreign stack")
    };
    // SAFETY: the first CPU initialised this CPU's area before it handed out the stack, and the kernel's
    // tables map what the boot tables map in the upper half.
    let area = unsafe {
        load_root(kernel_root());
        start::initialise_cpu(index, LOCAL_APIC.load(Ordering::Relaxed));
        cpu_area::area(index)
    };
    ARRIVED.fetch_max(index, Ordering::AcqRel);
    timer::initialise();
    area.ready.store(1, Ordering::Release);
    while area.released.load(Ordering::Acquire) == 0 {
        x86_64::instructions::interrupts::enable_and_hlt();
        x86_64::instructions::interrupts::disable();
    }
    let context = start_cpu(index);
    // SAFETY: the kernel's logic returns a live context and has activated its address space.
    unsafe { entry::resume(context) }
}
