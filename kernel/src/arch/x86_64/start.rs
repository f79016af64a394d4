//! From the first Rust code to the first thread.

// UNSAFETY: sets up the processor.
#![allow(unsafe_code, reason = "boot code sets up tables, registers and stacks")]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use kernel_core::context::BootInfo;
use kernel_core::entry::{start, start_cpu};
use platform::memory_map::MapError;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{Efer, EferFlags, GsBase, KernelGsBase, LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;

use super::boot_info::{BootError, BootRecord};
use super::console::{self, print};
use super::features::{self, Features};
use super::paging::{KernelTables, LOW_BYTES};
use super::{
    apic, clock, cpu_area, entry, hooks, io_apic, randomness, real_time_clock, segments, smp, timer,
};

const STAR: u32 = 0xc000_0081;
const TSC_AUX: u32 = 0xc000_0103;
/// Where every PC has its local APICs.
const LOCAL_APIC_DEFAULT: u64 = 0xfee0_0000;

/// The boot record outlives the boot stack: the kernel's logic keeps references to it.
struct RecordCell(UnsafeCell<MaybeUninit<BootRecord>>);

// SAFETY: written once, by the first CPU before others run; only read afterwards.
unsafe impl Sync for RecordCell {}

static RECORD: RecordCell = RecordCell(UnsafeCell::new(MaybeUninit::uninit()));

/// The first Rust code, on the boot stack and the boot tables. `start_info` is a physical address.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(start_info: u64) -> ! {
    console::initialise();
    io_apic::mask_8259();
    features::detect();
    if let Some(feature) = features::missing() {
        panic!("the processor lacks {feature}: run the virtual machine with a newer CPU model");
    }
    match prepare(start_info) {
        // SAFETY: the first CPU's block is mapped and nothing on the boot stack is needed.
        Ok(()) => unsafe { call_on_stack(cpu_area::stack_top(0), run) },
        Err(error) => panic!("cannot boot: {error}"),
    }
}

/// Reads what the boot loader left, builds the kernel's tables and the CPUs' blocks, and makes this CPU use
/// its own.
fn prepare(start_info: u64) -> Result<(), BootError> {
    let mut record = BootRecord::read(start_info)?;
    let cpus = record.cpu_limit();
    let mut tables = KernelTables::build(&mut record.memory, &record.ram)?;
    (0..cpus).try_for_each(|index| map_block(&mut tables, index))?;
    // SAFETY: only this CPU runs; from here on only addresses of the upper half are used.
    unsafe { tables.activate() };
    let wall_clock = real_time_clock::unix_seconds(record.machine.as_ref().ok().and_then(|m| m.century));
    let pool = randomness::gather(&record.command_line, wall_clock);
    for index in 0..cpus {
        // SAFETY: the blocks have just been mapped, and no CPU uses its own yet.
        unsafe { cpu_area::initialise(index, pool.generator(index.into())) };
    }
    let local_apic = local_apic(&record);
    // SAFETY: only this CPU runs, nobody has a reference to the record, and this CPU is not set up yet.
    unsafe {
        (*RECORD.0.get()).write(record);
        segments::build_gates();
        initialise_cpu(0, local_apic);
    }
    Ok(())
}

/// The rest of the boot, on the first CPU's kernel stack.
extern "C" fn run() -> ! {
    // SAFETY: `prepare` has written the record, and nobody writes it again.
    let record = unsafe { (*RECORD.0.get()).assume_init_ref() };
    let machine = record.machine.as_ref();
    match machine {
        Err(error) => print(format_args!(
            "{error}; going on with one CPU and without device interrupts"
        )),
        Ok(machine) if machine.cpus_ignored > 0 => {
            print(format_args!(
                "{} CPUs more than the kernel supports stay off",
                machine.cpus_ignored
            ));
        }
        Ok(_) => {}
    }
    #[cfg(debug_assertions)]
    super::memory_check::check(|| cpu_area::this().random.borrow_mut().next_u64());
    // The timers of all CPUs are alike: this one's is measured.
    if let Err(error) = clock::calibrate(machine.ok().and_then(|machine| machine.pm_timer)) {
        panic!("cannot boot: {error}");
    }
    timer::initialise();
    if let Ok(machine) = machine {
        io_apic::initialise(machine, apic::id());
    }
    // SAFETY: areas were initialised for as many CPUs as the record allows.
    let cpu_count = unsafe { smp::start_others(record, local_apic(record)) };
    hooks::set_cpu_count(cpu_count);
    start(&boot_info(record, cpu_count));
    (1..cpu_count).for_each(smp::release);
    let context = start_cpu(0);
    // SAFETY: the kernel's logic returns a live context and has activated its address space.
    unsafe { entry::resume(context) }
}

