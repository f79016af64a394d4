//! Calls that change what there is below `/tmp`. Everything else is read-only.

use alloc::string::String;

use super::descriptor::Kind;
use super::path::{self, AT_FDCWD, Node};
use super::temporary::{Entry, ROOT};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

/// `unlinkat`: a directory is meant.
const REMOVE_DIRECTORY: u64 = 0x200;
/// `renameat2`: what has the new name stays.
const NO_REPLACE: u64 = 1;

/// The normalized path below `/tmp` that a call is to change.
fn changeable<S: System>(process: &mut Process<S>, fd: i32, address: u64) -> Result<String, Errno> {
    let path = path::read(process, fd, address)?;
    let path = path::normalize("/", &path);
    if path == ROOT || path.strip_prefix(ROOT).is_some_and(|rest| rest.starts_with('/')) {
        return Ok(path);
    }
    Err(Errno::ROFS)
}

/// `mkdir(path, mode)`.
pub(crate) fn mkdir<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    mkdirat(process, &[AT_FDCWD as u64, arguments[0], 0, 0, 0, 0])
}

/// `mkdirat(directory, path, mode)`.
pub(crate) fn mkdirat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, user::int(arguments[0]), arguments[1])?;
    if path::lookup(process, &path).is_ok() {
        return Err(Errno::EXIST);
    }
    let path = changeable(process, user::int(arguments[0]), arguments[1])?;
    process.files.temporary.make_directory(&path).and(Ok(0))
}

/// `unlink(path)`.
pub(crate) fn unlink<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    unlinkat(process, &[AT_FDCWD as u64, arguments[0], 0, 0, 0, 0])
}

/// `rmdir(path)`.
pub(crate) fn rmdir<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let at = AT_FDCWD as u64;
    unlinkat(process, &[at, arguments[0], REMOVE_DIRECTORY, 0, 0, 0])
}

/// `unlinkat(directory, path, flags)`.
pub(crate) fn unlinkat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, path, flags, ..] = *arguments;
    let found = path::read(process, user::int(fd), path)?;
    path::lookup(process, &found)?;
    let path = changeable(process, user::int(fd), path)?;
    let temporary = &mut process.files.temporary;
    match flags {
        0 => temporary.remove(&path)?,
        REMOVE_DIRECTORY => temporary.remove_directory(&path)?,
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

/// `rename(old, new)`.
pub(crate) fn rename<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let at = AT_FDCWD as u64;
    renameat2(process, &[at, arguments[0], at, arguments[1], 0, 0])
}

/// `renameat(old directory, old, new directory, new)`.
pub(crate) fn renameat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [from_directory, from, to_directory, to, ..] = *arguments;
    renameat2(process, &[from_directory, from, to_directory, to, 0, 0])
}

/// `renameat2(old directory, old, new directory, new, flags)`.
pub(crate) fn renameat2<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [from_directory, from, to_directory, to, flags, _] = *arguments;
    if flags & !NO_REPLACE != 0 {
        return Err(Errno::INVAL);
    }
    let found = path::read(process, user::int(from_directory), from)?;
    path::lookup(process, &found)?;
    let from = changeable(process, user::int(from_directory), from)?;
    let to = changeable(process, user::int(to_directory), to)?;
    let temporary = &mut process.files.temporary;
    temporary.rename(&from, &to, flags & NO_REPLACE == 0).and(Ok(0))
}

/// `truncate(path, size)`.
pub(crate) fn truncate<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, AT_FDCWD, arguments[0])?;
    match path::lookup(process, &path)? {
        Node::Temporary(number) => set_size(process, number, arguments[1]),
        Node::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::ROFS),
    }
}

/// `ftruncate(fd, size)`.
pub(crate) fn ftruncate<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let file = process.files.get(user::int(arguments[0]))?;
    match file.kind {
        Kind::Temporary(number, _) if file.may_write() => set_size(process, number, arguments[1]),
        _ => Err(Errno::INVAL),
    }
}

