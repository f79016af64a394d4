//! A record of page-table updates, for tests of their order.

use core::cell::RefCell;
use core::sync::atomic::AtomicU64;
use std::vec::Vec;

/// One store to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Update {
    /// Address of the entry in the direct map.
    pub(super) entry: u64,
    pub(super) value: u64,
}

std::thread_local! {
    static UPDATES: RefCell<Option<Vec<Update>>> = const { RefCell::new(None) };
}

/// Called before each store.
pub(super) fn record(entry: &AtomicU64, value: u64) {
    UPDATES.with_borrow_mut(|updates| {
        if let Some(updates) = updates {
            updates.push(Update {
                entry: core::ptr::from_ref(entry) as u64,
                value,
            });
        }
    });
}

/// The updates that `run` makes on this thread.
pub(super) fn of(run: impl FnOnce()) -> Vec<Update> {
    UPDATES.set(Some(Vec::new()));
    run();
    UPDATES.take().unwrap_or_default()
}
