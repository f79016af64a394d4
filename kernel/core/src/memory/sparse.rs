//! Frames that hold little, and never change: their copies are made from zeroed frames, which idle CPUs have ready, without
//! reading what is empty, and are zeroed by clearing what is not when they are given back.
#![expect(unsafe_code, reason = "frames are copied by address")]

use super::address::{FrameMemory, PhysAddr, WORDS_PER_FRAME};
use crate::account::Account;
use crate::machine::{machine_copy_eighths, machine_copy_page, machine_zero_eighths};
use core::sync::atomic::Ordering;
use l4::Error;

/// Words of an eighth.
const EIGHTH: usize = WORDS_PER_FRAME / 8;
/// Eighths in use from which on a whole page is copied: as dear as to zero a page and copy them.
const MANY: u32 = 4;

/// Which eighths of a frame have words other than zero: bit n for the n-th. Without any bit, nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Population(u8);

impl Population {
    /// Nothing is known.
    pub(crate) const UNKNOWN: Population = Population(0);

    /// As [`Self::bits`] gave it.
    pub(crate) const fn from_bits(bits: u8) -> Population {
        Population(bits)
    }

    /// As a number.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// What a frame has in it now.
    pub(crate) fn of(frame: FrameMemory) -> Population {
        let eighths = frame.words().chunks_exact(EIGHTH).enumerate();
        let used = eighths.filter(|(_, words)| words.iter().any(|word| word.load(Ordering::Relaxed) != 0));
        Population(used.fold(0, |bits, (number, _)| bits | 1 << number))
    }

    /// With a word of the frame that is not zero.
    pub(crate) const fn with_word(self, index: usize) -> Population {
        Population(self.0 | 1 << (index / EIGHTH))
    }

    #[inline]
    fn is_sparse(self) -> bool {
        (1..MANY).contains(&self.0.count_ones())
    }
}

/// A copy of `frame` in a frame that `take` gives: zeroed, or with unknown contents.
///
/// # Errors
/// Those of `take`.
///
/// # Safety
/// `frame` is RAM that nobody writes since its `population` was taken; nobody else uses what `take` gives.
#[inline]
pub(crate) unsafe fn copy(
    frame: PhysAddr,
    population: Population,
    take: impl FnOnce(bool) -> Result<PhysAddr, Error>,
) -> Result<PhysAddr, Error> {
    let sparse = population.is_sparse();
    let copy = take(sparse)?;
    // SAFETY: The caller's promise.
    unsafe {
        if sparse {
            machine_copy_eighths(copy, frame, population.bits());
        } else {
            machine_copy_page(copy, frame);
        }
    }
    Ok(copy)
}

/// Gives a frame of `account` back, zeroed if it is known where it is not zero.
///
/// # Safety
/// Nobody uses the frame any more; all of its words are zero but those that `population` names, if that is known.
#[inline]
pub(super) unsafe fn free(frame: PhysAddr, population: Population, account: &Account) {
    if population == Population::UNKNOWN {
        account.free_frame(frame);
        return;
    }
    // SAFETY: The caller's promise.
    unsafe { machine_zero_eighths(frame, population.bits()) };
    account.free_zeroed_frame(frame);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake;
    use crate::memory::frame;

    #[test]
    fn a_copy_is_the_same_however_much_there_is() {
        let _machine = fake::lock();
        for used in 0..=u8::MAX {
            let original = frame::allocate(true).unwrap();
            // SAFETY: The frame is ours.
            let memory = unsafe { FrameMemory::new(original) };
            for eighth in (0..8).filter(|eighth| used >> eighth & 1 != 0) {
                let word = eighth * EIGHTH + usize::from(used) % EIGHTH;
                memory
                    .word(word)
                    .store(u64::from(used) << eighth, Ordering::Relaxed);
            }
            let population = Population::of(memory);
            assert_eq!(population.bits(), used);
            // SAFETY: Nobody else has the frames.
            let copy = unsafe {
                copy(
                    original,
                    population,
                    |zeroed| Ok(frame::allocate(zeroed).unwrap()),
                )
            };
            let copy = copy.unwrap();
            // SAFETY: As above.
            let words = unsafe { FrameMemory::new(copy) };
            for (one, other) in memory.words().iter().zip(words.words()) {
                assert_eq!(one.load(Ordering::Relaxed), other.load(Ordering::Relaxed));
                // So that a later copy gets no zeroes by chance.
                other.store(u64::MAX, Ordering::Relaxed);
            }
            frame::free(copy);
            frame::free(original);
        }
    }
}
