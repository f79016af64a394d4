//! Threads: what Linux would keep about each.

use alloc::vec::Vec;

use interfaces::faas::PR_SUPERVISE;
use l4::USER_END;

use crate::identity::PID;
use crate::process::Answer;
use crate::signal::ThreadSignals;
use crate::table::Arguments;
use crate::{Caller, Departure, Errno, Process, System, files, user};

impl Thread {
    /// The list of its robust mutexes, or 0.
    pub(crate) fn robust(&self) -> u64 {
        self.robust
    }
}

/// What a call waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// When it has to be made again.
    pub(crate) deadline: u64,
    /// Its result if a signal comes first.
    pub(crate) if_interrupted: Errno,
}

/// One thread.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    pub(crate) name: [u8; 16],
    pub(crate) signals: ThreadSignals,
    /// The word to clear when the thread ends, or 0.
    pub(crate) clear_on_exit: u64,
    /// The list of its robust mutexes, or 0.
    robust: u64,
    /// The call that it makes waits.
    pub(crate) wait: Option<Wait>,
    /// The call that it makes ends a signal's handler.
    pub(crate) returns: bool,
    /// When the call that it makes gives up waiting.
    pub(crate) deadline: Option<u64>,
}

/// The program's threads, by their numbers.
#[derive(Debug)]
pub(crate) struct Threads {
    list: Vec<Option<Thread>>,
    current: usize,
    /// Stands in for a caller that is no thread of the program any more.
    nobody: Thread,
    last_tid: u32,
}

/// Most ids, as in Linux; they start anew behind.
const TID_LIMIT: u32 = 1 << 22;

impl Threads {
    /// The first thread alone.
    pub(crate) fn new(name: [u8; 16]) -> Threads {
        let first = Thread {
            tid: PID as u32,
            name,
            signals: ThreadSignals::new(),
            clear_on_exit: 0,
            robust: 0,
            wait: None,
            returns: false,
            deadline: None,
        };
        Threads {
            list: Vec::from([Some(first.clone())]),
            current: 0,
            nobody: first,
            last_tid: PID as u32,
        }
    }

    /// Notes who makes the call.
    pub(crate) fn enter(&mut self, thread: u32) {
        self.current = thread as usize;
    }

    /// The calling thread.
    pub(crate) fn current(&mut self) -> &mut Thread {
        match self.list.get_mut(self.current) {
            Some(Some(thread)) => thread,
            _ => &mut self.nobody,
        }
    }

    /// All threads.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.list.iter_mut().flatten()
    }

    /// All threads with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u32, &Thread)> {
        (0..)
            .zip(&self.list)
            .filter_map(|(number, thread)| Some((number, thread.as_ref()?)))
    }

    /// The thread with a number.
    pub(crate) fn by_number(&mut self, number: u32) -> Option<&mut Thread> {
        self.list.get_mut(number as usize)?.as_mut()
    }

    /// The number of the thread with an id.
    pub(crate) fn number_of(&self, tid: u64) -> Option<u32> {
        self.numbered()
            .find(|(_, thread)| u64::from(thread.tid) == tid)
            .map(|(number, _)| number)
    }

    /// An id for a new thread.
    pub(crate) fn new_tid(&mut self) -> u32 {
        loop {
            self.last_tid = match self.last_tid + 1 {
                TID_LIMIT.. => PID as u32 + 1,
                next => next,
            };
            if self.number_of(self.last_tid.into()).is_none() {
                return self.last_tid;
            }
        }
    }

    /// Adds a thread that the calling one has made.
    pub(crate) fn add(&mut self, number: u32, tid: u32, clear_on_exit: u64) {
        let maker = self.current();
        let (name, signals) = (maker.name, maker.signals.inherited());
        let number = number as usize;
        if number >= self.list.len() {
            self.list.resize(number + 1, None);
        }
        self.list[number] = Some(Thread {
            tid,
            name,
            signals,
            clear_on_exit,
            robust: 0,
            wait: None,
            returns: false,
            deadline: None,
        });
    }

    /// Removes the calling thread. Returns what it leaves, and its signals. `None` if it is the last one, which stays.
    pub(crate) fn remove_current(&mut self) -> Option<(Departure, ThreadSignals)> {
        let others = self.list.iter().flatten().count().checked_sub(1)?;
        if others == 0 {
            return None;
        }
        let thread = self.list.get_mut(self.current)?.take()?;
        let departure = Departure {
            tid: thread.tid,
            clear: thread.clear_on_exit,
            robust: thread.robust,
        };
        Some((departure, thread.signals))
    }
}

