//! Reads zip files: the directory at once, files when they are asked for.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use crate::crc32::crc32;
use crate::{BundleError, FILES_MAX, UNPACKED_MAX, name};

/// Size of the record at the archive's end, without its comment.
const END_SIZE: usize = 22;
/// Size of a directory entry without its name, extra field and comment.
const ENTRY_SIZE: usize = 46;
/// Size of the header in front of a file without its name and extra field.
const LOCAL_SIZE: usize = 30;

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: usize,
    packed: usize,
    size: usize,
    sum: u32,
    is_deflated: bool,
}

/// A checked zip.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    bytes: Cow<'a, [u8]>,
    entries: HashMap<String, Entry>,
    folders: BTreeSet<String>,
}

impl<'a> Bundle<'a> {
    /// Opens a zip and checks its directory: names, number and sizes of files.
    ///
    /// # Errors
    /// Whatever [`BundleError`] names.
    pub fn open(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let end = find_end(bytes).ok_or(BundleError::Truncated)?;
        let count = usize::from(half(bytes, end + 10));
        let mut at = word(bytes, end + 16) as usize;
        if count > FILES_MAX {
            return Err(BundleError::TooManyFiles);
        }
        let mut bundle = Self {
            bytes: Cow::Borrowed(bytes),
            entries: HashMap::with_capacity(count),
            folders: BTreeSet::new(),
        };
        let mut unpacked = 0;
        for _ in 0..count {
            let header = part(bytes, at, ENTRY_SIZE).ok_or(BundleError::Truncated)?;
            if !header.starts_with(b"PK\x01\x02") {
                return Err(BundleError::Damaged("directory".into()));
            }
            let length = usize::from(half(header, 28));
            let raw = part(bytes, at + ENTRY_SIZE, length).ok_or(BundleError::Truncated)?;
            let text = String::from_utf8(raw.to_vec())
                .map_err(|_| BundleError::BadName(String::from_utf8_lossy(raw).escape_debug().to_string()))?;
            at += ENTRY_SIZE + length + usize::from(half(header, 30)) + usize::from(half(header, 32));
            unpacked += u64::from(word(header, 24));
            if unpacked > UNPACKED_MAX {
                return Err(BundleError::TooLarge);
            }
            bundle.add(text, header)?;
        }
        Ok(bundle)
    }

    /// The bundle of one source file.
    #[must_use]
    pub fn of_file(name: String, source: &'a [u8]) -> Self {
        let entry = Entry {
            offset: 0,
            packed: source.len(),
            size: source.len(),
            sum: crc32(source),
            is_deflated: false,
        };
        Self {
            bytes: Cow::Borrowed(source),
            entries: HashMap::from([(name, entry)]),
            folders: BTreeSet::new(),
        }
    }

    /// Adds what a directory entry describes.
    fn add(&mut self, text: String, header: &[u8]) -> Result<(), BundleError> {
        if let Some(folder) = text.strip_suffix('/') {
            name::check(folder)?;
            self.folders.insert(folder.into());
            return Ok(());
        }
        name::check(&text)?;
        if half(header, 8) & 1 != 0 {
            return Err(BundleError::Encrypted(text));
        }
        let is_deflated = match half(header, 10) {
            0 => false,
            8 => true,
            _ => return Err(BundleError::Compression(text)),
        };
        let (packed, size) = (word(header, 20) as usize, word(header, 24) as usize);
        let local = word(header, 42) as usize;
        let damaged = || BundleError::Damaged(text.clone());
        let before = part(&self.bytes, local, LOCAL_SIZE).ok_or_else(damaged)?;
        if !before.starts_with(b"PK\x03\x04") || (!is_deflated && packed != size) {
            return Err(damaged());
        }
        let offset = local + LOCAL_SIZE + usize::from(half(before, 26)) + usize::from(half(before, 28));
        part(&self.bytes, offset, packed).ok_or_else(damaged)?;
        for (slash, _) in text.match_indices('/') {
            if !self.folders.contains(&text[..slash]) {
                self.folders.insert(text[..slash].into());
            }
        }
        let entry = Entry {
            offset,
            packed,
            size,
            sum: word(header, 16),
            is_deflated,
        };
        match self.entries.insert(text.clone(), entry) {
            Some(_) => Err(BundleError::Twice(text)),
            None => Ok(()),
        }
    }

    /// The names of all files, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Tells whether there is a file of this name.
    #[must_use]
    pub fn has_file(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Tells whether there is a folder of this name.
    #[must_use]
    pub fn has_folder(&self, name: &str) -> bool {
        self.folders.contains(name)
    }

    /// The bytes of a file; `None` if there is none of this name.
    ///
    /// # Errors
    /// [`BundleError::Damaged`] if the bytes are not what the directory says.
    pub fn read(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>, BundleError> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let damaged = || BundleError::Damaged(name.into());
        let packed = part(&self.bytes, entry.offset, entry.packed).ok_or_else(damaged)?;
        let bytes = if entry.is_deflated {
            Cow::Owned(decompress_to_vec_with_limit(packed, entry.size).map_err(|_| damaged())?)
        } else {
            Cow::Borrowed(packed)
        };
        if bytes.len() != entry.size || crc32(&bytes) != entry.sum {
            return Err(damaged());
        }
        Ok(Some(bytes))
    }
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

fn part(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// Two bytes at a place inside `bytes`.
fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes at a place inside `bytes`.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
