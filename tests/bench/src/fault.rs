//! Touching fresh anonymous memory, and a boot module.
#![expect(unsafe_code, reason = "a view is read by address")]

use crate::report;
use l4::object::{Dataspace, Task};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE};
use l4re::clock;
use l4re::memory::OwnedMemory;

const PAGES: u64 = 1024;
/// The boot module behind this program: 8 MiB, where a large page can begin.
const MODULE: Dataspace = Dataspace(CapIndex(0x41));
/// Where a large page can begin, far from everything else.
const PLACE: u64 = 0x6100_0000_0000;

pub(crate) fn run() -> Result<(), Error> {
    let mut memory = OwnedMemory::allocate(PAGES * PAGE_SIZE)?;
    let bytes = memory.bytes();
    let start = clock::now_ns();
    for page in bytes.chunks_mut(PAGE_SIZE as usize) {
        page[0] = 1;
    }
    report("page_fault", clock::now_ns() - start, PAGES);
    show("module_pages", PLACE + PAGE_SIZE)?;
    show("module_large_pages", PLACE)
}

/// Attaches the module at an address and reads a word of each page.
fn show(name: &str, start: u64) -> Result<(), Error> {
    let size = MODULE.info()?.size;
    let began = clock::now_ns();
    Task(CapIndex::TASK).attach(&[Region {
        start,
        size,
        access: Access::READ,
        backing: Backing::Shared,
        search: false,
        dataspace: MODULE.0,
        offset: 0,
    }])?;
    for page in (start..start + size).step_by(PAGE_SIZE as usize) {
        // SAFETY: The view was attached above, and nobody writes to it.
        unsafe { core::ptr::with_exposed_provenance::<u64>(page as usize).read_volatile() };
    }
    Task(CapIndex::TASK).detach(start, size)?;
    report(name, clock::now_ns() - began, 1);
    Ok(())
}
