//! What a change of page tables leaves over.
#![expect(unsafe_code, reason = "page tables are reached through the direct map")]

use crate::account::Account;
use crate::memory::address::{FrameMemory, PhysAddr};
use core::sync::atomic::Ordering;

/// What is to be freed once no processor can use it any more.
pub(crate) struct Reclaim {
    frames: heapless::Vec<PhysAddr, { Reclaim::CAPACITY }>,
    /// Unlinked tables, chained through their first word. Such a word looks like an absent entry to a processor that
    /// still has the table in its caches.
    tables: u64,
    /// A translation was removed or reduced.
    reduced: bool,
}

impl Reclaim {
    /// Frames that fit; tables don't count.
    const CAPACITY: usize = 64;

    pub(crate) const fn new() -> Reclaim {
        Reclaim {
            frames: heapless::Vec::new(),
            tables: 0,
            reduced: false,
        }
    }

    /// Notes that a translation was removed or reduced.
    pub(crate) fn set_reduced(&mut self) {
        self.reduced = true;
    }

    /// False if it is full.
    pub(super) fn push(&mut self, frame: PhysAddr) -> bool {
        self.frames.push(frame).is_ok()
    }

    pub(super) fn push_table(&mut self, table: FrameMemory) {
        debug_assert!(
            table
                .words()
                .iter()
                .all(|entry| entry.load(Ordering::Relaxed) == 0),
            "table in use"
        );
        table.word(0).store(self.tables, Ordering::Relaxed);
        self.tables = table.frame().0;
    }

    /// Makes sure that no processor uses an old translation of the space `root`, then gives everything back to
    /// `account`. With `live` false no processor can have the space loaded any more.
    pub(crate) fn finish(&mut self, root: PhysAddr, account: &Account, live: bool) {
        if live && (self.reduced || self.tables != 0) {
            crate::tlb::flush_space(root);
        }
        for frame in &self.frames {
            account.free_frame(*frame);
        }
        let mut next = self.tables;
        while next != 0 {
            // SAFETY: The frame is an unlinked table of ours, and no processor walks it any more.
            let table = unsafe { FrameMemory::new(PhysAddr(next)) };
            next = table.word(0).load(Ordering::Relaxed);
            account.free_frame(table.frame());
        }
    }
}
