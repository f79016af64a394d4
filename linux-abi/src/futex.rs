//! Waiting for words in memory: the queues of `futex`.
//!
//! A waiter looks at the word and joins its queue under the queue's lock, and whoever wakes takes the same lock; so a
//! wake that comes after the word was changed finds every waiter that had not seen the change. Threads block outside
//! the lock. Whether a thread still waits is told by its place alone, so early returns of [`Caller::park`] do no harm.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use l4::NEVER;
use l4re::sync::{Mutex, MutexGuard};

use crate::process::Answer;
use crate::system::THREAD_LIMIT;
use crate::table::Arguments;
use crate::{Caller, Errno, time};

/// Number of queues. Words that share one only cost each other a comparison.
const QUEUES: usize = 64;
/// A thread's place while it is in no queue.
const NOWHERE: u32 = u32::MAX;
/// Threads that are told of a wake at a time, outside the lock.
const BATCH: usize = 16;
/// Matches every waiter.
const ALL_BITS: u32 = u32::MAX;

/// A thread in a queue.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    address: u64,
    bits: u32,
    thread: u32,
}

/// The queues of a program.
#[derive(Debug)]
pub struct Futexes {
    queues: [Mutex<Vec<Waiter>>; QUEUES],
    /// The queue that each thread is in; changed only under that queue's lock.
    places: [AtomicU32; THREAD_LIMIT],
}

type Queue<'a> = MutexGuard<'a, Vec<Waiter>>;

