//! Why code is no bundle.

use alloc::string::String;
use core::fmt;

use crate::{FILES_MAX, NAME_MAX, UNPACKED_MAX};

/// Why a zip cannot be a function's code. Where one file is to blame, its name comes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// The archive's directory is missing or ends before it should.
    Truncated,
    /// Its headers contradict each other, or a file's bytes are not what they should be.
    Damaged(String),
    /// More files than [`FILES_MAX`].
    TooManyFiles,
    /// The files have more than [`UNPACKED_MAX`] bytes together.
    TooLarge,
    /// A name leads out of the archive, is absolute, or is no plain text.
    BadName(String),
    /// Two files have the same name.
    Twice(String),
    /// A compiled extension module, which needs a dynamic linker.
    NativeExtension(String),
    /// A file is encrypted.
    Encrypted(String),
    /// A file is compressed by something else than "deflate".
    Compression(String),
    /// The code is neither a zip nor text in UTF-8.
    NotText {
        /// Where the first wrong byte is.
        at: usize,
    },
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the zip is cut off: its directory is missing; copy it again"),
            Self::Damaged(name) => write!(f, "the zip is damaged at `{name}`; make it again"),
            Self::TooManyFiles => write!(
                f,
                "the zip has more than {FILES_MAX} files; leave tests and documentation out"
            ),
            Self::TooLarge => write!(
                f,
                "the zip's files have more than {} MiB unpacked; leave data out",
                UNPACKED_MAX >> 20
            ),
            Self::BadName(name) => write!(
                f,
                "`{name}` is no name for a file of a bundle: at most {NAME_MAX} bytes, relative, without `..`, \
                 backslashes and control characters"
            ),
            Self::Twice(name) => write!(f, "the zip has `{name}` twice; make it again"),
            Self::NativeExtension(name) => write!(
                f,
                "`{name}` is a compiled extension module, which cannot be loaded; take a package in pure Python \
                 (`pip install --no-binary :all:` may build one)"
            ),
            Self::Encrypted(name) => write!(f, "`{name}` is encrypted; make the zip without a password"),
            Self::Compression(name) => {
                write!(
                    f,
                    "`{name}` is compressed in an unusual way; make the zip with `zip -r` or zipfile"
                )
            }
            Self::NotText { at } => write!(f, "neither a zip nor UTF-8 (byte {at}); save the file as UTF-8"),
        }
    }
}

impl core::error::Error for BundleError {}
