//! The layer's connection to kernel and program.

mod copy;
mod entry;
mod fault;
mod message;
mod rom;
mod start;
mod task;
mod thread_area;
