//! Opening files and asking whether one may.

use alloc::string::String;

use super::descriptor::{CLOEXEC, Kind};
use super::generated;
use super::path::{self, AT_FDCWD, Node};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

const ACCESS_MODE: u64 = 3;
const READ_ONLY: u64 = 0;
const CREATE: u64 = 0o100;
const EXCLUSIVE: u64 = 0o200;
const TRUNCATE: u64 = 0o1000;
const DIRECTORY: u64 = 0o200000;

/// `open(path, flags, mode)`.
pub(crate) fn open<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, AT_FDCWD, arguments[0])?;
    open_path(process, path, arguments[1])
}

/// `openat(directory, path, flags, mode)`.
pub(crate) fn openat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, user::int(arguments[0]), arguments[1])?;
    open_path(process, path, arguments[2])
}

fn open_path<S: System>(process: &mut Process<S>, path: String, flags: u64) -> Answer {
    let node = match path::lookup(process, &path) {
        Err(Errno::NOENT) if flags & CREATE != 0 => return create(process, path, flags),
        other => other?,
    };
    if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
        return Err(Errno::EXIST);
    }
    if flags & DIRECTORY != 0 && node != Node::Directory {
        return Err(Errno::NOTDIR);
    }
    check_write(&node, flags & ACCESS_MODE != READ_ONLY || flags & TRUNCATE != 0)?;
    if let (Node::Temporary(number), true) = (&node, flags & TRUNCATE != 0) {
        process.files.temporary.set_size(*number, 0)?;
    }
    if let Node::Descriptor(fd) = node {
        return Ok(process.files.duplicate(fd, 0, flags & CLOEXEC != 0)? as u64);
    }
    let kind = open_node(process, node, path)?;
    insert(process, kind, flags)
}

/// Makes a file below `/tmp` and opens it.
fn create<S: System>(process: &mut Process<S>, path: String, flags: u64) -> Answer {
    if path.ends_with('/') {
        return Err(Errno::ISDIR);
    }
    let number = process.files.temporary.create(&path)?;
    process.files.temporary.acquire(number);
    insert(process, Kind::Temporary(number, path), flags)
}

/// Adds an open file; it is closed again if there is no descriptor for it.
fn insert<S: System>(process: &mut Process<S>, kind: Kind, flags: u64) -> Answer {
    let status = flags & !(CREATE | EXCLUSIVE | TRUNCATE | CLOEXEC);
    let (rom, temporary) = match &kind {
        Kind::Rom(file, _) => (Some(*file), None),
        Kind::Temporary(number, _) => (None, Some(*number)),
        _ => (None, None),
    };
    let result = process.files.insert(kind, status, flags & CLOEXEC != 0, 0);
    if result.is_err() {
        if let Some(file) = rom {
            process.system.close(file);
        }
        if let Some(number) = temporary {
            process.files.temporary.release(number);
        }
    }
    Ok(result? as u64)
}

fn check_write(node: &Node, write: bool) -> Result<(), Errno> {
    match node {
        _ if !write => Ok(()),
        Node::Null | Node::Zero | Node::Random | Node::Temporary(_) => Ok(()),
        Node::Directory => Err(Errno::ISDIR),
        Node::Descriptor(_) => Ok(()),
        Node::Rom(_) | Node::Generated(_) | Node::Executable => Err(Errno::ROFS),
    }
}

fn open_node<S: System>(process: &mut Process<S>, node: Node, path: String) -> Result<Kind, Errno> {
    Ok(match node {
        Node::Directory => Kind::Directory(path::normalize("/", &path)),
        Node::Rom(name) => Kind::Rom(process.system.open(&name)?, path),
        Node::Temporary(number) => {
            process.files.temporary.acquire(number);
            Kind::Temporary(number, path)
        }
        Node::Null => Kind::Null,
        Node::Zero => Kind::Zero,
        Node::Random => Kind::Random,
        Node::Generated(file) => Kind::Text(generated::contents(process, file).into_bytes(), path),
        // What is open already is not opened another time.
        Node::Descriptor(_) => return Err(Errno::NOENT),
        Node::Executable => {
            let target = process.program.path.clone();
            match path::lookup(process, &target)? {
                Node::Rom(name) => Kind::Rom(process.system.open(&name)?, target),
                _ => return Err(Errno::NOENT),
            }
        }
    })
}

const MAY_WRITE: u64 = 2;
const MAY_EXECUTE: u64 = 1;

/// `access(path, mode)`.
pub(crate) fn access<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, AT_FDCWD, arguments[0])?;
    check_access(process, &path, arguments[1])
}

/// `faccessat(directory, path, mode)`.
pub(crate) fn faccessat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, user::int(arguments[0]), arguments[1])?;
    check_access(process, &path, arguments[2])
}

