//! Reads zip files: the directory at once, files when they are asked for.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use crate::BundleError;
use crate::crc32::crc32;
use crate::directory::{Directory, Entry};
use crate::fields::part;

/// A checked zip.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    bytes: Cow<'a, [u8]>,
    entries: BTreeMap<String, Entry>,
    folders: BTreeSet<String>,
}

impl<'a> Bundle<'a> {
    /// Opens a zip and checks its directory: names, number and sizes of files.
    ///
    /// # Errors
    /// Whatever [`BundleError`] names.
    pub fn open(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let mut bundle = Self {
            bytes: Cow::Borrowed(bytes),
            entries: BTreeMap::new(),
            folders: BTreeSet::new(),
        };
        for step in Directory::of(bytes)? {
            match step? {
                (folder, None) => drop(bundle.folders.insert(folder.into())),
                (name, Some(entry)) => bundle.add(name, entry)?,
            }
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
            entries: BTreeMap::from([(name, entry)]),
            folders: BTreeSet::new(),
        }
    }

    /// Adds a file, and the folders that it is in.
    fn add(&mut self, name: &str, entry: Entry) -> Result<(), BundleError> {
        for (slash, _) in name.match_indices('/') {
            if !self.folders.contains(&name[..slash]) {
                self.folders.insert(name[..slash].into());
            }
        }
        match self.entries.insert(name.into(), entry) {
            Some(_) => Err(BundleError::Twice(name.into())),
            None => Ok(()),
        }
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Tells whether there is a file of this name.
    #[must_use]
    pub fn has_file(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The names of the files and folders in a folder, sorted; "" is the archive itself.
    #[must_use]
    pub fn list(&self, folder: &str) -> Vec<&str> {
        let all = self.entries.keys().chain(&self.folders);
        let names = all.filter_map(|name| {
            let rest = match folder {
                "" => name,
                _ => name.strip_prefix(folder)?.strip_prefix('/')?,
            };
            rest.split('/').next()
        });
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Checksum (CRC-32) and length of a file as the directory says, which tell it from others without a look at it;
    /// `None` if there is none of this name.
    #[must_use]
    pub fn fingerprint(&self, name: &str) -> Option<(u32, u64)> {
        self.entries.get(name).map(|entry| (entry.sum, entry.size as u64))
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

#[cfg(test)]
mod tests;
