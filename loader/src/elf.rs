//! The headers of an ELF file (System V ABI, chapters 4 and 5, and its AMD64 supplement), read with suspicion.

use crate::ElfError;
use heapless::Vec;
use l4::region::Access;
use l4::{PAGE_SIZE, USER_END, USER_START};

/// Most segments that a program may have; compilers make three to five.
pub const MAX_SEGMENTS: usize = 8;

const MAGIC: &[u8] = b"\x7fELF";
const HEADER_SIZE: usize = 64;
const PROGRAM_HEADER_SIZE: usize = 56;
/// More program headers than any linker makes.
const MAX_PROGRAM_HEADERS: u16 = 64;

const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const VERSION: u8 = 1;

const TYPE_OBJECT: u16 = 1;
const TYPE_EXECUTABLE: u16 = 2;
const TYPE_SHARED: u16 = 3;
const MACHINE_X86: u16 = 3;
const MACHINE_X86_64: u16 = 62;
const SEGMENT_LOAD: u32 = 1;
const SEGMENT_DYNAMIC: u32 = 2;
const SEGMENT_INTERPRETER: u32 = 3;
/// Marks a native program; `native.ld` of l4re puts it there, in the range for operating systems.
const SEGMENT_NATIVE: u32 = 0x6ae1_e000;

/// Where a program's addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The linker fixed them.
    Fixed,
    /// The loader chooses; the program relocates itself.
    Relocatable,
}

/// A range of memory that a program wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub address: u64,
    /// Size in memory in bytes, above 0.
    pub memory_size: u64,
    /// Where its contents start in the file.
    pub file_offset: u64,
    /// How many bytes of contents there are, at most `memory_size`; the rest is zero.
    pub file_size: u64,
    /// Permitted use.
    pub access: Access,
}

impl Segment {
    /// First page.
    pub fn first_page(&self) -> u64 {
        page_down(self.address)
    }

    /// End of the last page.
    pub fn end_page(&self) -> u64 {
        // The parser checked that the end is below USER_END.
        page_down(self.address + self.memory_size + PAGE_SIZE - 1)
    }
}

/// What is to be loaded: checked, so that no address or sum of it overflows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Fixed or relocatable.
    pub kind: Kind,
    /// First instruction.
    pub entry: u64,
    /// Address of the program headers in memory; 0 if no segment shows them.
    pub headers: u64,
    /// Number of program headers.
    pub header_count: u16,
    /// The program calls the kernel itself; others make the system calls of Linux and need a runner.
    pub is_native: bool,
    /// Segments by rising address; no two share a page.
    pub segments: Vec<Segment, MAX_SEGMENTS>,
}

impl Image {
    /// Size of one program header in bytes.
    pub const HEADER_ENTRY_SIZE: u64 = PROGRAM_HEADER_SIZE as u64;

    /// Reads the headers of a file of `file_size` bytes, and what it has for a dynamic linker. `bytes` is the file, with
    /// anything behind it.
    ///
    /// # Errors
    /// [`ElfError`] names the first thing that is wrong.
    pub fn parse(bytes: &[u8], file_size: u64) -> Result<Image, ElfError> {
        // A dataspace has zeroes up to the end of its last page, which are no part of the file.
        let end = usize::try_from(file_size).map_or(bytes.len(), |size| size.min(bytes.len()));
        let bytes = &bytes[..end];
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if bytes.starts_with(b"#!") {
            return Err(ElfError::Script);
        }
        if !MAGIC.starts_with(magic) {
            return Err(ElfError::NotElf);
        }
        let header = bytes.get(..HEADER_SIZE).ok_or(ElfError::Truncated)?;
        check_machine(header)?;
        let kind = match u16_at(header, 16) {
            TYPE_EXECUTABLE => Kind::Fixed,
            TYPE_SHARED => Kind::Relocatable,
            TYPE_OBJECT => return Err(ElfError::ObjectFile),
            _ => return Err(ElfError::NotExecutable),
        };
        let table_offset = u64_at(header, 32);
        let header_count = u16_at(header, 56);
        let entry_size = u16_at(header, 54) as usize;
        if entry_size != PROGRAM_HEADER_SIZE || header_count == 0 || header_count > MAX_PROGRAM_HEADERS {
            return Err(ElfError::BadHeaders);
        }
        let table = usize::try_from(table_offset)
            .ok()
            .and_then(|start| {
                bytes
                    .get(start..)?
                    .get(..header_count as usize * PROGRAM_HEADER_SIZE)
            })
            .ok_or(ElfError::Truncated)?;
        // A relocatable image may start at 0; it is checked again where it is moved to.
        let lowest = if kind == Kind::Fixed { USER_START } else { 0 };
        let segments = read_segments(table, file_size, lowest)?;
        dynamic::check(table, bytes)?;
        let entry = u64_at(header, 24);
        let is_entry = |segment: &Segment| {
            segment.access.contains(Access::EXECUTE)
                && (segment.address..segment.address + segment.memory_size).contains(&entry)
        };
        if !segments.iter().any(is_entry) {
            return Err(ElfError::BadEntry);
        }
        let headers = header_address(&segments, table_offset, table.len() as u64);
        let is_native = table
            .chunks_exact(PROGRAM_HEADER_SIZE)
            .any(|header| u32_at(header, 0) == SEGMENT_NATIVE);
        Ok(Image {
            kind,
            entry,
            headers,
            header_count,
            is_native,
            segments,
        })
    }

