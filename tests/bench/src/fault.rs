//! Touching fresh anonymous memory.

use crate::report;
use l4::{Error, PAGE_SIZE};
use l4re::clock;
use l4re::memory::OwnedMemory;

const PAGES: u64 = 1024;

pub(crate) fn run() -> Result<(), Error> {
    let mut memory = OwnedMemory::allocate(PAGES * PAGE_SIZE)?;
    let bytes = memory.bytes();
    let start = clock::now_ns();
    for page in bytes.chunks_mut(PAGE_SIZE as usize) {
        page[0] = 1;
    }
    report("page_fault", clock::now_ns() - start, PAGES);
    Ok(())
}