fn boot_info(record: &'static BootRecord, cpu_count: u32) -> BootInfo {
    let (kernel_start, kernel_end) = super::paging::image();
    let (tsc_base, tsc_mult) = clock::parameters();
    let century = record.machine.as_ref().ok().and_then(|machine| machine.century);
    let wall_clock = real_time_clock::unix_seconds(century);
    let since_boot = clock::now();
    BootInfo {
        memory: record.memory.ranges(),
        kernel_start,
        kernel_end,
        archive: record.archive,
        command_line: record.command_line(),
        cpu_count,
        wall_clock_ns: wall_clock.map_or(0, |seconds| (seconds * 1_000_000_000).saturating_sub(since_boot)),
        tsc_base,
        tsc_mult,
    }
}

fn local_apic(record: &BootRecord) -> u64 {
    let told = record.machine.as_ref().map_or(0, |machine| machine.local_apic);
    if told == 0 || told >= LOW_BYTES {
        LOCAL_APIC_DEFAULT
    } else {
        told
    }
}

fn map_block(tables: &mut KernelTables<'_>, index: u32) -> Result<(), MapError> {
    let block = cpu_area::block(index);
    cpu_area::MAPPED
        .iter()
        .try_for_each(|(start, end)| tables.map_new(block + start, block + end))
}

/// Makes this CPU, number `index`, ready for interrupts and system calls.
///
/// # Safety
/// Called once on each CPU; its area is initialised, the kernel's tables are active, interrupts are off.
pub(crate) unsafe fn initialise_cpu(index: u32, local_apic: u64) {
    // SAFETY: the caller's promises.
    let area = unsafe {
        features::enable();
        segments::load(index);
        cpu_area::area(index)
    };
    GsBase::write(VirtAddr::new(cpu_area::area_address(index)));
    KernelGsBase::write(VirtAddr::zero());
    let (entry, exit) = match Features::AVX.present() {
        true => (
            entry::system_call_entry_avx as *const (),
            entry::system_call_exit_avx as *const (),
        ),
        false => (
            entry::system_call_entry_sse as *const (),
            entry::system_call_exit_sse as *const (),
        ),
    };
    area.system_call_exit.set(exit as u64);
    LStar::write(VirtAddr::from_ptr(entry));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK,
    );
    // SAFETY: system calls have their entry and selectors; user code may read the CPU's number; interrupts
    // have handlers.
    unsafe {
        Msr::new(STAR).write(segments::STAR);
        Efer::update(|flags| *flags |= EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE);
        if Features::TSC_AUX.present() {
            Msr::new(TSC_AUX).write(index.into());
        }
        apic::initialise(local_apic);
    }
    area.apic_id
        .store(apic::id(), core::sync::atomic::Ordering::Relaxed);
}

/// Goes on with `function` on the stack that ends at `top`.
///
/// # Safety
/// The stack is mapped, unused and 16-byte aligned.
unsafe fn call_on_stack(top: u64, function: extern "C" fn() -> !) -> ! {
    // SAFETY: the caller's promise; the function does not return.
    unsafe {
        core::arch::asm!("mov rsp, {}", "xor ebp, ebp", "call {}", "ud2", in(reg) top, in(reg) function,
                         options(noreturn));
    }
}
