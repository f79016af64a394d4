//! The kernel's interface: what a program and the kernel agree on.
//!
//! One system call invokes a capability ([`syscall`]). Its operands are a [`Selector`] (which capability, which
//! phases), a [`Tag`] (how much of the [`Utcb`] is message, and its protocol) and two deadlines. The typed
//! wrappers of the kernel's own objects are in [`object`]; `docs/abi.md` has the tables.
//!
//! Layouts are those of L4Re where they exist there, so that people who know it can read a dump.
#![cfg_attr(not(test), no_std)]

pub mod archive;
pub mod cap;
pub mod error;
pub mod exception;
pub mod info_page;
pub mod object;
pub mod protocol;
pub mod region;
pub mod syscall;
pub mod tag;
pub mod utcb;

pub use cap::{CapIndex, Rights, Selector};
pub use error::{Error, IpcError};
pub use tag::Tag;
pub use utcb::Utcb;

/// Size of a page in bytes, the smallest unit of memory that the kernel maps.
pub const PAGE_SIZE: u64 = 4096;
/// Lowest address that a region may use; the first page stays unmapped so that null pointers fault.
pub const USER_START: u64 = 0x1000;
/// First address behind user memory (the last canonical page of the lower half stays free, as `sysret` needs).
pub const USER_END: u64 = 0x7fff_ffff_f000;
/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;
/// A deadline that has passed already: poll.
pub const POLL: u64 = 0;
