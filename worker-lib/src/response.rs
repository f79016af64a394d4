//! What a function answers.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use serde::Serialize;

use crate::error::Error;
use crate::inline::{InlineBytes, TooLong};

/// A response's payload: any bytes up to [`MAX_BYTES`](crate::MAX_BYTES).
///
/// Up to [`INLINE_BYTES`](crate::INLINE_BYTES) bytes need no heap and travel in the message itself.
#[derive(Debug)]
pub struct Response {
    payload: Payload,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is there to do without the heap"
)]
enum Payload {
    Fixed(&'static [u8]),
    Inline(InlineBytes),
    Heap(Vec<u8>),
}

impl Response {
    /// Nothing.
    pub const fn empty() -> Self {
        Self::fixed(&[])
    }

    /// Bytes that are part of the program; they are not copied.
    pub const fn fixed(bytes: &'static [u8]) -> Self {
        Self {
            payload: Payload::Fixed(bytes),
        }
    }

    /// Any bytes. A vector is taken as it is, a slice copied.
    pub fn bytes(bytes: impl AsRef<[u8]> + Into<Vec<u8>>) -> Self {
        let payload = match InlineBytes::copy_of(bytes.as_ref()) {
            Ok(copy) => Payload::Inline(copy),
            Err(TooLong) => Payload::Heap(bytes.into()),
        };
        Self { payload }
    }

    /// A text.
    pub fn text(text: impl AsRef<str> + Into<alloc::string::String>) -> Self {
        match InlineBytes::copy_of(text.as_ref().as_bytes()) {
            Ok(copy) => Self {
                payload: Payload::Inline(copy),
            },
            Err(TooLong) => Self {
                payload: Payload::Heap(text.into().into_bytes()),
            },
        }
    }

    /// A formatted text.
    ///
    /// ```
    /// let response = worker::Response::format(format_args!("{} and {}", 1, 2));
    /// assert_eq!(response.as_bytes(), b"1 and 2");
    /// ```
    pub fn format(text: fmt::Arguments<'_>) -> Self {
        let mut writer = Writer {
            payload: Payload::Inline(InlineBytes::new()),
        };
        // Only a broken `Display` can fail; what it wrote until then is the text.
        let _ = writer.write_fmt(text);
        Self {
            payload: writer.payload,
        }
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Ok(Self::bytes(serde_json::to_vec(value)?))
    }

    /// A value in [postcard](https://postcard.jamesmunns.com)'s encoding, which is shorter and quicker than JSON; both
    /// sides must know its type.
    ///
    /// # Errors
    /// If the value has a part that postcard cannot encode.
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let mut inline = InlineBytes::new();
        match postcard::to_slice(value, inline.place()).map(|used| used.len()) {
            Ok(length) => {
                inline.set_length(length);
                Ok(Self {
                    payload: Payload::Inline(inline),
                })
            }
            Err(postcard::Error::SerializeBufferFull) => Ok(Self {
                payload: Payload::Heap(postcard::to_allocvec(value)?),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Fixed(bytes) => bytes,
            Payload::Inline(bytes) => bytes.as_slice(),
            Payload::Heap(bytes) => bytes,
        }
    }
}

/// Collects text in the inline place, and moves to the heap when that is full.
struct Writer {
    payload: Payload,
}

impl Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match &mut self.payload {
            Payload::Inline(inline) => {
                if inline.append(text.as_bytes()) == Err(TooLong) {
                    let mut heap = Vec::from(inline.as_slice());
                    heap.extend_from_slice(text.as_bytes());
                    self.payload = Payload::Heap(heap);
                }
            }
            Payload::Heap(heap) => heap.extend_from_slice(text.as_bytes()),
            Payload::Fixed(_) => return Err(fmt::Error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::INLINE_BYTES;
    use proptest::prelude::*;

    #[test]
    fn short_ones_stay_off_the_heap() {
        let is_inline = |response: Response| matches!(response.payload, Payload::Inline(_));
        assert!(is_inline(Response::bytes([1; INLINE_BYTES])));
        assert!(!is_inline(Response::bytes([1; INLINE_BYTES + 1])));
        assert!(is_inline(Response::text("text")));
        assert!(is_inline(Response::format(format_args!("{:INLINE_BYTES$}", 1))));
        assert!(is_inline(Response::value(&[1u8; 32]).unwrap()));
        assert!(Response::empty().as_bytes().is_empty());
    }

    #[test]
    fn json_is_json() {
        assert_eq!(Response::json(&["a", "b"]).unwrap().as_bytes(), b"[\"a\",\"b\"]");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_at_the_edge(parts in prop::collection::vec("[a-zé]{0,150}", 0..8)) {
            let whole = parts.concat();
            let formatted = Response::format(format_args!("{}", Parts(&parts)));
            prop_assert_eq!(formatted.as_bytes(), whole.as_bytes());
            let text = Response::text(whole.as_str());
            prop_assert_eq!(text.as_bytes(), whole.as_bytes());
            let bytes = Response::bytes(whole.as_bytes());
            prop_assert_eq!(bytes.as_bytes(), whole.as_bytes());
            let value = Response::value(&whole).unwrap();
            prop_assert_eq!(postcard::from_bytes::<&str>(value.as_bytes()).unwrap(), &whole);
        }
    }

    struct Parts<'a>(&'a [alloc::string::String]);

    impl fmt::Display for Parts<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.iter().try_for_each(|part| f.write_str(part))
        }
    }
}
