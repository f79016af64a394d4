//! Writes zip files.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::crc32::crc32;
use crate::{BundleError, FILES_MAX, UNPACKED_MAX, name};

/// The first day that zip files know: 1 January 1980.
const DATE: u16 = 0x21;
/// Names are UTF-8.
const UTF8_NAMES: u16 = 1 << 11;

/// Packs files, sorted by name and uncompressed, so that the same files give the same bytes and importing one needs no
/// unpacking. Files and names are checked as [`Bundle::open`](crate::Bundle::open) checks them.
///
/// # Errors
/// A name, number or size that is refused.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, BundleError> {
    if files.len() > FILES_MAX {
        return Err(BundleError::TooManyFiles);
    }
    if files.values().map(|bytes| bytes.len() as u64).sum::<u64>() > UNPACKED_MAX {
        return Err(BundleError::TooLarge);
    }
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, bytes) in files {
        name::check(name)?;
        let offset = out.len() as u32;
        let common = common(name, bytes);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&common);
        // No comment, first disk, no attributes.
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let start = out.len() as u32;
    let size = directory.len() as u32;
    let count = (files.len() as u16).to_le_bytes();
    out.append(&mut directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count);
    out.extend_from_slice(&count);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    Ok(out)
}

/// What a file's two headers have in common: from the version that is needed to the length of the extra field.
fn common(name: &str, bytes: &[u8]) -> Vec<u8> {
    let size = (bytes.len() as u32).to_le_bytes();
    let mut header = Vec::new();
    for half in [20, UTF8_NAMES, 0, 0, DATE] {
        header.extend_from_slice(&half.to_le_bytes());
    }
    header.extend_from_slice(&crc32(bytes).to_le_bytes());
    header.extend_from_slice(&size);
    header.extend_from_slice(&size);
    header.extend_from_slice(&(name.len() as u16).to_le_bytes());
    header.extend_from_slice(&[0; 2]);
    header
}
