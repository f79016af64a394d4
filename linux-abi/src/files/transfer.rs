//! Reading and writing.

use alloc::vec;

use super::channel;
use super::descriptor::Kind;
use super::{exchange, output, timer};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, random, user};

/// Most bytes of one call, as in Linux.
const LIMIT: u64 = 0x7fff_f000;
/// Program memory is copied in pieces of this many bytes.
const PIECE: u64 = 4096;
/// Most elements of a vector, as in Linux.
const VECTOR_LIMIT: u64 = 1024;

/// `read(fd, buffer, size)`.
pub(crate) fn read<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, size, ..] = *arguments;
    let fd = user::int(fd);
    let offset = process.files.get(fd)?.offset;
    let done = read_at(process, fd, offset, address, size.min(LIMIT))?;
    process.files.get(fd)?.offset = offset + done;
    Ok(done)
}

/// `pread64(fd, buffer, size, offset)`.
pub(crate) fn pread64<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, size, offset, ..] = *arguments;
    let fd = user::int(fd);
    if matches!(
        process.files.get(fd)?.kind,
        Kind::Input
            | Kind::Output(_)
            | Kind::Request
            | Kind::Response
            | Kind::PipeReader(_)
            | Kind::PipeWriter(_)
            | Kind::Stream(_)
            | Kind::Event(_)
            | Kind::Timer(_)
            | Kind::Epoll(_)
    ) {
        return Err(Errno::SPIPE);
    }
    if (offset as i64) < 0 {
        return Err(Errno::INVAL);
    }
    read_at(process, fd, offset, address, size.min(LIMIT))
}

fn read_at<S: System>(process: &mut Process<S>, fd: i32, offset: u64, address: u64, size: u64) -> Answer {
    let Process { files, system, .. } = process;
    match &files.get(fd)?.kind {
        Kind::Input | Kind::Null => Ok(0),
        Kind::Output(_) | Kind::Response | Kind::PipeWriter(_) => Err(Errno::BADF),
        Kind::Epoll(_) => Err(Errno::INVAL),
        Kind::PipeReader(pipe) => {
            let pipe = *pipe;
            channel::read_pipe(process, fd, pipe, address, size)
        }
        Kind::Stream(stream) => {
            let stream = *stream;
            stream.read(process, fd, address, size)
        }
        Kind::Event(_) => channel::read_counter(process, fd, address, size),
        Kind::Timer(_) => timer::read(process, fd, address, size),
        Kind::Request => exchange::read(process, offset, address, size),
        Kind::Directory(_) => Err(Errno::ISDIR),
        Kind::Rom(file, _) => {
            let size = size.min(file.size.saturating_sub(offset));
            if size > 0 {
                system.read_file(*file, offset, address, size)?;
            }
            Ok(size)
        }
        Kind::Text(text, _) => {
            let rest = text.get(offset as usize..).unwrap_or_default();
            let piece = &rest[..rest.len().min(size as usize)];
            system.write(address, piece)?;
            Ok(piece.len() as u64)
        }
        Kind::Temporary(number, _) => {
            let number = *number;
            if !files.get(fd)?.may_read() {
                return Err(Errno::BADF);
            }
            files.temporary.read(system, number, offset, address, size)
        }
        Kind::Zero => zero(system, address, size),
        Kind::Random => random::fill(system, address, size),
    }
}

fn zero(system: &mut impl System, address: u64, size: u64) -> Answer {
    let zeroes = [0; PIECE as usize];
    for offset in (0..size).step_by(PIECE as usize) {
        let piece = (size - offset).min(PIECE) as usize;
        let target = address.checked_add(offset).ok_or(Errno::FAULT)?;
        system.write(target, &zeroes[..piece])?;
    }
    Ok(size)
}

/// `write(fd, buffer, size)`.
pub(crate) fn write<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, size, ..] = *arguments;
    let fd = user::int(fd);
    let file = process.files.get(fd)?;
    if let Kind::Temporary(number, _) = file.kind {
        let offset = match file.flags & APPEND {
            0 => file.offset,
            _ => process.files.temporary.size(number),
        };
        let done = write_at(process, fd, offset, address, size.min(LIMIT))?;
        process.files.get(fd)?.offset = offset + done;
        return Ok(done);
    }
    write_bytes(process, fd, address, size.min(LIMIT))
}

/// Flag of an open file: writes go to its end.
const APPEND: u64 = 0o2000;

/// `pwrite64(fd, buffer, size, offset)`: for files below `/tmp`.
pub(crate) fn pwrite64<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, size, offset, ..] = *arguments;
    if (offset as i64) < 0 {
        return Err(Errno::INVAL);
    }
    write_at(process, user::int(fd), offset, address, size.min(LIMIT))
}

