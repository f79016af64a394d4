//! Queues of threads, linked through the threads themselves. A thread is in one queue at most: its state says which.

use crate::cpu::Domain;
use crate::object::Ref;
use crate::sync::Guarded;
use crate::thread::{Queue, Thread};

type Place = Guarded<Queue, Domain>;

fn insert_between(
    domain: &Domain,
    queue: &Place,
    thread: Ref<Thread>,
    previous: Option<Ref<Thread>>,
    next: Option<Ref<Thread>>,
) {
    let mut ends = queue.get(domain);
    thread.previous.set(domain, previous);
    thread.next.set(domain, next);
    match previous {
        Some(previous) => previous.next.set(domain, Some(thread)),
        None => ends.head = Some(thread),
    }
    match next {
        Some(next) => next.previous.set(domain, Some(thread)),
        None => ends.tail = Some(thread),
    }
    queue.set(domain, ends);
}

/// Appends a thread.
pub(crate) fn push_back(domain: &Domain, queue: &Place, thread: Ref<Thread>) {
    insert_between(domain, queue, thread, queue.get(domain).tail, None);
}

/// Puts a thread first.
pub(crate) fn push_front(domain: &Domain, queue: &Place, thread: Ref<Thread>) {
    insert_between(domain, queue, thread, None, queue.get(domain).head);
}

/// Inserts a thread behind all of its priority or higher ones; looks from the tail, where it usually belongs.
pub(crate) fn insert_by_priority(domain: &Domain, queue: &Place, thread: Ref<Thread>) {
    let mut previous = queue.get(domain).tail;
    let mut next = None;
    while let Some(before) = previous.filter(|before| before.priority() < thread.priority()) {
        next = previous;
        previous = before.previous.get(domain);
    }
    insert_between(domain, queue, thread, previous, next);
}

/// Takes a thread out of the queue it is in.
pub(crate) fn remove(domain: &Domain, queue: &Place, thread: Ref<Thread>) {
    let mut ends = queue.get(domain);
    let (previous, next) = (thread.previous.get(domain), thread.next.get(domain));
    match previous {
        Some(previous) => previous.next.set(domain, next),
        None => ends.head = next,
    }
    match next {
        Some(next) => next.previous.set(domain, previous),
        None => ends.tail = previous,
    }
    queue.set(domain, ends);
    thread.previous.set(domain, None);
    thread.next.set(domain, None);
}

/// A queue's threads, first to last. Checks the links.
#[cfg(test)]
pub(crate) fn threads(domain: &Domain, queue: &Place) -> std::vec::Vec<Ref<Thread>> {
    let ends = queue.get(domain);
    let mut found = std::vec::Vec::new();
    let mut next = ends.head;
    while let Some(thread) = next {
        assert_eq!(thread.previous.get(domain), found.last().copied());
        found.push(thread);
        assert!(found.len() < 10_000, "a queue is a ring");
        next = thread.next.get(domain);
    }
    assert_eq!(ends.tail, found.last().copied());
    found
}
