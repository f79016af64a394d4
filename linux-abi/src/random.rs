//! Randomness.

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Caller, Errno};

const NONBLOCK: u64 = 1;
const RANDOM: u64 = 2;
const INSECURE: u64 = 4;

/// Most bytes of one `getrandom`, as in Linux.
const LIMIT: u64 = 0x1ff_ffff;

/// `getrandom(buffer, size, flags)`. The kernel's generator is ready from the start, so flags change nothing.
pub(crate) fn getrandom(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [address, size, flags, ..] = *arguments;
    if flags & !(NONBLOCK | RANDOM | INSECURE) != 0 || flags & (RANDOM | INSECURE) == RANDOM | INSECURE {
        return Err(Errno::INVAL);
    }
    fill(caller, address, size.min(LIMIT))
}

/// Writes `size` random bytes into the program's memory.
pub(crate) fn fill(caller: &mut impl Caller, address: u64, size: u64) -> Answer {
    let mut done = 0;
    while done < size {
        let words = caller.random()?;
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let piece = (size - done).min(bytes.len() as u64);
        let target = address.checked_add(done).ok_or(Errno::FAULT)?;
        caller.write(target, &bytes[..piece as usize])?;
        done += piece;
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use crate::testing::{BASE, call, process};

    #[test]
    fn every_byte_is_filled_and_none_beyond() {
        let mut process = process();
        for size in [0u64, 1, 8, 31, 32, 33, 100] {
            process.system.poke(BASE, &[0; 128]);
            assert_eq!(call(&mut process, 318, &[BASE, size, 0]), Ok(size));
            let bytes = process.system.peek(BASE, 128);
            assert!(bytes[..size as usize].iter().all(|byte| *byte != 0));
            assert!(bytes[size as usize..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn bad_arguments_are_errors() {
        let mut process = process();
        assert_eq!(call(&mut process, 318, &[BASE, 8, 8]), Err(22));
        assert_eq!(call(&mut process, 318, &[BASE, 8, 6]), Err(22));
        assert_eq!(call(&mut process, 318, &[8, 8, 0]), Err(14));
    }
}
