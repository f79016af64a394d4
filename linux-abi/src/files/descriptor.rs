//! The table of file descriptors.

use alloc::string::String;
use alloc::vec::Vec;

use super::channel::{self, Counter, Pipe};
use super::epoll::Interest;
use super::lock::{self, F_GETLK, F_SETLK, F_SETLKW};
use super::socket::Stream;
use super::temporary::Temporary;
use super::timer::Timer;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, RomFile, System, user};

/// Most open descriptors of a program.
pub(crate) const DESCRIPTOR_LIMIT: usize = 256;

/// Status flags that `fcntl(F_SETFL)` may change: append, nonblocking.
const CHANGEABLE_FLAGS: u64 = 0o2000 | 0o4000;

/// Bits of the flags that say what a file was opened for.
const ACCESS_MODE: u64 = 3;
const WRITE_ONLY: u64 = 1;

/// What a descriptor stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Standard input: at its end from the start.
    Input,
    /// Standard output or error, with the line that is not complete yet.
    Output(Vec<u8>),
    /// Standard input of a program that serves a request.
    Request,
    /// Standard output of such a program.
    Response,
    /// A file of `rom` and its path.
    Rom(RomFile, String),
    /// A directory's path.
    Directory(String),
    /// `/dev/null`.
    Null,
    /// `/dev/zero`.
    Zero,
    /// `/dev/random` and `/dev/urandom`.
    Random,
    /// A file that was made when it was opened, and its path.
    Text(Vec<u8>, String),
    /// A file below `/tmp`: its number, and the path that it was opened by.
    Temporary(usize, String),
    /// The reading end of a pipe.
    PipeReader(usize),
    /// The writing end of a pipe.
    PipeWriter(usize),
    /// An end of a pair of connected sockets.
    Stream(Stream),
    /// An event counter.
    Event(Counter),
    /// A timer.
    Timer(Timer),
    /// Files that can be waited for.
    Epoll(Vec<Interest>),
}

/// An open file, which several descriptors can share.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(super) kind: Kind,
    /// Where the next read starts, in bytes; for a directory the number of the next entry.
    pub(super) offset: u64,
    pub(super) flags: u64,
    users: usize,
}

impl OpenFile {
    /// Whether it was opened for reading.
    pub(super) fn may_read(&self) -> bool {
        self.flags & ACCESS_MODE != WRITE_ONLY
    }

    /// Whether it was opened for writing.
    pub(super) fn may_write(&self) -> bool {
        self.flags & ACCESS_MODE != 0
    }
}

/// A file that can be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mappable {
    /// A file of `rom`.
    Rom(RomFile),
    /// The file below `/tmp` with this number.
    Temporary(usize),
}

#[derive(Clone, Copy, Debug)]
struct Descriptor {
    open: usize,
    close_on_exec: bool,
}

/// The program's files.
#[derive(Debug)]
pub(crate) struct Files {
    descriptors: Vec<Option<Descriptor>>,
    open: Vec<Option<OpenFile>>,
    /// The pipes, which the open files of their ends number.
    pub(super) pipes: Vec<Option<Pipe>>,
    /// There has been a timer.
    pub(super) has_timers: bool,
    /// What is below `/tmp`.
    pub(crate) temporary: Temporary,
    /// The working directory, absolute.
    pub(super) directory: String,
}

impl Files {
    /// Standard input, output and error; the first two are a request and its response if the program serves one.
    pub(crate) fn new(serves: bool) -> Files {
        let mut files = Files {
            descriptors: Vec::new(),
            open: Vec::new(),
            pipes: Vec::new(),
            has_timers: false,
            temporary: Temporary::default(),
            directory: String::from("/"),
        };
        let (input, output) = if serves {
            (Kind::Request, Kind::Response)
        } else {
            (Kind::Input, Kind::Output(Vec::new()))
        };
        for kind in [input, output, Kind::Output(Vec::new())] {
            // An empty table has room for three.
            let _descriptor = files.insert(kind, 0, false, 0);
        }
        files
    }

