//! Waiting for many files with `epoll`.

use alloc::vec::Vec;

use l4::NEVER;

use super::descriptor::{CLOEXEC, Kind};
use super::poll::{self, HANG_UP, NANOSECONDS_PER_MILLISECOND};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, signal, time, user};

const ADD: i32 = 1;
const DELETE: i32 = 2;
const MODIFY: i32 = 3;

/// Flag of an interest: tell of changes only.
const EDGE: u32 = 1 << 31;
/// Flag of an interest: tell once.
const ONE_SHOT: u32 = 1 << 30;
/// Events that are told of whether they were asked for or not: error, hang-up.
const ALWAYS: u32 = 8 | HANG_UP as u32;
/// Size of `struct epoll_event`, which is packed.
const EVENT_SIZE: u64 = 12;

/// A file that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interest {
    fd: i32,
    /// The open file; a descriptor can come to mean another one.
    open: usize,
    events: u32,
    data: u64,
    /// The changes of the file that were told of.
    told: Option<u64>,
    is_armed: bool,
}

impl Interest {
    /// The open file.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// The events to tell of when the file has these, and has changed so often.
    pub(super) fn news(&self, events: u16, changes: u64) -> u32 {
        let is_news = self.events & EDGE == 0 || self.told != Some(changes);
        if self.is_armed && is_news {
            u32::from(events) & (self.events | ALWAYS)
        } else {
            0
        }
    }

    /// Tells whether it is one in this open file.
    pub(super) fn is_in(&self, open: usize) -> bool {
        self.open == open
    }
}

/// `epoll_create(size)`.
pub(crate) fn epoll_create<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    if user::int(arguments[0]) <= 0 {
        return Err(Errno::INVAL);
    }
    epoll_create1(process, &[0; 6])
}

/// `epoll_create1(flags)`.
pub(crate) fn epoll_create1<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let flags = arguments[0];
    if flags & !CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    let kind = Kind::Epoll(Vec::new());
    Ok(process.files.insert(kind, 2, flags & CLOEXEC != 0, 0)? as u64)
}

fn interests<S: System>(process: &mut Process<S>, fd: i32) -> Result<&mut Vec<Interest>, Errno> {
    match &mut process.files.get(fd)?.kind {
        Kind::Epoll(interests) => Ok(interests),
        _ => Err(Errno::INVAL),
    }
}

/// Tells whether one epoll is another, or waits for it, or waits for one that does.
fn reaches<S: System>(process: &Process<S>, from: usize, target: usize, depth: usize) -> bool {
    if from == target {
        return true;
    }
    match process.files.by_index(from).map(|file| &file.kind) {
        // One that is nested too deep counts as well.
        Some(Kind::Epoll(_)) if depth == poll::DEPTH_LIMIT => true,
        Some(Kind::Epoll(interests)) => interests
            .iter()
            .any(|interest| reaches(process, interest.open, target, depth + 1)),
        _ => false,
    }
}

/// `epoll_ctl(epoll, operation, fd, event)`. Files are always ready and refused, as on Linux.
pub(crate) fn epoll_ctl<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [epoll, operation, fd, event, ..] = *arguments;
    let [epoll, operation, fd] = [epoll, operation, fd].map(user::int);
    let open = process.files.open_index(fd)?;
    match process.files.get(fd)?.kind {
        Kind::Epoll(_) if operation == ADD => {
            let outer = process.files.open_index(epoll)?;
            interests(process, epoll)?;
            if outer == open {
                return Err(Errno::INVAL);
            }
            if reaches(process, open, outer, 1) {
                return Err(Errno::LOOP);
            }
        }
        Kind::Rom(..) | Kind::Directory(_) | Kind::Text(..) | Kind::Temporary(..) => {
            return Err(Errno::PERM);
        }
        _ => {}
    }
    let wanted = if operation == DELETE {
        interests(process, epoll)?;
        None
    } else {
        let mut bytes = [0; EVENT_SIZE as usize];
        process.system.read(event, &mut bytes)?;
        let [a, b, c, d, ref data @ ..] = bytes;
        Some(Interest {
            fd,
            open,
            events: u32::from_le_bytes([a, b, c, d]),
            data: u64::from_le_bytes(*data),
            told: None,
            is_armed: true,
        })
    };
    let list = interests(process, epoll)?;
    let place = list
        .iter()
        .position(|interest| interest.fd == fd && interest.open == open);
    match (operation, place, wanted) {
        (ADD, None, Some(wanted)) => list.push(wanted),
        (MODIFY, Some(place), Some(wanted)) => list[place] = wanted,
        (DELETE, Some(place), _) => drop(list.remove(place)),
        (ADD, Some(_), _) => return Err(Errno::EXIST),
        (MODIFY | DELETE, None, _) => return Err(Errno::NOENT),
        _ => return Err(Errno::INVAL),
    }
    // Whoever waits there has something else to wait for.
    process.files_changed();
    Ok(0)
}

