//! Operations by which a snapshot is stored, and a task made that can become one again.

use super::call::{Call, DONE, Outcome};
use super::thread::user_address;
use crate::context::{Context, KIND_SYSCALL};
use crate::cpu::Domain;
use crate::memory::region::Kind;
use crate::memory::{Dataspace, ImageRegion};
use crate::object::Ref;
use crate::objects::Snapshot;
use crate::thread::{State, Thread};
use l4::object::{CallRegisters, stored_region};
use l4::protocol::snapshot;
use l4::region::Backing;
use l4::{CapIndex, Error, PAGE_SIZE, Rights, utcb};

/// Words of a UTCB's page that are copied at a time.
const CHUNK: usize = 64;
/// Bits of MXCSR that a processor has; others can't be loaded (Intel SDM vol. 1, section 10.2.3).
const MXCSR_BITS: u32 = 0xffff;

/// Reads something of a prepared snapshot.
pub(super) fn read(call: &Call, target: Ref<Snapshot>) -> Result<Outcome, Error> {
    if !target.is_ready() {
        return Err(Error::Again);
    }
    match call.word(0)? {
        snapshot::REGISTERS => call.answer(&registers(target).words()),
        snapshot::REGION => region(call, target),
        snapshot::PAGES => pages(call, target),
        _ => {
            let (slot, next) = target.slot_from(call.slot(1)?);
            let word = |slot: Option<CapIndex>| slot.map_or(0, CapIndex::word);
            call.answer(&[word(slot), word(next)])
        }
    }
}

fn registers(target: Ref<Snapshot>) -> CallRegisters {
    let thread = target.thread();
    let (fault_entry, fault_stack) = target.fault_entry();
    thread.with_context(&Domain::lock_with(thread), |context| CallRegisters {
        rip: context.rip,
        rsp: context.rsp,
        rflags: context.rflags,
        rbx: context.rbx,
        rbp: context.rbp,
        r12: context.r12,
        r13: context.r13,
        r14: context.r14,
        r15: context.r15,
        fs_base: context.fs_base,
        gs_base: context.gs_base,
        mxcsr: context.mxcsr,
        fcw: context.fcw,
        personality: context.personality,
        fault_entry,
        fault_stack,
        utcb: thread.utcb().user_address(),
    })
}

/// Word 1 is an address; the others name dataspaces.
fn region(call: &Call, target: Ref<Snapshot>) -> Result<Outcome, Error> {
    let region = target.space().image_region(call.word(1)?)?;
    let ImageRegion { start, size, .. } = region;
    let (mut shown, mut offset) = (stored_region::NOTHING, 0);
    if let Some((dataspace, from, changes)) = region.shows {
        offset = from;
        shown = if changes {
            stored_region::CHANGING
        } else {
            stored_region::OTHER
        };
        for word in 2..call.words() {
            if call.argument::<Dataspace>(word, Rights::READ)? == dataspace {
                shown = word as u64 - 2;
            }
        }
    }
    let backing = match region.kind {
        Kind::Utcb => stored_region::UTCB,
        kind => match kind.backing() {
            Backing::Anonymous => stored_region::ANONYMOUS,
            Backing::Shared => stored_region::SHARED,
            Backing::Private => stored_region::PRIVATE,
            Backing::Reserved => stored_region::RESERVED,
        },
    };
    call.answer(&[
        start,
        size,
        u64::from(region.access.bits()),
        backing,
        shown,
        offset,
    ])
}

/// Words: address, size, whether all pages are wanted; perhaps a dataspace for them, and the offset there.
fn pages(call: &Call, target: Ref<Snapshot>) -> Result<Outcome, Error> {
    let (from, size, whole) = (call.word(1)?, call.word(2)?, call.word(3)? != 0);
    let to = call.optional::<Dataspace>(4, Rights::WRITE)?;
    let to = match &to {
        Some(to) => Some((&**to, call.word(5)?)),
        None => None,
    };
    let end = from.saturating_add(size);
    let found = target.space().image_pages(from, end, whole, to)?;
    let mut words = 1;
    call.utcb().set(0, found.next);
    for address in found.addresses() {
        call.utcb().set(words, address);
        words += 1;
    }
    Ok(Outcome::Done { value: 0, words })
}

/// Gives a thread that never ran what a stored one had. Word 1 is a dataspace, word 2 where its UTCB's page is in it, the
/// registers follow.
pub(super) fn restore(call: &Call, target: Ref<Thread>) -> Result<Outcome, Error> {
    let source = call.argument::<Dataspace>(1, Rights::READ)?;
    let offset = call.word(2)?;
    let mut words = [0; CallRegisters::WORDS];
    for (index, word) in words.iter_mut().enumerate() {
        *word = call.word(3 + index)?;
    }
    let registers = CallRegisters::from_words(&words);
    for address in [
        registers.rip,
        registers.fs_base,
        registers.gs_base,
        registers.personality,
        registers.fault_entry,
    ] {
        user_address(address)?;
    }
    if registers.utcb != target.utcb().user_address() || !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Error::Invalid);
    }
    let domain = Domain::lock_with(target);
    if target.state.get(&domain) != State::New || target.header.is_dead() {
        return Err(Error::Busy);
    }
    drop(domain);
    fill_utcb(target, &source, offset)?;
    let domain = Domain::lock_with(target);
    // Somebody may have started it meanwhile.
    if target.state.get(&domain) != State::New {
        return Err(Error::Busy);
    }
    target
        .fault_entry
        .set(&domain, (registers.fault_entry, registers.fault_stack));
    target.with_context(&domain, |context| set(context, &registers));
    DONE
}

fn fill_utcb(target: Ref<Thread>, source: &Dataspace, offset: u64) -> Result<(), Error> {
    for first in (0..PAGE_SIZE as usize / 8).step_by(CHUNK) {
        let mut bytes = [0; 8 * CHUNK];
        source.read(offset + 8 * first as u64, &mut bytes)?;
        for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            target.utcb().set(first + index, u64::from_le_bytes(*word));
        }
    }
    let address = target.utcb().user_address();
    target.utcb().set(utcb::SELF_WORD, address);
    Ok(())
}

fn set(context: &mut Context, registers: &CallRegisters) {
    context.kind = KIND_SYSCALL;
    (context.rip, context.rsp) = (registers.rip, registers.rsp);
    context.set_flags(registers.rflags);
    (context.rbx, context.rbp) = (registers.rbx, registers.rbp);
    (context.r12, context.r13) = (registers.r12, registers.r13);
    (context.r14, context.r15) = (registers.r14, registers.r15);
    (context.fs_base, context.gs_base) = (registers.fs_base, registers.gs_base);
    context.mxcsr = registers.mxcsr & MXCSR_BITS;
    context.fcw = registers.fcw;
    context.personality = registers.personality;
}

impl Thread {
    /// Tells whether the thread never ran and has the registers of one that waits for an answer.
    pub(crate) fn is_restored(&self, domain: &Domain) -> bool {
        self.state.get(domain) == State::New
            && self.with_context(domain, |context| context.kind == KIND_SYSCALL)
    }
}
