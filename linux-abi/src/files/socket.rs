//! Sockets: connected pairs within the program (unix(7)), which are two pipes. There are no others yet, and a program that asks is
//! told what Linux would say without any other family of addresses.

use alloc::vec::Vec;

use super::channel::{self, NONBLOCK, Pipe};
use super::descriptor::{CLOEXEC, Kind, close_descriptor};
use super::poll::{ERROR, HANG_UP, IN, OUT};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

const UNIX: u64 = 1;
const STREAM: u64 = 1;

/// Flags of one transfer: do not wait; a closed peer is an error only.
const DONT_WAIT: u64 = 0x40;
const NO_SIGNAL: u64 = 0x4000;

/// Events of poll(2): the peer writes no more.
const PEER_SHUT: u16 = 0x2000;

/// The peer shuts its socket down for one direction or both.
const SHUT_READ: u64 = 0;
const SHUT_BOTH: u64 = 2;

const SOCKET_LEVEL: u64 = 1;
/// What the pipes hold, as the size of either buffer.
const BUFFER_SIZE: u32 = 64 << 10;

/// An end of a pair: the pipe that it reads from and the one that it writes to, as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    incoming: Option<usize>,
    outgoing: Option<usize>,
}

impl Stream {
    /// Reads what is there; nothing, once the peer writes no more.
    pub(super) fn read<S: System>(
        self,
        process: &mut Process<S>,
        fd: i32,
        address: u64,
        size: u64,
    ) -> Answer {
        match self.incoming {
            Some(pipe) => channel::read_pipe(process, fd, pipe, address, size),
            None => Ok(0),
        }
    }

    /// Writes what there is room for.
    pub(super) fn write<S: System>(
        self,
        process: &mut Process<S>,
        fd: i32,
        address: u64,
        size: u64,
    ) -> Answer {
        match self.outgoing {
            Some(pipe) => channel::write_pipe(process, fd, pipe, address, size),
            None => Err(Errno::PIPE),
        }
    }

    /// Its events, and a number that changes with them.
    pub(super) fn events(self, pipes: &[Option<Pipe>]) -> (u16, u64) {
        let pipe = |index: Option<usize>| pipes.get(index?)?.as_ref();
        let nothing = (false, true, 0);
        let (is_filled, no_writer, written) = pipe(self.incoming).map_or(nothing, Pipe::reading_state);
        let (has_room, no_reader, read) = pipe(self.outgoing).map_or(nothing, Pipe::writing_state);
        let mut events = 0;
        for (condition, event) in [
            (is_filled || no_writer, IN),
            (no_writer, PEER_SHUT),
            (has_room || no_reader, OUT),
            (no_writer && no_reader, HANG_UP),
            (no_reader && self.outgoing.is_some(), ERROR),
        ] {
            events |= if condition { event } else { 0 };
        }
        (events, written + read)
    }

    /// Ends both directions.
    pub(super) fn close<S: System>(self, process: &mut Process<S>) {
        if let Some(pipe) = self.incoming {
            channel::close_end(process, pipe, true);
        }
        if let Some(pipe) = self.outgoing {
            channel::close_end(process, pipe, false);
        }
    }
}

/// `socket(family, …)`.
pub(crate) fn socket<S: System>(_: &mut Process<S>, _: &Arguments) -> Answer {
    Err(Errno::AFNOSUPPORT)
}

/// `socketpair(family, kind, protocol, descriptors)`.
pub(crate) fn socketpair<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [family, kind, protocol, address, ..] = *arguments;
    if family != UNIX {
        return Err(Errno::AFNOSUPPORT);
    }
    if kind & !(CLOEXEC | NONBLOCK) != STREAM || protocol != 0 {
        return Err(Errno::PROTONOSUPPORT);
    }
    let there = channel::new_pipe(&mut process.files.pipes);
    let back = channel::new_pipe(&mut process.files.pipes);
    let ends = [(back, there), (there, back)].map(|(incoming, outgoing)| Stream {
        incoming: Some(incoming),
        outgoing: Some(outgoing),
    });
    let mut descriptors: Vec<i32> = Vec::new();
    let insert = |process: &mut Process<S>, end| {
        let status = kind & NONBLOCK | 2;
        process
            .files
            .insert(Kind::Stream(end), status, kind & CLOEXEC != 0, 0)
    };
    let mut failed = None;
    for end in ends {
        match insert(process, end) {
            Ok(fd) => descriptors.push(fd as i32),
            Err(error) => {
                end.close(process);
                failed = Some(error);
            }
        }
    }
    if failed.is_none() {
        let words = [descriptors[0] as u64 | (descriptors[1] as u64) << 32];
        failed = user::write_words(&mut process.system, address, &words).err();
    }
    let Some(error) = failed else {
        return Ok(0);
    };
    for fd in descriptors {
        close_descriptor(process, fd)?;
    }
    Err(error)
}

