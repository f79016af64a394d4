//! Reading and writing what is in dataspaces.
#![expect(unsafe_code, reason = "frames are filled")]

use super::address::{FrameMemory, PhysAddr};
use super::dataspace::{Dataspace, State};
use crate::machine::{machine_copy_page, machine_zero_page};
use crate::sync::Guard;
use core::sync::atomic::Ordering;
use l4::{Error, PAGE_SIZE};

/// Most bytes that one [`Dataspace::copy_in`] copies.
pub const COPY_LIMIT: u64 = 64 * 1024;
/// Bytes that are copied at a time when pages can't be copied as such.
const BUFFER: usize = 512;
/// Budget for work that is in the way of an access.
const ASSIST_BUDGET: u32 = 64;

/// The part of a range that lies in one page.
struct Part {
    page: u64,
    start: usize,
    length: usize,
}

impl Part {
    /// The first part of `size` bytes at `offset`.
    fn first(offset: u64, size: u64) -> Part {
        let start = offset % PAGE_SIZE;
        Part {
            page: offset / PAGE_SIZE,
            start: start as usize,
            length: size.min(PAGE_SIZE - start) as usize,
        }
    }
}

impl Dataspace {
    /// Reads bytes from any offset.
    ///
    /// # Errors
    /// [`Error::Range`] if the range is not within the dataspace, [`Error::Invalid`] for device memory.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.check_range(offset, bytes.len() as u64)?;
        let mut done = 0;
        while done < bytes.len() {
            let part = Part::first(offset + done as u64, (bytes.len() - done) as u64);
            let target = &mut bytes[done..done + part.length];
            let state = self.state.lock();
            match self.find_frame(part.page) {
                Some(frame) => read_frame(frame, part.start, target),
                None => target.fill(0),
            }
            drop(state);
            done += part.length;
        }
        Ok(())
    }

    /// Writes bytes at any offset.
    ///
    /// # Errors
    /// As [`Self::read`], and [`Error::AccessDenied`] if the dataspace is sealed, [`Error::NoMemory`] if its account
    /// can't pay for a page, [`Error::Again`] if the range is being cleared. Bytes before the page at fault are
    /// written then.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.check_range(offset, bytes.len() as u64)?;
        let mut done = 0;
        while done < bytes.len() {
            let part = Part::first(offset + done as u64, (bytes.len() - done) as u64);
            let state = self.lock_for_write(part.page)?;
            let frame = self.writable_frame(&state, part.page)?;
            write_frame(frame, part.start, &bytes[done..done + part.length]);
            drop(state);
            done += part.length;
        }
        Ok(())
    }

    /// Copies up to `size` bytes, at most [`COPY_LIMIT`], from another dataspace, and returns how many.
    ///
    /// # Errors
    /// As [`Self::write`] and as [`Self::read`] of the source, if nothing was copied; [`Error::Invalid`] if both are
    /// the same.
    pub fn copy_in(
        &self,
        offset: u64,
        source: &Dataspace,
        source_offset: u64,
        size: u64,
    ) -> Result<u64, Error> {
        if core::ptr::eq(self, source) {
            return Err(Error::Invalid);
        }
        self.check_range(offset, size)?;
        source.check_range(source_offset, size)?;
        let size = size.min(COPY_LIMIT);
        source.pin();
        let mut done = 0;
        let mut result = Ok(());
        while done < size && result.is_ok() {
            let (offset, source_offset) = (offset + done, source_offset + done);
            let step = if (offset | source_offset) % PAGE_SIZE == 0 && size - done >= PAGE_SIZE {
                self.copy_page_in(offset / PAGE_SIZE, source, source_offset / PAGE_SIZE)
                    .map(|()| PAGE_SIZE)
            } else {
                self.copy_bytes_in(offset, source, source_offset, size - done)
            };
            result = step.map(|copied| done += copied);
        }
        source.unpin();
        if done > 0 { Ok(done) } else { result.map(|()| 0) }
    }

    fn copy_page_in(&self, page: u64, source: &Dataspace, source_page: u64) -> Result<(), Error> {
        let state = self.lock_for_write(page)?;
        let Some(original) = source.find_frame(source_page) else {
            if self.find_frame(page).is_some() {
                let frame = self.writable_frame(&state, page)?;
                clear_frame(frame);
            }
            return Ok(());
        };
        if self.is_fixed() || self.has_own(page) {
            // Others may have the page mapped, and may be writing to it: no plain copy.
            let frame = self.writable_frame(&state, page)?;
            copy_words(frame, original);
            return Ok(());
        }
        let frame = self.blank_frame(&state, page)?;
        // SAFETY: The frame is new and, while we hold the lock, nobody else's; the source is pinned. That others may
        // change the source meanwhile is their affair: the copy is then a mixture.
        unsafe { machine_copy_page(frame, original) };
        Ok(())
    }

    /// Copies the contents of a frame that somebody keeps to the page at `offset`. The caller may hold the lock of a space: so
    /// nothing is done about work that is in the way.
    ///
    /// # Errors
    /// As [`Self::write`], and [`Error::Invalid`] if the offset is no multiple of the page size.
    pub(super) fn copy_frame_in(&self, offset: u64, kept: PhysAddr) -> Result<(), Error> {
        self.check_range(offset, PAGE_SIZE)?;
        if !offset.is_multiple_of(PAGE_SIZE) {
            return Err(Error::Invalid);
        }
        let page = offset / PAGE_SIZE;
        let state = self.state.lock();
        if self.is_sealed() {
            return Err(Error::AccessDenied);
        }
        if state.work.is_some_and(|work| work.blocks(page)) {
            return Err(Error::Again);
        }
        // Others may have the page mapped: no plain copy.
        copy_words(self.writable_frame(&state, page)?, kept);
        Ok(())
    }

    fn copy_bytes_in(
        &self,
        offset: u64,
        source: &Dataspace,
        source_offset: u64,
        size: u64,
    ) -> Result<u64, Error> {
        let mut buffer = [0; BUFFER];
        let part = Part::first(source_offset, size.min(BUFFER as u64));
        let room = (PAGE_SIZE - offset % PAGE_SIZE) as usize;
        let chunk = &mut buffer[..part.length.min(room)];
        if let Some(frame) = source.find_frame(part.page) {
            read_frame(frame, part.start, chunk);
        }
        self.write(offset, chunk)?;
        Ok(chunk.len() as u64)
    }

    fn check_range(&self, offset: u64, size: u64) -> Result<(), Error> {
        if self.is_uncached() {
            return Err(Error::Invalid);
        }
        match offset.checked_add(size) {
            Some(end) if end <= self.size() => Ok(()),
            _ => Err(Error::Range),
        }
    }

    /// The lock, when a page may be written.
    fn lock_for_write(&self, page: u64) -> Result<Guard<'_, State>, Error> {
        for _ in 0..2 {
            let state = self.state.lock();
            if self.is_sealed() {
                return Err(Error::AccessDenied);
            }
            if !state.work.is_some_and(|work| work.blocks(page)) {
                return Ok(state);
            }
            drop(state);
            // If the work fails, who began it is told.
            let _ = self.advance(&mut { ASSIST_BUDGET });
        }
        Err(Error::Again)
    }

    fn writable_frame(&self, state: &State, page: u64) -> Result<PhysAddr, Error> {
        match self.find_frame(page) {
            Some(frame) if self.is_fixed() => Ok(frame),
            _ => self.own_frame(state, page),
        }
    }

    /// Keeps the frames where they are, also without the lock.
    fn pin(&self) {
        self.state.lock().pins += 1;
    }

    fn unpin(&self) {
        self.state.lock().pins -= 1;
    }

    /// Fills a new frame with a page's contents, for a private copy. The dataspace is sealed.
    pub(super) fn fill_frame(&self, page: u64, target: PhysAddr) {
        match self.find_frame(page) {
            // SAFETY: The target is the caller's alone; the other frame stays, since the dataspace is sealed.
            Some(frame) => unsafe { machine_copy_page(target, frame) },
            // SAFETY: As above.
            None => unsafe { machine_zero_page(target) },
        }
    }
}