fn write_at<S: System>(process: &mut Process<S>, fd: i32, offset: u64, address: u64, size: u64) -> Answer {
    let Process { files, system, .. } = process;
    let file = files.get(fd)?;
    match file.kind {
        Kind::Temporary(number, _) if file.may_write() => {
            files.temporary.write(system, number, offset, address, size)
        }
        Kind::Temporary(..) | Kind::Rom(..) | Kind::Text(..) | Kind::Directory(_) => Err(Errno::BADF),
        Kind::Null | Kind::Zero | Kind::Random => Ok(size),
        _ => Err(Errno::SPIPE),
    }
}

fn write_bytes<S: System>(process: &mut Process<S>, fd: i32, address: u64, size: u64) -> Answer {
    let Process { files, system, .. } = process;
    match &mut files.get(fd)?.kind {
        Kind::Null | Kind::Zero | Kind::Random => Ok(size),
        Kind::Epoll(_) | Kind::Timer(_) => Err(Errno::INVAL),
        Kind::PipeWriter(pipe) => {
            let pipe = *pipe;
            channel::write_pipe(process, fd, pipe, address, size)
        }
        Kind::Stream(stream) => {
            let stream = *stream;
            stream.write(process, fd, address, size)
        }
        Kind::Event(_) => channel::write_counter(process, fd, address, size),
        Kind::Response => exchange::write(process, address, size),
        Kind::Output(line) => {
            let mut piece = vec![0; size.min(PIECE) as usize];
            for offset in (0..size).step_by(PIECE as usize) {
                let piece = &mut piece[..(size - offset).min(PIECE) as usize];
                system.read(address.checked_add(offset).ok_or(Errno::FAULT)?, piece)?;
                output::write(system, line, piece);
            }
            Ok(size)
        }
        Kind::Input
        | Kind::Request
        | Kind::Rom(..)
        | Kind::Text(..)
        | Kind::Directory(_)
        | Kind::PipeReader(_)
        | Kind::Temporary(..) => Err(Errno::BADF),
    }
}

/// `readv(fd, vector, count)`.
pub(crate) fn readv<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    each_element(process, arguments, read)
}

/// `writev(fd, vector, count)`.
pub(crate) fn writev<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    each_element(process, arguments, write)
}

/// `preadv(fd, vector, count, offset)`; `preadv2` has flags behind it, of which there are none here.
pub(crate) fn preadv<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    at_offsets(process, arguments, pread64)
}

/// `pwritev(fd, vector, count, offset)`, and `pwritev2`.
pub(crate) fn pwritev<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    at_offsets(process, arguments, pwrite64)
}

fn at_offsets<S: System>(
    process: &mut Process<S>,
    arguments: &Arguments,
    transfer: impl Fn(&mut Process<S>, &Arguments) -> Answer,
) -> Answer {
    let mut next = arguments[3];
    each_element(process, arguments, |process, &[fd, address, size, ..]| {
        let done = transfer(process, &[fd, address, size, next, 0, 0])?;
        next += done;
        Ok(done)
    })
}

