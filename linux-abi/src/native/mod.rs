//! The layer's connection to kernel and program.

mod copy;
mod entry;
mod fault;
mod heap;
mod message;
mod rom;
mod start;
mod supervisor;
mod task;
mod thread_area;

pub(crate) use heap::Heap;
