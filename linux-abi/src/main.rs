//! The image that is mapped beside a Linux program: entry from the kernel, and the task's capabilities.
#![no_std]
#![no_main]

extern crate alloc;

mod native;

#[global_allocator]
static HEAP: native::Heap = native::Heap;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    l4re::start::panic(info)
}
