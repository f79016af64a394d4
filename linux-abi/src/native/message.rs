//! The program's message registers, which a Linux call must leave as they are.

use l4::{Utcb, utcb};

/// Words from the buffer descriptor on that calls of this layer may change: it, and the first buffers.
const BUFFER_WORDS: usize = 5;

/// A copy of the calling thread's message registers; they are put back when it is dropped.
///
/// A program with native calls of its own may be half way through reading a message when, for instance, its heap
/// grows.
pub(super) struct Preserved<const WORDS: usize> {
    words: [u64; WORDS],
    buffers: [u64; BUFFER_WORDS],
    error: u64,
}

impl<const WORDS: usize> Preserved<WORDS> {
    /// Copies the first `WORDS` message words and all else that a call changes.
    pub(super) fn new() -> Preserved<WORDS> {
        let utcb = Utcb::current();
        Preserved {
            words: core::array::from_fn(|index| utcb.word(index)),
            buffers: core::array::from_fn(|index| utcb.word(utcb::BUFFER_DESCRIPTOR + index)),
            error: utcb.word(utcb::ERROR_WORD),
        }
    }
}

impl<const WORDS: usize> Drop for Preserved<WORDS> {
    fn drop(&mut self) {
        let utcb = Utcb::current();
        for (index, word) in self.words.iter().enumerate() {
            utcb.set_word(index, *word);
        }
        for (index, word) in self.buffers.iter().enumerate() {
            utcb.set_word(utcb::BUFFER_DESCRIPTOR + index, *word);
        }
        utcb.set_word(utcb::ERROR_WORD, self.error);
    }
}

/// The calling thread's error word, put back when it is dropped: for waiting for and triggering notifications, which
/// change nothing else.
pub(super) struct ErrorWord(u64);

impl ErrorWord {
    /// Copies it.
    pub(super) fn new() -> ErrorWord {
        ErrorWord(Utcb::current().word(utcb::ERROR_WORD))
    }
}

impl Drop for ErrorWord {
    fn drop(&mut self) {
        Utcb::current().set_word(utcb::ERROR_WORD, self.0);
    }
}

/// For calls of kernel objects, whose messages are short.
pub(super) type Short = Preserved<8>;
/// For everything.
pub(super) type Whole = Preserved<{ utcb::MESSAGE_WORDS }>;
