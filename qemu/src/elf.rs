//! The few changes to ELF files that a boot image needs: symbols dropped, one segment added.
//!
//! Field positions are those of the ELF-64 object file format, "ELF header" and "Program header".

use thiserror::Error;

const EHDR_SIZE: usize = 64;
const PHDR_SIZE: usize = 56;
const PT_LOAD: u32 = 1;
const PF_R: u32 = 4;
const PAGE_SIZE: u64 = 4096;

const E_MACHINE: usize = 18;
const E_PHOFF: usize = 32;
const E_SHOFF: usize = 40;
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;
const E_SHNUM: usize = 60;
const E_SHSTRNDX: usize = 62;

/// Why a file is no ELF program that can be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ElfError {
    /// It is something else, or an ELF file of another machine.
    #[error("not a little-endian x86-64 ELF file")]
    Foreign,
    /// A header points behind the file's end.
    #[error("the ELF file is cut short or damaged")]
    Damaged,
    /// It has nothing to load.
    #[error("the ELF file has no loadable segment")]
    NoSegment,
}

/// Whether the bytes begin like an ELF file of any kind.
#[must_use]
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// One program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    virtual_address: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

/// Removes what is only for debuggers: everything behind the last byte that a program header names.
///
/// # Errors
/// [`ElfError`] if the file is no x86-64 program.
pub fn strip(bytes: &[u8]) -> Result<Vec<u8>, ElfError> {
    let segments = segments(bytes)?;
    let table_end = read_u64(bytes, E_PHOFF)? + (segments.len() * PHDR_SIZE) as u64;
    let mut end = table_end;
    for segment in &segments {
        end = end.max(
            segment
                .offset
                .checked_add(segment.file_size)
                .ok_or(ElfError::Damaged)?,
        );
    }
    let end = usize::try_from(end).map_err(|_| ElfError::Damaged)?;
    let mut out = bytes.get(..end).ok_or(ElfError::Damaged)?.to_vec();
    out[E_SHOFF..E_SHOFF + 8].fill(0);
    out[E_SHNUM..E_SHNUM + 2].fill(0);
    out[E_SHSTRNDX..E_SHSTRNDX + 2].fill(0);
    Ok(out)
}

/// The first physical address behind everything that the program occupies in memory.
///
/// # Errors
/// [`ElfError`] if the file is no x86-64 program or its segments wrap around.
pub fn physical_end(bytes: &[u8]) -> Result<u64, ElfError> {
    let segments = segments(bytes)?;
    let loaded = segments.iter().filter(|segment| segment.kind == PT_LOAD);
    let ends = loaded.map(|segment| segment.physical_address.checked_add(segment.memory_size));
    let mut last = None;
    for end in ends {
        last = last.max(Some(end.ok_or(ElfError::Damaged)?));
    }
    last.ok_or(ElfError::NoSegment)
}

/// Adds a read-only segment with `data` at a physical address. The table of program headers moves to the end of
/// the file, because there is no room for another entry where linkers put it.
///
/// # Errors
/// [`ElfError`] if the file is no x86-64 program.
pub fn add_segment(bytes: &[u8], physical_address: u64, data: &[u8]) -> Result<Vec<u8>, ElfError> {
    let mut segments = segments(bytes)?;
    let mut out = bytes.to_vec();
    pad(&mut out, PAGE_SIZE as usize);
    segments.push(Segment {
        kind: PT_LOAD,
        flags: PF_R,
        offset: out.len() as u64,
        virtual_address: physical_address,
        physical_address,
        file_size: data.len() as u64,
        memory_size: data.len() as u64,
        alignment: PAGE_SIZE,
    });
    out.extend_from_slice(data);
    pad(&mut out, 8);
    let table = out.len() as u64;
    out[E_PHOFF..E_PHOFF + 8].copy_from_slice(&table.to_le_bytes());
    let count = u16::try_from(segments.len()).map_err(|_| ElfError::Damaged)?;
    out[E_PHNUM..E_PHNUM + 2].copy_from_slice(&count.to_le_bytes());
    for segment in &segments {
        segment.write(&mut out);
    }
    Ok(out)
}

