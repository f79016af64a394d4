//! Directories and links.

use alloc::string::String;
use alloc::vec::Vec;

use super::descriptor::Kind;
use super::path::{self, AT_FDCWD, Node};
use super::status::inode;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

const TYPE_DIRECTORY: u8 = 4;
const TYPE_FILE: u8 = 8;

/// Bytes of `struct linux_dirent64` before the name.
const ENTRY_HEADER: usize = 19;

/// `getdents64(fd, buffer, size)`.
pub(crate) fn getdents64<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, size, ..] = *arguments;
    let fd = user::int(fd);
    let file = process.files.get(fd)?;
    let Kind::Directory(directory) = &file.kind else {
        return Err(Errno::NOTDIR);
    };
    let (directory, first) = (directory.clone(), file.offset as usize);
    let mut entries = Vec::from([(String::from("."), true), (String::from(".."), true)]);
    entries.append(&mut path::children(process, &directory));
    let mut bytes = Vec::new();
    let mut next = first;
    for (name, is_directory) in entries.iter().skip(first) {
        let length = (ENTRY_HEADER + name.len() + 1).next_multiple_of(8);
        if bytes.len() + length > size as usize {
            break;
        }
        next += 1;
        let end = bytes.len() + length;
        bytes.extend_from_slice(&inode(&path::normalize(&directory, name)).to_le_bytes());
        bytes.extend_from_slice(&(next as u64).to_le_bytes());
        bytes.extend_from_slice(&(length as u16).to_le_bytes());
        bytes.push(if *is_directory { TYPE_DIRECTORY } else { TYPE_FILE });
        bytes.extend_from_slice(name.as_bytes());
        bytes.resize(end, 0);
    }
    if bytes.is_empty() && first < entries.len() {
        return Err(Errno::INVAL);
    }
    process.system.write(address, &bytes)?;
    process.files.get(fd)?.offset = next as u64;
    Ok(bytes.len() as u64)
}

/// `getcwd(buffer, size)`.
pub(crate) fn getcwd<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [address, size, ..] = *arguments;
    let mut path = process.files.directory.clone().into_bytes();
    path.push(0);
    if path.len() as u64 > size {
        return Err(Errno::RANGE);
    }
    process.system.write(address, &path)?;
    Ok(path.len() as u64)
}

/// `chdir(path)`.
pub(crate) fn chdir<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let path = path::read(process, AT_FDCWD, arguments[0])?;
    match path::lookup(process, &path)? {
        Node::Directory => process.files.directory = path::normalize("/", &path),
        _ => return Err(Errno::NOTDIR),
    }
    Ok(0)
}

/// `readlink(path, buffer, size)`.
pub(crate) fn readlink<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [path, buffer, size, ..] = *arguments;
    readlinkat(process, &[AT_FDCWD as u64, path, buffer, size, 0, 0])
}

/// What the link to an open file says.
fn target<S: System>(process: &mut Process<S>, fd: i32) -> Result<String, Errno> {
    Ok(match &process.files.get(fd)?.kind {
        Kind::Rom(_, path) | Kind::Directory(path) | Kind::Text(_, path) | Kind::Temporary(_, path) => {
            path.clone()
        }
        Kind::Null => String::from("/dev/null"),
        Kind::Zero => String::from("/dev/zero"),
        Kind::Random => String::from("/dev/urandom"),
        Kind::Event(_) => String::from("anon_inode:[eventfd]"),
        Kind::Timer(_) => String::from("anon_inode:[timerfd]"),
        Kind::Epoll(_) => String::from("anon_inode:[eventpoll]"),
        _ => alloc::format!("pipe:[{}]", process.files.open_index(fd)?),
    })
}

/// `readlinkat(directory, path, buffer, size)`: links are `/proc/self/exe`, and those to open files.
pub(crate) fn readlinkat<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, path, buffer, size, ..] = *arguments;
    let path = path::read(process, user::int(fd), path)?;
    let target = match path::lookup(process, &path)? {
        _ if size == 0 => return Err(Errno::INVAL),
        Node::Executable => process.program.path.clone(),
        Node::Descriptor(fd) => target(process, fd)?,
        _ => return Err(Errno::INVAL),
    };
    let length = target.len().min(size as usize);
    process.system.write(buffer, &target.as_bytes()[..length])?;
    Ok(length as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, FakeSystem, call, process};

    fn names(process: &mut Process<FakeSystem>, size: usize) -> Vec<String> {
        let bytes = process.system.peek(BASE, size);
        let mut names = Vec::new();
        let mut at = 0;
        while at < size {
            let length = u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
            let name = &bytes[at + ENTRY_HEADER..at + length];
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            names.push(String::from_utf8(name[..end].to_vec()).unwrap());
            at += length;
        }
        names
    }

    #[test]
    fn directories_are_listed_in_pieces() {
        let mut process = process();
        process.system.poke(BASE, b"/rom\0");
        assert_eq!(call(&mut process, 2, &[BASE, 0]), Ok(3));
        let mut all = Vec::new();
        loop {
            let size = call(&mut process, 217, &[3, BASE, 60]).unwrap() as usize;
            if size == 0 {
                break;
            }
            all.extend(names(&mut process, size));
        }
        assert_eq!(all, [".", "..", "data", "functions"]);
        assert_eq!(call(&mut process, 8, &[3, 0, 0]), Ok(0));
        assert_eq!(call(&mut process, 217, &[3, BASE, 10]), Err(22));
        assert_eq!(call(&mut process, 217, &[1, BASE, 100]), Err(20));
    }

    #[test]
    fn working_directory_changes() {
        let mut process = process();
        process.system.poke(BASE, b"rom/functions\0hello\0");
        assert_eq!(call(&mut process, 80, &[BASE]), Ok(0));
        assert_eq!(call(&mut process, 79, &[BASE + 64, 64]), Ok(15));
        assert_eq!(process.system.peek(BASE + 64, 15), b"/rom/functions\0");
        assert_eq!(call(&mut process, 2, &[BASE + 14, 0]), Ok(3));
        assert_eq!(call(&mut process, 80, &[BASE + 14]), Err(20));
        assert_eq!(call(&mut process, 79, &[BASE + 64, 14]), Err(34));
    }

    #[test]
    fn the_executable_is_a_link() {
        let mut process = process();
        process.system.poke(BASE, b"/proc/self/exe\0/rom/data\0");
        assert_eq!(call(&mut process, 89, &[BASE, BASE + 64, 100]), Ok(9));
        assert_eq!(process.system.peek(BASE + 64, 9), b"/rom/test");
        assert_eq!(call(&mut process, 89, &[BASE, BASE + 64, 4]), Ok(4));
        assert_eq!(call(&mut process, 89, &[BASE + 15, BASE + 64, 4]), Err(22));
    }
}
