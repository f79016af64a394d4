//! The boot archive: the modules that the boot image carries behind the kernel.
//!
//! The image tool writes one archive into the boot image; the kernel finds it in memory and starts its first
//! entry as the root task, which serves the rest. All numbers are little-endian.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic, [`MAGIC`] |
//! | 8 | 4 | format version, [`VERSION`] |
//! | 12 | 4 | number of entries |
//! | 16 | 8 | size of the whole archive in bytes |
//! | 24 | 256 | the kernel's command line, NUL-padded |
//! | 280 | 512 each | entries: name (64, NUL-padded), command line (424, NUL-padded), offset (8), size (8), flags (8) |
//!
//! The modules follow, each at a page boundary (those of 2 MiB and more at a multiple of that); the rest of its last
//! page is zero. Offsets count from the archive's first byte.

use core::fmt;

/// The first eight bytes of every archive.
pub const MAGIC: [u8; 8] = *b"AERIEROM";

/// The format that this crate reads and writes.
pub const VERSION: u32 = 1;

/// Alignment of the archive and of each module in it, in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// The most entries an archive can have; a bound for readers, far above what an image needs.
pub const MAX_ENTRIES: usize = 4096;

/// Longest name of an entry in bytes.
pub const MAX_NAME: usize = NAME_SIZE - 1;

/// Longest command line of an entry in bytes.
pub const MAX_COMMAND_LINE: usize = COMMAND_LINE_SIZE - 1;

/// Longest command line of the kernel in bytes.
pub const MAX_KERNEL_COMMAND_LINE: usize = KERNEL_COMMAND_LINE_SIZE - 1;

const NAME_SIZE: usize = 64;
const COMMAND_LINE_SIZE: usize = 424;
const KERNEL_COMMAND_LINE_SIZE: usize = 256;
const KERNEL_COMMAND_LINE_AT: usize = 24;
const FIXED_SIZE: usize = KERNEL_COMMAND_LINE_AT + KERNEL_COMMAND_LINE_SIZE;
const ENTRY_SIZE: usize = 512;
const OFFSET_AT: usize = NAME_SIZE + COMMAND_LINE_SIZE;
const FLAG_EXECUTABLE: u64 = 1;

/// Why bytes are no usable archive, or why an archive cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// The bytes end before the header does.
    Truncated,
    /// The first bytes are not [`MAGIC`].
    NoMagic,
    /// The archive has a format version that this crate does not know.
    Version(u32),
    /// The number of entries is 0 or above [`MAX_ENTRIES`].
    EntryCount(u32),
    /// Entry number `.0` has a name or command line that is empty (name only), too long, or no UTF-8.
    Text(usize),
    /// The kernel's command line is too long or no UTF-8.
    KernelCommandLine,
    /// Entry number `.0` lies outside the archive, inside its header, or not at a page boundary.
    Bounds(usize),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the boot archive's header is cut short"),
            Self::NoMagic => f.write_str("no boot archive here"),
            Self::Version(version) => write!(f, "the boot archive has version {version}, not {VERSION}"),
            Self::EntryCount(count) => {
                write!(
                    f,
                    "the boot archive claims {count} entries, allowed are 1 to {MAX_ENTRIES}"
                )
            }
            Self::Text(index) => write!(
                f,
                "entry {index} of the boot archive has a bad name (1 to {MAX_NAME} bytes) or command line \
                 (up to {MAX_COMMAND_LINE} bytes)"
            ),
            Self::KernelCommandLine => {
                write!(
                    f,
                    "the kernel's command line is longer than {MAX_KERNEL_COMMAND_LINE} bytes or no UTF-8"
                )
            }
            Self::Bounds(index) => write!(f, "entry {index} of the boot archive lies outside it"),
        }
    }
}

impl core::error::Error for ArchiveError {}

/// One module of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name in `rom`, such as `ned` or `functions/hello`.
    pub name: &'a str,
    /// Program name and arguments, separated by spaces; empty for data.
    pub command_line: &'a str,
    /// Where the module starts, in bytes from the archive's first byte; a multiple of [`PAGE_SIZE`].
    pub offset: u64,
    /// The module's size in bytes, without padding.
    pub size: u64,
    /// Whether the module is a program that can be started.
    pub is_executable: bool,
}

/// A checked archive header: every entry's texts are valid and its bytes lie inside the archive.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    header: &'a [u8],
    count: usize,
}

/// Size of the header of an archive with `count` entries in bytes, before rounding up to a page.
#[must_use]
pub const fn header_size(count: usize) -> usize {
    FIXED_SIZE + count * ENTRY_SIZE
}