/// The contents of a frame that a dataspace shows.
fn memory(frame: PhysAddr) -> FrameMemory {
    // SAFETY: Only called for frames of dataspaces other than devices', under the lock or while pinned or sealed, so they
    // stay; they are only ever used as user memory.
    unsafe { FrameMemory::new(frame) }
}

fn read_frame(frame: PhysAddr, start: usize, bytes: &mut [u8]) {
    let memory = memory(frame);
    let mut done = 0;
    while done < bytes.len() {
        let (word, skip) = ((start + done) / 8, (start + done) % 8);
        let count = (8 - skip).min(bytes.len() - done);
        let value = memory.word(word).load(Ordering::Relaxed).to_le_bytes();
        bytes[done..done + count].copy_from_slice(&value[skip..skip + count]);
        done += count;
    }
}

fn write_frame(frame: PhysAddr, start: usize, bytes: &[u8]) {
    let memory = memory(frame);
    let mut done = 0;
    while done < bytes.len() {
        let (word, skip) = ((start + done) / 8, (start + done) % 8);
        let count = (8 - skip).min(bytes.len() - done);
        let part = &bytes[done..done + count];
        let word = memory.word(word);
        let merged = |old: u64| {
            let mut value = old.to_le_bytes();
            value[skip..skip + count].copy_from_slice(part);
            Some(u64::from_le_bytes(value))
        };
        if count == 8 {
            word.store(merged(0).unwrap_or(0), Ordering::Relaxed);
        } else {
            // The other bytes of the word may be written by a user thread at the same time.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, merged);
        }
        done += count;
    }
}

fn copy_words(to: PhysAddr, from: PhysAddr) {
    let (to, from) = (memory(to), memory(from));
    for (to, from) in to.words().iter().zip(from.words()) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

fn clear_frame(frame: PhysAddr) {
    memory(frame)
        .words()
        .iter()
        .for_each(|word| word.store(0, Ordering::Relaxed));
}
