//! Operations of tasks: capabilities and regions.

use super::call::{Call, DONE, Outcome};
use crate::account::Account;
use crate::capability::{self, Replace, SlotState};
use crate::memory::Dataspace;
use crate::object::Ref;
use crate::objects::{self, Task};
use crate::reaper;
use l4::object::MapEntry;
use l4::protocol::task;
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, Rights};

pub(super) fn operate(call: &Call) -> Result<Outcome, Error> {
    let task = call.object::<Task>()?;
    let operation = call.word(0)?;
    if operation == task::CAP_INFO {
        return cap_info(call, task);
    }
    if operation == task::FIND {
        return find(call, task);
    }
    call.need(Rights::WRITE)?;
    match operation {
        task::MAP => map(call, task),
        task::UNMAP => unmap(call, task),
        task::ATTACH => attach(call, task),
        // These are done in pieces: the answer says how many bytes are dealt with.
        task::FREEZE => super::snapshot::freeze(call, task),
        task::DETACH => call.answer(&[task.space.detach(call.word(1)?, call.word(2)?)?]),
        task::PROTECT => {
            let access = u8::try_from(call.word(3)?)
                .ok()
                .and_then(Access::from_bits)
                .ok_or(Error::Invalid)?;
            call.answer(&[task.space.protect(call.word(1)?, call.word(2)?, access)?])
        }
        task::SHOW => call.answer(&[task.space.show_sealed(call.word(1)?, call.word(2)?)?]),
        task::DISCARD => call.answer(&[task.space.discard(call.word(1)?, call.word(2)?)?]),
        _ => Err(Error::NoSystemCall),
    }
}

fn map(call: &Call, target: Ref<Task>) -> Result<Outcome, Error> {
    let payer = target.account().ok_or(Error::NotFound)?;
    for index in (1..call.words()).step_by(2) {
        let entry = MapEntry::parse(call.word(index)?, call.word(index + 1)?);
        map_one(call, target, payer, &entry)?;
    }
    DONE
}

/// Copies or moves one of the caller's capabilities into a task, whose account pays for the slot.
pub(super) fn map_one(
    call: &Call,
    target: Ref<Task>,
    payer: Ref<Account>,
    entry: &MapEntry,
) -> Result<(), Error> {
    let source = call.task();
    let slot = capability::own_slot(&source.caps, call.payer()?, entry.from)?;
    let label = match entry.label {
        0 => None,
        label => Some(super::factory::gate_label(label)?),
    };
    let place = (&target.caps, payer, entry.to);
    capability::copy(slot, place, Replace::Anything, entry.rights, label, entry.grant)
}

fn unmap(call: &Call, task: Ref<Task>) -> Result<Outcome, Error> {
    let index = call.slot(1)?;
    let flags = call.word(2)?;
    let payer = task.account().ok_or(Error::NotFound)?;
    let found = task.caps.find(index).filter(|slot| !slot.is_empty());
    let found = found.ok_or(Error::NotFound)?.read();
    if flags & task::UNMAP_DELETE != 0 {
        let SlotState::Object(capability) = found else {
            return Err(Error::Invalid);
        };
        if !capability.rights.contains(Rights::DELETE) {
            return Err(Error::NotPermitted);
        }
        // The slot is empty when this returns; all others as soon as the object is taken apart, and until then they
        // name a dead object, which is as good as nothing.
        capability::drop_at(&task.caps, payer, index)?;
        objects::delete(capability.object);
        // At once as far as it goes, so that threads that end with it don't run on without their capabilities.
        reaper::work(reaper::BUDGET);
    } else if flags & task::UNMAP_SELF != 0 {
        capability::drop_at(&task.caps, payer, index)?;
    } else if let Some(slot) = task.caps.slot(index).filter(|_| !task.caps.inherits(index)) {
        // Nothing was derived from what stands in the template: a copy is made before anything is.
        capability::settle(capability::revoke(slot));
    }
    // A caller that ends with it may run on until it is stopped: it goes on with a result like any other.
    DONE
}

fn cap_info(call: &Call, task: Ref<Task>) -> Result<Outcome, Error> {
    let object = |index: CapIndex| task.caps.get(index).ok().map(|capability| capability.object);
    let one = object(call.slot(1)?);
    let value = if call.words() > 2 {
        one.is_some() && one == object(call.slot(2)?)
    } else {
        one.is_some()
    };
    Ok(Outcome::Done {
        value: i64::from(value),
        words: 0,
    })
}

fn attach(call: &Call, task: Ref<Task>) -> Result<Outcome, Error> {
    let count = (call.words() - 1) / Region::WORDS;
    if count == 0 || 1 + count * Region::WORDS != call.words() {
        return Err(Error::MessageTooShort);
    }
    let mut done = [(0, 0); l4::Tag::MAX_WORDS / Region::WORDS];
    for index in 0..count {
        match attach_one(call, task, 1 + index * Region::WORDS) {
            Ok(place) => done[index] = place,
            Err(error) => {
                for (start, size) in &done[..index] {
                    // What was attached a moment ago can be detached, unless the task did so itself meanwhile.
                    let _ = task.space.detach(*start, *size);
                }
                return Err(error);
            }
        }
    }
    for (index, (start, _)) in done[..count].iter().enumerate() {
        call.utcb().set(index, *start);
    }
    Ok(Outcome::Done {
        value: 0,
        words: count,
    })
}

fn attach_one(call: &Call, task: Ref<Task>, at: usize) -> Result<(u64, u64), Error> {
    let mut words = [0; Region::WORDS];
    for (offset, word) in words.iter_mut().enumerate() {
        *word = call.word(at + offset)?;
    }
    let region = Region::parse(words).ok_or(Error::Invalid)?;
    let dataspace = match region.backing {
        Backing::Anonymous | Backing::Reserved => None,
        Backing::Shared | Backing::Private => Some((dataspace(call, &region)?, region.offset)),
    };
    let start = task.space.attach(
        region.start,
        region.size,
        region.access,
        region.backing,
        dataspace,
        region.search,
    )?;
    Ok((start, region.size))
}

/// The dataspace of a region, by a capability with the rights that the region needs.
fn dataspace(call: &Call, region: &Region) -> Result<Ref<Dataspace>, Error> {
    let capability = call.task().caps.get(region.dataspace)?;
    let mut needed = Rights::READ;
    if region.backing == Backing::Shared && region.access.contains(Access::WRITE) {
        needed |= Rights::WRITE;
    }
    if !capability.rights.contains(needed) {
        return Err(Error::NotPermitted);
    }
    capability.object.downcast().ok_or(Error::Invalid)
}

fn find(call: &Call, task: Ref<Task>) -> Result<Outcome, Error> {
    let found = task.space.find(call.word(1)?).ok_or(Error::NotFound)?;
    let region = Region {
        start: found.start,
        size: found.size,
        access: found.access,
        backing: found.backing,
        search: false,
        dataspace: CapIndex(0),
        offset: 0,
    };
    let [start, size, flags, ..] = region.words();
    call.answer(&[start, size, flags])
}
