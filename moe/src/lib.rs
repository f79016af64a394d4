//! The root task: owns all memory and devices at boot, and serves what everybody starts with.
//!
//! - `rom`: the modules of the boot image as read-only dataspaces ([`modules`]).
//! - Logs: consoles whose lines carry a tag ([`logs`]).
//!
//! It starts one program, the init ([`command_line`]), gives it everything, and powers off with init's verdict. It is
//! not on the way of an invocation. This library is the logic, generic over the [`Platform`]; `main.rs` is the wiring.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command_line;
pub mod logs;
pub mod modules;
mod service;
#[cfg(test)]
mod service_tests;

pub use command_line::CommandLine;
pub use logs::Logs;
pub use modules::{Module, Modules};
pub use service::{Labels, Moe, Platform};
