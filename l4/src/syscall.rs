//! The one system call: invoke a capability.
#![expect(unsafe_code, reason = "the system call is one instruction of assembly")]

use crate::{CapIndex, Error, IpcError, Selector, Tag, Utcb, utcb};

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The tag of the message received, or of the outcome of a send.
    pub tag: Tag,
    /// The label of the gate or notification that the message came through; its two lowest bits are the rights
    /// (write, strong) of the capability that the sender used.
    pub label: u64,
}

impl Received {
    /// The result as a server or kernel object meant it: its label if it is ≥ 0.
    ///
    /// # Errors
    /// The negated label, or the IPC error from the UTCB.
    #[inline(always)]
    pub fn result(self) -> Result<u64, Error> {
        let label = self.tag.label();
        if label < 0 || self.tag.is_error() {
            Err(self.error())
        } else {
            Ok(label as u64)
        }
    }

    #[cold]
    #[inline(never)]
    fn error(self) -> Error {
        if self.tag.is_error() {
            return Error::Ipc(IpcError::from_code(Utcb::current().word(utcb::ERROR_WORD)));
        }
        Error::from_number(-self.tag.label())
    }
}

/// Invokes a capability. The message is in the UTCB, and so is the answer.
///
/// `send_deadline` and `receive_deadline` are absolute nanoseconds of the kernel clock, [`crate::POLL`] or
/// [`crate::NEVER`].
#[inline(always)]
pub fn invoke(selector: Selector, tag: Tag, send_deadline: u64, receive_deadline: u64) -> Received {
    let (out_tag, label): (u64, u64);
    // SAFETY: A system call is a function call: the kernel preserves the callee-saved registers, and changes no memory
    // but the UTCB, which is only accessed through volatile words.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") tag.0 | Tag::NATIVE => out_tag,
            lateout("rsi") label,
            in("rdx") selector.0,
            in("r8") send_deadline,
            in("r9") receive_deadline,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
    Received {
        tag: Tag(out_tag),
        label,
    }
}

/// Sends the message in the UTCB to `cap` and waits for the answer.
#[inline(always)]
pub fn call(cap: CapIndex, tag: Tag) -> Received {
    call_until(cap, tag, crate::NEVER)
}

/// [`call`] with a deadline for sending and answer together.
#[inline(always)]
pub fn call_until(cap: CapIndex, tag: Tag, deadline: u64) -> Received {
    invoke(
        Selector::new(cap, Selector::SEND | Selector::RECEIVE),
        tag,
        deadline,
        deadline,
    )
}

/// Sends without waiting for an answer.
pub fn send(cap: CapIndex, tag: Tag, deadline: u64) -> Received {
    invoke(Selector::new(cap, Selector::SEND), tag, deadline, crate::POLL)
}

/// Waits for a message from anybody.
pub fn wait(deadline: u64) -> Received {
    invoke(
        Selector::own(Selector::RECEIVE | Selector::OPEN),
        Tag(0),
        crate::POLL,
        deadline,
    )
}

/// Waits for a notification of one Irq, or a message of one thread.
pub fn receive(cap: CapIndex, deadline: u64) -> Received {
    invoke(
        Selector::new(cap, Selector::RECEIVE),
        Tag(0),
        crate::POLL,
        deadline,
    )
}

/// Answers the caller of the last message received (`None`), or the one whose reply capability is in a slot, and
/// waits for the next message from anybody.
#[inline(always)]
pub fn reply_and_wait(reply: Option<CapIndex>, tag: Tag, deadline: u64) -> Received {
    let phases = Selector::SEND | Selector::RECEIVE | Selector::OPEN | Selector::REPLY;
    let selector = reply.map_or(Selector::own(phases), |slot| Selector::new(slot, phases));
    invoke(selector, tag, crate::POLL, deadline)
}

/// Answers a caller and goes on.
pub fn reply(reply: Option<CapIndex>, tag: Tag) -> Received {
    let phases = Selector::SEND | Selector::REPLY;
    let selector = reply.map_or(Selector::own(phases), |slot| Selector::new(slot, phases));
    invoke(selector, tag, crate::POLL, crate::POLL)
}

/// Sends to `cap` and waits for a message from anybody.
pub fn send_and_wait(cap: CapIndex, tag: Tag, send_deadline: u64, receive_deadline: u64) -> Received {
    let phases = Selector::SEND | Selector::RECEIVE | Selector::OPEN;
    invoke(Selector::new(cap, phases), tag, send_deadline, receive_deadline)
}

/// Sleeps until `deadline`.
pub fn sleep_until(deadline: u64) {
    invoke(Selector::own(Selector::RECEIVE), Tag(0), crate::POLL, deadline);
}
