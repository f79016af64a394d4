//! Waiting for files with `select`: sets of descriptors as bits.

use l4::NEVER;

use super::descriptor::DESCRIPTOR_LIMIT;
use super::poll::{self, ERROR, HANG_UP, IN, OUT};
use crate::process::Answer;
use crate::table::Arguments;
use crate::time::{self, SECOND};
use crate::{Errno, Process, System, signal, user};

/// Words of a set that has all descriptors.
const WORDS: usize = DESCRIPTOR_LIMIT / 64;
/// Most descriptors of a set, as in C libraries; those beyond [`DESCRIPTOR_LIMIT`] are never open.
const COUNT_MAX: u64 = 1024;

type Set = [u64; WORDS];

/// `select(count, read, write, exceptional, timeout)`.
pub(crate) fn select<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let timeout = arguments[4];
    let deadline = if timeout == 0 {
        NEVER
    } else {
        let [seconds, microseconds] = user::read_words::<2>(&mut process.system, timeout)?;
        if (seconds as i64) < 0 || (microseconds as i64) < 0 {
            return Err(Errno::INVAL);
        }
        let period = seconds
            .saturating_mul(SECOND)
            .saturating_add(microseconds.saturating_mul(1000));
        process.system.now().saturating_add(period)
    };
    select_until(process, arguments, deadline)
}

/// `pselect6(count, read, write, exceptional, timeout, mask and its size)`.
pub(crate) fn pselect6<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let (timeout, mask) = (arguments[4], arguments[5]);
    let deadline = if timeout == 0 {
        NEVER
    } else {
        let time = time::read_timespec(&mut process.system, timeout)?;
        process.system.now().saturating_add(time)
    };
    if mask != 0 {
        let [address, size] = user::read_words::<2>(&mut process.system, mask)?;
        signal::block_meanwhile(process, address, size)?;
    }
    select_until(process, arguments, deadline)
}

/// Reads the first `count` bits of a set.
fn read_set<S: System>(process: &mut Process<S>, address: u64, count: u64) -> Result<Set, Errno> {
    let mut set = [0; WORDS];
    if address != 0 {
        for (index, word) in (0..count.div_ceil(64).min(WORDS as u64)).zip(&mut set) {
            let [bits] = user::read_words::<1>(&mut process.system, address.wrapping_add(index * 8))?;
            let rest = count - index * 64;
            *word = if rest < 64 { bits & ((1 << rest) - 1) } else { bits };
        }
    }
    Ok(set)
}

fn select_until<S: System>(process: &mut Process<S>, arguments: &Arguments, deadline: u64) -> Answer {
    let count = arguments[0];
    if count > COUNT_MAX {
        return Err(Errno::INVAL);
    }
    let addresses = [arguments[1], arguments[2], arguments[3]];
    let now = process.system.now();
    let mut found = 0;
    let mut answers = [[0; WORDS]; 3];
    // What counts as readable, writable and exceptional (select(2)).
    let events = [IN | HANG_UP | ERROR, OUT | ERROR, 0];
    for ((address, events), answer) in addresses.into_iter().zip(events).zip(&mut answers) {
        let set = read_set(process, address, count)?;
        for fd in (0..DESCRIPTOR_LIMIT).filter(|fd| set[fd / 64] & 1 << (fd % 64) != 0) {
            let open = process.files.open_index(fd as i32)?;
            if poll::state_of(process, open, now, 0).0 & events != 0 {
                answer[fd / 64] |= 1 << (fd % 64);
                found += 1;
            }
        }
    }
    if found == 0 {
        process.wait_for_files(deadline, Errno::RESTART_UNHANDLED);
        if process.threads.current().wait.is_some() {
            // The sets are asked for again.
            return Ok(0);
        }
    }
    for (address, answer) in addresses.into_iter().zip(answers) {
        let words = count.div_ceil(64).min(WORDS as u64) as usize;
        if address != 0 {
            let bytes = answer.map(u64::to_le_bytes);
            process.system.write(address, bytes[..words].as_flattened())?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::{BASE, FakeSystem, call, process};

    fn sets(process: &mut Process<FakeSystem>, sets: [u64; 3]) {
        user::write_words(&mut process.system, BASE, &sets).unwrap();
    }

    fn answer(process: &mut Process<FakeSystem>) -> [u64; 3] {
        user::read_words(&mut process.system, BASE).unwrap()
    }

    #[test]
    fn what_is_ready_is_told_and_the_rest_waited_for() {
        let mut process = process();
        assert_eq!(call(&mut process, 290, &[0, 0]), Ok(3));
        sets(&mut process, [0b1001, 0b0010, 0b1011]);
        let arguments = [4, BASE, BASE + 8, BASE + 16, 0, 0];
        assert_eq!(call(&mut process, 23, &arguments), Ok(2));
        assert_eq!(answer(&mut process), [0b0001, 0b0010, 0]);
        sets(&mut process, [0b1000, 0, 0]);
        user::write_words(&mut process.system, BASE + 32, &[0, 7]).unwrap();
        assert_eq!(call(&mut process, 23, &[4, BASE, 0, 0, BASE + 32]), Ok(0));
        assert_eq!(process.system.time, 7000);
        assert_eq!(answer(&mut process), [0, 0, 0]);
        sets(&mut process, [0b1000, 0, 0]);
        let endless = process.system_call(0, 270, &[4, BASE, 0, 0, 0, 0]);
        assert_eq!(endless, Outcome::Wait(NEVER));
        assert_eq!(answer(&mut process)[0], 0b1000, "to be asked for again");
    }

    #[test]
    fn nonsense_is_refused() {
        let mut process = process();
        sets(&mut process, [0b100_0000, 0, 0]);
        assert_eq!(call(&mut process, 23, &[64, BASE, 0, 0, 0]), Err(9));
        assert_eq!(call(&mut process, 23, &[2000, BASE, 0, 0, 0]), Err(22));
        assert_eq!(call(&mut process, 23, &[64, 16, 0, 0, 0]), Err(14));
        user::write_words(&mut process.system, BASE + 32, &[u64::MAX, 0]).unwrap();
        assert_eq!(call(&mut process, 23, &[0, 0, 0, 0, BASE + 32]), Err(22));
        assert_eq!(call(&mut process, 270, &[0, 0, 0, 0, BASE + 32, 0]), Err(22));
    }
}
