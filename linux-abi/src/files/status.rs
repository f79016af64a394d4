//! What files are: the `stat` family.

use super::descriptor::Kind;
use super::path::{self, AT_FDCWD, Node};
use crate::identity::USER;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

const PIPE: u32 = 0o010_600;
const SOCKET: u32 = 0o140_777;
const CHARACTER_DEVICE: u32 = 0o020_666;
const DIRECTORY: u32 = 0o040_555;
const FILE: u32 = 0o100_555;
const GENERATED_FILE: u32 = 0o100_444;

const OWN_FILE: u32 = 0o100_644;
const OWN_DIRECTORY: u32 = 0o040_755;
/// No type, as on Linux.
const ANONYMOUS: u32 = 0o600;

const BLOCK: u64 = 4096;

/// What the calls tell about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    mode: u32,
    size: u64,
    /// Tells files apart.
    inode: u64,
}

/// A number for a path: FNV-1a, never 0.
pub(super) fn inode(path: &str) -> u64 {
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash | 1
}

fn of_descriptor<S: System>(process: &mut Process<S>, fd: i32) -> Result<Status, Errno> {
    let (mode, size, inode) = match &process.files.get(fd)?.kind {
        Kind::Input | Kind::Request => (PIPE, 0, inode("stdin")),
        Kind::Output(_) | Kind::Response => (PIPE, 0, inode("stdout")),
        Kind::Rom(file, path) => (FILE, file.size, inode(path)),
        Kind::Directory(path) => (DIRECTORY, 0, inode(path)),
        Kind::Null | Kind::Zero | Kind::Random => (CHARACTER_DEVICE, 0, inode("device")),
        Kind::Text(text, path) => (GENERATED_FILE, text.len() as u64, inode(path)),
        Kind::Temporary(number, path) => {
            let (number, inode) = (*number, inode(path));
            (OWN_FILE, process.files.temporary.size(number), inode)
        }
        Kind::PipeReader(pipe) | Kind::PipeWriter(pipe) => (PIPE, 0, *pipe as u64 + 1),
        Kind::Stream(_) => (SOCKET, 0, inode("socket")),
        Kind::Event(_) | Kind::Timer(_) | Kind::Epoll(_) => (ANONYMOUS, 0, inode("anonymous")),
    };
    Ok(Status { mode, size, inode })
}

fn of_path<S: System>(process: &mut Process<S>, path: &str) -> Result<Status, Errno> {
    let (mode, size) = match path::lookup(process, path)? {
        Node::Directory => {
            let path = path::normalize("/", path);
            match process.files.temporary.get(&path) {
                Some(_) => (OWN_DIRECTORY, 0),
                None => (DIRECTORY, 0),
            }
        }
        Node::Temporary(number) => (OWN_FILE, process.files.temporary.size(number)),
        Node::Null | Node::Zero | Node::Random => (CHARACTER_DEVICE, 0),
        Node::Generated(_) => (GENERATED_FILE, 0),
        Node::Descriptor(fd) => return of_descriptor(process, fd),
        Node::Rom(name) => (FILE, rom_size(process, &name)?),
        Node::Executable => {
            let target = process.program.path.clone();
            return match path::lookup(process, &target)? {
                Node::Executable => Err(Errno::NOENT),
                _ => of_path(process, &target),
            };
        }
    };
    Ok(Status {
        mode,
        size,
        inode: inode(&path::normalize("/", path)),
    })
}

fn rom_size<S: System>(process: &mut Process<S>, name: &str) -> Result<u64, Errno> {
    let file = process.system.open(name)?;
    process.system.close(file);
    Ok(file.size)
}

const EMPTY_PATH: u64 = 0x1000;

/// The status of a path that starts at a directory, or of the descriptor itself if the path is empty.
fn of_either<S: System>(process: &mut Process<S>, fd: i32, path: u64, flags: u64) -> Result<Status, Errno> {
    let text = if path == 0 && flags & EMPTY_PATH != 0 {
        alloc::string::String::new()
    } else {
        user::read_path(&mut process.system, path)?
    };
    match text.as_str() {
        "" if flags & EMPTY_PATH == 0 => Err(Errno::NOENT),
        "" if fd == AT_FDCWD => {
            let directory = process.files.directory.clone();
            of_path(process, &directory)
        }
        "" => of_descriptor(process, fd),
        path => {
            let path = path::absolute(process, fd, path)?;
            of_path(process, &path)
        }
    }
}

