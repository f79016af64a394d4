//! The PVH start info: what the boot loader tells (`xen/include/public/arch-x86/hvm/start_info.h`).

use core::fmt;

use crate::physical::{PhysicalMemory, u32_at, u64_at};

const MAGIC: u32 = 0x336e_c578;
const HEADER_BYTES: usize = 56;
const MODULE_BYTES: u64 = 32;
const MEMORY_ENTRY_BYTES: u64 = 24;
/// More entries than this are a sign of a damaged structure.
const MEMORY_ENTRIES_LIMIT: u32 = 256;

/// Why the start info cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PvhError {
    /// The pointer that the boot loader passed leads nowhere.
    Unreadable,
    /// The magic number is missing: the image was not entered by a PVH loader.
    Magic(u32),
    /// Version 0 has no memory map; the boot loader is too old.
    NoMemoryMap,
    /// The memory map has an absurd number of entries or cannot be read.
    MemoryMap(u32),
    /// A module's entry cannot be read.
    Module,
}

impl fmt::Display for PvhError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => write!(f, "the PVH start info cannot be read"),
            Self::Magic(magic) => write!(f, "magic {magic:#x} instead of {MAGIC:#x}: use a PVH boot loader"),
            Self::NoMemoryMap => write!(f, "no memory map: use a PVH loader of version 1 or later"),
            Self::MemoryMap(n) => write!(f, "the memory map of {n} entries cannot be used"),
            Self::Module => write!(f, "the list of boot modules cannot be read"),
        }
    }
}

/// One entry of the boot loader's memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEntry {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// As in the E820 map: 1 RAM, 2 reserved, 3 ACPI tables, 4 ACPI non-volatile, …
    pub kind: u32,
}

impl MemoryEntry {
    /// Memory behind which there is RAM, whether it may be used or not.
    #[must_use]
    pub fn is_ram(&self) -> bool {
        matches!(self.kind, 1 | 3 | 4)
    }
}

/// The checked start info. Its lists are read on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// Physical address of the ACPI RSDP, if the loader gave one.
    pub rsdp: Option<u64>,
    modules: u64,
    module_count: u32,
    command_line: u64,
    memory_map: u64,
    memory_entries: u32,
}

impl StartInfo {
    /// Reads the start info at physical `address`.
    ///
    /// # Errors
    /// If it is unreadable, not a start info, or without a usable memory map.
    pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<Self, PvhError> {
        let header = memory.bytes(address, HEADER_BYTES).ok_or(PvhError::Unreadable)?;
        let word = |offset| u32_at(header, offset).ok_or(PvhError::Unreadable);
        let long = |offset| u64_at(header, offset).ok_or(PvhError::Unreadable);
        if word(0)? != MAGIC {
            return Err(PvhError::Magic(word(0)?));
        }
        if word(4)? == 0 {
            return Err(PvhError::NoMemoryMap);
        }
        let entries = word(48)?;
        if entries == 0 || entries > MEMORY_ENTRIES_LIMIT {
            return Err(PvhError::MemoryMap(entries));
        }
        Ok(Self {
            rsdp: Some(long(32)?).filter(|&rsdp| rsdp != 0),
            modules: long(16)?,
            module_count: word(12)?,
            command_line: long(24)?,
            memory_map: long(40)?,
            memory_entries: entries,
        })
    }

    /// The command line, without its end mark, cut after `limit` bytes; empty if there is none.
    pub fn command_line<'m>(&self, memory: &'m impl PhysicalMemory, limit: usize) -> &'m [u8] {
        if self.command_line == 0 {
            return &[];
        }
        // The string may end close to unreadable memory: take what can be read.
        let mut length = limit;
        while length > 0 {
            if let Some(bytes) = memory.bytes(self.command_line, length) {
                return bytes.split(|&b| b == 0).next().unwrap_or(&[]);
            }
            length /= 2;
        }
        &[]
    }

    /// Physical address and size in bytes of the first boot module.
    ///
    /// # Errors
    /// If there is one, but its entry cannot be read or wraps around.
    pub fn first_module(&self, memory: &impl PhysicalMemory) -> Result<Option<(u64, u64)>, PvhError> {
        if self.module_count == 0 {
            return Ok(None);
        }
        let bytes = memory
            .bytes(self.modules, MODULE_BYTES as usize)
            .ok_or(PvhError::Module)?;
        let start = u64_at(bytes, 0).ok_or(PvhError::Module)?;
        let size = u64_at(bytes, 8).ok_or(PvhError::Module)?;
        start.checked_add(size).ok_or(PvhError::Module)?;
        Ok(Some((start, size)))
    }

    /// The memory map. Entries that wrap around end at the last address.
    ///
    /// # Errors
    /// Each entry that cannot be read gives an error.
    pub fn memory_map<'m, M: PhysicalMemory>(
        &self,
        memory: &'m M,
    ) -> impl Iterator<Item = Result<MemoryEntry, PvhError>> + use<'m, M> {
        let (map, count) = (self.memory_map, self.memory_entries);
        (0..count).map(move |index| {
            let offset = u64::from(index) * MEMORY_ENTRY_BYTES;
            read_entry(memory, map.wrapping_add(offset)).ok_or(PvhError::MemoryMap(count))
        })
    }
}

