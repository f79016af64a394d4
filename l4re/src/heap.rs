//! The heap of a native program.
//!
//! Nothing is set up before the first allocation, so a program that makes none pays nothing. Small requests are
//! served from [`NEAR_SIZE`] bytes next to the program, which shares their page tables; the rest from an area of its
//! own that grows as needed. Memory is charged to the task's account page by page as it is used.
#![expect(unsafe_code, reason = "an allocator hands out memory by address")]

use crate::console::SavedMessage;
use crate::sync::Mutex;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use l4::object::Task;
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE};
use linked_list_allocator as list;

/// Size of the heap's first piece in bytes.
pub const NEAR_SIZE: u64 = 64 << 10;
/// Larger requests go to the far area at once.
const NEAR_LIMIT: usize = 16 << 10;
/// Where the first piece is looked for: programs are linked here, so it is found behind the image.
const NEAR_START: u64 = 0x20_0000;
/// The far area.
const FAR_START: u64 = 0x4000_0000;
const FAR_LIMIT: u64 = 0xf_c000_0000;
/// Least growth of the far area.
const FAR_STEP: u64 = 1 << 20;

/// The global allocator that [`crate::entry!`] installs.
#[derive(Debug)]
pub struct Heap;

struct Pieces {
    near: list::Heap,
    /// The near piece could not be attached: don't try again.
    near_failed: bool,
    far: list::Heap,
    far_size: u64,
}

static PIECES: Mutex<Pieces> = Mutex::new(Pieces {
    near: list::Heap::empty(),
    near_failed: false,
    far: list::Heap::empty(),
    far_size: 0,
});

// SAFETY: Blocks come from `linked_list_allocator` heaps over memory that only this allocator knows, one thread at a time.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PIECES
            .lock()
            .allocate(layout)
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        let mut pieces = PIECES.lock();
        let is_near = (pieces.near.bottom()..pieces.near.top()).contains(&block.as_ptr());
        let heap = if is_near {
            &mut pieces.near
        } else {
            &mut pieces.far
        };
        // SAFETY: The caller promises a block of this allocator with its layout; its address tells the piece.
        unsafe { heap.deallocate(block, layout) };
    }
}

impl Pieces {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() <= NEAR_LIMIT
            && self.set_up_near()
            && let Ok(block) = self.near.allocate_first_fit(layout)
        {
            return Some(block);
        }
        if let Ok(block) = self.far.allocate_first_fit(layout) {
            return Some(block);
        }
        self.grow_far(layout)?;
        self.far.allocate_first_fit(layout).ok()
    }

    /// Attaches the near piece at the first call; tells whether it is there.
    fn set_up_near(&mut self) -> bool {
        if self.near.size() > 0 || self.near_failed {
            return !self.near_failed;
        }
        match attach(NEAR_START, NEAR_SIZE, true) {
            Ok(start) => {
                // SAFETY: Just attached for this heap alone, for ever.
                unsafe {
                    self.near.init(
                        ptr::with_exposed_provenance_mut(start as usize),
                        NEAR_SIZE as usize,
                    )
                };
                true
            }
            Err(_) => {
                self.near_failed = true;
                false
            }
        }
    }

    /// Attaches memory for a block of `layout` at the far area's end.
    fn grow_far(&mut self, layout: Layout) -> Option<()> {
        // Room for the block wherever it starts, and for the list's own nodes.
        let wanted = (layout.size() as u64).checked_add(layout.align() as u64 + 64)?;
        let size = wanted.max(FAR_STEP).checked_next_multiple_of(PAGE_SIZE)?;
        if size > FAR_LIMIT - self.far_size {
            return None;
        }
        let start = attach(FAR_START + self.far_size, size, false).ok()?;
        self.far_size += size;
        if self.far.size() == 0 {
            // SAFETY: Just attached for this heap alone, for ever.
            unsafe {
                self.far
                    .init(ptr::with_exposed_provenance_mut(start as usize), size as usize)
            };
        } else {
            // SAFETY: Just attached directly behind the heap's end.
            unsafe { self.far.extend(size as usize) };
        }
        Some(())
    }
}

/// Attaches anonymous memory. A message that is being made meanwhile stays as it is.
fn attach(start: u64, size: u64, search: bool) -> Result<u64, Error> {
    let _saved = SavedMessage::new();
    Task(CapIndex::TASK).attach(&[Region {
        start,
        size,
        access: Access::READ_WRITE,
        backing: Backing::Anonymous,
        search,
        dataspace: CapIndex(0),
        offset: 0,
    }])
}
