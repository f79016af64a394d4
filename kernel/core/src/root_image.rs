//! The root task's ELF image: the only one that the kernel loads itself.

use crate::account::Account;
use crate::memory::Dataspace;
use crate::object::Ref;
use crate::objects::Task;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE};

/// Why an image can't be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// It is no static ELF64 program for this machine.
    Malformed(&'static str),
    /// The kernel refused a region.
    Kernel(Error),
}

impl From<Error> for LoadError {
    fn from(error: Error) -> LoadError {
        LoadError::Kernel(error)
    }
}

const PROGRAM_HEADER_SIZE: usize = 56;
const PT_LOAD: u32 = 1;

fn number<const N: usize>(image: &[u8], at: usize) -> Result<[u8; N], LoadError> {
    let bytes = at
        .checked_add(N)
        .and_then(|end| image.get(at..end))
        .ok_or(LoadError::Malformed("it is cut off"))?;
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    Ok(array)
}

fn word(image: &[u8], at: usize) -> Result<u64, LoadError> {
    number(image, at).map(u64::from_le_bytes)
}

/// Attaches the image's segments: read-only ones show the module itself, writable ones a copy. Returns the entry.
pub(crate) fn load(
    account: Ref<Account>,
    task: Ref<Task>,
    module: Ref<Dataspace>,
    image: &[u8],
) -> Result<u64, LoadError> {
    // ELF64, little-endian, ET_EXEC, x86-64 (System V ABI, chapter 4).
    if number::<6>(image, 0)? != *b"\x7fELF\x02\x01" || number(image, 16)? != [2, 0, 62, 0] {
        return Err(LoadError::Malformed("it is no static ELF64 program for x86-64"));
    }
    let entry = word(image, 24)?;
    let headers = word(image, 32)? as usize;
    let count = u16::from_le_bytes(number(image, 56)?);
    for index in 0..usize::from(count) {
        let at = headers.saturating_add(index * PROGRAM_HEADER_SIZE);
        if u32::from_le_bytes(number(image, at)?) == PT_LOAD {
            load_segment(account, task, module, image, at)?;
        }
    }
    Ok(entry)
}

fn load_segment(
    account: Ref<Account>,
    task: Ref<Task>,
    module: Ref<Dataspace>,
    image: &[u8],
    at: usize,
) -> Result<(), LoadError> {
    let flags = u32::from_le_bytes(number(image, at + 4)?);
    let (offset, address) = (word(image, at + 8)?, word(image, at + 16)?);
    let (in_file, in_memory) = (word(image, at + 32)?, word(image, at + 40)?);
    let lead = address % PAGE_SIZE;
    let (start, size) = (
        address - lead,
        (lead.saturating_add(in_memory)).next_multiple_of(PAGE_SIZE),
    );
    if in_memory == 0 {
        return Ok(());
    }
    let end = offset
        .checked_add(in_file)
        .ok_or(LoadError::Malformed("a segment is too large"))?;
    let contents = image
        .get(offset as usize..end as usize)
        .ok_or(LoadError::Malformed("a segment is cut off"))?;
    let access = if flags & 1 != 0 {
        Access::READ_EXECUTE
    } else {
        Access::READ
    };
    if flags & 2 != 0 {
        let copy = Dataspace::create(account, size)?;
        copy.write(lead, contents)?;
        task.space.attach(
            start,
            size,
            Access::READ_WRITE,
            Backing::Shared,
            Some((copy, 0)),
            false,
        )?;
    } else if offset % PAGE_SIZE == lead && in_file == in_memory {
        task.space.attach(
            start,
            size,
            access,
            Backing::Shared,
            Some((module, offset - lead)),
            false,
        )?;
    } else {
        return Err(LoadError::Malformed(
            "a read-only segment is not aligned in the file",
        ));
    }
    Ok(())
}
