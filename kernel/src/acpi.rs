//! The ACPI tables that say which CPUs and interrupt controllers there are (ACPI specification 6.5, §5.2).

use core::fmt;

use heapless::Vec;

use crate::physical::{PhysicalMemory, u16_at, u32_at, u64_at};

/// CPUs that the kernel can use.
pub const CPU_LIMIT: usize = 64;
const IO_APIC_LIMIT: usize = 8;
const OVERRIDE_LIMIT: usize = 24;
const TABLE_LIMIT: usize = 64;
/// A larger table is taken for damaged.
const TABLE_BYTES_LIMIT: usize = 1 << 20;
const HEADER_BYTES: usize = 36;

/// Why the machine's configuration is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// No root pointer was given or found.
    NoRootPointer,
    /// A table at this physical address cannot be read, has a wrong signature, length or checksum.
    Table(u64),
    /// There is no MADT.
    NoMadt,
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRootPointer => write!(f, "no ACPI root pointer"),
            Self::Table(address) => write!(f, "damaged ACPI table at {address:#x}"),
            Self::NoMadt => write!(f, "no ACPI table of interrupt controllers (MADT)"),
        }
    }
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Physical address of its registers.
    pub address: u64,
    /// The global interrupt number of its first input.
    pub first_gsi: u32,
}

/// How an ISA interrupt differs from the usual (same number, rising edge).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// ISA interrupt number.
    pub isa: u8,
    /// Global interrupt number that it arrives at.
    pub gsi: u32,
    /// Active low, as opposed to active high.
    pub active_low: bool,
}

/// What the kernel wants to know of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Physical address of the local APICs' registers; 0 if no table told.
    pub local_apic: u64,
    /// Local APIC ids of the enabled CPUs, in the table's order.
    pub cpus: Vec<u32, CPU_LIMIT>,
    /// Enabled CPUs beyond [`CPU_LIMIT`].
    pub cpus_ignored: usize,
    /// The I/O APICs.
    pub io_apics: Vec<IoApic, IO_APIC_LIMIT>,
    /// The exceptions among the ISA interrupts.
    pub overrides: Vec<Override, OVERRIDE_LIMIT>,
    /// Port of the 3.579545 MHz power management timer.
    pub pm_timer: Option<u16>,
    /// Register of the real-time clock that holds the century.
    pub century: Option<u8>,
}

impl Machine {
    /// Reads the tables, from the root pointer `rsdp` if the boot loader gave one, otherwise from where the
    /// firmware of a PC leaves it.
    ///
    /// # Errors
    /// If there are no tables or the ones needed are damaged. Other tables are not looked at.
    pub fn discover(memory: &impl PhysicalMemory, rsdp: Option<u64>) -> Result<Self, AcpiError> {
        let root = rsdp.or_else(|| scan(memory)).ok_or(AcpiError::NoRootPointer)?;
        let tables = root_tables(memory, root)?;
        let mut machine = Self::default();
        let mut found = false;
        for address in tables {
            // A table that nobody needs may be unreadable.
            match memory.bytes(address, 4) {
                Some(b"APIC") => {
                    machine.read_madt(table(memory, address, b"APIC")?);
                    found = true;
                }
                Some(b"FACP") => machine.read_fadt(table(memory, address, b"FACP")?),
                _ => {}
            }
        }
        if found {
            Ok(machine)
        } else {
            Err(AcpiError::NoMadt)
        }
    }

    /// The global interrupt number of an ISA interrupt, and whether it is active low.
    #[must_use]
    pub fn isa_interrupt(&self, isa: u8) -> (u32, bool) {
        let entry = self.overrides.iter().find(|entry| entry.isa == isa);
        entry.map_or((u32::from(isa), false), |entry| (entry.gsi, entry.active_low))
    }

    fn read_madt(&mut self, madt: &[u8]) {
        self.local_apic = u32_at(madt, 36).unwrap_or(0).into();
        let mut rest = madt.get(44..).unwrap_or(&[]);
        while let [kind, length, ..] = *rest
            && usize::from(length) >= 2
            && let Some(entry) = rest.get(..length.into())
        {
            // Entries that are too short for what they claim to be are skipped.
            let _ = self.read_madt_entry(kind, entry);
            rest = &rest[length.into()..];
        }
    }

