//! Reading a message: every word and every byte must be accounted for.

use l4::{CapIndex, Error};

use crate::{Arguments, Cap};

/// A message that is being read from its first word on.
pub trait Source {
    /// The next word.
    ///
    /// # Errors
    /// [`Error::MessageTooShort`] if there is none.
    fn word(&mut self) -> Result<u64, Error>;

    /// Copies the next bytes; padding up to the next word is skipped.
    ///
    /// # Errors
    /// [`Error::MessageTooShort`] if there are fewer.
    fn copy_bytes(&mut self, into: &mut [u8]) -> Result<(), Error>;

    /// The slot of the next capability.
    ///
    /// # Errors
    /// [`Error::MissingArgument`] if no further one came along.
    fn slot(&mut self) -> Result<CapIndex, Error>;
}

/// A type with a fixed layout in words, read from a message of kind `S`: the counterpart of [`crate::Encode`].
///
/// Types that own their contents can be read from any message; types that borrow, only from a server's
/// [`Arguments`].
pub trait Decode<S>: Sized {
    /// Most capabilities in a value.
    const CAPS: usize = 0;

    /// Reads a value.
    ///
    /// # Errors
    /// [`Error::MessageTooShort`], [`Error::MissingArgument`], or [`Error::Invalid`] for a value that makes no sense.
    fn decode(from: &mut S) -> Result<Self, Error>;
}

impl<S: Source> Decode<S> for u64 {
    #[inline(always)]
    fn decode(from: &mut S) -> Result<u64, Error> {
        from.word()
    }
}

macro_rules! decode_from_word {
    ($($integer:ty),*) => {$(
        impl<S: Source> Decode<S> for $integer {
            #[inline(always)]
            fn decode(from: &mut S) -> Result<$integer, Error> {
                <$integer>::try_from(from.word()?).map_err(|_| Error::Invalid)
            }
        }
    )*};
}

decode_from_word!(u32, u16, u8);

impl<S: Source> Decode<S> for bool {
    #[inline(always)]
    fn decode(from: &mut S) -> Result<bool, Error> {
        match from.word()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Invalid),
        }
    }
}

impl<S> Decode<S> for () {
    #[inline(always)]
    fn decode(_: &mut S) -> Result<(), Error> {
        Ok(())
    }
}

impl<S: Source, const N: usize> Decode<S> for [u64; N] {
    #[inline(always)]
    fn decode(from: &mut S) -> Result<[u64; N], Error> {
        let mut words = [0; N];
        for word in &mut words {
            *word = from.word()?;
        }
        Ok(words)
    }
}

impl<S: Source, T: ?Sized> Decode<S> for Cap<T> {
    const CAPS: usize = 1;

    #[inline]
    fn decode(from: &mut S) -> Result<Cap<T>, Error> {
        from.slot().map(Cap::new)
    }
}

impl<S: Source, T: ?Sized> Decode<S> for Option<Cap<T>> {
    const CAPS: usize = 1;

    #[inline]
    fn decode(from: &mut S) -> Result<Option<Cap<T>>, Error> {
        if bool::decode(from)? {
            Cap::decode(from).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<'a> Decode<Arguments<'a>> for &'a [u8] {
    #[inline]
    fn decode(from: &mut Arguments<'a>) -> Result<&'a [u8], Error> {
        let length = from.word()?;
        from.bytes(length)
    }
}

impl<'a> Decode<Arguments<'a>> for &'a str {
    #[inline]
    fn decode(from: &mut Arguments<'a>) -> Result<&'a str, Error> {
        let bytes: &[u8] = Decode::decode(from)?;
        core::str::from_utf8(bytes).map_err(|_| Error::Invalid)
    }
}
