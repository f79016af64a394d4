//! The end: panics, fatal exceptions, power off.
//!
//! QEMU's isa-debug-exit device ends QEMU with status `2 * value + 1`; other monitors without it end on a
//! reset by the keyboard controller.

// UNSAFETY: port I/O, and reads stacks that may be damaged.
#![allow(
    unsafe_code,
    reason = "ends the machine through I/O ports and walks raw frame pointers"
)]

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU8, Ordering};

use x86_64::instructions::{hlt, interrupts, port::Port};

use super::console::Transmitter;
use super::paging::is_kernel_code;
use super::{cpu_area, smp};

/// Not 0 after a panic: CPUs that get an NMI stop.
pub(crate) static STOPPING: AtomicU8 = AtomicU8::new(0);

const DEBUG_EXIT_PORT: u16 = 0xf4;
const DEBUG_EXIT_SUCCESS: u32 = 0x10;
const DEBUG_EXIT_FAILURE: u32 = 0x11;
const BACKTRACE_LIMIT: usize = 32;

/// Ends the machine. Without a device for it, it stays halted.
pub(crate) fn power_off(success: bool) -> ! {
    let value = if success {
        DEBUG_EXIT_SUCCESS
    } else {
        DEBUG_EXIT_FAILURE
    };
    const KEYBOARD_CONTROLLER: u16 = 0x64;
    const PULSE_RESET_LINE: u8 = 0xfe;
    // SAFETY: the machine is to end; nothing is needed any more.
    unsafe {
        Port::new(DEBUG_EXIT_PORT).write(value);
        Port::new(KEYBOARD_CONTROLLER).write(PULSE_RESET_LINE);
    }
    halt()
}

fn halt() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}

/// Prints why the kernel cannot go on, with the callers from frame `(rip, rbp)`, and ends the machine. Only
/// the first CPU that gets here does; the others stop.
pub(crate) fn die(cause: fmt::Arguments<'_>, frame: (u64, u64)) -> ! {
    interrupts::disable();
    if STOPPING.swap(1, Ordering::AcqRel) != 0 {
        halt();
    }
    smp::stop_others();
    let mut out = Transmitter;
    let cpu = cpu_area::index_of(stack_pointer()).unwrap_or(0);
    // Transmitter never fails.
    let _ = writeln!(out, "\nkernel: PANIC on CPU {cpu}: {cause}");
    let _ = print_backtrace(&mut out, frame);
    power_off(false)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let frame_pointer: u64;
    // SAFETY: only reads a register.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags))
    };
    die(format_args!("{info}"), (0, frame_pointer))
}

fn stack_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: only reads a register.
    unsafe { core::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// The chain of frame pointers: each points to the caller's, which the return address follows.
fn print_backtrace(out: &mut impl Write, (rip, rbp): (u64, u64)) -> fmt::Result {
    write!(out, "kernel: backtrace (addr2line -e kernel):")?;
    if rip != 0 {
        write!(out, " {rip:#x}")?;
    }
    let mut frame = rbp;
    for _ in 0..BACKTRACE_LIMIT {
        if frame % 8 != 0 || !cpu_area::is_on_stack(frame) {
            break;
        }
        // SAFETY: the 16 bytes lie on a mapped stack, as just checked; any value is a valid u64.
        let [caller, address] = unsafe { (frame as *const [u64; 2]).read_volatile() };
        if !is_kernel_code(address) {
            break;
        }
        write!(out, " {address:#x}")?;
        // Callers are further up: a damaged chain cannot run in circles.
        if caller <= frame {
            break;
        }
        frame = caller;
    }
    writeln!(out)
}

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the precompiled `core`, never called: the kernel does not unwind.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}
