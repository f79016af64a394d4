//! Text output to the task's console or log.

use core::fmt::{self, Write};
use l4::object::Vcon;
use l4::{CapIndex, Utcb, utcb};

/// The message words of the calling thread's UTCB, put back when dropped. Whoever makes a system call where a message
/// may be half made or half read (output, an allocation) keeps one.
#[derive(Debug)]
pub struct SavedMessage {
    words: [u64; utcb::MESSAGE_WORDS],
    error: u64,
}

impl SavedMessage {
    /// Copies the message words.
    pub fn new() -> SavedMessage {
        let utcb = Utcb::current();
        let mut words = [0; utcb::MESSAGE_WORDS];
        utcb.read(0, &mut words);
        SavedMessage {
            words,
            error: utcb.word(utcb::ERROR_WORD),
        }
    }
}

impl Default for SavedMessage {
    fn default() -> Self {
        SavedMessage::new()
    }
}

impl Drop for SavedMessage {
    fn drop(&mut self) {
        let utcb = Utcb::current();
        utcb.write(0, &self.words);
        utcb.set_word(utcb::ERROR_WORD, self.error);
    }
}

/// Writes bytes to a console. The UTCB stays as it was. What the task's log refuses, its parent gets: a clone that a client
/// began itself has no log, and its client then has the manager begin one. What nobody takes is lost.
pub fn write(console: CapIndex, bytes: &[u8]) {
    let _saved = SavedMessage::new();
    if console == CapIndex::LOG {
        log(bytes);
    } else {
        let _ = Vcon(console).write(bytes);
    }
}

/// Writes bytes to the task's log as [`write`] does, but leaves the UTCB as the messages leave it.
pub fn log(bytes: &[u8]) {
    if Vcon(CapIndex::LOG).write(bytes).is_err() {
        let _ = Vcon(CapIndex::PARENT).write(bytes);
    }
}

/// Collects text and writes it in as few messages as possible, each of which stays whole.
struct Buffer {
    bytes: [u8; Vcon::CHUNK],
    used: usize,
}

impl Buffer {
    fn flush(&mut self) {
        if self.used > 0 {
            write(CapIndex::LOG, &self.bytes[..self.used]);
            self.used = 0;
        }
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            let count = rest.len().min(self.bytes.len() - self.used);
            let (now, later) = rest.split_at(count);
            self.bytes[self.used..self.used + count].copy_from_slice(now);
            self.used += count;
            rest = later;
        }
        Ok(())
    }
}

/// Writes formatted text to the task's log; [`crate::print!`] and [`crate::println!`] are shorter.
pub fn print(text: fmt::Arguments<'_>) {
    let mut buffer = Buffer {
        bytes: [0; Vcon::CHUNK],
        used: 0,
    };
    // Only a broken `Display` can fail; what it wrote until then is shown.
    let _ = buffer.write_fmt(text);
    buffer.flush();
}

/// Writes formatted text to the task's log.
#[macro_export]
macro_rules! print {
    ($($part:tt)*) => { $crate::console::print(::core::format_args!($($part)*)) };
}

/// Writes a formatted line to the task's log.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($part:tt)*) => { $crate::print!("{}\n", ::core::format_args!($($part)*)) };
}
