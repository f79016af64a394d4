//! What the kernel needs to understand its machine, and what needs no privilege: parsers for what the boot
//! loader and the firmware left in memory, arithmetic of clocks and calendars, the random generator.
//!
//! Everything here is tested on the host.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod calendar;
pub mod memory_map;
pub mod physical;
pub mod pvh;
pub mod random;
pub mod timescale;
