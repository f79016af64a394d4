//! Linux system calls inside a task.
//!
//! A static Linux program runs in a task as it is. The loader maps this image beside it, and the thread starts
//! here: the image sets itself up as the thread's personality, builds the stack that a Linux program expects and
//! jumps to the program. From then on the kernel returns each `syscall` instruction that is not a native one to the
//! image's entry, in the same thread, and [`Process::system_call`] answers it with operations on the capabilities
//! that the task has ([`System`]). The layer has no authority of its own: whatever it does, the program could have
//! done itself with native calls.
//!
//! This library is the logic, tested on the host; the program beside it has the entry's assembly and the
//! [`System`] over the kernel. `docs/linux-abi.md` lists every call.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod clone;
mod credentials;
mod errno;
mod exit;
mod files;
mod futex;
mod identity;
mod memory;
mod process;
mod random;
mod registers;
mod scheduling;
mod signal;
mod stack;
mod system;
mod table;
mod thread;
mod time;
mod user;

#[cfg(test)]
mod testing;

pub use errno::Errno;
pub use futex::{Departure, Futexes, depart};
pub use identity::FIRST_TID;
pub use memory::STACK_SIZE;
pub use process::{Outcome, Process, Program};
pub use registers::{Machine, Registers, VECTOR_SIZE};
pub use signal::{Fault, STACK_MINIMUM as SIGNAL_STACK_MINIMUM};
pub use stack::{AuxEntry, AuxValue, InitialStack, StackImage, auxv};
pub use system::{Caller, Contents, Mapping, NewThread, Place, RomFile, System, THREAD_LIMIT};
pub use table::{CALLS, answer_alone};