fn check_access<S: System>(process: &mut Process<S>, path: &str, mode: u64) -> Answer {
    if mode & !7 != 0 {
        return Err(Errno::INVAL);
    }
    let node = path::lookup(process, path)?;
    let below_tmp = path::normalize("/", path);
    let is_changeable = process.files.temporary.get(&below_tmp).is_some();
    if mode & MAY_WRITE != 0 && !is_changeable {
        check_write(&node, true).map_err(|_| Errno::ROFS)?;
    }
    let is_executable = matches!(node, Node::Directory | Node::Rom(_) | Node::Executable);
    if mode & MAY_EXECUTE != 0 && !is_executable {
        return Err(Errno::ACCES);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    fn open_as(path: &str, flags: u64) -> Result<u64, u64> {
        let mut process = process();
        process.system.poke(BASE, path.as_bytes());
        process.system.poke(BASE + path.len() as u64, &[0]);
        call(&mut process, 257, &[AT_FDCWD as u64, BASE, flags, 0])
    }

    #[test]
    fn what_exists_opens_and_nothing_can_be_created() {
        assert_eq!(open_as("/rom/data", 0), Ok(3));
        assert_eq!(open_as("rom/data", CLOEXEC), Ok(3));
        assert_eq!(open_as("/rom", DIRECTORY), Ok(3));
        assert_eq!(open_as("/proc/self/exe", 0), Ok(3));
        assert_eq!(open_as("/dev/null", 1), Ok(3));
        assert_eq!(open_as("/rom/data", DIRECTORY), Err(20));
        assert_eq!(open_as("/rom/data", 1), Err(30));
        assert_eq!(open_as("/rom/new", CREATE | 1), Err(30));
        assert_eq!(open_as("/rom/data", CREATE | EXCLUSIVE), Err(17));
        assert_eq!(open_as("/rom", 1), Err(21));
        assert_eq!(open_as("/etc/passwd", 0), Err(2));
        assert_eq!(open_as("", 0), Err(2));
    }

    #[test]
    fn paths_start_at_directory_descriptors() {
        let mut process = process();
        process.system.poke(BASE, b"/rom\0functions/hello\0");
        assert_eq!(call(&mut process, 2, &[BASE, 0]), Ok(3));
        assert_eq!(call(&mut process, 257, &[3, BASE + 5, 0]), Ok(4));
        assert_eq!(call(&mut process, 257, &[4, BASE + 5, 0]), Err(20));
        assert_eq!(call(&mut process, 257, &[77, BASE + 5, 0]), Err(9));
    }

    #[test]
    fn open_files_have_names() {
        let mut process = process();
        process.system.poke(
            BASE,
            b"/rom/data\0/proc/self/fd/3\0/dev/stdout\0/dev/fd\0/dev/fd/77\0",
        );
        assert_eq!(call(&mut process, 2, &[BASE, 0]), Ok(3));
        assert_eq!(call(&mut process, 0, &[3, BASE + 100, 4]), Ok(4));
        assert_eq!(call(&mut process, 2, &[BASE + 10, 0]), Ok(4));
        assert_eq!(call(&mut process, 0, &[4, BASE + 100, 5]), Ok(5));
        assert_eq!(process.system.peek(BASE + 100, 5), crate::testing::FILE[4..9]);
        assert_eq!(call(&mut process, 89, &[BASE + 10, BASE + 100, 50]), Ok(9));
        assert_eq!(process.system.peek(BASE + 100, 9), b"/rom/data");
        assert_eq!(call(&mut process, 2, &[BASE + 27, 1]), Ok(5));
        assert_eq!(call(&mut process, 1, &[5, BASE, 4]), Ok(4));
        assert_eq!(call(&mut process, 89, &[BASE + 27, BASE + 100, 50]), Ok(8));
        assert_eq!(process.system.peek(BASE + 100, 8), b"pipe:[1]");
        assert_eq!(call(&mut process, 2, &[BASE + 39, DIRECTORY]), Ok(6));
        assert_eq!(call(&mut process, 217, &[6, BASE + 100, 1000]), Ok(9 * 24));
        assert_eq!(call(&mut process, 2, &[BASE + 47, 0]), Err(2));
    }

    #[test]
    fn access_tells_what_open_would() {
        let mut process = process();
        process.system.poke(BASE, b"/rom/data\0");
        assert_eq!(call(&mut process, 21, &[BASE, 4]), Ok(0));
        assert_eq!(call(&mut process, 21, &[BASE, 2]), Err(30));
        assert_eq!(call(&mut process, 21, &[BASE, 8]), Err(22));
        assert_eq!(call(&mut process, 269, &[AT_FDCWD as u64, BASE, 1]), Ok(0));
        process.system.poke(BASE, b"/rom/none\0");
        assert_eq!(call(&mut process, 21, &[BASE, 4]), Err(2));
    }
}
