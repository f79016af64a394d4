//! The place where one message is put together.

use core::fmt::{self, Write};

/// The greatest size of a message in bytes, with everything that the format adds. Longer ones are cut.
pub const MESSAGE_LIMIT: usize = 1024;

/// Bytes that stay free while a message is put together, for what must come after a cut text.
const RESERVE: usize = 48;

/// A message under construction. Text that does not fit is left out and remembered as a cut.
pub(crate) struct Buffer {
    bytes: [u8; MESSAGE_LIMIT],
    used: usize,
    is_cut: bool,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; MESSAGE_LIMIT],
            used: 0,
            is_cut: false,
        }
    }

    /// Appends `unit` as a whole or not at all. After the first unit that does not fit, none is appended.
    pub(crate) fn push(&mut self, unit: &str) {
        self.is_cut |= unit.len() > MESSAGE_LIMIT - RESERVE - self.used;
        if !self.is_cut {
            self.append(unit);
        }
    }

    /// Appends what ends the message; at most [`RESERVE`] bytes in total.
    pub(crate) fn finish(&mut self, end: &str) {
        self.append(end);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    fn append(&mut self, text: &str) {
        let end = self.used + text.len();
        if let Some(place) = self.bytes.get_mut(self.used..end) {
            place.copy_from_slice(text.as_bytes());
            self.used = end;
        }
    }
}

/// For the parts whose text this crate makes itself: character by character, without escapes.
impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut unit = [0; 4];
        text.chars().for_each(|c| self.push(c.encode_utf8(&mut unit)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters_and_keeps_room_for_the_end() {
        let mut buffer = Buffer::new();
        buffer.push("a");
        buffer.write_str(&"é".repeat(MESSAGE_LIMIT)).unwrap();
        assert!(buffer.is_cut());
        assert_eq!(buffer.bytes().len(), MESSAGE_LIMIT - RESERVE - 1);
        buffer.push("x");
        assert!(
            buffer.bytes().ends_with("é".as_bytes()),
            "text after a cut was appended"
        );
        buffer.finish(&"e".repeat(RESERVE));
        assert!(buffer.bytes().ends_with(b"eee"));
        assert!(std::str::from_utf8(buffer.bytes()).is_ok());
    }

    #[test]
    fn a_text_that_just_fits_is_not_cut() {
        let mut buffer = Buffer::new();
        buffer.push(&"x".repeat(MESSAGE_LIMIT - RESERVE));
        assert!(!buffer.is_cut());
    }
}