fn set_size<S: System>(process: &mut Process<S>, number: usize, size: u64) -> Answer {
    if (size as i64) < 0 {
        return Err(Errno::INVAL);
    }
    process.files.temporary.set_size(number, size).and(Ok(0))
}

/// `utimensat(directory, path, times, flags)`: times are not kept. Without a path it is about the descriptor.
pub(crate) fn utimensat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    if arguments[1] == 0 {
        return fchmod(process, arguments);
    }
    fchmodat(process, arguments)
}

/// `chmod(path, mode)`: modes are not kept.
pub(crate) fn chmod<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    fchmodat(process, &[AT_FDCWD as u64, arguments[0], 0, 0, 0, 0])
}

/// `fchmodat(directory, path, mode)`.
pub(crate) fn fchmodat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, user::int(arguments[0]), arguments[1])?;
    path::lookup(process, &path)?;
    let path = changeable(process, user::int(arguments[0]), arguments[1])?;
    match process.files.temporary.get(&path) {
        Some(Entry::Directory | Entry::File(_)) => Ok(0),
        None => Err(Errno::NOENT),
    }
}

/// `fchmod(fd, mode)`.
pub(crate) fn fchmod<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    match process.files.get(user::int(arguments[0]))?.kind {
        Kind::Temporary(..) => Ok(0),
        _ => Err(Errno::ROFS),
    }
}

