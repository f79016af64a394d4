//! The part of a file that is for the dynamic linker (System V ABI, chapter 5). A program that relocates itself has one, too.

use super::{PROGRAM_HEADER_SIZE, SEGMENT_DYNAMIC, u32_at, u64_at};
use crate::ElfError;

/// Bytes of an entry: a tag and a value.
const ENTRY_SIZE: usize = 16;
/// How many entries are looked at. Linkers make about thirty; a program that hides something behind so many harms itself
/// alone.
const MAX_ENTRIES: usize = 256;

const TAG_NULL: u64 = 0;
const TAG_NEEDED: u64 = 1;
const TAG_TEXT_RELOCATIONS: u64 = 22;
const TAG_FLAGS: u64 = 30;
/// `DF_TEXTREL`: as the tag of that name.
const FLAG_TEXT_RELOCATIONS: u64 = 4;

/// Refuses what needs a dynamic linker or writes to its own code.
pub(super) fn check(table: &[u8], file: &[u8]) -> Result<(), ElfError> {
    let headers = table.chunks_exact(PROGRAM_HEADER_SIZE).enumerate();
    // A program has one at most; of further ones nobody makes use.
    let found = headers
        .into_iter()
        .find(|(_, header)| u32_at(header, 0) == SEGMENT_DYNAMIC);
    let Some((index, header)) = found else {
        return Ok(());
    };
    let [start, size] = [8, 32].map(|at| usize::try_from(u64_at(header, at)).ok());
    let entries = start
        .zip(size)
        .and_then(|(start, size)| file.get(start..)?.get(..size))
        .ok_or(ElfError::OutsideFile(index))?;
    for entry in entries.chunks_exact(ENTRY_SIZE).take(MAX_ENTRIES) {
        match (u64_at(entry, 0), u64_at(entry, 8)) {
            (TAG_NULL, _) => break,
            (TAG_NEEDED, _) => return Err(ElfError::NeedsLibraries),
            (TAG_TEXT_RELOCATIONS, _) => return Err(ElfError::TextRelocations),
            (TAG_FLAGS, flags) if flags & FLAG_TEXT_RELOCATIONS != 0 => {
                return Err(ElfError::TextRelocations);
            }
            _ => {}
        }
    }
    Ok(())
}
