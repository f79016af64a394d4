//! The emulator's debug console, which passes each byte on to the host: Bochs' port 0xe9, in QEMU the device `isa-debugcon`.

// UNSAFETY: port I/O.
#![allow(unsafe_code, reason = "device registers are reached through I/O ports")]

use core::arch::asm;

use spin::Mutex;
use x86_64::instructions::port::Port;

/// The port; a device there answers with this number when it is read.
const PORT: u16 = 0xe9;

static WRITER: Mutex<()> = Mutex::new(());

/// Writes `bytes`, if there is such a device, and tells whether there is; those of several CPUs do not mix.
pub(crate) fn write(bytes: &[u8]) -> bool {
    let _guard = WRITER.lock();
    // SAFETY: no other device of a PC has the port, and reading this one has no effect.
    let answer: u8 = unsafe { Port::new(PORT).read() };
    if u16::from(answer) != PORT {
        return false;
    }
    // SAFETY: it reads `bytes`, upwards since the kernel runs with the direction flag clear, and writes no memory. One instruction
    // for all of them, because a hypervisor takes them over at once.
    unsafe {
        asm!(
            "rep outsb",
            in("dx") PORT,
            inout("rsi") bytes.as_ptr() => _,
            inout("rcx") bytes.len() => _,
            options(nostack, preserves_flags, readonly),
        );
    }
    true
}
