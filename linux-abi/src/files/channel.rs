//! Pipes and event counters: what threads of a program send each other through descriptors.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use l4::NEVER;

use super::descriptor::{CLOEXEC, Kind};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, signal, user};

/// Bytes that a pipe holds.
const PIPE_SIZE: usize = 64 << 10;
/// Writes up to this size are never torn apart.
const PIPE_ATOMIC: u64 = 4096;
/// Flag of an open file: do not wait.
pub(super) const NONBLOCK: u64 = 0o4000;
/// Flag of `eventfd2`: a read takes one.
const SEMAPHORE: u64 = 1;
/// Greatest value of an event counter.
const COUNTER_MAX: u64 = u64::MAX - 1;

/// A pipe.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    readers: usize,
    writers: usize,
    /// How often something was written and read.
    written: u64,
    read: u64,
}

/// An event counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    value: u64,
    is_semaphore: bool,
    changes: u64,
}

impl Counter {
    /// Whether it can be read and written, and how often it changed.
    pub(super) fn state(&self) -> (bool, bool, u64) {
        (self.value > 0, self.value < COUNTER_MAX, self.changes)
    }
}

impl Pipe {
    /// Whether its reading end can be read, whether there is no writer, and how often it was written to.
    pub(super) fn reading_state(&self) -> (bool, bool, u64) {
        // That the last writer goes is a change as well.
        let changes = self.written + u64::from(self.writers == 0);
        (!self.bytes.is_empty(), self.writers == 0, changes)
    }

    /// Whether its writing end has room for a whole small write, whether there is no reader, and how often it was read.
    pub(super) fn writing_state(&self) -> (bool, bool, u64) {
        let changes = self.read + u64::from(self.readers == 0);
        let has_room = PIPE_SIZE - self.bytes.len() >= PIPE_ATOMIC as usize;
        (has_room, self.readers == 0, changes)
    }
}

/// Makes a pipe with a reader and a writer. Returns its number.
pub(super) fn new_pipe(pipes: &mut Vec<Option<Pipe>>) -> usize {
    let pipe = Pipe {
        readers: 1,
        writers: 1,
        ..Pipe::default()
    };
    let index = match pipes.iter().position(Option::is_none) {
        Some(index) => index,
        None => {
            pipes.push(None);
            pipes.len() - 1
        }
    };
    pipes[index] = Some(pipe);
    index
}

/// `pipe(descriptors)`.
pub(crate) fn pipe<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    pipe2(process, &[arguments[0], 0, 0, 0, 0, 0])
}

/// `pipe2(descriptors, flags)`.
pub(crate) fn pipe2<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [address, flags, ..] = *arguments;
    if flags & !(CLOEXEC | NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    let index = new_pipe(&mut process.files.pipes);
    let status = flags & NONBLOCK;
    let insert =
        |process: &mut Process<S>, kind, status| process.files.insert(kind, status, flags & CLOEXEC != 0, 0);
    let reader = match insert(process, Kind::PipeReader(index), status) {
        Ok(reader) => reader,
        Err(error) => {
            process.files.pipes[index] = None;
            return Err(error);
        }
    };
    let writer = match insert(process, Kind::PipeWriter(index), status | 1) {
        Ok(writer) => writer,
        Err(error) => {
            super::descriptor::close_descriptor(process, reader as i32)?;
            process.files.pipes[index] = None;
            return Err(error);
        }
    };
    let words = [reader as u64 | (writer as u64) << 32];
    if let Err(error) = user::write_words(&mut process.system, address, &words) {
        super::descriptor::close_descriptor(process, reader as i32)?;
        super::descriptor::close_descriptor(process, writer as i32)?;
        return Err(error);
    }
    Ok(0)
}

/// `eventfd(value)`.
pub(crate) fn eventfd<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    eventfd2(process, &[arguments[0], 0, 0, 0, 0, 0])
}

/// `eventfd2(value, flags)`.
pub(crate) fn eventfd2<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [value, flags, ..] = *arguments;
    if flags & !(CLOEXEC | NONBLOCK | SEMAPHORE) != 0 {
        return Err(Errno::INVAL);
    }
    let counter = Counter {
        value: u64::from(value as u32),
        is_semaphore: flags & SEMAPHORE != 0,
        changes: 0,
    };
    let status = flags & NONBLOCK | 2;
    let fd = process
        .files
        .insert(Kind::Event(counter), status, flags & CLOEXEC != 0, 0)?;
    Ok(fd as u64)
}

/// What a call that cannot go on does: it is made again when a file has changed, or fails at once.
pub(super) fn wait<S: System>(process: &mut Process<S>, fd: i32) -> Answer {
    if process.files.get(fd)?.flags & NONBLOCK != 0 {
        return Err(Errno::AGAIN);
    }
    process.wait_for_files(NEVER, Errno::RESTART);
    Ok(0)
}