    /// Adds an open file under the lowest free descriptor.
    pub(super) fn insert(
        &mut self,
        kind: Kind,
        flags: u64,
        close_on_exec: bool,
        lowest: usize,
    ) -> Result<usize, Errno> {
        let number = self.free_number(lowest)?;
        let file = OpenFile {
            kind,
            offset: 0,
            flags,
            users: 0,
        };
        let open = match self.open.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.open.push(None);
                self.open.len() - 1
            }
        };
        self.open[open] = Some(file);
        self.bind(number, open, close_on_exec);
        Ok(number)
    }

    fn bind(&mut self, number: usize, open: usize, close_on_exec: bool) {
        if number >= self.descriptors.len() {
            self.descriptors.resize(number + 1, None);
        }
        self.descriptors[number] = Some(Descriptor { open, close_on_exec });
        if let Some(file) = &mut self.open[open] {
            file.users += 1;
        }
    }

    fn free_number(&self, lowest: usize) -> Result<usize, Errno> {
        let is_free = |number: &usize| self.descriptors.get(*number).is_none_or(Option::is_none);
        (lowest..DESCRIPTOR_LIMIT).find(is_free).ok_or(Errno::MFILE)
    }

    fn descriptor(&mut self, fd: i32) -> Result<&mut Descriptor, Errno> {
        let number = usize::try_from(fd).map_err(|_| Errno::BADF)?;
        self.descriptors
            .get_mut(number)
            .and_then(Option::as_mut)
            .ok_or(Errno::BADF)
    }

    /// The open file of a descriptor.
    pub(super) fn get(&mut self, fd: i32) -> Result<&mut OpenFile, Errno> {
        let open = self.descriptor(fd)?.open;
        self.open[open].as_mut().ok_or(Errno::BADF)
    }

    /// The number of a descriptor's open file.
    pub(super) fn open_index(&mut self, fd: i32) -> Result<usize, Errno> {
        Ok(self.descriptor(fd)?.open)
    }

    /// The open file with a number.
    pub(super) fn by_index(&self, open: usize) -> Option<&OpenFile> {
        self.open.get(open)?.as_ref()
    }

    /// All descriptors.
    pub(super) fn numbers(&self) -> Vec<usize> {
        let list = self.descriptors.iter().enumerate();
        list.filter(|(_, descriptor)| descriptor.is_some())
            .map(|(number, _)| number)
            .collect()
    }

    /// All that is open.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenFile> {
        self.open.iter_mut().flatten()
    }

    /// The file of a descriptor that is to be mapped.
    pub(crate) fn mappable(&self, fd: i32) -> Result<Mappable, Errno> {
        let number = usize::try_from(fd).map_err(|_| Errno::BADF)?;
        let descriptor = self
            .descriptors
            .get(number)
            .copied()
            .flatten()
            .ok_or(Errno::BADF)?;
        match self.by_index(descriptor.open).map(|file| &file.kind) {
            Some(Kind::Rom(file, _)) => Ok(Mappable::Rom(*file)),
            Some(Kind::Temporary(number, _)) => Ok(Mappable::Temporary(*number)),
            _ => Err(Errno::NODEV),
        }
    }

    /// Closes a descriptor. Returns the open file if that was its last one.
    fn remove(&mut self, fd: i32) -> Result<Option<Kind>, Errno> {
        let open = self.descriptor(fd)?.open;
        self.descriptors[fd as usize] = None;
        let slot = &mut self.open[open];
        if let Some(file) = slot {
            file.users -= 1;
            if file.users == 0 {
                return Ok(slot.take().map(|file| file.kind));
            }
        }
        Ok(None)
    }

    /// Makes a further descriptor, at least `lowest`, for an open file.
    pub(super) fn duplicate(&mut self, fd: i32, lowest: usize, close_on_exec: bool) -> Result<usize, Errno> {
        let open = self.descriptor(fd)?.open;
        let number = self.free_number(lowest)?;
        self.bind(number, open, close_on_exec);
        Ok(number)
    }
}

/// `close(fd)`.
pub(crate) fn close<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    close_descriptor(process, user::int(arguments[0]))
}

