//! The kernel's clock, read without a system call.
#![expect(unsafe_code, reason = "the info page is found at an address")]

use crate::env;
use core::ptr;
use l4::info_page::InfoPage;

/// The kernel info page.
pub fn info_page() -> &'static InfoPage {
    let page: *const InfoPage = ptr::with_exposed_provenance(env::info_page_address() as usize);
    // SAFETY: Whoever starts a task attaches the page there, for reading; what is in it never changes.
    unsafe { &*page }
}

/// Nanoseconds since boot: the kernel's clock, the one of all deadlines.
#[inline]
pub fn now_ns() -> u64 {
    // SAFETY: Reading the time-stamp counter has no effect.
    let tsc = unsafe { core::arch::x86_64::_rdtsc() };
    info_page().nanoseconds(tsc)
}

/// Nanoseconds since the Unix epoch.
pub fn wall_clock_ns() -> u64 {
    info_page().wall_clock_ns + now_ns()
}

/// The deadline that comes after `duration_ns`.
pub fn after(duration_ns: u64) -> u64 {
    now_ns().saturating_add(duration_ns)
}

/// Sleeps for `duration_ns`.
pub fn sleep(duration_ns: u64) {
    l4::syscall::sleep_until(after(duration_ns));
}
