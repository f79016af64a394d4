//! The first serial port (16550) at COM1, output by polling.

// UNSAFETY: port I/O.
#![allow(unsafe_code, reason = "device registers are reached through I/O ports")]

use core::fmt::{self, Write};

use spin::Mutex;
use x86_64::instructions::port::Port;

const COM1: u16 = 0x3f8;
const LINE_STATUS_EMPTY: u8 = 1 << 5;
/// Bytes that fit into the empty transmit FIFO.
const FIFO_BYTES: usize = 16;
/// A status of all ones: no device answers.
const NO_DEVICE: u8 = 0xff;
/// Polls before a stuck device is given up.
const POLL_LIMIT: u32 = 1_000_000;

static CONSOLE: Mutex<()> = Mutex::new(());

/// Sets 115200 baud, 8 data bits, FIFO on, interrupts off.
pub(crate) fn initialise() {
    const DIVISOR_LATCH: u8 = 0x80;
    const EIGHT_BITS: u8 = 0x03;
    const FIFO_ENABLE_AND_CLEAR: u8 = 0x07;
    const READY_AND_REQUEST_TO_SEND: u8 = 0x03;
    let settings = [
        (1, 0),
        (3, DIVISOR_LATCH),
        (0, 1),
        (1, 0),
        (3, EIGHT_BITS),
        (2, FIFO_ENABLE_AND_CLEAR),
        (4, READY_AND_REQUEST_TO_SEND),
    ];
    for (register, value) in settings {
        write_register(register, value);
    }
}

/// Writes `bytes`; those of several CPUs do not mix.
pub(crate) fn write(bytes: &[u8]) {
    let _guard = CONSOLE.lock();
    transmit(bytes);
}

/// Formats to the console as a whole line of the kernel.
pub(crate) fn print(arguments: fmt::Arguments<'_>) {
    let _guard = CONSOLE.lock();
    // Transmitter never fails.
    let _ = writeln!(Transmitter, "kernel: {arguments}");
}

/// The console without its lock, for when the holder may never let go: after a panic.
pub(crate) struct Transmitter;

impl Write for Transmitter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        transmit(text.as_bytes());
        Ok(())
    }
}

fn transmit(bytes: &[u8]) {
    for chunk in bytes.chunks(FIFO_BYTES) {
        if !wait_until_empty() {
            return;
        }
        for &byte in chunk {
            write_register(0, byte);
        }
    }
}

fn wait_until_empty() -> bool {
    for _ in 0..POLL_LIMIT {
        // SAFETY: reading the line status has no effect that anybody depends on.
        let status: u8 = unsafe { Port::new(COM1 + 5).read() };
        if status == NO_DEVICE {
            return false;
        }
        if status & LINE_STATUS_EMPTY != 0 {
            return true;
        }
    }
    false
}

fn write_register(register: u16, value: u8) {
    // SAFETY: these ports belong to the serial port, which touches no memory.
    unsafe { Port::new(COM1 + register).write(value) };
}