/// Reads what is in a pipe.
pub(super) fn read_pipe<S: System>(
    process: &mut Process<S>,
    fd: i32,
    index: usize,
    address: u64,
    size: u64,
) -> Answer {
    let pipe = process.files.pipes[index].as_mut().ok_or(Errno::BADF)?;
    if size == 0 || pipe.bytes.is_empty() && pipe.writers == 0 {
        return Ok(0);
    }
    if pipe.bytes.is_empty() {
        return wait(process, fd);
    }
    let size = pipe.bytes.len().min(size as usize);
    // Bytes leave the pipe when they have arrived.
    let (front, back) = pipe.bytes.as_slices();
    let first = &front[..size.min(front.len())];
    process.system.write(address, first)?;
    let rest = size - first.len();
    if rest > 0 {
        let address = address.checked_add(first.len() as u64).ok_or(Errno::FAULT)?;
        process.system.write(address, &back[..rest])?;
    }
    pipe.bytes.drain(..size);
    pipe.read += 1;
    process.files_changed();
    Ok(size as u64)
}

/// Writes what there is room for.
pub(super) fn write_pipe<S: System>(
    process: &mut Process<S>,
    fd: i32,
    index: usize,
    address: u64,
    size: u64,
) -> Answer {
    let pipe = process.files.pipes[index].as_mut().ok_or(Errno::BADF)?;
    if size == 0 {
        return Ok(0);
    }
    if pipe.readers == 0 {
        signal::raise(process, signal::SIGPIPE)?;
        return Err(Errno::PIPE);
    }
    let room = (PIPE_SIZE - pipe.bytes.len()) as u64;
    if room < size.min(PIPE_ATOMIC) {
        return wait(process, fd);
    }
    let size = size.min(room);
    let bytes = user::read_bytes(&mut process.system, address, size as usize)?;
    pipe.bytes.extend(bytes);
    pipe.written += 1;
    process.files_changed();
    Ok(size)
}

/// Takes an event counter's value, or one of it.
pub(super) fn read_counter<S: System>(process: &mut Process<S>, fd: i32, address: u64, size: u64) -> Answer {
    if size < 8 {
        return Err(Errno::INVAL);
    }
    let Kind::Event(counter) = &process.files.get(fd)?.kind else {
        return Err(Errno::BADF);
    };
    let taken = match counter.value {
        0 => return wait(process, fd),
        _ if counter.is_semaphore => 1,
        value => value,
    };
    user::write_words(&mut process.system, address, &[taken])?;
    change_counter(process, fd, |value| value - taken)
}

/// Adds to an event counter.
pub(super) fn write_counter<S: System>(process: &mut Process<S>, fd: i32, address: u64, size: u64) -> Answer {
    if size < 8 {
        return Err(Errno::INVAL);
    }
    let [added] = user::read_words::<1>(&mut process.system, address)?;
    let Kind::Event(counter) = &process.files.get(fd)?.kind else {
        return Err(Errno::BADF);
    };
    if added > COUNTER_MAX {
        return Err(Errno::INVAL);
    }
    if COUNTER_MAX - counter.value < added {
        return wait(process, fd);
    }
    change_counter(process, fd, |value| value + added)
}

fn change_counter<S: System>(process: &mut Process<S>, fd: i32, change: impl FnOnce(u64) -> u64) -> Answer {
    if let Kind::Event(counter) = &mut process.files.get(fd)?.kind {
        counter.value = change(counter.value);
        counter.changes += 1;
    }
    process.files_changed();
    Ok(8)
}

/// An end of a pipe was closed for good.
pub(super) fn close_end<S: System>(process: &mut Process<S>, index: usize, is_reader: bool) {
    let Some(slot) = process.files.pipes.get_mut(index) else {
        return;
    };
    if let Some(pipe) = slot {
        let ends = if is_reader {
            &mut pipe.readers
        } else {
            &mut pipe.writers
        };
        *ends = ends.saturating_sub(1);
        if pipe.readers + pipe.writers == 0 {
            *slot = None;
        }
    }
    process.files_changed();
}

impl<S: System> Process<S> {
    /// Has the calling thread make its call again when a file has changed, or at `deadline`, unless that has passed. If a
    /// signal comes first, the call's result is `if_interrupted`.
    pub(crate) fn wait_for_files(&mut self, deadline: u64, if_interrupted: Errno) {
        let number = self.system.thread();
        if !self.file_waiters.contains(&number) {
            self.file_waiters.push(number);
        }
        let timer = self.next_timer();
        self.wait_until(deadline, if_interrupted);
        if let Some(wait) = &mut self.threads.current().wait {
            wait.deadline = wait.deadline.min(timer);
        }
    }

