//! The layer's connection to kernel and program.

mod calls;
mod copy;
mod entry;
mod fault;
mod heap;
mod message;
mod own;
mod rom;
mod start;
mod supervisor;
mod task;
mod thread_area;
mod threads;
mod vdso;

pub(crate) use heap::Heap;
