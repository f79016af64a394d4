//! Signals: what the program wants done with each, who gets them, and the handlers that run (signal(7)).
//!
//! A signal is pending for one thread, or for the program if all threads block it. The thread that gets one is
//! interrupted: on its way back to the program it finds the signal and enters the handler. What ends the program by default
//! ends it as soon as it is sent.

mod deliver;
mod frame;
mod info;
mod send;
mod stack;
mod wait;

use alloc::vec::Vec;

pub use deliver::Fault;
pub(crate) use info::Info;
pub(crate) use send::{kill, raise, rt_sigqueueinfo, rt_tgsigqueueinfo, tgkill, tkill};
pub use stack::STACK_MINIMUM;
pub(crate) use stack::{AlternateStack, sigaltstack};
pub(crate) use wait::{pause, rt_sigsuspend, rt_sigtimedwait};

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

/// Highest signal number.
const SIGNALS: usize = 64;
/// First of the signals that are queued instead of merged.
const FIRST_QUEUED: u8 = 32;
/// Most signals that wait in one queue.
const QUEUE_LIMIT: usize = 256;
const SIGKILL: u8 = 9;
/// The program wrote to a pipe that nobody reads.
pub(crate) const SIGPIPE: u8 = 13;
const SIGSTOP: u8 = 19;
/// CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH: they do nothing by default, or would stop a program that nobody
/// could continue.
const HARMLESS: [u8; 8] = [17, 18, SIGSTOP, 20, 21, 22, 23, 28];

const HANDLER_DEFAULT: u64 = 0;
const HANDLER_IGNORE: u64 = 1;

/// Flags of an action: run on the alternate stack; restart the interrupted call; do not block the signal meanwhile; only
/// once; `rt_sigreturn` is where the action says.
const ON_STACK: u64 = 0x0800_0000;
const RESTART: u64 = 0x1000_0000;
const NO_DEFER: u64 = 0x4000_0000;
const RESET: u64 = 0x8000_0000;
const RESTORER: u64 = 0x0400_0000;

/// Size of a signal set in bytes; the only one that is accepted.
pub(crate) const SET_SIZE: u64 = 8;
const SET_BLOCK: u64 = 0;
const SET_UNBLOCK: u64 = 1;
const SET_MASK: u64 = 2;
/// What cannot be blocked.
const UNBLOCKABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);

/// What the program wants done with a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

impl Action {
    /// In the order of `struct sigaction` of the system call.
    fn words(&self) -> [u64; 4] {
        [self.handler, self.flags, self.restorer, self.mask]
    }

    fn from_words([handler, flags, restorer, mask]: [u64; 4]) -> Action {
        Action {
            handler,
            flags,
            restorer,
            mask,
        }
    }

    fn ignores(&self, signal: u8) -> bool {
        match self.handler {
            HANDLER_IGNORE => true,
            HANDLER_DEFAULT => HARMLESS.contains(&signal),
            _ => false,
        }
    }
}

/// Signals of the program.
#[derive(Debug)]
pub(crate) struct Signals {
    actions: [Action; SIGNALS],
    /// Those that every thread blocks.
    pending: Queue,
}

impl Signals {
    pub(crate) const fn new() -> Signals {
        let default = Action {
            handler: HANDLER_DEFAULT,
            flags: 0,
            restorer: 0,
            mask: 0,
        };
        Signals {
            actions: [default; SIGNALS],
            pending: Queue::new(),
        }
    }

    fn action(&self, signal: u8) -> &Action {
        &self.actions[usize::from(signal) - 1]
    }

    fn action_mut(&mut self, signal: u8) -> &mut Action {
        &mut self.actions[usize::from(signal) - 1]
    }
}

/// Signals that wait, in the order in which they came.
#[derive(Clone, Debug)]
struct Queue {
    waiting: Vec<Waiting>,
    set: u64,
}

/// A signal that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    info: Info,
    /// It is for any thread, and only happens to wait for this one.
    for_all: bool,
}

impl Queue {
    const fn new() -> Queue {
        Queue {
            waiting: Vec::new(),
            set: 0,
        }
    }

    /// Adds a signal; one that waits already is merged with it.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if too many wait.
    fn add(&mut self, waiting: Waiting) -> Result<(), Errno> {
        let mask = bit(waiting.info.signal);
        if waiting.info.signal < FIRST_QUEUED && self.set & mask != 0 {
            return Ok(());
        }
        if self.waiting.len() >= QUEUE_LIMIT {
            return Err(Errno::AGAIN);
        }
        self.set |= mask;
        self.waiting.push(waiting);
        Ok(())
    }

    /// Takes the first of the signals with the lowest number that is in `set`.
    fn take(&mut self, set: u64) -> Option<Info> {
        let wanted = self.set & set;
        if wanted == 0 {
            return None;
        }
        let signal = wanted.trailing_zeros() as u8 + 1;
        let place = self
            .waiting
            .iter()
            .position(|waiting| waiting.info.signal == signal)?;
        let taken = self.waiting.remove(place).info;
        self.update();
        Some(taken)
    }

    /// Takes all that are for any thread and in `set`.
    fn take_for_all(&mut self, set: u64) -> Vec<Info> {
        let is_meant = |waiting: &Waiting| waiting.for_all && set & bit(waiting.info.signal) != 0;
        let taken = self.waiting.iter().filter(|waiting| is_meant(waiting));
        let taken = taken.map(|waiting| waiting.info).collect();
        self.waiting.retain(|waiting| !is_meant(waiting));
        self.update();
        taken
    }

    /// Forgets a signal.
    fn remove(&mut self, signal: u8) {
        self.waiting.retain(|waiting| waiting.info.signal != signal);
        self.update();
    }