fn read_entry(memory: &impl PhysicalMemory, address: u64) -> Option<MemoryEntry> {
    let bytes = memory.bytes(address, MEMORY_ENTRY_BYTES as usize)?;
    let start = u64_at(bytes, 0)?;
    let end = start.saturating_add(u64_at(bytes, 8)?);
    Some(MemoryEntry {
        start,
        end,
        kind: u32_at(bytes, 16)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical::FakeMemory;

    fn header(version: u32, entries: u32, modules: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [MAGIC, version, 0, modules] {
            bytes.extend(word.to_le_bytes());
        }
        for long in [0x200_u64, 0x300, 0x400, 0x500] {
            bytes.extend(long.to_le_bytes());
        }
        bytes.extend(entries.to_le_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    fn longs(values: &[u64]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn a_complete_start_info_is_read() {
        let memory = FakeMemory(vec![
            (0x100, header(1, 2, 1)),
            (0x200, longs(&[0x1000, 0x2345, 0, 0])),
            (0x300, b"log=debug x\0junk".to_vec()),
            (0x500, longs(&[0, 0x9fc00, 1, 0x10_0000, 0x3ff0_0000, 1])),
        ]);
        let info = StartInfo::read(&memory, 0x100).unwrap();
        assert_eq!(info.rsdp, Some(0x400));
        assert_eq!(info.first_module(&memory), Ok(Some((0x1000, 0x2345))));
        assert_eq!(info.command_line(&memory, 64), b"log=debug x");
        assert_eq!(info.command_line(&memory, 3), b"log");
        let map: Vec<_> = info.memory_map(&memory).collect();
        assert_eq!(
            map[1],
            Ok(MemoryEntry {
                start: 0x10_0000,
                end: 0x4000_0000,
                kind: 1
            })
        );
    }

    #[test]
    fn damaged_structures_are_errors() {
        let memory = FakeMemory(vec![(0x100, header(1, 2, 1)), (0x500, longs(&[1, 2]))]);
        let info = StartInfo::read(&memory, 0x100).unwrap();
        assert_eq!(info.first_module(&memory), Err(PvhError::Module));
        assert_eq!(info.memory_map(&memory).next(), Some(Err(PvhError::MemoryMap(2))));
        assert_eq!(info.command_line(&memory, 64), b"");
        let read = |bytes: Vec<u8>| StartInfo::read(&FakeMemory(vec![(0, bytes)]), 0);
        assert_eq!(read(header(0, 2, 0)), Err(PvhError::NoMemoryMap));
        assert_eq!(read(header(1, 0, 0)), Err(PvhError::MemoryMap(0)));
        assert_eq!(read(header(1, u32::MAX, 0)), Err(PvhError::MemoryMap(u32::MAX)));
        assert_eq!(read(vec![0; HEADER_BYTES]), Err(PvhError::Magic(0)));
        assert_eq!(read(vec![0; HEADER_BYTES - 1]), Err(PvhError::Unreadable));
    }

    #[test]
    fn a_wrapping_entry_ends_at_the_last_address() {
        let memory = FakeMemory(vec![
            (0, header(1, 1, 0)),
            (0x500, longs(&[u64::MAX - 1, 100, 1])),
        ]);
        let info = StartInfo::read(&memory, 0).unwrap();
        let entry = info.memory_map(&memory).next().unwrap().unwrap();
        assert_eq!(entry.end, u64::MAX);
    }
}