/// Tells from the first page of a possible archive how many bytes [`Archive::parse`] needs to see.
///
/// # Errors
/// As [`Archive::parse`], for the fields in front of the entries.
pub fn required_header(first_page: &[u8]) -> Result<usize, ArchiveError> {
    if first_page.get(..MAGIC.len()).ok_or(ArchiveError::Truncated)? != MAGIC {
        return Err(ArchiveError::NoMagic);
    }
    if first_page.len() < FIXED_SIZE {
        return Err(ArchiveError::Truncated);
    }
    let version = read_u32(first_page, 8);
    if version != VERSION {
        return Err(ArchiveError::Version(version));
    }
    let count = read_u32(first_page, 12);
    match usize::try_from(count) {
        Ok(entries @ 1..=MAX_ENTRIES) => Ok(header_size(entries)),
        _ => Err(ArchiveError::EntryCount(count)),
    }
}

impl<'a> Archive<'a> {
    /// Checks the header of an archive. `bytes` starts at the archive and covers at least its header; the
    /// modules themselves need not be visible.
    ///
    /// # Errors
    /// [`ArchiveError`] names the first field that is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let size = required_header(bytes)?;
        let header = bytes.get(..size).ok_or(ArchiveError::Truncated)?;
        let archive = Self {
            header,
            count: (size - FIXED_SIZE) / ENTRY_SIZE,
        };
        text(&header[KERNEL_COMMAND_LINE_AT..FIXED_SIZE]).ok_or(ArchiveError::KernelCommandLine)?;
        for index in 0..archive.count {
            let entry = archive.decode(index).ok_or(ArchiveError::Text(index))?;
            let end = entry
                .offset
                .checked_add(entry.size)
                .ok_or(ArchiveError::Bounds(index))?;
            let is_inside = entry.offset >= size as u64 && end <= archive.total_size();
            if !is_inside || entry.offset % PAGE_SIZE != 0 {
                return Err(ArchiveError::Bounds(index));
            }
        }
        Ok(archive)
    }

    /// Number of entries, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Size of the whole archive in bytes. The reader compares it with the memory that is there.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        read_u64(self.header, 16)
    }

    /// The kernel's command line.
    #[must_use]
    pub fn command_line(&self) -> &'a str {
        text(&self.header[KERNEL_COMMAND_LINE_AT..FIXED_SIZE]).unwrap_or_default()
    }

    /// The modules in the order of the image description. The first is the root task.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let archive = *self;
        (0..self.count).filter_map(move |index| archive.decode(index))
    }

    /// The module with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.name == name)
    }

    fn decode(&self, index: usize) -> Option<Entry<'a>> {
        let at = header_size(index);
        let record = self.header.get(at..at + ENTRY_SIZE)?;
        let name = text(&record[..NAME_SIZE]).filter(|name| !name.is_empty())?;
        Some(Entry {
            name,
            command_line: text(&record[NAME_SIZE..OFFSET_AT])?,
            offset: read_u64(record, OFFSET_AT),
            size: read_u64(record, OFFSET_AT + 8),
            is_executable: read_u64(record, OFFSET_AT + 16) & FLAG_EXECUTABLE != 0,
        })
    }
}