    /// Has every thread that waits for files look again.
    pub(super) fn files_changed(&mut self) {
        let waiters: Vec<u32> = core::mem::take(&mut self.file_waiters);
        for thread in waiters {
            self.system.unpark(thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::{BASE, FakeSystem, call, outcome, process};

    fn ends(process: &mut Process<FakeSystem>, flags: u64) -> (u64, u64) {
        assert_eq!(call(process, 293, &[BASE, flags]), Ok(0));
        let [word] = user::read_words(&mut process.system, BASE).unwrap();
        (word & 0xffff_ffff, word >> 32)
    }

    #[test]
    fn what_is_written_to_a_pipe_is_read_from_it() {
        let mut process = process();
        let (reader, writer) = ends(&mut process, 0);
        assert_eq!((reader, writer), (3, 4));
        process.system.poke(BASE, b"one two");
        assert_eq!(call(&mut process, 1, &[writer, BASE, 7]), Ok(7));
        assert_eq!(call(&mut process, 0, &[reader, BASE + 16, 4]), Ok(4));
        assert_eq!(call(&mut process, 0, &[reader, BASE + 20, 100]), Ok(3));
        assert_eq!(process.system.peek(BASE + 16, 7), b"one two");
        assert_eq!(call(&mut process, 1, &[reader, BASE, 7]), Err(9));
        assert_eq!(call(&mut process, 0, &[writer, BASE, 7]), Err(9));
        assert_eq!(call(&mut process, 8, &[reader, 0, 0]), Err(29));
        assert_eq!(outcome(&mut process, 0, &[reader, BASE, 4]), Outcome::Wait(NEVER));
        call(&mut process, 3, &[writer]).unwrap();
        assert_eq!(process.system.unparked, [0], "who waits is told of the end");
        assert_eq!(call(&mut process, 0, &[reader, BASE, 4]), Ok(0));
    }

    #[test]
    fn a_full_pipe_makes_writers_wait_and_one_without_readers_ends_them() {
        let mut process = process();
        let (reader, writer) = ends(&mut process, NONBLOCK);
        assert_eq!(call(&mut process, 0, &[reader, BASE, 4]), Err(11));
        for _ in 0..PIPE_SIZE / 4096 {
            assert_eq!(call(&mut process, 1, &[writer, BASE, 4096]), Ok(4096));
        }
        assert_eq!(call(&mut process, 1, &[writer, BASE, 1]), Err(11));
        assert_eq!(call(&mut process, 0, &[reader, BASE, 100]), Ok(100));
        assert_eq!(call(&mut process, 1, &[writer, BASE, 4096]), Err(11), "not torn");
        assert_eq!(
            call(&mut process, 1, &[writer, BASE, 8000]),
            Err(11),
            "not torn either"
        );
        assert_eq!(call(&mut process, 1, &[writer, BASE, 100]), Ok(100));
        call(&mut process, 3, &[reader]).unwrap();
        // Ignored, as in most programs.
        user::write_words(&mut process.system, BASE, &[1, 0, 0, 0]).unwrap();
        assert_eq!(
            call(&mut process, 13, &[signal::SIGPIPE.into(), BASE, 0, 8]),
            Ok(0)
        );
        assert_eq!(call(&mut process, 1, &[writer, BASE, 1]), Err(32));
        user::write_words(&mut process.system, BASE, &[0, 0, 0, 0]).unwrap();
        assert_eq!(
            call(&mut process, 13, &[signal::SIGPIPE.into(), BASE, 0, 8]),
            Ok(0)
        );
        assert_eq!(outcome(&mut process, 1, &[writer, BASE, 1]), Outcome::Exit(141));
    }

    #[test]
    fn pipes_that_cannot_be_told_of_are_closed() {
        let mut process = process();
        assert_eq!(call(&mut process, 293, &[8, 0]), Err(14));
        assert_eq!(call(&mut process, 293, &[BASE, 1]), Err(22));
        assert!(process.files.pipes.iter().all(Option::is_none));
        for expected in 0..126 {
            assert_eq!(ends(&mut process, 0), (3 + 2 * expected, 4 + 2 * expected));
        }
        assert_eq!(call(&mut process, 32, &[1]), Ok(255));
        assert_eq!(call(&mut process, 22, &[BASE]), Err(24));
    }

    #[test]
    fn counters_add_up_and_are_taken() {
        let mut process = process();
        let fd = call(&mut process, 290, &[5, NONBLOCK]).unwrap();
        user::write_words(&mut process.system, BASE, &[7, COUNTER_MAX, u64::MAX]).unwrap();
        assert_eq!(call(&mut process, 1, &[fd, BASE, 8]), Ok(8));
        assert_eq!(call(&mut process, 1, &[fd, BASE + 8, 8]), Err(11));
        assert_eq!(call(&mut process, 1, &[fd, BASE + 16, 8]), Err(22));
        assert_eq!(call(&mut process, 0, &[fd, BASE, 4]), Err(22));
        assert_eq!(call(&mut process, 0, &[fd, BASE, 8]), Ok(8));
        assert_eq!(user::read_words(&mut process.system, BASE), Ok([12]));
        assert_eq!(call(&mut process, 0, &[fd, BASE, 8]), Err(11));
        let semaphore = call(&mut process, 290, &[2, SEMAPHORE]).unwrap();
        for _ in 0..2 {
            assert_eq!(call(&mut process, 0, &[semaphore, BASE, 8]), Ok(8));
            assert_eq!(user::read_words(&mut process.system, BASE), Ok([1]));
        }
        assert_eq!(
            outcome(&mut process, 0, &[semaphore, BASE, 8]),
            Outcome::Wait(NEVER)
        );
        let plain = call(&mut process, 284, &[1]).unwrap();
        assert_eq!(call(&mut process, 0, &[plain, BASE, 8]), Ok(8));
    }
}