/// `umask(mask)`: modes are not kept; the mask is the usual one.
pub(crate) fn umask<S: System>(_: &mut Process<S>, _: &Arguments) -> Answer {
    Ok(0o22)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, FakeSystem, call, process};

    const CREATE: u64 = 0o100;
    const EXCLUSIVE: u64 = 0o200;
    const TRUNCATE: u64 = 0o1000;
    const APPEND: u64 = 0o2000;

    fn with_path(process: &mut Process<FakeSystem>, path: &str) -> u64 {
        process.system.poke(BASE + 0x800, path.as_bytes());
        process.system.poke(BASE + 0x800 + path.len() as u64, &[0]);
        BASE + 0x800
    }

    fn open(process: &mut Process<FakeSystem>, path: &str, flags: u64) -> Result<u64, u64> {
        let path = with_path(process, path);
        call(process, 2, &[path, flags, 0o644])
    }

    fn on(process: &mut Process<FakeSystem>, number: u64, path: &str, argument: u64) -> Result<u64, u64> {
        let path = with_path(process, path);
        call(process, number, &[path, argument])
    }

    #[test]
    fn a_file_is_made_written_read_and_removed() {
        let mut process = process();
        assert_eq!(open(&mut process, "/tmp/file", 1), Err(2));
        assert_eq!(open(&mut process, "/tmp/file", CREATE | 2), Ok(3));
        assert_eq!(open(&mut process, "/tmp/file", CREATE | EXCLUSIVE | 2), Err(17));
        process.system.poke(BASE, b"hello there");
        assert_eq!(call(&mut process, 1, &[3, BASE, 11]), Ok(11));
        assert_eq!(call(&mut process, 18, &[3, BASE, 5, 100]), Ok(5));
        assert_eq!(call(&mut process, 8, &[3, 0, 2]), Ok(105));
        assert_eq!(call(&mut process, 17, &[3, BASE + 32, 5, 100]), Ok(5));
        assert_eq!(process.system.peek(BASE + 32, 5), b"hello");
        assert_eq!(open(&mut process, "/tmp/file", APPEND | 1), Ok(4));
        assert_eq!(call(&mut process, 1, &[4, BASE, 5]), Ok(5));
        assert_eq!(call(&mut process, 0, &[4, BASE, 5]), Err(9));
        assert_eq!(call(&mut process, 5, &[3, BASE + 0x100]), Ok(0));
        let status = user::read_words::<18>(&mut process.system, BASE + 0x100).unwrap();
        assert_eq!((status[3] as u32, status[6]), (0o100_644, 110));
        assert_eq!(call(&mut process, 77, &[3, 4]), Ok(0));
        assert_eq!(on(&mut process, 76, "/tmp/file", 6), Ok(0));
        assert_eq!(call(&mut process, 17, &[3, BASE, 99, 0]), Ok(6));
        assert_eq!(process.system.peek(BASE, 6), b"hell\0\0");
        assert_eq!(open(&mut process, "/tmp/file", TRUNCATE | 1), Ok(5));
        assert_eq!(call(&mut process, 8, &[5, 0, 2]), Ok(0));
        assert_eq!(on(&mut process, 87, "/tmp/file", 0), Ok(0));
        assert_eq!(on(&mut process, 87, "/tmp/file", 0), Err(2));
        assert_eq!(call(&mut process, 1, &[3, BASE, 5]), Ok(5), "it is still open");
        for fd in 3..6 {
            assert_eq!(call(&mut process, 3, &[fd]), Ok(0));
        }
        assert_eq!(open(&mut process, "/tmp/file", 0), Err(2));
    }

    #[test]
    fn directories_are_made_listed_renamed_and_removed() {
        let mut process = process();
        assert_eq!(on(&mut process, 83, "/tmp/one", 0o755), Ok(0));
        assert_eq!(on(&mut process, 83, "/tmp/one/", 0o755), Err(17));
        assert_eq!(on(&mut process, 83, "/tmp/one/two", 0o755), Ok(0));
        assert_eq!(open(&mut process, "/tmp/one/file", CREATE | 1), Ok(3));
        assert_eq!(open(&mut process, "/tmp/one", 0), Ok(4));
        let size = call(&mut process, 217, &[4, BASE, 1000]).unwrap() as usize;
        let listed = process.system.peek(BASE, size);
        for name in ["two\0", "file\0"] {
            let is_there = listed.windows(name.len()).any(|part| part == name.as_bytes());
            assert!(is_there, "{name:?}");
        }
        assert_eq!(on(&mut process, 84, "/tmp/one", 0), Err(39));
        assert_eq!(on(&mut process, 87, "/tmp/one", 0), Err(21));
        process.system.poke(BASE, b"/tmp/other\0");
        assert_eq!(on(&mut process, 82, "/tmp/one", BASE), Ok(0));
        assert_eq!(on(&mut process, 80, "/tmp/other/two", 0), Ok(0));
        assert_eq!(on(&mut process, 87, "../file", 0), Ok(0));
        assert_eq!(on(&mut process, 84, "/tmp/other/two", 0), Ok(0));
        assert_eq!(on(&mut process, 84, "/tmp/other", 0), Ok(0));
        assert_eq!(on(&mut process, 90, "/tmp/other", 0o600), Err(2));
        assert_eq!(call(&mut process, 91, &[3, 0o600]), Ok(0));
        assert_eq!(call(&mut process, 95, &[0]), Ok(0o22));
    }

    #[test]
    fn all_else_is_read_only() {
        let mut process = process();
        for path in ["/new", "/rom/new", "/tmpfile", "/dev/new"] {
            assert_eq!(open(&mut process, path, CREATE | 1), Err(30), "{path}");
            assert_eq!(on(&mut process, 83, path, 0), Err(30), "{path}");
        }
        assert_eq!(on(&mut process, 87, "/rom/data", 0), Err(30));
        assert_eq!(on(&mut process, 76, "/rom/data", 0), Err(30));
        assert_eq!(on(&mut process, 90, "/rom/data", 0), Err(30));
        assert_eq!(on(&mut process, 84, "/tmp", 0), Err(16));
        process.system.poke(BASE, b"/tmp/data\0");
        assert_eq!(on(&mut process, 82, "/rom/data", BASE), Err(30));
        assert_eq!(open(&mut process, "/tmp/absent/file", CREATE | 1), Err(2));
    }
}