/// Writes an archive's header to the start of `out`: what [`Archive::parse`] reads back.
///
/// # Errors
/// [`ArchiveError::Truncated`] if `out` is shorter than [`header_size`]; otherwise the field that does not fit.
pub fn write_header(
    out: &mut [u8],
    command_line: &str,
    total_size: u64,
    entries: &[Entry<'_>],
) -> Result<(), ArchiveError> {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        return Err(ArchiveError::EntryCount(count));
    }
    let header = out
        .get_mut(..header_size(entries.len()))
        .ok_or(ArchiveError::Truncated)?;
    header.fill(0);
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&count.to_le_bytes());
    header[16..24].copy_from_slice(&total_size.to_le_bytes());
    put_text(&mut header[KERNEL_COMMAND_LINE_AT..FIXED_SIZE], command_line)
        .ok_or(ArchiveError::KernelCommandLine)?;
    for (index, entry) in entries.iter().enumerate() {
        let record = &mut header[header_size(index)..header_size(index + 1)];
        put_text(&mut record[..NAME_SIZE], entry.name).ok_or(ArchiveError::Text(index))?;
        put_text(&mut record[NAME_SIZE..OFFSET_AT], entry.command_line).ok_or(ArchiveError::Text(index))?;
        let flags = if entry.is_executable { FLAG_EXECUTABLE } else { 0 };
        for (field, value) in [entry.offset, entry.size, flags].into_iter().enumerate() {
            let at = OFFSET_AT + 8 * field;
            record[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
    Archive::parse(header).map(|_| ())
}

/// Reads a NUL-padded field; `None` if it has no NUL, bytes behind it, or is no UTF-8.
fn text(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|&byte| byte == 0)?;
    let (text, padding) = field.split_at(end);
    if padding.iter().any(|&byte| byte != 0) {
        return None;
    }
    core::str::from_utf8(text).ok()
}

/// Fills a zeroed field; `None` if the text and one NUL do not fit or the text has a NUL of its own.
fn put_text(field: &mut [u8], text: &str) -> Option<()> {
    if text.len() >= field.len() || text.contains('\0') {
        return None;
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    Some(())
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    const MOE: Entry<'static> = Entry {
        name: "moe",
        command_line: "moe rom/aerie.cfg -- --threads=2",
        offset: 4096,
        size: 5000,
        is_executable: true,
    };
    const CONFIG: Entry<'static> = Entry {
        name: "functions/hello.conf",
        command_line: "",
        offset: 12288,
        size: 0,
        is_executable: false,
    };

    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; header_size(2)];
        write_header(&mut bytes, "-serial", 12288, &[MOE, CONFIG]).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = sample();
        let archive = Archive::parse(&bytes).unwrap();
        assert_eq!(archive.entries().collect::<Vec<_>>(), [MOE, CONFIG]);
        assert_eq!(
            (archive.count(), archive.total_size(), archive.command_line()),
            (2, 12288, "-serial")
        );
        assert_eq!(archive.find("functions/hello.conf"), Some(CONFIG));
        assert_eq!(archive.find("absent"), None);
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert_eq!(
                Archive::parse(&bytes[..length]).unwrap_err(),
                ArchiveError::Truncated
            );
        }
    }

    #[test]
    fn foreign_bytes_and_versions_are_told_apart() {
        assert_eq!(Archive::parse(&[0; 8192]).unwrap_err(), ArchiveError::NoMagic);
        let mut bytes = sample();
        bytes[8] = 9;
        assert_eq!(Archive::parse(&bytes).unwrap_err(), ArchiveError::Version(9));
    }

    #[test]
    fn absurd_counts_are_refused() {
        for count in [0_u32, 4097, u32::MAX] {
            let mut bytes = sample();
            bytes[12..16].copy_from_slice(&count.to_le_bytes());
            assert_eq!(
                Archive::parse(&bytes).unwrap_err(),
                ArchiveError::EntryCount(count)
            );
        }
    }

    #[test]
    fn entries_outside_the_archive_are_refused() {
        let at = header_size(1) + OFFSET_AT;
        for (offset, size) in [
            (12288, 1),
            (0, 16),
            (4097, 1),
            (u64::MAX - 4095, 4096),
            (4096, u64::MAX),
        ] {
            let mut bytes = sample();
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(offset));
            bytes[at + 8..at + 16].copy_from_slice(&u64::to_le_bytes(size));
            assert_eq!(
                Archive::parse(&bytes).unwrap_err(),
                ArchiveError::Bounds(1),
                "{offset:#x} {size:#x}"
            );
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        let name = header_size(0);
        for (at, byte) in [(name, 0), (name + 1, 0), (name + 1, 0xff), (name + 63, b'x')] {
            let mut bytes = sample();
            bytes[at] = byte;
            assert_eq!(
                Archive::parse(&bytes).unwrap_err(),
                ArchiveError::Text(0),
                "byte {byte} at {at}"
            );
        }
        let mut bytes = sample();
        bytes[KERNEL_COMMAND_LINE_AT..FIXED_SIZE].fill(b'x');
        assert_eq!(
            Archive::parse(&bytes).unwrap_err(),
            ArchiveError::KernelCommandLine
        );
    }

    #[test]
    fn the_writer_refuses_what_does_not_fit() {
        let long = "x".repeat(MAX_NAME + 1);
        let mut out = vec![0; header_size(1)];
        let entry = Entry { name: &long, ..MOE };
        assert_eq!(
            write_header(&mut out, "", 12288, &[entry]),
            Err(ArchiveError::Text(0))
        );
        assert_eq!(
            write_header(&mut out, "", 12288, &[]),
            Err(ArchiveError::EntryCount(0))
        );
        assert_eq!(
            write_header(&mut out, "", 12288, &[MOE, CONFIG]),
            Err(ArchiveError::Truncated)
        );
        assert_eq!(
            write_header(&mut out, "", 8192, &[MOE]),
            Err(ArchiveError::Bounds(0))
        );
        assert_eq!(
            write_header(&mut out, &"k".repeat(256), 12288, &[MOE]),
            Err(ArchiveError::KernelCommandLine)
        );
    }
}
