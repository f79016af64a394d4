//! The code of a function in Python: one source file, or a zip with modules and packages.
//!
//! [`pack`] makes a zip, the same bytes from the same files whatever their order and times; [`Bundle::open`] reads one
//! that anybody may have made. What cannot work or must not be is refused when it is opened, before anything is
//! unpacked: names that lead out of the archive, more than the limits, native extensions, encryption.
//! [`check`] does so without keeping anything, for who passes code on.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
mod crc32;
mod directory;
mod error;
mod fields;
mod handler;
mod name;
mod read;
mod write;

pub use check::check;
pub use error::BundleError;
pub use handler::Handler;
pub use read::Bundle;
pub use write::pack;

/// Most files of a bundle.
pub const FILES_MAX: usize = 8192;
/// Most bytes of all files of a bundle together, unpacked.
pub const UNPACKED_MAX: u64 = 64 << 20;
/// Longest name of a file in bytes.
pub const NAME_MAX: usize = 255;

/// Tells whether code is a zip; otherwise it is source text.
#[must_use]
pub fn is_zip(code: &[u8]) -> bool {
    code.starts_with(b"PK\x03\x04") || code.starts_with(b"PK\x05\x06")
}
