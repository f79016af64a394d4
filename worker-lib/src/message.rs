//! Short texts without a heap: what a failure says.

use core::fmt::{self, Write};

/// A text of at most `N` bytes. What does not fit is cut off, between characters, and marked with `…`.
pub(crate) struct Message<const N: usize> {
    bytes: [u8; N],
    length: usize,
    is_cut: bool,
}

const MARK: &str = "…";

impl<const N: usize> Message<N> {
    pub(crate) fn of(text: impl fmt::Display) -> Self {
        let mut message = Self {
            bytes: [0; N],
            length: 0,
            is_cut: false,
        };
        // Fails if the text is cut, or its `Display` is broken; what there is then is the message.
        let _ = write!(message, "{text}");
        if message.is_cut {
            message.append(MARK);
        }
        message
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only whole characters were appended.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    fn append(&mut self, text: &str) {
        let end = self.length + text.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(text.as_bytes());
            self.length = end;
        }
    }
}

impl<const N: usize> Write for Message<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = N.saturating_sub(MARK.len() + self.length);
        let fitting = text.floor_char_boundary(room);
        self.append(&text[..fitting]);
        self.is_cut = fitting < text.len();
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_texts_stay_whole() {
        assert_eq!(Message::<16>::of(format_args!("{}-{}", 1, "é")).as_str(), "1-é");
    }

    proptest! {
        #[test]
        fn long_texts_are_cut_between_characters(text in "[aé…]{0,30}") {
            let message = Message::<16>::of(&text);
            if text.len() <= 16 - MARK.len() {
                prop_assert_eq!(message.as_str(), text);
            } else {
                let start = message.as_str().strip_suffix(MARK).unwrap();
                prop_assert!(text.starts_with(start) && message.as_str().len() > 16 - 6);
            }
        }
    }
}
