//! Why a function has no response.

use alloc::string::String;
use core::fmt::{self, Write};

/// A function's failure: a message for its caller.
///
/// Every error type becomes one with `?`.
///
/// ```
/// fn half(text: &str) -> Result<u32, worker::Error> {
///     let number: u32 = text.parse()?;
///     if number % 2 == 1 {
///         return Err(worker::Error::new(format_args!("{number} is odd")));
///     }
///     Ok(number / 2)
/// }
/// assert_eq!(half("5").unwrap_err().message(), "5 is odd");
/// assert!(half("five").unwrap_err().message().contains("invalid digit"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
}

impl Error {
    /// An error that says `message`. What the caller sees of it is cut to a few hundred bytes.
    pub fn new(message: impl fmt::Display) -> Self {
        let mut text = String::new();
        // Only a broken `Display` can fail; what it wrote until then is the message.
        let _ = write!(text, "{message}");
        Self { message: text }
    }

    /// What it says.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// `Error` is itself no `core::error::Error`, which makes this conversion of all the others possible.
impl<E: core::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}
