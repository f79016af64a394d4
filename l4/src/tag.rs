//! The message tag (rax): how long a message is and what it means.

/// Describes a message: bits 0–5 untyped words, 6–11 capability items, 12–15 flags, 16–63 signed label.
///
/// The label is the protocol of a request and the result of a reply (≥ 0 fine, < 0 a negated [`crate::Error`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub u64);

impl Tag {
    /// Most untyped words in a message.
    pub const MAX_WORDS: usize = 63;
    /// Flag on delivery: the IPC failed and the UTCB's error word says why. Senders can't set it.
    pub const ERROR: u64 = 1 << 15;
    /// Flag on entry, same bit as [`Self::ERROR`]: this is a native system call, not one of Linux.
    pub const NATIVE: u64 = 1 << 15;
    /// Flag: put the receiver into its run queue instead of switching to it.
    pub const SCHEDULE: u64 = 1 << 13;
    const FLAGS: u64 = 0xf000;

    /// A tag with `words` untyped words (at most 63) and `items` capability items (at most 31).
    pub const fn new(label: i64, words: usize, items: usize) -> Tag {
        Tag(((label as u64) << 16) | (((items & 0x3f) as u64) << 6) | (words & 0x3f) as u64)
    }

    /// Protocol of a request, result of a reply.
    pub const fn label(self) -> i64 {
        (self.0 as i64) >> 16
    }

    /// Number of untyped words, 0–63.
    pub const fn words(self) -> usize {
        (self.0 & 0x3f) as usize
    }

    /// Number of capability items, two words each, that follow the untyped words.
    pub const fn items(self) -> usize {
        ((self.0 >> 6) & 0x3f) as usize
    }

    /// Tells whether the IPC itself failed.
    pub const fn is_error(self) -> bool {
        self.0 & Self::ERROR != 0
    }

    /// The tag with the given flags set.
    pub const fn with(self, flags: u64) -> Tag {
        Tag(self.0 | (flags & Self::FLAGS))
    }

    /// The tag without any flag.
    pub const fn without_flags(self) -> Tag {
        Tag(self.0 & !Self::FLAGS)
    }
}

impl core::fmt::Debug for Tag {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let error = if self.is_error() { " ERROR" } else { "" };
        write!(
            f,
            "[{:#x} words={} items={}{error}]",
            self.label(),
            self.words(),
            self.items()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_that_of_l4re() {
        let tag = Tag::new(-15, 3, 1);
        assert_eq!(tag.0, (-15i64 as u64) << 16 | 1 << 6 | 3);
        assert_eq!((tag.label(), tag.words(), tag.items()), (-15, 3, 1));
        assert!(!tag.is_error());
        assert!(tag.with(Tag::ERROR).is_error());
        assert_eq!(tag.with(Tag::ERROR).without_flags(), tag);
    }

    #[test]
    fn flags_outside_their_bits_do_not_leak() {
        assert_eq!(Tag::new(0, 0, 0).with(u64::MAX).0, 0xf000);
    }
}
