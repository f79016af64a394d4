//! The battery-backed clock (MC146818 and compatible), read once at boot.

// UNSAFETY: port I/O.
#![allow(unsafe_code, reason = "the clock is reached through I/O ports")]

use platform::calendar::ClockRegisters;
use x86_64::instructions::port::Port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
/// With the index: keeps the NMI disabled line as firmware left it, enabled.
const STATUS_A: u8 = 0x0a;
const STATUS_A_UPDATING: u8 = 1 << 7;
const STATUS_B: u8 = 0x0b;
/// Polls before the clock is given up: an update takes 2 ms.
const POLL_LIMIT: u32 = 20_000;

/// Seconds since 1970-01-01 00:00:00 UTC; `None` if there is no clock or it holds no date. `century` is the
/// number of the century register.
pub(crate) fn unix_seconds(century: Option<u8>) -> Option<u64> {
    let mut previous = None;
    // Two equal readings in a row: no update came between.
    for _ in 0..10 {
        wait_for_update()?;
        let registers = read_all(century);
        if previous == Some(registers) {
            return registers.unix_seconds();
        }
        previous = Some(registers);
    }
    None
}

fn wait_for_update() -> Option<()> {
    (0..POLL_LIMIT)
        .any(|_| read(STATUS_A) & STATUS_A_UPDATING == 0)
        .then_some(())
}

fn read_all(century: Option<u8>) -> ClockRegisters {
    ClockRegisters {
        second: read(0x00),
        minute: read(0x02),
        hour: read(0x04),
        day: read(0x07),
        month: read(0x08),
        year: read(0x09),
        century: century.map(read),
        status_b: read(STATUS_B),
    }
}

fn read(register: u8) -> u8 {
    // SAFETY: reading these registers changes nothing.
    unsafe {
        Port::new(INDEX).write(register & 0x7f);
        Port::new(DATA).read()
    }
}
