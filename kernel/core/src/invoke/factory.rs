//! Operations of factories.

use super::call::{Call, Outcome};
use crate::account::Account;
use crate::capability;
use crate::memory::Dataspace;
use crate::object::Ref;
use crate::objects::{Gate, Irq, Task};
use crate::reaper;
use crate::thread::Thread;
use l4::protocol::factory;
use l4::{Error, PAGE_SIZE, Rights};

/// Reclaimed before something new is made, so that a CPU that is never idle keeps up with what it ends.
const RECLAIM: u32 = 24;

pub(super) fn operate(call: &Call) -> Result<Outcome, Error> {
    let account = call.object::<Account>()?;
    let operation = call.word(0)?;
    if operation == factory::INFO {
        return call.answer(&[account.limit(), account.used(), account.returning()]);
    }
    call.need(Rights::STRONG)?;
    if operation == factory::TRIM {
        return call.answer(&[account.trim()?]);
    }
    if reaper::is_needed() {
        reaper::work(RECLAIM);
    }
    match operation {
        factory::CREATE_FACTORY => create_factory(call, account),
        factory::CREATE_TASK => call.create(|| Task::create(account)),
        factory::CREATE_THREAD => create_thread(call, account),
        factory::CREATE_GATE => {
            let label = gate_label(call.word(1)?)?;
            let thread = call.optional(2, Rights::STRONG)?;
            call.create(|| Gate::create(account, label, thread))
        }
        factory::CREATE_IRQ => {
            let label = call.word(1)?;
            let thread = call.optional(2, Rights::STRONG)?;
            call.create(|| Irq::create(account, label, thread))
        }
        factory::CREATE_DATASPACE => match call.optional(2, Rights::READ)? {
            Some(parent) => call.create(|| Dataspace::create_child(account, parent)),
            None => {
                let size = call.word(1)?;
                call.create(|| Dataspace::create(account, size))
            }
        },
        _ => Err(Error::NoDevice),
    }
}

/// The lowest two bits of what a receiver sees are the rights of the sender's capability.
pub(super) fn gate_label(label: u64) -> Result<u64, Error> {
    if label & 3 == 0 {
        Ok(label)
    } else {
        Err(Error::Invalid)
    }
}

fn create_factory(call: &Call, parent: Ref<Account>) -> Result<Outcome, Error> {
    let limit = call.word(1)? & !(PAGE_SIZE - 1);
    if limit == 0 {
        return Err(Error::Invalid);
    }
    call.create(|| Account::create_within(parent, limit, None))
}

fn create_thread(call: &Call, account: Ref<Account>) -> Result<Outcome, Error> {
    let task = call.argument::<Task>(1, Rights::WRITE)?;
    let utcb = call.word(2)?;
    let handler = call.optional::<Gate>(3, Rights::empty())?;
    let label = gate_label(call.word(4)?)?;
    call.create(|| {
        let thread = Thread::create(account, task, utcb)?;
        if handler.is_some() {
            set_handler(call, thread, 3, label).inspect_err(|_| reaper::destroy(thread.erase()))?;
        }
        Ok(thread)
    })
}

/// Makes the gate that message word `word` names the handler of a thread's faults. A label of its own needs the
/// server right.
pub(super) fn set_handler(call: &Call, thread: Ref<Thread>, word: usize, label: u64) -> Result<(), Error> {
    let task = call.task();
    let source = capability::own_slot(&task.caps, call.payer()?, call.slot(word)?)?;
    let label = (label != 0).then_some(label);
    capability::drop_slot(&thread.handler);
    capability::copy_into(source, &thread.handler, Rights::CLIENT, label)
}