impl Segment {
    fn read(header: &[u8]) -> Result<Self, ElfError> {
        Ok(Self {
            kind: read_u32(header, 0)?,
            flags: read_u32(header, 4)?,
            offset: read_u64(header, 8)?,
            virtual_address: read_u64(header, 16)?,
            physical_address: read_u64(header, 24)?,
            file_size: read_u64(header, 32)?,
            memory_size: read_u64(header, 40)?,
            alignment: read_u64(header, 48)?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        for field in [
            self.offset,
            self.virtual_address,
            self.physical_address,
            self.file_size,
            self.memory_size,
            self.alignment,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }
}

fn segments(bytes: &[u8]) -> Result<Vec<Segment>, ElfError> {
    // Class 2 = 64 bit, data 1 = little-endian, machine 62 = x86-64.
    let is_ours = is_elf(bytes) && bytes.get(4..6) == Some(&[2, 1]) && read_u16(bytes, E_MACHINE) == Ok(62);
    if !is_ours {
        return Err(ElfError::Foreign);
    }
    if bytes.len() < EHDR_SIZE || read_u16(bytes, E_PHENTSIZE)? as usize != PHDR_SIZE {
        return Err(ElfError::Damaged);
    }
    let table = usize::try_from(read_u64(bytes, E_PHOFF)?).map_err(|_| ElfError::Damaged)?;
    let count = usize::from(read_u16(bytes, E_PHNUM)?);
    if count == 0 {
        return Err(ElfError::NoSegment);
    }
    let end = table.checked_add(count * PHDR_SIZE).ok_or(ElfError::Damaged)?;
    let headers = bytes.get(table..end).ok_or(ElfError::Damaged)?;
    headers.chunks_exact(PHDR_SIZE).map(Segment::read).collect()
}

fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    bytes.resize(bytes.len().next_multiple_of(alignment), 0);
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ElfError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(ElfError::Damaged)
}

fn read_u16(bytes: &[u8], at: usize) -> Result<u16, ElfError> {
    field(bytes, at).map(u16::from_le_bytes)
}

fn read_u32(bytes: &[u8], at: usize) -> Result<u32, ElfError> {
    field(bytes, at).map(u32::from_le_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Result<u64, ElfError> {
    field(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    /// A program of two segments, code at 1 MiB and 4 KiB of zeroes behind it, with section headers.
    fn sample() -> Vec<u8> {
        let mut file = vec![0; EHDR_SIZE];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[E_MACHINE..E_MACHINE + 2].copy_from_slice(&62_u16.to_le_bytes());
        file[E_PHOFF] = 64;
        file[E_PHENTSIZE] = 56;
        file[E_PHNUM] = 2;
        file[E_SHOFF..E_SHOFF + 8].copy_from_slice(&300_u64.to_le_bytes());
        file[E_SHNUM] = 3;
        let text = Segment {
            kind: PT_LOAD,
            flags: 5,
            offset: 0,
            virtual_address: 0xffff_ffff_8010_0000,
            physical_address: 0x10_0000,
            file_size: 200,
            memory_size: 200,
            alignment: 4096,
        };
        text.write(&mut file);
        let zeroes = Segment {
            offset: 200,
            file_size: 0,
            physical_address: 0x10_1000,
            memory_size: 4096,
            ..text
        };
        zeroes.write(&mut file);
        file.resize(512, 0xcc);
        file
    }

    #[test]
    fn stripping_keeps_what_is_loaded() {
        let stripped = strip(&sample()).unwrap();
        assert_eq!(stripped.len(), 200);
        assert_eq!(read_u64(&stripped, E_SHOFF), Ok(0));
        assert_eq!(segments(&stripped), segments(&sample()));
    }

    #[test]
    fn an_added_segment_is_found_again() {
        let file = strip(&sample()).unwrap();
        assert_eq!(physical_end(&file), Ok(0x10_2000));
        let image = add_segment(&file, 0x20_0000, b"archive").unwrap();
        let all = segments(&image).unwrap();
        assert_eq!(all[..2], segments(&file).unwrap());
        assert_eq!(
            (all[2].physical_address, all[2].file_size, all[2].offset),
            (0x20_0000, 7, 4096)
        );
        assert_eq!(&image[4096..4103], b"archive");
        assert_eq!(physical_end(&image), Ok(0x20_0007));
        assert_eq!(strip(&image).unwrap(), image);
    }

    #[test]
    fn foreign_and_damaged_files_are_refused() {
        assert_eq!(strip(b"#!/bin/sh\n"), Err(ElfError::Foreign));
        assert_eq!(strip(b""), Err(ElfError::Foreign));
        let file = sample();
        for length in 64..176 {
            assert_eq!(strip(&file[..length]), Err(ElfError::Damaged), "{length} bytes");
        }
        assert_eq!(strip(&file[..199]), Err(ElfError::Damaged));
        let mut other = file.clone();
        other[E_MACHINE] = 40;
        assert_eq!(strip(&other), Err(ElfError::Foreign));
        let mut empty = file.clone();
        empty[E_PHNUM] = 0;
        assert_eq!(physical_end(&empty), Err(ElfError::NoSegment));
        let mut far = file;
        far[E_PHOFF..E_PHOFF + 8].fill(0xff);
        assert_eq!(physical_end(&far), Err(ElfError::Damaged));
    }

    proptest! {
        #[test]
        fn no_damage_makes_the_reader_panic(changes in vec((0_usize..512, any::<u8>()), 1..8), cut in 0_usize..513) {
            let mut file = sample();
            for (at, byte) in changes {
                file[at] = byte;
            }
            file.truncate(cut);
            if let Ok(stripped) = strip(&file) {
                let image = add_segment(&stripped, 0x40_0000, b"archive").unwrap();
                prop_assert_eq!(segments(&image).unwrap().len(), segments(&file).unwrap().len() + 1);
            }
            let _ = physical_end(&file);
        }
    }
}