/// The queue of a word.
fn queue_of(address: u64) -> usize {
    // Fibonacci hashing: the upper bits of the product depend on all of the address.
    ((address >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}

impl Default for Futexes {
    fn default() -> Futexes {
        Futexes::new()
    }
}

impl Futexes {
    /// Empty queues.
    pub const fn new() -> Futexes {
        Futexes {
            queues: [const { Mutex::new(Vec::new()) }; QUEUES],
            places: [const { AtomicU32::new(NOWHERE) }; THREAD_LIMIT],
        }
    }

    fn lock(&self, caller: &mut impl Caller, queue: usize) -> Queue<'_> {
        loop {
            if let Some(guard) = self.queues[queue].try_lock() {
                return guard;
            }
            caller.pause();
        }
    }

    fn place(&self, thread: u32) -> &AtomicU32 {
        &self.places[thread as usize]
    }

    /// Waits until a wake with one of `bits` comes, if the word has the value `expected`.
    fn wait(
        &self,
        caller: &mut impl Caller,
        address: u64,
        expected: u32,
        bits: u32,
        deadline: u64,
    ) -> Answer {
        if bits == 0 {
            return Err(Errno::INVAL);
        }
        let thread = caller.thread();
        let number = queue_of(address);
        let mut queue = self.lock(caller, number);
        if caller.load(address)? != expected {
            return Err(Errno::AGAIN);
        }
        queue.push(Waiter {
            address,
            bits,
            thread,
        });
        self.place(thread).store(number as u32, Ordering::Relaxed);
        drop(queue);
        loop {
            caller.park(deadline);
            if self.place(thread).load(Ordering::Acquire) == NOWHERE {
                return Ok(0);
            }
            if caller.is_interrupted() && self.withdraw(caller, thread) {
                // A wait with a time would wait for all of it again.
                return Err(match deadline {
                    NEVER => Errno::RESTART,
                    _ => Errno::RESTART_UNHANDLED,
                });
            }
            if deadline != NEVER && caller.now() >= deadline && self.withdraw(caller, thread) {
                return Err(Errno::TIMEDOUT);
            }
        }
    }

    /// Takes a thread out of its queue. False if somebody has woken it.
    fn withdraw(&self, caller: &mut impl Caller, thread: u32) -> bool {
        loop {
            let place = self.place(thread).load(Ordering::Acquire);
            if place == NOWHERE {
                return false;
            }
            let mut queue = self.lock(caller, place as usize);
            // It may have been moved before the lock was taken.
            if self.place(thread).load(Ordering::Relaxed) == place {
                queue.retain(|waiter| waiter.thread != thread);
                self.place(thread).store(NOWHERE, Ordering::Release);
                return true;
            }
        }
    }

    /// Wakes up to `count` threads that wait for the word with one of `bits`, longest waiting first. Returns how many.
    pub(crate) fn wake(&self, caller: &mut impl Caller, address: u64, count: u64, bits: u32) -> u64 {
        let number = queue_of(address);
        let mut queue = self.lock(caller, number);
        let is_meant = |waiter: &Waiter| waiter.address == address && waiter.bits & bits != 0;
        if count == 1 {
            let Some(place) = queue.iter().position(is_meant) else {
                return 0;
            };
            let waiter = queue.remove(place);
            self.place(waiter.thread).store(NOWHERE, Ordering::Release);
            drop(queue);
            caller.unpark(waiter.thread);
            return 1;
        }
        // Those that come later, perhaps because they were woken, are not meant.
        let count = count.min(queue.iter().filter(|waiter| is_meant(waiter)).count() as u64);
        drop(queue);
        let mut woken = 0;
        while woken < count {
            let mut batch = Batch::new();
            let mut queue = self.lock(caller, number);
            self.take(&mut queue, &mut batch, address, count - woken, bits);
            drop(queue);
            if batch.used == 0 {
                break;
            }
            woken += batch.unpark(caller);
        }
        woken
    }

    /// Moves waiters from their queue to a batch.
    fn take(&self, queue: &mut Queue<'_>, batch: &mut Batch, address: u64, count: u64, bits: u32) {
        let room = count.min(BATCH as u64) as usize;
        queue.retain(|waiter| {
            let is_meant = batch.used < room && waiter.address == address && waiter.bits & bits != 0;
            if is_meant {
                self.place(waiter.thread).store(NOWHERE, Ordering::Release);
                batch.add(waiter.thread);
            }
            !is_meant
        });
    }

    /// Wakes up to `wake` waiters of a word and has up to `keep` others wait for `target` instead, if the word has the
    /// value `expected`. Returns both numbers.
    fn requeue(
        &self,
        caller: &mut impl Caller,
        address: u64,
        target: u64,
        [wake, keep]: [u64; 2],
        expected: Option<u32>,
    ) -> Result<(u64, u64), Errno> {
        let (from, to) = (queue_of(address), queue_of(target));
        // Locks are taken in the order of their numbers.
        let mut first = self.lock(caller, from.min(to));
        let mut second = (from != to).then(|| self.lock(caller, from.max(to)));
        if let Some(expected) = expected
            && caller.load(address)? != expected
        {
            return Err(Errno::AGAIN);
        }
        let mut moved = Vec::new();
        let mut to_wake = Vec::new();
        let source = match &mut second {
            Some(second) if from > to => second,
            _ => &mut first,
        };
        source.retain(|waiter| {
            if waiter.address != address {
                return true;
            }
            if (to_wake.len() as u64) < wake {
                self.place(waiter.thread).store(NOWHERE, Ordering::Release);
                to_wake.push(waiter.thread);
            } else if (moved.len() as u64) < keep {
                self.place(waiter.thread).store(to as u32, Ordering::Release);
                moved.push(Waiter {
                    address: target,
                    ..*waiter
                });
            } else {
                return true;
            }
            false
        });
        let drain = match &mut second {
            Some(second) if to > from => second,
            _ => &mut first,
        };
        drain.extend_from_slice(&moved);
        drop(second);
        drop(first);
        for thread in &to_wake {
            caller.unpark(*thread);
        }
        Ok((to_wake.len() as u64, moved.len() as u64))
    }
}

/// Threads that were taken out of a queue and are not told yet.
struct Batch {
    threads: [u32; BATCH],
    used: usize,
}

impl Batch {
    fn new() -> Batch {
        Batch {
            threads: [0; BATCH],
            used: 0,
        }
    }

    fn add(&mut self, thread: u32) {
        self.threads[self.used] = thread;
        self.used += 1;
    }

    fn unpark(&self, caller: &mut impl Caller) -> u64 {
        for thread in &self.threads[..self.used] {
            caller.unpark(*thread);
        }
        self.used as u64
    }
}

const COMMAND: u64 = 0x7f;
const CLOCK_REALTIME: u64 = 0x100;
const WAIT: u64 = 0;
const WAKE: u64 = 1;
const REQUEUE: u64 = 3;
const CMP_REQUEUE: u64 = 4;
const WAKE_OP: u64 = 5;
const WAIT_BITSET: u64 = 9;
const WAKE_BITSET: u64 = 10;

/// `futex(address, operation, value, timeout or second value, second address, third value)`. Private and shared words
/// are the same: nobody else has the program's memory.
pub(crate) fn futex(caller: &mut impl Caller, futexes: &Futexes, arguments: &Arguments) -> Answer {
    let [address, operation, value, timeout, second, third] = *arguments;
    if !address.is_multiple_of(4) {
        return Err(Errno::INVAL);
    }
    let command = operation & COMMAND;
    match command {
        WAIT | WAIT_BITSET => {
            let deadline = deadline(caller, operation, timeout)?;
            let bits = if command == WAIT { ALL_BITS } else { third as u32 };
            futexes.wait(caller, address, value as u32, bits, deadline)
        }
        WAKE => Ok(futexes.wake(caller, address, count(value), ALL_BITS)),
        WAKE_BITSET if third as u32 == 0 => Err(Errno::INVAL),
        WAKE_BITSET => Ok(futexes.wake(caller, address, count(value), third as u32)),
        REQUEUE | CMP_REQUEUE if !second.is_multiple_of(4) => Err(Errno::INVAL),
        REQUEUE => {
            let counts = [value, timeout].map(count_exactly);
            let (woken, _) = futexes.requeue(caller, address, second, counts, None)?;
            Ok(woken)
        }
        CMP_REQUEUE => {
            let counts = [value, timeout].map(count_exactly);
            let (woken, moved) = futexes.requeue(caller, address, second, counts, Some(third as u32))?;
            Ok(woken + moved)
        }
        WAKE_OP => wake_op(caller, futexes, arguments),
        _ => Err(Errno::NOSYS),
    }
}

/// When a wait ends: `FUTEX_WAIT` names a period, `FUTEX_WAIT_BITSET` a time.
fn deadline(caller: &mut impl Caller, operation: u64, timeout: u64) -> Answer {
    if timeout == 0 {
        return Ok(NEVER);
    }
    let time = time::read_timespec(caller, timeout)?;
    Ok(if operation & COMMAND == WAIT {
        caller.now().saturating_add(time)
    } else {
        time::absolute(caller, operation & CLOCK_REALTIME != 0, time)
    })
}

/// A number of waiters of a wake; as on Linux, at least one is woken.
fn count(argument: u64) -> u64 {
    count_exactly(argument).max(1)
}

/// A number of waiters; negative ones are none.
fn count_exactly(argument: u64) -> u64 {
    u64::try_from(argument as u32 as i32).unwrap_or(0)
}

/// Changes the second word, wakes waiters of the first, and those of the second if its old value was right.
fn wake_op(caller: &mut impl Caller, futexes: &Futexes, arguments: &Arguments) -> Answer {
    let [address, _, wake, wake_second, second, encoded] = *arguments;
    if !second.is_multiple_of(4) {
        return Err(Errno::INVAL);
    }
    let encoded = encoded as u32;
    // Sign-extended fields of 12 bits (`FUTEX_OP` in linux/futex.h).
    let signed = |field: u32| ((field << 20) as i32 >> 20) as u32;
    let (compared, mut operand) = (signed(encoded & 0xfff), signed(encoded >> 12 & 0xfff));
    let (comparison, operation) = (encoded >> 24 & 0xf, encoded >> 28 & 0x7);
    if encoded >> 31 != 0 {
        operand = 1 << (operand & 31);
    }
    let mut old = caller.load(second)?;
    loop {
        let new = match operation {
            0 => operand,
            1 => old.wrapping_add(operand),
            2 => old | operand,
            3 => old & !operand,
            4 => old ^ operand,
            _ => return Err(Errno::NOSYS),
        };
        match caller.compare_exchange(second, old, new)? {
            found if found == old => break,
            found => old = found,
        }
    }
    let (old, compared) = (old as i32, compared as i32);
    let is_right = match comparison {
        0 => old == compared,
        1 => old != compared,
        2 => old < compared,
        3 => old <= compared,
        4 => old > compared,
        5 => old >= compared,
        _ => return Err(Errno::NOSYS),
    };
    let woken = futexes.wake(caller, address, count(wake), ALL_BITS);
    let also = if is_right {
        futexes.wake(caller, second, count(wake_second), ALL_BITS)
    } else {
        0
    };
    Ok(woken + also)
}

/// In a word of a robust mutex: somebody waits.
const WAITERS: u32 = 0x8000_0000;
/// In a word of a robust mutex: its owner has ended.
const OWNER_DIED: u32 = 0x4000_0000;
/// In a word of a robust mutex: the owner's thread id.
const OWNER: u32 = 0x3fff_ffff;
/// Most mutexes of a list, as in Linux.
const ROBUST_LIMIT: usize = 2048;

/// What a thread that ends leaves to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Its thread id.
    pub(crate) tid: u32,
    /// The word to clear and wake, or 0.
    pub(crate) clear: u64,
    /// The list of its robust mutexes, or 0.
    pub(crate) robust: u64,
}

