//! Bytes that need no heap: what fits into a message.

use core::fmt;

use crate::INLINE_BYTES;

/// Up to [`INLINE_BYTES`] bytes.
#[derive(Clone)]
pub(crate) struct InlineBytes {
    length: usize,
    bytes: [u8; INLINE_BYTES],
}

/// The bytes do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl InlineBytes {
    pub(crate) const fn new() -> Self {
        Self {
            length: 0,
            bytes: [0; INLINE_BYTES],
        }
    }

    pub(crate) fn copy_of(bytes: &[u8]) -> Result<Self, TooLong> {
        let mut copy = Self::new();
        copy.append(bytes)?;
        Ok(copy)
    }

    /// Adds all of `bytes` or nothing.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let end = self.length + bytes.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(TooLong)?;
        place.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// All of the place, for who fills it directly; [`set_length`](Self::set_length) says how much was filled.
    pub(crate) fn place(&mut self) -> &mut [u8; INLINE_BYTES] {
        &mut self.bytes
    }

    /// # Panics
    /// If `length` exceeds [`INLINE_BYTES`].
    pub(crate) fn set_length(&mut self, length: usize) {
        assert!(length <= INLINE_BYTES);
        self.length = length;
    }
}

impl fmt::Debug for InlineBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.length)
    }
}
