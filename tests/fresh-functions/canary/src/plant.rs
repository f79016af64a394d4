//! Planting.

use crate::{Letters, word};
use alloc::vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::{Utcb, utcb};

/// Words in each place.
const WORDS: usize = 512;
/// Words on the heap: more pages than a clone changes otherwise, so that the next clones get some of them.
const HEAP_WORDS: usize = 32 * 512;
/// Words of the UTCB's page that runtimes use for themselves, from the first free one on.
const RUNTIME_WORDS: usize = 64;
/// Words of a frame on the stack, which is 64 KiB large in native functions.
const FRAME_WORDS: usize = 128;
/// How deep it is filled.
const FRAMES: u32 = 8;

/// A place among the program's own data.
pub(crate) static PLANTED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Writes the letters to static data, the heap, the stack and the words of the UTCB's page that nobody uses.
pub fn plant(letters: Letters) {
    let word = word(letters);
    for place in &PLANTED {
        place.store(word, Ordering::Relaxed);
    }
    // Given back: it is there all the same.
    drop(black_box(vec![word; HEAP_WORDS]));
    for _ in 0..4 {
        black_box(vec![word; WORDS]).leak();
    }
    on_stack(word, FRAMES);
    let utcb = Utcb::current();
    for index in utcb::FREE_WORD + RUNTIME_WORDS..512 {
        utcb.set_word(index, word);
    }
}

#[inline(never)]
fn on_stack(word: u64, depth: u32) {
    let frame = black_box([word; FRAME_WORDS]);
    if depth > 0 {
        on_stack(word, depth - 1);
    }
    black_box(&frame);
}