    fn read_madt_entry(&mut self, kind: u8, entry: &[u8]) -> Option<()> {
        match kind {
            0 => self.add_cpu((*entry.get(3)?).into(), u32_at(entry, 4)?),
            1 => {
                let io_apic = IoApic {
                    address: u32_at(entry, 4)?.into(),
                    first_gsi: u32_at(entry, 8)?,
                };
                // More I/O APICs than the kernel keeps: their interrupts stay masked.
                let _ = self.io_apics.push(io_apic);
            }
            2 => {
                let active_low = u16_at(entry, 8)? & 3 == 3;
                let exception = Override {
                    isa: *entry.get(3)?,
                    gsi: u32_at(entry, 4)?,
                    active_low,
                };
                // There are 16 ISA interrupts: a longer list repeats itself.
                let _ = self.overrides.push(exception);
            }
            5 => self.local_apic = u64_at(entry, 4)?,
            9 => self.add_cpu(u32_at(entry, 4)?, u32_at(entry, 8)?),
            _ => {}
        }
        Some(())
    }

    fn add_cpu(&mut self, apic_id: u32, flags: u32) {
        // Bit 0: enabled. CPUs that could be plugged in later have only bit 1.
        if flags & 1 == 0 || self.cpus.contains(&apic_id) {
            return;
        }
        if self.cpus.push(apic_id).is_err() {
            self.cpus_ignored += 1;
        }
    }

    fn read_fadt(&mut self, fadt: &[u8]) {
        let present = fadt.get(91) == Some(&4);
        let port = u32_at(fadt, 76).filter(|&port| port != 0 && present);
        self.pm_timer = port.and_then(|port| u16::try_from(port).ok());
        self.century = fadt.get(108).copied().filter(|&register| register != 0);
    }
}

/// Looks for the root pointer in the first KiB of the extended BIOS data area and in the BIOS area.
fn scan(memory: &impl PhysicalMemory) -> Option<u64> {
    let segment = memory
        .bytes(0x40e, 2)
        .and_then(|bytes| u16_at(bytes, 0))
        .unwrap_or(0);
    let ebda = u64::from(segment) << 4;
    let candidates = (ebda..ebda + 1024)
        .step_by(16)
        .chain((0xe_0000..0x10_0000).step_by(16));
    candidates.into_iter().find(|&address| {
        memory
            .bytes(address, 20)
            .is_some_and(|bytes| bytes.starts_with(b"RSD PTR ") && sum(bytes) == 0)
    })
}

/// Physical addresses of the tables that the root table lists.
fn root_tables(memory: &impl PhysicalMemory, rsdp: u64) -> Result<Vec<u64, TABLE_LIMIT>, AcpiError> {
    let damaged = AcpiError::Table(rsdp);
    let pointer = memory.bytes(rsdp, 20).ok_or(damaged)?;
    if !pointer.starts_with(b"RSD PTR ") || sum(pointer) != 0 {
        return Err(damaged);
    }
    let extended = (pointer[15] >= 2).then(|| memory.bytes(rsdp, 36)).flatten();
    let xsdt = extended
        .and_then(|bytes| u64_at(bytes, 24))
        .filter(|&address| address != 0);
    let (address, signature, width) = match xsdt {
        Some(address) => (address, b"XSDT", 8),
        None => (u32_at(pointer, 16).ok_or(damaged)?.into(), b"RSDT", 4),
    };
    let entries = table(memory, address, signature)?
        .get(HEADER_BYTES..)
        .unwrap_or(&[]);
    let pointers = entries.chunks_exact(width).filter_map(|entry| match width {
        8 => u64_at(entry, 0),
        _ => u32_at(entry, 0).map(u64::from),
    });
    Ok(pointers.take(TABLE_LIMIT).collect())
}

/// The whole table at `address`, checked.
fn table<'m>(
    memory: &'m impl PhysicalMemory,
    address: u64,
    signature: &[u8; 4],
) -> Result<&'m [u8], AcpiError> {
    let damaged = AcpiError::Table(address);
    let header = memory.bytes(address, HEADER_BYTES).ok_or(damaged)?;
    let length = u32_at(header, 4).ok_or(damaged)? as usize;
    if !header.starts_with(signature) || !(HEADER_BYTES..=TABLE_BYTES_LIMIT).contains(&length) {
        return Err(damaged);
    }
    let bytes = memory.bytes(address, length).ok_or(damaged)?;
    if sum(bytes) == 0 { Ok(bytes) } else { Err(damaged) }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
#[path = "acpi_tests.rs"]
mod tests;
