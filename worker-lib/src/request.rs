//! What a function is asked.

use core::str::FromStr;

use serde::Deserialize;

use crate::body::Body;
use crate::error::Error;

/// A request's payload: any bytes, which the methods read in the usual ways.
///
/// Up to [`INLINE_BYTES`](crate::INLINE_BYTES) bytes arrive in the message itself; more, up to
/// [`MAX_BYTES`](crate::MAX_BYTES), in memory that nobody can change any more.
#[derive(Debug)]
pub struct Request {
    body: Body,
}

impl Request {
    pub(crate) fn new(body: Body) -> Self {
        Self { body }
    }

    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        self.body.bytes()
    }

    /// The payload as text.
    ///
    /// # Errors
    /// If it is no UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        core::str::from_utf8(self.bytes())
            .map_err(|error| Error::new(format_args!("the request is no text: {error}")))
    }

    /// The payload as one number (or whatever else is written as a text), without the space around it; `None` if there
    /// is nothing.
    ///
    /// # Errors
    /// If it is no UTF-8 or no such text.
    pub fn parse<T: FromStr<Err: core::fmt::Display>>(&self) -> Result<Option<T>, Error> {
        match self.text()?.trim() {
            "" => Ok(None),
            text => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(Error::new(format_args!(
                    "the request `{text}` cannot be read: {error}"
                ))),
            },
        }
    }

    /// The payload as a value in JSON, which can refer to the payload's texts.
    ///
    /// # Errors
    /// If it is no JSON or not of this type.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_slice(self.bytes())
            .map_err(|error| Error::new(format_args!("the request is not the expected JSON: {error}")))
    }

    /// The payload as a value in [postcard](https://postcard.jamesmunns.com)'s encoding, as
    /// [`Response::value`](crate::Response::value) writes it.
    ///
    /// # Errors
    /// If it is not of this type, or bytes are left over.
    pub fn value<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        match postcard::take_from_bytes(self.bytes()) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(Error::new(format_args!(
                "the request has {} bytes too many",
                rest.len()
            ))),
            Err(error) => Err(Error::new(format_args!(
                "the request is not the expected value: {error}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Response;
    use crate::inline::InlineBytes;
    use alloc::string::String;

    fn request(bytes: &[u8]) -> Request {
        Request::new(Body::Inline(InlineBytes::copy_of(bytes).unwrap()))
    }

    #[test]
    fn is_read_as_text_and_numbers() {
        assert_eq!(request("né".as_bytes()).text().unwrap(), "né");
        assert_eq!(request(b" 12\n").parse::<u64>().unwrap(), Some(12));
        assert_eq!(request(b" ").parse::<u64>().unwrap(), None);
        assert!(
            request(b"-1")
                .parse::<u64>()
                .unwrap_err()
                .message()
                .contains("`-1`")
        );
        assert!(request(&[0xff]).text().unwrap_err().message().contains("no text"));
        assert!(request(&[0xff]).parse::<u64>().is_err());
    }

    #[test]
    fn is_read_as_json() {
        assert_eq!(request(b"[1, 2]").json::<[u8; 2]>().unwrap(), [1, 2]);
        assert_eq!(request(b"\"text\"").json::<&str>().unwrap(), "text");
        assert!(
            request(b"[1, 2] 3")
                .json::<[u8; 2]>()
                .unwrap_err()
                .message()
                .contains("expected JSON")
        );
    }

    #[test]
    fn values_survive_and_remains_are_refused() {
        let value = (7u32, String::from("text"));
        let mut bytes = Response::value(&value).unwrap().as_bytes().to_vec();
        assert_eq!(request(&bytes).value::<(u32, String)>().unwrap(), value);
        bytes.push(0);
        assert!(
            request(&bytes)
                .value::<(u32, String)>()
                .unwrap_err()
                .message()
                .contains("1 bytes too many")
        );
        assert!(request(&bytes[..2]).value::<(u32, String)>().is_err());
    }
}
