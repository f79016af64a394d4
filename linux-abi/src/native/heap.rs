//! The layer's own heap: part of the image, so that it lies in nobody's way. Pages that were never used cost nothing.
#![expect(unsafe_code, reason = "an allocator hands out memory by address")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use l4re::sync::Mutex;
use linked_list_allocator::Heap as List;

/// Room for descriptors, paths, lines, what is in pipes, and the files below `/tmp`.
const SIZE: usize = 128 << 20;

#[repr(align(4096))]
struct Arena(UnsafeCell<[u8; SIZE]>);

// SAFETY: Only the list below hands out parts of it, under its lock.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; SIZE]));
static LIST: Mutex<List> = Mutex::new(List::empty());

/// The global allocator.
pub(crate) struct Heap;

// SAFETY: Blocks come from `linked_list_allocator` over memory that only it knows, one thread at a time.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut list = LIST.lock();
        if list.size() == 0 {
            // SAFETY: The arena is given to the list once, and lives for ever.
            unsafe { list.init(ARENA.0.get().cast(), SIZE) };
        }
        list.allocate_first_fit(layout)
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: The caller promises a block of this allocator with its layout.
            unsafe { LIST.lock().deallocate(block, layout) };
        }
    }
}
