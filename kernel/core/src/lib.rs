//! The Aerie microkernel: its logic without hardware.
//!
//! The machine is behind the functions of [`machine`]; the binary in `kernel/` defines them for x86-64, the tests
//! define them over ordinary memory. [`entry`] is what the machine calls.
//!
//! Concurrency (docs/decisions/0003-cpu-domains.md): the state of threads, of what is bound to them and of reply
//! capabilities is guarded by the lock of the CPU on which the thread is homed; an operation between two CPUs
//! takes both locks, lower number first. Capability lookup takes no lock; objects are freed after every CPU has
//! left the kernel once ([`epoch`]). Lock order: [`sync::Rank`].
#![cfg_attr(not(test), no_std)]

pub mod account;
pub mod boot;
pub mod capability;
pub mod context;
pub mod counters;
pub mod cpu;
pub mod entry;
pub mod epoch;
mod invocation;
pub mod invoke;
pub mod ipc;
pub mod machine;
pub mod memory;
pub mod object;
pub mod objects;
pub mod reaper;
mod root_image;
pub mod schedule;
pub mod sync;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod timeout;
pub mod tlb;
