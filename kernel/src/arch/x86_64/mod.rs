//! x86-64: boot, traps, system-call entry, paging, APIC, and all of the kernel's assembly.
//!
//! Virtual memory of the kernel (the upper half of every address space):
//!
//! | from | what |
//! |---|---|
//! | `0xffff_8000_0000_0000` | direct map: RAM and the first 4 GiB, not executable ([`paging::DIRECT_MAP`]) |
//! | `0xffff_ffff_8000_0000` | the image, each section with its rights |
//! | `0xffff_ffff_c000_0000` | per CPU 128 KiB: stacks with guard pages, per-CPU data ([`cpu_area`]) |

mod apic;
mod boot;
mod boot_info;
mod clock;
mod console;
mod cpu_area;
mod debug_console;
mod entry;
mod features;
mod hooks;
mod interrupts;
mod io_apic;
#[cfg(debug_assertions)]
mod memory_check;
mod memory_functions;
mod paging;
mod panic;
mod randomness;
mod real_time_clock;
mod segments;
mod smp;
mod start;
mod timer;
