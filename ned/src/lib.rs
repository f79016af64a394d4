//! Boot scripts in Lua: who is started, with which capabilities.
//!
//! A script is ordinary Lua 5.4. `require("L4")` gives it the module whose names L4Re's users know
//! (`docs/boot-scripts.md`): channels, programs to start, accounts, schedulers, logs. A started program gets what the
//! script names, and nothing else.
//!
//! This library is the logic over the [`System`]; the program beside it has the [`System`] of a real task.
#![forbid(unsafe_code)]

mod api;
mod engine;
mod options;
mod script;
mod system;
mod tasks;

#[cfg(test)]
mod testing;

pub use options::{Options, USAGE};
pub use script::run;
pub use system::{Account, Ended, Event, Fault, Grant, Launch, LogRequest, ProgramLog, System, TaskNumber};
