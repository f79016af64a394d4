//! Operations of threads.

use super::call::{Call, DONE, Outcome};
use super::factory::{gate_label, set_handler};
use crate::context::{Context, USER_END};
use crate::cpu::{Cpu, Domain};
use crate::ipc;
use crate::machine::{machine_poke, machine_random};
use crate::object::Ref;
use crate::schedule;
use crate::thread::{Fault, Resume, State, Thread};
use l4::exception::{ExceptionFrame, Reason};
use l4::protocol::thread;
use l4::{CapIndex, Error, Rights, utcb};

pub(super) fn operate(call: &Call) -> Result<Outcome, Error> {
    let target = call.object::<Thread>()?;
    match call.word(0)? {
        thread::STATS => call.need(Rights::READ).and_then(|()| stats(call, target)),
        thread::RANDOM => call.answer(&core::array::from_fn::<u64, 4, _>(|_| machine_random())),
        operation => {
            call.need(Rights::STRONG)?;
            change(call, target, operation)
        }
    }
}

fn change(call: &Call, target: Ref<Thread>, operation: u64) -> Result<Outcome, Error> {
    match operation {
        thread::SET_HANDLER => {
            let label = gate_label(call.word(2)?)?;
            crate::capability::drop_slot(&target.handler);
            if call.slot(1)? != CapIndex::NONE {
                call.argument::<crate::objects::Gate>(1, Rights::empty())?;
                set_handler(call, target, 1, label)?;
            }
            DONE
        }
        thread::EX_REGS => ex_regs(call, target),
        thread::SHARE_HANDLER => share_handler(call, target),
        thread::SET_BASES => set_bases(call, target),
        thread::SET_PERSONALITY => set_personality(call, target),
        thread::SET_FAULT_ENTRY => set_fault_entry(call, target),
        thread::RESTORE => super::storing::restore(call, target),
        _ if target != call.thread => Err(Error::Invalid),
        thread::YIELD => {
            schedule::yield_slice(Cpu::this(), target);
            DONE
        }
        thread::TAKE_REPLY => ipc::take_reply(target, call.slot(1)?).and(DONE),
        thread::RESUME => resume(call),
        thread::EXIT => {
            if target.task().has_only(target) {
                ipc::exit_clone(target, call.word(1).unwrap_or(0));
            }
            crate::reaper::destroy(target.erase());
            target.state.set(&Domain::lock(target.home()), State::Dead);
            Ok(Outcome::Gone)
        }
        _ => Err(Error::NoSystemCall),
    }
}

/// Has the target's faults go where the caller's go.
fn share_handler(call: &Call, target: Ref<Thread>) -> Result<Outcome, Error> {
    if target == call.thread {
        return Err(Error::Invalid);
    }
    crate::capability::drop_slot(&target.handler);
    crate::capability::copy_into(&call.thread.handler, &target.handler, Rights::CLIENT, None).and(DONE)
}

fn stats(call: &Call, target: Ref<Thread>) -> Result<Outcome, Error> {
    let used = target.cpu_time.total(crate::machine::machine_ticks);
    call.answer(&[
        crate::machine::machine_ticks_to_ns(used),
        target.priority().into(),
        target.home().number().into(),
    ])
}

pub(super) fn user_address(address: u64) -> Result<u64, Error> {
    if address < USER_END {
        Ok(address)
    } else {
        Err(Error::BadAddress)
    }
}

fn ex_regs(call: &Call, target: Ref<Thread>) -> Result<Outcome, Error> {
    let (ip, sp, flags) = (call.word(1)?, call.word(2)?, call.word(3)?);
    if ip != u64::MAX {
        user_address(ip)?;
    }
    if target == call.thread {
        return Err(Error::Invalid);
    }
    if flags == thread::EX_REGS_SIGNAL {
        return signal(target);
    }
    if flags & thread::EX_REGS_SIGNAL != 0 {
        return Err(Error::Invalid);
    }
    let change = |domain: &Domain| change_registers(domain, target, ip, sp, flags);
    if flags & (thread::EX_REGS_CANCEL | thread::EX_REGS_TRIGGER) != 0
        && let Some(result) = ipc::interrupt_wait(target, change)
    {
        return call.answer(&result?);
    }
    let frozen = freeze_elsewhere(target)?;
    let result = lock_changeable(target).and_then(|domain| change(&domain));
    if frozen {
        schedule::thaw(target);
    }
    call.answer(&result?)
}

