//! Operations of notifications and of the interrupt controller.

use super::call::{Call, DONE, Outcome};
use crate::object::Kind;
use crate::objects::{Irq, lines};
use crate::thread::Thread;
use l4::protocol::{IRQ, IRQ_CONTROL, icu, irq};
use l4::{Error, Rights};

pub(super) fn operate(call: &Call, protocol: i64) -> Result<Outcome, Error> {
    let target = call.object::<Irq>()?;
    match protocol {
        IRQ => {
            call.need(Rights::WRITE)?;
            Irq::trigger(target);
            DONE
        }
        IRQ_CONTROL => control(call),
        _ => Err(Error::BadProtocol),
    }
}

fn control(call: &Call) -> Result<Outcome, Error> {
    let target = call.object::<Irq>()?;
    let operation = call.word(0)?;
    if operation == irq::SET_TIMER {
        call.need(Rights::WRITE)?;
        return Irq::set_timer(target, call.word(1)?).and(DONE);
    }
    call.need(Rights::STRONG)?;
    match operation {
        irq::BIND => {
            let thread = call.argument::<Thread>(2, Rights::STRONG)?;
            Irq::bind(target, call.word(1)?, thread).and(DONE)
        }
        irq::DETACH => {
            Irq::detach(target);
            DONE
        }
        irq::WATCH => watch(call),
        _ => Err(Error::NoSystemCall),
    }
}

fn watch(call: &Call) -> Result<Outcome, Error> {
    let watched = call.task().caps.get(call.slot(1)?)?;
    let needed = match watched.object.kind() {
        Kind::Gate | Kind::SpawnGate => Rights::SERVER,
        Kind::Thread | Kind::Task | Kind::Factory => Rights::STRONG,
        _ => return Err(Error::Invalid),
    };
    if !watched.rights.contains(needed) {
        return Err(Error::NotPermitted);
    }
    Irq::watch(call.object::<Irq>()?, watched.object).and(DONE)
}

pub(super) fn operate_icu(call: &Call) -> Result<Outcome, Error> {
    let operation = call.word(0)?;
    if operation == icu::INFO {
        return call.answer(&[u64::from(lines::COUNT)]);
    }
    call.need(Rights::WRITE)?;
    let line = u32::try_from(call.word(1)?).map_err(|_| Error::Range)?;
    match operation {
        icu::BIND => lines::bind(line, call.argument::<Irq>(2, Rights::WRITE)?).and(DONE),
        icu::UNBIND => lines::unbind(line).and(DONE),
        icu::UNMASK => lines::set_masked(line, false).and(DONE),
        icu::MASK => lines::set_masked(line, true).and(DONE),
        _ => Err(Error::NoSystemCall),
    }
}