    /// The image with all addresses `distance` higher.
    ///
    /// # Errors
    /// [`ElfError::BadAddress`] if that leaves the memory of programs.
    pub fn moved(mut self, distance: u64) -> Result<Image, ElfError> {
        for (index, segment) in self.segments.iter_mut().enumerate() {
            let address = segment.address.checked_add(distance);
            segment.address = checked_address(address, segment.memory_size, index, USER_START)?;
        }
        self.entry += distance;
        if self.headers != 0 {
            self.headers += distance;
        }
        Ok(self)
    }

    /// First address of the first page and end of the last one.
    pub fn bounds(&self) -> (u64, u64) {
        let first = self.segments.first().map_or(0, Segment::first_page);
        let last = self.segments.last().map_or(0, Segment::end_page);
        (first, last)
    }

    /// Tells whether a page of the image lies in the range.
    pub fn touches(&self, start: u64, end: u64) -> bool {
        self.segments
            .iter()
            .any(|segment| segment.first_page() < end && start < segment.end_page())
    }
}

/// Refuses what is for another processor, or for this one in 32-bit mode.
fn check_machine(header: &[u8]) -> Result<(), ElfError> {
    let [class, order, version] = [header[4], header[5], header[6]];
    let machine = if order == LITTLE_ENDIAN {
        u16_at(header, 18)
    } else {
        u16::from_be_bytes([header[18], header[19]])
    };
    match (class, order, machine) {
        (CLASS_64, LITTLE_ENDIAN, MACHINE_X86_64) if version == VERSION => Ok(()),
        (CLASS_32, LITTLE_ENDIAN, MACHINE_X86 | MACHINE_X86_64) => Err(ElfError::Not64Bit),
        _ => Err(ElfError::WrongMachine(machine)),
    }
}

fn read_segments(table: &[u8], file_size: u64, lowest: u64) -> Result<Vec<Segment, MAX_SEGMENTS>, ElfError> {
    let mut segments: Vec<Segment, MAX_SEGMENTS> = Vec::new();
    for (index, header) in table.chunks_exact(PROGRAM_HEADER_SIZE).enumerate() {
        match u32_at(header, 0) {
            SEGMENT_INTERPRETER => return Err(ElfError::NeedsInterpreter),
            SEGMENT_LOAD if u64_at(header, 40) > 0 => {
                let segment = read_segment(header, index, file_size, lowest)?;
                if segments
                    .last()
                    .is_some_and(|previous| previous.end_page() > segment.first_page())
                {
                    return Err(ElfError::Overlap(index));
                }
                segments.push(segment).map_err(|_| ElfError::TooManySegments)?;
            }
            _ => {}
        }
    }
    if segments.is_empty() {
        return Err(ElfError::NoSegments);
    }
    Ok(segments)
}

fn read_segment(header: &[u8], index: usize, file_size: u64, lowest: u64) -> Result<Segment, ElfError> {
    let flags = u32_at(header, 4);
    let segment = Segment {
        address: u64_at(header, 16),
        memory_size: u64_at(header, 40),
        file_offset: u64_at(header, 8),
        file_size: u64_at(header, 32),
        access: access(flags),
    };
    if segment.file_size > segment.memory_size {
        return Err(ElfError::SizesContradict(index));
    }
    checked_address(Some(segment.address), segment.memory_size, index, lowest)?;
    let end = segment.file_offset.checked_add(segment.file_size);
    if segment.file_size > 0 && end.is_none_or(|end| end > file_size) {
        return Err(ElfError::OutsideFile(index));
    }
    if segment.file_size > 0 && segment.address % PAGE_SIZE != segment.file_offset % PAGE_SIZE {
        return Err(ElfError::Misaligned(index));
    }
    if segment.access.contains(Access::WRITE | Access::EXECUTE) {
        return Err(ElfError::WritableExecutable(index));
    }
    Ok(segment)
}

/// The flags of a program header: 1 execute, 2 write, 4 read. What can be used at all can be read.
fn access(flags: u32) -> Access {
    let mut access = Access::READ;
    access.set(Access::EXECUTE, flags & 1 != 0);
    access.set(Access::WRITE, flags & 2 != 0);
    access
}

fn checked_address(address: Option<u64>, size: u64, index: usize, lowest: u64) -> Result<u64, ElfError> {
    let bad = ElfError::BadAddress(index);
    let address = address.ok_or(bad)?;
    let end = address.checked_add(size).ok_or(bad)?;
    if end > USER_END || address < lowest {
        Err(bad)
    } else {
        Ok(address)
    }
}

/// The address at which a segment shows the table of program headers; 0 if none does.
fn header_address(segments: &[Segment], offset: u64, size: u64) -> u64 {
    let shows = |segment: &&Segment| {
        offset >= segment.file_offset && offset + size <= segment.file_offset + segment.file_size
    };
    segments
        .iter()
        .find(shows)
        .map_or(0, |segment| segment.address + (offset - segment.file_offset))
}

pub(crate) const fn page_down(address: u64) -> u64 {
    address & !(PAGE_SIZE - 1)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u64_at_most(bytes, at, 4) as u32
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64_at_most(bytes, at, 8)
}

fn u64_at_most(bytes: &[u8], at: usize, size: usize) -> u64 {
    let mut word = [0; 8];
    word[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(word)
}

mod dynamic;

#[cfg(test)]
mod tests;
