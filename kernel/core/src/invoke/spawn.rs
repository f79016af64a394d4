//! Beginning a task from a snapshot, in one system call: the task, its thread, its capabilities, its message.
#![expect(unsafe_code, reason = "a clone relies on its snapshot's memory")]

use super::call::{Call, DONE, Outcome};
use super::factory;
use super::scheduler::{Placement, placement};
use crate::account::Account;
use crate::capability::{self, Capability, Replace};
use crate::ipc;
use crate::object::{Header, Object, Ref};
use crate::objects::{Own, OwnSlot, Scheduler, Snapshot, Task};
use crate::reaper;
use crate::schedule;
use crate::thread::Thread;
use l4::cap::parse_receive_buffer;
use l4::object::{MapEntry, spawn_words as words};
use l4::{CapIndex, Error, Rights, Tag, utcb};

/// Reclaimed before a clone is made: at least as much as it takes, so that a CPU that is never idle keeps up.
const RECLAIM: u32 = 64;

/// Gets on with what is dying here, before more is made.
pub(super) fn reclaim() {
    if reaper::is_needed() {
        reaper::work(RECLAIM);
    }
}

/// A request, read once.
struct Request {
    account: Ref<Account>,
    account_slot: CapIndex,
    placement: Placement,
    entries: usize,
    tag: Tag,
    /// First word of the message.
    message: usize,
    /// Where the caller wants the capability to the new task.
    slot: Option<CapIndex>,
}

impl Request {
    fn parse(call: &Call) -> Result<Request, Error> {
        let objects = call.word(words::OBJECTS)?;
        let account_slot = low(objects);
        let account = call.argument_at(account_slot, Rights::STRONG)?;
        let scheduler = call.argument_at::<Scheduler>(high(objects), Rights::STRONG)?;
        let place = call.word(words::PLACE)?;
        let entries = (place >> words::ENTRIES_SHIFT) as usize;
        let tag = Tag(call.word(words::TAG)?).without_flags();
        let message = words::ENTRIES.saturating_add(entries.saturating_mul(2));
        if tag.words() + 2 * tag.items() > Tag::MAX_WORDS
            || message.saturating_add(tag.words() + 2 * tag.items()) > call.words()
        {
            return Err(Error::MessageTooShort);
        }
        Ok(Request {
            account,
            account_slot,
            placement: placement(
                &scheduler,
                u64::from(place as u32),
                place >> 32 & 0xff,
                call.word(words::SLICE)?,
            )?,
            entries,
            tag,
            message,
            slot: parse_receive_buffer(call.utcb().get(utcb::BUFFER_WORDS)),
        })
    }
}

pub(super) fn low(word: u64) -> CapIndex {
    CapIndex(word as u32)
}

pub(super) fn high(word: u64) -> CapIndex {
    CapIndex((word >> 32) as u32)
}

pub(super) fn spawn(call: &Call, snapshot: Ref<Snapshot>) -> Result<Outcome, Error> {
    let request = Request::parse(call)?;
    reclaim();
    let making = Task::begin_from(request.account, snapshot)?;
    let task = making.object();
    let started = start(call, snapshot, &request, task);
    if let Err(error) = started {
        reaper::destroy(task.erase());
        return Err(error);
    }
    DONE
}

fn start(call: &Call, snapshot: Ref<Snapshot>, request: &Request, task: Ref<Task>) -> Result<(), Error> {
    let making = Thread::begin_from(request.account, task, snapshot)?;
    let thread = making.object();
    if call.slot(words::HANDLER)? != CapIndex::NONE {
        let label = factory::gate_label(call.word(words::HANDLER_LABEL)?)?;
        factory::set_handler(call, thread, words::HANDLER, label)?;
    }
    if let Some(slot) = request.slot {
        let caller = call.task();
        hold((&caller.caps, call.payer()?, slot), task, Rights::all())?;
    }
    for own in snapshot.own_slots() {
        let parent = match own.names {
            Own::Task => request.slot,
            Own::Account => Some(request.account_slot),
            Own::Thread => None,
        };
        give_own(call, request.account, thread, own, parent)?;
    }
    for number in 0..request.entries {
        let at = words::ENTRIES + 2 * number;
        let entry = MapEntry::parse(call.word(at)?, call.word(at + 1)?);
        super::task::map_one(call, task, request.account, &entry)?;
    }
    let Request { tag, placement, .. } = request;
    ipc::give_message(call.thread, request.message, *tag, thread).map_err(Error::Ipc)?;
    copy_ahead(task, snapshot);
    schedule::begin(thread, placement.cpu, |domain| {
        thread.set_priority(domain, placement.priority);
        thread.slice.set(domain, placement.slice_ns);
        ipc::set_result(domain, thread, *tag, 0);
    })
}

/// Copies the pages of the snapshot's write set, if it has one. Last of all, so that there is memory for what has to be.
#[inline]
pub(super) fn copy_ahead(task: Ref<Task>, snapshot: Ref<Snapshot>) {
    let pages = snapshot.written();
    if !pages.is_empty() {
        // SAFETY: The task is a clone of the snapshot, which stays until that has ended, and its write set with it.
        unsafe { task.space.copy_ahead(pages) };
    }
}

/// Gives a clone a capability to itself, where the snapshot's task had one: a copy of `parent`, a slot of the caller, or the
/// first one.
fn give_own(
    call: &Call,
    account: Ref<Account>,
    thread: Ref<Thread>,
    own: OwnSlot,
    parent: Option<CapIndex>,
) -> Result<(), Error> {
    let task = thread.task();
    let target = (&task.caps, account, own.index);
    if let Some(parent) = parent {
        let caller = call.task();
        let parent = capability::own_slot(&caller.caps, call.payer()?, parent)?;
        return capability::copy(parent, target, Replace::Capabilities, own.rights, None, false);
    }
    hold_own(account, thread, own)
}

/// Gives a clone the first capability to itself, where the snapshot's task had one.
pub(super) fn hold_own(account: Ref<Account>, thread: Ref<Thread>, own: OwnSlot) -> Result<(), Error> {
    let task = thread.task();
    let target = (&task.caps, account, own.index);
    match own.names {
        Own::Task => hold(target, task, own.rights),
        Own::Thread => hold(target, thread, own.rights),
        Own::Account => hold(target, account, own.rights),
    }
}

/// Puts a first capability to an object into a slot.
fn hold<T: Object>(target: capability::Target<'_>, object: Ref<T>, rights: Rights) -> Result<(), Error> {
    let (table, payer, index) = target;
    let object: Ref<Header> = object.erase();
    let label = 0;
    capability::insert_root(
        table,
        payer,
        index,
        Capability {
            object,
            rights,
            label,
        },
    )
}
