//! Gates: where messages go.
#![expect(unsafe_code, reason = "an object's type is vouched for")]

use super::Binding;
use crate::account::Account;
use crate::cpu::Domain;
use crate::ipc::{self, queue};
use crate::object::{Header, Kind, Object, Ref};
use crate::sync::Guarded;
use crate::thread::{Queue, State, Thread};
use core::sync::atomic::{AtomicU64, Ordering};
use l4::{Error, IpcError};

/// A gate: messages through it go to the bound thread, with a label.
#[repr(C, align(64))]
pub struct Gate {
    pub(crate) header: Header,
    pub(crate) binding: Binding,
    label: AtomicU64,
    /// Senders that came while the gate was unbound.
    pub(crate) senders: Guarded<Queue, Domain>,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Gate {
    const KIND: Kind = Kind::Gate;
}

impl Gate {
    /// Creates a gate, bound to `thread` if one is given.
    pub fn create(
        account: Ref<Account>,
        label: u64,
        thread: Option<Ref<Thread>>,
    ) -> Result<Ref<Gate>, Error> {
        let gate = Account::create(account, |header| Gate {
            header,
            binding: Binding::new(),
            label: AtomicU64::new(label),
            senders: Guarded::new(Queue {
                head: None,
                tail: None,
            }),
        })?;
        if let Some(thread) = thread {
            Gate::bind(gate, label, thread).inspect_err(|_| crate::reaper::destroy(gate.erase()))?;
        }
        Ok(gate)
    }

    /// The label of capabilities that have none of their own.
    #[inline]
    pub fn label(&self) -> u64 {
        self.label.load(Ordering::Relaxed)
    }

    /// Binds the gate to a thread with a label; senders that wait for a binding try again.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the thread has ended, or the gate's end has begun.
    pub fn bind(gate: Ref<Gate>, label: u64, thread: Ref<Thread>) -> Result<(), Error> {
        loop {
            let (domain, bound) = gate.binding.lock_all();
            if let Some(old) = bound {
                gate.binding.unbind(&domain, old, false);
            }
            drop(domain);
            let domain = gate.binding.lock_queue(thread);
            if gate.binding.thread().is_some() {
                continue;
            }
            if matches!(thread.state.get(&domain), State::Kept | State::Dead)
                || thread.header.is_dead()
                || gate.header.is_dead()
            {
                return Err(Error::NotFound);
            }
            gate.label.store(label, Ordering::Relaxed);
            gate.binding.bind(&domain, thread, None);
            break;
        }
        ipc::wake_waiting_senders(gate);
        Ok(())
    }
}

/// Takes a dead gate apart: waiting senders get an error.
pub(super) fn destroy_step(gate: Ref<Gate>, budget: &mut u32) -> bool {
    let (domain, thread) = gate.binding.lock_all();
    if let Some(thread) = thread {
        gate.binding.unbind(&domain, thread, true);
    }
    drop(domain);
    loop {
        let head = gate.senders.get(&Domain::lock(gate.binding.home())).head;
        let Some(sender) = head else { return true };
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        let domain = gate.binding.lock_queue(sender);
        if sender.state.get(&domain) == State::SendingUnbound(gate) {
            queue::remove(&domain, &gate.senders, sender);
            ipc::fail_send(&domain, sender, IpcError::NotExistent);
        }
    }
}
