//! The program's address space: the heap and the mappings.
//!
//! The kernel keeps the regions; here is only what it does not know: where the heap ends.

mod heap;
mod mapping;
mod remap;

pub(crate) use heap::{Heap, brk};
pub(crate) use mapping::{accept, madvise, mincore, mmap, mprotect, munmap};
pub(crate) use remap::mremap;

use l4::{PAGE_SIZE, USER_END};

use crate::{Errno, System};

/// Size of the main thread's stack in bytes. Untouched pages cost nothing.
pub const STACK_SIZE: u64 = 8 << 20;

/// Rounds up to whole pages.
fn pages(size: u64) -> Result<u64, Errno> {
    size.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::NOMEM)
}

/// A range that the program may change: aligned, not empty, in user memory, and not this layer's own.
/// Returns its size in whole pages.
fn checked(system: &impl System, start: u64, size: u64) -> Result<u64, Errno> {
    let size = pages(size).map_err(|_| Errno::INVAL)?;
    let end = start.checked_add(size).ok_or(Errno::INVAL)?;
    if !start.is_multiple_of(PAGE_SIZE) || size == 0 || end > USER_END || system.is_own(start, size) {
        return Err(Errno::INVAL);
    }
    Ok(size)
}
