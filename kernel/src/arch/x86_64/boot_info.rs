//! What the boot loader and the firmware tell, gathered before their memory is reused.

use core::fmt;

use l4::archive::{self, Archive};
use platform::acpi::{AcpiError, Machine};
use platform::memory_map::{MapError, MemoryMap};
use platform::physical::PhysicalMemory;
use platform::pvh::{MemoryEntry, PvhError, StartInfo};

use super::paging::{self, LowMemory, RamLayout};

/// Bytes of the command line that are kept.
const COMMAND_LINE_LIMIT: usize = 2048;
/// The boot loader's own structures, the start page of the other CPUs, and the firmware's data are there.
const LOW_RESERVED: u64 = 1 << 20;

/// Why the kernel cannot start.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BootError {
    /// The boot loader's structures are unusable.
    Pvh(PvhError),
    /// Memory is too small or too scattered.
    Memory(MapError),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pvh(error) => write!(f, "{error}"),
            Self::Memory(error) => write!(f, "{error}"),
        }
    }
}

impl From<PvhError> for BootError {
    fn from(error: PvhError) -> Self {
        Self::Pvh(error)
    }
}

impl From<MapError> for BootError {
    fn from(error: MapError) -> Self {
        Self::Memory(error)
    }
}

/// All that is kept of what the boot loader and the firmware told.
pub(crate) struct BootRecord {
    pub(crate) command_line: heapless::Vec<u8, COMMAND_LINE_LIMIT>,
    pub(crate) memory: MemoryMap,
    pub(crate) ram: RamRanges,
    /// Physical address and size of the boot archive; (0, 0) if there is none.
    pub(crate) archive: (u64, u64),
    pub(crate) machine: Result<Machine, AcpiError>,
}

impl BootRecord {
    /// Reads everything that the start info at physical `address` leads to.
    ///
    /// # Errors
    /// If the start info is unusable. Missing ACPI tables are noted only.
    pub(crate) fn read(address: u64) -> Result<Self, BootError> {
        let info = StartInfo::read(&LowMemory, address)?;
        let mut record = Self {
            command_line: heapless::Vec::new(),
            memory: MemoryMap::new(),
            ram: RamRanges(heapless::Vec::new()),
            archive: archive_in_image()
                .or(info.first_module(&LowMemory)?)
                .unwrap_or((0, 0)),
            machine: Machine::discover(&LowMemory, info.rsdp),
        };
        let line = info.command_line(&LowMemory, COMMAND_LINE_LIMIT);
        record.command_line.extend(line.iter().copied());
        record.read_memory(&info)?;
        Ok(record)
    }

    /// The command line, up to the first byte that is not UTF-8.
    pub(crate) fn command_line(&self) -> &str {
        self.command_line
            .utf8_chunks()
            .next()
            .map_or("", |chunk| chunk.valid())
    }

    /// CPUs that the firmware names, as far as the kernel can use them; at least 1.
    pub(crate) fn cpu_limit(&self) -> u32 {
        self.machine
            .as_ref()
            .map_or(1, |machine| machine.cpus.len().max(1) as u32)
    }

    /// APIC ids of the other CPUs than `own`, in all not more than [`Self::cpu_limit`].
    pub(crate) fn other_cpus(&self, own: u32) -> impl Iterator<Item = u32> + '_ {
        let all = self.machine.as_ref().map_or(&[][..], |machine| &machine.cpus);
        all.iter()
            .copied()
            .filter(move |&id| id != own)
            .take(self.cpu_limit() as usize - 1)
    }

    fn read_memory(&mut self, info: &StartInfo) -> Result<(), BootError> {
        // Where entries overlap, memory that is not free counts.
        for usable in [true, false] {
            for entry in info.memory_map(&LowMemory) {
                let entry = entry?;
                if (entry.kind == 1) == usable {
                    self.memory.describe(entry.start, entry.end, usable)?;
                }
                if usable && entry.is_ram() {
                    self.ram.add(&entry);
                }
            }
        }
        self.memory.describe(0, LOW_RESERVED, false)?;
        let (start, end) = paging::image();
        self.memory.describe(start, end, false)?;
        let (archive, bytes) = self.archive;
        self.memory
            .describe(archive, archive.saturating_add(bytes), false)?;
        Ok(())
    }
}

/// The image tool puts the archive behind the kernel, at the next multiple of this.
const ARCHIVE_ALIGNMENT: u64 = 2 << 20;

/// The archive that came with the kernel in one file: address and size.
fn archive_in_image() -> Option<(u64, u64)> {
    let address = paging::image().1.next_multiple_of(ARCHIVE_ALIGNMENT);
    let first_page = LowMemory.bytes(address, archive::PAGE_SIZE as usize)?;
    let header = archive::required_header(first_page).ok()?;
    let archive = Archive::parse(LowMemory.bytes(address, header)?).ok()?;
    LowMemory.bytes(address, usize::try_from(archive.total_size()).ok()?)?;
    Some((address, archive.total_size()))
}

/// Ranges of RAM, used or not.
pub(crate) struct RamRanges(heapless::Vec<(u64, u64), 64>);

impl RamRanges {
    fn add(&mut self, entry: &MemoryEntry) {
        if let Some(last) = self.0.last_mut()
            && last.1 == entry.start
        {
            last.1 = entry.end;
            return;
        }
        // What does not fit is cached as device memory would be: slow, but right.
        let _ = self.0.push((entry.start, entry.end));
    }
}

impl RamLayout for RamRanges {
    fn any(&self, start: u64, end: u64) -> bool {
        self.0.iter().any(|range| range.0 < end && start < range.1)
    }

    fn all(&self, start: u64, end: u64) -> bool {
        self.0.iter().any(|range| range.0 <= start && end <= range.1)
    }

    fn end(&self) -> u64 {
        self.0.iter().map(|range| range.1).max().unwrap_or(0)
    }
}
