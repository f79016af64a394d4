//! Operations of schedulers.

use super::call::{Call, DONE, Outcome};
use crate::account::Account;
use crate::context::{Context, USER_END};
use crate::counters::Event;
use crate::machine::{machine_cpu, machine_cpu_count};
use crate::objects::Scheduler;
use crate::schedule;
use crate::thread::{DEFAULT_SLICE_NS, Thread};
use l4::protocol::scheduler;
use l4::{Error, Rights};

/// Words of a [`scheduler::RUN_THREAD`] that starts the thread as well.
const START_WORDS: usize = 8;

pub(super) fn operate(call: &Call) -> Result<Outcome, Error> {
    let target = call.object::<Scheduler>()?;
    match call.word(0)? {
        scheduler::INFO => {
            let running = u64::MAX >> (64 - machine_cpu_count().clamp(1, 64));
            call.answer(&[target.cpus() & running, u64::from(target.max_priority())])
        }
        scheduler::IDLE_TIME => {
            let cpu = cpu(call.word(1)?, &target)?;
            call.answer(&[crate::cpu::get(cpu).counters.get(Event::IdleNanoseconds)])
        }
        scheduler::RUN_THREAD => {
            call.need(Rights::STRONG)?;
            run_thread(call, &target)
        }
        scheduler::DERIVE => {
            call.need(Rights::STRONG)?;
            let account = call.argument::<Account>(1, Rights::STRONG)?;
            let cpus = call.word(2)?;
            let priority = u8::try_from(call.word(3)?).map_err(|_| Error::Range)?;
            call.create(|| target.derive(account, cpus, priority))
        }
        _ => Err(Error::NoSystemCall),
    }
}

/// A CPU that runs and that the scheduler permits.
fn cpu(word: u64, scheduler: &Scheduler) -> Result<u32, Error> {
    let cpu = if word == u64::from(u32::MAX) {
        machine_cpu()
    } else {
        u32::try_from(word).map_err(|_| Error::Range)?
    };
    if cpu >= machine_cpu_count() {
        return Err(Error::Invalid);
    }
    if scheduler.cpus() >> cpu & 1 == 0 {
        return Err(Error::NotPermitted);
    }
    Ok(cpu)
}

/// Where and how a thread is to run.
pub(super) struct Placement {
    pub(super) cpu: u32,
    pub(super) priority: u8,
    pub(super) slice_ns: u64,
}

/// Checks what somebody asks of a scheduler: a CPU, a priority, a slice in microseconds (0: the usual one).
pub(super) fn placement(
    scheduler: &Scheduler,
    cpu_word: u64,
    priority: u64,
    slice: u64,
) -> Result<Placement, Error> {
    let cpu = cpu(cpu_word, scheduler)?;
    let priority = u8::try_from(priority)
        .ok()
        .filter(|priority| *priority > 0)
        .ok_or(Error::Range)?;
    if priority > scheduler.max_priority() {
        return Err(Error::NotPermitted);
    }
    let slice_ns = match slice {
        0 => DEFAULT_SLICE_NS,
        microseconds => microseconds.checked_mul(1000).ok_or(Error::Range)?,
    };
    Ok(Placement {
        cpu,
        priority,
        slice_ns,
    })
}

fn run_thread(call: &Call, scheduler: &Scheduler) -> Result<Outcome, Error> {
    let thread = call.argument::<Thread>(1, Rights::STRONG)?;
    let Placement {
        cpu,
        priority,
        slice_ns: slice,
    } = placement(scheduler, call.word(2)?, call.word(3)?, call.word(4)?)?;
    if call.words() < START_WORDS {
        schedule::place(thread, cpu, priority, slice);
        return DONE;
    }
    let (ip, sp, argument) = (call.word(5)?, call.word(6)?, call.word(7)?);
    if ip >= USER_END {
        return Err(Error::BadAddress);
    }
    schedule::begin(thread, cpu, |domain| {
        thread.set_priority(domain, priority);
        thread.slice.set(domain, slice);
        thread.with_context(domain, |context| {
            let made = Context::new(ip, sp, argument);
            (context.rip, context.rsp, context.rdi) = (made.rip, made.rsp, made.rdi);
        });
    })?;
    DONE
}