/// Writes `struct stat` (144 bytes).
fn write_stat(system: &mut impl System, address: u64, status: Status) -> Answer {
    let mut words = [0; 18];
    words[1] = status.inode;
    words[2] = 1;
    words[3] = u64::from(status.mode) | USER << 32;
    words[4] = USER;
    words[6] = status.size;
    words[7] = BLOCK;
    words[8] = status.size.div_ceil(512);
    user::write_words(system, address, &words)?;
    Ok(0)
}

/// `stat(path, buffer)` and `lstat(path, buffer)`.
pub(crate) fn stat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, AT_FDCWD, arguments[0])?;
    let status = of_path(process, &path)?;
    write_stat(&mut process.system, arguments[1], status)
}

/// `fstat(fd, buffer)`.
pub(crate) fn fstat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let status = of_descriptor(process, user::int(arguments[0]))?;
    write_stat(&mut process.system, arguments[1], status)
}

/// `newfstatat(directory, path, buffer, flags)`.
pub(crate) fn newfstatat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, path, buffer, flags, ..] = *arguments;
    let status = of_either(process, user::int(fd), path, flags)?;
    write_stat(&mut process.system, buffer, status)
}

/// `STATX_BASIC_STATS` without the times, which files here don't have.
const STATX_MASK: u64 = 0x71f;

/// `statx(directory, path, flags, mask, buffer)`: writes `struct statx` (256 bytes).
pub(crate) fn statx<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, path, flags, _, buffer, _] = *arguments;
    let status = of_either(process, user::int(fd), path, flags)?;
    let mut words = [0; 32];
    words[0] = STATX_MASK | BLOCK << 32;
    words[2] = 1 | USER << 32;
    words[3] = USER | u64::from(status.mode) << 32;
    words[4] = status.inode;
    words[5] = status.size;
    words[6] = status.size.div_ceil(512);
    user::write_words(&mut process.system, buffer, &words)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    const AT: u64 = AT_FDCWD as u64;

    #[test]
    fn files_have_size_and_type() {
        let mut process = process();
        process.system.poke(BASE, b"/rom/data\0");
        assert_eq!(call(&mut process, 4, &[BASE, BASE + 512]), Ok(0));
        let words = user::read_words::<18>(&mut process.system, BASE + 512).unwrap();
        assert_eq!(words[6], crate::testing::FILE.len() as u64);
        assert_eq!(words[3] as u32, FILE);
        let fd = call(&mut process, 2, &[BASE, 0]).unwrap();
        assert_eq!(call(&mut process, 5, &[fd, BASE + 1024]), Ok(0));
        assert_eq!(
            user::read_words::<18>(&mut process.system, BASE + 1024),
            Ok(words)
        );
        assert_eq!(call(&mut process, 332, &[AT, BASE, 0, 0x7ff, BASE + 512]), Ok(0));
        let extended = user::read_words::<32>(&mut process.system, BASE + 512).unwrap();
        assert_eq!((extended[4], extended[5]), (words[1], words[6]));
        assert_eq!(extended[3] >> 32, u64::from(FILE));
    }

    #[test]
    fn standard_streams_are_pipes() {
        let mut process = process();
        process.system.poke(BASE, b"\0");
        assert_eq!(call(&mut process, 262, &[1, BASE, BASE + 512, EMPTY_PATH]), Ok(0));
        let words = user::read_words::<18>(&mut process.system, BASE + 512).unwrap();
        assert_eq!(words[3] as u32 & 0o170_000, 0o010_000);
        assert_eq!(call(&mut process, 262, &[1, BASE, BASE + 512, 0]), Err(2));
        assert_eq!(
            call(&mut process, 262, &[AT, BASE, BASE + 512, EMPTY_PATH]),
            Ok(0)
        );
    }

    #[test]
    fn what_is_not_there_has_no_status() {
        let mut process = process();
        process.system.poke(BASE, b"/lib/python3.14\0");
        assert_eq!(call(&mut process, 332, &[AT, BASE, 0, 0x7ff, BASE + 512]), Err(2));
        assert_eq!(call(&mut process, 5, &[44, BASE]), Err(9));
        assert_eq!(process.system.open_files(), 0);
    }

    #[test]
    fn the_executable_is_followed() {
        let mut process = process();
        process.system.poke(BASE, b"/proc/self/exe\0");
        assert_eq!(call(&mut process, 4, &[BASE, BASE + 512]), Ok(0));
        process.program.path = "/proc/self/exe".into();
        assert_eq!(call(&mut process, 4, &[BASE, BASE + 512]), Err(2));
    }
}
