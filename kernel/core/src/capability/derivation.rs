//! The derivation tree: copying, revoking and dropping capabilities.
//!
//! Preorder list with depths: the capabilities derived from a slot are those behind it that are deeper. Dropping a slot
//! lifts what was derived from it by one level. All of it happens under the object's derivation lock; the loops
//! over a subtree are as long as the subtree, which the tables of the tasks that hold it bound.
#![expect(unsafe_code, reason = "neighbours in the tree are raw references")]

use super::slot::MAX_DEPTH;
use super::table::Payer;
use super::{CapTable, Capability, Slot, SlotState};
use crate::counters;
use crate::object::{Header, Ref};
use core::ptr::NonNull;
use l4::{CapIndex, Error, Rights};

/// What is left of an object's capabilities after one was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// More than one, or nothing changed.
    Some,
    /// One: the object has no other holders.
    One,
    /// None: nobody can name the object any more.
    None,
}

/// Removes a slot from the tree and empties it. The derivation lock is held.
fn unlink(first: &mut Option<NonNull<Slot>>, slot: &Slot) {
    let (next, previous) = (slot.next.get(), slot.previous());
    match previous {
        // SAFETY: Slots are in the tree from when they are filled until they are emptied, both under this lock, and their
        // tables live at least as long.
        Some(previous) => unsafe { previous.as_ref() }.next.set(next),
        None => *first = next,
    }
    if let Some(next) = next {
        // SAFETY: As above.
        unsafe { next.as_ref() }.set_previous(previous);
    }
    slot.next.set(None);
    slot.set_previous(None);
    slot.set_empty();
    counters::capability(-1);
}

fn link(first: &mut Option<NonNull<Slot>>, slot: &Slot, parent: Option<&Slot>) {
    let address = NonNull::from_ref(slot);
    let (previous, next) = match parent {
        Some(parent) => (
            Some(NonNull::from_ref(parent)),
            parent.next.replace(Some(address)),
        ),
        None => (None, first.replace(address)),
    };
    slot.next.set(next);
    slot.set_previous(previous);
    slot.set_depth(parent.map_or(0, |parent| (parent.depth() + 1).min(MAX_DEPTH)));
    if let Some(next) = next {
        // SAFETY: As in `unlink`.
        unsafe { next.as_ref() }.set_previous(Some(address));
    }
    counters::capability(1);
}

fn left(first: Option<NonNull<Slot>>) -> Removal {
    match first {
        None => Removal::None,
        // SAFETY: As in `unlink`.
        Some(slot) if unsafe { slot.as_ref() }.next.get().is_none() => Removal::One,
        Some(_) => Removal::Some,
    }
}

/// Calls `visit` for each slot behind `slot` that is deeper than it; `visit` may remove the slot it gets.
fn for_each_derived(slot: &Slot, mut visit: impl FnMut(&Slot)) {
    let depth = slot.depth();
    let mut next = slot.next.get();
    while let Some(address) = next {
        // SAFETY: As in `unlink`.
        let derived = unsafe { address.as_ref() };
        if derived.depth() <= depth {
            break;
        }
        next = derived.next.get();
        visit(derived);
    }
}

/// Puts an object's first capability into a slot, dropping what was there.
///
/// # Errors
/// [`Error::Range`] for an index that can't be, [`Error::NoMemory`] if the table's account can't pay for a page,
/// [`Error::NotFound`] if the object's end has begun, as that of the account which pays for it did.
pub fn insert_root(
    table: &CapTable,
    payer: Payer,
    index: CapIndex,
    capability: Capability,
) -> Result<(), Error> {
    fill((table, payer, index), Replace::Anything, |slot| {
        let mut first = capability.object.derivation.lock();
        if capability.object.is_dead() {
            return Err(Error::NotFound);
        }
        slot.set_capability(capability);
        link(&mut first, slot, None);
        Ok(())
    })
}

/// Puts a capability to an object, which nobody's is derived from, into an empty slot outside any table.
///
/// # Errors
/// [`Error::NotFound`] if the object's end has begun.
pub(crate) fn hold_in(slot: &Slot, object: Ref<Header>) -> Result<(), Error> {
    let mut first = object.derivation.lock();
    if object.is_dead() {
        return Err(Error::NotFound);
    }
    slot.set_capability(Capability {
        object,
        rights: Rights::all(),
        label: 0,
    });
    link(&mut first, slot, None);
    Ok(())
}

