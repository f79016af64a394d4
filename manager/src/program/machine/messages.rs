//! Messages of the seat's loop: answers on their way, and slots for what comes.

use super::{Machine, Pending, drop_cap};
use l4::syscall::{self, Received};
use l4::{CapIndex, Tag, Utcb};
use l4_rpc::MAX_CAPS;
use manager::platform::Platform;

/// Slots that are kept free for what the next message may bring.
const POOL_RESERVE: usize = 2 * MAX_CAPS;
/// Slots that are taken at once when the pool has too few.
const POOL_STEP: usize = 64;

impl Machine {
    /// Sends the answer that is pending, if there is one, and waits for a message.
    pub(crate) fn wait(&mut self, deadline: u64) -> Received {
        let utcb = Utcb::current();
        utcb.set_reply_slot(Some(self.reply_slot));
        utcb.set_receive_slots(&self.offered);
        match self.pending.take() {
            Some(Pending { reply, tag }) => {
                let received = syscall::reply_and_wait(Some(reply), tag, deadline);
                self.pool.push(reply);
                received
            }
            None => syscall::wait(deadline),
        }
    }

    /// Sends the answer that is pending, if there is one: the UTCB is free for other messages then.
    pub(crate) fn flush(&mut self) {
        if let Some(Pending { reply, tag }) = self.pending.take() {
            // Who is not there any more needs no answer.
            let _ = syscall::reply(Some(reply), tag);
            self.pool.push(reply);
        }
    }

    /// Answers with the message that is in the UTCB. Nothing else is pending: see [`Self::flush`].
    pub(crate) fn answer_message(&mut self, reply: CapIndex, tag: Tag) {
        self.pending = Some(Pending { reply, tag });
    }

    /// Makes slots of reply capabilities of destroyed workers free again, but for the `keep` last ones.
    pub(super) fn bury(&mut self, keep: usize) {
        while self.dying.len() > keep {
            if let Some(slot) = self.dying.pop_front() {
                self.discard(slot);
            }
        }
    }

    /// Takes more slots if there are few in the pool, as far as the client may have them.
    fn fill_pool(&mut self) {
        let mut missing = if self.pool.len() < POOL_RESERVE {
            POOL_STEP
        } else {
            0
        };
        while missing > 0
            && let Ok(slot) = self.take_slot()
        {
            self.pool.push(slot);
            missing -= 1;
        }
    }

    /// Whether the slots suffice for what is under way only.
    pub(super) fn is_short_of_slots(&self) -> bool {
        self.pool.len() < POOL_RESERVE && self.slots_left == 0
    }

    /// The slots that were offered for capabilities.
    pub(crate) fn offered(&self) -> [CapIndex; MAX_CAPS] {
        self.offered
    }

    /// The reply capability of the message that was just received; it belongs to the caller of this function, who
    /// uses it up with an answer or with [`Platform::forget`].
    pub(crate) fn take_reply(&mut self) -> CapIndex {
        if self.pool.len() < POOL_RESERVE {
            self.bury(0);
            self.fill_pool();
        }
        let taken = self.reply_slot;
        // Without a slot, who calls next takes this caller's place, who gets an error from the kernel.
        self.reply_slot = self.pool.pop().unwrap_or(taken);
        taken
    }

    /// The capabilities that came with the message, in these slots, belong to the service, or else are dropped.
    pub(crate) fn take_caps(&mut self, slots: &[CapIndex], are_taken: bool) {
        for index in 0..MAX_CAPS {
            if !slots.contains(&self.offered[index]) {
                continue;
            }
            if !are_taken {
                self.flush();
                drop_cap(self.offered[index]);
            } else if let Some(slot) = self.pool.pop() {
                self.offered[index] = slot;
            }
        }
    }
}
