//! A task's runtime: what a program needs between the kernel's interface (`l4`) and its own logic.
//!
//! - [`env`]: what the program was started with: arguments, named capabilities.
//! - [`slots`] and [`memory`]: capability slots and views of dataspaces that clean up after themselves.
//! - [`clock`], [`console`], [`thread`], [`sync`]: time, output, threads, locks.
//! - [`server`] and [`Channel`]: the two ends of a gate.
//! - [`faas`]: sessions with the manager, for clients of functions.
//! - [`logging`]: the `log` facade over the task's log.
//! - [`entry!`], [`exit`] and [`heap`]: start-up and end of a native program (no C library below it), and its heap.
//!
//! A native program is `#![no_std] #![no_main]`, says `l4re::entry!(main);`, and links with this crate's script:
//! its build script prints the arguments `-nostartfiles -nostdlib -static -no-pie -Tnative.ld`. Programs with a C
//! library use everything but [`entry!`], [`heap`] and [`thread`], after [`env::adopt`].
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod channel;
pub mod clock;
pub mod console;
pub mod env;
pub mod faas;
pub mod heap;
pub mod logging;
pub mod memory;
mod memory_functions;
pub mod server;
pub mod slots;
pub mod start;
pub mod sync;
pub mod thread;

pub use channel::Channel;
pub use slots::{OwnedCap, Slot};
pub use start::exit;
