//! The directory of a zip file, checked entry by entry.

use alloc::string::{String, ToString};

use crate::fields::{half, part, word};
use crate::{BundleError, FILES_MAX, UNPACKED_MAX, name};

/// Size of the record at the archive's end, without its comment.
pub(crate) const END_SIZE: usize = 22;
/// Size of a directory entry without its name, extra field and comment.
pub(crate) const ENTRY_SIZE: usize = 46;
/// Size of the header in front of a file without its name and extra field.
const LOCAL_SIZE: usize = 30;

/// Where a file is in the archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: usize,
    pub(crate) packed: usize,
    pub(crate) size: usize,
    pub(crate) sum: u32,
    pub(crate) is_deflated: bool,
}

/// Goes through a zip's directory; each step checks one entry, and nothing is unpacked or allocated unless it is wrong.
/// After the first error there is nothing more to come.
pub(crate) struct Directory<'a> {
    bytes: &'a [u8],
    /// Where the next entry starts.
    at: usize,
    left: usize,
    unpacked: u64,
}

impl<'a> Directory<'a> {
    /// Finds the directory.
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let end = find_end(bytes).ok_or(BundleError::Truncated)?;
        let left = usize::from(half(bytes, end + 10));
        if left > FILES_MAX {
            return Err(BundleError::TooManyFiles);
        }
        Ok(Self {
            bytes,
            at: word(bytes, end + 16) as usize,
            left,
            unpacked: 0,
        })
    }

    /// The next name, and its file; folders have none.
    fn step(&mut self) -> Result<(&'a str, Option<Entry>), BundleError> {
        let bytes = self.bytes;
        let header = part(bytes, self.at, ENTRY_SIZE).ok_or(BundleError::Truncated)?;
        if !header.starts_with(b"PK\x01\x02") {
            return Err(BundleError::Damaged("directory".into()));
        }
        let length = usize::from(half(header, 28));
        let raw = part(bytes, self.at + ENTRY_SIZE, length).ok_or(BundleError::Truncated)?;
        let text = core::str::from_utf8(raw)
            .map_err(|_| BundleError::BadName(String::from_utf8_lossy(raw).escape_debug().to_string()))?;
        self.at += ENTRY_SIZE + length + usize::from(half(header, 30)) + usize::from(half(header, 32));
        self.unpacked += u64::from(word(header, 24));
        if self.unpacked > UNPACKED_MAX {
            return Err(BundleError::TooLarge);
        }
        if let Some(folder) = text.strip_suffix('/') {
            name::check(folder)?;
            return Ok((folder, None));
        }
        name::check(text)?;
        entry(bytes, text, header).map(|entry| (text, Some(entry)))
    }
}

impl<'a> Iterator for Directory<'a> {
    type Item = Result<(&'a str, Option<Entry>), BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let step = self.step();
        if step.is_err() {
            self.left = 0;
        }
        Some(step)
    }
}

/// The file `text` as its directory entry describes it.
fn entry(bytes: &[u8], text: &str, header: &[u8]) -> Result<Entry, BundleError> {
    if half(header, 8) & 1 != 0 {
        return Err(BundleError::Encrypted(text.into()));
    }
    let is_deflated = match half(header, 10) {
        0 => false,
        8 => true,
        _ => return Err(BundleError::Compression(text.into())),
    };
    let (packed, size) = (word(header, 20) as usize, word(header, 24) as usize);
    let local = word(header, 42) as usize;
    let damaged = || BundleError::Damaged(text.into());
    let before = part(bytes, local, LOCAL_SIZE).ok_or_else(damaged)?;
    if !before.starts_with(b"PK\x03\x04") || (!is_deflated && packed != size) {
        return Err(damaged());
    }
    let offset = local + LOCAL_SIZE + usize::from(half(before, 26)) + usize::from(half(before, 28));
    part(bytes, offset, packed).ok_or_else(damaged)?;
    Ok(Entry {
        offset,
        packed,
        size,
        sum: word(header, 16),
        is_deflated,
    })
}

/// Where the record at the archive's end starts; a comment may be behind it.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_SIZE)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().find(|&at| {
        bytes[at..].starts_with(b"PK\x05\x06")
            && at + END_SIZE + usize::from(half(bytes, at + 20)) == bytes.len()
    })
}
