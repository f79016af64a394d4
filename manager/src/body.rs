//! Bodies of requests and results.

use interfaces::faas::{INLINE_REQUEST, INLINE_RESPONSE};
use l4::CapIndex;

/// Most bytes that travel in the message itself.
pub const SHORT_BYTES: usize = if INLINE_REQUEST > INLINE_RESPONSE {
    INLINE_REQUEST
} else {
    INLINE_RESPONSE
};

/// A body as somebody sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    /// In the message itself, at most [`SHORT_BYTES`].
    Short(&'a [u8]),
    /// In a dataspace.
    Dataspace {
        /// The slot that holds it.
        cap: CapIndex,
        /// Bytes in use, from its start.
        length: u64,
    },
}

impl Sent<'_> {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Sent::Short(bytes) => bytes.len() as u64,
            Sent::Dataspace { length, .. } => *length,
        }
    }

    /// Tells whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A body on its way to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// In the message itself.
    Short(&'a [u8]),
    /// A dataspace with so many bytes in use, for the receiver to read; the sender keeps its capability.
    Lent(CapIndex, u64),
    /// A dataspace with so many bytes in use; the sender's capability moves.
    Given(CapIndex, u64),
}

/// Where a body is that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// In the [`ShortBody`] beside it.
    Short,
    /// In a sealed dataspace.
    Dataspace {
        /// The slot that holds it.
        cap: CapIndex,
        /// Bytes in use, from its start.
        length: u64,
    },
}

/// Room for a body that travels in messages.
#[derive(Clone, Debug)]
pub struct ShortBody {
    length: usize,
    bytes: [u8; SHORT_BYTES],
}

impl Default for ShortBody {
    fn default() -> ShortBody {
        ShortBody {
            length: 0,
            bytes: [0; SHORT_BYTES],
        }
    }
}

impl ShortBody {
    /// Keeps `bytes`, at most [`SHORT_BYTES`] of them.
    pub fn set(&mut self, bytes: &[u8]) {
        self.length = bytes.len().min(SHORT_BYTES);
        self.bytes[..self.length].copy_from_slice(&bytes[..self.length]);
    }

    /// What was kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_bodies_keep_what_fits() {
        let mut body = ShortBody::default();
        assert!(body.bytes().is_empty());
        body.set(b"request");
        assert_eq!(body.bytes(), b"request");
        body.set(&[7; SHORT_BYTES + 1]);
        assert_eq!(body.bytes(), [7; SHORT_BYTES]);
        assert!(
            Sent::Short(b"").is_empty()
                && Sent::Dataspace {
                    cap: CapIndex(1),
                    length: 9
                }
                .len()
                    == 9
        );
    }
}
