//! How much room there is: `statfs` and `fallocate`.

use super::descriptor::Kind;
use super::path::{self, AT_FDCWD};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

/// Kinds of file systems (statfs(2)).
const TMPFS: u64 = 0x0102_1994;
const ROMFS: u64 = 0x7275;
const PROC: u64 = 0x9fa0;
const BLOCK: u64 = 4096;
const NAME_MAX: u64 = 255;

/// Writes `struct statfs` (120 bytes). Only `/tmp` has room.
fn write_statfs<S: System>(process: &mut Process<S>, path: &str, address: u64) -> Answer {
    let is_within = |folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let blocks = process.system.memory() / BLOCK;
    let (kind, blocks) = match path {
        _ if is_within(super::temporary::ROOT) => (TMPFS, blocks),
        _ if is_within("/proc") => (PROC, 0),
        _ => (ROMFS, 0),
    };
    let mut words = [0; 15];
    words[..5].copy_from_slice(&[kind, BLOCK, blocks, blocks, blocks]);
    (words[8], words[9]) = (NAME_MAX, BLOCK);
    user::write_words(&mut process.system, address, &words)?;
    Ok(0)
}

/// `statfs(path, buffer)`.
pub(crate) fn statfs<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, AT_FDCWD, arguments[0])?;
    path::lookup(process, &path)?;
    write_statfs(process, &path, arguments[1])
}

/// `fstatfs(fd, buffer)`.
pub(crate) fn fstatfs<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = match &process.files.get(user::int(arguments[0]))?.kind {
        Kind::Temporary(_, path) | Kind::Rom(_, path) | Kind::Text(_, path) | Kind::Directory(path) => {
            path.clone()
        }
        _ => alloc::string::String::from("/dev"),
    };
    write_statfs(process, &path, arguments[1])
}

/// Flag of `fallocate`: the size stays.
const KEEP_SIZE: u64 = 1;

/// `fallocate(fd, mode, offset, size)`: a file grows; its memory is taken when it is written.
pub(crate) fn fallocate<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, mode, offset, size, ..] = *arguments;
    let file = process.files.get(user::int(fd))?;
    let end = offset
        .checked_add(size)
        .filter(|end| size > 0 && (*end as i64) > 0);
    let end = end.ok_or(Errno::INVAL)?;
    if mode & !KEEP_SIZE != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    match file.kind {
        Kind::Temporary(number, _) if file.may_write() => {
            let temporary = &mut process.files.temporary;
            if mode == 0 && temporary.size(number) < end {
                temporary.set_size(number, end)?;
            }
            Ok(0)
        }
        Kind::Temporary(..) => Err(Errno::BADF),
        Kind::PipeReader(_) | Kind::PipeWriter(_) | Kind::Stream(_) => Err(Errno::SPIPE),
        _ => Err(Errno::NODEV),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    #[test]
    fn only_tmp_has_room() {
        let mut process = process();
        process.system.poke(BASE, b"/tmp\0/rom/data\0/none\0");
        assert_eq!(call(&mut process, 137, &[BASE, BASE + 64]), Ok(0));
        let words = user::read_words::<5>(&mut process.system, BASE + 64).unwrap();
        assert_eq!(words, [TMPFS, 4096, 16384, 16384, 16384]);
        assert_eq!(call(&mut process, 2, &[BASE + 5, 0]), Ok(3));
        assert_eq!(call(&mut process, 138, &[3, BASE + 64]), Ok(0));
        assert_eq!(
            user::read_words(&mut process.system, BASE + 64),
            Ok([ROMFS, 4096, 0])
        );
        assert_eq!(call(&mut process, 137, &[BASE + 15, BASE + 64]), Err(2));
        assert_eq!(call(&mut process, 138, &[99, BASE + 64]), Err(9));
    }

    #[test]
    fn files_grow_before_they_are_written() {
        let mut process = process();
        process.system.poke(BASE, b"/tmp/file\0");
        assert_eq!(call(&mut process, 2, &[BASE, 0o102]), Ok(3));
        assert_eq!(call(&mut process, 285, &[3, KEEP_SIZE, 0, 100]), Ok(0));
        assert_eq!(call(&mut process, 8, &[3, 0, 2]), Ok(0));
        assert_eq!(call(&mut process, 285, &[3, 0, 50, 100]), Ok(0));
        assert_eq!(call(&mut process, 8, &[3, 0, 2]), Ok(150));
        assert_eq!(call(&mut process, 285, &[3, 0, 0, 0]), Err(22));
        assert_eq!(call(&mut process, 285, &[3, 2, 0, 10]), Err(95));
        assert_eq!(call(&mut process, 285, &[3, 0, 0, 1 << 40]), Err(27));
        assert_eq!(call(&mut process, 285, &[1, 0, 0, 10]), Err(19));
    }
}