/// Takes a thread that runs on another CPU off it, so that its registers are in its context. True if it did.
///
/// # Errors
/// [`Error::Again`] if the other CPU did not let go of it in time.
fn freeze_elsewhere(target: Ref<Thread>) -> Result<bool, Error> {
    let home = target.home();
    if core::ptr::eq(home, Cpu::this()) || home.current() != Some(target) {
        return Ok(false);
    }
    if schedule::freeze(target) {
        Ok(true)
    } else {
        Err(Error::Again)
    }
}

/// Locks the home of a thread that may still run.
fn lock_changeable(target: Ref<Thread>) -> Result<Domain, Error> {
    let domain = Domain::lock_with(target);
    if matches!(target.state.get(&domain), State::Kept | State::Dead) || target.header.is_dead() {
        return Err(Error::NotFound);
    }
    Ok(domain)
}

/// Changes a thread that does not run. Its home is locked.
fn change_registers(
    domain: &Domain,
    target: Ref<Thread>,
    ip: u64,
    sp: u64,
    flags: u64,
) -> Result<[u64; 2], Error> {
    if target.home().current() == Some(target) {
        return Err(Error::Again);
    }
    let old = target.with_context(domain, |context| {
        let old = [context.rip, context.rsp];
        if ip != u64::MAX {
            context.rip = ip;
        }
        if sp != u64::MAX {
            context.rsp = sp;
        }
        old
    });
    if flags & thread::EX_REGS_TRIGGER != 0 && target.state.get(domain) != State::New {
        target.with_context(domain, Context::make_full);
        let fault = Fault {
            reason: Reason::Triggered,
            vector: 0xff,
            error: 0,
            address: 0,
        };
        target.set_resume(domain, Resume::Raise(fault));
    }
    Ok(old)
}

/// Has a thread that computes enter its own fault entry. It need not be stopped for that: it does so itself, before it goes on
/// in user mode the next time, which is soon because its CPU is interrupted.
fn signal(target: Ref<Thread>) -> Result<Outcome, Error> {
    let domain = lock_changeable(target)?;
    if !computes(&domain, target) {
        return Err(Error::Busy);
    }
    target.set_resume(&domain, Resume::Signal);
    let home = target.home();
    if !core::ptr::eq(home, Cpu::this()) && home.current() == Some(target) {
        machine_poke(home.number());
    }
    DONE
}

/// Tells whether a thread would go on in user mode at once if it ran now.
fn computes(domain: &Domain, thread: Ref<Thread>) -> bool {
    let has_nothing_to_do = matches!(thread.resume.get(domain), Resume::Nothing | Resume::Signal);
    thread.state.get(domain) == State::Ready && has_nothing_to_do
}

fn set_bases(call: &Call, target: Ref<Thread>) -> Result<Outcome, Error> {
    let (fs, gs) = (call.word(1)?, call.word(2)?);
    for base in [fs, gs] {
        if base != u64::MAX {
            user_address(base)?;
        }
    }
    let change = |context: &mut Context| {
        if fs != u64::MAX {
            context.fs_base = fs;
        }
        if gs != u64::MAX {
            context.gs_base = gs;
        }
    };
    let frozen = freeze_elsewhere(target)?;
    let result = lock_changeable(target).map(|domain| {
        if target == call.thread {
            target.with_live_context(&domain, change)
        } else {
            target.with_context(&domain, change)
        }
    });
    if frozen {
        schedule::thaw(target);
    }
    result.and(DONE)
}

fn set_personality(call: &Call, target: Ref<Thread>) -> Result<Outcome, Error> {
    let entry = user_address(call.word(1)?)?;
    target.with_context(&lock_changeable(target)?, |context| context.personality = entry);
    DONE
}

fn set_fault_entry(call: &Call, target: Ref<Thread>) -> Result<Outcome, Error> {
    let (entry, stack) = (user_address(call.word(1)?)?, call.word(2)?);
    target.fault_entry.set(&lock_changeable(target)?, (entry, stack));
    DONE
}

/// Continues the calling thread with the registers of its fault record.
fn resume(call: &Call) -> Result<Outcome, Error> {
    let thread = call.thread;
    if thread.utcb().get(utcb::FAULT_ACTIVE) == 0 {
        return Err(Error::Invalid);
    }
    let words = core::array::from_fn(|index| thread.utcb().get(utcb::FAULT_FRAME + index));
    let frame = ExceptionFrame::from_words(&words);
    let domain = Domain::lock(thread.home());
    // What the CPU holds of the thread is saved before it counts as fully saved.
    let valid = thread.with_live_context(&domain, |context| ipc::set_registers(context, &frame));
    if !valid {
        return Err(Error::BadAddress);
    }
    thread.utcb().set(utcb::FAULT_ACTIVE, 0);
    Ok(Outcome::Gone)
}
