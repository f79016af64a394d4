//! Lets a test watch page-table updates as they happen.

use core::cell::RefCell;
use core::sync::atomic::AtomicU64;
use std::boxed::Box;

/// One store to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Update {
    /// Address of the entry in the direct map.
    pub(super) entry: u64,
    pub(super) value: u64,
}

type Observer = Box<dyn FnMut(Update)>;

std::thread_local! {
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
}

/// Called before each store.
pub(super) fn record(entry: &AtomicU64, value: u64) {
    if let Some(mut observer) = OBSERVER.take() {
        observer(Update {
            entry: core::ptr::from_ref(entry) as u64,
            value,
        });
        OBSERVER.set(Some(observer));
    }
}

/// Calls `observer` before each update that this thread makes while `run` runs.
pub(super) fn observe(observer: impl FnMut(Update) + 'static, run: impl FnOnce()) {
    OBSERVER.set(Some(Box::new(observer)));
    run();
    OBSERVER.set(None);
}
