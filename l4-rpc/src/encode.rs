//! Writing a message: straight into the message registers, no buffer in between.

use l4::{Error, Tag, Utcb, utcb};
use postcard::ser_flavors::Flavor;
use serde::Serialize;

use crate::{Cap, MAX_CAPS};

/// Writes one message into the UTCB, word by word from the first on.
///
/// What does not fit is remembered and reported by [`Encoder::finish`], before any system call.
#[derive(Debug)]
pub struct Encoder<'u> {
    utcb: &'u Utcb,
    words: usize,
    items: [[u64; 2]; MAX_CAPS],
    item_count: usize,
    error: Option<Error>,
}

impl<'u> Encoder<'u> {
    /// Starts a request for operation `opcode`, which becomes the first word.
    #[inline(always)]
    pub fn request(utcb: &'u Utcb, opcode: u64) -> Encoder<'u> {
        utcb.set_word(0, opcode);
        Encoder {
            words: 1,
            ..Encoder::reply(utcb)
        }
    }

    /// Starts an answer.
    #[inline(always)]
    pub fn reply(utcb: &'u Utcb) -> Encoder<'u> {
        Encoder {
            utcb,
            words: 0,
            items: [[0; 2]; MAX_CAPS],
            item_count: 0,
            error: None,
        }
    }

    /// Adds a word.
    #[inline(always)]
    pub fn word(&mut self, value: u64) {
        if self.words < utcb::MESSAGE_WORDS {
            self.utcb.set_word(self.words, value);
            self.words += 1;
        } else {
            self.error = Some(Error::MessageTooLong);
        }
    }

    /// Adds bytes without their length; the last word is padded with zeroes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() > (utcb::MESSAGE_WORDS - self.words) * 8 {
            self.error = Some(Error::MessageTooLong);
            return;
        }
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self.word(u64::from_le_bytes(*chunk));
        }
        if !rest.is_empty() {
            self.word(little_endian(rest));
        }
    }

    /// Adds a capability. All capabilities travel behind the words, in the order in which they were added.
    #[inline]
    pub fn cap<T: ?Sized>(&mut self, cap: Cap<T>) {
        if self.item_count < MAX_CAPS {
            self.items[self.item_count] = cap.item().words();
            self.item_count += 1;
        } else {
            self.error = Some(Error::MessageTooLong);
        }
    }

    /// Adds a value in postcard's encoding: a word with the length in bytes, then the bytes.
    pub fn payload<T: Serialize + ?Sized>(&mut self, value: &T) {
        let length_word = self.words;
        self.word(0);
        let flavor = PayloadWriter {
            encoder: self,
            pending: 0,
            length: 0,
        };
        match postcard::serialize_with_flavor(value, flavor) {
            Ok(length) if self.error.is_none() => self.utcb.set_word(length_word, length as u64),
            Ok(_) | Err(postcard::Error::SerializeBufferFull) => self.error = Some(Error::MessageTooLong),
            Err(_) => self.error = Some(Error::Invalid),
        }
    }

    /// Ends the message; `label` is the protocol of a request, the result of an answer.
    ///
    /// # Errors
    /// [`Error::MessageTooLong`] if it does not fit into the message registers, [`Error::Invalid`] if a value refused
    /// to be serialised.
    #[inline(always)]
    pub fn finish(mut self, label: i64) -> Result<Tag, Error> {
        let words = self.words;
        for index in 0..self.item_count {
            let [how, flexpage] = self.items[index];
            self.word(how);
            self.word(flexpage);
        }
        match self.error {
            None => Ok(Tag::new(label, words, self.item_count)),
            Some(error) => Err(error),
        }
    }
}

/// Up to eight bytes as a little-endian word.
#[inline]
fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

/// Where postcard's bytes go: collected to words, each written once.
struct PayloadWriter<'e, 'u> {
    encoder: &'e mut Encoder<'u>,
    pending: u64,
    length: usize,
}

impl Flavor for PayloadWriter<'_, '_> {
    /// Length in bytes.
    type Output = usize;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.pending |= u64::from(byte) << (self.length % 8 * 8);
        self.length += 1;
        if self.length.is_multiple_of(8) {
            self.encoder.word(self.pending);
            self.pending = 0;
            if self.encoder.error.is_some() {
                return Err(postcard::Error::SerializeBufferFull);
            }
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<usize> {
        if !self.length.is_multiple_of(8) {
            self.encoder.word(self.pending);
        }
        Ok(self.length)
    }
}

/// A type with a fixed layout in words, for operations marked `words`.
pub trait Encode {
    /// Adds the value to a message.
    fn encode(&self, out: &mut Encoder<'_>);
}

macro_rules! encode_as_word {
    ($($integer:ty),*) => {$(
        impl Encode for $integer {
            #[inline(always)]
            fn encode(&self, out: &mut Encoder<'_>) {
                out.word(u64::from(*self));
            }
        }
    )*};
}

encode_as_word!(u64, u32, u16, u8, bool);

impl Encode for () {
    #[inline(always)]
    fn encode(&self, _: &mut Encoder<'_>) {}
}

impl<const N: usize> Encode for [u64; N] {
    #[inline(always)]
    fn encode(&self, out: &mut Encoder<'_>) {
        for word in self {
            out.word(*word);
        }
    }
}

/// A word with the length, then the bytes, padded to words.
impl Encode for &[u8] {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(self.len() as u64);
        out.bytes(self);
    }
}

/// Like its bytes.
impl Encode for &str {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        self.as_bytes().encode(out);
    }
}

impl<T: ?Sized> Encode for Cap<T> {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.cap(*self);
    }
}

/// A word that tells whether there is one, and the capability.
impl<T: ?Sized> Encode for Option<Cap<T>> {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(u64::from(self.is_some()));
        if let Some(cap) = self {
            out.cap(*cap);
        }
    }
}