/// The end of a pair that a descriptor stands for.
fn stream<S: System>(process: &mut Process<S>, fd: u64) -> Result<Stream, Errno> {
    match process.files.get(user::int(fd))?.kind {
        Kind::Stream(stream) => Ok(stream),
        _ => Err(Errno::NOTSOCK),
    }
}

/// `sendto(fd, buffer, size, flags, address, size)`, without an address: the socket is connected.
pub(crate) fn sendto<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, size, flags, to, _] = *arguments;
    let end = stream(process, fd)?;
    if to != 0 {
        return Err(Errno::ISCONN);
    }
    if flags & !(DONT_WAIT | NO_SIGNAL) != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    let events = end.events(&process.files.pipes).0;
    if flags & NO_SIGNAL != 0 && events & ERROR != 0 {
        return Err(Errno::PIPE);
    }
    if flags & DONT_WAIT != 0 && events & OUT == 0 {
        return Err(Errno::AGAIN);
    }
    end.write(process, user::int(fd), address, size)
}

/// `recvfrom(fd, buffer, size, flags, address, size)`: the peer has no address.
pub(crate) fn recvfrom<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, size, flags, from, from_size] = *arguments;
    let end = stream(process, fd)?;
    if flags & !(DONT_WAIT | NO_SIGNAL) != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    if flags & DONT_WAIT != 0 && end.events(&process.files.pipes).0 & IN == 0 {
        return Err(Errno::AGAIN);
    }
    if from != 0 {
        process.system.write(from_size, &0u32.to_le_bytes())?;
    }
    end.read(process, user::int(fd), address, size)
}

/// `shutdown(fd, how)`.
pub(crate) fn shutdown<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, how, ..] = *arguments;
    let mut ended = stream(process, fd)?;
    if how > SHUT_BOTH {
        return Err(Errno::INVAL);
    }
    let Kind::Stream(kept) = &mut process.files.get(user::int(fd))?.kind else {
        return Err(Errno::NOTSOCK);
    };
    if how == SHUT_READ {
        ended.outgoing = None;
    } else if how != SHUT_BOTH {
        ended.incoming = None;
    }
    if ended.incoming.is_some() {
        kept.incoming = None;
    }
    if ended.outgoing.is_some() {
        kept.outgoing = None;
    }
    ended.close(process);
    Ok(0)
}

/// `getsockname(fd, address, size)`, `getpeername(…)`: a family without a name.
pub(crate) fn getsockname<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, address, size, ..] = *arguments;
    stream(process, fd)?;
    let mut room = [0; 4];
    process.system.read(size, &mut room)?;
    let name = (UNIX as u16).to_le_bytes();
    let fits = name.len().min(u32::from_le_bytes(room) as usize);
    process.system.write(address, &name[..fits])?;
    process.system.write(size, &(name.len() as u32).to_le_bytes())?;
    Ok(0)
}

/// `getsockopt(fd, level, option, value, size)`: kind, family, pending error, sizes of the buffers.
pub(crate) fn getsockopt<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [fd, level, option, address, size, _] = *arguments;
    stream(process, fd)?;
    let value = match (level, option) {
        (SOCKET_LEVEL, 3) => STREAM as u32,
        (SOCKET_LEVEL, 4 | 38) => 0,
        (SOCKET_LEVEL, 7 | 8) => BUFFER_SIZE,
        (SOCKET_LEVEL, 39) => UNIX as u32,
        _ => return Err(Errno::NOPROTOOPT),
    };
    let mut room = [0; 4];
    process.system.read(size, &mut room)?;
    let fits = u32::from_le_bytes(room).min(4);
    process
        .system
        .write(address, &value.to_le_bytes()[..fits as usize])?;
    process.system.write(size, &fits.to_le_bytes())?;
    Ok(0)
}

/// Calls that a connected pair does not know either.
pub(crate) fn no_such_socket<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    stream(process, arguments[0])?;
    Err(Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests;