/// `set_tid_address(address)`: the word to clear when the thread ends. Answers the thread's id.
pub(crate) fn set_tid_address<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let thread = process.threads.current();
    thread.clear_on_exit = arguments[0];
    Ok(thread.tid.into())
}

/// `rt_sigreturn()`: [`Process::return_from_handler`] does it, which has the registers.
pub(crate) fn rt_sigreturn<S: System>(process: &mut Process<S>, _: &Arguments) -> Answer {
    process.threads.current().returns = true;
    Ok(0)
}

/// Size of the head of a list of robust mutexes.
pub(crate) const ROBUST_HEAD_SIZE: u64 = 24;

/// `set_robust_list(head, size)`.
pub(crate) fn set_robust_list<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [head, size, ..] = *arguments;
    if size != ROBUST_HEAD_SIZE {
        return Err(Errno::INVAL);
    }
    process.threads.current().robust = head;
    Ok(0)
}

const ARCH_SET_FS: u64 = 0x1002;

/// `arch_prctl(code, address)`: the FS base, which holds thread-local storage, can be set. GS is the kernel's.
pub(crate) fn arch_prctl(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [code, address, ..] = *arguments;
    if code != ARCH_SET_FS {
        return Err(Errno::INVAL);
    }
    if address >= USER_END {
        return Err(Errno::PERM);
    }
    caller.set_fs_base(address)?;
    Ok(0)
}

const PR_SET_NAME: u64 = 15;
const PR_GET_NAME: u64 = 16;

/// `prctl(option, …)`: the thread's name, and [`PR_SUPERVISE`].
pub(crate) fn prctl<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [option, address, ..] = *arguments;
    match option {
        PR_SET_NAME => {
            let mut name = [0; 16];
            process.system.read(address, &mut name)?;
            name[15] = 0;
            process.threads.current().name = name;
        }
        PR_GET_NAME => {
            let name = process.threads.current().name;
            process.system.write(address, &name)?;
        }
        PR_SUPERVISE => return files::take_over(process),
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

/// `sched_yield()`.
pub(crate) fn sched_yield(caller: &mut impl Caller, _: &Arguments) -> Answer {
    caller.yield_now();
    Ok(0)
}

/// `sched_getaffinity(pid, size, mask)`: the CPUs that the program's threads may run on.
pub(crate) fn sched_getaffinity(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [_, size, address, ..] = *arguments;
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    let cpus = caller.cpus();
    user::write_words(caller, address, &[cpus])?;
    Ok(8)
}

/// `getcpu(cpu, node, cache)`: there is one node.
pub(crate) fn getcpu(caller: &mut impl Caller, arguments: &Arguments) -> Answer {
    let [cpu, node, ..] = *arguments;
    if cpu != 0 {
        let number = caller.cpu();
        caller.write(cpu, &number.to_le_bytes())?;
    }
    if node != 0 {
        caller.write(node, &[0; 4])?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    #[test]
    fn fs_base_is_set_where_user_memory_is() {
        let mut process = process();
        assert_eq!(call(&mut process, 158, &[ARCH_SET_FS, BASE]), Ok(0));
        assert_eq!(process.system.fs_base, BASE);
        assert_eq!(call(&mut process, 158, &[ARCH_SET_FS, u64::MAX]), Err(1));
        assert_eq!(call(&mut process, 158, &[0x1001, BASE]), Err(22));
    }

    #[test]
    fn name_can_be_changed() {
        let mut process = process();
        process.system.poke(BASE, b"a name that is too long");
        assert_eq!(call(&mut process, 157, &[PR_SET_NAME, BASE]), Ok(0));
        assert_eq!(call(&mut process, 157, &[PR_GET_NAME, BASE + 64]), Ok(0));
        assert_eq!(process.system.peek(BASE + 64, 16), b"a name that is \0");
    }

    #[test]
    fn affinity_needs_room_for_a_word() {
        let mut process = process();
        assert_eq!(call(&mut process, 204, &[0, 128, BASE]), Ok(8));
        assert_eq!(process.system.peek(BASE, 8), [0b101, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(call(&mut process, 309, &[BASE, 0]), Ok(0));
        assert_eq!(process.system.peek(BASE, 4), [2, 0, 0, 0]);
        assert_eq!(call(&mut process, 204, &[0, 4, BASE]), Err(22));
    }
}
