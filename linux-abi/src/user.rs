//! Reading and writing the program's memory in units that calls use.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use l4::PAGE_SIZE;

use crate::{Caller, Errno};

/// Longest path, NUL included, as in Linux.
const PATH_MAX: usize = 4096;

/// Reads `N` words.
pub(crate) fn read_words<const N: usize>(system: &mut impl Caller, address: u64) -> Result<[u64; N], Errno> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        let mut bytes = [0; 8];
        // An address that wraps around is as unmapped as the end of the address space.
        system.read(address.wrapping_add(index as u64 * 8), &mut bytes)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

/// Writes words.
pub(crate) fn write_words<const N: usize>(
    system: &mut impl Caller,
    address: u64,
    words: &[u64; N],
) -> Result<(), Errno> {
    system.write(address, words.map(u64::to_le_bytes).as_flattened())
}

/// Reads bytes into the heap; for sizes that the caller has bounded.
pub(crate) fn read_bytes(system: &mut impl Caller, address: u64, size: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size];
    system.read(address, &mut bytes)?;
    Ok(bytes)
}

/// Reads a path: UTF-8 that ends with a NUL byte.
pub(crate) fn read_path(system: &mut impl Caller, address: u64) -> Result<String, Errno> {
    let mut path = Vec::new();
    let mut address = address;
    while path.len() < PATH_MAX {
        // A string may end right before an unmapped page, so no piece crosses a page's end.
        let size = (PAGE_SIZE - address % PAGE_SIZE).min(64);
        let piece = read_bytes(system, address, size as usize)?;
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            path.extend_from_slice(&piece[..end]);
            // No file here has a name that is no UTF-8.
            return String::from_utf8(path).map_err(|_| Errno::NOENT);
        }
        path.extend_from_slice(&piece);
        address = address.checked_add(size).ok_or(Errno::FAULT)?;
    }
    Err(Errno::NAMETOOLONG)
}

/// The 32-bit signed value of an argument that Linux declares as `int`.
pub(crate) fn int(argument: u64) -> i32 {
    argument as u32 as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, FakeSystem};

    #[test]
    fn paths_may_end_right_before_a_hole() {
        let mut system = FakeSystem::new();
        let end = system.user_end();
        system.write(end - 5, b"/rom\0").unwrap();
        assert_eq!(read_path(&mut system, end - 5).unwrap(), "/rom");
        system.write(end - 4, b"/rom").unwrap();
        assert_eq!(read_path(&mut system, end - 4), Err(Errno::FAULT));
    }

    #[test]
    fn endless_paths_are_too_long() {
        let mut system = FakeSystem::new();
        system.write(BASE, &[b'a'; 5000]).unwrap();
        assert_eq!(read_path(&mut system, BASE), Err(Errno::NAMETOOLONG));
    }
}