/// What filling a slot may displace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Whatever is there; no CPU's lock may be held, as dropping a reply capability takes one.
    Anything,
    /// A capability, but no reply capability.
    Capabilities,
}

/// A slot of a task: its table, the account that pays for the table, the index.
pub type Target<'a> = (&'a CapTable, Payer, CapIndex);

/// Empties the slot of `target` and lets `fill` fill it, under the table's lock.
pub(crate) fn fill(
    target: Target<'_>,
    replace: Replace,
    fill: impl Fn(&Slot) -> Result<(), Error>,
) -> Result<(), Error> {
    let (table, payer, index) = target;
    loop {
        if let Some(old) = table.slot(index) {
            match old.read() {
                SlotState::Empty => {}
                SlotState::Object(_) => settle(remove(old)),
                SlotState::Reply(..) if replace == Replace::Capabilities => return Err(Error::Busy),
                SlotState::Reply(caller, call) => crate::ipc::drop_reply(old, caller, call),
            }
        }
        let lock = table.lock();
        let slot = table.slot_to_fill(index, &payer, &lock)?;
        // Another thread may have filled it meanwhile: then that one is dropped as well.
        if slot.is_empty() {
            return fill(slot);
        }
    }
}

/// Copies the capability in `source` to a slot of another (or the same) table, as its child, with at most `rights`
/// and, for who has the server right, another label. `grant` empties the source afterwards.
///
/// # Errors
/// [`Error::NotFound`] if the source is empty, [`Error::NotPermitted`] for a label without the server right, and those
/// of [`insert_root`].
pub fn copy(
    source: &Slot,
    target: Target<'_>,
    replace: Replace,
    rights: Rights,
    label: Option<u64>,
    grant: bool,
) -> Result<(), Error> {
    let SlotState::Object(from) = source.read() else {
        return Err(Error::NotFound);
    };
    if label.is_some() && !from.rights.contains(Rights::SERVER) {
        return Err(Error::NotPermitted);
    }
    let (table, _, index) = target;
    if table.slot(index).is_some_and(|slot| core::ptr::eq(slot, source)) {
        return Ok(());
    }
    let made = Capability {
        object: from.object,
        rights: from.rights & rights,
        label: label.unwrap_or(from.label),
    };
    fill(target, replace, |slot| {
        let mut first = from.object.derivation.lock();
        // The source may have been revoked since it was read.
        if source.read() != SlotState::Object(from) || from.object.is_dead() {
            return Err(Error::NotFound);
        }
        slot.set_capability(made);
        link(&mut first, slot, Some(source));
        if grant {
            // The new one takes the source's place: what was derived from the source stands behind it.
            slot.set_depth(source.depth());
            unlink(&mut first, source);
        }
        Ok(())
    })
}

/// The slot of a table that a capability is derived from, or dropped with its table: the table's own. What stands in the
/// template is copied first, so that what becomes of the copy is nothing to the template.
///
/// # Errors
/// [`Error::NotFound`] if there is none, and those of [`copy`].
pub(crate) fn own_slot(table: &CapTable, payer: Payer, index: CapIndex) -> Result<&Slot, Error> {
    if table.inherits(index) {
        let inherited = table.find(index).ok_or(Error::NotFound)?;
        if inherited.is_empty() {
            return Err(Error::NotFound);
        }
        copy(
            inherited,
            (table, payer, index),
            Replace::Capabilities,
            Rights::all(),
            None,
            false,
        )?;
    }
    table.slot(index).ok_or(Error::NotFound)
}

/// Drops what is at an index of a task's table, be it the template's.
///
/// # Errors
/// [`Error::NotFound`] if there is nothing, [`Error::NoMemory`] if the table has to note that and can't.
pub(crate) fn drop_at(table: &CapTable, payer: Payer, index: CapIndex) -> Result<(), Error> {
    let found = table
        .find(index)
        .filter(|slot| !slot.is_empty())
        .ok_or(Error::NotFound)?;
    if table.inherits(index) {
        return table.hide(index, &payer);
    }
    drop_slot(found);
    Ok(())
}

