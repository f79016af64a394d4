//! Copying a message from one thread to another: words, then capabilities.

use crate::capability::{self, Replace, SlotState};
use crate::context::{Context, USER_END};
use crate::counters::Event;
use crate::cpu::{Cpu, Domain};
use crate::object::Ref;
use crate::thread::{Content, ReplyHolder, Sending, Thread};
use core::sync::atomic::Ordering;
use l4::cap::{SendItem, parse_receive_buffer};
use l4::exception::ExceptionFrame;
use l4::object::CLONE_HEAD_WORDS;
use l4::{CapIndex, Error, IpcError, Rights, Tag, utcb};

/// Copies a message; both threads' homes are locked and neither runs user code meanwhile. On an error (as the sender
/// sees it) the receiver has the words and the capabilities before the one that failed.
pub(super) fn transfer(
    domain: &Domain,
    sender: Ref<Thread>,
    receiver: Ref<Thread>,
    sending: &Sending,
) -> Result<(), IpcError> {
    Cpu::this().counters.count(Event::Message);
    match sending.content {
        Content::Exception => {
            let words = exception_frame(domain, sender).to_words();
            for (index, word) in words.into_iter().enumerate() {
                receiver.utcb().set(index, word);
            }
            Ok(())
        }
        Content::Message | Content::Invocation(_) => {
            let words = sending.tag.words();
            copy_words(sender, receiver, words);
            match sending.tag.items() {
                0 => Ok(()),
                items => pass_items(sender, receiver, (words, words), items, sending.strong),
            }
        }
    }
}

/// Copies the first words of a message.
#[inline(always)]
pub(super) fn copy_words(sender: Ref<Thread>, receiver: Ref<Thread>, words: usize) {
    for index in 0..words {
        receiver.utcb().set(index, sender.utcb().get(index));
    }
}

/// Gives `receiver`, which never ran, a message as an answer to a call: its words and items stand in the sender's UTCB from
/// word `first` on.
pub(crate) fn give_message(
    sender: Ref<Thread>,
    first: usize,
    tag: Tag,
    receiver: Ref<Thread>,
) -> Result<(), IpcError> {
    Cpu::this().counters.count(Event::Message);
    for index in 0..tag.words() {
        receiver.utcb().set(index, sender.utcb().get(first + index));
    }
    match tag.items() {
        0 => Ok(()),
        items => pass_items(sender, receiver, (first + tag.words(), tag.words()), items, true),
    }
}

/// Gives `receiver`, a clone's thread that never ran, the message of a spawn gate's caller, with other words at its start.
pub(crate) fn give_request(
    sender: Ref<Thread>,
    tag: Tag,
    head: [u64; CLONE_HEAD_WORDS],
    receiver: Ref<Thread>,
    strong: bool,
) -> Result<(), IpcError> {
    Cpu::this().counters.count(Event::Message);
    for (index, word) in head.into_iter().enumerate() {
        receiver.utcb().set(index, word);
    }
    let words = tag.words();
    for index in head.len()..words {
        receiver.utcb().set(index, sender.utcb().get(index));
    }
    match tag.items() {
        0 => Ok(()),
        items => pass_items(sender, receiver, (words, words), items, strong),
    }
}

/// Passes the items that stand from one word of the sender's UTCB on, and tells the receiver from a word of its own on.
fn pass_items(
    sender: Ref<Thread>,
    receiver: Ref<Thread>,
    (from, to): (usize, usize),
    items: usize,
    strong: bool,
) -> Result<(), IpcError> {
    for (buffer, number) in (utcb::BUFFER_WORDS..).zip(0..items) {
        let (source, at) = (from + 2 * number, to + 2 * number);
        // Read once: the sender's task may change the words at any time.
        let item = SendItem::parse([sender.utcb().get(source), sender.utcb().get(source + 1)]);
        let mut received = 0;
        // A void item uses up its buffer as well: so the others keep their places.
        let offered = receiver.utcb().get(buffer);
        if let Some(mut item) = item {
            let slot = parse_receive_buffer(offered).ok_or(IpcError::SendCut)?;
            if !strong {
                item.rights.remove(Rights::STRONG);
            }
            if pass_item(sender, receiver, item, slot)? {
                received = SendItem::map(slot, item.rights).words()[1];
            }
        }
        receiver.utcb().set(at, u64::from(received != 0) << 3);
        receiver.utcb().set(at + 1, received);
    }
    Ok(())
}

