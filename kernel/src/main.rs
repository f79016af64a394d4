//! The Aerie microkernel: the machine's part. It starts all CPUs, turns what happens to them (system calls,
//! exceptions, interrupts) into calls of `kernel_core::entry`, and gives `kernel_core::machine` its functions.

#![no_std]
#![no_main]

mod arch;
