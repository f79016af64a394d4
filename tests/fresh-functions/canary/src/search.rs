//! Looking for the canary in all memory of the own task.
#![expect(unsafe_code, reason = "memory is read by address")]

use crate::mixed;
use crate::plant::PLANTED;
use crate::registers::Registers;
use core::fmt;
use core::ops::Range;
use core::ptr;
use l4::object::Task;
use l4::region::{Access, Backing};
use l4::{CapIndex, Error, PAGE_SIZE, Utcb};

/// From this size on, regions are heaps that are filled from their beginning, such as the 128 MiB of `linux-abi`, and
/// are looked at only up to the first [`QUIET`] bytes of zeroes.
const LARGE: u64 = 16 << 20;
const QUIET: u64 = 1 << 20;

/// How many words of the canary were found where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the registers.
    pub registers: u64,
    /// In static data.
    pub data: u64,
    /// On the stack.
    pub stack: u64,
    /// In the UTCB's page.
    pub utcb: u64,
    /// On the heap and elsewhere.
    pub heap: u64,
    /// Files that are there.
    pub files: u64,
    /// What was read in all, in bytes.
    pub bytes: u64,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = [
            ("registers", self.registers),
            ("data", self.data),
            ("stack", self.stack),
            ("utcb", self.utcb),
            ("heap", self.heap),
            ("files", self.files),
        ];
        if places.iter().all(|(_, count)| *count == 0) {
            f.write_str("nothing ")?;
        }
        for (place, count) in places.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{place} {count} ")?;
        }
        write!(f, "in {} KiB", self.bytes >> 10)
    }
}

/// Looks for letters that were [`mixed`] in `registers` and in all regions of the task that can be read.
///
/// # Errors
/// The kernel's, when it is asked for regions.
pub fn search(wanted: u64, registers: &Registers) -> Result<Found, Error> {
    let mut found = Found::default();
    for word in registers.words() {
        found.registers += u64::from(is_canary(*word, wanted));
    }
    let marker = 0u64;
    let on_stack = (&raw const marker).addr() as u64;
    let utcb = (&raw const *Utcb::current()).addr() as u64;
    let utcb = utcb..utcb + PAGE_SIZE;
    found.utcb = self::count(utcb.clone(), wanted).0;
    let data = (&raw const PLANTED).addr() as u64;
    let data = data..data + size_of_val(&PLANTED) as u64;
    let mut next = 0;
    loop {
        let region = match Task(CapIndex::TASK).find(next) {
            Ok(region) => region,
            Err(Error::NotFound) => return Ok(found),
            Err(error) => return Err(error),
        };
        let range = region.start..region.start + region.size;
        next = range.end;
        if !region.access.contains(Access::READ) || region.backing == Backing::Reserved {
            continue;
        }
        let mut count = |range: Range<u64>| {
            let (words, end) = self::count(range.clone(), wanted);
            found.bytes += end - range.start;
            words
        };
        // The UTCB may be part of a region or lie between them.
        for range in outside(range, &utcb) {
            if range.contains(&on_stack) {
                found.stack += count(range);
            } else if range.contains(&data.start) {
                found.data += count(data.clone());
                found.heap += outside(range, &data).into_iter().map(&mut count).sum::<u64>();
            } else {
                found.heap += count(range);
            }
        }
    }
}

/// The parts of a range before and behind a hole.
fn outside(range: Range<u64>, hole: &Range<u64>) -> [Range<u64>; 2] {
    let clamp = |address: u64| address.clamp(range.start, range.end);
    [range.start..clamp(hole.start), clamp(hole.end)..range.end]
}

/// Counts the words of the canary in a range of readable, aligned words. Returns also how far it looked.
fn count(range: Range<u64>, wanted: u64) -> (u64, u64) {
    let is_large = range.end - range.start >= LARGE;
    let (mut count, mut quiet) = (0, 0);
    for address in range.clone().step_by(8) {
        let place: *const u64 = ptr::with_exposed_provenance(address as usize);
        // SAFETY: The kernel says that the place can be read; only this thread writes to the task's memory.
        let word = unsafe { place.read_volatile() };
        count += u64::from(is_canary(word, wanted));
        quiet = if word == 0 { quiet + 8 } else { 0 };
        if is_large && quiet == QUIET {
            return (count, address);
        }
    }
    (count, range.end)
}

/// Tells whether a word is the letters that are wanted, wherever they begin.
#[inline]
fn is_canary(word: u64, wanted: u64) -> bool {
    let half = word as u32;
    half == (word >> 32) as u32
        && half != 0
        && (0..4).any(|bytes| mixed(half.rotate_left(8 * bytes)) == wanted)
}
