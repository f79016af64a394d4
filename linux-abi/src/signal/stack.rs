//! Alternate stacks for handlers (sigaltstack(2)).

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

/// Words of `stack_t`: start, flags, size.
pub(super) const STACK_WORDS: usize = 3;

/// Flags of `stack_t`: the thread is on it; there is none; it is taken away while a handler runs on it.
const ON_STACK: u64 = 1;
const DISABLED: u64 = 2;
const AUTODISARM: u64 = 1 << 31;
/// Smallest alternate stack that is accepted, in bytes (`MINSIGSTKSZ`): a frame fits.
pub const STACK_MINIMUM: u64 = 2048;

/// A thread's alternate stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AlternateStack {
    start: u64,
    /// In bytes; 0 if there is none.
    size: u64,
    is_disarmed: bool,
}

impl AlternateStack {
    /// None.
    pub(super) const fn none() -> AlternateStack {
        AlternateStack {
            start: 0,
            size: 0,
            is_disarmed: false,
        }
    }

    /// Whether there is one.
    pub(super) fn is_enabled(&self) -> bool {
        self.size > 0
    }

    /// Whether handlers take it away while they run.
    pub(super) fn is_disarmed(&self) -> bool {
        self.is_disarmed
    }

    /// Its end.
    pub(super) fn end(&self) -> u64 {
        self.start.wrapping_add(self.size)
    }

    /// Whether a stack pointer lies on it.
    pub(super) fn contains(&self, pointer: u64) -> bool {
        pointer > self.start && pointer - self.start <= self.size
    }

    /// As `stack_t`, for a thread with this stack pointer.
    pub(super) fn words(&self, pointer: u64) -> [u64; STACK_WORDS] {
        let state = match self.is_enabled() {
            false => DISABLED,
            // While a handler runs there it would have been taken away.
            true if self.is_disarmed => AUTODISARM,
            true if self.contains(pointer) => ON_STACK,
            true => 0,
        };
        [self.start, state, self.size]
    }

    /// From `stack_t`.
    pub(super) fn from_words(words: [u64; STACK_WORDS]) -> Result<AlternateStack, Errno> {
        let [start, flags, size] = words;
        let flags = flags & u64::from(u32::MAX);
        match flags & !AUTODISARM {
            DISABLED => Ok(AlternateStack::none()),
            0 | ON_STACK if size < STACK_MINIMUM => Err(Errno::NOMEM),
            0 | ON_STACK => Ok(AlternateStack {
                start,
                size,
                is_disarmed: flags & AUTODISARM != 0,
            }),
            _ => Err(Errno::INVAL),
        }
    }
}

/// `sigaltstack(new, old)`.
pub(crate) fn sigaltstack<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [new, old, ..] = *arguments;
    let pointer = process.system.stack_pointer();
    let before = process.threads.current().signals.stack;
    let mut after = before;
    if new != 0 {
        if before.is_enabled() && !before.is_disarmed && before.contains(pointer) {
            return Err(Errno::PERM);
        }
        after = AlternateStack::from_words(user::read_words(&mut process.system, new)?)?;
    }
    if old != 0 {
        user::write_words(&mut process.system, old, &before.words(pointer))?;
    }
    process.threads.current().signals.stack = after;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, call, process};

    #[test]
    fn alternate_stack_is_kept_and_told() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[0x5000, 0, 8192]).unwrap();
        assert_eq!(call(&mut process, 131, &[BASE, BASE + 64]), Ok(0));
        assert_eq!(user::read_words(&mut process.system, BASE + 64), Ok([0, 2, 0]));
        assert_eq!(call(&mut process, 131, &[0, BASE + 64]), Ok(0));
        assert_eq!(
            user::read_words(&mut process.system, BASE + 64),
            Ok([0x5000, 0, 8192])
        );
        user::write_words(&mut process.system, BASE, &[0x5000, 0, 100]).unwrap();
        assert_eq!(call(&mut process, 131, &[BASE, 0]), Err(12));
        user::write_words(&mut process.system, BASE, &[0x5000, 8, 8192]).unwrap();
        assert_eq!(call(&mut process, 131, &[BASE, 0]), Err(22));
    }

    #[test]
    fn a_thread_on_its_alternate_stack_cannot_change_it() {
        let mut process = process();
        user::write_words(&mut process.system, BASE, &[0x5000, 0, 8192]).unwrap();
        assert_eq!(call(&mut process, 131, &[BASE, 0]), Ok(0));
        process.system.stack_pointer = 0x5800;
        assert_eq!(call(&mut process, 131, &[BASE, 0]), Err(1));
        assert_eq!(call(&mut process, 131, &[0, BASE + 64]), Ok(0));
        assert_eq!(
            user::read_words(&mut process.system, BASE + 64),
            Ok([0x5000, 1, 8192])
        );
        process.system.stack_pointer = 0x9000;
        user::write_words(&mut process.system, BASE, &[0, 2, 0]).unwrap();
        assert_eq!(call(&mut process, 131, &[BASE, 0]), Ok(0));
        assert_eq!(call(&mut process, 131, &[0, BASE + 64]), Ok(0));
        assert_eq!(user::read_words(&mut process.system, BASE + 64), Ok([0, 2, 0]));
    }
}