/// Copies the capability in `source` to a slot outside any table, as [`copy`] does. The slot is empty, and only the
/// caller fills it.
///
/// # Errors
/// Those of [`copy`]; [`Error::Busy`] if the slot is not empty.
pub(crate) fn copy_into(source: &Slot, slot: &Slot, rights: Rights, label: Option<u64>) -> Result<(), Error> {
    let SlotState::Object(from) = source.read() else {
        return Err(Error::NotFound);
    };
    if label.is_some() && !from.rights.contains(Rights::SERVER) {
        return Err(Error::NotPermitted);
    }
    let mut first = from.object.derivation.lock();
    if source.read() != SlotState::Object(from) || from.object.is_dead() {
        return Err(Error::NotFound);
    }
    if !slot.is_empty() {
        return Err(Error::Busy);
    }
    slot.set_capability(Capability {
        rights: from.rights & rights,
        label: label.unwrap_or(from.label),
        ..from
    });
    link(&mut first, slot, Some(source));
    Ok(())
}

/// Takes one level off everything derived from `slot`, which is about to go.
fn lift(slot: &Slot) {
    for_each_derived(slot, |derived| derived.set_depth(derived.depth() - 1));
}

/// Drops the capability in `slot`; what was derived from it stays. Tells what is left of the object's capabilities, if
/// there was one.
pub fn remove(slot: &Slot) -> Option<(Ref<Header>, Removal)> {
    let SlotState::Object(capability) = slot.read() else {
        return None;
    };
    let mut first = capability.object.derivation.lock();
    if slot.read() != SlotState::Object(capability) {
        return None;
    }
    lift(slot);
    unlink(&mut first, slot);
    Some((capability.object, left(*first)))
}

/// Revokes everything derived from the capability in `slot`, which stays.
pub fn revoke(slot: &Slot) -> Option<(Ref<Header>, Removal)> {
    let SlotState::Object(capability) = slot.read() else {
        return None;
    };
    let mut first = capability.object.derivation.lock();
    if slot.read() != SlotState::Object(capability) {
        return None;
    }
    let mut any = false;
    for_each_derived(slot, |derived| {
        any = true;
        unlink(&mut first, derived);
    });
    let left = if any { left(*first) } else { Removal::Some };
    Some((capability.object, left))
}

/// Empties a slot, whatever is in it, and acts on what that means: an object without capabilities ends, a gate without
/// clients tells its watcher, a caller whose reply capability is dropped gets an error.
pub(crate) fn drop_slot(slot: &Slot) {
    match slot.read() {
        SlotState::Empty => {}
        SlotState::Reply(caller, call) => crate::ipc::drop_reply(slot, caller, call),
        SlotState::Object(_) => settle(remove(slot)),
    }
}

/// Acts on the outcome of [`remove`] or [`revoke`].
pub(crate) fn settle(outcome: Option<(Ref<Header>, Removal)>) {
    match outcome {
        Some((object, Removal::None)) => crate::reaper::destroy(object),
        Some((object, Removal::One)) => crate::objects::notify_lonely(object),
        _ => {}
    }
}

/// Empties slots of a dead object, as many as the budget allows. True when none is left.
pub fn clear_all(object: Ref<Header>, budget: &mut u32) -> bool {
    let mut first = object.derivation.lock();
    while let Some(slot) = *first {
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        // SAFETY: As in `unlink`.
        unlink(&mut first, unsafe { slot.as_ref() });
    }
    true
}

/// An object's slots in preorder, with their depths. Checks the links.
#[cfg(test)]
pub(crate) fn tree(object: Ref<Header>) -> std::vec::Vec<(*const Slot, u8)> {
    let first = object.derivation.lock();
    let mut found = std::vec::Vec::<(*const Slot, u8)>::new();
    let mut next = *first;
    while let Some(address) = next {
        // SAFETY: As in `unlink`.
        let slot = unsafe { address.as_ref() };
        let previous = slot.previous().map(|previous| previous.as_ptr().cast_const());
        assert_eq!(previous, found.last().map(|(slot, _)| *slot));
        let above = found.last().map_or(0, |(_, depth)| depth + 1);
        // The slots of a dead object are emptied from the root on, in pieces.
        assert!(
            slot.depth() <= above || object.is_dead(),
            "a slot is deeper than a child of the one before it"
        );
        assert!(matches!(slot.read(), SlotState::Object(held) if held.object == object));
        found.push((address.as_ptr(), slot.depth()));
        next = slot.next.get();
    }
    found
}
