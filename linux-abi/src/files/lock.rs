//! Locks of parts of files that a process has (fcntl(2), "Advisory record locking"). They keep other processes out, and there is no
//! other: each is granted at once. Those of open files (`F_OFD_SETLK`), which keep out each other, do not exist.

use super::descriptor::Kind;
use crate::process::Answer;
use crate::{Errno, Process, System};

/// Asks who is in the way; locks, or waits for it.
pub(super) const F_GETLK: u64 = 5;
pub(super) const F_SETLK: u64 = 6;
pub(super) const F_SETLKW: u64 = 7;

/// Kinds of locks, the first member of `struct flock`.
const READ_LOCK: u16 = 0;
const WRITE_LOCK: u16 = 1;
const UNLOCK: u16 = 2;

/// `fcntl(fd, command, lock)` for the three commands above.
pub(super) fn record_lock<S: System>(
    process: &mut Process<S>,
    fd: i32,
    command: u64,
    address: u64,
) -> Answer {
    let mut kind = [0; 2];
    process.system.read(address, &mut kind)?;
    let file = process.files.get(fd)?;
    if !matches!(file.kind, Kind::Temporary(..) | Kind::Rom(..) | Kind::Text(..)) {
        return Err(Errno::INVAL);
    }
    let is_permitted = match u16::from_le_bytes(kind) {
        READ_LOCK => file.may_read(),
        WRITE_LOCK => file.may_write(),
        UNLOCK if command != F_GETLK => true,
        _ => return Err(Errno::INVAL),
    };
    if command == F_GETLK {
        process.system.write(address, &UNLOCK.to_le_bytes())?;
    } else if !is_permitted {
        return Err(Errno::BADF);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    #[test]
    fn a_program_is_in_nobodys_way() {
        let mut process = process();
        process.system.poke(BASE, b"/rom/data\0/tmp/x\0");
        let rom = call(&mut process, 2, &[BASE, 0]).unwrap();
        let own = call(&mut process, 2, &[BASE + 10, 0o102]).unwrap();
        let lock = BASE + 64;
        let mut lock_with = |fd: u64, command: u64, kind: u16| {
            process.system.poke(lock, &kind.to_le_bytes());
            let answer = call(&mut process, 72, &[fd, command, lock]);
            (answer, process.system.peek(lock, 2)[0])
        };
        for command in [F_SETLK, F_SETLKW] {
            assert_eq!(lock_with(own, command, READ_LOCK).0, Ok(0));
            assert_eq!(lock_with(own, command, WRITE_LOCK).0, Ok(0));
            assert_eq!(lock_with(own, command, UNLOCK).0, Ok(0));
            assert_eq!(lock_with(rom, command, READ_LOCK).0, Ok(0));
            assert_eq!(lock_with(rom, command, WRITE_LOCK).0, Err(9));
            assert_eq!(lock_with(own, command, 3).0, Err(22));
            assert_eq!(lock_with(1, command, WRITE_LOCK).0, Err(22), "a pipe");
        }
        assert_eq!(lock_with(own, F_GETLK, WRITE_LOCK), (Ok(0), 2));
        assert_eq!(lock_with(own, F_GETLK, UNLOCK).0, Err(22));
        assert_eq!(call(&mut process, 72, &[own, F_SETLK, 16]), Err(14));
        assert_eq!(call(&mut process, 72, &[77, F_SETLK, lock]), Err(9));
    }
}
