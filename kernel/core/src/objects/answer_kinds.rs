//! Counts of a spawn gate's answers by how they begin.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use l4::Error;
use l4::object::ANSWER_KINDS;

/// What begins in the same way.
struct Kind {
    label: AtomicU64,
    first: AtomicU64,
    count: AtomicU64,
}

/// The kinds of answers that a gate was told of, and how many of each there were.
pub(super) struct AnswerKinds {
    kinds: [Kind; ANSWER_KINDS],
    /// Somebody has told, or is about to.
    is_told: AtomicBool,
    /// How many kinds there are; they don't change any more.
    length: AtomicUsize,
}

impl AnswerKinds {
    /// No kinds.
    pub(super) const fn new() -> AnswerKinds {
        AnswerKinds {
            kinds: [const {
                Kind {
                    label: AtomicU64::new(0),
                    first: AtomicU64::new(0),
                    count: AtomicU64::new(0),
                }
            }; ANSWER_KINDS],
            is_told: AtomicBool::new(false),
            length: AtomicUsize::new(0),
        }
    }

    /// Counts answers that begin with these labels and first words from now on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for none, or too many; [`Error::Exists`] if it was told before.
    pub(super) fn tell_apart(&self, begins: &[(i64, u64)]) -> Result<(), Error> {
        if begins.is_empty() || begins.len() > ANSWER_KINDS {
            return Err(Error::Invalid);
        }
        if self.is_told.swap(true, Ordering::Relaxed) {
            return Err(Error::Exists);
        }
        for (kind, (label, first)) in self.kinds.iter().zip(begins) {
            kind.label.store(*label as u64, Ordering::Relaxed);
            kind.first.store(*first, Ordering::Relaxed);
        }
        self.length.store(begins.len(), Ordering::Release);
        Ok(())
    }

    /// Counts an answer.
    #[inline]
    pub(super) fn count(&self, (label, first): (i64, u64)) {
        let known = &self.kinds[..self.length.load(Ordering::Acquire)];
        let is_this = |kind: &&Kind| {
            kind.label.load(Ordering::Relaxed) == label as u64 && kind.first.load(Ordering::Relaxed) == first
        };
        if let Some(kind) = known.iter().find(is_this) {
            kind.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted.
    pub(super) fn counts(&self) -> [u64; ANSWER_KINDS] {
        core::array::from_fn(|kind| self.kinds[kind].count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_how_they_begin() {
        let kinds = AnswerKinds::new();
        kinds.count((1, 2));
        assert_eq!(kinds.tell_apart(&[]), Err(Error::Invalid));
        assert_eq!(kinds.tell_apart(&[(0, 0); ANSWER_KINDS + 1]), Err(Error::Invalid));
        kinds.tell_apart(&[(1, 2), (1, 3), (-1, 0)]).unwrap();
        assert_eq!(kinds.tell_apart(&[(1, 2)]), Err(Error::Exists));
        for begin in [(1, 2), (-1, 0), (1, 2), (1, 4), (0, 0), (2, 2)] {
            kinds.count(begin);
        }
        assert_eq!(kinds.counts(), [2, 0, 1, 0]);
    }
}