/// `preadv2(fd, vector, count, offset, 0, flags)`; offset -1 is the file's own.
pub(crate) fn preadv2<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    match (arguments[5], arguments[3]) {
        (0, u64::MAX) => readv(process, arguments),
        (0, _) => preadv(process, arguments),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// `pwritev2(fd, vector, count, offset, 0, flags)`, as `preadv2`.
pub(crate) fn pwritev2<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    match (arguments[5], arguments[3]) {
        (0, u64::MAX) => writev(process, arguments),
        (0, _) => pwritev(process, arguments),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Does one transfer for each (address, size) of a vector, until one is short.
fn each_element<S: System>(
    process: &mut Process<S>,
    arguments: &Arguments,
    mut transfer: impl FnMut(&mut Process<S>, &Arguments) -> Answer,
) -> Answer {
    let [fd, vector, count, ..] = *arguments;
    process.files.get(user::int(fd))?;
    if count > VECTOR_LIMIT {
        return Err(Errno::INVAL);
    }
    let mut total = 0;
    for index in 0..count {
        let element = vector.checked_add(index * 16).ok_or(Errno::FAULT)?;
        let [address, size] = user::read_words::<2>(&mut process.system, element)?;
        match transfer(process, &[fd, address, size, 0, 0, 0]) {
            Ok(done) => {
                total += done;
                if done < size {
                    break;
                }
            }
            // What was transferred before an error counts.
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
    }
    if total > 0 {
        // Nor is the rest waited for.
        process.threads.current().wait = None;
    }
    Ok(total)
}

/// `fsync(fd)` and `fdatasync(fd)`: nothing waits to be written but the unfinished lines of standard output and error.
pub(crate) fn fsync<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    match process.files.get(user::int(arguments[0]))?.kind {
        Kind::Output(_) => process.flush_output(),
        Kind::Input | Kind::Request | Kind::Response => return Err(Errno::INVAL),
        _ => {}
    }
    Ok(0)
}

/// `sync()`.
pub(crate) fn sync<S: System>(process: &mut Process<S>, _: &Arguments) -> Answer {
    process.flush_output();
    Ok(0)
}

/// `fadvise64(fd, offset, size, advice)`, `flock(fd, operation)`: advice changes nothing here, and a file that no other program
/// has is locked at once.
pub(crate) fn accept<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    process.files.get(user::int(arguments[0]))?;
    Ok(0)
}

const FROM_START: u64 = 0;
const FROM_HERE: u64 = 1;
const FROM_END: u64 = 2;

/// `lseek(fd, offset, whence)`.
pub(crate) fn lseek<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, offset, whence, ..] = *arguments;
    let file = process.files.get(user::int(fd))?;
    let end = match &file.kind {
        Kind::Input | Kind::Output(_) | Kind::Request | Kind::Response => return Err(Errno::SPIPE),
        Kind::PipeReader(_)
        | Kind::PipeWriter(_)
        | Kind::Stream(_)
        | Kind::Event(_)
        | Kind::Timer(_)
        | Kind::Epoll(_) => return Err(Errno::SPIPE),
        Kind::Null | Kind::Zero | Kind::Random => return Ok(0),
        Kind::Rom(rom, _) => rom.size,
        Kind::Temporary(number, _) => {
            let number = *number;
            process.files.temporary.size(number)
        }
        Kind::Text(text, _) => text.len() as u64,
        Kind::Directory(_) => 0,
    };
    let file = process.files.get(user::int(fd))?;
    let base = match whence {
        FROM_START => 0,
        FROM_HERE => file.offset,
        FROM_END => end,
        _ => return Err(Errno::INVAL),
    };
    let target = (base as i64)
        .checked_add(offset as i64)
        .filter(|target| *target >= 0);
    file.offset = target.ok_or(Errno::INVAL)? as u64;
    Ok(file.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, FILE, FakeSystem, call, process};

    fn opened(path: &[u8], flags: u64) -> Process<FakeSystem> {
        let mut process = process();
        process.system.poke(BASE, path);
        assert_eq!(call(&mut process, 2, &[BASE, flags]), Ok(3));
        process
    }

    #[test]
    fn vectors_are_transferred_at_offsets() {
        let mut process = process();
        process.system.poke(BASE, b"/tmp/file\0");
        assert_eq!(call(&mut process, 2, &[BASE, 0o102]), Ok(3));
        user::write_words(&mut process.system, BASE + 64, &[BASE, 4, BASE + 5, 4]).unwrap();
        assert_eq!(call(&mut process, 296, &[3, BASE + 64, 2, 100]), Ok(8));
        assert_eq!(call(&mut process, 328, &[3, BASE + 64, 1, u64::MAX, 0, 0]), Ok(4));
        assert_eq!(call(&mut process, 328, &[3, BASE + 64, 1, 0, 0, 1]), Err(95));
        user::write_words(&mut process.system, BASE + 64, &[BASE + 200, 5, BASE + 300, 9]).unwrap();
        assert_eq!(call(&mut process, 295, &[3, BASE + 64, 2, 100]), Ok(8));
        assert_eq!(process.system.peek(BASE + 200, 5), b"/tmpf");
        assert_eq!(process.system.peek(BASE + 300, 3), b"ile");
        assert_eq!(call(&mut process, 327, &[3, BASE + 64, 1, 101, 0, 0]), Ok(5));
        assert_eq!(process.system.peek(BASE + 200, 5), b"tmpfi");
        assert_eq!(call(&mut process, 295, &[0, BASE + 64, 2, 0]), Err(29));
        assert_eq!(call(&mut process, 280, &[3, 0, 0, 0]), Ok(0));
        assert_eq!(
            (
                call(&mut process, 73, &[3, 2]),
                call(&mut process, 221, &[9, 0, 0, 0])
            ),
            (Ok(0), Err(9))
        );
        assert_eq!(call(&mut process, 162, &[]), Ok(0));
    }

    #[test]
    fn files_are_read_to_their_end() {
        let mut process = opened(b"/rom/data\0", 0);
        let mut read = Vec::new();
        loop {
            let size = call(&mut process, 0, &[3, BASE, 7]).unwrap() as usize;
            if size == 0 {
                break;
            }
            read.extend(process.system.peek(BASE, size));
        }
        assert_eq!(read, FILE);
        assert_eq!(call(&mut process, 17, &[3, BASE, 5, 2]), Ok(5));
        assert_eq!(process.system.peek(BASE, 5), FILE[2..7]);
        assert_eq!(call(&mut process, 17, &[3, BASE, 5, u64::MAX]), Err(22));
        assert_eq!(call(&mut process, 17, &[3, BASE, 5, 1 << 40]), Ok(0));
    }

    #[test]
    fn offsets_move() {
        let mut process = opened(b"/rom/data\0", 0);
        let size = FILE.len() as u64;
        assert_eq!(call(&mut process, 8, &[3, 0, FROM_END]), Ok(size));
        assert_eq!(
            call(&mut process, 8, &[3, (-3i64) as u64, FROM_HERE]),
            Ok(size - 3)
        );
        assert_eq!(call(&mut process, 0, &[3, BASE, 100]), Ok(3));
        assert_eq!(call(&mut process, 8, &[3, (-1i64) as u64, FROM_START]), Err(22));
        assert_eq!(call(&mut process, 8, &[3, i64::MAX as u64, FROM_END]), Err(22));
        assert_eq!(call(&mut process, 8, &[3, 0, 3]), Err(22));
        assert_eq!(call(&mut process, 8, &[1, 0, FROM_START]), Err(29));
    }

    #[test]
    fn standard_input_is_empty_and_rom_is_not_written() {
        let mut process = opened(b"/rom/data\0", 0);
        assert_eq!(call(&mut process, 0, &[0, BASE, 10]), Ok(0));
        assert_eq!(call(&mut process, 0, &[1, BASE, 10]), Err(9));
        assert_eq!(call(&mut process, 1, &[3, BASE, 10]), Err(9));
        assert_eq!(call(&mut process, 1, &[0, BASE, 10]), Err(9));
        assert_eq!(call(&mut process, 0, &[9, BASE, 10]), Err(9));
        assert_eq!(call(&mut process, 0, &[u64::from(u32::MAX), BASE, 10]), Err(9));
    }

    #[test]
    fn devices_behave() {
        let mut process = opened(b"/dev/zero\0", 0);
        process.system.poke(BASE, &[1; 16]);
        assert_eq!(call(&mut process, 0, &[3, BASE, 8]), Ok(8));
        assert_eq!(process.system.peek(BASE, 9), [0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let mut process = opened(b"/dev/urandom\0", 0);
        assert_eq!(call(&mut process, 0, &[3, BASE, 8]), Ok(8));
        assert_ne!(process.system.peek(BASE, 8), b"/dev/ura");
        let mut process = opened(b"/dev/null\0", 2);
        assert_eq!(call(&mut process, 1, &[3, 1, 1 << 20]), Ok(1 << 20));
        assert_eq!(call(&mut process, 0, &[3, BASE, 8]), Ok(0));
        let mut process = opened(b"/rom\0", 0);
        assert_eq!(call(&mut process, 0, &[3, BASE, 8]), Err(21));
    }

    #[test]
    fn vectors_are_transferred_in_order() {
        let mut process = opened(b"/rom/data\0", 0);
        let vector = [BASE + 256, 4, BASE + 300, 6];
        user::write_words(&mut process.system, BASE, &vector).unwrap();
        assert_eq!(call(&mut process, 19, &[3, BASE, 2]), Ok(10));
        assert_eq!(process.system.peek(BASE + 256, 4), FILE[..4]);
        assert_eq!(process.system.peek(BASE + 300, 6), FILE[4..10]);
        process.system.poke(BASE + 305, b"\n");
        assert_eq!(call(&mut process, 20, &[1, BASE, 2]), Ok(10));
        let mut expected = FILE[..9].to_vec();
        expected.push(b'\n');
        assert_eq!(process.system.log_text().as_bytes(), expected);
        assert_eq!(call(&mut process, 20, &[1, BASE, 1025]), Err(22));
        assert_eq!(call(&mut process, 20, &[1, 16, 1]), Err(14));
    }

    #[test]
    fn fsync_writes_unfinished_lines() {
        let mut process = opened(b"/rom/data\0", 0);
        process.system.poke(BASE, b"half");
        assert_eq!(call(&mut process, 1, &[2, BASE, 4]), Ok(4));
        assert_eq!(call(&mut process, 74, &[1]), Ok(0));
        assert_eq!(process.system.log_text(), "half\n");
        assert_eq!(call(&mut process, 75, &[3]), Ok(0));
        assert_eq!(call(&mut process, 74, &[0]), Err(22));
        assert_eq!(call(&mut process, 74, &[9]), Err(9));
    }

    #[test]
    fn bad_buffers_are_faults() {
        let mut process = opened(b"/rom/data\0", 0);
        assert_eq!(call(&mut process, 0, &[3, 16, 10]), Err(14));
        assert_eq!(call(&mut process, 1, &[1, 16, 10]), Err(14));
    }
}