/// Passes one capability. False if the sender's slot holds none: the receiver gets a void item.
fn pass_item(
    sender: Ref<Thread>,
    receiver: Ref<Thread>,
    item: SendItem,
    slot: CapIndex,
) -> Result<bool, IpcError> {
    let from = sender.task();
    let payer = from.account().ok_or(IpcError::SendMapFailed)?;
    let source = match capability::own_slot(&from.caps, payer, item.cap) {
        Ok(source) => source,
        Err(Error::NotFound) => return Ok(false),
        Err(_) => return Err(IpcError::SendMapFailed),
    };
    if !matches!(source.read(), SlotState::Object(_)) {
        return Ok(false);
    }
    let target = receiver.task();
    let payer = target.account().ok_or(IpcError::SendMapFailed)?;
    let place = (&target.caps, payer, slot);
    match capability::copy(
        source,
        place,
        Replace::Capabilities,
        item.rights,
        None,
        item.grant,
    ) {
        Ok(()) => Ok(true),
        Err(Error::NotFound) => Ok(false),
        Err(_) => Err(IpcError::SendMapFailed),
    }
}

/// The registers of a thread that stopped, as a handler sees them.
pub(super) fn exception_frame(domain: &Domain, thread: Ref<Thread>) -> ExceptionFrame {
    let fault = thread.fault.get(domain);
    thread.with_context(domain, |c| ExceptionFrame {
        reason: fault.reason.word(),
        vector: fault.vector,
        error: fault.error,
        address: fault.address,
        rip: c.rip,
        rsp: c.rsp,
        rflags: c.rflags,
        rax: c.rax,
        rbx: c.rbx,
        rcx: c.rcx,
        rdx: c.rdx,
        rsi: c.rsi,
        rdi: c.rdi,
        rbp: c.rbp,
        r8: c.r8,
        r9: c.r9,
        r10: c.r10,
        r11: c.r11,
        r12: c.r12,
        r13: c.r13,
        r14: c.r14,
        r15: c.r15,
        fs_base: c.fs_base,
        gs_base: c.gs_base,
    })
}

/// Sets a stopped thread's registers from a frame that user code wrote. False, and nothing changed, if an address can't
/// be one of user code.
pub(crate) fn set_registers(c: &mut Context, frame: &ExceptionFrame) -> bool {
    let canonical = |address: u64| address < USER_END;
    if !canonical(frame.rip) || !canonical(frame.fs_base) || !canonical(frame.gs_base) {
        return false;
    }
    c.make_full();
    c.set_flags(frame.rflags);
    (c.rip, c.rsp, c.rbp) = (frame.rip, frame.rsp, frame.rbp);
    (c.rax, c.rbx, c.rcx, c.rdx) = (frame.rax, frame.rbx, frame.rcx, frame.rdx);
    (c.rsi, c.rdi, c.r8, c.r9) = (frame.rsi, frame.rdi, frame.r8, frame.r9);
    (c.r10, c.r11, c.r12, c.r13) = (frame.r10, frame.r11, frame.r12, frame.r13);
    (c.r14, c.r15) = (frame.r14, frame.r15);
    (c.fs_base, c.gs_base) = (frame.fs_base, frame.gs_base);
    true
}

/// The slot in which a receiver wants the right to answer a caller.
#[inline(always)]
pub(super) fn wanted_reply_slot(receiver: Ref<Thread>) -> Option<CapIndex> {
    let slot = receiver.utcb().get(utcb::BUFFER_DESCRIPTOR) >> 32;
    (slot != 0).then_some(CapIndex(slot as u32))
}

/// Gives `receiver` the right to answer `caller`: in the slot that its buffer descriptor names, if that is free, else as
/// its implicit one.
pub(super) fn give_reply_capability(domain: &Domain, caller: Ref<Thread>, receiver: Ref<Thread>) {
    if let Some(slot) = wanted_reply_slot(receiver)
        && store_reply(domain, caller, receiver, slot).is_ok()
    {
        return;
    }
    give_implicit_reply(domain, caller, receiver);
}

/// Gives `receiver` the right to answer `caller` as its implicit one.
#[inline(always)]
pub(super) fn give_implicit_reply(domain: &Domain, caller: Ref<Thread>, receiver: Ref<Thread>) {
    debug_assert!(receiver.owes.load(Ordering::Relaxed).is_null());
    caller.reply_holder.set(domain, ReplyHolder::Implicit(receiver));
    receiver.owes.store(caller.as_ptr(), Ordering::Release);
}

/// Stores a reply capability in a free slot of the holder's task. The caller's home is locked.
pub(super) fn store_reply(
    domain: &Domain,
    caller: Ref<Thread>,
    holder: Ref<Thread>,
    slot: CapIndex,
) -> Result<(), Error> {
    // No two capabilities to answer a caller have the same number.
    let call = caller.call.get(domain) + 1;
    caller.call.set(domain, call);
    let task = holder.task();
    if task.caps.find(slot).is_some_and(|slot| !slot.is_empty()) {
        return Err(Error::Busy);
    }
    let payer = task.account().ok_or(Error::NotFound)?;
    capability::fill((&task.caps, payer, slot), Replace::Capabilities, |slot| {
        slot.set_reply(caller, call);
        caller.reply_holder.set(domain, ReplyHolder::Slot(slot.into()));
        Ok(())
    })
}

/// The tag that the receiver of a message sees.
pub(super) fn delivered(sending: &Sending) -> Tag {
    sending.tag.without_flags()
}