/// `epoll_wait(epoll, events, count, milliseconds)`.
pub(crate) fn epoll_wait<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [epoll, events, count, timeout, ..] = *arguments;
    let deadline = match u64::try_from(user::int(timeout)) {
        Ok(milliseconds) => process.system.now() + milliseconds * NANOSECONDS_PER_MILLISECOND,
        Err(_) => NEVER,
    };
    wait(process, epoll, events, count, deadline)
}

/// `epoll_pwait(epoll, events, count, milliseconds, signal mask, size)`.
pub(crate) fn epoll_pwait<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    signal::block_meanwhile(process, arguments[4], arguments[5])?;
    epoll_wait(process, arguments)
}

/// `epoll_pwait2(epoll, events, count, timeout, signal mask, size)`.
pub(crate) fn epoll_pwait2<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [epoll, events, count, timeout, mask, size] = *arguments;
    let deadline = if timeout == 0 {
        NEVER
    } else {
        let time = time::read_timespec(&mut process.system, timeout)?;
        process.system.now().saturating_add(time)
    };
    signal::block_meanwhile(process, mask, size)?;
    wait(process, epoll, events, count, deadline)
}

fn wait<S: System>(process: &mut Process<S>, epoll: u64, events: u64, count: u64, deadline: u64) -> Answer {
    let (epoll, count) = (user::int(epoll), user::int(count));
    if count <= 0 {
        return Err(Errno::INVAL);
    }
    let mut list = core::mem::take(interests(process, epoll)?);
    let told = tell(process, &mut list, events, count as u64);
    *interests(process, epoll)? = list;
    let told = told?;
    if told == 0 {
        process.wait_for_files(deadline, Errno::RESTART_UNHANDLED);
    }
    Ok(told)
}

