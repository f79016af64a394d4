//! Addresses, and the kernel's way to the contents of frames.
#![expect(unsafe_code, reason = "frames are reached through the direct map")]

use crate::machine::machine_direct_map;
use core::sync::atomic::AtomicU64;
use l4::{Error, PAGE_SIZE, USER_END, USER_START};

/// Words of a frame.
pub const WORDS_PER_FRAME: usize = (PAGE_SIZE / 8) as usize;

/// Bytes of a large page.
pub const LARGE_SIZE: u64 = PAGE_SIZE * WORDS_PER_FRAME as u64;

/// A physical address; that of a frame is page aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PhysAddr(pub u64);

/// Memory of the size of a large page, in one piece that starts at a multiple of that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeFrame(PhysAddr);

impl LargeFrame {
    /// Physical addresses have at most so many bits (Intel SDM vol. 3, section 4.1.4).
    const ADDRESS_BITS: u32 = 52;

    /// The memory that starts at an address. `None` if that is not aligned, or no physical address.
    pub(crate) const fn new(start: PhysAddr) -> Option<LargeFrame> {
        if start.0.is_multiple_of(LARGE_SIZE) && start.0 >> LargeFrame::ADDRESS_BITS == 0 {
            Some(LargeFrame(start))
        } else {
            None
        }
    }

    /// Its first byte.
    pub(crate) const fn start(self) -> PhysAddr {
        self.0
    }
}

/// A page-aligned, non-empty range of addresses that a task may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    start: u64,
    end: u64,
}

impl UserRange {
    /// Checks a range that somebody asked for.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is empty or not page aligned, [`Error::BadAddress`] if it is not within
    /// [`USER_START`]..[`USER_END`].
    pub const fn new(start: u64, size: u64) -> Result<UserRange, Error> {
        if size == 0 || !(start | size).is_multiple_of(PAGE_SIZE) {
            return Err(Error::Invalid);
        }
        match start.checked_add(size) {
            Some(end) if start >= USER_START && end <= USER_END => Ok(UserRange { start, end }),
            _ => Err(Error::BadAddress),
        }
    }

    /// First address.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// First address behind the range.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Size in bytes.
    pub const fn size(self) -> u64 {
        self.end - self.start
    }
}

/// The contents of a frame, as words that others (user threads, the processor's table walk) may use at the same time.
#[derive(Clone, Copy)]
pub(crate) struct FrameMemory(PhysAddr);

impl FrameMemory {
    /// The memory of a frame.
    ///
    /// # Safety
    /// `frame` is a page-aligned frame of RAM in the direct map, which stays what the caller takes it for as long as the
    /// value is used, and to which no Rust reference other than to atomics exists.
    #[inline(always)]
    pub(crate) const unsafe fn new(frame: PhysAddr) -> FrameMemory {
        FrameMemory(frame)
    }

    /// The frame.
    #[inline(always)]
    pub(crate) const fn frame(self) -> PhysAddr {
        self.0
    }

    /// A word of the frame.
    ///
    /// # Panics
    /// If there is no such word.
    #[inline(always)]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        &self.words()[index]
    }

    /// All words of the frame.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[AtomicU64; WORDS_PER_FRAME] {
        // SAFETY: By the promise given to `new`, the frame is RAM that the direct map shows at this address.
        unsafe { &*((machine_direct_map() + self.0.0) as *const [AtomicU64; WORDS_PER_FRAME]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_frames_are_aligned() {
        assert_eq!(LARGE_SIZE, 2 << 20);
        let start = |address| LargeFrame::new(PhysAddr(address)).map(LargeFrame::start);
        assert_eq!(start(0), Some(PhysAddr(0)));
        assert_eq!(start(3 * LARGE_SIZE), Some(PhysAddr(3 * LARGE_SIZE)));
        assert_eq!(
            start((1 << 52) - LARGE_SIZE),
            Some(PhysAddr((1 << 52) - LARGE_SIZE))
        );
        for wrong in [1, PAGE_SIZE, LARGE_SIZE / 2, LARGE_SIZE + PAGE_SIZE, 1 << 52] {
            assert_eq!(start(wrong), None, "{wrong:#x}");
        }
    }

    #[test]
    fn ranges_are_checked() {
        let range = UserRange::new(USER_START, PAGE_SIZE).unwrap();
        assert_eq!(
            (range.start(), range.end(), range.size()),
            (0x1000, 0x2000, 0x1000)
        );
        assert!(UserRange::new(USER_END - PAGE_SIZE, PAGE_SIZE).is_ok());
        assert_eq!(UserRange::new(0x1000, 0), Err(Error::Invalid));
        assert_eq!(UserRange::new(0x1001, PAGE_SIZE), Err(Error::Invalid));
        assert_eq!(UserRange::new(0x1000, 5), Err(Error::Invalid));
        assert_eq!(UserRange::new(0, PAGE_SIZE), Err(Error::BadAddress));
        assert_eq!(UserRange::new(USER_END, PAGE_SIZE), Err(Error::BadAddress));
        assert_eq!(
            UserRange::new(USER_END - PAGE_SIZE, 2 * PAGE_SIZE),
            Err(Error::BadAddress)
        );
        assert_eq!(
            UserRange::new(0x1000, u64::MAX - 0xfff),
            Err(Error::BadAddress),
            "wraps around"
        );
        assert_eq!(
            UserRange::new(0xffff_8000_0000_0000, PAGE_SIZE),
            Err(Error::BadAddress)
        );
    }
}
