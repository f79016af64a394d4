//! The I/O APICs: device interrupts. All go to the first CPU. (Intel 82093AA data sheet.)

// UNSAFETY: device registers.
#![allow(unsafe_code, reason = "I/O APICs are reached through memory-mapped registers")]

use platform::acpi::{IoApic, Machine};
use spin::Mutex;
use x86_64::instructions::port::Port;

use super::paging::{DIRECT_MAP, LOW_BYTES};

/// Vector of interrupt line 0.
pub(crate) const VECTOR_FIRST: u8 = 0x30;
/// Interrupt lines that have vectors.
pub(crate) const LINES: u32 = 24;

const VERSION: u32 = 1;
const REDIRECTION: u32 = 0x10;
const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

/// What is known of the interrupt lines; its lock orders accesses to the registers.
struct Lines {
    chips: heapless::Vec<Chip, 8>,
    /// Lines (bits) that the firmware says are active low.
    active_low: u32,
    /// Lines (bits) that firmware describes as ISA interrupts.
    isa: u32,
    /// Lines (bits) that are level-triggered now.
    level: u32,
    /// APIC id of the first CPU.
    target: u32,
}

#[derive(Clone, Copy)]
struct Chip {
    registers: u64,
    first: u32,
    count: u32,
}

static STATE: Mutex<Lines> = Mutex::new(Lines {
    chips: heapless::Vec::new(),
    active_low: 0,
    isa: 0,
    level: 0,
    target: 0,
});

/// Masks all device interrupts and directs them to the CPU with APIC id `target` for when they are unmasked.
pub(crate) fn initialise(machine: &Machine, target: u32) {
    let mut state = STATE.lock();
    state.target = target;
    for isa in 0..16 {
        let (line, active_low) = machine.isa_interrupt(isa);
        if line < LINES {
            state.isa |= 1 << line;
            state.active_low |= u32::from(active_low) << line;
        }
    }
    for io_apic in machine
        .io_apics
        .iter()
        .filter(|io_apic| io_apic.address < LOW_BYTES)
    {
        let chip = Chip::new(io_apic);
        for input in 0..chip.count {
            chip.write(REDIRECTION + 2 * input, MASKED);
        }
        // As many as the firmware's list can hold.
        let _ = state.chips.push(chip);
    }
}

/// Lets interrupts of `line` through, as level- or edge-triggered ones. Lines that do not exist are ignored.
pub(crate) fn unmask(line: u32, level: bool) {
    let mut state = STATE.lock();
    let Some((chip, register)) = state.locate(line) else {
        return;
    };
    let bit = 1 << line;
    // PCI interrupts, which are level-triggered and not among the ISA ones, are active low.
    let active_low = state.active_low & bit != 0 || (level && state.isa & bit == 0);
    state.level = if level {
        state.level | bit
    } else {
        state.level & !bit
    };
    let trigger = if level { LEVEL } else { 0 };
    let polarity = if active_low { ACTIVE_LOW } else { 0 };
    chip.write(register + 1, state.target << 24);
    chip.write(register, (u32::from(VECTOR_FIRST) + line) | trigger | polarity);
}

/// Holds back interrupts of `line`.
pub(crate) fn mask(line: u32) {
    if let Some((chip, register)) = STATE.lock().locate(line) {
        chip.write(register, chip.read(register) | MASKED);
    }
}

/// Masks `line` if it is level-triggered: otherwise it would fire again at once, before a driver has served
/// its device.
pub(crate) fn mask_if_level(line: u32) {
    let is_level = STATE.lock().level >> line & 1 != 0;
    if is_level {
        mask(line);
    }
}

impl Lines {
    fn locate(&self, line: u32) -> Option<(Chip, u32)> {
        let serves = |chip: &&Chip| {
            line.checked_sub(chip.first)
                .is_some_and(|input| input < chip.count)
        };
        let chip = self.chips.iter().find(serves).filter(|_| line < LINES)?;
        Some((*chip, REDIRECTION + 2 * (line - chip.first)))
    }
}

impl Chip {
    fn new(io_apic: &IoApic) -> Self {
        let mut chip = Self {
            registers: DIRECT_MAP + io_apic.address,
            first: io_apic.first_gsi,
            count: 0,
        };
        chip.count = (chip.read(VERSION) >> 16 & 0xff) + 1;
        chip
    }

    fn read(&self, register: u32) -> u32 {
        // SAFETY: selects and reads a register of a device mapped uncached in the direct map; the caller
        // holds the lock, so nobody selects another one in between.
        unsafe {
            (self.registers as *mut u32).write_volatile(register);
            ((self.registers + 0x10) as *const u32).read_volatile()
        }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as in `read`; the vectors written all have handlers.
        unsafe {
            (self.registers as *mut u32).write_volatile(register);
            ((self.registers + 0x10) as *mut u32).write_volatile(value);
        }
    }
}

/// Masks all interrupts of the old 8259 controllers. Must come before the local APIC is set up: firmware lets
/// their timer interrupts through, and one that is pending when the APIC's input is masked stays so in QEMU,
/// to be raised later without a vector.
pub(crate) fn mask_8259() {
    for port in [0x21_u16, 0xa1] {
        // SAFETY: masks all interrupts of a controller that the kernel does not use.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
}