/// Writes down what happened to the files of a list. Who was told of goes to its end, so that all have their turn.
fn tell<S: System>(process: &mut Process<S>, list: &mut Vec<Interest>, target: u64, count: u64) -> Answer {
    let now = process.system.now();
    let mut told = Vec::new();
    let mut result = Ok(0);
    let mut place = 0;
    for _ in 0..list.len() {
        let interest = &mut list[place];
        let (events, changes) = poll::state_of(process, interest.open, now, 1);
        let events = interest.news(events, changes);
        if events == 0 || told.len() as u64 == count {
            place += 1;
            continue;
        }
        let mut bytes = [0; EVENT_SIZE as usize];
        bytes[..4].copy_from_slice(&events.to_le_bytes());
        bytes[4..].copy_from_slice(&interest.data.to_le_bytes());
        let address = target.wrapping_add(told.len() as u64 * EVENT_SIZE);
        if let Err(error) = process.system.write(address, &bytes) {
            result = Err(error);
            break;
        }
        interest.told = Some(changes);
        interest.is_armed = interest.events & ONE_SHOT == 0;
        told.push(list.remove(place));
    }
    let number = told.len() as u64;
    list.append(&mut told);
    match result {
        Err(error) if number == 0 => Err(error),
        _ => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::{BASE, FakeSystem, call, outcome, process};

    const IN: u32 = 1;
    const OUT: u32 = 4;

    fn event(process: &mut Process<FakeSystem>, events: u32, data: u64) -> u64 {
        process.system.poke(BASE + 0x100, &events.to_le_bytes());
        process.system.poke(BASE + 0x104, &data.to_le_bytes());
        BASE + 0x100
    }

    fn control(process: &mut Process<FakeSystem>, operation: i32, fd: u64, events: u32) -> Result<u64, u64> {
        let event = event(process, events, fd * 100);
        call(process, 233, &[3, operation as u64, fd, event])
    }

    /// What is ready now: events and data of each.
    fn ready(process: &mut Process<FakeSystem>) -> Vec<(u32, u64)> {
        let count = call(process, 232, &[3, BASE + 0x200, 8, 0]).unwrap();
        let told = process.system.peek(BASE + 0x200, count as usize * 12);
        let word = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        told.chunks(12)
            .map(|event| (word(&event[..4]) as u32, word(&event[4..])))
            .collect()
    }

    fn add(process: &mut Process<FakeSystem>, fd: u64) {
        user::write_words(&mut process.system, BASE, &[1]).unwrap();
        assert_eq!(call(process, 1, &[fd, BASE, 8]), Ok(8));
    }

    #[test]
    fn levels_are_told_again_edges_once() {
        let mut process = process();
        assert_eq!(call(&mut process, 291, &[CLOEXEC]), Ok(3));
        let level = call(&mut process, 290, &[0, 0]).unwrap();
        let edge = call(&mut process, 290, &[0, 0]).unwrap();
        let once = call(&mut process, 290, &[0, 0]).unwrap();
        assert_eq!(control(&mut process, ADD, level, IN), Ok(0));
        assert_eq!(control(&mut process, ADD, edge, IN | EDGE), Ok(0));
        assert_eq!(control(&mut process, ADD, once, IN | ONE_SHOT), Ok(0));
        assert_eq!(ready(&mut process), []);
        for fd in [level, edge, once] {
            add(&mut process, fd);
        }
        assert_eq!(
            ready(&mut process),
            [(IN, level * 100), (IN, edge * 100), (IN, once * 100)]
        );
        assert_eq!(ready(&mut process), [(IN, level * 100)]);
        add(&mut process, edge);
        add(&mut process, once);
        assert_eq!(ready(&mut process), [(IN, edge * 100), (IN, level * 100)]);
        assert_eq!(control(&mut process, MODIFY, once, IN | OUT | ONE_SHOT), Ok(0));
        assert!(ready(&mut process).contains(&(IN | OUT, once * 100)));
        assert_eq!(control(&mut process, DELETE, level, 0), Ok(0));
        assert_eq!(ready(&mut process), []);
    }

    #[test]
    fn ends_of_pipes_are_waited_for_until_the_deadline() {
        let mut process = process();
        assert_eq!(call(&mut process, 213, &[1]), Ok(3));
        assert_eq!(call(&mut process, 22, &[BASE]), Ok(0));
        let (reader, writer) = (4, 5);
        assert_eq!(control(&mut process, ADD, reader, IN), Ok(0));
        let wait = [3, BASE + 0x200, 8, 7];
        assert_eq!(outcome(&mut process, 232, &wait), Outcome::Wait(7_000_000));
        process.system.time = 5_000_000;
        assert_eq!(
            outcome(&mut process, 232, &wait),
            Outcome::Wait(7_000_000),
            "made again"
        );
        process.system.time = 7_000_000;
        assert_eq!(outcome(&mut process, 232, &wait), Outcome::Return(0));
        assert_eq!(call(&mut process, 1, &[writer, BASE, 4]), Ok(4));
        assert_eq!(ready(&mut process), [(IN, 400)]);
        assert_eq!(call(&mut process, 3, &[writer]), Ok(0));
        assert_eq!(ready(&mut process), [(IN | u32::from(HANG_UP), 400)]);
        assert_eq!(call(&mut process, 3, &[reader]), Ok(0));
        assert_eq!(ready(&mut process), [], "what is closed is not waited for");
        user::write_words(&mut process.system, BASE, &[0, 5]).unwrap();
        assert_eq!(call(&mut process, 441, &[3, BASE + 0x200, 8, BASE, 0, 8]), Ok(0));
    }

    #[test]
    fn an_epoll_waits_for_another_and_never_for_itself() {
        let mut process = process();
        for fd in 3..10 {
            assert_eq!(call(&mut process, 291, &[0]), Ok(fd));
        }
        let counter = call(&mut process, 290, &[0, 0]).unwrap();
        let nest = |process: &mut Process<FakeSystem>, outer: u64, inner: u64| {
            let event = event(process, IN, inner * 100);
            call(process, 233, &[outer, ADD as u64, inner, event])
        };
        assert_eq!(nest(&mut process, 4, counter), Ok(0));
        assert_eq!(nest(&mut process, 3, 4), Ok(0));
        assert_eq!(ready(&mut process), []);
        add(&mut process, counter);
        assert_eq!(ready(&mut process), [(IN, 400)]);
        assert_eq!(call(&mut process, 0, &[counter, BASE, 8]), Ok(8));
        assert_eq!(ready(&mut process), []);
        assert_eq!(nest(&mut process, 3, 3), Err(22));
        assert_eq!(nest(&mut process, 4, 3), Err(40));
        for inner in 5..9 {
            assert_eq!(nest(&mut process, inner, inner + 1), Ok(0));
        }
        assert_eq!(nest(&mut process, 4, 5), Err(40), "too deep");
    }

    #[test]
    fn nonsense_is_refused() {
        let mut process = process();
        assert_eq!(call(&mut process, 291, &[1]), Err(22));
        assert_eq!(call(&mut process, 213, &[0]), Err(22));
        assert_eq!(call(&mut process, 291, &[0]), Ok(3));
        let fd = call(&mut process, 290, &[0, 0]).unwrap();
        assert_eq!(control(&mut process, ADD, 3, IN), Err(22));
        assert_eq!(control(&mut process, ADD, 99, IN), Err(9));
        assert_eq!(control(&mut process, MODIFY, fd, IN), Err(2));
        assert_eq!(control(&mut process, DELETE, fd, IN), Err(2));
        assert_eq!(control(&mut process, ADD, fd, IN), Ok(0));
        assert_eq!(control(&mut process, ADD, fd, IN), Err(17));
        assert_eq!(control(&mut process, 9, fd, IN), Err(22));
        assert_eq!(call(&mut process, 233, &[fd, ADD as u64, 1, BASE]), Err(22));
        assert_eq!(call(&mut process, 233, &[3, ADD as u64, 1, 8]), Err(14));
        assert_eq!(call(&mut process, 232, &[3, BASE, 0, 0]), Err(22));
        add(&mut process, fd);
        assert_eq!(call(&mut process, 232, &[3, 8, 1, 0]), Err(14));
        process.system.poke(BASE, b"/rom/data\0");
        assert_eq!(call(&mut process, 2, &[BASE, 0]), Ok(5));
        assert_eq!(control(&mut process, ADD, 5, IN), Err(1));
    }
}
