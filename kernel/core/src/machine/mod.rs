//! What the kernel needs of the machine: a handful of functions, found by the linker.
//!
//! The binary in `kernel/` defines them for x86-64; `fake` defines them for the tests on the host.
#![expect(
    unsafe_code,
    reason = "functions that another crate defines are declared here"
)]

use crate::context::Context;
use crate::memory::PhysAddr;

#[cfg(test)]
pub mod fake;

// SAFETY: The definitions have these signatures (kernel/src/arch/x86_64/machine.rs and `fake`), and each of them may be
// called at any time with any value unless its comment says otherwise.
unsafe extern "Rust" {
    /// Nanoseconds since boot.
    pub safe fn machine_now() -> u64;
    /// This CPU's time stamp counter: time in a unit of the machine's own.
    pub safe fn machine_ticks() -> u64;
    /// A difference of time stamps in nanoseconds.
    pub safe fn machine_ticks_to_ns(ticks: u64) -> u64;
    /// Programs this CPU's one-shot timer; `u64::MAX` switches it off, a time that has passed fires at once.
    pub safe fn machine_set_timer(deadline_ns: u64);
    /// Interrupts another CPU so that it looks at what is new.
    pub safe fn machine_poke(cpu: u32);
    /// Halts this CPU until an interrupt was taken and recorded.
    pub safe fn machine_wait_for_interrupt();
    /// Interrupts recorded while in the kernel: bit 0 timer, bit 1 poke, bit 2 device.
    pub safe fn machine_take_interrupts() -> u32;
    /// The next device line recorded while in the kernel, `u32::MAX` if there is none.
    pub safe fn machine_take_device() -> u32;
    /// Lets pending interrupts be recorded.
    pub safe fn machine_allow_interrupts();
    /// Loads an address space: the physical address of a root table with the kernel's half filled in.
    pub safe fn machine_activate(root: PhysAddr);
    /// A root table with only the kernel's half.
    pub safe fn machine_kernel_root() -> PhysAddr;
    /// Forgets this CPU's translation of one user page.
    pub safe fn machine_flush_page(address: u64);
    /// Forgets this CPU's translations of user pages.
    pub safe fn machine_flush_all();
    /// Virtual address of physical address 0 in the direct map.
    pub safe fn machine_direct_map() -> u64;
    /// This CPU's number.
    pub safe fn machine_cpu() -> u32;
    /// This CPU's word for the kernel's logic, as it was set last: an address.
    pub safe fn machine_local() -> *const ();
    /// Sets a CPU's word; before the CPU reads it.
    pub safe fn machine_set_local(cpu: u32, value: u64);
    /// CPUs that run.
    pub safe fn machine_cpu_count() -> u32;
    /// Writes to the console.
    pub safe fn machine_console_write(bytes: &[u8]);
    /// Writes to the debug console; tells whether there is one.
    pub safe fn machine_debug_console_write(bytes: &[u8]) -> bool;
    /// Ends the machine with a verdict.
    pub safe fn machine_power_off(success: bool) -> !;
    /// A word of randomness.
    pub safe fn machine_random() -> u64;
    /// Lets a device line's interrupts through.
    pub safe fn machine_unmask_device(line: u32, level: bool);
    /// Holds a device line's interrupts back.
    pub safe fn machine_mask_device(line: u32);
    /// Zeroes a frame that nobody else uses.
    pub fn machine_zero_page(frame: PhysAddr);
    /// Copies a frame to another that nobody else uses.
    pub fn machine_copy_page(to: PhysAddr, from: PhysAddr);
    /// Copies those eighths of a frame whose bits are set to the same place in another that nobody else uses.
    pub fn machine_copy_eighths(to: PhysAddr, from: PhysAddr, eighths: u8);
    /// Zeroes those eighths of a frame that nobody else uses whose bits are set.
    pub fn machine_zero_eighths(frame: PhysAddr, eighths: u8);
    /// Saves the CPU state that is not in `from` yet (segment bases, floating-point control) and loads that of `to`;
    /// either may be null. `other_task`: nothing of the old task's registers may stay visible.
    pub fn machine_switch(from: *mut Context, to: *const Context, other_task: bool);
}

// SAFETY: As above; the definition is written in assembly.
unsafe extern "C" {
    /// As [`machine_switch`] from one thread to another.
    pub fn machine_exchange(from: *mut Context, to: *const Context);
}