pub(super) fn close_descriptor<S: System>(process: &mut Process<S>, fd: i32) -> Answer {
    let open = process.files.open_index(fd)?;
    let Some(closed) = process.files.remove(fd)? else {
        return Ok(0);
    };
    match closed {
        Kind::Rom(file, _) => process.system.close(file),
        Kind::Output(line) => super::output::write_rest(&mut process.system, &line),
        Kind::Temporary(number, _) => process.files.temporary.release(number),
        Kind::PipeReader(pipe) => channel::close_end(process, pipe, true),
        Kind::PipeWriter(pipe) => channel::close_end(process, pipe, false),
        Kind::Stream(stream) => stream.close(process),
        _ => {}
    }
    for file in process.files.iter_mut() {
        if let Kind::Epoll(interests) = &mut file.kind {
            interests.retain(|interest| !interest.is_in(open));
        }
    }
    Ok(0)
}

/// Flag of `close_range`: close on exec.
const RANGE_CLOEXEC: u64 = 4;

/// `close_range(first, last, flags)`.
pub(crate) fn close_range<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [first, last, flags, ..] = *arguments;
    if first > last || flags & !RANGE_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    for number in process.files.numbers() {
        if !(first..=last).contains(&(number as u64)) {
            continue;
        }
        if flags == 0 {
            close_descriptor(process, number as i32)?;
        } else {
            process.files.descriptor(number as i32)?.close_on_exec = true;
        }
    }
    Ok(0)
}

/// `dup(fd)`.
pub(crate) fn dup<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    Ok(process.files.duplicate(user::int(arguments[0]), 0, false)? as u64)
}

/// `dup2(old, new)`.
pub(crate) fn dup2<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [old, new, ..] = arguments.map(user::int);
    if old == new {
        process.files.descriptor(old)?;
        return Ok(new as u64);
    }
    replace(process, old, new, false)
}

/// Flag of `dup3` and `open`: close on exec.
pub(super) const CLOEXEC: u64 = 0o2000000;

/// `dup3(old, new, flags)`.
pub(crate) fn dup3<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [old, new, ..] = arguments.map(user::int);
    let flags = arguments[2];
    if old == new || flags & !CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    replace(process, old, new, flags != 0)
}

fn replace<S: System>(process: &mut Process<S>, old: i32, new: i32, close_on_exec: bool) -> Answer {
    let open = process.files.descriptor(old)?.open;
    let number = usize::try_from(new).map_err(|_| Errno::BADF)?;
    if number >= DESCRIPTOR_LIMIT {
        return Err(Errno::BADF);
    }
    if process.files.descriptor(new).is_ok() {
        close_descriptor(process, new)?;
    }
    process.files.bind(number, open, close_on_exec);
    Ok(number as u64)
}

const F_DUPFD: u64 = 0;
const F_GETFD: u64 = 1;
const F_SETFD: u64 = 2;
const F_GETFL: u64 = 3;
const F_SETFL: u64 = 4;
const F_DUPFD_CLOEXEC: u64 = 1030;