/// Frees the robust mutexes of a thread that ends, and tells whoever waits for its end.
pub fn depart(caller: &mut impl Caller, futexes: &Futexes, departure: Departure) {
    // A list that leads nowhere is the program's fault; what was freed before stays so.
    let _ = free_robust(caller, futexes, departure);
    if departure.clear != 0 && caller.write(departure.clear, &[0; 4]).is_ok() {
        futexes.wake(caller, departure.clear, 1, ALL_BITS);
    }
}

fn free_robust(caller: &mut impl Caller, futexes: &Futexes, departure: Departure) -> Result<(), Errno> {
    let head = departure.robust;
    if head == 0 {
        return Ok(());
    }
    let [first, offset, pending] = crate::user::read_words::<3>(caller, head)?;
    // The lowest bit of a pointer says that the mutex inherits priorities.
    let mut entry = first & !1;
    for _ in 0..ROBUST_LIMIT {
        if entry == head {
            break;
        }
        let [next] = crate::user::read_words::<1>(caller, entry)?;
        if entry != pending & !1 {
            free_mutex(caller, futexes, entry.wrapping_add(offset), departure.tid)?;
        }
        entry = next & !1;
    }
    if pending & !1 != 0 {
        free_mutex(
            caller,
            futexes,
            (pending & !1).wrapping_add(offset),
            departure.tid,
        )?;
    }
    Ok(())
}

fn free_mutex(caller: &mut impl Caller, futexes: &Futexes, address: u64, tid: u32) -> Result<(), Errno> {
    if !address.is_multiple_of(4) {
        return Err(Errno::INVAL);
    }
    let mut word = caller.load(address)?;
    while word & OWNER == tid {
        let found = caller.compare_exchange(address, word, word & WAITERS | OWNER_DIED)?;
        if found == word {
            if word & WAITERS != 0 {
                futexes.wake(caller, address, 1, ALL_BITS);
            }
            break;
        }
        word = found;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
