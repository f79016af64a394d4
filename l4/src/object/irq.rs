use super::request;
use crate::protocol::{IRQ, IRQ_CONTROL, irq};
use crate::{CapIndex, Error};

/// A notification: triggers coalesce until the bound thread receives it, as a message with protocol
/// [`IRQ`](crate::protocol::IRQ) and the notification's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Irq(pub CapIndex);

impl Irq {
    /// Triggers it (write right).
    pub fn trigger(self) -> Result<(), Error> {
        request(self.0, IRQ, &[]).map(drop)
    }

    /// Binds it to a thread with a label (strong right on both). What is pending moves along.
    pub fn bind(self, label: u64, thread: CapIndex) -> Result<(), Error> {
        request(self.0, IRQ_CONTROL, &[irq::BIND, label, thread.word()]).map(drop)
    }

    /// Unbinds it (strong right). A trigger meanwhile is remembered.
    pub fn detach(self) -> Result<(), Error> {
        request(self.0, IRQ_CONTROL, &[irq::DETACH]).map(drop)
    }

    /// Triggers it at an absolute time in nanoseconds; [`crate::NEVER`] cancels (write right; must be bound).
    pub fn set_timer(self, deadline: u64) -> Result<(), Error> {
        request(self.0, IRQ_CONTROL, &[irq::SET_TIMER, deadline]).map(drop)
    }

    /// Triggers it when `object` dies (thread, task, factory), or, for a gate (server right needed), when the
    /// last capability derived from `object` is gone (strong right on the irq). One watcher per object.
    pub fn watch(self, object: CapIndex) -> Result<(), Error> {
        request(self.0, IRQ_CONTROL, &[irq::WATCH, object.word()]).map(drop)
    }
}