/// `fcntl(fd, command, argument)`.
pub(crate) fn fcntl<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, command, argument, ..] = *arguments;
    let (fd, files) = (user::int(fd), &mut process.files);
    let descriptor = files.descriptor(fd)?;
    match command {
        F_GETFD => return Ok(u64::from(descriptor.close_on_exec)),
        F_SETFD => descriptor.close_on_exec = argument & 1 != 0,
        F_GETFL => return Ok(files.get(fd)?.flags),
        F_SETFL => {
            let file = files.get(fd)?;
            file.flags = file.flags & !CHANGEABLE_FLAGS | argument & CHANGEABLE_FLAGS;
        }
        F_DUPFD | F_DUPFD_CLOEXEC if argument < DESCRIPTOR_LIMIT as u64 => {
            let number = files.duplicate(fd, argument as usize, command == F_DUPFD_CLOEXEC)?;
            return Ok(number as u64);
        }
        F_GETLK | F_SETLK | F_SETLKW => return lock::record_lock(process, fd, command, argument),
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

/// `ioctl(fd, …)`: nothing here is a terminal.
pub(crate) fn ioctl<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    process.files.descriptor(user::int(arguments[0]))?;
    Err(Errno::NOTTY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    #[test]
    fn duplicates_share_their_offset() {
        let mut process = process();
        process.system.poke(BASE, b"/rom/data\0");
        assert_eq!(call(&mut process, 2, &[BASE, 0]), Ok(3));
        assert_eq!(call(&mut process, 32, &[3]), Ok(4));
        assert_eq!(call(&mut process, 0, &[3, BASE, 5]), Ok(5));
        assert_eq!(call(&mut process, 0, &[4, BASE + 5, 5]), Ok(5));
        assert_eq!(process.system.peek(BASE, 10), crate::testing::FILE[..10]);
        assert_eq!(call(&mut process, 3, &[3]), Ok(0));
        assert_eq!(process.system.open_files(), 1);
        assert_eq!(call(&mut process, 3, &[4]), Ok(0));
        assert_eq!(process.system.open_files(), 0);
        assert_eq!(call(&mut process, 3, &[4]), Err(9));
    }

    #[test]
    fn dup2_closes_what_it_replaces() {
        let mut process = process();
        process.system.poke(BASE, b"/rom/data\0");
        call(&mut process, 2, &[BASE, 0]).unwrap();
        assert_eq!(call(&mut process, 33, &[1, 3]), Ok(3));
        assert_eq!(process.system.open_files(), 0);
        assert_eq!(call(&mut process, 33, &[3, 3]), Ok(3));
        assert_eq!(call(&mut process, 33, &[9, 3]), Err(9));
        assert_eq!(call(&mut process, 33, &[1, 100_000]), Err(9));
        assert_eq!(call(&mut process, 292, &[1, 1, 0]), Err(22));
        assert_eq!(call(&mut process, 292, &[1, 20, CLOEXEC]), Ok(20));
        assert_eq!(call(&mut process, 72, &[20, F_GETFD]), Ok(1));
    }

    #[test]
    fn fcntl_reads_and_changes_flags() {
        let mut process = process();
        assert_eq!(call(&mut process, 72, &[1, F_GETFD]), Ok(0));
        assert_eq!(call(&mut process, 72, &[1, F_SETFD, 1]), Ok(0));
        assert_eq!(call(&mut process, 72, &[1, F_GETFD]), Ok(1));
        assert_eq!(call(&mut process, 72, &[1, F_SETFL, 0o4001]), Ok(0));
        assert_eq!(call(&mut process, 72, &[1, F_GETFL]), Ok(0o4000));
        assert_eq!(call(&mut process, 72, &[1, F_DUPFD, 10]), Ok(10));
        assert_eq!(call(&mut process, 72, &[1, F_DUPFD, 10]), Ok(11));
        assert_eq!(call(&mut process, 72, &[1, 99, 0]), Err(22));
        assert_eq!(call(&mut process, 72, &[99, F_GETFD]), Err(9));
        assert_eq!(call(&mut process, 16, &[1, 0x5401, BASE]), Err(25));
        assert_eq!(call(&mut process, 16, &[99, 0x5401, BASE]), Err(9));
    }

    #[test]
    fn ranges_are_closed() {
        let mut process = process();
        for expected in 3..7 {
            assert_eq!(call(&mut process, 32, &[1]), Ok(expected));
        }
        assert_eq!(call(&mut process, 436, &[5, 6, RANGE_CLOEXEC]), Ok(0));
        assert_eq!(call(&mut process, 72, &[5, F_GETFD]), Ok(1));
        assert_eq!(call(&mut process, 436, &[4, u64::from(u32::MAX), 0]), Ok(0));
        assert_eq!(call(&mut process, 72, &[3, F_GETFD]), Ok(0));
        assert_eq!(call(&mut process, 72, &[4, F_GETFD]), Err(9));
        assert_eq!(call(&mut process, 436, &[4, 3, 0]), Err(22));
    }

    #[test]
    fn descriptors_run_out_without_harm() {
        let mut process = process();
        for expected in 3..DESCRIPTOR_LIMIT as u64 {
            assert_eq!(call(&mut process, 32, &[1]), Ok(expected));
        }
        assert_eq!(call(&mut process, 32, &[1]), Err(24));
        process.system.poke(BASE, b"/rom/data\0");
        assert_eq!(call(&mut process, 2, &[BASE, 0]), Err(24));
        assert_eq!(process.system.open_files(), 0);
    }
}
