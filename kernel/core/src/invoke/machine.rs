//! Operations of the consoles, the debugger and the platform.

use super::call::{Call, DONE, Outcome};
use super::dataspace::call_bytes;
use crate::counters;
use crate::machine::{
    machine_console_write, machine_cpu_count, machine_debug_console_write, machine_power_off,
};
use crate::memory::frame;
use crate::object::{Kind, Ref};
use crate::objects::{Device, Vcon};
use crate::thread::Thread;
use l4::protocol::{DEBUG, debug, platform, vcon};
use l4::{Error, Rights, Tag};

pub(super) fn console(call: &Call) -> Result<Outcome, Error> {
    call.need(Rights::WRITE)?;
    if call.word(0)? != vcon::WRITE {
        return Err(Error::NoSystemCall);
    }
    let length = usize::try_from(call.word(1)?).map_err(|_| Error::TooBig)?;
    let mut bytes = [0; Tag::MAX_WORDS * 8];
    let wanted = bytes.get_mut(..length).ok_or(Error::TooBig)?;
    call_bytes(call, 2, wanted)?;
    match call.object::<Vcon>()?.device() {
        Device::Console => machine_console_write(wanted),
        Device::DebugConsole if machine_debug_console_write(wanted) => {}
        Device::DebugConsole => return Err(Error::Io),
    }
    DONE
}

pub(super) fn platform(call: &Call) -> Result<Outcome, Error> {
    call.need(Rights::STRONG)?;
    match call.word(0)? {
        platform::POWER_OFF => machine_power_off(call.word(1)? == 0),
        _ => Err(Error::NoSystemCall),
    }
}

/// Tells whether the call is the one that only wants an answer: the cost of a call is measured with it.
#[inline(always)]
pub(super) fn is_null(thread: Ref<Thread>, tag: Tag) -> bool {
    tag.without_flags() == Tag::new(DEBUG, 1, 0) && thread.utcb().get(0) == debug::NULL
}

pub(super) fn debug(call: &Call) -> Result<Outcome, Error> {
    match call.word(0)? {
        debug::NULL => DONE,
        debug::SET_NAME => {
            call.need(Rights::WRITE)?;
            let object = call.task().caps.get(call.slot(1)?)?.object;
            object.set_name([call.word(2)?, call.word(3)?]);
            DONE
        }
        debug::COUNTERS => {
            call.need(Rights::READ)?;
            machine_counters(call)
        }
        debug::CPU_COUNTERS => {
            call.need(Rights::READ)?;
            let cpu = u32::try_from(call.word(1)?)
                .ok()
                .filter(|cpu| *cpu < machine_cpu_count());
            call.answer(&crate::cpu::get(cpu.ok_or(Error::Range)?).counters.snapshot())
        }
        _ => Err(Error::NoSystemCall),
    }
}

fn machine_counters(call: &Call) -> Result<Outcome, Error> {
    let objects = counters::objects;
    // Before the others: without dying objects, what they counted is no longer among the others.
    let dying = counters::dying_objects();
    call.answer(&[
        frame::total_count(),
        frame::free_count(),
        objects(Kind::Factory),
        objects(Kind::Task),
        objects(Kind::Thread),
        objects(Kind::Gate) + objects(Kind::SpawnGate),
        objects(Kind::Irq),
        objects(Kind::Dataspace),
        objects(Kind::Scheduler),
        counters::capabilities(),
        dying.max(counters::dying_objects()),
    ])
}
