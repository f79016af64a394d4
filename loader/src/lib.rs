//! From an ELF file to a running task.
//!
//! 1. [`Image::parse`] checks the file's headers; it reads nothing else and never panics.
//! 2. [`Program::prepare`] turns an image and the sealed dataspace that holds it into regions: segments that are only
//!    read are shared, writable ones are copied page by page as they are written. Done once for many tasks.
//! 3. [`Plan::new`] adds stack, info page and UTCB, and [`Plan::launch`] makes a task of it: one call each for the
//!    task, its thread, all regions, all capabilities, and the start.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod elf;
mod error;
mod launch;
mod plan;
mod program;
mod stack;

pub use elf::{Image, Kind, MAX_SEGMENTS, Segment};
pub use error::{ElfError, LoadError, Step};
pub use launch::{Launch, Launched};
pub use plan::{DEFAULT_STACK_SIZE, Plan};
pub use program::Program;
pub use stack::{Arguments, NamedCap, named_slot};
