//! A CPU's ready threads: one queue per priority and a bitmap of those that are not empty.

use crate::cpu::Domain;
use crate::ipc::queue;
use crate::object::Ref;
use crate::sync::Guarded;
use crate::thread::{Queue, Thread};

const PRIORITIES: usize = 256;

/// Ready threads of one CPU, without the one that runs.
pub(crate) struct RunQueue {
    queues: [Guarded<Queue, Domain>; PRIORITIES],
    /// Bit n of word w: priority 64 w + n has threads.
    filled: [Guarded<u64, Domain>; PRIORITIES / 64],
    /// Bit w: word w of `filled` is not zero.
    summary: Guarded<u32, Domain>,
}

impl RunQueue {
    pub(crate) const fn new() -> RunQueue {
        RunQueue {
            queues: [const {
                Guarded::new(Queue {
                    head: None,
                    tail: None,
                })
            }; PRIORITIES],
            filled: [const { Guarded::new(0) }; PRIORITIES / 64],
            summary: Guarded::new(0),
        }
    }

    fn mark(&self, domain: &Domain, priority: u8) {
        let word = &self.filled[usize::from(priority) / 64];
        word.set(domain, word.get(domain) | 1 << (priority % 64));
        self.summary
            .set(domain, self.summary.get(domain) | 1 << (priority / 64));
    }

    /// Puts a thread behind those of its priority.
    pub(crate) fn push_back(&self, domain: &Domain, thread: Ref<Thread>) {
        let priority = thread.priority();
        queue::push_back(domain, &self.queues[usize::from(priority)], thread);
        self.mark(domain, priority);
    }

    /// Puts a thread before those of its priority.
    pub(crate) fn push_front(&self, domain: &Domain, thread: Ref<Thread>) {
        let priority = thread.priority();
        queue::push_front(domain, &self.queues[usize::from(priority)], thread);
        self.mark(domain, priority);
    }

    /// Takes out a thread that is in it.
    pub(crate) fn remove(&self, domain: &Domain, thread: Ref<Thread>) {
        let priority = thread.priority();
        let queue = &self.queues[usize::from(priority)];
        queue::remove(domain, queue, thread);
        if queue.get(domain).head.is_none() {
            let word = &self.filled[usize::from(priority) / 64];
            let bits = word.get(domain) & !(1 << (priority % 64));
            word.set(domain, bits);
            if bits == 0 {
                self.summary
                    .set(domain, self.summary.get(domain) & !(1 << (priority / 64)));
            }
        }
    }

    /// Tells whether nobody is ready.
    #[inline(always)]
    pub(crate) fn is_empty(&self, domain: &Domain) -> bool {
        self.summary.get(domain) == 0
    }

    /// The highest priority that has threads.
    #[inline]
    pub(crate) fn highest(&self, domain: &Domain) -> Option<u8> {
        let word = self.summary.get(domain).checked_ilog2()?;
        let bit = self.filled[word as usize].get(domain).checked_ilog2()?;
        Some((word * 64 + bit) as u8)
    }

    /// Tells whether a priority has threads.
    pub(crate) fn has(&self, domain: &Domain, priority: u8) -> bool {
        self.queues[usize::from(priority)].get(domain).head.is_some()
    }

    /// Tells whether a thread is the first of its priority.
    pub(crate) fn is_first(&self, domain: &Domain, thread: Ref<Thread>) -> bool {
        self.queues[usize::from(thread.priority())].get(domain).head == Some(thread)
    }

    /// Takes out the first thread of the highest priority.
    pub(crate) fn pop(&self, domain: &Domain) -> Option<Ref<Thread>> {
        let thread = self.queues[usize::from(self.highest(domain)?)].get(domain).head?;
        self.remove(domain, thread);
        Some(thread)
    }
}

#[cfg(test)]
impl RunQueue {
    /// All threads, those of the highest priority first. Checks links and bitmaps.
    pub(crate) fn threads(&self, domain: &Domain) -> std::vec::Vec<Ref<Thread>> {
        let mut all = std::vec::Vec::new();
        for priority in (0..PRIORITIES).rev() {
            let threads = queue::threads(domain, &self.queues[priority]);
            let word = self.filled[priority / 64].get(domain);
            assert_eq!(word >> (priority % 64) & 1 != 0, !threads.is_empty());
            assert_eq!(self.summary.get(domain) >> (priority / 64) & 1 != 0, word != 0);
            assert!(
                threads
                    .iter()
                    .all(|thread| usize::from(thread.priority()) == priority)
            );
            all.extend(threads);
        }
        all
    }
}
