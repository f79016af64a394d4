//! Memory: mappings, and pointers to nothing.
#![expect(unsafe_code, reason = "mappings are raw memory")]

use std::io::Error;
use std::process::ExitCode;
use std::ptr;

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("reservations cost nothing and become memory", reservations),
    ("mappings grow, move and go", remapping),
    ("files are mapped", mapped_files),
    ("bad pointers are refused", bad_pointers),
    ("memory is never writable and executable", write_xor_execute),
];

const PAGE: usize = 4096;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn map(size: usize, access: i32) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: A new mapping touches nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), size, access, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED, "{}", Error::last_os_error());
    start.cast()
}

fn unmap(start: *mut u8, size: usize) {
    // SAFETY: The callers unmap what they mapped and use no more.
    assert_eq!(unsafe { libc::munmap(start.cast(), size) }, 0);
}

fn reservations() {
    let size = 64 << 30;
    let start = map(size, libc::PROT_NONE);
    // SAFETY: Inside the mapping just made, used by nobody else.
    unsafe {
        let middle = start.add(size / 2);
        assert_eq!(libc::mprotect(middle.cast(), 2 * PAGE, READ_WRITE), 0);
        assert_eq!(middle.read(), 0);
        middle.write(5);
        middle.add(2 * PAGE - 1).write(6);
        assert_eq!(libc::madvise(middle.cast(), PAGE, libc::MADV_DONTNEED), 0);
        assert_eq!((middle.read(), middle.add(2 * PAGE - 1).read()), (0, 6));
    }
    unmap(start, size);
}

fn remapping() {
    let start = map(3 * PAGE, READ_WRITE);
    // SAFETY: Inside the mapping just made; the page in the middle is not used after it is unmapped.
    unsafe {
        start.write(1);
        start.add(2 * PAGE).write(3);
        unmap(start.add(PAGE), PAGE);
        assert_eq!((start.read(), start.add(2 * PAGE).read()), (1, 3));
        let moved = libc::mremap(start.cast(), PAGE, 16 * PAGE, libc::MREMAP_MAYMOVE).cast::<u8>();
        assert_ne!(moved.cast(), libc::MAP_FAILED);
        assert_eq!((moved.read(), moved.add(16 * PAGE - 1).read()), (1, 0));
        unmap(moved, 16 * PAGE);
    }
    unmap(start.wrapping_add(2 * PAGE), PAGE);
}

fn mapped_files() {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open("/proc/self/exe").expect("the program can be read");
    // SAFETY: A new mapping; it is read and written inside its first page.
    unsafe {
        let start = libc::mmap(
            ptr::null_mut(),
            PAGE,
            READ_WRITE,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(start, libc::MAP_FAILED);
        drop(file);
        let start = start.cast::<u8>();
        assert_eq!(start.cast::<[u8; 4]>().read(), *b"\x7fELF");
        start.write(0);
        assert_eq!(start.read(), 0);
        unmap(start, PAGE);
    }
}

fn bad_pointers() {
    let gone = map(PAGE, READ_WRITE);
    unmap(gone, PAGE);
    // The layer's own image and an address of the kernel's.
    let image = ptr::with_exposed_provenance_mut::<u8>(0x7000_0000);
    let kernel = ptr::with_exposed_provenance_mut::<u8>(0xffff_8000_0000_0000);
    let null = ptr::with_exposed_provenance_mut::<u8>(16);
    for target in [gone, image, kernel, null] {
        // SAFETY: The call checks the address.
        let result = unsafe { libc::getrandom(target.cast(), 40, 0) };
        assert_eq!(
            (result, Error::last_os_error().raw_os_error()),
            (-1, Some(libc::EFAULT)),
            "{target:p}"
        );
    }
    // A range whose second page is missing.
    let two = map(2 * PAGE, READ_WRITE);
    unmap(two.wrapping_add(PAGE), PAGE);
    // SAFETY: As above.
    let result = unsafe { libc::write(1, two.wrapping_add(PAGE - 8).cast(), 16) };
    assert_eq!(
        (result, Error::last_os_error().raw_os_error()),
        (-1, Some(libc::EFAULT))
    );
    unmap(two, PAGE);
}

fn write_xor_execute() {
    let start = map(PAGE, READ_WRITE);
    // SAFETY: The mapping is this function's.
    let result = unsafe { libc::mprotect(start.cast(), PAGE, READ_WRITE | libc::PROT_EXEC) };
    assert_eq!(
        (result, Error::last_os_error().raw_os_error()),
        (-1, Some(libc::EACCES))
    );
    unmap(start, PAGE);
}

/// Ends with a page fault.
pub(crate) fn write_to_null() -> ExitCode {
    // SAFETY: It is not: the fault is what the caller wants.
    unsafe { ptr::with_exposed_provenance_mut::<u64>(0x10).write_volatile(1) };
    ExitCode::SUCCESS
}

/// Ends when the account's limit is reached.
pub(crate) fn use_without_end() -> ExitCode {
    let mut total = 0u64;
    loop {
        let start = map(1 << 20, READ_WRITE);
        for page in 0..(1 << 20) / PAGE {
            // SAFETY: Inside the mapping just made.
            unsafe { start.add(page * PAGE).write_volatile(1) };
        }
        total += 1;
        println!("{total} MiB");
    }
}