    fn update(&mut self) {
        let bits = self.waiting.iter().map(|waiting| bit(waiting.info.signal));
        self.set = bits.fold(0, |set, bit| set | bit);
    }
}

/// Signals of one thread.
#[derive(Clone, Debug)]
pub(crate) struct ThreadSignals {
    blocked: u64,
    /// What was blocked before the present call blocked something else for as long as it waits.
    saved: Option<u64>,
    /// What the present call waits for.
    awaited: u64,
    pending: Queue,
    stack: AlternateStack,
}

impl ThreadSignals {
    /// Nothing blocked or pending, no alternate stack.
    pub(crate) const fn new() -> ThreadSignals {
        ThreadSignals {
            blocked: 0,
            saved: None,
            awaited: 0,
            pending: Queue::new(),
            stack: AlternateStack::none(),
        }
    }

    /// What a thread starts with that this one makes: its mask.
    pub(crate) fn inherited(&self) -> ThreadSignals {
        ThreadSignals {
            blocked: self.blocked,
            ..ThreadSignals::new()
        }
    }

    /// Whether a signal is there that the thread does not block.
    pub(crate) fn is_due(&self) -> bool {
        self.pending.set & !self.blocked != 0
    }

    /// Blocks other signals until the present call ends, or the handler that ends it.
    fn block_meanwhile(&mut self, mask: u64) {
        self.saved.get_or_insert(self.blocked);
        self.blocked = mask & !UNBLOCKABLE;
    }
}

/// Bit of a signal in a set.
const fn bit(signal: u8) -> u64 {
    1 << (signal - 1)
}

fn check(signal: u64) -> Result<u8, Errno> {
    match signal {
        1..=64 => Ok(signal as u8),
        _ => Err(Errno::INVAL),
    }
}

/// `rt_sigaction(signal, new, old, set size)`.
pub(crate) fn rt_sigaction<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [signal, new, old, size, ..] = *arguments;
    let signal = check(signal)?;
    let can_change = UNBLOCKABLE & bit(signal) == 0;
    if size != SET_SIZE || (new != 0 && !can_change) {
        return Err(Errno::INVAL);
    }
    let before = *process.signals.action(signal);
    let mut after = before;
    if new != 0 {
        after = Action::from_words(user::read_words::<4>(&mut process.system, new)?);
        after.mask &= !UNBLOCKABLE;
    }
    if old != 0 {
        user::write_words(&mut process.system, old, &before.words())?;
    }
    *process.signals.action_mut(signal) = after;
    if after.ignores(signal) {
        process.signals.pending.remove(signal);
        for thread in process.threads.iter_mut() {
            thread.signals.pending.remove(signal);
        }
    }
    Ok(0)
}

/// `rt_sigprocmask(how, new, old, set size)`.
pub(crate) fn rt_sigprocmask<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [how, new, old, size, ..] = *arguments;
    if size != SET_SIZE {
        return Err(Errno::INVAL);
    }
    let before = process.threads.current().signals.blocked;
    let mut after = before;
    if new != 0 {
        let [set] = user::read_words::<1>(&mut process.system, new)?;
        after = match how {
            SET_BLOCK => before | set,
            SET_UNBLOCK => before & !set,
            SET_MASK => set,
            _ => return Err(Errno::INVAL),
        };
    }
    if old != 0 {
        user::write_words(&mut process.system, old, &[before])?;
    }
    if after != before {
        process.set_mask(after);
    }
    Ok(0)
}

/// `rt_sigpending(set, size)`.
pub(crate) fn rt_sigpending<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [address, size, ..] = *arguments;
    if size > SET_SIZE {
        return Err(Errno::INVAL);
    }
    let signals = &process.threads.current().signals;
    let set = (signals.pending.set | process.signals.pending.set) & signals.blocked;
    process
        .system
        .write(address, &set.to_le_bytes()[..size as usize])?;
    Ok(0)
}

/// Reads a signal set that a call has as its last two arguments, and has the calling thread block it until the call ends;
/// nothing if there is none.
pub(crate) fn block_meanwhile<S: System>(
    process: &mut Process<S>,
    address: u64,
    size: u64,
) -> Result<(), Errno> {
    if address == 0 {
        return Ok(());
    }
    if size != SET_SIZE {
        return Err(Errno::INVAL);
    }
    let [mask] = user::read_words::<1>(&mut process.system, address)?;
    process.threads.current().signals.block_meanwhile(mask);
    process.claim_pending();
    Ok(())
}

impl<S: System> Process<S> {
    /// Has the calling thread block these signals.
    fn set_mask(&mut self, mask: u64) {
        let signals = &mut self.threads.current().signals;
        let newly = mask & !signals.blocked;
        signals.blocked = mask & !UNBLOCKABLE;
        if signals.pending.set & newly != 0 {
            // Others may not block them.
            for info in signals.pending.take_for_all(newly) {
                // What was in a queue before finds room there again, or in an emptier one.
                let _ = self.send_to_any(info);
            }
        }
        self.claim_pending();
    }

    /// Has the calling thread take over what is pending for the program and not blocked by it.
    fn claim_pending(&mut self) {
        let signals = &mut self.threads.current().signals;
        while let Some(info) = self.signals.pending.take(!signals.blocked) {
            let waiting = Waiting { info, for_all: true };
            if signals.pending.add(waiting).is_err() {
                break;
            }
        }
        if signals.is_due() {
            self.system.interrupt(self.system.thread());
        }
    }

    /// Ends what the present call blocked only while it waited.
    pub(crate) fn restore_mask(&mut self) {
        let signals = &mut self.threads.current().signals;
        signals.awaited = 0;
        if let Some(mask) = signals.saved.take() {
            self.set_mask(mask);
        }
    }
}

#[cfg(test)]
mod tests;
