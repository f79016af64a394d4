//! Waiting for files with `poll`. All but pipes, connected sockets, event counters, timers and epolls
//! are ready, or never will be.

use l4::NEVER;

use super::descriptor::{DESCRIPTOR_LIMIT, Kind};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, signal, time, user};

pub(super) const IN: u16 = 1;
pub(super) const OUT: u16 = 4;
pub(super) const ERROR: u16 = 8;
pub(super) const HANG_UP: u16 = 0x10;
const INVALID: u16 = 0x20;

pub(super) const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// `poll(descriptors, count, milliseconds)`.
pub(crate) fn poll<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [list, count, timeout, ..] = *arguments;
    let deadline = match u64::try_from(user::int(timeout)) {
        Ok(milliseconds) => process.system.now() + milliseconds * NANOSECONDS_PER_MILLISECOND,
        Err(_) => NEVER,
    };
    poll_until(process, list, count, deadline)
}

/// `ppoll(descriptors, count, timeout, signal mask, size)`.
pub(crate) fn ppoll<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [list, count, timeout, mask, size, _] = *arguments;
    let deadline = if timeout == 0 {
        NEVER
    } else {
        let time = time::read_timespec(&mut process.system, timeout)?;
        process.system.now().saturating_add(time)
    };
    signal::block_meanwhile(process, mask, size)?;
    poll_until(process, list, count, deadline)
}

fn poll_until<S: System>(process: &mut Process<S>, list: u64, count: u64, deadline: u64) -> Answer {
    if count > DESCRIPTOR_LIMIT as u64 {
        return Err(Errno::INVAL);
    }
    let mut entries = user::read_bytes(&mut process.system, list, count as usize * 8)?;
    let mut ready = 0;
    let now = process.system.now();
    for entry in entries.chunks_exact_mut(8) {
        let fd = i32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
        let asked = u16::from_le_bytes([entry[4], entry[5]]);
        let events = if fd < 0 {
            0
        } else {
            events(process, fd, now) & (asked | ERROR | HANG_UP | INVALID)
        };
        entry[6..8].copy_from_slice(&events.to_le_bytes());
        ready += u64::from(events != 0);
    }
    process.system.write(list, &entries)?;
    if ready == 0 {
        process.wait_for_files(deadline, Errno::RESTART_UNHANDLED);
    }
    Ok(ready)
}

fn events<S: System>(process: &mut Process<S>, fd: i32, now: u64) -> u16 {
    match process.files.open_index(fd) {
        Ok(open) => state_of(process, open, now, 0).0,
        Err(_) => INVALID,
    }
}

/// Deepest nesting of epolls that is looked into.
pub(super) const DEPTH_LIMIT: usize = 5;

/// The events of an open file at a time, and a number that changes with them. `depth` is how many epolls it is in.
pub(super) fn state_of<S: System>(process: &Process<S>, open: usize, now: u64, depth: usize) -> (u16, u64) {
    let pipe = |index: usize| process.files.pipes.get(index).and_then(Option::as_ref);
    let either = |condition, event| if condition { event } else { 0 };
    match process.files.by_index(open).map(|file| &file.kind) {
        Some(Kind::Input | Kind::Request) => (IN | HANG_UP, 0),
        Some(Kind::Output(_) | Kind::Response) => (OUT, 0),
        Some(Kind::PipeReader(index)) => pipe(*index).map_or((HANG_UP, 0), |pipe| {
            let (is_filled, is_ended, changes) = pipe.reading_state();
            (either(is_filled, IN) | either(is_ended, HANG_UP), changes)
        }),
        Some(Kind::PipeWriter(index)) => pipe(*index).map_or((ERROR, 0), |pipe| {
            let (has_room, is_ended, changes) = pipe.writing_state();
            (either(has_room, OUT) | either(is_ended, ERROR), changes)
        }),
        Some(Kind::Stream(stream)) => stream.events(&process.files.pipes),
        Some(Kind::Event(counter)) => {
            let (is_filled, has_room, changes) = counter.state();
            (either(is_filled, IN) | either(has_room, OUT), changes)
        }
        Some(Kind::Timer(timer)) => {
            let (has_expired, changes) = timer.state(now);
            (either(has_expired, IN), changes)
        }
        Some(Kind::Epoll(interests)) if depth < DEPTH_LIMIT => {
            let mut sum: (bool, u64) = (false, 0);
            for interest in interests {
                let (events, changes) = state_of(process, interest.open(), now, depth + 1);
                sum.0 |= interest.news(events, changes) != 0;
                sum.1 = sum.1.wrapping_add(changes);
            }
            (either(sum.0, IN), sum.1)
        }
        Some(Kind::Epoll(_)) | None => (0, 0),
        Some(_) => (IN | OUT, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    fn entry(fd: i32, events: u16) -> u64 {
        u64::from(fd as u32) | u64::from(events) << 32
    }

    #[test]
    fn what_is_ready_is_told_at_once() {
        let mut process = process();
        let list = [entry(0, IN), entry(1, IN | OUT), entry(-1, IN), entry(9, IN)];
        user::write_words(&mut process.system, BASE, &list).unwrap();
        assert_eq!(call(&mut process, 7, &[BASE, 4, u64::MAX]), Ok(3));
        let told = user::read_words::<4>(&mut process.system, BASE).unwrap();
        assert_eq!(
            told.map(|word| (word >> 48) as u16),
            [IN | HANG_UP, OUT, 0, INVALID]
        );
        assert_eq!(process.system.time, 0);
    }

    #[test]
    fn the_check_of_standard_streams_at_a_programs_start_finds_them_open() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[entry(1, 0), entry(2, 0)]).unwrap();
        assert_eq!(call(&mut process, 7, &[BASE, 2, 0]), Ok(0));
    }

    #[test]
    fn nothing_ready_takes_the_whole_time() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[entry(1, IN)]).unwrap();
        assert_eq!(call(&mut process, 7, &[BASE, 1, 3]), Ok(0));
        assert_eq!(process.system.time, 3_000_000);
        user::write_words(&mut process.system, BASE + 8, &[0, 5]).unwrap();
        assert_eq!(call(&mut process, 271, &[BASE, 1, BASE + 8, 0]), Ok(0));
        assert_eq!(process.system.time, 3_000_005);
        assert_eq!(call(&mut process, 7, &[BASE, 1000, 3]), Err(22));
    }
}
